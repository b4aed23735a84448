#include "src/image/area.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef float f32x4 __attribute__((vector_size(16)));

/* Four bytes as four numbers; the fourth belongs to the next pixel. */
static inline u32x4 load_pixel(const uint8_t *p)
{
#if defined(__SSE2__)
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    __m128i v = _mm_cvtsi32_si128(bytes), zero = _mm_setzero_si128();
    return (u32x4)_mm_unpacklo_epi16(_mm_unpacklo_epi8(v, zero), zero);
#else
    return (u32x4){p[0], p[1], p[2], p[3]};
#endif
}

enum { HUGE_PAGE = 2 << 20 };

um_status um_area_begin(um_area *a, const um_image *rgb)
{
    int w = rgb->width_px, h = rgb->height_px;
    if ((int64_t)w * h > UM_AREA_MAX_PIXELS)
        return UM_FAIL(UM_TOO_LARGE, "a picture of %dx%d is more than %d pixels", w, h, UM_AREA_MAX_PIXELS);
    size_t row = (size_t)(w + 1) * 4, need = row * (size_t)(h + 1);
    if (need > a->cap) {
        um_area_release(a);
        size_t bytes = (need * sizeof(uint32_t) + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);
        a->sum = aligned_alloc(HUGE_PAGE, bytes);
        if (a->sum == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the area sums of %dx%d", w, h);
        madvise(a->sum, bytes, MADV_HUGEPAGE); /* windows jump between rows: fewer page walks; only a wish */
        a->cap = bytes / sizeof(uint32_t);
    }
    a->width_px = w;
    a->height_px = h;
    memset(a->sum, 0, row * sizeof(uint32_t));
    return UM_OK;
}

void um_area_add_row(um_area *a, const um_image *rgb, int y)
{
    const int w = rgb->width_px;
    const uint8_t *p = rgb->data + (size_t)y * rgb->stride;
    const u32x4 *above = (const u32x4 *)(const void *)(a->sum + (size_t)y * (size_t)(w + 1) * 4);
    u32x4 *out = (u32x4 *)(void *)(a->sum + (size_t)(y + 1) * (size_t)(w + 1) * 4);
    u32x4 left = {0};
    out[0] = left;
    int x = 0;
    for (; x < w - 1; x++, p += 3) {
        left += load_pixel(p);
        out[x + 1] = above[x + 1] + left;
    }
    out[w] = above[w] + left + (u32x4){p[0], p[1], p[2], 0};
}

void um_area_release(um_area *a)
{
    free(a->sum);
    *a = (um_area){0};
}

void um_area_windows(int start, int n_in, int n_out, um_area_window *out)
{
    for (int i = 0; i < n_out; i++) {
        int lo = (int)((int64_t)i * n_in / n_out), hi = (int)(((int64_t)(i + 1) * n_in + n_out - 1) / n_out);
        out[i] = (um_area_window){start + lo, start + hi, 1.0f / (float)(hi - lo)};
    }
}

/* (mean - 127.5) / 128 of one window; `unit` is 1 / (128 * rows). The sum of a window is exact and below 2^31. */
static inline f32x4 window(const u32x4 *top, const u32x4 *bottom, um_area_window x, float unit)
{
    i32x4 sum = (i32x4)((bottom[x.hi] - top[x.hi]) - (bottom[x.lo] - top[x.lo]));
    return __builtin_convertvector(sum, f32x4) * (unit * x.inverse) - 0.99609375f;
}

static const u32x4 *table_row(const um_area *a, int y)
{
    return (const u32x4 *)(const void *)(a->sum + (size_t)y * (size_t)(a->width_px + 1) * 4);
}

void um_area_row_planar(const um_area *a, um_area_window y, const um_area_window *x, int n, float *const plane[3])
{
    const u32x4 *top = table_row(a, y.lo), *bottom = table_row(a, y.hi);
    float *r = plane[0], *g = plane[1], *b = plane[2];
    float unit = 0.0078125f * y.inverse;
    int i = 0;
    for (; i + 4 <= n; i += 4) {
        f32x4 v0 = window(top, bottom, x[i], unit), v1 = window(top, bottom, x[i + 1], unit), v2 = window(top, bottom, x[i + 2], unit),
              v3 = window(top, bottom, x[i + 3], unit);
        /* Four pixels of three channels become three runs of four. */
        f32x4 rg01 = __builtin_shuffle(v0, v1, (i32x4){0, 4, 1, 5}), rg23 = __builtin_shuffle(v2, v3, (i32x4){0, 4, 1, 5});
        f32x4 b01 = __builtin_shuffle(v0, v1, (i32x4){2, 6, 3, 7}), b23 = __builtin_shuffle(v2, v3, (i32x4){2, 6, 3, 7});
        f32x4 red = __builtin_shuffle(rg01, rg23, (i32x4){0, 1, 4, 5}), green = __builtin_shuffle(rg01, rg23, (i32x4){2, 3, 6, 7});
        f32x4 blue = __builtin_shuffle(b01, b23, (i32x4){0, 1, 4, 5});
        memcpy(r + i, &red, sizeof red);
        memcpy(g + i, &green, sizeof green);
        memcpy(b + i, &blue, sizeof blue);
    }
    for (; i < n; i++) {
        f32x4 v = window(top, bottom, x[i], unit);
        r[i] = v[0];
        g[i] = v[1];
        b[i] = v[2];
    }
}

void um_area_row_packed(const um_area *a, um_area_window y, const um_area_window *x, int n, float *out)
{
    const u32x4 *top = table_row(a, y.lo), *bottom = table_row(a, y.hi);
    float unit = 0.0078125f * y.inverse;
    for (int i = 0; i < n; i++) { /* the fourth lane is overwritten by the next pixel */
        f32x4 v = window(top, bottom, x[i], unit);
        memcpy(out + 3 * i, &v, sizeof v);
    }
}
