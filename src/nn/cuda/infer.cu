/* infer.cu: the kernels of inference but for the depthwise convolution (depthwise.cu) and the products (gemm.c). */
#include "src/nn/cuda/elem.cuh"
#include "src/nn/cuda/infer_kernels.h"

enum { THREADS = 256, WARP = 32 };

static unsigned blocks_of(size_t n) { return (unsigned)((n + THREADS - 1) / THREADS); }

/* Eight channels of one pixel a thread: neighbours in a warp write neighbouring memory. */
static __device__ __forceinline__ bool group_of(size_t pixels, int c, size_t *pixel, int *c0)
{
    size_t groups = (size_t)((c + 7) / 8), i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    *pixel = i / groups;
    *c0 = (int)(i % groups) * 8;
    return *pixel < pixels;
}
static size_t groups_of(size_t pixels, int c) { return pixels * (size_t)((c + 7) / 8); }

/* ---- convert ---- */

template <class T> static __global__ void __launch_bounds__(THREADS) convert_fwd_kernel(um_gpu_convert_args a)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= a.pixels * (size_t)a.c) return;
    int c = (int)(i % (size_t)a.c);
    um_store((T *)a.out + i, ((float)a.in[i] / 255.0f - a.mean[c]) / a.std[c]);
}

extern "C" cudaError_t um_gpu_convert(const um_gpu_convert_args *a, cudaStream_t stream)
{
    unsigned blocks = blocks_of(a->pixels * (size_t)a->c);
    if (a->out_type == UM_F32) return um_gpu_launch(convert_fwd_kernel<float>, blocks, THREADS, 0, stream, *a);
    return um_gpu_launch(convert_fwd_kernel<um_bf16>, blocks, THREADS, 0, stream, *a);
}

/* ---- direct convolution ---- */

/* The number of the input under a tap, as the convolution sees it. */
static __device__ __forceinline__ float conv_input(const um_gpu_conv_args &a, const uint8_t *in, size_t at, int c) { return ((float)in[at] / 255.0f - a.mean[c]) / a.std[c]; }
static __device__ __forceinline__ float conv_input(const um_gpu_conv_args &a, const float *in, size_t at, int c) { return (void)a, (void)c, in[at]; }
static __device__ __forceinline__ float conv_input(const um_gpu_conv_args &a, const um_bf16 *in, size_t at, int c) { return (void)a, (void)c, um_load(in + at); }

