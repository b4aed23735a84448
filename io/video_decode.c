/* Packets to numbered frames, which of them are given out, and how the whole went. */
#include "io/video_state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_ERRORS_IN_A_ROW 1000 /* refused packets without a frame between: the rest is given up */

/* The decoder would not take the last packet. Its frame keeps its number if the container tells its time. */
static void note_refused(um_vdec *d, int error)
{
    if (error == AVERROR(ENOMEM)) d->out_of_memory = true;
    d->frames_damaged++;
    d->tainted = true;
    d->errors_in_a_row++;
    if (!d->draining && um_vdec_packet_shown(d, d->packet)) um_vdec_note_absent(d, d->packet->pts);
}

/* Gives d->frame its number: frames that came out before it, and absent ones that would have been shown before it. */
static void number_frame(um_vdec *d)
{
    AVFrame *f = d->frame;
    int64_t pts = f->pts != AV_NOPTS_VALUE ? f->pts : f->best_effort_timestamp;
    if (pts != AV_NOPTS_VALUE && d->n_absent > 0) {
        int kept = 0;
        for (int i = 0; i < d->n_absent; i++) {
            if (d->absent[i] > pts)
                d->absent[kept++] = d->absent[i];
            else if (d->absent[i] < pts)
                d->n_out++;
        }
        d->n_absent = kept;
    }
    d->frame_index = d->n_out++;
    if (d->frames_decoded == 0) d->first_pts = pts;
    if (pts != AV_NOPTS_VALUE && d->first_pts != AV_NOPTS_VALUE) {
        double raw = um_vdec_seconds(d, pts);
        if (d->frames_decoded > 0 && um_vdec_is_jump(d, raw - d->raw_s)) d->jump_s += d->raw_s + um_vdec_usual_s(d) - raw;
        d->raw_s = raw;
        d->frame_s = raw + d->jump_s;
    } else {
        d->frame_s = (double)d->frame_index * um_vdec_usual_s(d);
    }
    d->frames_decoded++;
    d->errors_in_a_row = 0;
    if (f->decode_error_flags || (f->flags & AV_FRAME_FLAG_CORRUPT)) {
        d->frames_damaged++;
        d->tainted = true;
    } else if (f->key_frame) {
        d->tainted = false;
    }
}

/* Reads the file again from its start, leaving nothing out. */
static void start_over(um_vdec *d)
{
    um_vdec_drop_queue(d);
    avcodec_free_context(&d->codec);
    av_packet_free(&d->packet);
    av_frame_free(&d->frame);
    um_vdec_close_input(d);
    d->jump_s = d->raw_s = 0;
    d->leave_out = d->contradiction = d->draining = d->tainted = d->cut_short = false;
    d->n_packets = d->n_read = d->n_out = d->frames_decoded = d->frames_damaged = d->n_absent = d->errors_in_a_row = 0;
    if (um_vdec_open_input(d) != UM_OK || um_vdec_open_codec(d) != UM_OK) d->cut_short = d->ended = true;
    um_vdec_times_start(d);
}

/* The next frame in display order into d->frame. False at the end. */
static bool next_frame(um_vdec *d)
{
    while (!d->ended) {
        av_frame_unref(d->frame);
        int r = avcodec_receive_frame(d->codec, d->frame);
        if (r >= 0) {
            if (d->frames_decoded > 0 && (d->frame->width != d->width || d->frame->height != d->height)) {
                d->size_changed = d->ended = true;
                break;
            }
            number_frame(d);
            if (d->leave_out && !um_vdec_rank_agrees(d)) {
                start_over(d);
                continue;
            }
            return true;
        }
        if (r == AVERROR_EOF) {
            d->ended = true;
        } else if (r != AVERROR(EAGAIN)) {
            note_refused(d, r);
        } else if (d->draining) {
            d->ended = true;
        } else {
            if (d->stopped && d->stopped(d->user)) {
                d->by_request = d->ended = true;
                break;
            }
            if (um_vdec_next_packet(d)) {
                int64_t errors = um_vdec_log.errors;
                r = avcodec_send_packet(d->codec, d->packet);
                /* libav's HEVC decoder neither refuses nor flags damaged slices; it only says so. */
                if (r >= 0 && um_vdec_log.errors > errors && d->codec->codec_id == AV_CODEC_ID_HEVC) {
                    d->frames_damaged++;
                    d->tainted = true;
                }
            } else if (d->contradiction) {
                start_over(d);
                continue;
            } else {
                d->draining = true;
                r = avcodec_send_packet(d->codec, NULL);
            }
            if (r < 0) note_refused(d, r);
        }
        if (d->out_of_memory) d->ended = true;
        if (d->errors_in_a_row >= MAX_ERRORS_IN_A_ROW) d->cut_short = d->ended = true;
    }
    return false;
}

