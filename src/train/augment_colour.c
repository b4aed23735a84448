#include "src/train/augment_parts.h"

#include "src/core/clones.h"

#include <math.h>
#include <string.h>

enum { C = 3 };

/* ---- One table for all channels: cv2.LUT with the table of albumentations' _brightness_contrast_adjust_uint, floats and all ---- */

void um_augment_brightness_contrast(const um_image *img, double alpha, double beta)
{
    uint8_t table[256];
    for (int i = 0; i < 256; i++) {
        float v = (float)i * (float)alpha + (float)(beta * 255);
        table[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : (int)v);
    }
    for (int y = 0; y < img->height_px; y++) {
        uint8_t *p = img->data + (size_t)y * img->stride;
        for (int i = 0; i < img->width_px * C; i++) p[i] = table[p[i]];
    }
}

/* ---- FancyPCA ---- */

/* Eigenvalues and unit eigenvectors (columns of v) of a symmetric 3x3 matrix by Jacobi's rotations, largest value first. */
static void eigen3(double a[3][3], double value[3], double v[3][3])
{
    memset(v, 0, 9 * sizeof(double));
    for (int i = 0; i < 3; i++) v[i][i] = 1;
    for (int sweep = 0; sweep < 32; sweep++)
        for (int p = 0; p < 2; p++)
            for (int q = p + 1; q < 3; q++) {
                if (a[p][q] == 0) continue;
                const double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
                const double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1)), c = 1 / sqrt(t * t + 1), s = t * c;
                for (int k = 0; k < 3; k++) {
                    const double kp = a[k][p], kq = a[k][q];
                    a[k][p] = c * kp - s * kq;
                    a[k][q] = s * kp + c * kq;
                }
                for (int k = 0; k < 3; k++) {
                    const double pk = a[p][k], qk = a[q][k];
                    a[p][k] = c * pk - s * qk;
                    a[q][k] = s * pk + c * qk;
                }
                a[p][q] = a[q][p] = 0;
                for (int k = 0; k < 3; k++) {
                    const double kp = v[k][p], kq = v[k][q];
                    v[k][p] = c * kp - s * kq;
                    v[k][q] = s * kp + c * kq;
                }
            }
    for (int i = 0; i < 3; i++) value[i] = a[i][i];
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2 - i; j++)
            if (value[j] < value[j + 1]) {
                const double t = value[j];
                value[j] = value[j + 1];
                value[j + 1] = t;
                for (int k = 0; k < 3; k++) {
                    const double u = v[k][j];
                    v[k][j] = v[k][j + 1];
                    v[k][j + 1] = u;
                }
            }
}

void um_augment_pca(const um_image *img, double alpha)
{
    int64_t sum[3] = {0}, product[3][3] = {{0}}; /* exact */
    for (int y = 0; y < img->height_px; y++) {
        const uint8_t *p = img->data + (size_t)y * img->stride;
        uint32_t s0 = 0, s1 = 0, s2 = 0;
        uint64_t p00 = 0, p01 = 0, p02 = 0, p11 = 0, p12 = 0, p22 = 0;
        for (int x = 0; x < img->width_px; x++, p += C) {
            const uint32_t r = p[0], g = p[1], b = p[2];
            s0 += r;
            s1 += g;
            s2 += b;
            p00 += r * r;
            p01 += r * g;
            p02 += r * b;
            p11 += g * g;
            p12 += g * b;
            p22 += b * b;
        }
        sum[0] += s0;
        sum[1] += s1;
        sum[2] += s2;
        product[0][0] += (int64_t)p00;
        product[0][1] += (int64_t)p01;
        product[0][2] += (int64_t)p02;
        product[1][1] += (int64_t)p11;
        product[1][2] += (int64_t)p12;
        product[2][2] += (int64_t)p22;
    }
    const double n = (double)img->width_px * img->height_px;
    if (n < 2) return;
    double covariance[3][3], value[3], v[3][3], add[3] = {0};
    for (int i = 0; i < 3; i++)
        for (int j = i; j < 3; j++) covariance[i][j] = covariance[j][i] = ((double)product[i][j] - (double)sum[i] * (double)sum[j] / n) / (n - 1) / (255.0 * 255.0);
    eigen3(covariance, value, v);
    for (int j = 0; j < 3; j++) {
        int largest = 0; /* an eigenvector has no sign: its largest component is made positive */
        for (int i = 1; i < 3; i++)
            if (fabs(v[i][j]) > fabs(v[largest][j])) largest = i;
        const double sign = v[largest][j] < 0 ? -1 : 1;
        for (int i = 0; i < 3; i++) add[i] += sign * v[i][j] * alpha * value[j];
    }
    uint8_t table[3][256];
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 256; i++) {
            double level = i + add[c] * 255;
            table[c][i] = (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : (int)level);
        }
    for (int y = 0; y < img->height_px; y++) {
        uint8_t *p = img->data + (size_t)y * img->stride;
        for (int x = 0; x < img->width_px; x++, p += C)
            for (int c = 0; c < C; c++) p[c] = table[c][p[c]];
    }
}

