#pragma once
/* traffic.h: what the ranks of a training run tell each other in a step, counted from the graph, and how long a network takes over it.
 *
 * What is sent is what src/nn/net.c and jobs/train_step.c send: forward, a batch norm of C channels sums 2C + 1 f64 over the ranks, backward 2C; the gradients of all parameters (f32, also the places of running statistics, which are 0)
 * go in buckets; the loss takes 3 f64 a picture of the whole batch, and three numbers say whether all are well.
 *
 * Times (Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, 2005) of an all-reduce of n bytes over R ranks, a seconds of latency, w bytes/s of one link:
 *     small, recursive doubling   ceil(log2 R) (a + n / w)
 *     large, ring                 2 (R - 1) a + 2 (R - 1) / R n / w
 * A rank has a link of its own here; ranks of one machine that share one divide w among them (um_network.sharing). What adding costs, and what overlaps with computing, is left out.
 */
#include "src/nn/graph.h"

typedef struct um_traffic {
    int64_t parameters;
    int n_norms;             /* batch norms: as many messages forward, as many backward */
    int64_t norm_channels;   /* of all of them together */
    int64_t norm_bytes;      /* of all their messages of one micro-batch */
    int64_t gradient_bytes;  /* of one micro-batch */
    int n_buckets;
    int64_t loss_bytes;      /* of one micro-batch */
    int n_messages;          /* small ones: batch norms, loss, flags */
} um_traffic;

/* batch: pictures of all ranks in one micro-batch. bucket_bytes: 0 is the net's 25 MB. Local. */
void um_traffic_count(const um_graph *g, int64_t batch, int64_t bucket_bytes, um_traffic *out);

typedef struct um_network {
    double latency_s, bytes_s;
    int sharing; /* ranks that share a link; 0 is 1 */
} um_network;

/* Seconds an all-reduce takes: the faster of both ways. */
double um_network_sum_s(const um_network *w, int n_ranks, double bytes);
/* Seconds of communication of one micro-batch. `small_s`: batch norms, loss and flags, which nothing hides; `gradient_s`: what backward may hide. */
double um_traffic_s(const um_traffic *t, const um_network *w, int n_ranks, double *small_s, double *gradient_s);
/* The fewest ranks, a power of two up to `most`, whose communication takes longer than a step computes; 0: none up to there. */
int um_traffic_limit(const um_traffic *t, const um_network *w, double step_s, int most);
