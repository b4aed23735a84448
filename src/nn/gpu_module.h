#pragma once
/* gpu_module.h: the GPU backend as a module that is loaded at run time, so that one program starts on machines with and without NVIDIA's libraries.
 *
 *     const um_gpu_module *m;
 *     if (um_gpu_module_load("/opt/unmask/lib/libunmask_cuda.so", &m) == UM_OK) {   // once a process; stays loaded
 *         um_gpu_list l; UM_PASS(m->list(&l));
 *         UM_PASS(m->open(0));                                                      // one GPU a process
 *         ... m->backend as any other (src/nn/backend.h) ...
 *         m->close();
 *     }
 *
 * The module takes the error chain and all else of src/core from the program that loads it: it belongs to one build of the program, and another's is refused. It is linked to the CUDA run time, never to the driver.
 */
#include "src/nn/backend.h"
#include "src/nn/comm.h"

enum { UM_GPU_MODULE_ABI = 2, UM_GPU_LIST_MAX = 32 };

typedef struct um_gpu_device {
    char name[64];
    char bus[20]; /* "0000:3b:00.0": what tells GPUs of one machine apart, whatever CUDA_VISIBLE_DEVICES makes visible */
    int sm;       /* 10 * major + minor: 80 is A100, 90 is H100 and H200 */
    int numa;     /* node of the machine's memory that it is nearest to; -1: not known */
    size_t memory_bytes;
} um_gpu_device;

typedef struct um_gpu_list {
    int n; /* visible to this process, by CUDA's number */
    um_gpu_device device[UM_GPU_LIST_MAX];
    int driver, runtime; /* 13000 is 13.0; driver 0: there is none */
    size_t cublaslt;
} um_gpu_list;

typedef struct um_gpu_module {
    int abi;
    size_t bytes;        /* of this struct */
    const char *version; /* of the program that it was built with */
    bool emulated;       /* the tests' emulator: never chosen by itself */
    /* Errors: UM_CONFIG: no driver, one that is too old, no device: with the remedy. `out` then still says which versions there are. */
    um_status (*list)(um_gpu_list *out);
    /* Errors: UM_CONFIG, UM_NO_MEMORY, UM_INTERNAL. */
    um_status (*open)(int device);
    void (*close)(void);
    const um_backend *backend;
    const struct um_gpu_detector_ops *detector; /* src/models/mtcnn.h */
    const struct um_trainer_ops *trainer; /* src/train/trainer.h */
    /* A name by which several ranks find each other: one of them makes it, and tells it to the others. Local. Errors: UM_CONFIG (NCCL is missing: with the remedy). */
    um_status (*comm_id)(unsigned char id[UM_COMM_ID_BYTES]);
    int (*comm_version)(void); /* of NCCL: 22803 is 2.28.3; 0: there is none */
} um_gpu_module;

/* The one symbol of the module. */
typedef const um_gpu_module *um_gpu_module_fn(void);
#define UM_GPU_MODULE_SYMBOL "um_gpu_module_get"

/* Loads the module; a second call gives the same. Errors: UM_MISSING (no such file), UM_CONFIG (its libraries are missing, it is no module of unmask, or of another version): with the remedy. */
um_status um_gpu_module_load(const char *path, const um_gpu_module **out);
