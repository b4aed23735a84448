/* train_depthwise.cu: the depthwise convolution of training, 3x3 and 5x5, stride 1 and 2, with what stands before it made as it is loaded.
 *
 * Tiles are dealt to blocks in turn, tile t to block t mod blocks, over all images; a block keeps its sums from tile to tile, so that few are left to be added. The number of blocks depends on the shape alone, never on the GPU: bits do not.
 *
 * Forward: a tile of outputs of 64 channels; its input, normalised once, lies in shared memory as the map's type. A warp makes rows of COLS outputs, a lane two channels.
 * Backward: a tile of inputs of 32 channels; the derivatives by the outputs that see it, made once from e and z2, lie in shared memory as f32. A warp makes rows of COLS inputs, a lane one channel: from each derivative under a tap both the
 * input's derivative and the tap's gradient grow, the latter in registers; behind each tile they are added to the warp's own in shared memory. */
#include "src/nn/cuda/train.cuh"

static const int THREADS = 256, WARPS = THREADS / UM_WARP, BLOCKS = 1056; /* four a processor on 132, twice */

/* ---- forward ---- */

static const int FWD_CHANNELS = 64, FWD_GROUPS = FWD_CHANNELS / 8, FWD_COLS = 8;

template <class T, int R, int STRIDE> struct fwd_tile {
    static const int rows = STRIDE == 1 ? 16 : 8, cols = FWD_COLS, in_rows = (rows - 1) * STRIDE + R, in_cols = (cols - 1) * STRIDE + R;
    struct shared {
        T in[in_rows][in_cols][FWD_CHANNELS];
        float weight[R * R][FWD_CHANNELS];
        float norm[3][FWD_CHANNELS];
    };
};

typedef struct um_tiles {
    int rows, cols, all, blocks, groups; /* of an image; of all; of the grid */
} um_tiles;
static um_tiles tiles_of(int rows, int cols, int n, int c, int channels)
{
    um_tiles t;
    t.rows = rows;
    t.cols = cols;
    t.all = rows * cols * n;
    t.groups = um_ceil_div(c, channels);
    t.blocks = min(t.all, um_ceil_div(BLOCKS, t.groups));
    return t;
}
static um_tiles fwd_tiles(const um_gpu_depthwise_train_args *a) { return tiles_of(um_ceil_div(a->p, a->stride == 1 ? 16 : 8), um_ceil_div(a->q, FWD_COLS), a->n, a->c, FWD_CHANNELS); }

static __device__ __forceinline__ void load_pair(const float *p, float *v)
{
    float2 f = *(const float2 *)p;
    v[0] = f.x, v[1] = f.y;
}
static __device__ __forceinline__ void load_pair(const um_bf16 *p, float *v)
{
    unsigned u = *(const unsigned *)p;
    v[0] = __uint_as_float(u << 16), v[1] = __uint_as_float(u & 0xffff0000u);
}
static __device__ __forceinline__ void store_pair(float *p, float a, float b) { *(float2 *)p = make_float2(a, b); }
static __device__ __forceinline__ void store_pair(um_bf16 *p, float a, float b) { *(unsigned *)p = um_round_bf16_pair(a, b); }

