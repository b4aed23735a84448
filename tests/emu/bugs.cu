#include "src/nn/cuda/gpu.h"
#include "tests/emu/bugs.h"

enum { N = 64 };

/* Each block of 32 or 64 threads turns its part of x round into y, in a way that needs what the bug leaves out. */
static __global__ void bug_kernel(int bug, const float *x, float *y)
{
    UM_GPU_SHARED(float, shared);
    int i = (int)threadIdx.x;
    if (bug == BUG_ADD_BETWEEN_BLOCKS) {
        if (i == 0) y[0] += x[blockIdx.x];
        return;
    }
    if (bug == BUG_SAME_CELL) {
        y[0] = x[i];
        return;
    }
    if (bug == BUG_MISALIGNED) {
        float4 v = *(const float4 *)(x + 1);
        y[i] = v.x;
        return;
    }
    if (bug == BUG_NO_WARP_BARRIER) {
        shared[i] = x[i];
        y[i] = shared[i ^ 1];
        return;
    }
    if (bug == BUG_DIVERGENT_BARRIER) {
        if (i < 32) __syncthreads();
        else
            __syncthreads();
    }
    float v = x[bug == BUG_LOAD_PAST_END ? i + 1 : i];
    if (bug == BUG_LANE_AWAY && i == 7) return;
    if (bug == BUG_LANE_AWAY) v += __shfl_sync(0xffffff7fu, v, 7);
    shared[bug == BUG_SHARED_OVERRUN ? i + 1 : i] = v;
    if (bug != BUG_NO_BARRIER) __syncthreads();
    if (bug == BUG_LANE_AWAY) return;
    y[bug == BUG_STORE_PAST_END ? i + 1 : i] = shared[bug == BUG_SHARED_OVERRUN ? i + 1 : N - 1 - i];
}

extern "C" cudaError_t bug_launch(int bug, const float *x, float *y, cudaStream_t stream)
{
    unsigned blocks = bug == BUG_ADD_BETWEEN_BLOCKS ? 4 : 1;
    return um_gpu_launch(bug_kernel, blocks, N, N * sizeof(float), stream, bug, x, y);
}

static __global__ void big_shared_kernel(float *y)
{
    UM_GPU_SHARED(float, shared);
    shared[threadIdx.x] = 1;
    y[threadIdx.x] = shared[threadIdx.x];
}
extern "C" cudaError_t bug_big_shared(float *y, cudaStream_t stream) { return um_gpu_launch(big_shared_kernel, 1, N, 49 * 1024, stream, y); }

static __global__ void add_kernel(float *y, const float *x) { y[threadIdx.x] += x[threadIdx.x]; }
extern "C" cudaError_t bug_add(float *y, const float *x, cudaStream_t stream) { return um_gpu_launch(add_kernel, 1, N, 0, stream, y, x); }
