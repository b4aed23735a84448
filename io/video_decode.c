#include "io/video_decode.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* libav's headers are not clean under -Wconversion. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#pragma GCC diagnostic pop

#define IO_BUFFER_BYTES (1 << 16)
#define MAX_ABSENT (1 << 20)      /* remembered packets without a frame; past this they are no longer told apart from the others */
#define MAX_ERRORS_IN_A_ROW 1000  /* refused packets without a frame between: the rest is given up */
#define MAX_CODED_PADDING 128     /* pixels by which a decoder's coded size may exceed the frame's */

/* Demuxers (as libav names them) and decoders that are accepted; everything else is refused before it sees a byte. The demuxers read one file only: playlists, and formats that are lists of others, are not
 * among them. */
static const char *const formats[] = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "flv", "asf", "ogg", "mpeg"};
static const char codecs[] = "h264,hevc,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,wmv1,wmv2,wmv3,vc1,mpeg1video,mpeg2video,h263,flv,vp6f,vp8,vp9,libdav1d,av1,mjpeg,prores,dnxhd,png,"
                             "theora,rawvideo,ffv1,huffyuv,ffvhuff,utvideo,dvvideo,cinepak,svq3,qtrle";

/* Leaving out frames that nobody wants. A packet of H.264 that no other frame refers to can be dropped before the decoder sees it; the others' pixels do not change. Which packet is which frame is known only
 * if the container numbers them: a packet's number is its rank by presentation time, and that is certain once a packet was read ahead whose decoding time is not smaller (presentation never precedes decoding).
 * Every frame that comes out is checked against its rank. At the first contradiction the file is read again from the start without leaving anything out, so a strange file costs time, never a wrong number. */
#define QUEUE 64
typedef struct ranked {
    int64_t pts, rank;
} ranked;

typedef struct source {
    int fd;
    int64_t at, size;
    bool failed; /* a read error of the disk or network, not of the content */
} source;

struct um_vdec {
    source src;
    um_video_limits limits;
    um_vdec_want want;
    bool (*stopped)(void *user);
    void *user;

    AVIOContext *io;
    AVFormatContext *fmt;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame;
    struct SwsContext *sws;
    AVStream *stream; /* borrowed from fmt */

    /* Size of the first frame, before rotation: what all others must have. */
    int width, height, rotation;
    um_vdec_room room;
    uint8_t *upright; /* the converted frame before it is turned; only when it must be */

    int64_t n_total;        /* frames of the file, for `spread`; -1 = not counted */
    int64_t n_container;    /* frames the container's table lists, -1 = it has none that can be trusted */
    int64_t n_packets;      /* packets of the stream that were read and whose frame is to be shown */
    int64_t n_out;          /* number of the next frame, as far as frames that came out tell */
    int64_t *absent;        /* presentation times of packets whose frame did not come out */
    int n_absent, cap_absent;
    int64_t list_at;
    int64_t first_pts;
    int64_t frame_index;
    double frame_s;
    bool pending;           /* frame holds a frame that was not looked at yet */
    bool draining, ended;   /* ended: no more frames; the numbers are final */
    bool tainted;           /* something was damaged since the last intact key frame */
    bool cut_short;         /* the file ended before its own tables said so, or could not be read on */
    bool size_changed, out_of_memory, by_request;
    int errors_in_a_row;
    int64_t frames_decoded, frames_damaged, frames_given, given_tainted;
    int64_t last_given;     /* index, -1 = none */

    bool leave_out, contradiction;
    int nal_length_bytes;
    AVPacket *queue[QUEUE]; /* read ahead, in decoding order: a ring */
    int queue_at, n_queue;
    bool queue_end;
    int64_t last_dts;
    ranked taken[QUEUE];    /* the last packets taken from the queue: a ring */
    int64_t n_taken;
};

/* The first error that libav logs says more than its error codes: "moov atom not found". Kept for the row's message. */
static char log_text[160];
static bool log_too_large;
static int64_t log_errors;

static void log_catch(void *object, int level, const char *format, va_list args)
{
    (void)object;
    if (level > AV_LOG_ERROR) return;
    log_errors++;
    /* av_image_check_size2's words; there is no error code for a frame above max_pixels. */
    if (strncmp(format, "Picture size %ux%u", 18) == 0) log_too_large = true;
    if (log_text[0]) return;
    vsnprintf(log_text, sizeof log_text, format, args);
    log_text[strcspn(log_text, "\n")] = 0;
}

