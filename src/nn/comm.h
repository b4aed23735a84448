#pragma once
/* comm.h: the two places where the ranks of a training run meet inside the network: sums of batch-norm statistics and sums of gradients. src/nn declares it, mpi/ fills it in (mpi/comm.h); NULL is the trainer of one rank.
 *
 * All ranks make the same calls in the same order (each is collective over the ranks of the member that is trained). After a call all ranks hold the same bits. `stream` is the backend's (NULL on a CPU): a device's module fills the
 * table with calls that are queued there. A communicator that breaks ends the job (class lost): no call returns an error.
 *
 * Order of the sum, where `tree`: ranks are the leaves of a binary tree, neighbours first: ((0+1)+(2+3)); the number of ranks is a power of two. The ranks' own lanes (src/nn/net.h) are summed in the same tree below that, so the result
 * does not depend on how many ranks share out the lanes.
 */
#include <stdbool.h>
#include <stddef.h>

enum { UM_COMM_MAX_PENDING = 64,
       UM_COMM_ID_BYTES = 128 }; /* by which ranks of a device's communicator find each other: NCCL's */

typedef struct um_comm {
    void *self;
    int rank, size;
    bool tree;
    /* v[i] = sum over ranks. Small messages: statistics, counts, flags. */
    void (*sum_f32)(void *self, float *v, size_t n, void *stream);
    void (*sum_f64)(void *self, double *v, size_t n, void *stream);
    /* The same, going on while the caller computes: begin with tickets 0, 1, 2... < UM_COMM_MAX_PENDING, each waited for once. v belongs to the call until then. */
    void (*begin_sum_f32)(void *self, float *v, size_t n, int ticket, void *stream);
    void (*wait)(void *self, int ticket, void *stream);
    /* Lets begun sums make progress where nothing else does (MPI without a thread of its own); cheap; may be called often. */
    void (*poll)(void *self);
} um_comm;
