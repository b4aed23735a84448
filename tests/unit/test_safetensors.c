/* safetensors: what a sound file holds, and every way in which one may lie. */
#include "io/safetensors.h"
#include "src/core/buf.h"
#include "tests/unit/test.h"
#include "tests/unit/torch_writer.h"

#include <inttypes.h>
#include <unistd.h>

static void make(um_buf *b, const char *header, const void *data, size_t n)
{
    um_buf_clear(b);
    tw_little(b, strlen(header), 8);
    tw_text(b, header);
    tw_raw(b, data, n);
}

/* Opens a copy that ends where the file ends, so that the address sanitizer sees a read past it. */
static um_status open_copy(const void *p, size_t n, void **copy, um_safetensors **f)
{
    *copy = malloc(n > 0 ? n : 1);
    if (*copy == NULL) abort();
    if (n > 0) memcpy(*copy, p, n);
    return um_safetensors_open(*copy, n, f);
}

static void refused(int line, const char *header, size_t n_data, const char *word)
{
    static const uint8_t zeros[256];
    um_buf b = {0};
    void *copy;
    um_safetensors *f;
    make(&b, header, zeros, n_data);
    um_status st = open_copy(b.data, b.len, &copy, &f);
    if (st != UM_DATA || f != NULL || strstr(um_err_text(), word) == NULL) {
        fprintf(stderr, "line %d: want DATA and \"%s\", got %s: %s\n", line, word, um_status_name(st), um_err_text());
        test_failures++;
    }
    um_safetensors_close(f);
    free(copy);
    um_buf_release(&b);
}
#define REFUSED(header, n_data, word) refused(__LINE__, header, n_data, word)

#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

