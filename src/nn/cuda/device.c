#include "src/nn/cuda/device.h"

#include <stdlib.h>

static um_gpu the_gpu; /* one a process */
static bool is_open;

um_gpu *um_gpu_get(void) { return is_open ? &the_gpu : NULL; }

um_status um_gpu_check(cudaError_t e, const char *what)
{
    um_status st = UM_INTERNAL;
    if (e == cudaSuccess) return UM_OK;
    if (e == cudaErrorMemoryAllocation) st = UM_NO_MEMORY;
    if (e == cudaErrorInsufficientDriver || e == cudaErrorNoDevice || e == cudaErrorInvalidDevice || e == cudaErrorSystemDriverMismatch || e == cudaErrorDevicesUnavailable) st = UM_CONFIG;
    (void)cudaGetLastError(); /* what is not sticky is told once */
    return UM_FAIL(st, "%s: %s (%s)", what, cudaGetErrorString(e), cudaGetErrorName(e));
}

um_status um_gpu_check_lt(cublasStatus_t e, const char *what)
{
    if (e == CUBLAS_STATUS_SUCCESS) return UM_OK;
    return UM_FAIL(e == CUBLAS_STATUS_ALLOC_FAILED ? UM_NO_MEMORY : UM_INTERNAL, "%s: %s", what, cublasLtGetStatusName(e));
}

um_status um_gpu_open(int device, um_gpu **out)
{
    um_gpu *g = &the_gpu;
    struct cudaDeviceProp p;
    um_status st;
    if (is_open) return UM_FAIL(UM_INTERNAL, "a process computes on one GPU, and has one already");
    *g = (um_gpu){.device = device};
    UM_PASS(um_gpu_check(cudaSetDevice(device), "cannot use the GPU"));
    UM_PASS(um_gpu_check(cudaGetDeviceProperties(&p, device), "cannot ask the GPU what it is"));
    g->sm = 10 * p.major + p.minor;
    UM_GOTO_PASS(st, um_gpu_check_lt(cublasLtCreate(&g->lt), "cannot start cuBLASLt"));
    UM_GOTO_PASS(st, um_gpu_check(cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking), "cannot make a stream"));
    is_open = true;
    *out = g;
done:
    if (st != UM_OK && g->lt != NULL) cublasLtDestroy(g->lt);
    return st;
}

void um_gpu_close(void)
{
    if (!is_open) return;
    cudaStreamDestroy(the_gpu.stream);
    cublasLtDestroy(the_gpu.lt);
    is_open = false;
}

/* ---- um_device_ops ---- */

struct um_tape {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaEvent_t end;
};

static um_status memory_new(size_t bytes, void **out)
{
    size_t left = 0, all = 0;
    cudaError_t e = cudaMalloc(out, bytes);
    if (e == cudaSuccess) return UM_OK;
    *out = NULL;
    (void)cudaGetLastError();
    if (e != cudaErrorMemoryAllocation || cudaMemGetInfo(&left, &all) != cudaSuccess) return um_gpu_check(e, "cannot allocate memory of the GPU");
    return UM_FAIL(UM_NO_MEMORY, "out of memory of the GPU: %.1f MB wanted, %.1f of %.1f MB free", (double)bytes / 1e6, (double)left / 1e6, (double)all / 1e6);
}

static void memory_free(void *p) { cudaFree(p); }

static um_status host_new(size_t bytes, void **out)
{
    um_status st = um_gpu_check(cudaMallocHost(out, bytes), "cannot allocate memory that the GPU copies from");
    if (st != UM_OK) *out = NULL;
    return st;
}

static void host_free(void *p) { cudaFreeHost(p); }

static um_status upload(void *to, const void *from, size_t bytes) { return um_gpu_check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "cannot copy to the GPU"); }

static um_status copy(void *to, const void *from, size_t bytes, void *stream)
{
    return um_gpu_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream), "cannot copy between the GPU and the host");
}

static void tape_free(um_tape *t)
{
    if (t == NULL) return;
    if (t->exec != NULL) cudaGraphExecDestroy(t->exec);
    if (t->graph != NULL) cudaGraphDestroy(t->graph);
    if (t->end != NULL) cudaEventDestroy(t->end);
    free(t);
}

static um_status tape_new(um_status (*record)(void *user, void *stream), void *user, um_tape **out)
{
    um_tape *t = calloc(1, sizeof *t);
    cudaStream_t s = um_gpu_get()->stream;
    um_status st;
    *out = NULL;
    if (t == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for recorded work");
    UM_GOTO_PASS(st, um_gpu_check(cudaEventCreateWithFlags(&t->end, cudaEventDisableTiming), "cannot make an event"));
    UM_GOTO_PASS(st, um_gpu_check(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal), "cannot record work for the GPU"));
    st = record(user, s);
    /* Ended also after a failure: the stream is needed again. */
    cudaError_t e = cudaStreamEndCapture(s, &t->graph);
    if (st == UM_OK) st = um_gpu_check(e, "cannot record work for the GPU");
    else if (e != cudaSuccess) (void)cudaGetLastError();
    if (st == UM_OK) st = um_gpu_check(cudaGraphInstantiate(&t->exec, t->graph, 0), "cannot make recorded work ready");
    if (st == UM_OK) st = um_gpu_check(cudaGraphUpload(t->exec, s), "cannot make recorded work ready");
done:
    if (st != UM_OK) tape_free(t);
    else *out = t;
    return st;
}

static um_status tape_begin(um_tape *t)
{
    cudaStream_t s = um_gpu_get()->stream;
    UM_PASS(um_gpu_check(cudaGraphLaunch(t->exec, s), "cannot start work on the GPU"));
    return um_gpu_check(cudaEventRecord(t->end, s), "cannot start work on the GPU");
}

um_status um_gpu_tape_query(um_tape *t, bool *done)
{
    cudaError_t e = cudaEventQuery(t->end);
    *done = e == cudaSuccess;
    if (e == cudaErrorNotReady) {
        (void)cudaGetLastError();
        return UM_OK;
    }
    return um_gpu_check(e, "the GPU failed");
}

static um_status tape_end(um_tape *t) { return um_gpu_check(cudaEventSynchronize(t->end), "the GPU failed"); }

const um_device_ops um_gpu_device_ops = {
    .batch = 32,
    .memory_new = memory_new,
    .memory_free = memory_free,
    .host_new = host_new,
    .host_free = host_free,
    .upload = upload,
    .tape_new = tape_new,
    .copy = copy,
    .tape_begin = tape_begin,
    .tape_end = tape_end,
    .tape_free = tape_free,
};
