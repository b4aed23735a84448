/* Bicubic resize against Pillow, to the bit (make_resize_golden.py). usage: test_resize DATA/resize.tsv */
#include "src/image/resize.h"
#include "tests/golden/picture.h"
#include "tests/unit/test.h"

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
