#include "jobs/train_data.h"

#include "io/folds.h"
#include "src/core/hash.h"
#include "src/core/log.h"
#include "src/core/rng.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALID_PX = 32, MAX_LIST_BYTES = 1 << 28, EVERY = 20 };

typedef enum side { OUT, TRAIN, VALIDATE } side;

typedef struct sides {
    um_train_data *d;
    const um_train_options *o;
    um_folds folds;
    bool *listed; /* [n_videos] named by --val-list */
    bool *group;  /* [n_videos] by original: not trained on */
    bool *looked; /* [n_videos] validates */
} sides;

static int original_of(const um_manifest *m, int video) { return m->video[video].original >= 0 ? m->video[video].original : video; }

void um_train_data_release(um_train_data *d)
{
    if (d->loaded) um_store_content_release(&d->store);
    free(d->train);
    free(d->val);
    *d = (um_train_data){0};
}

const char *um_train_data_name(const um_train_data *d, const um_sample *s)
{
    static _Thread_local char text[512];
    const um_store_entry *e = &d->store.entry[s->entry];
    snprintf(text, sizeof text, "%s, frame %" PRId64 ", face %d", um_quote(d->store.manifest.video[e->video].path), e->frame, e->face);
    return text;
}

/* ---- --val-list ---- */

static um_status read_list(um_vfs *vfs, sides *s)
{
    const um_manifest *m = &s->d->store.manifest;
    void *text;
    size_t n;
    int64_t named = 0;
    if (s->o->val_list == NULL) return UM_OK;
    UM_TRY(um_vfs_read_whole(vfs, s->o->val_list, MAX_LIST_BYTES, &text, &n), "cannot read the list %s", um_quote(s->o->val_list));
    um_status st = UM_OK;
    char *line = text;
    while (st == UM_OK && line != NULL && *line != 0) {
        char *end = line + strcspn(line, "\n");
        char *next = *end != 0 ? end + 1 : NULL;
        *end = 0;
        if (end > line && end[-1] == '\r') end[-1] = 0;
        if (*line != 0) {
            int video = um_manifest_find(m, line);
            if (video < 0) {
                st = UM_FAIL(UM_DATA, "%s names %s, which %s in the store", um_quote(s->o->val_list), um_quote(line), video == -1 ? "is not" : "stands for several videos");
            } else {
                s->listed[video] = true;
                s->group[original_of(m, video)] = true;
                named++;
            }
        }
        line = next;
    }
    if (st == UM_OK && named == 0) st = UM_FAIL(UM_DATA, "%s names no video", um_quote(s->o->val_list));
    free(text);
    return st;
}

/* ---- sides ---- */

/* Of videos that would validate, --val-videos by lot: of groups, so that a fake's original is there too as often as it can be. The lot knows no seed of a member: members are compared on the same videos. */
static void draw_videos(sides *s, int *video, int n)
{
    int64_t want = s->o->val_videos;
    um_rng r = um_rng_stream(777, 0, 0, UM_RNG_VALIDATION);
    if (want == 0 || want >= n) return;
    for (int i = n - 1; i > 0; i--) {
        int j = (int)um_rng_below(&r, (uint32_t)i + 1), t = video[i];
        video[i] = video[j];
        video[j] = t;
    }
    for (int i = (int)want; i < n; i++) s->looked[video[i]] = false;
}

