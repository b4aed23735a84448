#include "src/image/ssim.h"

#include "src/core/clones.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* With window sums S over n = 49 pixels the map is, all denominators cancelled,
 *
 *     ssim = (2 Sa Sb + n^2 C1) (2 (n Sab - Sa Sb) + n (n-1) C2) / ((Sa^2 + Sb^2 + n^2 C1) ((n Saa - Sa^2) + (n Sbb - Sb^2) + n (n-1) C2))
 *
 * Every sum and product up to the constants is an exact 32-bit integer (49 * 49 * 255^2 < 2^31), so nothing cancels in floating point. C1 = (0.01 * 255)^2, C2 = (0.03 * 255)^2. */
enum { WINDOW = 7, HALF = 3, N = WINDOW * WINDOW, SUMS = 5 };
static const double C1_SCALED = 6.5025 * N * N, C2_SCALED = 58.5225 * N * (N - 1);

struct um_ssim {
    int width_px;      /* what the arrays were made for */
    uint8_t *row[2];   /* padded rows of a and b: WINDOW + 1 of each, in a ring */
    int32_t *column[SUMS]; /* sums over the 7 rows of the window: a, b, aa, bb, ab; (W + 6) * 3 */
    int32_t *wide[SUMS];   /* sums over the window: W * 3 */
    uint8_t *level;    /* mask of one row, 3 channels */
};

um_ssim *um_ssim_new(void) { return calloc(1, sizeof(um_ssim)); }

static void release(um_ssim *s)
{
    for (int i = 0; i < 2; i++) free(s->row[i]);
    for (int i = 0; i < SUMS; i++) {
        free(s->column[i]);
        free(s->wide[i]);
    }
    free(s->level);
    memset(s, 0, sizeof *s);
}

void um_ssim_free(um_ssim *s)
{
    if (s == NULL) return;
    release(s);
    free(s);
}

static um_status prepare(um_ssim *s, int width_px)
{
    if (s->width_px >= width_px) return UM_OK;
    release(s);
    size_t padded = (size_t)(width_px + 2 * HALF) * 3;
    bool ok = true;
    for (int i = 0; i < 2; i++) ok = (s->row[i] = malloc(padded * (WINDOW + 1))) != NULL && ok;
    for (int i = 0; i < SUMS; i++) {
        ok = (s->column[i] = malloc(padded * sizeof(int32_t))) != NULL && ok;
        ok = (s->wide[i] = malloc(padded * sizeof(int32_t))) != NULL && ok;
    }
    ok = (s->level = malloc(padded)) != NULL && ok;
    if (!ok) {
        release(s);
        return UM_FAIL(UM_NO_MEMORY, "no memory for a difference mask %d px wide", width_px);
    }
    s->width_px = width_px;
    return UM_OK;
}

/* Index of the row or column that stands at i outside [0, n): d c b a | a b c d | d c b a. n >= 7 and at most 3 beyond. */
static int reflected(int i, int n) { return i < 0 ? -1 - i : i >= n ? 2 * n - 1 - i : i; }

static void pad_row(const um_image *img, int y, uint8_t *out)
{
    const uint8_t *p = img->data + (size_t)reflected(y, img->height_px) * img->stride;
    int w = img->width_px;
    memcpy(out + HALF * 3, p, (size_t)w * 3);
    for (int x = 1; x <= HALF; x++) {
        memcpy(out + (HALF - x) * 3, p + (x - 1) * 3, 3);
        memcpy(out + (HALF + w - 1 + x) * 3, p + (w - x) * 3, 3);
    }
}

UM_CLONES static void add_row(const uint8_t *restrict a, const uint8_t *restrict b, int32_t *restrict sa, int32_t *restrict sb, int32_t *restrict saa, int32_t *restrict sbb, int32_t *restrict sab, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t x = a[i], y = b[i];
        sa[i] += x;
        sb[i] += y;
        saa[i] += x * x;
        sbb[i] += y * y;
        sab[i] += x * y;
    }
}

