#include "src/image/area.h"

#include <stdlib.h>
#include <string.h>

typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef float f32x4 __attribute__((vector_size(16)));

um_status um_area_build(um_area *a, const um_image *rgb)
{
    int w = rgb->width_px, h = rgb->height_px;
    if ((int64_t)w * h > UM_AREA_MAX_PIXELS)
        return UM_FAIL(UM_TOO_LARGE, "a picture of %dx%d is more than %d pixels", w, h, UM_AREA_MAX_PIXELS);
    size_t row = (size_t)(w + 1) * 4, need = row * (size_t)(h + 1);
    if (need > a->cap) {
        um_area_release(a);
        a->sum = aligned_alloc(64, (need * sizeof(uint32_t) + 63) & ~(size_t)63);
        if (a->sum == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the area sums of %dx%d", w, h);
        a->cap = need;
    }
    a->width_px = w;
    a->height_px = h;
    memset(a->sum, 0, row * sizeof(uint32_t));
    for (int y = 0; y < h; y++) {
        const uint8_t *p = rgb->data + (size_t)y * rgb->stride;
        const u32x4 *above = (const u32x4 *)(const void *)(a->sum + (size_t)y * row);
        u32x4 *out = (u32x4 *)(void *)(a->sum + (size_t)(y + 1) * row);
        u32x4 left = {0};
        out[0] = left;
        for (int x = 0; x < w; x++, p += 3) {
            left += (u32x4){p[0], p[1], p[2], 0};
            out[x + 1] = above[x + 1] + left;
        }
    }
    return UM_OK;
}

void um_area_release(um_area *a)
{
    free(a->sum);
    *a = (um_area){0};
}

void um_area_windows(int start, int n_in, int n_out, int *lo, int *hi)
{
    for (int i = 0; i < n_out; i++) {
        lo[i] = start + (int)((int64_t)i * n_in / n_out);
        hi[i] = start + (int)(((int64_t)(i + 1) * n_in + n_out - 1) / n_out);
    }
}

static inline f32x4 window(const u32x4 *top, const u32x4 *bottom, int lo, int hi, float rows)
{
    i32x4 sum = (i32x4)(bottom[hi] - bottom[lo] - top[hi] + top[lo]);
    f32x4 mean = __builtin_convertvector(sum, f32x4) / (rows * (float)(hi - lo));
    return (mean - 127.5f) * 0.0078125f;
}

void um_area_row_planar(const um_area *a, int y0, int y1, const int *lo, const int *hi, int n, float *const plane[3])
{
    size_t row = (size_t)(a->width_px + 1) * 4;
    const u32x4 *top = (const u32x4 *)(const void *)(a->sum + (size_t)y0 * row), *bottom = (const u32x4 *)(const void *)(a->sum + (size_t)y1 * row);
    float rows = (float)(y1 - y0);
    for (int i = 0; i < n; i++) {
        f32x4 v = window(top, bottom, lo[i], hi[i], rows);
        plane[0][i] = v[0];
        plane[1][i] = v[1];
        plane[2][i] = v[2];
    }
}

void um_area_row_packed(const um_area *a, int y0, int y1, const int *lo, const int *hi, int n, float *out)
{
    size_t row = (size_t)(a->width_px + 1) * 4;
    const u32x4 *top = (const u32x4 *)(const void *)(a->sum + (size_t)y0 * row), *bottom = (const u32x4 *)(const void *)(a->sum + (size_t)y1 * row);
    float rows = (float)(y1 - y0);
    for (int i = 0; i < n; i++) {
        f32x4 v = window(top, bottom, lo[i], hi[i], rows);
        out[3 * i] = v[0];
        out[3 * i + 1] = v[1];
        out[3 * i + 2] = v[2];
    }
}
