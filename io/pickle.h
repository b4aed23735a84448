#pragma once
/* pickle.h: reads the part of Python's pickle format that torch.save uses for dictionaries of tensors. It interprets data and
 * executes nothing.
 *
 *     um_pickle *p; size_t used;
 *     UM_PASS(um_pickle_parse(bytes, n, globals, n_globals, &p, &used));
 *     const um_pickle_value *v = um_pickle_root(p);
 *     ...
 *     um_pickle_free(p);
 *
 * A pickle is a program for a stack machine. This one knows the opcodes that build plain values (protocols 2 to 4), and the globals
 * the caller lists. Calling a listed global (REDUCE) makes a CALL value that holds its arguments, for the caller to read; nothing
 * else can be called. Every other opcode and every other global is refused by its name (UM_DATA).
 *
 * The work is linear in the bytes, the memory at most about 60 bytes for each; values live until um_pickle_free. Values that were
 * remembered (memo) are shared: what the caller gets is a graph, which a hostile file can make cyclic or exponentially wide to
 * walk. Whoever walks it limits depth and visits. Format: the comments of CPython's Lib/pickletools.py.
 */
#include "src/core/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    UM_PICKLE_MAX_BYTES = 16 << 20, /* a pickle holds names and shapes, not numbers */
    UM_PICKLE_MAX_VALUES = 1 << 20, /* a B7 checkpoint with optimizer state has about 130,000 */
    UM_PICKLE_MAX_STRING = 64 << 10,
    UM_PICKLE_MAX_MARKS = 64, /* containers under construction inside each other */
};

typedef enum um_pickle_kind {
    UM_PICKLE_NONE,
    UM_PICKLE_BOOL,   /* i */
    UM_PICKLE_INT,    /* i */
    UM_PICKLE_LONG,   /* an integer beyond 64 bits: s, n: its little-endian two's complement bytes */
    UM_PICKLE_FLOAT,  /* f */
    UM_PICKLE_STR,    /* s, n: UTF-8 as given, may hold 0 bytes; not terminated */
    UM_PICKLE_TUPLE,  /* item[n] */
    UM_PICKLE_LIST,   /* item[n] */
    UM_PICKLE_DICT,   /* item[n]: key, value, key, value...: n is even; keys may repeat (the caller checks) */
    UM_PICKLE_GLOBAL, /* global */
    UM_PICKLE_CALL,   /* global, item[0]: the TUPLE of its arguments; with USE_OBJECT perhaps item[1]: its state (n = 1 or 2) */
    UM_PICKLE_PERSID, /* item[0]: the persistent id (n = 1) */
} um_pickle_kind;

typedef struct um_pickle_value um_pickle_value;
struct um_pickle_value {
    uint8_t kind;   /* um_pickle_kind */
    uint8_t global; /* GLOBAL, CALL, and a DICT made by one (else UM_PICKLE_NO_GLOBAL): index in the caller's list */
    uint32_t n, cap;
    union {
        int64_t i;
        double f;
        const uint8_t *s; /* in the caller's bytes */
        um_pickle_value **item;
    };
};
enum { UM_PICKLE_NO_GLOBAL = 255 };

typedef enum um_pickle_use {
    UM_PICKLE_USE_NAME, /* only its name is used: it cannot be called */
    UM_PICKLE_USE_CALL, /* a call becomes a CALL value */
    UM_PICKLE_USE_OBJECT, /* the same, and BUILD may give it a TUPLE as its state, once */
    UM_PICKLE_USE_DICT, /* a call without arguments is an empty dictionary */
} um_pickle_use;

typedef struct um_pickle_global {
    const char *module, *name;
    um_pickle_use use;
    const char *ignored; /* USE_DICT: the one attribute that BUILD may set on it, which is dropped; may be NULL */
} um_pickle_global;

typedef struct um_pickle um_pickle;

/* Parses one pickle at the start of bytes; *used (may be NULL) is where it ended. bytes must outlive *out. n_globals < 255. Any
 * thread. Errors: UM_DATA, UM_NO_MEMORY. */
um_status um_pickle_parse(const void *bytes, size_t n, const um_pickle_global *globals, int n_globals, um_pickle **out,
                          size_t *used);
void um_pickle_free(um_pickle *p);
const um_pickle_value *um_pickle_root(const um_pickle *p);
/* All PERSID values, in the order they were made; NULL past the last. */
const um_pickle_value *um_pickle_persid(const um_pickle *p, size_t i);

/* The value of the string key in a DICT (the first, when it repeats), or NULL. Linear. */
const um_pickle_value *um_pickle_dict_get(const um_pickle_value *dict, const char *key);
bool um_pickle_str_is(const um_pickle_value *v, const char *s);
/* A short picture of v for messages: "the string 'abc'", "a tuple of 3", "the global torch.FloatStorage". Borrowed: one of 4
 * rotating thread-local buffers. */
const char *um_pickle_describe(const um_pickle *p, const um_pickle_value *v);
/* Bytes in quotes, as um_quote, cut after 120. Borrowed, as um_quote's. */
const char *um_pickle_quote(const uint8_t *s, size_t n);
