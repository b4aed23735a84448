/* JPEGs of the usual kinds give the pixels that OpenCV and Pillow see, and bad pictures their status (make_codec_golden.py).
 * usage: test_codec CORPUS codec.tsv */
#include "io/codec.h"
#include "tests/unit/test.h"

#include <libdeflate.h>
#include <stdlib.h>

enum { MAX_PIXELS = 4096 * 4096 };

static size_t read_file(const char *dir, const char *name, uint8_t *out, size_t max)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    CHECK(f != NULL);
    if (f == NULL) return 0;
    size_t n = fread(out, 1, max, f);
    fclose(f);
    return n;
}

static void one(um_codec *c, const char *dir, const char *name, const char *status, int width, int height, uint32_t crc)
{
    static uint8_t file[1 << 16];
    size_t n = read_file(dir, name, file, sizeof file);
    um_image colour, grey;
    um_status st = um_codec_decode(c, file, n, 3, MAX_PIXELS, &colour), st_grey = um_codec_decode(c, file, n, 1, MAX_PIXELS, &grey);
    if (strcmp(um_status_name(st), status) != 0 || st_grey != st) {
        fprintf(stderr, "%s: %s and as grey %s, want %s (%s)\n", name, um_status_name(st), um_status_name(st_grey), status, um_err_text());
        test_failures++;
    }
    if (st == UM_OK) {
        CHECK_INT(colour.width_px, width);
        CHECK_INT(colour.height_px, height);
        CHECK_INT(colour.channels, 3);
        size_t bytes = (size_t)width * (size_t)height * 3;
        if (libdeflate_crc32(0, colour.data, bytes) != crc) {
            fprintf(stderr, "%s: other pixels than OpenCV's\n", name);
            test_failures++;
        }
    } else {
        CHECK(colour.data == NULL);
    }
    if (st == UM_OK && st_grey == UM_OK) {
        CHECK_INT(grey.channels, 1);
        /* Luma of colour; a JPEG gives its own, before it was rounded to colours. */
        int tolerance = strncmp(name, "jpeg", 4) == 0 ? 3 : 0;
        for (int i = 0; i < width * height; i++) {
            const uint8_t *p = colour.data + 3 * i;
            CHECK(abs(grey.data[i] - ((p[0] * 9798 + p[1] * 19235 + p[2] * 3735 + 16384) >> 15)) <= tolerance);
        }
    }
    um_image_free(&colour);
    um_image_free(&grey);
}

int main(int argc, char **argv)
{
    FILE *table = argc == 3 ? fopen(argv[2], "r") : NULL;
    um_codec *c = um_codec_new();
    char name[100], status[40];
    int width, height, files = 0;
    unsigned crc;
    CHECK(table != NULL && c != NULL);
    if (table == NULL || c == NULL) return TEST_END();
    while (fscanf(table, "%99s %39s %d %d %x", name, status, &width, &height, &crc) == 5) {
        one(c, argv[1], name, status, width, height, crc);
        files++;
    }
    CHECK_INT(files, 27);
    fclose(table);
    um_codec_free(c);
    return TEST_END();
}
