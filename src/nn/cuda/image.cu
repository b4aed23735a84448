/* image.cu: pixels before a network sees them. Each kernel's twin on the processor is named in image.h; the arithmetic is its, to the bit, so this file is compiled without fused multiply-add (cmake/um_cuda.cmake). */
#include "src/nn/cuda/gpu.h"
#include "src/nn/cuda/image.h"

#include <float.h>

enum { THREADS = 256, RGB = 3, RESIZE_BITS = 22 /* src/image/resize_kernels.h */, CUBIC_BITS = 11, CUBIC_TAPS = 4, CV_LANES = 8 /* src/image/cvresize.c */ };

static unsigned blocks_of(size_t n) { return (unsigned)((n + THREADS - 1) / THREADS); }
static __device__ __forceinline__ size_t thread_of_grid(void) { return (size_t)blockIdx.x * THREADS + threadIdx.x; }
static __device__ __forceinline__ uint8_t clip_byte(int v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }

/* ---- 4:2:0 ---- */

/* libswscale's coefficients with 13 fractional bits: sws_getCoefficients(SWS_CS_ITU601) / 2^16, luma stretched from 219 steps to 255 (or chroma squeezed from 255 to 224), rounded as ff_yuv2rgb_c_init_tables rounds. */
typedef struct yuv_coefficients {
    int offset, y, vr, ub, ug, vg;
} yuv_coefficients;

static yuv_coefficients yuv_coefficients_of(bool full_range)
{
    int64_t crv = 104597, cbu = 132201, cgu = -25675, cgv = -53279, cy = 1 << 16, oy = 0;
    if (full_range) {
        crv = crv * 224 / 255;
        cbu = cbu * 224 / 255;
        cgu = cgu * 224 / 255;
        cgv = cgv * 224 / 255;
    } else {
        cy = cy * 255 / 219;
        oy = 16 << 16;
    }
    auto round = [](int64_t v) { return (int)((v + (1 << 15)) >> 16); };
    return {round(oy * (1 << 3)), round(cy * (1 << 13)), round(crv * (1 << 13)), round(cbu * (1 << 13)), round(cgu * (1 << 13)), round(cgv * (1 << 13))};
}

/* The upper half of a product of 16-bit numbers. Sums of three such products stay below 2^15: saturation is never met before the bytes. */
static __device__ __forceinline__ int upper(int a, int b) { return a * b >> 16; }

/* Where a pixel of the frame lies in the turned one: start + y * by_row + x * by_column. */
typedef struct turning {
    int64_t start, by_row, by_column;
} turning;

static turning turning_of(int turn_deg, int64_t w, int64_t h)
{
    switch (turn_deg) {
    case 90: return {h - 1, -1, h};
    case 180: return {h * w - 1, -w, -1};
    case 270: return {(w - 1) * h, 1, -h};
    default: return {0, w, 1};
    }
}

/* Two by two pixels a thread: those that share their chroma. */
static __global__ void __launch_bounds__(THREADS) yuv_kernel(um_gpu_yuv_args a, yuv_coefficients k, turning t)
{
    size_t wide = (size_t)((a.w + 1) / 2), high = (size_t)((a.h + 1) / 2), i = thread_of_grid();
    if (i >= (size_t)a.n * high * wide) return;
    size_t x = i % wide, y = i / wide % high, n = i / (wide * high), at = n * a.chroma_step + y * a.chroma_pitch + x * (size_t)a.chroma_each;
    int u = ((int)a.u[at] - 128) * 8, v = ((int)a.v[at] - 128) * 8;
    int r = upper(v, k.vr), g = upper(u, k.ug) + upper(v, k.vg), b = upper(u, k.ub);
    for (size_t row = 2 * y; row < 2 * y + 2 && row < (size_t)a.h; row++)
        for (size_t column = 2 * x; column < 2 * x + 2 && column < (size_t)a.w; column++) {
            int luma = upper((int)a.y[n * a.y_step + row * a.y_pitch + column] * 8 - k.offset, k.y);
            uint8_t *out = a.out + (n * (size_t)a.h * (size_t)a.w + (size_t)(t.start + (int64_t)row * t.by_row + (int64_t)column * t.by_column)) * RGB;
            out[0] = clip_byte(luma + r);
            out[1] = clip_byte(luma + g);
            out[2] = clip_byte(luma + b);
        }
}

