#include "src/models/nms.h"

#include <stdbool.h>

/* Indices by falling score; among equals by rising index, or falling when `last_first`. A heap sort: in place, no recursion, n log n for any input. */
static bool before(const um_box *box, int a, int b, bool last_first)
{
    if (box[a].score != box[b].score) return box[a].score > box[b].score;
    return last_first ? a > b : a < b;
}

static void sift(const um_box *box, int *order, int root, int n, bool last_first)
{
    for (;;) {
        int child = 2 * root + 1;
        if (child >= n) return;
        if (child + 1 < n && before(box, order[child], order[child + 1], last_first)) child++;
        if (!before(box, order[root], order[child], last_first)) return;
        int t = order[root];
        order[root] = order[child];
        order[child] = t;
        root = child;
    }
}

static void sort_boxes(const um_box *box, int n, int *order, bool last_first)
{
    for (int i = 0; i < n; i++) order[i] = i;
    for (int i = n / 2 - 1; i >= 0; i--) sift(box, order, i, n, last_first);
    for (int end = n - 1; end > 0; end--) {
        int t = order[0];
        order[0] = order[end];
        order[end] = t;
        sift(box, order, 0, end, last_first);
    }
}

static float larger(float a, float b) { return a > b ? a : b; }
static float smaller(float a, float b) { return a < b ? a : b; }

static float overlap(const um_box *a, const um_box *b, float end)
{
    float w = larger(0, smaller(a->x1, b->x1) - larger(a->x0, b->x0) + end), h = larger(0, smaller(a->y1, b->y1) - larger(a->y0, b->y0) + end);
    return w * h;
}

static float area(const um_box *a, float end) { return (a->x1 - a->x0 + end) * (a->y1 - a->y0 + end); }

int um_nms_union(const um_box *box, int n, double t, int *order, int *keep)
{
    int kept = 0;
    sort_boxes(box, n, order, false);
    for (int i = 0; i < n; i++) {
        const um_box *b = &box[order[i]];
        bool drop = false;
        for (int k = 0; k < kept && !drop; k++) {
            const um_box *a = &box[keep[k]];
            float inter = overlap(a, b, 0);
            /* 0/0 of two empty boxes is not above t, as in the reference */
            drop = (double)(inter / (area(a, 0) + area(b, 0) - inter)) > t;
        }
        if (!drop) keep[kept++] = order[i];
    }
    return kept;
}

int um_nms_min(const um_box *box, int n, float t, int *order, int *keep)
{
    int kept = 0;
    sort_boxes(box, n, order, true);
    for (int i = 0; i < n; i++) {
        const um_box *b = &box[order[i]];
        bool drop = false;
        for (int k = 0; k < kept && !drop; k++) {
            const um_box *a = &box[keep[k]];
            drop = !(overlap(a, b, 1) / smaller(area(a, 1), area(b, 1)) <= t);
        }
        if (!drop) keep[kept++] = order[i];
    }
    return kept;
}
