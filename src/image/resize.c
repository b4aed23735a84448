#include "src/image/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PRECISION_BITS = 32 - 8 - 2 }; /* fractional bits of a coefficient, as in Pillow's libImaging/Resample.c */

/* One axis: output i is the sum over taps k of weight[i * taps + k] * input[first[i] + k], k < n[i]. */
typedef struct axis {
    int n_in, n_out, taps;
    int *first, *n;
    int32_t *weight;
} axis;

struct um_resize {
    axis x, y;
    uint8_t *middle; /* (height in, width out, channels): after the horizontal pass */
    size_t middle_cap;
};

um_resize *um_resize_new(void) { return calloc(1, sizeof(um_resize)); }

static void axis_release(axis *a)
{
    free(a->first);
    free(a->n);
    free(a->weight);
    *a = (axis){0};
}

void um_resize_free(um_resize *r)
{
    if (r == NULL) return;
    axis_release(&r->x);
    axis_release(&r->y);
    free(r->middle);
    free(r);
}

/* Keys' cubic with a = -0.5. */
static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static um_status axis_init(axis *a, int n_in, int n_out)
{
    if (a->n_in == n_in && a->n_out == n_out) return UM_OK;
    axis_release(a);
    double scale = (double)n_in / n_out, widen = scale < 1 ? 1 : scale, support = 2 * widen, inverse = 1 / widen;
    int taps = (int)ceil(support) * 2 + 1;
    double *k = malloc((size_t)taps * sizeof *k);
    a->first = malloc((size_t)n_out * sizeof *a->first);
    a->n = malloc((size_t)n_out * sizeof *a->n);
    a->weight = calloc((size_t)n_out * (size_t)taps, sizeof *a->weight);
    if (k == NULL || a->first == NULL || a->n == NULL || a->weight == NULL) {
        free(k);
        axis_release(a);
        return UM_FAIL(UM_NO_MEMORY, "no memory to resample %d to %d pixels", n_in, n_out);
    }
    for (int i = 0; i < n_out; i++) {
        double center = (i + 0.5) * scale, sum = 0;
        int lo = (int)(center - support + 0.5), hi = (int)(center + support + 0.5);
        if (lo < 0) lo = 0;
        if (hi > n_in) hi = n_in;
        for (int t = 0; t < hi - lo; t++) {
            k[t] = bicubic((t + lo - center + 0.5) * inverse);
            sum += k[t];
        }
        for (int t = 0; t < hi - lo; t++) {
            double v = (sum != 0 ? k[t] / sum : k[t]) * (1 << PRECISION_BITS);
            a->weight[(size_t)i * (size_t)taps + (size_t)t] = (int32_t)(v < 0 ? v - 0.5 : v + 0.5);
        }
        a->first[i] = lo;
        a->n[i] = hi - lo;
    }
    free(k);
    a->taps = taps;
    a->n_in = n_in;
    a->n_out = n_out;
    return UM_OK;
}

static uint8_t clip8(int32_t v)
{
    v >>= PRECISION_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void pass_x(const axis *a, const uint8_t *in, int channels, uint8_t *out)
{
    for (int i = 0; i < a->n_out; i++) {
        const int32_t *w = a->weight + (size_t)i * (size_t)a->taps;
        const uint8_t *p = in + (size_t)a->first[i] * (size_t)channels;
        for (int c = 0; c < channels; c++) {
            int32_t s = 1 << (PRECISION_BITS - 1);
            for (int t = 0; t < a->n[i]; t++) s += p[t * channels + c] * w[t];
            *out++ = clip8(s);
        }
    }
}

static void pass_y(const axis *a, int i, const uint8_t *in, size_t stride, int n, uint8_t *out)
{
    const int32_t *w = a->weight + (size_t)i * (size_t)a->taps;
    const uint8_t *p = in + (size_t)a->first[i] * stride;
    for (int x = 0; x < n; x++) {
        int32_t s = 1 << (PRECISION_BITS - 1);
        for (int t = 0; t < a->n[i]; t++) s += p[(size_t)t * stride + (size_t)x] * w[t];
        out[x] = clip8(s);
    }
}

um_status um_resize_bicubic(um_resize *r, const um_image *src, const um_image *dst)
{
    if (src->channels != dst->channels || (src->channels != 1 && src->channels != 3))
        return UM_FAIL(UM_INTERNAL, "resampling %d to %d channels", src->channels, dst->channels);
    int n = dst->width_px * dst->channels;
    const uint8_t *middle = src->data;
    size_t stride = src->stride;
    if (dst->width_px != src->width_px) {
        UM_PASS(axis_init(&r->x, src->width_px, dst->width_px));
        stride = (size_t)n;
        size_t need = stride * (size_t)src->height_px;
        if (need > r->middle_cap) {
            free(r->middle);
            r->middle_cap = 0;
            r->middle = malloc(need);
            if (r->middle == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory to resample a picture");
            r->middle_cap = need;
        }
        for (int y = 0; y < src->height_px; y++) pass_x(&r->x, src->data + (size_t)y * src->stride, src->channels, r->middle + (size_t)y * stride);
        middle = r->middle;
    }
    if (dst->height_px == src->height_px) {
        for (int y = 0; y < dst->height_px; y++) memcpy(dst->data + (size_t)y * dst->stride, middle + (size_t)y * stride, (size_t)n);
        return UM_OK;
    }
    UM_PASS(axis_init(&r->y, src->height_px, dst->height_px));
    for (int y = 0; y < dst->height_px; y++) pass_y(&r->y, y, middle, stride, n, dst->data + (size_t)y * dst->stride);
    return UM_OK;
}
