#pragma once
/* train_net.h: an EfficientNet in training on the device: where its maps lie, and its passes as kernels queued on a stream. For files of src/nn/cuda and their tests only.
 *
 *     um_gpu_net *n; UM_PASS(um_gpu_net_new(graph, &options, &n));          // finds stem, bottlenecks, head; measures; nothing of the device yet
 *     UM_PASS(um_gpu_net_place(n, memory, grads, moment));                  // um_gpu_net_bytes(n) of the device; chooses the products' algorithms
 *     UM_PASS(um_gpu_net_weights(n, params, stream));                       // then, within a capture or not:
 *     UM_PASS(um_gpu_net_forward(n, params, images, logits, true, stream));
 *     UM_PASS(um_gpu_net_backward(n, params, d_logits, false, stream));
 *
 * The order of kernels is that of train_kernels.h. Of a bottleneck, the outputs of its three convolutions, the gated map and the block's output are kept for the way back; all else is made anew where it is read, or lies where the next
 * block puts its own.
 *
 * Parameters lie in flat arrays of um_gpu_net_count numbers: as the graph's, but each begins at a multiple of 16 bytes, as products want it (um_gpu_net_at). What lies between is never read.
 *
 * Batch norm over ranks as in net.h, but that the count of numbers does not travel with the sums: a rank's part of the batch is the same in every step, and known to all.
 */
#include "src/nn/bottleneck.h"
#include "src/nn/cuda/device.h"
#include "src/nn/cuda/tally.h"
#include "src/nn/cuda/train_kernels.h"

typedef struct um_gpu_net_options {
    um_dtype precision; /* of maps, and of the weights of products */
    int n;              /* pictures of this rank; 0 is fine */
    int64_t batch, first; /* of all ranks; this rank's first one of them. batch >= 2 */
    float mean[3], std[3], bn_momentum;
    bool others;        /* not the first rank: the gradients of batch norm's parameters, which are all ranks' sums already, are left to that one */
    /* v[i] = sum over ranks, queued on the pass's stream: batch norm's; NULL: one rank. */
    um_status (*sum)(void *user, double *v, size_t n, cudaStream_t stream);
    int bucket_bytes;            /* 0: 25 MB */
    /* Called while a pass backward is queued, when the gradients [from, to) will be whole; from the end to the beginning, once each (the frozen encoder's: never). */
    um_status (*ready)(void *user, float *grads, int64_t from, int64_t to, cudaStream_t stream);
    void *user;
    um_gpu_tally_fn *tally; /* not NULL: told of each kernel of a step, forward and backward, by um_gpu_net_new */
} um_gpu_net_options;

typedef struct um_gpu_net um_gpu_net;
/* g stays the caller's and must outlive the net. Errors: UM_CONFIG (a graph of another kind), UM_NO_MEMORY. Touches no device. */
um_status um_gpu_net_new(const um_graph *g, const um_gpu_net_options *o, um_gpu_net **out);
void um_gpu_net_free(um_gpu_net *n);
/* Of the device: what um_gpu_net_place wants. */
size_t um_gpu_net_bytes(const um_gpu_net *n);
/* memory: 256-byte aligned, the caller's. grads: where passes backward leave the gradients; the running statistics' are never written. moment: of the device; names the draws of dropout. Waits. Errors: UM_INTERNAL (no algorithm for a product). */
um_status um_gpu_net_place(um_gpu_net *n, void *memory, float *grads, const um_gpu_moment *moment);

/* The graph with the flat arrays' own offsets. Borrowed. */
const um_graph *um_gpu_net_graph(const um_gpu_net *n);
int64_t um_gpu_net_count(const um_gpu_net *n);

/* Each queues; may be captured. All pointers are the device's, images (n,H,W,3) U8. */
/* The weights as kernels want them, from params; before the first pass with these. */
um_status um_gpu_net_weights(um_gpu_net *n, const float *params, cudaStream_t stream);
/* logits: [n]. training: statistics of the batch, which move params' running ones; drop-path and dropout. Else running statistics, and no meeting of ranks. */
um_status um_gpu_net_forward(um_gpu_net *n, float *params, const uint8_t *images, float *logits, bool training, cudaStream_t stream);
/* After a forward pass in training. d_logits: [n], of the loss of all ranks. head_only: gradients of what stands behind the last batch norm, all others are left as they are. */
um_status um_gpu_net_backward(um_gpu_net *n, const float *params, const float *d_logits, bool head_only, cudaStream_t stream);
