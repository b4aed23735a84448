/* train_norm.cu: batch norm in training: sums, statistics, normalising with what stands beside it, and the way back. Maps are read in the types they have; sums are f32 in a block and f64 between blocks. */
#include "src/nn/cuda/train.cuh"

static dim3 grid_of(int n, int area, int c, int pixels) { return dim3((unsigned)um_ceil_div(area, pixels), (unsigned)um_ceil_div(c, UM_WALK_CHANNELS), (unsigned)n); }
static size_t parts_of(int n, int area, int c, int k) { return (size_t)n * (size_t)um_ceil_div(area, UM_WALK_SUM_PIXELS) * (size_t)k * (size_t)c * sizeof(float); }

/* ---- statistics ---- */

template <class T> static __global__ void __launch_bounds__(UM_WALK_THREADS, 4) norm_stats_kernel(um_gpu_norm_stats_args a)
{
    UM_GPU_SHARED(float, shared);
    um_walk w = um_walk_of(a.c);
    float about[8] = {}, sum[2][8] = {};
    if (w.left > 0) um_load_channels(a.about + w.c0, w.left, w.whole, about);
    if (w.left > 0) {
        const T *z = (const T *)a.z + w.image * (size_t)a.area * (size_t)a.c + w.c0;
        int end = min(a.area, ((int)blockIdx.x + 1) * UM_WALK_SUM_PIXELS);
#pragma unroll 2
        for (int i = (int)blockIdx.x * UM_WALK_SUM_PIXELS + w.row; i < end; i += UM_WALK_ROWS) {
            float v[8];
            um_load_channels(z + (size_t)i * (size_t)a.c, w.left, w.whole, v);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                float d = v[j] - about[j];
                sum[0][j] += d;
                sum[1][j] = fmaf(d, d, sum[1][j]);
            }
        }
    }
    um_block_sums(sum, shared, a.c, (float *)a.scratch + (w.image * gridDim.x + blockIdx.x) * 2 * (size_t)a.c);
}

extern "C" size_t um_gpu_norm_stats_scratch(const um_gpu_norm_stats_args *a) { return parts_of(a->n, a->area, a->c, 2); }
extern "C" size_t um_gpu_norm_stats_bytes(const um_gpu_norm_stats_args *a) { return um_map_bytes(a->n, a->area, a->c, a->type) + (size_t)a->c * (sizeof(float) + 2 * sizeof(double)); }
extern "C" cudaError_t um_gpu_norm_stats(const um_gpu_norm_stats_args *a, cudaStream_t stream)
{
    dim3 grid = grid_of(a->n, a->area, a->c, UM_WALK_SUM_PIXELS);
    cudaError_t e = cudaSuccess;
    if (a->n > 0) e = a->type == UM_F32 ? um_gpu_launch(norm_stats_kernel<float>, grid, UM_WALK_THREADS, um_sums_bytes(2), stream, *a) : um_gpu_launch(norm_stats_kernel<um_bf16>, grid, UM_WALK_THREADS, um_sums_bytes(2), stream, *a);
    return e != cudaSuccess ? e : um_fold((const float *)a->scratch, 1, a->n * (int)grid.x, 2 * a->c, 1, a->sums, stream);
}

/* ---- between forward and backward: a thread a channel ---- */

static const int CHANNEL_THREADS = 128;
static __device__ __forceinline__ int channel_of(void) { return (int)(blockIdx.x * CHANNEL_THREADS + threadIdx.x); }
static unsigned channel_blocks(int c) { return (unsigned)um_ceil_div(c, CHANNEL_THREADS); }

static __global__ void norm_count_kernel(double *message, double value)
{
    if (threadIdx.x == 0) message[0] = value;
}
extern "C" cudaError_t um_gpu_norm_count(double *message, double value, cudaStream_t stream) { return um_gpu_launch(norm_count_kernel, 1, UM_WARP, 0, stream, message, value); }

