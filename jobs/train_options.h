#pragma once
/* train_options.h: what a training run is told: the command line, the JSON configuration of --config (the reference's files work as they are), and what follows from both.
 *
 * One table: its rows are options, keys of the file and of --set alike. A key of the file counts unless the command line says otherwise.
 */
#include "jobs/job.h"
#include "src/models/efficientnet.h"
#include "src/train/augment.h"
#include "src/train/loss.h"
#include "src/train/optim.h"
#include "src/train/schedule.h"

typedef struct um_train_options {
    /* what to train on, and where the result goes */
    const char *store, *folds, *config, *output, *init, *seeds, *val_list, *preview, *prefix, *keep;
    int64_t seed, fold, val_videos, threads, checkpoint_steps;
    bool deterministic, fresh;
    const char *device;
    bool share_gpus, in_order;
    double patience_s;
    /* the reference's switches */
    bool no_oversample, no_hardcore, only_changed_frames;
    int64_t freeze_epochs, padding_part;
    double label_smoothing;
    /* the reference's configuration file */
    const char *network, *encoder, *optimizer, *schedule, *schedule_mode, *schedule_steps, *schedule_milestones;
    int64_t size_px, batches_per_epoch, batch_size, epochs, step_size;
    bool fp16, nesterov;
    double mean[3], std[3], momentum, weight_decay, learning_rate, max_iter, power, gamma, alpha, beta, cosine_steps, cosine_min, bce, focal;
    /* ours */
    const char *precision;
    int64_t accumulate, ohem_samples, warmup, max_skipped, ahead;
    double ema, mixup, beta1, beta2, rms_alpha, eps, clip, max_loss, focal_gamma, drop_path, dropout, bn_momentum;
    bool pairs;
    um_augment_config augment; /* its size_px, no_hardcore and padding_part are the keys above */
} um_train_options;

/* The rows above and those of augmentation, "augment.<field>". */
const um_opt *um_train_table(void);

enum { UM_TRAIN_MAX_SEEDS = 64 };
typedef struct um_train_plan { /* what follows from the options */
    um_efficientnet net;
    um_optim_options optim;
    um_schedule schedule;
    um_loss_options loss; /* ohem_k of one rank's batch */
    int64_t seed[UM_TRAIN_MAX_SEEDS];
    int n_seeds;
    int keep_last;        /* 0: all */
} um_train_plan;

/* Puts the file's keys under the command line's. For um_job.complete. Errors: UM_CONFIG (the file), UM_USAGE. */
um_status um_train_complete(um_job_context *ctx, int argc, const char *const *argv, void *options);
/* Errors: UM_CONFIG, UM_USAGE: what cannot be trained, with the key. */
um_status um_train_plan_make(const um_train_options *o, um_train_plan *out);
