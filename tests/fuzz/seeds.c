/* seeds: writes the first inputs of fuzz_safetensors, fuzz_model and fuzz_h5image. usage: fuzz_seeds tests/fuzz/corpus */
#include "io/h5image.h"
#include "tests/fuzz/fuzz_model.h"

#include <stdio.h>

static void save(const char *root, const char *name, const char *before, const void *data, size_t n)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(before, 1, strlen(before), f) != strlen(before) || fwrite(data, 1, n, f) != n || fclose(f) != 0) {
        fprintf(stderr, "cannot write %s\n", path);
        exit(1);
    }
}

static void safetensors(const char *root)
{
    static const char *const header[] = {
        "{}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
        "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"F16\",\"shape\":[2,1],\"data_offsets\":[16,20]},\"a\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
        "\"e\":{\"dtype\":\"BF16\",\"shape\":[0,3],\"data_offsets\":[8,8]},\"d\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,16]}}",
        "{\"i\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[0,4]},\"s\":{\"dtype\":\"I16\",\"shape\":[1],\"data_offsets\":[4,6]},\"c\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[6,7]},"
        "\"u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[7,8]},\"t\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[8,9]}}  ",
    };
    static const uint8_t size[] = {0, 8, 20, 9};
    for (int i = 0; i < 4; i++) {
        um_buf b = {0};
        char name[64];
        tw_raw(&b, (uint8_t[]){'H', size[i], 0}, 3);
        tw_text(&b, header[i]);
        snprintf(name, sizeof name, "safetensors/header_%d", i);
        save(root, name, "", b.data, b.len);
        um_buf_clear(&b);
        tw_little(&b, strlen(header[i]), 8);
        tw_text(&b, header[i]);
        tw_raw(&b, (uint8_t[32]){0}, size[i]);
        snprintf(name, sizeof name, "safetensors/file_%d", i);
        save(root, name, "", b.data, b.len);
        um_buf_release(&b);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    safetensors(argv[1]);
    for (int kind = 0; kind < 2; kind++) {
        um_buf b = {0};
        size_t numbers;
        fuzz_model_file(kind, &b, &numbers);
        if (kind == 0)
            save(argv[1], "model/safetensors_header", "S", b.data + 8, numbers - 8);
        else
            save(argv[1], "model/legacy_pickles", "L", b.data, numbers);
        um_buf_release(&b);
    }
    um_h5image *im;
    const void *bytes;
    size_t n;
    if (um_h5image_new("model", &im) != UM_OK || um_h5image_add_text(im, "format", "x") != UM_OK || um_h5image_add(im, "a", H5T_IEEE_F32LE, 1, (hsize_t[]){3}, (float[]){1, 2, 3}) != UM_OK ||
        um_h5image_finish(im, &bytes, &n) != UM_OK)
        return 1;
    save(argv[1], "h5image/block", "B", bytes, UM_H5IMAGE_BLOCK_BYTES);
    save(argv[1], "h5image/file", "", bytes, n);
    um_h5image_free(im);
    return 0;
}
