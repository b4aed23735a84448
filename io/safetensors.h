#pragma once
/* safetensors.h: named tensors in the format of Hugging Face's safetensors library: what timm publishes weights in, and what we export.
 *
 *     um_safetensors *f;
 *     UM_TRY(um_safetensors_open(bytes, n, &f), "cannot read %s", um_quote(path));
 *     for (int i = 0; i < um_safetensors_count(f); i++) { const um_torch_tensor *t = um_safetensors_get(f, i); ... }
 *     UM_PASS(um_safetensors_read_f32(f, i, out, count));
 *     um_safetensors_close(f);
 *
 * A file is 8 bytes with the length of its header (little-endian), the header, a JSON object {"name": {"dtype": "F32", "shape": [2,3], "data_offsets": [begin, end]}, ..., "__metadata__": {"key": "text"}}, and the
 * numbers, little-endian and row-major; offsets count from the end of the header. A tensor is told of by um_torch_tensor, as those of torch's files are: its strides are those of contiguous numbers, its storage is -1.
 *
 * The file is taken as a liar. Refused by name (UM_DATA): a key that comes twice, keys nobody knows, numbers that are not whole or overflow, a length that is not that of shape and type, tensors that overlap, bytes between,
 * before or behind them, types that are not in um_torch_dtype (8-bit floats, unsigned numbers wider than 8 bits). Tensors may lie in any order. Memory held: at most about 50 bytes for each byte of the header
 * while it is parsed; the numbers stay where they are. The format has no checksum: a flipped bit in the numbers is not found. Format: the README of the safetensors library, "Format".
 */
#include "io/torch_file.h"
#include "io/vfs.h"

enum { UM_SAFETENSORS_MAX_HEADER = 4 << 20 }; /* bytes; that of a B7 has 130,000 */

typedef struct um_safetensors um_safetensors;

/* Do the bytes begin like one: a header's length within the limit, and a brace? */
bool um_safetensors_is(const void *bytes, size_t n);
/* The n bytes must outlive *out. Any thread. Errors: UM_DATA, UM_NO_MEMORY. */
um_status um_safetensors_open(const void *bytes, size_t n, um_safetensors **out);
void um_safetensors_close(um_safetensors *f);
/* Tensors in the order in which they lie in the file. */
int um_safetensors_count(const um_safetensors *f);
const um_torch_tensor *um_safetensors_get(const um_safetensors *f, int i);
/* Index of the tensor with that name, or -1. */
int um_safetensors_find(const um_safetensors *f, const char *name);
/* The text under that key of __metadata__, or NULL. Borrowed. */
const char *um_safetensors_metadata(const um_safetensors *f, const char *key);
/* As um_torch_file_read_f32 and _i64. UM_DATA when the type is of the other sort. */
um_status um_safetensors_read_f32(const um_safetensors *f, int i, float *out, int64_t count);
um_status um_safetensors_read_i64(const um_safetensors *f, int i, int64_t *out, int64_t count);

/* ---- writing ---- */

typedef struct um_safetensors_text {
    const char *key, *value; /* UTF-8 */
} um_safetensors_text;

/* Writes f32 tensors whose numbers lie one after another in `data`, in the order of `tensor`, of which name, n_dims and dims are used. The header holds the metadata (if any) first, has no blanks and is filled up with
 * blanks to a multiple of 8: equal content gives equal bytes. The file appears whole, by rename. Errors: UM_IO, UM_NO_MEMORY. */
um_status um_safetensors_write(um_vfs *vfs, const char *path, const um_torch_tensor *tensor, int n, const float *data, const um_safetensors_text *metadata, int n_metadata);
