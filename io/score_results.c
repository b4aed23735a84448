#include "io/score_results.h"

#include "io/journal.h"
#include "io/vfs_table.h"
#include "src/core/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPEN_JOURNALS = 256, FLUSH_BYTES = 1 << 16 };

typedef struct um_score_sources {
    um_vfs *vfs;        /* NULL: in memory */
    const char *memory;
    char *folder;
    um_names name;      /* of the journals read; positions are um_score_result.journal */
    um_vfs_file *file[OPEN_JOURNALS]; /* of journal i at place i % OPEN_JOURNALS */
    int at[OPEN_JOURNALS];            /* which it is */
    /* while reading */
    um_score_results *r;
    um_attempts_reader attempts;
    uint64_t config_key;
    bool ours, first;
    um_buf text, other;
} um_score_sources;

/* ---- reading ---- */

static um_score_result *result_of(um_score_sources *s, uint64_t key)
{
    int32_t i = um_keymap_get(&s->r->manifest->by_key, key);
    return i >= 0 ? &s->r->row[i] : NULL;
}

static um_attempts *attempts_of(void *user, uint64_t unit)
{
    um_score_result *x = result_of(user, unit);
    return x != NULL ? &x->attempts : NULL;
}

/* The text of a row that was found before. */
static um_status read_row(um_score_sources *s, const um_score_result *x, um_buf *out)
{
    um_buf_clear(out);
    if (s->vfs == NULL) return um_buf_add(out, s->memory + x->at, x->bytes);
    int place = x->journal % OPEN_JOURNALS;
    um_buf path = {0};
    um_status st = UM_OK;
    if (s->file[place] == NULL || s->at[place] != x->journal) {
        int64_t size;
        um_vfs_drop(s->file[place]);
        s->file[place] = NULL;
        UM_GOTO_PASS(st, um_buf_printf(&path, "%s/%s", s->folder, s->name.name[x->journal]));
        UM_GOTO_PASS(st, um_vfs_open(s->vfs, (char *)path.data, &s->file[place], &size));
        s->at[place] = x->journal;
    }
    UM_GOTO_PASS(st, um_buf_reserve(out, (size_t)x->bytes + 1));
    UM_GOTO_PASS(st, um_vfs_read(s->file[place], out->data, x->bytes, x->at));
    out->len = x->bytes;
    out->data[out->len] = 0;
done:
    um_buf_release(&path);
    return st == UM_MISSING ? UM_FAIL(UM_IO, "a journal vanished while it was read: was the run started over meanwhile?") : st;
}

/* A result of the machine as it was then, not of the video alone. */
static bool of_the_machine(um_status st)
{
    return st == UM_TIMEOUT || st == UM_OOM || st == UM_CRASH || st == UM_CHANGED || st == UM_MISSING || st == UM_UNREADABLE || st == UM_POISON;
}

/* Another record of a video: which one counts? */
static um_status choose(um_score_sources *s, um_score_result *x, const um_score_result *y, const char *text, bool *take)
{
    bool had = of_the_machine(x->row.status), now = of_the_machine(y->row.status);
    s->r->n_twice++;
    *take = had && !now;
    if (had != now) return UM_OK;
    UM_PASS(read_row(s, x, &s->other));
    size_t n = s->other.len < y->bytes ? s->other.len : y->bytes;
    int order = memcmp(s->other.data, text, n);
    if (order == 0) order = (s->other.len > y->bytes) - (s->other.len < y->bytes);
    *take = order > 0;
    if (order == 0 || had) return UM_OK;
    return UM_FAIL(UM_DATA, "two records of %s disagree: runs of different programs or machines wrote to one output, or a journal was changed; --fresh starts over", um_quote(s->r->manifest->input[x - s->r->row].path));
}

/* A record that is not of our form ends the journal. */
static um_status ends(const um_jsontext *t) { return um_jsontext_fault(t, UM_END, "a journal"); }

