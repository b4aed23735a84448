/* Suppression of overlapping boxes and the rectangle that is cut out for one, on cases worked by hand. */
#include "src/detect/crop.h"
#include "src/models/nms.h"
#include "tests/unit/test.h"

#define BOTH(...) __VA_ARGS__
/* CASE(union or min, threshold, boxes, indices that stay, in order) */
#define CASE(kind, t, boxes, want)                                                  \
    do {                                                                            \
        const um_box b_[] = {boxes};                                                \
        const int want_[] = {want}, n_ = (int)(sizeof b_ / sizeof b_[0]);              \
        int order_[16], keep_[16], k_ = um_nms_##kind(b_, n_, t, order_, keep_);    \
        CHECK_INT(k_, sizeof want_ / sizeof want_[0]);                                    \
        for (int i_ = 0; i_ < k_ && i_ < (int)(sizeof want_ / sizeof want_[0]); i_++) CHECK_INT(keep_[i_], want_[i_]); \
    } while (0)

static void check_union(void)
{
    /* apart: all stay, by falling score */
    CASE(union, 0.5, BOTH({0, 0, 10, 10, .6f}, {20, 0, 30, 10, .9f}, {0, 20, 10, 30, .7f}), BOTH(1, 2, 0));
    /* 10x10 boxes shifted by 5: 50 of 150, a third */
    CASE(union, 0.33, BOTH({0, 0, 10, 10, .6f}, {5, 0, 15, 10, .9f}), BOTH(1));
    CASE(union, 0.34, BOTH({0, 0, 10, 10, .6f}, {5, 0, 15, 10, .9f}), BOTH(1, 0));
    /* exactly at the threshold stays: 2x1 in 4x1 is a half */
    CASE(union, 0.5, BOTH({0, 0, 4, 1, .9f}, {0, 0, 2, 1, .8f}), BOTH(0, 1));
    /* equal scores: first come first */
    CASE(union, 0.5, BOTH({0, 0, 10, 10, .5f}, {1, 0, 11, 10, .5f}, {50, 0, 60, 10, .5f}), BOTH(0, 2));
    /* only boxes that stay suppress: 1 falls to 0, so 2, which overlaps 1 alone, stays */
    CASE(union, 0.3, BOTH({0, 0, 10, 10, .9f}, {5, 0, 15, 10, .8f}, {10, 0, 20, 10, .7f}), BOTH(0, 2));
    /* boxes that only touch do not overlap; boxes without area suppress nothing (0 / 0) */
    CASE(union, 0.0, BOTH({0, 0, 10, 10, .9f}, {10, 0, 20, 10, .8f}), BOTH(0, 1));
    CASE(union, 0.5, BOTH({3, 3, 3, 3, .9f}, {3, 3, 3, 3, .8f}), BOTH(0, 1));
    int order[1], keep[1];
    CHECK_INT(um_nms_union(NULL, 0, 0.5, order, keep), 0);
}

static void check_min(void)
{
    /* pixels 0..9 and 5..14, both ends counted: 5x10 of 10x10, a half; exactly at the threshold stays */
    CASE(min, 0.5f, BOTH({0, 0, 9, 9, .6f}, {5, 0, 14, 9, .9f}), BOTH(1, 0));
    CASE(min, 0.49f, BOTH({0, 0, 9, 9, .6f}, {5, 0, 14, 9, .9f}), BOTH(1));
    /* a small box inside a large one is dropped, however small its part of the union is */
    CASE(min, 0.7f, BOTH({0, 0, 99, 99, .9f}, {40, 40, 44, 44, .8f}), BOTH(0));
    CASE(union, 0.7, BOTH({0, 0, 99, 99, .9f}, {40, 40, 44, 44, .8f}), BOTH(0, 1));
    /* equal scores: the last comes first */
    CASE(min, 0.5f, BOTH({0, 0, 10, 10, .5f}, {1, 0, 11, 10, .5f}, {50, 0, 60, 10, .5f}), BOTH(2, 1));
    /* a box of one point has an area of one pixel */
    CASE(min, 0.5f, BOTH({3, 3, 3, 3, .9f}, {3, 3, 3, 3, .8f}), BOTH(0));
    int order[1], keep[1];
    CHECK_INT(um_nms_min(NULL, 0, 0.5f, order, keep), 0);
}

