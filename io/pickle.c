#include "io/pickle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_VALUES = 1024 };

typedef struct block {
    struct block *next;
    uint32_t used;
    um_pickle_value value[BLOCK_VALUES];
} block;

/* A growable array of borrowed values: the stack, the memo, the persistent ids. */
typedef struct values {
    um_pickle_value **v;
    uint32_t n, cap;
} values;

struct um_pickle {
    const um_pickle_global *globals;
    int n_globals;
    block *blocks; /* newest first; values never move */
    uint32_t n_values;
    values persids;
    um_pickle_value *root;
};

typedef struct machine {
    um_pickle *p;
    const uint8_t *bytes;
    size_t n, at;
    size_t op_at; /* where the opcode in hand starts */
    values stack, memo;
    uint32_t mark[UM_PICKLE_MAX_MARKS]; /* stack heights */
    int n_marks;
} machine;

/* Names of all opcodes of protocols 0 to 5, so that what is refused can be named. */
static const char *const op_names[256] = {
    /* clang-format off */
    ['('] = "MARK", ['.'] = "STOP", ['0'] = "POP", ['1'] = "POP_MARK", ['2'] = "DUP", ['F'] = "FLOAT", ['I'] = "INT",
    ['J'] = "BININT", ['K'] = "BININT1", ['L'] = "LONG", ['M'] = "BININT2", ['N'] = "NONE", ['P'] = "PERSID",
    ['Q'] = "BINPERSID", ['R'] = "REDUCE", ['S'] = "STRING", ['T'] = "BINSTRING", ['U'] = "SHORT_BINSTRING", ['V'] = "UNICODE",
    ['X'] = "BINUNICODE", ['a'] = "APPEND", ['b'] = "BUILD", ['c'] = "GLOBAL", ['d'] = "DICT", ['}'] = "EMPTY_DICT",
    ['e'] = "APPENDS", ['g'] = "GET", ['h'] = "BINGET", ['i'] = "INST", ['j'] = "LONG_BINGET", ['l'] = "LIST",
    [']'] = "EMPTY_LIST", ['o'] = "OBJ", ['p'] = "PUT", ['q'] = "BINPUT", ['r'] = "LONG_BINPUT", ['s'] = "SETITEM",
    ['t'] = "TUPLE", [')'] = "EMPTY_TUPLE", ['u'] = "SETITEMS", ['G'] = "BINFLOAT", ['B'] = "BINBYTES",
    ['C'] = "SHORT_BINBYTES", [0x80] = "PROTO", [0x81] = "NEWOBJ", [0x82] = "EXT1", [0x83] = "EXT2", [0x84] = "EXT4",
    [0x85] = "TUPLE1", [0x86] = "TUPLE2", [0x87] = "TUPLE3", [0x88] = "NEWTRUE", [0x89] = "NEWFALSE", [0x8a] = "LONG1",
    [0x8b] = "LONG4", [0x8c] = "SHORT_BINUNICODE", [0x8d] = "BINUNICODE8", [0x8e] = "BINBYTES8", [0x8f] = "EMPTY_SET",
    [0x90] = "ADDITEMS", [0x91] = "FROZENSET", [0x92] = "NEWOBJ_EX", [0x93] = "STACK_GLOBAL", [0x94] = "MEMOIZE",
    [0x95] = "FRAME", [0x96] = "BYTEARRAY8", [0x97] = "NEXT_BUFFER", [0x98] = "READONLY_BUFFER",
    /* clang-format on */
};

static const char *op_name(uint8_t op) { return op_names[op]; }

const char *um_pickle_quote(const uint8_t *s, size_t n)
{
    char text[124];
    size_t shown = n < 120 ? n : 120;
    for (size_t i = 0; i < shown; i++) text[i] = s[i] != 0 ? (char)s[i] : '?'; /* a 0 byte would end the text */
    memcpy(text + shown, n > shown ? "..." : "", n > shown ? 4 : 1);
    return um_quote(text);
}

