/* detect: faces in pictures and videos, as JSON Lines. */
#include "io/codec.h"
#include "io/walk.h"
#include "io/weights.h"
#include "jobs/console.h"
#include "jobs/device.h"
#include "jobs/job.h"
#include "jobs/output.h"
#include "src/core/clock.h"
#include "src/core/frames.h"
#include "src/core/log.h"
#include "src/detect/device_detect.h"
#include "src/image/draw.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PICTURE_BYTES = 256 << 20 };
static const int64_t MAX_PICTURE_PIXELS = 4096 * 4096;

typedef struct detect_options {
    um_decoder_options decoder;
    const char *detector, *draw, *output;
    double thresholds[3], scale;
    um_frames frames;
    bool landmarks, share_gpus;
    const char *device;
    int64_t gpu_frames;
} detect_options;

static const um_opt options[] = {
    {"detector", 0, UM_OPT_TEXT, offsetof(detect_options, detector), NULL, "FILE",
     .help = "weights made by unmask import mtcnn (default: mtcnn.h5 in $UNMASK_HOME or share/unmask)"},
    {"thresholds", 0, UM_OPT_REALS3, offsetof(detect_options, thresholds), ".7,.8,.8", "P,R,O", 0, 1,
     .help = "least probability after the three nets"},
    {"scale", 0, UM_OPT_REAL, offsetof(detect_options, scale), "auto", "auto|FACTOR", 0.01, 8, .choices = "auto",
     .help = "factor by which frames are scaled before the search; auto: by the wider side, <300 px 2, >1000 px 0.5, >1900 px "
             "0.33, else 1"},
    {"frames", 0, UM_OPT_FRAMES, offsetof(detect_options, frames), "every:10", "SPEC",
     .help = "frames of a video: every:10, every:10:320 (below 320), spread:32 or all"},
    {"landmarks", 0, UM_OPT_FLAG, offsetof(detect_options, landmarks), NULL, NULL,
     .help = "write the five landmarks of each face too"},
    {"draw", 0, UM_OPT_TEXT, offsetof(detect_options, draw), NULL, "OUTDIR",
     .help = "write each frame with its boxes drawn in as PNG to this folder"},
    {"output", 'o', UM_OPT_TEXT, offsetof(detect_options, output), "-", "FILE",
     .help = "the JSON Lines file to write; - is the standard output"},
    UM_DEVICE_ROWS(detect_options),
    {"gpu.frames", 0, UM_OPT_INT, offsetof(detect_options, gpu_frames), "16", "N", 1, 1024, .flags = UM_OPT_SET_ONLY, .help = "frames of a video that a GPU searches at once; pictures are searched by the processor"},
    UM_DECODER_ROWS,
    {NULL},
};

/* A frame that waits for others, to be searched together with them. */
typedef struct waiting {
    um_frame frame;
    um_image image; /* its own */
    um_faces faces;
} waiting;

typedef struct detect_run {
    um_job_context *ctx;
    const detect_options *o;
    um_detector *detector;
    um_device device;
    um_device_detector *device_detector; /* NULL: the processor searches */
    waiting *waiting; /* [o->gpu_frames] */
    const um_image **image;
    um_faces **found;
    int n_waiting;
    um_codec *codec;
    um_output out;
    um_buf line, png, name;
    um_faces faces;
    int64_t n_inputs, n_bad, n_frames, n_faces;
    double detect_s;
} detect_run;

static um_status write_line(detect_run *r, const char *path, const um_frame *f, um_status status, const char *message)
{
    um_buf *b = &r->line;
    UM_PASS(um_buf_add_str(b, "{\"path\": "));
    UM_PASS(um_buf_add_json(b, path));
    if (f != NULL)
        UM_PASS(um_buf_printf(b, ", \"frame\": %" PRId64 ", \"time_s\": %.6f, \"width\": %d, \"height\": %d", f->index, f->time_s,
                              f->image.width_px, f->image.height_px));
    else
        UM_PASS(um_buf_add_str(b, ", \"frame\": null, \"time_s\": null, \"width\": null, \"height\": null"));
    UM_PASS(um_buf_printf(b, ", \"status\": \"%s\"", um_status_name(status)));
    if (message != NULL && *message != 0) {
        UM_PASS(um_buf_add_str(b, ", \"message\": "));
        UM_PASS(um_buf_add_json(b, message));
    }
    UM_PASS(um_buf_add_str(b, ", \"faces\": ["));
    for (int i = 0; f != NULL && i < r->faces.n; i++) {
        const um_face *face = &r->faces.face[i];
        UM_PASS(um_buf_printf(b, "%s{\"box\": [%.9g, %.9g, %.9g, %.9g], \"probability\": %.9g", i > 0 ? ", " : "",
                              (double)face->box[0], (double)face->box[1], (double)face->box[2], (double)face->box[3],
                              (double)face->probability));
        if (r->o->landmarks) {
            UM_PASS(um_buf_add_str(b, ", \"landmarks\": ["));
            for (int k = 0; k < 5; k++)
                UM_PASS(um_buf_printf(b, "%s[%.9g, %.9g]", k > 0 ? ", " : "", (double)face->landmarks[k][0],
                                      (double)face->landmarks[k][1]));
            UM_PASS(um_buf_add_str(b, "]"));
        }
        UM_PASS(um_buf_add_str(b, "}"));
    }
    UM_PASS(um_buf_add_str(b, "]}\n"));
    return um_output_add(&r->out, b);
}

