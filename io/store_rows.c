/* Shards to rows: of each unit and stage the first copy, checked; what the stages say of a video, merged. */
#include "io/store_load.h"

#include "src/core/crc.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SIDE = 1 << 20 }; /* of a rectangle */

typedef struct tables { /* of one shard, in memory */
    void *set[UM_SETS];
    const um_disk_unit *unit;
    const um_disk_video *video;
    const char *text;
} tables;

um_status um_store_damaged(const um_store_shard *s, const char *what)
{
    return UM_FAIL(UM_DATA, "the shard %s is damaged: %s; restore it from a copy, or remove it: preprocess does its units again", um_quote(s->file), what);
}

static void tables_release(tables *t)
{
    for (int i = 0; i < UM_SETS; i++) free(t->set[i]);
}

/* The first n_sets tables. */
static um_status tables_read(um_store_files *files, int shard, int n_sets, tables *t)
{
    const um_store_shard *s = &files->shard[shard];
    *t = (tables){0};
    for (int i = 0; i < n_sets; i++) {
        size_t n = (size_t)s->set[i].rows * um_disk_sets[s->stage][i].row_bytes;
        t->set[i] = malloc(n + 1);
        if (t->set[i] == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a table of %zu bytes", n);
        if (n > 0) {
            um_status st = um_store_files_read(files, shard, t->set[i], n, s->set[i].at);
            if (st != UM_OK) return st;
        }
        if (um_crc32c(0, t->set[i], n) != s->set[i].crc) return um_store_damaged(s, "a table does not match its checksum");
    }
    t->unit = t->set[UM_SET_UNITS];
    t->video = t->set[UM_SET_VIDEOS];
    t->text = t->set[UM_SET_TEXT];
    return UM_OK;
}

/* Is the video with this id one of the unit's? Its index, or -1. */
static int video_of_unit(const um_store_loader *l, uint64_t id, int unit)
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
static um_status take_rows(um_store_loader *l, int shard, const tables *t, const um_disk_unit *u, int unit)
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
        if (v < 0) return um_store_damaged(s, "a row of a video that is not in its unit");
        r.head.video = (uint64_t)v;
        int32_t face = s->stage == UM_STAGE_DETECT ? r.face.face : s->stage == UM_STAGE_LANDMARKS ? r.landmarks.face : r.image.face;
        if (r.head.frame < 0 || face < 0) return um_store_damaged(s, "a row with a negative number");
        if (s->set[UM_SET_BYTES].rows > 0 || s->stage == UM_STAGE_CROPS || s->stage == UM_STAGE_MASKS) {
            uint64_t all = (uint64_t)s->set[UM_SET_BYTES].rows;
            if (r.image.bytes > all || r.image.at > all - r.image.bytes) return um_store_damaged(s, "a picture beyond its end");
            if (!sane_rect(r.image.rect)) return um_store_damaged(s, "a rectangle that cannot be");
            if (r.image.format < UM_CODEC_PNG || r.image.format > UM_CODEC_RAW) return um_store_damaged(s, "an unknown picture format");
            r.image.at += (uint64_t)s->set[UM_SET_BYTES].at;
            r.image.reserved = (uint32_t)shard;
        }
        UM_PASS(um_buf_add(out, &r, row_bytes));
    }
    return UM_OK;
}

