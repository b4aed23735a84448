#pragma once
/* queue.h: units of work shared out among ranks, each done exactly once.
 *
 *     um_queue_open(world, cost, n, &q);           // collective
 *     while ((st = um_queue_next(q, &unit)) == UM_OK) {
 *         ... work, calling um_queue_poll(q) between frames, at least every 50 ms ...
 *         um_queue_done(q, work, n_videos, n_bad);
 *     }
 *     um_queue_close(q, &stats);                           // collective, also after an error of this rank
 *
 * Rank 0 sorts the units by cost, deals them out (largest first, one to each rank in turn) and scatters the shares. A rank whose
 * share runs out asks others, in an order of its own, for half of what they have left; it asks while it still works on its last
 * unit, so that the answer is there when it ends. Two-sided messages only: one-sided MPI fails over TCP with Debian's Open MPI
 * (reliability 15).
 *
 * Why no unit is lost or done twice: a unit is at every moment in exactly one place: in one rank's share, or in one answer to a
 * request that its sender waits for before it may leave. Why it ends: a rank leaves um_queue_next only with a unit, or, its share
 * empty and no request of its own open, after every rank it may ask (all, or 64 drawn by lot when there are more) has said in turn
 * that it has none; a unit given away starts the round again, and there are finitely many units. It then goes on answering in
 * um_queue_close until all ranks are there (a non-blocking barrier), after which no request can be on its way.
 */
#include "mpi/world.h"

#include <stdint.h>

typedef struct um_queue um_queue;

typedef struct um_queue_stats {
    int64_t units_first;  /* dealt to this rank at the start */
    int64_t units_taken;  /* from others later */
    int64_t units_given;  /* to others */
    double waited_s;      /* in um_queue_next without work, and in um_queue_close for the others */
    double longest_gap_s; /* longest time between two polls: what somebody may have had to wait for an answer */
} um_queue_stats;

/* cost: [n], on rank 0 only (others pass NULL and n is ignored). Collective over w. Errors: UM_NO_MEMORY (agreed). */
um_status um_queue_open(um_world *w, const int64_t *cost, int64_t n, um_queue **out);
/* The next unit (index into cost), UM_END when there is none any more. Local, but answers others while it waits. */
um_status um_queue_next(um_queue *q, int64_t *unit);
/* Answers what others ask. Cheap when nothing is there. Local. */
void um_queue_poll(um_queue *q);
/* Says that a unit is finished; `work` is what rank 0 adds up (cost of the unit, by convention). Local. */
void um_queue_done(um_queue *q, int64_t work, int64_t n_videos, int64_t n_bad);
/* Ends the taking of units: um_queue_next gives UM_END from now on, what is left in the share is not done (a signal asked to stop).
 * Others may still take it. Local. */
void um_queue_stop(um_queue *q);
/* Rank 0: finished so far over all ranks, as far as it has heard. */
void um_queue_progress(const um_queue *q, int64_t *units, int64_t *work, int64_t *videos, int64_t *bad);
/* Collective over w: every rank calls it once, whatever happened to it. Frees q. */
void um_queue_close(um_queue *q, um_queue_stats *stats);