/* OUTDIR/<path with '/' as '_'>_<frame>.png */
static um_status draw(detect_run *r, const char *path, const um_frame *f)
{
    static const uint8_t GREEN[3] = {0, 255, 0}, RED[3] = {255, 40, 40};
    um_image copy;
    um_status st = um_image_copy(&f->image, &copy);
    if (st != UM_OK) return st;
    int thick = f->image.width_px > 900 ? 3 : 2;
    for (int i = 0; i < r->faces.n; i++) {
        const um_face *face = &r->faces.face[i];
        char text[16];
        um_rect box = {um_draw_place(face->box[0]), um_draw_place(face->box[1]), um_draw_place(face->box[2]),
                       um_draw_place(face->box[3])};
        um_draw_rect(&copy, box, GREEN, thick);
        snprintf(text, sizeof text, "%.3f", (double)face->probability);
        um_draw_text(&copy, box.x0, box.y0 - 12, 1, text, GREEN);
        for (int k = 0; k < 5; k++)
            um_draw_disc(&copy, um_draw_place(face->landmarks[k][0]), um_draw_place(face->landmarks[k][1]), thick, RED);
    }
    um_buf_clear(&r->png);
    um_buf_clear(&r->name);
    UM_GOTO_PASS(st, um_codec_encode(r->codec, UM_CODEC_PNG, 0, &copy, &r->png));
    UM_GOTO_PASS(st, um_buf_printf(&r->name, "%s/", r->o->draw));
    while (*path == '/' || *path == '.') path++;
    for (const char *s = path; *s != 0; s++) UM_GOTO_PASS(st, um_buf_printf(&r->name, "%c", *s == '/' ? '_' : *s));
    UM_GOTO_PASS(st, um_buf_printf(&r->name, "_%06" PRId64 ".png", f->index));
    UM_GOTO_PASS(st, um_vfs_write_whole(r->ctx->vfs, (char *)r->name.data, r->png.data, r->png.len));
done:
    um_image_free(&copy);
    return st;
}

static um_thresholds thresholds_of(const detect_options *o) { return (um_thresholds){o->thresholds[0], o->thresholds[1], o->thresholds[2]}; }

/* r->faces are the frame's. */
static um_status give(detect_run *r, const char *path, const um_frame *f)
{
    r->n_frames++;
    r->n_faces += r->faces.n;
    if (r->o->draw != NULL) UM_PASS(draw(r, path, f));
    return write_line(r, path, f, UM_OK, NULL);
}

static um_status search(detect_run *r, const char *path, const um_frame *f)
{
    um_thresholds t = thresholds_of(r->o);
    double start = um_clock_s();
    UM_PASS(um_detector_run(r->detector, &f->image, &t, &r->faces));
    r->detect_s += um_clock_s() - start;
    return give(r, path, f);
}

/* Those that wait, on the GPU. */
static um_status search_waiting(detect_run *r, const char *path)
{
    double start = um_clock_s();
    int n = r->n_waiting;
    r->n_waiting = 0;
    for (int i = 0; i < n; i++) {
        r->image[i] = &r->waiting[i].frame.image;
        r->found[i] = &r->waiting[i].faces;
    }
    UM_PASS(um_device_detector_run(r->device_detector, NULL, &r->detector, r->image, n, r->found));
    r->detect_s += um_clock_s() - start;
    for (int i = 0; i < n; i++) {
        um_faces kept = r->faces;
        r->faces = r->waiting[i].faces;
        um_status st = give(r, path, &r->waiting[i].frame);
        r->waiting[i].faces = r->faces;
        r->faces = kept;
        UM_PASS(st);
    }
    return UM_OK;
}

