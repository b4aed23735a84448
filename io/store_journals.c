#include "io/store_journals.h"

#include "io/journal.h"
#include "io/jsontext.h"

#include "src/core/log.h"
#include "src/core/search.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ROW_BYTES = 1 << 30 }; /* of one table but /bytes */

static bool get_crc(um_jsontext *t, uint32_t *out)
{
    uint64_t v;
    bool ok = um_jsontext_skip(t, "\"") && um_jsontext_hex(t, 8, &v) && um_jsontext_skip(t, "\"");
    if (ok) *out = (uint32_t)v;
    return ok;
}

static um_store_state *state_of(const um_store_journals *j, uint64_t key)
{
    int32_t i = um_keymap_get(&j->by_key, key);
    return i >= 0 ? &j->state[i] : NULL;
}

static um_attempts *attempts_of(void *user, uint64_t unit)
{
    um_store_state *s = state_of(user, unit);
    return s != NULL ? &s->attempts : NULL;
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
    if (s->file == NULL) return um_jsontext_fail_memory(t);
    if (!um_jsontext_skip(t, ",\"bytes\":") || !um_jsontext_int(t, &s->bytes) || s->bytes < 0 || !um_jsontext_skip(t, ",\"crc\":") || !get_crc(t, &s->crc) ||
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
static um_status read_seal(um_store_journals *j, um_jsontext *t, bool *bad)
{
    um_store_sealed found[UM_STAGES];
    int n = 0;
    um_status st = UM_OK;
    um_buf keys = {0}; /* {key, mask} pairs */
    memset(found, 0, sizeof found);
    *bad = true;
    if (!um_jsontext_skip(t, ",\"stages\":{")) goto done;
    while (!um_jsontext_skip(t, "}")) {
        if (n == UM_STAGES || (n > 0 && !um_jsontext_skip(t, ","))) goto done;
        n++;
        if (!parse_shard(t, &found[n - 1].shard, &j->attempts.text)) goto done;
        for (int i = 0; i < n - 1; i++)
            if (found[i].shard.stage == found[n - 1].shard.stage) goto done;
    }
    if (!um_jsontext_skip(t, ",\"units\":[")) goto done;
    while (!um_jsontext_skip(t, "]")) {
        uint64_t pair[2];
        int64_t mask;
        if ((keys.len > 0 && !um_jsontext_skip(t, ",")) || !um_jsontext_skip(t, "[\"") || !um_jsontext_hex(t, 16, &pair[0]) || !um_jsontext_skip(t, "\",") || !um_jsontext_int(t, &mask) ||
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
        um_store_sealed *s = &found[i];
        s->record = (int)(j->seals.len / sizeof *found);
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

/* A record that is not of our form ends the journal. */
static um_status ends(const um_jsontext *t) { return um_jsontext_fault(t, UM_END, "a journal"); }

static um_status on_record(void *user, const char *payload, size_t n, int64_t at)
{
    um_store_journals *j = user;
    um_jsontext t = {payload, payload + n};
    bool known;
    (void)at;
    if (!um_jsontext_skip(&t, "{\"t\":") || !um_jsontext_string(&t, &j->attempts.text) || !um_attempts_record(&j->attempts, &t, &known)) return ends(&t);
    if (known) return UM_OK;
    if (strcmp((char *)j->attempts.text.data, "seal") != 0) return UM_END;
    bool bad;
    um_status st = read_seal(j, &t, &bad);
    return bad ? ends(&t) : st;
}

static void on_end(void *user)
{
    um_store_journals *j = user;
    um_attempts_close(&j->attempts);
}

void um_store_journals_release(um_store_journals *j)
{
    um_store_sealed *s = (um_store_sealed *)(void *)j->seals.data;
    for (size_t i = 0; i < j->seals.len / sizeof *s; i++) free(s[i].shard.file);
    um_buf_release(&j->seals);
    um_buf_release(&j->unit);
    um_buf_release(&j->attempts.text);
    um_keymap_release(&j->by_key);
}

static const char *file_name(const void *of, int i) { return ((const um_names *)of)->name[i]; }

um_status um_store_journals_read(um_vfs *vfs, const char *dir, um_store_journals *j, int64_t *n_unreferenced)
{
    um_names files = {0};
    char *folder = um_store_path(dir, "journal", NULL), *shards = um_store_path(dir, "shards", NULL), *seen = NULL;
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
    j->attempts.find = attempts_of;
    j->attempts.user = j;
    UM_GOTO_PASS(st, um_journal_read_folder(vfs, folder, NULL, on_record, on_end, j, &j->n_damaged));
    /* After the journals: what they name was there before they named it. */
    UM_GOTO_PASS(st, um_vfs_list(vfs, shards, &files));
    seen = calloc((size_t)files.n + 1, 1);
    if (seen == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for %d names", files.n);
        goto done;
    }
    um_store_sealed *s = (um_store_sealed *)(void *)j->seals.data;
    size_t n = j->seals.len / sizeof *s;
    for (size_t i = 0; i < n; i++) {
        int f = um_search_name(file_name, &files, files.n, s[i].shard.file);
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
    um_names_release(&files);
    free(folder);
    free(shards);
    free(seen);
    return st;
}

um_status um_store_load_states(um_vfs *vfs, const char *dir, const um_manifest *m, um_store_state *state)
{
    um_store_journals j = {.m = m, .state = state};
    int64_t unreferenced;
    um_status st = um_store_journals_read(vfs, dir, &j, &unreferenced);
    um_store_journals_release(&j);
    return st == UM_OK ? UM_OK : um_err_note(st, "cannot read the store %s", um_quote(dir));
}
