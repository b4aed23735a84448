#pragma once
/* area.h: area resampling by sums over rectangles.
 *
 * A summed-area table (Crow, SIGGRAPH 1984) holds for each corner the sum of all pixels above and left of it, so the mean of any rectangle costs four reads, whatever its size: one table gives all levels of a pyramid and all
 * crops. Sums are exact integers (u32: at most 16.8 Mpx). Windows are those of torch's adaptive average pooling, which facenet-pytorch resamples with: output i of n over a side of `in` pixels averages
 * [floor(i * in / n), ceil((i + 1) * in / n)).
 */
#include "src/image/image.h"

typedef struct um_area {
    uint32_t *sum; /* (height + 1, width + 1, 4): R, G, B, unused; owned */
    size_t cap;
    int width_px, height_px;
} um_area;

/* Makes the table of an RGB picture; memory is reused. Errors: UM_NO_MEMORY, UM_TOO_LARGE. Local. */
um_status um_area_set(um_area *t, const um_image *rgb);
void um_area_release(um_area *t);

/* The windows of n outputs over pixels [first, last): begin[i], end[i], absolute. */
void um_area_windows(int first, int last, int n, int *begin, int *end);

/* One output row, normalised: (mean - 127.5) / 128, over rows [y0, y1) and the n column windows. Planar: channel c at plane[c][i]. */
void um_area_row_planar(const um_area *t, int y0, int y1, const int *begin, const int *end, int n, float *const plane[3]);
/* The same, interleaved: out[3 * i + c]. */
void um_area_row_packed(const um_area *t, int y0, int y1, const int *begin, const int *end, int n, float *out);
