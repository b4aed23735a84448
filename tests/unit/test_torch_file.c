/* Torch files: what torch itself wrote is read to the bit (tests/golden/make_torch_files.py), and files that lie are refused by
 * name. */
#include "io/torch_file.h"
#include "io/vfs.h"
#include "tests/unit/test.h"
#include "tests/unit/torch_writer.h"

#include <stdio.h>
#include <sys/resource.h>

static void expect_f32(um_torch_file *f, const char *name, const char *shape, const float *want, int64_t n)
{
    float got[64];
    int i = um_torch_file_find(f, name);
    CHECK(i >= 0);
    if (i < 0) return;
    const um_torch_tensor *t = um_torch_file_get(f, i);
    CHECK_STR(um_torch_tensor_shape(t), shape);
    CHECK_INT(t->count, n);
    CHECK_OK(um_torch_file_read_f32(f, i, got, n));
    for (int64_t k = 0; k < n; k++) CHECK(got[k] == want[k]);
}

static void expect_i64(um_torch_file *f, const char *name, um_torch_dtype dtype, const int64_t *want, int64_t n)
{
    int64_t got[64];
    int i = um_torch_file_find(f, name);
    CHECK(i >= 0);
    if (i < 0) return;
    CHECK_INT(um_torch_file_get(f, i)->dtype, dtype);
    CHECK_OK(um_torch_file_read_i64(f, i, got, n));
    for (int64_t k = 0; k < n; k++) CHECK_INT(got[k], want[k]);
}