static int read_bytes(void *user, uint8_t *to, int n)
{
    source *s = user;
    int64_t left = s->size - s->at;
    if (left <= 0) return AVERROR_EOF;
    if (n > left) n = (int)left;
    ssize_t r;
    do r = pread(s->fd, to, (size_t)n, s->at);
    while (r < 0 && errno == EINTR);
    if (r < 0) {
        s->failed = true;
        return AVERROR(errno);
    }
    if (r == 0) return AVERROR_EOF;
    s->at += r;
    return (int)r;
}

static int64_t seek_bytes(void *user, int64_t to, int whence)
{
    source *s = user;
    whence &= ~AVSEEK_FORCE;
    if (whence == AVSEEK_SIZE) return s->size;
    if (whence == SEEK_CUR) to = to > INT64_MAX - s->at ? INT64_MAX : to + s->at;
    if (whence == SEEK_END) to = to > 0 ? INT64_MAX : to + s->size;
    if (to < 0) return AVERROR(EINVAL);
    s->at = to;
    return to;
}

/* Nothing that a file names is ever opened. */
static int refuse_open(AVFormatContext *f, AVIOContext **io, const char *url, int flags, AVDictionary **options)
{
    (void)f, (void)io, (void)url, (void)flags, (void)options;
    return AVERROR(EPERM);
}

static const char *why(int error)
{
    static char text[AV_ERROR_MAX_STRING_SIZE];
    if (log_text[0]) return log_text;
    av_strerror(error, text, sizeof text);
    return text;
}

static void close_input(um_vdec *d)
{
    if (d->fmt) avformat_close_input(&d->fmt);
    if (d->io) {
        av_freep(&d->io->buffer);
        avio_context_free(&d->io);
    }
    d->stream = NULL;
}

static AVDictionary *codec_options(const um_vdec *d)
{
    AVDictionary *o = NULL;
    av_dict_set(&o, "threads", "1", 0);
    av_dict_set_int(&o, "max_pixels", d->limits.max_pixels, 0);
    av_dict_set(&o, "codec_whitelist", codecs, 0);
    return o;
}

