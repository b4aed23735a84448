/* What a PNG of a face crop costs, by filter, compressor and level: how the choices in io/codec.c were made. usage: bench_png ROUNDS CROP...
 * CROP: width, height as little-endian u32, then RGB. Prints a table: milliseconds for 160 000 pixels (400 x 400), bytes a pixel. Only the packed rows are made (the chunks around them are the same for all); spng's
 * lines are whole PNGs. The smallest of ROUNDS passes counts. */
#include "src/core/clock.h"
#include "src/image/image.h"

#include <libdeflate.h>
#include <spng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUB = 1, UP, AVERAGE, PAETH, LEAST_SUM, FILTERS };
static const char *const NAME[FILTERS] = {"none", "sub", "up", "average", "paeth", "least sum"};

static inline int paeth(int a, int b, int c)
{
    int pa = abs(b - c), pb = abs(a - c), pc = abs(a + b - 2 * c);
    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

static void filter(int f, const uint8_t *restrict p, const uint8_t *restrict above, uint8_t *restrict out, size_t n)
{
    for (size_t i = 0; i < 3; i++) out[i] = (uint8_t)(p[i] - (f == SUB ? 0 : f == AVERAGE ? above[i] / 2 : above[i]));
    switch (f) {
    case SUB:
        for (size_t i = 3; i < n; i++) out[i] = (uint8_t)(p[i] - p[i - 3]);
        break;
    case UP:
        for (size_t i = 3; i < n; i++) out[i] = (uint8_t)(p[i] - above[i]);
        break;
    case AVERAGE:
        for (size_t i = 3; i < n; i++) out[i] = (uint8_t)(p[i] - ((p[i - 3] + above[i]) >> 1));
        break;
    default:
        for (size_t i = 3; i < n; i++) out[i] = (uint8_t)(p[i] - paeth(p[i - 3], above[i], above[i - 3]));
        break;
    }
}

static uint32_t sum(const uint8_t *p, size_t n)
{
    uint32_t s = 0;
    for (size_t i = 0; i < n; i++) s += (uint32_t)abs((int8_t)p[i]);
    return s;
}

static size_t filter_all(int f, const um_image *img, uint8_t *out)
{
    static uint8_t black[3 * UM_IMAGE_MAX_SIDE], trial[3 * UM_IMAGE_MAX_SIDE];
    size_t row = img->stride;
    uint8_t *start = out;
    for (int y = 0; y < img->height_px; y++, out += row + 1) {
        const uint8_t *p = img->data + (size_t)y * row, *above = y > 0 ? p - row : black;
        int best = f;
        if (f == LEAST_SUM) {
            uint32_t least = UINT32_MAX;
            for (int t = SUB; t <= PAETH; t++) {
                filter(t, p, above, trial, row);
                uint32_t s = sum(trial, row);
                if (s >= least) continue;
                least = s;
                best = t;
                memcpy(out + 1, trial, row);
            }
        } else {
            filter(f, p, above, out + 1, row);
        }
        out[0] = (uint8_t)best;
    }
    return (size_t)(out - start);
}

static size_t with_spng(const um_image *img, int level)
{
    struct spng_ihdr h = {.width = (uint32_t)img->width_px, .height = (uint32_t)img->height_px, .bit_depth = 8, .color_type = SPNG_COLOR_TYPE_TRUECOLOR};
    spng_ctx *c = spng_ctx_new(SPNG_CTX_ENCODER);
    size_t n = 0;
    int e = 0;
    spng_set_option(c, SPNG_ENCODE_TO_BUFFER, 1);
    spng_set_option(c, SPNG_IMG_COMPRESSION_LEVEL, level);
    spng_set_ihdr(c, &h);
    if (spng_encode_image(c, img->data, img->stride * (size_t)img->height_px, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE) == 0) free(spng_get_png_buffer(c, &n, &e));
    spng_ctx_free(c);
    return n;
}

int main(int argc, char **argv)
{
    int n = argc - 2, rounds = argc > 2 ? atoi(argv[1]) : 0;
    um_image *img = calloc((size_t)(n > 0 ? n : 1), sizeof *img);
    double pixels = 0;
    size_t most = 0;
    if (rounds < 1 || img == NULL) {
        fprintf(stderr, "usage: bench_png ROUNDS CROP...\n");
        return 2;
    }
    for (int i = 0; i < n; i++) {
        FILE *f = fopen(argv[i + 2], "rb");
        uint32_t head[2];
        if (f == NULL || fread(head, sizeof head, 1, f) != 1 || um_image_new((int)head[0], (int)head[1], 3, &img[i]) != UM_OK) return 1;
        size_t bytes = img[i].stride * (size_t)img[i].height_px;
        if (fread(img[i].data, 1, bytes, f) != bytes) return 1;
        fclose(f);
        pixels += (double)img[i].width_px * img[i].height_px;
        if (bytes + (size_t)img[i].height_px > most) most = bytes + (size_t)img[i].height_px;
    }
    uint8_t *rows = malloc(most), *packed = malloc(2 * most + 1024);
    if (rows == NULL || packed == NULL) return 1;
    printf("%-10s %-12s %8s %8s\n", "filter", "compressor", "ms", "bytes/px");
    for (int f = SUB; f < FILTERS; f++)
        for (int level = 0; level <= 6; level++) {
            struct libdeflate_compressor *c = libdeflate_alloc_compressor(level > 0 ? level : 1);
            double best = 1e9;
            size_t bytes = 0;
            for (int r = 0; r < rounds; r++) {
                double start = um_clock_s();
                bytes = 0;
                for (int i = 0; i < n; i++) {
                    size_t m = filter_all(f, &img[i], rows);
                    bytes += level > 0 ? libdeflate_zlib_compress(c, rows, m, packed, 2 * most + 1024) : m; /* level 0: the filter alone */
                }
                double t = um_clock_s() - start;
                if (t < best) best = t;
            }
            libdeflate_free_compressor(c);
            printf("%-10s %-10s %d %8.3f %8.4f\n", NAME[f], level > 0 ? "libdeflate" : "(nothing)", level, best * 1e3 * 160000 / pixels, (double)bytes / pixels);
            fflush(stdout);
        }
    for (int level = 1; level <= 6; level += level == 1 ? 2 : 3) {
        double best = 1e9;
        size_t bytes = 0;
        for (int r = 0; r < rounds; r++) {
            double start = um_clock_s();
            bytes = 0;
            for (int i = 0; i < n; i++) bytes += with_spng(&img[i], level);
            double t = um_clock_s() - start;
            if (t < best) best = t;
        }
        printf("%-10s %-10s %d %8.3f %8.4f\n", "spng's own", "zlib", level, best * 1e3 * 160000 / pixels, (double)bytes / pixels);
    }
    for (int i = 0; i < n; i++) um_image_free(&img[i]);
    free(img);
    free(rows);
    free(packed);
    return 0;
}
