#pragma once
/* mtcnn_kernels.h: the arithmetic of the three nets, compiled once per instruction-set level (src/nn/cpu/isa.h). Used by mtcnn.c and its tests only. */
#include "src/core/err.h"

#include <stddef.h>
#include <stdint.h>

/* P-net, ready for one level. Every 3x3 convolution is F(4,3) of Winograd's minimal filtering, in the vertical direction only (Lavin and Gray,
 * "Fast algorithms for convolutional neural networks", CVPR 2016): half the multiplications, and pixels stay neighbours in memory. */
typedef struct um_pnet {
    float *w1, *b1, *a1; /* 3 -> 10 */
    float *w2, *b2, *a2; /* 10 -> 16 */
    float *w3, *b3, *a3; /* 16 -> 32 */
    float *face, face_bias; /* (32): weights of the face logit less those of the other */
    float *box, box_bias[4]; /* (4, 32) */
} um_pnet;

/* A place whose face probability may reach the threshold. */
typedef struct um_pnet_hit {
    float logit; /* face less not face */
    int x, y;    /* in the output map */
    float box[4];
} um_pnet_hit;

typedef struct um_pnet_hits {
    um_pnet_hit *hit;
    size_t n, cap;
} um_pnet_hits;
um_status um_pnet_hits_reserve(um_pnet_hits *h, size_t more);

enum { UM_PNET_SLACK = 80 };

/* A layer of R- or O-net as a product: each output pixel is `rows` runs of `run` consecutive numbers (a 3x3 window of interleaved channels is 3 runs) times a
 * matrix; a dense layer is one run. */
typedef struct um_layer {
    int rows, run, n_out;
    const float *w;     /* packed by layer_pack */
    const float *bias;  /* (n_out, padded to 16) */
    const float *slope; /* PReLU, or NULL: linear */
} um_layer;

typedef struct um_mtcnn_kernels {
    const char *name;
    /* Packs a convolution C -> K of P-net from (K,C,3,3); returns the floats needed (packed NULL: only that). */
    size_t (*pnet_pack)(int n_in, int n_out, const float *weight, float *packed);
    size_t (*pnet_work)(int width_px); /* floats of working memory */
    /* One level of height x width px (both >= 12): all places with logit >= least, in no set order, at the end of *hits. level: (3, height, stride) with
     * (x - 127.5) / 128; up to UM_PNET_SLACK floats past each row are read and their content does not matter. */
    um_status (*pnet_level)(const um_pnet *net, float *work, const float *level, size_t stride, int height_px, int width_px, float least, um_pnet_hits *hits);
    /* From (run * rows, n_out) row-major to the kernel's order; returns the floats needed (packed NULL: only that). */
    size_t (*layer_pack)(int n_in, int n_out, const float *weight, float *packed);
    /* n outputs of `stride_out` floats; output i reads from in + offset[i], its runs row_step floats apart. Outputs are written in order and each may write up to
     * 15 floats past its own: the next one repairs them, and the buffer ends with room. */
    void (*layer)(const um_layer *l, const float *in, const uint32_t *offset, int n, size_t row_step, float *out, size_t stride_out);
    /* Max pooling, window k, stride 2, partial windows at the far edges count (ceil mode): (H,W,C) -> (P,Q,C). May write 15 floats past the end. */
    void (*pool)(const float *in, int height, int width, int n_channels, int k, float *out, int height_out, int width_out);
} um_mtcnn_kernels;

extern const um_mtcnn_kernels um_mtcnn_kernels_base, um_mtcnn_kernels_avx2, um_mtcnn_kernels_avx512;