static bool is_wanted(um_vdec *d, int64_t index)
{
    if (d->want.n_list >= 0) {
        while (d->list_at < d->want.n_list && d->want.list[d->list_at] < index) d->list_at++;
        return d->list_at < d->want.n_list && d->want.list[d->list_at] == index;
    }
    return um_frames_wants(&d->want.frames, index, d->n_total);
}

/* One past the last frame that is wanted; -1 when only the end of the file tells. */
static int64_t want_end(const um_vdec *d)
{
    if (d->want.n_times >= 0) return d->want.n_times > 0 ? -1 : 0;
    if (d->want.n_list >= 0) return d->want.n_list > 0 ? d->want.list[d->want.n_list - 1] + 1 : 0;
    return um_frames_end(&d->want.frames, d->n_total);
}

static um_status set_size(um_vdec *d, int width, int height, um_video_info *info)
{
    if (width <= 0 || height <= 0) return UM_FAIL(UM_CORRUPT, "the stream has no frame size");
    if ((int64_t)width * height > d->limits.max_pixels || width > UM_IMAGE_MAX_SIDE || height > UM_IMAGE_MAX_SIDE)
        return UM_FAIL(UM_TOO_LARGE, "frames of %dx%d are above the limit", width, height);
    d->width = width;
    d->height = height;
    bool turned = d->rotation == 90 || d->rotation == 270;
    info->width_px = turned ? height : width;
    info->height_px = turned ? width : height;
    int64_t padded = um_vdec_row_stride(width + UM_VDEC_CODED_PADDING) * (height + UM_VDEC_CODED_PADDING) + 64;
    if (d->rotation) {
        d->room.stride_bytes = um_vdec_row_stride(info->width_px);
        d->room.slot_bytes = d->room.stride_bytes * info->height_px;
        if (posix_memalign((void **)&d->upright, 64, (size_t)padded) != 0) return UM_FAIL(UM_OOM, "no memory for a frame");
    } else {
        d->room.stride_bytes = um_vdec_row_stride(width + UM_VDEC_CODED_PADDING);
        d->room.slot_bytes = padded;
    }
    return UM_OK;
}

static void fill_info(const um_vdec *d, um_video_info *info)
{
    double fps = av_q2d(d->stream->avg_frame_rate), tb = av_q2d(d->stream->time_base);
    info->rotation_deg = d->rotation;
    info->fps = isfinite(fps) && fps > 0 ? fps : 0;
    info->duration_s = 0;
    if (d->stream->duration != AV_NOPTS_VALUE && d->stream->duration > 0 && isfinite(tb))
        info->duration_s = (double)d->stream->duration * tb;
    else if (d->fmt->duration != AV_NOPTS_VALUE && d->fmt->duration > 0)
        info->duration_s = (double)d->fmt->duration / AV_TIME_BASE;
    info->n_frames = d->n_container >= 0 ? d->n_container : d->n_total >= 0 ? d->n_total : d->stream->nb_frames > 0 ? d->stream->nb_frames : -1;
    info->last_s = d->n_container >= 1 ? um_vdec_table_last_s(d) : d->packets_last_s;
    /* As OpenCV reckons: the file's duration first, then the stream's. */
    double s = d->fmt->duration > 0 ? (double)d->fmt->duration / AV_TIME_BASE : info->duration_s;
    info->n_claimed = d->stream->nb_frames > 0 ? d->stream->nb_frames : s * info->fps < 1e15 ? (int64_t)floor(s * info->fps + 0.5) : 0;
    snprintf(info->codec, sizeof info->codec, "%s", avcodec_get_name(d->stream->codecpar->codec_id));
    snprintf(info->container, sizeof info->container, "%s", d->fmt->iformat->name);
}

