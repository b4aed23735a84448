/* Bicubic resize against Pillow, to the bit (make_resize_golden.py). usage: test_resize DATA/resize.tsv */
#include "src/image/resize.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static uint32_t crc32(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    }
    return ~crc;
}

/* The picture of make_resize_golden.py, with `spare` bytes after each row that nothing may depend on. */
static void picture(int w, int h, int channels, size_t spare, um_image *out)
{
    *out = (um_image){.width_px = w, .height_px = h, .channels = channels, .stride = (size_t)(w * channels) + spare};
    out->data = malloc(out->stride * (size_t)h - spare); /* to the byte: a read past the end is seen by the sanitizer */
    if (out->data == NULL) abort();
    for (uint32_t y = 0; y < (uint32_t)h; y++) {
        uint8_t *row = out->data + y * out->stride;
        for (uint32_t x = 0; x < (uint32_t)w; x++)
            for (uint32_t c = 0; c < (uint32_t)channels; c++) {
                uint32_t v = x * 73856093u ^ y * 19349663u ^ c * 83492791u;
                v ^= v >> 15;
                v *= 0x2c1b3c6du;
                row[x * (uint32_t)channels + c] = (uint8_t)(y * 2 < (uint32_t)h ? v >> 13 : (x / 3 + y / 2 + c) % 3 == 0 ? 255 : 0);
            }
        if (y + 1 < (uint32_t)h) memset(row + w * channels, 0xa5, spare);
    }
}

static void check_case(um_resize *r, int channels, int w, int h, int to_w, int to_h, unsigned want)
{
    um_image src, dst;
    for (size_t spare = 0; spare < 6; spare += 5) {
        picture(w, h, channels, spare, &src);
        CHECK_OK(um_image_new(to_w, to_h, channels, &dst));
        CHECK_OK(um_resize_bicubic(r, &src, &dst));
        uint32_t crc = crc32(dst.data, dst.stride * (size_t)to_h);
        if (crc != want) fprintf(stderr, "%d channels, %dx%d to %dx%d: %08x, want %08x\n", channels, w, h, to_w, to_h, (unsigned)crc, want);
        CHECK(crc == want);
        free(src.data);
        um_image_free(&dst);
    }
}

int main(int argc, char **argv)
{
    FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
    um_resize *r = um_resize_new();
    int channels, w, h, to_w, to_h, n = 0;
    unsigned crc;
    if (f == NULL || r == NULL) return 2;
    while (fscanf(f, "%d %d %d %d %d %x", &channels, &w, &h, &to_w, &to_h, &crc) == 6) {
        check_case(r, channels, w, h, to_w, to_h, crc); /* one um_resize for all: tables of one size must not serve another */
        n++;
    }
    CHECK(n > 200);
    fclose(f);
    um_image grey, colour;
    CHECK_OK(um_image_new(4, 4, 1, &grey));
    CHECK_OK(um_image_new(8, 8, 3, &colour));
    CHECK_INT(um_resize_bicubic(r, &grey, &colour), UM_INTERNAL);
    um_image_free(&grey);
    um_image_free(&colour);
    um_resize_free(r);
    return TEST_END();
}
