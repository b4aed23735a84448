/* The kernels of src/nn/cuda/image.h in the emulator against their twins on the processor, byte for byte: 4:2:0 to RGB against libswscale as io/video_convert.c calls it, Pillow's bicubic, crops of faces, the classifier's letterbox.
 *
 * usage: test_emu_image yuv|resize|crops|letterbox */
#include "src/core/rng.h"
#include "src/detect/crop.h"
#include "src/image/cvresize.h"
#include "src/image/resize.h"
#include "src/image/resize_kernels.h"
#include "src/nn/cuda/device.h"
#include "src/nn/cuda/image.h"
#include "tests/emu/train_check.h"

#include <libavutil/log.h>
#include <libswscale/swscale.h>

static uint8_t *host_bytes(size_t n) { return host_block(n); }
/* Noise, with flat and saturated stretches. */
static uint8_t *random_bytes(size_t n)
{
    um_rng r = um_rng_stream(11, check_stream++, 0, UM_RNG_TEST);
    uint8_t *p = host_bytes(n);
    for (size_t i = 0; i < n; i++) p[i] = i / 7 % 5 == 0 ? 0 : i / 11 % 6 == 0 ? 255 : (uint8_t)um_rng_uniform(&r, 0, 256);
    return p;
}
/* Places that differ; the first is told. */
static long differences(const uint8_t *got, const uint8_t *want, size_t n, const char *what)
{
    long k = 0;
    for (size_t i = 0; i < n; i++)
        if (got[i] != want[i] && k++ == 0) printf("%s: byte %zu is %d, want %d\n", what, i, got[i], want[i]);
    return k;
}

/* ---- 4:2:0 ---- */

/* As io/video_convert.c: libswscale converts whole macroblocks, the frame is cut out of them and turned. */
static void check_yuv(int w, int h, int turn_deg, bool full_range, bool nv12)
{
    enum { FRAMES = 2, SPARE = 5, ROOM = 64 /* pixels: libswscale writes whole vectors, and fewer pixels where a row has no room for them */ };
    const int coded_w = (w + 15) / 16 * 16, coded_h = (h + 15) / 16 * 16;
    const size_t cw = (size_t)coded_w / 2, ch = (size_t)coded_h / 2, y_pitch = (size_t)coded_w + SPARE, each = nv12 ? 2 : 1, c_pitch = cw * each + SPARE, y_step = y_pitch * (size_t)coded_h + 64, c_step = c_pitch * ch + 64;
    const size_t out_step = (size_t)w * (size_t)h * 3, to_step = (size_t)(coded_w + ROOM) * 3;
    uint8_t *y = random_bytes(y_step * FRAMES), *u = random_bytes(c_step * FRAMES), *v = nv12 ? u + 1 : random_bytes(c_step * FRAMES);
    uint8_t *planar_u = host_bytes(cw * ch + 64), *planar_v = host_bytes(cw * ch + 64), *want = host_bytes(out_step), *padded = host_bytes(to_step * (size_t)coded_h);
    const uint8_t *dy = device_copy(y, y_step * FRAMES), *du = device_copy(u, c_step * FRAMES), *dv = nv12 ? du + 1 : device_copy(v, c_step * FRAMES);
    um_gpu_yuv_args a = {.n = FRAMES, .h = h, .w = w, .turn_deg = turn_deg, .full_range = full_range, .chroma_each = (int)each, .y = dy, .u = du, .v = dv, .y_pitch = y_pitch, .chroma_pitch = c_pitch, .y_step = y_step, .chroma_step = c_step, .out = device_block(out_step * FRAMES)};
    RUN(um_gpu_yuv(&a, um_gpu_get()->stream));
    const uint8_t *got = back(a.out, out_step * FRAMES);
    struct SwsContext *sws = sws_getContext(coded_w, coded_h, full_range ? AV_PIX_FMT_YUVJ420P : AV_PIX_FMT_YUV420P, coded_w, coded_h, AV_PIX_FMT_RGB24, SWS_BICUBIC, NULL, NULL, NULL);
    for (size_t n = 0; n < FRAMES; n++) {
        for (size_t r = 0; r < ch; r++)
            for (size_t x = 0; x < cw; x++) {
                planar_u[r * cw + x] = u[n * c_step + r * c_pitch + x * each];
                planar_v[r * cw + x] = v[n * c_step + r * c_pitch + x * each];
            }
        const uint8_t *const from[4] = {y + n * y_step, planar_u, planar_v};
        const int from_pitch[4] = {(int)y_pitch, (int)cw, (int)cw}, to_pitch[4] = {(int)to_step};
        uint8_t *const to[4] = {padded};
        CHECK_INT(sws_scale(sws, from, from_pitch, 0, coded_h, to, to_pitch), coded_h);
        for (int r = 0; r < h; r++)
            for (int x = 0; x < w; x++) {
                int at = turn_deg == 90 ? x * h + h - 1 - r : turn_deg == 180 ? (h - 1 - r) * w + w - 1 - x : turn_deg == 270 ? (w - 1 - x) * h + r : r * w + x;
                memcpy(want + (size_t)at * 3, padded + (size_t)r * to_step + (size_t)x * 3, 3);
            }
        long n_off = differences(got + n * out_step, want, out_step, nv12 ? "NV12" : "planar");
        if (n_off > 0) printf("%dx%d turned by %d, %s: %ld of %zu bytes differ\n", w, h, turn_deg, full_range ? "full" : "limited", n_off, out_step);
        CHECK_INT(n_off, 0);
    }
    sws_freeContext(sws);
    check_release();
}

