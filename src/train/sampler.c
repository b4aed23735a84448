#include "src/train/sampler.h"

#include "src/core/rng.h"

#include <stdlib.h>
#include <string.h>

struct um_sampler {
    um_sampler_config config;
    um_sampler_counts counts;
    int32_t *real, *fake; /* the samples of each class, in order; pairs: reals with a fake, and their fakes side by side */
    int32_t n_real, n_fake;
    int32_t *first;       /* pairs: fake[first[i] .. first[i + 1]) are those of real[i] */
    int32_t *owner;       /* pairs with no_oversample: fake[i] belongs to real[owner[i]] */
    int32_t *work;        /* fakes, as they are drawn from */
    int32_t *order;
};

void um_sampler_free(um_sampler *s)
{
    if (s == NULL) return;
    free(s->real);
    free(s->fake);
    free(s->first);
    free(s->owner);
    free(s->work);
    free(s->order);
    free(s);
}

um_sampler_counts um_sampler_count(const um_sampler *s) { return s->counts; }

static um_status alloc(int32_t **p, int64_t n)
{
    *p = malloc((size_t)(n > 0 ? n : 1) * sizeof **p);
    if (*p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a list of %lld samples", (long long)n);
    return UM_OK;
}

/* ---- Pairs ---- */

typedef struct face_key { /* which face of which original */
    int32_t original, frame, sample;
    uint8_t face;
} face_key;

static int compare_face(const face_key *a, const face_key *b)
{
    if (a->original != b->original) return a->original < b->original ? -1 : 1;
    if (a->frame != b->frame) return a->frame < b->frame ? -1 : 1;
    return (a->face > b->face) - (a->face < b->face);
}

static int compare_key(const void *a, const void *b)
{
    const face_key *x = a, *y = b;
    int c = compare_face(x, y);
    return c != 0 ? c : (x->sample > y->sample) - (x->sample < y->sample);
}

/* Sorts unless sorted already, as a store's entries are. */
static void sort_keys(face_key *k, int64_t n)
{
    for (int64_t i = 1; i < n; i++)
        if (compare_key(&k[i - 1], &k[i]) > 0) {
            qsort(k, (size_t)n, sizeof *k, compare_key);
            return;
        }
}

/* Both lists sorted by face, then walked side by side. */
static um_status match(um_sampler *s, const um_sample *samples)
{
    const int64_t n_real = s->n_real, n_fake = s->n_fake;
    um_status st = UM_OK;
    face_key *key = malloc((size_t)(n_real + n_fake > 0 ? n_real + n_fake : 1) * sizeof *key), *r = key, *f = key + n_real;
    if (key == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory to pair %lld samples", (long long)(n_real + n_fake));
    for (int64_t i = 0; i < n_real; i++) {
        const um_sample *x = &samples[s->real[i]];
        r[i] = (face_key){.original = x->video, .frame = x->frame, .face = x->face, .sample = s->real[i]};
    }
    for (int64_t i = 0; i < n_fake; i++) {
        const um_sample *x = &samples[s->fake[i]];
        f[i] = (face_key){.original = x->original, .frame = x->frame, .face = x->face, .sample = s->fake[i]};
    }
    sort_keys(r, n_real);
    sort_keys(f, n_fake);
    UM_GOTO_PASS(st, alloc(&s->first, n_real + 1));
    if (s->config.no_oversample) UM_GOTO_PASS(st, alloc(&s->owner, n_fake));
    int32_t pairs = 0, fakes = 0;
    for (int64_t i = 0, j = 0; i < n_real; i++) {
        while (j < n_fake && compare_face(&f[j], &r[i]) < 0) j++;
        if (j == n_fake || compare_face(&f[j], &r[i]) != 0) continue;
        s->first[pairs] = fakes;
        s->real[pairs] = r[i].sample;
        for (; j < n_fake && compare_face(&f[j], &r[i]) == 0; j++) {
            if (s->owner != NULL) s->owner[fakes] = pairs;
            s->fake[fakes++] = f[j].sample;
        }
        pairs++;
    }
    s->first[pairs] = fakes;
    s->counts.lone_reals = n_real - pairs;
    s->counts.lone_fakes = n_fake - fakes;
    s->n_real = pairs;
    s->n_fake = fakes;
done:
    free(key);
    return st;
}

um_status um_sampler_new(const um_sample *samples, int64_t n, const um_sampler_config *config, um_sampler **out)
{
    *out = NULL;
    if (n < 0 || n > INT32_MAX) return UM_FAIL(UM_DATA, "%lld samples: at most %d are possible", (long long)n, INT32_MAX);
    if (config->batch < 1 || config->batches_per_epoch < 0) return UM_FAIL(UM_CONFIG, "%lld batches of %lld", (long long)config->batches_per_epoch, (long long)config->batch);
    if (config->pairs && config->batch % 2 != 0) return UM_FAIL(UM_CONFIG, "a batch of pairs holds an even number of crops, not %lld", (long long)config->batch);
    um_status st = UM_OK;
    um_sampler *s = calloc(1, sizeof *s);
    if (s == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a sampler");
    s->config = *config;
    for (int64_t i = 0; i < n; i++) {
        if (samples[i].fake)
            s->n_fake++;
        else
            s->n_real++;
    }
    s->counts.reals = s->n_real;
    s->counts.fakes = s->n_fake;
    UM_GOTO_PASS(st, alloc(&s->real, s->n_real));
    UM_GOTO_PASS(st, alloc(&s->fake, s->n_fake));
    for (int32_t i = 0, r = 0, f = 0; i < n; i++) {
        if (samples[i].fake)
            s->fake[f++] = i;
        else
            s->real[r++] = i;
    }
    if (s->n_real == 0 || s->n_fake == 0) {
        st = UM_FAIL(UM_DATA, "nothing to tell apart: %d crops of reals and %d of fakes", s->n_real, s->n_fake);
        goto done;
    }
    int64_t length;
    if (config->pairs) {
        UM_GOTO_PASS(st, match(s, samples));
        if (s->n_real == 0) {
            st = UM_FAIL(UM_DATA, "not one fake of %lld has the same frame and face of its original among %lld reals: no pairs can be made", (long long)s->counts.fakes, (long long)s->counts.reals);
            goto done;
        }
        s->counts.epoch_reals = s->counts.epoch_fakes = config->no_oversample ? s->n_fake : s->n_real;
        length = 2 * s->counts.epoch_reals;
    } else {
        s->counts.epoch_reals = s->n_real;
        s->counts.epoch_fakes = config->no_oversample || s->n_fake < s->n_real ? s->n_fake : s->n_real;
        if (s->n_fake < s->n_real) s->counts.missing_fakes = s->n_real - s->n_fake;
        length = s->counts.epoch_reals + s->counts.epoch_fakes;
        if (s->counts.epoch_fakes < s->n_fake) UM_GOTO_PASS(st, alloc(&s->work, s->n_fake));
    }
    if (length > INT32_MAX) {
        st = UM_FAIL(UM_DATA, "an epoch of %lld crops: at most %d are possible", (long long)length, INT32_MAX);
        goto done;
    }
    UM_GOTO_PASS(st, alloc(&s->order, length));
    if (config->pairs) UM_GOTO_PASS(st, alloc(&s->work, length / 2));
    *out = s;
    s = NULL;
done:
    um_sampler_free(s);
    return st;
}

/* The first k of the n become k drawn without replacement, in random order (Fisher and Yates, from the front). */
static void draw_first(um_rng *r, int32_t *list, int64_t n, int64_t k)
{
    for (int64_t i = 0; i < k && i < n - 1; i++) {
        const int64_t at = i + um_rng_below(r, (uint32_t)(n - i));
        const int32_t t = list[i];
        list[i] = list[at];
        list[at] = t;
    }
}

/* Whole batches, unless there is not even one. */
static int64_t length_of(const um_sampler_config *c, int64_t n)
{
    int64_t batches = n / c->batch;
    if (batches == 0) return n;
    if (c->batches_per_epoch > 0 && batches > c->batches_per_epoch) batches = c->batches_per_epoch;
    return batches * c->batch;
}

void um_sampler_epoch(um_sampler *s, uint64_t seed, int64_t epoch, const int32_t **order, int64_t *n)
{
    um_rng r = um_rng_stream(seed, (uint64_t)epoch, 0, UM_RNG_SAMPLER);
    const int64_t reals = s->counts.epoch_reals, fakes = s->counts.epoch_fakes;
    *n = length_of(&s->config, reals + fakes);
    if (s->config.pairs) {
        for (int32_t i = 0; i < reals; i++) s->work[i] = i;
        draw_first(&r, s->work, reals, *n / 2);
        for (int64_t i = 0; i < *n / 2; i++) {
            int32_t real, fake;
            if (s->owner != NULL) {
                fake = s->work[i];
                real = s->owner[fake];
            } else {
                real = s->work[i];
                fake = s->first[real] + (int32_t)um_rng_below(&r, (uint32_t)(s->first[real + 1] - s->first[real]));
            }
            s->order[2 * i] = s->real[real];
            s->order[2 * i + 1] = s->fake[fake];
        }
    } else {
        const int32_t *from = s->fake;
        if (s->work != NULL) {
            memcpy(s->work, s->fake, (size_t)s->n_fake * sizeof *s->work);
            draw_first(&r, s->work, s->n_fake, fakes);
            from = s->work;
        }
        memcpy(s->order, s->real, (size_t)reals * sizeof *s->order);
        memcpy(s->order + reals, from, (size_t)fakes * sizeof *s->order);
        draw_first(&r, s->order, reals + fakes, *n);
    }
    *order = s->order;
}

um_status um_sampler_validation(const um_sample *samples, int64_t n, const uint8_t *video, int64_t every, int32_t **list, int64_t *n_list)
{
    *list = NULL;
    *n_list = 0;
    if (every < 1) return UM_FAIL(UM_CONFIG, "validation on every frame that is a multiple of %lld", (long long)every);
    if (n > INT32_MAX) return UM_FAIL(UM_DATA, "%lld samples: at most %d are possible", (long long)n, INT32_MAX);
    int64_t count = 0;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1 && count == 0) break;
        if (pass == 1) UM_PASS(alloc(list, count));
        count = 0;
        for (int64_t i = 0; i < n; i++) {
            if ((video != NULL && video[samples[i].video] == 0) || samples[i].frame % every != 0) continue;
            if (pass == 1) (*list)[count] = (int32_t)i;
            count++;
        }
    }
    *n_list = count;
    return UM_OK;
}
