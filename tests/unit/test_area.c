/* Area resampling against direct sums over each window. */
#include "src/image/area.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static void check(um_area *t, int w, int h, int x0, int y0, int x1, int y1, int nx, int ny)
{
    um_image img = {.width_px = w, .height_px = h, .channels = 3, .stride = (size_t)(3 * w + 2)};
    img.data = malloc(img.stride * (size_t)h - 2);
    if (img.data == NULL) abort();
    for (int y = 0; y < h; y++)
        for (int i = 0; i < 3 * w; i++) img.data[(size_t)y * img.stride + (size_t)i] = (uint8_t)(i * 37 + y * 91 + i * y);
    CHECK_OK(um_area_begin(t, &img));
    for (int y = 0; y < h; y++) um_area_add_row(t, &img, y);
    CHECK_INT(t->width_px, w);
    CHECK_INT(t->height_px, h);
    um_area_window *xs = calloc((size_t)nx, sizeof *xs), *ys = calloc((size_t)ny, sizeof *ys);
    float *out = calloc((size_t)nx * 6 + 1, sizeof(float)), *plane[3] = {out + 3 * nx + 1, out + 4 * nx + 1, out + 5 * nx + 1};
    int wrong = 0;
    um_area_windows(x0, x1 - x0, nx, xs);
    um_area_windows(y0, y1 - y0, ny, ys);
    for (int i = 0; i < nx; i++) { /* torch's adaptive average pooling: floor(i * in / n), ceil((i + 1) * in / n) */
        CHECK_INT(xs[i].lo, x0 + (int)floor((double)i * (x1 - x0) / nx));
        CHECK_INT(xs[i].hi, x0 + (int)ceil((double)(i + 1) * (x1 - x0) / nx));
        CHECK_NEAR(xs[i].inverse * (float)(xs[i].hi - xs[i].lo), 1, 1e-7);
    }
    for (int j = 0; j < ny; j++) {
        um_area_row_packed(t, ys[j], xs, nx, out);
        um_area_row_planar(t, ys[j], xs, nx, plane);
        for (int i = 0; i < nx; i++)
            for (int c = 0; c < 3; c++) {
                double sum = 0;
                for (int y = ys[j].lo; y < ys[j].hi; y++)
                    for (int x = xs[i].lo; x < xs[i].hi; x++) sum += img.data[(size_t)y * img.stride + (size_t)(3 * x + c)];
                double want = (sum / ((ys[j].hi - ys[j].lo) * (xs[i].hi - xs[i].lo)) - 127.5) / 128;
                wrong += fabs(out[3 * i + c] - want) > 5e-7 || out[3 * i + c] != plane[c][i];
            }
    }
    CHECK_INT(wrong, 0);
    free(xs);
    free(ys);
    free(out);
    free(img.data);
}

int main(void)
{
    um_area t = {0};
    check(&t, 64, 48, 0, 0, 64, 48, 17, 13);
    check(&t, 301, 200, 0, 0, 301, 200, 40, 27); /* grows */
    check(&t, 50, 40, 5, 7, 31, 39, 24, 24);     /* a crop, in memory that was larger */
    check(&t, 50, 40, 5, 7, 8, 9, 24, 24);       /* enlarged: windows share pixels */
    check(&t, 20, 20, 0, 0, 20, 20, 20, 20);     /* one to one */
    check(&t, 1, 1, 0, 0, 1, 1, 3, 2);
    check(&t, 1, 33, 0, 0, 1, 33, 1, 4);
    /* sums are exact where they are largest */
    um_image white;
    CHECK_OK(um_image_new(4096, 4096, 3, &white));
    memset(white.data, 255, white.stride * 4096);
    um_image most = um_image_crop(&white, (um_rect){0, 0, 4096, 4000});
    CHECK_OK(um_area_begin(&t, &most));
    for (int y = 0; y < 4000; y++) um_area_add_row(&t, &most, y);
    um_area_window x, y;
    float got[4];
    um_area_windows(4080, 16, 1, &x);
    um_area_windows(3980, 20, 1, &y);
    um_area_row_packed(&t, y, &x, 1, got);
    CHECK_NEAR(got[0], 127.5 / 128, 1e-7);
    CHECK(got[1] == got[0] && got[2] == got[0]);
    /* more than the limit is refused before a row is read */
    um_image huge = {.data = white.data, .width_px = 4200, .height_px = 4200, .channels = 3, .stride = 0};
    CHECK_INT(um_area_begin(&t, &huge), UM_TOO_LARGE);
    um_image_free(&white);
    um_area_release(&t);
    CHECK(t.sum == NULL);
    return TEST_END();
}