/* Which stream: libav's choice (as OpenCV's), but never an attached picture. */
static AVStream *choose_stream(AVFormatContext *f)
{
    int best = av_find_best_stream(f, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    const int picture = AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_TIMED_THUMBNAILS;
    if (best >= 0 && !(f->streams[best]->disposition & picture)) return f->streams[best];
    for (unsigned i = 0; i < f->nb_streams; i++)
        if (f->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO && !(f->streams[i]->disposition & picture)) return f->streams[i];
    return NULL;
}

static um_status open_input(um_vdec *d)
{
    um_status st = UM_OK;
    const AVInputFormat *format = NULL;
    AVDictionary **stream_options = NULL;
    unsigned n_streams = 0;
    d->src.at = 0;
    uint8_t *buffer = av_malloc(IO_BUFFER_BYTES);
    if (!buffer) return UM_FAIL(UM_OOM, "no memory for reading");
    d->io = avio_alloc_context(buffer, IO_BUFFER_BYTES, 0, &d->src, read_bytes, NULL, seek_bytes);
    if (!d->io) {
        av_free(buffer);
        return UM_FAIL(UM_OOM, "no memory for reading");
    }
    int r = av_probe_input_buffer2(d->io, &format, "", NULL, 0, 0);
    if (d->src.failed) return UM_FAIL(UM_UNREADABLE, "read error");
    if (r == AVERROR(ENOMEM)) return UM_FAIL(UM_OOM, "no memory for reading");
    if (r < 0 || !format) return UM_FAIL(UM_UNSUPPORTED_FORMAT, "not a video container");
    bool accepted = false;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) accepted = accepted || strcmp(formats[i], format->name) == 0;
    if (!accepted) return UM_FAIL(UM_UNSUPPORTED_FORMAT, "looks like %s, which is not accepted", format->name);

    d->fmt = avformat_alloc_context();
    if (!d->fmt) return UM_FAIL(UM_OOM, "no memory for reading");
    d->fmt->pb = d->io;
    d->fmt->flags |= AVFMT_FLAG_CUSTOM_IO;
    d->fmt->io_open = refuse_open;
    d->fmt->max_streams = d->limits.max_streams;
    d->fmt->protocol_whitelist = av_strdup("none");
    d->fmt->format_whitelist = av_strdup(format->name);
    d->fmt->codec_whitelist = av_strdup(codecs);
    r = avformat_open_input(&d->fmt, "", format, NULL);
    if (r < 0) goto bad;

    n_streams = d->fmt->nb_streams;
    if (n_streams > 0 && !(stream_options = av_calloc(n_streams, sizeof *stream_options))) {
        r = AVERROR(ENOMEM);
        goto bad;
    }
    for (unsigned i = 0; i < n_streams; i++) {
        stream_options[i] = codec_options(d);
        if (d->fmt->streams[i]->codecpar->codec_type != AVMEDIA_TYPE_VIDEO) d->fmt->streams[i]->discard = AVDISCARD_ALL;
    }
    r = avformat_find_stream_info(d->fmt, stream_options);
    if (r < 0) goto bad;
    d->stream = choose_stream(d->fmt);
    if (!d->stream) {
        st = UM_FAIL(UM_NO_VIDEO, "no video stream among %u stream%s", d->fmt->nb_streams, d->fmt->nb_streams == 1 ? "" : "s");
        goto done;
    }
    for (unsigned i = 0; i < d->fmt->nb_streams; i++)
        if (d->fmt->streams[i] != d->stream) d->fmt->streams[i]->discard = AVDISCARD_ALL;
    goto done;
bad:
    if (d->src.failed)
        st = UM_FAIL(UM_UNREADABLE, "read error");
    else if (r == AVERROR(ENOMEM))
        st = UM_FAIL(UM_OOM, "the headers ask for more memory than the limit");
    else if (r == AVERROR_PATCHWELCOME)
        st = UM_FAIL(UM_UNSUPPORTED_FORMAT, "the container uses a feature that is not supported: %s", why(r));
    else
        st = UM_FAIL(UM_CORRUPT, "the container cannot be read: %s", why(r));
done:
    for (unsigned i = 0; i < n_streams && stream_options; i++) av_dict_free(&stream_options[i]);
    av_freep(&stream_options);
    return st;
}

static um_status open_codec(um_vdec *d)
{
    const AVCodecParameters *p = d->stream->codecpar;
    const AVCodec *codec = avcodec_find_decoder(p->codec_id);
    if (!codec || av_match_list(codec->name, codecs, ',') <= 0)
        return UM_FAIL(UM_UNSUPPORTED_CODEC, "codec %s is not accepted", avcodec_get_name(p->codec_id));
    if (p->width > 0 && p->height > 0 && (int64_t)p->width * p->height > d->limits.max_pixels)
        return UM_FAIL(UM_TOO_LARGE, "frames of %dx%d are above the limit of %lld pixels (decoder.megapixels raises it)", p->width, p->height, (long long)d->limits.max_pixels);
    d->codec = avcodec_alloc_context3(codec);
    if (!d->codec) return UM_FAIL(UM_OOM, "no memory for the decoder");
    AVDictionary *o = codec_options(d);
    int r = avcodec_parameters_to_context(d->codec, p);
    d->codec->pkt_timebase = d->stream->time_base;
    if (r >= 0) r = avcodec_open2(d->codec, codec, &o);
    av_dict_free(&o);
    if (r == AVERROR(ENOMEM)) return UM_FAIL(UM_OOM, "no memory for the decoder");
    if (r == AVERROR_PATCHWELCOME) return UM_FAIL(UM_UNSUPPORTED_CODEC, "codec %s: %s", codec->name, why(r));
    if (r < 0) return UM_FAIL(log_too_large ? UM_TOO_LARGE : UM_CORRUPT, "the decoder %s refuses the stream: %s", codec->name, why(r));
    d->packet = av_packet_alloc();
    d->frame = av_frame_alloc();
    return d->packet && d->frame ? UM_OK : UM_FAIL(UM_OOM, "no memory for the decoder");
}

/* Is the packet's frame one that is shown? VP8 keeps its invisible reference frames in packets of their own; other codecs do not. */
static bool packet_shown(const um_vdec *d, const AVPacket *p)
{
    if (p->flags & AV_PKT_FLAG_DISCARD) return false;
    if (d->stream->codecpar->codec_id == AV_CODEC_ID_VP8 && p->size > 0) return (p->data[0] & 0x10) != 0;
    return true;
}

