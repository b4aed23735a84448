#pragma once
/* device.h: what a job computes on: the processor, or a GPU for each rank.
 *
 *     um_device d; UM_PASS(um_device_open(ctx, o->device, o->share_gpus, &d));     // collective; um_device_close, also after a failure
 *     ... d.backend ... um_device_arithmetic(&d, text, sizeof text) ...
 *
 * --device auto takes GPUs where every rank can have one of its own, and else the processor; it says why in the log. gpu insists. UNMASK_CUDA=off|on, as rank 0 has it, is the same as cpu|gpu where the command line says auto.
 * Which GPU: one that no other rank of the machine has, of those that CUDA shows to this rank (CUDA_VISIBLE_DEVICES, Slurm's --gpus-per-task), nearest first (NUMA). Ranks may see different ones, under different numbers: they are told apart
 * by their place on the bus. With gpu, more ranks than GPUs are refused, unless --share-gpus.
 */
#include "jobs/job.h"
#include "src/nn/gpu_module.h"

#define UM_DEVICE_ROWS(type)                                                                                                                                                                              \
    {"device", 0, UM_OPT_CHOICE, offsetof(type, device), "auto", NULL, .choices = "auto|cpu|gpu", .help = "where the networks are computed; auto: on GPUs where every rank can have its own, else on the processors"}, \
    {                                                                                                                                                                                                     \
        "share-gpus", 0, UM_OPT_FLAG, offsetof(type, share_gpus), NULL, NULL, .help = "several ranks may compute on one GPU"                                                                              \
    }

typedef struct um_device {
    const um_backend *backend;
    const um_gpu_module *module; /* NULL: the processor */
    um_gpu_device gpu;
    int cublaslt;                /* version of the library that multiplies there */
} um_device;

/* Collective over ctx->world. Errors, the same on all ranks: UM_CONFIG (with the remedy), UM_MISSING (--device gpu without a module), UM_INTERNAL. */
um_status um_device_open(um_job_context *ctx, const char *device, bool share_gpus, um_device *out);
/* What decides the bits of its arithmetic: "avx512", "sm_90, cuBLASLt 130100". */
void um_device_arithmetic(const um_device *d, char *out, size_t size);
/* Local. */
void um_device_close(um_device *d);
/* The module: $UNMASK_CUDA_MODULE, else libunmask_cuda.so beside the program or in ../lib/unmask. Local. Errors: as um_gpu_module_load. */
um_status um_device_module(const um_gpu_module **out);

/* ---- who gets which GPU: arithmetic only ---- */

typedef struct um_gpu_view { /* of one rank */
    int node;              /* machine */
    int numa;              /* memory it is bound to; -1: several */
    int n;
    struct {
        char bus[20];
        int numa;
    } gpu[UM_GPU_LIST_MAX];
} um_gpu_view;

/* device[i]: the number of rank i's GPU in its own list, -1: none is left for it; each GPU of a machine once, and as many ranks as can be have one. With `share` the ranks that are left over get the GPU that fewest have. Returns how
 * many ranks have none. Errors: -1 for missing memory. */
int um_gpu_assign(const um_gpu_view *view, int n_ranks, bool share, int *device);