template <class T, int R, int STRIDE> static __global__ void __launch_bounds__(THREADS, sizeof(T) == 2 ? 4 : 2) depthwise_fwd_train_kernel(um_gpu_depthwise_train_args a, um_tiles t)
{
    typedef fwd_tile<T, R, STRIDE> tl;
    UM_GPU_SHARED(typename tl::shared, shared);
    int group = (int)threadIdx.x % FWD_GROUPS, lane = (int)threadIdx.x % UM_WARP, warp = (int)threadIdx.x / UM_WARP;
    int first = (int)blockIdx.y * FWD_CHANNELS, load_c = first + group * 8, load_left = a.c - load_c, c = first + lane * 2;
    bool whole = a.c % 8 == 0, pairs = a.c % 2 == 0;
    float sum[2] = {0, 0}, square[2] = {0, 0}, about[2] = {0, 0};

    for (int i = (int)threadIdx.x; i < R * R * FWD_CHANNELS; i += THREADS) {
        int channel = first + i % FWD_CHANNELS;
        shared->weight[i / FWD_CHANNELS][i % FWD_CHANNELS] = channel < a.c ? a.weight[(size_t)(i / FWD_CHANNELS) * (size_t)a.c + (size_t)channel] : 0.0f;
    }
    for (int i = (int)threadIdx.x; a.normed && i < FWD_CHANNELS; i += THREADS) {
        bool there = first + i < a.c;
        shared->norm[0][i] = there ? a.in_norm.mean[first + i] : 0.0f;
        shared->norm[1][i] = there ? a.in_norm.scale[first + i] : 0.0f;
        shared->norm[2][i] = there ? a.in_norm.bias[first + i] : 0.0f;
    }
    if (a.sums != NULL)
        for (int j = 0; j < 2; j++)
            if (c + j < a.c) about[j] = a.about[c + j];

    for (int tile = (int)blockIdx.x; tile < t.all; tile += t.blocks) {
        int in_image = tile % (t.rows * t.cols), p0 = in_image / t.cols * tl::rows, q0 = in_image % t.cols * tl::cols;
        size_t image = (size_t)(tile / (t.rows * t.cols));
        __syncthreads(); /* the constants are there; the tile before is done with */
        for (int i = (int)threadIdx.x / FWD_GROUPS; i < tl::in_rows * tl::in_cols; i += THREADS / FWD_GROUPS) {
            int y = p0 * STRIDE - a.pad_top + i / tl::in_cols, x = q0 * STRIDE - a.pad_left + i % tl::in_cols;
            float v[8] = {};
            if (load_left > 0 && y >= 0 && y < a.h && x >= 0 && x < a.w) {
                um_load_channels((const T *)a.in + ((image * (size_t)a.h + (size_t)y) * (size_t)a.w + (size_t)x) * (size_t)a.c + load_c, load_left, whole, v);
                if (a.normed) {
                    float mean[8], scale[8], bias[8];
                    um_load8(&shared->norm[0][group * 8], mean);
                    um_load8(&shared->norm[1][group * 8], scale);
                    um_load8(&shared->norm[2][group * 8], bias);
#pragma unroll
                    for (int j = 0; j < 8; j++) v[j] = j < load_left ? um_swish<T>(fmaf(v[j] - mean[j], scale[j], bias[j])) : 0.0f;
                }
            }
            um_store8(&shared->in[i / tl::in_cols][i % tl::in_cols][group * 8], v);
        }
        __syncthreads();
#pragma unroll 1
        for (int row = warp; row < tl::rows && p0 + row < a.p; row += WARPS) {
            float acc[tl::cols][2] = {};
            if (c >= a.c) continue;
#pragma unroll 1
            for (int r = 0; r < R; r++) {
                float w[R][2];
#pragma unroll
                for (int s = 0; s < R; s++) load_pair(&shared->weight[r * R + s][lane * 2], w[s]);
#pragma unroll
                for (int x = 0; x < tl::in_cols; x++) {
                    float v[2];
                    load_pair(&shared->in[row * STRIDE + r][x][lane * 2], v);
#pragma unroll
                    for (int s = 0; s < R; s++) {
                        if ((x - s) % STRIDE != 0 || x < s || (x - s) / STRIDE >= tl::cols) continue;
                        acc[(x - s) / STRIDE][0] = fmaf(v[0], w[s][0], acc[(x - s) / STRIDE][0]);
                        acc[(x - s) / STRIDE][1] = fmaf(v[1], w[s][1], acc[(x - s) / STRIDE][1]);
                    }
                }
            }
            T *out = (T *)a.out + ((image * (size_t)a.p + (size_t)(p0 + row)) * (size_t)a.q + (size_t)q0) * (size_t)a.c + c;
#pragma unroll
            for (int q = 0; q < tl::cols; q++) {
                if (q0 + q >= a.q) continue;
                if (pairs) store_pair(out + (size_t)q * (size_t)a.c, acc[q][0], acc[q][1]);
                else
                    for (int j = 0; j < 2 && c + j < a.c; j++) um_store(out + (size_t)q * (size_t)a.c + j, acc[q][j]);
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    float d = um_as_kept(acc[q][j], (const T *)NULL) - about[j];
                    sum[j] += d;
                    square[j] = fmaf(d, d, square[j]);
                }
            }
        }
    }
    if (a.sums == NULL) return;
    /* Warps meet in the memory of the input, in their order. */
    float(*rows)[2][FWD_CHANNELS] = (float(*)[2][FWD_CHANNELS])shared->in;
    __syncthreads();
