/* bench_stages ROOT MTCNN_H5 SCALE: what preprocessing consists of, each part alone, for bench_stages.py.
 *
 * Does what `unmask preprocess` does to the units of ROOT with its defaults, but one kind of work at a time on data held in memory, and prints one JSON line with seconds of wall time:
 *   decode     every video's wanted frames (of a fake: those whose original shows a face) through io/video, nothing done with the frames
 *   detect     the originals' frames
 *   encode     crops of originals and fakes to PNG
 *   landmarks  detection on the originals' crops
 *   masks      similarity of the fakes' crops with their originals'
 *   encode_masks
 * What is needed to go on to the next part (a second decoding that keeps the frames, cutting) is not timed. */
#include "io/codec.h"
#include "io/manifest.h"
#include "io/video.h"
#include "io/weights.h"
#include "src/core/clock.h"
#include "src/detect/crop.h"
#include "src/detect/detect.h"
#include "src/image/ssim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_FACES = 2, MAX_FRAMES = 4096, MAX_CROPS = MAX_FRAMES * MAX_FACES };
static const um_thresholds ON_FRAMES = {0.85, 0.95, 0.95}, ON_CROPS = {0.65, 0.75, 0.75};

typedef struct held { /* pictures with the frame each is of */
    um_image image[MAX_CROPS];
    int64_t frame[MAX_CROPS];
    um_rect rect[MAX_CROPS];
    int n;
} held;

static um_decoder *decoder;
static um_frames every_tenth;
static um_manifest manifest;
static struct {
    double decode, detect, encode, landmarks, masks, encode_masks;
} spent;
static int64_t n_frames, n_crops, n_masks;

static void die(const char *what)
{
    fprintf(stderr, "bench_stages: %s: %s\n", what, um_err_text());
    um_decoder_stop(decoder);
    exit(1);
}

static void need(um_status st, const char *what)
{
    if (st != UM_OK) die(what);
}

static void forget(held *h)
{
    for (int i = 0; i < h->n; i++) um_image_free(&h->image[i]);
    h->n = 0;
}

static void keep(held *h, const um_image *image, int64_t frame, um_rect rect)
{
    if (h->n == MAX_CROPS) die("a video has too many frames for this bench");
    need(um_image_copy(image, &h->image[h->n]), "copying");
    h->frame[h->n] = frame;
    h->rect[h->n++] = rect;
}

/* Opens with the frames of the list, or by the rule where there is none. */
static um_video *start(const um_manifest_video *v, const int64_t *list, int n)
{
    char path[4096];
    um_video_info info;
    um_video *video;
    snprintf(path, sizeof path, "%s/%s", manifest.root, v->path);
    need(list == NULL ? um_video_open(decoder, path, &every_tenth, -1, -1, &video, &info) : um_video_open_list(decoder, path, list, n, -1, -1, &video, &info), path);
    return video;
}

/* Decoding alone. */
static void decode(const um_manifest_video *v, const int64_t *list, int n)
{
    um_frame f;
    double at = um_clock_s();
    um_video *video = start(v, list, n);
    while (um_video_next(video, -1, &f) == UM_OK) n_frames++;
    um_video_close(video, NULL);
    spent.decode += um_clock_s() - at;
}

static void encode(um_codec *codec, const held *h, double *seconds)
{
    static um_buf out;
    double at = um_clock_s();
    for (int i = 0; i < h->n; i++) {
        um_buf_clear(&out);
        need(um_codec_encode(codec, UM_CODEC_PNG, 0, &h->image[i], &out), "encoding");
    }
    *seconds += um_clock_s() - at;
}

