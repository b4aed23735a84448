#include "src/image/resize.h"

#include "src/core/clones.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Pillow's arithmetic: coefficients with 22 fractional bits, sums in 32 bits, half added before the shift, results clamped to a byte after each pass. */
enum { BITS = 22, ROWS = 4 };

typedef struct axis {
    int in, out;  /* sizes these coefficients are for */
    int taps;     /* most taps of any output */
    int *first;   /* [out] first input of each output */
    int *count;   /* [out] its taps */
    int32_t *k;   /* [out * taps] */
} axis;

struct um_resize {
    axis x, y;
    uint8_t *middle; /* after the horizontal pass: (source height, target width, channels) */
    size_t middle_cap;
    uint8_t *lines;  /* ROWS source rows, with room to read past their ends */
    size_t lines_cap;
    int32_t *sum;    /* one target row */
    size_t sum_cap;
};

um_resize *um_resize_new(void) { return calloc(1, sizeof(um_resize)); }

static void axis_free(axis *a)
{
    free(a->first);
    free(a->count);
    free(a->k);
    *a = (axis){0};
}

void um_resize_free(um_resize *r)
{
    if (r == NULL) return;
    axis_free(&r->x);
    axis_free(&r->y);
    free(r->middle);
    free(r->lines);
    free(r->sum);
    free(r);
}

