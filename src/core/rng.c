#include "src/core/rng.h"

#include <math.h>

void um_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xd2511f53u * c0, p1 = (uint64_t)0xcd9e8d57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

um_rng um_rng_stream(uint64_t seed, uint64_t a, uint32_t b, uint32_t purpose)
{
    /* The stream's name takes 64 + 64 + 32 + 32 bits; key and three counter words hold 160. Seed and purpose are mixed by one call of
     * the cipher itself, the rest goes in as it is. */
    uint32_t in[4] = {(uint32_t)seed, (uint32_t)(seed >> 32), purpose, 0x756e6d6bu}, zero[2] = {0, 0}, mixed[4];
    um_philox(in, zero, mixed);
    um_rng r = {.key = {mixed[0], mixed[1]}, .counter = {0, b, (uint32_t)a, (uint32_t)(a >> 32)}, .used = 4};
    return r;
}

uint32_t um_rng_u32(um_rng *r)
{
    if (r->used == 4) {
        um_philox(r->counter, r->key, r->block);
        r->counter[0]++;
        r->used = 0;
    }
    return r->block[r->used++];
}

double um_rng_uniform(um_rng *r, double lo, double hi) { return lo + (hi - lo) * (um_rng_u32(r) * 0x1p-32); }

uint32_t um_rng_below(um_rng *r, uint32_t n)
{
    uint32_t limit = UINT32_MAX - UINT32_MAX % n; /* the largest multiple of n that fits */
    uint32_t v;
    do v = um_rng_u32(r);
    while (v >= limit);
    return v % n;
}

double um_rng_normal(um_rng *r)
{
    static const double TWO_PI = 6.283185307179586;
    double u = (um_rng_u32(r) + 1.0) * 0x1p-32, v = um_rng_u32(r) * 0x1p-32;
    return sqrt(-2 * log(u)) * cos(TWO_PI * v);
}
