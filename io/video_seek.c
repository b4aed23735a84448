/* Passing over stretches in which no frame is wanted: in a long video only some seconds of each minute are.
 *
 * Only where the pixels are certain to be the same and the frames' numbers known: H.264 in MP4, from a packet that holds an IDR picture (nothing behind it refers to anything before it) and that is where the index says. The
 * index's entries before it, less hidden ones, are the frames shown before it. Numbers go on being checked against ranks (video_packets.c); a contradiction has the file read again from its start, in full.
 */
#include "io/video_state.h"

#include <math.h>

#define MIN_PASSED 8  /* packets; fewer are decoded as fast as the seek flushes and refills the decoder */
#define MAX_TRIES 4   /* key frames that are looked at before the seek is given up */

static bool holds_idr(const um_vdec *d, const AVPacket *p)
{
    const uint8_t *at = p->data, *end = p->data + p->size;
    bool idr = false;
    while (end - at > d->nal_length_bytes) {
        int64_t n = 0;
        for (int i = 0; i < d->nal_length_bytes; i++) n = n << 8 | *at++;
        if (n < 1 || n > end - at) return false;
        int type = at[0] & 31;
        if (type >= 1 && type <= 4) return false; /* a slice of another kind in the same picture */
        idr = idr || type == 5;
        at += n;
    }
    return idr && at == end;
}

/* Does the index have a key frame that is decoded no later than `pts` and far enough ahead? */
static bool key_ahead(const um_vdec *d, int64_t pts)
{
    int i = av_index_search_timestamp(d->stream, pts, AVSEEK_FLAG_BACKWARD);
    return i >= d->n_read + MIN_PASSED;
}

static int64_t shown_before(const um_vdec *d, int entry)
{
    int64_t n = 0;
    for (int i = 0; i < entry; i++) {
        const AVIndexEntry *e = avformat_index_get_entry(d->stream, i);
        n += e && !(e->flags & AVINDEX_DISCARD_FRAME);
    }
    return n;
}

/* Moves to a key frame shown, or with other versions of libav decoded, no later than `pts`, and reads it into p. Its entry in the index, -1 when the index does not tell the truth. */
static int go_to_key(um_vdec *d, int64_t pts, AVPacket *p)
{
    if (av_seek_frame(d->fmt, d->stream->index, pts, AVSEEK_FLAG_BACKWARD) < 0 || !um_vdec_read_packet(d, p)) return -1;
    if (p->dts == AV_NOPTS_VALUE || p->pts == AV_NOPTS_VALUE || p->pts < p->dts) return -1;
    int i = av_index_search_timestamp(d->stream, p->dts, AVSEEK_FLAG_BACKWARD);
    const AVIndexEntry *e = i >= 0 ? avformat_index_get_entry(d->stream, i) : NULL;
    return e && e->pos == p->pos && e->timestamp == p->dts && !(e->flags & AVINDEX_DISCARD_FRAME) ? i : -1;
}

bool um_vdec_seek_ahead(um_vdec *d)
{
    if (!d->leave_out || d->no_seek || d->frames_decoded == 0 || d->first_pts == AV_NOPTS_VALUE || d->ended || d->draining || d->queue_end || d->sought_for == d->time_at) return true;
    double target = floor((double)d->first_pts + (d->want.time_s[d->time_at] - d->half_frame_s) / av_q2d(d->stream->time_base));
    if (!(target < 9e18 && target > -9e18) || !key_ahead(d, (int64_t)target)) return true;
    d->sought_for = d->time_at;
    AVPacket *p = av_packet_alloc();
    if (!p) {
        d->out_of_memory = true;
        return true;
    }
    int64_t n_read = d->n_read, n_packets = d->n_packets, pts = (int64_t)target;
    int key = 0;
    bool found = false;
    for (int tries = 0; tries < MAX_TRIES && !found; tries++) {
        key = go_to_key(d, pts, p);
        if (key < n_read + MIN_PASSED) break;
        found = p->pts <= (int64_t)target && holds_idr(d, p);
        pts = p->dts - 1;
    }
    if (found) {
        um_vdec_drop_queue(d);
        d->queue[0] = p;
        d->n_queue = 1;
        d->last_dts = p->dts;
        d->n_read = key + 1;
        d->n_taken = d->taken_first = d->n_out = shown_before(d, key);
        d->n_packets = d->n_taken + 1;
        d->n_absent = 0;
        avcodec_flush_buffers(d->codec);
        return true;
    }
    av_packet_free(&p);
    if (key < 0) return false;
    /* Go on where we were. A stream without an IDR picture where one could begin has none, or few: it is not tried again. */
    const AVIndexEntry *e = avformat_index_get_entry(d->stream, (int)n_read);
    d->no_seek = key >= n_read + MIN_PASSED;
    d->n_read = n_read;
    d->n_packets = n_packets;
    return e && av_seek_frame(d->fmt, d->stream->index, e->timestamp, AVSEEK_FLAG_BACKWARD | AVSEEK_FLAG_ANY) >= 0;
}
