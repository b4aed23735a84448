/* detect.cu: the kernels of detect_kernels.h. A block has a frame; its threads share out boxes. Compiled without fused multiply-add: boxes are the processor's, bit for bit, where the nets' outputs are. */
#include "src/nn/cuda/detect_kernels.h"
#include "src/nn/cuda/gpu.h"

#include <math.h>
#include <string.h>

static const int THREADS = 256, CAP = UM_GPU_LIST_CAP, CELL_PX = 12;

/* ---- pictures ---- */

typedef struct window {
    int lo, hi;
    float inverse;
} window;
static __device__ __forceinline__ window window_of(int start, int n_in, int n_out, int i)
{
    window v;
    v.lo = start + (int)((long long)i * n_in / n_out);
    v.hi = start + (int)(((long long)(i + 1) * n_in + n_out - 1) / n_out);
    v.inverse = 1.0f / (float)(v.hi - v.lo);
    return v;
}

/* The exact sum of a window, then as src/image/area.c rounds it. */
static __device__ void mean_of(const uint8_t *in, int width, window y, window x, float *out)
{
    int sum[3] = {0, 0, 0};
    float unit = 0.0078125f * y.inverse;
    for (int r = y.lo; r < y.hi; r++) {
        const uint8_t *p = in + ((size_t)r * (size_t)width + (size_t)x.lo) * 3;
        for (int c = x.lo; c < x.hi; c++, p += 3)
            for (int k = 0; k < 3; k++) sum[k] += p[k];
    }
    for (int k = 0; k < 3; k++) out[k] = (float)sum[k] * (unit * x.inverse) - 0.99609375f;
}

static __global__ void __launch_bounds__(THREADS) area_fwd_f32_kernel(um_gpu_area_args a)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x, area = (size_t)a.p * (size_t)a.q;
    if (i >= area || (int)blockIdx.y >= *a.count) return;
    window y = window_of(0, a.h, a.p, (int)(i / (size_t)a.q)), x = window_of(0, a.w, a.q, (int)(i % (size_t)a.q));
    mean_of(a.in + (size_t)blockIdx.y * (size_t)a.h * (size_t)a.w * 3, a.w, y, x, a.out + ((size_t)blockIdx.y * area + i) * 3);
}

extern "C" cudaError_t um_gpu_area(const um_gpu_area_args *a, cudaStream_t stream)
{
    return um_gpu_launch(area_fwd_f32_kernel, dim3((unsigned)((a->p * a->q + THREADS - 1) / THREADS), (unsigned)a->n), THREADS, 0, stream, *a);
}

/* ---- numbers ---- */

/* As src/models/mtcnn.c. */
static __device__ float probability(float logit)
{
    if (logit >= 0) return 1.0f / (1.0f + (float)exp(-(double)logit));
    float e = (float)exp((double)logit);
    return e / (1.0f + e);
}
static __device__ __forceinline__ float least(float a, float b) { return a < b ? a : b; }
static __device__ __forceinline__ float most(float a, float b) { return a > b ? a : b; }
/* The bits of a float as an unsigned number of the same order. */
static __device__ __forceinline__ unsigned ordered(float f)
{
    unsigned u = __float_as_uint(f);
    return (u & 0x80000000u) != 0 ? ~u : u | 0x80000000u;
}
/* Greatest first; of equal ones the lower `second`. */
static __device__ __forceinline__ unsigned long long key_of(float v, unsigned second) { return (unsigned long long)(~ordered(v)) << 32 | second; }

