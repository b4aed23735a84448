/* train_squeeze.cu: squeeze-and-excite in training: the two small dense layers of the gate, forward and back, and the one pass over the maps that both its gradient and batch norm's sums are made of. All but the maps is f32.
 *
 * Weights of a layer are read once for up to IMAGES images. */
#include "src/nn/cuda/train.cuh"

static const int THREADS = 256, WARPS = THREADS / UM_WARP, IMAGES = 4;

/* ---- forward: a warp makes one output of IMAGES images ---- */

/* out(n,k) = sum over c of in(n,c) weight(k,c) + bias(k). REDUCE: squeezed of means; else the gate of swish(squeezed). */
template <bool REDUCE> static __global__ void __launch_bounds__(THREADS) se_fwd_f32_kernel(um_gpu_se_args a)
{
    int lane = (int)threadIdx.x % UM_WARP, k = (int)blockIdx.x * WARPS + (int)threadIdx.x / UM_WARP, n0 = (int)blockIdx.y * IMAGES, images = min(a.n - n0, IMAGES);
    int count = REDUCE ? a.c : a.s, outs = REDUCE ? a.s : a.c;
    if (k >= outs) return;
    const float *in = (REDUCE ? a.means : a.squeezed) + (size_t)n0 * (size_t)count, *weight = (REDUCE ? a.w_reduce : a.w_excite) + (size_t)k * (size_t)count;
    float sum[IMAGES] = {};
    for (int c = lane; c < count; c += UM_WARP) {
        float w = weight[c];
#pragma unroll
        for (int i = 0; i < IMAGES; i++) {
            if (i >= images) continue;
            float v = in[(size_t)i * (size_t)count + (size_t)c];
            sum[i] = fmaf(REDUCE ? v : um_swish<float>(v), w, sum[i]);
        }
    }
    float bias = (REDUCE ? a.b_reduce : a.b_excite)[k];
#pragma unroll
    for (int i = 0; i < IMAGES; i++) {
#pragma unroll
        for (int by = UM_WARP / 2; by > 0; by /= 2) sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], by);
        if (lane != 0 || i >= images) continue;
        if (REDUCE) a.squeezed[(size_t)(n0 + i) * (size_t)outs + (size_t)k] = sum[i] + bias;
        else a.gate[(size_t)(n0 + i) * (size_t)outs + (size_t)k] = um_sigmoid(sum[i] + bias);
    }
}

static size_t dense_bytes(const um_gpu_se_args *a) { return (2 * (size_t)a->s * (size_t)a->c + (size_t)a->s + (size_t)a->c) * sizeof(float); }
static unsigned image_blocks(const um_gpu_se_args *a) { return (unsigned)um_ceil_div(a->n, IMAGES); }

extern "C" size_t um_gpu_se_fwd_bytes(const um_gpu_se_args *a) { return dense_bytes(a) + (size_t)a->n * 2 * (size_t)(a->c + a->s) * sizeof(float); }
extern "C" cudaError_t um_gpu_se_fwd(const um_gpu_se_args *a, cudaStream_t stream)
{
    if (a->n == 0) return cudaSuccess;
    cudaError_t e = um_gpu_launch(se_fwd_f32_kernel<true>, dim3((unsigned)um_ceil_div(a->s, WARPS), image_blocks(a)), THREADS, 0, stream, *a);
    return e != cudaSuccess ? e : um_gpu_launch(se_fwd_f32_kernel<false>, dim3((unsigned)um_ceil_div(a->c, WARPS), image_blocks(a)), THREADS, 0, stream, *a);
}

/* ---- backward: the pass over the maps ---- */

template <class T> static __global__ void __launch_bounds__(UM_WALK_THREADS, 3) se_bwd_sums_kernel(um_gpu_se_args a)
{
    UM_GPU_SHARED(float, shared);
    um_walk w = um_walk_of(a.c);
    float sum[UM_GPU_SE_SUMS][8] = {}, *staged = shared + um_sums_bytes(UM_GPU_SE_SUMS) / sizeof(float);
    um_stage(staged, a.norm.mean, 0, a.c);
    um_stage(staged + UM_WALK_CHANNELS, a.norm.scale, 0, a.c);
    um_stage(staged + 2 * UM_WALK_CHANNELS, a.norm.bias, 0, a.c);
    um_stage(staged + 3 * UM_WALK_CHANNELS, a.norm.rstd, 0, a.c);
    __syncthreads();
    if (w.left > 0) {
        size_t at = w.image * (size_t)a.area * (size_t)a.c + (size_t)w.c0;
        int end = min(a.area, ((int)blockIdx.x + 1) * UM_WALK_SUM_PIXELS);
#pragma unroll 1
        for (int i = (int)blockIdx.x * UM_WALK_SUM_PIXELS + w.row; i < end; i += UM_WALK_ROWS) {
            float z[8], e[8];
            um_load_channels((const T *)a.z + at + (size_t)i * (size_t)a.c, w.left, w.whole, z);
            um_load_channels((const T *)a.e + at + (size_t)i * (size_t)a.c, w.left, w.whole, e);
#pragma unroll
            for (int half = 0; half < 8; half += 4) {
                float k[3][4]; /* mean, scale, bias */
                um_constants(staged, w.group * 8 + half, k);
#pragma unroll
                for (int t = 0; t < 4; t++) {
                    int j = half + t;
                    float d = z[j] - k[0][t], u = fmaf(d, k[1][t], k[2][t]), s = um_sigmoid_of<T>(u), slope = um_swish_slope(u, s), back = e[j] * slope;
                    sum[0][j] = fmaf(e[j], u * s, sum[0][j]);
                    sum[1][j] += back;
                    sum[2][j] += slope;
                    sum[3][j] = fmaf(back, d, sum[3][j]);
                    sum[4][j] = fmaf(slope, d, sum[4][j]);
                }
            }
        }
    }
#pragma unroll
    for (int j = 0; j < 8; j++) {
        float rstd = staged[3 * UM_WALK_CHANNELS + w.group * 8 + j];
        sum[3][j] *= rstd;
        sum[4][j] *= rstd;
    }
    um_block_sums(sum, shared, a.c, (float *)a.scratch + (w.image * gridDim.x + blockIdx.x) * (size_t)UM_GPU_SE_SUMS * (size_t)a.c);
}

