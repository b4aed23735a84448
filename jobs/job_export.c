/* export: a store in the layout of the reference solution, so that code written for it runs on our output unchanged; a model as
 * safetensors. */
#include "io/model.h"
#include "io/outdir.h"
#include "io/store.h"
#include "jobs/job.h"
#include "src/core/frames.h"
#include "src/core/log.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct export_options {
    const char *layout, *output;
} export_options;

static const um_opt options[] = {
    {"layout", 0, UM_OPT_CHOICE, offsetof(export_options, layout), "reference", NULL, .choices = "reference",
     .help = "store: which layout to write"},
    {"output", 'o', UM_OPT_TEXT, offsetof(export_options, output), NULL, "OUT", .flags = UM_OPT_REQUIRED,
     .help = "store: the folder to write (one that an export made is replaced); model: the file to write"},
    {NULL},
};

typedef struct export_run {
    um_job_context *ctx;
    um_store_content *c;
    um_codec *codec;
    const char *out;
    um_frames frames;
    um_buf bytes, png, path;
    int64_t n_crops, n_masks, n_landmarks, n_boxes;
} export_run;

static um_status put(export_run *r, const void *p, size_t n)
{
    return um_vfs_write_whole(r->ctx->vfs, (char *)r->path.data, p, n);
}

static um_status set_path(export_run *r, const char *kind, const char *id)
{
    um_buf_clear(&r->path);
    UM_PASS(um_buf_printf(&r->path, "%s/%s/%s", r->out, kind, id));
    return UM_OK;
}

/* boxes/<id>.json: {"0": [[x0, y0, x1, y1], ...], "10": null, ...} in pixels of the half-size frame, as the reference's detector
 * saw it. */
static um_status write_boxes(export_run *r, int video, const char *id)
{
    const um_store_content *c = r->c;
    um_buf *b = &r->bytes;
    um_buf_clear(b);
    UM_PASS(um_buf_add_str(b, "{"));
    int64_t e = c->first_entry[video], end = c->first_entry[video + 1], given = c->video[video].frames_given,
            n = c->video[video].n_frames, last = e < end ? c->entry[end - 1].frame : -1;
    bool first = true;
    for (int64_t frame = 0, seen = 0; seen < given || frame <= last; frame++) {
        bool has = e < end && c->entry[e].frame == frame;
        if (!has && !um_frames_wants(&r->frames, frame, r->frames.kind == UM_FRAMES_SPREAD ? n : -1)) {
            if (frame > last && n >= 0 && frame >= n) break;
            continue;
        }
        seen++;
        UM_PASS(um_buf_printf(b, "%s\"%" PRId64 "\": ", first ? "" : ", ", frame));
        first = false;
        if (!has) {
            UM_PASS(um_buf_add_str(b, "null"));
            continue;
        }
        for (bool comma = false; e < end && c->entry[e].frame == frame; e++, comma = true) {
            const float *x = c->entry[e].box;
            UM_PASS(um_buf_printf(b, "%s[%.9g, %.9g, %.9g, %.9g]", comma ? ", " : "[", (double)x[0] / 2, (double)x[1] / 2,
                                  (double)x[2] / 2, (double)x[3] / 2));
        }
        UM_PASS(um_buf_add_str(b, "]"));
    }
    UM_PASS(um_buf_add_str(b, "}"));
    UM_PASS(set_path(r, "boxes", id));
    UM_PASS(um_buf_add_str(&r->path, ".json"));
    r->n_boxes++;
    return put(r, b->data, b->len);
}

