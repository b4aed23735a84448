#pragma once
/* score_setup.h: what scoring works with: models, detector, threads, on every rank, and the words by which ranks and runs are compared.
 *
 * Models are ordered by their fingerprints, so the order in which they are named does not matter; one named twice counts once. Their weights are held once a machine (mpi/share.h).
 */
#include "jobs/device.h"
#include "jobs/score_unit.h"

typedef struct um_score_wish {
    const um_texts *models; /* -m: files and folders; n = 0: those in $UNMASK_HOME, else in share/unmask beside the program */
    const char *detector;   /* NULL: looked for */
    double scale;           /* of the detector: 0 the rule by size, else a fixed factor */
    bool bf16;
    int n_threads;
    const char *device;     /* --device */
    bool share_gpus;
    um_thresholds thresholds; /* of the face detector */
    int gpu_batch, gpu_frames; /* faces, and frames, at once; gpu_frames 0: frames are searched on processors */
} um_score_wish;

typedef struct um_score_setup {
    um_scorer scorer;        /* decoder, detectors, resamplers, models, threads are filled in; the job fills in the rest */
    char **name;             /* [scorer.n_models] file names without .h5, for people */
    um_buf fingerprints;     /* of the models, joined by spaces, in order */
    char detector[17];
    const char *precision;   /* "f32", "bf16" (maps and weights; f32 arithmetic), "bf16 products": what is really used, and decides bits */
    const char *backend;     /* "cpu", "cuda" */
    char isa[96];            /* "avx512"; of a GPU what its products come from: "sm_90, cuBLASLt 130100, 32 at once" */
    um_device device;
    int64_t shared_bytes, own_bytes; /* weights, once a machine; activations and the like, each rank */
    struct um_score_setup_work *work; /* private */
} um_score_setup;

/* Collective over ctx->world. Errors, the same on all ranks: UM_MISSING, UM_DATA, UM_CONFIG (with the remedy), UM_NO_MEMORY. */
um_status um_score_setup_open(um_job_context *ctx, const um_score_wish *wish, um_score_setup *out);
/* Local; also after a failed open. */
void um_score_setup_close(um_score_setup *s);
