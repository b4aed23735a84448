#include "io/torch_file.h"

#include "io/pickle.h"
#include "io/torch_number.h"
#include "io/zip.h"
#include "src/core/search.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All a state dict of tensors asks for, and one number of NumPy's (a checkpoint's best loss). Their order is the enum's. */
enum { G_ORDERED_DICT, G_TENSOR, G_PARAMETER, G_SCALAR_1, G_SCALAR_2, G_DTYPE, G_ENCODE, G_STORAGE };
static const um_pickle_global globals[] = {
    {"collections", "OrderedDict", UM_PICKLE_USE_DICT, "_metadata"}, /* _metadata: version numbers of the modules */
    {"torch._utils", "_rebuild_tensor_v2", UM_PICKLE_USE_CALL, NULL},
    {"torch._utils", "_rebuild_parameter", UM_PICKLE_USE_CALL, NULL},
    {"numpy.core.multiarray", "scalar", UM_PICKLE_USE_CALL, NULL},
    {"numpy._core.multiarray", "scalar", UM_PICKLE_USE_CALL, NULL}, /* since NumPy 2 */
    {"numpy", "dtype", UM_PICKLE_USE_OBJECT, NULL},
    {"_codecs", "encode", UM_PICKLE_USE_CALL, NULL},
#define X(sym, storage, bytes) {"torch", storage, UM_PICKLE_USE_NAME, NULL},
    UM_TORCH_DTYPE_TABLE(X)
#undef X
};
enum { N_GLOBALS = sizeof globals / sizeof *globals };

/* torch/serialization.py: MAGIC_NUMBER = 0x1950a86a20f9469cfc6c, PROTOCOL_VERSION = 1001. */
static const uint8_t legacy_magic[10] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
enum { LEGACY_VERSION = 1001, MAX_KEY_BYTES = 64, MAX_VISITS = 1 << 20, SMALL_MEMBER_BYTES = 64 };

typedef struct storage {
    const uint8_t *key; /* in the pickle */
    uint32_t n_key;
    um_torch_dtype dtype;
    int64_t count; /* elements */
    size_t n_bytes;
    const uint8_t *data; /* NULL: not read yet (zip) */
    uint8_t *owned;      /* what to free of it */
    int member;          /* zip; -1 in the legacy format, and there 0 once its data was met */
} storage;

struct um_torch_file {
    const uint8_t *bytes;
    size_t n;
    um_zip *zip;          /* NULL in the legacy format */
    uint8_t *description; /* zip: data.pkl */
    um_pickle *pickle;
    storage *storage; /* sorted by key */
    int n_storages;
    um_torch_tensor *tensor;
    int n_tensors, cap_tensors;
    int *by_name; /* [n_tensors], sorted */
    um_torch_scalar *scalar;
    int n_scalars, cap_scalars;
};

static const char *const dtype_names[UM_TORCH_DTYPES] = {"f32", "f64", "f16", "bf16", "i64", "i32", "i16", "i8", "u8", "bool"};
static const uint8_t dtype_bytes[UM_TORCH_DTYPES] = {
#define X(sym, storage, bytes) bytes,
    UM_TORCH_DTYPE_TABLE(X)
#undef X
};

const char *um_torch_dtype_name(um_torch_dtype d) { return dtype_names[d]; }
size_t um_torch_dtype_bytes(um_torch_dtype d) { return dtype_bytes[d]; }

/* ---- storages ---- */

static int compare_keys(const uint8_t *a, uint32_t n_a, const uint8_t *b, uint32_t n_b)
{
    int c = memcmp(a, b, n_a < n_b ? n_a : n_b);
    return c != 0 ? c : (n_a > n_b) - (n_a < n_b);
}

static int compare_storages(const void *a, const void *b)
{
    const storage *x = a, *y = b;
    return compare_keys(x->key, x->n_key, y->key, y->n_key);
}

static int find_storage(const um_torch_file *f, const uint8_t *key, uint32_t n_key)
{
    int lo = 0, hi = f->n_storages;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        int c = compare_keys(f->storage[mid].key, f->storage[mid].n_key, key, n_key);
        if (c == 0) return mid;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return -1;
}

/* ("storage", torch.FloatStorage, key, device, elements): a persistent id; the legacy format has a sixth item, None unless the
 * storage is a view of another. */
