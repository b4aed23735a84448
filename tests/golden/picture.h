#pragma once
/* The made-up picture of the resampling tests (make_resize_golden.py, make_cvresize_golden.py), and the checksum they compare by. */
#include "src/image/image.h"

#include <stdlib.h>
#include <string.h>

static inline uint32_t crc32(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    }
    return ~crc;
}

/* The picture of make_resize_golden.py, with `spare` bytes after each row that nothing may depend on. */
static void picture(int w, int h, int channels, size_t spare, um_image *out)
{
    *out = (um_image){.width_px = w, .height_px = h, .channels = channels, .stride = (size_t)(w * channels) + spare};
    out->data = malloc(out->stride * (size_t)h - spare); /* to the byte: a read past the end is seen by the sanitizer */
    if (out->data == NULL) abort();
    for (uint32_t y = 0; y < (uint32_t)h; y++) {
        uint8_t *row = out->data + y * out->stride;
        for (uint32_t x = 0; x < (uint32_t)w; x++)
            for (uint32_t c = 0; c < (uint32_t)channels; c++) {
                uint32_t v = x * 73856093u ^ y * 19349663u ^ c * 83492791u;
                v ^= v >> 15;
                v *= 0x2c1b3c6du;
                row[x * (uint32_t)channels + c] = (uint8_t)(y * 2 < (uint32_t)h ? v >> 13 : (x / 3 + y / 2 + c) % 3 == 0 ? 255 : 0);
            }
        if (y + 1 < (uint32_t)h) memset(row + w * channels, 0xa5, spare);
    }
}
