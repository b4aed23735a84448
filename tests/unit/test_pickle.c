/* The pickle machine: what it reads, what it refuses and by which name, and that a hostile pickle costs neither time nor memory. */
#include "io/pickle.h"
#include "src/core/buf.h"
#include "tests/unit/test.h"
#include "tests/unit/torch_writer.h"

#include <time.h>

static const um_pickle_global globals[] = {
    {"collections", "OrderedDict", UM_PICKLE_USE_DICT, "_metadata"},
    {"torch._utils", "_rebuild_tensor_v2", UM_PICKLE_USE_CALL, NULL},
    {"torch", "FloatStorage", UM_PICKLE_USE_NAME, NULL},
};

static um_status parse(const void *bytes, size_t n, um_pickle **p, size_t *used)
{
    return um_pickle_parse(bytes, n, globals, 3, p, used);
}

#define BODY(text) "\x80\x02" text, sizeof("\x80\x02" text) - 1

/* Refused with UM_DATA, and the message holds `word`. The bytes are copied to the heap, so that a read past their end is found. */
static void refused(int line, const char *bytes, size_t n, const char *word)
{
    um_pickle *p = NULL;
    char *copy = malloc(n > 0 ? n : 1);
    memcpy(copy, bytes, n);
    um_status st = parse(copy, n, &p, NULL);
    if (st != UM_DATA || p != NULL || strstr(um_err_text(), word) == NULL) {
        fprintf(stderr, "line %d: want a refusal with \"%s\", got %s: %s\n", line, word, um_status_name(st), um_err_text());
        test_failures++;
    }
    um_pickle_free(p);
    free(copy);
}
#define REFUSED(body, word) refused(__LINE__, BODY(body), word)

static void values(void)
{
    static const char bytes[] = "\x80\x02}(X\x01\0\0\0aK\x07\x8c\x01"
                                "bM\x34\x12X\x01\0\0\0cJ\xfe\xff\xff\xffX\x01\0\0\0d\x8a\x02\xff\xff"
                                "X\x01\0\0\0eG\x3f\xc0\0\0\0\0\0\0X\x01\0\0\0f\x88X\x01\0\0\0gNX\x01\0\0\0h](K\x01K\x02"
                                "eX\x01\0\0\0iK\x01K\x02K\x03\x87"
                                "X\x01\0\0\0j)K\x05X\x01\0\0\0zu.rest";
    um_pickle *p;
    size_t used;
    CHECK_OK(parse(bytes, sizeof bytes - 1, &p, &used));
    if (p == NULL) return;
    const um_pickle_value *d = um_pickle_root(p);
    CHECK_INT(used, sizeof bytes - 1 - 4);
    CHECK_INT(d->kind, UM_PICKLE_DICT);
    CHECK_INT(d->n, 22);
    CHECK_INT(um_pickle_dict_get(d, "a")->i, 7);
    CHECK_INT(um_pickle_dict_get(d, "b")->i, 0x1234);
    CHECK_INT(um_pickle_dict_get(d, "c")->i, -2);
    CHECK_INT(um_pickle_dict_get(d, "d")->i, -1);
    CHECK(um_pickle_dict_get(d, "e")->f == 0.125);
    CHECK_INT(um_pickle_dict_get(d, "f")->kind, UM_PICKLE_BOOL);
    CHECK_INT(um_pickle_dict_get(d, "g")->kind, UM_PICKLE_NONE);
    CHECK_INT(um_pickle_dict_get(d, "h")->n, 2);
    CHECK_INT(um_pickle_dict_get(d, "h")->item[1]->i, 2);
    CHECK_INT(um_pickle_dict_get(d, "i")->kind, UM_PICKLE_TUPLE);
    CHECK_INT(um_pickle_dict_get(d, "i")->item[2]->i, 3);
    CHECK_INT(um_pickle_dict_get(d, "j")->n, 0);
    CHECK_INT(d->item[20]->i, 5); /* a number as a key */
    CHECK(um_pickle_dict_get(d, "k") == NULL);
    um_pickle_free(p);

    /* Memo: the same value again; an empty OrderedDict with its _metadata dropped; an item set. */
    static const char more[] = "\x80\x02"
                               "ccollections\nOrderedDict\nq\0)Rq\1X\1\0\0\0xq\2h\2s}X\x09\0\0\0_metadatah\0)Rsb.";
    CHECK_OK(parse(more, sizeof more - 1, &p, &used));
    if (p == NULL) return;
    d = um_pickle_root(p);
    CHECK_INT(d->n, 2);
    CHECK(d->item[0] == d->item[1]);
    um_pickle_free(p);

    CHECK_OK(parse("\x80\x02(t.", 5, &p, &used)); /* nothing between MARK and TUPLE, on an empty stack */
    if (p == NULL) return;
    CHECK_INT(um_pickle_root(p)->n, 0);
    um_pickle_free(p);

    static const char call[] = "\x80\x02"
                               "ctorch._utils\n_rebuild_tensor_v2\n(K\1ctorch\nFloatStorage\nQNtR.";
    CHECK_OK(parse(call, sizeof call - 1, &p, &used));
    if (p == NULL) return;
    d = um_pickle_root(p);
    CHECK_INT(d->kind, UM_PICKLE_CALL);
    CHECK_INT(d->item[0]->n, 3);
    CHECK_INT(d->item[0]->item[1]->kind, UM_PICKLE_PERSID);
    CHECK(um_pickle_persid(p, 0) == d->item[0]->item[1]);
    CHECK(um_pickle_persid(p, 1) == NULL);
    um_pickle_free(p);
}