static um_status on_record(void *user, const char *payload, size_t n, int64_t at)
{
    um_score_sources *s = user;
    um_jsontext t = {payload, payload + n};
    bool known;
    uint64_t key;
    if (!um_jsontext_skip(&t, "{\"t\":") || !um_jsontext_string(&t, &s->attempts.text)) return ends(&t);
    const char *type = (char *)s->attempts.text.data;
    if (strcmp(type, "run") == 0) {
        if (!um_jsontext_skip(&t, ",\"config\":\"") || !um_jsontext_hex(&t, 16, &key) || !um_jsontext_skip(&t, "\"}") || t.p != t.end) return UM_END;
        um_attempts_close(&s->attempts); /* in memory one journal follows another */
        s->ours = key == s->config_key;
        s->r->n_foreign += !s->ours;
        s->first = false;
        return UM_OK;
    }
    if (s->first) return UM_END;
    if (!s->ours) return UM_OK;
    if (strcmp(type, "done") != 0) return um_attempts_record(&s->attempts, &t, &known) && known ? UM_OK : ends(&t);
    um_score_result y = {.done = true};
    if (!um_jsontext_skip(&t, ",\"unit\":\"") || !um_jsontext_hex(&t, 16, &key) || !um_jsontext_skip(&t, "\",\"row\":{")) return UM_END;
    const char *row = t.p;
    if (!um_score_summary_read(&t, &s->text, &y.row)) return ends(&t);
    if (payload + n - t.p < 2 || memcmp(payload + n - 2, "}}", 2) != 0) return UM_END;
    um_attempts_ended(&s->attempts, key);
    um_score_result *x = result_of(s, key);
    if (x == NULL || s->r->manifest->input[x - s->r->row].status != UM_PENDING) return UM_OK;
    y.journal = s->vfs != NULL ? s->name.n - 1 : 0;
    y.bytes = (uint32_t)(payload + n - 2 - row);
    y.at = at + (row - payload);
    y.attempts = x->attempts;
    bool take = true;
    if (x->done) UM_PASS(choose(s, x, &y, row, &take));
    s->r->n_done += !x->done;
    if (take) *x = y;
    return UM_OK;
}

static um_status on_begin(void *user, const char *name)
{
    um_score_sources *s = user;
    s->first = true;
    return um_names_add(&s->name, name) < 0 ? UM_FAIL(UM_NO_MEMORY, "no memory for the names of journals") : UM_OK;
}

static void on_end(void *user)
{
    um_score_sources *s = user;
    um_attempts_close(&s->attempts);
}

static um_status begin(const um_score_manifest *m, double no_score, um_score_results *r)
{
    *r = (um_score_results){.manifest = m, .no_score = no_score};
    r->row = calloc((size_t)m->n + 1, sizeof *r->row);
    um_score_sources *s = calloc(1, sizeof *s);
    r->sources = s;
    if (r->row == NULL || s == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " results", m->n);
    s->r = r;
    s->config_key = um_score_manifest_config_key(m);
    s->attempts.find = attempts_of;
    s->attempts.user = s;
    s->first = true;
    for (int64_t i = 0; i < m->n; i++) {
        um_score_result *x = &r->row[i];
        x->journal = -1;
        if (m->input[i].status == UM_PENDING) continue;
        x->done = true;
        x->row = (um_score_summary){.status = m->input[i].status, .score = no_score, .start_s = NAN, .end_s = NAN};
        r->n_done++;
    }
    return UM_OK;
}

