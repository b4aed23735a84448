#pragma once
/* rank_sums.h: sums over the ranks that train one network, on memory of their GPUs (one GPU a rank), queued on streams: what training needs of NCCL. src declares it, mpi/nccl.c fills it in. For files of src/nn/cuda, mpi/nccl.c and tests only.
 *
 *     unsigned char id[UM_COMM_ID_BYTES];
 *     if (rank == 0) st = ops->id(id);                          // the caller sends it to the others over MPI, and agrees on st
 *     UM_PASS(ops->open(id, rank, size, patience_s, &s));       // together
 *     UM_PASS(ops->sum_f32(s, v, n, stream));                   // queued, or recorded in a graph
 *     ... while (cudaEventQuery(end) == cudaErrorNotReady) { UM_PASS(ops->check(s)); ... }   // never wait without looking: a rank that is lost is a wait without end
 *     destroy the graphs that hold sums; ops->close(s), or ops->break_off(s) after an error
 *
 * Communicators do not block: no call keeps the host for longer than patience_s, except that the first sum may be slow to start when NCCL connects the ranks (that has the same deadline). What is queued on a stream has no deadline of its own: the
 * caller's wait has.
 *
 * All ranks of a communicator make the same sums in the same order; between two communicators there is no order, but their sums must be able to run at the same time. The sums of all ranks are recorded in graphs, or those of none.
 * After a sum all ranks hold the same bits. Graphs that hold sums are destroyed before their communicator is closed or broken off, cudaGraph_t and cudaGraphExec_t (one that runs may be: it lives until it ends): NCCL waits for them,
 * without end where they live on. After break_off what was queued ends, and the content of what was to be summed is undefined; memory and streams can be given back then, not before: that waits for what is queued.
 *
 * All calls of one communicator from one thread at a time. Status of a failure: UM_CONFIG (no NCCL, or one that is too old: with the remedy; ranks that cannot reach each other), UM_STOPPED (a rank is silent past the deadline), UM_NO_MEMORY,
 * UM_INTERNAL (all that NCCL calls an error, a lost rank too); the text is NCCL's own, with the rank. */
#include "src/core/err.h"
#include "src/nn/comm.h"

#include <cuda_runtime_api.h>

typedef struct um_rank_sums um_rank_sums;
typedef struct um_rank_sums_ops {
    /* The name of a communicator that is to be made, by one of its ranks (it must be among them, and live until all have opened it). Local. */
    um_status (*id)(unsigned char id[UM_COMM_ID_BYTES]);
    /* rank is 0 to size - 1, each once; the GPU is the current one of the thread. patience_s: as above; 0: for ever. Collective over the `size` ranks. */
    um_status (*open)(const unsigned char id[UM_COMM_ID_BYTES], int rank, int size, double patience_s, um_rank_sums **out);
    /* v[i] = sum over ranks of v[i], in place in memory of the GPU; the same n on all ranks; n = 0 is nothing. Queued on the stream, or recorded where it is captured. */
    um_status (*sum_f32)(um_rank_sums *s, float *v, size_t n, cudaStream_t stream);
    um_status (*sum_f64)(um_rank_sums *s, double *v, size_t n, cudaStream_t stream);
    /* What went wrong behind the calls' backs, without waiting: UM_OK, also while all is under way. Local. */
    um_status (*check)(um_rank_sums *s);
    /* After an error or a deadline: ends what is under way on this rank, and frees s. NULL is fine. Local. */
    void (*break_off)(um_rank_sums *s);
    /* Waits for what is queued, at most the deadline (then it breaks off), and frees s. NULL is fine. Collective. */
    void (*close)(um_rank_sums *s);
    /* Of the library, as NCCL numbers it (22809: 2.28.9); 0: none. Local. */
    int (*version)(void);
} um_rank_sums_ops;

extern const um_rank_sums_ops um_rank_sums_nccl;
