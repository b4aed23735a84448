#include "io/h5image.h"
#include "test.h"

#include <stdlib.h>
#include <sys/time.h>

/* The clock HDF5 reads: each call is a day later, so a file that kept a time would show it. */
int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    static long day;
    (void)zone;
    *tv = (struct timeval){.tv_sec = 1700000000 + 86400 * ++day};
    return 0;
}

static const float numbers[6] = {1, 2, 3, 4, 5, -6.5f};

/* The same small file each time, with memory that was used before, so that a byte left over would show. */
static um_status make(const char *extra, um_h5image **im)
{
    enum { DIRTY = 1 << 20 };
    for (int i = 0; i < 4; i++) {
        char *p = malloc(DIRTY);
        memset(p, 0xa5 + i, DIRTY);
        free(p);
    }
    uint8_t *rows = malloc(10000);
    memset(rows, 7, 10000);
    UM_PASS(um_h5image_new("detector", im));
    UM_PASS(um_h5image_add(*im, "pnet/conv1.weight", H5T_IEEE_F32LE, 2, (hsize_t[]){2, 3}, numbers));
    UM_PASS(um_h5image_add(*im, "bytes", H5T_STD_U8LE, 1, (hsize_t[]){10000}, NULL));
    UM_PASS(um_h5image_put(*im, "bytes", H5T_STD_U8LE, 0, 4000, rows));
    UM_PASS(um_h5image_put(*im, "bytes", H5T_STD_U8LE, 4000, 6000, rows));
    UM_PASS(um_h5image_add(*im, "empty", H5T_STD_U8LE, 1, (hsize_t[]){0}, NULL));
    UM_PASS(um_h5image_add_text(*im, "format", extra));
    free(rows);
    return UM_OK;
}

static void round_trip(void)
{
    um_h5image *im, *back, *again;
    const void *bytes = NULL, *bytes2 = NULL;
    size_t n = 0, n2 = 0;
    int64_t at;
    CHECK_OK(make("unmask-mtcnn 1", &im));
    CHECK_OK(um_h5image_offset(im, "bytes", &at));
    CHECK_OK(um_h5image_finish(im, &bytes, &n));
    CHECK(memcmp(bytes, "unmask-h5 1\nkind detector\n", 26) == 0);
    CHECK(at > 512 && (size_t)at + 10000 <= n);
    CHECK_INT(((const uint8_t *)bytes)[at], 7);
    CHECK_INT(((const uint8_t *)bytes)[at + 9999], 7);

    CHECK_OK(make("unmask-mtcnn 1", &again));
    CHECK_OK(um_h5image_finish(again, &bytes2, &n2));
    CHECK(n == n2 && memcmp(bytes, bytes2, n) == 0);
    um_h5image_free(again);

    float got[6];
    char text[32];
    um_names names;
    CHECK_OK(um_h5image_parse(bytes, n, "detector", "x.h5", &back));
    CHECK_OK(um_h5image_get(back, "pnet/conv1.weight", H5T_IEEE_F32LE, 2, (hsize_t[]){2, 3}, got));
    CHECK(memcmp(got, numbers, sizeof got) == 0);
    CHECK_OK(um_h5image_get_text(back, "format", text, sizeof text));
    CHECK_STR(text, "unmask-mtcnn 1");
    CHECK_INT(um_h5image_get_text(back, "format", text, 14), UM_DATA);
    CHECK_INT(um_h5image_get_text(back, "none", text, 14), UM_DATA);
    CHECK_INT(um_h5image_get(back, "pnet/conv1.weight", H5T_IEEE_F32LE, 2, (hsize_t[]){3, 2}, got), UM_DATA);
    CHECK_INT(um_h5image_get(back, "pnet/conv1.weight", H5T_STD_I32LE, 2, (hsize_t[]){2, 3}, got), UM_DATA);
    CHECK_INT(um_h5image_get(back, "pnet/none", H5T_STD_I32LE, 2, (hsize_t[]){2, 3}, got), UM_DATA);
    CHECK(um_h5image_has(back, "empty") && !um_h5image_has(back, "full"));
    CHECK_OK(um_h5image_list(back, &names));
    CHECK_INT(names.n, 3);
    if (names.n == 3) CHECK_STR(names.name[2], "pnet/conv1.weight");
    um_names_release(&names);
    um_h5image_free(back);
    um_h5image_free(im);
}

