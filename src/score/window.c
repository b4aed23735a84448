#include "src/score/window.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_MOMENTS = 100000 };

void um_moments_release(um_moments *m)
{
    free(m->time_s);
    free(m->window);
    *m = (um_moments){0};
}

um_status um_moments_spread(double duration_s, double fps, const um_window_options *o, um_moments *out)
{
    *out = (um_moments){0};
    if (!(o->every_s > 0) || !(o->length_s > 0) || o->per_window < 1)
        return UM_FAIL(UM_USAGE, "windows of %g s every %g s with %d moments", o->length_s, o->every_s, o->per_window);
    if (!(duration_s > 0)) duration_s = 0;
    /* The video is cut into the fewest equal stretches that are not longer than asked for, and a window lies in the middle of each: titles and endings are passed over, and no stretch at the end is a stump. */
    const double stretches = duration_s > o->every_s ? ceil(duration_s / o->every_s) : 1;
    if (!(stretches * o->per_window <= MAX_MOMENTS))
        return UM_FAIL(UM_TOO_LARGE, "%.0f windows of %d moments in %.0f s are more than %d moments: a longer stretch between windows (--windows) is needed", stretches, o->per_window, duration_s,
                       MAX_MOMENTS);
    out->n_windows = (int)stretches;
    out->n = out->n_windows * o->per_window;
    out->time_s = malloc((size_t)out->n * sizeof *out->time_s);
    out->window = malloc((size_t)out->n * sizeof *out->window);
    if (out->time_s == NULL || out->window == NULL) {
        um_moments_release(out);
        return UM_FAIL(UM_NO_MEMORY, "no memory for the moments of a video");
    }
    const double stretch = duration_s / stretches;
    const double length = out->n_windows == 1 || o->length_s > stretch ? stretch : o->length_s;
    const double frame = fps > 0 && isfinite(fps) ? 1 / fps : 0;
    const double last = length > frame ? length - frame : 0; /* the last frame of the window begins here */
    for (int w = 0; w < out->n_windows; w++) {
        const double start = w * stretch + (stretch - length) / 2;
        for (int i = 0; i < o->per_window; i++) {
            out->time_s[w * o->per_window + i] = o->per_window > 1 ? start + last * i / (o->per_window - 1) : start;
            out->window[w * o->per_window + i] = w;
        }
    }
    return UM_OK;
}

int um_frames_linspace(int64_t n_frames, int wanted, int64_t *index)
{
    if (n_frames < 1 || wanted < 1) return 0;
    /* numpy.linspace: the step is rounded once, its multiples are cut off, the last is exact. The reference walks through the frames and compares each number with the next one on its list, so a number that stands there twice is
     * never met again: what comes after it is lost. With fewer frames than wanted (the step is below 1) that leaves frame 0 alone. */
    const double step = wanted > 1 ? (double)(n_frames - 1) / (wanted - 1) : 0;
    int n = 0;
    for (int i = 0; i < wanted; i++) {
        int64_t at = i > 0 && i == wanted - 1 ? n_frames - 1 : (int64_t)floor(i * step);
        if (n > 0 && at == index[n - 1]) break;
        index[n++] = at;
    }
    return n;
}
