#include "src/synth/warp.h"

#include <math.h>
#include <stdlib.h>

um_status um_rgbx_new(int width_px, int height_px, um_rgbx *out)
{
    *out = (um_rgbx){0};
    if (width_px < 1 || height_px < 1 || width_px > UM_IMAGE_MAX_SIDE || height_px > UM_IMAGE_MAX_SIDE)
        return UM_FAIL(UM_TOO_LARGE, "a picture of %dx%d is outside 1..%d a side", width_px, height_px, UM_IMAGE_MAX_SIDE);
    uint32_t *p = malloc((size_t)width_px * (size_t)height_px * sizeof *p);
    if (p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a picture of %dx%d", width_px, height_px);
    *out = (um_rgbx){.data = p, .width_px = width_px, .height_px = height_px};
    return UM_OK;
}

void um_rgbx_free(um_rgbx *p)
{
    free(p->data);
    *p = (um_rgbx){0};
}

void um_rgbx_set(const um_rgbx *dst, const um_image *rgb)
{
    for (int y = 0; y < rgb->height_px; y++) {
        const uint8_t *s = rgb->data + (size_t)y * rgb->stride;
        uint32_t *d = dst->data + (size_t)y * (size_t)dst->width_px;
        for (int x = 0; x < rgb->width_px; x++, s += 3) d[x] = (uint32_t)s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16;
    }
}

void um_rgbx_halve(const um_rgbx *src, const um_rgbx *dst)
{
    for (int y = 0; y < dst->height_px; y++) {
        int y1 = 2 * y + 1 < src->height_px ? 2 * y + 1 : 2 * y;
        const uint32_t *a = src->data + (size_t)(2 * y) * (size_t)src->width_px, *b = src->data + (size_t)y1 * (size_t)src->width_px;
        uint32_t *d = dst->data + (size_t)y * (size_t)dst->width_px;
        for (int x = 0; x < dst->width_px; x++) {
            int x0 = 2 * x, x1 = x0 + 1 < src->width_px ? x0 + 1 : x0;
            uint32_t rb = (a[x0] & 0xff00ff) + (a[x1] & 0xff00ff) + (b[x0] & 0xff00ff) + (b[x1] & 0xff00ff) + 0x20002;
            uint32_t g = (a[x0] & 0xff00) + (a[x1] & 0xff00) + (b[x0] & 0xff00) + (b[x1] & 0xff00) + 0x200;
            d[x] = (rb >> 2 & 0xff00ff) | (g >> 2 & 0xff00);
        }
    }
}

double um_warp_mirror(double v, int n)
{
    if (n < 2) return 0;
    double period = 2.0 * (n - 1);
    v = fabs(v - period * floor(v / period));
    return v > n - 1 ? period - v : v;
}

static int64_t fixed(double v) { return (int64_t)floor(v * (1 << UM_WARP_BITS)); }

void um_warp_affine(const um_rgbx *source, const double m[6], const um_image *dst)
{
    const um_rgbx local = *source, *const src = &local; /* a copy that bytes written to dst cannot alias: it stays in registers */
    const int64_t step_x = fixed(m[0]), step_y = fixed(m[3]);
    /* A sample reads its pixel and the next one, so the last place is just below the last pixel. */
    const int64_t end_x = ((int64_t)(src->width_px - 1) << UM_WARP_BITS) - 1, end_y = ((int64_t)(src->height_px - 1) << UM_WARP_BITS) - 1;
    const int w = dst->width_px;
    for (int y = 0; y < dst->height_px; y++) {
        uint8_t *d = dst->data + (size_t)y * dst->stride;
        double row_x = m[1] * y + m[2], row_y = m[4] * y + m[5];
        int64_t sx = fixed(row_x), sy = fixed(row_y), last_x = sx + step_x * (w - 1), last_y = sy + step_y * (w - 1);
        /* Places along a row lie on a line: if both ends are inside the source, all are. */
        if (sx >= 0 && sx <= end_x && last_x >= 0 && last_x <= end_x && sy >= 0 && sy <= end_y && last_y >= 0 && last_y <= end_y) {
            for (int x = 0; x < w; x++, d += 3, sx += step_x, sy += step_y) {
                uint32_t p = um_rgbx_sample(src, sx, sy);
                d[0] = (uint8_t)p;
                d[1] = (uint8_t)(p >> 8);
                d[2] = (uint8_t)(p >> 16);
            }
            continue;
        }
        for (int x = 0; x < w; x++, d += 3) {
            int64_t px = fixed(um_warp_mirror(m[0] * x + row_x, src->width_px)), py = fixed(um_warp_mirror(m[3] * x + row_y, src->height_px));
            uint32_t p = um_rgbx_sample(src, px < end_x ? px : end_x, py < end_y ? py : end_y);
            d[0] = (uint8_t)p;
            d[1] = (uint8_t)(p >> 8);
            d[2] = (uint8_t)(p >> 16);
        }
    }
}
