/* score: videos become scores, shared out among ranks, each scored exactly once. */
#include "io/config.h"
#include "io/score_journal.h"
#include "jobs/console.h"
#include "jobs/job.h"
#include "jobs/output.h"
#include "jobs/score_files.h"
#include "jobs/score_options.h"
#include "jobs/stop.h"
#include "jobs/versions.h"
#include "mpi/queue.h"
#include "src/core/clock.h"
#include "src/core/log.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LIST_BYTES = 1 << 30 };

#define FIELD(name) offsetof(um_score_options, name)

static const um_opt options[] = {
    {"model", 'm', UM_OPT_TEXTS, FIELD(models), NULL, "FILE|DIR",
     .help = "a model, or a folder of which all models are taken; repeatable (default: those in $UNMASK_HOME or share/unmask)"},
    {"detector", 0, UM_OPT_TEXT, FIELD(detector), NULL, "FILE",
     .help = "weights made by unmask import mtcnn (default: mtcnn.h5 in $UNMASK_HOME or share/unmask)"},
    {"output", 'o', UM_OPT_TEXT, FIELD(output), NULL, "FILE",
     .help = "the CSV file to make or to continue; its journal and manifest lie beside it (default: a table on the standard output, nothing is kept)"},
    {"details", 0, UM_OPT_TEXT, FIELD(details), NULL, "FILE", .help = "also write JSON Lines with the scores of models, persons and faces"},
    {"submission", 0, UM_OPT_TEXT, FIELD(submission), NULL, "FILE",
     .help = "also write filename,label as the Deepfake Detection Challenge wanted it, 0.5 where there is no score"},
    {"list", 0, UM_OPT_TEXT, FIELD(list), NULL, "FILE", .help = "score what this file names, one name a line, or each ended by a NUL byte"},
    {"frames", 0, UM_OPT_FRAMES, FIELD(frames), "spread:32", "spread:N", .flags = UM_OPT_FROZEN, .help = "how many frames of a video, or of each window, are looked at"},
    {"windows", 0, UM_OPT_TEXT, FIELD(windows), "60,10", "EVERY,LENGTH",
     .help = "--pool persons: a video longer than EVERY seconds is cut into equal stretches of at most so many, and LENGTH seconds in the middle of each are looked at"},
    {"pool", 0, UM_OPT_CHOICE, FIELD(pool), "persons", NULL, .choices = "persons|faces", .flags = UM_OPT_FROZEN,
     .help = "persons: each is followed, the video gets the highest one's score; faces: all faces in one pool, exactly as the reference does"},
    {"precision", 0, UM_OPT_CHOICE, FIELD(precision), "f32", NULL, .choices = "f32|bf16", .help = "what the network computes in"},
    UM_DEVICE_ROWS(um_score_options),
    {"threshold", 0, UM_OPT_REAL, FIELD(threshold), "0.5", "SCORE", 0, 1, .flags = UM_OPT_FROZEN, .help = "a video is called fake from this score on"},
    {"thresholds", 0, UM_OPT_REALS3, FIELD(thresholds), ".7,.8,.8", "P,R,O", 0, 1, .flags = UM_OPT_FROZEN, .help = "least probability of a face after the detector's three nets"},
    {"max-bad", 0, UM_OPT_REAL, FIELD(max_bad), "100", "PERCENT", 0, 100, .help = "exit with 3 when more than this share of the inputs failed"},
    {"fresh", 0, UM_OPT_FLAG, FIELD(fresh), NULL, NULL, .help = "start over: remove what an earlier run left for this output"},
    {"update", 0, UM_OPT_FLAG, FIELD(update), NULL, NULL, .help = "inputs have come, gone or changed: take them as they are now, keep the scores of the others"},
    {"limit", 0, UM_OPT_INT, FIELD(limit), "0", "N", 0, 1e9, .help = "only the first N inputs; 0 is all"},
    {"threads", 0, UM_OPT_INT, FIELD(threads), "0", "N", 0, 1024, .help = "threads of each rank; 0: its fair share of the processors. Scores do not depend on it"},
    {"poison-after", 0, UM_OPT_INT, FIELD(poison_after), "0", "N", 0, 1000,
     .help = "skip a video in hand, alone, at N unexplained deaths of a rank; 0: never (recorded crashes count twice always)"},
    {"persons.min_faces", 0, UM_OPT_INT, FIELD(min_faces), "8", "N", 1, 100000, .flags = UM_OPT_SET_ONLY | UM_OPT_FROZEN, .help = "a person counts from so many faces in a window"},
    {"gpu.frames", 0, UM_OPT_INT, FIELD(gpu_frames), "16", "N", 0, 1024, .flags = UM_OPT_SET_ONLY, .help = "frames that a GPU searches for faces at once; fewer take less of its memory; 0: processors search"},
    {"gpu.batch", 0, UM_OPT_INT, FIELD(gpu_batch), "32", "N", 1, 4096, .flags = UM_OPT_SET_ONLY, .help = "faces that a GPU scores at once; fewer take less of its memory"},
    {"journal.records", 0, UM_OPT_INT, FIELD(journal_records), "64", "N", 1, 1000000, .flags = UM_OPT_SET_ONLY, .help = "make the journal durable after so many videos: what a loss of power can cost"},
    {"journal.seconds", 0, UM_OPT_REAL, FIELD(journal_s), "2", "SECONDS", 0, 3600, .flags = UM_OPT_SET_ONLY, .help = "or when so much time has passed"},
    UM_DECODER_ROWS,
    {NULL},
};