static void check_yuvs(void)
{
    static const int side[][2] = {{64, 16}, {98, 34}, {161, 121}, {320, 180}, {33, 18}, {22, 7}, {2, 2}, {1, 1}};
    av_log_set_level(AV_LOG_ERROR); /* that YUVJ is an old name */
    for (size_t i = 0; i < sizeof side / sizeof side[0]; i++)
        for (int k = 0; k < 4; k++) check_yuv(side[i][0], side[i][1], (int)(i + (size_t)k) % 4 * 90, k % 2 == 1, k / 2 == 1);
}

/* ---- Pillow's bicubic ---- */

static um_gpu_resize_axis upload_axis(const um_resize_axis *a, int n_in, int n_out)
{
    um_gpu_resize_axis d = {.n_in = n_in, .n_out = n_out, .taps = a->taps};
    if (n_in == n_out) return d;
    d.first = device_copy(a->first, (size_t)n_out * sizeof *a->first);
    d.n = device_copy(a->n, (size_t)n_out * sizeof *a->n);
    d.weight = device_copy(a->weight, (size_t)n_out * (size_t)a->taps * sizeof *a->weight);
    return d;
}

static void check_resize(int w, int h, int to_w, int to_h)
{
    enum { FRAMES = 2 };
    const size_t in_step = (size_t)w * (size_t)h * 3, out_step = (size_t)to_w * (size_t)to_h * 3;
    uint8_t *in = random_bytes(in_step * FRAMES), *want = host_bytes(out_step);
    um_resize_axis x = {0}, y = {0};
    um_resize *r = um_resize_new();
    CHECK_OK(um_resize_axis_init(&x, w, to_w));
    CHECK_OK(um_resize_axis_init(&y, h, to_h));
    bool both = w != to_w && h != to_h;
    um_gpu_resize_args a = {.n = FRAMES, .x = upload_axis(&x, w, to_w), .y = upload_axis(&y, h, to_h), .in = device_copy(in, in_step * FRAMES), .middle = both ? device_block((size_t)to_w * (size_t)h * 3 * FRAMES) : NULL, .out = device_block(out_step * FRAMES)};
    RUN(um_gpu_resize(&a, um_gpu_get()->stream));
    const uint8_t *got = back(a.out, out_step * FRAMES);
    for (size_t n = 0; n < FRAMES; n++) {
        um_image from = {.data = in + n * in_step, .width_px = w, .height_px = h, .channels = 3, .stride = (size_t)w * 3}, to = {.data = want, .width_px = to_w, .height_px = to_h, .channels = 3, .stride = (size_t)to_w * 3};
        CHECK_OK(um_resize_bicubic(r, &from, &to));
        long n_off = differences(got + n * out_step, want, out_step, "bicubic");
        if (n_off > 0) printf("%dx%d to %dx%d: %ld of %zu bytes differ\n", w, h, to_w, to_h, n_off, out_step);
        CHECK_INT(n_off, 0);
    }
    um_resize_free(r);
    um_resize_axis_release(&x);
    um_resize_axis_release(&y);
    check_release();
}

