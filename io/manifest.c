#include "io/manifest.h"

#include "io/jsontext.h"
#include "io/keymap.h"
#include "io/metadata.h"
#include "io/vfs.h"

#include "src/core/crc.h"
#include "src/core/hash.h"
#include "src/core/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_NAME_BYTES = 255,          /* what file systems allow; a longer name in metadata.json is no file's */
    MAX_VIDEOS = 100000000
};

/* ---- building ---- */

static void video_release(um_manifest_video *v)
{
    free(v->path);
    free(v->original_name);
    free(v->message);
}

void um_manifest_release(um_manifest *m)
{
    for (int i = 0; i < m->n_videos; i++) video_release(&m->video[i]);
    free(m->video);
    free(m->unit);
    free(m->unit_video);
    free(m->root);
    *m = (um_manifest){0};
}

/* Appends a row without status; the array doubles. */
static um_status add_video(um_manifest *m, const char *path, const char *original_name, um_manifest_video **out)
{
    if (m->n_videos == MAX_VIDEOS) return UM_FAIL(UM_DATA, "more than %d videos", MAX_VIDEOS);
    unsigned n = (unsigned)m->n_videos;
    if ((n & (n - 1)) == 0) {
        um_manifest_video *grown = realloc(m->video, sizeof *grown * (n > 0 ? 2 * (size_t)n : 1));
        if (grown == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %u videos", n);
        m->video = grown;
    }
    um_manifest_video v = {.original = -1, .unit = -1, .status = UM_PENDING};
    v.path = strdup(path);
    v.original_name = strdup(original_name);
    v.message = strdup("");
    if (v.path == NULL || v.original_name == NULL || v.message == NULL) {
        video_release(&v);
        return UM_FAIL(UM_NO_MEMORY, "no memory for %u videos", n);
    }
    v.id = um_hash64(UM_HASH64_START, path, strlen(path));
    m->video[m->n_videos++] = v;
    *out = &m->video[m->n_videos - 1];
    return UM_OK;
}

/* The final status of a video that is not to be processed. */
__attribute__((format(printf, 3, 4))) static um_status set_status(um_manifest_video *v, um_status status, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0) return UM_FAIL(UM_NO_MEMORY, "no memory for a message");
    free(v->message);
    v->message = text;
    v->status = status;
    return UM_OK;
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Makes unit[] and unit_video[] from original and unit of the videos, which must be set: videos of a unit name the same unit, the original has original == -1. UM_DATA when that is not so. */
static um_status make_units(um_manifest *m)
{
    free(m->unit);
    free(m->unit_video);
    m->unit = calloc((size_t)m->n_units + 1, sizeof *m->unit);
    m->unit_video = malloc(((size_t)m->n_videos + 1) * sizeof *m->unit_video);
    if (m->unit == NULL || m->unit_video == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d units", m->n_units);
    for (int i = 0; i < m->n_videos; i++)
        if (m->video[i].unit >= 0) m->unit[m->video[i].unit].n++;
    for (int u = 0, at = 0; u < m->n_units; u++) {
        if (m->unit[u].n == 0) return UM_FAIL(UM_DATA, "unit %d has no videos", u);
        m->unit[u].first = at;
        at += m->unit[u].n;
        m->unit[u].n = 0;
    }
    /* Originals first, then the fakes, each in the order of the videos. */
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < m->n_videos; i++) {
            const um_manifest_video *v = &m->video[i];
            if (v->unit < 0 || (v->original >= 0) != (pass == 1)) continue;
            um_manifest_unit *u = &m->unit[v->unit];
            if (pass == 0 && u->n != 0) return UM_FAIL(UM_DATA, "unit %d has two originals", v->unit);
            if (pass == 1 && (u->n == 0 || m->unit_video[u->first] != v->original)) return UM_FAIL(UM_DATA, "%s is not in its original's unit", um_quote(v->path));
            m->unit_video[u->first + u->n++] = i;
        }
    }
    for (int i = 0; i < m->n_units; i++) {
        um_manifest_unit *u = &m->unit[i];
        u->key = UM_HASH64_START;
        for (int k = 0; k < u->n; k++) {
            const um_manifest_video *v = &m->video[m->unit_video[u->first + k]];
            int64_t facts[2] = {v->size_bytes, v->mtime_ns};
            u->key = um_hash64(u->key, v->path, strlen(v->path) + 1);
            u->key = um_hash64(u->key, facts, sizeof facts);
            u->cost += v->size_bytes;
        }
    }
    return UM_OK;
}

