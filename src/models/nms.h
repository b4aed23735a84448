#pragma once
/* nms.h: non-maximum suppression, with the two sets of conventions that the reference mixes. Local; any thread. */

/* A box with its score; corners in pixels. */
typedef struct um_box {
    float x0, y0, x1, y1, score;
} um_box;

/* torchvision's nms: boxes by falling score (equal scores: first come first), a box is dropped when its intersection over union with a kept one is above t; areas (x1 - x0) * (y1 - y0). keep[0 .. returned) are indices in
 * that order. order: scratch of n ints. */
int um_nms_union(const um_box *box, int n, double t, int *order, int *keep);
/* facenet-pytorch's "Min": intersection over the smaller area, sides counted with both ends (+1), a box is dropped when it is not at most t; of equal scores the last comes first. */
int um_nms_min(const um_box *box, int n, float t, int *order, int *keep);
