/* inspect: what a store or a file of ours holds, for eyes and for programs. */
#include "io/model.h"
#include "io/store.h"
#include "io/weights.h"
#include "jobs/job.h"
#include "src/core/log.h"
#include "src/image/draw.h"
#include "src/image/sheet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { STATUSES = 64, SHEET_ROWS = 12 };

typedef struct inspect_options {
    bool json, digest;
    const char *video, *png;
} inspect_options;

static const um_opt options[] = {
    {"json", 0, UM_OPT_FLAG, offsetof(inspect_options, json), NULL, NULL, .help = "as JSON"},
    {"digest", 0, UM_OPT_FLAG, offsetof(inspect_options, digest), NULL, NULL,
     .help = "one line: SHA-256 of the content only, not of order, ranks, path, time or machine: equal digests, equal data sets"},
    {"video", 0, UM_OPT_TEXT, offsetof(inspect_options, video), NULL, "ID",
     .help = "one video: its path in the store, its file name or its stem"},
    {"png", 0, UM_OPT_TEXT, offsetof(inspect_options, png), NULL, "OUTDIR",
     .help = "with --video: write its crops with landmarks drawn in, its masks, and sheet.png with both side by side"},
    {NULL},
};

typedef struct summary {
    int64_t by_status[STATUSES], by_label[3], entries, crops, masks, landmarks, image_bytes, mask_bytes, frames_wanted,
        frames_given, faces_found, faces_dropped;
    int64_t stage_units[UM_STAGES];
} summary;

static void sum_up(const um_store_content *c, summary *s)
{
    *s = (summary){.entries = c->n_entries};
    for (int i = 0; i < c->manifest.n_videos; i++) {
        const um_store_video *v = &c->video[i];
        if (v->status >= 0 && v->status < STATUSES) s->by_status[v->status]++;
        s->by_label[c->manifest.video[i].label]++;
        s->frames_wanted += v->frames_wanted;
        s->frames_given += v->frames_given;
        s->faces_found += v->faces_found;
        s->faces_dropped += v->faces_dropped;
    }
    for (int i = 0; i < c->manifest.n_units; i++)
        for (int k = 0; k < UM_STAGES; k++) s->stage_units[k] += (c->state[i].stages >> k) & 1;
    for (int64_t i = 0; i < c->n_entries; i++) {
        const um_store_entry *e = &c->entry[i];
        s->crops += e->image.shard >= 0;
        s->masks += e->mask.shard >= 0;
        /* A fake's landmarks are its original's: counted there. */
        s->landmarks += e->has_landmarks != 0 && c->manifest.video[e->video].original < 0;
        if (e->image.shard >= 0) s->image_bytes += e->image.bytes;
        if (e->mask.shard >= 0) s->mask_bytes += e->mask.bytes;
    }
}

static um_status print_text(const um_store_content *c, const summary *s)
{
    UM_PASS(um_job_print("store      %s\nmade from  %s\n", um_quote(c->dir), um_quote(c->manifest.root)));
    UM_PASS(um_job_print("config     %s\n", c->config));
    UM_PASS(um_job_print("videos     %d in %d parts: %" PRId64 " real, %" PRId64 " fake, %" PRId64 " of unknown label\n",
                         c->manifest.n_videos, c->manifest.n_parts, s->by_label[UM_LABEL_REAL], s->by_label[UM_LABEL_FAKE],
                         s->by_label[UM_LABEL_UNKNOWN]));
    UM_PASS(um_job_print("units      %d originals with their fakes;", c->manifest.n_units));
    for (int k = 0; k < UM_STAGES; k++) UM_PASS(um_job_print(" %s %" PRId64, um_stage_name[k], s->stage_units[k]));
    UM_PASS(um_job_print(" done\nframes     %" PRId64 " of %" PRId64 " wanted\n", s->frames_given, s->frames_wanted));
    UM_PASS(um_job_print("faces      %" PRId64 " found in originals, %" PRId64 " dropped (--max-faces, or nothing to cut)\n",
                         s->faces_found, s->faces_dropped));
    UM_PASS(um_job_print("crops      %" PRId64 " (%.1f MB), landmarks on %" PRId64 " of originals, masks %" PRId64 " (%.1f MB)\n",
                         s->crops, (double)s->image_bytes / 1e6, s->landmarks, s->masks, (double)s->mask_bytes / 1e6));
    UM_PASS(um_job_print("shards     %" PRId64 "; %" PRId64 " files of killed runs, %" PRId64
                         " damaged journal ends\n\nstatus              videos\n",
                         c->n_shards, c->n_unreferenced, c->n_journal_damaged));
    for (int i = 0; i < STATUSES; i++)
        if (s->by_status[i] > 0)
            UM_PASS(um_job_print("%-18s %7" PRId64 "  %s\n", um_status_name((um_status)i), s->by_status[i],
                                 um_status_text((um_status)i)));
    int shown = 0;
    for (int i = 0; i < c->manifest.n_videos; i++) {
        if (c->video[i].status == UM_OK || c->video[i].status == UM_PENDING || *c->message[i] == 0) continue;
        if (shown == 0) UM_PASS(um_job_print("\n"));
        if (++shown > 20) continue;
        UM_PASS(um_job_print("%s: %s: %s\n", um_quote(c->manifest.video[i].path), um_status_name((um_status)c->video[i].status),
                             c->message[i]));
    }
    if (shown > 20) UM_PASS(um_job_print("... and %d more (--json lists all)\n", shown - 20));
    return UM_OK;
}