extern "C" size_t um_gpu_se_bwd_sums_scratch(const um_gpu_se_args *a) { return (size_t)a->n * (size_t)um_ceil_div(a->area, UM_WALK_SUM_PIXELS) * (size_t)UM_GPU_SE_SUMS * (size_t)a->c * sizeof(float); }
extern "C" size_t um_gpu_se_bwd_sums_bytes(const um_gpu_se_args *a) { return 2 * um_map_bytes(a->n, a->area, a->c, a->type) + (size_t)a->c * (4 + (size_t)UM_GPU_SE_SUMS * (size_t)a->n) * sizeof(float); }
extern "C" cudaError_t um_gpu_se_bwd_sums(const um_gpu_se_args *a, cudaStream_t stream)
{
    dim3 grid((unsigned)um_ceil_div(a->area, UM_WALK_SUM_PIXELS), (unsigned)um_ceil_div(a->c, UM_WALK_CHANNELS), (unsigned)a->n);
    if (a->n == 0) return cudaSuccess;
    cudaError_t e = a->type == UM_F32 ? um_gpu_launch(se_bwd_sums_kernel<float>, grid, UM_WALK_THREADS, um_sums_bytes(UM_GPU_SE_SUMS) + um_stage_bytes(4), stream, *a)
                                      : um_gpu_launch(se_bwd_sums_kernel<um_bf16>, grid, UM_WALK_THREADS, um_sums_bytes(UM_GPU_SE_SUMS) + um_stage_bytes(4), stream, *a);
    return e != cudaSuccess ? e : um_fold((const float *)a->scratch, a->n, (int)grid.x, UM_GPU_SE_SUMS * a->c, 1, a->parts, stream);
}

/* ---- backward: the gate ---- */

/* The derivative by what goes into the gate's sigmoid. */
static __device__ __forceinline__ float excited_of(const um_gpu_se_args &a, size_t n, int c)
{
    float gate = a.gate[n * (size_t)a.c + (size_t)c];
    return a.parts[n * (size_t)UM_GPU_SE_SUMS * (size_t)a.c + (size_t)c] * gate * (1.0f - gate);
}

/* d_squeezed (scratch, (N,S)): SPLITS threads share the sum over c, since there are few squeezed channels. */
static const int SPLITS = 16;
static __global__ void __launch_bounds__(UM_WARP * SPLITS) se_bwd_squeezed_f32_kernel(um_gpu_se_args a)
{
    UM_GPU_SHARED(float, shared);
    int x = (int)threadIdx.x % UM_WARP, split = (int)threadIdx.x / UM_WARP, s = (int)blockIdx.x * UM_WARP + x, n0 = (int)blockIdx.y * IMAGES, images = min(a.n - n0, IMAGES);
    float sum[IMAGES] = {};
    if (s < a.s) {
#pragma unroll 2
        for (int c = split; c < a.c; c += SPLITS) {
            float w = a.w_excite[(size_t)c * (size_t)a.s + (size_t)s];
#pragma unroll
            for (int i = 0; i < IMAGES; i++)
                if (i < images) sum[i] = fmaf(excited_of(a, (size_t)(n0 + i), c), w, sum[i]);
        }
    }
#pragma unroll
    for (int i = 0; i < IMAGES; i++) shared[(i * SPLITS + split) * UM_WARP + x] = sum[i];
    __syncthreads();
    if (split >= images || s >= a.s) return; /* each of the first `images` splits ends one image */
    size_t at = (size_t)(n0 + split) * (size_t)a.s + (size_t)s;
    float total = 0, u = a.squeezed[at];
    for (int k = 0; k < SPLITS; k++) total += shared[(split * SPLITS + k) * UM_WARP + x];
    ((float *)a.scratch)[at] = total * um_swish_slope(u, um_sigmoid(u));
}

