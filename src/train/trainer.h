#pragma once
/* trainer.h: steps of training, on processors or on a GPU: a batch in, the network better by one update.
 *
 *     um_trainer *t; UM_PASS(ops->open(graph, &options, &t));
 *     UM_PASS(ops->join(t));                                         // meets the other ranks
 *     UM_PASS(ops->put(t, &state));                                  // goes on from it
 *     for each step:
 *         for (r = 0; r < rounds; r++) UM_PASS(ops->begin(t, &step, r, &batch));
 *         UM_PASS(ops->end(t, &result));                             // of the oldest step that was begun; a device may have `depth` more of them under way
 *     UM_PASS(ops->take(t));                                         // the state's arrays hold what there is now
 *     ops->close(t);
 *
 * A step: `rounds` batches forward and backward; the gradients' mean, its norm, clipping, the update, the moving average. It is left out, running statistics and all, where a batch's loss is not finite or above max_loss, or a gradient is
 * not finite. All ranks of a member make the same calls, and find the same numbers.
 *
 * Collective over the ranks: join, begin, end, close. A rank that lost the others says so with um_trainer_result.lost (UM_STOPPED: it waited in vain); then nothing that needs them may follow.
 */
#include "src/core/pool.h"
#include "src/nn/comm.h"
#include "src/nn/graph.h"
#include "src/train/loss.h"
#include "src/train/optim.h"

/* Picture i of n pictures in `parts` parts: where part i begins. */
static inline int64_t um_train_cut(int64_t n, int64_t i, int64_t parts) { return n * i / parts; }

enum { UM_TRAINER_IDS = 2 };

typedef struct um_trainer_options {
    um_dtype precision;
    int n;                   /* pictures of this rank in a batch of training; at most these in one of evaluation */
    int64_t batch, first;    /* pictures of all ranks; this rank's first */
    int rounds;
    float mean[3], std[3], bn_momentum;
    um_loss_options loss;
    double clip, max_loss, ema; /* 0: no clipping; no limit; of the average */
    /* processors */
    int n_lanes;             /* src/nn/net.h */
    um_pool *pool;
    const um_comm *comm;     /* NULL: one rank */
    /* a device */
    um_optim_options optim;  /* of the state's um_optim */
    int rank, size;
    const unsigned char (*ids)[UM_COMM_ID_BYTES]; /* [UM_TRAINER_IDS]: what the ranks find each other by, of um_gpu_module.comm_id; size > 1 */
    double patience_s;       /* how long a step may wait for other ranks; 0: for ever */
    bool in_order;           /* sums over ranks one after the other, on one communicator: nothing of them overlaps the way backward */
} um_trainer_options;

/* The caller's arrays: what a checkpoint keeps. Between put and take a trainer may compute in them. */
typedef struct um_trainer_state {
    float *params, *average; /* [param_count]; average NULL: none */
    um_optim *optim;         /* processors */
    um_optim_state *remembered; /* um_optim_get_state(optim) */
    int64_t average_updates;
} um_trainer_state;

typedef struct um_trainer_step {
    uint64_t seed;
    int64_t step;            /* updates and steps left out before this one */
    double rate;
    bool head_only;
} um_trainer_step;

typedef struct um_trainer_batch {
    const uint8_t *images;                        /* (n,H,W,3) U8 of this rank */
    const float *target; const uint8_t *weight;   /* [batch] of all ranks: src/train/loss.h */
} um_trainer_batch;

typedef struct um_trainer_result {
    double loss, fake, real; /* means over the rounds */
    double norm;             /* of the gradient before clipping */
    bool skipped, lost;
} um_trainer_result;

typedef struct um_trainer um_trainer;
typedef struct um_trainer_ops {
    const char *name; /* "cpu", "cuda" */
    int depth;        /* steps that may be under way beside the one that is ended next */
    bool (*has)(um_dtype precision);
    /* graph stays the caller's. Errors: UM_CONFIG (what this one cannot train), UM_NO_MEMORY (with the batch that there is room for), UM_INTERNAL. */
    um_status (*open)(const um_graph *g, const um_trainer_options *o, um_trainer **out);
    /* Once, before the first step. A rank where it fails must end the job: the others may wait for it. */
    um_status (*join)(um_trainer *t);
    void (*close)(um_trainer *t); /* NULL is fine */
    size_t (*bytes)(const um_trainer *t);
    /* state stays the caller's, and its arrays too. Nothing under way. Local. */
    um_status (*put)(um_trainer *t, um_trainer_state *state);
    um_status (*take)(um_trainer *t);
    /* What batch points to may be used again when it returns. */
    um_status (*begin)(um_trainer *t, const um_trainer_step *s, int round, const um_trainer_batch *batch);
    um_status (*end)(um_trainer *t, um_trainer_result *out);
    /* logits [n] of n pictures, by the average if there is one, with running statistics. Nothing under way. Local. */
    um_status (*evaluate)(um_trainer *t, const uint8_t *images, int n, float *logits);
} um_trainer_ops;

extern const um_trainer_ops um_trainer_cpu;
