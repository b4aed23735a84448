#pragma once
/* image.h: pictures in memory.
 *
 * An um_image is a view: rows of interleaved 8-bit samples, channels 1 (grey) or 3 (RGB, in that order), row y at data + y * stride.
 * It owns nothing unless it came from um_image_new. Sizes are at most UM_IMAGE_MAX_SIDE a side.
 */
#include "src/core/err.h"

#include <stdint.h>

#define UM_IMAGE_MAX_SIDE 32768

typedef struct um_image {
    uint8_t *data;
    int width_px, height_px;
    int channels;
    size_t stride; /* bytes from one row to the next, >= width_px * channels */
} um_image;

/* Half-open rectangle in pixels: x0 <= x < x1, y0 <= y < y1. */
typedef struct um_rect {
    int x0, y0, x1, y1;
} um_rect;

/* Allocates width x height x channels, rows packed, content undefined. um_image_free releases. Errors: UM_NO_MEMORY, UM_TOO_LARGE. */
um_status um_image_new(int width_px, int height_px, int channels, um_image *out);
void um_image_free(um_image *img);
/* The view of `r` inside `img`; r must lie inside. Owns nothing: never free it. */
um_image um_image_crop(const um_image *img, um_rect r);
/* Packed copy; free it. */
um_status um_image_copy(const um_image *img, um_image *out);
/* For a picture that one after another goes into (empty at first; free it in the end): its memory is used again where the size is the same, else made anew. fit: content undefined; keep: a copy. Errors: UM_NO_MEMORY, UM_TOO_LARGE: it is empty then. */
um_status um_image_fit(um_image *kept, int width_px, int height_px, int channels);
um_status um_image_keep(um_image *kept, const um_image *img);