static void golden(const char *name)
{
    char path[1024];
    void *bytes = NULL;
    size_t n;
    um_torch_file *f = NULL;
    snprintf(path, sizeof path, "%s/tests/golden/data/%s", getenv("UNMASK_SOURCE"), name);
    CHECK_OK(um_vfs_read_whole(um_vfs_real(), path, 1 << 20, &bytes, &n));
    if (bytes == NULL) return;
    CHECK_OK(um_torch_file_open(bytes, n, &f));
    if (f == NULL) return;
    float turned[24], whole[24];
    for (int i = 0; i < 24; i++) whole[i] = (float)i;
    for (int a = 0; a < 4; a++) {
        for (int b = 0; b < 6; b++) turned[a * 6 + b] = (float)(b / 3 * 12 + b % 3 * 4 + a);
    }
    CHECK_INT(um_torch_file_count(f), 29);
    CHECK_STR(um_torch_file_get(f, 0)->name, "state_dict/module.0.weight");
    expect_f32(f, "state_dict/module.0.weight", "(2, 1, 1, 1)", (const float[]){0.5f, -0.25f}, 2);
    expect_f32(f, "module/0.bias", "(2)", (const float[]){1, 2}, 2);
    expect_i64(f, "state_dict/module.1.num_batches_tracked", UM_TORCH_I64, (const int64_t[]){7}, 1);
    expect_f32(f, "views/whole", "(2, 3, 4)", whole, 24);
    expect_f32(f, "views/turned", "(4, 2, 3)", turned, 24);
    expect_f32(f, "views/part", "(4)", (const float[]){5, 7, 9, 11}, 4);
    expect_f32(f, "views/point", "()", (const float[]){3.5f}, 1);
    expect_f32(f, "views/none", "(0, 3)", NULL, 0);
    expect_f32(f, "views/parameter", "(2)", (const float[]){1.5f, -2.5f}, 2);
    expect_f32(f, "types/0", "(5)", (const float[]){1, -2, 65504, 0x1p-24f, (float)INFINITY}, 5);
    expect_f32(f, "types/1", "(3)", (const float[]){1, -2, 3.140625f}, 3);
    expect_f32(f, "types/2", "(2)", (const float[]){0.1f, (float)-INFINITY}, 2);
    expect_i64(f, "types/3", UM_TORCH_I64, (const int64_t[]){-1, INT64_C(1) << 40}, 2);
    expect_i64(f, "types/4", UM_TORCH_I32, (const int64_t[]){-5}, 1);
    expect_i64(f, "types/5", UM_TORCH_I16, (const int64_t[]){-6}, 1);
    expect_i64(f, "types/6", UM_TORCH_I8, (const int64_t[]){-7}, 1);
    expect_i64(f, "types/7", UM_TORCH_U8, (const int64_t[]){200}, 1);
    expect_i64(f, "types/8", UM_TORCH_BOOL, (const int64_t[]){1, 0}, 2);
    CHECK_INT(um_torch_file_find(f, "views"), -1);
    CHECK_INT(um_torch_file_get(f, um_torch_file_find(f, "views/whole"))->storage,
              um_torch_file_get(f, um_torch_file_find(f, "views/part"))->storage);
    float x;
    CHECK_INT(um_torch_file_read_f32(f, um_torch_file_find(f, "types/4"), &x, 1), UM_DATA);
    CHECK(strstr(um_err_text(), "'types/4' holds i32") != NULL);
    CHECK_INT(um_torch_file_read_f32(f, um_torch_file_find(f, "views/whole"), &x, 1), UM_INTERNAL);
    CHECK_INT(um_torch_file_scalar_count(f), 4);
    CHECK_STR(um_torch_file_scalar(f, 0)->name, "epoch");
    CHECK_INT(um_torch_file_scalar(f, 0)->i, 41);
    CHECK(um_torch_file_scalar(f, 1)->f == 0.125);
    CHECK_STR(um_torch_file_scalar(f, 2)->s, "b0");
    CHECK_INT(um_torch_file_scalar(f, 3)->kind, UM_TORCH_BOOLEAN);
    um_torch_file_close(f);

    /* Torn and flipped: a cut is always found; a flipped bit is found or changes numbers or names only. All tensors are read each
     * time. */
    double *room = malloc(64 * sizeof *room);
    for (size_t cut = 0; cut < n; cut++) {
        void *copy = malloc(cut + 1);
        memcpy(copy, bytes, cut);
        CHECK_INT(um_torch_file_open(copy, cut, &f), UM_DATA);
        free(copy);
    }
    uint8_t *b = bytes;
    for (size_t at = 0; at < n; at++) {
        uint8_t mask = (uint8_t)(1 << at % 8);
        b[at] ^= mask;
        um_status st = um_torch_file_open(b, n, &f);
        CHECK(st == UM_OK || st == UM_DATA);
        for (int i = 0; st == UM_OK && i < um_torch_file_count(f); i++) {
            const um_torch_tensor *t = um_torch_file_get(f, i);
            if (t->count > 64) continue;
            um_status read = t->dtype <= UM_TORCH_BF16 ? um_torch_file_read_f32(f, i, (float *)room, t->count)
                                                       : um_torch_file_read_i64(f, i, (int64_t *)room, t->count);
            CHECK(read == UM_OK || read == UM_DATA);
        }
        um_torch_file_close(f);
        b[at] ^= mask;
    }
    free(room);
    free(bytes);
}

/* ---- lies ---- */

static const float numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};

/* Opens, and reads all that opens. */
static um_status try(const um_buf *b)
{
    um_torch_file *f = NULL;
    uint8_t *copy = malloc(b->len + 1);
    memcpy(copy, b->data, b->len);
    um_status st = um_torch_file_open(copy, b->len, &f);
    for (int i = 0; st == UM_OK && i < um_torch_file_count(f); i++) {
        float out[64];
        const um_torch_tensor *t = um_torch_file_get(f, i);
        if (t->count <= 64 && t->dtype == UM_TORCH_F32) st = um_torch_file_read_f32(f, i, out, t->count);
    }
    um_torch_file_close(f);
    free(copy);
    return st;
}

static void expect(int line, const um_buf *b, const char *word)
{
    um_status st = try(b);
    if (word == NULL ? st != UM_OK : st != UM_DATA || strstr(um_err_text(), word) == NULL) {
        fprintf(stderr, "line %d: want %s, got %s: %s\n", line, word != NULL ? word : "OK", um_status_name(st), um_err_text());
        test_failures++;
    }
}

