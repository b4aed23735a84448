#include "io/safetensors.h"

#include "io/torch_number.h"
#include "src/core/buf.h"
#include "src/core/search.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are written from memory as they are");

enum { LENGTH_BYTES = 8 };

typedef struct entry {
    um_torch_tensor tensor; /* its name is jansson's */
    int64_t begin, end;     /* bytes from the end of the header */
} entry;

struct um_safetensors {
    const uint8_t *data; /* behind the header */
    int64_t n_data;
    json_t *header;
    entry *entry; /* [n], by place */
    int *by_name; /* [n], sorted */
    int n;
};

/* In the order of um_torch_dtype. */
static const char *const dtype_names[UM_TORCH_DTYPES] = {"F32", "F64", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"};

static uint64_t header_length(const uint8_t *b)
{
    uint64_t x = 0;
    for (int i = 0; i < LENGTH_BYTES; i++) x |= (uint64_t)b[i] << (8 * i);
    return x;
}

bool um_safetensors_is(const void *bytes, size_t n)
{
    return n > LENGTH_BYTES && header_length(bytes) <= UM_SAFETENSORS_MAX_HEADER && ((const uint8_t *)bytes)[LENGTH_BYTES] == '{';
}

/* ---- the header ---- */

static um_status parse_shape(const char *name, const json_t *shape, um_torch_tensor *t)
{
    if (!json_is_array(shape) || json_array_size(shape) > UM_TORCH_MAX_DIMS)
        return UM_FAIL(UM_DATA, "the tensor %s has no shape of at most %d dimensions", um_quote(name), UM_TORCH_MAX_DIMS);
    t->n_dims = (int)json_array_size(shape);
    t->count = 1;
    for (int d = 0; d < t->n_dims; d++) {
        const json_t *dim = json_array_get(shape, (size_t)d);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0) return UM_FAIL(UM_DATA, "the tensor %s has a dimension that is not a whole number", um_quote(name));
        t->dims[d] = json_integer_value(dim);
    }
    for (int d = t->n_dims - 1; d >= 0; d--) {
        t->strides[d] = t->count;
        if (__builtin_mul_overflow(t->count, t->dims[d], &t->count)) return UM_FAIL(UM_DATA, "the tensor %s has more elements than there are numbers", um_quote(name));
    }
    return UM_OK;
}

