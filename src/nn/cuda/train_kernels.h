#pragma once
/* train_kernels.h: the kernels of training, queued from C. For files of src/nn/cuda and their tests only.
 *
 * Maps are (N,H,W,C), contiguous, f32 or bf16 as `type` says, 16-byte aligned; all else is f32, but for sums over blocks and ranks, which are f64. All pointers are the device's unless a comment says otherwise. Arithmetic is f32. n may be 0:
 * sums are then 0. Each launcher queues on the stream, allocates nothing, waits for nothing, may be captured, and returns what cudaLaunchKernel said. It has a companion um_gpu_<op>_bytes: what it must read and write of its operands at least,
 * each counted once, weights and sums too (scratch and halos not), and, where it needs one, um_gpu_<op>_scratch: bytes of device memory, free again when it has run.
 *
 * Bits: no atomics; a block's sums go to scratch and are added in a written order that depends on the shape alone, so that results are a function of the arguments.
 *
 * A bottleneck in training (z1, z2, z3: outputs of expand, depthwise, project; act: swish; everything else is made anew where it is read):
 *     forward   z1 = GEMM(x); norm_stats(z1) -> norm_finish; depthwise_fwd (z1 -> z2 and its sums) -> norm_finish; norm_means(z2, act); se_fwd; norm_fwd(z2, act, gate -> a2); z3 = GEMM(a2); norm_stats -> norm_finish;
 *               norm_fwd(z3, keep, residual x -> out)
 *     backward  norm_bwd_sums(z3, e, keep) -> norm_data_finish; norm_bwd -> dz3; dA = GEMM(dz3), dW = GEMM(dz3, a2); se_bwd_sums(dA, z2); se_bwd -> sums -> norm_data_finish; depthwise_bwd (dA, z2, z1 -> du1, dW, sums) -> norm_data_finish;
 *               norm_bwd(z1, du1 -> dz1); GEMMs
 * The stem is patches, GEMM, norm_stats, norm_finish, norm_fwd(act); back norm_bwd_sums(act), norm_data_finish, norm_bwd(act), GEMM. The head is GEMM, norm_stats, norm_finish, norm_means(act), head_fwd, loss; back head_bwd,
 * norm_bwd_sums(act, e_mean), norm_data_finish, norm_bwd(act, e_mean), GEMMs.
 */
#include "src/nn/graph.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What changes from step to step, in device memory, so that a recorded step needs no new arguments: the host copies it there before each. */
typedef struct um_gpu_moment {
    uint64_t seed;
    int64_t step, first;        /* of net.h's um_net_batch: name the draws of dropout */
    double rate;                /* of learning */
    double scale, max_norm;     /* of gradients: 1 / micro-batches; the norm, behind `scale`, to which they are clipped, 0: none */
    double max_loss;            /* a step with a loss above it is skipped; 0: only one whose loss is not finite */
    int32_t head_only, round;   /* round: of the step's micro-batches, from 0 */
} um_gpu_moment;

/* ---- batch norm ----
 * um_norm of src/nn/train_ops.h in device memory: y = (x - mean) scale + bias; dx = scale dy + b (x - mean) + c. */
typedef struct um_gpu_norm {
    float *mean, *rstd, *scale, *bias; /* (C) */
    float *b, *c;                      /* (C): the way back; a is `scale` */
} um_gpu_norm;

/* sums (2C) f64: sum(z - about), sum((z - about)^2) over all pixels. */
typedef struct um_gpu_norm_stats_args {
    int n, area, c;
    um_dtype type;
    const void *z;
    const float *about; /* (C): the running mean */
    double *sums;
    void *scratch;
} um_gpu_norm_stats_args;
size_t um_gpu_norm_stats_scratch(const um_gpu_norm_stats_args *a);
size_t um_gpu_norm_stats_bytes(const um_gpu_norm_stats_args *a);
cudaError_t um_gpu_norm_stats(const um_gpu_norm_stats_args *a, cudaStream_t stream);

/* message[0] = value: the count of numbers a channel, before the sums, when ranks meet. */
cudaError_t um_gpu_norm_count(double *message, double value, cudaStream_t stream);

