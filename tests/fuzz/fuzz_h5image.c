/* Any bytes as the user block of a file of ours: nothing but the one block that belongs to a file lets HDF5 see it.
 *
 * HDF5's own parser is not put to this test: what it is given has passed a checksum. An input that begins with 'B' is the block before a sound file's HDF5 part. */
#include "io/h5image.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void sound_file(uint8_t **file, size_t *n)
{
    um_h5image *im;
    const void *bytes;
    if (um_h5image_new("model", &im) != UM_OK || um_h5image_add_text(im, "format", "x") != UM_OK || um_h5image_add(im, "a", H5T_IEEE_F32LE, 1, (hsize_t[]){3}, (float[]){1, 2, 3}) != UM_OK ||
        um_h5image_finish(im, &bytes, n) != UM_OK)
        abort();
    *file = malloc(*n);
    if (*file == NULL) abort();
    memcpy(*file, bytes, *n);
    um_h5image_free(im);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *sound;
    static size_t n;
    um_h5image *im;
    if (sound == NULL) sound_file(&sound, &n);
    if (size == 0 || data[0] != 'B') {
        if (um_h5image_parse(data, size, "model", "input", &im) == UM_OK) um_h5image_free(im);
        return 0;
    }
    size_t n_block = size - 1 < UM_H5IMAGE_BLOCK_BYTES ? size - 1 : UM_H5IMAGE_BLOCK_BYTES;
    uint8_t *file = malloc(n);
    if (file == NULL) abort();
    memcpy(file, sound, n);
    memset(file, 0, UM_H5IMAGE_BLOCK_BYTES);
    memcpy(file, data + 1, n_block);
    bool is_sound = memcmp(file, sound, n) == 0;
    um_status st = um_h5image_parse(file, n, "model", "input", &im);
    if ((st == UM_OK) != is_sound || (st != UM_OK && st != UM_DATA)) __builtin_trap();
    if (st == UM_OK) um_h5image_free(im);
    free(file);
    return 0;
}
