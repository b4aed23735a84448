/* The order of an epoch: complete, without repetition, drawn evenly, and a function of its names. */
#include "src/train/sampler.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { MAX = 4000 };

static um_sample sample[MAX];

/* n_originals videos of n_frames frames, each with n_fakes fakes of which fake k lacks every (k + 2)-th frame; as a store has them: videos in order, frames in order. */
static int make(int n_originals, int n_frames, int n_fakes)
{
    int n = 0;
    for (int v = 0; v < n_originals * (1 + n_fakes); v++)
        for (int f = 0; f < n_frames; f++) {
            const int original = v / (1 + n_fakes) * (1 + n_fakes), k = v - original;
            if (k > 0 && f % (k + 2) == k + 1) continue;
            sample[n++] = (um_sample){.entry = n, .video = v, .original = original, .frame = 10 * f, .face = (uint8_t)(f % 2), .fake = k > 0, .valid = true};
        }
    return n;
}

static um_sampler *sampler(int n, int64_t batch, int64_t batches, bool no_oversample, bool pairs)
{
    um_sampler *s = NULL;
    const um_sampler_config c = {.batch = batch, .batches_per_epoch = batches, .no_oversample = no_oversample, .pairs = pairs};
    CHECK_OK(um_sampler_new(sample, n, &c, &s));
    if (s == NULL) exit(1);
    return s;
}

static void test_epochs(void)
{
    const int n = make(6, 10, 4);
    int reals = 0;
    for (int i = 0; i < n; i++) reals += !sample[i].fake;
    um_sampler *s = sampler(n, 8, 0, false, false);
    const int32_t *order;
    int64_t len;
    static int32_t first[MAX], other[MAX];
    um_sampler_epoch(s, 111, 3, &order, &len);
    CHECK_INT(len, 2 * reals / 8 * 8);
    memcpy(first, order, (size_t)len * sizeof *order);
    static int seen[MAX];
    memset(seen, 0, sizeof seen);
    int n_reals = 0;
    for (int64_t i = 0; i < len; i++) {
        CHECK(order[i] >= 0 && order[i] < n);
        CHECK_INT(seen[order[i]]++, 0);
        n_reals += !sample[order[i]].fake;
    }
    CHECK(n_reals >= reals - 8 && n_reals <= reals);
    um_sampler_epoch(s, 111, 4, &order, &len);
    memcpy(other, order, (size_t)len * sizeof *order);
    CHECK(memcmp(first, other, (size_t)len * sizeof *order) != 0);
    um_sampler_epoch(s, 112, 3, &order, &len);
    CHECK(memcmp(first, order, (size_t)len * sizeof *order) != 0);
    um_sampler_epoch(s, 555, 0, &order, &len); /* not what 111 shows in its fifth epoch */
    CHECK(memcmp(other, order, (size_t)len * sizeof *order) != 0);
    um_sampler_epoch(s, 111, 3, &order, &len); /* back again */
    CHECK(memcmp(first, order, (size_t)len * sizeof *order) == 0);
    um_sampler_free(s);
    s = sampler(n, 8, 5, false, false); /* cut after five batches: the same, shorter */
    um_sampler_epoch(s, 111, 3, &order, &len);
    CHECK_INT(len, 40);
    CHECK(memcmp(first, order, 40 * sizeof *order) == 0);
    um_sampler_free(s);
    s = sampler(n, 100000, 5, false, false); /* not one whole batch */
    um_sampler_epoch(s, 111, 3, &order, &len);
    CHECK_INT(len, 2 * reals);
    um_sampler_free(s);
    s = sampler(n, 1, 0, true, false);
    um_sampler_epoch(s, 1, 0, &order, &len);
    CHECK_INT(len, n);
    CHECK_INT(um_sampler_count(s).missing_fakes, 0);
    um_sampler_free(s);

    const int few = make(6, 10, 0); /* fewer fakes than reals */
    for (int i = 0; i < 7; i++) sample[i].fake = 1;
    s = sampler(few, 1, 0, false, false);
    CHECK_INT(um_sampler_count(s).missing_fakes, few - 14);
    um_sampler_epoch(s, 1, 0, &order, &len);
    CHECK_INT(len, few);
    um_sampler_free(s);
}

/* Every fake as often as every other, every place as likely. */
static void test_evenness(void)
{
    enum { EPOCHS = 4000 };
    const int n = make(2, 6, 4);
    int reals = 0, fakes = 0;
    for (int i = 0; i < n; i++) *(sample[i].fake ? &fakes : &reals) += 1;
    um_sampler *s = sampler(n, 1, 0, false, false);
    static int64_t shown[MAX], first[MAX];
    memset(shown, 0, sizeof shown);
    memset(first, 0, sizeof first);
    for (int e = 0; e < EPOCHS; e++) {
        const int32_t *order;
        int64_t len;
        um_sampler_epoch(s, 7, e, &order, &len);
        for (int64_t i = 0; i < len; i++) shown[order[i]]++;
        first[order[0]]++;
    }
    const double p = (double)reals / fakes;
    for (int i = 0; i < n; i++) {
        const double q = sample[i].fake ? 0.5 / fakes : 0.5 / reals;
        CHECK_NEAR((double)shown[i], sample[i].fake ? p * EPOCHS : EPOCHS, sample[i].fake ? 4.5 * sqrt(EPOCHS * p * (1 - p)) : 0);
        CHECK_NEAR((double)first[i], q * EPOCHS, 4.5 * sqrt(EPOCHS * q));
    }
    um_sampler_free(s);
}

