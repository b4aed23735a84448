/* preprocess: DFDC folders become a store, shared out among ranks. */
#include "io/weights.h"
#include "jobs/console.h"
#include "jobs/job.h"
#include "jobs/preprocess_options.h"
#include "jobs/stop.h"
#include "mpi/queue.h"
#include "src/core/clock.h"
#include "src/core/log.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define FIELD(name) offsetof(um_preprocess_options, name)

static const um_opt options[] = {
    {"store", 0, UM_OPT_TEXT, FIELD(store), NULL, "DIR", .flags = UM_OPT_REQUIRED, .help = "the store to make or to continue"},
    {"detector", 0, UM_OPT_TEXT, FIELD(detector), NULL, "FILE",
     .help = "weights made by unmask import mtcnn (default: mtcnn.h5 in $UNMASK_HOME or share/unmask)"},
    {"frames", 0, UM_OPT_FRAMES, FIELD(frames), "every:10:320", "SPEC", .flags = UM_OPT_FROZEN,
     .help = "frames to use: every:10, every:10:320 (below 320), spread:32 or all"},
    {"max-faces", 0, UM_OPT_INT, FIELD(max_faces), "2", "N", 1, 1000, .flags = UM_OPT_FROZEN,
     .help = "at most this many faces a frame, the largest; what is dropped is counted"},
    {"thresholds", 0, UM_OPT_REALS3, FIELD(thresholds), ".85,.95,.95", "P,R,O", 0, 1, .flags = UM_OPT_FROZEN,
     .help = "least probability after the detector's three nets"},
    {"scale", 0, UM_OPT_REAL, FIELD(scale), "auto", "auto|FACTOR", 0.01, 8, .choices = "auto", .flags = UM_OPT_FROZEN,
     .help = "factor by which frames are scaled before the search; auto: by the wider side, <300 px 2, >1000 px 0.5, >1900 px "
             "0.33, else 1"},
    {"stages", 0, UM_OPT_SET, FIELD(stages), "detect,crops,landmarks,masks", NULL, .choices = "detect|crops|landmarks|masks",
     .help = "what to do in this run; what a stage needs from an earlier one is taken from the store"},
    {"crop-format", 0, UM_OPT_CHOICE, FIELD(crop_format), "png", NULL, .choices = "png|jpeg|raw", .flags = UM_OPT_FROZEN,
     .help = "how crops are stored; jpeg is lossy"},
    {"jpeg-quality", 0, UM_OPT_INT, FIELD(jpeg_quality), "95", "1..100", 1, 100, .flags = UM_OPT_FROZEN,
     .help = "with --crop-format jpeg"},
    {"limit", 0, UM_OPT_INT, FIELD(limit), "0", "N", 0, 1e9, .help = "only the first N originals with their fakes; 0 is all"},
    {"fresh", 0, UM_OPT_FLAG, FIELD(fresh), NULL, NULL, .help = "start over: remove what the store holds"},
    {"max-bad", 0, UM_OPT_REAL, FIELD(max_bad), "100", "PERCENT", 0, 100,
     .help = "exit with 3 when more than this share of the videos failed"},
    {"poison-after", 0, UM_OPT_INT, FIELD(poison_after), "0", "N", 0, 1000,
     .help = "skip a unit that was in hand at N unexplained deaths of a rank; 0: never (recorded crashes count twice always)"},
    {"store.seal_mb", 0, UM_OPT_INT, FIELD(seal_mb), "256", "MB", 1, 65536, .flags = UM_OPT_SET_ONLY,
     .help = "seal shards at this size"},
    {"store.seal_s", 0, UM_OPT_REAL, FIELD(seal_s), "30", "SECONDS", 0, 86400, .flags = UM_OPT_SET_ONLY,
     .help = "seal shards at this age: what a kill can cost"},
    {"store.ignore_space", 0, UM_OPT_FLAG, FIELD(ignore_space), NULL, NULL, .flags = UM_OPT_SET_ONLY,
     .help = "start even if the disk looks too small"},
    {"unit.memory_mb", 0, UM_OPT_INT, FIELD(unit_mb), "2048", "MB", 16, 1 << 20, .flags = UM_OPT_SET_ONLY,
     .help = "memory one original and its fakes may take in a rank"},
    UM_DECODER_ROWS,
    {NULL},
};

