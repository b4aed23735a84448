#include "jobs/score_crops.h"

#include <stdlib.h>
#include <string.h>

static size_t picture_bytes(int size_px) { return (size_t)size_px * (size_t)size_px * 3; }

void um_score_crops_init(um_score_crops *c, const int *model_size_px, int n_models)
{
    *c = (um_score_crops){0};
    for (int m = 0; m < n_models; m++) {
        int i = 0;
        while (i < c->n_sizes && c->size_px[i] != model_size_px[m]) i++;
        if (i == c->n_sizes) c->size_px[c->n_sizes++] = model_size_px[m];
    }
}

void um_score_crops_release(um_score_crops *c)
{
    for (int i = 0; i < c->n_sizes; i++) um_buf_release(&c->pixels[i]);
    free(c->face);
    free(c->keep);
    free(c->logit);
    *c = (um_score_crops){0};
}

size_t um_score_crops_bytes(const um_score_crops *c)
{
    size_t n = 0;
    for (int i = 0; i < c->n_sizes; i++) n += picture_bytes(c->size_px[i]);
    return n;
}

um_status um_score_crops_picture(const um_score_crops *c, um_cvresize *resize, const um_image *crop, um_buf *out)
{
    UM_PASS(um_buf_reserve(out, um_score_crops_bytes(c)));
    for (int i = 0; i < c->n_sizes; i++) {
        UM_PASS(um_cvresize_letterbox(resize, crop, c->size_px[i], (uint8_t *)out->data + out->len));
        out->len += picture_bytes(c->size_px[i]);
    }
    return UM_OK;
}

um_status um_score_crops_add(um_score_crops *c, int face, const uint8_t *pictures)
{
    if (c->n == c->cap) {
        int cap = c->cap < 64 ? 64 : 2 * c->cap;
        int *f = realloc(c->face, (size_t)cap * sizeof *f);
        if (f != NULL) c->face = f;
        bool *k = realloc(c->keep, (size_t)cap * sizeof *k);
        if (k != NULL) c->keep = k;
        float *l = realloc(c->logit, (size_t)cap * sizeof *l);
        if (l != NULL) c->logit = l;
        if (f == NULL || k == NULL || l == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d faces", cap);
        c->cap = cap;
    }
    for (int i = 0; i < c->n_sizes; i++) {
        size_t bytes = picture_bytes(c->size_px[i]);
        UM_PASS(um_buf_add(&c->pixels[i], pictures, bytes));
        pictures += bytes;
    }
    c->face[c->n++] = face;
    return UM_OK;
}

bool um_score_crops_full(const um_score_crops *c) { return (size_t)c->n * um_score_crops_bytes(c) > UM_SCORE_HELD_BYTES; }

void um_score_crops_compact(um_score_crops *c)
{
    int kept = 0;
    for (int k = 0; k < c->n; k++) {
        if (!c->keep[k]) continue;
        for (int i = 0; i < c->n_sizes && kept < k; i++) {
            size_t bytes = picture_bytes(c->size_px[i]);
            memcpy((uint8_t *)c->pixels[i].data + (size_t)kept * bytes, (uint8_t *)c->pixels[i].data + (size_t)k * bytes, bytes);
        }
        c->face[kept++] = c->face[k];
    }
    c->n = kept;
    for (int i = 0; i < c->n_sizes; i++) c->pixels[i].len = (size_t)kept * picture_bytes(c->size_px[i]);
}

const uint8_t *um_score_crops_pixels(const um_score_crops *c, int size_px, int at)
{
    int i = 0;
    while (c->size_px[i] != size_px) i++;
    return (const uint8_t *)c->pixels[i].data + (size_t)at * picture_bytes(size_px);
}

void um_score_crops_clear(um_score_crops *c)
{
    for (int i = 0; i < c->n_sizes; i++) um_buf_clear(&c->pixels[i]);
    c->n = 0;
}