const char *um_pickle_describe(const um_pickle *p, const um_pickle_value *v)
{
    static _Thread_local char slot[4][600];
    static _Thread_local int next;
    char *out = slot[next++ % 4];
    const size_t cap = sizeof slot[0];
    const um_pickle_global *g = v->global < p->n_globals ? &p->globals[v->global] : NULL;
    switch ((um_pickle_kind)v->kind) {
    case UM_PICKLE_NONE:
        snprintf(out, cap, "None");
        break;
    case UM_PICKLE_BOOL:
        snprintf(out, cap, "%s", v->i != 0 ? "True" : "False");
        break;
    case UM_PICKLE_INT:
        snprintf(out, cap, "the number %" PRId64, v->i);
        break;
    case UM_PICKLE_LONG:
        snprintf(out, cap, "a number of %u bytes", v->n);
        break;
    case UM_PICKLE_FLOAT:
        snprintf(out, cap, "the number %.9g", v->f);
        break;
    case UM_PICKLE_STR:
        snprintf(out, cap, "the string %s", um_pickle_quote(v->s, v->n));
        break;
    case UM_PICKLE_TUPLE:
        snprintf(out, cap, "a tuple of %u", v->n);
        break;
    case UM_PICKLE_LIST:
        snprintf(out, cap, "a list of %u", v->n);
        break;
    case UM_PICKLE_DICT:
        snprintf(out, cap, "a dictionary of %u", v->n / 2);
        break;
    case UM_PICKLE_GLOBAL:
        snprintf(out, cap, "the global %s.%s", g != NULL ? g->module : "?", g != NULL ? g->name : "?");
        break;
    case UM_PICKLE_CALL:
        snprintf(out, cap, "a call of %s.%s", g != NULL ? g->module : "?", g != NULL ? g->name : "?");
        break;
    case UM_PICKLE_PERSID:
        snprintf(out, cap, "a persistent id");
        break;
    }
    return out;
}