template <class I, class T> static __global__ void __launch_bounds__(THREADS) conv_fwd_kernel(um_gpu_conv_args a)
{
    size_t pixel;
    int k0;
    if (!group_of((size_t)a.n * (size_t)a.p * (size_t)a.q, a.k, &pixel, &k0)) return;
    int q = (int)(pixel % (size_t)a.q), p = (int)(pixel / (size_t)a.q % (size_t)a.p), left = a.k - k0;
    size_t n = pixel / ((size_t)a.p * (size_t)a.q);
    if (a.count != NULL && n >= (size_t)*a.count) return;
    bool whole = a.k % 8 == 0;
    float sum[8] = {0};
    for (int r = 0; r < a.r; r++) {
        int y = p * a.stride + r - a.pad_top;
        if (y < 0 || y >= a.h) continue;
        for (int s = 0; s < a.s; s++) {
            int x = q * a.stride + s - a.pad_left;
            if (x < 0 || x >= a.w) continue;
            size_t at = ((n * (size_t)a.h + (size_t)y) * (size_t)a.w + (size_t)x) * (size_t)a.c;
            const float *w = a.weight + (size_t)(r * a.s + s) * (size_t)a.c * (size_t)a.k + k0;
            for (int c = 0; c < a.c; c++, w += a.k) {
                float v = conv_input(a, (const I *)a.in, at + (size_t)c, c), weight[8];
                um_load_channels(w, left, whole, weight);
#pragma unroll
                for (int i = 0; i < 8; i++) sum[i] = fmaf(v, weight[i], sum[i]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        bool there = i < left;
        sum[i] = um_activate(a.act, a.bias != NULL && there ? sum[i] + a.bias[k0 + i] : sum[i], a.slope != NULL && there ? a.slope[k0 + i] : 0.0f);
    }
    um_store_channels((T *)a.out + pixel * (size_t)a.k + k0, left, whole, sum);
}

extern "C" cudaError_t um_gpu_conv(const um_gpu_conv_args *a, cudaStream_t stream)
{
    unsigned blocks = blocks_of(groups_of((size_t)a->n * (size_t)a->p * (size_t)a->q, a->k));
    bool f32 = a->out_type == UM_F32;
    if (a->in_type == UM_U8) return f32 ? um_gpu_launch((conv_fwd_kernel<uint8_t, float>), blocks, THREADS, 0, stream, *a) : um_gpu_launch((conv_fwd_kernel<uint8_t, um_bf16>), blocks, THREADS, 0, stream, *a);
    if (a->in_type == UM_F32) return f32 ? um_gpu_launch((conv_fwd_kernel<float, float>), blocks, THREADS, 0, stream, *a) : um_gpu_launch((conv_fwd_kernel<float, um_bf16>), blocks, THREADS, 0, stream, *a);
    return f32 ? um_gpu_launch((conv_fwd_kernel<um_bf16, float>), blocks, THREADS, 0, stream, *a) : um_gpu_launch((conv_fwd_kernel<um_bf16, um_bf16>), blocks, THREADS, 0, stream, *a);
}

/* ---- dense ---- */

/* A warp makes one output of up to DENSE_ROWS images, so that each weight is read once for them. */
enum { DENSE_ROWS = 4 };

static __global__ void __launch_bounds__(THREADS) dense_fwd_f32_kernel(um_gpu_dense_args a)
{
    int lane = (int)threadIdx.x % WARP, k = (int)(blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP), n0 = (int)blockIdx.y * DENSE_ROWS;
    if (k >= a.k) return;
    float sum[DENSE_ROWS] = {0};
    const float *w = a.weight + (size_t)k * (size_t)a.c, *in = a.in + (size_t)n0 * (size_t)a.c;
    int there = a.count != NULL ? *a.count : a.n, rows = there - n0 < DENSE_ROWS ? there - n0 : DENSE_ROWS;
    if (rows <= 0) return;
    for (int c = lane; c < a.c; c += WARP) {
        float weight = w[c];
#pragma unroll
        for (int i = 0; i < DENSE_ROWS; i++)
            if (i < rows) sum[i] = fmaf(in[(size_t)i * (size_t)a.c + (size_t)c], weight, sum[i]);
    }
#pragma unroll
    for (int i = 0; i < DENSE_ROWS; i++) {
#pragma unroll
        for (int by = WARP / 2; by > 0; by /= 2) sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], by);
        if (lane == 0 && i < rows) a.out[(size_t)(n0 + i) * (size_t)a.k + (size_t)k] = um_activate(a.act, sum[i] + a.bias[k], a.slope != NULL ? a.slope[k] : 0.0f);
    }
}

extern "C" cudaError_t um_gpu_dense(const um_gpu_dense_args *a, cudaStream_t stream)
{
    dim3 grid((unsigned)((a->k + THREADS / WARP - 1) / (THREADS / WARP)), (unsigned)((a->n + DENSE_ROWS - 1) / DENSE_ROWS));
    return um_gpu_launch(dense_fwd_f32_kernel, grid, THREADS, 0, stream, *a);
}

template <class T> static __global__ void __launch_bounds__(THREADS) gate_weights_fwd_kernel(um_gpu_gate_weights_args a)
{
    size_t row; /* (n,k) */
    int c0;
    if (!group_of((size_t)a.n * (size_t)a.k, a.c, &row, &c0)) return;
    size_t n = row / (size_t)a.k, k = row % (size_t)a.k;
    int left = a.c - c0;
    bool whole = a.c % 8 == 0;
    float w[8], gate[8];
    um_load_channels(a.weight + k * (size_t)a.c + c0, left, whole, w);
    um_load_channels(a.gate + n * (size_t)a.c + c0, left, whole, gate);
#pragma unroll
    for (int i = 0; i < 8; i++) w[i] *= gate[i];
    um_store_channels((T *)a.out + row * (size_t)a.c + c0, left, whole, w);
}

extern "C" cudaError_t um_gpu_gate_weights(const um_gpu_gate_weights_args *a, cudaStream_t stream)
{
    unsigned blocks = blocks_of(groups_of((size_t)a->n * (size_t)a->k, a->c));
    if (a->type == UM_F32) return um_gpu_launch(gate_weights_fwd_kernel<float>, blocks, THREADS, 0, stream, *a);
    return um_gpu_launch(gate_weights_fwd_kernel<um_bf16>, blocks, THREADS, 0, stream, *a);
}

/* ---- mean ---- */

/* A block makes 64 channels of one image: 8 groups of 8 channels, 32 pixels at a time; then the 32 sums of a channel meet in a fixed order. */
enum { MEAN_CHANNELS = 64, MEAN_PIXELS = THREADS * 8 / MEAN_CHANNELS };
typedef struct mean_shared {
    float sum[MEAN_PIXELS][MEAN_CHANNELS];
} mean_shared;

template <class T> static __global__ void __launch_bounds__(THREADS) mean_fwd_kernel(um_gpu_mean_args a)
{
    UM_GPU_SHARED(mean_shared, shared);
    int group = (int)threadIdx.x % 8, row = (int)threadIdx.x / 8, c0 = (int)blockIdx.x * MEAN_CHANNELS + group * 8, left = a.c - c0;
    bool whole = a.c % 8 == 0;
    float sum[8] = {0}, bias[8] = {0};
    if (left > 0) {
        const T *in = (const T *)a.in + (size_t)blockIdx.y * (size_t)a.area * (size_t)a.c + c0;
        if (a.pre_bias != NULL) um_load_channels(a.pre_bias + c0, left, whole, bias);
        for (int i = row; i < a.area; i += MEAN_PIXELS) {
            float v[8];
            um_load_channels(in + (size_t)i * (size_t)a.c, left, whole, v);
#pragma unroll
            for (int j = 0; j < 8; j++) sum[j] += um_activate(a.pre_act, v[j] + bias[j], 0.0f);
        }
    }
#pragma unroll
    for (int j = 0; j < 8; j++) shared->sum[row][group * 8 + j] = sum[j];
    __syncthreads();
    int c = (int)blockIdx.x * MEAN_CHANNELS + (int)threadIdx.x;
    if (threadIdx.x >= MEAN_CHANNELS || c >= a.c) return;
    float all = 0;
    for (int i = 0; i < MEAN_PIXELS; i++) all += shared->sum[i][threadIdx.x];
    a.out[(size_t)blockIdx.y * (size_t)a.c + (size_t)c] = all / (float)a.area;
}

extern "C" cudaError_t um_gpu_mean(const um_gpu_mean_args *a, cudaStream_t stream)
{
    dim3 grid((unsigned)((a->c + MEAN_CHANNELS - 1) / MEAN_CHANNELS), (unsigned)a->n);
    if (a->type == UM_F32) return um_gpu_launch(mean_fwd_kernel<float>, grid, THREADS, sizeof(mean_shared), stream, *a);
    return um_gpu_launch(mean_fwd_kernel<um_bf16>, grid, THREADS, sizeof(mean_shared), stream, *a);
}

/* ---- elements ---- */

template <class I, class T> static __global__ void __launch_bounds__(THREADS) elements_fwd_kernel(um_gpu_elements_args a)
{
    size_t pixel;
    int c0;
    if (!group_of((size_t)a.n * (size_t)a.area, a.c, &pixel, &c0)) return;
    int left = a.c - c0;
    bool whole = a.c % 8 == 0;
    size_t at = pixel * (size_t)a.c + c0;
    float v[8], w[8];
    um_load_channels((const I *)a.in + at, left, whole, v);
    if (a.gate != NULL) {
        um_load_channels(a.gate + pixel / (size_t)a.area * (size_t)a.c + c0, left, whole, w);
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] *= w[i];
    }
    if (a.bias != NULL) {
        um_load_channels(a.bias + c0, left, whole, w);
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] += w[i];
    }
    if (a.residual != NULL) {
        um_load_channels((const T *)a.residual + at, left, whole, w);
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] += w[i];
    }
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = um_activate(a.act, v[i], a.slope != NULL && i < left ? a.slope[c0 + i] : 0.0f);
    um_store_channels((T *)a.out + at, left, whole, v);
}

