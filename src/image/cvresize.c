#include "src/image/cvresize.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { CHANNELS = 3, TAPS = 4, COEF_ONE = 1 << 11 };

/* INTER_AREA: `in` covers `weight` of output `out`. */
typedef struct cell {
    int out, in;
    float weight;
} cell;

/* INTER_CUBIC: the TAPS inputs from `first` on, by weight; first may lie before 0, and first + 3 past the end. */
typedef struct taps {
    int first;
    int weight[TAPS];
} taps;

struct um_cvresize {
    void *memory; /* tables and rows, as carved out for one call */
    size_t cap;
};

um_status um_cvresize_new(um_cvresize **out)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? UM_OK : UM_FAIL(UM_NO_MEMORY, "no memory for a resampler");
}

void um_cvresize_free(um_cvresize *r)
{
    if (r == NULL) return;
    free(r->memory);
    free(r);
}

static um_status reserve(um_cvresize *r, size_t bytes)
{
    if (bytes <= r->cap) return UM_OK;
    free(r->memory);
    r->memory = malloc(bytes);
    r->cap = r->memory != NULL ? bytes : 0;
    return r->memory != NULL ? UM_OK : UM_FAIL(UM_NO_MEMORY, "no memory to resample a picture");
}

static um_status check(const um_image *in, const um_image *out)
{
    if (in->channels != CHANNELS || out->channels != CHANNELS || in->width_px < 1 || in->height_px < 1 || out->width_px < 1 || out->height_px < 1)
        return UM_FAIL(UM_USAGE, "cannot resample %dx%d with %d channels to %dx%d with %d", in->width_px, in->height_px, in->channels, out->width_px,
                       out->height_px, out->channels);
    return UM_OK;
}

static uint8_t clamp_u8(int v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }
/* Ties to even, as cvRound. */
static uint8_t round_u8(float v) { return clamp_u8((int)lrintf(v)); }
/* Inputs per output, with OpenCV's two roundings. */
static double factor(int in, int out) { return 1.0 / ((double)out / in); }

/* ---- INTER_AREA ---- */

/* computeResizeAreaTab: each input in order, for each output that it covers. Returns how many cells; there are at most in + 2 * out. */
static int cells(int in, int out, cell *c)
{
    double scale = factor(in, out);
    int n = 0;
    for (int o = 0; o < out; o++) {
        double from = o * scale, to = from + scale, width = fmin(scale, in - from);
        int first = (int)ceil(from), last = (int)floor(to);
        if (last > in - 1) last = in - 1;
        if (first > last) first = last;
        if (first - from > 1e-3) c[n++] = (cell){o, first - 1, (float)((first - from) / width)};
        for (int i = first; i < last; i++) c[n++] = (cell){o, i, (float)(1.0 / width)};
        if (to - last > 1e-3) c[n++] = (cell){o, last, (float)(fmin(fmin(to - last, 1.0), width) / width)};
    }
    return n;
}

static void area_row(const uint8_t *row, const cell *c, int n, float *sum, int out_width)
{
    memset(sum, 0, (size_t)out_width * CHANNELS * sizeof *sum);
    for (int i = 0; i < n; i++) {
        float *s = sum + CHANNELS * c[i].out;
        const uint8_t *p = row + CHANNELS * c[i].in;
        for (int k = 0; k < CHANNELS; k++) s[k] += (float)p[k] * c[i].weight;
    }
}

