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
    uint32_t *sum; /* (height + 1, width + 1, 4): R, G, B, 0 of all pixels above and to the left; 64-byte aligned */
    size_t cap;    /* numbers allocated */
    int width_px, height_px;
} um_area;

/* Fills the table from an RGB picture; its memory is kept and grown. Errors: UM_NO_MEMORY, UM_TOO_LARGE. */
um_status um_area_build(um_area *a, const um_image *rgb);
void um_area_release(um_area *a);

/* One axis of a resampling: for each of n outputs the window [lo, hi), as offset from `start`. lo and hi have room for n. */
void um_area_windows(int start, int n_in, int n_out, int *lo, int *hi);
/* One output row: the mean over rows [y0, y1) and columns [lo[i], hi[i]), each channel as (mean - 127.5) / 128, into three planes of n floats. */
void um_area_row_planar(const um_area *a, int y0, int y1, const int *lo, const int *hi, int n, float *const plane[3]);
/* The same, interleaved: n pixels of 3 floats. */
void um_area_row_packed(const um_area *a, int y0, int y1, const int *lo, const int *hi, int n, float *out);
