/* Marks on pictures stay inside them (the address sanitizer watches the memory, a frame of untouched bytes the view) and can be seen. */
#include "src/image/draw.h"
#include "src/image/sheet.h"
#include "tests/unit/test.h"

#include <limits.h>
#include <stdbool.h>

static const uint8_t RED[3] = {250, 20, 30};

static bool is(const um_image *img, int x, int y, const uint8_t colour[3]) { return memcmp(img->data + (size_t)y * img->stride + (size_t)(3 * x), colour, 3) == 0; }

static int count(const um_image *img, const uint8_t colour[3])
{
    int n = 0;
    for (int y = 0; y < img->height_px; y++)
        for (int x = 0; x < img->width_px; x++) n += is(img, x, y, colour);
    return n;
}

static void clear(const um_image *img) { memset(img->data, 9, img->stride * (size_t)img->height_px); }

static void check_shapes(const um_image *img)
{
    clear(img);
    um_draw_rect(img, (um_rect){3, 4, 13, 10}, RED, 2);
    CHECK_INT(count(img, RED), 10 * 6 - 6 * 2); /* drawn inwards */
    CHECK(is(img, 3, 4, RED) && is(img, 12, 9, RED) && !is(img, 13, 9, RED) && !is(img, 5, 6, RED));
    clear(img);
    um_draw_disc(img, 10, 10, 2, RED);
    CHECK_INT(count(img, RED), 13); /* points of the grid within 2 */
}

static void check_clipping(const um_image *img)
{
    um_image whole = *img, view = um_image_crop(img, (um_rect){4, 3, 24, 19}); /* 20 x 16 */
    for (int y = -40; y <= 40; y += 4)
        for (int x = -60; x <= 60; x += 4) {
            clear(&whole);
            um_draw_rect(&view, (um_rect){x, y, x + 17, y + 11}, RED, 3);
            um_draw_rect(&view, (um_rect){x, y, x + 1, y + 1}, RED, 9);
            um_draw_disc(&view, x, y, 7, RED);
            um_draw_text(&view, x, y, 3, "Face 0.97", RED);
            CHECK_INT(count(&whole, RED), count(&view, RED)); /* nothing outside of the view */
        }
    um_draw_rect(&view, (um_rect){-100000, -100000, 100000, 100000}, RED, 2);
    clear(&whole);
    um_draw_rect(&view, (um_rect){-1, -1, 21, 17}, RED, 2); /* its inner line is the border of the picture */
    CHECK_INT(count(&view, RED), 2 * 20 + 2 * 14);
}

/* What a detector finds may lie anywhere, and sums of such numbers are no longer ints. */
static void check_far(const um_image *img)
{
    static const int far[] = {INT_MIN, INT_MIN / 2, -33, -1, 0, 7, 100, INT_MAX / 2, INT_MAX};
    enum { N = sizeof far / sizeof *far };
    um_image whole = *img, view = um_image_crop(img, (um_rect){4, 3, 24, 19});
    clear(&whole);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            for (int k = 0; k < N; k++) um_draw_rect(&view, (um_rect){far[i], far[j], far[k], far[N - 1 - k]}, RED, 3);
            um_draw_disc(&view, far[i], far[j], 5, RED);
            um_draw_text(&view, far[i], far[j], 3, "AB:9", RED);
        }
    um_draw_disc(&view, 5, 5, INT_MAX, RED); /* and ends soon */
    um_draw_text(&view, 0, 0, INT_MAX, "8", RED);
    CHECK_INT(count(&view, RED), 20 * 16);
    CHECK_INT(count(&whole, RED), 20 * 16);
    clear(&whole);
    um_draw_rect(&view, (um_rect){5, 5, 8, 15}, RED, 4); /* thicker than it is wide: filled, not more */
    CHECK_INT(count(&whole, RED), 3 * 10);
}

/* A network may answer with anything; drawn there it changes nothing. (The sanitizer stops at a bare conversion of such a number.) */
static void check_places(const um_image *img)
{
    static const float odd[] = {NAN, -NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 2147483648.0f, -2147483904.0f, 1e8f, -1e8f};
    enum { N = sizeof odd / sizeof *odd };
    CHECK(um_draw_place(7.9f) == 7 && um_draw_place(-7.9f) == -7 && um_draw_place(0) == 0 && um_draw_place(65535.5f) == 65535);
    clear(img);
    for (int i = 0; i < N; i++) {
        CHECK(um_draw_place(odd[i]) < -UM_IMAGE_MAX_SIDE || um_draw_place(odd[i]) > UM_IMAGE_MAX_SIDE);
        for (int k = 0; k < N; k++) um_draw_disc(img, um_draw_place(odd[i]), um_draw_place(odd[k]), 5, RED);
        um_draw_disc(img, um_draw_place(odd[i]), 5, 5, RED);
        um_draw_rect(img, (um_rect){um_draw_place(NAN), um_draw_place(NAN), um_draw_place(odd[i]), um_draw_place(-3e38f)}, RED, 3);
        um_draw_text(img, um_draw_place(odd[i]), um_draw_place(odd[i]) - 12, 1, "0.97", RED);
    }
    CHECK_INT(count(img, RED), 0);
}

