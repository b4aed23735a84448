#pragma once
/* evaluate.h: what unmask evaluate knows: videos, the truth, and what each model (or file of scores) says of them. jobs/evaluate_store.c and evaluate_scores.c fill it in, evaluate_report.c shows it.
 *
 * A model's number for a video is the mean over its frames, the ensemble's the mean over the models. NaN: none.
 */
#include "jobs/job.h"
#include "src/train/metrics.h"

typedef struct um_evaluate_options {
    const char *store, *folds, *val_list, *scores, *missing, *json, *csv, *svg, *calibration, *fit_calibration, *device;
    um_texts models, labels, logs;
    int64_t fold, val_videos, threads, rounds;
    bool baseline, share_gpus;
} um_evaluate_options;

typedef struct um_evaluated { /* one who judges */
    char *name;
    double *video;            /* [n_videos] */
    double *frame;            /* [n_frames]; NULL: not known */
    um_metrics of_videos, of_frames;
} um_evaluated;

typedef struct um_evaluation {
    int64_t n_videos, n_frames;
    char **path;              /* [n_videos] */
    bool *fake;               /* [n_videos] */
    int32_t *group;           /* [n_videos], as in um_scored, no number left out */
    int32_t *video_of_frame;  /* [n_frames] */
    um_evaluated *by;         /* models first */
    int n_by, n_models;
    int best;                 /* of the models: least weighted log-loss; -1: none */
    int main;                 /* the one that is reported in full: ensemble, only model, or what else there is */
    /* Counts of what is not in the above, or not as one might think. */
    int64_t damaged;          /* crops that could not be read */
    int64_t unlabelled, several, unscored, repeated, filled, failed; /* rows without label; with several that differ; labels without row; rows that stand there twice; rows without score that got one by --missing; rows whose status is not OK */
} um_evaluation;

/* Crops of a store through models, and the baseline. Collective over ctx->world; what is found is on rank 0. Errors, the same on all ranks: UM_MISSING, UM_DATA, UM_IO, UM_STOPPED, UM_NO_MEMORY. */
um_status um_evaluate_store(um_job_context *ctx, const um_evaluate_options *o, um_evaluation *e);
/* A file of scores and files of labels. Local. Errors: UM_MISSING, UM_DATA, UM_IO, UM_NO_MEMORY. */
um_status um_evaluate_scores(um_job_context *ctx, const um_evaluate_options *o, um_evaluation *e);
/* Room for one more who judges, its numbers NaN; name is copied. Errors: UM_NO_MEMORY. */
um_status um_evaluation_add(um_evaluation *e, const char *name, bool frames, um_evaluated **out);
/* Renumbers groups so that none is left out. Errors: UM_NO_MEMORY. */
um_status um_evaluation_close_groups(um_evaluation *e);
void um_evaluation_release(um_evaluation *e);

/* Computes the metrics and shows them: tables on the standard output, files as told. Rank 0. Errors: UM_IO, UM_DATA (a calibration that cannot be fitted or read), UM_NO_MEMORY. */
um_status um_evaluate_report(um_job_context *ctx, const um_evaluate_options *o, um_evaluation *e);
/* jobs/evaluate_plots.c: roc.svg and calibration.svg of e->main (sorted scores; calibrated: NULL or sorted ones), loss.svg of training logs. */
um_status um_evaluate_plots(um_job_context *ctx, const um_evaluate_options *o, const um_evaluation *e, const um_scored *scored, const um_scored *calibrated, size_t n);