typedef struct preprocess_run {
    um_job_context *ctx;
    const um_preprocess_options *o;
    um_manifest manifest;
    um_store_state *state;
    um_store *store;
    um_store_content stored;
    bool have_stored;
    int *stored_video;
    um_mtcnn_weights weights;
    char fingerprint[17];
    um_preprocess p;
    um_queue *queue;
    um_progress progress;
    int64_t *todo; /* manifest units, the queue's numbers */
    int64_t n_todo, work_todo, videos_todo;
    double start_s;
} preprocess_run;

static unsigned needed(const preprocess_run *r, int64_t unit)
{
    return r->o->stages & ~r->state[unit].stages;
}

/* A stage can only be done with what it stands on, from this run or an earlier one. */
static um_status check_stages(const preprocess_run *r)
{
    static const unsigned stands_on[UM_STAGES] = {0, 1u << UM_STAGE_DETECT, 1u << UM_STAGE_CROPS, 1u << UM_STAGE_CROPS};
    for (int64_t i = 0; i < r->manifest.n_units; i++)
        for (int s = 0; s < UM_STAGES; s++) {
            unsigned there = r->state[i].stages | r->o->stages;
            if ((needed(r, i) & (1u << s)) == 0 || (there & stands_on[s]) == stands_on[s]) continue;
            return UM_FAIL(UM_CONFIG, "stage %s needs stage %s first: %s has not been through it (add it to --stages)",
                           um_stage_name[s], s == UM_STAGE_CROPS ? "detect" : "crops",
                           um_quote(r->manifest.video[r->manifest.unit_video[r->manifest.unit[i].first]].path));
        }
    return UM_OK;
}

/* The frozen configuration: the table's frozen rows and the detector's fingerprint. */
static um_status frozen_config(const preprocess_run *r, um_buf *out)
{
    um_buf rows = {0};
    um_status st = um_opt_config(options, r->o, UM_OPT_FROZEN, true, &rows);
    if (st == UM_OK) {
        json_t *j = json_loadb((char *)rows.data, rows.len, 0, NULL);
        char *text = NULL;
        if (j != NULL && json_object_set_new(j, "detector", json_string(r->fingerprint)) == 0) text = json_dumps(j, JSON_SORT_KEYS);
        st = text == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for the configuration") : um_buf_add_str(out, text);
        free(text);
        json_decref(j);
    }
    um_buf_release(&rows);
    return st;
}

/* ---- the beginning: what there is to do ---- */

int64_t um_preprocess_guess_bytes(const um_preprocess_options *o, int64_t n_videos, int64_t n_masked, int64_t n_cropped)
{
    static const int64_t CLIP_FRAMES = 300, CROP_BYTES[] = {200 << 10, 40 << 10, 480 << 10}, MASK_BYTES = 50 << 10, ROW_BYTES = 512;
    int64_t crop = CROP_BYTES[strcmp(o->crop_format, "png") == 0 ? 0 : strcmp(o->crop_format, "jpeg") == 0 ? 1 : 2];
    return um_frames_count(&o->frames, CLIP_FRAMES) * (n_cropped * crop + n_masked * MASK_BYTES + n_videos * ROW_BYTES);
}

static int64_t estimate_bytes(const preprocess_run *r)
{
    int64_t videos = 0, masked = 0, cropped = 0;
    for (int64_t i = 0; i < r->n_todo; i++) {
        int64_t n = r->manifest.unit[r->todo[i]].n;
        unsigned need = needed(r, r->todo[i]);
        if ((need & (1u << UM_STAGE_CROPS)) != 0) cropped += n;
        if ((need & (1u << UM_STAGE_MASKS)) != 0) masked += n - 1;
        videos += n;
    }
    return um_preprocess_guess_bytes(r->o, videos, masked, cropped);
}

static um_status check_space(const preprocess_run *r)
{
    struct statvfs v;
    int64_t want = estimate_bytes(r);
    if (statvfs(r->o->store, &v) != 0) return UM_OK;
    double free_bytes = (double)v.f_bavail * (double)v.f_frsize;
    um_log(UM_LOG_INFO, "space: about %.1f GB will be written (one face a frame of 400x400 px assumed), %.1f GB are free",
           (double)want / 1e9, free_bytes / 1e9);
    if ((double)want > free_bytes && !r->o->ignore_space)
        return UM_FAIL(UM_IO,
                       "about %.1f GB will be written but only %.1f GB are free at %s; free some, choose --crop-format jpeg or "
                       "fewer frames, or start all the same with --set store.ignore_space=true",
                       (double)want / 1e9, free_bytes / 1e9, um_quote(r->o->store));
    return UM_OK;
}