/* ---- scanning ---- */

/* metadata.json of a folder: NULL with the reason in `why` where it cannot be used, which is no error: its videos are named with it. */
static um_status read_metadata(const char *folder, json_t **out, um_buf *why)
{
    char *path = NULL;
    *out = NULL;
    if (asprintf(&path, "%s/metadata.json", folder) < 0) return UM_FAIL(UM_NO_MEMORY, "no memory for a path");
    um_status st = um_metadata_read(um_vfs_real(), path, out);
    free(path);
    if (st == UM_OK || st == UM_NO_MEMORY) return st;
    st = st == UM_MISSING ? um_buf_add_str(why, "its folder has no metadata.json") : um_buf_printf(why, "its folder's metadata.json %s: %s", st == UM_DATA ? "is damaged" : "cannot be used", um_err_text());
    um_err_clear();
    return st;
}

/* Is it called like a part, and which? */
static bool part_number(const char *name, int *number)
{
    const char *underscore = strrchr(name, '_');
    if (underscore == NULL || strstr(name, "dfdc") == NULL) return false;
    size_t n = strlen(underscore + 1);
    if (n == 0 || n > 9 || strspn(underscore + 1, "0123456789") != n) return false;
    *number = atoi(underscore + 1);
    return true;
}

static bool named_like_a_video(const char *name)
{
    static const char *const known[] = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".3gp"};
    const char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name) return false;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcasecmp(dot, known[i]) == 0) return true;
    return false;
}

/* Size and time of a video's file, or why it cannot be used. */
static um_status look_at(um_manifest_video *v, const char *folder, const char *name)
{
    struct stat s;
    char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0) return UM_FAIL(UM_NO_MEMORY, "no memory for a path");
    int r = stat(path, &s), e = errno;
    free(path);
    if (r < 0) return set_status(v, e == ENOENT || e == ENOTDIR ? UM_MISSING : UM_UNREADABLE, "%s", strerror(e));
    if (!S_ISREG(s.st_mode)) return set_status(v, UM_UNREADABLE, "not a regular file");
    v->size_bytes = s.st_size;
    v->mtime_ns = (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec;
    return UM_OK;
}

typedef struct part {
    const char *folder; /* to open files in */
    const char *prefix; /* of the paths: "dfdc_train_part_0/", or "" */
    int number;
} part;