/* The decoder's frame is gone at the next one. */
static um_status wait_with(detect_run *r, const char *path, const um_frame *f)
{
    const um_image *first = &r->waiting[0].frame.image;
    if (r->n_waiting > 0 && (first->width_px != f->image.width_px || first->height_px != f->image.height_px)) UM_PASS(search_waiting(r, path));
    waiting *w = &r->waiting[r->n_waiting];
    UM_PASS(um_image_keep(&w->image, &f->image));
    w->frame = *f;
    w->frame.image = w->image;
    return ++r->n_waiting < r->o->gpu_frames ? UM_OK : search_waiting(r, path);
}

static um_status bad_input(detect_run *r, const char *path, um_status status, const char *message)
{
    r->n_bad++;
    um_log(UM_LOG_WARN, "%s: %s: %s", um_quote(path), um_status_name(status), message);
    return write_line(r, path, NULL, status, message);
}

static um_status do_picture(detect_run *r, const char *path)
{
    void *bytes = NULL;
    size_t n = 0;
    um_frame f = {0};
    um_status st = um_vfs_read_whole(r->ctx->vfs, path, MAX_PICTURE_BYTES, &bytes, &n);
    if (st == UM_IO) st = UM_UNREADABLE;
    if (st == UM_OK) st = um_codec_decode(r->codec, bytes, n, 3, MAX_PICTURE_PIXELS, &f.image);
    free(bytes);
    if (um_status_class_of(st) == UM_CLASS_ITEM) return bad_input(r, path, st, um_err_text());
    if (st != UM_OK) return st;
    st = search(r, path, &f);
    um_image_free(&f.image);
    return st;
}

static um_status do_video(detect_run *r, const char *path)
{
    um_video *v;
    um_video_info info;
    um_video_result result;
    um_frame f;
    um_status st = um_video_open(r->ctx->decoder, path, &r->o->frames, -1, -1, &v, &info);
    if (um_status_class_of(st) == UM_CLASS_ITEM) return bad_input(r, path, st, um_err_text());
    if (st != UM_OK) return st;
    while ((st = um_video_next(v, -1, &f)) == UM_OK) {
        st = r->device_detector != NULL ? wait_with(r, path, &f) : search(r, path, &f);
        if (st != UM_OK) break;
    }
    um_video_close(v, &result);
    if (st == UM_END && r->n_waiting > 0) {
        st = search_waiting(r, path);
        if (st == UM_OK) st = UM_END;
    }
    r->n_waiting = 0;
    if (st != UM_END && um_status_class_of(st) == UM_CLASS_JOB) return st;
    if (result.status != UM_OK) return bad_input(r, path, result.status, result.message);
    return UM_OK;
}

/* By content where it is a picture; everything else is offered to the video decoder, which says what it is not. */
static bool is_picture(const char *path)
{
    unsigned char head[8] = {0};
    FILE *f = fopen(path, "rbe");
    if (f == NULL) return um_name_is_picture(path);
    size_t n = fread(head, 1, sizeof head, f);
    fclose(f);
    return n >= 3 && (memcmp(head, "\x89PNG", 4) == 0 || memcmp(head, "\xff\xd8\xff", 3) == 0);
}

