#include "io/score_manifest.h"

#include "io/jsontext.h"
#include "io/sniff.h"
#include "io/walk.h"
#include "src/core/crc.h"
#include "src/core/hash.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INPUTS = 100000000, MAX_MODELS = 1024 };
#define FORMAT_TEXT "unmask-score 1"

void um_score_manifest_release(um_score_manifest *m)
{
    for (int64_t i = 0; i < m->n; i++) free(m->input[i].path);
    for (int i = 0; i < m->n_models; i++) free(m->model[i]);
    free(m->input);
    free(m->model);
    free(m->config);
    um_keymap_release(&m->by_key);
    *m = (um_score_manifest){0};
}

const char *um_score_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

uint64_t um_score_manifest_config_key(const um_score_manifest *m) { return um_hash64(UM_HASH64_START, m->config, strlen(m->config)); }

static uint64_t key_of(const um_score_input *in)
{
    int64_t number[2] = {in->size_bytes, in->mtime_ns};
    return um_hash64(um_hash64(UM_HASH64_START, in->path, strlen(in->path) + 1), number, sizeof number);
}

static um_status fill_keys(um_score_manifest *m)
{
    UM_PASS(um_keymap_init(&m->by_key, (size_t)m->n));
    for (int64_t i = 0; i < m->n; i++) {
        m->input[i].key = key_of(&m->input[i]);
        int32_t other = um_keymap_add(&m->by_key, m->input[i].key, (int32_t)i);
        if (other >= 0)
            return UM_FAIL(UM_DATA, "%s and %s have one key (a chance of one in 10^9 at 100,000 inputs): score one of them by itself", um_quote(m->input[other].path), um_quote(m->input[i].path));
    }
    return UM_OK;
}