static um_status take_videos(um_store_loader *l, int shard, const tables *t, const um_disk_unit *u, int unit, stage_rows *rows, int first)
{
    const um_store_shard *s = &l->c->files->shard[shard];
    const um_manifest_unit *mu = &l->c->manifest.unit[unit];
    for (uint32_t i = 0; i < u->n_videos; i++) {
        const um_disk_video *d = &t->video[u->first_video + i];
        int v = video_of_unit(l, d->video, unit), k = 0;
        if (v < 0) return um_store_damaged(s, "a video that is not in its unit");
        while (k < mu->n && l->c->manifest.unit_video[mu->first + k] != v) k++;
        stage_rows *r = &rows[first + k];
        uint64_t all = (uint64_t)s->set[UM_SET_TEXT].rows;
        if (d->text_bytes > all || d->text_at > all - d->text_bytes) return um_store_damaged(s, "a message beyond its end");
        if (um_status_class_of((um_status)d->status) != UM_CLASS_OK && um_status_class_of((um_status)d->status) != UM_CLASS_ITEM) return um_store_damaged(s, "an unknown status");
        if ((r->have >> s->stage & 1) != 0) return um_store_damaged(s, "two rows of one video");
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

/* ---- copies that yield ---- */

/* A decoder that ran out of processor time or memory, or that crashed, says something of the machine and the moment: done again, or by another run at the same time, the unit may come out well. Such a result is
 * weak: all stages that were sealed together with it, since what follows from it (a fake without an original, fewer crops) looks like any other result. A weak one yields to copies that are not, where these
 * hold all of its stages; else what belongs together would be mixed, and the disagreement stays one. Of weak ones alone the first counts. */
typedef struct weak_copy {
    int record, unit; /* of the seals; index in the manifest */
    unsigned stages;
    bool yields;
} weak_copy;

static bool of_the_machine(int32_t status) { return status == UM_TIMEOUT || status == UM_CRASH || status == UM_OOM; }

static int order_weak(const void *a, const void *b)
{
    const weak_copy *x = a, *y = b;
    if (x->record != y->record) return x->record < y->record ? -1 : 1;
    return (x->unit > y->unit) - (x->unit < y->unit);
}

static weak_copy *find_weak(um_store_loader *l, int record, int unit)
{
    weak_copy key = {.record = record, .unit = unit};
    if (l->weak.len == 0) return NULL;
    return bsearch(&key, l->weak.data, l->weak.len / sizeof key, sizeof key, order_weak);
}

/* Appends the shard's units that have a video with such a status. */
static um_status add_weak(um_store_loader *l, int shard, int record)
{
    const um_store_shard *s = &l->c->files->shard[shard];
    tables t;
    um_status st = tables_read(l->c->files, shard, UM_SET_TEXT, &t);
    for (int64_t i = 0; st == UM_OK && i < s->set[UM_SET_UNITS].rows; i++) {
        const um_disk_unit *u = &t.unit[i];
        weak_copy w = {.record = record, .unit = um_keymap_get(&l->j.by_key, u->unit)};
        bool weak = false;
        for (uint64_t k = u->first_video; w.unit >= 0 && k < (uint64_t)u->first_video + u->n_videos && k < (uint64_t)s->set[UM_SET_VIDEOS].rows; k++)
            weak = weak || of_the_machine(t.video[k].status);
        if (weak) st = um_buf_add(&l->weak, &w, sizeof w);
    }
    tables_release(&t);
    return st;
}

/* Fills l->weak. shard_of: [n] the seals' shards, -1: none. */
static um_status survey(um_store_loader *l, const um_store_sealed *s, const int *shard_of, size_t n)
{
    const uint64_t *keys = (const uint64_t *)(const void *)l->j.unit.data;
    unsigned *covered = calloc((size_t)l->c->manifest.n_units + 1, sizeof *covered); /* stages of a unit of which there is a copy that does not yield */
    um_status st = covered == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for %d units", l->c->manifest.n_units) : UM_OK;
    for (size_t i = 0; st == UM_OK && i < n; i++)
        if (shard_of[i] >= 0) st = add_weak(l, shard_of[i], s[i].record);
    if (st != UM_OK) goto done;
    weak_copy *w = (weak_copy *)(void *)l->weak.data;
    size_t n_weak = l->weak.len / sizeof *w;
    if (n_weak > 1) qsort(w, n_weak, sizeof *w, order_weak);
    size_t kept = 0;
    for (size_t i = 0; i < n_weak; i++) /* two stages of one record may both have named a unit */
        if (i == 0 || order_weak(&w[i], &w[kept - 1]) != 0) w[kept++] = w[i];
    n_weak = kept;
    l->weak.len = kept * sizeof *w;
    for (size_t i = 0; i < n; i++) {
        for (int k = 0; shard_of[i] >= 0 && k < s[i].n_units; k++) {
            int32_t unit = um_keymap_get(&l->j.by_key, keys[s[i].first_unit + k]);
            weak_copy *found = unit >= 0 ? find_weak(l, s[i].record, unit) : NULL;
            if (found != NULL)
                found->stages |= 1u << s[i].shard.stage;
            else if (unit >= 0)
                covered[unit] |= 1u << s[i].shard.stage;
        }
    }
    for (size_t i = 0; i < n_weak; i++) { /* in the order of records */
        w[i].yields = (w[i].stages & ~covered[w[i].unit]) == 0;
        covered[w[i].unit] |= w[i].stages;
    }
done:
    free(covered);
    return st;
}

/* ---- shards ---- */

/* One shard: for each of its units the first copy that does not yield is taken, later ones are compared. */
static um_status load_shard(um_store_loader *l, int shard, int record, const uint64_t *keys, int n_keys, stage_rows *rows)
{
    um_store_content *c = l->c;
    um_store_shard *s = &c->files->shard[shard];
    tables t;
    um_status st = tables_read(c->files, shard, UM_SET_BYTES, &t);
    if (st != UM_OK) goto done;
    if (s->set[UM_SET_UNITS].rows != n_keys) {
        st = um_store_damaged(s, "it has other units than its journal says");
        goto done;
    }
    for (int i = 0; i < n_keys; i++) {
        const um_disk_unit *u = &t.unit[i];
        if (u->unit != keys[i] || u->n_videos > s->set[UM_SET_VIDEOS].rows || u->first_video > s->set[UM_SET_VIDEOS].rows - u->n_videos ||
            u->n_rows > s->set[UM_SET_ROWS].rows || u->first_row > s->set[UM_SET_ROWS].rows - u->n_rows) {
            st = um_store_damaged(s, "its units do not match its rows");
            goto done;
        }
        int32_t unit = um_keymap_get(&l->j.by_key, u->unit);
        if (unit < 0) continue; /* of another manifest: a file has changed, or --limit */
        const weak_copy *weak = find_weak(l, record, unit);
        if (weak != NULL && weak->yields) continue;
        um_disk_unit *had = &l->taken[s->stage][unit];
        if ((l->took[unit] >> s->stage & 1) != 0) {
            if (had->crc == u->crc && had->n_rows == u->n_rows && had->n_videos == u->n_videos) continue;
            const um_manifest_unit *mu = &c->manifest.unit[unit];
            l->disagree = true;
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

/* All shards' rows, from nothing: to be called again after it failed. */
static um_status load_shards(um_store_loader *l, const um_store_sealed *s, const int *shard_of, size_t n, stage_rows *rows)
{
    um_store_content *c = l->c;
    for (int i = 0; i < c->manifest.n_videos; i++)
        for (int k = 0; k < UM_STAGES; k++) free(rows[i].message[k]);
    memset(rows, 0, (size_t)c->manifest.n_videos * sizeof *rows);
    memset(l->took, 0, (size_t)c->manifest.n_units);
    for (int k = 0; k < UM_STAGES; k++) um_buf_clear(&l->rows[k]);
    for (int i = 0; i < c->files->n; i++) c->files->shard[i].used = false;
    for (size_t i = 0; i < n; i++)
        if (shard_of[i] >= 0) UM_PASS(load_shard(l, shard_of[i], s[i].record, (const uint64_t *)(const void *)l->j.unit.data + s[i].first_unit, s[i].n_units, rows));
    return UM_OK;
}

um_status um_store_load_rows(um_store_loader *l)
{
    um_store_content *c = l->c;
    size_t n_units = (size_t)c->manifest.n_units, n_videos = (size_t)c->manifest.n_videos;
    um_store_sealed *s = (um_store_sealed *)(void *)l->j.seals.data;
    size_t n_seals = l->j.seals.len / sizeof *s;
    /* By place in unit_video, so that a unit's videos are neighbours. */
    stage_rows *rows = calloc(n_videos + 1, sizeof *rows);
    int *shard_of = malloc((n_seals + 1) * sizeof *shard_of); /* in c->files, -1: without units */
    um_status st = UM_OK;
    l->took = calloc(n_units + 1, 1);
    for (int i = 0; i < UM_STAGES; i++) l->taken[i] = calloc(n_units + 1, sizeof *l->taken[i]);
    if (rows == NULL || shard_of == NULL || l->took == NULL || l->taken[0] == NULL || l->taken[1] == NULL || l->taken[2] == NULL || l->taken[3] == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for %zu videos", n_videos);
        goto done;
    }
    UM_GOTO_PASS(st, um_keymap_init(&l->by_video, n_videos));
    for (int i = 0; i < c->manifest.n_videos; i++) um_keymap_add(&l->by_video, c->manifest.video[i].id, i);
    for (size_t i = 0; i < n_seals; i++) {
        shard_of[i] = -1;
        if (s[i].n_units == 0) continue;
        UM_GOTO_PASS(st, um_store_files_add(c->files, &s[i].shard));
        s[i].shard.file = NULL;
        shard_of[i] = c->files->n - 1;
    }
    st = load_shards(l, s, shard_of, n_seals, rows);
    if (st != UM_OK && l->disagree) { /* rare: only now is it worth to look which copies yield */
        um_err_clear();
        UM_GOTO_PASS(st, survey(l, s, shard_of, n_seals));
        st = load_shards(l, s, shard_of, n_seals, rows);
    }
    if (st != UM_OK) goto done;
    c->n_shards = c->files->n;
    for (int u = 0; u < c->manifest.n_units; u++) {
        const um_manifest_unit *mu = &c->manifest.unit[u];
        for (int k = 0; k < mu->n; k++) {
            int v = c->manifest.unit_video[mu->first + k];
            if (rows[mu->first + k].have == 0) continue;
            merge_video(&rows[mu->first + k], &c->video[v], &c->message[v]);
        }
    }
    st = um_store_join(l);
done:
    for (size_t i = 0; rows != NULL && i < n_videos; i++)
        for (int k = 0; k < UM_STAGES; k++) free(rows[i].message[k]);
    free(rows);
    free(shard_of);
    return st;
}
