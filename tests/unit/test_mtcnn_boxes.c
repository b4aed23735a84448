/* The rules for candidate boxes, on cases computed by hand. */
#include "src/models/mtcnn_boxes.h"
#include "tests/unit/test.h"

static um_boxes list;

static void add(float x0, float y0, float x1, float y1, float p)
{
    CHECK_OK(um_boxes_reserve(&list, (size_t)list.n + 1));
    list.box[list.n] = (um_box){.x0 = x0, .y0 = y0, .x1 = x1, .y1 = y1, .p = p, .order = (uint32_t)list.n, .head = list.n};
    list.n++;
}

/* The heads (places of insertion) of what is left, in order. */
static void left(const char *want)
{
    char got[256] = "";
    for (int i = 0; i < list.n; i++) snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d", i > 0 ? " " : "", list.box[i].head);
    CHECK_STR(got, want);
    list.n = 0;
}

int main(void)
{
    /* Sorting: descending, equal ones in the order they came. */
    add(0, 0, 1, 1, 0.5f), add(0, 0, 1, 1, 1.0f), add(0, 0, 1, 1, 0.5f), add(0, 0, 1, 1, 0.75f), add(0, 0, 1, 1, 1.0f);
    um_boxes_sort(&list);
    left("1 4 3 0 2");

    /* 10x10 against the same shifted by 2: 80 / 120 = 0.6667; shifted by 5: 50 / 150. Nothing is counted +1. */
    add(0, 0, 10, 10, 0.9f), add(2, 0, 12, 10, 0.8f), add(5, 0, 15, 10, 0.7f);
    um_boxes_sort(&list);
    um_boxes_nms(&list, 0.5);
    left("0 2");
    add(0, 0, 10, 10, 0.9f), add(2, 0, 12, 10, 0.8f), add(5, 0, 15, 10, 0.7f);
    um_boxes_sort(&list);
    um_boxes_nms(&list, 0.7);
    left("0 1 2");
    /* Exactly one half stays: the rule is "greater than". 10x10 in 20x10. */
    add(0, 0, 20, 10, 0.9f), add(0, 0, 10, 10, 0.8f);
    um_boxes_sort(&list);
    um_boxes_nms(&list, 0.5);
    left("0 1");
    /* What a dropped box overlaps is not dropped for it. */
    add(0, 0, 10, 10, 0.9f), add(3, 0, 13, 10, 0.8f), add(6, 0, 16, 10, 0.7f);
    um_boxes_sort(&list);
    um_boxes_nms(&list, 0.5);
    left("0 2");
    /* Boxes without area never meet. */
    add(0, 0, 0, 0, 0.9f), add(0, 0, 0, 0, 0.8f);
    um_boxes_sort(&list);
    um_boxes_nms(&list, 0.5);
    left("0 1");

    /* "Min": a small box inside a large one goes, whatever its union. Of equal probabilities the later wins. */
    add(0, 0, 99, 99, 0.8f), add(10, 10, 19, 19, 0.7f), add(90, 0, 189, 99, 0.9f);
    um_boxes_nms_min(&list, 0.7);
    left("2 0");
    add(0, 0, 99, 99, 1.0f), add(1, 1, 99, 99, 1.0f);
    um_boxes_nms_min(&list, 0.7);
    left("1");
    /* Sides count +1: [0, 9] and [3, 12] share 7 of 10, which is not more than 0.7; without +1 it would be 6 of 9. */
    add(0, 0, 9, 9, 0.9f), add(3, 0, 12, 9, 0.8f), add(2, 0, 11, 9, 0.7f);
    um_boxes_nms_min(&list, 0.7);
    left("0 1");

    add(0, 0, 10, 10, 0.9f), add(0, 0, 20, 20, 0.8f), add(5, 5, 15, 15, 0.7f);
    um_boxes_sort_by_size(&list);
    left("1 2 0");

    um_box b = {.x0 = 10, .y0 = 20, .x1 = 30, .y1 = 60};
    um_box_square(&b);
    CHECK(b.x0 == 0 && b.y0 == 20 && b.x1 == 40 && b.y1 == 60);
    b = (um_box){.x0 = 10, .y0 = 20, .x1 = 29, .y1 = 59, .shift = {0.5f, -0.25f, 0.1f, 0}};
    um_box_shift(&b); /* sides 20 and 40 */
    CHECK(b.x0 == 20 && b.y0 == 10 && b.x1 == 31 && b.y1 == 59);

    um_rect r;
    b = (um_box){.x0 = -3.7f, .y0 = 5.9f, .x1 = 50.9f, .y1 = 1000};
    CHECK(um_box_pad(&b, 40, 30, &r) && r.x0 == 0 && r.y0 == 4 && r.x1 == 40 && r.y1 == 30);
    b = (um_box){.x0 = 1, .y0 = 1, .x1 = 1, .y1 = 1};
    CHECK(um_box_pad(&b, 40, 30, &r) && r.x0 == 0 && r.y0 == 0 && r.x1 == 1 && r.y1 == 1);
    b = (um_box){.x0 = -9, .y0 = 5, .x1 = -1, .y1 = 9};
    CHECK(!um_box_pad(&b, 40, 30, &r));
    b = (um_box){.x0 = 3e20f, .y0 = NAN, .x1 = 4e20f, .y1 = 9};
    CHECK(!um_box_pad(&b, 40, 30, &r));
    um_boxes_release(&list);
    return TEST_END();
}
