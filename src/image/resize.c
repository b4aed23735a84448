#include "src/image/resize.h"

#include "src/core/cpu.h"
#include "src/image/resize_kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef um_resize_axis axis;

struct um_resize {
    axis x, y;
    uint8_t *middle; /* (height in, width out, channels): after the horizontal pass */
    size_t middle_cap;
    uint8_t *columns; /* of the horizontal pass: 16 rows, in and out */
    size_t columns_cap;
};

static const um_resize_kernels *kernels(void)
{
    um_cpu_level level = um_cpu_level_get();
    return level == UM_CPU_AVX512 ? &um_resize_kernels_avx512 : level == UM_CPU_AVX2 ? &um_resize_kernels_avx2 : &um_resize_kernels_base;
}

static um_status bytes_reserve(uint8_t **p, size_t *cap, size_t need)
{
    if (need <= *cap) return UM_OK;
    free(*p);
    *cap = 0;
    *p = malloc(need);
    if (*p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory to resample a picture");
    *cap = need;
    return UM_OK;
}

um_resize *um_resize_new(void) { return calloc(1, sizeof(um_resize)); }

void um_resize_axis_release(axis *a)
{
    free(a->first);
    free(a->n);
    free(a->weight);
    *a = (axis){0};
}

void um_resize_free(um_resize *r)
{
    if (r == NULL) return;
    um_resize_axis_release(&r->x);
    um_resize_axis_release(&r->y);
    free(r->middle);
    free(r->columns);
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

um_status um_resize_axis_init(axis *a, int n_in, int n_out)
{
    if (a->n_in == n_in && a->n_out == n_out) return UM_OK;
    um_resize_axis_release(a);
    double scale = (double)n_in / n_out, widen = scale < 1 ? 1 : scale, support = 2 * widen, inverse = 1 / widen;
    int taps = (int)ceil(support) * 2 + 1;
    double *k = malloc((size_t)taps * sizeof *k);
    a->first = malloc((size_t)n_out * sizeof *a->first);
    a->n = malloc((size_t)n_out * sizeof *a->n);
    a->weight = calloc((size_t)n_out * (size_t)taps, sizeof *a->weight);
    if (k == NULL || a->first == NULL || a->n == NULL || a->weight == NULL) {
        free(k);
        um_resize_axis_release(a);
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
            double v = (sum != 0 ? k[t] / sum : k[t]) * (1 << UM_RESIZE_BITS);
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

/* Every row of src through the horizontal pass, into r->middle. */
static um_status resize_x(um_resize *r, const um_resize_kernels *k, const um_image *src, int width_px)
{
    const size_t channels = (size_t)src->channels, stride = (size_t)width_px * channels;
    UM_PASS(um_resize_axis_init(&r->x, src->width_px, width_px));
    const size_t columns = UM_RESIZE_ROWS * ((size_t)src->width_px * channels + UM_RESIZE_ROWS);
    UM_PASS(bytes_reserve(&r->middle, &r->middle_cap, stride * (size_t)src->height_px));
    UM_PASS(bytes_reserve(&r->columns, &r->columns_cap, columns + UM_RESIZE_ROWS * (stride + UM_RESIZE_ROWS)));
    for (int y = 0; y < src->height_px; y += UM_RESIZE_ROWS) {
        const uint8_t *in[UM_RESIZE_ROWS];
        uint8_t *out[UM_RESIZE_ROWS];
        int n = src->height_px - y < UM_RESIZE_ROWS ? src->height_px - y : UM_RESIZE_ROWS;
        for (int i = 0; i < UM_RESIZE_ROWS; i++) { /* the last group is filled up with its last row */
            size_t row = (size_t)(y + (i < n ? i : n - 1));
            in[i] = src->data + row * src->stride;
            out[i] = r->middle + row * stride;
        }
        k->x(&r->x, in, src->channels, r->columns, r->columns + columns, out, n);
    }
    return UM_OK;
}

um_status um_resize_bicubic(um_resize *r, const um_image *src, const um_image *dst)
{
    if (src->channels != dst->channels || (src->channels != 1 && src->channels != 3))
        return UM_FAIL(UM_INTERNAL, "resampling %d to %d channels", src->channels, dst->channels);
    int n = dst->width_px * dst->channels;
    const uint8_t *middle = src->data;
    size_t stride = src->stride;
    const um_resize_kernels *k = kernels();
    if (dst->width_px != src->width_px) {
        UM_PASS(resize_x(r, k, src, dst->width_px));
        stride = (size_t)n;
        middle = r->middle;
    }
    if (dst->height_px == src->height_px) {
        for (int y = 0; y < dst->height_px; y++) memcpy(dst->data + (size_t)y * dst->stride, middle + (size_t)y * stride, (size_t)n);
        return UM_OK;
    }
    UM_PASS(um_resize_axis_init(&r->y, src->height_px, dst->height_px));
    for (int y = 0; y < dst->height_px; y++) k->y(&r->y, y, middle, stride, n, dst->data + (size_t)y * dst->stride);
    return UM_OK;
}