static void check_text(void)
{
    static const char all[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ.,:%_-/=()";
    um_image a, b;
    CHECK_OK(um_image_new(8, 8, 3, &a));
    CHECK_OK(um_image_new(8, 8, 3, &b));
    for (size_t i = 0; all[i] != 0; i++) { /* every character shows, and is like no other (but O and 0, which a font this small may share) */
        clear(&a);
        um_draw_text(&a, 0, 0, 1, (char[2]){all[i], 0}, RED);
        CHECK(count(&a, RED) > 0);
        for (size_t k = 0; k < i; k++) {
            clear(&b);
            um_draw_text(&b, 0, 0, 1, (char[2]){all[k], 0}, RED);
            bool equal = memcmp(a.data, b.data, a.stride * 8) == 0;
            if (equal) fprintf(stderr, "%c looks like %c\n", all[i], all[k]);
            CHECK(!equal);
        }
    }
    clear(&a);
    clear(&b);
    um_draw_text(&a, 0, 0, 1, "q", RED);
    um_draw_text(&b, 0, 0, 1, "Q", RED);
    CHECK(memcmp(a.data, b.data, a.stride * 8) == 0); /* letters are shown as capitals */
    clear(&a);
    um_draw_text(&a, 0, 0, 1, " \x80\xff~\n", RED);
    CHECK_INT(count(&a, RED), 0);
    CHECK_INT(um_draw_text_width("abc", 2), 24);
    clear(&a);
    um_draw_text(&a, 0, 0, 2, "1", RED);
    clear(&b);
    um_draw_text(&b, 0, 0, 1, "1", RED);
    CHECK_INT(count(&b, RED), 8);
    CHECK_INT(count(&a, RED), 4 * 5); /* twice the size; the last row, 3 points, is below the picture */
    um_image_free(&a);
    um_image_free(&b);
}

static void check_sheet(void)
{
    static const uint8_t blue[3] = {10, 20, 200};
    um_image picture[5], sheet;
    const char *caption[5] = {"A.MP4", "a longer caption than its cell is wide, cut at the border", "", "%", "5"};
    static const int size[5][2] = {{40, 40}, {100, 10}, {10, 100}, {1, 1}, {300, 200}};
    for (int i = 0; i < 5; i++) {
        CHECK_OK(um_image_new(size[i][0], size[i][1], 3, &picture[i]));
        for (int k = 0; k < size[i][0] * size[i][1]; k++) memcpy(picture[i].data + 3 * k, i == 4 ? blue : RED, 3);
    }
    CHECK_OK(um_sheet_make(picture, caption, 5, 2, 64, &sheet));
    CHECK_INT(sheet.channels, 3);
    CHECK(sheet.width_px >= 128 && sheet.height_px >= 3 * 64);
    /* each picture as large as fits: squares fill a cell, the others a part */
    CHECK_INT(count(&sheet, RED), 64 * 64 + 64 * 6 + 6 * 64 + 64 * 64);
    CHECK_INT(count(&sheet, blue), 64 * 42);
    CHECK(count(&sheet, (const uint8_t[3]){230, 230, 230}) > 100);
    int right = 0, left = 0; /* the long caption, in the last column, ends with its cell */
    for (int y = 0; y < sheet.height_px; y++)
        for (int x = 0; x < 6; x++) {
            left += !is(&sheet, x, y, (const uint8_t[3]){0, 0, 0});
            right += !is(&sheet, sheet.width_px - 1 - x, y, (const uint8_t[3]){0, 0, 0});
        }
    CHECK_INT(left, 0);
    CHECK_INT(right, 0);
    um_image_free(&sheet);
    CHECK_OK(um_sheet_make((um_image[3]){picture[0], {0}, picture[4]}, (const char *[3]){"", "", ""}, 3, 3, 64, &sheet)); /* one without pixels: its place stays empty */
    CHECK_INT(count(&sheet, RED), 64 * 64);
    CHECK_INT(count(&sheet, blue), 64 * 42);
    CHECK(is(&sheet, sheet.width_px - 38, 38, blue) && is(&sheet, sheet.width_px / 2, 38, (const uint8_t[3]){0, 0, 0}));
    um_image_free(&sheet);
    CHECK_OK(um_sheet_make(&picture[1], &caption[1], 1, 1, 2, &sheet)); /* a picture so thin that less than a pixel of it would be left */
    CHECK_INT(count(&sheet, RED), 2);
    um_image_free(&sheet);
    CHECK_INT(um_sheet_make(picture, caption, 5, 1, 30000, &sheet), UM_TOO_LARGE);
    CHECK_INT(um_sheet_make(picture, caption, 5, 5, INT_MAX / 4, &sheet), UM_TOO_LARGE);
    CHECK(sheet.data == NULL);
    for (int i = 0; i < 5; i++) um_image_free(&picture[i]);
}

int main(void)
{
    um_image img;
    CHECK_OK(um_image_new(32, 24, 3, &img));
    check_shapes(&img);
    check_clipping(&img);
    check_far(&img);
    check_places(&img);
    um_image_free(&img);
    check_text();
    check_sheet();
    return TEST_END();
}
