#pragma once
/* train_ops.h: what a backend must do for training: a table of operators, each forward and backward, on the f32 maps of one lane (src/nn/net.h).
 *
 * Maps are (N,H,W,C), n pictures. Weights lie as in the flat array of parameters (PyTorch's order: convolution (K,C,R,S), depthwise (C,1,R,S)). y = f(x): "dy" is the derivative of the loss by y. `add`: dx is added to, else overwritten.
 * What belongs to a parameter (dweight, dbias, dslope) and the sums of batch norm are overwritten with the sum over the lane's pictures. Nothing is allocated: `scratch` is the lane's, of scratch_bytes of the window.
 *
 * Bits: a pure function of the arguments; `cpu` writes down the order of its sums and keeps it at every instruction-set level.
 */
#include "src/nn/bottleneck.h"

/* Batch norm by channel, as the passes need it: y = (x - mean) * scale + bias; dx = a * dy + b * (x - mean) + c. The differences are taken first: b x + (c - b mean) would cancel where the mean is far from 0. */
typedef struct um_norm {
    const float *mean, *rstd, *scale, *bias; /* rstd: 1 / sqrt(var + eps) */
    const float *a, *b, *c;
} um_norm;

/* A bottleneck (bottleneck.h), for backends that take it as one. */
typedef struct um_block {
    bool expands, shortcut;
    int c_in, c_mid, c_squeezed, c_out;
    um_window dw;
} um_block;

/* What one lane hands to a phase. Maps of the outside and z3 are (n,H,W,C); the layout of z1, z2, e1, e2 is the backend's, z_count numbers a picture each. */
typedef struct um_block_lane {
    const um_block *block;
    int n;
    const float *x;          /* the block's input and, behind `finish`, its output */
    float *out;
    float *z1, *z2, *z3;     /* outputs of the convolutions: kept for the way back; z1 only where it expands */
    float *means, *squeezed, *acted, *excited, *gate; /* (n, c_mid), (n, c_squeezed) twice, (n, c_mid) twice: inside of the gate, before and behind swish, before and behind sigmoid; kept */
    const float *w_dw, *w_reduce, *b_reduce, *w_excite, *b_excite;
    const void *packed[2];   /* of the direction: expand, project */
    um_norm norm[3];
    const float *about[3];   /* running means */
    double *sums[3];         /* as norm_sums and norm_data_sums leave them; NULL: none wanted */
    const float *keep;       /* [n], of drop-path */
    const float *e;          /* the derivative by `out` */
    float *dx;               /* by x; NULL: not wanted */
    bool add;
    float *e1, *e2;          /* derivatives behind the first and second norm and swish: between the phases of a way back only */
    float *dw_expand, *dw_dw, *dw_reduce, *db_reduce, *dw_excite, *db_excite, *dw_project;
    void *scratch;
} um_block_lane;

typedef struct um_block_ops {
    bool (*fits)(const um_block *b);
    size_t (*scratch_bytes)(const um_block *b);
    size_t (*packed_bytes)(const um_block *b, bool back, int which);
    /* The which-th matrix for one direction; part of so many. */
    void (*pack)(const um_block *b, bool back, int which, const float *weight, int part, int parts, void *packed);
    /* Between the phases lanes and ranks meet: expand leaves sums[0], depthwise [1], project [2]; on the way back back_sums leaves [2], back_project [1], back_depthwise [0]. */
    void (*expand)(const um_block_lane *l);
    void (*depthwise)(const um_block_lane *l);
    void (*project)(const um_block_lane *l);
    void (*finish)(const um_block_lane *l);
    void (*back_sums)(const um_block_lane *l);
    void (*back_project)(const um_block_lane *l);
    void (*back_depthwise)(const um_block_lane *l);
    void (*back_expand)(const um_block_lane *l);
} um_block_ops;

typedef struct um_train_ops {
    const char *name;
    const um_block_ops *block; /* NULL: none */
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
extern const um_block_ops um_train_cpu_block;