/* Keys' cubic convolution (IEEE TASSP 29(6), 1981) with a = -0.5. */
static double cubic(double x)
{
    static const double A = -0.5;
    x = fabs(x);
    if (x < 1) return ((A + 2) * x - (A + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * A;
    return 0;
}

static um_status axis_make(axis *a, int in, int out)
{
    if (a->in == in && a->out == out) return UM_OK;
    axis_free(a);
    double scale = (double)in / out, widened = scale < 1 ? 1 : scale, support = 2 * widened;
    a->taps = (int)ceil(support) * 2 + 1;
    a->first = malloc((size_t)out * sizeof *a->first);
    a->count = malloc((size_t)out * sizeof *a->count);
    a->k = calloc((size_t)out * (size_t)a->taps, sizeof *a->k);
    double *weight = malloc((size_t)a->taps * sizeof *weight);
    if (a->first == NULL || a->count == NULL || a->k == NULL || weight == NULL) {
        free(weight);
        axis_free(a);
        return UM_FAIL(UM_NO_MEMORY, "no memory to resize from %d to %d", in, out);
    }
    for (int i = 0; i < out; i++) {
        double centre = (i + 0.5) * scale, total = 0;
        int first = (int)(centre - support + 0.5), last = (int)(centre + support + 0.5);
        if (first < 0) first = 0;
        if (last > in) last = in;
        int n = last - first;
        for (int j = 0; j < n; j++) {
            weight[j] = cubic((j + first - centre + 0.5) * (1 / widened));
            total += weight[j];
        }
        for (int j = 0; j < n; j++) {
            double w = total != 0 ? weight[j] / total : weight[j];
            a->k[(size_t)i * (size_t)a->taps + (size_t)j] = (int32_t)(w < 0 ? w * (1 << BITS) - 0.5 : w * (1 << BITS) + 0.5);
        }
        a->first[i] = first;
        a->count[i] = n;
    }
    free(weight);
    a->in = in;
    a->out = out;
    return UM_OK;
}

static uint8_t to_byte(int32_t sum)
{
    int32_t v = sum >> BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef int32_t i32x16 __attribute__((vector_size(64)));

/* One target row of ROWS source rows at once, RGB: four bytes a pixel are read (the fourth is not used), 16 sums at a time. */
UM_CLONES static void horizontal_rgb(const axis *a, const uint8_t *const line[ROWS], uint8_t *const out[ROWS])
{
    for (int i = 0; i < a->out; i++) {
        const int32_t *k = a->k + (size_t)i * (size_t)a->taps;
        size_t at = (size_t)a->first[i] * 3;
        i32x16 sum = {0};
        sum += 1 << (BITS - 1);
        for (int j = 0; j < a->count[i]; j++, at += 3) {
            u8x16 v;
            uint32_t four[ROWS];
            for (int r = 0; r < ROWS; r++) memcpy(&four[r], line[r] + at, 4);
            memcpy(&v, four, sizeof v);
            sum += __builtin_convertvector(v, i32x16) * k[j];
        }
        for (int r = 0; r < ROWS; r++)
            for (int c = 0; c < 3; c++) out[r][3 * i + c] = to_byte(sum[4 * r + c]);
    }
}

static void horizontal_grey(const axis *a, const uint8_t *line, uint8_t *out)
{
    for (int i = 0; i < a->out; i++) {
        const int32_t *k = a->k + (size_t)i * (size_t)a->taps;
        int32_t sum = 1 << (BITS - 1);
        for (int j = 0; j < a->count[i]; j++) sum += line[a->first[i] + j] * k[j];
        out[i] = to_byte(sum);
    }
}

UM_CLONES static void add_scaled(int32_t *restrict sum, const uint8_t *restrict row, int32_t k, size_t n)
{
    for (size_t i = 0; i < n; i++) sum[i] += row[i] * k;
}

UM_CLONES static void to_bytes(const int32_t *restrict sum, uint8_t *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = to_byte(sum[i]);
}

static bool room(void **p, size_t *cap, size_t bytes)
{
    if (*cap >= bytes) return true;
    free(*p);
    *p = malloc(bytes);
    *cap = *p != NULL ? bytes : 0;
    return *p != NULL;
}

um_status um_resize_bicubic(um_resize *r, const um_image *src, const um_image *dst)
{
    if (src->channels != dst->channels) return UM_FAIL(UM_INTERNAL, "resizing %d channels to %d", src->channels, dst->channels);
    size_t channels = (size_t)src->channels, source_row = (size_t)src->width_px * channels, target_row = (size_t)dst->width_px * channels;
    bool wide = src->width_px != dst->width_px, high = src->height_px != dst->height_px; /* a pass that changes nothing is left out, as Pillow does */
    UM_PASS(axis_make(&r->x, src->width_px, dst->width_px));
    UM_PASS(axis_make(&r->y, src->height_px, dst->height_px));
    size_t line_bytes = source_row + 16;
    if (!room((void **)&r->middle, &r->middle_cap, target_row * (size_t)src->height_px) || !room((void **)&r->lines, &r->lines_cap, line_bytes * ROWS) ||
        !room((void **)&r->sum, &r->sum_cap, target_row * sizeof(int32_t)))
        return UM_FAIL(UM_NO_MEMORY, "no memory to resize %dx%d", src->width_px, src->height_px);

    for (int y = 0; y < src->height_px; y += ROWS) {
        const uint8_t *line[ROWS];
        uint8_t *out[ROWS];
        for (int i = 0; i < ROWS; i++) { /* at the end the last row is done again */
            int row = y + i < src->height_px ? y + i : src->height_px - 1;
            out[i] = r->middle + (size_t)row * target_row;
            if (!wide) {
                memcpy(out[i], src->data + (size_t)row * src->stride, target_row);
            } else if (channels == 3) {
                memcpy(r->lines + (size_t)i * line_bytes, src->data + (size_t)row * src->stride, source_row);
                line[i] = r->lines + (size_t)i * line_bytes;
            } else {
                horizontal_grey(&r->x, src->data + (size_t)row * src->stride, out[i]);
            }
        }
        if (wide && channels == 3) horizontal_rgb(&r->x, line, out);
    }
    for (int y = 0; y < dst->height_px; y++) {
        uint8_t *out = dst->data + (size_t)y * dst->stride;
        if (!high) {
            memcpy(out, r->middle + (size_t)y * target_row, target_row);
            continue;
        }
        const int32_t *k = r->y.k + (size_t)y * (size_t)r->y.taps;
        for (size_t i = 0; i < target_row; i++) r->sum[i] = 1 << (BITS - 1);
        for (int j = 0; j < r->y.count[y]; j++) add_scaled(r->sum, r->middle + (size_t)(r->y.first[y] + j) * target_row, k[j], target_row);
        to_bytes(r->sum, out, target_row);
    }
    return UM_OK;
}
