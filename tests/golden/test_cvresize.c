/* OpenCV's INTER_AREA and INTER_CUBIC and the classifier's input, to the bit (make_cvresize_golden.py). usage: test_cvresize DATA/cvresize.tsv */
#include "src/image/cvresize.h"
#include "tests/golden/picture.h"
#include "tests/unit/test.h"

static void check_case(um_cvresize *r, const char *what, int w, int h, int to_w, int to_h, unsigned want)
{
    for (size_t spare = 0; spare < 6; spare += 5) {
        um_image src, dst;
        picture(w, h, 3, spare, &src);
        CHECK_OK(um_image_new(to_w, to_h, 3, &dst));
        CHECK_OK(strcmp(what, "area") == 0    ? um_cvresize_area(r, &src, &dst)
                 : strcmp(what, "cubic") == 0 ? um_cvresize_cubic(r, &src, &dst)
                                              : um_cvresize_letterbox(r, &src, to_w, dst.data));
        uint32_t crc = crc32(dst.data, dst.stride * (size_t)to_h);
        if (crc != want) fprintf(stderr, "%s %dx%d to %dx%d: %08x, want %08x\n", what, w, h, to_w, to_h, (unsigned)crc, want);
        CHECK(crc == want);
        free(src.data);
        um_image_free(&dst);
    }
}

int main(int argc, char **argv)
{
    FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
    um_cvresize *r = NULL;
    CHECK_OK(um_cvresize_new(&r));
    char what[16];
    int w, h, to_w, to_h, n = 0;
    unsigned crc;
    if (f == NULL || r == NULL) return 2;
    while (fscanf(f, "%15s %d %d %d %d %x", what, &w, &h, &to_w, &to_h, &crc) == 6) {
        check_case(r, what, w, h, to_w, to_h, crc); /* one um_cvresize for all: tables of one size must not serve another */
        n++;
    }
    CHECK(n > 80);
    fclose(f);
    um_image small, large, grey;
    CHECK_OK(um_image_new(4, 4, 3, &small));
    CHECK_OK(um_image_new(8, 3, 3, &large));
    CHECK_OK(um_image_new(2, 2, 1, &grey));
    CHECK_INT(um_cvresize_area(r, &small, &large), UM_USAGE); /* wider */
    CHECK_INT(um_cvresize_cubic(r, &small, &grey), UM_USAGE);
    um_image_free(&small);
    um_image_free(&large);
    um_image_free(&grey);
    um_cvresize_free(r);
    return TEST_END();
}