extern "C" cudaError_t um_gpu_yuv(const um_gpu_yuv_args *a, cudaStream_t stream)
{
    return um_gpu_launch(yuv_kernel, blocks_of((size_t)a->n * (size_t)((a->h + 1) / 2) * (size_t)((a->w + 1) / 2)), THREADS, 0, stream, *a, yuv_coefficients_of(a->full_range), turning_of(a->turn_deg, a->w, a->h));
}

/* ---- Pillow's bicubic ---- */

/* One pixel of one pass: `step` bytes from tap to tap. */
static __device__ __forceinline__ void resize_pixel(const um_gpu_resize_axis &axis, int i, const uint8_t *in, size_t step, uint8_t *out)
{
    const int32_t *w = axis.weight + (size_t)i * (size_t)axis.taps;
    int r = 1 << (RESIZE_BITS - 1), g = r, b = r;
    in += (size_t)axis.first[i] * step;
    for (int t = 0, n = axis.n[i]; t < n; t++, in += step) {
        r += in[0] * w[t];
        g += in[1] * w[t];
        b += in[2] * w[t];
    }
    out[0] = clip_byte(r >> RESIZE_BITS);
    out[1] = clip_byte(g >> RESIZE_BITS);
    out[2] = clip_byte(b >> RESIZE_BITS);
}

/* Rows of all frames. */
static __global__ void __launch_bounds__(THREADS) resize_x_kernel(um_gpu_resize_axis axis, size_t rows, const uint8_t *in, uint8_t *out)
{
    size_t i = thread_of_grid(), row = i / (size_t)axis.n_out;
    if (row >= rows) return;
    resize_pixel(axis, (int)(i % (size_t)axis.n_out), in + row * (size_t)axis.n_in * RGB, RGB, out + i * RGB);
}

static __global__ void __launch_bounds__(THREADS) resize_y_kernel(um_gpu_resize_axis axis, int frames, int width, const uint8_t *in, uint8_t *out)
{
    size_t i = thread_of_grid(), w = (size_t)width, y = i / w % (size_t)axis.n_out, n = i / (w * (size_t)axis.n_out);
    if (n >= (size_t)frames) return;
    resize_pixel(axis, (int)y, in + (n * (size_t)axis.n_in * w + i % w) * RGB, w * RGB, out + i * RGB);
}

extern "C" cudaError_t um_gpu_resize(const um_gpu_resize_args *a, cudaStream_t stream)
{
    bool x = a->x.n_in != a->x.n_out, y = a->y.n_in != a->y.n_out;
    size_t rows = (size_t)a->n * (size_t)a->y.n_in;
    const uint8_t *in = a->in;
    if (x) {
        uint8_t *out = y ? a->middle : a->out;
        cudaError_t e = um_gpu_launch(resize_x_kernel, blocks_of(rows * (size_t)a->x.n_out), THREADS, 0, stream, a->x, rows, in, out);
        if (e != cudaSuccess || !y) return e;
        in = out;
    }
    return um_gpu_launch(resize_y_kernel, blocks_of((size_t)a->n * (size_t)a->y.n_out * (size_t)a->x.n_out), THREADS, 0, stream, a->y, a->n, a->x.n_out, in, a->out);
}

/* ---- from faces to crops ---- */

/* src/detect/crop.c */
static __device__ __forceinline__ int whole_px(float v) { return !(v > -1e8f) ? -100000000 : !(v < 1e8f) ? 100000000 : (int)v; }

static __device__ bool crop_of_box(const float *box, float factor, int w, int h, um_gpu_crop *out)
{
    int side[4];
    for (int k = 0; k < 4; k++) {
        float v = box[k] / factor;
        if (v != v) return false;
        side[k] = whole_px(v);
    }
    if (side[2] <= side[0] || side[3] <= side[1]) return false;
    int margin_x = (side[2] - side[0]) / 3, margin_y = (side[3] - side[1]) / 3;
    out->x0 = max(side[0] - margin_x, 0);
    out->y0 = max(side[1] - margin_y, 0);
    out->x1 = min(side[2] + margin_x, w);
    out->y1 = min(side[3] + margin_y, h);
    return out->x1 > out->x0 && out->y1 > out->y0;
}