/* The detector's factors: 2, 0.5 and 0.33; and a side that stays. */
static void check_resizes(void)
{
    static const int side[][4] = {{40, 30, 80, 60}, {50, 38, 25, 19}, {101, 67, 33, 22}, {37, 20, 37, 11}, {37, 20, 12, 20}, {3, 2, 1, 1}};
    for (size_t i = 0; i < sizeof side / sizeof side[0]; i++) check_resize(side[i][0], side[i][1], side[i][2], side[i][3]);
}

/* ---- crops of faces ---- */

static void check_crops_of(float factor, int room)
{
    enum { FRAMES = 4, CAP = 6, W = 160, H = 90 };
    static const int count[FRAMES] = {3, 0, 6, 1};
    static const float boxes[][4] = {{20.7f, 10.2f, 60.9f, 55.5f}, {-12.5f, -3, 30, 40}, {150, 80, 400, 300}, {200, 100, 240, 130}, {30, 30, 30.9f, 60}, {NAN, 1, 2, 3}, {-INFINITY, 0, 20, 20}, {1e30f, 1e30f, 2e30f, 2e30f}, {5, 40, 12, 44}, {60, 20, 61, 21}};
    um_face *face = host_block(sizeof(um_face) * FRAMES * CAP);
    for (int n = 0, k = 0; n < FRAMES; n++)
        for (int i = 0; i < count[n]; i++, k++)
            for (int c = 0; c < 4; c++) face[n * CAP + i].box[c] = boxes[k][c] * factor;
    um_gpu_crops_of_faces_args a = {.n = FRAMES, .h = H, .w = W, .factor = factor, .faces = device_copy(face, sizeof(um_face) * FRAMES * CAP), .cap = CAP, .count = device_copy(count, sizeof count), .out = device_block(sizeof(um_gpu_crop) * (size_t)room), .room = room, .left_out = device_block(sizeof(int))};
    RUN(um_gpu_crops_of_faces(&a, um_gpu_get()->stream));
    const um_gpu_crop *got = back(a.out, sizeof(um_gpu_crop) * (size_t)room);
    const int *left_out = back(a.left_out, sizeof(int));
    int k = 0, kept = 0;
    for (int n = 0; n < FRAMES; n++)
        for (int i = 0; i < count[n]; i++, k++) {
            if (k >= room) continue;
            float box[4];
            um_rect want = {0};
            for (int c = 0; c < 4; c++) box[c] = face[n * CAP + i].box[c] / factor;
            bool some = um_crop_rect(box, W, H, &want);
            kept += some;
            CHECK_INT(got[k].frame, some ? n : -1);
            CHECK_INT(got[k].x0, want.x0);
            CHECK_INT(got[k].y0, want.y0);
            CHECK_INT(got[k].x1, want.x1);
            CHECK_INT(got[k].y1, want.y1);
        }
    CHECK(kept >= 3);
    for (; k < room; k++) CHECK_INT(got[k].frame, -1);
    CHECK_INT(*left_out, room < 10 ? 10 - room : 0);
    check_release();
}

/* ---- the classifier's letterbox ---- */

