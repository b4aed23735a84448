/* Pictures to bytes and back: what users rely on is that PNG and RAW lose nothing, that damage is seen, and that PNGs of others are read as Pillow reads them. usage: test_codec FOLDER (tests/golden/data/png) */
#include "io/codec.h"
#include "tests/unit/test.h"

#include <libdeflate.h>
#include <stdbool.h>
#include <stdlib.h>

enum { MAX_PIXELS = 1 << 20 };

static void fill(um_image *img, uint32_t seed)
{
    size_t n = img->stride * (size_t)img->height_px;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        img->data[i] = (uint8_t)(i * 3 + (seed >> 30));
    }
}

static bool same(const um_image *a, const um_image *b)
{
    if (a->width_px != b->width_px || a->height_px != b->height_px || a->channels != b->channels) return false;
    for (int y = 0; y < a->height_px; y++)
        if (memcmp(a->data + (size_t)y * a->stride, b->data + (size_t)y * b->stride, (size_t)(a->width_px * a->channels)) != 0) return false;
    return true;
}

static void check_round_trips(um_codec *c)
{
    um_buf first = {0}, second = {0};
    for (int channels = 1; channels <= 3; channels += 2)
        for (int w = 1; w <= 40; w++)
            for (int h = 1; h <= 40; h++) {
                um_image img, whole, back;
                CHECK_OK(um_image_new(w + 3, h, channels, &whole));
                fill(&whole, (uint32_t)(w * 41 + h));
                img = um_image_crop(&whole, (um_rect){2, 0, w + 2, h}); /* a view: rows are not packed */
                for (int f = UM_CODEC_PNG; f <= UM_CODEC_RAW; f++) {
                    um_buf_clear(&first);
                    CHECK_OK(um_codec_encode(c, (um_codec_format)f, 90, &img, &first));
                    CHECK_OK(um_codec_decode(c, first.data, first.len, channels, MAX_PIXELS, &back));
                    if (f == UM_CODEC_JPEG)
                        CHECK(back.width_px == w && back.height_px == h && back.channels == channels);
                    else
                        CHECK(same(&img, &back));
                    /* equal pixels, other memory, appended to what is there: equal bytes */
                    um_image copy;
                    CHECK_OK(um_image_copy(&img, &copy));
                    um_buf_clear(&second);
                    CHECK_OK(um_buf_add(&second, "before", 6));
                    CHECK_OK(um_codec_encode(c, (um_codec_format)f, 90, &copy, &second));
                    CHECK(second.len == first.len + 6 && memcmp(second.data, "before", 6) == 0 && memcmp(second.data + 6, first.data, first.len) == 0);
                    um_image_free(&copy);
                    um_image_free(&back);
                }
                um_image_free(&whole);
            }
    um_buf_release(&first);
    um_buf_release(&second);
}

/* JPEG of a smooth picture comes back close; grey asked of colour is its luma. */
static void check_values(um_codec *c)
{
    um_image img, back;
    um_buf b = {0};
    CHECK_OK(um_image_new(48, 32, 3, &img));
    for (int i = 0; i < 48 * 32; i++) {
        img.data[3 * i] = (uint8_t)(40 + i % 48 * 3);
        img.data[3 * i + 1] = (uint8_t)(60 + i / 48 * 4);
        img.data[3 * i + 2] = 90;
    }
    CHECK_OK(um_codec_encode(c, UM_CODEC_JPEG, 95, &img, &b));
    CHECK_OK(um_codec_decode(c, b.data, b.len, 3, MAX_PIXELS, &back));
    int most = 0;
    for (int i = 0; i < 48 * 32 * 3; i++) most = abs(img.data[i] - back.data[i]) > most ? abs(img.data[i] - back.data[i]) : most;
    CHECK(most <= 6);
    um_image_free(&back);
    size_t large = b.len;
    um_buf_clear(&b);
    CHECK_OK(um_codec_encode(c, UM_CODEC_JPEG, 20, &img, &b));
    CHECK(b.len < large);
    for (int f = UM_CODEC_PNG; f <= UM_CODEC_JPEG; f++) {
        um_buf_clear(&b);
        CHECK_OK(um_codec_encode(c, (um_codec_format)f, 100, &img, &b));
        CHECK_OK(um_codec_decode(c, b.data, b.len, 1, MAX_PIXELS, &back));
        most = 0;
        for (int i = 0; i < 48 * 32; i++) {
            double luma = 0.299 * img.data[3 * i] + 0.587 * img.data[3 * i + 1] + 0.114 * img.data[3 * i + 2];
            if (fabs(luma - back.data[i]) > (f == UM_CODEC_PNG ? 0.51 : 2)) most++;
        }
        CHECK_INT(most, 0);
        um_image_free(&back);
    }
    um_buf_release(&b);
    um_image_free(&img);
}