static um_status print_json(const um_store_content *c, const summary *s)
{
    um_buf b = {0};
    um_status st;
    bool first = true;
    UM_GOTO_PASS(st, um_buf_add_str(&b, "{\"store\": "));
    UM_GOTO_PASS(st, um_buf_add_json(&b, c->dir));
    UM_GOTO_PASS(st, um_buf_add_str(&b, ", \"root\": "));
    UM_GOTO_PASS(st, um_buf_add_json(&b, c->manifest.root));
    UM_GOTO_PASS(
        st, um_buf_printf(&b,
                          ", \"config\": %s, \"parts\": %d, \"units\": %d, \"units_done\": %" PRId64 ", \"faces\": %" PRId64
                          ", \"crops\": %" PRId64 ", \"landmarks\": %" PRId64 ", \"masks\": %" PRId64 ", \"image_bytes\": %" PRId64
                          ", \"mask_bytes\": %" PRId64 ", \"shards\": %" PRId64 ", \"unreferenced_files\": %" PRId64
                          ", \"damaged_journals\": %" PRId64 ", \"status\": {",
                          c->config, c->manifest.n_parts, c->manifest.n_units, c->n_units_done, s->entries, s->crops, s->landmarks,
                          s->masks, s->image_bytes, s->mask_bytes, c->n_shards, c->n_unreferenced, c->n_journal_damaged));
    for (int i = 0; i < STATUSES; i++) {
        if (s->by_status[i] == 0) continue;
        UM_GOTO_PASS(st, um_buf_printf(&b, "%s\"%s\": %" PRId64, first ? "" : ", ", um_status_name((um_status)i), s->by_status[i]));
        first = false;
    }
    UM_GOTO_PASS(st, um_buf_add_str(&b, "}, \"videos\": ["));
    for (int i = 0; i < c->manifest.n_videos; i++) {
        static const char *const label[] = {"", "REAL", "FAKE"};
        const um_manifest_video *m = &c->manifest.video[i];
        const um_store_video *v = &c->video[i];
        UM_GOTO_PASS(st, um_buf_add_str(&b, i > 0 ? ",\n{\"path\": " : "\n{\"path\": "));
        UM_GOTO_PASS(st, um_buf_add_json(&b, m->path));
        UM_GOTO_PASS(st, um_buf_printf(&b, ", \"label\": \"%s\", \"part\": %d, \"original\": ", label[m->label], m->part));
        UM_GOTO_PASS(st, m->original >= 0 ? um_buf_add_json(&b, c->manifest.video[m->original].path) : um_buf_add_str(&b, "null"));
        UM_GOTO_PASS(st, um_buf_printf(&b, ", \"status\": \"%s\", \"message\": ", um_status_name((um_status)v->status)));
        UM_GOTO_PASS(st, um_buf_add_json(&b, c->message[i]));
        UM_GOTO_PASS(st,
                     um_buf_printf(&b,
                                   ", \"width\": %d, \"height\": %d, \"rotation\": %d, \"fps\": %.6g, \"frames\": %" PRId64
                                   ", \"frames_wanted\": %d, \"frames_given\": %d, \"frames_damaged\": %d, \"faces\": %" PRId64 "}",
                                   v->width_px, v->height_px, v->rotation_deg, v->fps, v->n_frames, v->frames_wanted,
                                   v->frames_given, v->frames_damaged, c->first_entry[i + 1] - c->first_entry[i]));
    }
    UM_GOTO_PASS(st, um_buf_add_str(&b, "\n]}\n"));
    st = um_job_print("%s", (char *)b.data);
done:
    um_buf_release(&b);
    return st;
}