static um_status parse_entry(const um_safetensors *f, const char *name, const json_t *value, entry *out)
{
    um_torch_tensor *t = &out->tensor;
    const char *key;
    json_t *item;
    if (strlen(name) > UM_TORCH_MAX_NAME || *name == 0) return UM_FAIL(UM_DATA, "the header has a name of %zu bytes; 1 to %d are read", strlen(name), UM_TORCH_MAX_NAME);
    if (!json_is_object(value)) return UM_FAIL(UM_DATA, "the header describes %s by something else than an object", um_quote(name));
    json_object_foreach((json_t *)(uintptr_t)value, key, item) { /* jansson's macro knows no const */
        if (strcmp(key, "dtype") != 0 && strcmp(key, "shape") != 0 && strcmp(key, "data_offsets") != 0)
            return UM_FAIL(UM_DATA, "the tensor %s has the key %s, which the format does not know", um_quote(name), um_quote(key));
    }
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    if (dtype == NULL) return UM_FAIL(UM_DATA, "the tensor %s has no dtype", um_quote(name));
    int d = 0;
    while (d < UM_TORCH_DTYPES && strcmp(dtype, dtype_names[d]) != 0) d++;
    if (d == UM_TORCH_DTYPES) return UM_FAIL(UM_DATA, "the tensor %s is of the type %s, which is not read", um_quote(name), um_quote(dtype));
    *t = (um_torch_tensor){.name = name, .dtype = (um_torch_dtype)d, .storage = -1};
    UM_PASS(parse_shape(name, json_object_get(value, "shape"), t));
    const json_t *offsets = json_object_get(value, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return UM_FAIL(UM_DATA, "the tensor %s has no data_offsets of two whole numbers", um_quote(name));
    out->begin = json_integer_value(begin);
    out->end = json_integer_value(end);
    if (out->begin < 0 || out->end < out->begin || out->end > f->n_data)
        return UM_FAIL(UM_DATA, "the tensor %s claims the bytes %" PRId64 " to %" PRId64 " of %" PRId64, um_quote(name), out->begin, out->end, f->n_data);
    int64_t bytes;
    if (__builtin_mul_overflow(t->count, (int64_t)um_torch_dtype_bytes(t->dtype), &bytes) || bytes != out->end - out->begin)
        return UM_FAIL(UM_DATA, "the tensor %s of shape %s and type %s has %" PRId64 " bytes", um_quote(name), um_torch_tensor_shape(t), dtype, out->end - out->begin);
    return UM_OK;
}

static um_status check_metadata(const json_t *metadata)
{
    const char *key;
    json_t *item;
    if (!json_is_object(metadata)) return UM_FAIL(UM_DATA, "__metadata__ is not an object");
    json_object_foreach((json_t *)(uintptr_t)metadata, key, item)
    {
        if (!json_is_string(item)) return UM_FAIL(UM_DATA, "the entry %s of __metadata__ is not a text", um_quote(key));
    }
    return UM_OK;
}

static int by_place(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1; /* an empty one before the one whose place it shares */
    return strcmp(x->tensor.name, y->tensor.name);
}

static int by_name(const void *a, const void *b, void *context)
{
    const um_safetensors *f = context;
    return strcmp(f->entry[*(const int *)a].tensor.name, f->entry[*(const int *)b].tensor.name);
}

/* Every byte belongs to exactly one tensor. */
static um_status check_cover(const um_safetensors *f)
{
    int64_t at = 0;
    for (int i = 0; i < f->n; i++) {
        const entry *e = &f->entry[i];
        if (e->begin < at) return UM_FAIL(UM_DATA, "the tensors %s and %s overlap", um_quote(f->entry[i - 1].tensor.name), um_quote(e->tensor.name));
        if (e->begin > at) return UM_FAIL(UM_DATA, "%" PRId64 " bytes before the tensor %s belong to nothing", e->begin - at, um_quote(e->tensor.name));
        at = e->end;
    }
    return at == f->n_data ? UM_OK : UM_FAIL(UM_DATA, "%" PRId64 " bytes behind the last tensor belong to nothing", f->n_data - at);
}

static um_status parse_header(um_safetensors *f, const char *text, size_t n_text)
{
    json_error_t error;
    const char *name;
    json_t *value;
    f->header = json_loadb(text, n_text, JSON_REJECT_DUPLICATES, &error);
    if (f->header == NULL) {
        return json_error_code(&error) == json_error_out_of_memory ? UM_FAIL(UM_NO_MEMORY, "no memory for a header of %zu bytes", n_text)
                                                                   : UM_FAIL(UM_DATA, "the header is not JSON as it must be: %s", error.text);
    }
    if (!json_is_object(f->header)) return UM_FAIL(UM_DATA, "the header is not a JSON object");
    size_t n = json_object_size(f->header);
    if (n > UM_TORCH_MAX_TENSORS) return UM_FAIL(UM_DATA, "the file has more than %d tensors", UM_TORCH_MAX_TENSORS);
    f->entry = calloc(n + 1, sizeof *f->entry);
    f->by_name = calloc(n + 1, sizeof *f->by_name);
    if (f->entry == NULL || f->by_name == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %zu tensors", n);
    json_object_foreach(f->header, name, value)
    {
        if (strcmp(name, "__metadata__") == 0)
            UM_PASS(check_metadata(value));
        else
            UM_PASS(parse_entry(f, name, value, &f->entry[f->n++]));
    }
    qsort(f->entry, (size_t)f->n, sizeof *f->entry, by_place);
    for (int i = 0; i < f->n; i++) f->by_name[i] = i;
    qsort_r(f->by_name, (size_t)f->n, sizeof *f->by_name, by_name, f);
    return check_cover(f);
}

um_status um_safetensors_open(const void *bytes, size_t n, um_safetensors **out)
{
    const uint8_t *b = bytes;
    *out = NULL;
    if (n < LENGTH_BYTES + 2) return UM_FAIL(UM_DATA, "a file of %zu bytes is too short for safetensors", n);
    uint64_t length = header_length(b);
    if (length > n - LENGTH_BYTES) return UM_FAIL(UM_DATA, "the header claims %" PRIu64 " bytes of a file of %zu: it is cut, or not safetensors", length, n);
    if (length > UM_SAFETENSORS_MAX_HEADER) return UM_FAIL(UM_DATA, "the header has %" PRIu64 " bytes; the limit is %d", length, UM_SAFETENSORS_MAX_HEADER);
    if (b[LENGTH_BYTES] != '{') return UM_FAIL(UM_DATA, "the header does not begin with a brace: it is not safetensors");
    um_safetensors *f = calloc(1, sizeof *f);
    if (f == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a safetensors file");
    f->data = b + LENGTH_BYTES + length;
    f->n_data = (int64_t)(n - LENGTH_BYTES - (size_t)length);
    um_status st = parse_header(f, (const char *)b + LENGTH_BYTES, (size_t)length);
    if (st != UM_OK) {
        um_safetensors_close(f);
        return st;
    }
    *out = f;
    return UM_OK;
}

void um_safetensors_close(um_safetensors *f)
{
    if (f == NULL) return;
    json_decref(f->header);
    free(f->entry);
    free(f->by_name);
    free(f);
}

int um_safetensors_count(const um_safetensors *f) { return f->n; }
const um_torch_tensor *um_safetensors_get(const um_safetensors *f, int i) { return &f->entry[i].tensor; }

static const char *sorted_name(const void *of, int i)
{
    const um_safetensors *f = of;
    return f->entry[f->by_name[i]].tensor.name;
}

int um_safetensors_find(const um_safetensors *f, const char *name)
{
    int i = um_search_name(sorted_name, f, f->n, name);
    return i < 0 ? -1 : f->by_name[i];
}

const char *um_safetensors_metadata(const um_safetensors *f, const char *key) { return json_string_value(json_object_get(json_object_get(f->header, "__metadata__"), key)); }

/* ---- numbers ---- */

static um_status read_numbers(const um_safetensors *f, int i, float *f32, int64_t *i64, int64_t count)
{
    const entry *e = &f->entry[i];
    bool is_float = e->tensor.dtype <= UM_TORCH_BF16;
    if (count != e->tensor.count) return UM_FAIL(UM_INTERNAL, "%" PRId64 " numbers wanted of a tensor of %" PRId64, count, e->tensor.count);
    if (is_float != (f32 != NULL))
        return UM_FAIL(UM_DATA, "the tensor %s holds %s, not %s numbers", um_quote(e->tensor.name), dtype_names[e->tensor.dtype], f32 != NULL ? "floating-point" : "whole");
    um_torch_gather(&e->tensor, f->data + e->begin, f32, i64);
    return UM_OK;
}

um_status um_safetensors_read_f32(const um_safetensors *f, int i, float *out, int64_t count) { return read_numbers(f, i, out, NULL, count); }
um_status um_safetensors_read_i64(const um_safetensors *f, int i, int64_t *out, int64_t count) { return read_numbers(f, i, NULL, out, count); }

/* ---- writing ---- */

static um_status add_tensor(um_buf *b, const um_torch_tensor *t, int64_t *at)
{
    int64_t count = 1;
    UM_PASS(um_buf_add_json(b, t->name));
    UM_PASS(um_buf_add_str(b, ":{\"dtype\":\"F32\",\"shape\":["));
    for (int d = 0; d < t->n_dims; d++) {
        UM_PASS(um_buf_printf(b, "%s%" PRId64, d > 0 ? "," : "", t->dims[d]));
        count *= t->dims[d];
    }
    UM_PASS(um_buf_printf(b, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", *at, *at + 4 * count));
    *at += 4 * count;
    return UM_OK;
}

um_status um_safetensors_write(um_vfs *vfs, const char *path, const um_torch_tensor *tensor, int n, const float *data, const um_safetensors_text *metadata, int n_metadata)
{
    um_status st;
    um_buf b = {0};
    int64_t at = 0;
    uint8_t length[LENGTH_BYTES];
    UM_GOTO_PASS(st, um_buf_add_str(&b, "{"));
    for (int i = 0; i < n_metadata; i++) {
        UM_GOTO_PASS(st, um_buf_add_str(&b, i == 0 ? "\"__metadata__\":{" : ","));
        UM_GOTO_PASS(st, um_buf_add_json(&b, metadata[i].key));
        UM_GOTO_PASS(st, um_buf_add_str(&b, ":"));
        UM_GOTO_PASS(st, um_buf_add_json(&b, metadata[i].value));
    }
    if (n_metadata > 0) UM_GOTO_PASS(st, um_buf_add_str(&b, n > 0 ? "}," : "}"));
    for (int i = 0; i < n; i++) {
        if (i > 0) UM_GOTO_PASS(st, um_buf_add_str(&b, ","));
        UM_GOTO_PASS(st, add_tensor(&b, &tensor[i], &at));
    }
    UM_GOTO_PASS(st, um_buf_add_str(&b, "}"));
    while (b.len % 8 != 0) UM_GOTO_PASS(st, um_buf_add_str(&b, " "));
    for (int i = 0; i < LENGTH_BYTES; i++) length[i] = (uint8_t)((uint64_t)b.len >> (8 * i));
    um_vfs_whole w;
    UM_GOTO_PASS(st, um_vfs_whole_begin(vfs, path, &w));
    st = um_vfs_write(w.file, length, sizeof length);
    if (st == UM_OK) st = um_vfs_write(w.file, b.data, b.len);
    if (st == UM_OK) st = um_vfs_write(w.file, data, (size_t)at);
    st = um_vfs_whole_end(&w, st, NULL);
done:
    um_buf_release(&b);
    return st;
}
