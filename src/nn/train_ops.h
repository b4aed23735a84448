#pragma once
/* train_ops.h: what a backend must do for training: a table of operators, each forward and backward, on the f32 maps of one lane (src/nn/net.h).
 *
 * Maps are (N,H,W,C), n pictures. Weights lie as in the flat array of parameters (PyTorch's order: convolution (K,C,R,S), depthwise (C,1,R,S)). y = f(x): "dy" is the derivative of the loss by y. `add`: dx is added to, else overwritten.
 * What belongs to a parameter (dweight, dbias, dslope) and the sums of batch norm are overwritten with the sum over the lane's pictures. Nothing is allocated: `scratch` is the lane's, of scratch_bytes of the window.
 *
 * Bits: a pure function of the arguments; `cpu` writes down the order of its sums and keeps it at every instruction-set level.
 */
#include "src/nn/graph.h"

/* A convolution or pooling: (N,H,W,C) -> (N,P,Q,K). A depthwise one has c = k; a dense layer is 1 x 1 on a 1 x 1 map. */
typedef struct um_window {
    int h, w, c, p, q, k, r, s, stride, pad_top, pad_left;
} um_window;

/* Batch norm by channel, as the passes need it: y = (x - mean) * scale + bias; dx = a * dy + b * (x - mean) + c. The differences are taken first: b x + (c - b mean) would cancel where the mean is far from 0. */
typedef struct um_norm {
    const float *mean, *rstd, *scale, *bias; /* rstd: 1 / sqrt(var + eps) */
    const float *a, *b, *c;
} um_norm;

typedef struct um_train_ops {
    const char *name;
    size_t (*scratch_bytes)(const um_window *v);
    /* y = (x / 255 - mean[c]) / std[c]; c <= 3. */
    void (*convert)(const uint8_t *x, size_t pixels, int c, const float *mean, const float *std, float *y);
    void (*conv)(const um_window *v, int n, const float *x, const float *weight, const float *bias, float *y, void *scratch); /* bias may be NULL */
    void (*conv_data)(const um_window *v, int n, const float *dy, const float *weight, float *dx, bool add, void *scratch);
    void (*conv_weight)(const um_window *v, int n, const float *x, const float *dy, float *dweight, float *dbias, void *scratch); /* dbias may be NULL */
    void (*depthwise)(const um_window *v, int n, const float *x, const float *weight, const float *bias, float *y, void *scratch);
    void (*depthwise_data)(const um_window *v, int n, const float *dy, const float *weight, float *dx, bool add, void *scratch);
    void (*depthwise_weight)(const um_window *v, int n, const float *x, const float *dy, float *dweight, float *dbias, void *scratch);
    /* sums[c] = sum(x - about), sums[C + c] = sum((x - about)^2) over the pixels of all pictures. */
    void (*norm_sums)(size_t pixels, int c, const float *x, const float *about, double *sums);
    void (*norm)(size_t pixels, int c, const float *x, const um_norm *b, float *y);
    /* sums[c] = sum(dy), sums[C + c] = sum(dy * (x - mean) * rstd). */
    void (*norm_data_sums)(size_t pixels, int c, const float *x, const float *dy, const um_norm *b, double *sums);
    void (*norm_data)(size_t pixels, int c, const float *x, const float *dy, const um_norm *b, float *dx, bool add);
    void (*act)(um_act act, size_t pixels, int c, const float *x, const float *slope, float *y);
    void (*act_data)(um_act act, size_t pixels, int c, const float *x, const float *slope, const float *dy, float *dx, bool add, float *dslope); /* dslope: PReLU only */
    void (*mean)(int n, int area, int c, const float *x, float *y);
    void (*mean_data)(int n, int area, int c, const float *dy, float *dx, bool add);
    void (*max_pool)(const um_window *v, int n, const float *x, float *y);
    /* The derivative goes to the first of equal numbers, in the order of rows and columns. */
    void (*max_pool_data)(const um_window *v, int n, const float *x, const float *dy, float *dx, bool add);
    void (*scale)(int n, int area, int c, const float *x, const float *gate, float *y);
    void (*scale_data)(int n, int area, int c, const float *gate, const float *dy, float *dx, bool add);
    void (*scale_gate)(int n, int area, int c, const float *x, const float *dy, float *dgate, bool add);
    void (*sum)(size_t count, const float *a, const float *b, float *y);
    void (*times)(size_t count, const float *x, float factor, float *y, bool add); /* y (+)= factor * x */
} um_train_ops;

extern const um_train_ops um_train_ref; /* plain C, f64 sums, the oracle of the tests: src/nn/ref */
extern const um_train_ops um_train_cpu; /* src/nn/cpu */
