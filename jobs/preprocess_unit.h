#pragma once
/* preprocess_unit.h: one unit of preprocessing: an original and its fakes, from files to rows.
 *
 * One decode pass a video. The original's wanted frames are searched for faces (DETECT); each face is cut out and encoded (CROPS),
 * its landmarks are found on the crop (LANDMARKS); then each fake is decoded at the frames that have faces, cut at the original's
 * rectangles (CROPS) and compared with the original's crops (MASKS). Stages that earlier runs have sealed are taken from the store
 * instead. With a lossy crop format the later stages see the crop as it was stored, so the result does not depend on whether stages
 * run together.
 *
 * What a bad input becomes: the row of the video that has it. A fake whose original gave no frames is NO_ORIGINAL, one whose
 * original shows no face NO_FACE.
 */
#include "io/codec.h"
#include "io/store.h"
#include "io/video.h"
#include "src/detect/detect.h"
#include "src/image/ssim.h"

#include <signal.h>

typedef struct um_preprocess_times { /* seconds of this rank */
    double decode_wait, detect, encode, landmarks, masks, store;
} um_preprocess_times;

typedef struct um_preprocess_counts {
    int64_t videos, bad, frames, faces, crops, masks, landmarks, dropped;
} um_preprocess_counts;

typedef struct um_preprocess {
    /* what to do */
    const um_manifest *manifest;
    um_frames frames;
    um_thresholds thresholds;
    int max_faces;
    um_codec_format format;
    int jpeg_quality;
    int64_t unit_bytes; /* memory limit of one unit */
    /* with what; owned by the job */
    um_decoder *decoder;
    um_detector *frame_detector; /* on frames, with the scale rule */
    um_detector *crop_detector;  /* on crops, scale 1; NULL without LANDMARKS */
    um_codec *codec;
    um_ssim *ssim;
    um_store_writer *writer;
    const um_store_content *stored; /* rows of earlier runs; NULL when no unit needs them */
    const int *stored_video;        /* manifest index -> index in stored, -1: not there; NULL with stored NULL */
    void (*between)(void *user);    /* called between frames: answers other ranks, shows progress */
    void *user;
    const volatile sig_atomic_t *stop;
    /* results */
    um_preprocess_times times;
    um_preprocess_counts counts;
    struct um_preprocess_unit *unit; /* private, reused; um_preprocess_release */
} um_preprocess;

/* Does the stages in `need` (bits) of one unit; `have` are the sealed ones. UM_OK: the unit was handed to the store, whatever its
 * videos' statuses. UM_STOPPED: *stop was set, the unit was left undone. Job statuses: the unit was left undone. Local. videos_bad:
 * how many of its videos failed (not OK, PARTIAL or NO_FACE). */
um_status um_preprocess_unit(um_preprocess *p, int unit, unsigned have, unsigned need, int *videos_bad);
void um_preprocess_release(um_preprocess *p);