static bool are_pair(int32_t r, int32_t f)
{
    return !sample[r].fake && sample[f].fake && sample[f].original == sample[r].video && sample[f].frame == sample[r].frame && sample[f].face == sample[r].face;
}

static void test_pairs(bool shuffled)
{
    int n = make(5, 12, 3);
    int fakes = 0, reals = 0;
    sample[n++] = (um_sample){.video = 900, .original = 900, .frame = 5};             /* a real without fakes */
    sample[n++] = (um_sample){.video = 901, .original = 950, .frame = 5, .fake = 1};  /* a fake without its original */
    if (shuffled) /* an order that no store has */
        for (int i = 0; i < n; i++) {
            const int at = (i * 7919 + 13) % n;
            const um_sample t = sample[i];
            sample[i] = sample[at];
            sample[at] = t;
        }
    for (int i = 0; i < n; i++) *(sample[i].fake ? &fakes : &reals) += 1;
    um_sampler *s = sampler(n, 2, 0, false, true);
    const um_sampler_counts c = um_sampler_count(s);
    CHECK_INT(c.lone_reals, 1);
    CHECK_INT(c.lone_fakes, 1);
    CHECK_INT(c.epoch_reals, reals - 1);
    static int shown[MAX];
    memset(shown, 0, sizeof shown);
    const int32_t *order;
    int64_t len;
    for (int e = 0; e < 60; e++) {
        static int seen[MAX];
        memset(seen, 0, sizeof seen);
        um_sampler_epoch(s, 5, e, &order, &len);
        CHECK_INT(len, 2 * (reals - 1));
        for (int64_t i = 0; i < len; i += 2) {
            CHECK(are_pair(order[i], order[i + 1]));
            CHECK_INT(seen[order[i]]++, 0);
            CHECK_INT(um_sampler_pair(order, i), order[i]);
            CHECK_INT(um_sampler_pair(order, i + 1), order[i]);
            shown[order[i + 1]]++;
        }
    }
    int never = 0;
    for (int i = 0; i < n; i++) never += sample[i].fake && shown[i] == 0;
    CHECK_INT(never, 1); /* the one without its original */
    um_sampler_free(s);
    s = sampler(n, 2, 0, true, true);
    um_sampler_epoch(s, 5, 0, &order, &len);
    CHECK_INT(len, 2 * (fakes - 1));
    memset(shown, 0, sizeof shown);
    for (int64_t i = 0; i < len; i += 2) {
        CHECK(are_pair(order[i], order[i + 1]));
        CHECK_INT(shown[order[i + 1]]++, 0);
    }
    um_sampler_free(s);
}

static void test_refusals(void)
{
    const int n = make(2, 4, 1);
    um_sampler *s;
    CHECK_INT(um_sampler_new(sample, n, &(um_sampler_config){.batch = 0}, &s), UM_CONFIG);
    CHECK_INT(um_sampler_new(sample, n, &(um_sampler_config){.batch = 3, .pairs = true}, &s), UM_CONFIG);
    CHECK_INT(um_sampler_new(sample, 0, &(um_sampler_config){.batch = 1}, &s), UM_DATA);
    CHECK_INT(um_sampler_new(sample, 4, &(um_sampler_config){.batch = 1}, &s), UM_DATA); /* reals only */
    for (int i = 0; i < n; i++) sample[i].frame += sample[i].fake;
    CHECK_INT(um_sampler_new(sample, n, &(um_sampler_config){.batch = 2, .pairs = true}, &s), UM_DATA); /* no frame in common */
    CHECK(s == NULL);
}

static void test_validation(void)
{
    const int n = make(3, 10, 2);
    const uint8_t wanted[9] = {0, 1, 0, 1, 0, 0, 0, 0, 1};
    int32_t *list;
    int64_t len, want = 0;
    CHECK_OK(um_sampler_validation(sample, n, wanted, 20, &list, &len));
    for (int i = 0; i < n; i++)
        if (wanted[sample[i].video] && sample[i].frame % 20 == 0) {
            CHECK(want < len && list[want] == i);
            want++;
        }
    CHECK_INT(len, want);
    CHECK(want > 0);
    free(list);
    CHECK_OK(um_sampler_validation(sample, n, NULL, 10, &list, &len));
    CHECK_INT(len, n);
    free(list);
    CHECK_OK(um_sampler_validation(sample, n, NULL, 1000000007, &list, &len)); /* frame 0 alone */
    CHECK(len > 0 && len < n);
    free(list);
    CHECK_OK(um_sampler_validation(sample, 0, NULL, 20, &list, &len));
    CHECK(list == NULL && len == 0);
}

int main(void)
{
    test_epochs();
    test_evenness();
    test_pairs(false);
    test_pairs(true);
    test_refusals();
    test_validation();
    return TEST_END();
}