/* A thread a place: it looks for the frame whose faces reach it. */
static __global__ void __launch_bounds__(THREADS) crops_of_faces_kernel(um_gpu_crops_of_faces_args a)
{
    size_t i = thread_of_grid();
    int before = 0, n = 0, place = (int)i;
    if (i == 0) {
        int all = 0;
        for (int f = 0; f < a.n; f++) all += a.count[f];
        *a.left_out = max(all - a.room, 0);
    }
    if (i >= (size_t)a.room) return;
    while (n < a.n && place - before >= a.count[n]) before += a.count[n++];
    um_gpu_crop crop = {n, 0, 0, 0, 0};
    if (n == a.n || !crop_of_box(a.faces[(size_t)n * (size_t)a.cap + (size_t)(place - before)].box, a.factor, a.w, a.h, &crop)) crop = {-1, 0, 0, 0, 0};
    a.out[i] = crop;
}

extern "C" cudaError_t um_gpu_crops_of_faces(const um_gpu_crops_of_faces_args *a, cudaStream_t stream)
{
    return um_gpu_launch(crops_of_faces_kernel, blocks_of((size_t)(a->room > 0 ? a->room : 1)), THREADS, 0, stream, *a);
}

/* ---- OpenCV's area and cubic, in the middle of black ---- */

typedef enum fit_kind { FIT_BLACK, FIT_COPY, FIT_AREA, FIT_WHOLE, FIT_HALF, FIT_CUBIC } fit_kind;

/* What is done to a crop: kind, size and place of the resized picture, rows and columns for each of its pixels where both factors are whole. */
typedef struct fit {
    int kind, w, h, x0, y0, fx, fy;
} fit;

/* One output pixel's share of an axis. AREA: n inputs from `first` on, the first and the last with weights of their own (head, each, tail); CUBIC: four weights. */
typedef struct taps {
    int first, n;
    float weight[CUBIC_TAPS];
} taps;
enum { HEAD, EACH, TAIL };

extern "C" size_t um_gpu_letterbox_bytes(int n, int size) { return (size_t)n * (sizeof(fit) + 2 * (size_t)size * sizeof(taps)); }

/* OpenCV goes through the inverse. */
static __device__ __forceinline__ double axis_scale(int n_in, int n_out) { return 1.0 / ((double)n_out / n_in); }

static __device__ fit fit_of(int w, int h, int size)
{
    fit f = {FIT_BLACK, w, h, 0, 0, 0, 0};
    if (w < 1 || h < 1) return f;
    if (w > h) {
        f.h = (int)(h * ((double)size / w));
        f.w = size;
    } else {
        f.w = (int)(w * ((double)size / h));
        f.h = size;
    }
    f.w = max(f.w, 1);
    f.h = max(f.h, 1);
    f.x0 = (size - f.w) / 2;
    f.y0 = (size - f.h) / 2;
    f.kind = FIT_CUBIC;
    if (f.w == w && f.h == h) f.kind = FIT_COPY;
    else if (max(w, h) >= size) {
        double sx = axis_scale(w, f.w), sy = axis_scale(h, f.h);
        f.kind = FIT_AREA;
        f.fx = (int)rint(sx);
        f.fy = (int)rint(sy);
        if (fabs(sx - f.fx) < DBL_EPSILON && fabs(sy - f.fy) < DBL_EPSILON) f.kind = f.fx == 2 && f.fy == 2 ? FIT_HALF : FIT_WHOLE;
    }
    return f;
}

static __device__ taps taps_area(int i, int n_in, int n_out)
{
    const double scale = axis_scale(n_in, n_out);
    double lo = i * scale, hi = lo + scale, cell = fmin(scale, n_in - lo);
    int whole_lo = (int)ceil(lo), whole_hi = min((int)floor(hi), n_in - 1);
    whole_lo = min(whole_lo, whole_hi);
    bool head = whole_lo - lo > 1e-3, tail = hi - whole_hi > 1e-3;
    float each = (float)(1.0 / cell);
    taps t = {whole_lo, whole_hi - whole_lo, {each, each, each, 0}};
    if (head) {
        t.weight[HEAD] = (float)((whole_lo - lo) / cell);
        t.first--;
        t.n++;
    }
    if (tail) {
        t.weight[TAIL] = (float)(fmin(fmin(hi - whole_hi, 1.0), cell) / cell);
        t.n++;
        if (t.n == 1) t.weight[HEAD] = t.weight[TAIL];
    }
    return t;
}