/* ---- one video ---- */

static um_status load(const um_store_content *c, um_codec *codec, const um_store_ref *ref, int channels, um_image *out)
{
    um_buf b = {0};
    um_status st;
    UM_GOTO_PASS(st, um_buf_reserve(&b, ref->bytes));
    UM_GOTO_PASS(st, um_store_read(c, ref, b.data));
    st = um_codec_decode(codec, b.data, ref->bytes, channels, (int64_t)4096 * 4096, out);
done:
    um_buf_release(&b);
    return st;
}

static um_status save(const um_job_context *ctx, um_codec *codec, const um_image *img, const char *dir, const char *name)
{
    um_buf png = {0}, path = {0};
    um_status st;
    UM_GOTO_PASS(st, um_codec_encode(codec, UM_CODEC_PNG, 0, img, &png));
    UM_GOTO_PASS(st, um_buf_printf(&path, "%s/%s", dir, name));
    st = um_vfs_write_whole(ctx->vfs, (char *)path.data, png.data, png.len);
done:
    um_buf_release(&png);
    um_buf_release(&path);
    return st;
}

/* The entry of the original that a fake's entry was compared with; NULL when there is none. */
static const um_store_entry *original_entry(const um_store_content *c, const um_store_entry *e)
{
    int o = c->manifest.video[e->video].original;
    if (o < 0) return NULL;
    for (int64_t i = c->first_entry[o]; i < c->first_entry[o + 1]; i++)
        if (c->entry[i].frame == e->frame && c->entry[i].face == e->face) return &c->entry[i];
    return NULL;
}

/* OUTDIR/<frame>_<face>.png, <frame>_<face>_diff.png, and sheet.png: per face the original's crop (for a fake), the crop with
 * landmarks, the mask. What a face lacks leaves its cell empty, so that each column holds one kind. */
static um_status write_pictures(const um_job_context *ctx, const um_store_content *c, int video, const char *dir)
{
    static const uint8_t RED[3] = {255, 40, 40};
    um_codec *codec = um_codec_new();
    um_image img = {0}, mask = {0};
    um_image sheet_image[3 * SHEET_ROWS] = {{0}}, sheet = {0};
    char caption[3 * SHEET_ROWS][48] = {{0}}, name[64];
    const char *captions[3 * SHEET_ROWS];
    int rows = 0, columns = c->manifest.video[video].original >= 0 ? 3 : 1;
    int64_t n = 0, first = c->first_entry[video], last = c->first_entry[video + 1],
            every = (last - first + SHEET_ROWS - 1) / SHEET_ROWS;
    um_status st = codec == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a codec") : um_vfs_mkdir(ctx->vfs, dir);
    if (st != UM_OK) goto done;
    for (int64_t i = first; i < last; i++) {
        const um_store_entry *e = &c->entry[i];
        if (e->image.shard < 0) continue;
        bool on_sheet = rows < SHEET_ROWS && (i - first) % (every > 0 ? every : 1) == 0;
        int cell = rows * columns; /* of this face's first picture */
        UM_GOTO_PASS(st, load(c, codec, &e->image, 3, &img));
        const um_store_entry *o = original_entry(c, e);
        if (on_sheet && o != NULL && o->image.shard >= 0) {
            snprintf(caption[cell], sizeof caption[0], "original %" PRId64 "_%d", e->frame, e->face);
            UM_GOTO_PASS(st, load(c, codec, &o->image, 3, &sheet_image[cell]));
        }
        for (int k = 0; k < 5 && e->has_landmarks != 0; k++)
            um_draw_disc(&img, e->point[k][0], e->point[k][1], 2 + img.width_px / 120, RED);
        snprintf(name, sizeof name, "%" PRId64 "_%d.png", e->frame, e->face);
        UM_GOTO_PASS(st, save(ctx, codec, &img, dir, name));
        n++;
        if (on_sheet) {
            int at = cell + (columns == 3);
            snprintf(caption[at], sizeof caption[0], "%s %" PRId64 "_%d p %.3f", columns == 3 ? "fake" : "crop", e->frame, e->face,
                     (double)e->probability);
            UM_GOTO_PASS(st, um_image_copy(&img, &sheet_image[at]));
        }
        if (e->mask.shard >= 0) {
            UM_GOTO_PASS(st, load(c, codec, &e->mask, 1, &mask));
            snprintf(name, sizeof name, "%" PRId64 "_%d_diff.png", e->frame, e->face);
            UM_GOTO_PASS(st, save(ctx, codec, &mask, dir, name));
            um_image_free(&mask);
            if (on_sheet && columns == 3) {
                snprintf(caption[cell + 2], sizeof caption[0], "mask, %d px changed", e->changed_px);
                UM_GOTO_PASS(st, load(c, codec, &e->mask, 3, &sheet_image[cell + 2]));
            }
        }
        um_image_free(&img);
        rows += on_sheet;
    }
    for (int i = 0; i < rows * columns; i++) captions[i] = caption[i];
    if (rows > 0) {
        UM_GOTO_PASS(st, um_sheet_make(sheet_image, captions, rows * columns, columns == 3 ? 6 : 4, 220, &sheet));
        UM_GOTO_PASS(st, save(ctx, codec, &sheet, dir, "sheet.png"));
    }
    um_log(UM_LOG_INFO, "%s: %" PRId64 " crops written to %s", um_quote(c->manifest.video[video].path), n, um_quote(dir));
done:
    for (int i = 0; i < 3 * SHEET_ROWS; i++) um_image_free(&sheet_image[i]);
    um_image_free(&sheet);
    um_image_free(&img);
    um_image_free(&mask);
    um_codec_free(codec);
    return st;
}