/* The picture as PNG: as it lies in the store, or converted. */
static um_status write_picture(export_run *r, const um_store_ref *ref, int channels)
{
    um_buf_clear(&r->bytes);
    UM_PASS(um_buf_reserve(&r->bytes, ref->bytes));
    UM_PASS(um_store_read(r->c, ref, r->bytes.data));
    if (ref->format == UM_CODEC_PNG) return put(r, r->bytes.data, ref->bytes);
    um_image img = {0};
    UM_PASS(um_codec_decode(r->codec, r->bytes.data, ref->bytes, channels, (int64_t)4096 * 4096, &img));
    um_buf_clear(&r->png);
    um_status st = um_codec_encode(r->codec, UM_CODEC_PNG, 0, &img, &r->png);
    um_image_free(&img);
    return st == UM_OK ? put(r, r->png.data, r->png.len) : st;
}

/* NumPy's .npy, version 1.0: int16 (5,2), x then y. */
static um_status write_landmarks(export_run *r, const um_store_entry *e)
{
    static const char header[] = "{'descr': '<i2', 'fortran_order': False, 'shape': (5, 2), }";
    enum { HEADER_BYTES = 118 }; /* magic, version and length (10 bytes) and this make 128 */
    unsigned char file[10 + HEADER_BYTES + 20];
    memcpy(file, "\x93NUMPY\x01\x00", 8);
    file[8] = HEADER_BYTES;
    file[9] = 0;
    memset(file + 10, ' ', HEADER_BYTES);
    memcpy(file + 10, header, sizeof header - 1);
    file[10 + HEADER_BYTES - 1] = '\n';
    for (int k = 0; k < 10; k++) {
        uint16_t v = (uint16_t)e->point[k / 2][k % 2];
        file[10 + HEADER_BYTES + 2 * k] = (unsigned char)(v & 255);
        file[10 + HEADER_BYTES + 2 * k + 1] = (unsigned char)(v >> 8);
    }
    return put(r, file, sizeof file);
}

