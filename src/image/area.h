#pragma once
/* area.h: means over windows of a picture: area resampling as PyTorch's adaptive average pooling does it.
 *
 * A summed-area table (Crow, SIGGRAPH 1984) in 32-bit integers gives the exact sum of any window in four reads, so the cost of a resampled pixel does not depend
 * on the factor. Pixel i of n_out over n_in covers [floor(i * n_in / n_out), ceil((i + 1) * n_in / n_out)). Sums may wrap around: differences are right as long
 * as one window holds less than 2^31 / 255 pixels, which the size limit ensures.
 */
#include "src/image/image.h"

#define UM_AREA_MAX_PIXELS 16800000 /* of the picture; at 16 bytes each the table stays below 270 MB */

typedef struct um_area {
    uint32_t *sum; /* (height + 1, width + 1, 4): R, G, B of all pixels above and to the left, and a number without meaning; aligned */
    size_t cap;    /* numbers allocated */
    int width_px, height_px;
} um_area;

/* Makes room for the table of an RGB picture and clears its first row; memory is kept and grown. Errors: UM_NO_MEMORY, UM_TOO_LARGE. */
um_status um_area_begin(um_area *a, const um_image *rgb);
/* Adds row y of the picture; rows come in order. Windows that end at or above row y + 1 can be read from then on. */
void um_area_add_row(um_area *a, const um_image *rgb, int y);
void um_area_release(um_area *a);

/* One output pixel's share of an axis. */
typedef struct um_area_window {
    int lo, hi;    /* [lo, hi) in the picture */
    float inverse; /* 1 / (hi - lo) */
} um_area_window;

/* The windows of a resampling of n_in pixels, the first of which is at `start`, to n_out. */
void um_area_windows(int start, int n_in, int n_out, um_area_window *out);
/* One output row: the mean over the rows of `y` and the columns of each x[i], each channel as (mean - 127.5) / 128, into three planes of n floats. */
void um_area_row_planar(const um_area *a, um_area_window y, const um_area_window *x, int n, float *const plane[3]);
/* The same, interleaved: n pixels of 3 floats; writes one float past the end. */
void um_area_row_packed(const um_area *a, um_area_window y, const um_area_window *x, int n, float *out);
