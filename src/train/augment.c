#include "src/train/augment_parts.h"

#include "src/core/clones.h"
#include "src/image/cvresize.h"

#include <stdlib.h>
#include <string.h>

enum { C = 3 };

struct um_augment_work {
    um_augment_jpeg jpeg;
    um_cvresize *resize;
    um_augment_warper warper;
    uint8_t *picture[2]; /* the crop on its way, from one to the other */
    size_t picture_cap;
    uint16_t *blur_rows;
    int *line_rows;
    size_t rows_cap; /* the longer side both serve */
};

um_status um_augment_work_new(const um_augment_jpeg *jpeg, um_augment_work **out)
{
    um_augment_work *w = *out = calloc(1, sizeof *w);
    if (w == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory to augment pictures");
    if (jpeg != NULL) w->jpeg = *jpeg;
    um_status st = um_cvresize_new(&w->resize);
    if (st != UM_OK) {
        um_augment_work_free(w);
        *out = NULL;
    }
    return st;
}

void um_augment_work_free(um_augment_work *w)
{
    if (w == NULL) return;
    um_cvresize_free(w->resize);
    um_augment_warper_release(&w->warper);
    for (int i = 0; i < 2; i++) free(w->picture[i]);
    free(w->blur_rows);
    free(w->line_rows);
    free(w);
}

static um_status reserve(um_augment_work *w, const um_image *crop)
{
    const size_t bytes = (size_t)crop->width_px * (size_t)crop->height_px * C, side = (size_t)(crop->width_px > crop->height_px ? crop->width_px : crop->height_px);
    if (bytes > w->picture_cap) {
        w->picture_cap = 0;
        for (int i = 0; i < 2; i++) {
            free(w->picture[i]);
            w->picture[i] = malloc(bytes);
        }
        if (w->picture[0] == NULL || w->picture[1] == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory to augment a picture of %dx%d", crop->width_px, crop->height_px);
        w->picture_cap = bytes;
    }
    if (side > w->rows_cap) {
        w->rows_cap = 0;
        free(w->blur_rows);
        free(w->line_rows);
        w->blur_rows = malloc(3 * side * C * sizeof *w->blur_rows);
        w->line_rows = malloc(2 * side * sizeof *w->line_rows);
        if (w->blur_rows == NULL || w->line_rows == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory to augment a picture of %dx%d", crop->width_px, crop->height_px);
        w->rows_cap = side;
    }
    return UM_OK;
}

/* A buffer that `now` does not lie in, as a picture of its size. */
static um_image other(const um_augment_work *w, const um_image *now)
{
    /* A padded view begins behind the buffer's start, so ask whether it lies between. */
    const bool in_first = (uintptr_t)now->data >= (uintptr_t)w->picture[0] && (uintptr_t)now->data < (uintptr_t)w->picture[0] + w->picture_cap;
    return (um_image){.data = w->picture[in_first], .width_px = now->width_px, .height_px = now->height_px, .channels = C, .stride = (size_t)now->width_px * C};
}

static void copy(const um_image *in, const um_image *out)
{
    for (int y = 0; y < in->height_px; y++) memcpy(out->data + (size_t)y * out->stride, in->data + (size_t)y * in->stride, (size_t)in->width_px * C);
}

/* Groups 1 and 2, on the crop; *now is where it stands. */
static um_status on_crop(um_augment_work *w, const um_augment_params *p, um_image *now)
{
    um_image next;
    if (p->cut != UM_CUT_NONE) {
        next = other(w, now);
        copy(now, &next);
        *now = next;
        switch (p->cut) {
        case UM_CUT_EYES:
        case UM_CUT_MOUTH:
        case UM_CUT_NOSE: um_augment_cut_line(now, p->line, p->grow_px, w->line_rows); break;
        case UM_CUT_HULL: um_augment_cut_hull(now, &p->hull, p->side); break;
        case UM_CUT_BLACKOUT: um_augment_blackout(now, p->side); break;
        case UM_CUT_NONE: break;
        }
    }
    *now = um_image_crop(now, p->keep);
    if (p->jpeg_quality > 0) {
        if (w->jpeg.pass == NULL) return UM_FAIL(UM_INTERNAL, "augmentation asks for JPEG, and there is no codec");
        next = other(w, now);
        UM_PASS(w->jpeg.pass(w->jpeg.self, p->jpeg_quality, now, &next));
        *now = next;
    }
    if (p->noise_sigma > 0) {
        next = other(w, now);
        um_augment_noise(now, p->noise_sigma, p->noise_key, &next);
        *now = next;
    }
    if (p->blur) {
        next = other(w, now);
        um_augment_blur(now, w->blur_rows, &next);
        *now = next;
    }
    if (p->flip) {
        next = other(w, now);
        um_augment_flip(now, &next);
        *now = next;
    }
    return UM_OK;
}

um_status um_augment_apply(um_augment_work *w, const um_augment_params *p, const um_face_picture *picture, const um_image *out)
{
    static const um_cvresize_kind DOWN[] = {UM_CVRESIZE_AREA, UM_CVRESIZE_AREA, UM_CVRESIZE_LINEAR}, UP[] = {UM_CVRESIZE_CUBIC, UM_CVRESIZE_LINEAR, UM_CVRESIZE_LINEAR};
    um_image now = picture->crop;
    if (now.width_px != p->width_px || now.height_px != p->height_px || now.channels != C || out->width_px != p->size_px || out->height_px != p->size_px || out->channels != C)
        return UM_FAIL(UM_INTERNAL, "augmentation drawn for %dx%d to %d px meets %dx%d and %dx%d", p->width_px, p->height_px, p->size_px, now.width_px, now.height_px, out->width_px, out->height_px);
    UM_PASS(reserve(w, &now));
    UM_PASS(on_crop(w, p, &now));
    UM_PASS(um_cvresize_fit(w->resize, &now, DOWN[p->resize], UP[p->resize], out));
    switch (p->colour) {
    case UM_COLOUR_NONE: break;
    case UM_COLOUR_BRIGHTNESS_CONTRAST: um_augment_brightness_contrast(out, p->alpha, p->beta); break;
    case UM_COLOUR_PCA: um_augment_pca(out, p->alpha); break;
    case UM_COLOUR_HSV: um_augment_hsv(out, p->shift_hsv); break;
    }
    if (p->tint) um_augment_tint(out, p->tint_hsv);
    if (p->shuffle > 0) um_augment_shuffle(out, p->shuffle);
    if (p->grey) um_augment_grey(out);
    if (p->warp) UM_PASS(um_augment_warp(&w->warper, out, p->angle_deg, p->scale, p->dx, p->dy, out));
    return UM_OK;
}

um_status um_augment_plain(um_augment_work *w, int size_px, const um_image *crop, const um_image *out)
{
    if (out->width_px != size_px || out->height_px != size_px || out->channels != C || crop->channels != C) return UM_FAIL(UM_INTERNAL, "a crop for %d px meets %dx%d", size_px, out->width_px, out->height_px);
    return um_cvresize_fit(w->resize, crop, UM_CVRESIZE_AREA, UM_CVRESIZE_CUBIC, out);
}

UM_CLONES static void mix_row(const uint8_t *real, const uint8_t *fake, int share, int n, uint8_t *out)
{
    for (int i = 0; i < n; i++) out[i] = (uint8_t)((fake[i] * share + real[i] * (256 - share) + 128) >> 8);
}

void um_augment_mixup(const um_image *real, const um_image *fake, int share, const um_image *out)
{
    for (int y = 0; y < out->height_px; y++) mix_row(real->data + (size_t)y * real->stride, fake->data + (size_t)y * fake->stride, share, out->width_px * C, out->data + (size_t)y * out->stride);
}
