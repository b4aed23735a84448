#pragma once
/* torch_writer.h: writes torch files for tests, also such as torch never would: every number in them is the caller's. */
#include "src/core/buf.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline void tw_raw(um_buf *b, const void *p, size_t n)
{
    if (um_buf_add(b, p, n) != UM_OK) abort();
}

static inline void tw_text(um_buf *b, const char *s) { tw_raw(b, s, strlen(s)); }

static inline void tw_little(um_buf *b, uint64_t x, int n)
{
    for (int i = 0; i < n; i++) tw_raw(b, &(uint8_t){(uint8_t)(i < 8 ? x >> (8 * i) : 0)}, 1);
}

static inline void tw_str(um_buf *b, const char *s)
{
    tw_text(b, "X");
    tw_little(b, strlen(s), 4);
    tw_text(b, s);
}

static inline void tw_int(um_buf *b, int64_t x)
{
    tw_text(b, "\x8a\x08"); /* LONG1 of 8 bytes holds them all */
    tw_little(b, (uint64_t)x, 8);
}

static inline void tw_ints(um_buf *b, const int64_t *x, int n)
{
    tw_text(b, "(");
    for (int i = 0; i < n; i++) tw_int(b, x[i]);
    tw_text(b, "t");
}

static inline void tw_persid(um_buf *b, const char *storage_class, const char *key, int64_t count, bool legacy)
{
    tw_text(b, "(");
    tw_str(b, "storage");
    tw_text(b, "ctorch\n");
    tw_text(b, storage_class);
    tw_text(b, "\n");
    tw_str(b, key);
    tw_str(b, "cpu");
    tw_int(b, count);
    tw_text(b, legacy ? "NtQ" : "tQ");
}

typedef struct tw_tensor {
    const char *name, *storage_class, *key;
    int64_t count; /* of the storage */
    int64_t offset;
    int n_dims;
    int64_t dims[4], strides[4];
} tw_tensor;

/* The value only, without its name. */
static inline void tw_tensor_value(um_buf *b, const tw_tensor *t, bool legacy)
{
    tw_text(b, "ctorch._utils\n_rebuild_tensor_v2\n(");
    tw_persid(b, t->storage_class, t->key, t->count, legacy);
    tw_int(b, t->offset);
    tw_ints(b, t->dims, t->n_dims);
    tw_ints(b, t->strides, t->n_dims);
    tw_text(b, "\x89"
               "ccollections\nOrderedDict\n)RtR");
}

/* A pickle: the dictionary of the tensors. */
static inline void tw_state_dict(um_buf *b, const tw_tensor *t, int n, bool legacy)
{
    tw_text(b, "\x80\x02"
               "ccollections\nOrderedDict\n)R(");
    for (int i = 0; i < n; i++) {
        tw_str(b, t[i].name);
        tw_tensor_value(b, &t[i], legacy);
    }
    tw_text(b, "u.");
}

static inline void tw_legacy_header(um_buf *b)
{
    tw_text(b, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}");
    tw_str(b, "little_endian");
    tw_text(b, "\x88s.");
}

static inline void tw_legacy_keys(um_buf *b, const char *const *key, int n)
{
    tw_text(b, "\x80\x02](");
    for (int i = 0; i < n; i++) tw_str(b, key[i]);
    tw_text(b, "e.");
}

static inline void tw_legacy_storage(um_buf *b, int64_t count, const void *data, size_t n_bytes)
{
    tw_little(b, (uint64_t)count, 8);
    tw_raw(b, data, n_bytes);
}

/* ---- zip, by hand: libzip would not write the wrong ones ---- */

typedef struct tw_member {
    const char *name;
    const void *data; /* as it lies in the file */
    size_t n;
    uint32_t crc;  /* of the content */
    uint64_t size; /* of the content; n when stored */
    int method;    /* 0 stored, 8 deflate */
    int64_t at;    /* in: -1 to write data, else where the directory says it lies; out: where it lies */
} tw_member;

static inline uint32_t tw_crc32(const void *p, size_t n)
{
    uint32_t c = ~0u;
    for (const uint8_t *b = p; n > 0; b++, n--) {
        c ^= *b;
        for (int k = 0; k < 8; k++) c = c >> 1 ^ ((c & 1) != 0 ? 0xedb88320u : 0);
    }
    return ~c;
}

static inline tw_member tw_stored(const char *name, const void *data, size_t n)
{
    return (tw_member){.name = name, .data = data, .n = n, .crc = tw_crc32(data, n), .size = n, .at = -1};
}

static inline void tw_zip_common(um_buf *b, const tw_member *m)
{
    tw_little(b, 20, 2); /* version, flags, method, time, date, CRC, sizes, name's length, extra's length */
    tw_little(b, 0, 2);
    tw_little(b, (uint64_t)m->method, 2);
    tw_little(b, 0, 2);
    tw_little(b, 0x21, 2);
    tw_little(b, m->crc, 4);
    tw_little(b, m->n, 4);
    tw_little(b, m->size, 4);
    tw_little(b, strlen(m->name), 2);
    tw_little(b, 0, 2);
}

static inline void tw_zip(um_buf *b, tw_member *m, int n)
{
    for (int i = 0; i < n; i++) {
        if (m[i].at >= 0) continue;
        m[i].at = (int64_t)b->len;
        tw_text(b, "PK\3\4");
        tw_zip_common(b, &m[i]);
        tw_text(b, m[i].name);
        tw_raw(b, m[i].data, m[i].n);
    }
    size_t directory = b->len;
    for (int i = 0; i < n; i++) {
        tw_text(b, "PK\1\2");
        tw_little(b, 20, 2);
        tw_zip_common(b, &m[i]);
        tw_little(b, 0, 2 + 2 + 2 + 4); /* comment, disk, attributes */
        tw_little(b, (uint64_t)m[i].at, 4);
        tw_text(b, m[i].name);
    }
    size_t end = b->len;
    tw_text(b, "PK\5\6");
    tw_little(b, 0, 4);
    tw_little(b, (uint64_t)n, 2);
    tw_little(b, (uint64_t)n, 2);
    tw_little(b, end - directory, 4);
    tw_little(b, directory, 4);
    tw_little(b, 0, 2);
}