/* ---- Hue, saturation, value: OpenCV's RGB2HSV_b (fixed point, 12 bits, hue 0..179) and HSV2RGB_simd (floats, two fused operations, cut off at the end; its plain code, which does the last columns of a row, rounds) ---- */

enum { HSV_SHIFT = 12, HUES = 180, CHUNK = 256 };

typedef struct hsv_tables {
    int32_t saturation[256], hue[256]; /* 255 / v and 30 / difference */
    float map[3][256];                 /* what becomes of hue, saturation and value; hue as sixths of the circle, the others 0..1 */
} hsv_tables;

static void make_tables(hsv_tables *t, const uint8_t map[3][256])
{
    t->saturation[0] = t->hue[0] = 0;
    for (int i = 1; i < 256; i++) {
        t->saturation[i] = (int32_t)lrint((255 << HSV_SHIFT) / (1.0 * i));
        t->hue[i] = (int32_t)lrint((HUES << HSV_SHIFT) / (6.0 * i));
    }
    for (int i = 0; i < 256; i++) {
        t->map[0][i] = (float)map[0][i] * (6.0f / HUES);
        t->map[1][i] = (float)map[1][i] * (1.0f / 255.0f);
        t->map[2][i] = (float)map[2][i] * (1.0f / 255.0f);
    }
}

UM_CLONES static void to_hsv(const hsv_tables *t, const int32_t *restrict red, const int32_t *restrict green, const int32_t *restrict blue, int n, float *restrict h_out, float *restrict s_out, float *restrict v_out)
{
    for (int i = 0; i < n; i++) {
        const int32_t r = red[i], g = green[i], b = blue[i];
        const int32_t low = r < g ? r : g, high = r > g ? r : g, least = low < b ? low : b, v = high > b ? high : b, diff = v - least;
        const int32_t from_r = g - b, from_g = b - r + 2 * diff, from_b = r - g + 4 * diff;
        int32_t h = v == r ? from_r : v == g ? from_g : from_b;
        h = (h * t->hue[diff] + (1 << (HSV_SHIFT - 1))) >> HSV_SHIFT;
        h = h < 0 ? h + HUES : h;
        h_out[i] = t->map[0][h];
        s_out[i] = t->map[1][(diff * t->saturation[v] + (1 << (HSV_SHIFT - 1))) >> HSV_SHIFT];
        v_out[i] = t->map[2][v];
    }
}

