/* train_head.cu: what stands at both ends of the network: the stem's windows, drop-path and dropout, the logit, the loss. */
#include "src/core/rng.h"
#include "src/nn/cuda/train.cuh"

static const int THREADS = 256, WARPS = THREADS / UM_WARP;

/* ---- the stem's windows ---- */

/* A thread makes 8 numbers of a row, so that a warp writes neighbouring memory. */
template <class T> static __global__ void __launch_bounds__(THREADS) patches_fwd_kernel(um_gpu_patches_args a)
{
    int groups = (a.row + 7) / 8;
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x, pixel = i / (size_t)groups;
    if (pixel >= (size_t)a.n * (size_t)a.p * (size_t)a.q) return;
    int first = (int)(i % (size_t)groups) * 8, q = (int)(pixel % (size_t)a.q), p = (int)(pixel / (size_t)a.q % (size_t)a.p);
    const uint8_t *in = a.in + pixel / ((size_t)a.p * (size_t)a.q) * (size_t)a.h * (size_t)a.w * (size_t)a.c;
    float v[8];
#pragma unroll
    for (int j = 0; j < 8; j++) {
        int at = first + j, c = at % a.c, s = at / a.c % a.s, r = at / a.c / a.s, y = p * a.stride + r - a.pad_top, x = q * a.stride + s - a.pad_left;
        float mean = c == 0 ? a.mean[0] : c == 1 ? a.mean[1] : a.mean[2], std = c == 0 ? a.std[0] : c == 1 ? a.std[1] : a.std[2];
        bool there = r < a.r && y >= 0 && y < a.h && x >= 0 && x < a.w;
        v[j] = there ? ((float)in[((size_t)y * (size_t)a.w + (size_t)x) * (size_t)a.c + (size_t)c] / 255.0f - mean) / std : 0.0f;
    }
    um_store_channels((T *)a.out + pixel * (size_t)a.row + first, a.row - first, a.row % 8 == 0, v);
}

extern "C" size_t um_gpu_patches_bytes(const um_gpu_patches_args *a) { return (size_t)a->n * (size_t)a->h * (size_t)a->w * (size_t)a->c + um_map_bytes(a->n, a->p * a->q, a->row, a->type); }
extern "C" cudaError_t um_gpu_patches(const um_gpu_patches_args *a, cudaStream_t stream)
{
    size_t all = (size_t)a->n * (size_t)a->p * (size_t)a->q * (size_t)um_ceil_div(a->row, 8);
    unsigned blocks = (unsigned)((all + THREADS - 1) / THREADS);
    if (all == 0) return cudaSuccess;
    return a->type == UM_F32 ? um_gpu_launch(patches_fwd_kernel<float>, blocks, THREADS, 0, stream, *a) : um_gpu_launch(patches_fwd_kernel<um_bf16>, blocks, THREADS, 0, stream, *a);
}

/* ---- draws: src/core/rng.c on the device. The i-th number of the stream (seed, step << 24 ^ picture, node, UM_RNG_DROPOUT) ---- */

