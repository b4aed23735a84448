#pragma once
/* loader.h: threads that make the pictures of coming batches while the step computes.
 *
 *     um_loader *l; UM_PASS(um_loader_new(&options, &l));
 *     UM_PASS(um_loader_begin(l, &run));                       // threads begin with run.first_batch
 *     while ((st = um_loader_next(l, &batch)) == UM_OK) ...;   // batch after batch; UM_END after the last
 *     um_loader_stop(l);                                       // also in the middle
 *     um_loader_free(l);
 *
 * A picture is made by a function of the caller that must depend on the picture's number only; then a batch is the same whichever threads made it, and in whatever order. Threads sleep while `depth` batches wait to be taken.
 * Signals are blocked in them. One caller at a time.
 */
#include "src/core/err.h"

#include <stdint.h>

/* Makes picture `number` into image; target and weight are what src/train/loss.h wants. thread: 0 .. n_threads - 1. Called by several threads at once. */
typedef um_status um_loader_make(void *user, int64_t number, int thread, uint8_t *image, float *target, uint8_t *weight);

typedef struct um_loader_options {
    int n_threads;      /* at least 1 */
    int depth;          /* batches that may be ready or in the making, the one in use included; at least 2 */
    int max_batch;      /* pictures */
    size_t image_bytes; /* of one */
} um_loader_options;

typedef struct um_loader_run { /* batch b of this rank: pictures [b * stride + offset, + n), those below `end` */
    um_loader_make *make;
    void *user;
    int64_t first_batch, end_batch;
    int64_t stride, offset, end;
    int n; /* at most max_batch */
} um_loader_run;

typedef struct um_loader_batch { /* borrowed until the next call */
    const uint8_t *images; /* (n, image_bytes) */
    float *target;         /* [n] */
    uint8_t *weight;       /* [n] */
    int64_t number, first; /* of the batch, of its first picture */
    int n;                 /* may be 0 */
} um_loader_batch;

typedef struct um_loader um_loader;
um_status um_loader_new(const um_loader_options *o, um_loader **out);
void um_loader_free(um_loader *l);
/* After um_loader_new, um_loader_stop, or UM_END. */
um_status um_loader_begin(um_loader *l, const um_loader_run *run);
/* UM_END after the last. Otherwise the status and error chain of the first picture of the batch that failed; the next call gives the next batch. */
um_status um_loader_next(um_loader *l, um_loader_batch *out);
void um_loader_stop(um_loader *l);
/* Seconds since um_loader_new that um_loader_next has waited. */
double um_loader_waited_s(const um_loader *l);
