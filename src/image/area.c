#include "src/image/area.h"

#include <stdlib.h>
#include <string.h>

typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef float f32x4 __attribute__((vector_size(16)));

static inline u32x4 at(const uint32_t *p)
{
    u32x4 v;
    memcpy(&v, p, sizeof v);
    return v;
}

um_status um_area_set(um_area *t, const um_image *rgb)
{
    int64_t pixels = (int64_t)rgb->width_px * rgb->height_px;
    if (pixels > UINT32_MAX / 255) return UM_FAIL(UM_TOO_LARGE, "a picture of %dx%d is larger than 16.8 million pixels; search it at a smaller scale", rgb->width_px, rgb->height_px);
    size_t row = (size_t)(rgb->width_px + 1) * 4, need = row * (size_t)(rgb->height_px + 1);
    if (t->cap < need) {
        free(t->sum);
        t->cap = 0;
        t->sum = aligned_alloc(64, (need * sizeof *t->sum + 63) / 64 * 64);
        if (t->sum == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the area sums of %dx%d pixels", rgb->width_px, rgb->height_px);
        t->cap = need;
    }
    t->width_px = rgb->width_px;
    t->height_px = rgb->height_px;
    memset(t->sum, 0, row * sizeof *t->sum);
    for (int y = 0; y < rgb->height_px; y++) {
        const uint8_t *p = rgb->data + (size_t)y * rgb->stride;
        const uint32_t *above = t->sum + (size_t)y * row + 4;
        uint32_t *here = t->sum + (size_t)(y + 1) * row;
        u32x4 line = {0, 0, 0, 0};
        memcpy(here, &line, sizeof line);
        here += 4;
        for (int x = 0; x < rgb->width_px; x++, p += 3, above += 4, here += 4) {
            line += (u32x4){p[0], p[1], p[2], 0};
            u32x4 v = at(above) + line;
            memcpy(here, &v, sizeof v);
        }
    }
    return UM_OK;
}

void um_area_release(um_area *t)
{
    free(t->sum);
    *t = (um_area){0};
}

void um_area_windows(int first, int last, int n, int *begin, int *end)
{
    int64_t in = last - first;
    for (int i = 0; i < n; i++) {
        begin[i] = first + (int)(i * in / n);
        end[i] = first + (int)(((i + 1) * in + n - 1) / n);
    }
}

/* No window is larger than 2^31 / 255 pixels: outputs of the detector are at least 12 a side. */
static inline f32x4 mean(const uint32_t *top, const uint32_t *bottom, int rows, int x0, int x1)
{
    u32x4 s = (at(bottom + 4 * (size_t)x1) - at(bottom + 4 * (size_t)x0)) - (at(top + 4 * (size_t)x1) - at(top + 4 * (size_t)x0));
    float n = (float)(rows * (x1 - x0));
    f32x4 v = __builtin_convertvector((i32x4)s, f32x4) / n;
    return (v - 127.5f) * 0.0078125f;
}

void um_area_row_planar(const um_area *t, int y0, int y1, const int *begin, const int *end, int n, float *const plane[3])
{
    size_t row = (size_t)(t->width_px + 1) * 4;
    const uint32_t *top = t->sum + (size_t)y0 * row, *bottom = t->sum + (size_t)y1 * row;
    float *r = plane[0], *g = plane[1], *b = plane[2];
    for (int i = 0; i < n; i++) {
        f32x4 v = mean(top, bottom, y1 - y0, begin[i], end[i]);
        r[i] = v[0];
        g[i] = v[1];
        b[i] = v[2];
    }
}

void um_area_row_packed(const um_area *t, int y0, int y1, const int *begin, const int *end, int n, float *out)
{
    size_t row = (size_t)(t->width_px + 1) * 4;
    const uint32_t *top = t->sum + (size_t)y0 * row, *bottom = t->sum + (size_t)y1 * row;
    for (int i = 0; i < n; i++, out += 3) {
        f32x4 v = mean(top, bottom, y1 - y0, begin[i], end[i]);
        out[0] = v[0];
        out[1] = v[1];
        out[2] = v[2];
    }
}
