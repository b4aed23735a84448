#pragma once
/* codec.h: compressed pictures <-> um_image.
 *
 * PNG for lossless crops and masks, JPEG where asked, RAW = the bare samples behind a 12-byte header ("UMRW", u16 width, u16 height, u8 channels, 3 zero bytes).
 * Decoders take untrusted bytes: sizes are limited by max_pixels, damaged data is UM_CORRUPT, an unknown format UM_UNSUPPORTED_FORMAT.
 */
#include "src/core/buf.h"
#include "src/image/image.h"

typedef enum um_codec_format { UM_CODEC_PNG = 0, UM_CODEC_JPEG = 1, UM_CODEC_RAW = 2 } um_codec_format;

typedef struct um_codec um_codec; /* compressor and decompressor state of one thread */
um_codec *um_codec_new(void);
void um_codec_free(um_codec *c);

/* Appends the encoded picture to `out`. img: 1 or 3 channels. jpeg_quality 1..100 (JPEG only; 4:4:4). Equal pixels give equal bytes (one library version). */
um_status um_codec_encode(um_codec *c, um_codec_format f, int jpeg_quality, const um_image *img, um_buf *out);
/* Decodes PNG, JPEG or RAW by content. channels 1 or 3: what the caller wants (alpha is dropped, 16 bits are reduced, palettes expanded). EXIF orientation of JPEG is
 * not applied. *out is new: um_image_free it. */
um_status um_codec_decode(um_codec *c, const void *bytes, size_t n, int channels, int64_t max_pixels, um_image *out);