#pragma unroll
    for (int j = 0; j < 2; j++) {
        rows[warp][0][lane * 2 + j] = sum[j];
        rows[warp][1][lane * 2 + j] = square[j];
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < 2 * FWD_CHANNELS; i += THREADS) {
        float total = 0;
        if (first + i % FWD_CHANNELS >= a.c) continue;
        for (int k = 0; k < WARPS; k++) total += rows[k][i / FWD_CHANNELS][i % FWD_CHANNELS];
        ((float *)a.scratch)[((size_t)blockIdx.x * 2 + (size_t)(i / FWD_CHANNELS)) * (size_t)a.c + (size_t)(first + i % FWD_CHANNELS)] = total;
    }
}

template <class K> static cudaError_t allow(K *kernel, size_t bytes) { return bytes <= 48 * 1024 ? cudaSuccess : cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes); }

template <class T, int R, int STRIDE> static cudaError_t launch_fwd(const um_gpu_depthwise_train_args *a, um_tiles t, cudaStream_t stream)
{
    size_t bytes = sizeof(typename fwd_tile<T, R, STRIDE>::shared);
    cudaError_t e = allow(depthwise_fwd_train_kernel<T, R, STRIDE>, bytes);
    return e != cudaSuccess ? e : um_gpu_launch((depthwise_fwd_train_kernel<T, R, STRIDE>), dim3((unsigned)t.blocks, (unsigned)t.groups), THREADS, bytes, stream, *a, t);
}

#define BY_SHAPE(launch, a, t, stream)                                                                                                    \
    ((a)->r * 10 + (a)->stride == 31   ? ((a)->type == UM_F32 ? launch<float, 3, 1>(a, t, stream) : launch<um_bf16, 3, 1>(a, t, stream))  \
     : (a)->r * 10 + (a)->stride == 32 ? ((a)->type == UM_F32 ? launch<float, 3, 2>(a, t, stream) : launch<um_bf16, 3, 2>(a, t, stream))  \
     : (a)->r * 10 + (a)->stride == 51 ? ((a)->type == UM_F32 ? launch<float, 5, 1>(a, t, stream) : launch<um_bf16, 5, 1>(a, t, stream))  \
     : (a)->r * 10 + (a)->stride == 52 ? ((a)->type == UM_F32 ? launch<float, 5, 2>(a, t, stream) : launch<um_bf16, 5, 2>(a, t, stream))  \
                                       : cudaErrorInvalidValue)

static size_t small_bytes(const um_gpu_depthwise_train_args *a) { return (size_t)a->c * ((size_t)(a->r * a->r) + (a->normed ? 3 : 0)) * sizeof(float); }

