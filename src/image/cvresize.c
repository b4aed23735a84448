#include "src/image/cvresize.h"

#include "src/core/clones.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The arithmetic is OpenCV 4.10's (modules/imgproc/src/resize.cpp), order of operations included: computeResizeAreaTab and ResizeArea_Invoker for INTER_AREA, ResizeAreaFast_ where both
 * factors are whole, interpolateCubic, HResizeCubic and VResizeCubic for INTER_CUBIC, HResizeLinear and VResizeLinear for INTER_LINEAR. Rows are widened to floats first: the horizontal sums of the latter two are whole numbers below 2^24 and so exact in them, and a pixel's
 * three channels (and one of no meaning) make a vector of four. */

enum { C = 3, PAD = 16, CUBIC_BITS = 11, CUBIC_TAPS = 4, LINEAR_TAPS = 2, CV_LANES = 8 /* of 16-bit numbers in OpenCV's 128-bit vectors */ };

/* One axis: output i is the sum over k < n[i] of weight[i * taps + k] * input[first[i] + k]. */
typedef struct axis {
    int n_in, n_out, taps;
    um_cvresize_kind kind;
    int *first, *n;
    float *weight;
} axis;

struct um_cvresize {
    axis x, y;
    float *wide;  /* one input row */
    float *rows;  /* rows after the horizontal pass: INTER_CUBIC 4, INTER_LINEAR 2, INTER_AREA 1 */
    float *sum;   /* INTER_AREA: the output row as it grows; whole factors keep integers in it and in `wide` */
    size_t wide_cap, rows_cap, sum_cap;
};

typedef float f32x4 __attribute__((vector_size(16), aligned(4)));
typedef int32_t i32x4 __attribute__((vector_size(16), aligned(4)));

um_status um_cvresize_new(um_cvresize **out)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory to resize pictures");
    return UM_OK;
}

static void axis_release(axis *a)
{
    free(a->first);
    free(a->n);
    free(a->weight);
    *a = (axis){0};
}

void um_cvresize_free(um_cvresize *r)
{
    if (r == NULL) return;
    axis_release(&r->x);
    axis_release(&r->y);
    free(r->wide);
    free(r->rows);
    free(r->sum);
    free(r);
}

