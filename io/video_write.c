#include "io/video_write.h"

#include "src/core/log.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavcodec/bsf.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct um_video_writer {
    um_video_writer_config config;
    AVCodecContext *encoder;
    AVBSFContext *filter; /* takes out the SEI unit in which x264 writes its version and options */
    AVFormatContext *mux;
    AVStream *stream;     /* owned by mux */
    struct SwsContext *sws;
    AVFrame *frame;
    AVPacket *packet;
    um_image turned;      /* the frame as stored, where it is turned */
    int64_t n_frames;
};

/* FFmpeg's and x264's own words go where ours go; the chatter (x264 lists its options once a video) is dropped. */
static void forward(void *who, int level, const char *fmt, va_list ap)
{
    char line[512];
    (void)who;
    if (level > AV_LOG_ERROR) return;
    vsnprintf(line, sizeof line, fmt, ap);
    line[strcspn(line, "\n")] = 0;
    um_log(UM_LOG_WARN, "H.264 encoder: %s", line);
}

static void install_forward(void) { av_log_set_callback(forward); }

static um_status fail(const char *what, int err)
{
    char text[AV_ERROR_MAX_STRING_SIZE];
    return UM_FAIL(err == AVERROR(ENOMEM) ? UM_NO_MEMORY : UM_INTERNAL, "%s: %s", what, av_make_error_string(text, sizeof text, err));
}

#define TRY_AV(call, what)                           \
    do {                                             \
        int av_ = (call);                            \
        if (av_ < 0) return fail((what), av_);       \
    } while (0)

static um_status open_encoder(um_video_writer *w, int width, int height)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    if (codec == NULL) return UM_FAIL(UM_CONFIG, "this FFmpeg cannot write H.264: it was built without libx264");
    AVCodecContext *e = w->encoder = avcodec_alloc_context3(codec);
    if (e == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for an encoder");
    e->width = width;
    e->height = height;
    e->pix_fmt = AV_PIX_FMT_YUV420P;
    e->framerate = (AVRational){w->config.fps_num, w->config.fps_den};
    e->time_base = (AVRational){w->config.fps_den, w->config.fps_num};
    e->thread_count = 1; /* more threads give other bytes for other processors */
    e->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
    TRY_AV(av_opt_set(e->priv_data, "preset", w->config.preset != NULL ? w->config.preset : "veryfast", 0), "cannot set x264's preset");
    TRY_AV(av_opt_set_double(e->priv_data, "crf", w->config.crf, 0), "cannot set x264's quality");
    /* Decisions of the encoder, so the bytes, must not depend on the instruction set it finds itself on. */
    TRY_AV(av_opt_set(e->priv_data, "x264-params", "cpu-independent=1:log=-1", 0), "cannot set x264's parameters");
    TRY_AV(avcodec_open2(e, codec, NULL), "cannot open the H.264 encoder");
    return UM_OK;
}

