#pragma once
/* train_net_parts.h: what train_net.c (finding, placing) and train_pass.c (queueing) share. */
#include "src/nn/cuda/gemm.h"
#include "src/nn/cuda/train_net.h"

/* out (pixels, k) = in (pixels, c) weight (k, c)': forward, derivative by `in`, by the weight. */
typedef struct um_gpu_product {
    int node, c, k;
    int64_t pixels;       /* of all pictures; 0: nothing is multiplied */
    bool adds;            /* the derivative by `in` is added to another */
    void *weight;         /* as products read it: bf16, or rows padded; NULL: the parameter itself */
    um_gpu_gemm *forward, *data, *gradient;
} um_gpu_product;

typedef struct um_gpu_batch_norm {
    int node, c, area;
    um_gpu_norm norm;
    double *message; /* 1 + 2C: count of all ranks' numbers a channel, set once; sums, of either way */
} um_gpu_batch_norm;

typedef struct um_gpu_bottleneck {
    um_bottleneck at;
    um_window dw;
    int c_in, c_squeezed, c_out, number; /* number: among those that drop */
    um_gpu_product expand, project;
    um_gpu_batch_norm norm[3];
    void *z1, *z2, *a2, *z3, *out; /* z1, z2, z3: outputs of the convolutions; a2: what the last one reads */
    float *means, *squeezed, *gate, *w_dw;
} um_gpu_bottleneck;

struct um_gpu_net {
    um_graph graph;     /* the caller's, with offsets of our own; params are ours */
    um_gpu_net_options o;
    size_t bytes;
    /* stem and head */
    int input, stem_act, head_in, head_act, dropout, dense;
    um_window stem_window;
    um_gpu_product stem, head;
    um_gpu_batch_norm stem_norm, head_norm;
    void *patches, *stem_z, *stem_out, *head_z;
    float *stem_gradient; /* (row, K): transposed */
    float *head_means, *d_means;
    um_gpu_bottleneck *block;
    int n_blocks, n_drops;
    float *keep;          /* (n_drops, n) */
    int *drop_node;
    float *drop_rate;     /* both of the device */
    /* between the phases of a way back; one block at a time */
    void *e[2], *e1, *e2; /* derivatives by block outputs; by z1, and by a2 */
    float *m, *parts;
    um_gpu_segment *segment, stem_segment; /* device; host, of the stem's gradient */
    um_gpu_segment *stem_back;             /* the same on the device */
    um_gpu_segment *segments;              /* host */
    int n_segments;
    int64_t n_segment_blocks, n_stem_blocks;
    void *scratch, *workspace;
    size_t scratch_bytes;
    /* of the pass that is queued */
    bool rehearsal, training;
    float *params, *grads;
    const um_gpu_moment *moment;
    int64_t whole;        /* gradients from here on are whole and told */
    cudaStream_t stream;
};

enum { UM_GPU_STEM_ROW_MULTIPLE = 8 };
static inline int um_gpu_stem_row(const um_gpu_net *n)
{
    int taps = n->stem_window.r * n->stem_window.s * n->stem_window.c;
    return (taps + UM_GPU_STEM_ROW_MULTIPLE - 1) / UM_GPU_STEM_ROW_MULTIPLE * UM_GPU_STEM_ROW_MULTIPLE;
}
static inline const um_node *um_gpu_node(const um_gpu_net *n, int i) { return &n->graph.node[i]; }
static inline int64_t um_gpu_offset(const um_gpu_net *n, int param) { return n->graph.param[param].offset; }
