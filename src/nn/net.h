#pragma once
/* net.h: a graph in training: forward with batch statistics, backward, gradients of all parameters.
 *
 *     um_net *n; UM_PASS(um_net_new(graph, &options, &n));
 *     for each step:
 *         UM_PASS(um_net_forward(n, params, &batch, logits));          // batch norm over all lanes of all ranks; running statistics in params move on
 *         ... loss: d_logits ...
 *         UM_PASS(um_net_backward(n, params, &batch, d_logits, grads));// grads: summed over all lanes of all ranks
 *     UM_PASS(um_net_evaluate(n, params, &batch, logits));             // running statistics, no dropout
 *
 * Lanes: the pictures of a rank's batch are divided into lanes, each computed by one thread at a time; sums over pictures (batch-norm statistics, weight gradients) are first made within a lane, in an order the code writes down, then
 * over the lanes in a binary tree (neighbours first), then over the ranks (src/nn/comm.h). So bits depend on how pictures lie in lanes, not on threads; and four lanes give the same bits on 1, 2 or 4 ranks where the communicator sums in
 * the same tree. Lanes may differ in size and be empty (also all lanes of a rank): counts travel with the sums.
 *
 * Batch norm in training (Ioffe, Szegedy 2015): mean and biased variance over N,H,W of all lanes of all ranks, from one message of 2C + 1 f64: count, sum(x - m), sum((x - m)^2), with m the running mean: E[x^2] - E[x]^2 about 0
 * cancels in f32. Backward: one message of 2C f64: sum(dy), sum(dy * xhat). Running values as PyTorch: r = (1 - momentum) r + momentum v, variance unbiased (count / (count - 1)). A batch of fewer than two numbers a channel is refused
 * (UM_DATA) by all ranks in the same call.
 * Frozen (freeze_encoder): parameters outside the head, which is what stands behind the last batch norm, get zero gradients and no backward work; batch norm still normalises with and updates batch statistics, as the reference's frozen
 * encoder in train mode does.
 *
 * A number that is not finite is no error here: it comes out in the logits or gradients, of all ranks, and nothing of it is left in the net for the next step; but running values have moved, so that a trainer who skips a step keeps
 * theirs. docs/numerics.md says in which order everything is summed.
 *
 * Dropout and drop-path draw from Philox by (seed, step, node, global index of the picture in the batch): the same on any rank.
 */
#include "src/core/pool.h"
#include "src/nn/comm.h"
#include "src/nn/graph.h"

typedef struct um_net_options {
    const char *backend; /* "cpu", "ref" */
    int max_batch;       /* pictures of this rank in one step */
    int n_lanes;         /* of this rank; 1 .. UM_NET_MAX_LANES */
    um_dtype precision;  /* UM_F32. UM_BF16 (maps kept in bf16, arithmetic and parameters f32) is refused by both backends: UM_CONFIG */
    float mean[3], std[3];
    float bn_momentum;   /* 0.1: PyTorch's default, timm's for tf_efficientnet */
    int bucket_bytes;    /* gradients are summed over ranks in buckets of about this size, last layers first, while backward goes on; 0: 25 MB */
    um_pool *pool;       /* lanes run on its threads; NULL: one after another */
    const um_comm *comm; /* NULL: one rank */
} um_net_options;
enum { UM_NET_MAX_LANES = 64 };

typedef struct um_net_batch {
    const uint8_t *images; /* (n,H,W,3) U8 RGB of this rank, lane after lane */
    const int *lane_count; /* [n_lanes] pictures of each lane; their sum is at most max_batch */
    int64_t first;         /* index of this rank's first picture in the batch of all ranks: names the draws of dropout */
    uint64_t seed;
    int64_t step;          /* counts micro-batches over the whole run */
    bool freeze_encoder;
} um_net_batch;

typedef struct um_net um_net;
/* g stays the caller's and must outlive the net. Errors: UM_CONFIG (backend, precision), UM_DATA (a graph that does not end in one logit), UM_NO_MEMORY. */
um_status um_net_new(const um_graph *g, const um_net_options *o, um_net **out);
void um_net_free(um_net *n);
size_t um_net_bytes(const um_net *n); /* activations and scratch of this rank */
/* params: [g->param_count] f32, in the graph's order; BN_MEAN and BN_VAR are updated. logits: [n] of this rank. Collective over the comm. Allocates nothing. */
um_status um_net_forward(um_net *n, float *params, const um_net_batch *b, float *logits);
/* Once after um_net_forward of the same batch, with nothing between: activations are used up on the way. d_logits: [n], the derivative of the loss of all ranks. grads: [g->param_count], overwritten; BN_MEAN and BN_VAR get 0. Collective over the comm. */
um_status um_net_backward(um_net *n, const float *params, const um_net_batch *b, const float *d_logits, float *grads);
/* Logits with running statistics, without dropout. A logit depends on its picture and params alone. Overwrites the activations of a forward pass. Local. */
um_status um_net_evaluate(um_net *n, const float *params, const um_net_batch *b, float *logits);
/* Seconds since um_net_new that were spent waiting in the comm. */
double um_net_comm_s(const um_net *n);