static __global__ void __launch_bounds__(CHANNEL_THREADS) norm_finish_kernel(um_gpu_norm_finish_args a)
{
    int c = channel_of();
    if (c >= a.c) return;
    double count = a.message[0], momentum = (double)a.momentum, shift = a.message[1 + c] / count, var = a.message[1 + a.c + c] / count - shift * shift, mean = (double)a.running_mean[c] + shift;
    if (count < 2) var = (double)NAN;
    if (var < 0) var = 0; /* by rounding; a NaN stays */
    double rstd = 1 / sqrt(var + (double)a.eps);
    a.norm.mean[c] = (float)mean;
    a.norm.rstd[c] = (float)rstd;
    a.norm.scale[c] = (float)((double)a.weight[c] * rstd);
    a.norm.bias[c] = a.bias[c];
    a.running_mean[c] = (float)((1 - momentum) * (double)a.running_mean[c] + momentum * mean);
    a.running_var[c] = (float)((1 - momentum) * (double)a.running_var[c] + momentum * var * (count / (count - 1)));
}
static __global__ void __launch_bounds__(CHANNEL_THREADS) norm_running_kernel(um_gpu_norm_finish_args a)
{
    int c = channel_of();
    if (c >= a.c) return;
    double root = sqrt((double)a.running_var[c] + (double)a.eps);
    a.norm.mean[c] = a.running_mean[c];
    a.norm.rstd[c] = (float)(1 / root);
    a.norm.scale[c] = (float)((double)a.weight[c] / root);
    a.norm.bias[c] = a.bias[c];
}
extern "C" size_t um_gpu_norm_finish_bytes(const um_gpu_norm_finish_args *a) { return (size_t)a->c * (2 * sizeof(double) + 10 * sizeof(float)); }
extern "C" cudaError_t um_gpu_norm_finish(const um_gpu_norm_finish_args *a, cudaStream_t stream) { return um_gpu_launch(norm_finish_kernel, channel_blocks(a->c), CHANNEL_THREADS, 0, stream, *a); }
extern "C" cudaError_t um_gpu_norm_running(const um_gpu_norm_finish_args *a, cudaStream_t stream) { return um_gpu_launch(norm_running_kernel, channel_blocks(a->c), CHANNEL_THREADS, 0, stream, *a); }

static __global__ void __launch_bounds__(CHANNEL_THREADS) norm_data_finish_kernel(um_gpu_norm_data_finish_args a)
{
    int c = channel_of();
    if (c >= a.c) return;
    double by_mean = a.message[c], by_scale = a.message[a.c + c], scale = (double)a.norm.scale[c], count = a.count[0];
    a.norm.b[c] = (float)(-scale * by_scale / count * (double)a.norm.rstd[c]);
    a.norm.c[c] = (float)(-scale * by_mean / count);
    a.dweight[c] = a.first ? (float)by_scale + 0.0f : 0.0f; /* never -0, which + 0 of another rank would turn */
    a.dbias[c] = a.first ? (float)by_mean + 0.0f : 0.0f;
}
extern "C" size_t um_gpu_norm_data_finish_bytes(const um_gpu_norm_data_finish_args *a) { return (size_t)a->c * (2 * sizeof(double) + 6 * sizeof(float)); }
extern "C" cudaError_t um_gpu_norm_data_finish(const um_gpu_norm_data_finish_args *a, cudaStream_t stream) { return um_gpu_launch(norm_data_finish_kernel, channel_blocks(a->c), CHANNEL_THREADS, 0, stream, *a); }

/* ---- forward ---- */

template <class T, bool SWISH> static __global__ void __launch_bounds__(UM_WALK_THREADS, 4) norm_fwd_kernel(um_gpu_norm_fwd_args a)
{
    UM_GPU_SHARED(float, staged);
    um_walk w = um_walk_of(a.c);
    um_stage(staged, a.norm.mean, 0, a.c);
    um_stage(staged + UM_WALK_CHANNELS, a.norm.scale, 0, a.c);
    um_stage(staged + 2 * UM_WALK_CHANNELS, a.norm.bias, 0, a.c);
    um_stage(staged + 3 * UM_WALK_CHANNELS, a.gate == NULL ? NULL : a.gate + w.image * (size_t)a.c, 1, a.c);
    if (a.keep != NULL && threadIdx.x < UM_WALK_CHANNELS) staged[3 * UM_WALK_CHANNELS + threadIdx.x] *= a.keep[w.image];
    __syncthreads();
    if (w.left <= 0) return;
    size_t at = w.image * (size_t)a.area * (size_t)a.c + (size_t)w.c0;
    int end = min(a.area, ((int)blockIdx.x + 1) * UM_WALK_MAP_PIXELS);
#pragma unroll 1
    for (int i = (int)blockIdx.x * UM_WALK_MAP_PIXELS + w.row; i < end; i += UM_WALK_ROWS) {
        size_t p = at + (size_t)i * (size_t)a.c;
        float v[8], x[8] = {};
        um_load_channels((const T *)a.z + p, w.left, w.whole, v);
        if (a.residual != NULL) um_load_channels((const T *)a.residual + p, w.left, w.whole, x);
#pragma unroll
        for (int half = 0; half < 8; half += 4) {
            float k[4][4]; /* mean, scale, bias, gate */
            um_constants(staged, w.group * 8 + half, k);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                float u = fmaf(v[half + j] - k[0][j], k[1][j], k[2][j]);
                v[half + j] = fmaf(SWISH ? um_swish<T>(u) : u, k[3][j], x[half + j]);
            }
        }
        um_store_channels((T *)a.out + p, w.left, w.whole, v);
    }
}