/* The statistics of the batch and the running values' step, from message (1 + 2C) f64 of all ranks: count, sums. Formulas: src/nn/net_norm.c. A count below 2 gives NaN: the host refuses such a batch. */
typedef struct um_gpu_norm_finish_args {
    int c;
    float eps, momentum;
    const double *message;
    const float *weight, *bias;
    float *running_mean, *running_var; /* moved on; about was running_mean */
    um_gpu_norm norm;
} um_gpu_norm_finish_args;
size_t um_gpu_norm_finish_bytes(const um_gpu_norm_finish_args *a);
cudaError_t um_gpu_norm_finish(const um_gpu_norm_finish_args *a, cudaStream_t stream);
/* The same from the running values: evaluation. message is not read, nothing moves. */
cudaError_t um_gpu_norm_running(const um_gpu_norm_finish_args *a, cudaStream_t stream);

/* norm.b, norm.c and the gradients of weight and bias from message (2C) f64 of all ranks: sum(dy), sum(dy xhat). */
typedef struct um_gpu_norm_data_finish_args {
    int c;
    bool first;            /* the first rank brings the gradients, others 0: they are summed over ranks */
    const double *count;   /* message[0] of the way forward */
    const double *message;
    um_gpu_norm norm;
    float *dweight, *dbias;
} um_gpu_norm_data_finish_args;
size_t um_gpu_norm_data_finish_bytes(const um_gpu_norm_data_finish_args *a);
cudaError_t um_gpu_norm_data_finish(const um_gpu_norm_data_finish_args *a, cudaStream_t stream);

/* out = act(norm(z)) gate(n,c) keep(n) + residual. act: NONE or SWISH. */
typedef struct um_gpu_norm_fwd_args {
    int n, area, c;
    um_dtype type;
    um_act act;
    const void *z;
    um_gpu_norm norm;
    const float *gate, *keep; /* (N,C), (N); NULL: 1 */
    const void *residual;     /* NULL: 0. May be `out` */
    void *out;
} um_gpu_norm_fwd_args;
size_t um_gpu_norm_fwd_bytes(const um_gpu_norm_fwd_args *a);
cudaError_t um_gpu_norm_fwd(const um_gpu_norm_fwd_args *a, cudaStream_t stream);

/* means (N,C) of act(norm(z)) over the area. */
typedef struct um_gpu_norm_means_args {
    int n, area, c;
    um_dtype type;
    um_act act;
    const void *z;
    um_gpu_norm norm;
    float *means;
    void *scratch;
} um_gpu_norm_means_args;
size_t um_gpu_norm_means_scratch(const um_gpu_norm_means_args *a);
size_t um_gpu_norm_means_bytes(const um_gpu_norm_means_args *a);
cudaError_t um_gpu_norm_means(const um_gpu_norm_means_args *a, cudaStream_t stream);

/* The derivative by u = norm(z) is du = e keep(n) act'(u), where e is a map, or e_mean(n,c) / area at every pixel.
 * norm_bwd_sums: sums (2C) f64: sum(du), sum(du xhat). norm_bwd: dz = scale du + b (z - mean) + c; dz may be `e` or `z`. */
typedef struct um_gpu_norm_bwd_args {
    int n, area, c;
    um_dtype type;
    um_act act;
    const void *z;
    um_gpu_norm norm;
    const void *e;       /* one of the two; NULL: the other */
    const float *e_mean; /* (N,C) */
    const float *keep;   /* (N); NULL: 1 */
    double *sums;        /* norm_bwd_sums */
    void *dz;            /* norm_bwd */
    void *scratch;       /* norm_bwd_sums */
} um_gpu_norm_bwd_args;
size_t um_gpu_norm_bwd_sums_scratch(const um_gpu_norm_bwd_args *a);
size_t um_gpu_norm_bwd_sums_bytes(const um_gpu_norm_bwd_args *a);
cudaError_t um_gpu_norm_bwd_sums(const um_gpu_norm_bwd_args *a, cudaStream_t stream);
size_t um_gpu_norm_bwd_bytes(const um_gpu_norm_bwd_args *a);
cudaError_t um_gpu_norm_bwd(const um_gpu_norm_bwd_args *a, cudaStream_t stream);