static um_status export_video(export_run *r, int video)
{
    const um_store_content *c = r->c;
    const um_manifest_video *m = &c->manifest.video[video];
    char made[3] = {0, 0, 0}, *stem = um_manifest_stem(m), id[256];
    if (stem == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a name");
    snprintf(id, sizeof id, "%s", stem); /* a file name has at most 255 bytes */
    free(stem);
    if (m->original < 0 && m->unit >= 0 && c->video[video].frames_given > 0) UM_PASS(write_boxes(r, video, id));
    for (int64_t i = c->first_entry[video]; i < c->first_entry[video + 1]; i++) {
        const um_store_entry *e = &c->entry[i];
        const struct {
            const char *kind, *suffix;
            bool there;
        } part[3] = {{"crops", ".png", e->image.shard >= 0},
                     {"diffs", "_diff.png", e->mask.shard >= 0},
                     {"landmarks", ".npy", e->has_landmarks != 0 && m->original < 0}};
        for (int k = 0; k < 3; k++) {
            if (!part[k].there) continue;
            UM_PASS(set_path(r, part[k].kind, id));
            if (!made[k]) UM_PASS(um_vfs_mkdir(r->ctx->vfs, (char *)r->path.data));
            made[k] = 1;
            UM_PASS(um_buf_printf(&r->path, "/%" PRId64 "_%d%s", e->frame, e->face, part[k].suffix));
            if (k == 2) {
                UM_PASS(write_landmarks(r, e));
                r->n_landmarks++;
            } else {
                UM_PASS(write_picture(r, k == 0 ? &e->image : &e->mask, k == 0 ? 3 : 1));
                *(k == 0 ? &r->n_crops : &r->n_masks) += 1;
            }
        }
    }
    return UM_OK;
}

static um_status read_frames(const char *config, um_frames *out)
{
    json_t *j = json_loads(config, 0, NULL);
    const char *text = json_string_value(json_object_get(j, "frames"));
    um_status st = text == NULL ? UM_FAIL(UM_DATA, "the store's configuration has no key frames") : um_frames_parse(text, out);
    json_decref(j);
    return st == UM_USAGE ? UM_DATA : st;
}

/* The layout names files by stem. */
static um_status check_stems(const um_store_content *c)
{
    bool *used = calloc((size_t)c->manifest.n_videos + 1, sizeof *used);
    if (used == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d videos", c->manifest.n_videos);
    for (int i = 0; i < c->manifest.n_videos; i++) used[i] = c->first_entry[i + 1] > c->first_entry[i];
    um_status st = um_manifest_check_stems(&c->manifest, used);
    free(used);
    return st;
}

static um_status export_store(um_job_context *ctx, const export_options *o)
{
    um_store_content c;
    um_outdir dir = {0};
    export_run r = {.ctx = ctx, .c = &c};
    UM_PASS(um_store_load(ctx->vfs, ctx->operands.text[1], true, &c));
    um_status st;
    UM_GOTO_PASS(st, read_frames(c.config, &r.frames));
    UM_GOTO_PASS(st, check_stems(&c));
    r.codec = um_codec_new();
    if (r.codec == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for a codec"));
    UM_GOTO_PASS(st, um_outdir_begin(ctx->vfs, o->output, "export.json", &dir));
    r.out = dir.temporary;
    static const char *const kinds[] = {"boxes", "crops", "landmarks", "diffs"};
    for (int k = 0; k < 4; k++) {
        UM_GOTO_PASS(st, set_path(&r, kinds[k], ""));
        UM_GOTO_PASS(st, um_vfs_mkdir(ctx->vfs, (char *)r.path.data));
    }
    for (int i = 0; i < c.manifest.n_videos; i++) UM_GOTO_PASS(st, export_video(&r, i));
    um_log(UM_LOG_INFO, "%s: boxes of %" PRId64 " originals, %" PRId64 " crops, %" PRId64 " masks, %" PRId64 " landmarks",
           o->output, r.n_boxes, r.n_crops, r.n_masks, r.n_landmarks);
done:
    st = um_outdir_end(&dir, st, "{\"layout\": \"reference\"}\n");
    um_codec_free(r.codec);
    um_buf_release(&r.bytes);
    um_buf_release(&r.png);
    um_buf_release(&r.path);
    um_store_content_release(&c);
    return st;
}

static um_status export_model(um_job_context *ctx, const export_options *o)
{
    um_model m;
    UM_PASS(um_model_read(ctx->vfs, ctx->operands.text[1], &m));
    um_status st = um_model_export(ctx->vfs, o->output, &m);
    if (st == UM_OK) um_log(UM_LOG_INFO, "%s: %" PRId64 " parameters of EfficientNet-%s, f32", um_quote(o->output), m.param_count, m.net.name);
    um_model_release(&m);
    return st;
}

static um_status run(um_job_context *ctx, void *values)
{
    const char *what = ctx->operands.text[0];
    if (strcmp(what, "store") == 0) return export_store(ctx, values);
    if (strcmp(what, "model") == 0) return export_model(ctx, values);
    return UM_FAIL(UM_USAGE, "cannot export %s; what can be exported: store, model", um_quote(what));
}

const um_job um_job_export = {
    .name = "export",
    .usage = "export store DIR -o OUTDIR [--layout reference] | unmask export model model.h5 -o model.safetensors",
    .summary = "write a store in the layout of the reference solution, or a model as safetensors",
    .details = "store: boxes/<id>.json (frame number -> boxes in half-size pixels, or null), crops/<id>/<frame>_<face>.png, "
               "landmarks/<id>/<frame>_<face>.npy (int16, (5,2), x then y; of originals),\n"
               "diffs/<id>/<frame>_<face>_diff.png; <id> is the video's file name without extension. PyTorch code written for the "
               "reference reads it unchanged.\n"
               "model: f32 tensors under the names of the reference's state dict (encoder.conv_stem.weight, ..., fc.bias): PyTorch loads "
               "it with safetensors.torch.load_file, unmask import reads it back.\n",
    .options = options,
    .options_size = sizeof(export_options),
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
