#pragma once
/* score_unit.h: one video scored: from the file to its row (src/score/score.h).
 *
 * Decode at the wanted moments, find faces, cut them out with a margin of a third, bring them to the classifier's size, run every model, pool. The row is a pure function of the video's bytes, the models and the options: not
 * of other videos, ranks or threads.
 */
#include "io/video.h"
#include "src/detect/device_detect.h"
#include "src/image/cvresize.h"
#include "src/models/classifier.h"
#include "src/score/score.h"
#include "src/score/window.h"

#include <signal.h>

typedef enum um_score_pool { UM_POOL_PERSONS, UM_POOL_FACES } um_score_pool;

typedef struct um_score_times { /* seconds of this rank */
    double decode_wait, detect, classify;
} um_score_times;

typedef struct um_scorer {
    /* what to do */
    um_score_pool pool;
    um_frames frames;          /* --frames */
    um_window_options windows;
    um_thresholds thresholds;  /* the detector's: .7, .8, .8 */
    double threshold;          /* fake from here on */
    int min_faces;             /* of a person: 8 */
    /* with what; owned by the job */
    um_decoder *decoder;
    um_detector **detector;    /* [um_pool_threads] */
    um_device_detector *device_detector; /* NULL: frames are searched on processors */
    int device_frames;         /* that it likes at once */
    um_cvresize **resize;      /* [um_pool_threads] */
    um_classifier **model;     /* [n_models] */
    const int *size_px;        /* [n_models] */
    int n_models;
    um_pool *threads;
    void (*between)(void *user); /* called between frames and faces: answers other ranks, shows progress */
    void *user;
    const volatile sig_atomic_t *stop;
    um_score_times times;
    int64_t second_passes; /* videos that ended long before their time and were read again at new moments */
    struct um_score_work *work; /* private, reused; um_scorer_release */
} um_scorer;

/* UM_OK: *row is filled, whatever its status (a bad video is a row). UM_STOPPED: *stop was set. Job statuses otherwise. size_bytes, mtime_ns: as in um_video_open. The caller releases the row. */
um_status um_score_video(um_scorer *s, const char *path, int64_t size_bytes, int64_t mtime_ns, um_score_row *row);
void um_scorer_release(um_scorer *s);