/* Frames that the container's own table lists, -1 when there is none. MP4 has one entry a sample; entries that an edit list hides are marked. */
static int64_t table_frames(const um_vdec *d)
{
    if (strcmp(d->fmt->iformat->name, formats[0]) == 0 && d->stream->nb_frames > 0) {
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
static um_status count_packets(um_vdec *d)
{
    AVPacket *p = av_packet_alloc();
    if (!p) return UM_FAIL(UM_OOM, "no memory for reading");
    int64_t n = 0;
    int index = d->stream->index;
    while (!(d->stopped && d->stopped(d->user)) && av_read_frame(d->fmt, p) >= 0) {
        if (p->stream_index == index && packet_shown(d, p)) n++;
        av_packet_unref(p);
    }
    av_packet_free(&p);
    close_input(d);
    UM_PASS(open_input(d));
    d->n_total = n;
    return UM_OK;
}

static void note_absent(um_vdec *d, int64_t pts)
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

/* The decoder would not take the last packet. Its frame keeps its number if the container tells its time. */
static void note_refused(um_vdec *d, int error)
{
    if (error == AVERROR(ENOMEM)) d->out_of_memory = true;
    d->frames_damaged++;
    d->tainted = true;
    d->errors_in_a_row++;
    if (!d->draining && packet_shown(d, d->packet)) note_absent(d, d->packet->pts);
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
    double fps = av_q2d(d->stream->avg_frame_rate);
    if (pts != AV_NOPTS_VALUE && d->first_pts != AV_NOPTS_VALUE)
        d->frame_s = ((double)pts - (double)d->first_pts) * av_q2d(d->stream->time_base);
    else
        d->frame_s = isfinite(fps) && fps > 0 ? (double)d->frame_index / fps : 0;
    d->frames_decoded++;
    d->errors_in_a_row = 0;
    if (f->decode_error_flags || (f->flags & AV_FRAME_FLAG_CORRUPT)) {
        d->frames_damaged++;
        d->tainted = true;
    } else if (f->key_frame) {
        d->tainted = false;
    }
}

/* Puts the stream's next packet into d->packet. False at the end. */
static bool read_packet(um_vdec *d, AVPacket *p)
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
        if (packet_shown(d, p)) d->n_packets++;
        if (p->flags & AV_PKT_FLAG_CORRUPT) {
            d->frames_damaged++;
            d->tainted = true;
        }
        return true;
    }
}

