/* Any bytes as a safetensors file: opened or refused, and every tensor of a file that opens can be read and lies in it.
 *
 * An input that begins with 'H' and two bytes is a header, to which its length before and that many bytes of numbers behind are made here. */
#include "io/safetensors.h"
#include "src/core/buf.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void try(const uint8_t *data, size_t size)
{
    um_safetensors *f;
    size_t total = 0;
    if (um_safetensors_open(data, size, &f) != UM_OK) {
        if (f != NULL) __builtin_trap();
        return;
    }
    for (int i = 0; i < um_safetensors_count(f); i++) {
        const um_torch_tensor *t = um_safetensors_get(f, i);
        if (t->count < 0 || (uint64_t)t->count > size || um_safetensors_find(f, t->name) != i) __builtin_trap();
        total += (size_t)t->count * um_torch_dtype_bytes(t->dtype);
        void *out = malloc((size_t)t->count * 8 + 1);
        if (out == NULL) abort();
        um_status st = t->dtype <= UM_TORCH_BF16 ? um_safetensors_read_f32(f, i, out, t->count) : um_safetensors_read_i64(f, i, out, t->count);
        if (st != UM_OK) __builtin_trap();
        free(out);
    }
    /* Every byte behind the header belongs to a tensor. */
    uint64_t header;
    memcpy(&header, data, sizeof header);
    if (total != size - 8 - header) __builtin_trap();
    (void)um_safetensors_metadata(f, "format");
    um_safetensors_close(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || data[0] != 'H') {
        try(data, size);
        return 0;
    }
    size_t n_numbers = (size_t)data[1] | (size_t)(data[2] & 15) << 8, n_header = size - 3, n = 8 + n_header + n_numbers;
    uint8_t *file = malloc(n);
    if (file == NULL) abort();
    uint64_t length = n_header;
    memcpy(file, &length, sizeof length);
    memcpy(file + 8, data + 3, n_header);
    for (size_t i = 0; i < n_numbers; i++) file[8 + n_header + i] = (uint8_t)(i * 37);
    try(file, n);
    free(file);
    return 0;
}
