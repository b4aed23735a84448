/* Suppression of overlapping boxes and the rectangle that is cut out for one, on cases worked by hand. */
#include "src/detect/crop.h"
#include "src/models/mtcnn_boxes.h"
#include "tests/unit/test.h"

typedef void suppress(um_boxes *b, double threshold);

static void by_union(um_boxes *b, double threshold)
{
    um_boxes_sort(b);
    um_boxes_nms(b, threshold);
}

/* What stays of n boxes {x0, y0, x1, y1, score}, as digits of their places in order. */
static void check(suppress *by, double threshold, const float (*box)[5], int n, const char *want)
{
    um_boxes b = {0};
    char got[16] = "";
    CHECK_OK(um_boxes_reserve(&b, (size_t)n));
    for (int i = 0; i < n; i++) b.box[i] = (um_box){.x0 = box[i][0], .y0 = box[i][1], .x1 = box[i][2], .y1 = box[i][3], .p = box[i][4], .order = (uint32_t)i, .head = i};
    b.n = n;
    by(&b, threshold);
    for (int i = 0; i < b.n && i < 15; i++) got[i] = (char)('0' + b.box[i].head);
    CHECK_STR(got, want);
    um_boxes_release(&b);
}

#define BOTH(...) __VA_ARGS__
#define CASE(by, threshold, boxes, want) check(by, threshold, (const float[][5]){boxes}, (int)(sizeof((const float[][5]){boxes}) / sizeof(float[5])), want)

static void check_union(void)
{
    /* apart: all stay, by falling score */
    CASE(by_union, 0.5, BOTH({0, 0, 10, 10, .6f}, {20, 0, 30, 10, .9f}, {0, 20, 10, 30, .7f}), "120");
    /* 10x10 boxes shifted by 5: 50 of 150, a third */
    CASE(by_union, 0.33, BOTH({0, 0, 10, 10, .6f}, {5, 0, 15, 10, .9f}), "1");
    CASE(by_union, 0.34, BOTH({0, 0, 10, 10, .6f}, {5, 0, 15, 10, .9f}), "10");
    /* exactly at the threshold stays: 2x1 in 4x1 is a half */
    CASE(by_union, 0.5, BOTH({0, 0, 4, 1, .9f}, {0, 0, 2, 1, .8f}), "01");
    /* equal scores: first come first */
    CASE(by_union, 0.5, BOTH({0, 0, 10, 10, .5f}, {1, 0, 11, 10, .5f}, {50, 0, 60, 10, .5f}), "02");
    /* only boxes that stay suppress: 1 falls to 0, so 2, which overlaps 1 alone, stays */
    CASE(by_union, 0.3, BOTH({0, 0, 10, 10, .9f}, {5, 0, 15, 10, .8f}, {10, 0, 20, 10, .7f}), "02");
    /* boxes that only touch do not overlap; boxes without area suppress nothing (0 / 0) */
    CASE(by_union, 0.0, BOTH({0, 0, 10, 10, .9f}, {10, 0, 20, 10, .8f}), "01");
    CASE(by_union, 0.5, BOTH({3, 3, 3, 3, .9f}, {3, 3, 3, 3, .8f}), "01");
}

static void check_min(void)
{
    /* pixels 0..9 and 5..14, both ends counted: 5x10 of 10x10, a half; exactly at the threshold stays */
    CASE(um_boxes_nms_min, 0.5f, BOTH({0, 0, 9, 9, .6f}, {5, 0, 14, 9, .9f}), "10");
    CASE(um_boxes_nms_min, 0.49f, BOTH({0, 0, 9, 9, .6f}, {5, 0, 14, 9, .9f}), "1");
    /* a small box inside a large one is dropped, however small its part of the union is */
    CASE(um_boxes_nms_min, 0.7f, BOTH({0, 0, 99, 99, .9f}, {40, 40, 44, 44, .8f}), "0");
    CASE(by_union, 0.7, BOTH({0, 0, 99, 99, .9f}, {40, 40, 44, 44, .8f}), "01");
    /* equal scores: the last comes first */
    CASE(um_boxes_nms_min, 0.5f, BOTH({0, 0, 10, 10, .5f}, {1, 0, 11, 10, .5f}, {50, 0, 60, 10, .5f}), "21");
    /* a box of one point has an area of one pixel */
    CASE(um_boxes_nms_min, 0.5f, BOTH({3, 3, 3, 3, .9f}, {3, 3, 3, 3, .8f}), "0");
}

/* Many boxes that do not overlap: the order is by score whatever the input's. */
static void check_order(void)
{
    enum { N = 500 };
    for (int min = 0; min < 2; min++) {
        um_boxes b = {0};
        CHECK_OK(um_boxes_reserve(&b, N));
        b.n = N;
        for (int i = 0; i < N; i++) b.box[i] = (um_box){.x0 = (float)(i * 20), .x1 = (float)(i * 20 + 10), .y1 = 10, .p = (float)(i * 7919 % 101) / 101, .order = (uint32_t)i, .head = i};
        (min ? um_boxes_nms_min : by_union)(&b, 0.5);
        CHECK_INT(b.n, N);
        int bad = 0;
        for (int i = 1; i < b.n; i++) {
            const um_box *p = &b.box[i - 1], *q = &b.box[i];
            bad += p->p < q->p || (p->p == q->p && (p->head > q->head) != min);
        }
        CHECK_INT(bad, 0);
        um_boxes_release(&b);
    }
    um_boxes none = {0};
    CHECK_OK(um_boxes_reserve(&none, 1));
    by_union(&none, 0.5);
    um_boxes_nms_min(&none, 0.5);
    CHECK_INT(none.n, 0);
    um_boxes_release(&none);
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
    check_crop(-INFINITY, -3e38f, INFINITY, 3e38f, 640, 360, (um_rect){0, 0, 640, 360}); /* far is far, without overflow */
}

int main(void)
{
    check_union();
    check_min();
    check_order();
    check_crops();
    return TEST_END();
}
