#pragma once
/* torch_file.h: reads what torch.save wrote: dictionaries of tensors and numbers, in the zip format (torch 1.6 and later) and the
 * legacy format before it. Nothing in the file is executed (io/pickle.h).
 *
 *     um_torch_file *f;
 *     UM_TRY(um_torch_file_open(bytes, n, &f), "cannot read %s", um_quote(path));
 *     for (int i = 0; i < um_torch_file_count(f); i++) { const um_torch_tensor *t = um_torch_file_get(f, i); ... }
 *     UM_PASS(um_torch_file_read_f32(f, i, out, count));
 *     um_torch_file_close(f);
 *
 * Names are paths: the keys from the root to the tensor joined by '/' ("conv1.weight" in a bare state dict,
 * "state_dict/module.conv1.weight" in a checkpoint); items of lists and tuples have their number.
 *
 * The file is taken as a liar. Refused by name (UM_DATA): tensors that reach outside their storage or claim more elements than it
 * has (expanded ones), a storage described in two ways, duplicate names, storages nobody describes or that are missing, bytes that
 * belong to nothing, zip members that are compressed, repeated, outside the archive's one folder, or not as long as the storage
 * they hold. Memory is held in proportion to the file: its size for the storages of a zip, about 80 bytes for each byte of its
 * description (16 MiB at most), 64 for each byte of the file for names. The damage a checksum can find is found in the zip format
 * only: the legacy format has none. Formats: torch/serialization.py (_legacy_save, _save) and torch/_utils.py (_rebuild_tensor_v2)
 * of PyTorch 2.x.
 */
#include "src/core/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    UM_TORCH_MAX_DIMS = 8,
    UM_TORCH_MAX_TENSORS = 1 << 16,
    UM_TORCH_MAX_SCALARS = 1 << 16,
    UM_TORCH_MAX_NAME = 512, /* bytes of a path */
    UM_TORCH_MAX_DEPTH = 16, /* containers inside each other */
};

/* X(symbol, torch's storage class, bytes) */
#define UM_TORCH_DTYPE_TABLE(X)                                                                                                    \
    X(UM_TORCH_F32, "FloatStorage", 4)                                                                                             \
    X(UM_TORCH_F64, "DoubleStorage", 8)                                                                                            \
    X(UM_TORCH_F16, "HalfStorage", 2)                                                                                              \
    X(UM_TORCH_BF16, "BFloat16Storage", 2)                                                                                         \
    X(UM_TORCH_I64, "LongStorage", 8)                                                                                              \
    X(UM_TORCH_I32, "IntStorage", 4)                                                                                               \
    X(UM_TORCH_I16, "ShortStorage", 2)                                                                                             \
    X(UM_TORCH_I8, "CharStorage", 1)                                                                                               \
    X(UM_TORCH_U8, "ByteStorage", 1)                                                                                               \
    X(UM_TORCH_BOOL, "BoolStorage", 1)

typedef enum um_torch_dtype {
#define X(sym, storage, bytes) sym,
    UM_TORCH_DTYPE_TABLE(X)
#undef X
        UM_TORCH_DTYPES
} um_torch_dtype;
const char *um_torch_dtype_name(um_torch_dtype d); /* "f32" */
size_t um_torch_dtype_bytes(um_torch_dtype d);

typedef struct um_torch_tensor {
    const char *name;
    um_torch_dtype dtype;
    int n_dims;                                                  /* 0: one number */
    int64_t dims[UM_TORCH_MAX_DIMS], strides[UM_TORCH_MAX_DIMS]; /* strides and offset in elements */
    int64_t offset;
    int64_t count; /* product of dims */
    int storage;   /* index; tensors that share one (tied weights) have the same */
} um_torch_tensor;

typedef enum um_torch_scalar_kind { UM_TORCH_INT, UM_TORCH_FLOAT, UM_TORCH_BOOLEAN, UM_TORCH_STRING } um_torch_scalar_kind;
typedef struct um_torch_scalar {
    const char *name;
    um_torch_scalar_kind kind;
    int64_t i;     /* INT, BOOLEAN */
    double f;      /* FLOAT, INT */
    const char *s; /* STRING: its bytes up to the first 0 */
} um_torch_scalar;

typedef struct um_torch_file um_torch_file;

/* Reads the description of the n bytes, which must outlive *out. Any thread. Errors: UM_DATA, UM_NO_MEMORY. */
um_status um_torch_file_open(const void *bytes, size_t n, um_torch_file **out);
void um_torch_file_close(um_torch_file *f);
/* Tensors in the file's order. */
int um_torch_file_count(const um_torch_file *f);
const um_torch_tensor *um_torch_file_get(const um_torch_file *f, int i);
/* Index of the tensor with that name, or -1. */
int um_torch_file_find(const um_torch_file *f, const char *name);
/* What else the dictionaries hold: numbers (also NumPy's float32 and float64, as the best loss in a checkpoint often is), True/False,
 * strings (None is left out). */
int um_torch_file_scalar_count(const um_torch_file *f);
const um_torch_scalar *um_torch_file_scalar(const um_torch_file *f, int i);
/* The dimensions as text: "(10, 3, 3, 3)". Borrowed: thread-local, until the next call. */
const char *um_torch_tensor_shape(const um_torch_tensor *t);

/* Tensor i as contiguous row-major numbers; count must be its count (UM_INTERNAL otherwise). f32 from any float type (f64 is
 * rounded) and from none else; i64 from any integer type or bool. Not finite values pass. A storage is read and checked on first
 * use: one thread per file. Errors: UM_DATA (type; damaged storage), UM_NO_MEMORY. */
um_status um_torch_file_read_f32(um_torch_file *f, int i, float *out, int64_t count);
um_status um_torch_file_read_i64(um_torch_file *f, int i, int64_t *out, int64_t count);
/* Frees the copy that reading tensor i has made of its storage (of a zip; there is none in the legacy format). It may be read again. */
void um_torch_file_forget(um_torch_file *f, int i);
