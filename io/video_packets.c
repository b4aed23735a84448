/* Packets: which ones hold a frame that is shown, how many there are, and which need not be decoded. */
#include "io/video_state.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ABSENT (1 << 20) /* remembered packets without a frame; past this they are no longer told apart from the others */

/* Is the packet's frame one that is shown? VP8 keeps its invisible reference frames in packets of their own; other codecs do not. */
bool um_vdec_packet_shown(const um_vdec *d, const AVPacket *p)
{
    if (p->flags & AV_PKT_FLAG_DISCARD) return false;
    if (d->stream->codecpar->codec_id == AV_CODEC_ID_VP8 && p->size > 0) return (p->data[0] & 0x10) != 0;
    return true;
}

/* Frames that the container's own table lists, -1 when there is none. MP4 has one entry a sample; entries that an edit list hides are marked. */
int64_t um_vdec_table_frames(const um_vdec *d)
{
    if (strcmp(d->fmt->iformat->name, UM_VDEC_MOV) == 0 && d->stream->nb_frames > 0) {
        int64_t shown = 0;
        int n = avformat_index_get_entries_count(d->stream);
        for (int i = 0; i < n; i++) {
            const AVIndexEntry *e = avformat_index_get_entry(d->stream, i);
            if (e && !(e->flags & AVINDEX_DISCARD_FRAME)) shown++;
        }
        return n > 0 ? shown : -1;
    }
    if (strcmp(d->fmt->iformat->name, "avi") == 0 && d->stream->nb_frames > 0) return d->stream->nb_frames;
    return -1;
}

/* Counts the frames of a file without a table by reading all packets, and opens it again. */
um_status um_vdec_count_packets(um_vdec *d)
{
    AVPacket *p = av_packet_alloc();
    if (!p) return UM_FAIL(UM_OOM, "no memory for reading");
    int64_t n = 0, low = INT64_MAX, high = INT64_MIN, before = AV_NOPTS_VALUE;
    int index = d->stream->index;
    double tb = av_q2d(d->stream->time_base), bridged = 0, decoded_s = 0;
    bool jumps = false;
    while (!(d->stopped && d->stopped(d->user)) && av_read_frame(d->fmt, p) >= 0) {
        if (p->stream_index == index && um_vdec_packet_shown(d, p)) {
            n++;
            if (p->pts != AV_NOPTS_VALUE) {
                low = p->pts < low ? p->pts : low;
                high = p->pts > high ? p->pts : high;
            }
            if (p->dts != AV_NOPTS_VALUE) {
                double step = before == AV_NOPTS_VALUE ? 0 : ((double)p->dts - (double)before) * tb;
                bool jump = um_vdec_is_jump(d, step);
                jumps = jumps || jump;
                decoded_s += jump ? um_vdec_usual_s(d) : step;
                bridged = decoded_s > bridged ? decoded_s : bridged;
                before = p->dts;
            }
        }
        av_packet_unref(p);
    }
    /* By presentation times; by the steps of decoding times where these jump; by the rate where there are none. */
    d->packets_last_s = n < 1 ? -1 : jumps ? bridged : high > low ? ((double)high - (double)low) * tb : (double)(n - 1) * um_vdec_usual_s(d);
    av_packet_free(&p);
    um_vdec_close_input(d);
    UM_PASS(um_vdec_open_input(d));
    d->n_total = n;
    return UM_OK;
}

void um_vdec_note_absent(um_vdec *d, int64_t pts)
{
    if (pts == AV_NOPTS_VALUE || d->n_absent >= MAX_ABSENT) return;
    if (d->n_absent == d->cap_absent) {
        int cap = d->cap_absent ? 2 * d->cap_absent : 64;
        int64_t *p = realloc(d->absent, (size_t)cap * sizeof *p);
        if (!p) return;
        d->absent = p;
        d->cap_absent = cap;
    }
    d->absent[d->n_absent++] = pts;
}

bool um_vdec_read_packet(um_vdec *d, AVPacket *p)
{
    for (;;) {
        av_packet_unref(p);
        int r = av_read_frame(d->fmt, p);
        if (r < 0) {
            if (r == AVERROR(ENOMEM)) d->out_of_memory = true;
            if (r != AVERROR_EOF || d->src.failed) d->cut_short = true;
            return false;
        }
        if (p->stream_index != d->stream->index) continue;
        d->n_read++;
        if (um_vdec_packet_shown(d, p)) d->n_packets++;
        if (p->flags & AV_PKT_FLAG_CORRUPT) {
            d->frames_damaged++;
            d->tainted = true;
        }
        return true;
    }
}

/* Leaving out frames that nobody wants. A packet of H.264 that no other frame refers to can be dropped before the decoder sees it; the others' pixels do not change. Which packet is which frame is known only
 * if the container numbers them: a packet's number is its rank by presentation time, and that is certain once a packet was read ahead whose decoding time is not smaller (presentation never precedes decoding).
 * Every frame that comes out is checked against its rank. At the first contradiction the file is read again from the start without leaving anything out, so a strange file costs time, never a wrong number. */

/* May unwanted frames of this stream be left out? */
void um_vdec_plan_leaving_out(um_vdec *d)
{
    const AVCodecParameters *p = d->stream->codecpar;
    bool few = d->want.n_list >= 0 || um_vdec_by_time(d) || d->want.frames.kind == UM_FRAMES_SPREAD || (d->want.frames.kind == UM_FRAMES_EVERY && d->want.frames.step > 1);
    /* avcC: the fifth byte of the extradata holds the size of NAL lengths. */
    if (!few || d->n_container < 0 || p->codec_id != AV_CODEC_ID_H264 || p->extradata_size < 7 || p->extradata[0] != 1) return;
    d->leave_out = true;
    d->nal_length_bytes = (p->extradata[4] & 3) + 1;
    d->last_dts = INT64_MIN;
}

