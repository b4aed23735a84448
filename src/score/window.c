#include "src/score/window.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_MOMENTS = 100000 };

um_status um_moments_spread(double duration_s, double fps, const um_window_options *o, um_moments *out)
{
    *out = (um_moments){0};
    double frame_s = fps > 0 ? 1 / fps : 0;
    double last_s = duration_s > frame_s ? duration_s - frame_s : 0; /* where the last frame begins */
    bool is_long = duration_s > o->every_s;
    double windows = is_long ? floor(last_s / o->every_s) + 1 : 1;
    if (!(windows * o->per_window <= MAX_MOMENTS))
        return UM_FAIL(UM_TOO_LARGE, "%.0f s with %d frames in every %g s are more than %d frames; look at fewer with --windows", duration_s, o->per_window,
                       o->every_s, MAX_MOMENTS);
    int n = (int)windows * o->per_window;
    out->time_s = malloc((size_t)n * sizeof *out->time_s + 1);
    out->window = malloc((size_t)n * sizeof *out->window + 1);
    if (out->time_s == NULL || out->window == NULL) {
        um_moments_release(out);
        return UM_FAIL(UM_NO_MEMORY, "no memory for %d moments", n);
    }
    for (int w = 0; w < (int)windows; w++) {
        double begin = w * o->every_s, end = is_long ? fmin(last_s, begin + o->length_s - frame_s) : last_s;
        if (end < begin) end = begin;
        for (int i = 0; i < o->per_window; i++) {
            out->time_s[out->n] = o->per_window > 1 ? begin + (end - begin) * i / (o->per_window - 1) : begin;
            out->window[out->n++] = w;
        }
    }
    out->n_windows = (int)windows;
    return UM_OK;
}

void um_moments_release(um_moments *m)
{
    free(m->time_s);
    free(m->window);
    *m = (um_moments){0};
}

int um_frames_linspace(int64_t n_frames, int wanted, int64_t *index)
{
    if (n_frames < 1 || wanted < 1) return 0;
    double step = wanted > 1 ? (double)(n_frames - 1) / (wanted - 1) : 0;
    int n = 0;
    for (int i = 0; i < wanted; i++) {
        /* numpy sets the last number to the end itself. */
        int64_t at = i > 0 && i == wanted - 1 ? n_frames - 1 : (int64_t)floor(i * step);
        if (n > 0 && at == index[n - 1]) break;
        index[n++] = at;
    }
    return n;
}
