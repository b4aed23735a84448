/* A file's bytes to an open stream: what is accepted, reading through our own AVIO, nothing else is ever opened. */
#include "io/video_state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* libav's headers are not clean under -Wconversion. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include <libavutil/avstring.h>
#include <libavutil/opt.h>
#pragma GCC diagnostic pop

#define IO_BUFFER_BYTES (1 << 16)

/* Demuxers (as libav names them) and decoders that are accepted; everything else is refused before it sees a byte. The demuxers read one file only: playlists, and formats that are lists of others, are not
 * among them. */
static const char *const formats[] = {UM_VDEC_MOV, "matroska,webm", "avi", "mpegts", "flv", "asf", "ogg", "mpeg"};
static const char codecs[] = "h264,hevc,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,wmv1,wmv2,wmv3,vc1,mpeg1video,mpeg2video,h263,flv,vp6f,vp8,vp9,libdav1d,av1,mjpeg,prores,dnxhd,png,"
                             "theora,rawvideo,ffv1,huffyuv,ffvhuff,utvideo,dvvideo,cinepak,svq3,qtrle";

um_vdec_log_state um_vdec_log;

static void log_catch(void *object, int level, const char *format, va_list args)
{
    (void)object;
    if (level > AV_LOG_ERROR) return;
    um_vdec_log.errors++;
    /* av_image_check_size2's words; there is no error code for a frame above max_pixels. */
    if (strncmp(format, "Picture size %ux%u", 18) == 0) um_vdec_log.too_large = true;
    if (um_vdec_log.text[0]) return;
    vsnprintf(um_vdec_log.text, sizeof um_vdec_log.text, format, args);
    um_vdec_log.text[strcspn(um_vdec_log.text, "\n")] = 0;
}

void um_vdec_log_start(void)
{
    um_vdec_log.text[0] = 0;
    um_vdec_log.too_large = false;
    av_log_set_callback(log_catch);
}

static int read_bytes(void *user, uint8_t *to, int n)
{
    um_vdec_source *s = user;
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
    um_vdec_source *s = user;
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
    if (um_vdec_log.text[0]) return um_vdec_log.text;
    av_strerror(error, text, sizeof text);
    return text;
}

void um_vdec_close_input(um_vdec *d)
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

um_status um_vdec_open_input(um_vdec *d)
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

um_status um_vdec_open_codec(um_vdec *d)
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
    if (r < 0) return UM_FAIL(um_vdec_log.too_large ? UM_TOO_LARGE : UM_CORRUPT, "the decoder %s refuses the stream: %s", codec->name, why(r));
    d->packet = av_packet_alloc();
    d->frame = av_frame_alloc();
    return d->packet && d->frame ? UM_OK : UM_FAIL(UM_OOM, "no memory for the decoder");
}