static __device__ int trunc_px(float v) { return !(v > -1e9f) ? -1000000000 : !(v < 1e9f) ? 1000000000 : (int)v; }
/* um_box_pad: x0, y0, x1, y1. */
static __device__ bool pad(const um_box &b, int w, int h, int *r)
{
    int x = trunc_px(b.x0), y = trunc_px(b.y0), ex = trunc_px(b.x1), ey = trunc_px(b.y1);
    x = x < 1 ? 1 : x;
    y = y < 1 ? 1 : y;
    ex = ex > w ? w : ex;
    ey = ey > h ? h : ey;
    r[0] = x - 1, r[1] = y - 1, r[2] = ex, r[3] = ey;
    return ex > x - 1 && ey > y - 1;
}
static __device__ void square(um_box &b)
{
    float h = b.y1 - b.y0, w = b.x1 - b.x0, side = most(w, h);
    b.x0 = b.x0 + w * 0.5f - side * 0.5f;
    b.y0 = b.y0 + h * 0.5f - side * 0.5f;
    b.x1 = b.x0 + side;
    b.y1 = b.y0 + side;
}
/* plus 1: um_box_shift; 0: what the first stage does. */
static __device__ void shift(um_box &b, float plus)
{
    float w = b.x1 - b.x0 + plus, h = b.y1 - b.y0 + plus;
    b.x0 = b.x0 + b.shift[0] * w;
    b.y0 = b.y0 + b.shift[1] * h;
    b.x1 = b.x1 + b.shift[2] * w;
    b.y1 = b.y1 + b.shift[3] * h;
}

/* ---- lists of a block ---- */

typedef struct lists {
    unsigned long long key[CAP];
    int scan[THREADS];
    unsigned char alive[CAP];
} lists;

/* How many threads before this one have it; *all: how many do. */
static __device__ int rank_of(lists *s, bool mine, int *all)
{
    int t = (int)threadIdx.x;
    s->scan[t] = mine;
    __syncthreads();
    for (int by = 1; by < THREADS; by *= 2) {
        int v = t >= by ? s->scan[t - by] : 0;
        __syncthreads();
        s->scan[t] += v;
        __syncthreads();
    }
    int rank = s->scan[t] - (int)mine;
    *all = s->scan[THREADS - 1];
    __syncthreads();
    return rank;
}

/* s->key[0..n), n <= CAP, ascending: Batcher's bitonic network. Keys differ. */
static __device__ void sort_keys(lists *s, int n)
{
    int size = 1;
    while (size < n) size *= 2;
    for (int i = n + (int)threadIdx.x; i < size; i += THREADS) s->key[i] = ~0ull;
    __syncthreads();
    for (int run = 2; run <= size; run *= 2)
        for (int by = run / 2; by > 0; by /= 2) {
            for (int i = (int)threadIdx.x; i < size; i += THREADS) {
                int o = i ^ by;
                if (o <= i) continue;
                unsigned long long a = s->key[i], b = s->key[o];
                if ((a > b) == ((i & run) == 0)) s->key[i] = b, s->key[o] = a;
            }
            __syncthreads();
        }
}

/* Does box o, kept, drop c? um_boxes_nms, and um_boxes_nms_min. */
static __device__ bool drops(const um_box &o, const um_box &c, double threshold, bool min)
{
    float one = min ? 1.0f : 0.0f;
    float w = most(0.0f, least(o.x1, c.x1) - most(o.x0, c.x0) + one), h = most(0.0f, least(o.y1, c.y1) - most(o.y0, c.y0) + one), both = w * h;
    float area = (c.x1 - c.x0 + one) * (c.y1 - c.y0 + one), other = (o.x1 - o.x0 + one) * (o.y1 - o.y0 + one);
    if (min) return !(both / least(other, area) <= (float)threshold);
    if (both <= 0) return false;
    return (double)(both / (other + area - both)) > threshold;
}

/* Of box[low half of key[i]], in that order: alive[i] is 0 for those that one before drops. */
static __device__ void thin_out(lists *s, const um_box *box, int n, double threshold, bool min)
{
    for (int i = (int)threadIdx.x; i < n; i += THREADS) s->alive[i] = 1;
    __syncthreads();
    for (int i = 0; i < n; i++) {
        if (s->alive[i] == 0) continue; /* the same for all threads: changed before the last barrier only */
        um_box o = box[(unsigned)s->key[i]];
        for (int j = i + 1 + (int)threadIdx.x; j < n; j += THREADS)
            if (s->alive[j] != 0 && drops(o, box[(unsigned)s->key[j]], threshold, min)) s->alive[j] = 0;
        __syncthreads();
    }
}