static um_status choose_videos(sides *s)
{
    const um_store_content *c = &s->d->store;
    int *video = malloc((size_t)(c->manifest.n_videos + 1) * sizeof *video), n = 0;
    if (video == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d videos", c->manifest.n_videos);
    for (int v = 0; v < c->manifest.n_videos; v++) {
        bool has = false;
        for (int64_t e = c->first_entry[v]; e < c->first_entry[v + 1] && !has; e++) has = s->folds.fold[e] >= 0 && (s->o->val_list != NULL || s->folds.fold[e] == s->o->fold);
        s->looked[v] = has && (s->o->val_list == NULL || s->listed[v]);
        if (s->looked[v]) video[n++] = v;
    }
    if (s->o->val_list == NULL) draw_videos(s, video, n);
    free(video);
    return UM_OK;
}

static side side_of(const sides *s, const um_store_entry *e, int32_t fold, bool any_even)
{
    if (fold < 0) return OUT;
    if (s->looked[e->video]) return !any_even || e->frame % EVERY == 0 ? VALIDATE : OUT;
    return fold == s->o->fold || s->group[original_of(&s->d->store.manifest, e->video)] ? OUT : TRAIN;
}

static void add(const um_store_content *c, int64_t at, um_sample *list, int64_t *n, int *n_videos, int64_t *n_fakes)
{
    const um_store_entry *e = &c->entry[at];
    bool fake = c->manifest.video[e->video].label == UM_LABEL_FAKE;
    um_sample *last = *n > 0 ? &list[*n - 1] : NULL;
    bool same = last != NULL && c->entry[last->entry].video == e->video;
    if (!same) ++*n_videos;
    list[(*n)++] = (um_sample){.entry = (int32_t)at, .video = e->video, .original = original_of(&c->manifest, e->video), .frame = (int32_t)e->frame, .face = (uint8_t)e->face, .fake = fake,
                               .valid = !fake || e->changed_px > VALID_PX};
    *n_fakes += fake;
}

/* Numbers of videos in the manifest become dense ones, separately on each side. Originals that have no crop on this side get numbers after the others'. */
static um_status make_dense(um_sample *list, int64_t n, int n_all)
{
    int32_t *dense = malloc((size_t)(n_all + 1) * sizeof *dense), next = 0;
    if (dense == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d videos", n_all);
    for (int i = 0; i < n_all; i++) dense[i] = -1;
    for (int64_t i = 0; i < n; i++)
        if (dense[list[i].video] < 0) dense[list[i].video] = next++;
    for (int64_t i = 0; i < n; i++)
        if (dense[list[i].original] < 0) dense[list[i].original] = next++;
    for (int64_t i = 0; i < n; i++) {
        list[i].video = dense[list[i].video];
        list[i].original = dense[list[i].original];
    }
    free(dense);
    return UM_OK;
}

static uint64_t hash_list(const um_store_content *c, uint64_t h, const um_sample *list, int64_t n)
{
    h = um_hash64(h, &n, sizeof n);
    for (int64_t i = 0; i < n; i++) {
        const um_store_entry *e = &c->entry[list[i].entry];
        uint32_t facts[4] = {(uint32_t)e->frame, (uint32_t)e->face, list[i].fake | (uint32_t)list[i].valid << 1, e->image.crc};
        h = um_hash64(h, &c->manifest.video[e->video].id, sizeof c->manifest.video[e->video].id);
        h = um_hash64(h, facts, sizeof facts);
    }
    return h;
}

static um_status make_lists(sides *s)
{
    um_train_data *d = s->d;
    const um_store_content *c = &d->store;
    size_t room = (size_t)(c->n_entries + 1) * sizeof *d->train;
    d->train = malloc(room);
    d->val = malloc(room);
    if (d->train == NULL || d->val == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " crops", c->n_entries);
    if (c->n_entries > INT32_MAX) return UM_FAIL(UM_TOO_LARGE, "%" PRId64 " crops: more than 2^31", c->n_entries);
    for (int v = 0; v < c->manifest.n_videos; v++) {
        bool any_even = false;
        for (int64_t e = c->first_entry[v]; e < c->first_entry[v + 1]; e++) any_even = any_even || (s->folds.fold[e] >= 0 && c->entry[e].frame % EVERY == 0);
        for (int64_t e = c->first_entry[v]; e < c->first_entry[v + 1]; e++) {
            side where = side_of(s, &c->entry[e], s->folds.fold[e], any_even);
            if (where == TRAIN) add(c, e, d->train, &d->n_train, &d->n_train_videos, &d->train_fakes);
            if (where == VALIDATE) add(c, e, d->val, &d->n_val, &d->n_val_videos, &d->val_fakes);
        }
    }
    uint64_t h = hash_list(c, hash_list(c, UM_HASH64_START, d->train, d->n_train), d->val, d->n_val);
    snprintf(d->digest, sizeof d->digest, "%016llx", (unsigned long long)h);
    UM_PASS(make_dense(d->train, d->n_train, c->manifest.n_videos));
    return make_dense(d->val, d->n_val, c->manifest.n_videos);
}

um_status um_train_data_check(const um_train_data *d)
{
    if (d->train_fakes > 0 && d->train_fakes < d->n_train) return UM_OK;
    return UM_FAIL(UM_DATA, "%" PRId64 " real and %" PRId64 " fake crops are left to train on: both are needed", d->n_train - d->train_fakes, d->train_fakes);
}

um_status um_train_data_load(um_vfs *vfs, const um_train_options *o, um_train_data *d)
{
    sides s = {.d = d, .o = o};
    um_status st;
    *d = (um_train_data){0};
    UM_GOTO_PASS(st, um_store_load(vfs, o->store, true, &d->store));
    d->loaded = true;
    UM_GOTO_PASS(st, um_folds_read(vfs, o->folds, &d->store, &s.folds));
    if (s.folds.n_missing > 0) um_log(UM_LOG_WARN, "%s lists %" PRId64 " crops that the store does not have, the first is %s: left out", um_quote(o->folds), s.folds.n_missing, um_quote(s.folds.first_missing));
    size_t n = (size_t)d->store.manifest.n_videos + 1;
    s.listed = calloc(n, sizeof *s.listed);
    s.group = calloc(n, sizeof *s.group);
    s.looked = calloc(n, sizeof *s.looked);
    if (s.listed == NULL || s.group == NULL || s.looked == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %zu videos", n));
    UM_GOTO_PASS(st, read_list(vfs, &s));
    UM_GOTO_PASS(st, choose_videos(&s));
    UM_GOTO_PASS(st, make_lists(&s));
    if (d->n_val == 0) st = UM_FAIL(UM_DATA, "there is no crop to validate on: --fold %" PRId64 " of %d folds", o->fold, s.folds.n_folds);
done:
    free(s.listed);
    free(s.group);
    free(s.looked);
    um_folds_release(&s.folds);
    if (st != UM_OK) um_train_data_release(d);
    return st;
}