/* A legacy file with these tensors, whose storages are all "0" of 8 f32. */
static void legacy(um_buf *b, const tw_tensor *t, int n)
{
    um_buf_clear(b);
    tw_legacy_header(b);
    tw_state_dict(b, t, n, true);
    tw_legacy_keys(b, (const char *[]){"0"}, 1);
    tw_legacy_storage(b, 8, numbers, sizeof numbers);
}

static void one(int line, tw_tensor t, const char *word)
{
    um_buf b = {0};
    legacy(&b, &t, 1);
    expect(line, &b, word);
    um_buf_release(&b);
}
#define ONE(word, ...) one(__LINE__, (tw_tensor){__VA_ARGS__}, word)

static void tensors_that_lie(void)
{
    const int64_t huge = INT64_MAX;
    ONE(NULL, "w", "FloatStorage", "0", 8, 0, 2, {2, 4}, {4, 1});
    ONE(NULL, "w", "FloatStorage", "0", 8, 3, 1, {5}, {1});
    ONE(NULL, "w", "FloatStorage", "0", 8, 0, 2, {1, 8}, {huge, 1}); /* the stride of a dimension of 1 is never taken */
    ONE(NULL, "w", "FloatStorage", "0", 8, 8, 1, {0}, {1});
    ONE("'w' of shape (9) reaches", "w", "FloatStorage", "0", 8, 0, 1, {9}, {1});
    ONE("reaches", "w", "FloatStorage", "0", 8, 4, 1, {5}, {1});
    ONE("reaches", "w", "FloatStorage", "0", 8, 0, 1, {5}, {2});
    ONE("reaches", "w", "FloatStorage", "0", 8, 9, 1, {0}, {1});
    ONE("reaches", "w", "FloatStorage", "0", 8, huge, 1, {2}, {1});
    ONE("reaches", "w", "FloatStorage", "0", 8, 1, 1, {2}, {huge});
    ONE("reaches", "w", "FloatStorage", "0", 8, 0, 2, {huge, huge}, {0, 0});
    ONE("reaches", "w", "FloatStorage", "0", 8, 0, 2, {INT64_C(1) << 32, INT64_C(1) << 32}, {1, 1});
    ONE("more elements than its storage", "w", "FloatStorage", "0", 8, 0, 2, {1 << 20, 8}, {0, 1});
    ONE("in its shape", "w", "FloatStorage", "0", 8, 0, 1, {-1}, {1});
    ONE("in its strides", "w", "FloatStorage", "0", 8, 7, 1, {8}, {-1});
    ONE("for its offset", "w", "FloatStorage", "0", 8, -1, 1, {4}, {1});
    ONE("claims the number -1", "w", "FloatStorage", "0", -1, 0, 1, {0}, {1});
    ONE("claims the number 9223372036854775807", "w", "FloatStorage", "0", huge, 0, 1, {4}, {1});
    ONE("claims the number 200", "w", "FloatStorage", "0", 200, 0, 1, {4}, {1});
    ONE("has 8 elements where its tensors say 7", "w", "FloatStorage", "0", 7, 0, 1, {4}, {1});
    ONE("no tensor uses", "w", "FloatStorage", "1", 8, 0, 1, {4}, {1});
    ONE("'ComplexFloatStorage' of the module 'torch'", "w", "ComplexFloatStorage", "0", 8, 0, 1, {4}, {1});
    ONE("'UntypedStorage'", "w", "UntypedStorage", "0", 8, 0, 1, {4}, {1});
    ONE("has the key ''", "", "FloatStorage", "0", 8, 0, 1, {4}, {1});

    um_buf b = {0};
    const tw_tensor twice[2] = {{"w", "FloatStorage", "0", 8, 0, 1, {4}, {1}}, {"w", "FloatStorage", "0", 8, 4, 1, {4}, {1}}};
    legacy(&b, twice, 2);
    expect(__LINE__, &b, "the name 'w' twice");
    const tw_tensor types[2] = {{"a", "FloatStorage", "0", 8, 0, 1, {4}, {1}}, {"b", "IntStorage", "0", 8, 4, 1, {4}, {1}}};
    legacy(&b, types, 2);
    expect(__LINE__, &b, "storage '0' is described as 8 of");
    const tw_tensor sizes[2] = {{"a", "FloatStorage", "0", 8, 0, 1, {4}, {1}}, {"b", "FloatStorage", "0", 4, 0, 1, {4}, {1}}};
    legacy(&b, sizes, 2);
    expect(__LINE__, &b, "storage '0' is described as");
    char longest[UM_TORCH_MAX_NAME + 2];
    memset(longest, 'n', sizeof longest);
    longest[sizeof longest - 1] = 0;
    const tw_tensor named = {longest, "FloatStorage", "0", 8, 0, 1, {4}, {1}};
    legacy(&b, &named, 1);
    expect(__LINE__, &b, "longer than 512");
    um_buf_release(&b);
}

