/* Frames by time: which frame answers a wanted time, and what is known of the last frame's. */
#include "io/video_state.h"

#include <math.h>
#include <string.h>

#define MAX_HALF_FRAME_S 0.5 /* a frame rate may lie; a frame shall not answer for more than this */
#define MAX_STEP_S 10        /* where time stamps may jump, a step longer than this is a jump, not a pause */

double um_vdec_usual_s(const um_vdec *d)
{
    double fps = av_q2d(d->stream->avg_frame_rate);
    return isfinite(fps) && fps > 0 ? 1 / fps : 1.0 / 25;
}

bool um_vdec_is_jump(const um_vdec *d, double step_s) { return (d->fmt->iformat->flags & AVFMT_TS_DISCONT) && (step_s < -1 || step_s > MAX_STEP_S); }

double um_vdec_seconds(const um_vdec *d, int64_t pts)
{
    return ((double)pts - (double)d->first_pts) * av_q2d(d->stream->time_base);
}

double um_vdec_table_last_s(const um_vdec *d)
{
    if (d->n_container < 1) return -1;
    if (strcmp(d->fmt->iformat->name, UM_VDEC_MOV) != 0) return (double)(d->n_container - 1) * um_vdec_usual_s(d);
    /* Decoding times are in the index, presentation times are not; both run over the same span but for a few frames where the rate varies, and a time past the end is answered by the last frame. */
    int n = avformat_index_get_entries_count(d->stream);
    int64_t first = 0, last = 0;
    bool any = false;
    for (int i = 0; i < n; i++) {
        const AVIndexEntry *e = avformat_index_get_entry(d->stream, i);
        if (!e || (e->flags & AVINDEX_DISCARD_FRAME)) continue;
        if (!any) first = e->timestamp;
        any = true;
        last = e->timestamp;
    }
    return any && last >= first ? ((double)last - (double)first) * av_q2d(d->stream->time_base) : -1;
}

bool um_vdec_by_time(const um_vdec *d) { return d->want.n_times > 0; }

void um_vdec_times_start(um_vdec *d)
{
    d->half_frame_s = fmin(0.5 * um_vdec_usual_s(d), MAX_HALF_FRAME_S);
    d->time_at = 0;
    d->sought_for = -1;
    d->lost = -1;
    d->kept_index = -1;
    if (d->kept) av_frame_unref(d->kept);
}

/* The first of the wanted times that lies past time_s by more than half a frame. */
static int64_t first_after(const um_vdec *d, double time_s)
{
    int64_t lo = 0, hi = d->want.n_times;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        if (d->want.time_s[mid] - d->half_frame_s <= time_s)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool um_vdec_time_wanted(const um_vdec *d, double before_s, double time_s) { return first_after(d, before_s) < first_after(d, time_s); }

bool um_vdec_time_left(const um_vdec *d, double time_s) { return first_after(d, time_s) < d->want.n_times; }

bool um_vdec_time_take(um_vdec *d, int64_t *answers)
{
    int64_t first = d->time_at, next = first_after(d, d->frame_s);
    d->last_s = d->frame_s;
    av_frame_unref(d->kept);
    d->kept_index = -1;
    if (next > first) {
        *answers = first;
        d->time_at = next;
        return true;
    }
    if (av_frame_ref(d->kept, d->frame) < 0) {
        d->out_of_memory = d->ended = true;
        return false;
    }
    d->kept_index = d->frame_index;
    d->kept_s = d->frame_s;
    return false;
}

bool um_vdec_time_take_last(um_vdec *d, int64_t *answers)
{
    if (!d->ended || d->by_request || d->out_of_memory || d->lost >= 0) return false;
    d->lost = d->want.n_times - d->time_at;
    if (d->lost == 0 || d->kept_index <= d->last_given) return false;
    av_frame_unref(d->frame);
    av_frame_move_ref(d->frame, d->kept);
    d->frame_index = d->kept_index;
    d->frame_s = d->kept_s;
    *answers = d->time_at++;
    d->lost--;
    return true;
}
