/* module.c: what libunmask_cuda.so gives to the program (src/nn/gpu_module.h). */
#include "src/nn/cuda/detect.h"
#include "src/nn/cuda/device.h"
#include "src/nn/cuda/rank_sums.h"

#include <stdio.h>

extern const um_backend um_backend_cuda;
extern const struct um_trainer_ops um_trainer_cuda;

static um_status list(um_gpu_list *out)
{
    int n = 0;
    *out = (um_gpu_list){.cublaslt = cublasLtGetVersion()};
    (void)cudaDriverGetVersion(&out->driver);
    (void)cudaRuntimeGetVersion(&out->runtime);
    cudaError_t e = cudaGetDeviceCount(&n);
    if (e == cudaErrorInsufficientDriver) {
        (void)cudaGetLastError();
        if (out->driver == 0) return UM_FAIL(UM_CONFIG, "there is no NVIDIA driver on this machine (or the container was started without its GPUs)");
        return UM_FAIL(UM_CONFIG, "the NVIDIA driver is for CUDA %d.%d and the module needs %d.%d: install a newer driver", out->driver / 1000, out->driver % 1000 / 10, out->runtime / 1000, out->runtime % 1000 / 10);
    }
    if (e == cudaErrorNoDevice) {
        (void)cudaGetLastError();
        return UM_FAIL(UM_CONFIG, "the NVIDIA driver shows no GPU: look at nvidia-smi, and at CUDA_VISIBLE_DEVICES");
    }
    UM_PASS(um_gpu_check(e, "cannot count the GPUs"));
    for (int i = 0; i < n && i < UM_GPU_LIST_MAX; i++) {
        um_gpu_device *d = &out->device[i];
        struct cudaDeviceProp p;
        UM_PASS(um_gpu_check(cudaGetDeviceProperties(&p, i), "cannot ask a GPU what it is"));
        snprintf(d->name, sizeof d->name, "%.63s", p.name);
        UM_PASS(um_gpu_check(cudaDeviceGetPCIBusId(d->bus, (int)sizeof d->bus, i), "cannot ask a GPU where it is"));
        d->sm = 10 * p.major + p.minor;
        d->memory_bytes = p.totalGlobalMem;
        if (cudaDeviceGetAttribute(&d->numa, cudaDevAttrHostNumaId, i) != cudaSuccess) {
            (void)cudaGetLastError();
            d->numa = -1;
        }
        out->n++;
    }
    return UM_OK;
}

static um_status open_device(int device)
{
    um_gpu *g;
    return um_gpu_open(device, &g);
}

static um_status comm_id(unsigned char id[UM_COMM_ID_BYTES]) { return um_rank_sums_nccl.id(id); }

static int comm_version(void) { return um_rank_sums_nccl.version(); }

__attribute__((visibility("default"))) um_gpu_module_fn um_gpu_module_get;
const um_gpu_module *um_gpu_module_get(void)
{
    static const um_gpu_module module = {
        .abi = UM_GPU_MODULE_ABI,
        .bytes = sizeof(um_gpu_module),
        .version = UNMASK_VERSION,
#if defined(UM_EMU) && !defined(UM_EMU_POSES) /* poses: as a real one, so that a test sees what `auto` does */
        .emulated = true,
#endif
        .list = list,
        .open = open_device,
        .close = um_gpu_close,
        .backend = &um_backend_cuda,
        .detector = &um_gpu_mtcnn,
        .trainer = &um_trainer_cuda,
        .comm_id = comm_id,
        .comm_version = comm_version,
    };
    return &module;
}
