#pragma once
/* warp.h: sampling pictures at places between pixels.
 *
 * An um_rgbx holds one pixel per 32-bit word (red in the low byte, the high byte unused): a bilinear sample of three channels is then a
 * few integer products, with no loop over channels. Pixel centres have whole coordinates: (0, 0) is the centre of the first pixel.
 */
#include "src/image/image.h"

typedef struct um_rgbx {
    uint32_t *data;
    int width_px, height_px; /* rows are packed */
} um_rgbx;

/* Content undefined; um_rgbx_free releases. Errors: UM_NO_MEMORY, UM_TOO_LARGE. */
um_status um_rgbx_new(int width_px, int height_px, um_rgbx *out);
void um_rgbx_free(um_rgbx *p);
/* dst has rgb's size (3 channels). */
void um_rgbx_set(const um_rgbx *dst, const um_image *rgb);
/* dst, (w+1)/2 x (h+1)/2, becomes src at half the size: the mean of 2x2 pixels, the last row and column repeated where the size is odd. */
void um_rgbx_halve(const um_rgbx *src, const um_rgbx *dst);

/* The bilinear sample at (x, y) in fixed point with UM_WARP_BITS fractional bits; 0 <= x < (width-1), 0 <= y < (height-1) in pixels. */
#define UM_WARP_BITS 20
static inline uint32_t um_rgbx_sample(const um_rgbx *p, int64_t x, int64_t y)
{
    const uint32_t *row = p->data + (size_t)(y >> UM_WARP_BITS) * (size_t)p->width_px + (size_t)(x >> UM_WARP_BITS), *next = row + p->width_px;
    /* Two neighbouring pixels at once, each channel in 16 bits: 255 * 256 fits, so the lanes do not run into each other. */
    const uint64_t lanes = 0x00ff00ff00ff00ffu, half = 0x0080008000800080u;
    uint64_t fx = (uint64_t)(x >> (UM_WARP_BITS - 8)) & 255, fy = (uint64_t)(y >> (UM_WARP_BITS - 8)) & 255;
    uint64_t a = row[0] | (uint64_t)row[1] << 32, b = next[0] | (uint64_t)next[1] << 32;
    uint64_t even = (((a & lanes) * (256 - fy) + (b & lanes) * fy + half) >> 8) & lanes;
    uint64_t odd = (((a >> 8 & lanes) * (256 - fy) + (b >> 8 & lanes) * fy + half) >> 8) & lanes;
    uint64_t rb = ((even & 0xffffffffu) * (256 - fx) + (even >> 32) * fx + 0x800080u) >> 8 & 0xff00ffu;
    uint64_t g = ((odd & 0xffffffffu) * (256 - fx) + (odd >> 32) * fx + 0x800080u) >> 8 & 0xff00ffu;
    return (uint32_t)(rb | g << 8);
}

/* dst(x, y) = the bilinear sample of src at (m[0] x + m[1] y + m[2], m[3] x + m[4] y + m[5]); beyond its border src is mirrored.
 * dst: RGB. src at least 2x2. Local; any thread. */
void um_warp_affine(const um_rgbx *src, const double m[6], const um_image *dst);

/* Coordinate v folded back into [0, n-1] by mirrors at both ends (the edge pixel is not doubled). */
double um_warp_mirror(double v, int n);