/* The living ones to `out`, in the order of the keys. Returns how many. */
static __device__ int keep_living(lists *s, const um_box *box, int n, um_box *out)
{
    int kept = 0, all;
    for (int base = 0; base < n; base += THREADS) {
        int i = base + (int)threadIdx.x;
        bool stays = i < n && s->alive[i] != 0;
        int at = kept + rank_of(s, stays, &all);
        kept += all;
        if (stays) out[at] = box[(unsigned)s->key[i]];
    }
    return kept;
}

/* ---- first stage ---- */

static __global__ void __launch_bounds__(THREADS) candidates_f32_kernel(um_gpu_candidates_args a)
{
    UM_GPU_SHARED(lists, s);
    int frame = (int)blockIdx.x, area = a.h * a.w, n = 0, kept, all;
    um_box *found = a.found + (size_t)frame * (size_t)CAP, *out = a.out + ((size_t)frame * (size_t)a.n_levels + (size_t)a.level) * (size_t)CAP;
    const float *map = a.map + (size_t)frame * (size_t)area * 5;
    if (frame >= *a.there) area = 0;
    for (int base = 0; base < area; base += THREADS) {
        int i = base + (int)threadIdx.x;
        float p = 0;
        bool pass = false;
        if (i < area && map[(size_t)i * 5] >= a.least) {
            p = probability(map[(size_t)i * 5]);
            pass = p >= a.threshold;
        }
        int at = n + rank_of(s, pass, &all);
        n += all;
        if (!pass || at >= CAP) continue;
        int x = i % a.w, y = i / a.w;
        um_box b;
        b.x0 = floorf((float)(2 * x + 1) / a.scale);
        b.y0 = floorf((float)(2 * y + 1) / a.scale);
        b.x1 = floorf((float)(2 * x + CELL_PX) / a.scale);
        b.y1 = floorf((float)(2 * y + CELL_PX) / a.scale);
        b.p = p;
        for (int k = 0; k < 4; k++) b.shift[k] = map[(size_t)i * 5 + 1 + (size_t)k];
        b.order = (unsigned)y * (unsigned)a.width + (unsigned)x;
        b.head = 0;
        for (int k = 0; k < 5; k++) b.landmarks[k][0] = b.landmarks[k][1] = 0;
        found[at] = b;
    }
    if (n > CAP) {
        if (threadIdx.x == 0) a.overflow[frame] = 1;
        n = CAP;
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < n; i += THREADS) s->key[i] = key_of(found[i].p, (unsigned)i); /* found in the order of places */
    sort_keys(s, n);
    thin_out(s, found, n, 0.5, false);
    kept = keep_living(s, found, n, out);
    if (threadIdx.x == 0) a.count[frame * a.n_levels + a.level] = kept;
}

extern "C" cudaError_t um_gpu_candidates(const um_gpu_candidates_args *a, cudaStream_t stream) { return um_gpu_launch(candidates_f32_kernel, (unsigned)a->n, THREADS, sizeof(lists), stream, *a); }

/* ---- between the nets ---- */

/* Boxes list[0..n) in the order of s->key, the living ones, through `finish`; those whose crop holds pixels to `out`. */
static __device__ void give(lists *s, const um_gpu_boxes_args &a, int frame, const um_box *list, int n, float plus)
{
    int kept = 0, all;
    um_box *out = a.out + (size_t)frame * (size_t)CAP;
    for (int base = 0; base < n; base += THREADS) {
        int i = base + (int)threadIdx.x, r[4];
        bool stays = i < n && s->alive[i] != 0;
        um_box b;
        if (stays) {
            b = list[(unsigned)s->key[i]];
            shift(b, plus);
            square(b);
            stays = pad(b, a.w, a.h, r);
        }
        int at = kept + rank_of(s, stays, &all);
        kept += all;
        if (stays) out[at] = b;
    }
    if (threadIdx.x == 0) a.out_count[frame] = kept;
}

