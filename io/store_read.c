#include "io/jsontext.h"
#include "io/journal.h"
#include "io/keymap.h"
#include "io/store_files.h"

#include "src/core/crc.h"
#include "src/core/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_MANIFEST_BYTES = 1 << 30,
    MAX_ROW_BYTES = 1 << 30, /* of one table but /bytes */
    MAX_SIDE = 1 << 20       /* of a rectangle */
};

/* ---- journals ---- */

typedef struct seal { /* one stage of one seal record */
    um_store_shard shard;
    int first_unit, n_units; /* in journals.unit: those that have this stage */
} seal;

typedef struct journals {
    um_buf seals; /* seal: in the order of journal names and positions */
    um_buf unit;  /* uint64_t keys */
    const um_manifest *m;
    um_keymap by_key; /* unit key -> index in m */
    um_store_state *state;
    int64_t n_damaged;
    um_buf text; /* scratch */
    /* of the journal being read */
    uint64_t begun;
    bool open;
} journals;

static bool get_hex(um_jsontext *t, unsigned digits, uint64_t *out)
{
    *out = 0;
    if ((size_t)(t->end - t->p) < digits) return false;
    for (unsigned i = 0; i < digits; i++) {
        char c = *t->p++;
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
        *out = *out << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

static bool get_crc(um_jsontext *t, uint32_t *out)
{
    uint64_t v;
    bool ok = um_jsontext_skip(t, "\"") && get_hex(t, 8, &v) && um_jsontext_skip(t, "\"");
    if (ok) *out = (uint32_t)v;
    return ok;
}

static um_store_state *state_of(const journals *j, uint64_t key)
{
    int32_t i = um_keymap_get(&j->by_key, key);
    return i >= 0 ? &j->state[i] : NULL;
}

/* The unit in hand was never ended: whatever happened, it happened then. */
static void count_open(journals *j)
{
    um_store_state *s = j->open ? state_of(j, j->begun) : NULL;
    if (s != NULL) s->starts++;
    j->open = false;
}

/* A shard's name becomes part of a path: only what we write is accepted. */
static bool plain_name(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n < 200 && s[0] != '.' && strspn(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._") == n;
}

/* "crops":{...} */
static bool parse_shard(um_jsontext *t, um_store_shard *s, um_buf *b)
{
    if (!um_jsontext_string(t, b)) return false;
    int stage = 0;
    while (stage < UM_STAGES && strcmp((char *)b->data, um_stage_name[stage]) != 0) stage++;
    if (stage == UM_STAGES || !um_jsontext_skip(t, ":{\"file\":") || !um_jsontext_string(t, b) || !plain_name((char *)b->data)) return false;
    s->stage = (um_stage)stage;
    s->file = strdup((char *)b->data);
    if (s->file == NULL || !um_jsontext_skip(t, ",\"bytes\":") || !um_jsontext_int(t, &s->bytes) || s->bytes < 0 || !um_jsontext_skip(t, ",\"crc\":") || !get_crc(t, &s->crc) ||
        !um_jsontext_skip(t, ",\"sets\":["))
        return false;
    bool first = true;
    for (int i = 0; i < UM_SETS; i++) {
        const um_disk_set *set = &um_disk_sets[stage][i];
        int64_t row_bytes, size;
        if (set->row_bytes == 0) continue;
        if ((!first && !um_jsontext_skip(t, ",")) || !um_jsontext_skip(t, "{\"name\":") || !um_jsontext_string(t, b) || strcmp((char *)b->data, set->name) != 0 ||
            !um_jsontext_skip(t, ",\"at\":") || !um_jsontext_int(t, &s->set[i].at) || !um_jsontext_skip(t, ",\"rows\":") || !um_jsontext_int(t, &s->set[i].rows) ||
            !um_jsontext_skip(t, ",\"row_bytes\":") || !um_jsontext_int(t, &row_bytes) || row_bytes != (int64_t)set->row_bytes || !um_jsontext_skip(t, ",\"crc\":") ||
            !get_crc(t, &s->set[i].crc) || !um_jsontext_skip(t, "}"))
            return false;
        if (s->set[i].at < 0 || s->set[i].rows < 0 || __builtin_mul_overflow(s->set[i].rows, row_bytes, &size) || size > s->bytes || s->set[i].at > s->bytes - size) return false;
        if (i != UM_SET_BYTES && size > MAX_ROW_BYTES) return false;
        first = false;
    }
    return um_jsontext_skip(t, "]}");
}

/* After {"t":"seal". All of it is believed or nothing. *bad: not of our form. */
static um_status read_seal(journals *j, um_jsontext *t, bool *bad)
{
    seal found[UM_STAGES];
    int n = 0;
    um_status st = UM_OK;
    um_buf keys = {0}; /* {key, mask} pairs */
    memset(found, 0, sizeof found);
    *bad = true;
    if (!um_jsontext_skip(t, ",\"stages\":{")) goto done;
    while (!um_jsontext_skip(t, "}")) {
        if (n == UM_STAGES || (n > 0 && !um_jsontext_skip(t, ","))) goto done;
        n++;
        if (!parse_shard(t, &found[n - 1].shard, &j->text)) goto done;
        for (int i = 0; i < n - 1; i++)
            if (found[i].shard.stage == found[n - 1].shard.stage) goto done;
    }
    if (!um_jsontext_skip(t, ",\"units\":[")) goto done;
    while (!um_jsontext_skip(t, "]")) {
        uint64_t pair[2];
        int64_t mask;
        if ((keys.len > 0 && !um_jsontext_skip(t, ",")) || !um_jsontext_skip(t, "[\"") || !get_hex(t, 16, &pair[0]) || !um_jsontext_skip(t, "\",") || !um_jsontext_int(t, &mask) ||
            mask <= 0 || mask >> UM_STAGES != 0 || !um_jsontext_skip(t, "]"))
            goto done;
        pair[1] = (uint64_t)mask;
        UM_GOTO_PASS(st, um_buf_add(&keys, pair, sizeof pair));
    }
    if (!um_jsontext_skip(t, "}") || t->p != t->end) goto done;
    const uint64_t *pair = (const uint64_t *)(const void *)keys.data;
    size_t n_pairs = keys.len / 16;
    unsigned have = 0, want = 0;
    for (int i = 0; i < n; i++) have |= 1u << found[i].shard.stage;
    for (size_t i = 0; i < n_pairs; i++) want |= (unsigned)pair[2 * i + 1];
    if (have != want) goto done;
    for (int i = 0; i < n; i++) {
        seal *s = &found[i];
        s->first_unit = (int)(j->unit.len / 8);
        for (size_t k = 0; k < n_pairs; k++) {
            if ((pair[2 * k + 1] >> s->shard.stage & 1) == 0) continue;
            UM_GOTO_PASS(st, um_buf_add(&j->unit, &pair[2 * k], 8));
            s->n_units++;
        }
    }
    UM_GOTO_PASS(st, um_buf_add(&j->seals, found, (size_t)n * sizeof *found));
    n = 0; /* their names belong to j now */
    *bad = false;
done:
    if (st != UM_OK) *bad = false;
    for (int i = 0; i < n; i++) free(found[i].shard.file);
    um_buf_release(&keys);
    return st;
}

static um_status on_record(void *user, const char *payload, size_t n)
{
    static const char *const kinds[] = {"start", "end", "abort", "strike", "seal"};
    journals *j = user;
    um_jsontext t = {payload, payload + n};
    int kind = 0;
    if (!um_jsontext_skip(&t, "{\"t\":") || !um_jsontext_string(&t, &j->text)) return UM_END;
    while (kind < 5 && strcmp((char *)j->text.data, kinds[kind]) != 0) kind++;
    if (kind == 5) return UM_END;
    if (kind == 4) {
        bool bad;
        um_status st = read_seal(j, &t, &bad);
        return bad ? UM_END : st;
    }
    uint64_t key;
    int64_t signal = 0;
    if (!um_jsontext_skip(&t, ",\"unit\":\"") || !get_hex(&t, 16, &key) || !um_jsontext_skip(&t, "\"")) return UM_END;
    if (kind == 3) {
        if (!um_jsontext_skip(&t, ",\"signal\":") || !um_jsontext_int(&t, &signal)) return UM_END;
        while (um_jsontext_skip(&t, " ")) {
        }
    }
    if (!um_jsontext_skip(&t, "}") || t.p != t.end) return UM_END;
    if (kind == 0) {
        count_open(j);
        j->open = true;
        j->begun = key;
    } else if (kind == 3) {
        um_store_state *s = state_of(j, key);
        if (s != NULL) {
            s->strikes++;
            s->strike_signal = (int)signal;
        }
    } else if (j->open && j->begun == key) {
        j->open = false;
    }
    return UM_OK;
}

static void journals_release(journals *j)
{
    seal *s = (seal *)(void *)j->seals.data;
    for (size_t i = 0; i < j->seals.len / sizeof *s; i++) free(s[i].shard.file);
    um_buf_release(&j->seals);
    um_buf_release(&j->unit);
    um_buf_release(&j->text);
    um_keymap_release(&j->by_key);
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static int find_name(const um_names *names, const char *name)
{
    int lo = 0, hi = names->n;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        int c = strcmp(names->name[mid], name);
        if (c == 0) return mid;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return -1;
}

/* Reads all journals, drops the shards that are not there, sets state[].stages. n_unreferenced: files in shards/ that no journal names. */
static um_status journals_read(um_vfs *vfs, const char *dir, journals *j, int64_t *n_unreferenced)
{
    um_names names = {0}, files = {0};
    char *folder = um_store_path(dir, "journal", NULL), *shards = um_store_path(dir, "shards", NULL), *path = NULL, *seen = NULL;
    um_status st = UM_OK;
    if (folder == NULL || shards == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for a path");
        goto done;
    }
    UM_GOTO_PASS(st, um_keymap_init(&j->by_key, (size_t)j->m->n_units));
    for (int i = 0; i < j->m->n_units; i++) {
        j->state[i] = (um_store_state){0};
        um_keymap_add(&j->by_key, j->m->unit[i].key, i);
    }
    UM_GOTO_PASS(st, um_vfs_list(vfs, folder, &names));
    for (int i = 0; i < names.n; i++) {
        bool damaged;
        if (!ends_with(names.name[i], ".jnl")) continue;
        path = um_store_path(folder, names.name[i], NULL);
        st = path == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a path") : um_journal_read(vfs, path, on_record, j, &damaged);
        if (st == UM_MISSING) { /* a rank that had nothing to do has just removed its own */
            st = UM_OK;
            damaged = false;
        }
        if (st != UM_OK) goto done;
        free(path);
        path = NULL;
        count_open(j);
        if (damaged) j->n_damaged++;
    }
    /* After the journals: what they name was there before they named it. */
    UM_GOTO_PASS(st, um_vfs_list(vfs, shards, &files));
    seen = calloc((size_t)files.n + 1, 1);
    if (seen == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for %d names", files.n);
        goto done;
    }
    seal *s = (seal *)(void *)j->seals.data;
    size_t n = j->seals.len / sizeof *s;
    for (size_t i = 0; i < n; i++) {
        int f = find_name(&files, s[i].shard.file);
        if (f < 0) {
            um_log(UM_LOG_WARN, "%s: the shard %s is gone: its %d units count as not done", um_quote(dir), um_quote(s[i].shard.file), s[i].n_units);
            s[i].n_units = 0;
            continue;
        }
        seen[f] = 1;
        for (int k = 0; k < s[i].n_units; k++) {
            um_store_state *u = state_of(j, ((const uint64_t *)(const void *)j->unit.data)[s[i].first_unit + k]);
            if (u != NULL) u->stages |= 1u << s[i].shard.stage;
        }
    }
    *n_unreferenced = 0;
    for (int i = 0; i < files.n; i++) *n_unreferenced += !seen[i];
done:
    um_names_release(&names);
    um_names_release(&files);
    free(folder);
    free(shards);
    free(path);
    free(seen);
    return st;
}

um_status um_store_load_states(um_vfs *vfs, const char *dir, const um_manifest *m, um_store_state *state)
{
    journals j = {.m = m, .state = state};
    int64_t unreferenced;
    um_status st = journals_read(vfs, dir, &j, &unreferenced);
    journals_release(&j);
    return st == UM_OK ? UM_OK : um_err_note(st, "cannot read the store %s", um_quote(dir));
}

/* ---- rows ---- */

typedef struct loader {
    um_store_content *c;
    um_vfs *vfs;
    journals j;
    um_keymap by_video;             /* id -> index in the manifest */
    um_disk_unit *taken[UM_STAGES]; /* [n_units]: whose rows count; unit == 0 in `took`: none yet */
    uint8_t *took;                  /* [n_units]: stages taken */
    um_buf rows[UM_STAGES];         /* the stages' rows of all taken units; .video is an index in the manifest, an image's .at counts from the start of its shard's file, .reserved is its shard */
} loader;

typedef struct tables { /* of one shard, in memory */
    void *set[UM_SETS];
    const um_disk_unit *unit;
    const um_disk_video *video;
    const char *text;
} tables;

static um_status damaged(const um_store_shard *s, const char *what)
{
    return UM_FAIL(UM_DATA, "the shard %s is damaged: %s; restore it from a copy, or remove it: preprocess does its units again", um_quote(s->file), what);
}

static void tables_release(tables *t)
{
    for (int i = 0; i < UM_SETS; i++) free(t->set[i]);
}

static um_status tables_read(um_store_files *files, int shard, tables *t)
{
    const um_store_shard *s = &files->shard[shard];
    *t = (tables){0};
    for (int i = 0; i < UM_SET_BYTES; i++) {
        size_t n = (size_t)s->set[i].rows * um_disk_sets[s->stage][i].row_bytes;
        t->set[i] = malloc(n + 1);
        if (t->set[i] == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a table of %zu bytes", n);
        if (n > 0) {
            um_status st = um_store_files_read(files, shard, t->set[i], n, s->set[i].at);
            if (st != UM_OK) return st;
        }
        if (um_crc32c(0, t->set[i], n) != s->set[i].crc) return damaged(s, "a table does not match its checksum");
    }
    t->unit = t->set[UM_SET_UNITS];
    t->video = t->set[UM_SET_VIDEOS];
    t->text = t->set[UM_SET_TEXT];
    return UM_OK;
}

/* Is the video with this id one of the unit's? Its index, or -1. */
static int video_of_unit(const loader *l, uint64_t id, int unit)
{
    int32_t v = um_keymap_get(&l->by_video, id);
    return v >= 0 && l->c->manifest.video[v].unit == unit ? v : -1;
}

/* Merges what a stage says of a video into what earlier stages said. Shards come in no order of stages, so the parts are kept by rule, not by order: status, signal and message of the first stage that is not OK;
 * size, times and frame counts of the first stage that knows the size; faces_found of DETECT; faces_dropped of all together. */
typedef struct stage_rows {
    um_store_video row[UM_STAGES];
    char *message[UM_STAGES];
    unsigned have;
} stage_rows;

static void merge_video(stage_rows *s, um_store_video *out, char **message)
{
    bool sized = false;
    int32_t found = 0, dropped = 0, width = 0;
    int failed = -1;
    for (int i = 0; i < UM_STAGES; i++) {
        const um_store_video *r = &s->row[i];
        if ((s->have >> i & 1) == 0) continue;
        if (!sized || (width == 0 && r->width_px > 0)) {
            *out = *r;
            width = r->width_px;
            sized = true;
        }
        if (failed < 0 && r->status != UM_OK) failed = i;
        if (i == UM_STAGE_DETECT) found = r->faces_found;
        if (i == UM_STAGE_DETECT || i == UM_STAGE_CROPS) dropped += r->faces_dropped;
    }
    out->faces_found = found;
    out->faces_dropped = dropped;
    out->status = failed >= 0 ? s->row[failed].status : UM_OK;
    out->signal = failed >= 0 ? s->row[failed].signal : 0;
    if (failed >= 0) {
        *message = s->message[failed];
        s->message[failed] = NULL;
    }
}

static bool sane_rect(const int32_t r[4])
{
    return r[0] >= 0 && r[1] >= 0 && r[2] >= r[0] && r[3] >= r[1] && r[2] <= MAX_SIDE && r[3] <= MAX_SIDE;
}

/* Copies a unit's rows of the stage, checked. */
static um_status take_rows(loader *l, int shard, const tables *t, const um_disk_unit *u, int unit)
{
    const um_store_shard *s = &l->c->files->shard[shard];
    um_buf *out = &l->rows[s->stage];
    size_t row_bytes = um_disk_sets[s->stage][UM_SET_ROWS].row_bytes;
    const uint8_t *rows = (const uint8_t *)t->set[UM_SET_ROWS] + (size_t)u->first_row * row_bytes;
    UM_PASS(um_buf_reserve(out, u->n_rows * row_bytes));
    for (uint32_t i = 0; i < u->n_rows; i++) {
        union {
            struct {
                uint64_t video;
                int64_t frame;
            } head;
            um_disk_face face;
            um_disk_image image;
            um_disk_landmarks landmarks;
        } r;
        memcpy(&r, rows + i * row_bytes, row_bytes);
        int v = video_of_unit(l, r.head.video, unit);
        if (v < 0) return damaged(s, "a row of a video that is not in its unit");
        r.head.video = (uint64_t)v;
        int32_t face = s->stage == UM_STAGE_DETECT ? r.face.face : s->stage == UM_STAGE_LANDMARKS ? r.landmarks.face : r.image.face;
        if (r.head.frame < 0 || face < 0) return damaged(s, "a row with a negative number");
        if (s->set[UM_SET_BYTES].rows > 0 || s->stage == UM_STAGE_CROPS || s->stage == UM_STAGE_MASKS) {
            uint64_t all = (uint64_t)s->set[UM_SET_BYTES].rows;
            if (r.image.bytes > all || r.image.at > all - r.image.bytes) return damaged(s, "a picture beyond its end");
            if (!sane_rect(r.image.rect)) return damaged(s, "a rectangle that cannot be");
            if (r.image.format < UM_CODEC_PNG || r.image.format > UM_CODEC_RAW) return damaged(s, "an unknown picture format");
            r.image.at += (uint64_t)s->set[UM_SET_BYTES].at;
            r.image.reserved = (uint32_t)shard;
        }
        UM_PASS(um_buf_add(out, &r, row_bytes));
    }
    return UM_OK;
}

static um_status take_videos(loader *l, int shard, const tables *t, const um_disk_unit *u, int unit, stage_rows *rows, int first)
{
    const um_store_shard *s = &l->c->files->shard[shard];
    const um_manifest_unit *mu = &l->c->manifest.unit[unit];
    for (uint32_t i = 0; i < u->n_videos; i++) {
        const um_disk_video *d = &t->video[u->first_video + i];
        int v = video_of_unit(l, d->video, unit), k = 0;
        if (v < 0) return damaged(s, "a video that is not in its unit");
        while (k < mu->n && l->c->manifest.unit_video[mu->first + k] != v) k++;
        stage_rows *r = &rows[first + k];
        uint64_t all = (uint64_t)s->set[UM_SET_TEXT].rows;
        if (d->text_bytes > all || d->text_at > all - d->text_bytes) return damaged(s, "a message beyond its end");
        if (um_status_class_of((um_status)d->status) != UM_CLASS_OK && um_status_class_of((um_status)d->status) != UM_CLASS_ITEM) return damaged(s, "an unknown status");
        if ((r->have >> s->stage & 1) != 0) return damaged(s, "two rows of one video");
        r->message[s->stage] = strndup(t->text + d->text_at, d->text_bytes);
        if (r->message[s->stage] == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for messages");
        r->have |= 1u << s->stage;
        r->row[s->stage] = (um_store_video){.video = d->video, .status = d->status, .signal = d->signal, .width_px = d->width_px, .height_px = d->height_px,
                                            .rotation_deg = d->rotation_deg, .frames_wanted = d->frames_wanted, .frames_given = d->frames_given,
                                            .frames_damaged = d->frames_damaged, .faces_found = d->faces_found, .faces_dropped = d->faces_dropped, .n_frames = d->n_frames,
                                            .fps = d->fps, .duration_s = d->duration_s};
    }
    return UM_OK;
}

/* One shard: for each of its units the first copy is taken, later ones are compared. */
static um_status load_shard(loader *l, int shard, const uint64_t *keys, int n_keys, stage_rows *rows)
{
    um_store_content *c = l->c;
    um_store_shard *s = &c->files->shard[shard];
    tables t;
    um_status st = tables_read(c->files, shard, &t);
    if (st != UM_OK) goto done;
    if (s->set[UM_SET_UNITS].rows != n_keys) {
        st = damaged(s, "it has other units than its journal says");
        goto done;
    }
    for (int i = 0; i < n_keys; i++) {
        const um_disk_unit *u = &t.unit[i];
        if (u->unit != keys[i] || u->n_videos > s->set[UM_SET_VIDEOS].rows || u->first_video > s->set[UM_SET_VIDEOS].rows - u->n_videos ||
            u->n_rows > s->set[UM_SET_ROWS].rows || u->first_row > s->set[UM_SET_ROWS].rows - u->n_rows) {
            st = damaged(s, "its units do not match its rows");
            goto done;
        }
        int32_t unit = um_keymap_get(&l->j.by_key, u->unit);
        if (unit < 0) continue; /* of another manifest: a file has changed, or --limit */
        um_disk_unit *had = &l->taken[s->stage][unit];
        if ((l->took[unit] >> s->stage & 1) != 0) {
            if (had->crc == u->crc && had->n_rows == u->n_rows && had->n_videos == u->n_videos) continue;
            const um_manifest_unit *mu = &c->manifest.unit[unit];
            st = UM_FAIL(UM_DATA, "%s was done twice, and the stage %s found different things: %s is the later one; remove one of the two shards, or start over with --fresh",
                         um_quote(c->manifest.video[c->manifest.unit_video[mu->first]].path), um_stage_name[s->stage], um_quote(s->file));
            goto done;
        }
        *had = *u;
        l->took[unit] |= (uint8_t)(1u << s->stage);
        s->used = true;
        UM_GOTO_PASS(st, take_videos(l, shard, &t, u, unit, rows, c->manifest.unit[unit].first));
        UM_GOTO_PASS(st, take_rows(l, shard, &t, u, unit));
    }
done:
    tables_release(&t);
    return st;
}

/* All kinds of rows begin with video and frame, which is what they are sorted by first; the face is elsewhere in each. */
typedef struct row_head {
    uint64_t video;
    int64_t frame;
} row_head;
static const size_t face_at[UM_STAGES] = {offsetof(um_disk_face, face), offsetof(um_disk_image, face), offsetof(um_disk_landmarks, face), offsetof(um_disk_image, face)};

typedef struct row_key {
    uint64_t video;
    int64_t frame;
    int32_t face;
} row_key;

static row_key key_of(const uint8_t *row, um_stage stage)
{
    row_key k;
    memcpy(&k, row, sizeof(row_head));
    memcpy(&k.face, row + face_at[stage], sizeof k.face);
    return k;
}

static int compare_keys(row_key a, row_key b)
{
    if (a.video != b.video) return a.video < b.video ? -1 : 1;
    if (a.frame != b.frame) return a.frame < b.frame ? -1 : 1;
    return (a.face > b.face) - (a.face < b.face);
}

static int order_detect(const void *a, const void *b) { return compare_keys(key_of(a, UM_STAGE_DETECT), key_of(b, UM_STAGE_DETECT)); }
static int order_images(const void *a, const void *b) { return compare_keys(key_of(a, UM_STAGE_CROPS), key_of(b, UM_STAGE_CROPS)); }
static int order_landmarks(const void *a, const void *b) { return compare_keys(key_of(a, UM_STAGE_LANDMARKS), key_of(b, UM_STAGE_LANDMARKS)); }

/* A stage's rows in order, and a place in them. */
typedef struct cursor {
    const uint8_t *row, *end;
    size_t size;
    um_stage stage;
} cursor;

static cursor cursor_at(const loader *l, um_stage stage, int video)
{
    size_t size = um_disk_sets[stage][UM_SET_ROWS].row_bytes;
    cursor c = {l->rows[stage].data, l->rows[stage].data, size, stage};
    size_t lo = 0, hi = l->rows[stage].len / size;
    if (hi == 0) return c;
    c.end += hi * size;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (key_of(c.row + mid * size, stage).video < (uint64_t)video)
            lo = mid + 1;
        else
            hi = mid;
    }
    c.row += lo * size;
    return c;
}

/* The key the cursor stands at, or `none` past the video's rows. */
static row_key cursor_key(const cursor *c, int video)
{
    static const row_key none = {UINT64_MAX, INT64_MAX, INT32_MAX};
    if (c->row >= c->end) return none;
    row_key k = key_of(c->row, c->stage);
    return k.video == (uint64_t)video ? k : none;
}

/* The row with this frame and face, walking on; NULL if there is none. */
static const void *cursor_find(cursor *c, int video, row_key k)
{
    k.video = (uint64_t)video;
    while (c->row < c->end && compare_keys(key_of(c->row, c->stage), k) < 0) c->row += c->size;
    return c->row < c->end && compare_keys(key_of(c->row, c->stage), k) == 0 ? c->row : NULL;
}

static um_store_ref ref_of(const um_disk_image *d)
{
    return (um_store_ref){.shard = (int32_t)d->reserved, .bytes = d->bytes, .at = d->at, .crc = d->crc, .format = d->format};
}

/* The entries of one video: all (frame, face) that it has boxes or crops of (an original), crops or masks of (a fake). */
static um_status join_video(loader *l, int v, um_buf *out)
{
    int o = l->c->manifest.video[v].original;
    bool fake = o >= 0;
    if (!fake) o = v;
    cursor face = cursor_at(l, UM_STAGE_DETECT, o), crop = cursor_at(l, UM_STAGE_CROPS, v), points = cursor_at(l, UM_STAGE_LANDMARKS, o), mask = cursor_at(l, UM_STAGE_MASKS, v);
    for (;;) {
        row_key a = cursor_key(&crop, v), b = fake ? cursor_key(&mask, v) : cursor_key(&face, v), k = compare_keys(a, b) <= 0 ? a : b;
        if (k.video == UINT64_MAX) return UM_OK;
        um_store_entry e = {.video = v, .frame = k.frame, .face = k.face, .image = {.shard = -1}, .mask = {.shard = -1}};
        const um_disk_face *f = cursor_find(&face, o, k);
        const um_disk_image *c = cursor_find(&crop, v, k), *m = cursor_find(&mask, v, k);
        const um_disk_landmarks *p = cursor_find(&points, o, k);
        if (f != NULL) {
            memcpy(e.box, f->box, sizeof e.box);
            e.probability = f->probability;
            if (!fake) e.time_s = f->time_s;
        }
        if (m != NULL) {
            e.mask = ref_of(m);
            e.changed_px = m->changed_px;
            e.time_s = m->time_s;
            memcpy(e.rect, m->rect, sizeof e.rect);
        }
        if (c != NULL) {
            e.image = ref_of(c);
            e.time_s = c->time_s;
            memcpy(e.rect, c->rect, sizeof e.rect);
        }
        if (p != NULL && p->found != 0) {
            e.has_landmarks = 1;
            memcpy(e.point, p->point, sizeof e.point);
        }
        UM_PASS(um_buf_add(out, &e, sizeof e));
        if (compare_keys(a, k) == 0) crop.row += crop.size;
        if (compare_keys(b, k) == 0) {
            if (fake)
                mask.row += mask.size;
            else
                face.row += face.size;
        }
    }
}

static um_status join(loader *l)
{
    um_store_content *c = l->c;
    static int (*const order[UM_STAGES])(const void *, const void *) = {order_detect, order_images, order_landmarks, order_images};
    um_buf entries = {0};
    um_status st = UM_OK;
    for (int s = 0; s < UM_STAGES; s++) {
        size_t size = um_disk_sets[s][UM_SET_ROWS].row_bytes, n = l->rows[s].len / size;
        if (n > 1) qsort(l->rows[s].data, n, size, order[s]);
        for (size_t i = 1; i < n; i++) {
            row_key k = key_of(l->rows[s].data + i * size, (um_stage)s);
            if (compare_keys(key_of(l->rows[s].data + (i - 1) * size, (um_stage)s), k) == 0)
                return UM_FAIL(UM_DATA, "%s: two rows of the stage %s for frame %" PRId64 ", face %d", um_quote(c->manifest.video[k.video].path), um_stage_name[s], k.frame, k.face);
        }
    }
    c->first_entry = calloc((size_t)c->manifest.n_videos + 1, sizeof *c->first_entry);
    if (c->first_entry == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d videos", c->manifest.n_videos);
    for (int v = 0; v < c->manifest.n_videos; v++) {
        UM_GOTO_PASS(st, join_video(l, v, &entries));
        c->first_entry[v + 1] = (int64_t)(entries.len / sizeof(um_store_entry));
    }
    c->n_entries = (int64_t)(entries.len / sizeof(um_store_entry));
    c->entry = (um_store_entry *)(void *)entries.data;
    entries = (um_buf){0};
done:
    um_buf_release(&entries);
    return st;
}

/* Opens what the journals name and joins it to entries. */
static um_status load_rows(loader *l)
{
    um_store_content *c = l->c;
    size_t n_units = (size_t)c->manifest.n_units, n_videos = (size_t)c->manifest.n_videos;
    seal *s = (seal *)(void *)l->j.seals.data;
    size_t n_seals = l->j.seals.len / sizeof *s;
    /* By place in unit_video, so that a unit's videos are neighbours. */
    stage_rows *rows = calloc(n_videos + 1, sizeof *rows);
    um_status st = UM_OK;
    l->took = calloc(n_units + 1, 1);
    for (int i = 0; i < UM_STAGES; i++) l->taken[i] = calloc(n_units + 1, sizeof *l->taken[i]);
    if (rows == NULL || l->took == NULL || l->taken[0] == NULL || l->taken[1] == NULL || l->taken[2] == NULL || l->taken[3] == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for %zu videos", n_videos);
        goto done;
    }
    UM_GOTO_PASS(st, um_keymap_init(&l->by_video, n_videos));
    for (int i = 0; i < c->manifest.n_videos; i++) um_keymap_add(&l->by_video, c->manifest.video[i].id, i);
    for (size_t i = 0; i < n_seals; i++) {
        if (s[i].n_units == 0) continue;
        UM_GOTO_PASS(st, um_store_files_add(c->files, &s[i].shard));
        s[i].shard.file = NULL;
        UM_GOTO_PASS(st, load_shard(l, c->files->n - 1, (const uint64_t *)(const void *)l->j.unit.data + s[i].first_unit, s[i].n_units, rows));
    }
    c->n_shards = c->files->n;
    for (int u = 0; u < c->manifest.n_units; u++) {
        const um_manifest_unit *mu = &c->manifest.unit[u];
        for (int k = 0; k < mu->n; k++) {
            int v = c->manifest.unit_video[mu->first + k];
            if (rows[mu->first + k].have == 0) continue;
            merge_video(&rows[mu->first + k], &c->video[v], &c->message[v]);
        }
    }
    st = join(l);
done:
    for (size_t i = 0; rows != NULL && i < n_videos; i++)
        for (int k = 0; k < UM_STAGES; k++) free(rows[i].message[k]);
    free(rows);
    return st;
}

static um_status read_manifest(um_vfs *vfs, const char *dir, um_manifest *out)
{
    void *text = NULL;
    size_t n;
    char *path = um_store_path(dir, "manifest.jsonl", NULL);
    if (path == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a path");
    um_status st = um_vfs_read_whole(vfs, path, MAX_MANIFEST_BYTES, &text, &n);
    if (st == UM_OK) st = um_manifest_parse(text, n, out);
    free(text);
    free(path);
    return st;
}

um_status um_store_load(um_vfs *vfs, const char *dir, bool need_rows, um_store_content *out)
{
    um_store_content *c = out;
    loader l = {.c = c, .vfs = vfs};
    um_status st = UM_OK;
    *c = (um_store_content){0};
    c->dir = strdup(dir);
    if (c->dir == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for a store");
        goto done;
    }
    UM_GOTO_PASS(st, um_store_read_config(vfs, dir, &c->config));
    UM_GOTO_PASS(st, read_manifest(vfs, dir, &c->manifest));
    UM_GOTO_PASS(st, um_store_files_new(vfs, dir, &c->files));
    size_t n_units = (size_t)c->manifest.n_units, n_videos = (size_t)c->manifest.n_videos;
    c->state = calloc(n_units + 1, sizeof *c->state);
    c->video = calloc(n_videos + 1, sizeof *c->video);
    c->message = calloc(n_videos + 1, sizeof *c->message);
    if (c->state == NULL || c->video == NULL || c->message == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for %zu videos", n_videos);
        goto done;
    }
    for (size_t i = 0; i < n_videos; i++) {
        c->video[i].video = c->manifest.video[i].id;
        c->video[i].status = (int32_t)c->manifest.video[i].status; /* PENDING, or why it is not to be done */
        c->video[i].n_frames = -1;
    }
    l.j.m = &c->manifest;
    l.j.state = c->state;
    UM_GOTO_PASS(st, journals_read(vfs, dir, &l.j, &c->n_unreferenced));
    c->n_journal_damaged = l.j.n_damaged;
    for (size_t i = 0; i < n_units; i++) c->n_units_done += c->state[i].stages == (1u << UM_STAGES) - 1;
    if (need_rows) UM_GOTO_PASS(st, load_rows(&l));
    for (size_t i = 0; i < n_videos; i++) {
        if (c->message[i] == NULL) c->message[i] = strdup(c->manifest.video[i].message);
        if (c->message[i] == NULL) {
            st = UM_FAIL(UM_NO_MEMORY, "no memory for messages");
            goto done;
        }
    }
done:
    journals_release(&l.j);
    um_keymap_release(&l.by_video);
    for (int i = 0; i < UM_STAGES; i++) {
        free(l.taken[i]);
        um_buf_release(&l.rows[i]);
    }
    free(l.took);
    if (st == UM_OK) return UM_OK;
    um_store_content_release(c);
    return um_err_note(st, "cannot read the store %s", um_quote(dir));
}

void um_store_content_release(um_store_content *c)
{
    for (int i = 0; c->message != NULL && i < c->manifest.n_videos; i++) free(c->message[i]);
    free(c->message);
    free(c->video);
    free(c->state);
    free(c->entry);
    free(c->first_entry);
    free(c->dir);
    free(c->config);
    um_store_files_free(c->files);
    um_manifest_release(&c->manifest);
    *c = (um_store_content){0};
}

um_status um_store_read(const um_store_content *c, const um_store_ref *ref, void *out)
{
    if (ref->shard < 0 || ref->shard >= c->files->n) return UM_FAIL(UM_INTERNAL, "there is no picture to read");
    UM_PASS(um_store_files_read(c->files, ref->shard, out, ref->bytes, (int64_t)ref->at));
    if (um_crc32c(0, out, ref->bytes) != ref->crc) return damaged(&c->files->shard[ref->shard], "a picture does not match its checksum");
    return UM_OK;
}
