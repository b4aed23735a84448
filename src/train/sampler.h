#pragma once
/* sampler.h: which crops an epoch of training shows, and in which order.
 *
 *     um_sampler *s; UM_PASS(um_sampler_new(samples, n, &config, &s));
 *     um_sampler_epoch(s, seed, epoch, &order, &n);      // batch j is order[j * B .. (j + 1) * B), B = config.batch, on all ranks together
 *     um_sampler_free(s);
 *
 * An epoch is all reals and as many fakes, drawn without replacement anew each epoch, then shuffled, and cut after batches_per_epoch batches: a pure function of (samples, config, seed, epoch). Fewer fakes than reals: all are taken, once
 * (um_sampler_counts says how many are missing; the reference fails). What does not fill the last batch is left out, unless it is the only batch. A rank's or a lane's place in a batch is plain arithmetic on the order.
 *
 * Pairs: reals with a fake of the same original, frame and face. The order is real, fake, real, fake, ...: each real once an epoch, with one of its fakes, drawn anew; with no_oversample each fake once, with its real. Crops without a
 * partner are left out and counted.
 *
 * The stream of random numbers is named by seed and epoch. (The reference seeds with (epoch + 1) * seed: its members 111 and 555 see the same lists four epochs apart.)
 */
#include "src/train/sample.h"

typedef struct um_sampler_config {
    int64_t batch;             /* crops of all ranks together; even where pairs */
    int64_t batches_per_epoch; /* 0: the whole list */
    bool no_oversample;        /* all fakes */
    bool pairs;
} um_sampler_config;

typedef struct um_sampler_counts {
    int64_t reals, fakes;      /* of the samples given */
    int64_t epoch_reals, epoch_fakes; /* of an epoch before it is cut; with pairs each is the number of pairs */
    int64_t missing_fakes;     /* reals minus fakes, where fewer */
    int64_t lone_reals, lone_fakes;   /* pairs: without a partner */
} um_sampler_counts;

typedef struct um_sampler um_sampler;
/* Copies what it needs. At most 2^31 - 1 samples, 8 to 12 bytes each (pairs: 16 more while they are matched). Errors: UM_NO_MEMORY; UM_CONFIG (batch < 1 or odd); UM_DATA: not one real, or fake, or pair. Local. */
um_status um_sampler_new(const um_sample *samples, int64_t n, const um_sampler_config *config, um_sampler **out);
void um_sampler_free(um_sampler *s);
um_sampler_counts um_sampler_count(const um_sampler *s);
/* *order: indices of samples, borrowed until the next call. The first call and each later one cost time in proportion to the list; not two threads at once. */
void um_sampler_epoch(um_sampler *s, uint64_t seed, int64_t epoch, const int32_t **order, int64_t *n);
/* The key that the two at order[i & ~1] and order[i | 1] share in um_augment_draw: the real's sample. */
static inline int64_t um_sampler_pair(const int32_t *order, int64_t i) { return order[i & ~(int64_t)1]; }

/* Samples to validate on: those of the wanted videos (video[samples[i].video] != 0; NULL: all) whose frame is a multiple of `every` (20: every second kept frame), in order. *list is new (free it), NULL where *n_list is 0. Errors: UM_NO_MEMORY. */
um_status um_sampler_validation(const um_sample *samples, int64_t n, const uint8_t *video, int64_t every, int32_t **list, int64_t *n_list);
