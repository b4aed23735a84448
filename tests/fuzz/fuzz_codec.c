/* Any bytes as a picture: refused, or a picture within the limit that a PNG brings back unchanged. */
#include "io/codec.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { MAX_PIXELS = 1 << 18 };
    static um_codec *c;
    if (c == NULL) c = um_codec_new();
    if (c == NULL) __builtin_trap();
    for (int channels = 1; channels <= 3; channels += 2) {
        um_image img, back;
        um_buf b = {0};
        if (um_codec_decode(c, data, size, channels, MAX_PIXELS, &img) != UM_OK) {
            if (img.data != NULL) __builtin_trap();
            continue;
        }
        if (img.channels != channels || img.width_px < 1 || img.height_px < 1 || (int64_t)img.width_px * img.height_px > MAX_PIXELS) __builtin_trap();
        if (um_codec_encode(c, UM_CODEC_PNG, 0, &img, &b) != UM_OK || um_codec_decode(c, b.data, b.len, channels, MAX_PIXELS, &back) != UM_OK) __builtin_trap();
        if (back.width_px != img.width_px || back.height_px != img.height_px || memcmp(back.data, img.data, img.stride * (size_t)img.height_px) != 0) __builtin_trap();
        um_image_free(&back);
        um_image_free(&img);
        um_buf_release(&b);
    }
    return 0;
}