extern "C" size_t um_gpu_depthwise_fwd_scratch(const um_gpu_depthwise_train_args *a) { return a->sums == NULL ? 0 : (size_t)fwd_tiles(a).blocks * 2 * (size_t)a->c * sizeof(float); }
extern "C" size_t um_gpu_depthwise_fwd_bytes(const um_gpu_depthwise_train_args *a)
{
    return um_map_bytes(a->n, a->h * a->w, a->c, a->type) + um_map_bytes(a->n, a->p * a->q, a->c, a->type) + small_bytes(a) + (a->sums != NULL ? (size_t)a->c * (2 * sizeof(double) + sizeof(float)) : 0);
}
extern "C" cudaError_t um_gpu_depthwise_fwd(const um_gpu_depthwise_train_args *a, cudaStream_t stream)
{
    um_tiles t = fwd_tiles(a);
    cudaError_t e = t.all > 0 ? BY_SHAPE(launch_fwd, a, t, stream) : cudaSuccess;
    return e != cudaSuccess || a->sums == NULL ? e : um_fold((const float *)a->scratch, 1, t.blocks, 2 * a->c, 1, a->sums, stream);
}

/* ---- backward ---- */

static const int BWD_CHANNELS = 32, BWD_GROUPS = BWD_CHANNELS / 4, BWD_ROWS = 16, BWD_COLS = 8, BWD_CONSTANTS = 10;

/* Column x of the tile is column x0 + x of the input, with x0 + pad even where the stride is 2: which taps of which outputs lie on it is then known when this is compiled. Output column of (x, tap s): q0 + (x - s + R - 1) / STRIDE, where the
 * division leaves nothing. */
template <int R, int STRIDE> struct bwd_tile {
    static const int out_rows = (BWD_ROWS - 1 + R - 1) / STRIDE + 1, out_cols = (BWD_COLS - 1 + R - 1) / STRIDE + 1, kept = R * R + 2;
    struct shared {
        float dz[out_rows][out_cols][BWD_CHANNELS];
        float meet[WARPS][kept][BWD_CHANNELS]; /* gradients of the taps, sum(du1), sum(du1 xhat1) */
        float weight[R * R][BWD_CHANNELS];
        float constant[BWD_CONSTANTS][BWD_CHANNELS]; /* of z2: mean, scale, bias, b, c, gate, m; of `in`: mean, scale, bias */
    };
};

static um_tiles bwd_tiles(const um_gpu_depthwise_train_args *a) { return tiles_of(um_ceil_div(a->h + a->pad_top % a->stride, BWD_ROWS), um_ceil_div(a->w + a->pad_left % a->stride, BWD_COLS), a->n, a->c, BWD_CHANNELS); }

/* Four channels of 16 (f32) or 8 (bf16) aligned bytes. */
static __device__ __forceinline__ void load4(const float *p, float *v)
{
    float4 f = *(const float4 *)p;
    v[0] = f.x, v[1] = f.y, v[2] = f.z, v[3] = f.w;
}
static __device__ __forceinline__ void load4(const um_bf16 *p, float *v)
{
    uint2 u = *(const uint2 *)p;
    v[0] = __uint_as_float(u.x << 16), v[1] = __uint_as_float(u.x & 0xffff0000u), v[2] = __uint_as_float(u.y << 16), v[3] = __uint_as_float(u.y & 0xffff0000u);
}
template <class T> static __device__ __forceinline__ void load4_of(const T *p, int left, bool whole, float *v)
{
    if (whole) {
        load4(p, v);
        return;
    }
    for (int i = 0; i < 4; i++) v[i] = i < left ? um_load(p + i) : 0.0f;
}

/* Blocks that are to be on a multiprocessor at once: as many as shared memory lets there be (5 x 5 at stride 1: three of sm_90's 228 KB, two of sm_80's 164). */
static constexpr int bwd_blocks(int type_bytes, int r, int stride)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
    const int large = 2;
#else
    const int large = 3;
#endif
    return type_bytes == 4 || (r == 5 && stride == 2) ? 2 : r == 3 ? 4 : large;
}

