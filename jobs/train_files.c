#include "jobs/train_files.h"

#include "io/checkpoint.h"
#include "io/config.h"
#include "io/jsontext.h"
#include "io/model.h"
#include "src/core/clock.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLUSH_BYTES = 1 << 16, MAX_CONFIG_BYTES = 1 << 20 };
static const double flush_s = 1;
static const size_t max_log_bytes = (size_t)4 << 30;

static char *text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *text(const char *fmt, ...)
{
    um_buf b = {0};
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n >= 0 && um_buf_reserve(&b, (size_t)n + 1) == UM_OK) vsnprintf((char *)b.data, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return (char *)b.data;
}

static um_status path_in(const um_train_files *f, const char *name, um_buf *out)
{
    um_buf_clear(out);
    return um_buf_printf(out, "%s/%s", f->folder, name);
}

static bool starts(const char *s, const char *with) { return strncmp(s, with, strlen(with)) == 0; }
static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), m = strlen(with);
    return n >= m && strcmp(s + n - m, with) == 0;
}

/* The number in "epoch-007.h5"; -1: another name. */
static int64_t epoch_of(const char *name)
{
    char *end;
    if (!starts(name, "epoch-") || name[6] < '0' || name[6] > '9') return -1;
    int64_t n = strtoll(name + 6, &end, 10);
    return strcmp(end, ".h5") == 0 ? n : -1;
}

/* What a killed run left half written. */
static bool is_left_over(const char *name) { return ends(name, ".tmp") && (starts(name, "epoch-") || starts(name, "log.jsonl.") || starts(name, "status.json.") || starts(name, "config.json.") || starts(name, "checkpoint-")); }

static bool is_ours(const char *name) { return is_left_over(name) || um_checkpoint_is_name(name) || epoch_of(name) >= 0 || strcmp(name, "log.jsonl") == 0 || strcmp(name, "status.json") == 0; }

static bool is_config(const char *name) { return strcmp(name, "config.json") == 0; }

static um_status remove_file(um_vfs *vfs, const char *path)
{
    um_status st = um_vfs_unlink(vfs, path);
    if (st != UM_MISSING) return st;
    um_err_clear();
    return UM_OK;
}

/* The half-written best model lies beside those of other members: only what begins with its name is ours. */
static um_status remove_left_over_best(const um_train_files *f, const char *output)
{
    um_names names;
    char *start = text("%s.h5.", f->name);
    um_status st = start == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a name") : um_vfs_list(f->vfs, output, &names);
    for (int i = 0; st == UM_OK && i < names.n; i++) {
        if (!starts(names.name[i], start) || !ends(names.name[i], ".tmp")) continue;
        char *path = text("%s/%s", output, names.name[i]);
        st = path == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a path") : remove_file(f->vfs, path);
        free(path);
    }
    if (start != NULL) um_names_release(&names);
    free(start);
    return st;
}

/* The newest checkpoint first: cut off in between, what is left is the state of a moment before, and is gone on from. Then all else, the configuration last: it goes on refusing another one meanwhile. */
static um_status start_over(const um_train_files *f)
{
    um_names names;
    um_buf path = {0};
    um_status st = um_vfs_list(f->vfs, f->folder, &names);
    for (int i = names.n - 1; st == UM_OK && i >= 0; i--) {
        if (!um_checkpoint_is_name(names.name[i])) continue;
        st = path_in(f, names.name[i], &path);
        if (st == UM_OK) st = remove_file(f->vfs, (char *)path.data);
        if (st == UM_OK) st = um_vfs_sync_dir(f->vfs, f->folder);
    }
    um_names_release(&names);
    um_buf_release(&path);
    if (st == UM_OK) st = um_vfs_remove_some(f->vfs, f->folder, is_ours);
    if (st == UM_OK) st = remove_file(f->vfs, f->best);
    return st == UM_OK ? um_vfs_remove_some(f->vfs, f->folder, is_config) : st;
}

static um_status freeze(const um_train_files *f, const char *config)
{
    um_buf path = {0}, whole = {0};
    void *had = NULL;
    size_t n = 0;
    bool existed = false;
    um_status st;
    UM_GOTO_PASS(st, path_in(f, "config.json", &path));
    UM_GOTO_PASS(st, um_buf_printf(&whole, "%s\n", config));
    UM_GOTO_PASS(st, um_vfs_write_new(f->vfs, (char *)path.data, whole.data, whole.len, &existed));
    if (!existed) goto done;
    UM_GOTO_PASS(st, um_vfs_read_whole(f->vfs, (char *)path.data, MAX_CONFIG_BYTES, &had, &n));
    char made[UM_ERR_LINE_BYTES];
    snprintf(made, sizeof made, "%s was begun", um_quote(f->folder));
    st = um_config_compare(had, config, UM_DATA, made, "give the same, or another -o, or --fresh to start over");
done:
    free(had);
    um_buf_release(&path);
    um_buf_release(&whole);
    return st;
}

