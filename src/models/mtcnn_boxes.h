#pragma once
/* mtcnn_boxes.h: what happens to candidate boxes between the nets, with the arithmetic (float32, this order of operations) and the tie rules of
 * facenet-pytorch 2.6 and torchvision. Used by mtcnn.c and its tests only. Nothing here allocates but reserve and append. */
#include "src/image/image.h"

#include <stdbool.h>

typedef struct um_box {
    float x0, y0, x1, y1;
    float p;         /* probability */
    float shift[4];  /* regression, relative to the sides */
    uint32_t order;  /* place in the reference's list: breaks ties */
    int head;        /* row of the O-net's outputs */
    float landmarks[5][2];
} um_box;

typedef struct um_boxes {
    um_box *box;
    int n;
    size_t cap;
    um_box *spare;    /* as large as box: sorting */
    uint64_t *key;    /* 2 * cap */
} um_boxes;

um_status um_boxes_reserve(um_boxes *b, size_t n);
um_status um_boxes_append(um_boxes *b, const um_boxes *more);
void um_boxes_release(um_boxes *b);

/* Greatest probability first; equal ones by `order`, ascending: torch.sort(stable, descending) as torchvision's nms uses it. */
void um_boxes_sort(um_boxes *b);
/* torchvision.ops.nms on sorted boxes: drops each box whose intersection over union with a kept one is > threshold. */
void um_boxes_nms(um_boxes *b, double threshold);
/* facenet-pytorch's nms_numpy, method "Min": sides count +1, intersection over the smaller area, drops > threshold. Sorts by probability first; of equal ones the
 * last in `order` comes first (numpy's argsort, read from its end). */
void um_boxes_nms_min(um_boxes *b, double threshold);
/* Largest area first; of equal ones the later comes first. */
void um_boxes_sort_by_size(um_boxes *b);

/* rerec: a square with the same middle and the longer side. */
void um_box_square(um_box *b);
/* bbreg: moves each side by shift * side, where sides count +1. */
void um_box_shift(um_box *b);
/* pad: the pixels of a box: truncated, 1-based, clipped. False when none are left. */
bool um_box_pad(const um_box *b, int width_px, int height_px, um_rect *out);
