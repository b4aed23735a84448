/* Augmentation's single operations against OpenCV, SciPy and albumentations (make_augment_golden.py). usage: test_augment DATA/augment.tsv
 * or, for compare_augment.py: test_augment -, which does what it is told: per picture a line "operation width height n numbers...\n" and the bytes on stdin, the result's bytes on stdout. */
#include "io/codec.h"
#include "src/image/cvresize.h"
#include "src/train/augment_parts.h"
#include "tests/golden/picture.h"
#include "tests/unit/test.h"

enum { MAX_NUMBERS = 8 };

typedef struct tools {
    um_codec *codec;
    um_cvresize *resize;
    um_augment_warper warper;
} tools;

/* *out is new; of in's size but for "fit". */
static um_status operate(tools *t, const char *name, const double *v, const um_image *in, um_image *out)
{
    const um_cvresize_kind up = v[1] == 0 ? UM_CVRESIZE_CUBIC : UM_CVRESIZE_LINEAR, down = v[1] == 2 ? UM_CVRESIZE_LINEAR : UM_CVRESIZE_AREA;
    if (strcmp(name, "fit") == 0) {
        UM_PASS(um_image_new((int)v[0], (int)v[0], 3, out));
        memset(out->data, 0x5a, out->stride * (size_t)out->height_px);
        return um_cvresize_fit(t->resize, in, down, up, out);
    }
    UM_PASS(um_image_new(in->width_px, in->height_px, 3, out));
    if (strcmp(name, "blur") == 0) {
        uint16_t *rows = malloc(9 * (size_t)in->width_px * sizeof *rows);
        if (rows == NULL) abort();
        um_augment_blur(in, rows, out);
        free(rows);
        return UM_OK;
    }
    if (strcmp(name, "flip") == 0) {
        um_augment_flip(in, out);
        return UM_OK;
    }
    if (strcmp(name, "jpeg") == 0) return um_codec_jpeg_pass(t->codec, (int)v[0], in, out);
    if (strcmp(name, "warp") == 0) return um_augment_warp(&t->warper, in, v[0], v[1], v[2], v[3], out);
    for (int y = 0; y < in->height_px; y++) memcpy(out->data + (size_t)y * out->stride, in->data + (size_t)y * in->stride, (size_t)in->width_px * 3);
    if (strcmp(name, "line") == 0) {
        const int line[2][2] = {{(int)v[0], (int)v[1]}, {(int)v[2], (int)v[3]}};
        int *rows = malloc(2 * (size_t)in->height_px * sizeof *rows);
        if (rows == NULL) abort();
        um_augment_cut_line(out, line, (int)v[4], rows);
        free(rows);
    } else if (strcmp(name, "half") == 0) {
        um_augment_blackout(out, (int)v[0]);
    } else if (strcmp(name, "brightness") == 0) {
        um_augment_brightness_contrast(out, v[0], v[1]);
    } else if (strcmp(name, "pca") == 0) {
        um_augment_pca(out, v[0]);
    } else if (strcmp(name, "hsv") == 0) {
        um_augment_hsv(out, v);
    } else if (strcmp(name, "tint") == 0) {
        um_augment_tint(out, v);
    } else if (strcmp(name, "shuffle") == 0) {
        um_augment_shuffle(out, (int)v[0]);
    } else if (strcmp(name, "grey") == 0) {
        um_augment_grey(out);
    } else if (strcmp(name, "noise") == 0) {
        const uint32_t key[2] = {(uint32_t)v[1], (uint32_t)v[2]};
        um_augment_noise(out, (float)v[0], key, out);
    } else {
        return UM_FAIL(UM_USAGE, "no such operation");
    }
    return UM_OK;
}

static bool read_head(FILE *f, char name[16], int *w, int *h, double v[MAX_NUMBERS])
{
    int n = 0;
    if (fscanf(f, "%15s %d %d %d", name, w, h, &n) != 4 || n < 0 || n > MAX_NUMBERS) return false;
    memset(v, 0, MAX_NUMBERS * sizeof *v);
    for (int i = 0; i < n; i++)
        if (fscanf(f, "%lf", &v[i]) != 1) return false;
    return true;
}

static int serve(tools *t)
{
    char name[16];
    int w, h;
    double v[MAX_NUMBERS];
    while (read_head(stdin, name, &w, &h, v) && getchar() == '\n') {
        um_image in, out = {0};
        CHECK_OK(um_image_new(w, h, 3, &in));
        const size_t bytes = in.stride * (size_t)h;
        if (fread(in.data, 1, bytes, stdin) != bytes) return 1;
        CHECK_OK(operate(t, name, v, &in, &out));
        fwrite(out.data, 1, out.stride * (size_t)out.height_px, stdout);
        fflush(stdout);
        um_image_free(&in);
        um_image_free(&out);
    }
    return TEST_END();
}

int main(int argc, char **argv)
{
    tools t = {.codec = um_codec_new()};
    CHECK(t.codec != NULL);
    CHECK_OK(um_cvresize_new(&t.resize));
    int code = 0;
    if (argc == 2 && strcmp(argv[1], "-") == 0) {
        code = serve(&t);
    } else {
        FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
        if (f == NULL) return 2;
        char name[16];
        int w, h, n = 0;
        unsigned want;
        double v[MAX_NUMBERS];
        while (read_head(f, name, &w, &h, v) && fscanf(f, "%x", &want) == 1) {
            for (size_t spare = 0; spare < 6; spare += 5) {
                um_image in, out = {0};
                picture(w, h, 3, spare, &in);
                CHECK_OK(operate(&t, name, v, &in, &out));
                const uint32_t crc = crc32(out.data, out.stride * (size_t)out.height_px);
                if (crc != want) fprintf(stderr, "%s of %dx%d (%g %g %g %g %g): %08x, want %08x\n", name, w, h, v[0], v[1], v[2], v[3], v[4], (unsigned)crc, want);
                CHECK(crc == want);
                free(in.data);
                um_image_free(&out);
            }
            n++;
        }
        CHECK(n > 200);
        fclose(f);
        code = TEST_END();
    }
    um_augment_warper_release(&t.warper);
    um_cvresize_free(t.resize);
    um_codec_free(t.codec);
    return code;
}