extern "C" cudaError_t um_gpu_elements(const um_gpu_elements_args *a, cudaStream_t stream)
{
    unsigned blocks = blocks_of(groups_of((size_t)a->n * (size_t)a->area, a->c));
    bool f32 = a->out_type == UM_F32;
    if (a->in_type == UM_F32) return f32 ? um_gpu_launch((elements_fwd_kernel<float, float>), blocks, THREADS, 0, stream, *a) : um_gpu_launch((elements_fwd_kernel<float, um_bf16>), blocks, THREADS, 0, stream, *a);
    return f32 ? um_gpu_launch((elements_fwd_kernel<um_bf16, float>), blocks, THREADS, 0, stream, *a) : um_gpu_launch((elements_fwd_kernel<um_bf16, um_bf16>), blocks, THREADS, 0, stream, *a);
}

/* ---- max pool ---- */

template <class T> static __global__ void __launch_bounds__(THREADS) max_pool_fwd_kernel(um_gpu_max_pool_args a)
{
    size_t pixel;
    int c0;
    if (!group_of((size_t)a.n * (size_t)a.p * (size_t)a.q, a.c, &pixel, &c0)) return;
    int q = (int)(pixel % (size_t)a.q), p = (int)(pixel / (size_t)a.q % (size_t)a.p), left = a.c - c0;
    size_t n = pixel / ((size_t)a.p * (size_t)a.q);
    if (a.count != NULL && n >= (size_t)*a.count) return;
    bool whole = a.c % 8 == 0;
    float most[8];
#pragma unroll
    for (int i = 0; i < 8; i++) most[i] = -INFINITY;
    for (int y = p * a.stride; y < p * a.stride + a.r && y < a.h; y++)
        for (int x = q * a.stride; x < q * a.stride + a.s && x < a.w; x++) {
            float v[8];
            um_load_channels((const T *)a.in + ((n * (size_t)a.h + (size_t)y) * (size_t)a.w + (size_t)x) * (size_t)a.c + c0, left, whole, v);
#pragma unroll
            for (int i = 0; i < 8; i++) most[i] = fmaxf(most[i], v[i]);
        }
    um_store_channels((T *)a.out + pixel * (size_t)a.c + c0, left, whole, most);
}

extern "C" cudaError_t um_gpu_max_pool(const um_gpu_max_pool_args *a, cudaStream_t stream)
{
    unsigned blocks = blocks_of(groups_of((size_t)a->n * (size_t)a->p * (size_t)a->q, a->c));
    if (a->type == UM_F32) return um_gpu_launch(max_pool_fwd_kernel<float>, blocks, THREADS, 0, stream, *a);
    return um_gpu_launch(max_pool_fwd_kernel<um_bf16>, blocks, THREADS, 0, stream, *a);
}
