#include "src/models/mtcnn_boxes.h"

#include <stdlib.h>
#include <string.h>

um_status um_boxes_reserve(um_boxes *b, size_t n)
{
    if (n <= b->cap) return UM_OK;
    if (n > UINT32_MAX / 4) return UM_FAIL(UM_TOO_LARGE, "%zu candidate boxes", n);
    size_t cap = n * 2;
    um_box *box = realloc(b->box, cap * sizeof *box);
    if (box != NULL) b->box = box;
    um_box *spare = box == NULL ? NULL : realloc(b->spare, cap * sizeof *spare);
    if (spare != NULL) b->spare = spare;
    uint64_t *key = spare == NULL ? NULL : realloc(b->key, 2 * cap * sizeof *key);
    if (key == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %zu candidate boxes", n);
    b->key = key;
    b->cap = cap;
    return UM_OK;
}

um_status um_boxes_append(um_boxes *b, const um_boxes *more)
{
    UM_PASS(um_boxes_reserve(b, (size_t)b->n + (size_t)more->n));
    if (more->n > 0) memcpy(b->box + b->n, more->box, (size_t)more->n * sizeof *b->box);
    b->n += more->n;
    return UM_OK;
}

void um_boxes_release(um_boxes *b)
{
    free(b->box);
    free(b->spare);
    free(b->key);
    *b = (um_boxes){0};
}

/* Bottom-up merge sort of n keys, ascending; tmp holds n more. */
static void sort_keys(uint64_t *key, uint64_t *tmp, size_t n)
{
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width) {
            size_t mid = lo + width < n ? lo + width : n, hi = lo + 2 * width < n ? lo + 2 * width : n, i = lo, j = mid;
            for (size_t k = lo; k < hi; k++) tmp[k] = i < mid && (j >= hi || key[i] <= key[j]) ? key[i++] : key[j++];
        }
        memcpy(key, tmp, n * sizeof *key);
    }
}

/* The bits of a float as an unsigned number of the same order. */
static uint32_t ordered(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return (u & 0x80000000u) != 0 ? ~u : u | 0x80000000u;
}

/* Puts boxes in the order of the low halves of their sorted keys. */
static void permute(um_boxes *b)
{
    for (int i = 0; i < b->n; i++) b->spare[i] = b->box[b->key[i] & 0xffffffffu];
    um_box *t = b->box;
    b->box = b->spare;
    b->spare = t;
}

void um_boxes_sort(um_boxes *b)
{
    size_t n = (size_t)b->n;
    /* First by order, then (stable, as the position is part of the key) by probability. */
    for (size_t i = 0; i < n; i++) b->key[i] = (uint64_t)b->box[i].order << 32 | i;
    sort_keys(b->key, b->key + n, n);
    permute(b);
    for (size_t i = 0; i < n; i++) b->key[i] = (uint64_t)(~ordered(b->box[i].p)) << 32 | i;
    sort_keys(b->key, b->key + n, n);
    permute(b);
}

static inline float fmin2(float a, float b) { return a < b ? a : b; }
static inline float fmax2(float a, float b) { return a > b ? a : b; }

void um_boxes_nms(um_boxes *b, double threshold)
{
    int n = 0;
    for (int i = 0; i < b->n; i++) {
        um_box c = b->box[i];
        float area = (c.x1 - c.x0) * (c.y1 - c.y0);
        bool keep = true;
        for (int k = 0; k < n && keep; k++) {
            const um_box *o = &b->box[k];
            float w = fmax2(0, fmin2(o->x1, c.x1) - fmax2(o->x0, c.x0)), h = fmax2(0, fmin2(o->y1, c.y1) - fmax2(o->y0, c.y0));
            float both = w * h;
            if (both <= 0) continue;
            float ratio = both / ((o->x1 - o->x0) * (o->y1 - o->y0) + area - both);
            keep = !((double)ratio > threshold);
        }
        if (keep) b->box[n++] = c;
    }
    b->n = n;
}

void um_boxes_nms_min(um_boxes *b, double threshold)
{
    size_t count = (size_t)b->n;
    for (size_t i = 0; i < count; i++) b->box[i].order = UINT32_MAX - b->box[i].order;
    um_boxes_sort(b);
    int n = 0;
    for (int i = 0; i < b->n; i++) {
        um_box c = b->box[i];
        float area = (c.x1 - c.x0 + 1) * (c.y1 - c.y0 + 1);
        bool keep = true;
        for (int k = 0; k < n && keep; k++) {
            const um_box *o = &b->box[k];
            float w = fmax2(0, fmin2(o->x1, c.x1) - fmax2(o->x0, c.x0) + 1), h = fmax2(0, fmin2(o->y1, c.y1) - fmax2(o->y0, c.y0) + 1);
            float ratio = w * h / fmin2((o->x1 - o->x0 + 1) * (o->y1 - o->y0 + 1), area);
            keep = ratio <= (float)threshold;
        }
        if (keep) b->box[n++] = c;
    }
    b->n = n;
}

void um_boxes_sort_by_size(um_boxes *b)
{
    size_t n = (size_t)b->n;
    for (size_t i = 0; i < n; i++) {
        const um_box *c = &b->box[i];
        b->key[i] = (uint64_t)(~ordered((c->x1 - c->x0) * (c->y1 - c->y0))) << 32 | (n - 1 - i);
    }
    sort_keys(b->key, b->key + n, n);
    for (size_t i = 0; i < n; i++) b->key[i] = n - 1 - (b->key[i] & 0xffffffffu);
    permute(b);
}

void um_box_square(um_box *b)
{
    float h = b->y1 - b->y0, w = b->x1 - b->x0, side = fmax2(w, h);
    b->x0 = b->x0 + w * 0.5f - side * 0.5f;
    b->y0 = b->y0 + h * 0.5f - side * 0.5f;
    b->x1 = b->x0 + side;
    b->y1 = b->y0 + side;
}

void um_box_shift(um_box *b)
{
    float w = b->x1 - b->x0 + 1, h = b->y1 - b->y0 + 1;
    b->x0 = b->x0 + b->shift[0] * w;
    b->y0 = b->y0 + b->shift[1] * h;
    b->x1 = b->x1 + b->shift[2] * w;
    b->y1 = b->y1 + b->shift[3] * h;
}

/* Far coordinates are brought within the range of int before the conversion. */
static int trunc_px(float v) { return !(v > -1e9f) ? -1000000000 : !(v < 1e9f) ? 1000000000 : (int)v; }

bool um_box_pad(const um_box *b, int width_px, int height_px, um_rect *out)
{
    int x = trunc_px(b->x0), y = trunc_px(b->y0), ex = trunc_px(b->x1), ey = trunc_px(b->y1);
    if (x < 1) x = 1;
    if (y < 1) y = 1;
    if (ex > width_px) ex = width_px;
    if (ey > height_px) ey = height_px;
    *out = (um_rect){x - 1, y - 1, ex, ey};
    return ex > x - 1 && ey > y - 1;
}