/* Did a file without a table of frames end before its time? Matroska writers note the length of each stream; elsewhere packets that the decoder refused at the very end tell. */
static bool ends_early(const um_vdec *d)
{
    if (d->n_container >= 0) return false;
    if (d->errors_in_a_row > 0 || d->n_absent > 0) return true;
    /* The length that is noted counts from 0, also where the stream begins later. */
    double start_s = d->first_pts != AV_NOPTS_VALUE && d->first_pts > 0 ? (double)d->first_pts * av_q2d(d->stream->time_base) : 0;
    const AVDictionaryEntry *e = av_dict_get(d->stream->metadata, "DURATION", NULL, 0);
    int h, m;
    double s;
    return e && sscanf(e->value, "%d:%d:%lf", &h, &m, &s) == 3 && h >= 0 && m >= 0 && start_s + d->frame_s + 0.5 < h * 3600.0 + m * 60.0 + s;
}

static bool wants_nothing(const um_vdec *d) { return d->want.n_times >= 0 ? d->want.n_times == 0 : d->want.n_list == 0; }

static void finish(um_vdec *d, um_video_result *r)
{
    *r = (um_video_result){.frames_given = d->frames_given, .frames_decoded = d->frames_decoded, .frames_damaged = d->frames_damaged, .end_s = -1};
    /* Frames of the file, as far as is known: those that came out, those that did not, those of the table that could not even be read. */
    int64_t n = d->n_out + d->n_absent;
    bool to_the_end = d->ended && !d->by_request;
    if (to_the_end && d->n_container > d->n_packets) {
        n += d->n_container - d->n_packets;
        d->cut_short = true;
    }
    if (to_the_end && d->frames_decoded > 0 && ends_early(d)) d->cut_short = true;
    if (!to_the_end && d->n_container > n) n = d->n_container;
    if (d->want.n_times >= 0) {
        r->frames_wanted = d->frames_given;
        if (!to_the_end)
            r->frames_wanted += d->want.n_times - d->time_at;
        else if (d->cut_short && d->lost > 0)
            r->frames_wanted += d->lost;
        if (to_the_end && d->frames_decoded > 0 && d->want.n_times > 0) r->end_s = d->last_s;
    } else if (d->want.n_list >= 0)
        r->frames_wanted = d->want.n_list;
    else
        r->frames_wanted = um_frames_count(&d->want.frames, d->n_total >= 0 ? d->n_total : n);
    bool nothing_wanted = wants_nothing(d);
    if (d->out_of_memory) {
        r->status = UM_OOM;
        snprintf(r->message, sizeof r->message, "decoding needs more memory than the limit");
    } else if (nothing_wanted) {
        r->status = UM_OK;
    } else if (d->src.failed) {
        r->status = UM_UNREADABLE;
        snprintf(r->message, sizeof r->message, "read error after frame %lld", (long long)d->n_out - 1);
    } else if (d->frames_decoded == 0 && !d->by_request) {
        r->status = um_vdec_log.too_large ? UM_TOO_LARGE : d->frames_damaged > 0 || d->cut_short || um_vdec_log.text[0] ? UM_CORRUPT : UM_ZERO_FRAMES;
        snprintf(r->message, sizeof r->message, "not one frame could be decoded%s%.160s", um_vdec_log.text[0] ? ": " : "", um_vdec_log.text);
    } else if (d->size_changed) {
        r->status = UM_PARTIAL;
        snprintf(r->message, sizeof r->message, "the frame size changes from %dx%d at frame %lld; decoding ended there", d->width, d->height, (long long)d->n_out);
    } else if (d->by_request) {
        r->status = d->given_tainted > 0 ? UM_PARTIAL : UM_OK;
    } else if (r->frames_given < r->frames_wanted || (d->cut_short && d->ended)) {
        r->status = UM_PARTIAL;
        snprintf(r->message, sizeof r->message, "%lld of %lld wanted frames%s%s%.120s", (long long)r->frames_given, (long long)r->frames_wanted,
                 d->cut_short ? "; the file ends early" : "", um_vdec_log.text[0] ? ": " : "", um_vdec_log.text);
    } else if (d->given_tainted > 0) {
        r->status = UM_PARTIAL;
        snprintf(r->message, sizeof r->message, "%lld of %lld wanted frames are damaged or follow damage%s%.120s", (long long)d->given_tainted,
                 (long long)r->frames_given, um_vdec_log.text[0] ? ": " : "", um_vdec_log.text);
    } else {
        r->status = UM_OK;
    }
    if (d->given_tainted > 0 && r->message[0] == 0 && r->status == UM_PARTIAL)
        snprintf(r->message, sizeof r->message, "%lld frames are damaged or follow damage", (long long)d->given_tainted);
}