/* The kernel for a type and an activation; other activations have none. */
#define LAUNCH(kernel, a, grid, shared, stream)                                                                                            \
    ((a)->act != UM_ACT_SWISH && (a)->act != UM_ACT_NONE ? cudaErrorInvalidValue                                                           \
     : (a)->type == UM_F32 ? ((a)->act == UM_ACT_SWISH ? um_gpu_launch((kernel<float, true>), grid, UM_WALK_THREADS, shared, stream, *(a))      \
                                                       : um_gpu_launch((kernel<float, false>), grid, UM_WALK_THREADS, shared, stream, *(a)))    \
                           : ((a)->act == UM_ACT_SWISH ? um_gpu_launch((kernel<um_bf16, true>), grid, UM_WALK_THREADS, shared, stream, *(a))    \
                                                       : um_gpu_launch((kernel<um_bf16, false>), grid, UM_WALK_THREADS, shared, stream, *(a))))

extern "C" size_t um_gpu_norm_fwd_bytes(const um_gpu_norm_fwd_args *a)
{
    return um_map_bytes(a->n, a->area, a->c, a->type) * (a->residual != NULL ? 3 : 2) + (size_t)a->c * 3 * sizeof(float) + (a->gate != NULL ? (size_t)a->n * (size_t)a->c * sizeof(float) : 0) + (a->keep != NULL ? (size_t)a->n * sizeof(float) : 0);
}
extern "C" cudaError_t um_gpu_norm_fwd(const um_gpu_norm_fwd_args *a, cudaStream_t stream)
{
    dim3 grid = grid_of(a->n, a->area, a->c, UM_WALK_MAP_PIXELS);
    return a->n == 0 ? cudaSuccess : LAUNCH(norm_fwd_kernel, a, grid, um_stage_bytes(4), stream);
}

template <class T, bool SWISH> static __global__ void __launch_bounds__(UM_WALK_THREADS, 4) norm_means_kernel(um_gpu_norm_means_args a)
{
    UM_GPU_SHARED(float, shared);
    um_walk w = um_walk_of(a.c);
    float sum[1][8] = {}, *staged = shared + um_sums_bytes(1) / sizeof(float);
    um_stage(staged, a.norm.mean, 0, a.c);
    um_stage(staged + UM_WALK_CHANNELS, a.norm.scale, 0, a.c);
    um_stage(staged + 2 * UM_WALK_CHANNELS, a.norm.bias, 0, a.c);
    __syncthreads();
    if (w.left > 0) {
        const T *z = (const T *)a.z + w.image * (size_t)a.area * (size_t)a.c + w.c0;
        int end = min(a.area, ((int)blockIdx.x + 1) * UM_WALK_SUM_PIXELS);
#pragma unroll 2
        for (int i = (int)blockIdx.x * UM_WALK_SUM_PIXELS + w.row; i < end; i += UM_WALK_ROWS) {
            float v[8];
            um_load_channels(z + (size_t)i * (size_t)a.c, w.left, w.whole, v);
#pragma unroll
            for (int half = 0; half < 8; half += 4) {
                float k[3][4]; /* mean, scale, bias */
                um_constants(staged, w.group * 8 + half, k);
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    float u = fmaf(v[half + j] - k[0][j], k[1][j], k[2][j]);
                    sum[0][half + j] += SWISH ? um_swish<T>(u) : u;
                }
            }
        }
    }
    um_block_sums(sum, shared, a.c, (float *)a.scratch + (w.image * gridDim.x + blockIdx.x) * (size_t)a.c);
}