/* What the store has of this root; a store of another root is not silently emptied of its meaning. */
static um_status load_states(preprocess_run *r)
{
    bool known = false, other = false;
    UM_PASS(um_store_load_states(r->ctx->vfs, r->o->store, &r->manifest, r->state));
    for (int64_t i = 0; i < r->manifest.n_units && !known; i++) known = r->state[i].stages != 0 || r->state[i].attempts.starts > 0;
    if (known || r->manifest.n_units == 0) return UM_OK;
    um_store_content c;
    um_status st = um_store_load(r->ctx->vfs, r->o->store, false, &c);
    if (st == UM_MISSING) {
        um_err_clear();
        return UM_OK;
    }
    UM_PASS(st);
    for (int64_t i = 0; i < c.manifest.n_units; i++) other = other || c.state[i].stages != 0;
    if (other)
        st = UM_FAIL(UM_DATA,
                     "the store %s holds other videos (it was made from %s); name another --store, or --fresh to start over",
                     um_quote(r->o->store), um_quote(c.manifest.root));
    um_store_content_release(&c);
    return st;
}

/* Rank 0: the manifest, the store, what is left to do. */
static um_status prepare(preprocess_run *r, um_buf *config, um_buf *manifest_text)
{
    const um_preprocess_options *o = r->o;
    UM_PASS(um_manifest_scan(r->ctx->operands.text[0], o->limit, &r->manifest));
    UM_PASS(um_store_open(r->ctx->vfs, o->store, (char *)config->data, o->fresh, &r->store));
    r->state = calloc((size_t)r->manifest.n_units + 1, sizeof *r->state);
    if (r->state == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d units", r->manifest.n_units);
    UM_PASS(load_states(r));
    UM_PASS(check_stages(r));
    UM_PASS(um_store_set_manifest(r->store, &r->manifest));
    return um_manifest_write(&r->manifest, manifest_text);
}

/* Ships rank 0's manifest and states to all, so that every rank sees the same units whatever its file system shows it. Collective.
 */
static um_status ship(preprocess_run *r, um_buf *text)
{
    um_world *w = &r->ctx->world;
    int64_t n = (int64_t)text->len;
    um_status st = UM_OK;
    um_world_bcast(w, &n, sizeof n);
    if (w->rank > 0) {
        um_buf_clear(text);
        st = um_buf_reserve(text, (size_t)n);
    }
    UM_PASS(um_agree(w, st, "sending the manifest"));
    um_world_bcast(w, text->data, (size_t)n);
    if (w->rank > 0) {
        text->len = (size_t)n;
        text->data[n] = 0;
        st = um_manifest_parse((char *)text->data, text->len, &r->manifest);
        if (st == UM_OK) {
            r->state = calloc((size_t)r->manifest.n_units + 1, sizeof *r->state);
            if (r->state == NULL) st = UM_FAIL(UM_NO_MEMORY, "no memory for %d units", r->manifest.n_units);
        }
    }
    UM_PASS(um_agree(w, st, "reading the manifest"));
    um_world_bcast(w, r->state, (size_t)r->manifest.n_units * sizeof *r->state);
    return UM_OK;
}

/* POISON: recorded evidence twice, or more unexplained deaths than the user allows. Such a unit is given its rows by rank 0 and no
 * processing. */
static bool poisoned(const preprocess_run *r, int64_t unit)
{
    const um_attempts *s = &r->state[unit].attempts;
    return s->strikes >= 2 || (r->o->poison_after > 0 && s->starts >= r->o->poison_after);
}

static um_status write_poison(preprocess_run *r, um_store_writer *w, int64_t unit)
{
    const um_manifest_unit *u = &r->manifest.unit[unit];
    unsigned need = needed(r, unit);
    char message[160];
    snprintf(message, sizeof message,
             "in hand at %d recorded crashes (last: signal %d) and %d unexplained ends of earlier runs; --fresh tries it again",
             r->state[unit].attempts.strikes, r->state[unit].attempts.strike_signal, r->state[unit].attempts.starts);
    UM_PASS(um_store_begin(w, u->key));
    for (int i = 0; i < u->n; i++) {
        const um_manifest_video *v = &r->manifest.video[r->manifest.unit_video[u->first + i]];
        um_store_video row = {.video = v->id, .status = UM_POISON, .n_frames = -1};
        UM_PASS(um_store_add_video(w, i == 0 && (need & (1u << UM_STAGE_DETECT)) != 0 ? UM_STAGE_DETECT : UM_STAGE_CROPS, &row,
                                   message));
    }
    um_log(UM_LOG_WARN, "%s and its fakes are skipped: %s", um_quote(r->manifest.video[r->manifest.unit_video[u->first]].path),
           message);
    return um_store_end(w, need);
}

/* The list of units to do and their costs; what was in hand at an unexplained death comes last. Equal on all ranks. */
static um_status list_todo(preprocess_run *r, int64_t **cost)
{
    int64_t n = r->manifest.n_units;
    r->todo = calloc((size_t)n + 1, sizeof *r->todo);
    *cost = calloc((size_t)n + 1, sizeof **cost);
    if (r->todo == NULL || *cost == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " units", n);
    for (int64_t i = 0; i < n; i++) {
        if (needed(r, i) == 0 || poisoned(r, i)) continue;
        r->todo[r->n_todo] = i;
        (*cost)[r->n_todo] = r->state[i].attempts.starts > 0 || r->state[i].attempts.strikes > 0
                                 ? 0
                                 : r->manifest.unit[i].cost; /* the queue sorts by cost, largest first */
        r->n_todo++;
        r->work_todo += r->manifest.unit[i].cost;
        r->videos_todo += r->manifest.unit[i].n;
    }
    return UM_OK;
}

/* Rows of earlier runs, when a stage of this run stands on them. */
static um_status load_stored(preprocess_run *r)
{
    bool wanted = false;
    for (int64_t i = 0; i < r->n_todo && !wanted; i++) wanted = r->state[r->todo[i]].stages != 0;
    if (!wanted) return UM_OK;
    UM_PASS(um_store_load(r->ctx->vfs, r->o->store, true, &r->stored));
    r->have_stored = true;
    r->stored_video = malloc((size_t)(r->manifest.n_videos + 1) * sizeof *r->stored_video);
    if (r->stored_video == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d videos", r->manifest.n_videos);
    /* Both are sorted by path. */
    int s = 0;
    for (int i = 0; i < r->manifest.n_videos; i++) {
        while (s < r->stored.manifest.n_videos && strcmp(r->stored.manifest.video[s].path, r->manifest.video[i].path) < 0) s++;
        r->stored_video[i] =
            s < r->stored.manifest.n_videos && strcmp(r->stored.manifest.video[s].path, r->manifest.video[i].path) == 0 ? s : -1;
    }
    r->p.stored = &r->stored;
    r->p.stored_video = r->stored_video;
    return UM_OK;
}

/* ---- the work ---- */

static void between(void *user)
{
    preprocess_run *r = user;
    um_queue_poll(r->queue);
    if (r->ctx->world.rank != 0) return;
    int64_t units, work, videos, bad;
    char words[96];
    um_queue_progress(r->queue, &units, &work, &videos, &bad);
    double elapsed = um_clock_s() - r->start_s;
    snprintf(words, sizeof words, "%" PRId64 " of %" PRId64 " videos, %" PRId64 " bad, %.1f videos/s", videos, r->videos_todo, bad,
             elapsed > 0 ? (double)videos / elapsed : 0);
    um_progress_show(&r->progress, words, work, r->work_todo, false);
}

um_status um_preprocess_open(um_job_context *ctx, const um_preprocess_options *o, const um_mtcnn_weights *weights, um_store *store, um_preprocess *p)
{
    p->frames = o->frames;
    p->thresholds = (um_thresholds){o->thresholds[0], o->thresholds[1], o->thresholds[2]};
    p->max_faces = (int)o->max_faces;
    p->format = strcmp(o->crop_format, "png") == 0    ? UM_CODEC_PNG
                : strcmp(o->crop_format, "jpeg") == 0 ? UM_CODEC_JPEG
                                                      : UM_CODEC_RAW;
    p->jpeg_quality = (int)o->jpeg_quality;
    p->unit_bytes = o->unit_mb << 20;
    p->decoder = ctx->decoder;
    p->stop = um_stop_flag();
    UM_PASS(um_detector_new(weights, o->scale, &p->frame_detector));
    UM_PASS(um_detector_new(weights, 1, &p->crop_detector));
    p->codec = um_codec_new();
    p->ssim = um_ssim_new();
    if (p->codec == NULL || p->ssim == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for codecs");
    um_store_limits limits = {.seal_bytes = o->seal_mb << 20, .seal_s = o->seal_s};
    return um_store_writer_open(store, ctx->world.rank, &limits, &p->writer);
}

void um_preprocess_close(um_preprocess *p)
{
    if (p->writer != NULL) (void)um_store_writer_close(p->writer, NULL);
    um_preprocess_release(p);
    um_detector_free(p->frame_detector);
    um_detector_free(p->crop_detector);
    um_codec_free(p->codec);
    um_ssim_free(p->ssim);
    *p = (um_preprocess){0};
}

/* This rank's units. The status is this rank's own. */
static um_status work(preprocess_run *r)
{
    um_status st = UM_OK;
    int64_t i;
    while ((st = um_queue_next(r->queue, &i)) == UM_OK) {
        int bad = 0;
        int64_t unit = r->todo[i];
        st = um_preprocess_unit(&r->p, (int)unit, r->state[unit].stages, needed(r, unit), &bad);
        if (st != UM_OK) break;
        um_queue_done(r->queue, r->manifest.unit[unit].cost, r->manifest.unit[unit].n, bad);
        between(r);
        if (*um_stop_flag() != 0) {
            st = UM_FAIL(UM_STOPPED, "a signal asked to stop");
            break;
        }
    }
    if (st != UM_OK && st != UM_END) um_queue_stop(r->queue);
    return st == UM_END ? UM_OK : st;
}

/* ---- the end: what was found ---- */

static um_status report_times(preprocess_run *r, const um_queue_stats *q, double work_s)
{
    um_world *w = &r->ctx->world;
    const um_preprocess_times *t = &r->p.times;
    double sum[8] = {t->decode_wait, t->detect, t->encode, t->landmarks, t->masks, t->store, q->waited_s, work_s},
           worst = q->longest_gap_s;
    int64_t all[9] = {r->p.counts.videos, r->p.counts.bad,       r->p.counts.frames,  r->p.counts.faces, r->p.counts.crops,
                      r->p.counts.masks,  r->p.counts.landmarks, r->p.counts.dropped, q->units_taken};
    um_world_sum_f64(w, sum, 8);
    um_world_max_f64(w, &worst, 1);
    um_world_sum_i64(w, all, 9);
    if (w->rank > 0) return UM_OK;
    char span[24];
    um_clock_span(work_s, span);
    um_log(UM_LOG_INFO,
           "this run: %" PRId64 " videos in %s on %d ranks, %.2f videos/s; %" PRId64 " frames searched, %" PRId64 " faces (%" PRId64
           " dropped by --max-faces or without area), %" PRId64 " crops, %" PRId64 " landmarks, %" PRId64 " masks",
           all[0], span, w->size, work_s > 0 ? (double)all[0] / work_s : 0, all[2], all[3], all[7], all[4], all[6], all[5]);
    if (sum[7] > 0)
        um_log(UM_LOG_INFO,
               "where the ranks' time went: waiting for frames %.0f %%, detection %.0f %%, encoding %.0f %%, landmarks %.0f %%, "
               "masks %.0f %%, store %.0f %%, waiting for work %.0f %%; %" PRId64
               " units moved between ranks, longest time without an answer %.0f ms",
               100 * sum[0] / sum[7], 100 * sum[1] / sum[7], 100 * sum[2] / sum[7], 100 * sum[3] / sum[7], 100 * sum[4] / sum[7],
               100 * sum[5] / sum[7], 100 * sum[6] / sum[7], all[8], 1e3 * worst);
    return UM_OK;
}

/* Rank 0: index, summary by status on stdout and in status.json. */
static um_status finish(preprocess_run *r, int64_t *n_left, bool *too_many_bad)
{
    um_store_content c;
    um_buf json = {0}, path = {0};
    int64_t by_status[64] = {0}, bad = 0;
    um_status st = um_store_load(r->ctx->vfs, r->o->store, true, &c);
    if (st != UM_OK) return st;
    UM_GOTO_PASS(st, um_store_write_index(r->ctx->vfs, &c));
    *n_left = 0;
    for (int i = 0; i < c.manifest.n_units; i++) *n_left += (r->o->stages & ~c.state[i].stages) != 0;
    for (int i = 0; i < c.manifest.n_videos; i++) {
        int s = c.video[i].status;
        if (s >= 0 && s < 64) by_status[s]++;
        bad += um_status_is_bad((um_status)s);
    }
    *too_many_bad = c.manifest.n_videos > 0 && 100.0 * (double)bad / (double)c.manifest.n_videos > r->o->max_bad;
    UM_GOTO_PASS(st, um_job_print("%d videos, %" PRId64 " faces:", c.manifest.n_videos, c.n_entries));
    UM_GOTO_PASS(st, um_buf_printf(&json,
                                   "{\"videos\": %d, \"faces\": %" PRId64 ", \"units\": %d, \"units_left\": %" PRId64
                                   ", \"bad\": %" PRId64 ", \"status\": {",
                                   c.manifest.n_videos, c.n_entries, c.manifest.n_units, *n_left, bad));
    bool first = true;
    for (int s = 0; s < 64; s++) {
        if (by_status[s] == 0) continue;
        UM_GOTO_PASS(st, um_job_print(" %s %" PRId64, um_status_name((um_status)s), by_status[s]));
        UM_GOTO_PASS(st, um_buf_printf(&json, "%s\"%s\": %" PRId64, first ? "" : ", ", um_status_name((um_status)s), by_status[s]));
        first = false;
    }
    UM_GOTO_PASS(st, um_job_print("\n"));
    UM_GOTO_PASS(st, um_buf_add_str(&json, "}}\n"));
    UM_GOTO_PASS(st, um_buf_printf(&path, "%s/status.json", r->o->store));
    UM_GOTO_PASS(st, um_vfs_write_whole(r->ctx->vfs, (char *)path.data, json.data, json.len));
    if (c.n_unreferenced > 0)
        um_log(UM_LOG_INFO,
               "%" PRId64 " files in the store belong to no sealed unit (left by a run that was killed); they do no harm",
               c.n_unreferenced);
    if (c.n_journal_damaged > 0)
        um_log(UM_LOG_WARN,
               "%" PRId64
               " journals end in a damaged record (a run was cut off while writing it); what they had sealed before is used",
               c.n_journal_damaged);
done:
    um_buf_release(&json);
    um_buf_release(&path);
    um_store_content_release(&c);
    return st;
}

static um_status run(um_job_context *ctx, void *values)
{
    preprocess_run r = {.ctx = ctx, .o = values, .start_s = um_clock_s()};
    um_world *w = &ctx->world;
    um_buf path = {0}, config = {0}, text = {0};
    int64_t *cost = NULL, n_left = 0, sealed = 0;
    bool too_many_bad = false;
    um_queue_stats q = {0};
    um_stop_install();

    /* Every rank loads the detector; rank 0 lists and opens the store. */
    um_status st = um_job_find(ctx, r.o->detector, "mtcnn.h5", &path);
    if (st == UM_OK) st = um_weights_read_mtcnn(ctx->vfs, (char *)path.data, &r.weights, r.fingerprint);
    UM_GOTO_PASS(st, um_agree(w, st, "loading the detector"));
    st = frozen_config(&r, &config);
    if (st == UM_OK && w->rank == 0) st = prepare(&r, &config, &text);
    UM_GOTO_PASS(st, um_agree(w, st, "preparing"));
    UM_GOTO_PASS(st, ship(&r, &text));
    if (w->rank > 0) st = um_store_open(ctx->vfs, r.o->store, (char *)config.data, false, &r.store);
    if (st == UM_OK) st = list_todo(&r, &cost);
    if (st == UM_OK && w->rank == 0) {
        um_log(UM_LOG_INFO, "%s: %d parts, %d videos, %d originals with their fakes; %" PRId64 " to do%s",
               um_quote(r.manifest.root), r.manifest.n_parts, r.manifest.n_videos, r.manifest.n_units, r.n_todo,
               r.n_todo < r.manifest.n_units ? " (the others are done)" : "");
        if (r.manifest.n_units_found > r.manifest.n_units)
            um_log(UM_LOG_INFO, "--limit: %" PRId64 " originals are left out", r.manifest.n_units_found - r.manifest.n_units);
        if (r.manifest.n_other_files > 0)
            um_log(UM_LOG_INFO, "%" PRId64 " files in the parts are neither listed nor named like a video",
                   r.manifest.n_other_files);
        st = check_space(&r);
    }
    if (st == UM_OK) st = load_stored(&r);
    r.p.manifest = &r.manifest;
    r.p.between = between;
    r.p.user = &r;
    if (st == UM_OK) st = um_preprocess_open(ctx, r.o, &r.weights, r.store, &r.p);
    if (st == UM_OK && w->rank == 0)
        for (int64_t i = 0; i < r.manifest.n_units && st == UM_OK; i++)
            if (needed(&r, i) != 0 && poisoned(&r, i)) st = write_poison(&r, r.p.writer, i);
    UM_GOTO_PASS(st, um_agree(w, st, "preparing"));
    UM_GOTO_PASS(st, um_queue_open(w, w->rank == 0 ? cost : NULL, r.n_todo, &r.queue));
    um_progress_begin(&r.progress, 0);

    r.start_s = um_clock_s();
    st = work(&r);
    um_status sealing = um_store_writer_close(r.p.writer, &sealed);
    r.p.writer = NULL;
    if (st == UM_OK || st == UM_STOPPED) st = sealing != UM_OK ? sealing : st;
    um_queue_close(r.queue, &q);
    r.queue = NULL;
    um_progress_end(&r.progress);
    (void)report_times(&r, &q, um_clock_s() - r.start_s);
    st = um_agree(w, st, "preprocessing");

    /* Also after a stop: the index shows what is there. A job error ends without it, the journal is the truth. */
    if (st == UM_OK || st == UM_STOPPED) {
        um_status end = w->rank == 0 ? finish(&r, &n_left, &too_many_bad) : UM_OK;
        end = um_agree(w, end, "making the index");
        um_world_bcast(w, &n_left, sizeof n_left);
        um_world_bcast(w, &too_many_bad, sizeof too_many_bad);
        if (end != UM_OK)
            st = end;
        else if (n_left > 0)
            st = UM_FAIL(UM_STOPPED, "stopped early: %" PRId64 " of %d originals are left; run the same command again to continue",
                         n_left, r.manifest.n_units);
        else if (too_many_bad)
            st = UM_FAIL(UM_TOO_MANY_BAD, "complete, but more than %g %% of the videos failed (--max-bad)", r.o->max_bad);
        else
            st = UM_OK;
    }
done:
    um_preprocess_close(&r.p);
    if (r.have_stored) um_store_content_release(&r.stored);
    um_store_close(r.store);
    um_manifest_release(&r.manifest);
    um_mtcnn_weights_release(&r.weights);
    um_buf_release(&path);
    um_buf_release(&config);
    um_buf_release(&text);
    free(r.stored_video);
    free(r.state);
    free(r.todo);
    free(cost);
    return st;
}

const um_job um_job_preprocess = {
    .name = "preprocess",
    .usage = "preprocess ROOT --store DIR [options]",
    .summary = "make a store of face crops, landmarks and difference masks from DFDC folders (MPI)",
    .details = "ROOT holds folders dfdc_train_part_<number> with metadata.json and videos. The unit of work is an original with "
               "its fakes; ranks share the units and balance the tail.\n"
               "Faces are found in originals, on the frames chosen; originals and fakes are cut at the same boxes; landmarks are "
               "found on the crops of originals; masks show by structural\n"
               "similarity where a fake differs from its original. Each video is decoded once, in a child process.\n"
               "Every video has one row with a status: OK, PARTIAL, NO_FACE, NO_VIDEO, ZERO_FRAMES, CORRUPT, UNSUPPORTED_FORMAT, "
               "UNSUPPORTED_CODEC, TOO_LARGE, TIMEOUT, CRASH, OOM, CHANGED, MISSING,\n"
               "UNREADABLE, NO_ORIGINAL, NO_METADATA, MISMATCH or POISON. A bad input never ends the run.\n"
               "The same command continues a store that was stopped, killed or has new videos, with any number of ranks; another "
               "configuration is refused, naming the key; --fresh starts over.\n"
               "unmask inspect DIR shows what a store holds; h5py reads DIR/index.h5 (docs/format.md).\n",
    .options = options,
    .options_size = sizeof(um_preprocess_options),
    .min_operands = 1,
    .max_operands = 1,
    .flags = UM_JOB_MPI | UM_JOB_DECODES,
    .run = run,
};
