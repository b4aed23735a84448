#include "io/score_journal.h"

#include "io/attempts.h"
#include "io/journal.h"
#include "src/core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct um_score_journal {
    um_vfs *vfs;
    um_journal *journal; /* NULL: in memory */
    char *path;
    um_score_limits limits;
    um_buf text, record;
    uint64_t unit;
    bool open, used;
    um_status failed;
    int unsynced;
    double synced_s;
};

static um_status append(um_score_journal *j, const char *payload, size_t n)
{
    if (j->failed != UM_OK) return UM_FAIL(j->failed, "writing the journal %s failed before", um_quote(j->path));
    um_status st = j->journal != NULL ? um_journal_append(j->journal, payload, n, false) : um_journal_format(&j->text, payload, n);
    if (st != UM_OK) j->failed = st;
    return st;
}

um_status um_score_journal_open(um_vfs *vfs, const char *folder, int rank, uint64_t config_key, const um_score_limits *limits, um_score_journal **out)
{
    char name[64], run[64];
    um_buf path = {0};
    um_status st = UM_OK;
    *out = NULL;
    um_score_journal *j = calloc(1, sizeof *j);
    if (j == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a journal");
    j->vfs = vfs;
    j->limits = *limits;
    j->synced_s = um_clock_s();
    if (folder != NULL) {
        um_journal_name(rank, name);
        UM_GOTO_PASS(st, um_buf_printf(&path, "%s/%s.jnl", folder, name));
        UM_GOTO_PASS(st, um_journal_create(vfs, (char *)path.data, &j->journal));
    } else {
        UM_GOTO_PASS(st, um_buf_add_str(&path, "in memory"));
    }
    j->path = (char *)path.data;
    path = (um_buf){0};
    int n = snprintf(run, sizeof run, "{\"t\":\"run\",\"config\":\"%016llx\"}", (unsigned long long)config_key);
    UM_GOTO_PASS(st, append(j, run, (size_t)n));
    *out = j;
    j = NULL;
done:
    um_buf_release(&path);
    if (j != NULL) {
        j->failed = st;
        (void)um_score_journal_close(j);
    }
    return st;
}

um_status um_score_journal_begin(um_score_journal *j, uint64_t unit, bool alone)
{
    char text[96];
    if (j->open) return UM_FAIL(UM_INTERNAL, "a video is begun already");
    int n = um_attempts_format(text, "start", unit, alone);
    UM_PASS(append(j, text, (size_t)n));
    j->used = j->open = true;
    j->unit = unit;
    if (j->journal != NULL) um_journal_arm(j->journal, unit);
    return UM_OK;
}

um_status um_score_journal_done(um_score_journal *j, const um_score_row *row)
{
    if (!j->open) return UM_FAIL(UM_INTERNAL, "no video was begun");
    um_buf_clear(&j->record);
    UM_PASS(um_buf_printf(&j->record, "{\"t\":\"done\",\"unit\":\"%016llx\",\"row\":{", (unsigned long long)j->unit));
    UM_PASS(um_score_row_write(row, &j->record));
    UM_PASS(um_buf_add_str(&j->record, "}}"));
    um_journal_disarm();
    j->open = false;
    UM_PASS(append(j, (char *)j->record.data, j->record.len));
    double now = um_clock_s();
    if (j->journal == NULL || (++j->unsynced < j->limits.records && now - j->synced_s < j->limits.seconds)) return UM_OK;
    um_status st = um_journal_sync(j->journal);
    if (st != UM_OK) j->failed = st;
    j->unsynced = 0;
    j->synced_s = now;
    return st;
}

void um_score_journal_abort(um_score_journal *j)
{
    char text[96];
    if (!j->open) return;
    um_journal_disarm();
    j->open = false;
    int n = um_attempts_format(text, "abort", j->unit, false);
    if (j->failed == UM_OK) (void)append(j, text, (size_t)n); /* a failure is remembered; close tells */
}

const um_buf *um_score_journal_text(const um_score_journal *j) { return &j->text; }

um_status um_score_journal_close(um_score_journal *j)
{
    if (j == NULL) return UM_OK;
    um_status st = j->failed;
    um_score_journal_abort(j);
    if (j->journal != NULL) {
        if (st == UM_OK && j->used) st = um_journal_sync(j->journal);
        if (st == UM_OK)
            st = um_journal_close(j->journal);
        else
            um_journal_drop(j->journal);
        if (!j->used) um_vfs_discard(j->vfs, j->path);
    }
    um_buf_release(&j->text);
    um_buf_release(&j->record);
    free(j->path);
    free(j);
    return st;
}
