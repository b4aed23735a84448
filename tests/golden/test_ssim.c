/* The difference mask against scikit-image and OpenCV (make_ssim_golden.py), and what must hold without them. usage: test_ssim DATA/ssim.bin */
#include "src/image/ssim.h"
#include "tests/unit/test.h"

#include <stdbool.h>
#include <stdlib.h>

static uint32_t scatter(uint32_t x, uint32_t y, uint32_t c, uint32_t seed)
{
    uint32_t v = x * 73856093u ^ y * 19349663u ^ c * 83492791u ^ seed * 2654435761u;
    v ^= v >> 15;
    v *= 0x2c1b3c6du;
    return v >> 13 & 255;
}

/* The pictures of make_ssim_golden.py, in RGB. */
static uint8_t sample(uint32_t x, uint32_t y, uint32_t c, int kind, bool second)
{
    uint32_t smooth = (x * 5 + y * 3 + c * 40 + x * y / 16) & 255, v;
    switch (kind) {
    case 0: v = smooth + (second ? scatter(x, y, c, 1) % 9 : 0); break;
    case 1: v = scatter(x, y, c, second ? 2 : 1); break;
    case 2: v = smooth / 2 + scatter(x, y, c, 3) % 32 + (second && x >= 8 && x < 20 && y >= 2 && y < 12 ? 60 : 0); break;
    case 3: v = smooth; break;
    case 4: v = second ? 255 : 0; break;
    case 5: v = second ? 255 - scatter(x, y, c, 4) : scatter(x, y, c, 4); break;
    default: v = 100 + c + (second ? scatter(x, y, c, 5) % 2 : 0); break;
    }
    return (uint8_t)(v > 255 ? 255 : v);
}

static void picture(int w, int h, int kind, bool second, um_image *out)
{
    CHECK_OK(um_image_new(w, h, 3, out));
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < 3; c++) out->data[(size_t)y * out->stride + (size_t)(3 * x + c)] = sample((uint32_t)x, (uint32_t)y, (uint32_t)c, kind, second);
}

static void check_golden(um_ssim *s, const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t head[6];
    int cases = 0;
    CHECK(f != NULL);
    if (f == NULL) return;
    while (fread(head, 1, 6, f) == 6) {
        int w = head[0] | head[1] << 8, h = head[2] | head[3] << 8, kind = head[4];
        um_image a, b, mask;
        uint8_t *want = malloc((size_t)w * (size_t)h);
        CHECK_INT(fread(want, 1, (size_t)w * (size_t)h, f), w * h);
        picture(w, h, kind, false, &a);
        picture(w, h, kind, true, &b);
        CHECK_OK(um_image_new(w, h, 1, &mask));
        CHECK_OK(um_ssim_mask(s, &a, &b, &mask));
        int different = 0;
        for (int i = 0; i < w * h; i++) different += mask.data[i] != want[i];
        if (different > 0) fprintf(stderr, "%dx%d kind %d: %d of %d differ\n", w, h, kind, different, w * h);
        CHECK_INT(different, 0);
        /* the measure is symmetric */
        um_image other;
        CHECK_OK(um_image_new(w, h, 1, &other));
        CHECK_OK(um_ssim_mask(s, &b, &a, &other));
        CHECK(memcmp(other.data, mask.data, (size_t)w * (size_t)h) == 0);
        um_image_free(&other);
        um_image_free(&a);
        um_image_free(&b);
        um_image_free(&mask);
        free(want);
        cases++;
    }
    fclose(f);
    CHECK(cases >= 12);
}

