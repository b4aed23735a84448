#pragma once
/* resize_kernels.h: the tables of the resampling, and its two passes, compiled once per instruction-set level. Used by resize.c, the GPU's twin (src/nn/cuda/image.h takes the tables) and tests only. */
#include "src/core/err.h"

#include <stddef.h>
#include <stdint.h>

enum {
    UM_RESIZE_BITS = 32 - 8 - 2, /* fractional bits of a coefficient, as in Pillow's libImaging/Resample.c */
    UM_RESIZE_ROWS = 16          /* rows that the horizontal pass takes together */
};

/* One axis: output i is the sum over taps k < n[i] of weight[i * taps + k] * input[first[i] + k]. */
typedef struct um_resize_axis {
    int n_in, n_out, taps;
    int *first, *n;
    int32_t *weight;
} um_resize_axis;

/* Makes the table of n_in to n_out pixels; nothing to do when it is that already. A new one is all zero. Errors: UM_NO_MEMORY. */
um_status um_resize_axis_init(um_resize_axis *a, int n_in, int n_out);
void um_resize_axis_release(um_resize_axis *a);

typedef struct um_resize_kernels {
    /* UM_RESIZE_ROWS rows at once. `in` row r starts at in[r]; `columns` has room for 16 * (n_in * channels + 16) bytes, `columns_out` for as many with n_out;
     * output row r goes to out[r] for r < n_rows. */
    void (*x)(const um_resize_axis *a, const uint8_t *const in[UM_RESIZE_ROWS], int channels, uint8_t *columns, uint8_t *columns_out, uint8_t *const out[UM_RESIZE_ROWS],
              int n_rows);
    /* Output row i: n numbers from rows `stride` apart. */
    void (*y)(const um_resize_axis *a, int i, const uint8_t *in, size_t stride, int n, uint8_t *out);
} um_resize_kernels;

extern const um_resize_kernels um_resize_kernels_base, um_resize_kernels_avx2, um_resize_kernels_avx512;
