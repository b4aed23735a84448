#pragma once
/* window.h: which moments of a video are looked at.
 *
 * --pool persons goes by time stamps: a video of up to 60 s is one window with `per_window` moments spread evenly from its first to its last frame; a longer one is cut into the fewest equal stretches
 * of at most a minute, and a window of 10 s, with as many moments, lies in the middle of each (um_window_options: all three numbers). --pool faces goes by frame numbers as the reference does.
 */
#include "src/core/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct um_window_options {
    double every_s;  /* one window in each such stretch: 60 */
    double length_s; /* of a window of a long video: 10 */
    int per_window;  /* moments in a window: 32 */
} um_window_options;

typedef struct um_moments {
    double *time_s; /* [n], ascending */
    int *window;    /* [n] */
    int n, n_windows;
} um_moments;
/* duration_s: from the first frame to the end of the last; fps: 0 unknown. The last moment of a window is where its last frame begins. Errors: UM_NO_MEMORY, UM_TOO_LARGE (more than 100,000 moments: raise --windows). */
um_status um_moments_spread(double duration_s, double fps, const um_window_options *o, um_moments *out);
void um_moments_release(um_moments *m);

/* The reference's frame numbers: numpy.linspace(0, n_frames - 1, wanted) truncated; the list ends before the first duplicate, as the reference's reading does. index: [wanted]; returns how many there are. */
int um_frames_linspace(int64_t n_frames, int wanted, int64_t *index);