static um_status open_device(detect_run *r, const um_mtcnn_weights *weights)
{
    um_thresholds t = thresholds_of(r->o);
    size_t n = (size_t)r->o->gpu_frames;
    UM_PASS(um_device_open(r->ctx, r->o->device, r->o->share_gpus, &r->device));
    if (r->device.module == NULL) return UM_OK;
    r->waiting = calloc(n, sizeof *r->waiting);
    r->image = calloc(n, sizeof(um_image *));
    r->found = calloc(n, sizeof(um_faces *));
    if (r->waiting == NULL || r->image == NULL || r->found == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %zu frames", n);
    return um_device_detector_new(r->device.module->detector, weights, r->o->scale, (int)n, &t, 1, &r->device_detector);
}

static void close_device(detect_run *r)
{
    um_device_detector_free(r->device_detector);
    for (int64_t i = 0; r->waiting != NULL && i < r->o->gpu_frames; i++) {
        um_image_free(&r->waiting[i].image);
        um_faces_release(&r->waiting[i].faces);
    }
    free(r->waiting);
    free(r->image);
    free(r->found);
    um_device_close(&r->device);
}

static um_status run(um_job_context *ctx, void *values)
{
    detect_run r = {.ctx = ctx, .o = values};
    um_mtcnn_weights weights = {0};
    um_walk walk = {0};
    um_buf path = {0};
    um_progress progress;
    char fingerprint[17], span[24];
    int64_t n_other = 0, n_work = 0;
    bool opened = false;
    um_status st;
    UM_GOTO_PASS(st, um_job_find(ctx, r.o->detector, "mtcnn.h5", &path));
    UM_GOTO(st, um_weights_read_mtcnn(ctx->vfs, (char *)path.data, &weights, fingerprint), "cannot load the detector %s",
            um_quote((char *)path.data));
    UM_GOTO_PASS(st, um_detector_new(&weights, r.o->scale, &r.detector));
    UM_GOTO_PASS(st, open_device(&r, &weights));
    r.codec = um_codec_new();
    if (r.codec == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for a codec"));
    for (int i = 0; i < ctx->operands.n; i++) UM_GOTO_PASS(st, um_walk_add(&walk, ctx->operands.text[i]));
    if (r.o->draw != NULL) UM_GOTO_PASS(st, um_vfs_mkdir(ctx->vfs, r.o->draw));
    UM_GOTO_PASS(st, um_output_open(ctx->vfs, r.o->output, &r.out));
    opened = true;
    for (int64_t i = 0; i < walk.n; i++)
        n_work += walk.entry[i].named || um_name_is_video(walk.entry[i].path) || um_name_is_picture(walk.entry[i].path);

    double start = um_clock_s();
    um_progress_begin(&progress, 0);
    for (int64_t i = 0; i < walk.n; i++) {
        const um_walk_entry *e = &walk.entry[i];
        if (!e->named && !um_name_is_video(e->path) && !um_name_is_picture(e->path)) {
            n_other++;
            continue;
        }
        char words[96];
        snprintf(words, sizeof words, "%" PRId64 " of %" PRId64 " inputs, %" PRId64 " frames, %" PRId64 " faces", r.n_inputs,
                 n_work, r.n_frames, r.n_faces);
        um_progress_show(&progress, words, r.n_inputs, n_work, false);
        r.n_inputs++;
        if (e->status != UM_OK)
            UM_GOTO_PASS(st, bad_input(&r, e->path, e->status, um_status_text(e->status)));
        else if (is_picture(e->path))
            UM_GOTO_PASS(st, do_picture(&r, e->path));
        else
            UM_GOTO_PASS(st, do_video(&r, e->path));
    }
    um_progress_end(&progress);
    um_clock_span(um_clock_s() - start, span);
    um_log(UM_LOG_INFO,
           "%" PRId64 " inputs (%" PRId64 " with a problem), %" PRId64 " frames, %" PRId64
           " faces in %s; detection alone %.1f ms a frame (%s)",
           r.n_inputs, r.n_bad, r.n_frames, r.n_faces, span, r.n_frames > 0 ? 1e3 * r.detect_s / (double)r.n_frames : 0,
           r.device_detector != NULL ? "GPU" : um_mtcnn_isa());
    if (r.device_detector != NULL && um_device_detector_fallbacks(r.device_detector) > 0)
        um_log(UM_LOG_WARN, "%" PRId64 " frames were searched by the processor: the GPU had no room for them or for what is in them (--set gpu.frames=N takes fewer at once)", um_device_detector_fallbacks(r.device_detector));
    if (n_other > 0)
        um_log(UM_LOG_INFO, "%" PRId64 " files in folders are neither named like a picture nor like a video: left out", n_other);
    if (walk.n_loops > 0) um_log(UM_LOG_WARN, "%" PRId64 " links back into a folder were left out", walk.n_loops);
done:
    if (opened) st = um_output_end(&r.out, st);
    close_device(&r);
    um_detector_free(r.detector);
    um_codec_free(r.codec);
    um_faces_release(&r.faces);
    um_mtcnn_weights_release(&weights);
    um_walk_release(&walk);
    um_buf_release(&path);
    um_buf_release(&r.line);
    um_buf_release(&r.png);
    um_buf_release(&r.name);
    return st;
}

const um_job um_job_detect = {
    .name = "detect",
    .usage = "detect PATH... [options] -o faces.jsonl",
    .summary = "find faces in pictures (PNG, JPEG), videos and folders of them",
    .details = "Writes JSON Lines, one line for each picture or frame: path, frame, time_s, width, height, status, faces: [{box: "
               "[x0, y0, x1, y1], probability, landmarks: [[x, y] x 5]}],\n"
               "in source pixels, largest face first. Paths are as typed, joined. An input that cannot be read, or a video of "
               "which some frames are missing, gets a line with frame null, its status\n"
               "and a message. Folders are searched with all below them, for files named like pictures or videos; a file that is "
               "named is always taken, whatever its name.\n",
    .options = options,
    .options_size = sizeof(detect_options),
    .min_operands = 1,
    .max_operands = -1,
    .flags = UM_JOB_DECODES,
    .run = run,
};
