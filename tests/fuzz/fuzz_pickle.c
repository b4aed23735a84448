/* Any bytes as a pickle: parsed or refused, and every value that comes out can be read. */
#include "io/pickle.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static const um_pickle_global globals[] = {
    {"collections", "OrderedDict", UM_PICKLE_USE_DICT, "_metadata"},
    {"torch._utils", "_rebuild_tensor_v2", UM_PICKLE_USE_CALL, NULL},
    {"torch", "FloatStorage", UM_PICKLE_USE_NAME, NULL},
    {"numpy", "dtype", UM_PICKLE_USE_OBJECT, NULL},
};

/* Touches what v and its children hold, to a limited depth and number: the values are a graph. */
static size_t touch(const um_pickle *p, const um_pickle_value *v, int depth, int *left)
{
    size_t sum = strlen(um_pickle_describe(p, v));
    if (depth == 0 || --*left < 0) return sum;
    if (v->kind == UM_PICKLE_STR || v->kind == UM_PICKLE_LONG) {
        for (uint32_t i = 0; i < v->n; i++) sum += v->s[i];
    } else if (v->kind == UM_PICKLE_TUPLE || v->kind == UM_PICKLE_LIST || v->kind == UM_PICKLE_DICT || v->kind == UM_PICKLE_CALL ||
               v->kind == UM_PICKLE_PERSID) {
        for (uint32_t i = 0; i < v->n; i++) sum += touch(p, v->item[i], depth - 1, left);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    um_pickle *p;
    size_t used = 0;
    if (um_pickle_parse(data, size, globals, sizeof globals / sizeof *globals, &p, &used) == UM_OK) {
        int left = 2000;
        if (used > size || um_pickle_root(p) == NULL) __builtin_trap();
        touch(p, um_pickle_root(p), 8, &left);
        for (size_t i = 0; um_pickle_persid(p, i) != NULL; i++) touch(p, um_pickle_persid(p, i), 3, &left);
        um_pickle_free(p);
    }
    return 0;
}