/* ---- depthwise convolution: R x R, R = 3 or 5, stride 1 or 2 ---- */

typedef struct um_gpu_depthwise_train_args {
    int n, h, w, c, p, q, r, stride, pad_top, pad_left;
    um_dtype type;
    const void *in;       /* (N,H,W,C) */
    bool normed;          /* the convolution reads swish(in_norm(in)), else `in` */
    um_gpu_norm in_norm;
    const float *weight;  /* (R,S,C) */
    /* forward */
    void *out;            /* (N,P,Q,C) */
    const float *about;   /* (C); sums (2C) f64 of `out` as stored: as norm_stats. NULL: not wanted */
    /* backward: out is z2, read. e is the derivative by a2 = swish(u2) gate, u2 = out_norm(z2); du2 = (e gate(n,c) + m(n,c)) swish'(u2), dz2 = scale du2 + b (z2 - mean) + c */
    const void *e;        /* (N,P,Q,C) */
    um_gpu_norm out_norm;
    const float *gate, *m; /* (N,C): m is what comes back through the gate's mean, as se_bwd leaves it */
    void *dx;             /* (N,H,W,C): normed: du1 = (the convolution's data gradient of dz2) swish'(u1), else the data gradient plus `add` */
    const void *add;      /* (N,H,W,C), not normed only; may be dx; NULL: 0 */
    float *dweight;       /* (C,1,R,S), as parameters lie */
    double *sums;         /* forward; backward and normed: (2C) f64: sum(du1), sum(du1 xhat1) */
    void *scratch;
} um_gpu_depthwise_train_args;
size_t um_gpu_depthwise_fwd_scratch(const um_gpu_depthwise_train_args *a);
size_t um_gpu_depthwise_fwd_bytes(const um_gpu_depthwise_train_args *a);
cudaError_t um_gpu_depthwise_fwd(const um_gpu_depthwise_train_args *a, cudaStream_t stream);
size_t um_gpu_depthwise_bwd_scratch(const um_gpu_depthwise_train_args *a);
size_t um_gpu_depthwise_bwd_bytes(const um_gpu_depthwise_train_args *a);
cudaError_t um_gpu_depthwise_bwd(const um_gpu_depthwise_train_args *a, cudaStream_t stream);

/* ---- squeeze and excite ---- */

enum { UM_GPU_SE_SUMS = 5 };
typedef struct um_gpu_se_args {
    int n, area, c, s;           /* area of the map that was averaged; s: squeezed channels */
    um_dtype type;
    const float *w_reduce, *b_reduce, *w_excite, *b_excite; /* (S,C), (S), (C,S), (C) */
    const float *means;          /* (N,C) */
    float *squeezed, *gate;      /* (N,S) before its swish, (N,C) behind its sigmoid: made by se_fwd, read by se_bwd */
    /* se_bwd_sums: one pass over e (derivative by a2) and z, N, 5, C: e act, e act', act', e act' xhat, act' xhat, summed over the area. du2's sums follow for any gate and m. */
    const void *e, *z;
    um_gpu_norm norm;            /* of z */
    float *parts;                /* (N,5,C) */
    /* se_bwd */
    float *m;                    /* (N,C): derivative by the means / area */
    double *sums;                /* (2C) f64: sum(du2), sum(du2 xhat2) */
    float *dw_reduce, *db_reduce, *dw_excite, *db_excite;
    void *scratch;
} um_gpu_se_args;
size_t um_gpu_se_fwd_bytes(const um_gpu_se_args *a);
cudaError_t um_gpu_se_fwd(const um_gpu_se_args *a, cudaStream_t stream);
size_t um_gpu_se_bwd_sums_scratch(const um_gpu_se_args *a);
size_t um_gpu_se_bwd_sums_bytes(const um_gpu_se_args *a);
cudaError_t um_gpu_se_bwd_sums(const um_gpu_se_args *a, cudaStream_t stream);
size_t um_gpu_se_bwd_scratch(const um_gpu_se_args *a);
size_t um_gpu_se_bwd_bytes(const um_gpu_se_args *a);
cudaError_t um_gpu_se_bwd(const um_gpu_se_args *a, cudaStream_t stream);

