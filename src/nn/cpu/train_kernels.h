#pragma once
/* train_kernels.h: the arithmetic of training on the CPU, compiled once per instruction-set level (isa.h). Used by src/nn/cpu and its tests only.
 *
 * "Planes": (C/16, pixels, 16) f32, a stride of `plane` numbers apart, zeros behind C. The rest is (pixels, C).
 *
 * Order of sums over pixels, at every level: a chain from the first pixel to the last within pieces of UM_TRAIN_PIECE pixels (or what a call is given, where that is said), in f32; the pieces are added in their order, in f64 for sums of batch
 * norm, in f32 for gradients of weights. Channels lie in the lanes, which are never added.
 */
#include "src/nn/cpu/cpu_kernels.h"
#include "src/nn/train_ops.h"

enum { UM_TRAIN_PIECE = 256 };

/* dw[k][c] = (first ? 0 : dw[k][c]) + sum over pixels of dy[pixel][k] * x[pixel][c]: one chain over the pixels of the call. */
typedef struct um_wgrad {
    int pixels, k, c;
    const float *dy, *x; /* planes */
    size_t dy_plane, x_plane;
    float *dw;           /* (k, c), dw_row numbers from row to row */
    size_t dw_row;
    bool first;
} um_wgrad;

/* Gradient of a depthwise filter, one plane: taps[r][s][16] += sum over p, q of dy[p][q] * x[p * stride + r][q * stride + s]; a chain over the rows and columns of a call, begun at 0. */
typedef struct um_dw_taps {
    int rows, q, r, s, stride;
    const float *dy, *x; /* x: at the first number under the filter of output (0, 0) */
    size_t dy_row, dy_col, x_row; /* numbers from line to line, and from column to column */
    float *taps;
} um_dw_taps;

typedef struct um_train_kernels {
    const um_cpu_kernels *cpu; /* of the same level */
    /* gemm_pack of f32 without biases; weights (K,c_weight), or by_rows (c_weight,K); zeros up to c. Of the panels each parts-th from `part` on, so that threads share them out. */
    void (*pack)(int c, int c_weight, int k, const float *weight, bool by_rows, int part, int parts, void *packed);
    void (*wgrad)(const um_wgrad *g);
    void (*dw_taps)(const um_dw_taps *d);
    void (*norm_sums)(size_t pixels, int c, const float *x, const float *about, double *sums);
    void (*norm)(size_t pixels, int c, const float *x, const um_norm *b, float *y);
    void (*norm_data_sums)(size_t pixels, int c, const float *x, const float *dy, const um_norm *b, double *sums);
    void (*norm_data)(size_t pixels, int c, const float *x, const float *dy, const um_norm *b, float *dx, bool add);
    void (*act)(um_act act, size_t count, const float *x, float *y);
    void (*act_data)(um_act act, size_t count, const float *x, const float *dy, float *dx, bool add);
    void (*mean)(int area, int c, const float *x, float *y); /* one picture, as are the next three */
    void (*mean_data)(int area, int c, const float *dy, float *dx, bool add);
    void (*scale)(int area, int c, const float *x, const float *gate, float *y, bool add);
    void (*scale_gate)(int area, int c, const float *x, const float *dy, float *dgate, bool add);
    void (*column_sums)(size_t pixels, int c, const float *x, float *sums);
    void (*sum)(size_t count, const float *a, const float *b, float *y);
    void (*times)(size_t count, const float *x, float factor, float *y, bool add);
    /* planes_isa.c says what each does. */
    void (*plane_sums)(size_t pixels, const float *z, const float *about, double *one, double *two);
    void (*plane_act)(size_t pixels, const float *z, const um_norm *b, int c, const float *gate, float *a, float *d);
    void (*plane_mean)(size_t pixels, const float *z, const um_norm *b, int c, float *mean);
    void (*plane_gate)(size_t pixels, const float *z, const float *e, const um_norm *b, int c, const float *gate, float *ag, double *sums);
    void (*plane_through)(size_t pixels, const float *z, const float *e, const um_norm *b, int c, const float *gate, const float *m, size_t out_step, float *dz);
    void (*plane_times)(size_t pixels, const float *e, const float *d, const float *z, const um_norm *b, int c, float *dy, double *one, double *two);
    void (*plane_norm_data)(size_t pixels, const float *z, const float *e, size_t stride, int n, float factor, const um_norm *b, int c, float *dz);
    void (*norm_add)(size_t pixels, int c, const float *z, const um_norm *b, float keep, const float *x, float *y);
    void (*dense)(int n, int c, int k, const float *x, const float *w, const float *bias, float *y);
    void (*dense_data)(int n, int c, int k, const float *dy, const float *w, float *dx, bool add);
    void (*dense_weight)(int n, int c, int k, const float *x, const float *dy, float *dw, float *dbias);
} um_train_kernels;

/* Of the level in use. */
const um_train_kernels *um_train_level(void);

extern const um_train_kernels um_train_kernels_base, um_train_kernels_avx2, um_train_kernels_avx512;