static um_status one_video(const um_job_context *ctx, const inspect_options *o, const um_store_content *c)
{
    int i = um_manifest_find(&c->manifest, o->video);
    if (i == -1) return UM_FAIL(UM_USAGE, "the store has no video %s", um_quote(o->video));
    if (i < 0) return UM_FAIL(UM_USAGE, "several videos are called %s; give the path in the store", um_quote(o->video));
    const um_manifest_video *m = &c->manifest.video[i];
    const um_store_video *v = &c->video[i];
    UM_PASS(
        um_job_print("%s: %s%s%s, %s%s%s, %dx%d rotated by %d, %.3g frames/s, %d of %d frames (%d damaged)\n", um_quote(m->path),
                     um_status_name((um_status)v->status), *c->message[i] != 0 ? ": " : "", c->message[i],
                     m->label == UM_LABEL_FAKE   ? "fake of "
                     : m->label == UM_LABEL_REAL ? "real"
                                                 : "of unknown label",
                     m->label == UM_LABEL_FAKE ? (m->original >= 0 ? c->manifest.video[m->original].path : m->original_name) : "",
                     "", v->width_px, v->height_px, v->rotation_deg, v->fps, v->frames_given, v->frames_wanted, v->frames_damaged));
    UM_PASS(um_job_print(" frame   time_s face  probability  box                                      crop                 image   "
                         "mask  changed\n"));
    for (int64_t k = c->first_entry[i]; k < c->first_entry[i + 1]; k++) {
        const um_store_entry *e = &c->entry[k];
        char box[48], rect[32];
        snprintf(box, sizeof box, "%.1f,%.1f,%.1f,%.1f", (double)e->box[0], (double)e->box[1], (double)e->box[2],
                 (double)e->box[3]);
        snprintf(rect, sizeof rect, "%d,%d,%d,%d", e->rect[0], e->rect[1], e->rect[2], e->rect[3]);
        UM_PASS(um_job_print("%6" PRId64 " %8.3f %4d  %11.6f  %-40s %-20s %6u %6u %8d\n", e->frame, e->time_s, e->face,
                             (double)e->probability, box, rect, e->image.shard >= 0 ? e->image.bytes : 0,
                             e->mask.shard >= 0 ? e->mask.bytes : 0, e->changed_px));
    }
    return o->png != NULL ? write_pictures(ctx, c, i, o->png) : UM_OK;
}

/* ---- files ---- */