static __device__ __forceinline__ void philox(unsigned c[4], unsigned k0, unsigned k1)
{
#pragma unroll
    for (int round = 0; round < 10; round++) {
        unsigned high0 = __umulhi(0xd2511f53u, c[0]), low0 = 0xd2511f53u * c[0], high1 = __umulhi(0xcd9e8d57u, c[2]), low1 = 0xcd9e8d57u * c[2];
        c[0] = high1 ^ c[1] ^ k0;
        c[1] = low1;
        c[2] = high0 ^ c[3] ^ k1;
        c[3] = low0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
}
/* Four numbers from number 4 block on. */
static __device__ __forceinline__ void draws_of(const um_gpu_moment *m, int node, int picture, unsigned block, unsigned out[4])
{
    uint64_t a = (uint64_t)m->step << 24 ^ (uint64_t)(m->first + picture);
    unsigned mixed[4] = {(unsigned)m->seed, (unsigned)(m->seed >> 32), UM_RNG_DROPOUT, 0x756e6d6bu};
    philox(mixed, 0, 0);
    out[0] = block;
    out[1] = (unsigned)node;
    out[2] = (unsigned)a;
    out[3] = (unsigned)(a >> 32);
    philox(out, mixed[0], mixed[1]);
}
static __device__ __forceinline__ float keep_of(unsigned draw, float rate) { return (double)draw * 0x1p-32 < (double)rate ? 0.0f : 1.0f / (1.0f - rate); }

static __global__ void __launch_bounds__(THREADS) keep_fwd_f32_kernel(um_gpu_keep_args a)
{
    int i = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (i >= a.n_nodes * a.n) return;
    unsigned draw[4];
    int which = i / a.n;
    float rate = a.rate[which];
    draws_of(a.moment, a.node[which], i % a.n, 0, draw);
    a.keep[i] = rate <= 0 ? 1.0f : keep_of(draw[0], rate);
}
extern "C" size_t um_gpu_keep_bytes(const um_gpu_keep_args *a) { return (size_t)a->n_nodes * ((size_t)a->n + 2) * sizeof(float) + sizeof(um_gpu_moment); }
extern "C" cudaError_t um_gpu_keep(const um_gpu_keep_args *a, cudaStream_t stream)
{
    int all = a->n_nodes * a->n;
    return all == 0 ? cudaSuccess : um_gpu_launch(keep_fwd_f32_kernel, (unsigned)um_ceil_div(all, THREADS), THREADS, 0, stream, *a);
}

/* ---- logit ---- */

/* What dropout leaves of channels 4 block .. 4 block + 3 is multiplied with. */
static __device__ __forceinline__ void drop_of(const um_gpu_head_args &a, int picture, int block, float keep[4])
{
    unsigned draw[4];
    if (a.rate > 0) draws_of(a.moment, a.node, picture, (unsigned)block, draw);
#pragma unroll
    for (int j = 0; j < 4; j++) keep[j] = a.rate > 0 ? keep_of(draw[j], a.rate) : 1.0f;
}

static __global__ void __launch_bounds__(THREADS) head_fwd_f32_kernel(um_gpu_head_args a)
{
    UM_GPU_SHARED(float, shared);
    int n = (int)blockIdx.x, lane = (int)threadIdx.x % UM_WARP;
    float sum = 0;
    for (int block = (int)threadIdx.x; block * 4 < a.c; block += THREADS) {
        float keep[4];
        drop_of(a, n, block, keep);
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (block * 4 + j < a.c) sum = fmaf(a.means[(size_t)n * (size_t)a.c + (size_t)(block * 4 + j)] * keep[j], a.weight[block * 4 + j], sum);
    }
#pragma unroll
    for (int by = UM_WARP / 2; by > 0; by /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, by);
    if (lane == 0) shared[threadIdx.x / UM_WARP] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int i = 1; i < WARPS; i++) sum += shared[i];
    a.logit[n] = sum + a.bias[0];
}
extern "C" size_t um_gpu_head_fwd_bytes(const um_gpu_head_args *a) { return ((size_t)a->n * ((size_t)a->c + 1) + (size_t)a->c + 1) * sizeof(float) + sizeof(um_gpu_moment); }
extern "C" cudaError_t um_gpu_head_fwd(const um_gpu_head_args *a, cudaStream_t stream) { return a->n == 0 ? cudaSuccess : um_gpu_launch(head_fwd_f32_kernel, (unsigned)a->n, THREADS, WARPS * sizeof(float), stream, *a); }

/* A thread takes 4 channels of all images, in their order. */
static __global__ void __launch_bounds__(UM_WARP) head_bwd_f32_kernel(um_gpu_head_args a)
{
    int block = (int)(blockIdx.x * UM_WARP + threadIdx.x);
    float dweight[4] = {}, dbias = 0;
    if (block * 4 >= a.c) return;
    for (int n = 0; n < a.n; n++) {
        float keep[4], d = a.d_logit[n];
        drop_of(a, n, block, keep);
        dbias += d;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (block * 4 + j >= a.c) continue;
            size_t at = (size_t)n * (size_t)a.c + (size_t)(block * 4 + j);
            dweight[j] = fmaf(d, a.means[at] * keep[j], dweight[j]);
            if (a.d_means != NULL) a.d_means[at] = d * a.weight[block * 4 + j] * keep[j];
        }
    }
    for (int j = 0; j < 4; j++)
        if (block * 4 + j < a.c) a.dweight[block * 4 + j] = dweight[j];
    if (block == 0) a.dbias[0] = dbias;
}
extern "C" size_t um_gpu_head_bwd_bytes(const um_gpu_head_args *a) { return ((size_t)a->n * ((a->d_means != NULL ? 2 : 1) * (size_t)a->c + 1) + 2 * (size_t)a->c + 1) * sizeof(float) + sizeof(um_gpu_moment); }
extern "C" cudaError_t um_gpu_head_bwd(const um_gpu_head_args *a, cudaStream_t stream) { return um_gpu_launch(head_bwd_f32_kernel, (unsigned)um_ceil_div(um_ceil_div(a->c, 4), UM_WARP), UM_WARP, 0, stream, *a); }

