#pragma once
/* torch_number.h: the numbers of a tensor of torch's, of any type and strides, as contiguous ones. Part of torch_file.c. */
#include "io/torch_file.h"

/* Elements of t in row-major order, from its storage `data`, which was checked to hold them. Exactly one of f32 (t is of a float
 * type) and i64 (t is of an integer type) is given, with room for t->count. */
void um_torch_gather(const um_torch_tensor *t, const uint8_t *data, float *f32, int64_t *i64);