static void lies(void)
{
    REFUSED("{" A, 8, "not JSON");
    REFUSED("{" A "}x", 8, "not JSON");
    REFUSED("[" A "]", 8, "does not begin with a brace");
    REFUSED("{" A "," A "}", 8, "duplicate");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "duplicate");
    REFUSED("{" A ",\"\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[8,8]}}", 8, "a name of 0 bytes");
    REFUSED("{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "'a' and 'b' overlap");
    REFUSED("{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "overlap");
    REFUSED("{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}", 16, "4 bytes before the tensor 'b' belong to nothing");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[1,9]}}", 9, "1 bytes before the tensor 'a'");
    REFUSED("{" A "}", 9, "1 bytes behind the last tensor");
    REFUSED("{}", 4, "4 bytes behind");
    REFUSED("{" A "}", 7, "claims the bytes 0 to 8 of 7");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "claims the bytes 8 to 0");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, "claims the bytes -8 to 0");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,9223372036854775807]}}", 8, "claims the bytes");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,18446744073709551616]}}", 8, "not JSON");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}}", 8, "no data_offsets of two whole numbers");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8.0]}}", 8, "no data_offsets of two whole numbers");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "no data_offsets");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "no shape");
    REFUSED("{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "no dtype");
    REFUSED("{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[8],\"data_offsets\":[0,8]}}", 8, "'F8_E4M3', which is not read");
    REFUSED("{\"a\":{\"dtype\":7,\"shape\":[8],\"data_offsets\":[0,8]}}", 8, "no dtype");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "of shape (3) and type F32 has 8 bytes");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[-2,-1],\"data_offsets\":[0,8]}}", 8, "not a whole number");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8, "not a whole number");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "more elements than there are numbers");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, "has 0 bytes");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, "at most 8 dimensions");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"code\":\"rm\"}}", 8, "the key 'code'");
    REFUSED("{\"a\":[0,8]}", 8, "something else than an object");
    REFUSED("{\"__metadata__\":{\"n\":1}," A "}", 8, "'n' of __metadata__ is not a text");
    REFUSED("{\"__metadata__\":[]," A "}", 8, "__metadata__ is not an object");
    REFUSED("{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "not JSON");
    REFUSED("{\"a\xff\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "not JSON");

    /* a header longer than the limit, in a file that could hold it; lengths that wrap */
    uint8_t *big = calloc(1, UM_SAFETENSORS_MAX_HEADER + 64);
    um_safetensors *f;
    uint64_t length = UM_SAFETENSORS_MAX_HEADER + 1;
    memcpy(big, &length, sizeof length);
    memset(big + 8, ' ', (size_t)length);
    memcpy(big + 8, "{}", 2);
    CHECK(!um_safetensors_is(big, (size_t)length + 8));
    CHECK_INT(um_safetensors_open(big, (size_t)length + 8, &f), UM_DATA);
    CHECK(strstr(um_err_text(), "the limit is") != NULL);
    length--;
    memcpy(big, &length, sizeof length);
    CHECK_OK(um_safetensors_open(big, (size_t)length + 8, &f));
    CHECK_INT(um_safetensors_count(f), 0);
    um_safetensors_close(f);
    for (int k = 0; k < 12; k++) {
        length = UINT64_MAX - (uint64_t)k;
        memcpy(big, &length, sizeof length);
        CHECK_INT(um_safetensors_open(big, 64, &f), UM_DATA);
    }
    free(big);
}

/* All types and shapes, out of order, with blanks: read as they are; cut at any byte: refused. */
static void sound(void)
{
    static const char header[] = "{ \"h\" : {\"dtype\":\"F16\",\"shape\":[2,2],\"data_offsets\":[28,36]}, \"__metadata__\":{\"format\":\"pt\",\"x\":\"\"},"
                                 "\"f\":{\"data_offsets\":[0,8],\"shape\":[1,2],\"dtype\":\"F32\"},\"d\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[8,16]},"
                                 "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[16,20]},\"n\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[20,28]},"
                                 "\"none\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[28,28]},\"s\":{\"dtype\":\"I16\",\"shape\":[1],\"data_offsets\":[36,38]},"
                                 "\"i\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[38,42]},\"c\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[42,43]},"
                                 "\"u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[43,44]},\"t\":{\"dtype\":\"BOOL\",\"shape\":[2],\"data_offsets\":[44,46]}}   ";
    um_buf data = {0}, b = {0};
    tw_raw(&data, (float[]){1.5f, -2.25f}, 8);
    tw_raw(&data, &(double){0.1}, 8);
    tw_raw(&data, (uint16_t[]){0x3fc0, 0x7f80}, 4); /* 1.5, infinity */
    tw_raw(&data, &(int64_t){-(INT64_C(1) << 40)}, 8);
    tw_raw(&data, (uint16_t[]){0x3c00, 0x0001, 0xfbff, 0x8000}, 8); /* 1, the smallest subnormal, -65504, -0 */
    tw_raw(&data, &(int16_t){-7}, 2);
    tw_raw(&data, &(int32_t){-70000}, 4);
    tw_raw(&data, (uint8_t[]){0xff, 0xff, 2, 0}, 4);
    make(&b, header, data.data, data.len);

    void *copy;
    um_safetensors *f;
    float x[4];
    int64_t n[2];
    CHECK(um_safetensors_is(b.data, b.len));
    CHECK_OK(open_copy(b.data, b.len, &copy, &f));
    CHECK_INT(um_safetensors_count(f), 11);
    CHECK_STR(um_safetensors_get(f, 0)->name, "f"); /* in the order of their places */
    CHECK_STR(um_safetensors_get(f, 10)->name, "t");
    CHECK_STR(um_safetensors_metadata(f, "format"), "pt");
    CHECK(um_safetensors_metadata(f, "size") == NULL);
    CHECK_INT(um_safetensors_find(f, "nothing"), -1);
    CHECK_INT(um_safetensors_find(f, "__metadata__"), -1);
    for (int i = 0; i < 11; i++) CHECK_INT(um_safetensors_find(f, um_safetensors_get(f, i)->name), i);
#define READ(name, count) um_safetensors_read_f32(f, um_safetensors_find(f, name), x, count)
#define READ_INT(name, count) um_safetensors_read_i64(f, um_safetensors_find(f, name), n, count)
    CHECK_STR(um_torch_tensor_shape(um_safetensors_get(f, 0)), "(1, 2)");
    CHECK_OK(READ("f", 2));
    CHECK(x[0] == 1.5f && x[1] == -2.25f);
    CHECK_OK(READ("d", 1));
    CHECK(x[0] == 0.1f);
    CHECK_OK(READ("b", 2));
    CHECK(x[0] == 1.5f && isinf(x[1]));
    CHECK_OK(READ("h", 4));
    CHECK(x[0] == 1 && x[1] == 0x1p-24f && x[2] == -65504 && x[3] == 0 && signbit(x[3]));
    CHECK_OK(READ("none", 0));
    CHECK_OK(READ_INT("n", 1));
    CHECK_INT(n[0], -(INT64_C(1) << 40));
    CHECK_OK(READ_INT("s", 1));
    CHECK_INT(n[0], -7);
    CHECK_OK(READ_INT("i", 1));
    CHECK_INT(n[0], -70000);
    CHECK_OK(READ_INT("c", 1));
    CHECK_INT(n[0], -1);
    CHECK_OK(READ_INT("u", 1));
    CHECK_INT(n[0], 255);
    CHECK_OK(READ_INT("t", 2));
    CHECK(n[0] == 1 && n[1] == 0);
    CHECK_INT(READ("n", 1), UM_DATA);
    CHECK(strstr(um_err_text(), "holds I64") != NULL);
    CHECK_INT(READ_INT("f", 2), UM_DATA);
    CHECK_INT(READ("f", 1), UM_INTERNAL);
    um_safetensors_close(f);
    free(copy);

    for (size_t cut = 0; cut < b.len; cut++) {
        um_status st = open_copy(b.data, cut, &copy, &f);
        if (st != UM_DATA) fprintf(stderr, "cut at %zu\n", cut);
        CHECK_INT(st, UM_DATA);
        um_safetensors_close(f);
        free(copy);
    }
    um_buf_release(&b);
    um_buf_release(&data);
}

static void writing(void)
{
    static const um_torch_tensor t[3] = {{.name = "w", .n_dims = 4, .dims = {2, 1, 1, 2}}, {.name = "e\"\xc3\xa9", .n_dims = 1, .dims = {0}}, {.name = "b", .n_dims = 1, .dims = {1}}};
    static const float data[5] = {1, -2, 3.5f, 1e-40f, 0.1f};
    static const um_safetensors_text meta[2] = {{"format", "pt"}, {"size", "380"}};
    um_vfs *vfs = um_vfs_real();
    char folder[] = "test_safetensors.XXXXXX", path[64];
    if (mkdtemp(folder) == NULL) abort();
    snprintf(path, sizeof path, "%s/x.safetensors", folder);
    for (int n_meta = 0; n_meta <= 2; n_meta += 2) {
        void *bytes, *again;
        size_t n, n_again;
        um_safetensors *f;
        float x[5];
        CHECK_OK(um_safetensors_write(vfs, path, t, 3, data, meta, n_meta));
        CHECK_OK(um_vfs_read_whole(vfs, path, 1 << 20, &bytes, &n));
        uint64_t length;
        memcpy(&length, bytes, 8);
        CHECK_INT(length % 8, 0);
        CHECK_INT(n, 8 + length + sizeof data);
        CHECK(memcmp((char *)bytes + 8 + length, data, sizeof data) == 0);
        CHECK_OK(um_safetensors_open(bytes, n, &f));
        CHECK_INT(um_safetensors_count(f), 3);
        CHECK_OK(um_safetensors_read_f32(f, um_safetensors_find(f, "w"), x, 4));
        CHECK_OK(um_safetensors_read_f32(f, um_safetensors_find(f, "b"), x + 4, 1));
        CHECK(memcmp(x, data, sizeof data) == 0);
        CHECK_STR(um_torch_tensor_shape(um_safetensors_get(f, um_safetensors_find(f, "w"))), "(2, 1, 1, 2)");
        CHECK(um_safetensors_find(f, t[1].name) >= 0);
        if (n_meta > 0) CHECK_STR(um_safetensors_metadata(f, "size"), "380");
        um_safetensors_close(f);
        CHECK_OK(um_safetensors_write(vfs, path, t, 3, data, meta, n_meta)); /* replaces it, with the same bytes */
        CHECK_OK(um_vfs_read_whole(vfs, path, 1 << 20, &again, &n_again));
        CHECK(n == n_again && memcmp(bytes, again, n) == 0);
        free(bytes);
        free(again);
    }
    /* nothing at all */
    CHECK_OK(um_safetensors_write(vfs, path, t, 0, data, meta, 1));
    CHECK_INT(um_safetensors_write(vfs, "no/such/folder/x.safetensors", t, 3, data, NULL, 0), UM_IO);
    unlink(path);
    CHECK_INT(rmdir(folder), 0);
}

int main(void)
{
    lies();
    sound();
    writing();
    return TEST_END();
}
