#pragma once
/* synth_unit.h: one original of a synthetic data set and its fakes, from pixels to files.
 *
 * The original's frame is made once (a shot of portraits, or a cut of a real video), each fake is that frame with its faces forged,
 * and all are compressed alike, frame by frame: an original and its fakes have the same frames, size and rotation, and differ in
 * the faces only, and in what compression makes of that.
 */
#include "io/vfs.h"
#include "io/video.h"
#include "src/core/buf.h"
#include "src/detect/detect.h"
#include "src/synth/plan.h"
#include "src/synth/shot.h"

#include <pthread.h>

typedef struct um_synth_source { /* a real video to cut from */
    const char *path;
    um_video_info info;
    int64_t n_frames; /* estimated where the container does not say */
} um_synth_source;

typedef struct um_synth_run {
    const um_synth_plan *plan;
    const um_portrait *portrait;   /* [plan->config.people]; NULL: cuts of `source` */
    const um_synth_source *source; /* source i belongs to person i % people */
    int n_sources;
    um_decoder *decoder; /* for sources; used by one thread at a time, under the lock */
    pthread_mutex_t *decoder_lock;
    um_vfs *vfs;
    const char *dir; /* holds the folders of the parts */
} um_synth_run;

/* Makes original `i` of the plan and its fakes. detector: this thread's, for sources only. *bytes, *frames: added to. Any thread.
 * Errors: UM_DATA (no stretch of the part's sources shows a face), UM_IO, UM_NO_MEMORY. */
um_status um_synth_unit_make(const um_synth_run *run, int i, um_detector *detector, int64_t *bytes, int64_t *frames);
/* "dir/dfdc_train_part_<part>/name", name may be "". Errors: UM_NO_MEMORY. */
um_status um_synth_path(const char *dir, int part, const char *name, um_buf *path);