/* ---- input ---- */

/* The stem's windows as rows: out(n p q, row) = (in / 255 - mean) / std of the window in the order r, s, c; 0 outside of the picture and from R S C on. Forward and backward of the stem are products with it, weights as (K, row).
 * R = S = stride = 1 and row = C: a plain conversion. */
typedef struct um_gpu_patches_args {
    int n, h, w, c, p, q, r, s, stride, pad_top, pad_left; /* c <= 3 */
    int row;                                               /* >= r s c */
    um_dtype type;
    const uint8_t *in;
    float mean[3], std[3];
    void *out;
} um_gpu_patches_args;
size_t um_gpu_patches_bytes(const um_gpu_patches_args *a);
cudaError_t um_gpu_patches(const um_gpu_patches_args *a, cudaStream_t stream);

/* ---- drop-path, head, loss ---- */

/* keep(i, n) of drop-path node[i]: 0 with probability rate[i], else 1 / (1 - rate[i]): um_net_keep. */
typedef struct um_gpu_keep_args {
    int n_nodes, n;
    const int *node;
    const float *rate;
    const um_gpu_moment *moment;
    float *keep; /* (n_nodes, N) */
} um_gpu_keep_args;
size_t um_gpu_keep_bytes(const um_gpu_keep_args *a);
cudaError_t um_gpu_keep(const um_gpu_keep_args *a, cudaStream_t stream);

/* logit(n) = sum over c of means(n,c) drop(n,c) weight(c) + bias. drop: as net_ops.c draws for `node`. */
typedef struct um_gpu_head_args {
    int n, c, node;
    float rate;             /* of dropout; 0: none */
    const um_gpu_moment *moment;
    const float *means, *weight, *bias;
    float *logit;
    /* head_bwd */
    const float *d_logit;   /* (N) */
    float *d_means;         /* (N,C) */
    float *dweight, *dbias; /* (C), (1) */
} um_gpu_head_args;
size_t um_gpu_head_fwd_bytes(const um_gpu_head_args *a);
cudaError_t um_gpu_head_fwd(const um_gpu_head_args *a, cudaStream_t stream);
size_t um_gpu_head_bwd_bytes(const um_gpu_head_args *a);
cudaError_t um_gpu_head_bwd(const um_gpu_head_args *a, cudaStream_t stream);

typedef struct um_gpu_loss_result {
    double loss, fake, real;   /* NaN where a logit that takes part is not finite */
    int64_t n_fake, n_real;
} um_gpu_loss_result;
/* um_loss_batch of src/train/loss.h, options by the same names, on the logits of all ranks. */
typedef struct um_gpu_loss_args {
    int n;
    double bce_weight, focal_weight, focal_gamma, smoothing;
    int64_t ohem_k;
    const float *logit, *target;
    const uint8_t *weight;
    float *d_logit;
    um_gpu_loss_result *result;  /* result[moment->round] */
    const um_gpu_moment *moment; /* NULL: round 0 */
    void *scratch;
} um_gpu_loss_args;
size_t um_gpu_loss_scratch(const um_gpu_loss_args *a);
size_t um_gpu_loss_bytes(const um_gpu_loss_args *a);
cudaError_t um_gpu_loss(const um_gpu_loss_args *a, cudaStream_t stream);

/* ---- parameters ---- */