static __device__ taps taps_cubic(int i, int n_in, int n_out)
{
    const float A = -0.75f;
    float at = (float)((i + 0.5) * axis_scale(n_in, n_out) - 0.5), whole = floorf(at), x = at - whole;
    taps t = {(int)whole - 1, CUBIC_TAPS, {0}};
    float *k = t.weight;
    k[0] = ((A * (x + 1) - 5 * A) * (x + 1) + 8 * A) * (x + 1) - 4 * A;
    k[1] = ((A + 2) * x - (A + 3)) * x * x + 1;
    k[2] = ((A + 2) * (1 - x) - (A + 3)) * (1 - x) * (1 - x) + 1;
    k[3] = 1.0f - k[0] - k[1] - k[2];
    for (int j = 0; j < CUBIC_TAPS; j++) k[j] = rintf(k[j] * (1 << CUBIC_BITS));
    return t;
}

/* A thread an output row or column of a crop: 2 * size of them. */
static __global__ void __launch_bounds__(THREADS) fit_plan_kernel(um_gpu_letterbox_args a)
{
    size_t all = 2 * (size_t)a.size, i = thread_of_grid(), n = i / all;
    if (n >= (size_t)a.n) return;
    const um_gpu_crop c = a.crop[n];
    fit f = fit_of(c.frame < 0 ? 0 : c.x1 - c.x0, c.y1 - c.y0, a.size);
    int axis = (int)(i % all) / a.size, k = (int)(i % all) % a.size, n_in = axis == 0 ? c.x1 - c.x0 : c.y1 - c.y0, n_out = axis == 0 ? f.w : f.h;
    if (i % all == 0) ((fit *)a.scratch)[n] = f;
    if (k >= n_out || (f.kind != FIT_AREA && f.kind != FIT_CUBIC)) return;
    ((taps *)((fit *)a.scratch + a.n))[i] = f.kind == FIT_AREA ? taps_area(k, n_in, n_out) : taps_cubic(k, n_in, n_out);
}

static __device__ __forceinline__ uint8_t round_clip(float v) { return (uint8_t)(int)rintf(v > 0 ? v < 255 ? v : 255.0f : 0.0f); }

/* p: the crop's first pixel. */
static __device__ void fit_area(const taps &x, const taps &y, const uint8_t *p, size_t pitch, uint8_t *out)
{
    float sum[RGB] = {0, 0, 0};
    for (int r = 0; r < y.n; r++) {
        const uint8_t *q = p + (size_t)(y.first + r) * pitch + (size_t)x.first * RGB;
        float wy = r == 0 ? y.weight[HEAD] : r == y.n - 1 ? y.weight[TAIL] : y.weight[EACH], row[RGB];
        for (int c = 0; c < RGB; c++) row[c] = (float)q[c] * x.weight[HEAD];
        for (int s = 1; s < x.n; s++) {
            float wx = s == x.n - 1 ? x.weight[TAIL] : x.weight[EACH];
            q += RGB;
            for (int c = 0; c < RGB; c++) row[c] = row[c] + (float)q[c] * wx;
        }
        for (int c = 0; c < RGB; c++) sum[c] = r == 0 ? wy * row[c] : sum[c] + wy * row[c];
    }
    for (int c = 0; c < RGB; c++) out[c] = round_clip(sum[c]);
}

static __device__ void fit_whole(const fit &f, int x, int y, const uint8_t *p, size_t pitch, uint8_t *out)
{
    int sum[RGB] = {0, 0, 0};
    for (int r = 0; r < f.fy; r++) {
        const uint8_t *q = p + ((size_t)y * (size_t)f.fy + (size_t)r) * pitch + (size_t)x * (size_t)f.fx * RGB;
        for (int s = 0; s < f.fx; s++, q += RGB)
            for (int c = 0; c < RGB; c++) sum[c] += q[c];
    }
    float unit = 1.0f / (float)(f.fx * f.fy);
    for (int c = 0; c < RGB; c++) out[c] = f.kind == FIT_HALF ? (uint8_t)((sum[c] + 2) >> 2) : round_clip((float)sum[c] * unit);
}