template <class T, int R, int STRIDE> static __global__ void __launch_bounds__(THREADS, bwd_blocks(sizeof(T), R, STRIDE)) depthwise_bwd_train_kernel(um_gpu_depthwise_train_args a, um_tiles t)
{
    typedef bwd_tile<R, STRIDE> tl;
    UM_GPU_SHARED(typename tl::shared, shared);
    int group = (int)threadIdx.x % BWD_GROUPS, lane = (int)threadIdx.x % UM_WARP, warp = (int)threadIdx.x / UM_WARP, first = (int)blockIdx.y * BWD_CHANNELS, c = first + lane, left = a.c - first - group * 4;
    bool whole = a.c % 8 == 0, there = c < a.c;

    for (int i = (int)threadIdx.x; i < R * R * BWD_CHANNELS; i += THREADS) {
        int channel = first + i % BWD_CHANNELS;
        shared->weight[i / BWD_CHANNELS][i % BWD_CHANNELS] = channel < a.c ? a.weight[(size_t)(i / BWD_CHANNELS) * (size_t)a.c + (size_t)channel] : 0.0f;
    }
    if (warp == 0) {
        shared->constant[0][lane] = there ? a.out_norm.mean[c] : 0.0f;
        shared->constant[1][lane] = there ? a.out_norm.scale[c] : 0.0f;
        shared->constant[2][lane] = there ? a.out_norm.bias[c] : 0.0f;
        shared->constant[3][lane] = there ? a.out_norm.b[c] : 0.0f;
        shared->constant[4][lane] = there ? a.out_norm.c[c] : 0.0f;
        shared->constant[7][lane] = a.normed && there ? a.in_norm.mean[c] : 0.0f;
        shared->constant[8][lane] = a.normed && there ? a.in_norm.scale[c] : 0.0f;
        shared->constant[9][lane] = a.normed && there ? a.in_norm.bias[c] : 0.0f;
    }
    for (int i = 0; i < tl::kept; i++) shared->meet[warp][i][lane] = 0;

    for (int tile = (int)blockIdx.x; tile < t.all; tile += t.blocks) {
        int in_image = tile % (t.rows * t.cols), y0 = in_image / t.cols * BWD_ROWS - a.pad_top % STRIDE, x0 = in_image % t.cols * BWD_COLS - a.pad_left % STRIDE;
        int p0 = (y0 + a.pad_top - (R - 1)) / STRIDE, q0 = (x0 + a.pad_left - (R - 1)) / STRIDE; /* divisible: R - 1 is even */
        size_t image = (size_t)(tile / (t.rows * t.cols));
        __syncthreads(); /* the tile before is done with */
        if (warp == 0) {
            shared->constant[5][lane] = there ? a.gate[image * (size_t)a.c + (size_t)c] : 0.0f;
            shared->constant[6][lane] = there ? a.m[image * (size_t)a.c + (size_t)c] : 0.0f;
        }
        __syncthreads();
        for (int i = (int)threadIdx.x / BWD_GROUPS; i < tl::out_rows * tl::out_cols; i += THREADS / BWD_GROUPS) {
            int p = p0 + i / tl::out_cols, q = q0 + i % tl::out_cols;
            float dz[4] = {};
            if (left > 0 && p >= 0 && p < a.p && q >= 0 && q < a.q) {
                size_t at = ((image * (size_t)a.p + (size_t)p) * (size_t)a.q + (size_t)q) * (size_t)a.c + (size_t)(first + group * 4);
                float z[4], e[4];
                load4_of((const T *)a.out + at, left, whole, z);
                load4_of((const T *)a.e + at, left, whole, e);
#pragma unroll
                for (int pair = 0; pair < 4; pair += 2) {
                    float k[7][2];
                    int channel = group * 4 + pair;
                    um_opaque(channel); /* two channels' constants at a time */
#pragma unroll
                    for (int j = 0; j < 7; j++) load_pair(&shared->constant[j][channel], k[j]);
#pragma unroll
                    for (int j = 0; j < 2; j++) {
                        float d = z[pair + j] - k[0][j], u = fmaf(d, k[1][j], k[2][j]);
                        float du = fmaf(e[pair + j], k[5][j], k[6][j]) * um_swish_slope(u, um_sigmoid_of<T>(u));
                        dz[pair + j] = fmaf(k[1][j], du, fmaf(k[3][j], d, k[4][j]));
                    }
                }
            }
            *(float4 *)&shared->dz[i / tl::out_cols][i % tl::out_cols][group * 4] = make_float4(dz[0], dz[1], dz[2], dz[3]);
        }
        __syncthreads();
        float taps[R * R] = {}, sum = 0, scaled = 0;
#pragma unroll 1
        for (int row = warp; row < BWD_ROWS; row += WARPS) {
            int y = y0 + row;
            if (!there || y < 0 || y >= a.h) continue;
            int64_t at = (((int64_t)image * a.h + y) * a.w + x0) * a.c + c;
            int step = a.c, from = x0;
            float in[BWD_COLS], acc[BWD_COLS] = {}, mean = shared->constant[7][lane], scale = shared->constant[8][lane], bias = shared->constant[9][lane];
#pragma unroll
            for (int x = 0; x < BWD_COLS; x++) {
                in[x] = 0;
                if (x0 + x < 0 || x0 + x >= a.w) continue;
                in[x] = um_load((const T *)a.in + at + x * step);
                if (a.normed) in[x] = um_swish<T>(fmaf(in[x] - mean, scale, bias));
            }
#pragma unroll
            for (int r = 0; r < R; r++) {
                um_opaque(step); /* nothing of the addresses is kept */
                if ((row - r + R - 1) % STRIDE != 0) continue;
                const float(*line)[BWD_CHANNELS] = shared->dz[(row - r + R - 1) / STRIDE];
                float w[R];
#pragma unroll
                for (int s = 0; s < R; s++) w[s] = shared->weight[r * R + s][lane];
#pragma unroll
                for (int q = 0; q < tl::out_cols; q++) {
                    float d = line[q][lane];
#pragma unroll
                    for (int s = 0; s < R; s++) {
                        int x = q * STRIDE + s - (R - 1);
                        if (x < 0 || x >= BWD_COLS) continue;
                        acc[x] = fmaf(w[s], d, acc[x]);
                        taps[r * R + s] = fmaf(in[x], d, taps[r * R + s]);
                    }
                }
            }
            um_opaque(step);
            um_opaque(from);
            int again = lane;
            um_opaque(again);
            mean = shared->constant[7][again], scale = shared->constant[8][again], bias = shared->constant[9][again];
#pragma unroll
            for (int x = 0; x < BWD_COLS; x++) {
                if (from + x < 0 || from + x >= a.w) continue;
                int64_t here = at + x * step;
                float v = acc[x];
                if (a.normed) {
                    float d = um_load((const T *)a.in + here) - mean, u = fmaf(d, scale, bias);
                    v = um_as_kept(v * um_swish_slope(u, um_sigmoid_of<T>(u)), (const T *)NULL);
                    sum += v;
                    scaled = fmaf(v, d, scaled);
                } else if (a.add != NULL) v += um_load((const T *)a.add + here);
                um_store((T *)a.dx + here, v);
            }
        }
        int same = (int)threadIdx.x;
        um_opaque(same); /* the warp's own is found anew */
#pragma unroll
        for (int i = 0; i < R * R; i++) shared->meet[same / UM_WARP][i][same % UM_WARP] += taps[i];
        shared->meet[same / UM_WARP][R * R][same % UM_WARP] += sum;
        shared->meet[same / UM_WARP][R * R + 1][same % UM_WARP] += scaled;
    }
    /* Warps meet in their order. */
    __syncthreads();
    for (int i = warp; there && i < tl::kept; i += WARPS) {
        float total = 0;
        for (int k = 0; k < WARPS; k++) total += shared->meet[k][i][lane];
        if (i == R * R + 1 && a.normed) total *= a.in_norm.rstd[c];
        ((float *)a.scratch)[((size_t)blockIdx.x * tl::kept + (size_t)i) * (size_t)a.c + (size_t)c] = total;
    }
}

