#pragma once
/* train_member.h: one member of the ensemble: a network trained by the ranks of a world (a part of all ranks, or all).
 *
 * What the ranks hold in common, parameters, optimiser, counts, is the same on all, to the bit: each makes the same update from the same sums. So each rank decides alike whether a step is left out, and rank 0 alone writes.
 * The state that goes on is um_checkpoint's counters (io/checkpoint.h); everything else follows from it.
 */
#include "io/checkpoint.h"
#include "jobs/console.h"
#include "jobs/device.h"
#include "jobs/train_files.h"
#include "jobs/train_options.h"
#include "jobs/train_source.h"
#include "mpi/comm.h"
#include "src/train/trainer.h"

enum { UM_TRAIN_LANES = 4,    /* virtual ranks of --deterministic */
       UM_TRAIN_MAX_DEPTH = 1 }; /* um_trainer_ops.depth */

typedef struct um_train_step { /* what a step tells */
    double loss, fake, real, norm, rate;
    int64_t pictures, replaced;
    bool skipped;
} um_train_step;

typedef struct um_train_score { /* what validation tells; NaN where a side has no video */
    double fake, real, mean, weighted;
    int64_t videos, crops, damaged;
} um_train_score;

typedef struct um_train_member {
    um_job_context *ctx;
    um_world *w;          /* the ranks of this member */
    const um_train_options *o;
    const um_train_plan *plan;
    const um_train_data *data;
    const um_device *device; /* NULL: processors */
    int64_t seed;
    bool speaks;          /* this rank shows progress */
    /* with what */
    um_graph *graph;
    um_comm comm;
    um_pool *pool;
    const um_trainer_ops *ops;
    um_trainer *trainer;
    unsigned char ids[UM_TRAINER_IDS][UM_COMM_ID_BYTES]; /* of the ranks' sums on GPUs */
    um_optim *optim;
    um_train_source *source;
    um_loader *loader;
    um_train_files files;
    um_schedule schedule;
    const char *precision;
    int n_threads, n_lanes;
    /* the state */
    um_checkpoint state;  /* counters; its arrays are borrowed from here when it is written */
    float *params, *average; /* [param_count]; average NULL: none. While a trainer trains, what they hold is its own affair: um_trainer_ops.take */
    um_trainer_state trained;
    /* one batch: B pictures of all ranks, of which this rank has `n` from `first` on */
    int64_t batch, first;
    int n;
    double *message;
    float *logit, *target; /* of this rank, of all ranks */
    uint8_t *weight;
    um_train_step under_way[UM_TRAIN_MAX_DEPTH + 1]; /* steps begun, the oldest first */
    int n_under_way;
    /* the epoch in hand */
    int64_t epoch_pictures, epoch_steps;
    um_progress progress;
    um_status failed;     /* of this rank alone: told to the others at the next agreement */
} um_train_member;

/* Trains to the end, or until a signal. Collective over w; the same status on all its ranks. Errors: UM_STOPPED, UM_DATA, UM_CONFIG, UM_IO... */
um_status um_train_member_run(um_train_member *m);

/* ---- its parts, in files of their own ---- */

static inline bool um_train_member_on_gpus(const um_train_member *m) { return m->ops != &um_trainer_cpu; }

/* Everything up to the state to go on from. Collective. n_threads is set by the caller. */
um_status um_train_member_open(um_train_member *m);
/* Local. Returns the error of ending the log. */
um_status um_train_member_close(um_train_member *m);
/* Makes the order of the state's epoch, counts its steps, and starts the loader; um_loader_stop(m->loader) ends it. Collective. */
um_status um_train_member_begin_epoch(um_train_member *m);
/* Begins a step: `accumulate` batches, one update; with as many under way as the trainer takes, ends the oldest: *n is 1 and it is in *out; else *n is 0. UM_STOPPED: a signal asked any rank to stop; no step was begun. Collective. */
um_status um_train_member_step(um_train_member *m, um_train_step *out, int *n);
/* Ends the oldest step under way; *n is 0: there is none. Collective. */
um_status um_train_member_end(um_train_member *m, um_train_step *out, int *n);
/* Collective. UM_STOPPED as above. */
um_status um_train_member_validate(um_train_member *m, um_train_score *out);
/* Writes a checkpoint of the state. Collective. */
um_status um_train_member_save(um_train_member *m);
