#pragma once
/* codec.h: compressed pictures <-> um_image.
 *
 * PNG for lossless crops and masks, JPEG where asked, RAW = the bare samples behind a 12-byte header ("UMRW", u16 width, u16 height,
 * little-endian, u8 channels, 3 zero bytes). Decoders take untrusted bytes: sizes are limited by max_pixels, damaged data is UM_CORRUPT, an
 * unknown format UM_UNSUPPORTED_FORMAT. Checksums of a PNG are verified up to its end: a flipped bit is an error, never another pixel.
 */
#include "src/core/buf.h"
#include "src/image/image.h"

typedef enum um_codec_format { UM_CODEC_PNG = 0, UM_CODEC_JPEG = 1, UM_CODEC_RAW = 2 } um_codec_format;

typedef struct um_codec um_codec; /* compressor and decompressor state of one thread */
um_codec *um_codec_new(void);
void um_codec_free(um_codec *c);

/* Appends the encoded picture to `out`. img: 1 or 3 channels. jpeg_quality 1..100 (JPEG only; 4:4:4). Equal pixels give equal bytes (one
 * library version). Errors: UM_NO_MEMORY; UM_TOO_LARGE: a PNG of more than 2 GiB. */
um_status um_codec_encode(um_codec *c, um_codec_format f, int jpeg_quality, const um_image *img, um_buf *out);
/* Decodes PNG, JPEG or RAW by content. channels 1 or 3: what the caller wants. Alpha is dropped, of 16 bits the upper 8 stay, palettes are
 * expanded; colour becomes grey as in OpenCV's cvtColor, from a JPEG as its own luma. EXIF orientation of JPEG is not applied; a JPEG in CMYK is
 * UM_UNSUPPORTED_CODEC, and one that libjpeg only warns about (data cut short) is UM_CORRUPT. *out is new: um_image_free it; empty on failure. */
um_status um_codec_decode(um_codec *c, const void *bytes, size_t n, int channels, int64_t max_pixels, um_image *out);
/* JPEG and back, for augmentation (src/train/augment.h, um_augment_jpeg; its `self` is a um_codec): `in` RGB, encoded at quality 1..100 and decoded into `out` of the same size. As OpenCV's imencode and imdecode treat an RGB picture: 4:2:0, and the
 * first channel goes where blue belongs. Nothing is allocated once the buffer has grown, but for libjpeg's own. Errors: UM_NO_MEMORY, UM_INTERNAL. */
um_status um_codec_jpeg_pass(void *codec, int quality, const um_image *in, const um_image *out);