/* The map as defined, with direct sums in double precision: what shortcuts in ssim.c must not change. Levels so near to a whole number that double precision cannot tell are let pass by one. */
static void check_direct(um_ssim *s, int w, int h, int kind)
{
    um_image a, b, mask;
    picture(w, h, kind, false, &a);
    picture(w, h, kind, true, &b);
    CHECK_OK(um_image_new(w, h, 1, &mask));
    CHECK_OK(um_ssim_mask(s, &a, &b, &mask));
    int wrong = 0;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            int level[3];
            bool sure = true;
            for (int c = 0; c < 3; c++) {
                double sum[5] = {0};
                for (int j = -3; j <= 3; j++)
                    for (int i = -3; i <= 3; i++) {
                        int yy = y + j < 0 ? -1 - y - j : y + j >= h ? 2 * h - 1 - y - j : y + j, xx = x + i < 0 ? -1 - x - i : x + i >= w ? 2 * w - 1 - x - i : x + i;
                        double p = a.data[(size_t)yy * a.stride + (size_t)(3 * xx + c)], q = b.data[(size_t)yy * b.stride + (size_t)(3 * xx + c)];
                        sum[0] += p;
                        sum[1] += q;
                        sum[2] += p * p;
                        sum[3] += q * q;
                        sum[4] += p * q;
                    }
                for (int i = 0; i < 5; i++) sum[i] /= 49;
                double va = 49.0 / 48 * (sum[2] - sum[0] * sum[0]), vb = 49.0 / 48 * (sum[3] - sum[1] * sum[1]), vab = 49.0 / 48 * (sum[4] - sum[0] * sum[1]);
                double ssim = (2 * sum[0] * sum[1] + 6.5025) * (2 * vab + 58.5225) / ((sum[0] * sum[0] + sum[1] * sum[1] + 6.5025) * (va + vb + 58.5225)), v = (1 - ssim) * 255;
                level[c] = v > 255 ? 255 : v < 0 ? 0 : (int)v;
                sure = sure && (fabs(v - round(v)) > 1e-9 || v < 0.5);
            }
            int want = (level[0] * 9798 + level[1] * 19235 + level[2] * 3735 + 16384) >> 15;
            if (sure) wrong += mask.data[(size_t)y * mask.stride + (size_t)x] != want;
        }
    if (wrong > 0) fprintf(stderr, "%dx%d kind %d: %d wrong\n", w, h, kind, wrong);
    CHECK_INT(wrong, 0);
    um_image_free(&a);
    um_image_free(&b);
    um_image_free(&mask);
}

static void check_bounds(um_ssim *s)
{
    um_image a, b, mask;
    picture(24, 20, 3, false, &a);
    picture(24, 20, 3, true, &b);
    CHECK_OK(um_image_new(24, 20, 1, &mask));
    memset(mask.data, 7, 24 * 20);
    CHECK_OK(um_ssim_mask(s, &a, &b, &mask));
    for (int i = 0; i < 24 * 20; i++) CHECK_INT(mask.data[i], 0); /* equal pictures */
    /* views with a stride of their own */
    um_image va = um_image_crop(&a, (um_rect){3, 2, 17, 16}), vb = um_image_crop(&b, (um_rect){3, 2, 17, 16}), vm = um_image_crop(&mask, (um_rect){1, 1, 15, 15});
    memset(mask.data, 7, 24 * 20);
    CHECK_OK(um_ssim_mask(s, &va, &vb, &vm));
    for (int y = 0; y < 20; y++)
        for (int x = 0; x < 24; x++) CHECK_INT(mask.data[y * 24 + x], x >= 1 && x < 15 && y >= 1 && y < 15 ? 0 : 7);
    /* sizes that do not go together, or are smaller than the window */
    um_image narrow = um_image_crop(&b, (um_rect){0, 0, 23, 20}), low = um_image_crop(&mask, (um_rect){0, 0, 24, 19});
    CHECK_INT(um_ssim_mask(s, &a, &narrow, &mask), UM_MISMATCH);
    CHECK_INT(um_ssim_mask(s, &a, &b, &low), UM_MISMATCH);
    um_image small = um_image_crop(&a, (um_rect){0, 0, 6, 20}), small_mask = um_image_crop(&mask, (um_rect){0, 0, 6, 20});
    CHECK_INT(um_ssim_mask(s, &small, &small, &small_mask), UM_MISMATCH);
    small = um_image_crop(&a, (um_rect){0, 0, 24, 6});
    small_mask = um_image_crop(&mask, (um_rect){0, 0, 24, 6});
    CHECK_INT(um_ssim_mask(s, &small, &small, &small_mask), UM_MISMATCH);
    um_image_free(&a);
    um_image_free(&b);
    um_image_free(&mask);
}

int main(int argc, char **argv)
{
    um_ssim *s = um_ssim_new();
    if (argc != 2 || s == NULL) return 2;
    check_golden(s, argv[1]);
    static const int size[][2] = {{7, 7}, {7, 40}, {40, 7}, {61, 43}, {150, 90}, {200, 200}};
    for (size_t i = 0; i < sizeof size / sizeof size[0]; i++)
        for (int kind = 0; kind < 7; kind++) check_direct(s, size[i][0], size[i][1], kind);
    check_bounds(s);
    um_ssim_free(s);
    return TEST_END();
}