UM_CLONES static void drop_row(const uint8_t *restrict a, const uint8_t *restrict b, int32_t *restrict sa, int32_t *restrict sb, int32_t *restrict saa, int32_t *restrict sbb, int32_t *restrict sab, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t x = a[i], y = b[i];
        sa[i] -= x;
        sb[i] -= y;
        saa[i] -= x * x;
        sbb[i] -= y * y;
        sab[i] -= x * y;
    }
}

/* Sums of 7 columns, which are 3 samples apart. */
UM_CLONES static void widen(const int32_t *restrict c, int32_t *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = ((c[i] + c[i + 3]) + (c[i + 6] + c[i + 9])) + ((c[i + 12] + c[i + 15]) + c[i + 18]);
}

UM_CLONES static void levels(const int32_t *restrict sa, const int32_t *restrict sb, const int32_t *restrict saa, const int32_t *restrict sbb, const int32_t *restrict sab, uint8_t *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t a = sa[i], b = sb[i], ab = a * b, squares = a * a + b * b;
        double up = ((double)(2 * ab) + C1_SCALED) * ((double)(2 * (N * sab[i] - ab)) + C2_SCALED);
        double down = ((double)squares + C1_SCALED) * ((double)(N * saa[i] - a * a + N * sbb[i] - b * b) + C2_SCALED);
        double level = (1.0 - up / down) * 255.0;
        level = level < 0 ? 0 : level > 255 ? 255 : level;
        out[i] = (uint8_t)(int32_t)level;
    }
}

/* BT.601 luma as OpenCV's cvtColor takes it from 8-bit BGR: 15-bit coefficients, rounded. */
UM_CLONES static void grey(const uint8_t *restrict rgb, uint8_t *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = (uint8_t)((rgb[3 * i] * 9798 + rgb[3 * i + 1] * 19235 + rgb[3 * i + 2] * 3735 + 16384) >> 15);
}

um_status um_ssim_mask(um_ssim *s, const um_image *a, const um_image *b, const um_image *mask)
{
    int w = a->width_px, h = a->height_px;
    if (w != b->width_px || h != b->height_px || w != mask->width_px || h != mask->height_px || w < WINDOW || h < WINDOW)
        return UM_FAIL(UM_MISMATCH, "a difference mask wants two pictures of one size, at least %dx%d: %dx%d and %dx%d", WINDOW, WINDOW, w, h, b->width_px, b->height_px);
    UM_PASS(prepare(s, w));
    size_t padded = (size_t)(w + 2 * HALF) * 3, n = (size_t)w * 3;
    int32_t **c = s->column, **z = s->wide;
    for (int i = 0; i < SUMS; i++) memset(c[i], 0, padded * sizeof(int32_t));
    for (int y = -HALF; y < h + HALF; y++) {
        size_t slot = (size_t)(y + HALF) % (WINDOW + 1);
        uint8_t *ra = s->row[0] + slot * padded, *rb = s->row[1] + slot * padded;
        pad_row(a, y, ra);
        pad_row(b, y, rb);
        add_row(ra, rb, c[0], c[1], c[2], c[3], c[4], padded);
        if (y < HALF) continue;
        if (y > HALF) { /* the row that left the window is the oldest of the ring */
            size_t old = (size_t)(y + HALF - WINDOW) % (WINDOW + 1);
            drop_row(s->row[0] + old * padded, s->row[1] + old * padded, c[0], c[1], c[2], c[3], c[4], padded);
        }
        for (int i = 0; i < SUMS; i++) widen(c[i], z[i], n);
        levels(z[0], z[1], z[2], z[3], z[4], s->level, n);
        grey(s->level, mask->data + (size_t)(y - HALF) * mask->stride, (size_t)w);
    }
    return UM_OK;
}