/* A tensor of the flat array rewritten as kernels want it: element (i,j,k) of dims goes to out + i step[0] + j step[1] + k step[2]. (K,C,R,S) -> (K,R,S,C): dims {K, C, RS}, steps {RSC, 1, C}; depthwise (C,1,R,S) -> (R,S,C): {1, C, RS}, {0, 1, C}. */
typedef struct um_gpu_segment {
    int64_t from;        /* element of the parameters */
    void *to;
    int32_t type;        /* um_dtype of `to`: F32 or BF16 */
    int32_t dims[3];
    int64_t step[3];
    int64_t first_block; /* filled in by um_gpu_segments_plan */
} um_gpu_segment;
/* On the host: fills in first_block; the blocks of all. */
int64_t um_gpu_segments_plan(um_gpu_segment *segment, int n);
typedef struct um_gpu_weights_args {
    const float *params;
    const um_gpu_segment *segment; /* device */
    int n_segments;
    int64_t n_blocks;
} um_gpu_weights_args;
size_t um_gpu_weights_bytes(const um_gpu_segment *segment, int n); /* host */
cudaError_t um_gpu_weights(const um_gpu_weights_args *a, cudaStream_t stream);

/* ---- optimiser: src/train/optim.h on the device ---- */

typedef enum um_gpu_rule { UM_GPU_SGD, UM_GPU_ADAMW, UM_GPU_RMSPROP } um_gpu_rule;
enum { UM_GPU_PIECE = 4096 };
typedef struct um_gpu_piece { /* neighbours of one kind */
    int64_t at;
    int32_t n;
    uint8_t head, trained;
} um_gpu_piece;
/* On the host: the pieces of a graph's parameters into piece (NULL: counted only). */
int64_t um_gpu_pieces(const um_graph *g, um_gpu_piece *piece);

/* In device memory; zeros at first, or what a checkpoint kept. */
typedef struct um_gpu_opt_state {
    int64_t n_head, n_encoder;    /* updates, as um_optim_state */
    int64_t n_average;            /* of the average before this one */
    int64_t n_skipped;
    double norm;                  /* of the last gradients, times `scale` of the moment */
    int32_t ok;                   /* 1: this step is taken. 0: a loss or a trained gradient is not finite, or a loss too large; parameters, moments and average stay */
    int32_t reserved;
    float scale, rate;            /* of this step */
    float correction[2][2], fresh;
} um_gpu_opt_state;
typedef struct um_gpu_opt_args {
    um_gpu_rule rule;
    bool nesterov;
    double momentum, weight_decay, beta1, beta2, alpha, eps;
    double average_decay;          /* of the average */
    int64_t param_count, n_pieces;
    const um_gpu_piece *piece;
    const um_gpu_moment *moment;
    const um_gpu_loss_result *loss; /* [n_losses], of the micro-batches */
    int n_losses;                  /* 0: gradients alone say whether the step is taken */
    float *params, *slot[2];       /* slots as um_optim_state; NULL where the rule has none */
    const float *grads;
    float *average;                /* NULL: none */
    um_gpu_opt_state *state;
    void *scratch;
} um_gpu_opt_args;
size_t um_gpu_opt_scratch(const um_gpu_opt_args *a);
size_t um_gpu_opt_bytes(const um_gpu_opt_args *a);
/* sum[i] += grads[i] (first: =): micro-batches. */
cudaError_t um_gpu_accumulate(float *sum, const float *grads, int64_t count, bool first, cudaStream_t stream);
/* Norm and check of the gradients, clipping, the update, the average: um_optim_norm, um_optim_clip, um_optim_step, um_optim_average. */
cudaError_t um_gpu_opt(const um_gpu_opt_args *a, cudaStream_t stream);

/* Running statistics are moved by the way forward, before it is known whether the step is taken. save: those of all pieces that are not trained into `saved` (as they follow each other). restore, after um_gpu_opt: back, if state->ok is 0. */
typedef struct um_gpu_running_args {
    int64_t n_pieces;
    const um_gpu_piece *piece;
    const int64_t *saved_at;       /* [n_pieces]: where in `saved`; -1: trained. um_gpu_running_plan fills it in on the host */
    float *params, *saved;
    const um_gpu_opt_state *state; /* NULL: save, else restore */
} um_gpu_running_args;
/* On the host: numbers in all. */
int64_t um_gpu_running_plan(const um_gpu_piece *piece, int64_t n, int64_t *saved_at);
cudaError_t um_gpu_running(const um_gpu_running_args *a, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
