/* Any bytes as a torch file: opened or refused, and every tensor of a file that opens can be read and lies in its storage.
 *
 * A fuzzer does not guess the checksums of a zip. So an input that begins with 'Z' and four sizes is a description, for which a
 * sound archive with storages "0" to "3" of these sizes is made here. */
#include "io/torch_file.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/torch_writer.h"

#include <stdlib.h>
#include <string.h>

static void try(const uint8_t *data, size_t size)
{
    um_torch_file *f;
    if (um_torch_file_open(data, size, &f) != UM_OK) return;
    for (int i = 0; i < um_torch_file_count(f); i++) {
        const um_torch_tensor *t = um_torch_file_get(f, i);
        /* No tensor has more numbers than the file has bytes: what a caller allocates is bounded. */
        if (t->count < 0 || (uint64_t)t->count > size || um_torch_file_find(f, t->name) != i) __builtin_trap();
        if (t->dtype <= UM_TORCH_BF16) {
            float *out = malloc((size_t)t->count * sizeof *out + 1);
            (void)um_torch_file_read_f32(f, i, out, t->count);
            free(out);
        } else {
            int64_t *out = malloc((size_t)t->count * sizeof *out + 1);
            (void)um_torch_file_read_i64(f, i, out, t->count);
            free(out);
        }
    }
    for (int i = 0; i < um_torch_file_scalar_count(f); i++) {
        const um_torch_scalar *s = um_torch_file_scalar(f, i);
        if (s->name == NULL || (s->kind == UM_TORCH_STRING) != (s->s != NULL)) __builtin_trap();
    }
    um_torch_file_close(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const name[4] = {"x/data/0", "x/data/1", "x/data/2", "x/data/3"};
    if (size < 5 || data[0] != 'Z') {
        try(data, size);
        return 0;
    }
    um_buf b = {0};
    uint8_t content[255];
    tw_member m[5] = {tw_stored("x/data.pkl", data + 5, size - 5)};
    int n = 1;
    for (size_t i = 0; i < sizeof content; i++) content[i] = (uint8_t)(i * 37);
    for (int i = 0; i < 4; i++) {
        if (data[1 + i] < 255) m[n++] = tw_stored(name[i], content, data[1 + i]); /* 255: none */
    }
    tw_zip(&b, m, n);
    try(b.data, b.len);
    um_buf_release(&b);
    return 0;
}