/* ---- loss: one block, f64, as src/train/loss.c; the sums are made by one thread in the order of the batch ---- */

static __device__ double loss_of(const um_gpu_loss_args &a, double x, double y, double *d)
{
    double e = exp(-fabs(x)), p = x >= 0 ? 1 / (1 + e) : e / (1 + e), l = 0;
    if (y < a.smoothing) y = a.smoothing;
    if (y > 1 - a.smoothing) y = 1 - a.smoothing;
    *d = 0;
    if (a.bce_weight != 0) {
        l += a.bce_weight * ((x > 0 ? x : 0) - x * y + log1p(e));
        *d += a.bce_weight * (p - y);
    }
    if (a.focal_weight != 0) {
        const double edge = 1e-8;
        double c = p < edge ? edge : p > 1 - edge ? 1 - edge : p, t = y < edge ? edge : y > 1 - edge ? 1 - edge : y;
        double q = t * c + (1 - t) * (1 - c), g = a.focal_gamma, dq = c != p ? 0 : (2 * t - 1) * p * (1 - p);
        l -= a.focal_weight * pow(1 - q, g) * log(q);
        *d += a.focal_weight * dq * (g * pow(1 - q, g - 1) * log(q) - pow(1 - q, g) / q);
    }
    return isfinite(x) ? l : x - x;
}

static __global__ void __launch_bounds__(THREADS) loss_f64_kernel(um_gpu_loss_args a)
{
    typedef struct meeting {
        double count[2];
        int finite;
    } meeting;
    UM_GPU_SHARED(meeting, shared);
    double *loss = (double *)a.scratch;
    uint8_t *counts = (uint8_t *)(loss + a.n);
    for (int i = (int)threadIdx.x; i < a.n; i += THREADS) {
        double d = 0;
        loss[i] = a.weight[i] != 0 ? loss_of(a, (double)a.logit[i], (double)a.target[i], &d) : 0;
        a.d_logit[i] = (float)d;
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < a.n; i += THREADS) {
        int64_t before = 0; /* of the class, with a larger loss; of equals the first */
        for (int j = 0; a.ohem_k > 0 && j < a.n; j++)
            if (a.weight[j] != 0 && (a.target[j] > 0.5f) == (a.target[i] > 0.5f) && (loss[j] > loss[i] || (loss[j] == loss[i] && j < i))) before++;
        counts[i] = a.ohem_k <= 0 || before < a.ohem_k;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        um_gpu_loss_result r = {};
        double sum[2] = {0, 0};
        int64_t count[2] = {0, 0};
        bool finite = true;
        for (int i = 0; i < a.n; i++) {
            if (a.weight[i] == 0) continue;
            finite = finite && isfinite(loss[i]);
            int mine = a.target[i] > 0.5f;
            count[mine]++;
            if (counts[i]) sum[mine] += loss[i];
        }
        for (int k = 0; k < 2; k++) {
            int64_t n = a.ohem_k > 0 && count[k] > a.ohem_k && finite ? a.ohem_k : count[k];
            shared->count[k] = (double)n;
            *(k == 1 ? &r.n_fake : &r.n_real) = n;
            *(k == 1 ? &r.fake : &r.real) = !finite ? (double)NAN : n > 0 ? sum[k] / (double)n : 0;
        }
        r.loss = (r.fake + r.real) / 2;
        shared->finite = finite;
        a.result[a.moment != NULL ? a.moment->round : 0] = r;
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < a.n; i += THREADS) a.d_logit[i] = shared->finite && a.weight[i] != 0 && counts[i] ? (float)((double)a.d_logit[i] / (2.0 * shared->count[a.target[i] > 0.5f])) : 0.0f;
}
extern "C" size_t um_gpu_loss_scratch(const um_gpu_loss_args *a) { return (size_t)a->n * (sizeof(double) + 1); }
extern "C" size_t um_gpu_loss_bytes(const um_gpu_loss_args *a) { return (size_t)a->n * (3 * sizeof(float) + 1) + sizeof(um_gpu_loss_result); }
extern "C" cudaError_t um_gpu_loss(const um_gpu_loss_args *a, cudaStream_t stream) { return um_gpu_launch(loss_f64_kernel, 1, THREADS, 64, stream, *a); }