/* Rows first; then columns, in f32 where OpenCV's vectors reach and in fixed point in the rest of the row. Sums of a row are whole numbers below 2^24. */
static __device__ void fit_cubic(const taps &x, const taps &y, const fit &f, int px, int w, int h, const uint8_t *p, size_t pitch, uint8_t *out)
{
    float row[CUBIC_TAPS][RGB];
#pragma unroll
    for (int r = 0; r < CUBIC_TAPS; r++) {
        const uint8_t *q = p + (size_t)min(max(y.first + r, 0), h - 1) * pitch;
#pragma unroll
        for (int c = 0; c < RGB; c++) row[r][c] = 0;
#pragma unroll
        for (int s = 0; s < CUBIC_TAPS; s++) {
            const uint8_t *v = q + (size_t)min(max(x.first + s, 0), w - 1) * RGB;
#pragma unroll
            for (int c = 0; c < RGB; c++) row[r][c] += (float)v[c] * x.weight[s];
        }
    }
    const float unit = 1.0f / (1 << 2 * CUBIC_BITS);
    const int vectors = f.w * RGB / CV_LANES * CV_LANES;
#pragma unroll
    for (int c = 0; c < RGB; c++) {
        if (px * RGB + c < vectors) {
            out[c] = round_clip(row[0][c] * (y.weight[0] * unit) + (row[1][c] * (y.weight[1] * unit) + (row[2][c] * (y.weight[2] * unit) + row[3][c] * (y.weight[3] * unit))));
        } else {
            int v = 1 << (2 * CUBIC_BITS - 1);
#pragma unroll
            for (int r = 0; r < CUBIC_TAPS; r++) v += (int)row[r][c] * (int)y.weight[r];
            out[c] = clip_byte(v >> 2 * CUBIC_BITS);
        }
    }
}

/* A pixel a thread; the grid's second dimension is the crop. */
static __global__ void __launch_bounds__(THREADS) letterbox_kernel(um_gpu_letterbox_args a)
{
    size_t i = thread_of_grid(), size = (size_t)a.size, n = blockIdx.y;
    if (i >= size * size) return;
    const um_gpu_crop crop = a.crop[n];
    const fit f = ((const fit *)a.scratch)[n];
    int x = (int)(i % size) - f.x0, y = (int)(i / size) - f.y0;
    uint8_t rgb[RGB] = {0, 0, 0}, *out = a.out + (n * size * size + i) * RGB;
    if (f.kind != FIT_BLACK && x >= 0 && y >= 0 && x < f.w && y < f.h) {
        size_t pitch = (size_t)a.w * RGB;
        const uint8_t *p = a.frames + ((size_t)crop.frame * (size_t)a.h + (size_t)crop.y0) * pitch + (size_t)crop.x0 * RGB;
        const taps *tx = (const taps *)((const fit *)a.scratch + a.n) + n * 2 * size, *ty = tx + size;
        if (f.kind == FIT_COPY)
            for (int c = 0; c < RGB; c++) rgb[c] = p[(size_t)y * pitch + (size_t)x * RGB + (size_t)c];
        else if (f.kind == FIT_AREA) fit_area(tx[x], ty[y], p, pitch, rgb);
        else if (f.kind == FIT_CUBIC) fit_cubic(tx[x], ty[y], f, x, crop.x1 - crop.x0, crop.y1 - crop.y0, p, pitch, rgb);
        else fit_whole(f, x, y, p, pitch, rgb);
    }
    for (int c = 0; c < RGB; c++) out[c] = rgb[c];
}

extern "C" cudaError_t um_gpu_letterbox(const um_gpu_letterbox_args *a, cudaStream_t stream)
{
    size_t size = (size_t)a->size;
    if (a->n == 0) return cudaSuccess;
    cudaError_t e = um_gpu_launch(fit_plan_kernel, blocks_of((size_t)a->n * 2 * size), THREADS, 0, stream, *a);
    if (e != cudaSuccess) return e;
    return um_gpu_launch(letterbox_kernel, dim3(blocks_of(size * size), (unsigned)a->n), THREADS, 0, stream, *a);
}