/* What the blocks left, (blocks, R R + 2, C): the taps go to (C, R R), the sums to (2C). */
static __global__ void __launch_bounds__(UM_FOLD_COLUMNS * UM_FOLD_SPLITS) depthwise_bwd_fold_kernel(const float *part, int rows, int c, int taps, float *dweight, double *sums)
{
    UM_GPU_SHARED(double, shared);
    int width = (taps + 2) * c, x = (int)threadIdx.x % UM_FOLD_COLUMNS, split = (int)threadIdx.x / UM_FOLD_COLUMNS, column = (int)blockIdx.x * UM_FOLD_COLUMNS + x;
    double sum = 0;
    if (column < width) {
#pragma unroll 4
        for (int r = split; r < rows; r += UM_FOLD_SPLITS) sum += (double)part[(size_t)r * (size_t)width + (size_t)column];
    }
    shared[split * UM_FOLD_COLUMNS + x] = sum;
    __syncthreads();
    if (split != 0 || column >= width) return;
    for (int i = 1; i < UM_FOLD_SPLITS; i++) sum += shared[i * UM_FOLD_COLUMNS + x];
    int which = column / c, channel = column % c;
    if (which < taps) dweight[(size_t)channel * (size_t)taps + (size_t)which] = (float)sum;
    else if (sums != NULL) sums[(size_t)(which - taps) * (size_t)c + (size_t)channel] = sum;
}

