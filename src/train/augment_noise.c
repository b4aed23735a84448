#include "src/train/augment_parts.h"

#include "src/core/clones.h"
#include "src/core/rng.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

enum { LEVELS = 65536, UNIT = 4096, C = 3, BLOCK = 8 /* 16-bit numbers that one call of the cipher gives */ };

static int16_t quantile[LEVELS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Newton's method on the normal distribution, each from the one before: rounded to 1/4096, nothing of libm's last bits is left. */
static void make_quantiles(void)
{
    static const double ROOT_2 = 1.4142135623730951, ROOT_2PI = 2.5066282746310002;
    double x = 0;
    for (int i = LEVELS / 2; i < LEVELS; i++) {
        const double above = 1 - (i + 0.5) / LEVELS;
        for (int k = 0; k < 8; k++) x += (0.5 * erfc(x / ROOT_2) - above) * ROOT_2PI * exp(0.5 * x * x);
        quantile[i] = (int16_t)lrint(x * UNIT);
        quantile[LEVELS - 1 - i] = (int16_t)-quantile[i];
    }
}

const int16_t *um_augment_quantiles(void)
{
    pthread_once(&once, make_quantiles);
    return quantile;
}

UM_CLONES static void add_noise(const uint8_t *in, const int16_t *noise, float unit, int n, uint8_t *out)
{
    for (int i = 0; i < n; i++) {
        float v = (float)in[i] + (float)noise[i] * unit;
        v = v > 0 ? v : 0;
        v = v < 255 ? v : 255;
        out[i] = (uint8_t)(int)v; /* cut off, as numpy's astype */
    }
}

void um_augment_noise(const um_image *in, float sigma, const uint32_t key[2], const um_image *out)
{
    enum { CHUNK = 1024 };
    const int16_t *q = um_augment_quantiles();
    int16_t noise[CHUNK];
    uint32_t counter[4] = {0}, word[4];
    int left = 0; /* numbers of the last cipher call that are still to be used: the last `left` of a block */
    for (int y = 0; y < in->height_px; y++) {
        const int row = in->width_px * C;
        for (int x = 0; x < row;) {
            const int n = row - x < CHUNK ? row - x : CHUNK;
            for (int i = 0; i < n; i++) {
                if (left == 0) {
                    um_philox(counter, key, word);
                    counter[0]++;
                    left = BLOCK;
                }
                const int at = BLOCK - left--;
                noise[i] = q[(uint16_t)(word[at / 2] >> 16 * (at % 2))];
            }
            add_noise(in->data + (size_t)y * in->stride + x, noise, sigma / UNIT, n, out->data + (size_t)y * out->stride + x);
            x += n;
        }
    }
}

UM_CLONES static void blur_x(const uint8_t *restrict in, int n, uint16_t *restrict out)
{
    for (int i = C; i < n - C; i++) out[i] = (uint16_t)(in[i - C] + 2 * in[i] + in[i + C]);
}

UM_CLONES static void blur_y(const uint16_t *restrict a, const uint16_t *restrict b, const uint16_t *restrict c, int n, uint8_t *restrict out)
{
    for (int i = 0; i < n; i++) out[i] = (uint8_t)((a[i] + 2 * b[i] + c[i] + 8) >> 4);
}

/* Row or column beyond the edge: the one inside of it, the edge itself where there is no other. */
static int mirror(int at, int n) { return n == 1 ? 0 : at < 0 ? 1 : at >= n ? n - 2 : at; }

void um_augment_blur(const um_image *in, uint16_t *rows, const um_image *out)
{
    const int w = in->width_px, h = in->height_px, n = w * C;
    const int second = mirror(-1, w) * C, last_but_one = mirror(w, w) * C;
    for (int y = -1; y <= h; y++) {
        const int at = mirror(y, h);
        uint16_t *row = rows + (size_t)((y + 1) % 3) * (size_t)n;
        const uint8_t *p = in->data + (size_t)at * in->stride;
        blur_x(p, n, row);
        for (int c = 0; c < C; c++) {
            row[c] = (uint16_t)(2 * p[c] + p[second + c] + p[(w > 1 ? C : 0) + c]);
            row[n - C + c] = (uint16_t)(2 * p[n - C + c] + p[last_but_one + c] + p[(w > 1 ? n - 2 * C : 0) + c]);
        }
        if (y >= 1) blur_y(rows + (size_t)((y - 1) % 3) * (size_t)n, rows + (size_t)(y % 3) * (size_t)n, row, n, out->data + (size_t)(y - 1) * out->stride);
    }
}