static um_status parse_persid(const um_torch_file *f, const um_pickle_value *persid, storage *out)
{
    const um_pickle_value *id = persid->item[0];
    if (id->kind != UM_PICKLE_TUPLE || (id->n != 5 && id->n != 6) || !um_pickle_str_is(id->item[0], "storage"))
        return UM_FAIL(UM_DATA, "a persistent id is %s, not that of a storage", um_pickle_describe(f->pickle, id));
    const um_pickle_value *type = id->item[1], *key = id->item[2], *device = id->item[3], *count = id->item[4];
    if (type->kind != UM_PICKLE_GLOBAL || type->global < G_STORAGE)
        return UM_FAIL(UM_DATA, "a storage has %s for its type", um_pickle_describe(f->pickle, type));
    if (key->kind != UM_PICKLE_STR || key->n == 0 || key->n > MAX_KEY_BYTES || memchr(key->s, 0, key->n) != NULL)
        return UM_FAIL(UM_DATA, "a storage has %s for its key", um_pickle_describe(f->pickle, key));
    const char *name = um_pickle_quote(key->s, key->n);
    if (device->kind != UM_PICKLE_STR)
        return UM_FAIL(UM_DATA, "the storage %s has %s for its device", name, um_pickle_describe(f->pickle, device));
    if (id->n == 6 && id->item[5]->kind != UM_PICKLE_NONE)
        return UM_FAIL(UM_DATA, "the storage %s is a view of another storage, which is not read", name);
    um_torch_dtype dtype = (um_torch_dtype)(type->global - G_STORAGE);
    if (count->kind != UM_PICKLE_INT || count->i < 0 || (uint64_t)count->i > f->n / dtype_bytes[dtype])
        return UM_FAIL(UM_DATA, "the storage %s claims %s of %s as its length; the file has %zu bytes", name,
                       um_pickle_describe(f->pickle, count), dtype_names[dtype], f->n);
    *out = (storage){.key = key->s,
                     .n_key = key->n,
                     .dtype = dtype,
                     .count = count->i,
                     .n_bytes = (size_t)count->i * dtype_bytes[dtype],
                     .member = -1};
    return UM_OK;
}

/* Lists every storage the description names, each once. */
static um_status collect_storages(um_torch_file *f)
{
    size_t n = 0;
    while (um_pickle_persid(f->pickle, n) != NULL) n++;
    f->storage = calloc(n + 1, sizeof *f->storage);
    if (f->storage == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %zu storages", n);
    for (size_t i = 0; i < n; i++) UM_PASS(parse_persid(f, um_pickle_persid(f->pickle, i), &f->storage[i]));
    qsort(f->storage, n, sizeof *f->storage, compare_storages);
    for (size_t i = 0; i < n; i++) {
        storage *s = &f->storage[i], *last = f->n_storages > 0 ? &f->storage[f->n_storages - 1] : NULL;
        if (last == NULL || compare_storages(last, s) != 0) {
            f->storage[f->n_storages++] = *s;
        } else if (last->dtype != s->dtype || last->count != s->count) {
            return UM_FAIL(UM_DATA, "the storage %s is described as %" PRId64 " of %s and as %" PRId64 " of %s",
                           um_pickle_quote(s->key, s->n_key), last->count, dtype_names[last->dtype], s->count,
                           dtype_names[s->dtype]);
        }
    }
    return UM_OK;
}

/* ---- tensors ---- */

static um_status parse_sizes(const um_torch_file *f, const um_pickle_value *v, const char *what, const char *name, int64_t *out,
                             int *n)
{
    if (v->kind != UM_PICKLE_TUPLE || v->n > UM_TORCH_MAX_DIMS)
        return UM_FAIL(UM_DATA, "the tensor %s has %s for its %s (at most %d dimensions are read)", um_quote(name),
                       um_pickle_describe(f->pickle, v), what, UM_TORCH_MAX_DIMS);
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->item[i]->kind != UM_PICKLE_INT || v->item[i]->i < 0)
            return UM_FAIL(UM_DATA, "the tensor %s has %s in its %s", um_quote(name), um_pickle_describe(f->pickle, v->item[i]),
                           what);
        out[i] = v->item[i]->i;
    }
    *n = (int)v->n;
    return UM_OK;
}

