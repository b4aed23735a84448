#pragma once
/* rng.h: random numbers without state: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * A stream is named by (seed, a, b, purpose); the i-th number of a stream is a pure function of these, so a draw is the same on any rank,
 * in any order, after any resume. um_rng is a cursor into one stream, kept on the stack:
 *
 *     um_rng r = um_rng_stream(seed, video, frame, UM_RNG_SYNTH);
 *     double x = um_rng_uniform(&r, -1, 1);
 */
#include <stdint.h>

/* Purposes, so that two uses never share a stream. Numbers are part of what makes results repeatable: append only. */
enum { UM_RNG_TEST = 0, UM_RNG_SYNTH = 1, UM_RNG_FOLDS = 2, UM_RNG_QUEUE = 3, UM_RNG_CRASH = 4, UM_RNG_INIT = 5, UM_RNG_DROPOUT = 6 };
enum { UM_RNG_GEOMETRY = 7, UM_RNG_SAMPLER = 8, UM_RNG_APPEARANCE = 9 }; /* src/train: augmentation and the order of an epoch */
enum { UM_RNG_VALIDATION = 10 }; /* which videos validate */
enum { UM_RNG_BOOTSTRAP = 13 }; /* which videos count how often in an interval */
enum { UM_RNG_PLAN = 11 };       /* what a plan looks at, and how its units differ */

typedef struct um_rng {
    uint32_t key[2];
    uint32_t counter[4]; /* [0] counts blocks of four numbers */
    uint32_t block[4];
    unsigned used;       /* numbers of the block already given */
} um_rng;

/* The cipher itself: out = Philox4x32-10(counter, key). Test vectors of the paper's library are in tests/unit/test_core.c. */
void um_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

um_rng um_rng_stream(uint64_t seed, uint64_t a, uint32_t b, uint32_t purpose);
uint32_t um_rng_u32(um_rng *r);
/* Uniform in [lo, hi), 32 bits of resolution. */
double um_rng_uniform(um_rng *r, double lo, double hi);
/* Uniform integer in [0, n), unbiased; n >= 1. */
uint32_t um_rng_below(um_rng *r, uint32_t n);
/* Standard normal (Box-Muller; draws two numbers, uses one result). */
double um_rng_normal(um_rng *r);
