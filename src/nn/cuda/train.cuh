#pragma once
/* train.cuh: what the kernels of training share: swish and its derivative, walking over a map, and sums.
 *
 * A walk: a block has 256 threads for 64 channels: 8 of them side by side take 8 channels each of one pixel, 32 pixels at a time. blockIdx is (part of the image, channels, image). */
#include "src/nn/cuda/elem.cuh"
#include "src/nn/cuda/train_kernels.h"

static const int UM_WALK_THREADS = 256, UM_WALK_CHANNELS = 64, UM_WALK_GROUPS = UM_WALK_CHANNELS / 8, UM_WALK_ROWS = UM_WALK_THREADS / UM_WALK_GROUPS, UM_WARP = 32, UM_WARPS = UM_WALK_THREADS / UM_WARP;
static const int UM_WALK_SUM_PIXELS = 32 * UM_WALK_ROWS, UM_WALK_MAP_PIXELS = 4 * UM_WALK_ROWS; /* of a block: where it leaves sums; where it leaves a map */

/* sigmoid of what belongs to a map of T. f32: as accurate as inference's. bf16: sigmoid(x) = tanh(x / 2) / 2 + 1/2 with one instruction of the slow kind where exp and the division take two; its error, 2^-12 of 1, is below that of the maps. */
template <class T> static __device__ __forceinline__ float um_sigmoid_of(float x)
{
    if (sizeof(T) == sizeof(float)) return um_sigmoid(x);
#ifdef UM_EMU
    float t = tanhf(0.5f * x);
#else
    float t;
    asm("tanh.approx.f32 %0, %1;" : "=f"(t) : "f"(0.5f * x));
#endif
    return fmaf(0.5f, t, 0.5f);
}
template <class T> static __device__ __forceinline__ float um_swish(float x) { return x * um_sigmoid_of<T>(x); }
/* s + x s (1 - s) */
static __device__ __forceinline__ float um_swish_slope(float x, float s) { return fmaf(x * s, 1.0f - s, s); }
/* The compiler no longer knows what v is, and makes anew what it made of it before, instead of keeping that in registers. */
static __device__ __forceinline__ void um_opaque(int &v) { asm volatile("" : "+r"(v)); }
/* As the map's type keeps it. */
static __device__ __forceinline__ float um_as_kept(float v, const float *) { return v; }
static __device__ __forceinline__ float um_as_kept(float v, const um_bf16 *) { return __uint_as_float((unsigned)um_round_bf16(v) << 16); }

typedef struct um_walk {
    int group, row, c0, left; /* left <= 0: no channels for this thread */
    bool whole;
    size_t image;
} um_walk;
static __device__ __forceinline__ um_walk um_walk_of(int c)
{
    um_walk w;
    w.group = (int)threadIdx.x % UM_WALK_GROUPS;
    w.row = (int)threadIdx.x / UM_WALK_GROUPS;
    w.c0 = (int)blockIdx.y * UM_WALK_CHANNELS + w.group * 8;
    w.left = c - w.c0;
    w.whole = c % 8 == 0;
    w.image = blockIdx.z;
    return w;
}
/* The block's 64 of (C) numbers into shared memory, whence a thread takes four at a time as it needs them (um_constants): eight of each in registers would leave too few for a block more. NULL: `other`. The caller synchronises. */
static __device__ __forceinline__ void um_stage(float *to, const float *from, float other, int c)
{
    int i = (int)threadIdx.x, channel = (int)blockIdx.y * UM_WALK_CHANNELS + i;
    if (i < UM_WALK_CHANNELS) to[i] = from != NULL && channel < c ? from[channel] : other;
}
static constexpr size_t um_stage_bytes(int k) { return (size_t)k * UM_WALK_CHANNELS * sizeof(float); }
/* at: the channel within the block's, a multiple of 4; opaque, so that it is really loaded here. */
template <int K> static __device__ __forceinline__ void um_constants(const float *staged, int at, float (&v)[K][4])
{
    um_opaque(at);
#pragma unroll
    for (int k = 0; k < K; k++) {
        float4 f = *(const float4 *)(staged + k * UM_WALK_CHANNELS + at);
        v[k][0] = f.x, v[k][1] = f.y, v[k][2] = f.z, v[k][3] = f.w;
    }
}