static um_status area_fraction(um_cvresize *r, const um_image *in, um_image *out)
{
    int W = in->width_px, H = in->height_px, Q = out->width_px, P = out->height_px;
    size_t n_x = (size_t)W + 2 * (size_t)Q, n_y = (size_t)H + 2 * (size_t)P, row = (size_t)Q * CHANNELS;
    UM_PASS(reserve(r, (n_x + n_y) * sizeof(cell) + 2 * row * sizeof(float)));
    cell *x = r->memory, *y = x + n_x;
    float *across = (float *)(y + n_y), *sum = across + row;
    int nx = cells(W, Q, x), ny = cells(H, P, y), done = -1;
    for (int j = 0; j < ny; j++) {
        /* A row that two outputs share comes twice in a row. */
        if (y[j].in != done) area_row(in->data + (size_t)y[j].in * in->stride, x, nx, across, Q);
        done = y[j].in;
        bool first = j == 0 || y[j].out != y[j - 1].out, last = j + 1 == ny || y[j].out != y[j + 1].out;
        float w = y[j].weight;
        if (first)
            for (size_t i = 0; i < row; i++) sum[i] = w * across[i];
        else
            for (size_t i = 0; i < row; i++) sum[i] += w * across[i];
        uint8_t *to = out->data + (size_t)y[j].out * out->stride;
        if (last)
            for (size_t i = 0; i < row; i++) to[i] = round_u8(sum[i]);
    }
    return UM_OK;
}

/* Both factors are whole numbers: fx x fy pixels become one. */
static void area_whole(const um_image *in, um_image *out, int fx, int fy)
{
    float scale = 1.0f / (float)(fx * fy);
    for (int p = 0; p < out->height_px; p++)
        for (int q = 0; q < out->width_px; q++) {
            int sum[CHANNELS] = {0};
            for (int v = 0; v < fy; v++) {
                const uint8_t *s = in->data + (size_t)(p * fy + v) * in->stride + (size_t)(q * fx) * CHANNELS;
                for (int u = 0; u < fx * CHANNELS; u += CHANNELS)
                    for (int k = 0; k < CHANNELS; k++) sum[k] += s[u + k];
            }
            uint8_t *to = out->data + (size_t)p * out->stride + (size_t)q * CHANNELS;
            for (int k = 0; k < CHANNELS; k++) to[k] = fx == 2 && fy == 2 ? (uint8_t)((sum[k] + 2) >> 2) : round_u8((float)sum[k] * scale);
        }
}

um_status um_cvresize_area(um_cvresize *r, const um_image *in, um_image *out)
{
    UM_PASS(check(in, out));
    if (out->width_px > in->width_px || out->height_px > in->height_px)
        return UM_FAIL(UM_USAGE, "area averaging does not enlarge %dx%d to %dx%d", in->width_px, in->height_px, out->width_px, out->height_px);
    double x = factor(in->width_px, out->width_px), y = factor(in->height_px, out->height_px);
    int fx = (int)lrint(x), fy = (int)lrint(y);
    if (fabs(x - fx) >= DBL_EPSILON || fabs(y - fy) >= DBL_EPSILON) return area_fraction(r, in, out);
    area_whole(in, out, fx, fy);
    return UM_OK;
}

/* ---- INTER_CUBIC ---- */

/* interpolateCubic and its rounding to fixed point: Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29(6), 1981, with a = -0.75. */
static void cubic_taps(int in, int out, taps *t)
{
    const float a = -0.75f;
    double scale = factor(in, out);
    for (int o = 0; o < out; o++) {
        float at = (float)((o + 0.5) * scale - 0.5), c[TAPS];
        int first = (int)floorf(at);
        float x = at - (float)first;
        c[0] = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a;
        c[1] = ((a + 2) * x - (a + 3)) * x * x + 1;
        c[2] = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1;
        c[3] = 1.0f - c[0] - c[1] - c[2];
        t[o].first = first - 1;
        for (int k = 0; k < TAPS; k++) t[o].weight[k] = (int)lrintf(c[k] * COEF_ONE);
    }
}