static void legacy_files_that_lie(void)
{
    um_buf b = {0};
    const tw_tensor t = {"w", "FloatStorage", "0", 8, 0, 1, {8}, {1}};
    const tw_tensor two[2] = {{"a", "FloatStorage", "0", 8, 0, 1, {8}, {1}}, {"b", "FloatStorage", "1", 8, 0, 1, {8}, {1}}};
    legacy(&b, &t, 1);
    tw_text(&b, "x");
    expect(__LINE__, &b, "1 bytes follow");

    um_buf_clear(&b);
    tw_legacy_header(&b);
    tw_state_dict(&b, two, 2, true);
    tw_legacy_keys(&b, (const char *[]){"0", "0"}, 2);
    tw_legacy_storage(&b, 8, numbers, sizeof numbers);
    tw_legacy_storage(&b, 8, numbers, sizeof numbers);
    expect(__LINE__, &b, "storage '0' twice");

    legacy(&b, two, 2);
    expect(__LINE__, &b, "storage '1' is not in the file");

    um_buf_clear(&b);
    tw_legacy_header(&b);
    tw_state_dict(&b, &t, 1, true);
    tw_legacy_keys(&b, (const char *[]){"0"}, 1);
    tw_legacy_storage(&b, -8, numbers, sizeof numbers);
    expect(__LINE__, &b, "has 18446744073709551608 elements");

    um_buf_clear(&b);
    tw_text(&b, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x18.");
    expect(__LINE__, &b, "not one that torch.save wrote");
    um_buf_clear(&b);
    tw_text(&b, "\x80\x02}.");
    expect(__LINE__, &b, "not one that torch.save wrote");
    um_buf_clear(&b);
    tw_text(&b, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xea\x03.");
    expect(__LINE__, &b, "format version is the number 1002");
    um_buf_clear(&b);
    tw_text(&b, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}");
    tw_str(&b, "little_endian");
    tw_text(&b, "\x89s.");
    expect(__LINE__, &b, "little-endian");
    um_buf_clear(&b);
    tw_text(&b, "hello");
    expect(__LINE__, &b, "not a pickle");
    um_buf_clear(&b);
    tw_legacy_header(&b);
    tw_text(&b, "\x80\x02"
                "cposix\nsystem\n(");
    tw_str(&b, "true");
    tw_text(&b, "tR.");
    expect(__LINE__, &b, "'system' of the module 'posix'");
    um_buf_release(&b);
}

/* Descriptions that are small and unfold without end, or hold other than tensors and numbers. */
static void descriptions(void)
{
    um_buf b = {0};
    static const struct {
        const char *pickle;
        size_t n;
        const char *word;
    } bad[] = {
#define P(text, word) {"\x80\x02" text ".", sizeof("\x80\x02" text ".") - 1, word}
        P("]q\0h\0a", "nested deeper than 16"), /* a list in itself */
        P("}q\0X\1\0\0\0ah\0s", "nested deeper than 16"),
        P("}X\1\0\0\0actorch\nFloatStorage\ns", "'a' is the global torch.FloatStorage"),
        P("}X\1\0\0\0a\x8a\x09\1\2\3\4\5\6\7\x08\x09s", "'a' is a number of 9 bytes"),
        P("}X\1\0\0\0aNQs", "persistent id is None"),
        P("}(X\1\0\0\0aK\1X\1\0\0\0aK\2u", "the name 'a' twice"),
        P("}(X\1\0\0\0"
          "1K\1K\1K\2u",
          "the name '1' twice"), /* "1" and 1 */
        P("}(X\3\0\0\0a/bK\1X\1\0\0\0a}X\1\0\0\0bK\1su", "the name 'a/b' twice"),
        P("}X\1\0\0\0\0K\1s", "cannot be part of a name"),
        P("ctorch._utils\n_rebuild_tensor_v2\n)R", "not made from a storage"),
        P("ctorch._utils\n_rebuild_parameter\n(NNNtR", "not made from a tensor"),
#undef P
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        um_buf_clear(&b);
        tw_legacy_header(&b);
        tw_raw(&b, bad[i].pickle, bad[i].n);
        tw_legacy_keys(&b, NULL, 0);
        expect((int)i, &b, bad[i].word);
    }
    /* Lists of lists of ... that share everything: 2 KB, 10^15 numbers, or as many empty lists. */
    for (int leaf = 0; leaf < 2; leaf++) {
        um_buf_clear(&b);
        tw_legacy_header(&b);
        tw_text(&b, "\x80\x02](");
        tw_text(&b, leaf == 0 ? "K\1\x94" : "]\x94");
        for (int level = 1; level < 15; level++) {
            tw_text(&b, "](");
            for (int i = 0; i < 10; i++) {
                tw_text(&b, "h");
                tw_little(&b, (uint64_t)level - 1, 1);
            }
            tw_text(&b, "e\x94");
        }
        tw_text(&b, "e.");
        tw_legacy_keys(&b, NULL, 0);
        expect(__LINE__, &b, leaf == 0 ? "describes more than so small a file can hold" : "more than 1048576 values");
    }
    um_buf_release(&b);
}

/* A number of NumPy's, as the best loss in a checkpoint is one: as pickle protocol 2 writes it, and changed. */
static void numpy_numbers(void)
{
#define DTYPE(type, state) "cnumpy\ndtype\n(X\2\0\0\0" type "\x89\x88tR(K\3X\1\0\0\0" state "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
#define ENCODE(n, text, code) "c_codecs\nencode\n(X" n "\0\0\0" text "X\6\0\0\0" code "tR"
#define SCALAR(module, dtype, bytes) "}X\1\0\0\0a" "cnumpy." module ".multiarray\nscalar\n(" dtype bytes "tRs"
    static const struct {
        const char *pickle;
        size_t n;
        double want;
        const char *word;
    } c[] = {
#define P(text, want, word) {"\x80\x02" text ".", sizeof("\x80\x02" text ".") - 1, want, word}
        P(SCALAR("core", DTYPE("f8", "<"), ENCODE("\x09", "\x18-DT\xc3\xbb!\t@", "latin1")), 3.14159265358979311600, NULL),
        P(SCALAR("_core", DTYPE("f8", "<"), ENCODE("\x09", "\x18-DT\xc3\xbb!\t@", "latin1")), 3.14159265358979311600, NULL),
        P(SCALAR("core", DTYPE("f4", "<"), ENCODE("\5", "\0\0\xc2\x80?", "latin1")), 1, NULL),
        P(SCALAR("core", DTYPE("f8", ">"), ENCODE("\x09", "\x18-DT\xc3\xbb!\t@", "latin1")), 0, "a value of NumPy's"),
        P(SCALAR("core", DTYPE("O8", "<"), ENCODE("\x09", "\x18-DT\xc3\xbb!\t@", "latin1")), 0, "a value of NumPy's"),
        P(SCALAR("core", DTYPE("f4", "<"), ENCODE("\x09", "\x18-DT\xc3\xbb!\t@", "latin1")), 0, "a value of NumPy's"),
        P(SCALAR("core", DTYPE("f8", "<"), ENCODE("\5", "\x18-DT@", "latin1")), 0, "a value of NumPy's"),
        P(SCALAR("core", DTYPE("f8", "<"), ENCODE("\x0c", "\x18-DT\xc3\xbb!\t@@@@", "latin1")), 0, "a value of NumPy's"),
        P(SCALAR("core", DTYPE("f8", "<"), ENCODE("\x09", "\x18-DT\xd0\xbb!\t@", "latin1")), 0, "a value of NumPy's"),
        P(SCALAR("core", DTYPE("f8", "<"), ENCODE("\x08", "\x18-DT!!\t\xc3", "latin1")), 0, "a value of NumPy's"),
        P(SCALAR("core", DTYPE("f8", "<"), ENCODE("\x09", "\x18-DT\xc3\xbb!\t@", "rot_13")), 0, "a value of NumPy's"),
        P(SCALAR("core", DTYPE("f8", "<") "Nb", ENCODE("\x09", "\x18-DT\xc3\xbb!\t@", "latin1")), 0, "BUILD"),
        P(SCALAR("core", DTYPE("f8", "<") "(K\1tb", ENCODE("\x09", "\x18-DT\xc3\xbb!\t@", "latin1")), 0, "BUILD"), /* a second state */
        P(SCALAR("core", "N", "N"), 0, "a value of NumPy's"),
        P(SCALAR("core", "", ""), 0, "a value of NumPy's"),
        P("}X\1\0\0\0a" DTYPE("f8", "<") "s", 0, "'a' is a call of numpy.dtype, neither a tensor nor a number"),
        P("}X\1\0\0\0a" ENCODE("\1", "x", "latin1") "s", 0, "'a' is a call of _codecs.encode"),
        P("ctorch._utils\n_rebuild_tensor_v2\n)R)b", 0, "BUILD"),
#undef P
    };
    um_buf b = {0};
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        um_torch_file *f;
        um_buf_clear(&b);
        tw_legacy_header(&b);
        tw_raw(&b, c[i].pickle, c[i].n);
        tw_legacy_keys(&b, NULL, 0);
        um_status st = um_torch_file_open(b.data, b.len, &f);
        if (c[i].word != NULL ? st != UM_DATA || strstr(um_err_text(), c[i].word) == NULL : st != UM_OK) {
            fprintf(stderr, "number %zu: got %s: %s\n", i, um_status_name(st), um_err_text());
            test_failures++;
        }
        if (st == UM_OK) {
            CHECK_INT(um_torch_file_scalar_count(f), 1);
            CHECK_INT(um_torch_file_scalar(f, 0)->kind, UM_TORCH_FLOAT);
            CHECK(um_torch_file_scalar(f, 0)->f == c[i].want);
        }
        um_torch_file_close(f);
    }
    um_buf_release(&b);
}

typedef struct zip_case {
    tw_member m[6];
    int n;
} zip_case;

static um_buf description;

static zip_case sound(void)
{
    zip_case z = {.n = 4};
    z.m[0] = tw_stored("x/data.pkl", description.data, description.len);
    z.m[1] = tw_stored("x/byteorder", "little", 6);
    z.m[2] = tw_stored("x/data/0", numbers, sizeof numbers);
    z.m[3] = tw_stored("x/version", "3\n", 2);
    return z;
}

static void expect_zip(int line, zip_case z, const char *word)
{
    um_buf b = {0};
    tw_zip(&b, z.m, z.n);
    expect(line, &b, word);
    um_buf_release(&b);
}

static void zips_that_lie(void)
{
    const tw_tensor t = {"w", "FloatStorage", "0", 8, 0, 2, {4, 2}, {1, 4}};
    zip_case z;
    tw_state_dict(&description, &t, 1, false);
    expect_zip(__LINE__, sound(), NULL);
    z = sound();
    z.m[4] = tw_stored("x/data/0", numbers, sizeof numbers);
    z.n = 5;
    expect_zip(__LINE__, z, "two members of");
    z = sound();
    z.m[4] = tw_stored("x/data/1", numbers, sizeof numbers);
    z.n = 5;
    expect_zip(__LINE__, z, "holds 2 storages where its tensors use 1");
    z = sound();
    z.m[2].name = "x/data/00";
    expect_zip(__LINE__, z, "storage '0' is not in the file");
    z = sound();
    z.m[2] = tw_stored("x/data/0", numbers, sizeof numbers - 4);
    expect_zip(__LINE__, z, "has 28 bytes where its tensors say 32");
    z = sound();
    z.m[2].crc ^= 1;
    expect_zip(__LINE__, z, "the member 'x/data/0' is damaged");
    z = sound();
    z.m[0].crc ^= 1;
    expect_zip(__LINE__, z, "the member 'x/data.pkl' is damaged");
    z = sound();
    z.m[2].size = 64;
    expect_zip(__LINE__, z, "x/data/0' claims 64 bytes");
    z = sound();
    z.m[2].size = z.m[2].n = 0x7fffffff; /* would read past the end: caught before it is believed */
    z.m[2].at = 60;
    expect_zip(__LINE__, z, "");
    z = sound();
    z.m[2].method = 8;
    expect_zip(__LINE__, z, "x/data/0' is compressed");
    z = sound();
    z.m[2].method = 12;
    expect_zip(__LINE__, z, "compression method 12");
    z = sound();
    z.m[1] = tw_stored("x/byteorder", "big", 3);
    expect_zip(__LINE__, z, "little-endian");
    z = sound();
    z.m[3].name = "y/version";
    expect_zip(__LINE__, z, "'y/version' outside its folder");
    z = sound();
    z.m[3].name = "version";
    expect_zip(__LINE__, z, "'version' outside a folder");
    z = sound();
    z.m[3].name = "x/../../etc/passwd";
    expect_zip(__LINE__, z, "which no program that means well writes");
    z = sound();
    z.m[3].name = "/x/version";
    expect_zip(__LINE__, z, "which no program that means well writes");
    z = sound();
    z.m[3].name = "x\\version";
    expect_zip(__LINE__, z, "which no program that means well writes");
    z = sound();
    z.m[3].name = "x/constants.pkl";
    expect_zip(__LINE__, z, "TorchScript");
    z = sound();
    z.m[0].name = "x/date.pkl";
    expect_zip(__LINE__, z, "no data.pkl");
    z = sound();
    tw_raw(&description, "!", 1);
    z.m[0] = tw_stored("x/data.pkl", description.data, description.len);
    expect_zip(__LINE__, z, "1 bytes follow the pickle");
    description.len--;
    /* Two members over the same bytes. */
    z = sound();
    z.m[4] = z.m[2];
    z.m[4].name = "x/data/1";
    z.n = 5;
    um_buf b = {0};
    tw_zip(&b, z.m, 4);
    z.m[4].at = z.m[2].at;
    for (int i = 0; i < 4; i++) z.m[i].at = -1;
    um_buf_clear(&b);
    tw_zip(&b, z.m, 5);
    expect(__LINE__, &b, "");
    um_buf_release(&b);
    um_buf_release(&description);
}

int main(void)
{
    golden("torch_legacy.pt");
    golden("torch_zip.pt");
    tensors_that_lie();
    legacy_files_that_lie();
    descriptions();
    numpy_numbers();
    zips_that_lie();
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
#ifndef UNMASK_SANITIZED
    CHECK(usage.ru_maxrss < 256 * 1024); /* no file here has more than 8 KB of anything but description */
#endif
    return TEST_END();
}