static um_status open_mux(um_video_writer *w)
{
    TRY_AV(avformat_alloc_output_context2(&w->mux, NULL, "mp4", NULL), "cannot make an MP4 file");
    w->mux->flags |= AVFMT_FLAG_BITEXACT;
    w->stream = avformat_new_stream(w->mux, NULL);
    if (w->stream == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a stream");
    const AVBitStreamFilter *filter = av_bsf_get_by_name("filter_units");
    if (filter == NULL) return UM_FAIL(UM_CONFIG, "this FFmpeg has no bit stream filter filter_units");
    TRY_AV(av_bsf_alloc(filter, &w->filter), "cannot make a bit stream filter");
    TRY_AV(av_opt_set(w->filter->priv_data, "remove_types", "6", 0), "cannot set up the bit stream filter");
    TRY_AV(avcodec_parameters_from_context(w->filter->par_in, w->encoder), "cannot set up the bit stream filter");
    w->filter->time_base_in = w->encoder->time_base;
    TRY_AV(av_bsf_init(w->filter), "cannot start the bit stream filter");
    TRY_AV(avcodec_parameters_copy(w->stream->codecpar, w->filter->par_out), "cannot set up the stream");
    w->stream->codecpar->codec_tag = 0;
    w->stream->time_base = w->encoder->time_base;
    w->stream->avg_frame_rate = w->encoder->framerate;
    if (w->config.rotation_deg != 0) {
        int32_t *matrix = (int32_t *)(void *)av_stream_new_side_data(w->stream, AV_PKT_DATA_DISPLAYMATRIX, 9 * sizeof(int32_t));
        if (matrix == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a display matrix");
        av_display_rotation_set(matrix, (double)w->config.rotation_deg); /* clockwise; av_display_rotation_get tells it counter-clockwise */
    }
    TRY_AV(avio_open_dyn_buf(&w->mux->pb), "cannot open a buffer");
    TRY_AV(avformat_write_header(w->mux, NULL), "cannot begin the MP4 file");
    return UM_OK;
}

static um_status open_all(um_video_writer *w)
{
    const um_video_writer_config *c = &w->config;
    bool lies = c->rotation_deg == 90 || c->rotation_deg == 270;
    int width = lies ? c->height_px : c->width_px, height = lies ? c->width_px : c->height_px;
    UM_PASS(open_encoder(w, width, height));
    UM_PASS(open_mux(w));
    w->frame = av_frame_alloc();
    w->packet = av_packet_alloc();
    /* Flags: exact rounding, and the same result on every processor. */
    w->sws = sws_getContext(width, height, AV_PIX_FMT_RGB24, width, height, AV_PIX_FMT_YUV420P, SWS_BILINEAR | SWS_ACCURATE_RND | SWS_BITEXACT, NULL, NULL, NULL);
    if (w->frame == NULL || w->packet == NULL || w->sws == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a video of %dx%d", width, height);
    w->frame->format = AV_PIX_FMT_YUV420P;
    w->frame->width = width;
    w->frame->height = height;
    TRY_AV(av_frame_get_buffer(w->frame, 0), "no memory for a frame");
    if (c->rotation_deg != 0) UM_PASS(um_image_new(width, height, 3, &w->turned));
    return UM_OK;
}

um_status um_video_writer_new(const um_video_writer_config *c, um_video_writer **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    *out = NULL;
    pthread_once(&once, install_forward);
    if (c->width_px < 16 || c->height_px < 16 || c->width_px > 8192 || c->height_px > 8192 || c->width_px % 2 != 0 || c->height_px % 2 != 0)
        return UM_FAIL(UM_USAGE, "a video of %dx%d cannot be written: sides are even and within 16 to 8192", c->width_px, c->height_px);
    if (c->rotation_deg != 0 && c->rotation_deg != 90 && c->rotation_deg != 180 && c->rotation_deg != 270)
        return UM_FAIL(UM_USAGE, "a rotation of %d degrees is not 0, 90, 180 or 270", c->rotation_deg);
    if (c->fps_num < 1 || c->fps_den < 1 || c->crf < 0 || c->crf > 51) return UM_FAIL(UM_USAGE, "a frame rate or quality outside its range");
    um_video_writer *w = calloc(1, sizeof *w);
    if (w == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a video writer");
    w->config = *c;
    um_status st = open_all(w);
    if (st != UM_OK) um_video_writer_free(w);
    else *out = w;
    return st;
}

void um_video_writer_free(um_video_writer *w)
{
    if (w == NULL) return;
    if (w->mux != NULL && w->mux->pb != NULL) {
        uint8_t *bytes = NULL;
        avio_close_dyn_buf(w->mux->pb, &bytes);
        av_free(bytes);
        w->mux->pb = NULL;
    }
    avformat_free_context(w->mux);
    av_bsf_free(&w->filter);
    avcodec_free_context(&w->encoder);
    sws_freeContext(w->sws);
    av_frame_free(&w->frame);
    av_packet_free(&w->packet);
    um_image_free(&w->turned);
    free(w);
}

/* dst becomes src turned counter-clockwise by `deg`, what a player's clockwise turn undoes. */
static void turn_back(const um_image *src, int deg, const um_image *dst)
{
    const int w = src->width_px, h = src->height_px;
    for (int y = 0; y < dst->height_px; y++) {
        uint8_t *d = dst->data + (size_t)y * dst->stride;
        for (int x = 0; x < dst->width_px; x++, d += 3) {
            int sx = deg == 90 ? w - 1 - y : deg == 180 ? w - 1 - x : y, sy = deg == 90 ? x : deg == 180 ? h - 1 - y : h - 1 - x;
            const uint8_t *s = src->data + (size_t)sy * src->stride + 3 * (size_t)sx;
            d[0] = s[0];
            d[1] = s[1];
            d[2] = s[2];
        }
    }
}

/* Moves all packets that are ready from the encoder (frame; NULL ends the stream) through the filter into the file. */
static um_status encode(um_video_writer *w, const AVFrame *frame)
{
    TRY_AV(avcodec_send_frame(w->encoder, frame), "cannot encode a frame");
    for (;;) {
        int err = avcodec_receive_packet(w->encoder, w->packet);
        if (err == AVERROR(EAGAIN)) return UM_OK;
        if (err < 0 && err != AVERROR_EOF) return fail("cannot encode a frame", err);
        bool end = err == AVERROR_EOF;
        if (!end) w->packet->duration = 1;
        TRY_AV(av_bsf_send_packet(w->filter, end ? NULL : w->packet), "cannot filter the stream");
        while ((err = av_bsf_receive_packet(w->filter, w->packet)) >= 0) {
            av_packet_rescale_ts(w->packet, w->encoder->time_base, w->stream->time_base);
            w->packet->stream_index = 0;
            TRY_AV(av_interleaved_write_frame(w->mux, w->packet), "cannot write the stream");
        }
        if (err != AVERROR(EAGAIN) && err != AVERROR_EOF) return fail("cannot filter the stream", err);
        if (end) return UM_OK;
    }
}

um_status um_video_writer_add(um_video_writer *w, const um_image *rgb)
{
    const um_image *stored = rgb;
    if (rgb->width_px != w->config.width_px || rgb->height_px != w->config.height_px || rgb->channels != 3)
        return UM_FAIL(UM_INTERNAL, "a frame of %dx%d for a video of %dx%d", rgb->width_px, rgb->height_px, w->config.width_px, w->config.height_px);
    if (w->config.rotation_deg != 0) {
        turn_back(rgb, w->config.rotation_deg, &w->turned);
        stored = &w->turned;
    }
    TRY_AV(av_frame_make_writable(w->frame), "no memory for a frame");
    const uint8_t *planes[4] = {stored->data, NULL, NULL, NULL};
    const int strides[4] = {(int)stored->stride, 0, 0, 0};
    TRY_AV(sws_scale(w->sws, planes, strides, 0, stored->height_px, w->frame->data, w->frame->linesize), "cannot convert a frame");
    w->frame->pts = w->n_frames++;
    return encode(w, w->frame);
}

um_status um_video_writer_finish(um_video_writer *w, um_buf *mp4)
{
    if (w->n_frames == 0) return UM_FAIL(UM_INTERNAL, "a video without frames");
    UM_PASS(encode(w, NULL));
    TRY_AV(av_write_trailer(w->mux), "cannot end the MP4 file");
    uint8_t *bytes = NULL;
    int n = avio_close_dyn_buf(w->mux->pb, &bytes);
    w->mux->pb = NULL;
    um_status st = n < 0 || bytes == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a video") : um_buf_add(mp4, bytes, (size_t)n);
    av_free(bytes);
    return st;
}