static int inside(int i, int n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

static void cubic_row(const uint8_t *row, int in_width, const taps *t, int out_width, int *sum)
{
    for (int o = 0; o < out_width; o++) {
        int f = t[o].first;
        const int *w = t[o].weight;
        int *s = sum + CHANNELS * o;
        if (f >= 0 && f + TAPS <= in_width) {
            const uint8_t *p = row + CHANNELS * f;
            for (int k = 0; k < CHANNELS; k++) s[k] = p[k] * w[0] + p[3 + k] * w[1] + p[6 + k] * w[2] + p[9 + k] * w[3];
        } else {
            for (int k = 0; k < CHANNELS; k++) {
                s[k] = 0;
                for (int i = 0; i < TAPS; i++) s[k] += row[CHANNELS * inside(f + i, in_width) + k] * w[i];
            }
        }
    }
}

um_status um_cvresize_cubic(um_cvresize *r, const um_image *in, um_image *out)
{
    UM_PASS(check(in, out));
    int W = in->width_px, H = in->height_px, Q = out->width_px, P = out->height_px;
    size_t row = (size_t)Q * CHANNELS;
    UM_PASS(reserve(r, ((size_t)Q + (size_t)P) * sizeof(taps) + TAPS * row * sizeof(int)));
    taps *x = r->memory, *y = x + Q;
    int *ring = (int *)(y + P), held[TAPS] = {-1, -1, -1, -1}; /* input row whose sums lie in ring[i % TAPS] */
    cubic_taps(W, Q, x);
    cubic_taps(H, P, y);
    for (int p = 0; p < P; p++) {
        const int *s[TAPS];
        float b[TAPS];
        for (int k = 0; k < TAPS; k++) {
            int i = inside(y[p].first + k, H), slot = i % TAPS;
            if (held[slot] != i) cubic_row(in->data + (size_t)i * in->stride, W, x, Q, ring + (size_t)slot * row);
            held[slot] = i;
            s[k] = ring + (size_t)slot * row;
            b[k] = (float)y[p].weight[k] * (1.0f / ((float)COEF_ONE * COEF_ONE));
        }
        /* VResizeCubicVec_32s8u: in this order, in f32, without fusing, eight values at a time; FixedPtCast: what is left of the row, in integers. */
        uint8_t *to = out->data + (size_t)p * out->stride;
        size_t i = 0;
        for (; i < row - row % 8; i++)
            to[i] = round_u8((float)s[0][i] * b[0] + ((float)s[1][i] * b[1] + ((float)s[2][i] * b[2] + (float)s[3][i] * b[3])));
        for (; i < row; i++) {
            int sum = COEF_ONE * COEF_ONE / 2;
            for (int k = 0; k < TAPS; k++) sum += s[k][i] * y[p].weight[k];
            to[i] = clamp_u8(sum >> 22);
        }
    }
    return UM_OK;
}

/* ---- the classifier's input ---- */

um_status um_cvresize_letterbox(um_cvresize *r, const um_image *crop, int size_px, uint8_t *out)
{
    int w = crop->width_px, h = crop->height_px, longer = w > h ? w : h;
    if (size_px < 1 || longer < 1) return UM_FAIL(UM_USAGE, "cannot bring a crop of %dx%d to %d px", w, h, size_px);
    double scale = (double)size_px / longer;
    int Q = w > h ? size_px : (int)(w * scale), P = w > h ? (int)(h * scale) : size_px;
    if (Q < 1) Q = 1;
    if (P < 1) P = 1;
    size_t stride = (size_t)size_px * CHANNELS;
    memset(out, 0, stride * (size_t)size_px);
    um_image place = {.data = out + (size_t)((size_px - P) / 2) * stride + (size_t)((size_px - Q) / 2) * CHANNELS, .width_px = Q, .height_px = P, .channels = CHANNELS, .stride = stride};
    if (longer == size_px) {
        UM_PASS(check(crop, &place));
        for (int y = 0; y < h; y++) memcpy(place.data + (size_t)y * stride, crop->data + (size_t)y * crop->stride, (size_t)w * CHANNELS);
        return UM_OK;
    }
    return scale > 1 ? um_cvresize_cubic(r, crop, &place) : um_cvresize_area(r, crop, &place);
}
