#pragma once
/* score_options.h: what scoring is told, and what follows from it: for the job, and for the plan that tries a sample of it (jobs/plan_score.c). The table of options is um_job_score.options. */
#include "io/score_manifest.h"
#include "jobs/score_setup.h"

typedef struct um_score_options {
    um_decoder_options decoder;
    um_texts models;
    const char *detector, *output, *pool, *precision, *device, *submission, *details, *list, *windows;
    um_frames frames;
    double threshold, max_bad, thresholds[3], journal_s;
    int64_t limit, poison_after, threads, min_faces, journal_records, gpu_batch, gpu_frames;
    bool fresh, update, share_gpus;
} um_score_options;

/* What can be said before anything is opened. Local. Errors: UM_USAGE. */
um_status um_score_check(const um_job_context *ctx, const um_score_options *o, um_window_options *windows);
/* Models, detector and threads, and what the scorer is to do; between and user are the caller's. Collective. um_score_setup_close, also after a failure. Errors: as um_score_setup_open. */
um_status um_score_open(um_job_context *ctx, const um_score_options *o, const um_window_options *windows, int n_threads, um_score_setup *out);
/* The inputs, listed anew: operands and --list, up to --limit. Local. Errors: UM_USAGE (none), and those of um_score_manifest_list. */
um_status um_score_list(um_job_context *ctx, const um_score_options *o, const char *config, const char *const *model, int n_models, um_score_manifest *out);
/* What the queue sorts by. Small files take time too: what all videos have in common is worth as much as reading 4 MiB. */
int64_t um_score_cost(const um_score_input *in);