static __global__ void __launch_bounds__(THREADS) boxes_first_f32_kernel(um_gpu_boxes_args a)
{
    UM_GPU_SHARED(lists, s);
    int frame = (int)blockIdx.x, n = 0;
    um_box *list = a.list + (size_t)frame * (size_t)CAP;
    for (int level = 0; level < a.n_levels; level++) {
        int count = a.in_count[frame * a.n_levels + level];
        const um_box *in = a.in + ((size_t)frame * (size_t)a.n_levels + (size_t)level) * (size_t)CAP;
        for (int i = (int)threadIdx.x; i < count; i += THREADS)
            if (n + i < CAP) list[n + i] = in[i];
        n += count;
    }
    if (n > CAP) {
        if (threadIdx.x == 0) a.overflow[frame] = 1;
        n = CAP;
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < n; i += THREADS) s->key[i] = key_of(list[i].p, (unsigned)i);
    sort_keys(s, n);
    thin_out(s, list, n, 0.7, false);
    give(s, a, frame, list, n, 0.0f);
}

/* The boxes of a frame that pass a net's threshold, into a.list, with what the net says of them. Returns how many. */
static __device__ int take_passed(lists *s, const um_gpu_boxes_args &a, int frame, int heads)
{
    int count = a.in_count[frame], n = 0, all;
    const um_box *in = a.in + (size_t)frame * (size_t)CAP;
    um_box *list = a.list + (size_t)frame * (size_t)CAP;
    if (a.overflow[frame] != 0) count = 0; /* its boxes may have no heads */
    for (int base = 0; base < count; base += THREADS) {
        int i = base + (int)threadIdx.x;
        const float *head = a.head + (size_t)(a.first[frame] + i) * (size_t)heads;
        float p = 0;
        bool pass = false;
        if (i < count) {
            p = probability(head[1] - head[0]);
            pass = p > a.threshold;
        }
        int at = n + rank_of(s, pass, &all);
        n += all;
        if (!pass) continue;
        um_box b = in[i];
        b.p = p;
        b.order = (unsigned)at;
        for (int k = 0; k < 4; k++) b.shift[k] = head[2 + k];
        b.head = a.first[frame] + i;
        list[at] = b;
    }
    __syncthreads();
    return n;
}

static __global__ void __launch_bounds__(THREADS) boxes_second_f32_kernel(um_gpu_boxes_args a)
{
    UM_GPU_SHARED(lists, s);
    int frame = (int)blockIdx.x, n = take_passed(s, a, frame, 6);
    const um_box *list = a.list + (size_t)frame * (size_t)CAP;
    for (int i = (int)threadIdx.x; i < n; i += THREADS) s->key[i] = key_of(list[i].p, (unsigned)i);
    sort_keys(s, n);
    thin_out(s, list, n, 0.7, false);
    give(s, a, frame, list, n, 1.0f);
}

static __global__ void __launch_bounds__(THREADS) boxes_last_f32_kernel(um_gpu_boxes_args a)
{
    UM_GPU_SHARED(lists, s);
    int frame = (int)blockIdx.x, n = take_passed(s, a, frame, 16), kept;
    um_box *list = a.list + (size_t)frame * (size_t)CAP, *out = a.out + (size_t)frame * (size_t)CAP;
    for (int i = (int)threadIdx.x; i < n; i += THREADS) {
        um_box b = list[i];
        const float *p = a.head + (size_t)b.head * 16 + 6;
        float w = b.x1 - b.x0 + 1, h = b.y1 - b.y0 + 1;
        for (int k = 0; k < 5; k++) { /* relative to the box before its shift */
            b.landmarks[k][0] = w * p[k] + b.x0 - 1;
            b.landmarks[k][1] = h * p[5 + k] + b.y0 - 1;
        }
        shift(b, 1.0f);
        list[i] = b;
        s->key[i] = key_of(b.p, ~(unsigned)i); /* of equal ones the last comes first */
    }
    sort_keys(s, n);
    for (int i = (int)threadIdx.x; i < n; i += THREADS) s->key[i] ^= 0xffffffffull; /* places again */
    __syncthreads();
    thin_out(s, list, n, 0.7, true);
    kept = keep_living(s, list, n, out);
    __syncthreads();
    for (int i = (int)threadIdx.x; i < kept; i += THREADS) s->key[i] = key_of((out[i].x1 - out[i].x0) * (out[i].y1 - out[i].y0), ~(unsigned)i);
    sort_keys(s, kept);
    for (int i = (int)threadIdx.x; i < kept; i += THREADS) {
        const um_box &b = out[~(unsigned)s->key[i]];
        um_face f;
        f.box[0] = b.x0, f.box[1] = b.y0, f.box[2] = b.x1, f.box[3] = b.y1;
        f.probability = b.p;
        for (int k = 0; k < 5; k++) f.landmarks[k][0] = b.landmarks[k][0], f.landmarks[k][1] = b.landmarks[k][1];
        a.faces[(size_t)frame * (size_t)a.faces_each + (size_t)i] = f;
    }
    if (threadIdx.x == 0) a.out_count[frame] = kept;
}