/* Does no other frame refer to this one, and is there nothing else in the packet (parameter sets) that matters later? */
static bool packet_disposable(const um_vdec *d, const AVPacket *p)
{
    const uint8_t *at = p->data, *end = p->data + p->size;
    bool slices = false;
    while (end - at > d->nal_length_bytes) {
        int64_t n = 0;
        for (int i = 0; i < d->nal_length_bytes; i++) n = n << 8 | *at++;
        if (n < 1 || n > end - at) return false;
        int type = at[0] & 31, ref = at[0] >> 5 & 3;
        if (type == 1 && ref == 0)
            slices = true;
        else if (type != 6 && type != 9 && type != 12) /* SEI, delimiter, filler */
            return false;
        at += n;
    }
    return slices && at == end;
}

/* The ring holds the last UM_VDEC_QUEUE packets, but none from before a seek. */
static int64_t first_taken(const um_vdec *d) { return d->n_taken - UM_VDEC_QUEUE > d->taken_first ? d->n_taken - UM_VDEC_QUEUE : d->taken_first; }

/* Is the packet of the queue, just taken from it, wanted by its time? Those before it in display order are known: its rank is. */
static bool time_wanted(const um_vdec *d, int64_t pts)
{
    if (d->frames_decoded == 0) return true; /* where times count from is not known yet */
    int64_t before = INT64_MIN;
    bool last = d->queue_end;
    for (int64_t i = first_taken(d); i < d->n_taken; i++) {
        int64_t t = d->taken[i % UM_VDEC_QUEUE].pts;
        if (t < pts && t > before) before = t;
        if (t > pts) last = false;
    }
    for (int i = 0; i < d->n_queue; i++) {
        const AVPacket *q = d->queue[(d->queue_at + i) % UM_VDEC_QUEUE];
        if (!um_vdec_packet_shown(d, q)) continue;
        if (q->pts < pts && q->pts > before) before = q->pts;
        if (q->pts > pts) last = false;
    }
    double s = um_vdec_seconds(d, pts);
    if (before == INT64_MIN || um_vdec_time_wanted(d, um_vdec_seconds(d, before), s)) return true;
    return last && um_vdec_time_left(d, s);
}

static bool rank_wanted(const um_vdec *d, int64_t rank)
{
    if (d->want.n_list < 0) return um_frames_wants(&d->want.frames, rank, d->n_total);
    int64_t lo = 0, hi = d->want.n_list;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        if (d->want.list[mid] < rank)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < d->want.n_list && d->want.list[lo] == rank;
}

/* The next packet for the decoder into d->packet, without those that can be left out. False at the end or when a contradiction shows. */
bool um_vdec_next_packet(um_vdec *d)
{
    if (!d->leave_out) return um_vdec_read_packet(d, d->packet);
    for (;;) {
        /* Read ahead until the number of the first in the queue is certain. */
        const AVPacket *first = d->n_queue > 0 ? d->queue[d->queue_at] : NULL;
        while (!d->queue_end && (!first || d->last_dts < first->pts)) {
            if (d->n_queue == UM_VDEC_QUEUE) {
                d->contradiction = true;
                return false;
            }
            AVPacket **p = &d->queue[(d->queue_at + d->n_queue) % UM_VDEC_QUEUE];
            if (!*p && !(*p = av_packet_alloc())) {
                d->out_of_memory = true;
                return false;
            }
            if (!um_vdec_read_packet(d, *p)) {
                d->queue_end = true;
                break;
            }
            if ((*p)->pts == AV_NOPTS_VALUE || (*p)->dts == AV_NOPTS_VALUE || (*p)->dts <= d->last_dts || (*p)->pts < (*p)->dts) {
                d->contradiction = true;
                return false;
            }
            d->last_dts = (*p)->dts;
            d->n_queue++;
            first = d->queue[d->queue_at];
        }
        if (d->n_queue == 0) return false;

        av_packet_unref(d->packet);
        av_packet_move_ref(d->packet, d->queue[d->queue_at]);
        d->queue_at = (d->queue_at + 1) % UM_VDEC_QUEUE;
        d->n_queue--;
        if (!um_vdec_packet_shown(d, d->packet)) return true;
        int64_t pts = d->packet->pts, rank = d->n_taken;
        for (int64_t i = first_taken(d); i < d->n_taken; i++)
            if (d->taken[i % UM_VDEC_QUEUE].pts > pts) rank--;
        for (int i = 0; i < d->n_queue; i++) {
            const AVPacket *q = d->queue[(d->queue_at + i) % UM_VDEC_QUEUE];
            if (um_vdec_packet_shown(d, q) && q->pts < pts) rank++;
        }
        d->taken[d->n_taken++ % UM_VDEC_QUEUE] = (um_vdec_ranked){pts, rank};
        if ((um_vdec_by_time(d) ? time_wanted(d, pts) : rank_wanted(d, rank)) || !packet_disposable(d, d->packet)) return true;
        um_vdec_note_absent(d, pts);
    }
}

/* Is the frame's number the rank of its packet? */
bool um_vdec_rank_agrees(const um_vdec *d)
{
    for (int64_t i = first_taken(d); i < d->n_taken; i++)
        if (d->taken[i % UM_VDEC_QUEUE].pts == d->frame->pts) return d->taken[i % UM_VDEC_QUEUE].rank == d->frame_index;
    return false;
}

void um_vdec_drop_queue(um_vdec *d)
{
    for (int i = 0; i < UM_VDEC_QUEUE; i++) av_packet_free(&d->queue[i]);
    d->queue_at = d->n_queue = 0;
}
