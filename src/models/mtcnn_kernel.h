#pragma once
/* mtcnn_kernel.h: the arithmetic of the three nets, one table per instruction-set level. Private to src/models. */
#include <stddef.h>
#include <stdint.h>

enum { UM_MTCNN_SLACK = 64 }; /* floats that kernels may read and write past the end of a row */

typedef struct um_mtcnn_kernels {
    const char *name;
    /* One row of a 3x3 convolution on planes, valid, with PReLU: rows[ci * 3 + ky] are the 3 * C input rows (width + 2 floats and slack), w is (C * 3 * 3, K), out[k] gets `width` floats. K is 10, 16 or 32. */
    void (*plane_row)(int C, int K, const float *const *rows, const float *w, const float *bias, const float *slope, float *const *out, int width);
    /* 2x2 maximum with stride 2 of two rows of `width` floats each (b may be a); out gets (width + 1) / 2; an odd last column stands alone. */
    void (*pool_row)(const float *a, const float *b, int width, float *out);
    /* d[x] = bias + sum over the n planes of w[i] * plane[i][x]. */
    void (*dot_row)(const float *const *plane, int n, const float *w, float bias, int width, float *d);
    /* Valid convolution, stride 1, NHWC with PReLU: in (H,W,C), w (R, S * C, K), out (P,Q,K), K a multiple of 16. One picture. A dense layer over a batch is R = S = 1, H = 1, W = batch. */
    void (*conv)(const float *in, int W, int C, int R, int S, const float *w, const float *bias, const float *slope, int K, float *out, int P, int Q);
    /* Maximum over n x n windows with stride 2, those at the end cut off where the map ends (PyTorch's ceil mode): in (H,W,C), out (P,Q,C). */
    void (*pool)(const float *in, int H, int W, int C, int n, float *out, int P, int Q);
} um_mtcnn_kernels;

extern const um_mtcnn_kernels um_mtcnn_kernels_base, um_mtcnn_kernels_avx2, um_mtcnn_kernels_avx512;