extern "C" cudaError_t um_gpu_boxes_first(const um_gpu_boxes_args *a, cudaStream_t stream) { return um_gpu_launch(boxes_first_f32_kernel, (unsigned)a->n, THREADS, sizeof(lists), stream, *a); }
extern "C" cudaError_t um_gpu_boxes_second(const um_gpu_boxes_args *a, cudaStream_t stream) { return um_gpu_launch(boxes_second_f32_kernel, (unsigned)a->n, THREADS, sizeof(lists), stream, *a); }
extern "C" cudaError_t um_gpu_boxes_last(const um_gpu_boxes_args *a, cudaStream_t stream) { return um_gpu_launch(boxes_last_f32_kernel, (unsigned)a->n, THREADS, sizeof(lists), stream, *a); }

/* ---- crops ---- */

static __global__ void __launch_bounds__(THREADS) entries_kernel(um_gpu_entries_args a)
{
    int at = 0;
    for (int i = (int)threadIdx.x; i < a.n * a.each; i += THREADS) a.entry[2 * i] = -1, a.entry[2 * i + 1] = 0;
    __syncthreads();
    for (int frame = 0; frame < a.n; frame++) {
        int count = a.overflow[frame] != 0 ? 0 : a.count[frame];
        bool fits = count <= a.each;
        __syncthreads(); /* all have read `overflow` */
        if (threadIdx.x == 0) {
            a.first[frame] = at;
            if (!fits) a.overflow[frame] = 1;
        }
        for (int i = (int)threadIdx.x; fits && i < count; i += THREADS) {
            a.entry[2 * (at + i)] = frame;
            a.entry[2 * (at + i) + 1] = i;
        }
        at += fits ? count : 0;
    }
    if (threadIdx.x == 0) a.first[a.n] = at;
}

extern "C" cudaError_t um_gpu_entries(const um_gpu_entries_args *a, cudaStream_t stream) { return um_gpu_launch(entries_kernel, 1, THREADS, 0, stream, *a); }

static __global__ void __launch_bounds__(THREADS) crops_fwd_f32_kernel(um_gpu_crops_args a)
{
    size_t entry = blockIdx.x, pixels = (size_t)a.side * (size_t)a.side;
    int frame = a.entry[2 * entry], r[4];
    float *out = a.out + entry * pixels * 3;
    if (frame < 0) return;
    (void)pad(a.box[(size_t)frame * (size_t)CAP + (size_t)a.entry[2 * entry + 1]], a.w, a.h, r);
    for (size_t i = threadIdx.x; i < pixels; i += THREADS) {
        window y = window_of(r[1], r[3] - r[1], a.side, (int)(i / (size_t)a.side)), x = window_of(r[0], r[2] - r[0], a.side, (int)(i % (size_t)a.side));
        mean_of(a.in + (size_t)frame * (size_t)a.h * (size_t)a.w * 3, a.w, y, x, out + 3 * i);
    }
}

extern "C" cudaError_t um_gpu_crops(const um_gpu_crops_args *a, cudaStream_t stream) { return um_gpu_launch(crops_fwd_f32_kernel, (unsigned)a->cap, THREADS, 0, stream, *a); }
