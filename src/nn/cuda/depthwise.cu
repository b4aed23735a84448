/* depthwise.cu: depthwise convolution 1x1, 3x3, 5x5, stride 1 or 2.
 *
 * A block makes a tile of ROWS x COLS outputs of 64 channels. It loads the tile's input once into shared memory, and there the bias and the activation of the producer are applied, once a number. A thread then makes a row of COLS outputs of 8 channels:
 * each input and each weight that it loads from shared memory serves several outputs, since shared memory, not arithmetic, is the narrow place. */
#include "src/nn/cuda/elem.cuh"
#include "src/nn/cuda/infer_kernels.h"

enum { CHANNELS = 64, GROUPS = CHANNELS / 8 };

template <class T, int R, int STRIDE> struct tile {
    static const int rows = sizeof(T) == 2 ? 16 : 8, cols = STRIDE == 1 ? 8 : 4;
    static const int in_rows = (rows - 1) * STRIDE + R, in_cols = (cols - 1) * STRIDE + R;
    static const int threads = rows * GROUPS;
    struct shared {
        float weight[R * R][CHANNELS];
        T in[in_rows][in_cols][CHANNELS];
    };
};

static void tiles_of(const um_gpu_depthwise_args *a, int *rows, int *cols)
{
    int high = a->type == UM_F32 ? 8 : 16, wide = a->stride == 1 ? 8 : 4;
    *rows = (a->p + high - 1) / high;
    *cols = (a->q + wide - 1) / wide;
}

template <class T, int R, int STRIDE> static __global__ void __launch_bounds__(128) depthwise_fwd_kernel(um_gpu_depthwise_args a)
{
    typedef tile<T, R, STRIDE> tl;
    UM_GPU_SHARED(typename tl::shared, shared);
    int tiles_x = (a.q + tl::cols - 1) / tl::cols, group = (int)threadIdx.x % GROUPS, row = (int)threadIdx.x / GROUPS;
    int p0 = (int)blockIdx.x / tiles_x * tl::rows, q0 = (int)blockIdx.x % tiles_x * tl::cols;
    int c0 = (int)blockIdx.y * CHANNELS + group * 8, left = a.c - c0;
    bool whole = a.c % 8 == 0;
    size_t image = (size_t)blockIdx.z;
    float v[8], bias[8] = {0};

    if (left > 0 && a.pre_bias != NULL) um_load_channels(a.pre_bias + c0, left, whole, bias);
    for (int i = row; i < R * R; i += tl::rows) {
#pragma unroll
        for (int j = 0; j < 8; j++) v[j] = 0;
        if (left > 0) um_load_channels(a.weight + (size_t)i * (size_t)a.c + c0, left, whole, v);
        um_store8(&shared->weight[i][group * 8], v);
    }
    for (int i = row; i < tl::in_rows * tl::in_cols; i += tl::rows) {
        int y = p0 * STRIDE - a.pad_top + i / tl::in_cols, x = q0 * STRIDE - a.pad_left + i % tl::in_cols;
#pragma unroll
        for (int j = 0; j < 8; j++) v[j] = 0;
        if (left > 0 && y >= 0 && y < a.h && x >= 0 && x < a.w) {
            um_load_channels((const T *)a.in + ((image * (size_t)a.h + (size_t)y) * (size_t)a.w + (size_t)x) * (size_t)a.c + c0, left, whole, v);
#pragma unroll
            for (int j = 0; j < 8; j++) v[j] = um_activate(a.pre_act, v[j] + bias[j], 0.0f);
        }
        um_store8(&shared->in[i / tl::in_cols][i % tl::in_cols][group * 8], v);
    }
    __syncthreads();

    float sum[tl::cols][8], all[8] = {0};
#pragma unroll
    for (int j = 0; j < 8; j++) bias[j] = 0;
    if (left > 0) um_load_channels(a.bias + c0, left, whole, bias);
#pragma unroll
    for (int q = 0; q < tl::cols; q++)
#pragma unroll
        for (int j = 0; j < 8; j++) sum[q][j] = bias[j];
#pragma unroll 1
    for (int r = 0; r < R; r++) {
        float w[R][8];
#pragma unroll
        for (int s = 0; s < R; s++) um_load8(&shared->weight[r * R + s][group * 8], w[s]);
#pragma unroll
        for (int x = 0; x < tl::in_cols; x++) {
            um_load8(&shared->in[row * STRIDE + r][x][group * 8], v);
#pragma unroll
            for (int s = 0; s < R; s++) {
                if ((x - s) % STRIDE != 0 || x < s || (x - s) / STRIDE >= tl::cols) continue;
#pragma unroll
                for (int j = 0; j < 8; j++) sum[(x - s) / STRIDE][j] = fmaf(v[j], w[s][j], sum[(x - s) / STRIDE][j]);
            }
        }
    }
    int p = p0 + row;
    if (left > 0 && p < a.p) {
        T *out = (T *)a.out + ((image * (size_t)a.p + (size_t)p) * (size_t)a.q + (size_t)q0) * (size_t)a.c + c0;
#pragma unroll
        for (int q = 0; q < tl::cols; q++) {
            if (q0 + q >= a.q) continue;
#pragma unroll
            for (int j = 0; j < 8; j++) {
                sum[q][j] = um_activate(a.act, sum[q][j], 0.0f);
                all[j] += sum[q][j];
            }
            um_store_channels(out + (size_t)q * (size_t)a.c, left, whole, sum[q]);
        }
    }
    if (a.means == NULL) return;
    /* The tile's sums a channel: a row each, then the rows in their order. The input's memory is free now. */
    __syncthreads();
    float(*rows)[CHANNELS] = (float(*)[CHANNELS])shared->in;
    um_store8(&rows[row][group * 8], all);
    __syncthreads();
    for (int c = (int)threadIdx.x; c < CHANNELS; c += tl::threads) {
        float total = 0;
        if ((int)blockIdx.y * CHANNELS + c >= a.c) continue;
        for (int i = 0; i < tl::rows; i++) total += rows[i][c];
        a.partial[(image * gridDim.x + blockIdx.x) * (size_t)a.c + (size_t)blockIdx.y * CHANNELS + (size_t)c] = total;
    }
}