static um_status grow(um_pickle_value ***v, uint32_t *cap, uint32_t need)
{
    if (need <= *cap) return UM_OK;
    uint32_t more = *cap < 4 ? 4 : *cap + *cap / 2; /* all counts stay below 2^26: see UM_PICKLE_MAX_BYTES */
    if (more < need) more = need;
    um_pickle_value **q = realloc(*v, more * sizeof *q);
    if (q == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a pickle's list of %u values", more);
    *v = q;
    *cap = more;
    return UM_OK;
}

static um_status values_add(values *a, um_pickle_value *v)
{
    UM_PASS(grow(&a->v, &a->cap, a->n + 1));
    a->v[a->n++] = v;
    return UM_OK;
}

static um_status make(machine *m, um_pickle_kind kind, um_pickle_value **out)
{
    um_pickle *p = m->p;
    if (p->n_values == UM_PICKLE_MAX_VALUES) return UM_FAIL(UM_DATA, "the pickle holds more than %d values", UM_PICKLE_MAX_VALUES);
    if (p->blocks == NULL || p->blocks->used == BLOCK_VALUES) {
        block *b = malloc(sizeof *b);
        if (b == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the values of a pickle");
        b->next = p->blocks;
        b->used = 0;
        p->blocks = b;
    }
    um_pickle_value *v = &p->blocks->value[p->blocks->used++];
    p->n_values++;
    *v = (um_pickle_value){.kind = (uint8_t)kind, .global = UM_PICKLE_NO_GLOBAL};
    *out = v;
    return UM_OK;
}

static um_status push_new(machine *m, um_pickle_kind kind, um_pickle_value **out)
{
    UM_PASS(make(m, kind, out));
    return values_add(&m->stack, *out);
}

/* Takes `n` bytes of argument. */
static um_status take(machine *m, size_t n, const uint8_t **out)
{
    *out = NULL;
    if (n > m->n - m->at) {
        return UM_FAIL(UM_DATA, "the pickle ends inside the opcode %s at byte %zu", op_name(m->bytes[m->op_at]), m->op_at);
    }
    *out = m->bytes + m->at;
    m->at += n;
    return UM_OK;
}

static um_status take_line(machine *m, const uint8_t **s, size_t *n)
{
    const uint8_t *start = m->bytes + m->at;
    const uint8_t *end = m->at < m->n ? memchr(start, '\n', m->n - m->at) : NULL;
    if (end == NULL)
        return UM_FAIL(UM_DATA, "the pickle ends inside the opcode %s at byte %zu", op_name(m->bytes[m->op_at]), m->op_at);
    *s = start;
    *n = (size_t)(end - start);
    m->at += *n + 1;
    return UM_OK;
}

static uint64_t little(const uint8_t *b, size_t n)
{
    uint64_t x = 0;
    for (size_t i = 0; i < n; i++) x |= (uint64_t)b[i] << (8 * i);
    return x;
}

/* Values above the newest mark, or in the whole stack: what an opcode may take. */
static uint32_t available(const machine *m) { return m->stack.n - (m->n_marks > 0 ? m->mark[m->n_marks - 1] : 0); }

static um_status underflow(const machine *m)
{
    return UM_FAIL(UM_DATA, "the opcode %s at byte %zu finds too little on the stack", op_name(m->bytes[m->op_at]), m->op_at);
}

static um_status pop(machine *m, um_pickle_value **out)
{
    if (available(m) < 1) return underflow(m);
    *out = m->stack.v[--m->stack.n];
    return UM_OK;
}

/* Ends the newest mark: *n values above it, from *first. They stay in the stack's memory; the caller lowers m->stack.n. */
static um_status pop_mark(machine *m, uint32_t *first, uint32_t *n)
{
    if (m->n_marks == 0) return UM_FAIL(UM_DATA, "the opcode %s at byte %zu has no MARK", op_name(m->bytes[m->op_at]), m->op_at);
    *first = m->mark[--m->n_marks];
    *n = m->stack.n - *first;
    return UM_OK;
}

static um_status items_add(um_pickle_value *v, um_pickle_value *const *item, uint32_t n)
{
    UM_PASS(grow(&v->item, &v->cap, v->n + n));
    if (n > 0) memcpy(v->item + v->n, item, n * sizeof *item);
    v->n += n;
    return UM_OK;
}

static um_status tuple(machine *m, uint32_t first, uint32_t n)
{
    um_pickle_value *v;
    UM_PASS(make(m, UM_PICKLE_TUPLE, &v));
    if (n > 0) UM_PASS(items_add(v, m->stack.v + first, n)); /* the stack has no memory before its first value */
    m->stack.n = first;
    return values_add(&m->stack, v);
}

/* The container of kind `kind` on top of the stack, which an opcode adds to. */
static um_status container(machine *m, um_pickle_kind kind, um_pickle_value **out)
{
    if (available(m) < 1) return underflow(m);
    *out = m->stack.v[m->stack.n - 1];
    if ((*out)->kind == kind) return UM_OK;
    return UM_FAIL(UM_DATA, "the opcode %s at byte %zu finds %s where a %s must be", op_name(m->bytes[m->op_at]), m->op_at,
                   um_pickle_describe(m->p, *out), kind == UM_PICKLE_LIST ? "list" : "dictionary");
}

static um_status set_items(machine *m, uint32_t first, uint32_t n)
{
    if (n % 2 != 0)
        return UM_FAIL(UM_DATA, "the opcode %s at byte %zu has a key without a value", op_name(m->bytes[m->op_at]), m->op_at);
    for (uint32_t i = 0; i < n; i += 2) {
        const um_pickle_value *key = m->stack.v[first + i];
        if (key->kind != UM_PICKLE_STR && key->kind != UM_PICKLE_INT)
            return UM_FAIL(UM_DATA, "a dictionary has %s as a key, not a string or a number", um_pickle_describe(m->p, key));
    }
    m->stack.n = first;
    um_pickle_value *dict;
    UM_PASS(container(m, UM_PICKLE_DICT, &dict));
    return items_add(dict, m->stack.v + first, n); /* still there: nothing was pushed since */
}

static um_status append_items(machine *m, uint32_t first, uint32_t n)
{
    m->stack.n = first;
    um_pickle_value *list;
    UM_PASS(container(m, UM_PICKLE_LIST, &list));
    return items_add(list, m->stack.v + first, n);
}

static bool same(const uint8_t *s, size_t n, const char *text) { return n == strlen(text) && memcmp(s, text, n) == 0; }

static um_status push_global(machine *m)
{
    const uint8_t *module, *name;
    size_t n_module, n_name;
    UM_PASS(take_line(m, &module, &n_module));
    UM_PASS(take_line(m, &name, &n_name));
    for (int g = 0; g < m->p->n_globals; g++) {
        if (!same(module, n_module, m->p->globals[g].module) || !same(name, n_name, m->p->globals[g].name)) continue;
        um_pickle_value *v;
        UM_PASS(push_new(m, UM_PICKLE_GLOBAL, &v));
        v->global = (uint8_t)g;
        return UM_OK;
    }
    return UM_FAIL(
        UM_DATA,
        "the pickle asks for the global %s of the module %s, which is not among those that describe tensors; nothing was executed",
        um_pickle_quote(name, n_name), um_pickle_quote(module, n_module));
}

static um_status reduce(machine *m)
{
    um_pickle_value *args, *callee, *v;
    UM_PASS(pop(m, &args));
    UM_PASS(pop(m, &callee));
    if (callee->kind != UM_PICKLE_GLOBAL || args->kind != UM_PICKLE_TUPLE)
        return UM_FAIL(UM_DATA, "the opcode REDUCE at byte %zu calls %s with %s", m->op_at, um_pickle_describe(m->p, callee),
                       um_pickle_describe(m->p, args));
    const um_pickle_global *g = &m->p->globals[callee->global];
    if (g->use == UM_PICKLE_USE_NAME || (g->use == UM_PICKLE_USE_DICT && args->n != 0))
        return UM_FAIL(UM_DATA,
                       "the pickle calls %s.%s with %u arguments, which is not part of describing tensors; nothing was executed",
                       g->module, g->name, args->n);
    if (g->use == UM_PICKLE_USE_DICT) {
        UM_PASS(push_new(m, UM_PICKLE_DICT, &v));
    } else {
        UM_PASS(push_new(m, UM_PICKLE_CALL, &v));
        UM_PASS(items_add(v, &args, 1)); /* shared, not copied: one long tuple may be the argument of many calls */
    }
    v->global = callee->global;
    return UM_OK;
}

/* Sets attributes on an object. Dictionaries made by a USE_DICT global have one that may be set, and it is dropped; the state of a
 * USE_OBJECT is kept as it is, for the caller to read. */
static um_status build(machine *m)
{
    um_pickle_value *state;
    UM_PASS(pop(m, &state));
    if (available(m) < 1) return underflow(m);
    um_pickle_value *object = m->stack.v[m->stack.n - 1];
    if (object->kind == UM_PICKLE_CALL && m->p->globals[object->global].use == UM_PICKLE_USE_OBJECT && object->n == 1 && state->kind == UM_PICKLE_TUPLE)
        return items_add(object, &state, 1);
    const char *ignored =
        object->kind == UM_PICKLE_DICT && object->global < m->p->n_globals ? m->p->globals[object->global].ignored : NULL;
    if (ignored == NULL || state->kind != UM_PICKLE_DICT)
        return UM_FAIL(UM_DATA, "the opcode BUILD at byte %zu sets %s as attributes of %s", m->op_at,
                       um_pickle_describe(m->p, state), um_pickle_describe(m->p, object));
    if (state->n == 0) return UM_OK;
    if (state->n != 2 || !um_pickle_str_is(state->item[0], ignored)) /* one only: one long state may be set on many objects */
        return UM_FAIL(UM_DATA, "the opcode BUILD at byte %zu sets other attributes than %s: %s", m->op_at, ignored,
                       um_pickle_describe(m->p, state->item[state->n != 2 && um_pickle_str_is(state->item[0], ignored) ? 2 : 0]));
    return UM_OK;
}

static um_status push_str(machine *m, size_t n)
{
    const uint8_t *s;
    um_pickle_value *v;
    if (n > UM_PICKLE_MAX_STRING)
        return UM_FAIL(UM_DATA, "the pickle has a string of %zu bytes at byte %zu; the limit is %d", n, m->op_at,
                       UM_PICKLE_MAX_STRING);
    UM_PASS(take(m, n, &s));
    UM_PASS(push_new(m, UM_PICKLE_STR, &v));
    v->s = s;
    v->n = (uint32_t)n;
    return UM_OK;
}

static um_status push_int(machine *m, um_pickle_kind kind, int64_t i)
{
    um_pickle_value *v;
    UM_PASS(push_new(m, kind, &v));
    v->i = i;
    return UM_OK;
}

static um_status push_long(machine *m, size_t n)
{
    const uint8_t *b;
    UM_PASS(take(m, n, &b));
    if (n > 8) {
        um_pickle_value *v;
        UM_PASS(push_new(m, UM_PICKLE_LONG, &v));
        v->s = b;
        v->n = (uint32_t)n;
        return UM_OK;
    }
    uint64_t x = little(b, n);
    if (n > 0 && n < 8 && (b[n - 1] & 0x80) != 0) x |= ~UINT64_C(0) << (8 * n); /* two's complement: extend the sign */
    return push_int(m, UM_PICKLE_INT, (int64_t)x);
}

static um_status push_float(machine *m)
{
    const uint8_t *b;
    um_pickle_value *v;
    uint64_t bits = 0;
    UM_PASS(take(m, 8, &b));
    UM_PASS(push_new(m, UM_PICKLE_FLOAT, &v));
    for (int i = 0; i < 8; i++) bits = bits << 8 | b[i];
    memcpy(&v->f, &bits, sizeof bits);
    return UM_OK;
}

/* Python's pickler numbers what it remembers 0, 1, 2...; only that is accepted, so that a memo has no more entries than there were
 * opcodes. */
static um_status memo_put(machine *m, uint64_t index)
{
    if (available(m) < 1) return underflow(m);
    um_pickle_value *top = m->stack.v[m->stack.n - 1];
    if (index > m->memo.n)
        return UM_FAIL(UM_DATA, "the pickle remembers value number %" PRIu64 " at byte %zu after only %u", index, m->op_at,
                       m->memo.n);
    if (index == m->memo.n) return values_add(&m->memo, top);
    m->memo.v[index] = top;
    return UM_OK;
}

static um_status memo_get(machine *m, uint64_t index)
{
    if (index >= m->memo.n)
        return UM_FAIL(UM_DATA, "the pickle recalls value number %" PRIu64 " at byte %zu, which it never remembered", index,
                       m->op_at);
    return values_add(&m->stack, m->memo.v[index]);
}

static um_status refuse(machine *m, uint8_t op)
{
    const char *name = op_name(op);
    if (name == NULL) return UM_FAIL(UM_DATA, "byte %zu of the pickle is %02x, which is no opcode", m->op_at, op);
    if (op == 'i') { /* INST names what it would make */
        const uint8_t *module, *cls;
        size_t n_module, n_cls;
        UM_PASS(take_line(m, &module, &n_module));
        UM_PASS(take_line(m, &cls, &n_cls));
        return UM_FAIL(UM_DATA,
                       "the pickle opcode INST at byte %zu asks for %s of the module %s; it is not part of describing tensors; "
                       "nothing was executed",
                       m->op_at, um_pickle_quote(cls, n_cls), um_pickle_quote(module, n_module));
    }
    if (op == 0x93 && available(m) >= 2) { /* so does STACK_GLOBAL, by the two strings on the stack */
        return UM_FAIL(UM_DATA,
                       "the pickle opcode STACK_GLOBAL at byte %zu asks for %s of %s; it is not part of describing tensors; "
                       "nothing was executed",
                       m->op_at, um_pickle_describe(m->p, m->stack.v[m->stack.n - 1]),
                       um_pickle_describe(m->p, m->stack.v[m->stack.n - 2]));
    }
    return UM_FAIL(UM_DATA, "the pickle opcode %s at byte %zu is not part of describing tensors; nothing was executed", name,
                   m->op_at);
}

/* One opcode; UM_END after STOP. */
static um_status step(machine *m)
{
    const uint8_t *b;
    um_pickle_value *v, *item;
    uint32_t first, n;
    m->op_at = m->at;
    if (m->at == m->n) return UM_FAIL(UM_DATA, "the pickle ends at byte %zu without STOP", m->at);
    uint8_t op = m->bytes[m->at++];
    switch (op) {
    case 0x80: /* PROTO */
        UM_PASS(take(m, 1, &b));
        if (m->op_at != 0) return UM_FAIL(UM_DATA, "the pickle has a second PROTO at byte %zu", m->op_at);
        if (b[0] < 2 || b[0] > 4) return UM_FAIL(UM_DATA, "the pickle has protocol %d; 2 to 4 are read", b[0]);
        return UM_OK;
    case '.': /* STOP */
        if (m->n_marks != 0 || m->stack.n != 1)
            return UM_FAIL(UM_DATA, "the pickle stops at byte %zu with %u values and %d marks", m->op_at, m->stack.n, m->n_marks);
        m->p->root = m->stack.v[0];
        return UM_END;
    case '(': /* MARK */
        if (m->n_marks == UM_PICKLE_MAX_MARKS)
            return UM_FAIL(UM_DATA, "the pickle is nested deeper than %d at byte %zu", UM_PICKLE_MAX_MARKS, m->op_at);
        m->mark[m->n_marks++] = m->stack.n;
        return UM_OK;
    case 'N':
        return push_new(m, UM_PICKLE_NONE, &v);
    case 0x88:
        return push_int(m, UM_PICKLE_BOOL, 1);
    case 0x89:
        return push_int(m, UM_PICKLE_BOOL, 0);
    case 'J': /* BININT: signed */
        UM_PASS(take(m, 4, &b));
        return push_int(m, UM_PICKLE_INT, (int32_t)(uint32_t)little(b, 4));
    case 'K': /* BININT1 */
        UM_PASS(take(m, 1, &b));
        return push_int(m, UM_PICKLE_INT, b[0]);
    case 'M': /* BININT2 */
        UM_PASS(take(m, 2, &b));
        return push_int(m, UM_PICKLE_INT, (int64_t)little(b, 2));
    case 0x8a: /* LONG1 */
        UM_PASS(take(m, 1, &b));
        return push_long(m, b[0]);
    case 'G':
        return push_float(m);
    case 'X': /* BINUNICODE */
        UM_PASS(take(m, 4, &b));
        return push_str(m, (size_t)little(b, 4));
    case 0x8c: /* SHORT_BINUNICODE */
        UM_PASS(take(m, 1, &b));
        return push_str(m, b[0]);
    case '}':
        return push_new(m, UM_PICKLE_DICT, &v);
    case ']':
        return push_new(m, UM_PICKLE_LIST, &v);
    case ')':
        return push_new(m, UM_PICKLE_TUPLE, &v);
    case 't': /* TUPLE */
        UM_PASS(pop_mark(m, &first, &n));
        return tuple(m, first, n);
    case 0x85: /* TUPLE1, TUPLE2, TUPLE3 */
    case 0x86:
    case 0x87:
        n = (uint32_t)op - 0x84;
        if (available(m) < n) return underflow(m);
        return tuple(m, m->stack.n - n, n);
    case 'a': /* APPEND */
        if (available(m) < 2) return underflow(m);
        return append_items(m, m->stack.n - 1, 1);
    case 'e': /* APPENDS */
        UM_PASS(pop_mark(m, &first, &n));
        return append_items(m, first, n);
    case 's': /* SETITEM */
        if (available(m) < 3) return underflow(m);
        return set_items(m, m->stack.n - 2, 2);
    case 'u': /* SETITEMS */
        UM_PASS(pop_mark(m, &first, &n));
        return set_items(m, first, n);
    case 'q': /* BINPUT */
        UM_PASS(take(m, 1, &b));
        return memo_put(m, b[0]);
    case 'r': /* LONG_BINPUT */
        UM_PASS(take(m, 4, &b));
        return memo_put(m, little(b, 4));
    case 0x94:
        return memo_put(m, m->memo.n); /* MEMOIZE */
    case 'h':                          /* BINGET */
        UM_PASS(take(m, 1, &b));
        return memo_get(m, b[0]);
    case 'j': /* LONG_BINGET */
        UM_PASS(take(m, 4, &b));
        return memo_get(m, little(b, 4));
    case 'c':
        return push_global(m);
    case 'R':
        return reduce(m);
    case 'b':
        return build(m);
    case 'Q': /* BINPERSID */
        UM_PASS(pop(m, &item));
        UM_PASS(push_new(m, UM_PICKLE_PERSID, &v));
        UM_PASS(items_add(v, &item, 1));
        return values_add(&m->p->persids, v);
    default:
        return refuse(m, op);
    }
}

um_status um_pickle_parse(const void *bytes, size_t n, const um_pickle_global *globals, int n_globals, um_pickle **out,
                          size_t *used)
{
    um_status st;
    /* One pickle of several in a legacy file ends where it says; it may not go on past the limit. */
    machine m = {.bytes = bytes, .n = n < UM_PICKLE_MAX_BYTES ? n : UM_PICKLE_MAX_BYTES};
    *out = NULL;
    m.p = calloc(1, sizeof *m.p);
    if (m.p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a pickle");
    m.p->globals = globals;
    m.p->n_globals = n_globals;
    if (n < 2 || m.bytes[0] != 0x80) {
        st = UM_FAIL(UM_DATA, "not a pickle of protocol 2 or later");
        goto done;
    }
    do {
        st = step(&m);
    } while (st == UM_OK);
    if (st != UM_END) goto done;
    st = UM_OK;
    if (used != NULL) *used = m.at;
    *out = m.p;
    m.p = NULL;
done:
    free(m.stack.v);
    free(m.memo.v);
    um_pickle_free(m.p);
    return st;
}

void um_pickle_free(um_pickle *p)
{
    if (p == NULL) return;
    while (p->blocks != NULL) {
        block *b = p->blocks;
        p->blocks = b->next;
        for (uint32_t i = 0; i < b->used; i++) {
            um_pickle_value *v = &b->value[i];
            if (v->cap > 0) free(v->item); /* only containers have a capacity */
        }
        free(b);
    }
    free(p->persids.v);
    free(p);
}

const um_pickle_value *um_pickle_root(const um_pickle *p) { return p->root; }

const um_pickle_value *um_pickle_persid(const um_pickle *p, size_t i) { return i < p->persids.n ? p->persids.v[i] : NULL; }

bool um_pickle_str_is(const um_pickle_value *v, const char *s) { return v->kind == UM_PICKLE_STR && same(v->s, v->n, s); }

const um_pickle_value *um_pickle_dict_get(const um_pickle_value *dict, const char *key)
{
    if (dict->kind != UM_PICKLE_DICT) return NULL;
    for (uint32_t i = 0; i < dict->n; i += 2) {
        if (um_pickle_str_is(dict->item[i], key)) return dict->item[i + 1];
    }
    return NULL;
}
