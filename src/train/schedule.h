#pragma once
/* schedule.h: the learning rate of each step, a pure function of the step: nothing to save, nothing that a resume could get wrong.
 *
 * t is the number of the step (0 first) where mode is "step", of the epoch where it is "epoch". b is the optimiser's learning rate.
 *
 *     poly         b (1 - min(t, max_iter) / max_iter)^power
 *     step         the rate of the last pair (from, rate) with from <= t; b before the first. Without pairs: b gamma^floor(t / step_size) (torch.optim.lr_scheduler.StepLR)
 *     multistep    b gamma^(milestones <= t) (MultiStepLR)
 *     cosine       min_rate + (b - min_rate) (1 + cos(pi min(t, T_max) / T_max)) / 2 (CosineAnnealingLR, without its restarts)
 *     exponential  b gamma^t (ExponentialLR)
 *     constant     b
 *     linear       b (alpha t + beta) (the reference's LambdaLR), at least 0
 *
 * In the first `warmup` steps all of this is multiplied by (step + 1) / warmup.
 */
#include "src/core/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum um_schedule_type { UM_SCHEDULE_POLY, UM_SCHEDULE_STEP, UM_SCHEDULE_MULTISTEP, UM_SCHEDULE_COSINE, UM_SCHEDULE_EXPONENTIAL, UM_SCHEDULE_CONSTANT, UM_SCHEDULE_LINEAR } um_schedule_type;
#define UM_SCHEDULE_NAMES "poly|step|multistep|cosine|exponential|constant|linear"

enum { UM_SCHEDULE_MAX_POINTS = 64 };
typedef struct um_schedule {
    um_schedule_type type;
    bool per_epoch;
    double rate;         /* b */
    double max_iter;     /* POLY: above 0; COSINE: T_max */
    double power, gamma, alpha, beta, min_rate;
    double step_size;    /* STEP without points: above 0 */
    int n_points;        /* STEP: pairs; MULTISTEP: milestones */
    double from[UM_SCHEDULE_MAX_POINTS], to[UM_SCHEDULE_MAX_POINTS]; /* ascending */
    int64_t warmup;      /* steps; 0: none */
} um_schedule;

/* The rate of step `step`, which lies in epoch `epoch`. Any thread. */
double um_schedule_rate(const um_schedule *s, int64_t step, int64_t epoch);
/* Reads "3,5,8" (pairs false) or "0:0.1,5:0.01" into the points; "" is none. UM_USAGE. */
um_status um_schedule_points(um_schedule *s, const char *text, bool pairs);
