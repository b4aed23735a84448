#include "jobs/train_source.h"

#include "src/core/log.h"
#include "src/train/preview.h"
#include "src/train/sampler.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PIXELS = 1 << 26, NAMED = 10, PREVIEW = 12, PREVIEW_DRAWS = 6 };

typedef struct thread_state {
    um_codec *codec;
    um_augment_work *work;
    um_buf bytes;
    um_image other; /* size_px x size_px: the real of a mixture */
} thread_state;

struct um_train_source {
    const um_train_data *d;
    const um_train_options *o;
    um_augment_config augment;
    uint64_t seed;
    um_sampler *sampler;
    int64_t epoch, n_order;
    const int32_t *order;
    thread_state *thread;
    int n_threads;
    _Atomic int64_t n_named;
    char words[200];
};

/* A sample's pictures, decoded. */
typedef struct picture {
    um_image crop, mask;
    um_face_picture face; /* views of these */
} picture;

static void release(picture *p)
{
    um_image_free(&p->crop);
    um_image_free(&p->mask);
    *p = (picture){0};
}

/* ---- open, close ---- */

static um_status open_threads(um_train_source *s)
{
    int px = (int)s->o->size_px;
    s->thread = calloc((size_t)s->n_threads, sizeof *s->thread);
    if (s->thread == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d threads", s->n_threads);
    for (int i = 0; i < s->n_threads; i++) {
        thread_state *t = &s->thread[i];
        t->codec = um_codec_new();
        if (t->codec == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a decoder of pictures");
        const um_augment_jpeg jpeg = {.pass = um_codec_jpeg_pass, .self = t->codec};
        UM_PASS(um_augment_work_new(&jpeg, &t->work));
        UM_PASS(um_image_new(px, px, 3, &t->other));
    }
    return UM_OK;
}

static void describe(um_train_source *s)
{
    um_sampler_counts c = um_sampler_count(s->sampler);
    if (s->o->pairs)
        snprintf(s->words, sizeof s->words, "an epoch has %" PRId64 " pairs of a real and its fake; %" PRId64 " reals and %" PRId64 " fakes have no partner", c.epoch_reals, c.lone_reals, c.lone_fakes);
    else
        snprintf(s->words, sizeof s->words, "an epoch has %" PRId64 " reals and %" PRId64 " fakes%s", c.epoch_reals, c.epoch_fakes, c.missing_fakes > 0 ? " (there are fewer fakes than reals: all are taken)" : "");
}

um_status um_train_source_open(const um_train_data *d, const um_train_options *o, uint64_t seed, int64_t batch, int n_threads, um_train_source **out)
{
    um_sampler_config config = {.batch = batch, .batches_per_epoch = o->batches_per_epoch * o->accumulate, .no_oversample = o->no_oversample, .pairs = o->pairs};
    um_status st = UM_OK;
    *out = NULL;
    um_train_source *s = calloc(1, sizeof *s);
    if (s == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a source of pictures");
    s->d = d;
    s->o = o;
    s->seed = seed;
    s->n_threads = n_threads;
    s->augment = o->augment;
    s->augment.size_px = o->size_px;
    s->augment.no_hardcore = o->no_hardcore;
    s->augment.padding_part = o->padding_part;
    if (o->mixup > 0) s->augment.p_mixup = o->mixup;
    UM_GOTO_PASS(st, um_augment_config_check(&s->augment));
    if (d->train_fakes > 0 && d->train_fakes < d->n_train) { /* else there is nothing to draw, only to validate */
        UM_GOTO_PASS(st, um_sampler_new(d->train, d->n_train, &config, &s->sampler));
        describe(s);
    }
    UM_GOTO_PASS(st, open_threads(s));
    *out = s;
done:
    if (st != UM_OK) um_train_source_close(s);
    return st;
}

void um_train_source_close(um_train_source *s)
{
    if (s == NULL) return;
    for (int i = 0; s->thread != NULL && i < s->n_threads; i++) {
        um_augment_work_free(s->thread[i].work);
        um_codec_free(s->thread[i].codec);
        um_buf_release(&s->thread[i].bytes);
        um_image_free(&s->thread[i].other);
    }
    free(s->thread);
    um_sampler_free(s->sampler);
    free(s);
}

um_status um_train_source_epoch(um_train_source *s, int64_t epoch, int64_t *n)
{
    s->epoch = epoch;
    um_sampler_epoch(s->sampler, s->seed, epoch, &s->order, &s->n_order);
    *n = s->n_order;
    return UM_OK;
}

const char *um_train_source_words(const um_train_source *s) { return s->words; }

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

/* Crop and mask of a sample; release it. */
static um_status open_picture(um_train_source *s, thread_state *t, const um_sample *sample, picture *p)
{
    const um_store_entry *e = &s->d->store.entry[sample->entry];
    *p = (picture){0};
    um_status st = read_image(s, t, &e->image, 3, &p->crop);
    if (st == UM_OK && e->mask.shard >= 0) st = read_image(s, t, &e->mask, 1, &p->mask);
    if (st == UM_OK && p->mask.data != NULL && (p->mask.width_px != p->crop.width_px || p->mask.height_px != p->crop.height_px)) st = UM_FAIL(UM_DATA, "its mask has another size");
    if (st != UM_OK) {
        release(p);
        return st;
    }
    p->face = (um_face_picture){.crop = p->crop, .mask = p->mask, .has_landmarks = e->has_landmarks != 0, .fake = sample->fake != 0};
    memcpy(p->face.point, e->point, sizeof p->face.point);
    for (int i = 0; i < 4; i++) p->face.box[i] = e->box[i] - (float)e->rect[i & 1];
    return UM_OK;
}

/* Sample `at` of the training side, or the one that stands in for it: *at says which. */
static um_status open_sample(um_train_source *s, thread_state *t, int64_t *at, picture *p, uint8_t *weight)
{
    uint8_t fake = s->d->train[*at].fake;
    for (int tries = 0; tries < UM_TRAIN_MAX_REPLACED; tries++) {
        um_status st = open_picture(s, t, &s->d->train[*at], p);
        if (!is_damage(st)) return st;
        name_damage(s, &s->d->train[*at]);
        *weight |= UM_PICTURE_REPLACED;
        do *at = *at + 1 < s->d->n_train ? *at + 1 : 0;
        while (s->d->train[*at].fake != fake);
    }
    return UM_FAIL(UM_DATA, "%d crops of the store one after another are damaged, up to %s; unmask inspect --digest tells more", UM_TRAIN_MAX_REPLACED, um_train_data_name(s->d, &s->d->train[*at]));
}

static um_image view(const um_train_source *s, uint8_t *image)
{
    int px = (int)s->o->size_px;
    return (um_image){image, px, px, 3, (size_t)px * 3};
}

/* Draws for `drawn` (the order's sample: it names the draws, whoever stands in for it) and applies. Of a pair, `partner` lends a real its fake's mask. */
static um_status augment(um_train_source *s, thread_state *t, int64_t drawn, int64_t pair, const picture *p, const picture *partner, um_augment_params *params, const um_image *out)
{
    um_face_picture face = p->face;
    if (partner != NULL && face.mask.data == NULL && partner->mask.width_px == face.crop.width_px && partner->mask.height_px == face.crop.height_px) face.mask = partner->mask;
    um_augment_draw(&s->augment, s->seed, s->epoch, drawn, pair, &face, params);
    return um_augment_apply(t->work, params, &face, out);
}

um_status um_train_source_train(void *user, int64_t number, int thread, uint8_t *image, float *target, uint8_t *weight)
{
    um_train_source *s = user;
    thread_state *t = &s->thread[thread];
    int64_t drawn = s->order[number], at = drawn, other = s->order[number ^ 1], pair = s->o->pairs ? um_sampler_pair(s->order, number) : drawn;
    picture own = {0}, partner = {0};
    um_augment_params params, of_partner;
    um_image out = view(s, image);
    um_status st;
    *weight = 0;
    UM_GOTO_PASS(st, open_sample(s, t, &at, &own, weight));
    const um_sample *sample = &s->d->train[at];
    bool wants_partner = s->o->pairs && (!sample->fake || s->augment.p_mixup > 0);
    uint8_t ignored = 0; /* its own place counts it */
    if (wants_partner) UM_GOTO_PASS(st, open_sample(s, t, &other, &partner, &ignored));
    UM_GOTO_PASS(st, augment(s, t, drawn, pair, &own, wants_partner ? &partner : NULL, &params, &out));
    *target = sample->fake;
    if ((sample->valid && !params.mask_too_small) || !s->o->only_changed_frames) *weight |= UM_PICTURE_COUNTS;
    if (s->o->pairs && sample->fake && params.mixup > 0) {
        UM_GOTO_PASS(st, augment(s, t, s->order[number ^ 1], pair, &partner, &own, &of_partner, &t->other));
        um_augment_mixup(&t->other, &out, params.mixup, &out);
        *target = (float)params.mixup / 256;
    }
done:
    release(&own);
    release(&partner);
    return st;
}

/* *damaged: nothing is in *out, and it was named. */
static um_status read_crop(um_train_source *s, thread_state *t, const um_sample *sample, um_image *out, bool *damaged)
{
    um_status st = read_image(s, t, &s->d->store.entry[sample->entry].image, 3, out);
    *damaged = is_damage(st);
    if (!*damaged) return st;
    name_damage(s, sample);
    return UM_OK;
}

um_status um_train_source_crop(um_train_source *s, const um_sample *sample, um_image *out, bool *damaged) { return read_crop(s, &s->thread[0], sample, out, damaged); }

um_status um_train_source_validate(void *user, int64_t number, int thread, uint8_t *image, float *target, uint8_t *weight)
{
    um_train_source *s = user;
    thread_state *t = &s->thread[thread];
    const um_sample *sample = &s->d->val[number];
    um_image crop, out = view(s, image);
    bool damaged;
    *target = sample->fake;
    um_status st = read_crop(s, t, sample, &crop, &damaged);
    if (damaged) {
        memset(image, 0, (size_t)out.height_px * out.stride);
        *weight = 0;
        return UM_OK;
    }
    UM_PASS(st);
    st = um_augment_plain(t->work, (int)s->o->size_px, &crop, &out);
    *weight = UM_PICTURE_COUNTS;
    um_image_free(&crop);
    return st;
}

um_status um_train_source_preview(um_train_source *s, um_image *out)
{
    int n = s->n_order < PREVIEW ? (int)s->n_order : PREVIEW;
    picture *p = calloc((size_t)n + 1, sizeof *p);
    um_face_picture *face = calloc((size_t)n + 1, sizeof *face);
    int64_t *sample = calloc((size_t)n + 1, sizeof *sample), *pair = calloc((size_t)n + 1, sizeof *pair);
    const char **label = calloc((size_t)n + 1, sizeof *label);
    um_status st = UM_OK;
    if (p == NULL || face == NULL || sample == NULL || pair == NULL || label == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %d pictures", n));
    for (int i = 0; i < n; i++) {
        int64_t at = sample[i] = s->order[i];
        uint8_t weight = 0;
        pair[i] = s->o->pairs ? um_sampler_pair(s->order, i) : sample[i];
        UM_GOTO_PASS(st, open_sample(s, &s->thread[0], &at, &p[i], &weight));
        face[i] = p[i].face;
        label[i] = s->d->train[at].fake ? (s->d->train[at].valid ? "FAKE" : "FAKE, UNCHANGED") : "REAL";
    }
    for (int i = 0; s->o->pairs && i + 1 < n; i += 2)
        if (face[i].mask.data == NULL && p[i].crop.width_px == p[i + 1].mask.width_px && p[i].crop.height_px == p[i + 1].mask.height_px) face[i].mask = p[i + 1].mask;
    st = um_preview_sheet(s->thread[0].work, &s->augment, s->seed, s->epoch, face, sample, pair, label, n, PREVIEW_DRAWS, out);
done:
    for (int i = 0; p != NULL && i < n; i++) release(&p[i]);
    free(p);
    free(face);
    free(sample);
    free(pair);
    free(label);
    return st;
}
