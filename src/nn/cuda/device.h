#pragma once
/* device.h: the GPU that this process computes on, and how a CUDA call fails. For files of src/nn/cuda only.
 *
 *     um_gpu *g; UM_PASS(um_gpu_open(0, &g));      // once a process; um_gpu_get() finds it afterwards
 *     UM_PASS(um_gpu_check(cudaMalloc(&p, n), "cannot allocate"));
 *     um_gpu_close();
 *
 * One rank computes on one GPU. All calls are of one thread at a time.
 */
#include "src/nn/backend.h"
#include "src/nn/gpu_module.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>

enum { UM_GPU_WORKSPACE_BYTES = 32 << 20, /* of a product: what NVIDIA recommends from sm_90 on */
       UM_GPU_OPERAND_ALIGN = 16,         /* of a product's operands */
       UM_GPU_MEMORY_ALIGN = 256, UM_GPU_MEMORY_SLACK = 64 }; /* of what lies within one block of the device's memory: infer_kernels.h wants the slack */

typedef struct um_gpu {
    int device, sm; /* sm: 10 * major + minor */
    cublasLtHandle_t lt;
    cudaStream_t stream; /* of plans */
} um_gpu;

/* Errors: UM_CONFIG (no driver, no such device, a driver that is too old: with the remedy), UM_INTERNAL. */
um_status um_gpu_open(int device, um_gpu **out);
void um_gpu_close(void);
/* NULL before um_gpu_open. */
um_gpu *um_gpu_get(void);

/* UM_OK for success; else the status with what was tried, the name and the text of the error: memory that is exhausted UM_NO_MEMORY, a driver or device that cannot be used UM_CONFIG, all else UM_INTERNAL. */
um_status um_gpu_check(cudaError_t e, const char *what);
um_status um_gpu_check_lt(cublasStatus_t e, const char *what);

/* Has it run? Without waiting. */
um_status um_gpu_tape_query(um_tape *t, bool *done);
extern const um_device_ops um_gpu_device_ops;
