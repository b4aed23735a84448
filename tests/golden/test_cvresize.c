/* OpenCV's area, cubic and linear resizing and the classifier's letterbox, to the bit (make_cvresize_golden.py). usage: test_cvresize DATA/cvresize.tsv
 * or, for compare_cvresize.py: test_cvresize -, which resizes what it is given: per picture a line "kind w h to_w to_h\n" and the bytes on stdin, the result's bytes on stdout. */
#include "src/image/cvresize.h"
#include "tests/golden/picture.h"
#include "tests/unit/test.h"

static um_status resize(um_cvresize *r, const char *kind, const um_image *in, um_image *out)
{
    if (strcmp(kind, "area") == 0) return um_cvresize_area(r, in, out);
    if (strcmp(kind, "cubic") == 0) return um_cvresize_cubic(r, in, out);
    if (strcmp(kind, "linear") == 0) return um_cvresize_linear(r, in, out);
    return um_cvresize_letterbox(r, in, out->width_px, out->data);
}

static void check_case(um_cvresize *r, const char *kind, int w, int h, int to_w, int to_h, unsigned want)
{
    for (size_t spare = 0; spare < 6; spare += 5) {
        um_image in, out, view;
        picture(w, h, 3, spare, &in);
        CHECK_OK(um_image_new(to_w + 4, to_h + 2, 3, &out));
        memset(out.data, 0x5a, out.stride * (size_t)out.height_px);
        view = um_image_crop(&out, (um_rect){2, 1, 2 + to_w, 1 + to_h});
        uint8_t *packed = malloc((size_t)to_w * 3 * (size_t)to_h);
        if (packed == NULL) abort();
        if (strcmp(kind, "letter") == 0) { /* packed by contract */
            CHECK_OK(um_cvresize_letterbox(r, &in, to_w, packed));
        } else {
            CHECK_OK(resize(r, kind, &in, &view));
            for (int y = 0; y < to_h; y++) memcpy(packed + (size_t)y * (size_t)to_w * 3, view.data + (size_t)y * view.stride, (size_t)to_w * 3);
            int outside = 0; /* nothing but the view is written */
            for (int y = 0; y < out.height_px; y++)
                for (int x = 0; x < out.width_px * 3; x++)
                    if (y < 1 || y > to_h || x < 6 || x >= 6 + to_w * 3) outside += out.data[(size_t)y * out.stride + (size_t)x] != 0x5a;
            CHECK_INT(outside, 0);
        }
        uint32_t crc = crc32(packed, (size_t)to_w * 3 * (size_t)to_h);
        if (crc != want) fprintf(stderr, "%s, %dx%d to %dx%d: %08x, want %08x\n", kind, w, h, to_w, to_h, (unsigned)crc, want);
        CHECK(crc == want);
        free(packed);
        free(in.data);
        um_image_free(&out);
    }
}

static int serve(um_cvresize *r)
{
    char kind[16];
    int w, h, to_w, to_h;
    while (scanf("%15s %d %d %d %d", kind, &w, &h, &to_w, &to_h) == 5 && getchar() == '\n') {
        um_image in, out;
        if (um_image_new(w, h, 3, &in) != UM_OK || um_image_new(to_w, to_h, 3, &out) != UM_OK) return 2;
        if (fread(in.data, in.stride, (size_t)h, stdin) != (size_t)h || resize(r, kind, &in, &out) != UM_OK) return 2;
        fwrite(out.data, out.stride, (size_t)to_h, stdout);
        fflush(stdout);
        um_image_free(&in);
        um_image_free(&out);
    }
    return 0;
}

int main(int argc, char **argv)
{
    um_cvresize *r = NULL;
    CHECK_OK(um_cvresize_new(&r));
    if (argc == 2 && strcmp(argv[1], "-") == 0) {
        int code = serve(r);
        um_cvresize_free(r);
        return code;
    }
    FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (f == NULL) return 2;
    char kind[16];
    int w, h, to_w, to_h, n = 0;
    unsigned crc;
    while (fscanf(f, "%15s %d %d %d %d %x", kind, &w, &h, &to_w, &to_h, &crc) == 6) {
        check_case(r, kind, w, h, to_w, to_h, crc); /* one um_cvresize for all: tables of one size must not serve another */
        n++;
    }
    CHECK(n > 400);
    fclose(f);

    um_image in, out;
    CHECK_OK(um_image_new(8, 8, 3, &in));
    memset(in.data, 7, 8 * 8 * 3);
    CHECK_OK(um_image_new(9, 8, 3, &out));
    CHECK_INT(um_cvresize_area(r, &in, &out), UM_USAGE); /* area averaging does not enlarge */
    out.channels = 1;
    CHECK_INT(um_cvresize_cubic(r, &in, &out), UM_USAGE);
    CHECK_INT(um_cvresize_letterbox(r, &in, 0, out.data), UM_USAGE);
    um_image_free(&in);
    um_image_free(&out);
    um_cvresize_free(r);
    return TEST_END();
}