/* K sums of 8 channels a thread become (K, C) of the block: rows of a warp meet in shuffles, warps in shared memory, in their order. shared: um_sums_bytes(K). Every thread of the block calls it. */
static constexpr size_t um_sums_bytes(int k) { return (size_t)k * UM_WARPS * UM_WALK_CHANNELS * sizeof(float); }
template <int K> static __device__ __forceinline__ void um_block_sums(float (&v)[K][8], float *shared, int c, float *out)
{
    int warp = (int)threadIdx.x / UM_WARP, lane = (int)threadIdx.x % UM_WARP;
#pragma unroll
    for (int k = 0; k < K; k++)
#pragma unroll
        for (int i = 0; i < 8; i++) {
            v[k][i] += __shfl_xor_sync(0xffffffffu, v[k][i], 8);
            v[k][i] += __shfl_xor_sync(0xffffffffu, v[k][i], 16);
        }
    if (lane < UM_WALK_GROUPS)
#pragma unroll
        for (int k = 0; k < K; k++) um_store8(shared + ((size_t)k * UM_WARPS + (size_t)warp) * UM_WALK_CHANNELS + (size_t)lane * 8, v[k]);
    __syncthreads();
    for (int i = (int)threadIdx.x; i < K * UM_WALK_CHANNELS; i += UM_WALK_THREADS) {
        int k = i / UM_WALK_CHANNELS, j = i % UM_WALK_CHANNELS, channel = (int)blockIdx.y * UM_WALK_CHANNELS + j;
        if (channel >= c) continue;
        const float *from = shared + (size_t)k * UM_WARPS * UM_WALK_CHANNELS + j;
        float total = 0;
#pragma unroll
        for (int r = 0; r < UM_WARPS; r++) total += from[r * UM_WALK_CHANNELS];
        out[(size_t)k * (size_t)c + (size_t)channel] = total;
    }
}

/* ---- sums of blocks: out(i, j) = factor * sum over r of part(i, r, j), in f64: column by column, UM_FOLD_SPLITS threads each, whose own sums meet in their order ---- */

static const int UM_FOLD_COLUMNS = 32, UM_FOLD_SPLITS = 16;
template <class OUT> static __global__ void __launch_bounds__(UM_FOLD_COLUMNS * UM_FOLD_SPLITS) fold_kernel(const float *part, int rows, int width, double factor, OUT *out)
{
    UM_GPU_SHARED(double, shared);
    int x = (int)threadIdx.x % UM_FOLD_COLUMNS, split = (int)threadIdx.x / UM_FOLD_COLUMNS, column = (int)blockIdx.x * UM_FOLD_COLUMNS + x;
    double sum = 0;
    if (column < width) {
        const float *from = part + (size_t)blockIdx.y * (size_t)rows * (size_t)width + column;
#pragma unroll 4
        for (int r = split; r < rows; r += UM_FOLD_SPLITS) sum += (double)from[(size_t)r * (size_t)width];
    }
    shared[split * UM_FOLD_COLUMNS + x] = sum;
    __syncthreads();
    if (split != 0 || column >= width) return;
    for (int i = 1; i < UM_FOLD_SPLITS; i++) sum += shared[i * UM_FOLD_COLUMNS + x];
    out[(size_t)blockIdx.y * (size_t)width + (size_t)column] = (OUT)(sum * factor);
}
template <class OUT> static cudaError_t um_fold(const float *part, int outer, int rows, int width, double factor, OUT *out, cudaStream_t stream)
{
    if (outer == 0 || width == 0) return cudaSuccess;
    dim3 grid((unsigned)((width + UM_FOLD_COLUMNS - 1) / UM_FOLD_COLUMNS), (unsigned)outer);
    return um_gpu_launch(fold_kernel<OUT>, grid, UM_FOLD_COLUMNS * UM_FOLD_SPLITS, UM_FOLD_COLUMNS * UM_FOLD_SPLITS * sizeof(double), stream, part, rows, width, factor, out);
}

static inline int um_ceil_div(int a, int b) { return (a + b - 1) / b; }
static inline size_t um_map_bytes(int n, int area, int c, um_dtype type) { return (size_t)n * (size_t)area * (size_t)c * um_dtype_bytes(type); }
