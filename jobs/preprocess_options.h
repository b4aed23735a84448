#pragma once
/* preprocess_options.h: what preprocessing is told, and what a rank works with: for the job, and for the plan that tries a sample of it (jobs/plan_preprocess.c). The table of options is um_job_preprocess.options. */
#include "jobs/job.h"
#include "jobs/preprocess_unit.h"

typedef struct um_preprocess_options {
    um_decoder_options decoder;
    const char *store, *detector, *crop_format;
    um_frames frames;
    int64_t max_faces, limit, jpeg_quality, seal_mb, unit_mb, poison_after;
    double thresholds[3], scale, max_bad, seal_s;
    unsigned stages;
    bool fresh, ignore_space;
} um_preprocess_options;

/* Makes *p, zeroed but for manifest, stored, between and user, ready for this rank: detectors, codecs, a writer to the store. Local. Errors: UM_NO_MEMORY, UM_IO. um_preprocess_close, also after a failure, ends it; a writer whose
 * result matters is closed before. */
um_status um_preprocess_open(um_job_context *ctx, const um_preprocess_options *o, const um_mtcnn_weights *weights, um_store *store, um_preprocess *p);
void um_preprocess_close(um_preprocess *p);
/* A guess of what will be written: 30 frames of a ten-second clip, one face each, of 400x400 px, a mask for fakes. n_cropped of the n_videos are cut, n_masked of them get masks. */
int64_t um_preprocess_guess_bytes(const um_preprocess_options *o, int64_t n_videos, int64_t n_masked, int64_t n_cropped);
