#pragma once
/* hash.h: 64-bit keys of names. Not cryptographic; part of the file format (docs/format.md). */
#include <stddef.h>
#include <stdint.h>

/* FNV-1a (64 bits) continuing from h, start with UM_HASH64_START. */
#define UM_HASH64_START UINT64_C(0xcbf29ce484222325)
uint64_t um_hash64(uint64_t h, const void *p, size_t n);
