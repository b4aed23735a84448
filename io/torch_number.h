#pragma once
/* torch_number.h: the numbers of a tensor of torch's, of any type and strides, as contiguous ones. Part of torch_file.c. */
#include "io/pickle.h"
#include "io/torch_file.h"

/* Elements of t in row-major order, from its storage `data`, which was checked to hold them. Exactly one of f32 (t is of a float
 * type) and i64 (t is of an integer type) is given, with room for t->count. */
void um_torch_gather(const um_torch_tensor *t, const uint8_t *data, float *f32, int64_t *i64);
/* A number of NumPy's from its type, the string "f4" or "f8", and its little-endian bytes, which are the characters of a string. */
bool um_torch_numpy_number(const um_pickle_value *type, const um_pickle_value *text, double *out);