extern "C" size_t um_gpu_norm_means_scratch(const um_gpu_norm_means_args *a) { return parts_of(a->n, a->area, a->c, 1); }
extern "C" size_t um_gpu_norm_means_bytes(const um_gpu_norm_means_args *a) { return um_map_bytes(a->n, a->area, a->c, a->type) + (size_t)a->c * (size_t)(a->n + 3) * sizeof(float); }
extern "C" cudaError_t um_gpu_norm_means(const um_gpu_norm_means_args *a, cudaStream_t stream)
{
    dim3 grid = grid_of(a->n, a->area, a->c, UM_WALK_SUM_PIXELS);
    if (a->n == 0) return cudaSuccess;
    cudaError_t e = LAUNCH(norm_means_kernel, a, grid, um_sums_bytes(1) + um_stage_bytes(3), stream);
    return e != cudaSuccess ? e : um_fold((const float *)a->scratch, a->n, (int)grid.x, a->c, 1 / (double)a->area, a->means, stream);
}

/* ---- backward ---- */

/* In shared memory: mean, scale, bias, what du takes of the image: keep(n), and e_mean(n,c) / area where e is no map. */
static __device__ __forceinline__ void stage_bwd(const um_gpu_norm_bwd_args &a, const um_walk &w, float *staged)
{
    um_stage(staged, a.norm.mean, 0, a.c);
    um_stage(staged + UM_WALK_CHANNELS, a.norm.scale, 0, a.c);
    um_stage(staged + 2 * UM_WALK_CHANNELS, a.norm.bias, 0, a.c);
    um_stage(staged + 3 * UM_WALK_CHANNELS, a.e == NULL ? a.e_mean + w.image * (size_t)a.c : NULL, 1, a.c);
    if (threadIdx.x < UM_WALK_CHANNELS) staged[3 * UM_WALK_CHANNELS + threadIdx.x] *= (a.keep == NULL ? 1.0f : a.keep[w.image]) / (a.e == NULL ? (float)a.area : 1.0f);
}
/* du of one number; d: z - mean. */
template <class T, bool SWISH> static __device__ __forceinline__ float back_through(float e, float factor, float d, float scale, float bias)
{
    if (!SWISH) return e * factor;
    float u = fmaf(d, scale, bias);
    return e * factor * um_swish_slope(u, um_sigmoid_of<T>(u));
}

template <class T, bool SWISH> static __global__ void __launch_bounds__(UM_WALK_THREADS, 4) norm_bwd_sums_kernel(um_gpu_norm_bwd_args a)
{
    UM_GPU_SHARED(float, shared);
    um_walk w = um_walk_of(a.c);
    float sum[2][8] = {}, *staged = shared + um_sums_bytes(2) / sizeof(float);
    stage_bwd(a, w, staged);
    um_stage(staged + 4 * UM_WALK_CHANNELS, a.norm.rstd, 0, a.c);
    __syncthreads();
    if (w.left > 0) {
        size_t at = w.image * (size_t)a.area * (size_t)a.c + (size_t)w.c0;
        int end = min(a.area, ((int)blockIdx.x + 1) * UM_WALK_SUM_PIXELS);
#pragma unroll 1
        for (int i = (int)blockIdx.x * UM_WALK_SUM_PIXELS + w.row; i < end; i += UM_WALK_ROWS) {
            float v[8], e[8] = {1, 1, 1, 1, 1, 1, 1, 1};
            size_t p = at + (size_t)i * (size_t)a.c;
            um_load_channels((const T *)a.z + p, w.left, w.whole, v);
            if (a.e != NULL) um_load_channels((const T *)a.e + p, w.left, w.whole, e);
#pragma unroll
            for (int half = 0; half < 8; half += 4) {
                float k[4][4];
                um_constants(staged, w.group * 8 + half, k);
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    float d = v[half + j] - k[0][j], du = back_through<T, SWISH>(e[half + j], k[3][j], d, k[1][j], k[2][j]);
                    sum[0][half + j] += du;
                    sum[1][half + j] = fmaf(du, d, sum[1][half + j]);
                }
            }
        }
    }