static um_status check_extent(const um_torch_file *f, um_torch_tensor *t)
{
    const storage *s = &f->storage[t->storage];
    int64_t last = t->offset;
    bool empty = false, overflow = false;
    for (int d = 0; d < t->n_dims; d++) empty = empty || t->dims[d] == 0;
    t->count = empty ? 0 : 1;
    for (int d = 0; d < t->n_dims && !empty; d++) {
        int64_t reach;
        if (t->dims[d] == 1) t->strides[d] = 0; /* never taken; torch leaves any number there */
        overflow = overflow || __builtin_mul_overflow(t->count, t->dims[d], &t->count) ||
                   __builtin_mul_overflow(t->dims[d] - 1, t->strides[d], &reach) || __builtin_add_overflow(last, reach, &last);
    }
    if (overflow || (empty ? last > s->count : last >= s->count))
        return UM_FAIL(UM_DATA, "the tensor %s of shape %s reaches beyond its storage %s of %" PRId64 " elements",
                       um_quote(t->name), um_torch_tensor_shape(t), um_pickle_quote(s->key, s->n_key), s->count);
    if (t->count > s->count)
        return UM_FAIL(UM_DATA, "the tensor %s of shape %s has more elements than its storage %s, which has %" PRId64,
                       um_quote(t->name), um_torch_tensor_shape(t), um_pickle_quote(s->key, s->n_key), s->count);
    return UM_OK;
}

/* _rebuild_tensor_v2(storage, offset, dims, strides, requires_grad, backward_hooks[, metadata]); _rebuild_parameter(tensor,
 * requires_grad, backward_hooks). */
static um_status parse_tensor(const um_torch_file *f, const um_pickle_value *call, um_torch_tensor *t)
{
    const um_pickle_value *args = call->item[0];
    if (call->global != G_TENSOR && call->global != G_PARAMETER)
        return UM_FAIL(UM_DATA, "%s is %s, neither a tensor nor a number", um_quote(t->name), um_pickle_describe(f->pickle, call));
    if (call->global == G_PARAMETER) {
        if (args->n != 3 || args->item[0]->kind != UM_PICKLE_CALL || args->item[0]->global != G_TENSOR)
            return UM_FAIL(UM_DATA, "the parameter %s is not made from a tensor", um_quote(t->name));
        call = args->item[0];
        args = call->item[0];
    }
    if ((args->n != 6 && args->n != 7) || args->item[0]->kind != UM_PICKLE_PERSID)
        return UM_FAIL(UM_DATA, "the tensor %s is not made from a storage", um_quote(t->name));
    storage s;
    int n_strides;
    UM_TRY(parse_persid(f, args->item[0], &s), "cannot read the tensor %s", um_quote(t->name));
    t->storage = find_storage(f, s.key, s.n_key); /* there: collect_storages listed all */
    t->dtype = s.dtype;
    if (args->item[1]->kind != UM_PICKLE_INT || args->item[1]->i < 0)
        return UM_FAIL(UM_DATA, "the tensor %s has %s for its offset", um_quote(t->name),
                       um_pickle_describe(f->pickle, args->item[1]));
    t->offset = args->item[1]->i;
    UM_PASS(parse_sizes(f, args->item[2], "shape", t->name, t->dims, &t->n_dims));
    UM_PASS(parse_sizes(f, args->item[3], "strides", t->name, t->strides, &n_strides));
    if (n_strides != t->n_dims)
        return UM_FAIL(UM_DATA, "the tensor %s has %d dimensions and %d strides", um_quote(t->name), t->n_dims, n_strides);
    /* Hooks would be code; the metadata says that the numbers are to be negated or conjugated. */
    for (uint32_t i = 5; i < args->n; i++) {
        const um_pickle_value *v = args->item[i];
        if (v->kind != UM_PICKLE_NONE && (v->kind != UM_PICKLE_DICT || v->n != 0))
            return UM_FAIL(UM_DATA, "the tensor %s carries %s: %s", um_quote(t->name), i == 5 ? "hooks" : "metadata",
                           um_pickle_describe(f->pickle, v));
    }
    return check_extent(f, t);
}

/* ---- names ---- */

typedef struct walk {
    um_torch_file *f;
    char path[UM_TORCH_MAX_NAME + 1];
    size_t n_path;
    int depth, visits;
    size_t budget; /* bytes of names and entries that may still be made */
} walk;

/* Values may be shared, so a few bytes could name a great many things: what is made of them is held in proportion to the file. The
 * least a number in a list takes is 2 bytes of the file and 70 of ours. */
static um_status spend(walk *w, size_t bytes)
{
    if (bytes > w->budget) return UM_FAIL(UM_DATA, "the file of %zu bytes describes more than so small a file can hold", w->f->n);
    w->budget -= bytes;
    return UM_OK;
}

