/* um_area against direct sums, and its windows against the rule of adaptive average pooling. */
#include "src/core/rng.h"
#include "src/image/area.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static double mean(const um_image *img, um_area_window x, um_area_window y, int c)
{
    double s = 0;
    for (int r = y.lo; r < y.hi; r++)
        for (int i = x.lo; i < x.hi; i++) s += img->data[(size_t)r * img->stride + (size_t)i * 3 + (size_t)c];
    return (s / ((x.hi - x.lo) * (y.hi - y.lo)) - 127.5) / 128;
}

static void test_picture(int w, int h, int start_x, int start_y, int in_w, int in_h, int out_w, int out_h)
{
    um_rng rng = um_rng_stream(7, (uint64_t)w, (uint32_t)h, UM_RNG_TEST);
    um_image img;
    um_area a = {0};
    CHECK_OK(um_image_new(w, h, 3, &img));
    for (size_t i = 0; i < img.stride * (size_t)h; i++) img.data[i] = (uint8_t)um_rng_below(&rng, 256);
    CHECK_OK(um_area_begin(&a, &img));
    for (int y = 0; y < h; y++) um_area_add_row(&a, &img, y);
    um_area_window *x = malloc((size_t)out_w * sizeof *x), *y = malloc((size_t)out_h * sizeof *y);
    float *planes = malloc((size_t)out_w * 3 * sizeof *planes), *packed = malloc(((size_t)out_w * 3 + 1) * sizeof *packed);
    um_area_windows(start_x, in_w, out_w, x);
    um_area_windows(start_y, in_h, out_h, y);
    int wrong = 0;
    for (int r = 0; r < out_h; r++) {
        float *const plane[3] = {planes, planes + out_w, planes + 2 * out_w};
        um_area_row_planar(&a, y[r], x, out_w, plane);
        um_area_row_packed(&a, y[r], x, out_w, packed);
        for (int i = 0; i < out_w; i++)
            for (int c = 0; c < 3; c++) {
                double want = mean(&img, x[i], y[r], c);
                wrong += fabs((double)plane[c][i] - want) > 2e-7 || fabs((double)packed[3 * i + c] - want) > 2e-7;
            }
    }
    CHECK_INT(wrong, 0);
    free(x);
    free(y);
    free(planes);
    free(packed);
    um_area_release(&a);
    um_image_free(&img);
}

int main(void)
{
    test_picture(61, 47, 0, 0, 61, 47, 37, 29);
    test_picture(40, 300, 0, 0, 40, 300, 13, 181);
    test_picture(50, 50, 11, 7, 30, 31, 24, 24);
    test_picture(50, 50, 40, 40, 10, 10, 24, 24); /* enlarged: windows of one or two pixels overlap */
    test_picture(1, 1, 0, 0, 1, 1, 48, 48);
    test_picture(3, 2, 0, 0, 3, 2, 3, 2);

    um_area_window w[3];
    um_area_windows(10, 7, 3, w); /* torch: floor(i*7/3) .. ceil((i+1)*7/3) */
    CHECK(w[0].lo == 10 && w[0].hi == 13 && w[1].lo == 12 && w[1].hi == 15 && w[2].lo == 14 && w[2].hi == 17);

    um_area a = {0};
    um_image huge = {.width_px = 32768, .height_px = 32768, .channels = 3};
    CHECK_INT(um_area_begin(&a, &huge), UM_TOO_LARGE);
    um_area_release(&a);
    return TEST_END();
}
