#include "io/codec.h"

#include "src/core/clones.h"

#include <libdeflate.h>
#include <spng.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

/* Level 3 of libdeflate with one filter for all rows: docs/numerics.md has the measurements that chose them. */
enum { DEFLATE_LEVEL = 3, PNG_FILTER_UP = 2, RAW_HEADER_BYTES = 12 };
/* What one chunk beside the picture (a colour profile, a text), and all of them unpacked, may take. Photographs carry up to a few MB. */
enum { MAX_CHUNK_BYTES = 16 << 20, MAX_CHUNKS_BYTES = 32 << 20 };

struct um_codec {
    struct libdeflate_compressor *deflate;
    tjhandle jpeg_out;
    um_buf filtered, packed;
};

um_codec *um_codec_new(void)
{
    um_codec *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->deflate = libdeflate_alloc_compressor(DEFLATE_LEVEL);
    c->jpeg_out = tjInitCompress();
    if (c->deflate != NULL && c->jpeg_out != NULL) return c;
    um_codec_free(c);
    return NULL;
}

void um_codec_free(um_codec *c)
{
    if (c == NULL) return;
    if (c->deflate != NULL) libdeflate_free_compressor(c->deflate);
    if (c->jpeg_out != NULL) tjDestroy(c->jpeg_out);
    um_buf_release(&c->filtered);
    um_buf_release(&c->packed);
    free(c);
}

/* ---- PNG (ISO/IEC 15948): signature, IHDR, one IDAT, IEND ---- */