template <class T, int R, int STRIDE> static cudaError_t launch_bwd(const um_gpu_depthwise_train_args *a, um_tiles t, cudaStream_t stream)
{
    size_t bytes = sizeof(typename bwd_tile<R, STRIDE>::shared);
    cudaError_t e = allow(depthwise_bwd_train_kernel<T, R, STRIDE>, bytes);
    return e != cudaSuccess ? e : um_gpu_launch((depthwise_bwd_train_kernel<T, R, STRIDE>), dim3((unsigned)t.blocks, (unsigned)t.groups), THREADS, bytes, stream, *a, t);
}

extern "C" size_t um_gpu_depthwise_bwd_scratch(const um_gpu_depthwise_train_args *a) { return (size_t)bwd_tiles(a).blocks * (size_t)(a->r * a->r + 2) * (size_t)a->c * sizeof(float); }
extern "C" size_t um_gpu_depthwise_bwd_bytes(const um_gpu_depthwise_train_args *a)
{
    size_t in = um_map_bytes(a->n, a->h * a->w, a->c, a->type), out = um_map_bytes(a->n, a->p * a->q, a->c, a->type), c = (size_t)a->c;
    return in * (!a->normed && a->add != NULL ? 3 : 2) + out * 2 + small_bytes(a) + c * ((size_t)(a->r * a->r) + 5 + 2 * (size_t)a->n) * sizeof(float) + (a->normed ? c * (sizeof(float) + 2 * sizeof(double)) : 0);
}
extern "C" cudaError_t um_gpu_depthwise_bwd(const um_gpu_depthwise_train_args *a, cudaStream_t stream)
{
    um_tiles t = bwd_tiles(a);
    cudaError_t e = t.all > 0 ? BY_SHAPE(launch_bwd, a, t, stream) : cudaSuccess;
    int width = (a->r * a->r + 2) * a->c;
    if (e != cudaSuccess) return e;
    return um_gpu_launch(depthwise_bwd_fold_kernel, (unsigned)um_ceil_div(width, UM_FOLD_COLUMNS), UM_FOLD_COLUMNS * UM_FOLD_SPLITS, UM_FOLD_COLUMNS * UM_FOLD_SPLITS * sizeof(double), stream, (const float *)a->scratch, t.blocks, a->c,
                         a->r * a->r, a->dweight, a->normed ? a->sums : NULL);
}