static um_status reserve(float **p, size_t *cap, size_t need)
{
    if (need <= *cap) return UM_OK;
    free(*p);
    *cap = 0;
    *p = malloc(need * sizeof **p);
    if (*p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory to resize a picture");
    *cap = need;
    return UM_OK;
}

static um_status axis_alloc(axis *a, int n_in, int n_out, int taps, um_cvresize_kind kind)
{
    axis_release(a);
    a->first = malloc((size_t)n_out * sizeof *a->first);
    a->n = malloc((size_t)n_out * sizeof *a->n);
    a->weight = calloc((size_t)n_out * (size_t)taps, sizeof *a->weight);
    if (a->first == NULL || a->n == NULL || a->weight == NULL) {
        axis_release(a);
        return UM_FAIL(UM_NO_MEMORY, "no memory to resize %d to %d pixels", n_in, n_out);
    }
    a->n_in = n_in;
    a->n_out = n_out;
    a->taps = taps;
    a->kind = kind;
    return UM_OK;
}

/* OpenCV goes through the inverse: 1 / (n_out / n_in) is not always n_in / n_out, and a factor of 3 not always whole. */
static double axis_scale(int n_in, int n_out) { return 1.0 / ((double)n_out / n_in); }

static um_status axis_area(axis *a, int n_in, int n_out)
{
    if (a->n_in == n_in && a->n_out == n_out && a->kind == UM_CVRESIZE_AREA) return UM_OK;
    const double scale = axis_scale(n_in, n_out);
    UM_PASS(axis_alloc(a, n_in, n_out, (int)ceil(scale) + 2, UM_CVRESIZE_AREA));
    for (int i = 0; i < n_out; i++) {
        double lo = i * scale, hi = lo + scale, cell = fmin(scale, n_in - lo);
        int whole_lo = (int)ceil(lo), whole_hi = (int)floor(hi), n = 0;
        if (whole_hi > n_in - 1) whole_hi = n_in - 1;
        if (whole_lo > whole_hi) whole_lo = whole_hi;
        float *w = a->weight + (size_t)i * (size_t)a->taps;
        a->first[i] = whole_lo;
        if (whole_lo - lo > 1e-3) {
            a->first[i]--;
            w[n++] = (float)((whole_lo - lo) / cell);
        }
        for (int k = whole_lo; k < whole_hi; k++) w[n++] = (float)(1.0 / cell);
        if (hi - whole_hi > 1e-3) w[n++] = (float)(fmin(fmin(hi - whole_hi, 1.0), cell) / cell);
        a->n[i] = n;
    }
    return UM_OK;
}

static um_status axis_cubic(axis *a, int n_in, int n_out)
{
    if (a->n_in == n_in && a->n_out == n_out && a->kind == UM_CVRESIZE_CUBIC) return UM_OK;
    const double scale = axis_scale(n_in, n_out);
    UM_PASS(axis_alloc(a, n_in, n_out, CUBIC_TAPS, UM_CVRESIZE_CUBIC));
    for (int i = 0; i < n_out; i++) {
        const float A = -0.75f;
        float at = (float)((i + 0.5) * scale - 0.5), whole = floorf(at), x = at - whole, k[CUBIC_TAPS];
        k[0] = ((A * (x + 1) - 5 * A) * (x + 1) + 8 * A) * (x + 1) - 4 * A;
        k[1] = ((A + 2) * x - (A + 3)) * x * x + 1;
        k[2] = ((A + 2) * (1 - x) - (A + 3)) * (1 - x) * (1 - x) + 1;
        k[3] = 1.0f - k[0] - k[1] - k[2];
        /* Each rounded by itself: the sum may miss 1 by a little, and nobody mends it. */
        for (int t = 0; t < CUBIC_TAPS; t++) a->weight[(size_t)i * CUBIC_TAPS + (size_t)t] = rintf(k[t] * (1 << CUBIC_BITS));
        a->first[i] = (int)whole - 1;
        a->n[i] = CUBIC_TAPS;
    }
    return UM_OK;
}

/* clamp: positions beyond the ends are moved to them with all the weight on one tap (columns); rows are left to be replicated, as OpenCV does: the weights of both taps are then rounded each by itself. */
static um_status axis_linear(axis *a, int n_in, int n_out, bool clamp)
{
    if (a->n_in == n_in && a->n_out == n_out && a->kind == UM_CVRESIZE_LINEAR) return UM_OK;
    const double scale = axis_scale(n_in, n_out);
    UM_PASS(axis_alloc(a, n_in, n_out, LINEAR_TAPS, UM_CVRESIZE_LINEAR));
    for (int i = 0; i < n_out; i++) {
        float at = (float)((i + 0.5) * scale - 0.5), whole = floorf(at), x = at - whole;
        if (clamp && whole < 0) whole = 0, x = 0;
        if (clamp && whole >= (float)(n_in - 1)) whole = (float)(n_in - 1), x = 0;
        a->weight[(size_t)i * LINEAR_TAPS] = rintf((1.0f - x) * (1 << CUBIC_BITS));
        a->weight[(size_t)i * LINEAR_TAPS + 1] = rintf(x * (1 << CUBIC_BITS));
        a->first[i] = (int)whole;
        a->n[i] = LINEAR_TAPS;
    }
    return UM_OK;
}

UM_CLONES static void widen(const uint8_t *restrict in, int n, float *restrict out)
{
    for (int i = 0; i < n; i++) out[i] = (float)in[i];
}

/* Half to even, 0..255: adding 1.5 * 2^23 leaves no bits for a fraction, and the whole number stands in the lowest ones. */
static inline uint8_t round_clip(float v)
{
    union {
        float f;
        uint32_t bits;
    } u;
    v = v > 0 ? v : 0;
    v = v < 255 ? v : 255;
    u.f = v + 12582912.0f;
    return (uint8_t)u.bits;
}

UM_CLONES static void round_row(const float *restrict in, int n, uint8_t *restrict out)
{
    for (int i = 0; i < n; i++) out[i] = round_clip(in[i]);
}

UM_CLONES static void row_scale(const float *restrict in, float weight, int n, float *restrict out)
{
    for (int i = 0; i < n; i++) out[i] = weight * in[i];
}

UM_CLONES static void row_add(const float *restrict in, float weight, int n, float *restrict out)
{
    for (int i = 0; i < n; i++) out[i] = out[i] + weight * in[i];
}

/* `in` has its first pixel at in[0] and may be read before it and after its end as far as the axis asks; writes one number past the end of `out`. */
static void pass_x(const axis *a, const float *in, float *out)
{
    for (int i = 0; i < a->n_out; i++) {
        const float *p = in + (ptrdiff_t)a->first[i] * C, *w = a->weight + (size_t)i * (size_t)a->taps;
        f32x4 s = *(const f32x4 *)(const void *)p * w[0];
        for (int t = 1; t < a->n[i]; t++) s = s + *(const f32x4 *)(const void *)(p + (size_t)t * C) * w[t];
        *(f32x4 *)(void *)(out + (size_t)i * C) = s;
    }
}

/* The same with four taps known to be four. */
static void pass_x_cubic(const axis *a, const float *in, float *out)
{
    for (int i = 0; i < a->n_out; i++) {
        const float *p = in + (ptrdiff_t)a->first[i] * C, *w = a->weight + (size_t)i * CUBIC_TAPS;
        f32x4 s = *(const f32x4 *)(const void *)p * w[0] + *(const f32x4 *)(const void *)(p + C) * w[1];
        s = s + (*(const f32x4 *)(const void *)(p + 2 * C) * w[2] + *(const f32x4 *)(const void *)(p + 3 * C) * w[3]);
        *(f32x4 *)(void *)(out + (size_t)i * C) = s;
    }
}

static void copy(const um_image *in, um_image *out)
{
    for (int y = 0; y < in->height_px; y++) memcpy(out->data + (size_t)y * out->stride, in->data + (size_t)y * in->stride, (size_t)in->width_px * C);
}

static um_status check(const um_image *in, const um_image *out)
{
    if (in->channels != C || out->channels != C) return UM_FAIL(UM_USAGE, "resizing %d to %d channels", in->channels, out->channels);
    const int side[4] = {in->width_px, in->height_px, out->width_px, out->height_px};
    for (int i = 0; i < 4; i++)
        if (side[i] < 1 || side[i] > UM_IMAGE_MAX_SIDE) return UM_FAIL(UM_USAGE, "resizing %dx%d to %dx%d", side[0], side[1], side[2], side[3]);
    return UM_OK;
}

static bool same_size(const um_image *in, const um_image *out) { return in->width_px == out->width_px && in->height_px == out->height_px; }

UM_CLONES static void sum_rows(const uint8_t *restrict in, size_t stride, int n_rows, int n, int32_t *restrict out)
{
    for (int i = 0; i < n; i++) out[i] = in[i];
    for (int k = 1; k < n_rows; k++)
        for (int i = 0; i < n; i++) out[i] += in[(size_t)k * stride + (size_t)i];
}

UM_CLONES static void round_sums(const int32_t *restrict in, float scale, int n, uint8_t *restrict out)
{
    for (int i = 0; i < n; i++) out[i] = round_clip((float)in[i] * scale);
}

UM_CLONES static void round_quarters(const int32_t *restrict in, int n, uint8_t *restrict out)
{
    for (int i = 0; i < n; i++) out[i] = (uint8_t)((in[i] + 2) >> 2);
}

/* Both factors whole: sums of whole numbers, times 1 / area in f32, half to even; but 2 x 2 adds 2 and shifts: half up. */
static um_status area_whole(um_cvresize *r, const um_image *in, um_image *out, int fx, int fy)
{
    const int n_in = in->width_px * C, n = out->width_px * C;
    UM_PASS(reserve(&r->wide, &r->wide_cap, (size_t)n_in + PAD));
    UM_PASS(reserve(&r->sum, &r->sum_cap, (size_t)n + PAD));
    int32_t *column = (int32_t *)(void *)r->wide, *sum = (int32_t *)(void *)r->sum;
    memset(column + n_in, 0, PAD * sizeof *column);
    for (int y = 0; y < out->height_px; y++) {
        sum_rows(in->data + (size_t)y * (size_t)fy * in->stride, in->stride, fy, n_in, column);
        const int32_t *p = column;
        for (int x = 0; x < out->width_px; x++, p += fx * C) {
            i32x4 s = *(const i32x4 *)(const void *)p;
            for (int k = 1; k < fx; k++) s = s + *(const i32x4 *)(const void *)(p + k * C);
            *(i32x4 *)(void *)(sum + (size_t)x * C) = s;
        }
        uint8_t *to = out->data + (size_t)y * out->stride;
        if (fx == 2 && fy == 2)
            round_quarters(sum, n, to);
        else
            round_sums(sum, 1.0f / (float)(fx * fy), n, to);
    }
    return UM_OK;
}

um_status um_cvresize_area(um_cvresize *r, const um_image *in, um_image *out)
{
    UM_PASS(check(in, out));
    if (same_size(in, out)) {
        copy(in, out);
        return UM_OK;
    }
    if (in->width_px < out->width_px || in->height_px < out->height_px)
        return UM_FAIL(UM_USAGE, "area averaging only shrinks: %dx%d to %dx%d", in->width_px, in->height_px, out->width_px, out->height_px);
    const double sx = axis_scale(in->width_px, out->width_px), sy = axis_scale(in->height_px, out->height_px);
    const int fx = (int)rint(sx), fy = (int)rint(sy);
    if ((int64_t)fx * fy > INT32_MAX / 255) return UM_FAIL(UM_USAGE, "resizing by %d x %d", fx, fy);
    if (fabs(sx - fx) < DBL_EPSILON && fabs(sy - fy) < DBL_EPSILON) return area_whole(r, in, out, fx, fy);

    const int n_in = in->width_px * C, n = out->width_px * C;
    UM_PASS(axis_area(&r->x, in->width_px, out->width_px));
    UM_PASS(axis_area(&r->y, in->height_px, out->height_px));
    UM_PASS(reserve(&r->wide, &r->wide_cap, (size_t)n_in + PAD));
    UM_PASS(reserve(&r->rows, &r->rows_cap, (size_t)n + PAD));
    UM_PASS(reserve(&r->sum, &r->sum_cap, (size_t)n));
    memset(r->wide + n_in, 0, PAD * sizeof *r->wide);
    int done = -1; /* input row that is in r->rows: the last of one output row may be the first of the next */
    for (int y = 0; y < out->height_px; y++) {
        for (int k = 0; k < r->y.n[y]; k++) {
            const int row = r->y.first[y] + k;
            const float weight = r->y.weight[(size_t)y * (size_t)r->y.taps + (size_t)k];
            if (row != done) {
                widen(in->data + (size_t)row * in->stride, n_in, r->wide);
                pass_x(&r->x, r->wide, r->rows);
                done = row;
            }
            (k == 0 ? row_scale : row_add)(r->rows, weight, n, r->sum);
        }
        round_row(r->sum, n, out->data + (size_t)y * out->stride);
    }
    return UM_OK;
}

/* OpenCV's vertical pass is in f32 where its vectors reach, in this order, and in fixed point in the rest of the row. */
UM_CLONES static void cubic_y(const float *restrict s0, const float *restrict s1, const float *restrict s2, const float *restrict s3, const float *w, int n, uint8_t *restrict out)
{
    const float unit = 1.0f / (1 << 2 * CUBIC_BITS), b0 = w[0] * unit, b1 = w[1] * unit, b2 = w[2] * unit, b3 = w[3] * unit;
    const int32_t i0 = (int32_t)w[0], i1 = (int32_t)w[1], i2 = (int32_t)w[2], i3 = (int32_t)w[3];
    const int vectors = n / CV_LANES * CV_LANES;
    for (int x = 0; x < vectors; x++) out[x] = round_clip(s0[x] * b0 + (s1[x] * b1 + (s2[x] * b2 + s3[x] * b3)));
    for (int x = vectors; x < n; x++) {
        int32_t v = (int32_t)s0[x] * i0 + (int32_t)s1[x] * i1 + (int32_t)s2[x] * i2 + (int32_t)s3[x] * i3;
        v = (v + (1 << (2 * CUBIC_BITS - 1))) >> 2 * CUBIC_BITS;
        out[x] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

um_status um_cvresize_cubic(um_cvresize *r, const um_image *in, um_image *out)
{
    enum { BORDER = 2 }; /* pixels that the taps reach beyond either end */
    UM_PASS(check(in, out));
    if (same_size(in, out)) {
        copy(in, out);
        return UM_OK;
    }
    const int width = in->width_px, n = out->width_px * C;
    const size_t pitch = (size_t)n + PAD;
    UM_PASS(axis_cubic(&r->x, width, out->width_px));
    UM_PASS(axis_cubic(&r->y, in->height_px, out->height_px));
    UM_PASS(reserve(&r->wide, &r->wide_cap, (size_t)(width + 2 * BORDER) * C + PAD));
    UM_PASS(reserve(&r->rows, &r->rows_cap, CUBIC_TAPS * pitch));
    float *wide = r->wide + BORDER * C;
    memset(wide + (width + BORDER) * C, 0, PAD * sizeof *wide);
    int held[CUBIC_TAPS] = {-1, -1, -1, -1}; /* four rows in a row are four slots: the slot is the row modulo 4 */
    for (int y = 0; y < out->height_px; y++) {
        const float *row[CUBIC_TAPS];
        for (int k = 0; k < CUBIC_TAPS; k++) {
            int at = r->y.first[y] + k;
            at = at < 0 ? 0 : at >= in->height_px ? in->height_px - 1 : at;
            float *slot = r->rows + (size_t)(at % CUBIC_TAPS) * pitch;
            row[k] = slot;
            if (held[at % CUBIC_TAPS] == at) continue;
            held[at % CUBIC_TAPS] = at;
            widen(in->data + (size_t)at * in->stride, width * C, wide);
            for (int b = 0; b < BORDER * C; b++) {
                wide[b - BORDER * C] = wide[b % C];
                wide[width * C + b] = wide[(width - 1) * C + b % C];
            }
            pass_x_cubic(&r->x, wide, slot);
        }
        cubic_y(row[0], row[1], row[2], row[3], r->y.weight + (size_t)y * CUBIC_TAPS, n, out->data + (size_t)y * out->stride);
    }
    return UM_OK;
}

/* OpenCV's own order of shifts: 4 of 11 bits are dropped before the multiplication, 16 behind it, each tap by itself. */
UM_CLONES static void linear_y(const float *restrict s0, const float *restrict s1, const float *w, int n, uint8_t *restrict out)
{
    const int32_t b0 = (int32_t)w[0], b1 = (int32_t)w[1];
    for (int x = 0; x < n; x++) {
        int32_t v0 = (int32_t)s0[x] >> 4, v1 = (int32_t)s1[x] >> 4;
        out[x] = (uint8_t)(((b0 * v0 >> 16) + (b1 * v1 >> 16) + 2) >> 2);
    }
}

um_status um_cvresize_linear(um_cvresize *r, const um_image *in, um_image *out)
{
    UM_PASS(check(in, out));
    if (same_size(in, out)) {
        copy(in, out);
        return UM_OK;
    }
    if (in->width_px == 2 * out->width_px && in->height_px == 2 * out->height_px) return area_whole(r, in, out, 2, 2); /* OpenCV takes the mean there */
    const int n_in = in->width_px * C, n = out->width_px * C;
    const size_t pitch = (size_t)n + PAD;
    UM_PASS(axis_linear(&r->x, in->width_px, out->width_px, true));
    UM_PASS(axis_linear(&r->y, in->height_px, out->height_px, false));
    UM_PASS(reserve(&r->wide, &r->wide_cap, (size_t)n_in + PAD));
    UM_PASS(reserve(&r->rows, &r->rows_cap, LINEAR_TAPS * pitch));
    memset(r->wide + n_in, 0, PAD * sizeof *r->wide);
    int held[LINEAR_TAPS] = {-1, -1}; /* two rows in a row are two slots: the slot is the row modulo 2 */
    for (int y = 0; y < out->height_px; y++) {
        const float *row[LINEAR_TAPS];
        for (int k = 0; k < LINEAR_TAPS; k++) {
            int at = r->y.first[y] + k;
            at = at < 0 ? 0 : at >= in->height_px ? in->height_px - 1 : at;
            float *slot = r->rows + (size_t)(at % LINEAR_TAPS) * pitch;
            row[k] = slot;
            if (held[at % LINEAR_TAPS] == at) continue;
            held[at % LINEAR_TAPS] = at;
            widen(in->data + (size_t)at * in->stride, n_in, r->wide);
            pass_x(&r->x, r->wide, slot);
        }
        linear_y(row[0], row[1], r->y.weight + (size_t)y * LINEAR_TAPS, n, out->data + (size_t)y * out->stride);
    }
    return UM_OK;
}

um_status um_cvresize_fit(um_cvresize *r, const um_image *crop, um_cvresize_kind down, um_cvresize_kind up, const um_image *out)
{
    int w = crop->width_px, h = crop->height_px;
    const int size_px = out->width_px;
    if (size_px < 1 || size_px > UM_IMAGE_MAX_SIDE || out->height_px != size_px || out->channels != C) return UM_FAIL(UM_USAGE, "a picture of %dx%d with %d channels", out->width_px, out->height_px, out->channels);
    if (w < 1 || h < 1) return UM_FAIL(UM_USAGE, "a crop of %dx%d", w, h);
    const bool enlarge = (w > h ? w : h) < size_px;
    if (w > h) {
        h = (int)(h * ((double)size_px / w));
        w = size_px;
    } else {
        w = (int)(w * ((double)size_px / h));
        h = size_px;
    }
    /* The reference fails on a strip so thin that nothing of it would be left. */
    if (w < 1) w = 1;
    if (h < 1) h = 1;
    const int x0 = (size_px - w) / 2, y0 = (size_px - h) / 2;
    for (int y = 0; y < size_px; y++) {
        uint8_t *row = out->data + (size_t)y * out->stride;
        if (y < y0 || y >= y0 + h) {
            memset(row, 0, (size_t)size_px * C);
        } else {
            memset(row, 0, (size_t)x0 * C);
            memset(row + (size_t)(x0 + w) * C, 0, (size_t)(size_px - x0 - w) * C);
        }
    }
    um_image to = um_image_crop(out, (um_rect){x0, y0, x0 + w, y0 + h});
    switch (enlarge ? up : down) {
    case UM_CVRESIZE_AREA: return um_cvresize_area(r, crop, &to);
    case UM_CVRESIZE_CUBIC: return um_cvresize_cubic(r, crop, &to);
    case UM_CVRESIZE_LINEAR: return um_cvresize_linear(r, crop, &to);
    }
    return UM_FAIL(UM_USAGE, "no such interpolation");
}

um_status um_cvresize_letterbox(um_cvresize *r, const um_image *crop, int size_px, uint8_t *out)
{
    um_image to = {.data = out, .width_px = size_px, .height_px = size_px, .channels = C, .stride = (size_t)size_px * C};
    return um_cvresize_fit(r, crop, UM_CVRESIZE_AREA, UM_CVRESIZE_CUBIC, &to);
}