typedef struct score_run {
    um_job_context *ctx;
    const um_score_options *o;
    um_score_setup setup;
    um_score_files files;
    um_score_manifest manifest;
    um_score_journal *journal;
    um_window_options windows;
    um_buf config;
    um_queue *queue;
    um_progress progress;
    int64_t *todo;              /* manifest indices: n_todo for the queue, then n_alone, then n_poison */
    int64_t n_todo, n_alone, n_poison;
    int64_t work_todo, videos_done, n_bad;
    double start_s, no_score;
} score_run;

int64_t um_score_cost(const um_score_input *in) { return in->size_bytes + (4 << 20); }

/* ---- the configuration ---- */

static um_status read_windows(const um_score_options *o, um_window_options *out)
{
    const char *text = o->windows;
    char *end;
    double every = strtod(text, &end), length = 0;
    bool ok = end > text && *end == ',';
    if (ok) {
        text = end + 1;
        length = strtod(text, &end);
        ok = end > text && *end == 0;
    }
    if (!ok || !(every > 0 && every <= 1e6) || !(length > 0 && length <= every))
        return UM_FAIL(UM_USAGE, "--windows %s: two numbers are wanted, EVERY,LENGTH, in seconds, LENGTH at most EVERY, such as 60,10", um_quote(o->windows));
    if (o->frames.kind != UM_FRAMES_SPREAD) return UM_FAIL(UM_USAGE, "--frames: scoring spreads its frames over the video: spread:N, such as spread:32");
    *out = (um_window_options){every, length, (int)o->frames.count};
    return UM_OK;
}

