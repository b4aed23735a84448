/* Any bytes as a picture: decoded or refused; what was decoded keeps its limit and survives PNG and back.
 *
 * A fuzzer does not guess the checksums of a PNG, so it is tried twice: as it is, and with the checksums made right. */
#include "io/codec.h"
#include "tests/fuzz/fuzz.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PIXELS = 1 << 16 };

static void try(um_codec *c, const uint8_t *data, size_t size, int channels)
{
    um_image img, back;
    um_buf png = {0};
    if (um_codec_decode(c, data, size, channels, MAX_PIXELS, &img) != UM_OK) {
        if (img.data != NULL) __builtin_trap();
        return;
    }
    if ((int64_t)img.width_px * img.height_px > MAX_PIXELS || img.channels != channels) __builtin_trap();
    if (um_codec_encode(c, UM_CODEC_PNG, 0, &img, &png) != UM_OK) __builtin_trap();
    if (um_codec_decode(c, png.data, png.len, channels, MAX_PIXELS, &back) != UM_OK) __builtin_trap();
    if (back.width_px != img.width_px || memcmp(back.data, img.data, img.stride * (size_t)img.height_px) != 0) __builtin_trap();
    um_image_free(&back);
    um_image_free(&img);
    um_buf_release(&png);
}

static void mend_checksums(uint8_t *b, size_t n)
{
    for (size_t at = 8; n - at >= 12;) {
        size_t len = (size_t)b[at] << 24 | (size_t)b[at + 1] << 16 | (size_t)b[at + 2] << 8 | b[at + 3];
        if (len > n - at - 12) break;
        uint32_t crc = libdeflate_crc32(0, b + at + 4, len + 4);
        for (int i = 0; i < 4; i++) b[at + 8 + len + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    um_codec *c = um_codec_new();
    if (c == NULL) abort();
    try(c, data, size, 3);
    try(c, data, size, 1);
    if (size > 20 && data[0] == 0x89) {
        uint8_t *copy = malloc(size);
        if (copy == NULL) abort();
        memcpy(copy, data, size);
        mend_checksums(copy, size);
        try(c, copy, size, 3);
        free(copy);
    }
    um_codec_free(c);
    return 0;
}