/* One entry of metadata.json. */
static um_status add_listed(um_manifest *m, const part *p, const char *name, const json_t *entry, um_buf *path, um_buf *original)
{
    const char *label = json_string_value(json_object_get(entry, "label"));
    const json_t *from = json_object_get(entry, "original");
    um_manifest_video *v;
    size_t n = strlen(name);
    um_buf_clear(path);
    if (n <= MAX_NAME_BYTES)
        UM_PASS(um_buf_printf(path, "%s%s", p->prefix, name));
    else /* keep it apart from others with a digest, but do not carry megabytes along */
        UM_PASS(um_buf_printf(path, "%s%.200s~%016llx", p->prefix, name, (unsigned long long)um_hash64(UM_HASH64_START, name, n)));
    um_buf_clear(original);
    UM_PASS(um_buf_add(original, "", 0));
    if (json_is_string(from) && json_string_length(from) <= 4 * MAX_NAME_BYTES) UM_PASS(um_metadata_name(json_string_value(from), original));
    UM_PASS(add_video(m, (const char *)path->data, (const char *)original->data, &v));
    v->part = p->number;
    if (n == 0 || n > MAX_NAME_BYTES || strchr(name, '/') != NULL || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return set_status(v, UM_NO_METADATA, "metadata.json: the entry's name is not a file name");
    if (!json_is_object(entry)) return set_status(v, UM_NO_METADATA, "metadata.json: the entry is not an object");
    if (label == NULL) return set_status(v, UM_NO_METADATA, "metadata.json: the entry has no label");
    v->label = strcmp(label, "REAL") == 0 ? UM_LABEL_REAL : strcmp(label, "FAKE") == 0 ? UM_LABEL_FAKE : UM_LABEL_UNKNOWN;
    if (v->label == UM_LABEL_UNKNOWN) return set_status(v, UM_NO_METADATA, "metadata.json: the label %s is neither REAL nor FAKE", um_quote(label));
    if (from != NULL && !json_is_string(from) && !json_is_null(from)) return set_status(v, UM_NO_METADATA, "metadata.json: the original is not a name");
    if (json_is_string(from) && original->len == 0 && json_string_length(from) > 0)
        return set_status(v, UM_NO_METADATA, "metadata.json: the original's name is not a file name");
    return look_at(v, p->folder, name);
}

static um_status scan_part(um_manifest *m, const part *p)
{
    um_names names = {0};
    json_t *metadata = NULL, *entry;
    um_buf why = {0}, name = {0}, path = {0}, original = {0};
    const char *key;
    um_status st = um_vfs_list(um_vfs_real(), p->folder, &names);
    if (st != UM_OK) {
        st = um_err_note(st == UM_NO_MEMORY ? st : UM_IO, "cannot read the part %s", um_quote(p->folder));
        goto done;
    }
    UM_GOTO_PASS(st, read_metadata(p->folder, &metadata, &why));
    json_object_foreach(metadata, key, entry)
    {
        UM_GOTO_PASS(st, um_metadata_name(key, &name));
        UM_GOTO_PASS(st, add_listed(m, p, (const char *)name.data, entry, &path, &original));
    }
    for (int i = 0; i < names.n; i++) {
        const char *is = names.name[i];
        um_manifest_video *v;
        if (strcmp(is, "metadata.json") == 0) continue;
        um_buf_clear(&name);
        UM_GOTO_PASS(st, um_buf_add(&name, "", 0));
        UM_GOTO_PASS(st, um_metadata_carry(is, strlen(is), false, &name));
        if (metadata != NULL && json_object_get(metadata, (const char *)name.data) != NULL) continue;
        struct stat s;
        um_buf_clear(&path);
        UM_GOTO_PASS(st, um_buf_printf(&path, "%s/%s", p->folder, is));
        bool there = stat((const char *)path.data, &s) == 0;
        if ((there && S_ISDIR(s.st_mode)) || !named_like_a_video(is)) {
            m->n_other_files++;
            continue;
        }
        um_buf_clear(&path);
        UM_GOTO_PASS(st, um_buf_printf(&path, "%s%s", p->prefix, is));
        UM_GOTO_PASS(st, add_video(m, (const char *)path.data, "", &v));
        v->part = p->number;
        if (there && S_ISREG(s.st_mode)) v->size_bytes = s.st_size;
        UM_GOTO_PASS(st, set_status(v, UM_NO_METADATA, "%s", why.len > 0 ? (const char *)why.data : "its folder's metadata.json does not list it"));
    }
done:
    if (metadata != NULL) json_decref(metadata);
    um_buf_release(&why);
    um_buf_release(&name);
    um_buf_release(&path);
    um_buf_release(&original);
    um_names_release(&names);
    return st;
}

static bool listed(const um_manifest_video *v) { return v->label != UM_LABEL_UNKNOWN; }

/* Why `i` cannot be the original of a fake; NULL if it can. */
static const char *not_an_original(const um_manifest *m, int fake, int i)
{
    if (i == fake) return "its original is itself";
    if (m->video[i].label == UM_LABEL_FAKE) return "its original is a fake itself";
    return m->video[i].status != UM_PENDING ? um_status_text(m->video[i].status) : NULL;
}

/* Finds each fake's original: in its own folder first, else anywhere if only one video is called so. */
static um_status resolve(um_manifest *m, const um_keymap *by_path, const um_keymap *by_name, const uint8_t *several)
{
    for (int i = 0; i < m->n_videos; i++) {
        um_manifest_video *v = &m->video[i];
        const char *name = v->original_name;
        if (v->label != UM_LABEL_FAKE) continue;
        size_t prefix = (size_t)(file_name(v->path) - v->path);
        uint64_t name_key = um_hash64(UM_HASH64_START, name, strlen(name));
        uint64_t path_key = um_hash64(um_hash64(UM_HASH64_START, v->path, prefix), name, strlen(name));
        int o = name[0] != 0 && strchr(name, '/') == NULL ? um_keymap_get(by_path, path_key) : -1;
        if (o >= 0 && !listed(&m->video[o])) o = -1;
        bool ambiguous = false;
        if (o < 0 && name[0] != 0) {
            o = um_keymap_get(by_name, name_key);
            ambiguous = o >= 0 && several[o];
        }
        if (o >= 0 && strcmp(file_name(m->video[o].path), name) != 0) o = -1; /* keys that collide */
        if (v->status != UM_PENDING) {
            if (o >= 0 && !ambiguous && o != i && m->video[o].label == UM_LABEL_REAL) v->original = o;
            continue;
        }
        if (name[0] == 0) {
            UM_PASS(set_status(v, UM_NO_ORIGINAL, "metadata.json names no original"));
        } else if (ambiguous) {
            UM_PASS(set_status(v, UM_NO_ORIGINAL, "its original %s is in several other folders", um_quote(name)));
        } else if (o < 0) {
            UM_PASS(set_status(v, UM_NO_ORIGINAL, "its original %s is not listed", um_quote(name)));
        } else if (not_an_original(m, i, o) != NULL) {
            UM_PASS(set_status(v, UM_NO_ORIGINAL, "its original %s cannot be used: %s", um_quote(name), not_an_original(m, i, o)));
        } else {
            v->original = o;
        }
    }
    return UM_OK;
}

static int by_path_order(const void *a, const void *b) { return strcmp(((const um_manifest_video *)a)->path, ((const um_manifest_video *)b)->path); }

static um_status index_paths(const um_manifest *m, um_keymap *by_path)
{
    UM_PASS(um_keymap_init(by_path, (size_t)m->n_videos));
    for (int i = 0; i < m->n_videos; i++) {
        int other = um_keymap_add(by_path, m->video[i].id, i);
        if (other >= 0)
            return UM_FAIL(UM_DATA, "%s and %s have the same 64-bit key: rename one", um_quote(m->video[other].path), um_quote(m->video[i].path));
    }
    return UM_OK;
}

/* Keeps the videos of the first `limit` units and those of none. */
static um_status apply_limit(um_manifest *m, int64_t limit)
{
    if (limit <= 0 || limit >= m->n_units) return UM_OK;
    int *now = malloc(((size_t)m->n_videos + 1) * sizeof *now), kept = 0;
    if (now == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d videos", m->n_videos);
    for (int i = 0; i < m->n_videos; i++) now[i] = m->video[i].unit < limit ? kept++ : -1;
    for (int i = 0; i < m->n_videos; i++) {
        um_manifest_video v = m->video[i];
        if (now[i] < 0) {
            video_release(&v);
            continue;
        }
        if (v.original >= 0) v.original = now[v.original];
        m->video[now[i]] = v;
    }
    free(now);
    m->n_videos = kept;
    m->n_units = (int)limit;
    return UM_OK;
}

/* Everything that follows from the list of videos. */
static um_status arrange(um_manifest *m, int64_t limit)
{
    um_keymap by_path = {0}, by_name = {0};
    uint8_t *several = calloc((size_t)m->n_videos + 1, 1); /* [first video of a name]: are there more? */
    um_status st = UM_OK;
    if (several == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d videos", m->n_videos);
    if (m->n_videos > 0) qsort(m->video, (size_t)m->n_videos, sizeof *m->video, by_path_order);
    UM_GOTO_PASS(st, index_paths(m, &by_path));
    UM_GOTO_PASS(st, um_keymap_init(&by_name, (size_t)m->n_videos));
    for (int i = 0; i < m->n_videos; i++) {
        if (!listed(&m->video[i])) continue;
        const char *name = file_name(m->video[i].path);
        int first = um_keymap_add(&by_name, um_hash64(UM_HASH64_START, name, strlen(name)), i);
        if (first >= 0) several[first] = 1;
    }
    UM_GOTO_PASS(st, resolve(m, &by_path, &by_name, several));
    m->n_units = 0;
    for (int i = 0; i < m->n_videos; i++)
        if (m->video[i].status == UM_PENDING && m->video[i].label == UM_LABEL_REAL) m->video[i].unit = m->n_units++;
    for (int i = 0; i < m->n_videos; i++)
        if (m->video[i].status == UM_PENDING && m->video[i].label == UM_LABEL_FAKE) m->video[i].unit = m->video[m->video[i].original].unit;
    m->n_units_found = m->n_units;
    UM_GOTO_PASS(st, apply_limit(m, limit));
    st = make_units(m);
done:
    free(several);
    um_keymap_release(&by_path);
    um_keymap_release(&by_name);
    return st;
}

um_status um_manifest_scan(const char *root, int64_t limit, um_manifest *out)
{
    um_names names = {0};
    um_buf folder = {0}, prefix = {0};
    char *real = NULL;
    int number;
    *out = (um_manifest){0};
    um_status st = um_vfs_list(um_vfs_real(), root, &names);
    if (st != UM_OK) {
        st = um_err_note(st == UM_NO_MEMORY ? st : UM_IO, "cannot read the data root %s", um_quote(root));
        goto done;
    }
    out->root = strdup(root);
    real = realpath(root, NULL);
    if (out->root == NULL || real == NULL) {
        st = UM_FAIL(errno == ENOMEM ? UM_NO_MEMORY : UM_IO, "cannot read the data root %s: %s", um_quote(root), strerror(errno));
        goto done;
    }
    for (int i = 0; i < names.n; i++) {
        struct stat s;
        um_buf_clear(&folder);
        UM_GOTO_PASS(st, um_buf_printf(&folder, "%s/%s", root, names.name[i]));
        if (stat((const char *)folder.data, &s) < 0 || !S_ISDIR(s.st_mode)) continue;
        if (lstat((const char *)folder.data, &s) < 0 || !S_ISDIR(s.st_mode) || !part_number(names.name[i], &number)) {
            out->n_other_folders++;
            continue;
        }
        um_buf_clear(&prefix);
        UM_GOTO_PASS(st, um_buf_printf(&prefix, "%s/", names.name[i]));
        part p = {(const char *)folder.data, (const char *)prefix.data, number};
        UM_GOTO_PASS(st, scan_part(out, &p));
        out->n_parts++;
    }
    if (out->n_parts == 0 && part_number(file_name(real), &number)) {
        part p = {root, "", number};
        out->n_other_folders = 0;
        UM_GOTO_PASS(st, scan_part(out, &p));
        out->n_parts = 1;
    }
    if (out->n_parts == 0) {
        st = UM_FAIL(UM_DATA, "%s holds no part: no folder whose name contains \"dfdc\" and ends in _<number>, such as dfdc_train_part_0", um_quote(root));
        goto done;
    }
    st = arrange(out, limit);
done:
    free(real);
    um_buf_release(&folder);
    um_buf_release(&prefix);
    um_names_release(&names);
    if (st != UM_OK) um_manifest_release(out);
    return st;
}

/* ---- manifest.jsonl ---- */

static const char *const label_name[] = {"UNKNOWN", "REAL", "FAKE"};

um_status um_manifest_write(const um_manifest *m, um_buf *out)
{
    um_buf lines = {0};
    size_t start = out->len;
    um_status st = UM_OK;
    for (int i = 0; i < m->n_videos; i++) {
        const um_manifest_video *v = &m->video[i];
        UM_GOTO_PASS(st, um_buf_add_str(&lines, "{\"path\": "));
        UM_GOTO_PASS(st, um_buf_add_json(&lines, v->path));
        UM_GOTO_PASS(st, um_buf_printf(&lines, ", \"part\": %d, \"label\": \"%s\", \"original\": %d, \"original_name\": ", v->part, label_name[v->label], v->original));
        UM_GOTO_PASS(st, um_buf_add_json(&lines, v->original_name));
        UM_GOTO_PASS(st, um_buf_printf(&lines, ", \"unit\": %d, \"size\": %lld, \"mtime_ns\": %lld, \"status\": \"%s\", \"message\": ", v->unit, (long long)v->size_bytes,
                                       (long long)v->mtime_ns, um_status_name(v->status)));
        UM_GOTO_PASS(st, um_buf_add_json(&lines, v->message));
        UM_GOTO_PASS(st, um_buf_add_str(&lines, "}\n"));
    }
    UM_GOTO_PASS(st, um_buf_add_str(out, "{\"unmask_manifest\": 1, \"root\": "));
    UM_GOTO_PASS(st, um_buf_add_json(out, m->root));
    UM_GOTO_PASS(st, um_buf_printf(out, ", \"videos\": %d, \"units\": %d, \"parts\": %d, \"other_files\": %lld, \"other_folders\": %lld, \"units_found\": %lld", m->n_videos, m->n_units,
                                   m->n_parts, (long long)m->n_other_files, (long long)m->n_other_folders, (long long)m->n_units_found));
    /* The checksum is of all that stands before it and of all other lines. */
    uint32_t crc = um_crc32c(um_crc32c(0, out->data + start, out->len - start), lines.data, lines.len);
    UM_GOTO_PASS(st, um_buf_printf(out, ", \"crc32c\": \"%08x\"}\n", crc));
    st = um_buf_add(out, lines.data, lines.len);
done:
    um_buf_release(&lines);
    return st;
}

static bool skip_int(um_jsontext *t, const char *literal, int64_t low, int64_t high, int64_t *out)
{
    return um_jsontext_skip(t, literal) && um_jsontext_int(t, out) && *out >= low && *out <= high;
}

/* A string, copied. */
static bool take_string(um_jsontext *t, const char *literal, um_buf *b, char **out)
{
    if (!um_jsontext_skip(t, literal) || !um_jsontext_string(t, b)) return false;
    *out = strdup((const char *)b->data);
    return *out != NULL || um_jsontext_fail_memory(t);
}

/* The first line; *before: where the part ends that the checksum covers. The checksum is left in b. */
static bool parse_head(um_jsontext *t, um_manifest *m, um_buf *b, const char **before)
{
    int64_t videos, units, parts;
    bool ok = take_string(t, "{\"unmask_manifest\": 1, \"root\": ", b, &m->root) && skip_int(t, ", \"videos\": ", 0, MAX_VIDEOS, &videos) &&
              skip_int(t, ", \"units\": ", 0, videos, &units) && skip_int(t, ", \"parts\": ", 0, INT32_MAX, &parts) &&
              skip_int(t, ", \"other_files\": ", 0, INT64_MAX, &m->n_other_files) && skip_int(t, ", \"other_folders\": ", 0, INT64_MAX, &m->n_other_folders) &&
              skip_int(t, ", \"units_found\": ", units, INT64_MAX, &m->n_units_found);
    *before = t->p;
    if (!ok || !um_jsontext_skip(t, ", \"crc32c\": ") || !um_jsontext_string(t, b) || !um_jsontext_skip(t, "}\n")) return false;
    m->n_units = (int)units;
    m->n_parts = (int)parts;
    /* A line takes more than 100 bytes: a number of videos that the text cannot hold is not believed. */
    if (videos > (t->end - t->p) / 100) return false;
    m->video = calloc((size_t)videos + 1, sizeof *m->video);
    if (m->video == NULL) return um_jsontext_fail_memory(t);
    m->n_videos = (int)videos;
    return true;
}

static bool parse_video(um_jsontext *t, const um_manifest *m, um_manifest_video *v, um_buf *b)
{
    int64_t number, original, unit;
    if (!take_string(t, "{\"path\": ", b, &v->path) || !skip_int(t, ", \"part\": ", INT32_MIN, INT32_MAX, &number) || !um_jsontext_skip(t, ", \"label\": ") || !um_jsontext_string(t, b))
        return false;
    int label = 0;
    while (label < 3 && strcmp((const char *)b->data, label_name[label]) != 0) label++;
    if (label == 3 || !skip_int(t, ", \"original\": ", -1, m->n_videos - 1, &original) || !take_string(t, ", \"original_name\": ", b, &v->original_name) ||
        !skip_int(t, ", \"unit\": ", -1, m->n_units - 1, &unit) || !skip_int(t, ", \"size\": ", 0, INT64_MAX, &v->size_bytes) ||
        !skip_int(t, ", \"mtime_ns\": ", INT64_MIN, INT64_MAX, &v->mtime_ns) || !um_jsontext_skip(t, ", \"status\": ") || !um_jsontext_string(t, b))
        return false;
    int status = (int)um_status_from_name((const char *)b->data);
    if (status < 0 || !take_string(t, ", \"message\": ", b, &v->message) || !um_jsontext_skip(t, "}\n")) return false;
    v->part = (int)number;
    v->label = (um_label)label;
    v->original = (int)original;
    v->unit = (int)unit;
    v->status = (um_status)status;
    v->id = um_hash64(UM_HASH64_START, v->path, strlen(v->path));
    return (v->unit >= 0) == (v->status == UM_PENDING);
}

um_status um_manifest_parse(const char *text, size_t n, um_manifest *out)
{
    um_jsontext t = {text, text + n};
    um_buf b = {0};
    um_keymap by_path = {0};
    um_status st = UM_OK;
    char crc[16];
    const char *before;
    int line = 1;
    *out = (um_manifest){0};
    if (!parse_head(&t, out, &b, &before)) {
        st = um_jsontext_no_memory(&t) ? UM_FAIL(UM_NO_MEMORY, "no memory for the manifest") : UM_FAIL(UM_DATA, "the manifest is damaged: line 1");
        goto done;
    }
    snprintf(crc, sizeof crc, "%08x", um_crc32c(um_crc32c(0, text, (size_t)(before - text)), t.p, (size_t)(t.end - t.p)));
    if (strcmp(crc, (const char *)b.data) != 0) {
        st = UM_FAIL(UM_DATA, "the manifest is damaged: line 1: its checksum is not %s", um_quote((const char *)b.data));
        goto done;
    }
    for (int i = 0; i < out->n_videos; i++) {
        line++;
        bool ok = parse_video(&t, out, &out->video[i], &b);
        if (!ok || (i > 0 && strcmp(out->video[i - 1].path, out->video[i].path) >= 0)) {
            st = um_jsontext_no_memory(&t) ? UM_FAIL(UM_NO_MEMORY, "no memory for the manifest") : UM_FAIL(UM_DATA, "the manifest is damaged: line %d", line);
            goto done;
        }
    }
    if (t.p != t.end) {
        st = UM_FAIL(UM_DATA, "the manifest is damaged: line %d: more lines than videos", line + 1);
        goto done;
    }
    UM_GOTO(st, index_paths(out, &by_path), "the manifest is damaged");
    UM_GOTO(st, make_units(out), "the manifest is damaged");
done:
    um_buf_release(&b);
    um_keymap_release(&by_path);
    if (st != UM_OK) um_manifest_release(out);
    return st;
}

int um_manifest_find(const um_manifest *m, const char *name)
{
    int found = -1;
    size_t n = strlen(name);
    for (int i = 0; i < m->n_videos; i++) {
        const char *path = m->video[i].path, *file = file_name(path), *dot = strrchr(file, '.');
        if (strcmp(path, name) == 0) return i;
        bool stem = dot != NULL && (size_t)(dot - file) == n && memcmp(file, name, n) == 0;
        if (stem || strcmp(file, name) == 0) found = found == -1 ? i : -2;
    }
    return found;
}
