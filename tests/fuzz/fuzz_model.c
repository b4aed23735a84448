/* Any bytes as a file with weights, all the way: told by content, parsed, its tensors named, checked and converted. What is imported is finite and whole.
 *
 * An input that begins with 'S' or 'L' is what stands before the numbers in a safetensors or legacy file of a small network (the header without its length; the pickles); length and numbers are added here. So the fuzzer
 * works on names, shapes and places, and a file stays near a sound one. */
#include "io/model.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_model.h"

static um_status try(const uint8_t *data, size_t size, const char *arch)
{
    um_model m;
    um_model_dropped dropped;
    um_status st = um_model_import_bytes(data, size, &(um_model_import){.arch = arch}, &m, &dropped);
    if (st != UM_OK) {
        if (m.params != NULL) __builtin_trap();
        return st;
    }
    if (m.param_count <= 0 || (uint64_t)m.param_count * 2 > size || strlen(m.fingerprint) != 16) __builtin_trap();
    for (int64_t i = 0; i < m.param_count; i++) {
        if (!isfinite(m.params[i])) __builtin_trap();
    }
    um_model_release(&m);
    return UM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static um_buf sound[2];
    static size_t numbers[2];
    int kind = size > 0 && data[0] == 'S' ? 0 : size > 0 && data[0] == 'L' ? 1 : -1;
    if (kind < 0) {
        try(data, size, NULL);
        try(data, size, "w0.1d0.1");
        return 0;
    }
    if (sound[kind].data == NULL) fuzz_model_file(kind, &sound[kind], &numbers[kind]);
    um_buf b = {0};
    if (kind == 0) tw_little(&b, size - 1, 8);
    tw_raw(&b, data + 1, size - 1);
    tw_raw(&b, sound[kind].data + numbers[kind], sound[kind].len - numbers[kind]);
    bool is_sound = b.len == sound[kind].len && memcmp(b.data, sound[kind].data, b.len) == 0;
    if (try(b.data, b.len, kind == 0 ? NULL : "w0.1d0.1") != UM_OK && is_sound) __builtin_trap();
    um_buf_release(&b);
    return 0;
}