/* Every damage is found before HDF5 sees a byte. */
static void damage(void)
{
    um_h5image *im, *back;
    const void *bytes = NULL;
    size_t n = 0;
    CHECK_OK(make("x", &im));
    CHECK_OK(um_h5image_finish(im, &bytes, &n));
    uint8_t *copy = malloc(n + 1);
    int wrong = 0;
    for (size_t bit = 0; bit < n * 8; bit += bit < 4096 ? 1 : 97) {
        memcpy(copy, bytes, n);
        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        if (um_h5image_parse(copy, n, "detector", "x", &back) != UM_DATA) wrong++;
    }
    CHECK_INT(wrong, 0);
    memcpy(copy, bytes, n);
    copy[n] = 0;
    for (size_t len = 0; len <= n + 1; len += len < 600 ? 1 : n - len < 3 ? 1 : 500)
        if (len != n) CHECK_INT(um_h5image_parse(copy, len, "detector", "x", &back), UM_DATA);
    CHECK_INT(um_h5image_parse(bytes, n, "model", "x", &back), UM_DATA);
    CHECK(strstr(um_err_text(), "'detector' file, not a model file") != NULL);
    free(copy);
    um_h5image_free(im);
}

static um_status parse_of(um_h5image *im)
{
    um_h5image *back = NULL;
    const void *bytes = NULL;
    size_t n = 0;
    um_status st = um_h5image_finish(im, &bytes, &n);
    if (st != UM_OK) return UM_INTERNAL;
    st = um_h5image_parse(bytes, n, "model", "hostile.h5", &back);
    um_h5image_free(back);
    um_h5image_free(im);
    return st;
}

/* Files that are whole, but say what ours never say. */
static void hostile(void)
{
    um_h5image *im;
    hsize_t one[1] = {4}, huge[2] = {UINT64_C(1) << 40, 1 << 20};
    hid_t space = H5Screate_simple(1, one, NULL), p, set;

    CHECK_OK(um_h5image_new("model", &im));
    CHECK(H5Lcreate_external("/etc/passwd", "/x", um_h5image_id(im), "a", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    CHECK_INT(parse_of(im), UM_DATA);
    CHECK(strstr(um_err_text(), "link to elsewhere") != NULL);

    CHECK_OK(um_h5image_new("model", &im));
    CHECK(H5Lcreate_soft("/b", um_h5image_id(im), "a", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    CHECK_INT(parse_of(im), UM_DATA);

    CHECK_OK(um_h5image_new("model", &im));
    p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(p, "/etc/hostname", 0, 4);
    set = H5Dcreate2(um_h5image_id(im), "e", H5T_STD_U8LE, space, H5P_DEFAULT, p, H5P_DEFAULT);
    CHECK(set >= 0);
    H5Dclose(set);
    H5Pclose(p);
    CHECK_INT(parse_of(im), UM_DATA);
    CHECK(strstr(um_err_text(), "another file") != NULL);

    CHECK_OK(um_h5image_new("model", &im));
    p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_virtual(p, space, "/etc/hostname", "/d", space);
    set = H5Dcreate2(um_h5image_id(im), "v", H5T_STD_U8LE, space, H5P_DEFAULT, p, H5P_DEFAULT);
    CHECK(set >= 0);
    H5Dclose(set);
    H5Pclose(p);
    CHECK_INT(parse_of(im), UM_DATA);
    CHECK(strstr(um_err_text(), "made of other files") != NULL);

    CHECK_OK(um_h5image_new("model", &im));
    p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(p, 1, one);
    H5Pset_shuffle(p);
    set = H5Dcreate2(um_h5image_id(im), "f", H5T_STD_U8LE, space, H5P_DEFAULT, p, H5P_DEFAULT);
    CHECK(set >= 0);
    H5Dclose(set);
    H5Pclose(p);
    CHECK_INT(parse_of(im), UM_DATA);

    CHECK_OK(um_h5image_new("model", &im)); /* a shape without storage */
    hid_t big = H5Screate_simple(2, huge, NULL);
    set = H5Dcreate2(um_h5image_id(im), "g", H5T_STD_U8LE, big, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    CHECK(set >= 0);
    H5Dclose(set);
    H5Sclose(big);
    CHECK_INT(parse_of(im), UM_DATA);
    CHECK(strstr(um_err_text(), "beyond the file") != NULL);

    CHECK_OK(um_h5image_new("model", &im));
    hid_t text = H5Tcopy(H5T_C_S1);
    H5Tset_size(text, H5T_VARIABLE);
    set = H5Dcreate2(um_h5image_id(im), "t", text, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    CHECK(set >= 0);
    H5Dclose(set);
    CHECK_INT(parse_of(im), UM_DATA);
    H5Tclose(text);
    H5Sclose(space);
}

int main(void)
{
    round_trip();
    damage();
    hostile();
    return TEST_END();
}
