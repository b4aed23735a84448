#include "jobs/train_source.h"

#include "src/core/log.h"
#include "src/core/rng.h"
#include "src/image/cvresize.h"
#include "src/image/sheet.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PIXELS = 1 << 26, NAMED = 10, COLUMNS = 8, CELL_PX = 160 };

typedef struct thread_state {
    um_codec *codec;
    um_cvresize *resize;
    um_buf bytes;
} thread_state;

struct um_train_source {
    const um_train_data *d;
    const um_train_options *o;
    uint64_t seed;
    int64_t epoch, *order, n_order;
    thread_state *thread;
    int n_threads;
    _Atomic int64_t n_named;
};

um_status um_train_source_open(const um_train_data *d, const um_train_options *o, uint64_t seed, int n_threads, um_train_source **out)
{
    um_status st = UM_OK;
    *out = NULL;
    um_train_source *s = calloc(1, sizeof *s);
    if (s == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a source of pictures");
    s->d = d;
    s->o = o;
    s->seed = seed;
    s->n_threads = n_threads;
    s->thread = calloc((size_t)n_threads, sizeof *s->thread);
    s->order = malloc((size_t)(d->n_train + 1) * sizeof *s->order);
    if (s->thread == NULL || s->order == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " crops", d->n_train));
    for (int i = 0; i < n_threads; i++) {
        s->thread[i].codec = um_codec_new();
        if (s->thread[i].codec == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for a decoder of pictures"));
        UM_GOTO_PASS(st, um_cvresize_new(&s->thread[i].resize));
    }
    *out = s;
done:
    if (st != UM_OK) um_train_source_close(s);
    return st;
}

void um_train_source_close(um_train_source *s)
{
    if (s == NULL) return;
    for (int i = 0; s->thread != NULL && i < s->n_threads; i++) {
        um_codec_free(s->thread[i].codec);
        um_cvresize_free(s->thread[i].resize);
        um_buf_release(&s->thread[i].bytes);
    }
    free(s->thread);
    free(s->order);
    free(s);
}

um_status um_train_source_epoch(um_train_source *s, int64_t epoch, int64_t *n)
{
    um_rng r = um_rng_stream(s->seed, (uint64_t)epoch, 0, UM_RNG_FOLDS);
    s->epoch = epoch;
    s->n_order = s->d->n_train;
    for (int64_t i = 0; i < s->n_order; i++) s->order[i] = i;
    for (int64_t i = s->n_order - 1; i > 0; i--) {
        int64_t j = um_rng_below(&r, (uint32_t)i + 1), t = s->order[i];
        s->order[i] = s->order[j];
        s->order[j] = t;
    }
    *n = s->n_order;
    return UM_OK;
}

/* ---- one crop ---- */

static um_status read_image(um_train_source *s, thread_state *t, const um_store_ref *ref, int channels, um_image *out)
{
    *out = (um_image){0};
    um_buf_clear(&t->bytes);
    UM_PASS(um_buf_reserve(&t->bytes, (size_t)ref->bytes + 1));
    UM_PASS(um_store_read(&s->d->store, ref, t->bytes.data));
    return um_codec_decode(t->codec, t->bytes.data, ref->bytes, channels, MAX_PIXELS, out);
}

/* Damage is what the bytes are to blame for. */
static bool is_damage(um_status st) { return st == UM_DATA || (um_status_class_of(st) == UM_CLASS_ITEM && st != UM_MISSING && st != UM_UNREADABLE); }

static void name_damage(um_train_source *s, const um_sample *sample)
{
    if (atomic_fetch_add(&s->n_named, 1) < NAMED) um_log(UM_LOG_WARN, "a damaged crop is left out: %s: %s", um_train_data_name(s->d, sample), um_err_text());
    um_err_clear();
}

/* Crop and mask of a sample; the caller frees both. */
static um_status open_picture(um_train_source *s, thread_state *t, const um_sample *sample, um_image *crop, um_image *mask)
{
    const um_store_entry *e = &s->d->store.entry[sample->entry];
    *mask = (um_image){0};
    UM_PASS(read_image(s, t, &e->image, 3, crop));
    if (e->mask.shard < 0) return UM_OK;
    um_status st = read_image(s, t, &e->mask, 1, mask);
    if (st == UM_OK && (mask->width_px != crop->width_px || mask->height_px != crop->height_px)) st = UM_FAIL(UM_DATA, "its mask has another size");
    if (st == UM_OK) return UM_OK;
    um_image_free(mask);
    um_image_free(crop);
    return st;
}

um_status um_train_source_train(void *user, int64_t number, int thread, uint8_t *image, float *target, uint8_t *weight)
{
    um_train_source *s = user;
    thread_state *t = &s->thread[thread];
    int64_t at = s->order[number];
    uint8_t fake = s->d->train[at].fake;
    um_image crop = {0}, mask = {0};
    um_status st = UM_DATA;
    *weight = 0;
    for (int tries = 0; tries < UM_TRAIN_MAX_REPLACED; tries++) {
        const um_sample *sample = &s->d->train[at];
        st = open_picture(s, t, sample, &crop, &mask);
        if (!is_damage(st)) break;
        name_damage(s, sample);
        *weight |= UM_PICTURE_REPLACED;
        do at = at + 1 < s->d->n_train ? at + 1 : 0;
        while (s->d->train[at].fake != fake);
    }
    if (is_damage(st)) return UM_FAIL(UM_DATA, "%d crops of the store one after another are damaged, up to %s; unmask inspect --digest tells more", UM_TRAIN_MAX_REPLACED, um_train_data_name(s->d, &s->d->train[at]));
    UM_PASS(st);
    const um_sample *sample = &s->d->train[at];
    st = um_cvresize_letterbox(t->resize, &crop, (int)s->o->size_px, image);
    *target = sample->fake;
    if (sample->valid || !s->o->only_changed_frames) *weight |= UM_PICTURE_COUNTS;
    um_image_free(&crop);
    um_image_free(&mask);
    return st;
}

um_status um_train_source_validate(void *user, int64_t number, int thread, uint8_t *image, float *target, uint8_t *weight)
{
    um_train_source *s = user;
    thread_state *t = &s->thread[thread];
    const um_sample *sample = &s->d->val[number];
    um_image crop;
    size_t bytes = (size_t)s->o->size_px * (size_t)s->o->size_px * 3;
    *target = sample->fake;
    um_status st = read_image(s, t, &s->d->store.entry[sample->entry].image, 3, &crop);
    if (is_damage(st)) {
        name_damage(s, sample);
        memset(image, 0, bytes);
        *weight = 0;
        return UM_OK;
    }
    UM_PASS(st);
    st = um_cvresize_letterbox(t->resize, &crop, (int)s->o->size_px, image);
    *weight = UM_PICTURE_COUNTS;
    um_image_free(&crop);
    return st;
}

um_status um_train_source_preview(um_train_source *s, int n, um_image *out)
{
    um_status st = UM_OK;
    int px = (int)s->o->size_px;
    size_t bytes = (size_t)px * (size_t)px * 3;
    um_image *picture = calloc((size_t)n + 1, sizeof *picture);
    char (*caption)[64] = calloc((size_t)n + 1, sizeof *caption);
    const char **captions = calloc((size_t)n + 1, sizeof *captions);
    uint8_t *pixels = malloc((size_t)n * bytes + 1);
    if (picture == NULL || caption == NULL || captions == NULL || pixels == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %d pictures", n));
    for (int i = 0; i < n; i++) {
        float target;
        uint8_t weight;
        UM_GOTO_PASS(st, um_train_source_train(s, i, 0, pixels + (size_t)i * bytes, &target, &weight));
        picture[i] = (um_image){pixels + (size_t)i * bytes, px, px, 3, (size_t)px * 3};
        snprintf(caption[i], sizeof caption[i], "%s %.2f%s", target > 0.5f ? "FAKE" : "REAL", (double)target, (weight & UM_PICTURE_COUNTS) == 0 ? " -" : "");
        captions[i] = caption[i];
    }
    st = um_sheet_make(picture, captions, n, COLUMNS, px < CELL_PX ? px : CELL_PX, out);
done:
    free(picture);
    free(caption);
    free(captions);
    free(pixels);
    return st;
}