static void release(um_vdec *d)
{
    um_vdec_drop_queue(d);
    avcodec_free_context(&d->codec);
    av_packet_free(&d->packet);
    av_frame_free(&d->frame);
    av_frame_free(&d->kept);
    sws_freeContext(d->sws);
    um_vdec_close_input(d);
    free(d->upright);
    free(d->absent);
    free(d);
}

um_status um_vdec_open(int fd, const um_vdec_want *want, const um_video_limits *limits, bool (*stopped)(void *user), void *user, um_vdec **out,
                       um_video_info *info, um_vdec_room *room, um_video_result *result)
{
    um_status st = UM_OK;
    struct stat sb;
    *out = NULL;
    *info = (um_video_info){0};
    *result = (um_video_result){0};
    um_vdec_log_start();
    um_vdec *d = calloc(1, sizeof *d);
    if (!d) {
        st = UM_FAIL(UM_OOM, "no memory for the decoder");
        goto done;
    }
    d->want = *want;
    d->limits = *limits;
    d->stopped = stopped;
    d->user = user;
    d->n_total = d->last_given = -1;
    if (want->n_times > 0 && !(d->kept = av_frame_alloc())) {
        st = UM_FAIL(UM_OOM, "no memory for the decoder");
        goto done;
    }
    d->first_pts = AV_NOPTS_VALUE;
    d->src.fd = fd;
    if (fstat(fd, &sb) != 0 || !S_ISREG(sb.st_mode)) {
        st = UM_FAIL(UM_UNREADABLE, "not a regular file");
        goto done;
    }
    d->src.size = sb.st_size;
    if (sb.st_size == 0) {
        st = UM_FAIL(UM_CORRUPT, "the file is empty");
        goto done;
    }
    UM_GOTO_PASS(st, um_vdec_open_input(d));
    d->n_container = um_vdec_table_frames(d);
    d->rotation = um_vdec_rotation(d->stream);
    d->packets_last_s = -1;
    if (want->n_times == 0 ? d->n_container < 0 : want->n_times < 0 && want->n_list < 0 && want->frames.kind == UM_FRAMES_SPREAD) {
        if (d->n_container >= 0)
            d->n_total = d->n_container;
        else
            UM_GOTO_PASS(st, um_vdec_count_packets(d));
    }
    UM_GOTO_PASS(st, um_vdec_open_codec(d));
    um_vdec_plan_leaving_out(d);
    um_vdec_times_start(d);
    if (wants_nothing(d)) {
        UM_GOTO_PASS(st, set_size(d, d->stream->codecpar->width, d->stream->codecpar->height, info));
    } else {
        /* The size that counts is the first frame's, not the header's. */
        if (!next_frame(d)) {
            finish(d, result);
            st = result->status == UM_OK ? UM_STOPPED : result->status;
            UM_FAIL(st, "%s", result->message);
            goto done;
        }
        d->pending = true;
        UM_GOTO_PASS(st, set_size(d, d->frame->width, d->frame->height, info));
    }
    fill_info(d, info);
    *room = d->room;
    *out = d;
    return UM_OK;
done:
    if (d) {
        result->frames_decoded = d->frames_decoded;
        result->frames_damaged = d->frames_damaged;
        release(d);
    }
    result->status = st;
    snprintf(result->message, sizeof result->message, "%.255s", um_err_text());
    return st;
}

um_status um_vdec_next(um_vdec *d, um_frame *out)
{
    int64_t end = want_end(d);
    *out = (um_frame){.answers = -1};
    for (;;) {
        if (!d->pending) {
            if (end >= 0 && d->n_out >= end) return UM_END;
            if (um_vdec_by_time(d) && d->time_at == d->want.n_times) return UM_END;
            if (um_vdec_by_time(d) && !um_vdec_seek_ahead(d)) start_over(d);
            if (!next_frame(d)) {
                if (!um_vdec_by_time(d) || !um_vdec_time_take_last(d, &out->answers)) return UM_END;
                break;
            }
        }
        d->pending = false;
        if (end >= 0 && d->frame_index >= end) return UM_END;
        bool wanted = um_vdec_by_time(d) ? um_vdec_time_take(d, &out->answers) : is_wanted(d, d->frame_index);
        if (wanted && d->frame_index > d->last_given) break;
    }
    d->last_given = d->frame_index;
    out->index = d->frame_index;
    out->time_s = d->frame_s;
    return UM_OK;
}

void um_vdec_stop(um_vdec *d) { d->by_request = true; }

void um_vdec_close(um_vdec *d, um_video_result *result)
{
    finish(d, result);
    release(d);
}
