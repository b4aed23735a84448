#include "src/train/augment_parts.h"

#include "src/core/clones.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { C = 3 };

void um_augment_flip(const um_image *in, const um_image *out)
{
    for (int y = 0; y < in->height_px; y++) {
        const uint8_t *from = in->data + (size_t)y * in->stride + (size_t)(in->width_px - 1) * C;
        uint8_t *to = out->data + (size_t)y * out->stride;
        for (int x = 0; x < in->width_px; x++, from -= C, to += C) {
            to[0] = from[0];
            to[1] = from[1];
            to[2] = from[2];
        }
    }
}

/* ---- warpAffine: OpenCV 4.10's modules/imgproc/src/imgwarp.cpp. Positions have 5 bits of fraction, made from two sums of 10 bits; the four weights are whole multiples of 1 / 1024. ----
 * The picture is widened to 4 bytes a pixel with two black ones around it, so that a position outside only has to be clamped, and a row is one loop without branches. */

enum { AB_BITS = 10, FRACTION_BITS = 5, FRACTIONS = 1 << FRACTION_BITS, BORDER = 2 };

void um_augment_warper_release(um_augment_warper *s)
{
    free(s->pixel);
    free(s->row);
    free(s->step);
    *s = (um_augment_warper){0};
}

static um_status reserve(um_augment_warper *s, size_t n_pixels, size_t width)
{
    if (n_pixels > s->pixel_cap) {
        free(s->pixel);
        s->pixel_cap = 0;
        s->pixel = malloc(n_pixels * sizeof *s->pixel);
        if (s->pixel == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory to turn a picture");
        s->pixel_cap = n_pixels;
    }
    if (width > s->row_cap) {
        free(s->row);
        free(s->step);
        s->row_cap = 0;
        s->row = malloc(width * sizeof *s->row);
        s->step = malloc(2 * width * sizeof *s->step);
        if (s->row == NULL || s->step == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory to turn a picture");
        s->row_cap = width;
    }
    return UM_OK;
}

/* One row: x0 and y0 of its first pixel, step_x and step_y from there. */
UM_CLONES static void warp_row(const uint32_t *restrict pixel, int32_t pitch, int32_t w, int32_t h, int32_t x0, int32_t y0, const int32_t *restrict step_x, const int32_t *restrict step_y, int n, uint32_t *restrict out)
{
    for (int i = 0; i < n; i++) {
        const int32_t px = (x0 + step_x[i]) >> (AB_BITS - FRACTION_BITS), py = (y0 + step_y[i]) >> (AB_BITS - FRACTION_BITS);
        const int32_t fx = px & (FRACTIONS - 1), fy = py & (FRACTIONS - 1);
        int32_t sx = px >> FRACTION_BITS, sy = py >> FRACTION_BITS;
        sx = sx < -BORDER ? -BORDER : sx > w ? w : sx;
        sy = sy < -BORDER ? -BORDER : sy > h ? h : sy;
        const int32_t at = (sy + BORDER) * pitch + sx + BORDER;
        const uint32_t a = pixel[at], b = pixel[at + 1], c = pixel[at + pitch], d = pixel[at + pitch + 1];
        const uint32_t wa = (uint32_t)((FRACTIONS - fx) * (FRACTIONS - fy)), wb = (uint32_t)(fx * (FRACTIONS - fy)), wc = (uint32_t)((FRACTIONS - fx) * fy), wd = (uint32_t)(fx * fy);
        const uint32_t v0 = ((a & 255) * wa + (b & 255) * wb + (c & 255) * wc + (d & 255) * wd + 512) >> 10;
        const uint32_t v1 = ((a >> 8 & 255) * wa + (b >> 8 & 255) * wb + (c >> 8 & 255) * wc + (d >> 8 & 255) * wd + 512) >> 10;
        const uint32_t v2 = ((a >> 16) * wa + (b >> 16) * wb + (c >> 16) * wc + (d >> 16) * wd + 512) >> 10;
        out[i] = v0 | v1 << 8 | v2 << 16;
    }
}

um_status um_augment_warp(um_augment_warper *s, const um_image *in, double angle_deg, double scale, double dx, double dy, const um_image *out)
{
    const int w = in->width_px, h = in->height_px, pitch = w + 2 * BORDER;
    if (w > 8192 || h > 8192) return UM_FAIL(UM_TOO_LARGE, "a picture of %dx%d is too large to be turned", w, h); /* positions are 32 bits */
    UM_PASS(reserve(s, (size_t)pitch * (size_t)(h + 2 * BORDER), (size_t)w));
    memset(s->pixel, 0, (size_t)pitch * (size_t)(h + 2 * BORDER) * sizeof *s->pixel);
    for (int y = 0; y < h; y++) {
        const uint8_t *from = in->data + (size_t)y * in->stride;
        uint32_t *to = s->pixel + (size_t)(y + BORDER) * (size_t)pitch + BORDER;
        for (int x = 0; x < w; x++) to[x] = (uint32_t)from[x * C] | (uint32_t)from[x * C + 1] << 8 | (uint32_t)from[x * C + 2] << 16;
    }

    /* getRotationMatrix2D (the middle is a float there), shift, inverse; each in OpenCV's order. */
    const double angle = angle_deg * (3.1415926535897932384626433832795 / 180), alpha = cos(angle) * scale, beta = sin(angle) * scale, mx = (float)w / 2, my = (float)h / 2;
    double m[6] = {alpha, beta, (1 - alpha) * mx - beta * my + dx * w, -beta, alpha, beta * mx + (1 - alpha) * my + dy * h};
    double det = m[0] * m[4] - m[1] * m[3];
    det = det != 0 ? 1 / det : 0;
    const double a11 = m[4] * det, a22 = m[0] * det;
    m[0] = a11;
    m[1] *= -det;
    m[3] *= -det;
    m[4] = a22;
    const double b1 = -m[0] * m[2] - m[1] * m[5], b2 = -m[3] * m[2] - m[4] * m[5];
    m[2] = b1;
    m[5] = b2;

    const double one = 1 << AB_BITS;
    const int round = (1 << AB_BITS) / FRACTIONS / 2;
    for (int x = 0; x < w; x++) {
        s->step[x] = (int32_t)lrint(m[0] * x * one);
        s->step[w + x] = (int32_t)lrint(m[3] * x * one);
    }
    for (int y = 0; y < h; y++) {
        const int32_t x0 = (int32_t)lrint((m[1] * y + m[2]) * one) + round, y0 = (int32_t)lrint((m[4] * y + m[5]) * one) + round;
        warp_row(s->pixel, pitch, w, h, x0, y0, s->step, s->step + w, w, s->row);
        uint8_t *to = out->data + (size_t)y * out->stride;
        for (int x = 0; x < w; x++) {
            to[x * C] = (uint8_t)s->row[x];
            to[x * C + 1] = (uint8_t)(s->row[x] >> 8);
            to[x * C + 2] = (uint8_t)(s->row[x] >> 16);
        }
    }
    return UM_OK;
}