static um_status inspect_model(um_job_context *ctx, const inspect_options *o, const char *path)
{
    um_model m;
    um_buf b = {0};
    UM_TRY(um_model_read(ctx->vfs, path, &m), "cannot inspect %s", um_quote(path));
    um_status st = UM_OK;
    if (o->digest) {
        st = um_job_print("%s\n", m.fingerprint);
    } else if (o->json) {
        UM_GOTO_PASS(st, um_buf_add_json(&b, m.source));
        st = um_job_print("{\"kind\": \"model\", \"arch\": \"%s\", \"width\": %.17g, \"depth\": %.17g, \"size\": %d, \"head\": %s, "
                          "\"parameters\": %" PRId64 ", \"mean\": [%.9g, %.9g, %.9g], \"std\": [%.9g, %.9g, %.9g], \"source\": %s, "
                          "\"source_sha256\": \"%s\", \"fingerprint\": \"%s\"}\n",
                          m.net.name, m.net.width, m.net.depth, m.size_px, m.has_head ? "true" : "false", m.param_count,
                          (double)m.mean[0], (double)m.mean[1], (double)m.mean[2], (double)m.std[0], (double)m.std[1],
                          (double)m.std[2], (char *)b.data, m.source_sha256, m.fingerprint);
    } else {
        st = um_job_print("%s: %s, EfficientNet-%s (width %g, depth %g), %" PRId64 " parameters\n"
                          "pictures     %d x %d px, mean %g %g %g, std %g %g %g\n"
                          "source       %s, SHA-256 %s\n"
                          "fingerprint  %s\n",
                          um_quote(path), m.has_head ? "classifier" : "encoder without head, to train from", m.net.name, m.net.width,
                          m.net.depth, m.param_count, m.size_px, m.size_px, (double)m.mean[0], (double)m.mean[1],
                          (double)m.mean[2], (double)m.std[0], (double)m.std[1], (double)m.std[2], um_quote(m.source),
                          m.source_sha256, m.fingerprint);
    }
done:
    um_buf_release(&b);
    um_model_release(&m);
    return st;
}

static um_status inspect_file(um_job_context *ctx, const inspect_options *o, const char *path)
{
    if (um_model_is(ctx->vfs, path)) return inspect_model(ctx, o, path);
    um_mtcnn_weights w = {0};
    char fingerprint[17];
    int64_t n = 0;
    UM_TRY(um_weights_read_mtcnn(ctx->vfs, path, &w, fingerprint), "cannot inspect %s", um_quote(path));
    um_status st = UM_OK;
    for (int i = 0; i < UM_MTCNN_TENSORS; i++) n += (int64_t)um_mtcnn_tensor_count(i);
    if (o->digest)
        st = um_job_print("%s\n", fingerprint);
    else if (o->json)
        st = um_job_print("{\"kind\": \"detector\", \"tensors\": %d, \"numbers\": %" PRId64 ", \"fingerprint\": \"%s\"}\n",
                          UM_MTCNN_TENSORS, n, fingerprint);
    else
        st = um_job_print("%s: detector (MTCNN), %d tensors, %" PRId64 " numbers, fingerprint %s\n", um_quote(path),
                          UM_MTCNN_TENSORS, n, fingerprint);
    um_mtcnn_weights_release(&w);
    return st;
}

static um_status run(um_job_context *ctx, void *values)
{
    const inspect_options *o = values;
    const char *path = ctx->operands.text[0];
    struct stat s;
    um_store_content c;
    summary sum;
    char hex[65];
    if (o->png != NULL && o->video == NULL)
        return UM_FAIL(UM_USAGE, "--png wants --video ID: the pictures of one video are written");
    if (stat(path, &s) == 0 && S_ISREG(s.st_mode)) return inspect_file(ctx, o, path);
    UM_PASS(um_store_load(ctx->vfs, path, true, &c));
    um_status st;
    if (o->video != NULL) {
        st = one_video(ctx, o, &c);
    } else if (o->digest) {
        st = um_store_digest(&c, hex);
        if (st == UM_OK) st = um_job_print("%s\n", hex);
    } else {
        sum_up(&c, &sum);
        st = o->json ? print_json(&c, &sum) : print_text(&c, &sum);
    }
    um_store_content_release(&c);
    return st;
}

const um_job um_job_inspect = {
    .name = "inspect",
    .usage = "inspect FILE|DIR [--json] [--digest] [--video ID [--png OUTDIR]]",
    .summary = "show what a store, or a file made by unmask import, holds",
    .details = NULL,
    .options = options,
    .options_size = sizeof(inspect_options),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
