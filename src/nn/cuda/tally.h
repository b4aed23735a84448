#pragma once
/* tally.h: what the kernels of a plan or of a training step move and compute, told kernel by kernel without running any. For files of src/nn/cuda, tests and benches.
 *
 * bytes: each operand read or written once, weights and sums too (scratch and halos not): what memory must move at least. flops: multiplications and additions of products and convolutions, 0 for all else, which memory decides.
 */
#include "src/nn/backend.h"

/* op: the name of the kernel without um_gpu_; node: of the graph, or -1. */
typedef void um_gpu_tally_fn(void *user, const char *op, int node, double bytes, double flops);

/* Of a kernel of um_backend_cuda: all that its run queues. */
void um_gpu_tally_kernel(const um_kernel *k, um_gpu_tally_fn *tally, void *user);