static void check_refusals(um_codec *c)
{
    um_image img, back;
    um_buf b = {0};
    CHECK_OK(um_image_new(40, 30, 3, &img));
    fill(&img, 5);
    for (int f = UM_CODEC_PNG; f <= UM_CODEC_RAW; f++) {
        um_buf_clear(&b);
        CHECK_OK(um_codec_encode(c, (um_codec_format)f, 90, &img, &b));
        CHECK_INT(um_codec_decode(c, b.data, b.len, 3, 40 * 30 - 1, &back), UM_TOO_LARGE);
        CHECK(back.data == NULL);
        CHECK_OK(um_codec_decode(c, b.data, b.len, 3, 40 * 30, &back));
        um_image_free(&back);
    }
    CHECK_INT(um_codec_decode(c, b.data, b.len, 1, MAX_PIXELS, &back), UM_OK); /* RAW holds what it holds */
    CHECK_INT(um_codec_decode(c, "", 0, 3, MAX_PIXELS, &back), UM_UNSUPPORTED_FORMAT);
    CHECK_INT(um_codec_decode(c, "GIF89a and so on", 16, 3, MAX_PIXELS, &back), UM_UNSUPPORTED_FORMAT);
    um_image_free(&img);
    um_buf_release(&b);
}

/* Every cut and every flipped bit. A PNG carries checksums: its pixels are right or refused. Copies are exact in size, so that the address sanitizer sees a read past the end. */
static void check_damage(um_codec *c)
{
    for (int channels = 1; channels <= 3; channels += 2)
        for (int f = UM_CODEC_PNG; f <= UM_CODEC_RAW; f++) {
            um_image img, back;
            um_buf b = {0};
            int wrong = 0, accepted = 0;
            CHECK_OK(um_image_new(17, 9, channels, &img));
            fill(&img, 77);
            CHECK_OK(um_codec_encode(c, (um_codec_format)f, 90, &img, &b));
            for (size_t n = 0; n < b.len; n++) {
                uint8_t *cut = malloc(n > 0 ? n : 1);
                memcpy(cut, b.data, n);
                if (um_codec_decode(c, cut, n, channels, MAX_PIXELS, &back) == UM_OK) {
                    accepted++;
                    if (f != UM_CODEC_JPEG) wrong += !same(&img, &back);
                    um_image_free(&back);
                } else {
                    CHECK(back.data == NULL);
                }
                free(cut);
            }
            if (f != UM_CODEC_PNG) CHECK_INT(accepted, 0); /* a PNG may lack what follows its pixels */
            uint8_t *copy = malloc(b.len);
            for (size_t bit = 0; bit < b.len * 8; bit++) {
                memcpy(copy, b.data, b.len);
                copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ 1u << bit % 8);
                if (um_codec_decode(c, copy, b.len, channels, MAX_PIXELS, &back) == UM_OK) {
                    if (f == UM_CODEC_PNG) wrong += !same(&img, &back);
                    um_image_free(&back);
                }
            }
            free(copy);
            CHECK_INT(wrong, 0);
            um_buf_release(&b);
            um_image_free(&img);
        }
}

static void check_of_others(um_codec *c, const char *folder)
{
    char path[4096], name[64];
    int w, h, files = 0;
    unsigned want;
    snprintf(path, sizeof path, "%s/pixels.tsv", folder);
    FILE *list = fopen(path, "r");
    CHECK(list != NULL);
    if (list == NULL) return;
    while (fscanf(list, "%63s %d %d %x", name, &w, &h, &want) == 4) {
        static uint8_t bytes[1 << 16];
        snprintf(path, sizeof path, "%s/%s", folder, name);
        FILE *f = fopen(path, "rb");
        size_t n = f != NULL ? fread(bytes, 1, sizeof bytes, f) : 0;
        if (f != NULL) fclose(f);
        um_image img, grey;
        CHECK_OK(um_codec_decode(c, bytes, n, 3, MAX_PIXELS, &img));
        if (img.data == NULL) continue;
        CHECK(img.width_px == w && img.height_px == h && img.channels == 3);
        unsigned crc = libdeflate_crc32(0, img.data, img.stride * (size_t)img.height_px);
        if (crc != want) fprintf(stderr, "%s: %08x, want %08x\n", name, crc, want);
        CHECK(crc == want);
        CHECK_OK(um_codec_decode(c, bytes, n, 1, MAX_PIXELS, &grey));
        int off = 0;
        for (int i = 0; i < w * h && grey.data != NULL; i++) off += fabs(0.299 * img.data[3 * i] + 0.587 * img.data[3 * i + 1] + 0.114 * img.data[3 * i + 2] - grey.data[i]) > 0.51;
        CHECK_INT(off, 0);
        um_image_free(&img);
        um_image_free(&grey);
        files++;
    }
    fclose(list);
    CHECK_INT(files, 12);
}

int main(int argc, char **argv)
{
    um_codec *c = um_codec_new();
    if (argc != 2 || c == NULL) return 2;
    check_round_trips(c);
    check_values(c);
    check_refusals(c);
    check_damage(c);
    check_of_others(c, argv[1]);
    um_codec_free(c);
    return TEST_END();
}
