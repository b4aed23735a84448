#include "jobs/score_files.h"

#include "io/config.h"
#include "io/journal.h"
#include "src/core/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MANIFEST_BYTES = 0x7fffffff };

static char *joined(const char *a, const char *b)
{
    size_t n = strlen(a) + strlen(b) + 1;
    char *s = malloc(n);
    if (s != NULL) snprintf(s, n, "%s%s", a, b);
    return s;
}

um_status um_score_files_init(um_vfs *vfs, const char *results, um_score_files *f)
{
    *f = (um_score_files){.vfs = vfs};
    if (results == NULL) return UM_OK;
    f->results = strdup(results);
    f->manifest = joined(results, ".manifest");
    f->journal = joined(results, ".journal");
    f->status = joined(results, ".status.json");
    if (f->results != NULL && f->manifest != NULL && f->journal != NULL && f->status != NULL) return UM_OK;
    um_score_files_release(f);
    return UM_FAIL(UM_NO_MEMORY, "no memory for a path");
}

void um_score_files_release(um_score_files *f)
{
    free(f->results);
    free(f->manifest);
    free(f->journal);
    free(f->status);
    *f = (um_score_files){0};
}

static um_status read_manifest(const um_score_files *f, um_score_manifest *out)
{
    void *text;
    size_t n;
    *out = (um_score_manifest){0};
    um_status st = um_vfs_read_whole(f->vfs, f->manifest, MAX_MANIFEST_BYTES, &text, &n);
    if (st != UM_OK) return st;
    st = um_score_manifest_parse(text, n, out);
    free(text);
    return st == UM_OK ? UM_OK : um_err_note(st, "cannot use %s (--fresh starts over)", um_quote(f->manifest));
}

static um_status write_manifest(const um_score_files *f, const um_score_manifest *m, bool *existed)
{
    um_buf text = {0};
    um_status st = um_score_manifest_write(m, &text);
    if (st == UM_OK && text.len > MAX_MANIFEST_BYTES) st = UM_FAIL(UM_TOO_LARGE, "the list of %" PRId64 " inputs takes more than 2 GB", m->n);
    if (st == UM_OK)
        st = existed != NULL ? um_vfs_write_new(f->vfs, f->manifest, text.data, text.len, existed) : um_vfs_write_whole(f->vfs, f->manifest, text.data, text.len);
    um_buf_release(&text);
    return st;
}

static um_status remove_file(um_vfs *vfs, const char *path)
{
    um_status st = um_vfs_unlink(vfs, path);
    if (st == UM_MISSING) {
        um_err_clear();
        st = UM_OK;
    }
    return st;
}

/* Journals first: without them nothing counts as done. The manifest last: it goes on refusing another configuration meanwhile. */
static um_status start_over(const um_score_files *f)
{
    UM_PASS(um_vfs_remove_some(f->vfs, f->journal, um_journal_is_name));
    UM_PASS(remove_file(f->vfs, f->results));
    UM_PASS(remove_file(f->vfs, f->status));
    return remove_file(f->vfs, f->manifest);
}

um_status um_score_files_begin(const um_score_files *f, bool fresh, bool update, um_score_manifest *m)
{
    um_score_manifest had;
    char made[UM_ERR_LINE_BYTES];
    bool existed = true;
    if (f->results == NULL) return UM_OK;
    if (fresh) UM_TRY(start_over(f), "cannot start over with %s", um_quote(f->results));
    UM_PASS(um_vfs_mkdir(f->vfs, f->journal));
    um_status st = read_manifest(f, &had);
    if (st == UM_MISSING) {
        um_err_clear();
        UM_PASS(write_manifest(f, m, &existed));
        if (!existed) return UM_OK;
        st = read_manifest(f, &had); /* of one who came first */
    }
    if (st != UM_OK) return st == UM_MISSING ? UM_IO : st;
    snprintf(made, sizeof made, "%s was begun", um_quote(f->results));
    UM_GOTO_PASS(st, um_config_compare(had.config, m->config, UM_DATA, made, "give the same, or another -o, or --fresh to start over"));
    /* The names that results show stay those of the beginning. */
    if (had.n_models == m->n_models) {
        char **name = had.model;
        had.model = m->model;
        m->model = name;
    }
    st = um_score_manifest_compare(&had, m, update ? "they are taken as they are now"
                                                   : "--update takes them as they are now and keeps the scores of what did not change; --fresh starts over; another -o leaves this as it is");
    if (st == UM_DATA && update) {
        um_log(UM_LOG_INFO, "--update: %s", um_err_text());
        um_err_clear();
        st = write_manifest(f, m, NULL);
    } else if (st != UM_OK) {
        um_err_note(st, "%s", um_quote(f->results));
    }
done:
    um_score_manifest_release(&had);
    return st;
}

void um_score_count(const um_score_results *r, um_score_counts *c)
{
    *c = (um_score_counts){.inputs = r->manifest->n};
    for (int64_t i = 0; i < r->manifest->n; i++) {
        const um_score_result *x = &r->row[i];
        if (!x->done) {
            c->left++;
            continue;
        }
        int status = x->row.status;
        if (status >= 0 && status < UM_SCORE_STATUSES) c->by_status[status]++;
        c->bad += um_status_is_bad(x->row.status);
        c->unknown += x->row.verdict == UM_VERDICT_UNKNOWN;
        c->real += x->row.verdict == UM_VERDICT_REAL;
        c->fake += x->row.verdict == UM_VERDICT_FAKE;
    }
}

um_status um_score_files_status(const um_score_files *f, const um_score_results *r, const um_score_counts *c)
{
    um_buf b = {0};
    um_status st;
    const char *separator = "";
    if (f->status == NULL) return UM_OK;
    UM_GOTO_PASS(st, um_buf_printf(&b,
                                   "{\"complete\": %s, \"inputs\": %" PRId64 ", \"left\": %" PRId64 ", \"bad\": %" PRId64 ", \"others\": %" PRId64 ", \"verdict\": {\"real\": %" PRId64 ", \"fake\": %" PRId64
                                   ", \"unknown\": %" PRId64 "}, \"status\": {",
                                   c->left == 0 ? "true" : "false", c->inputs, c->left, c->bad, r->manifest->n_others, c->real, c->fake, c->unknown));
    for (int s = 0; s < UM_SCORE_STATUSES; s++) {
        if (c->by_status[s] == 0) continue;
        UM_GOTO_PASS(st, um_buf_printf(&b, "%s\"%s\": %" PRId64, separator, um_status_name((um_status)s), c->by_status[s]));
        separator = ", ";
    }
    UM_GOTO_PASS(st, um_buf_add_str(&b, "}}\n"));
    st = um_vfs_write_whole(f->vfs, f->status, b.data, b.len);
done:
    um_buf_release(&b);
    return st;
}