/* May unwanted frames of this stream be left out? */
static void plan_leaving_out(um_vdec *d)
{
    const AVCodecParameters *p = d->stream->codecpar;
    bool few = d->want.n_list >= 0 || d->want.frames.kind == UM_FRAMES_SPREAD || (d->want.frames.kind == UM_FRAMES_EVERY && d->want.frames.step > 1);
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
static bool next_packet(um_vdec *d)
{
    if (!d->leave_out) return read_packet(d, d->packet);
    for (;;) {
        /* Read ahead until the number of the first in the queue is certain. */
        const AVPacket *first = d->n_queue > 0 ? d->queue[d->queue_at] : NULL;
        while (!d->queue_end && (!first || d->last_dts < first->pts)) {
            if (d->n_queue == QUEUE) {
                d->contradiction = true;
                return false;
            }
            AVPacket **p = &d->queue[(d->queue_at + d->n_queue) % QUEUE];
            if (!*p && !(*p = av_packet_alloc())) {
                d->out_of_memory = true;
                return false;
            }
            if (!read_packet(d, *p)) {
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
        d->queue_at = (d->queue_at + 1) % QUEUE;
        d->n_queue--;
        if (!packet_shown(d, d->packet)) return true;
        int64_t pts = d->packet->pts, rank = d->n_taken;
        for (int64_t i = d->n_taken < QUEUE ? 0 : d->n_taken - QUEUE; i < d->n_taken; i++)
            if (d->taken[i % QUEUE].pts > pts) rank--;
        for (int i = 0; i < d->n_queue; i++) {
            const AVPacket *q = d->queue[(d->queue_at + i) % QUEUE];
            if (packet_shown(d, q) && q->pts < pts) rank++;
        }
        d->taken[d->n_taken++ % QUEUE] = (ranked){pts, rank};
        if (rank_wanted(d, rank) || !packet_disposable(d, d->packet)) return true;
        note_absent(d, pts);
    }
}

/* Is the frame's number the rank of its packet? */
static bool rank_agrees(const um_vdec *d)
{
    for (int64_t i = d->n_taken < QUEUE ? 0 : d->n_taken - QUEUE; i < d->n_taken; i++)
        if (d->taken[i % QUEUE].pts == d->frame->pts) return d->taken[i % QUEUE].rank == d->frame_index;
    return false;
}

static void drop_queue(um_vdec *d)
{
    for (int i = 0; i < QUEUE; i++) av_packet_free(&d->queue[i]);
    d->queue_at = d->n_queue = 0;
}

/* Reads the file again from its start, leaving nothing out. */
static void start_over(um_vdec *d)
{
    drop_queue(d);
    avcodec_free_context(&d->codec);
    av_packet_free(&d->packet);
    av_frame_free(&d->frame);
    close_input(d);
    d->leave_out = d->contradiction = d->draining = d->tainted = d->cut_short = false;
    d->n_packets = d->n_out = d->frames_decoded = d->frames_damaged = d->n_absent = d->errors_in_a_row = 0;
    if (open_input(d) != UM_OK || open_codec(d) != UM_OK) d->cut_short = d->ended = true;
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
            if (d->leave_out && !rank_agrees(d)) {
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
            if (next_packet(d)) {
                int64_t errors = log_errors;
                r = avcodec_send_packet(d->codec, d->packet);
                /* libav's HEVC decoder neither refuses nor flags damaged slices; it only says so. */
                if (r >= 0 && log_errors > errors && d->codec->codec_id == AV_CODEC_ID_HEVC) {
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
    if (d->want.n_list >= 0) return d->want.n_list > 0 ? d->want.list[d->want.n_list - 1] + 1 : 0;
    return um_frames_end(&d->want.frames, d->n_total);
}

/* The display matrix's turn, clockwise, as OpenCV applies it: quarter turns only, mirrors ignored. */
static int stream_rotation(const AVStream *s)
{
    size_t n = 0;
    const uint8_t *m = av_stream_get_side_data(s, AV_PKT_DATA_DISPLAYMATRIX, &n);
    if (!m || n < 9 * sizeof(int32_t)) return 0;
    int32_t matrix[9];
    memcpy(matrix, m, sizeof matrix);
    double a = av_display_rotation_get(matrix);
    if (!isfinite(a)) return 0;
    int deg = (int)-lrint(a) % 360;
    if (deg < 0) deg += 360;
    return deg == 90 || deg == 180 || deg == 270 ? deg : 0;
}

/* OpenCV converts the coded picture, whole macroblocks, and cuts the edge off afterwards; the scaler picks its routine by the size it is given, so we must do the same to get the same pixels. Used only where
 * the frame's buffers really hold that much. */
static void coded_size(const um_vdec *d, const AVFrame *f, int *w, int *h)
{
    *w = f->width;
    *h = f->height;
    int cw = d->codec->coded_width, ch = d->codec->coded_height;
    if (cw < *w || ch < *h || cw - *w > MAX_CODED_PADDING || ch - *h > MAX_CODED_PADDING) return;
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(f->format);
    if (!desc || (desc->flags & (AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_PAL))) return;
    for (int p = 0; p < av_pix_fmt_count_planes(f->format); p++) {
        const AVBufferRef *b = av_frame_get_plane_buffer((AVFrame *)f, p);
        int row = av_image_get_linesize(f->format, cw, p);
        int rows = p == 1 || p == 2 ? AV_CEIL_RSHIFT(ch, desc->log2_chroma_h) : ch;
        if (!b || f->linesize[p] <= 0 || row <= 0 || row > f->linesize[p]) return;
        int64_t room = b->data + b->size - f->data[p];
        if ((int64_t)f->linesize[p] * (rows - 1) + row > room) return;
    }
    *w = cw;
    *h = ch;
}

static int64_t row_stride(int width) { return ((int64_t)width * 3 + 63) / 64 * 64; }

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
    int64_t padded = row_stride(width + MAX_CODED_PADDING) * (height + MAX_CODED_PADDING) + 64;
    if (d->rotation) {
        d->room.stride_bytes = row_stride(info->width_px);
        d->room.slot_bytes = d->room.stride_bytes * info->height_px;
        if (posix_memalign((void **)&d->upright, 64, (size_t)padded) != 0) return UM_FAIL(UM_OOM, "no memory for a frame");
    } else {
        d->room.stride_bytes = row_stride(width + MAX_CODED_PADDING);
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
    snprintf(info->codec, sizeof info->codec, "%s", avcodec_get_name(d->stream->codecpar->codec_id));
    snprintf(info->container, sizeof info->container, "%s", d->fmt->iformat->name);
}

/* Did a file without a table of frames end before its time? Matroska writers note the length of each stream; elsewhere packets that the decoder refused at the very end tell. */
static bool ends_early(const um_vdec *d)
{
    if (d->n_container >= 0) return false;
    if (d->errors_in_a_row > 0 || d->n_absent > 0) return true;
    const AVDictionaryEntry *e = av_dict_get(d->stream->metadata, "DURATION", NULL, 0);
    int h, m;
    double s;
    return e && sscanf(e->value, "%d:%d:%lf", &h, &m, &s) == 3 && h >= 0 && m >= 0 && d->frame_s + 0.5 < h * 3600.0 + m * 60.0 + s;
}

static void finish(um_vdec *d, um_video_result *r)
{
    *r = (um_video_result){.frames_given = d->frames_given, .frames_decoded = d->frames_decoded, .frames_damaged = d->frames_damaged};
    /* Frames of the file, as far as is known: those that came out, those that did not, those of the table that could not even be read. */
    int64_t n = d->n_out + d->n_absent;
    bool to_the_end = d->ended && !d->by_request;
    if (to_the_end && d->n_container > d->n_packets) {
        n += d->n_container - d->n_packets;
        d->cut_short = true;
    }
    if (to_the_end && d->frames_decoded > 0 && ends_early(d)) d->cut_short = true;
    if (!to_the_end && d->n_container > n) n = d->n_container;
    if (d->want.n_list >= 0)
        r->frames_wanted = d->want.n_list;
    else
        r->frames_wanted = um_frames_count(&d->want.frames, d->n_total >= 0 ? d->n_total : n);
    bool nothing_wanted = d->want.n_list == 0;
    if (d->out_of_memory) {
        r->status = UM_OOM;
        snprintf(r->message, sizeof r->message, "decoding needs more memory than the limit");
    } else if (nothing_wanted) {
        r->status = UM_OK;
    } else if (d->src.failed) {
        r->status = UM_UNREADABLE;
        snprintf(r->message, sizeof r->message, "read error after frame %lld", (long long)d->n_out - 1);
    } else if (d->frames_decoded == 0 && !d->by_request) {
        r->status = log_too_large ? UM_TOO_LARGE : d->frames_damaged > 0 || d->cut_short || log_text[0] ? UM_CORRUPT : UM_ZERO_FRAMES;
        snprintf(r->message, sizeof r->message, "not one frame could be decoded%s%.160s", log_text[0] ? ": " : "", log_text);
    } else if (d->size_changed) {
        r->status = UM_PARTIAL;
        snprintf(r->message, sizeof r->message, "the frame size changes from %dx%d at frame %lld; decoding ended there", d->width, d->height, (long long)d->n_out);
    } else if (d->by_request) {
        r->status = d->given_tainted > 0 ? UM_PARTIAL : UM_OK;
    } else if (r->frames_given < r->frames_wanted || (d->cut_short && d->ended)) {
        r->status = UM_PARTIAL;
        snprintf(r->message, sizeof r->message, "%lld of %lld wanted frames%s%s%.120s", (long long)r->frames_given, (long long)r->frames_wanted,
                 d->cut_short ? "; the file ends early" : "", log_text[0] ? ": " : "", log_text);
    } else if (d->given_tainted > 0) {
        r->status = UM_PARTIAL;
        snprintf(r->message, sizeof r->message, "%lld of %lld wanted frames are damaged or follow damage%s%.120s", (long long)d->given_tainted,
                 (long long)r->frames_given, log_text[0] ? ": " : "", log_text);
    } else {
        r->status = UM_OK;
    }
    if (d->given_tainted > 0 && r->message[0] == 0 && r->status == UM_PARTIAL)
        snprintf(r->message, sizeof r->message, "%lld frames are damaged or follow damage", (long long)d->given_tainted);
}

static void release(um_vdec *d)
{
    drop_queue(d);
    avcodec_free_context(&d->codec);
    av_packet_free(&d->packet);
    av_frame_free(&d->frame);
    sws_freeContext(d->sws);
    close_input(d);
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
    log_text[0] = 0;
    log_too_large = false;
    av_log_set_callback(log_catch);
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
    UM_GOTO_PASS(st, open_input(d));
    d->n_container = table_frames(d);
    d->rotation = stream_rotation(d->stream);
    if (want->n_list < 0 && want->frames.kind == UM_FRAMES_SPREAD) {
        if (d->n_container >= 0)
            d->n_total = d->n_container;
        else
            UM_GOTO_PASS(st, count_packets(d));
    }
    UM_GOTO_PASS(st, open_codec(d));
    plan_leaving_out(d);
    if (want->n_list == 0) {
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

um_status um_vdec_next(um_vdec *d, int64_t *index, double *time_s)
{
    int64_t end = want_end(d);
    for (;;) {
        if (!d->pending) {
            if (end >= 0 && d->n_out >= end) return UM_END;
            if (!next_frame(d)) return UM_END;
        }
        d->pending = false;
        if (end >= 0 && d->frame_index >= end) return UM_END;
        if (d->frame_index > d->last_given && is_wanted(d, d->frame_index)) break;
    }
    d->last_given = d->frame_index;
    *index = d->frame_index;
    *time_s = d->frame_s;
    return UM_OK;
}

/* dst(x, y) of a w x h picture turned clockwise by `deg`; blocks keep both sides in the cache. */
static void rotate(const uint8_t *src, int64_t src_stride, int w, int h, int deg, uint8_t *dst, int64_t dst_stride)
{
    enum { BLOCK = 32 };
    for (int y0 = 0; y0 < h; y0 += BLOCK) {
        int y1 = y0 + BLOCK < h ? y0 + BLOCK : h;
        for (int x0 = 0; x0 < w; x0 += BLOCK) {
            int x1 = x0 + BLOCK < w ? x0 + BLOCK : w;
            for (int y = y0; y < y1; y++) {
                const uint8_t *s = src + y * src_stride;
                for (int x = x0; x < x1; x++) {
                    int dx = deg == 90 ? h - 1 - y : deg == 180 ? w - 1 - x : y;
                    int dy = deg == 90 ? x : deg == 180 ? h - 1 - y : w - 1 - x;
                    uint8_t *t = dst + dy * dst_stride + (int64_t)dx * 3;
                    t[0] = s[x * 3], t[1] = s[x * 3 + 1], t[2] = s[x * 3 + 2];
                }
            }
        }
    }
}

um_status um_vdec_convert(um_vdec *d, uint8_t *dst)
{
    AVFrame *f = d->frame;
    int w, h;
    coded_size(d, f, &w, &h);
    if (!sws_isSupportedInput(f->format)) {
        const char *name = av_get_pix_fmt_name(f->format);
        return UM_FAIL(UM_UNSUPPORTED_CODEC, "pixel format %s is not accepted", name ? name : "?");
    }
    d->sws = sws_getCachedContext(d->sws, w, h, f->format, w, h, AV_PIX_FMT_RGB24, SWS_BICUBIC, NULL, NULL, NULL);
    if (!d->sws) return UM_FAIL(UM_OOM, "no memory for the pixel conversion");
    uint8_t *to[4] = {d->rotation ? d->upright : dst};
    int stride[4] = {(int)row_stride(d->width + MAX_CODED_PADDING)};
    if (sws_scale(d->sws, (const uint8_t *const *)f->data, f->linesize, 0, h, to, stride) < 0)
        return UM_FAIL(UM_UNSUPPORTED_CODEC, "the pixels cannot be converted");
    if (d->rotation) rotate(d->upright, stride[0], d->width, d->height, d->rotation, dst, d->room.stride_bytes);
    d->frames_given++;
    if (d->tainted) d->given_tainted++;
    return UM_OK;
}

void um_vdec_stop(um_vdec *d) { d->by_request = true; }

void um_vdec_close(um_vdec *d, um_video_result *result)
{
    finish(d, result);
    release(d);
}
