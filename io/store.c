#include "io/store_format.h"

#include "io/jsontext.h"

#include "src/core/crc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CONFIG_BYTES = 1 << 20 };

/* ---- config.json ---- */

um_status um_store_read_config(um_vfs *vfs, const char *dir, char **config)
{
    static const char head[] = "{\"format\": \"" UM_STORE_TEXT "\", \"crc32c\": \"", middle[] = "\", \"config\": ";
    void *text = NULL;
    size_t n;
    um_status st = UM_OK;
    *config = NULL;
    char *path = um_store_path(dir, "config.json", NULL);
    if (path == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a path");
    st = um_vfs_read_whole(vfs, path, MAX_CONFIG_BYTES, &text, &n);
    if (st == UM_TOO_LARGE) st = UM_DATA;
    if (st != UM_OK) goto done;
    um_jsontext t = {text, (char *)text + n};
    char crc[16];
    if (!um_jsontext_skip(&t, "{\"format\": \"unmask-store ")) {
        st = UM_FAIL(UM_DATA, "%s is damaged or not made by unmask", um_quote(path));
        goto done;
    }
    t.p = text;
    if (!um_jsontext_skip(&t, head)) {
        st = UM_FAIL(UM_DATA, "%s was written by another version of unmask", um_quote(path));
        goto done;
    }
    const char *is = t.p, *body;
    t.p += t.end - t.p >= 8 ? 8 : 0;
    bool ok = um_jsontext_skip(&t, middle);
    body = t.p;
    ok = ok && t.end - body >= 4 && memcmp(t.end - 2, "}\n", 2) == 0;
    if (ok) {
        snprintf(crc, sizeof crc, "%08x", um_crc32c(0, body, (size_t)(t.end - 2 - body)));
        ok = memcmp(crc, is, 8) == 0;
    }
    if (!ok) {
        st = UM_FAIL(UM_DATA, "%s is damaged", um_quote(path));
        goto done;
    }
    *config = strndup(body, (size_t)(t.end - 2 - body));
    if (*config == NULL) st = UM_FAIL(UM_NO_MEMORY, "no memory for a configuration");
done:
    free(text);
    free(path);
    return st;
}

static void skip_space(um_jsontext *t)
{
    while (t->p < t->end && (*t->p == ' ' || *t->p == '\n' || *t->p == '\t' || *t->p == '\r')) t->p++;
}

/* The next "key": "value" of a flat object; *end instead when there is none. false: not of that form. */
static bool next_pair(um_jsontext *t, bool first, um_buf *key, um_buf *value, bool *end)
{
    skip_space(t);
    *end = um_jsontext_skip(t, "}");
    if (*end) return true;
    if (!first && !um_jsontext_skip(t, ",")) return false;
    skip_space(t);
    if (!um_jsontext_string(t, key)) return false;
    skip_space(t);
    if (!um_jsontext_skip(t, ":")) return false;
    skip_space(t);
    return um_jsontext_string(t, value);
}

/* Both are objects of strings with sorted keys: walks them side by side to the first difference. */
static um_status compare_configs(const char *had, const char *want, const char *dir)
{
    um_jsontext a = {had, had + strlen(had)}, b = {want, want + strlen(want)};
    um_buf ak = {0}, av = {0}, bk = {0}, bv = {0};
    um_status st = UM_OK;
    bool a_end = false, b_end = false, first = true;
    skip_space(&a);
    skip_space(&b);
    bool ok = um_jsontext_skip(&a, "{") && um_jsontext_skip(&b, "{");
    while (ok) {
        ok = next_pair(&a, first, &ak, &av, &a_end) && next_pair(&b, first, &bk, &bv, &b_end);
        first = false;
        if (!ok || (a_end && b_end)) break;
        int order = a_end ? 1 : b_end ? -1 : strcmp((char *)ak.data, (char *)bk.data);
        if (order == 0 && strcmp((char *)av.data, (char *)bv.data) == 0) continue;
        static const char remedy[] = "give the same, or another --store, or --fresh to start over";
        if (order == 0)
            st = UM_FAIL(UM_CONFIG, "the store %s was made with %s = %s, not %s: %s", um_quote(dir), (char *)ak.data, um_quote((char *)av.data), um_quote((char *)bv.data), remedy);
        else if (order < 0)
            st = UM_FAIL(UM_CONFIG, "the store %s was made with %s = %s, which is not set now: %s", um_quote(dir), (char *)ak.data, um_quote((char *)av.data), remedy);
        else
            st = UM_FAIL(UM_CONFIG, "the store %s was made without %s, which is %s now: %s", um_quote(dir), (char *)bk.data, um_quote((char *)bv.data), remedy);
        break;
    }
    if (!ok && (um_jsontext_no_memory(&a) || um_jsontext_no_memory(&b)))
        st = UM_FAIL(UM_NO_MEMORY, "no memory for a configuration");
    else if (!ok)
        st = UM_FAIL(UM_INTERNAL, "a configuration is not a JSON object of strings");
    um_buf_release(&ak);
    um_buf_release(&av);
    um_buf_release(&bk);
    um_buf_release(&bv);
    return st;
}

/* Writes config.json unless another process just did. */
static um_status write_config(um_vfs *vfs, const char *dir, const char *config)
{
    um_buf text = {0};
    um_vfs_file *f = NULL;
    char name[64];
    bool existed = false;
    um_status st = UM_OK;
    snprintf(name, sizeof name, "config.json.%016llx.tmp", (unsigned long long)um_vfs_unique());
    char *path = um_store_path(dir, "config.json", NULL), *tmp = um_store_path(dir, name, NULL);
    if (path == NULL || tmp == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for a path");
        goto done;
    }
    UM_GOTO_PASS(st, um_buf_printf(&text, "{\"format\": \"" UM_STORE_TEXT "\", \"crc32c\": \"%08x\", \"config\": %s}\n", um_crc32c(0, config, strlen(config)), config));
    UM_GOTO_PASS(st, um_vfs_create(vfs, tmp, &f));
    st = um_vfs_write(f, text.data, text.len);
    if (st == UM_OK) st = um_vfs_sync(f);
    if (st == UM_OK)
        st = um_vfs_close(f);
    else
        um_vfs_drop(f);
    if (st == UM_OK) st = um_vfs_rename_new(vfs, tmp, path, &existed);
    if (st != UM_OK || existed) um_vfs_discard(vfs, tmp);
    if (st == UM_OK) st = um_vfs_sync_dir(vfs, dir);
done:
    um_buf_release(&text);
    free(path);
    free(tmp);
    return st;
}

/* ---- opening ---- */

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* Removes the files of a folder that are called like ours, then makes that durable. */
static um_status remove_ours(um_vfs *vfs, const char *dir, const char *folder, bool (*ours)(const char *name))
{
    um_names names;
    char *path = folder != NULL ? um_store_path(dir, folder, NULL) : strdup(dir);
    if (path == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a path");
    um_status st = um_vfs_list(vfs, path, &names);
    if (st == UM_MISSING) {
        free(path);
        return UM_OK;
    }
    for (int i = 0; st == UM_OK && i < names.n; i++) {
        if (!ours(names.name[i])) continue;
        char *file = um_store_path(path, names.name[i], NULL);
        st = file == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a path") : um_vfs_unlink(vfs, file);
        if (st == UM_MISSING) st = UM_OK;
        free(file);
    }
    if (st == UM_OK) st = um_vfs_sync_dir(vfs, path);
    um_names_release(&names);
    free(path);
    return st;
}

static bool is_journal(const char *name) { return ends_with(name, ".jnl"); }
static bool is_shard(const char *name) { return ends_with(name, ".h5") || ends_with(name, ".h5.tmp"); }
static bool is_product(const char *name)
{
    return strcmp(name, "manifest.jsonl") == 0 || strcmp(name, "index.h5") == 0 ||
           (ends_with(name, ".tmp") && (strncmp(name, "manifest.jsonl.", 15) == 0 || strncmp(name, "index.h5.", 9) == 0 || strncmp(name, "config.json.", 12) == 0));
}
static bool is_config(const char *name) { return strcmp(name, "config.json") == 0; }

um_status um_store_open(um_vfs *vfs, const char *dir, const char *config, bool fresh, um_store **out)
{
    *out = NULL;
    char *had = NULL, *shards = um_store_path(dir, "shards", NULL), *journal = um_store_path(dir, "journal", NULL);
    um_store *s = calloc(1, sizeof *s);
    um_status st = UM_OK;
    if (s != NULL) s->dir = strdup(dir);
    if (s == NULL || s->dir == NULL || shards == NULL || journal == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for a store");
        goto done;
    }
    s->vfs = vfs;
    if (fresh) {
        /* Journals first: without them shards are not referenced, so that an interruption leaves a store that is empty, not damaged. The configuration last: it goes on refusing another one meanwhile. */
        UM_GOTO(st, remove_ours(vfs, dir, "journal", is_journal), "cannot start over in %s", um_quote(dir));
        UM_GOTO(st, remove_ours(vfs, dir, "shards", is_shard), "cannot start over in %s", um_quote(dir));
        UM_GOTO(st, remove_ours(vfs, dir, NULL, is_product), "cannot start over in %s", um_quote(dir));
        UM_GOTO(st, remove_ours(vfs, dir, NULL, is_config), "cannot start over in %s", um_quote(dir));
    }
    UM_GOTO(st, um_vfs_mkdir(vfs, shards), "cannot make the store %s", um_quote(dir));
    UM_GOTO(st, um_vfs_mkdir(vfs, journal), "cannot make the store %s", um_quote(dir));
    st = um_store_read_config(vfs, dir, &had);
    if (st == UM_MISSING) {
        um_err_clear();
        UM_GOTO(st, write_config(vfs, dir, config), "cannot make the store %s", um_quote(dir));
        st = um_store_read_config(vfs, dir, &had); /* ours, or that of one who came first */
        if (st == UM_MISSING) st = UM_IO;
    }
    if (st != UM_OK) {
        um_err_note(st, "cannot open the store %s", um_quote(dir));
        goto done;
    }
    UM_GOTO_PASS(st, compare_configs(had, config, dir));
    *out = s;
    s = NULL;
done:
    um_store_close(s);
    free(had);
    free(shards);
    free(journal);
    return st;
}

void um_store_close(um_store *s)
{
    if (s == NULL) return;
    free(s->dir);
    free(s);
}

um_status um_store_set_manifest(um_store *s, const um_manifest *m)
{
    um_buf text = {0};
    char *path = um_store_path(s->dir, "manifest.jsonl", NULL);
    um_status st = path == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a path") : um_manifest_write(m, &text);
    if (st == UM_OK) st = um_vfs_write_whole(s->vfs, path, text.data, text.len);
    um_buf_release(&text);
    free(path);
    return st == UM_OK ? UM_OK : um_err_note(st, "cannot write the manifest of the store %s", um_quote(s->dir));
}