static void hostile(void)
{
    REFUSED("cos\nsystem\n(X\x04\0\0\0truetR.", "'system' of the module 'os'");
    REFUSED("cbuiltins\neval\n.", "eval");
    REFUSED("ccollections\nOrderedDictX\n)R.", "OrderedDictX");
    REFUSED("ccollections.OrderedDict\n\n)R.", "collections.OrderedDict");
    REFUSED("X\x02\0\0\0osX\x06\0\0\0system\x93.", "STACK_GLOBAL at byte 20 asks for the string 'system' of the string 'os'");
    REFUSED("\x93.", "STACK_GLOBAL");
    REFUSED("(X\x02\0\0\0lsios\nsystem\n.", "INST");
    REFUSED("(X\x02\0\0\0lsios\nsystem\n.", "'system' of the module 'os'");
    REFUSED("(ccollections\nOrderedDict\no.", "OBJ");
    REFUSED("ccollections\nOrderedDict\n)\x81.", "NEWOBJ");
    REFUSED("ccollections\nOrderedDict\n)}\x92.", "NEWOBJ_EX");
    REFUSED("\x82\x01.", "EXT1");
    REFUSED("\x83\x01\x01.", "EXT2");
    REFUSED("\x84\x01\x01\x01\x01.", "EXT4");
    REFUSED("P1\n.", "PERSID");
    REFUSED("I1\n.", "INT");
    REFUSED("L1L\n.", "LONG");
    REFUSED("F1\n.", "FLOAT");
    REFUSED("S'a'\n.", "STRING");
    REFUSED("U\x01"
            "a.",
            "SHORT_BINSTRING");
    REFUSED("T\x01\0\0\0a.", "BINSTRING");
    REFUSED("Va\n.", "UNICODE");
    REFUSED("B\x01\0\0\0a.", "BINBYTES");
    REFUSED("C\x01"
            "a.",
            "SHORT_BINBYTES");
    REFUSED("\x8e\x01\0\0\0\0\0\0\0a.", "BINBYTES8");
    REFUSED("\x8d\x01\0\0\0\0\0\0\0a.", "BINUNICODE8");
    REFUSED("\x96\x01\0\0\0\0\0\0\0a.", "BYTEARRAY8");
    REFUSED("\x97.", "NEXT_BUFFER");
    REFUSED("\x8f.", "EMPTY_SET");
    REFUSED("(\x91.", "FROZENSET");
    REFUSED("\x8b\xff\xff\xff\x7f.", "LONG4");
    REFUSED("NN0.", "POP");
    REFUSED("N2.", "DUP");
    REFUSED("(N1.", "POP_MARK");
    REFUSED("Np0\n.", "PUT");
    REFUSED("(d.", "DICT");
    REFUSED("(l.", "LIST");
    REFUSED("\xff.", "ff, which is no opcode");
    REFUSED("\0.", "00, which is no opcode");
    REFUSED("ctorch\nFloatStorage\n)R.", "torch.FloatStorage with 0 arguments"); /* a name, not a function */
    REFUSED("ccollections\nOrderedDict\n](K\1K\2e\x85R.", "OrderedDict with 1 arguments");
    REFUSED("X\x02\0\0\0ls)R.", "REDUCE at byte 10 calls the string 'ls'");
    REFUSED("}X\x01\0\0\0aK\x01s}b.", "BUILD"); /* a plain dictionary has no attributes */
    REFUSED("ccollections\nOrderedDict\n)R}X\x09\0\0\0__class__Nsb.", "'__class__'");
    REFUSED("ccollections\nOrderedDict\n)R}(X\x09\0\0\0_metadataNX\x05\0\0\0extraNub.", "'extra'");
    REFUSED("](K\x01K\x02tb.", "BUILD");
}