static bool set_text(json_t *j, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static bool set_text(json_t *j, const char *key, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return n >= 0 && (size_t)n < sizeof text && json_object_set_new(j, key, json_string(text)) == 0;
}

/* All that decides the bits of a row, beside the video: the table's frozen rows, models, detector, how and with which libraries it is computed. */
static um_status frozen_config(score_run *r)
{
    um_buf rows = {0};
    um_status st = um_opt_config(options, r->o, UM_OPT_FROZEN, true, &rows);
    if (st == UM_OK) {
        char decoder[160], every[40], length[40], *text = NULL;
        um_versions_decoder(decoder, sizeof decoder);
        snprintf(every, sizeof every, "%.9g", r->windows.every_s);
        snprintf(length, sizeof length, "%.9g", r->windows.length_s);
        json_t *j = json_loadb((char *)rows.data, rows.len, 0, NULL);
        bool ok = j != NULL && set_text(j, "models", "%s", (char *)r->setup.fingerprints.data) && set_text(j, "detector", "%s", r->setup.detector) && set_text(j, "windows", "%s,%s", every, length) &&
                  set_text(j, "precision", "%s", r->setup.precision) && set_text(j, "backend", "%s", r->setup.backend) && set_text(j, "instruction set", "%s", r->setup.isa) &&
                  set_text(j, "decoder", "%s", decoder) && set_text(j, "decoder.megapixels", "%" PRId64, r->o->decoder.megapixels) && set_text(j, "unmask", "%s", UNMASK_VERSION) &&
                  set_text(j, "c library", "%s", um_version_libc());
        if (ok) text = json_dumps(j, JSON_SORT_KEYS);
        st = text == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for the configuration") : um_buf_add_str(&r->config, text);
        free(text);
        json_decref(j);
    }
    um_buf_release(&rows);
    return st;
}

/* All ranks must compute the same bits. Collective. */
static um_status same_config(score_run *r)
{
    um_world *w = &r->ctx->world;
    um_buf first = {0};
    int64_t n = (int64_t)r->config.len;
    um_status st = UM_OK;
    um_world_bcast(w, &n, sizeof n);
    st = um_buf_reserve(&first, (size_t)n + 1);
    UM_GOTO_PASS(st, um_agree(w, st, "comparing ranks"));
    if (w->rank == 0) memcpy(first.data, r->config.data, (size_t)n);
    um_world_bcast(w, first.data, (size_t)n);
    first.data[n] = 0;
    st = um_config_compare((char *)first.data, (char *)r->config.data, UM_DATA, "rank 0 works",
                           "the scores would depend on who computed them; give all ranks the same files, libraries and processors (UNMASK_ISA=avx2 or base lowers the instruction set for all)");
    st = um_agree(w, st, "comparing ranks");
done:
    um_buf_release(&first);
    return st;
}

/* ---- the beginning: what there is to do ---- */

static bool poisoned(const score_run *r, const um_attempts *a)
{
    return a->strikes >= 2 || (r->o->poison_after > 0 && a->alone >= r->o->poison_after);
}

/* The three lists, one after the other. In hand at one unexplained death: last in the queue. At two, or with a strike: after the queue, with nothing else in hand anywhere, so that a third death says whose fault it is. */
static um_status list_todo(score_run *r, const um_score_results *results)
{
    int64_t n = r->manifest.n, *to;
    r->todo = to = malloc(((size_t)n + 1) * sizeof *to);
    if (to == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " inputs", n);
    for (int kind = 0; kind < 3; kind++)
        for (int64_t i = 0; i < n; i++) {
            const um_attempts *a = &results->row[i].attempts;
            int is = poisoned(r, a) ? 2 : a->starts >= 2 || a->strikes > 0 ? 1 : 0;
            if (results->row[i].done || is != kind) continue;
            *to++ = i;
            *(kind == 0 ? &r->n_todo : kind == 1 ? &r->n_alone : &r->n_poison) += 1;
        }
    return UM_OK;
}

static um_status list_cost(const score_run *r, const um_score_results *results, int64_t **cost)
{
    *cost = malloc(((size_t)r->n_todo + 1) * sizeof **cost);
    if (*cost == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " inputs", r->n_todo);
    for (int64_t i = 0; i < r->n_todo; i++) /* the queue sorts by cost, largest first */
        (*cost)[i] = results->row[r->todo[i]].attempts.starts > 0 ? 0 : um_score_cost(&r->manifest.input[r->todo[i]]);
    return UM_OK;
}

um_status um_score_list(um_job_context *ctx, const um_score_options *o, const char *config, const char *const *model, int n_models, um_score_manifest *out)
{
    const um_texts *paths = &ctx->operands;
    void *list = NULL;
    size_t n = 0;
    um_status st = UM_OK;
    if (o->list != NULL) UM_TRY(um_vfs_read_whole(ctx->vfs, o->list, MAX_LIST_BYTES, &list, &n), "cannot read the list %s", um_quote(o->list));
    st = um_score_manifest_list(paths->text, paths->n, list, n, o->limit, config, model, n_models, out);
    free(list);
    UM_PASS(st);
    if (out->n == 0) return UM_FAIL(UM_USAGE, "there is no video to score: %" PRId64 " files were found, none is a video by its content or its name", out->n_others);
    return o->submission != NULL ? um_score_manifest_check_names(out) : UM_OK;
}

static void say_inputs(const score_run *r)
{
    const um_score_manifest *m = &r->manifest;
    um_log(UM_LOG_INFO, "%" PRId64 " inputs, %" PRId64 " to do%s", m->n, r->n_todo + r->n_alone + r->n_poison, r->n_todo + r->n_alone + r->n_poison < m->n ? " (the others have their rows)" : "");
    if (m->n_others > 0) um_log(UM_LOG_INFO, "%" PRId64 " files in folders are no videos, by content and by name: left out", m->n_others);
    if (m->n_twice > 0) um_log(UM_LOG_INFO, "%" PRId64 " paths were given more than once: one row each", m->n_twice);
    if (m->n_loops > 0) um_log(UM_LOG_WARN, "%" PRId64 " links back into a folder were left out", m->n_loops);
    if (r->n_alone > 0) um_log(UM_LOG_WARN, "%" PRId64 " videos were in hand when earlier runs died: they come last, one at a time", r->n_alone);
}

/* Rank 0: the listing, the frozen manifest, what is left. */
static um_status prepare(score_run *r, um_buf *text, int64_t **cost)
{
    um_score_results results = {0};
    um_status st;
    UM_PASS(um_score_list(r->ctx, r->o, (char *)r->config.data, (const char *const *)r->setup.name, r->setup.scorer.n_models, &r->manifest));
    UM_PASS(um_score_files_begin(&r->files, r->o->fresh, r->o->update, &r->manifest));
    if (r->files.journal != NULL)
        UM_PASS(um_score_results_read(r->ctx->vfs, r->files.journal, &r->manifest, r->no_score, &results));
    else
        UM_PASS(um_score_results_scan("", 0, &r->manifest, r->no_score, &results));
    UM_GOTO_PASS(st, list_todo(r, &results));
    UM_GOTO_PASS(st, list_cost(r, &results, cost));
    say_inputs(r);
    st = um_score_manifest_write(&r->manifest, text);
done:
    um_score_results_release(&results);
    return st;
}

/* Rank 0's manifest and lists to all, so that every rank sees the same inputs whatever its file system shows it. Collective. */
static um_status ship(score_run *r, um_buf *text)
{
    um_world *w = &r->ctx->world;
    int64_t n[4] = {(int64_t)text->len, r->n_todo, r->n_alone, r->n_poison};
    um_status st = UM_OK;
    um_world_bcast(w, n, sizeof n);
    size_t listed = (size_t)(n[1] + n[2] + n[3]);
    if (w->rank > 0) {
        st = um_buf_reserve(text, (size_t)n[0] + 1);
        r->todo = malloc((listed + 1) * sizeof *r->todo);
        if (st == UM_OK && r->todo == NULL) st = UM_FAIL(UM_NO_MEMORY, "no memory for %zu inputs", listed);
    }
    UM_PASS(um_agree(w, st, "sending the manifest"));
    um_world_bcast(w, text->data, (size_t)n[0]);
    um_world_bcast(w, r->todo, listed * sizeof *r->todo);
    if (w->rank > 0) {
        text->len = (size_t)n[0];
        text->data[text->len] = 0;
        r->n_todo = n[1];
        r->n_alone = n[2];
        r->n_poison = n[3];
        st = um_score_manifest_parse((char *)text->data, text->len, &r->manifest);
    }
    for (int64_t i = 0; st == UM_OK && i < r->n_todo + r->n_alone; i++) r->work_todo += um_score_cost(&r->manifest.input[r->todo[i]]);
    return um_agree(w, st, "reading the manifest");
}

/* ---- the work ---- */

static void between(void *user)
{
    score_run *r = user;
    if (r->queue != NULL) um_queue_poll(r->queue);
    if (r->ctx->world.rank != 0) return;
    int64_t units = 0, done = 0, videos = r->videos_done, bad = r->n_bad;
    char words[112];
    if (r->queue != NULL) um_queue_progress(r->queue, &units, &done, &videos, &bad);
    double elapsed = um_clock_s() - r->start_s;
    snprintf(words, sizeof words, "%" PRId64 " of %" PRId64 " videos, %" PRId64 " bad, %.2f videos/s", videos, r->n_todo + r->n_alone, bad, elapsed > 0 ? (double)videos / elapsed : 0);
    um_progress_show(&r->progress, words, r->queue != NULL ? done : r->work_todo, r->work_todo, false);
}

/* One video of this rank's: scored, recorded and counted. */
static um_status score_one(score_run *r, int64_t input, bool alone)
{
    const um_score_input *in = &r->manifest.input[input];
    um_score_row row;
    UM_PASS(um_score_journal_begin(r->journal, in->key, alone));
    um_status st = um_score_video(&r->setup.scorer, in->path, in->size_bytes, in->mtime_ns, &row);
    if (st != UM_OK) {
        um_score_journal_abort(r->journal);
        return st;
    }
    bool bad = um_status_is_bad(row.status);
    if (bad && r->files.results == NULL) um_log(UM_LOG_WARN, "%s: %s: %s", um_quote(in->path), um_status_name(row.status), row.message);
    st = um_score_journal_done(r->journal, &row);
    um_score_row_release(&row);
    if (st != UM_OK) return st;
    r->videos_done++;
    r->n_bad += bad;
    if (r->queue != NULL) um_queue_done(r->queue, um_score_cost(in), 1, bad);
    return *um_stop_flag() != 0 ? UM_FAIL(UM_STOPPED, "a signal asked to stop") : UM_OK;
}

/* This rank's videos. The status is this rank's own. */
static um_status work(score_run *r)
{
    um_status st = UM_OK;
    int64_t i;
    while ((st = um_queue_next(r->queue, &i)) == UM_OK) {
        st = score_one(r, r->todo[i], false);
        if (st != UM_OK) break;
        between(r);
    }
    if (st != UM_OK && st != UM_END) um_queue_stop(r->queue);
    return st == UM_END ? UM_OK : st;
}

/* Rank 0, while no other rank has anything in hand: the suspects, one at a time, and the rows of those that are given up. */
static um_status work_alone(score_run *r)
{
    for (int64_t i = r->n_todo; i < r->n_todo + r->n_alone; i++) {
        UM_PASS(score_one(r, r->todo[i], true));
        between(r);
    }
    for (int64_t i = r->n_todo + r->n_alone; i < r->n_todo + r->n_alone + r->n_poison; i++) {
        const um_score_input *in = &r->manifest.input[r->todo[i]];
        um_score_row row = {.status = UM_POISON, .score = r->no_score, .start_s = NAN, .end_s = NAN};
        snprintf(row.message, sizeof row.message, "%s", um_status_text(UM_POISON));
        um_log(UM_LOG_WARN, "%s is skipped: it brought the program down before", um_quote(in->path));
        UM_PASS(um_score_journal_begin(r->journal, in->key, true));
        UM_PASS(um_score_journal_done(r->journal, &row));
    }
    return UM_OK;
}

/* Collective: the queue, then the suspects; *st is this rank's own status until the ranks agree. */
static um_status do_all(score_run *r, int64_t *cost, um_queue_stats *q)
{
    um_world *w = &r->ctx->world;
    UM_PASS(um_queue_open(w, w->rank == 0 ? cost : NULL, r->n_todo, &r->queue));
    um_progress_begin(&r->progress, 0);
    r->start_s = um_clock_s();
    um_status st = work(r);
    um_queue_close(r->queue, q);
    r->queue = NULL;
    st = um_agree(w, st, "scoring");
    /* Added up here: what the queue has heard of the others' progress may lag behind. */
    int64_t counts[2] = {r->videos_done, r->n_bad};
    um_world_sum_i64(w, counts, 2);
    if (w->rank == 0) {
        r->videos_done = counts[0];
        r->n_bad = counts[1];
    }
    if (st == UM_OK && w->rank == 0) st = work_alone(r);
    um_progress_end(&r->progress);
    return um_agree(w, st, "scoring");
}

/* ---- the end ---- */

static um_status sink(void *user, um_buf *text) { return um_output_add(user, text); }

/* One of the files that are made of the results. */
static um_status write_file(score_run *r, const char *path, const um_score_results *results, int which, int64_t *n_without)
{
    um_output out;
    if (path == NULL) return UM_OK;
    um_status st = um_output_open(r->ctx->vfs, path, &out);
    if (st == UM_OK) {
        st = which == 0   ? um_score_results_csv(results, sink, &out)
             : which == 1 ? um_score_results_details(results, sink, &out)
                          : um_score_results_submission(results, sink, &out, n_without);
        st = um_output_end(&out, st);
    }
    return st == UM_OK ? UM_OK : um_err_note(st, "cannot write %s", um_quote(path));
}

static um_status print_table(const um_score_results *results)
{
    const um_score_manifest *m = results->manifest;
    int width = 4;
    for (int64_t i = 0; i < m->n; i++) {
        int n = (int)strlen(um_quote(m->input[i].path));
        if (n > width) width = n < 80 ? n : 80;
    }
    UM_PASS(um_job_print("%-*s  verdict  score  status\n", width, "path"));
    for (int64_t i = 0; i < m->n; i++) {
        const um_score_summary *s = &results->row[i].row;
        char score[16] = "-";
        if (!isnan(s->score)) snprintf(score, sizeof score, "%.3f", s->score);
        UM_PASS(um_job_print("%-*s  %-7s  %-5s  %s\n", width, um_quote(m->input[i].path), um_verdict_name(s->verdict), score,
                             um_status_name(s->status)));
    }
    return UM_OK;
}

static um_status print_summary(const um_score_counts *c)
{
    UM_PASS(um_job_print("%" PRId64 " videos: %" PRId64 " real, %" PRId64 " fake, %" PRId64 " unknown;", c->inputs - c->left, c->real, c->fake, c->unknown));
    for (int s = 0; s < UM_SCORE_STATUSES; s++)
        if (c->by_status[s] > 0) UM_PASS(um_job_print(" %s %" PRId64, um_status_name((um_status)s), c->by_status[s]));
    return um_job_print("\n");
}

/* Rank 0. Result files are made when every row is there; counts always. */
static um_status finish(score_run *r, const char *gathered, size_t n_gathered, um_score_counts *c)
{
    const um_score_options *o = r->o;
    um_score_results results = {0};
    int64_t n_without = 0;
    um_status st;
    bool table = o->output == NULL;
    if (r->files.journal != NULL)
        UM_PASS(um_score_results_read(r->ctx->vfs, r->files.journal, &r->manifest, r->no_score, &results));
    else
        UM_PASS(um_score_results_scan(gathered, n_gathered, &r->manifest, r->no_score, &results));
    um_score_count(&results, c);
    if (c->left == 0) {
        UM_GOTO_PASS(st, write_file(r, o->output, &results, 0, NULL));
        UM_GOTO_PASS(st, write_file(r, o->details, &results, 1, NULL));
        UM_GOTO_PASS(st, write_file(r, o->submission, &results, 2, &n_without));
        if (table) UM_GOTO_PASS(st, print_table(&results));
    }
    UM_GOTO_PASS(st, um_score_files_status(&r->files, &results, c));
    if (!table && strcmp(o->output, "-") != 0) UM_GOTO_PASS(st, print_summary(c));
    if (n_without > 0) um_log(UM_LOG_INFO, "%" PRId64 " of %" PRId64 " videos have no verdict: their label in %s is 0.5", n_without, c->inputs, um_quote(o->submission));
    if (results.n_damaged > 0)
        um_log(UM_LOG_WARN, "%" PRId64 " journals end in a damaged record (a run was cut off while writing it); what they held before is used", results.n_damaged);
    if (results.n_foreign > 0) um_log(UM_LOG_INFO, "%" PRId64 " journals of another configuration were left out", results.n_foreign);
done:
    um_score_results_release(&results);
    return st;
}

static void report(score_run *r, const um_queue_stats *q, double work_s)
{
    um_world *w = &r->ctx->world;
    const um_score_times *t = &r->setup.scorer.times;
    double sum[5] = {t->decode_wait, t->detect, t->classify, q->waited_s, work_s}, worst = q->longest_gap_s;
    const um_device_detector *detector = r->setup.scorer.device_detector;
    int64_t taken = q->units_taken, fallbacks = detector != NULL ? um_device_detector_fallbacks(detector) : 0;
    um_world_sum_f64(w, sum, 5);
    um_world_max_f64(w, &worst, 1);
    um_world_sum_i64(w, &taken, 1);
    um_world_sum_i64(w, &fallbacks, 1);
    if (w->rank > 0 || r->videos_done == 0) return;
    char span[24];
    um_clock_span(work_s, span);
    um_log(UM_LOG_INFO, "this run: %" PRId64 " videos in %s on %d ranks, %.2f videos/s", r->videos_done, span, w->size, work_s > 0 ? (double)r->videos_done / work_s : 0);
    if (fallbacks > 0) um_log(UM_LOG_WARN, "%" PRId64 " frames were searched for faces by processors: the GPU had no room for them or for what is in them (--set gpu.frames=N takes fewer at once)", fallbacks);
    if (sum[4] > 0)
        um_log(UM_LOG_INFO, "where the ranks' time went: waiting for frames %.0f %%, detection %.0f %%, networks %.0f %%, waiting for work %.0f %%; %" PRId64 " videos moved between ranks, longest time without an answer %.0f ms",
               100 * sum[0] / sum[4], 100 * sum[1] / sum[4], 100 * sum[2] / sum[4], 100 * sum[3] / sum[4], taken, 1e3 * worst);
}

um_status um_score_check(const um_job_context *ctx, const um_score_options *o, um_window_options *windows)
{
    UM_PASS(read_windows(o, windows));
    return ctx->operands.n == 0 && o->list == NULL ? UM_FAIL(UM_USAGE, "what is to be scored? Give files, folders or --list FILE") : UM_OK;
}

um_status um_score_open(um_job_context *ctx, const um_score_options *o, const um_window_options *windows, int n_threads, um_score_setup *setup)
{
    bool faces = strcmp(o->pool, "faces") == 0;
    um_score_wish wish = {.models = &o->models, .detector = o->detector, .bf16 = strcmp(o->precision, "bf16") == 0, .n_threads = n_threads, .device = o->device, .share_gpus = o->share_gpus, .gpu_batch = (int)o->gpu_batch, .gpu_frames = (int)o->gpu_frames, .thresholds = {o->thresholds[0], o->thresholds[1], o->thresholds[2]}};
    wish.scale = faces ? .5 : 0; /* as the reference scores: always at half size */
    UM_PASS(um_score_setup_open(ctx, &wish, setup));
    um_scorer *s = &setup->scorer;
    s->pool = faces ? UM_POOL_FACES : UM_POOL_PERSONS;
    s->frames = o->frames;
    s->windows = *windows;
    s->threshold = o->threshold;
    s->min_faces = (int)o->min_faces;
    s->stop = um_stop_flag();
    return UM_OK;
}

static um_status set_up(score_run *r)
{
    const um_score_options *o = r->o;
    um_world *w = &r->ctx->world;
    bool keeps = o->output != NULL && strcmp(o->output, "-") != 0;
    int processors = um_world_processors(w), n_threads = o->threads > 0 ? (int)o->threads : processors;
    um_status st = um_score_check(r->ctx, o, &r->windows);
    if (st == UM_OK) st = um_score_files_init(r->ctx->vfs, keeps ? o->output : NULL, &r->files);
    UM_PASS(um_agree(w, st, "preparing"));
    UM_PASS(um_score_open(r->ctx, o, &r->windows, n_threads, &r->setup));
    um_scorer *s = &r->setup.scorer;
    s->between = between;
    s->user = r;
    r->no_score = s->pool == UM_POOL_FACES ? .5 : NAN;
    if (w->rank == 0)
        um_log(UM_LOG_INFO, "%d models, %s, %s, %s, %d ranks with %d threads each; memory: %.0f MB of weights on each machine, %.0f MB of activations in each rank", s->n_models, r->setup.precision, r->setup.backend,
               r->setup.isa, w->size, n_threads, (double)r->setup.shared_bytes / 1e6, (double)r->setup.own_bytes / 1e6);
    UM_PASS(um_agree(w, frozen_config(r), "preparing"));
    return same_config(r);
}

static um_status run(um_job_context *ctx, void *values)
{
    score_run r = {.ctx = ctx, .o = values, .start_s = um_clock_s()};
    um_world *w = &ctx->world;
    um_buf text = {0};
    int64_t *cost = NULL;
    char *gathered = NULL;
    size_t n_gathered = 0;
    um_queue_stats q = {0};
    um_score_counts c = {0};
    um_stop_install();

    um_status st;
    UM_GOTO_PASS(st, set_up(&r));
    if (w->rank == 0) st = prepare(&r, &text, &cost);
    UM_GOTO_PASS(st, um_agree(w, st, "preparing"));
    UM_GOTO_PASS(st, ship(&r, &text));
    um_buf_release(&text);
    um_score_limits limits = {(int)r.o->journal_records, r.o->journal_s};
    st = um_score_journal_open(ctx->vfs, r.files.journal, w->rank, um_score_manifest_config_key(&r.manifest), &limits, &r.journal);
    UM_GOTO_PASS(st, um_agree(w, st, "preparing"));

    st = do_all(&r, cost, &q);
    report(&r, &q, um_clock_s() - r.start_s);
    if (r.files.journal == NULL) {
        const um_buf *records = um_score_journal_text(r.journal);
        um_status end = um_world_gather(w, records->data, records->len, &gathered, &n_gathered);
        if (end != UM_OK) st = end;
    }
    um_status closing = um_score_journal_close(r.journal);
    r.journal = NULL;
    closing = um_agree(w, closing, "closing the journal");
    if (closing != UM_OK && (st == UM_OK || st == UM_STOPPED)) st = closing;

    /* Also after a stop: the counts show what is there. A job error ends without it; the journals are the truth. */
    if (st == UM_OK || st == UM_STOPPED) {
        um_status end = w->rank == 0 ? finish(&r, gathered, n_gathered, &c) : UM_OK;
        end = um_agree(w, end, "writing the results");
        um_world_bcast(w, &c, sizeof c);
        if (end != UM_OK)
            st = end;
        else if (c.left > 0)
            st = UM_FAIL(UM_STOPPED, "stopped early: %" PRId64 " of %" PRId64 " videos are left; run the same command again to continue", c.left, c.inputs);
        else if (100.0 * (double)c.bad > r.o->max_bad * (double)c.inputs)
            st = UM_FAIL(UM_TOO_MANY_BAD, "complete, but more than %g %% of the inputs failed (--max-bad)", r.o->max_bad);
        else
            st = UM_OK;
    }
done:
    (void)um_score_journal_close(r.journal);
    um_score_setup_close(&r.setup);
    um_score_manifest_release(&r.manifest);
    um_score_files_release(&r.files);
    um_buf_release(&r.config);
    um_buf_release(&text);
    free(r.todo);
    free(cost);
    free(gathered);
    return st;
}

const um_job um_job_score = {
    .name = "score",
    .usage = "score PATH... [-m MODEL...] [-o scores.csv] [options]",
    .summary = "say of videos how likely they are fakes (MPI)",
    .details = "PATH: videos, and folders that are searched with all below them for files that are videos by content or by name. Every input has one row, whatever is wrong with it: path, verdict (real, fake, unknown),\n"
               "score (likelihood of a fake, 0 to 1; empty: none), status, counts of frames, persons, and the time range of the person whose score it is. Rows are sorted by path.\n"
               "The same command continues what was stopped or killed, with any number of ranks, to the same bytes; another configuration, and inputs that are not those of the beginning, are refused.\n"
               "Without -o a table is printed, and nothing is kept.\n",
    .options = options,
    .options_size = sizeof(um_score_options),
    .min_operands = 0,
    .max_operands = -1,
    .flags = UM_JOB_MPI | UM_JOB_DECODES,
    .run = run,
};