static um_status room(void **array, int n, int *cap, int limit, size_t size, const char *what)
{
    if (n < *cap) return UM_OK;
    if (n == limit) return UM_FAIL(UM_DATA, "the file has more than %d %s", limit, what);
    int more = *cap == 0 ? 64 : *cap * 2;
    void *p = realloc(*array, (size_t)more * size);
    if (p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d %s", more, what);
    *array = p;
    *cap = more;
    return UM_OK;
}

static um_status add_tensor(walk *w, const um_pickle_value *v)
{
    um_torch_file *f = w->f;
    UM_PASS(room((void **)&f->tensor, f->n_tensors, &f->cap_tensors, UM_TORCH_MAX_TENSORS, sizeof *f->tensor, "tensors"));
    UM_PASS(spend(w, sizeof *f->tensor + w->n_path));
    um_torch_tensor t = {.name = w->path};
    UM_PASS(parse_tensor(f, v, &t));
    t.name = strdup(w->path);
    if (t.name == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the name of a tensor");
    f->tensor[f->n_tensors++] = t;
    return UM_OK;
}

static bool is_call(const um_pickle_value *v, int global, uint32_t n_args)
{
    return v->kind == UM_PICKLE_CALL && v->global == global && v->item[0]->n == n_args;
}

/* scalar(dtype("f8", ...) with the state (3, "<", ...), encode(text, "latin1")): a number of NumPy's as protocol 2 has it. */
static um_status numpy_scalar(const walk *w, const um_pickle_value *v, um_torch_scalar *out)
{
    const um_pickle_value *args = v->item[0], *type = args->n == 2 ? args->item[0] : NULL, *bytes = args->n == 2 ? args->item[1] : NULL;
    *out = (um_torch_scalar){.kind = UM_TORCH_FLOAT};
    if (type != NULL && is_call(type, G_DTYPE, 3) && type->n == 2 && is_call(bytes, G_ENCODE, 2) && type->item[1]->n >= 2 &&
        um_pickle_str_is(type->item[1]->item[1], "<") && um_pickle_str_is(bytes->item[0]->item[1], "latin1") &&
        um_torch_numpy_number(type->item[0]->item[0], bytes->item[0]->item[0], &out->f))
        return UM_OK;
    return UM_FAIL(UM_DATA, "%s is a value of NumPy's that is not a plain f4 or f8 number", um_quote(w->path));
}

static um_status add_scalar(walk *w, const um_pickle_value *v)
{
    um_torch_file *f = w->f;
    UM_PASS(
        room((void **)&f->scalar, f->n_scalars, &f->cap_scalars, UM_TORCH_MAX_SCALARS, sizeof *f->scalar, "numbers and strings"));
    UM_PASS(spend(w, sizeof *f->scalar + w->n_path + (v->kind == UM_PICKLE_STR ? v->n : 0)));
    um_torch_scalar s = {.kind = UM_TORCH_STRING};
    if (v->kind == UM_PICKLE_INT || v->kind == UM_PICKLE_BOOL) {
        s = (um_torch_scalar){.kind = v->kind == UM_PICKLE_INT ? UM_TORCH_INT : UM_TORCH_BOOLEAN, .i = v->i, .f = (double)v->i};
    } else if (v->kind == UM_PICKLE_CALL) {
        UM_PASS(numpy_scalar(w, v, &s));
    } else if (v->kind == UM_PICKLE_FLOAT) {
        s = (um_torch_scalar){.kind = UM_TORCH_FLOAT, .f = v->f};
    } else {
        s.s = strndup((const char *)v->s, v->n); /* the pickle's are not terminated */
        if (s.s == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a string");
    }
    s.name = strdup(w->path);
    if (s.name == NULL) {
        free((void *)(uintptr_t)s.s);
        return UM_FAIL(UM_NO_MEMORY, "no memory for a name");
    }
    f->scalar[f->n_scalars++] = s;
    return UM_OK;
}

static um_status visit(walk *w, const um_pickle_value *v);

/* Visits v under the path extended by a key. */
static um_status visit_item(walk *w, const um_pickle_value *v, const uint8_t *key, size_t n_key)
{
    size_t before = w->n_path, slash = before > 0 ? 1 : 0;
    if (n_key == 0 || memchr(key, 0, n_key) != NULL)
        return UM_FAIL(UM_DATA, "the dictionary %s has the key %s, which cannot be part of a name", um_quote(w->path),
                       um_pickle_quote(key, n_key));
    if (before + slash + n_key > UM_TORCH_MAX_NAME)
        return UM_FAIL(UM_DATA, "the name that begins %s is longer than %d bytes",
                       um_pickle_quote((const uint8_t *)w->path, before), UM_TORCH_MAX_NAME);
    if (slash) w->path[before] = '/';
    memcpy(w->path + before + slash, key, n_key);
    w->n_path = before + slash + n_key;
    w->path[w->n_path] = 0;
    um_status st = visit(w, v);
    w->n_path = before;
    w->path[before] = 0;
    return st;
}

static um_status visit_number(walk *w, const um_pickle_value *v, int64_t number)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%" PRId64, number);
    return visit_item(w, v, (const uint8_t *)text, (size_t)n);
}

static um_status visit(walk *w, const um_pickle_value *v)
{
    um_status st = UM_OK;
    /* The values form a graph, perhaps with cycles: both limits are needed. */
    if (++w->visits > MAX_VISITS) return UM_FAIL(UM_DATA, "the dictionaries hold more than %d values", MAX_VISITS);
    switch ((um_pickle_kind)v->kind) {
    case UM_PICKLE_NONE:
        return UM_OK;
    case UM_PICKLE_BOOL:
    case UM_PICKLE_INT:
    case UM_PICKLE_FLOAT:
    case UM_PICKLE_STR:
        return add_scalar(w, v);
    case UM_PICKLE_CALL:
        if (v->global == G_SCALAR_1 || v->global == G_SCALAR_2) return add_scalar(w, v);
        return add_tensor(w, v);
    case UM_PICKLE_TUPLE:
    case UM_PICKLE_LIST:
    case UM_PICKLE_DICT:
        if (w->depth == UM_TORCH_MAX_DEPTH)
            return UM_FAIL(UM_DATA, "dictionaries are nested deeper than %d at %s", UM_TORCH_MAX_DEPTH, um_quote(w->path));
        w->depth++;
        if (v->kind == UM_PICKLE_DICT) {
            for (uint32_t i = 0; i < v->n && st == UM_OK; i += 2) {
                const um_pickle_value *key = v->item[i];
                st = key->kind == UM_PICKLE_STR ? visit_item(w, v->item[i + 1], key->s, key->n)
                                                : visit_number(w, v->item[i + 1], key->i);
            }
        } else {
            for (uint32_t i = 0; i < v->n && st == UM_OK; i++) st = visit_number(w, v->item[i], i);
        }
        w->depth--;
        return st;
    case UM_PICKLE_LONG:
    case UM_PICKLE_GLOBAL:
    case UM_PICKLE_PERSID:
        break;
    }
    return UM_FAIL(UM_DATA, "%s is %s, neither a tensor nor a number", um_quote(w->path), um_pickle_describe(w->f->pickle, v));
}

static int compare_names(const void *a, const void *b, void *context)
{
    const um_torch_file *f = context;
    return strcmp(f->tensor[*(const int *)a].name, f->tensor[*(const int *)b].name);
}

static int compare_strings(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* No two things of one name, be they tensors or not; and the index for um_torch_file_find. */
static um_status check_names(um_torch_file *f)
{
    um_status st = UM_OK;
    size_t n = (size_t)f->n_tensors + (size_t)f->n_scalars;
    const char **name = calloc(n + 1, sizeof *name);
    f->by_name = calloc((size_t)f->n_tensors + 1, sizeof *f->by_name);
    if (name == NULL || f->by_name == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for %zu names", n);
        goto done;
    }
    for (int i = 0; i < f->n_tensors; i++) {
        f->by_name[i] = i;
        name[i] = f->tensor[i].name;
    }
    for (int i = 0; i < f->n_scalars; i++) name[f->n_tensors + i] = f->scalar[i].name;
    qsort(name, n, sizeof *name, compare_strings);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(name[i - 1], name[i]) != 0) continue;
        st = UM_FAIL(UM_DATA, "the file has the name %s twice", um_quote(name[i]));
        goto done;
    }
    qsort_r(f->by_name, (size_t)f->n_tensors, sizeof *f->by_name, compare_names, f);
done:
    free(name);
    return st;
}

static um_status describe(um_torch_file *f)
{
    UM_PASS(collect_storages(f));
    walk *w = calloc(1, sizeof *w);
    if (w == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a walk");
    w->f = f;
    w->budget = 64 * (f->n < ((size_t)1 << 40) ? f->n : (size_t)1 << 40) + ((size_t)256 << 10);
    um_status st = visit(w, um_pickle_root(f->pickle));
    free(w);
    UM_PASS(st);
    return check_names(f);
}

/* ---- the legacy format: five pickles, then the storages ---- */

static um_status legacy_part(um_torch_file *f, size_t *at, um_pickle **out, const char *what)
{
    size_t used;
    UM_TRY(um_pickle_parse(f->bytes + *at, f->n - *at, globals, N_GLOBALS, out, &used), "cannot read the %s at byte %zu", what,
           *at);
    *at += used;
    return UM_OK;
}

static um_status legacy_header(um_torch_file *f, size_t *at)
{
    um_status st;
    um_pickle *p = NULL;
    const um_pickle_value *v;
    UM_GOTO_PASS(st, legacy_part(f, at, &p, "magic number"));
    v = um_pickle_root(p);
    if (v->kind != UM_PICKLE_LONG || v->n != sizeof legacy_magic || memcmp(v->s, legacy_magic, sizeof legacy_magic) != 0) {
        st = UM_FAIL(UM_DATA, "the file is a pickle, but not one that torch.save wrote");
        goto done;
    }
    um_pickle_free(p);
    UM_GOTO_PASS(st, legacy_part(f, at, &p, "format version"));
    v = um_pickle_root(p);
    if (v->kind != UM_PICKLE_INT || v->i != LEGACY_VERSION) {
        st = UM_FAIL(UM_DATA, "the format version is %s; %d is read", um_pickle_describe(p, v), LEGACY_VERSION);
        goto done;
    }
    um_pickle_free(p);
    UM_GOTO_PASS(st, legacy_part(f, at, &p, "system description"));
    v = um_pickle_dict_get(um_pickle_root(p), "little_endian");
    if (v == NULL || v->kind != UM_PICKLE_BOOL || v->i != 1)
        st = UM_FAIL(UM_DATA, "the file was not written on a little-endian machine");
done:
    um_pickle_free(p);
    return st;
}

static um_status legacy_storages(um_torch_file *f, const um_pickle_value *keys, size_t at)
{
    if (keys->kind != UM_PICKLE_LIST) return UM_FAIL(UM_DATA, "the file has no list of its storages");
    for (uint32_t i = 0; i < keys->n; i++) {
        const um_pickle_value *key = keys->item[i];
        int k = key->kind == UM_PICKLE_STR ? find_storage(f, key->s, key->n) : -1;
        if (k < 0) return UM_FAIL(UM_DATA, "the file lists a storage that no tensor uses: %s", um_pickle_describe(f->pickle, key));
        storage *s = &f->storage[k];
        const char *name = um_pickle_quote(s->key, s->n_key);
        if (s->member == 0) return UM_FAIL(UM_DATA, "the file lists the storage %s twice", name);
        if (f->n - at < 8) return UM_FAIL(UM_DATA, "the file ends before its storage %s", name);
        uint64_t count = 0;
        for (int b = 0; b < 8; b++) count |= (uint64_t)f->bytes[at + (size_t)b] << (8 * b);
        at += 8;
        if (count != (uint64_t)s->count)
            return UM_FAIL(UM_DATA, "the storage %s has %" PRIu64 " elements where its tensors say %" PRId64, name, count,
                           s->count);
        if (f->n - at < s->n_bytes) return UM_FAIL(UM_DATA, "the file ends inside its storage %s", name);
        s->data = f->bytes + at;
        s->member = 0;
        at += s->n_bytes;
    }
    for (int k = 0; k < f->n_storages; k++) {
        if (f->storage[k].member != 0)
            return UM_FAIL(UM_DATA, "the storage %s is not in the file", um_pickle_quote(f->storage[k].key, f->storage[k].n_key));
    }
    return at == f->n ? UM_OK : UM_FAIL(UM_DATA, "%zu bytes follow the last storage", f->n - at);
}

static um_status open_legacy(um_torch_file *f)
{
    um_pickle *keys = NULL;
    size_t at = 0;
    UM_PASS(legacy_header(f, &at));
    UM_PASS(legacy_part(f, &at, &f->pickle, "tensors' description"));
    UM_PASS(describe(f));
    um_status st = legacy_part(f, &at, &keys, "list of storages");
    if (st == UM_OK) st = legacy_storages(f, um_pickle_root(keys), at);
    um_pickle_free(keys);
    return st;
}

/* ---- the zip format: <root>/data.pkl describes, <root>/data/<key> are the storages ---- */

/* The length of the root folder's name with its '/'. */
static um_status zip_root(const um_torch_file *f, size_t *n_root)
{
    *n_root = 0;
    for (int i = 0; i < um_zip_count(f->zip); i++) {
        const char *name = um_zip_name(f->zip, i), *slash = strchr(name, '/');
        if (slash == NULL)
            return UM_FAIL(UM_DATA, "the archive has the member %s outside a folder; torch.save writes none", um_quote(name));
        if (*n_root == 0) *n_root = (size_t)(slash - name) + 1;
        if (strncmp(name, um_zip_name(f->zip, 0), *n_root) != 0)
            return UM_FAIL(UM_DATA, "the archive has the member %s outside its folder", um_quote(name));
        const char *rest = name + *n_root;
        if (strcmp(rest, "constants.pkl") == 0 || strncmp(rest, "code/", 5) == 0)
            return UM_FAIL(UM_DATA, "the archive holds a TorchScript program (%s), not tensors", um_quote(name));
        if (!um_zip_stored(f->zip, i)) return UM_FAIL(UM_DATA, "the member %s is compressed; torch.save stores", um_quote(name));
    }
    return *n_root > 0 ? UM_OK : UM_FAIL(UM_DATA, "the archive is empty");
}

/* Index of <root>/<first><second>, or -1. */
static int zip_member(const um_torch_file *f, size_t n_root, const char *first, const uint8_t *second, size_t n_second)
{
    char name[UM_TORCH_MAX_NAME + MAX_KEY_BYTES + 32];
    if (n_root > UM_TORCH_MAX_NAME) return -1;
    int n =
        snprintf(name, sizeof name, "%.*s%s%.*s", (int)n_root, um_zip_name(f->zip, 0), first, (int)n_second, (const char *)second);
    return n > 0 && (size_t)n < sizeof name ? um_zip_find(f->zip, name) : -1;
}

static um_status zip_byte_order(um_torch_file *f, size_t n_root)
{
    uint8_t *text = NULL;
    size_t n;
    int i = zip_member(f, n_root, "byteorder", NULL, 0);
    if (i < 0) return UM_OK; /* before torch 2.1 there was none, and little-endian was meant */
    UM_PASS(um_zip_read(f->zip, i, SMALL_MEMBER_BYTES, &text, &n));
    bool little = n == 6 && memcmp(text, "little", 6) == 0;
    free(text);
    return little ? UM_OK : UM_FAIL(UM_DATA, "the file was not written on a little-endian machine");
}

static um_status open_zip(um_torch_file *f)
{
    size_t n_root, n_description, used;
    int n_data = 0;
    UM_PASS(um_zip_open(f->bytes, f->n, &f->zip));
    UM_PASS(zip_root(f, &n_root));
    UM_PASS(zip_byte_order(f, n_root));
    int description = zip_member(f, n_root, "data.pkl", NULL, 0);
    if (description < 0) return UM_FAIL(UM_DATA, "the archive has no data.pkl: torch.save did not write it");
    UM_PASS(um_zip_read(f->zip, description, UM_PICKLE_MAX_BYTES, &f->description, &n_description));
    UM_TRY(um_pickle_parse(f->description, n_description, globals, N_GLOBALS, &f->pickle, &used), "cannot read data.pkl");
    if (used != n_description) return UM_FAIL(UM_DATA, "%zu bytes follow the pickle in data.pkl", n_description - used);
    UM_PASS(describe(f));
    for (int k = 0; k < f->n_storages; k++) {
        storage *s = &f->storage[k];
        const char *name = um_pickle_quote(s->key, s->n_key);
        s->member = zip_member(f, n_root, "data/", s->key, s->n_key);
        if (s->member < 0) return UM_FAIL(UM_DATA, "the storage %s is not in the file", name);
        if (um_zip_size(f->zip, s->member) != s->n_bytes)
            return UM_FAIL(UM_DATA, "the storage %s has %" PRIu64 " bytes where its tensors say %zu", name,
                           um_zip_size(f->zip, s->member), s->n_bytes);
    }
    for (int i = 0; i < um_zip_count(f->zip); i++) n_data += strncmp(um_zip_name(f->zip, i) + n_root, "data/", 5) == 0;
    if (n_data != f->n_storages)
        return UM_FAIL(UM_DATA, "the file holds %d storages where its tensors use %d", n_data, f->n_storages);
    return UM_OK;
}

/* ---- */

um_status um_torch_file_open(const void *bytes, size_t n, um_torch_file **out)
{
    *out = NULL;
    um_torch_file *f = calloc(1, sizeof *f);
    if (f == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a torch file");
    f->bytes = bytes;
    f->n = n;
    um_status st = um_zip_is(bytes, n) ? open_zip(f) : open_legacy(f);
    if (st != UM_OK) {
        um_torch_file_close(f);
        return st;
    }
    *out = f;
    return UM_OK;
}

void um_torch_file_close(um_torch_file *f)
{
    if (f == NULL) return;
    for (int i = 0; i < f->n_tensors; i++) free((void *)(uintptr_t)f->tensor[i].name);
    for (int i = 0; i < f->n_scalars; i++) {
        free((void *)(uintptr_t)f->scalar[i].name);
        free((void *)(uintptr_t)f->scalar[i].s);
    }
    for (int i = 0; i < f->n_storages; i++) free(f->storage[i].owned);
    free(f->tensor);
    free(f->scalar);
    free(f->by_name);
    free(f->storage);
    um_pickle_free(f->pickle);
    free(f->description);
    um_zip_close(f->zip);
    free(f);
}

int um_torch_file_count(const um_torch_file *f) { return f->n_tensors; }
const um_torch_tensor *um_torch_file_get(const um_torch_file *f, int i) { return &f->tensor[i]; }
int um_torch_file_scalar_count(const um_torch_file *f) { return f->n_scalars; }
const um_torch_scalar *um_torch_file_scalar(const um_torch_file *f, int i) { return &f->scalar[i]; }

static const char *sorted_name(const void *of, int i)
{
    const um_torch_file *f = of;
    return f->tensor[f->by_name[i]].name;
}

int um_torch_file_find(const um_torch_file *f, const char *name)
{
    int i = um_search_name(sorted_name, f, f->n_tensors, name);
    return i < 0 ? -1 : f->by_name[i];
}

const char *um_torch_tensor_shape(const um_torch_tensor *t)
{
    static _Thread_local char text[UM_TORCH_MAX_DIMS * 22 + 4];
    size_t at = 0;
    text[at++] = '(';
    for (int d = 0; d < t->n_dims; d++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%" PRId64, d > 0 ? ", " : "", t->dims[d]);
    text[at++] = ')';
    text[at] = 0;
    return text;
}

/* ---- numbers ---- */

static um_status storage_load(um_torch_file *f, storage *s)
{
    if (s->data != NULL) return UM_OK;
    UM_TRY(um_zip_read(f->zip, s->member, s->n_bytes, &s->owned, NULL), "cannot read the storage %s",
           um_pickle_quote(s->key, s->n_key));
    s->data = s->owned;
    return UM_OK;
}

static um_status read_tensor(um_torch_file *f, int i, bool wanted, const char *kind, float *f32, int64_t *i64, int64_t count)
{
    const um_torch_tensor *t = &f->tensor[i];
    if (count != t->count)
        return UM_FAIL(UM_INTERNAL, "room for %" PRId64 " elements of the tensor %s, which has %" PRId64, count, um_quote(t->name),
                       t->count);
    if (!wanted) return UM_FAIL(UM_DATA, "the tensor %s holds %s, not %s", um_quote(t->name), dtype_names[t->dtype], kind);
    if (t->count == 0) return UM_OK;
    UM_TRY(storage_load(f, &f->storage[t->storage]), "cannot read the tensor %s", um_quote(t->name));
    um_torch_gather(t, f->storage[t->storage].data, f32, i64);
    return UM_OK;
}

void um_torch_file_forget(um_torch_file *f, int i)
{
    storage *s = &f->storage[f->tensor[i].storage];
    if (s->owned == NULL) return;
    free(s->owned);
    s->owned = NULL;
    s->data = NULL;
}

um_status um_torch_file_read_f32(um_torch_file *f, int i, float *out, int64_t count)
{
    return read_tensor(f, i, f->tensor[i].dtype <= UM_TORCH_BF16, "floating-point numbers", out, NULL, count);
}

um_status um_torch_file_read_i64(um_torch_file *f, int i, int64_t *out, int64_t count)
{
    return read_tensor(f, i, f->tensor[i].dtype >= UM_TORCH_I64, "integers", NULL, out, count);
}
