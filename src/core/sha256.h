#pragma once
/* sha256.h: SHA-256 (FIPS 180-4), for digests that people compare.
 *
 *     um_sha256 h;
 *     um_sha256_init(&h);
 *     um_sha256_add(&h, p, n);
 *     um_sha256_hex(&h, text);   // ends it
 */
#include <stddef.h>
#include <stdint.h>

typedef struct um_sha256 {
    uint32_t state[8];
    uint64_t n_bytes;
    uint8_t block[64];
} um_sha256;

void um_sha256_init(um_sha256 *h);
void um_sha256_add(um_sha256 *h, const void *p, size_t n);
/* Ends it: 64 lower-case hexadecimal digits and a 0. */
void um_sha256_hex(um_sha256 *h, char out[65]);
