#pragma once
/* cpu_kernels.h: the arithmetic of the CPU backend, compiled once per instruction-set level (isa.h). Used by src/nn/cpu, its tests and its benches only.
 *
 * "Elements" are the numbers that a level computes with: f32 at the levels base, avx2 and avx512, which also store and widen bfloat16; bfloat16 at the level avx512_bf16, whose products are the processor's own.
 * Sums, biases, gates, means and depthwise weights are f32 everywhere.
 * Each output is one chain of fused multiply-adds: it starts at the bias and runs over r, s, c in this order; then the residual is added, then comes the activation. Vectors hold
 * neighbouring outputs and lanes are never added, so f32 results have the same bits at all three levels. (The bf16 level adds pairs of products, as its instruction does.)
 */
#include "src/nn/backend.h"

/* Rows of inputs times a matrix: out[i][k] = act(sum over c of a[i][c] gate[c] w[c][k] + bias[k] + residual[i][k]). */
typedef struct um_gemm {
    int m, c, k;
    const void *a; /* elements */
    size_t a_stride; /* elements from row to row */
    size_t a_plane;  /* not 0: A lies in planes of UM_CPU_PLANE channels, this far apart */
    const void *packed; /* gemm_pack, of w_type */
    um_dtype w_type;    /* the level's element type, or bf16 at an f32 level: widened panel by panel */
    const float *gate;  /* (C), or NULL */
    const void *residual; /* numbers laid out as `out`, or NULL */
    void *out;          /* of out_type, f32 or bf16 */
    um_dtype out_type;
    size_t out_stride;  /* from row to row, in numbers of `out` */
    size_t out_plane;   /* not 0: `out` lies in planes of UM_CPU_PLANE outputs, this far apart */
    int line;           /* after so many rows `out` starts a new line, line_stride after the last: rows of a padded map. 0: never */
    size_t line_stride;
    int k_first, k_end; /* only these outputs (both multiples of UM_CPU_BLOCK, or k_end = k); `out` points at k_first. 0, 0: all */
    um_act act;
    const float *slope; /* (K) for PReLU */
} um_gemm;

/* Lines of one plane of a map that stands between columns of zeros. */
typedef struct um_dw {
    const float *in; /* (lines, columns, UM_CPU_PLANE), at the first number under the filter of output (0, 0); UM_CPU_OVERRUN columns past the last that a line needs are readable */
    size_t in_row;   /* f32 from line to line */
    const float *packed; /* dw_pack, at the plane */
    int rows, q, n_channels; /* outputs; channels <= UM_CPU_PLANE are written */
    int r, s, stride;
    um_act act;
    void *out; /* of out_type */
    um_dtype out_type;
    size_t out_row, out_col;
    float *sum; /* (UM_CPU_PLANE): the sum of each row is added, row after row; or NULL */
} um_dw;

/* Inside of kernels maps lie in planes of 16 channels, (C/16, pixels, 16): each plane is read and written from one end to the other, which caches and their prefetching are made for; in (pixels, C) a few
 * channels of all pixels are as many pages. */
enum {
    UM_CPU_PLANE = 16,
    UM_CPU_BLOCK = 48,   /* channels that a convolution hands to the depthwise step behind it together: a panel of AVX-512 */
    UM_CPU_OVERRUN = 26, /* (12 - 1) * 2 + 4: pixels that a depthwise tile of 12 outputs may read past those it needs */
};

typedef struct um_cpu_kernels {
    const char *name;
    um_dtype elem;
    /* (K, c_weight) f32 and bias (K) to the kernel's order, with zeros up to c; the bytes needed. */
    size_t (*gemm_bytes)(int c, int k, um_dtype w_type);
    void (*gemm_pack)(int c, int c_weight, int k, const float *weight, const float *bias, um_dtype w_type, void *packed);
    size_t (*gemm_scratch)(int m, int c, int k);
    void (*gemm)(const um_gemm *g, void *scratch);
    /* (R,S,C) f32 and bias (C); zeros beyond C, up to whole planes. At channel c, a multiple of UM_CPU_PLANE, the packed weights start c * (R S + 1) floats on. */
    size_t (*dw_bytes)(int c, int r, int s);
    void (*dw_pack)(int c, int r, int s, const float *weight, const float *bias, float *packed);
    void (*dw)(const um_dw *d);
    /* `pixels` pixels of n <= UM_CPU_PLANE elements, in_stride apart, to f32, UM_CPU_PLANE apart; the rest stays. */
    void (*widen)(const void *in, size_t in_stride, int pixels, int n, float *out);
    /* act(in * gate + residual), (pixels, C); gate (C), residual (as out) or slope may be NULL. */
    void (*act)(const void *in, const float *gate, const void *residual, size_t pixels, int c, um_act act, const float *slope, void *out, um_dtype out_type);
    void (*mean)(const void *in, int h, int w, int c, float *out);
    void (*max_pool)(const void *in, int h, int w, int c, int r, int s, int stride, void *out, int p, int q);
    /* table: (256,3) f32. */
    void (*convert)(const uint8_t *in, size_t pixels, int c, const float *table, void *out);
    /* n numbers from one type to the other. */
    void (*to_f32)(const uint16_t *in, size_t n, float *out);
    void (*to_bf16)(const float *in, size_t n, uint16_t *out);
} um_cpu_kernels;

extern const um_cpu_kernels um_cpu_kernels_base, um_cpu_kernels_avx2, um_cpu_kernels_avx512, um_cpu_kernels_avx512_bf16;