/* Many boxes: the order is by score whatever the input's. */
static void check_order(void)
{
    enum { N = 500 };
    static um_box box[N];
    static int order[N], keep[N];
    for (int i = 0; i < N; i++) box[i] = (um_box){(float)(i * 20), 0, (float)(i * 20 + 10), 10, (float)(i * 7919 % 101)};
    CHECK_INT(um_nms_union(box, N, 0.5, order, keep), N);
    int bad = 0;
    for (int i = 1; i < N; i++) bad += box[keep[i - 1]].score < box[keep[i]].score || (box[keep[i - 1]].score == box[keep[i]].score && keep[i - 1] > keep[i]);
    CHECK_INT(bad, 0);
    CHECK_INT(um_nms_min(box, N, 0.5f, order, keep), N);
    for (int i = 1; i < N; i++) bad += box[keep[i - 1]].score < box[keep[i]].score || (box[keep[i - 1]].score == box[keep[i]].score && keep[i - 1] < keep[i]);
    CHECK_INT(bad, 0);
}

static void check_crop(float x0, float y0, float x1, float y1, int w, int h, um_rect want)
{
    um_rect r = {-1, -1, -1, -1};
    CHECK(um_crop_rect((float[4]){x0, y0, x1, y1}, w, h, &r));
    CHECK_INT(r.x0, want.x0);
    CHECK_INT(r.y0, want.y0);
    CHECK_INT(r.x1, want.x1);
    CHECK_INT(r.y1, want.y1);
}

static void check_crops(void)
{
    um_rect r;
    check_crop(100, 60, 130, 120, 640, 360, (um_rect){90, 40, 140, 140});
    check_crop(100.9f, 60.9f, 130.9f, 120.1f, 640, 360, (um_rect){90, 40, 140, 140}); /* coordinates are cut, not rounded */
    check_crop(100, 60, 131, 122, 640, 360, (um_rect){90, 40, 141, 142});             /* 31 / 3 and 62 / 3 are 10 and 20 */
    check_crop(100, 60, 102, 62, 640, 360, (um_rect){100, 60, 102, 62});              /* no margin below 3 px */
    check_crop(-0.9f, -0.9f, 30, 30, 640, 360, (um_rect){0, 0, 40, 40});              /* int(-0.9) is 0, as in Python */
    check_crop(-20, -10, 10, 20, 640, 360, (um_rect){0, 0, 20, 30});                  /* the margin is that of the whole box, not of its visible part */
    check_crop(620, 340, 650, 370, 640, 360, (um_rect){610, 330, 640, 360});
    check_crop(-100, -100, 900, 900, 640, 360, (um_rect){0, 0, 640, 360});
    check_crop(645, 10, 675, 40, 640, 360, (um_rect){635, 0, 640, 50}); /* outside itself, but its margin reaches in */
    CHECK(!um_crop_rect((float[4]){700, 10, 730, 40}, 640, 360, &r));
    CHECK(!um_crop_rect((float[4]){-100, 10, -50, 40}, 640, 360, &r));
    CHECK(!um_crop_rect((float[4]){10, 10, 10.9f, 40}, 640, 360, &r)); /* no whole pixel wide */
    CHECK(!um_crop_rect((float[4]){50, 10, 40, 40}, 640, 360, &r));
    CHECK(!um_crop_rect((float[4]){NAN, 10, 40, 40}, 640, 360, &r));
    CHECK(!um_crop_rect((float[4]){0, 10, INFINITY, 40}, 640, 360, &r));
    CHECK(!um_crop_rect((float[4]){0, -3e38f, 40, 3e38f}, 640, 360, &r));
}

int main(void)
{
    check_union();
    check_min();
    check_order();
    check_crops();
    return TEST_END();
}
