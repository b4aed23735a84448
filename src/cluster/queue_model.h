#pragma once
/* queue_model.h: mpi/queue.c played through without ranks: how evenly units of given costs are shared out, for any number of ranks.
 *
 * The rules are the queue's own: rank 0 sorts by key and deals the units out in turn, largest first; a rank works its share from the front; when the last unit of its share is in hand it asks others, in an order of its own (Philox, the
 * queue's stream), for half of what they have left, from the end, at most UM_QUEUE_MODEL_GIVE; one that works answers at its next poll, and keeps a single unit that is left for itself where the asker still works; refused by all (at most
 * UM_QUEUE_MODEL_ASK of them) an idle rank leaves. What is not modelled: the time a message takes to be looked at beyond the polls, and a network that many messages at once make slow.
 *
 * A pure function of its arguments: no clock, no state between calls. Local.
 */
#include "src/core/err.h"

#include <stdint.h>

enum { UM_QUEUE_MODEL_GIVE = 256, UM_QUEUE_MODEL_ASK = 64, UM_QUEUE_MODEL_MAX_RANKS = 1 << 16 };

typedef struct um_queue_model {
    int n_ranks;      /* 1 .. UM_QUEUE_MODEL_MAX_RANKS */
    double latency_s; /* of a message one way */
    double poll_s;    /* between two polls of a rank at work */
    double nap_s;     /* between two polls of a rank that waits; 0: 200 us, the queue's */
    double deal_s;    /* what dealing out costs rank 0 for each rank: rank r begins r times as late; 0: latency_s */
} um_queue_model;

typedef struct um_queue_forecast {
    double wall_s;     /* until the last rank has worked its last unit */
    double bound_s;    /* no schedule is faster: the larger of the mean load of a rank and the largest unit */
    double mean_s;     /* total / ranks */
    double largest_s;  /* the largest unit */
    double efficiency; /* total / (ranks x wall); 1 where there is nothing to do */
    double ready_s;    /* until the first rank has nothing to do any more */
    int64_t messages;  /* asks and answers */
    int64_t moved;     /* units that changed ranks */
    int64_t most;      /* units of the rank that worked the most of them */
} um_queue_forecast;

/* cost_s: [n] seconds each unit takes, not negative. key: [n] what the queue sorts by (bytes); NULL: in order of cost. Errors: UM_NO_MEMORY, UM_USAGE (ranks, a cost that is negative or no number). */
um_status um_queue_model_run(const um_queue_model *m, const double *cost_s, const int64_t *key, int64_t n, um_queue_forecast *out);