static void check_letterbox_of(int w, int h, const um_gpu_crop *crop, int n, int size)
{
    enum { FRAMES = 2 };
    const size_t step = (size_t)w * (size_t)h * 3, out_step = (size_t)size * (size_t)size * 3;
    uint8_t *frames = random_bytes(step * FRAMES), *want = host_bytes(out_step);
    um_cvresize *r = NULL;
    CHECK_OK(um_cvresize_new(&r));
    um_gpu_letterbox_args a = {.n = n, .size = size, .h = h, .w = w, .frames = device_copy(frames, step * FRAMES), .crop = device_copy(crop, (size_t)n * sizeof *crop), .scratch = device_block(um_gpu_letterbox_bytes(n, size)), .out = device_block(out_step * (size_t)n)};
    RUN(um_gpu_letterbox(&a, um_gpu_get()->stream));
    const uint8_t *got = back(a.out, out_step * (size_t)n);
    for (size_t i = 0; i < (size_t)n; i++) {
        const um_gpu_crop *c = &crop[i];
        memset(want, 0, out_step);
        if (c->frame >= 0 && c->x1 > c->x0 && c->y1 > c->y0) {
            um_image frame = {.data = frames + (size_t)c->frame * step, .width_px = w, .height_px = h, .channels = 3, .stride = (size_t)w * 3}, view = um_image_crop(&frame, (um_rect){c->x0, c->y0, c->x1, c->y1});
            CHECK_OK(um_cvresize_letterbox(r, &view, size, want));
        }
        long n_off = differences(got + i * out_step, want, out_step, "letterbox");
        if (n_off > 0) printf("%dx%d to %d: %ld of %zu bytes differ\n", c->x1 - c->x0, c->y1 - c->y0, size, n_off, out_step);
        CHECK_INT(n_off, 0);
    }
    um_cvresize_free(r);
    check_release();
}

/* Crops of every kind: large, small, thin, whole factors, sizes that stay, one pixel, none. */
static void check_letterbox(int size)
{
    enum { W = 97, H = 70 };
    static const um_gpu_crop crop[] = {{0, 0, 0, W, H},   {1, 3, 5, 67, 69},   {1, 10, 10, 34, 34}, {0, 2, 2, 50, 50}, {0, 5, 0, 15, 70},   {1, 0, 9, 97, 11},   {0, 96, 69, 97, 70}, {-1, 7, 7, 30, 30},
                                            {1, 20, 1, 20, 30}, {0, 11, 3, 26, 33}, {1, 40, 30, 47, 39}, {0, 0, 0, 93, 62}, {1, 33, 10, 64, 41}, {0, 90, 0, 97, 70}, {1, 1, 1, 4, 3},     {0, 1, 60, 94, 61}};
    check_letterbox_of(W, H, crop, sizeof crop / sizeof crop[0], size);
}

/* Crops of a face's size, made smaller and larger. */
static void check_letterbox_random(int w, int h, int size)
{
    enum { CROPS = 8 };
    um_gpu_crop crop[CROPS];
    um_rng r = um_rng_stream(13, (uint64_t)size, 0, UM_RNG_TEST);
    for (int i = 0; i < CROPS; i++) {
        int cw = 20 + (int)um_rng_uniform(&r, 0, w - 20), ch = 20 + (int)um_rng_uniform(&r, 0, h - 20), x = (int)um_rng_uniform(&r, 0, w - cw + 1), y = (int)um_rng_uniform(&r, 0, h - ch + 1);
        crop[i] = (um_gpu_crop){i % 2, x, y, x + cw, y + ch};
    }
    check_letterbox_of(w, h, crop, CROPS, size);
}

static void check_letterboxes(void)
{
    static const int size[] = {24, 31, 12, 48, 7, 64, 1};
    for (size_t i = 0; i < sizeof size / sizeof size[0]; i++) check_letterbox(size[i]);
    check_letterbox_random(640, 480, 224);
    check_letterbox_random(500, 500, 380);
}

int main(int argc, char **argv)
{
    um_gpu *gpu = NULL;
    const char *what = argc > 1 ? argv[1] : "";
    CHECK_OK(um_gpu_open(0, &gpu));
    if (gpu == NULL) return TEST_END();
    if (strcmp(what, "yuv") == 0) check_yuvs();
    if (strcmp(what, "resize") == 0) check_resizes();
    if (strcmp(what, "crops") == 0) {
        check_crops_of(1, 12);
        check_crops_of(0.33f, 10);
        check_crops_of(0.5f, 7);
    }
    if (strcmp(what, "letterbox") == 0) check_letterboxes();
    (void)check_worst; /* nothing here is compared within bounds */
    um_gpu_close();
    return TEST_END();
}