um_status um_train_files_open(um_vfs *vfs, const char *output, const char *prefix, int64_t seed, bool fresh, const char *config, um_train_files *f)
{
    *f = (um_train_files){.vfs = vfs, .name = text("%sseed%" PRId64, prefix, seed)};
    if (f->name != NULL) f->folder = text("%s/%s", output, f->name);
    if (f->name != NULL) f->best = text("%s/%s.h5", output, f->name);
    if (f->folder == NULL || f->best == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for paths");
    UM_PASS(um_vfs_mkdir(vfs, f->folder));
    if (fresh) UM_TRY(start_over(f), "cannot start over with %s", um_quote(f->folder));
    UM_PASS(freeze(f, config));
    UM_PASS(remove_left_over_best(f, output));
    return um_vfs_remove_some(vfs, f->folder, is_left_over);
}

um_status um_train_files_close(um_train_files *f)
{
    um_status st = UM_OK;
    if (f->log != NULL) {
        st = um_train_files_log_sync(f);
        um_vfs_drop(f->log);
    }
    free(f->name);
    free(f->folder);
    free(f->best);
    um_buf_release(&f->pending);
    *f = (um_train_files){0};
    return st;
}

/* ---- log ---- */

/* Is this line of what lies behind the state? Ours begin in one fixed form; a line cut off by a kill does not end. */
static bool belongs(const char *line, const char *end, int64_t step, int64_t epochs)
{
    um_jsontext t = {line, end};
    int64_t e, s;
    bool of_epoch;
    if (!um_jsontext_skip(&t, "{\"kind\": \"")) return false;
    of_epoch = um_jsontext_skip(&t, "epoch\"");
    if (!of_epoch && !um_jsontext_skip(&t, "step\"") && !um_jsontext_skip(&t, "run\"")) return false;
    if (!um_jsontext_skip(&t, ", \"epoch\": ") || !um_jsontext_int(&t, &e) || !um_jsontext_skip(&t, ", \"step\": ") || !um_jsontext_int(&t, &s)) return false;
    return of_epoch ? e < epochs : s <= step;
}

um_status um_train_files_log_begin(um_train_files *f, int64_t step, int64_t epochs)
{
    um_buf path = {0}, temporary = {0}, kept = {0};
    void *had = NULL;
    size_t n = 0;
    um_status st;
    UM_GOTO_PASS(st, path_in(f, "log.jsonl", &path));
    UM_GOTO_PASS(st, um_buf_printf(&temporary, "%s.%016llx.tmp", (char *)path.data, (unsigned long long)um_vfs_unique()));
    st = um_vfs_read_whole(f->vfs, (char *)path.data, max_log_bytes, &had, &n);
    if (st == UM_MISSING) {
        um_err_clear();
        st = UM_OK;
    }
    if (st != UM_OK) goto done;
    for (const char *line = had, *end = line + n, *next; line != NULL && line < end; line = next) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        if (stop == NULL) break;
        next = stop + 1;
        if (belongs(line, stop, step, epochs)) UM_GOTO_PASS(st, um_buf_add(&kept, line, (size_t)(next - line)));
    }
    /* The file is written aside, takes its name, and stays open to be written on. */
    UM_GOTO_PASS(st, um_vfs_create_append(f->vfs, (char *)temporary.data, &f->log));
    st = kept.len > 0 ? um_vfs_write(f->log, kept.data, kept.len) : UM_OK;
    if (st == UM_OK) st = um_vfs_sync(f->log);
    if (st == UM_OK) st = um_vfs_rename(f->vfs, (char *)temporary.data, (char *)path.data);
    if (st != UM_OK) {
        um_vfs_discard(f->vfs, (char *)temporary.data);
        um_vfs_drop(f->log);
        f->log = NULL;
        goto done;
    }
    st = um_vfs_sync_dir(f->vfs, f->folder);
    f->flushed_s = um_clock_s();
done:
    free(had);
    um_buf_release(&path);
    um_buf_release(&temporary);
    um_buf_release(&kept);
    return st;
}

static um_status flush(um_train_files *f)
{
    f->flushed_s = um_clock_s();
    if (f->pending.len == 0) return UM_OK;
    um_status st = um_vfs_write(f->log, f->pending.data, f->pending.len);
    um_buf_clear(&f->pending);
    return st;
}

um_status um_train_files_log(um_train_files *f, um_buf *line)
{
    UM_PASS(um_buf_add(&f->pending, line->data, line->len));
    um_buf_clear(line);
    return f->pending.len >= FLUSH_BYTES || um_clock_s() - f->flushed_s >= flush_s ? flush(f) : UM_OK;
}

um_status um_train_files_log_sync(um_train_files *f)
{
    UM_PASS(flush(f));
    return um_vfs_sync(f->log);
}

/* ---- models, status ---- */

static um_status remove_old(um_train_files *f, int64_t before)
{
    um_names names;
    um_buf path = {0};
    um_status st = um_vfs_list(f->vfs, f->folder, &names);
    for (int i = 0; st == UM_OK && i < names.n; i++) {
        int64_t e = epoch_of(names.name[i]);
        if (e < 0 || e >= before) continue;
        st = path_in(f, names.name[i], &path);
        if (st == UM_OK) st = remove_file(f->vfs, (char *)path.data);
    }
    um_names_release(&names);
    um_buf_release(&path);
    return st;
}

um_status um_train_files_model(um_train_files *f, const um_model *m, int64_t epoch, bool best, int keep_last)
{
    um_buf path = {0};
    um_model back = {0};
    char name[40];
    um_status st;
    snprintf(name, sizeof name, "epoch-%03" PRId64 ".h5", epoch);
    UM_GOTO_PASS(st, path_in(f, name, &path));
    UM_GOTO_PASS(st, um_model_write(f->vfs, (char *)path.data, m));
    UM_GOTO(st, um_model_read(f->vfs, (char *)path.data, &back), "the model that was just written cannot be read");
    if (best) UM_GOTO_PASS(st, um_model_write(f->vfs, f->best, m));
    if (keep_last > 0) st = remove_old(f, epoch + 1 - keep_last);
done:
    um_model_release(&back);
    um_buf_release(&path);
    return st;
}

um_status um_train_files_status(um_train_files *f, const um_buf *status)
{
    um_buf path = {0};
    um_status st = path_in(f, "status.json", &path);
    if (st == UM_OK) st = um_vfs_write_whole(f->vfs, (char *)path.data, status->data, status->len);
    um_buf_release(&path);
    return st;
}
