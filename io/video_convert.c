/* Decoded frames to upright RGB. */
#include "io/video_state.h"

#include <math.h>
#include <string.h>

/* libav's headers are not clean under -Wconversion. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#pragma GCC diagnostic pop

/* The display matrix's turn, clockwise, as OpenCV applies it: quarter turns only, mirrors ignored. */
int um_vdec_rotation(const AVStream *s)
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
    if (cw < *w || ch < *h || cw - *w > UM_VDEC_CODED_PADDING || ch - *h > UM_VDEC_CODED_PADDING) return;
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

int64_t um_vdec_row_stride(int width) { return ((int64_t)width * 3 + 63) / 64 * 64; }

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
    int stride[4] = {(int)um_vdec_row_stride(d->width + UM_VDEC_CODED_PADDING)};
    if (sws_scale(d->sws, (const uint8_t *const *)f->data, f->linesize, 0, h, to, stride) < 0)
        return UM_FAIL(UM_UNSUPPORTED_CODEC, "the pixels cannot be converted");
    if (d->rotation) rotate(d->upright, stride[0], d->width, d->height, d->rotation, dst, d->room.stride_bytes);
    d->frames_given++;
    if (d->tainted) d->given_tainted++;
    return UM_OK;
}