UM_CLONES static void to_rgb(const float *restrict hue, const float *restrict saturation, const float *restrict value, int n, uint8_t *restrict r_out, uint8_t *restrict g_out, uint8_t *restrict b_out)
{
    for (int i = 0; i < n; i++) {
        const float s = saturation[i], v = value[i];
        const int sector = (int)hue[i];
        const float h = hue[i] - (float)sector;
        const float low = v * (1.0f - s), falling = v * fmaf(-s, h, 1.0f), rising = v * fmaf(-s, 1.0f - h, 1.0f);
        const float r = sector == 0 || sector == 5 ? v : sector == 1 ? falling : sector == 4 ? rising : low;
        const float g = sector == 1 || sector == 2 ? v : sector == 3 ? falling : sector == 0 ? rising : low;
        const float b = sector == 3 || sector == 4 ? v : sector == 5 ? falling : sector == 2 ? rising : low;
        r_out[i] = (uint8_t)(int)(r * 255.0f);
        g_out[i] = (uint8_t)(int)(g * 255.0f);
        b_out[i] = (uint8_t)(int)(b * 255.0f);
    }
}

/* Replaces each of the three by what its table says. */
static void map_hsv(const um_image *img, const uint8_t map[3][256])
{
    hsv_tables t;
    float hsv[3][CHUNK];
    int32_t rgb[3][CHUNK];
    uint8_t made[3][CHUNK];
    make_tables(&t, map);
    for (int y = 0; y < img->height_px; y++)
        for (int x = 0; x < img->width_px; x += CHUNK) {
            const int n = img->width_px - x < CHUNK ? img->width_px - x : CHUNK;
            uint8_t *p = img->data + (size_t)y * img->stride + (size_t)x * C;
            for (int i = 0; i < n; i++)
                for (int c = 0; c < C; c++) rgb[c][i] = p[(size_t)i * C + (size_t)c];
            to_hsv(&t, rgb[0], rgb[1], rgb[2], n, hsv[0], hsv[1], hsv[2]);
            to_rgb(hsv[0], hsv[1], hsv[2], n, made[0], made[1], made[2]);
            for (int i = 0; i < n; i++)
                for (int c = 0; c < C; c++) p[(size_t)i * C + (size_t)c] = made[c][i];
        }
}

static uint8_t wrap_hue(double h)
{
    h -= floor(h / HUES) * HUES;
    return (uint8_t)(h >= HUES ? 0 : h); /* a tiny negative one becomes 180 by rounding */
}

static uint8_t cut(double v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : (int)v); }

void um_augment_hsv(const um_image *img, const double shift[3])
{
    uint8_t map[3][256];
    for (int i = 0; i < 256; i++) {
        map[0][i] = wrap_hue(i + shift[0]);
        map[1][i] = cut(i + shift[1]);
        map[2][i] = cut(i + shift[2]);
    }
    map_hsv(img, map);
}

void um_augment_tint(const um_image *img, const double tint[3])
{
    uint8_t map[3][256];
    for (int i = 0; i < 256; i++) {
        map[0][i] = wrap_hue(i + tint[0]);
        map[1][i] = cut(i * tint[1]);
        map[2][i] = cut(i * tint[2]);
    }
    map_hsv(img, map);
}

/* ---- Channels ---- */

void um_augment_shuffle(const um_image *img, int order)
{
    static const uint8_t ORDER[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    const uint8_t *o = ORDER[order];
    for (int y = 0; y < img->height_px; y++) {
        uint8_t *p = img->data + (size_t)y * img->stride;
        for (int x = 0; x < img->width_px; x++, p += C) {
            const uint8_t from[3] = {p[0], p[1], p[2]};
            for (int c = 0; c < C; c++) p[c] = from[o[c]];
        }
    }
}

UM_CLONES static void grey_row(uint8_t *p, int n)
{
    for (int x = 0; x < n; x++, p += C) p[0] = p[1] = p[2] = (uint8_t)((p[0] * 9798 + p[1] * 19235 + p[2] * 3735 + 16384) >> 15); /* BT.601, as OpenCV's cvtColor on bytes */
}

void um_augment_grey(const um_image *img)
{
    for (int y = 0; y < img->height_px; y++) grey_row(img->data + (size_t)y * img->stride, img->width_px);
}