static um_status copy_head(um_score_manifest *m, const char *config, const char *const *model, int n_models)
{
    m->config = strdup(config);
    m->model = calloc((size_t)n_models + 1, sizeof *m->model);
    if (m->config == NULL || m->model == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a manifest");
    for (; m->n_models < n_models; m->n_models++) {
        m->model[m->n_models] = strdup(model[m->n_models]);
        if (m->model[m->n_models] == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a manifest");
    }
    return UM_OK;
}

/* ---- listing ---- */

static um_status walk_list(um_walk *w, const char *list, size_t n)
{
    char end = memchr(list, 0, n) != NULL ? 0 : '\n';
    size_t at = 0;
    um_buf name = {0};
    um_status st = UM_OK;
    while (at < n) {
        const char *stop = memchr(list + at, end, n - at);
        size_t len = stop != NULL ? (size_t)(stop - list) - at : n - at;
        um_buf_clear(&name);
        UM_GOTO_PASS(st, um_buf_add(&name, list + at, len));
        if (len > 0) UM_GOTO_PASS(st, um_walk_add(w, (char *)name.data));
        at += len + 1;
    }
done:
    um_buf_release(&name);
    return st;
}

static int by_path(const void *a, const void *b) { return strcmp(((const um_score_input *)a)->path, ((const um_score_input *)b)->path); }

um_status um_score_manifest_list(const char *const *path, int n_paths, const char *list, size_t list_bytes, int64_t limit, const char *config, const char *const *model, int n_models, um_score_manifest *out)
{
    um_walk w = {0};
    um_score_manifest m = {0};
    um_status st;
    *out = (um_score_manifest){0};
    UM_GOTO_PASS(st, copy_head(&m, config, model, n_models));
    for (int i = 0; i < n_paths; i++) UM_GOTO_PASS(st, um_walk_add(&w, path[i]));
    if (list != NULL) UM_GOTO_PASS(st, walk_list(&w, list, list_bytes));
    if (w.n > MAX_INPUTS) UM_GOTO_PASS(st, UM_FAIL(UM_TOO_LARGE, "%" PRId64 " files are more than the limit of %d", w.n, MAX_INPUTS));
    m.n_loops = w.n_loops;
    m.input = calloc((size_t)w.n + 1, sizeof *m.input);
    if (m.input == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " inputs", w.n));
    for (int64_t i = 0; i < w.n; i++) {
        um_walk_entry *e = &w.entry[i];
        if (!e->named && !um_name_is_video(e->path) && (e->status != UM_OK || !um_sniff_file(e->path))) {
            m.n_others++;
            continue;
        }
        m.input[m.n++] = (um_score_input){.path = e->path, .size_bytes = e->size_bytes, .mtime_ns = e->mtime_ns, .status = e->status == UM_OK ? UM_PENDING : e->status};
        e->path = NULL;
    }
    if (m.n > 0) qsort(m.input, (size_t)m.n, sizeof *m.input, by_path);
    int64_t kept = 0;
    for (int64_t i = 0; i < m.n; i++) {
        bool twice = kept > 0 && strcmp(m.input[kept - 1].path, m.input[i].path) == 0;
        m.n_twice += twice;
        if (twice || (limit > 0 && kept == limit))
            free(m.input[i].path);
        else
            m.input[kept++] = m.input[i];
    }
    m.n = kept;
    UM_GOTO_PASS(st, fill_keys(&m));
    *out = m;
    m = (um_score_manifest){0};
done:
    um_walk_release(&w);
    um_score_manifest_release(&m);
    return st;
}

/* ---- text ---- */

um_status um_score_manifest_write(const um_score_manifest *m, um_buf *out)
{
    um_buf b = {0};
    um_status st;
    UM_GOTO_PASS(st, um_buf_printf(&b, "{\"inputs\": %" PRId64 ", \"others\": %" PRId64 ", \"twice\": %" PRId64 ", \"loops\": %" PRId64 ", \"config\": ", m->n, m->n_others, m->n_twice, m->n_loops));
    UM_GOTO_PASS(st, um_buf_add_str(&b, m->config));
    UM_GOTO_PASS(st, um_buf_add_str(&b, ", \"models\": ["));
    for (int i = 0; i < m->n_models; i++) {
        if (i > 0) UM_GOTO_PASS(st, um_buf_add_str(&b, ", "));
        UM_GOTO_PASS(st, um_buf_add_json(&b, m->model[i]));
    }
    UM_GOTO_PASS(st, um_buf_add_str(&b, "]}\n"));
    for (int64_t i = 0; i < m->n; i++) {
        const um_score_input *in = &m->input[i];
        UM_GOTO_PASS(st, um_buf_add_str(&b, "{\"path\": "));
        UM_GOTO_PASS(st, um_buf_add_json(&b, in->path));
        UM_GOTO_PASS(st, um_buf_printf(&b, ", \"size\": %" PRId64 ", \"mtime_ns\": %" PRId64 ", \"status\": \"%s\"}\n", in->size_bytes, in->mtime_ns, um_status_name(in->status)));
    }
    UM_GOTO_PASS(st, um_buf_printf(out, "{\"format\": \"" FORMAT_TEXT "\", \"bytes\": %zu, \"crc32c\": \"%08x\"}\n", b.len, um_crc32c(0, b.data, b.len)));
    UM_GOTO_PASS(st, um_buf_add(out, b.data, b.len));
done:
    um_buf_release(&b);
    return st;
}

/* An object of strings on one line: its text. NULL: it is none. */
static char *parse_config(um_jsontext *t, um_buf *text)
{
    const char *start = t->p;
    if (!um_jsontext_skip(t, "{")) return NULL;
    while (t->p < t->end && *t->p != '}') {
        if (*t->p == '"' ? !um_jsontext_string(t, text) : strchr(":, ", *t->p++) == NULL) return NULL;
    }
    if (!um_jsontext_skip(t, "}")) return NULL;
    char *config = strndup(start, (size_t)(t->p - start));
    if (config == NULL) um_jsontext_fail_memory(t);
    return config;
}

static bool parse_models(um_jsontext *t, um_score_manifest *m, um_buf *text)
{
    if (!um_jsontext_skip(t, ", \"models\": [")) return false;
    while (!um_jsontext_skip(t, "]")) {
        if (m->n_models == MAX_MODELS || (m->n_models > 0 && !um_jsontext_skip(t, ", ")) || !um_jsontext_string(t, text)) return false;
        m->model[m->n_models] = strdup((char *)text->data);
        if (m->model[m->n_models] == NULL) return um_jsontext_fail_memory(t);
        m->n_models++;
    }
    return true;
}

static bool parse_input(um_jsontext *t, um_score_input *in, um_buf *text)
{
    if (!um_jsontext_skip(t, "{\"path\": ") || !um_jsontext_string(t, text)) return false;
    in->path = strdup((char *)text->data);
    if (in->path == NULL) return um_jsontext_fail_memory(t);
    if (!um_jsontext_skip(t, ", \"size\": ") || !um_jsontext_int(t, &in->size_bytes) || !um_jsontext_skip(t, ", \"mtime_ns\": ") || !um_jsontext_int(t, &in->mtime_ns) ||
        !um_jsontext_skip(t, ", \"status\": ") || !um_jsontext_string(t, text) || !um_jsontext_skip(t, "}\n"))
        return false;
    int status = um_status_from_name((char *)text->data);
    in->status = (um_status)status;
    return status == UM_PENDING || status == UM_MISSING || status == UM_UNREADABLE;
}

um_status um_score_manifest_parse(const char *text, size_t n, um_score_manifest *out)
{
    um_jsontext t = {text, text + n};
    um_score_manifest m = {0};
    um_buf b = {0};
    um_status st = UM_OK;
    int64_t bytes, count;
    uint64_t crc;
    *out = (um_score_manifest){0};
    if (!um_jsontext_skip(&t, "{\"format\": \"unmask-score ")) {
        st = UM_FAIL(UM_DATA, "it is damaged, or not a manifest of unmask score");
        goto done;
    }
    t.p = text;
    if (!um_jsontext_skip(&t, "{\"format\": \"" FORMAT_TEXT "\", \"bytes\": ")) {
        st = UM_FAIL(UM_DATA, "it was written by another version of unmask");
        goto done;
    }
    if (!um_jsontext_int(&t, &bytes) || !um_jsontext_skip(&t, ", \"crc32c\": \"") || !um_jsontext_hex(&t, 8, &crc) || !um_jsontext_skip(&t, "\"}\n") || bytes != t.end - t.p ||
        crc != um_crc32c(0, t.p, (size_t)bytes)) {
        st = UM_FAIL(UM_DATA, "it is damaged");
        goto done;
    }
    m.model = calloc(MAX_MODELS, sizeof *m.model);
    if (m.model == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for a manifest"));
    bool ok = um_jsontext_skip(&t, "{\"inputs\": ") && um_jsontext_int(&t, &count) && um_jsontext_skip(&t, ", \"others\": ") && um_jsontext_int(&t, &m.n_others) && um_jsontext_skip(&t, ", \"twice\": ") &&
              um_jsontext_int(&t, &m.n_twice) && um_jsontext_skip(&t, ", \"loops\": ") && um_jsontext_int(&t, &m.n_loops) && um_jsontext_skip(&t, ", \"config\": ") && count >= 0 && count <= MAX_INPUTS &&
              count <= bytes; /* a line is longer than a byte */
    m.config = ok ? parse_config(&t, &b) : NULL;
    ok = m.config != NULL && parse_models(&t, &m, &b) && um_jsontext_skip(&t, "}\n");
    if (ok) {
        m.input = calloc((size_t)count + 1, sizeof *m.input);
        if (m.input == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " inputs", count));
    }
    while (ok && m.n < count) ok = parse_input(&t, &m.input[m.n++], &b);
    if (um_jsontext_no_memory(&t))
        st = um_jsontext_fault(&t, UM_DATA, "the manifest");
    else if (!ok || t.p != t.end)
        st = UM_FAIL(UM_DATA, "line %" PRId64 " is not as we write it", m.n + 2);
    else
        st = fill_keys(&m);
    if (st != UM_OK) goto done;
    *out = m;
    m = (um_score_manifest){0};
done:
    um_buf_release(&b);
    um_score_manifest_release(&m);
    return st;
}

/* ---- comparing ---- */

um_status um_score_manifest_compare(const um_score_manifest *had, const um_score_manifest *now, const char *remedy)
{
    int64_t a = 0, b = 0, differ = 0;
    const char *what = NULL, *which = NULL;
    while (a < had->n || b < now->n) {
        int order = a == had->n ? 1 : b == now->n ? -1 : strcmp(had->input[a].path, now->input[b].path);
        const um_score_input *x = order <= 0 ? &had->input[a] : NULL, *y = order >= 0 ? &now->input[b] : NULL;
        a += order <= 0;
        b += order >= 0;
        if (order == 0 && x->key == y->key && x->status == y->status) continue;
        if (differ++ == 0) {
            what = order > 0 ? "is new" : order < 0 ? "is no longer among them" : "has changed";
            which = order > 0 ? y->path : x->path;
        }
    }
    if (differ == 0) return UM_OK;
    return UM_FAIL(UM_DATA, "the inputs are not those it was begun with: %s %s (%" PRId64 " differ in all): %s", um_quote(which), what, differ, remedy);
}

typedef struct named {
    const char *name;
    int64_t index;
} named;

static int by_name(const void *a, const void *b)
{
    const named *x = a, *y = b;
    int c = strcmp(x->name, y->name);
    return c != 0 ? c : (x->index > y->index) - (x->index < y->index);
}

um_status um_score_manifest_check_names(const um_score_manifest *m)
{
    um_status st = UM_OK;
    named *v = malloc(((size_t)m->n + 1) * sizeof *v);
    if (v == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " names", m->n);
    for (int64_t i = 0; i < m->n; i++) v[i] = (named){um_score_name(m->input[i].path), i};
    if (m->n > 0) qsort(v, (size_t)m->n, sizeof *v, by_name);
    for (int64_t i = 1; i < m->n && st == UM_OK; i++)
        if (strcmp(v[i - 1].name, v[i].name) == 0)
            st = UM_FAIL(UM_USAGE, "--submission names videos by their file name, and %s and %s have the same one: rename one of them, or leave --submission out", um_quote(m->input[v[i - 1].index].path),
                         um_quote(m->input[v[i].index].path));
    free(v);
    return st;
}