/* (n, tiles, c) -> (n, c). */
enum { MEANS_THREADS = 128 };
static __global__ void __launch_bounds__(MEANS_THREADS) depthwise_means_f32_kernel(const float *partial, int tiles, int c, float area, float *means)
{
    int channel = (int)(blockIdx.x * MEANS_THREADS + threadIdx.x);
    if (channel >= c) return;
    const float *p = partial + (size_t)blockIdx.y * (size_t)tiles * (size_t)c + channel;
    float total = 0;
    for (int i = 0; i < tiles; i++) total += p[(size_t)i * (size_t)c];
    means[(size_t)blockIdx.y * (size_t)c + (size_t)channel] = total / area;
}

template <class T, int R, int STRIDE> static cudaError_t launch(const um_gpu_depthwise_args *a, cudaStream_t stream)
{
    typedef tile<T, R, STRIDE> tl;
    int rows, cols;
    tiles_of(a, &rows, &cols);
    dim3 grid((unsigned)(rows * cols), (unsigned)((a->c + CHANNELS - 1) / CHANNELS), (unsigned)a->n);
    size_t bytes = sizeof(typename tl::shared);
    cudaError_t e = cudaSuccess;
    if (bytes > 48 * 1024) e = cudaFuncSetAttribute((const void *)depthwise_fwd_kernel<T, R, STRIDE>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    return e != cudaSuccess ? e : um_gpu_launch((depthwise_fwd_kernel<T, R, STRIDE>), grid, (unsigned)tl::threads, bytes, stream, *a);
}

template <class T> static cudaError_t launch_shape(const um_gpu_depthwise_args *a, cudaStream_t stream)
{
    switch (a->r * 10 + a->stride) {
    case 11: return launch<T, 1, 1>(a, stream);
    case 31: return launch<T, 3, 1>(a, stream);
    case 32: return launch<T, 3, 2>(a, stream);
    case 51: return launch<T, 5, 1>(a, stream);
    case 52: return launch<T, 5, 2>(a, stream);
    default: return cudaErrorInvalidValue;
    }
}

extern "C" size_t um_gpu_depthwise_partial_bytes(const um_gpu_depthwise_args *a)
{
    int rows, cols;
    tiles_of(a, &rows, &cols);
    return (size_t)a->n * (size_t)rows * (size_t)cols * (size_t)a->c * sizeof(float);
}

extern "C" cudaError_t um_gpu_depthwise(const um_gpu_depthwise_args *a, cudaStream_t stream)
{
    int rows, cols;
    cudaError_t e = a->type == UM_F32 ? launch_shape<float>(a, stream) : launch_shape<um_bf16>(a, stream);
    if (e != cudaSuccess || a->means == NULL) return e;
    tiles_of(a, &rows, &cols);
    return um_gpu_launch(depthwise_means_f32_kernel, dim3((unsigned)((a->c + MEANS_THREADS - 1) / MEANS_THREADS), (unsigned)a->n), MEANS_THREADS, 0, stream, a->partial, rows * cols, a->c, (float)(a->p * a->q), a->means);
}