static const uint8_t PNG_SIGNATURE[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

static void put32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static um_status add_chunk(um_buf *out, const char type[4], const void *data, size_t n)
{
    uint8_t head[8], tail[4];
    put32(head, (uint32_t)n);
    memcpy(head + 4, type, 4);
    uint32_t crc = libdeflate_crc32(libdeflate_crc32(0, head + 4, 4), data, n);
    put32(tail, crc);
    UM_PASS(um_buf_reserve(out, n + 12));
    UM_PASS(um_buf_add(out, head, 8));
    UM_PASS(um_buf_add(out, data, n));
    return um_buf_add(out, tail, 4);
}

UM_CLONES static void subtract(const uint8_t *restrict p, const uint8_t *restrict above, uint8_t *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = (uint8_t)(p[i] - above[i]);
}

/* Each row as its difference from the row above ("Up"), the first from a row of zeros. */
static um_status filter_rows(um_codec *c, const um_image *img)
{
    size_t row = (size_t)img->width_px * (size_t)img->channels, n = (row + 1) * (size_t)img->height_px;
    um_buf_clear(&c->filtered);
    UM_PASS(um_buf_reserve(&c->filtered, n));
    uint8_t *out = c->filtered.data;
    for (int y = 0; y < img->height_px; y++, out += row + 1) {
        const uint8_t *p = img->data + (size_t)y * img->stride;
        out[0] = PNG_FILTER_UP;
        if (y == 0)
            memcpy(out + 1, p, row);
        else
            subtract(p, p - img->stride, out + 1, row);
    }
    c->filtered.len = n;
    return UM_OK;
}

static um_status encode_png(um_codec *c, const um_image *img, um_buf *out)
{
    uint8_t ihdr[13] = {0};
    put32(ihdr, (uint32_t)img->width_px);
    put32(ihdr + 4, (uint32_t)img->height_px);
    ihdr[8] = 8;
    ihdr[9] = img->channels == 3 ? 2 : 0;
    UM_PASS(filter_rows(c, img));
    size_t bound = libdeflate_zlib_compress_bound(c->deflate, c->filtered.len);
    um_buf_clear(&c->packed);
    UM_PASS(um_buf_reserve(&c->packed, bound));
    c->packed.len = libdeflate_zlib_compress(c->deflate, c->filtered.data, c->filtered.len, c->packed.data, bound);
    if (c->packed.len == 0 || c->packed.len > INT32_MAX)
        return UM_FAIL(UM_TOO_LARGE, "a picture of %dx%d does not fit into one chunk of a PNG", img->width_px, img->height_px);
    UM_PASS(um_buf_add(out, PNG_SIGNATURE, 8));
    UM_PASS(add_chunk(out, "IHDR", ihdr, 13));
    UM_PASS(add_chunk(out, "IDAT", c->packed.data, c->packed.len));
    return add_chunk(out, "IEND", "", 0);
}

static um_status check_size(uint64_t width, uint64_t height, int64_t max_pixels)
{
    unsigned long long w = width, h = height;
    if (width < 1 || height < 1) return UM_FAIL(UM_CORRUPT, "a picture of %llux%llu", w, h);
    if (width > UM_IMAGE_MAX_SIDE || height > UM_IMAGE_MAX_SIDE || max_pixels < 0 || width * height > (uint64_t)max_pixels)
        return UM_FAIL(UM_TOO_LARGE, "a picture of %llux%llu is larger than the limit of %lld pixels", w, h, (long long)max_pixels);
    return UM_OK;
}

/* Colour asked for as grey, or grey as colour: a new picture of the other kind replaces *img. BT.601 luma as OpenCV's cvtColor. */
static um_status change_channels(um_image *img)
{
    um_image to;
    UM_PASS(um_image_new(img->width_px, img->height_px, img->channels == 3 ? 1 : 3, &to));
    size_t pixels = (size_t)img->width_px * (size_t)img->height_px;
    const uint8_t *p = img->data;
    if (to.channels == 1)
        for (size_t i = 0; i < pixels; i++) to.data[i] = (uint8_t)((p[3 * i] * 9798 + p[3 * i + 1] * 19235 + p[3 * i + 2] * 3735 + 16384) >> 15);
    else
        for (size_t i = 0; i < pixels; i++) memset(to.data + 3 * i, p[i], 3);
    um_image_free(img);
    *img = to;
    return UM_OK;
}

static um_status png_failed(int e)
{
    if (e == SPNG_EMEM) return UM_FAIL(UM_NO_MEMORY, "no memory for a PNG");
    if (e == SPNG_EUSER_WIDTH || e == SPNG_EUSER_HEIGHT || e == SPNG_ECHUNK_LIMITS) return UM_FAIL(UM_TOO_LARGE, "PNG: %s", spng_strerror(e));
    return UM_FAIL(UM_CORRUPT, "damaged PNG: %s", spng_strerror(e));
}

static um_status decode_png(const void *bytes, size_t n, int channels, int64_t max_pixels, um_image *out)
{
    struct spng_ihdr h;
    um_image img = {0};
    um_status st = UM_OK;
    int e;
    spng_ctx *ctx = spng_ctx_new(0);
    if (ctx == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a PNG");
    spng_set_crc_action(ctx, SPNG_CRC_ERROR, SPNG_CRC_DISCARD); /* USE for the others would switch off the check of the critical ones, too */
    spng_set_chunk_limits(ctx, MAX_CHUNK_BYTES, MAX_CHUNKS_BYTES);
    spng_set_image_limits(ctx, UM_IMAGE_MAX_SIDE, UM_IMAGE_MAX_SIDE);
    if ((e = spng_set_png_buffer(ctx, bytes, n)) == 0) e = spng_get_ihdr(ctx, &h);
    if (e != 0) {
        st = png_failed(e);
        goto done;
    }
    UM_GOTO_PASS(st, check_size(h.width, h.height, max_pixels));
    bool grey = h.color_type == SPNG_COLOR_TYPE_GRAYSCALE && h.bit_depth <= 8 && channels == 1;
    UM_GOTO_PASS(st, um_image_new((int)h.width, (int)h.height, grey ? 1 : 3, &img));
    e = spng_decode_image(ctx, img.data, img.stride * (size_t)img.height_px, grey ? SPNG_FMT_G8 : SPNG_FMT_RGB8, 0);
    /* libspng stops as soon as the picture is full, with the checksum of the last piece unread: a flipped bit near the end would give
     * wrong pixels and no error. Reading on to IEND checks it. */
    if (e == 0) e = spng_decode_chunks(ctx);
    if (e != 0) {
        st = png_failed(e);
        goto done;
    }
    if (img.channels != channels) UM_GOTO_PASS(st, change_channels(&img));
    *out = img;
    img = (um_image){0};
done:
    um_image_free(&img);
    spng_ctx_free(ctx);
    return st;
}

/* ---- JPEG ---- */

static um_status encode_jpeg(um_codec *c, int quality, const um_image *img, um_buf *out)
{
    int sampling = img->channels == 3 ? TJSAMP_444 : TJSAMP_GRAY, format = img->channels == 3 ? TJPF_RGB : TJPF_GRAY;
    unsigned long n = tjBufSize(img->width_px, img->height_px, sampling);
    UM_PASS(um_buf_reserve(out, n));
    unsigned char *at = out->data + out->len;
    if (tjCompress2(c->jpeg_out, img->data, img->width_px, (int)img->stride, img->height_px, format, &at, &n, sampling, quality,
                    TJFLAG_NOREALLOC | TJFLAG_ACCURATEDCT) != 0)
        return UM_FAIL(UM_INTERNAL, "a picture of %dx%d cannot be encoded as JPEG: %s", img->width_px, img->height_px,
                       tjGetErrorStr2(c->jpeg_out));
    out->len += n;
    out->data[out->len] = 0;
    return UM_OK;
}

um_status um_codec_jpeg_pass(void *codec, int quality, const um_image *in, const um_image *out)
{
    um_codec *c = codec;
    if (in->channels != 3 || out->channels != 3 || in->width_px != out->width_px || in->height_px != out->height_px)
        return UM_FAIL(UM_INTERNAL, "JPEG from %dx%d to %dx%d", in->width_px, in->height_px, out->width_px, out->height_px);
    unsigned long n = tjBufSize(in->width_px, in->height_px, TJSAMP_420);
    um_buf_clear(&c->packed);
    UM_PASS(um_buf_reserve(&c->packed, n));
    unsigned char *bytes = c->packed.data;
    if (tjCompress2(c->jpeg_out, in->data, in->width_px, (int)in->stride, in->height_px, TJPF_BGR, &bytes, &n, TJSAMP_420, quality, TJFLAG_NOREALLOC | TJFLAG_ACCURATEDCT) != 0)
        return UM_FAIL(UM_INTERNAL, "a picture of %dx%d cannot be encoded as JPEG: %s", in->width_px, in->height_px, tjGetErrorStr2(c->jpeg_out));
    tjhandle t = tjInitDecompress(); /* as for other people's pictures: one of its own */
    if (t == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a JPEG");
    um_status st = UM_OK;
    if (tjDecompress2(t, bytes, n, out->data, out->width_px, (int)out->stride, out->height_px, TJPF_BGR, TJFLAG_ACCURATEDCT) != 0) st = UM_FAIL(UM_INTERNAL, "our own JPEG cannot be read: %s", tjGetErrorStr2(t));
    tjDestroy(t);
    return st;
}

static um_status jpeg_failed(tjhandle t) { return UM_FAIL(UM_CORRUPT, "damaged JPEG: %s", tjGetErrorStr2(t)); }

/* A decompressor of its own for each picture (0.2 us of 630 for 400x400): libjpeg-turbo 2.1 leaves one that failed in a header in the middle of it, so that
 * it refuses the sound picture that comes next, and keeps a picture's tables for a next one that has none.
 * The accurate transform gives the same pixels on every processor. LIMITSCANS: a progressive file of a few KB may name thousands of
 * passes over the whole picture. A warning of the library (data cut short, bytes that are no code) is damage, too. */
static um_status decode_jpeg(const void *bytes, size_t n, int channels, int64_t max_pixels, um_image *out)
{
    /* Set here because a file that ends behind its tables counts as read, with the sizes untouched. */
    int width = 0, height = 0, sampling = 0, colours = 0, format = channels == 3 ? TJPF_RGB : TJPF_GRAY;
    um_image img = {0};
    um_status st = UM_OK;
    tjhandle t = tjInitDecompress();
    if (t == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a JPEG");
    if (tjDecompressHeader3(t, bytes, (unsigned long)n, &width, &height, &sampling, &colours) != 0) {
        st = jpeg_failed(t);
        goto done;
    }
    if (colours == TJCS_CMYK || colours == TJCS_YCCK) {
        st = UM_FAIL(UM_UNSUPPORTED_CODEC, "a JPEG in CMYK; convert it to RGB");
        goto done;
    }
    UM_GOTO_PASS(st, check_size((uint64_t)width, (uint64_t)height, max_pixels));
    UM_GOTO_PASS(st, um_image_new(width, height, channels, &img));
    if (tjDecompress2(t, bytes, (unsigned long)n, img.data, width, (int)img.stride, height, format, TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS) != 0) {
        st = jpeg_failed(t);
        goto done;
    }
    *out = img;
    img = (um_image){0};
done:
    um_image_free(&img);
    tjDestroy(t);
    return st;
}

/* ---- RAW ---- */

static um_status encode_raw(const um_image *img, um_buf *out)
{
    uint8_t head[RAW_HEADER_BYTES] = {'U', 'M', 'R', 'W'};
    head[4] = (uint8_t)img->width_px;
    head[5] = (uint8_t)(img->width_px >> 8);
    head[6] = (uint8_t)img->height_px;
    head[7] = (uint8_t)(img->height_px >> 8);
    head[8] = (uint8_t)img->channels;
    size_t row = (size_t)img->width_px * (size_t)img->channels;
    UM_PASS(um_buf_reserve(out, sizeof head + row * (size_t)img->height_px));
    UM_PASS(um_buf_add(out, head, sizeof head));
    for (int y = 0; y < img->height_px; y++) UM_PASS(um_buf_add(out, img->data + (size_t)y * img->stride, row));
    return UM_OK;
}

static um_status decode_raw(const uint8_t *b, size_t n, int channels, int64_t max_pixels, um_image *out)
{
    if (n < RAW_HEADER_BYTES) return UM_FAIL(UM_CORRUPT, "a raw picture of %zu bytes", n);
    unsigned width = b[4] | (unsigned)b[5] << 8, height = b[6] | (unsigned)b[7] << 8, stored = b[8];
    UM_PASS(check_size(width, height, max_pixels));
    size_t bytes = (size_t)width * height * stored;
    if ((stored != 1 && stored != 3) || b[9] != 0 || b[10] != 0 || b[11] != 0 || n - RAW_HEADER_BYTES != bytes)
        return UM_FAIL(UM_CORRUPT, "a raw picture of %ux%u with %u channels in %zu bytes", width, height, stored, n);
    um_image img;
    UM_PASS(um_image_new((int)width, (int)height, (int)stored, &img));
    memcpy(img.data, b + RAW_HEADER_BYTES, bytes);
    um_status st = img.channels != channels ? change_channels(&img) : UM_OK;
    if (st != UM_OK) {
        um_image_free(&img);
        return st;
    }
    *out = img;
    return UM_OK;
}

um_status um_codec_encode(um_codec *c, um_codec_format f, int jpeg_quality, const um_image *img, um_buf *out)
{
    switch (f) {
    case UM_CODEC_PNG: return encode_png(c, img, out);
    case UM_CODEC_JPEG: return encode_jpeg(c, jpeg_quality, img, out);
    case UM_CODEC_RAW: return encode_raw(img, out);
    }
    return UM_FAIL(UM_INTERNAL, "no such picture format: %d", (int)f);
}

um_status um_codec_decode(um_codec *c, const void *bytes, size_t n, int channels, int64_t max_pixels, um_image *out)
{
    (void)c; /* no state is carried from one picture to the next */
    *out = (um_image){0};
    if (n >= 8 && memcmp(bytes, PNG_SIGNATURE, 8) == 0) return decode_png(bytes, n, channels, max_pixels, out);
    if (n >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0) return decode_jpeg(bytes, n, channels, max_pixels, out);
    if (n >= 4 && memcmp(bytes, "UMRW", 4) == 0) return decode_raw(bytes, n, channels, max_pixels, out);
    return UM_FAIL(UM_UNSUPPORTED_FORMAT, "neither PNG nor JPEG");
}