#pragma unroll
    for (int j = 0; j < 8; j++) sum[1][j] *= staged[4 * UM_WALK_CHANNELS + w.group * 8 + j];
    um_block_sums(sum, shared, a.c, (float *)a.scratch + (w.image * gridDim.x + blockIdx.x) * 2 * (size_t)a.c);
}

template <class T, bool SWISH> static __global__ void __launch_bounds__(UM_WALK_THREADS, 4) norm_bwd_kernel(um_gpu_norm_bwd_args a)
{
    UM_GPU_SHARED(float, staged);
    um_walk w = um_walk_of(a.c);
    stage_bwd(a, w, staged);
    um_stage(staged + 4 * UM_WALK_CHANNELS, a.norm.b, 0, a.c);
    um_stage(staged + 5 * UM_WALK_CHANNELS, a.norm.c, 0, a.c);
    __syncthreads();
    if (w.left <= 0) return;
    size_t at = w.image * (size_t)a.area * (size_t)a.c + (size_t)w.c0;
    int end = min(a.area, ((int)blockIdx.x + 1) * UM_WALK_MAP_PIXELS);
#pragma unroll 1
    for (int i = (int)blockIdx.x * UM_WALK_MAP_PIXELS + w.row; i < end; i += UM_WALK_ROWS) {
        float v[8], e[8] = {1, 1, 1, 1, 1, 1, 1, 1};
        size_t p = at + (size_t)i * (size_t)a.c;
        um_load_channels((const T *)a.z + p, w.left, w.whole, v);
        if (a.e != NULL) um_load_channels((const T *)a.e + p, w.left, w.whole, e);
#pragma unroll
        for (int half = 0; half < 8; half += 4) {
            float k[6][4]; /* and b, c */
            um_constants(staged, w.group * 8 + half, k);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                float d = v[half + j] - k[0][j], du = back_through<T, SWISH>(e[half + j], k[3][j], d, k[1][j], k[2][j]);
                v[half + j] = fmaf(k[1][j], du, fmaf(k[4][j], d, k[5][j]));
            }
        }
        um_store_channels((T *)a.dz + p, w.left, w.whole, v);
    }
}

static size_t bwd_reads(const um_gpu_norm_bwd_args *a)
{
    size_t map = um_map_bytes(a->n, a->area, a->c, a->type);
    return map + (a->e != NULL ? map : (size_t)a->n * (size_t)a->c * sizeof(float)) + (a->keep != NULL ? (size_t)a->n * sizeof(float) : 0);
}
extern "C" size_t um_gpu_norm_bwd_sums_scratch(const um_gpu_norm_bwd_args *a) { return parts_of(a->n, a->area, a->c, 2); }
extern "C" size_t um_gpu_norm_bwd_sums_bytes(const um_gpu_norm_bwd_args *a) { return bwd_reads(a) + (size_t)a->c * (4 * sizeof(float) + 2 * sizeof(double)); }
extern "C" cudaError_t um_gpu_norm_bwd_sums(const um_gpu_norm_bwd_args *a, cudaStream_t stream)
{
    dim3 grid = grid_of(a->n, a->area, a->c, UM_WALK_SUM_PIXELS);
    cudaError_t e = cudaSuccess;
    if (a->n > 0) e = LAUNCH(norm_bwd_sums_kernel, a, grid, um_sums_bytes(2) + um_stage_bytes(5), stream);
    return e != cudaSuccess ? e : um_fold((const float *)a->scratch, 1, a->n * (int)grid.x, 2 * a->c, 1, a->sums, stream);
}
extern "C" size_t um_gpu_norm_bwd_bytes(const um_gpu_norm_bwd_args *a) { return bwd_reads(a) + um_map_bytes(a->n, a->area, a->c, a->type) + (size_t)a->c * 5 * sizeof(float); }
extern "C" cudaError_t um_gpu_norm_bwd(const um_gpu_norm_bwd_args *a, cudaStream_t stream)
{
    dim3 grid = grid_of(a->n, a->area, a->c, UM_WALK_MAP_PIXELS);
    return a->n == 0 ? cudaSuccess : LAUNCH(norm_bwd_kernel, a, grid, um_stage_bytes(6), stream);
}