static void unit(const um_manifest_unit *u, um_detector *frames_detector, um_detector *crops_detector, um_codec *codec, um_ssim *ssim)
{
    static held frames, crops, fakes, masks;
    static um_faces faces;
    static int64_t list[MAX_FRAMES];
    const um_manifest_video *original = &manifest.video[manifest.unit_video[u->first]];
    um_frame f;
    int n = 0;

    decode(original, NULL, 0);
    um_video *video = start(original, NULL, 0);
    while (um_video_next(video, -1, &f) == UM_OK) keep(&frames, &f.image, f.index, (um_rect){0});
    um_video_close(video, NULL);

    for (int i = 0; i < frames.n; i++) {
        double at = um_clock_s();
        need(um_detector_run(frames_detector, &frames.image[i], &ON_FRAMES, &faces), "detecting");
        spent.detect += um_clock_s() - at;
        for (int k = 0, kept = 0; k < faces.n && kept < MAX_FACES; k++) {
            um_rect rect;
            if (!um_crop_rect(faces.face[k].box, frames.image[i].width_px, frames.image[i].height_px, &rect)) continue;
            um_image cut = um_image_crop(&frames.image[i], rect);
            keep(&crops, &cut, frames.frame[i], rect);
            kept++;
            if (n == 0 || list[n - 1] != frames.frame[i]) list[n++] = frames.frame[i];
        }
    }
    forget(&frames);
    encode(codec, &crops, &spent.encode);
    n_crops += crops.n;

    double at = um_clock_s();
    for (int i = 0; i < crops.n; i++) need(um_detector_run(crops_detector, &crops.image[i], &ON_CROPS, &faces), "finding landmarks");
    spent.landmarks += um_clock_s() - at;

    for (int i = 1; i < u->n && n > 0; i++) {
        const um_manifest_video *fake = &manifest.video[manifest.unit_video[u->first + i]];
        decode(fake, list, n);
        video = start(fake, list, n);
        while (um_video_next(video, -1, &f) == UM_OK)
            for (int k = 0; k < crops.n; k++) {
                if (crops.frame[k] != f.index) continue;
                um_image cut = um_image_crop(&f.image, crops.rect[k]);
                keep(&fakes, &cut, f.index, crops.rect[k]);
            }
        um_video_close(video, NULL);
        encode(codec, &fakes, &spent.encode);
        n_crops += fakes.n;
        for (int k = 0; k < fakes.n && fakes.n == crops.n; k++) {
            um_image mask;
            if (crops.image[k].width_px < 7 || crops.image[k].height_px < 7) continue;
            need(um_image_new(crops.image[k].width_px, crops.image[k].height_px, 1, &mask), "a mask");
            at = um_clock_s();
            need(um_ssim_mask(ssim, &crops.image[k], &fakes.image[k], &mask), "comparing");
            spent.masks += um_clock_s() - at;
            keep(&masks, &mask, crops.frame[k], crops.rect[k]);
            um_image_free(&mask);
        }
        n_masks += masks.n;
        encode(codec, &masks, &spent.encode_masks);
        forget(&masks);
        forget(&fakes);
    }
    forget(&crops);
}

int main(int argc, char **argv)
{
    um_mtcnn_weights weights;
    char fingerprint[17];
    um_detector *on_frames, *on_crops;
    if (argc != 4) {
        fprintf(stderr, "usage: bench_stages ROOT MTCNN_H5 SCALE\n");
        return 64;
    }
    need(um_decoder_start(NULL, &decoder), "the decoder");
    need(um_frames_parse("every:10:320", &every_tenth), "frames");
    need(um_manifest_scan(argv[1], 0, &manifest), "the tree");
    need(um_weights_read_mtcnn(um_vfs_real(), argv[2], &weights, fingerprint), "the weights");
    need(um_detector_new(&weights, strtod(argv[3], NULL), &on_frames), "the detector");
    need(um_detector_new(&weights, 1, &on_crops), "the detector");
    um_codec *codec = um_codec_new();
    um_ssim *ssim = um_ssim_new();
    if (codec == NULL || ssim == NULL) die("memory");
    for (int i = 0; i < manifest.n_units; i++) unit(&manifest.unit[i], on_frames, on_crops, codec, ssim);
    printf("{\"decode\": %.4f, \"detect\": %.4f, \"encode\": %.4f, \"landmarks\": %.4f, \"masks\": %.4f, \"encode_masks\": %.4f, \"frames\": %" PRId64 ", \"crops\": %" PRId64 ", \"n_masks\": %" PRId64 "}\n",
           spent.decode, spent.detect, spent.encode, spent.landmarks, spent.masks, spent.encode_masks, n_frames, n_crops, n_masks);
    um_decoder_stop(decoder);
    return 0;
}
