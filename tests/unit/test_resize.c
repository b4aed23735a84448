/* um_resize_bicubic against Pillow's results (tests/golden/data/resize.csv), at every instruction-set level. */
#include "src/core/crc.h"
#include "src/image/resize.h"
#include "tests/unit/test.h"

#include <stdbool.h>
#include <stdlib.h>

/* The byte stream of tests/golden/make_resize_golden.py. */
static void fill(um_image *img, bool extremes)
{
    uint32_t x = 1;
    size_t n = img->stride * (size_t)img->height_px;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        uint8_t v = (uint8_t)(x >> 24);
        img->data[i] = extremes ? (v >= 128 ? 255 : 0) : v;
    }
}

static void test_level(const char *level)
{
    char path[4096], line[256];
    snprintf(path, sizeof path, "%s/tests/golden/data/resize.csv", getenv("UNMASK_SOURCE"));
    FILE *f = fopen(path, "r");
    CHECK(f != NULL);
    if (f == NULL) return;
    if (level != NULL)
        setenv("UNMASK_ISA", level, 1);
    else
        unsetenv("UNMASK_ISA");
    um_resize *r = um_resize_new();
    int n = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        int w, h, c, w2, h2;
        unsigned want;
        if (sscanf(line, "%d,%d,%d,%d,%d,%x", &w, &h, &c, &w2, &h2, &want) != 6) continue;
        um_image in, out;
        CHECK_OK(um_image_new(w, h, c, &in));
        CHECK_OK(um_image_new(w2, h2, c, &out));
        fill(&in, n % 4 == 3);
        CHECK_OK(um_resize_bicubic(r, &in, &out));
        CHECK_INT(um_crc32c(0, out.data, out.stride * (size_t)h2), want);
        if (n == 3) { /* the same from a view whose rows are not packed, and once more with the kept tables */
            um_image wide;
            CHECK_OK(um_image_new(w + 5, h, c, &wide));
            um_image view = um_image_crop(&wide, (um_rect){5, 0, 5 + w, h});
            for (int y = 0; y < h; y++) memcpy(view.data + (size_t)y * view.stride, in.data + (size_t)y * in.stride, in.stride);
            memset(out.data, 0, out.stride * (size_t)h2);
            CHECK_OK(um_resize_bicubic(r, &view, &out));
            CHECK_INT(um_crc32c(0, out.data, out.stride * (size_t)h2), want);
            um_image_free(&wide);
        }
        um_image_free(&in);
        um_image_free(&out);
        n++;
    }
    CHECK_INT(n, 13);
    fclose(f);
    um_resize_free(r);
}

int main(void)
{
    test_level(NULL);
    test_level("avx2");
    test_level("base");
    return TEST_END();
}
