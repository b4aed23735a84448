#pragma once
/* keymap.h: 64-bit keys -> small numbers; open addressing, no deletion. {0} is an empty map of no room. */
#include "src/core/err.h"

#include <stdint.h>
#include <stdlib.h>

typedef struct um_keymap {
    uint64_t *key;
    int32_t *value; /* -1: free place */
    size_t mask;
} um_keymap;

/* Room for n keys. */
static inline um_status um_keymap_init(um_keymap *m, size_t n)
{
    size_t cap = 16;
    while (cap < 2 * n) cap *= 2;
    m->key = malloc(cap * sizeof *m->key);
    m->value = malloc(cap * sizeof *m->value);
    if (m->key == NULL || m->value == NULL) {
        free(m->key);
        free(m->value);
        *m = (um_keymap){0};
        return UM_FAIL(UM_NO_MEMORY, "no memory for a table of %zu keys", n);
    }
    for (size_t i = 0; i < cap; i++) m->value[i] = -1;
    m->mask = cap - 1;
    return UM_OK;
}

static inline void um_keymap_release(um_keymap *m)
{
    free(m->key);
    free(m->value);
    *m = (um_keymap){0};
}

/* The place of the key: where it is, or where it would go. The multiplication spreads keys that are not hashes. */
static inline size_t um_keymap_place(const um_keymap *m, uint64_t key)
{
    size_t i = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & m->mask;
    while (m->value[i] >= 0 && m->key[i] != key) i = (i + 1) & m->mask;
    return i;
}

/* -1 when it is not there. */
static inline int32_t um_keymap_get(const um_keymap *m, uint64_t key) { return m->key == NULL ? -1 : m->value[um_keymap_place(m, key)]; }

/* Adds a key (value >= 0) unless it is there; returns the value it had, -1 if it is new. */
static inline int32_t um_keymap_add(um_keymap *m, uint64_t key, int32_t value)
{
    size_t i = um_keymap_place(m, key);
    int32_t had = m->value[i];
    if (had < 0) {
        m->key[i] = key;
        m->value[i] = value;
    }
    return had;
}