/* m(n,c). */
static __global__ void __launch_bounds__(THREADS) se_bwd_means_f32_kernel(um_gpu_se_args a)
{
    int c = (int)(blockIdx.x * THREADS + threadIdx.x), n0 = (int)blockIdx.y * IMAGES, images = min(a.n - n0, IMAGES);
    const float *back = (const float *)a.scratch + (size_t)n0 * (size_t)a.s;
    float sum[IMAGES] = {};
    if (c >= a.c) return;
#pragma unroll 2
    for (int s = 0; s < a.s; s++) {
        float w = a.w_reduce[(size_t)s * (size_t)a.c + (size_t)c];
#pragma unroll
        for (int i = 0; i < IMAGES; i++)
            if (i < images) sum[i] = fmaf(back[(size_t)i * (size_t)a.s + (size_t)s], w, sum[i]);
    }
#pragma unroll
    for (int i = 0; i < IMAGES; i++)
        if (i < images) a.m[(size_t)(n0 + i) * (size_t)a.c + (size_t)c] = sum[i] / (float)a.area;
}

/* Gradients of the weights: a thread for (s, c) of both matrices, over the images in their order; biases where the other index is 0. */
static __global__ void __launch_bounds__(THREADS) se_bwd_weights_f32_kernel(um_gpu_se_args a)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= (size_t)a.s * (size_t)a.c) return;
    const float *back = (const float *)a.scratch;
    int s = (int)(i / (size_t)a.c), c = (int)(i % (size_t)a.c), s2 = (int)(i % (size_t)a.s), c2 = (int)(i / (size_t)a.s);
    float reduce = 0, excite = 0, b_reduce = 0, b_excite = 0;
    for (size_t n = 0; n < (size_t)a.n; n++) {
        float squeezed = back[n * (size_t)a.s + (size_t)s], excited = excited_of(a, n, c2);
        reduce = fmaf(squeezed, a.means[n * (size_t)a.c + (size_t)c], reduce);
        excite = fmaf(excited, um_swish<float>(a.squeezed[n * (size_t)a.s + (size_t)s2]), excite);
        b_reduce += squeezed;
        b_excite += excited;
    }
    a.dw_reduce[i] = reduce;
    a.dw_excite[i] = excite;
    if (c == 0) a.db_reduce[s] = b_reduce;
    if (s2 == 0) a.db_excite[c2] = b_excite;
}

/* Batch norm's sums: sum du2 = gate S2 + m S3, sum du2 xhat2 = gate S4 + m S5, images in their order. */
static __global__ void __launch_bounds__(THREADS) se_bwd_norm_f32_kernel(um_gpu_se_args a)
{
    int c = (int)(blockIdx.x * THREADS + threadIdx.x);
    double by_mean = 0, by_scale = 0;
    if (c >= a.c) return;
#pragma unroll 2
    for (size_t n = 0; n < (size_t)a.n; n++) {
        const float *part = a.parts + n * (size_t)UM_GPU_SE_SUMS * (size_t)a.c + (size_t)c;
        double gate = (double)a.gate[n * (size_t)a.c + (size_t)c], m = (double)a.m[n * (size_t)a.c + (size_t)c];
        by_mean += gate * (double)part[(size_t)a.c] + m * (double)part[2 * (size_t)a.c];
        by_scale += gate * (double)part[3 * (size_t)a.c] + m * (double)part[4 * (size_t)a.c];
    }
    a.sums[c] = by_mean;
    a.sums[a.c + c] = by_scale;
}

extern "C" size_t um_gpu_se_bwd_scratch(const um_gpu_se_args *a) { return (size_t)a->n * (size_t)a->s * sizeof(float); }
extern "C" size_t um_gpu_se_bwd_bytes(const um_gpu_se_args *a)
{
    return 2 * dense_bytes(a) + (size_t)a->n * ((UM_GPU_SE_SUMS + 3) * (size_t)a->c + (size_t)a->s) * sizeof(float) + 2 * (size_t)a->c * sizeof(double);
}
extern "C" cudaError_t um_gpu_se_bwd(const um_gpu_se_args *a, cudaStream_t stream)
{
    cudaError_t e = cudaSuccess;
    unsigned channels = (unsigned)um_ceil_div(a->c, THREADS);
    if (a->n > 0) e = um_gpu_launch(se_bwd_squeezed_f32_kernel, dim3((unsigned)um_ceil_div(a->s, UM_WARP), image_blocks(a)), UM_WARP * SPLITS, (size_t)IMAGES * SPLITS * UM_WARP * sizeof(float), stream, *a);
    if (e == cudaSuccess && a->n > 0) e = um_gpu_launch(se_bwd_means_f32_kernel, dim3(channels, image_blocks(a)), THREADS, 0, stream, *a);
    if (e == cudaSuccess) e = um_gpu_launch(se_bwd_weights_f32_kernel, (unsigned)(((size_t)a->s * (size_t)a->c + THREADS - 1) / THREADS), THREADS, 0, stream, *a);
    return e != cudaSuccess ? e : um_gpu_launch(se_bwd_norm_f32_kernel, channels, THREADS, 0, stream, *a);
}