static void broken(void)
{
    REFUSED("", "without STOP");
    REFUSED(".", "stops");
    REFUSED("NN.", "2 values");
    REFUSED("(N.", "1 marks");
    REFUSED("t.", "no MARK");
    REFUSED("u.", "no MARK");
    REFUSED("\x85.", "too little");
    REFUSED("N(\x85.", "too little"); /* not through a mark */
    REFUSED("q\0.", "too little");
    REFUSED("N(q\0.", "too little");
    REFUSED("Nq\1.", "remembers value number 1");
    REFUSED("h\0.", "never remembered");
    REFUSED("j\xff\xff\xff\xff.", "4294967295");
    REFUSED("Nr\xff\xff\xff\xff.", "4294967295");
    REFUSED("X\xff\xff\xff\xff"
            "a.",
            "limit");
    REFUSED("X\x10\0\0\0a.", "ends inside the opcode BINUNICODE");
    REFUSED("cos", "ends inside the opcode GLOBAL");
    REFUSED("}(K\1u.", "key without a value");
    REFUSED("}NNs.", "None as a key");
    REFUSED("}})s.", "a dictionary of 0 as a key");
    REFUSED("](K\1K\2u.", "where a dictionary must be");
    REFUSED("}(K\1e.", "where a list must be");
    REFUSED("}K\1a.", "where a list must be");
    REFUSED("N\x80\x02.", "second PROTO");
    refused(__LINE__, "\x80\x01N.", 4, "protocol 1");
    refused(__LINE__, "\x80\x05N.", 4, "protocol 5");
    refused(__LINE__, "N.", 2, "not a pickle");
    refused(__LINE__, "", 0, "not a pickle");
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Repeats `unit` to about n_bytes, between a head and a tail; returns what the parser says. All of these must be linear. */
static um_status repeated(const char *head, size_t n_head, const char *unit, size_t n_unit, size_t n_bytes, const char *tail)
{
    um_buf b = {0};
    um_pickle *p = NULL;
    tw_raw(&b, head, n_head);
    while (b.len < n_bytes) tw_raw(&b, unit, n_unit);
    tw_text(&b, tail);
    um_status st = parse(b.data, b.len, &p, NULL);
    um_pickle_free(p);
    um_buf_release(&b);
    return st;
}
#define REPEATED(head, unit, n_bytes, tail)                                                                                        \
    repeated("\x80\x02" head, sizeof("\x80\x02" head) - 1, unit, sizeof(unit) - 1, n_bytes, tail)

static void bombs(void)
{
    double start = seconds();
    CHECK_INT(REPEATED("N", "\x85", 500000, "."), UM_OK); /* half a million tuples inside each other */
    CHECK_INT(REPEATED("", "(", 100000, "."), UM_DATA);   /* marks */
    CHECK(strstr(um_err_text(), "nested deeper") != NULL);
    CHECK_INT(REPEATED("", "N", UM_PICKLE_MAX_VALUES + 100, "."), UM_DATA); /* values */
    CHECK(strstr(um_err_text(), "more than 1048576 values") != NULL);
    CHECK_INT(REPEATED("N", "\x94", 4000000, "."), UM_OK); /* memo */
    CHECK_INT(REPEATED("", "](K\1K\2e", 2000000, "."), UM_DATA);
    CHECK_INT(REPEATED("]q\0", "h\0a", 3000000, "."), UM_OK); /* a list that holds itself a million times */
    /* A long tuple as the argument of many calls, and a long dictionary as the state of many objects: neither may be walked or
     * copied each time. */
    um_buf b = {0};
    um_pickle *p = NULL;
    tw_text(&b, "\x80\x02](ctorch._utils\n_rebuild_tensor_v2\n\x94(");
    for (int i = 0; i < 400000; i++) tw_text(&b, "N");
    tw_text(&b, "t\x94");
    for (int i = 0; i < 400000; i++) tw_raw(&b, "h\0h\1R", 5);
    tw_text(&b, "e.");
    CHECK_INT(parse(b.data, b.len, &p, NULL), UM_OK);
    um_pickle_free(p);
    p = NULL;
    um_buf_clear(&b);
    /* the state: {"_metadata": None} 200,000 times over, remembered as 1; then set on one object again and again */
    tw_text(&b, "\x80\x02]\x94(ccollections\nOrderedDict\n)R}(");
    tw_str(&b, "_metadata");
    tw_text(&b, "\x94N");
    for (int i = 0; i < 200000; i++) tw_raw(&b, "h\1N", 3);
    tw_text(&b, "u\x94");
    tw_text(&b, "b");
    for (int i = 0; i < 200000; i++) tw_raw(&b, "h\2b", 3);
    tw_text(&b, "e.");
    CHECK_INT(parse(b.data, b.len, &p, NULL), UM_DATA);
    um_pickle_free(p);
    um_buf_release(&b);
    CHECK(seconds() - start < 20); /* 0.3 s is usual; quadratic would be minutes */
}

/* Every cut, and every bit of a sound pickle: sense or a refusal, nothing else. */
static void torn(void)
{
    um_buf b = {0};
    um_pickle *p;
    tw_tensor t = {"conv.weight", "FloatStorage", "0", 24, 0, 3, {2, 3, 4}, {12, 4, 1}};
    tw_state_dict(&b, &t, 1, true);
    CHECK_OK(parse(b.data, b.len, &p, NULL));
    um_pickle_free(p);
    for (size_t n = 0; n < b.len; n++) {
        char *copy = malloc(n + 1);
        memcpy(copy, b.data, n);
        CHECK_INT(parse(copy, n, &p, NULL), UM_DATA);
        free(copy);
    }
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        um_status st = parse(b.data, b.len, &p, NULL);
        CHECK(st == UM_OK || st == UM_DATA);
        um_pickle_free(p);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    um_buf_release(&b);
}

int main(void)
{
    values();
    hostile();
    broken();
    bombs();
    torn();
    return TEST_END();
}