um_status um_score_results_read(um_vfs *vfs, const char *folder, const um_score_manifest *m, double no_score, um_score_results *r)
{
    um_status st;
    UM_GOTO_PASS(st, begin(m, no_score, r));
    r->sources->vfs = vfs;
    r->sources->folder = strdup(folder);
    if (r->sources->folder == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for a path"));
    st = um_journal_read_folder(vfs, folder, on_begin, on_record, on_end, r->sources, &r->n_damaged);
    if (st == UM_MISSING) {
        um_err_clear();
        st = UM_OK;
    }
done:
    if (st != UM_OK) {
        um_score_results_release(r);
        return um_err_note(st, "cannot read the journals in %s", um_quote(folder));
    }
    return UM_OK;
}

um_status um_score_results_scan(const char *text, size_t n, const um_score_manifest *m, double no_score, um_score_results *r)
{
    bool damaged = false;
    um_status st = begin(m, no_score, r);
    if (st == UM_OK) {
        r->sources->memory = text;
        st = um_journal_scan(text, n, on_record, r->sources, &damaged);
    }
    if (st == UM_OK) um_attempts_close(&r->sources->attempts);
    r->n_damaged = damaged;
    if (st != UM_OK) um_score_results_release(r);
    return st;
}

void um_score_results_release(um_score_results *r)
{
    um_score_sources *s = r->sources;
    if (s != NULL) {
        for (int i = 0; i < OPEN_JOURNALS; i++) um_vfs_drop(s->file[i]);
        um_names_release(&s->name);
        um_buf_release(&s->attempts.text);
        um_buf_release(&s->text);
        um_buf_release(&s->other);
        free(s->folder);
        free(s);
    }
    free(r->row);
    *r = (um_score_results){0};
}

/* ---- writing ---- */

static um_status add_real(um_buf *b, double v)
{
    UM_PASS(um_buf_add_str(b, ","));
    return isnan(v) ? UM_OK : um_buf_add_real(b, v);
}

static um_status flush(um_buf *b, um_score_sink *add, void *user, bool all) { return b->len >= FLUSH_BYTES || (all && b->len > 0) ? add(user, b) : UM_OK; }

static um_status complete(const um_score_results *r)
{
    if (r->n_done == r->manifest->n) return UM_OK;
    return UM_FAIL(UM_INTERNAL, "results of %" PRId64 " of %" PRId64 " inputs are not there", r->manifest->n - r->n_done, r->manifest->n);
}

um_status um_score_results_csv(const um_score_results *r, um_score_sink *add, void *user)
{
    um_buf b = {0};
    um_status st;
    UM_GOTO_PASS(st, complete(r));
    UM_GOTO_PASS(st, um_buf_add_str(&b, "path,verdict,score,status,frames_wanted,frames_decoded,frames_with_faces,persons,start_s,end_s\n"));
    for (int64_t i = 0; i < r->manifest->n; i++) {
        const um_score_summary *s = &r->row[i].row;
        UM_GOTO_PASS(st, um_buf_add_csv(&b, r->manifest->input[i].path));
        UM_GOTO_PASS(st, um_buf_printf(&b, ",%s", um_verdict_name(s->verdict)));
        UM_GOTO_PASS(st, add_real(&b, s->score));
        UM_GOTO_PASS(st, um_buf_printf(&b, ",%s,%d,%d,%d,%d", um_status_name(s->status), s->frames_wanted, s->frames_decoded, s->frames_with_faces, s->n_persons));
        UM_GOTO_PASS(st, add_real(&b, s->start_s));
        UM_GOTO_PASS(st, add_real(&b, s->end_s));
        UM_GOTO_PASS(st, um_buf_add_str(&b, "\n"));
        UM_GOTO_PASS(st, flush(&b, add, user, false));
    }
    st = flush(&b, add, user, true);
done:
    um_buf_release(&b);
    return st;
}

typedef struct named {
    const char *name;
    int64_t index;
} named;

static int by_name(const void *a, const void *b) { return strcmp(((const named *)a)->name, ((const named *)b)->name); }

um_status um_score_results_submission(const um_score_results *r, um_score_sink *add, void *user, int64_t *n_without)
{
    int64_t n = r->manifest->n;
    um_buf b = {0};
    um_status st = UM_OK;
    named *v = malloc(((size_t)n + 1) * sizeof *v);
    *n_without = 0;
    if (v == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " names", n));
    UM_GOTO_PASS(st, complete(r));
    for (int64_t i = 0; i < n; i++) v[i] = (named){um_score_name(r->manifest->input[i].path), i};
    if (n > 0) qsort(v, (size_t)n, sizeof *v, by_name);
    UM_GOTO_PASS(st, um_buf_add_str(&b, "filename,label\n"));
    for (int64_t i = 0; i < n; i++) {
        double score = r->row[v[i].index].row.score;
        *n_without += r->row[v[i].index].row.verdict == UM_VERDICT_UNKNOWN;
        UM_GOTO_PASS(st, um_buf_add_csv(&b, v[i].name));
        UM_GOTO_PASS(st, add_real(&b, isnan(score) ? .5 : score));
        UM_GOTO_PASS(st, um_buf_add_str(&b, "\n"));
        UM_GOTO_PASS(st, flush(&b, add, user, false));
    }
    st = flush(&b, add, user, true);
done:
    um_buf_release(&b);
    free(v);
    return st;
}

/* The row of an input that was never scored because the listing found nothing to score. */
static um_status manifest_row(const um_score_results *r, int64_t i, um_buf *out)
{
    um_score_row row = {.status = r->row[i].row.status, .score = r->no_score, .start_s = NAN, .end_s = NAN};
    snprintf(row.message, sizeof row.message, "%s", um_status_text(row.status));
    um_buf_clear(out);
    return um_score_row_write(&row, out);
}

um_status um_score_results_details(const um_score_results *r, um_score_sink *add, void *user)
{
    um_buf b = {0}, models = {0}, row = {0};
    um_status st;
    UM_GOTO_PASS(st, complete(r));
    UM_GOTO_PASS(st, um_buf_add_str(&models, ", \"models\": ["));
    for (int i = 0; i < r->manifest->n_models; i++) {
        if (i > 0) UM_GOTO_PASS(st, um_buf_add_str(&models, ", "));
        UM_GOTO_PASS(st, um_buf_add_json(&models, r->manifest->model[i]));
    }
    UM_GOTO_PASS(st, um_buf_add_str(&models, "], "));
    for (int64_t i = 0; i < r->manifest->n; i++) {
        UM_GOTO_PASS(st, r->row[i].journal < 0 ? manifest_row(r, i, &row) : read_row(r->sources, &r->row[i], &row));
        UM_GOTO_PASS(st, um_buf_add_str(&b, "{\"path\": "));
        UM_GOTO_PASS(st, um_buf_add_json(&b, r->manifest->input[i].path));
        UM_GOTO_PASS(st, um_buf_add(&b, models.data, models.len));
        UM_GOTO_PASS(st, um_buf_add(&b, row.data, row.len));
        UM_GOTO_PASS(st, um_buf_add_str(&b, "}\n"));
        UM_GOTO_PASS(st, flush(&b, add, user, false));
    }
    st = flush(&b, add, user, true);
done:
    um_buf_release(&b);
    um_buf_release(&models);
    um_buf_release(&row);
    return st;
}
