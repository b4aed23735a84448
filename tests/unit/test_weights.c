/* The detector's weights: from files as torch writes them, strictly, into a file of ours and back. The torch files are made here,
 * with columns first as in the real ones. */
#include "io/weights.h"
#include "tests/unit/test.h"
#include "tests/unit/torch_writer.h"

#include <hdf5.h>
#include <libdeflate.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static um_vfs *vfs;

static const char *path_of(const char *name)
{
    static char path[4][256];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static float value(int tensor, size_t k) { return (float)((long)(k * 2654435761u % 20011) - 10000) / 4096.0f + (float)tensor; }

/* What a test may do to one network's file. */
typedef struct twist {
    int skip;          /* this tensor is left out; -1 none */
    const char *extra; /* a tensor of this name is added */
    int reshape;       /* this tensor's first dimension is one less */
    int retype;        /* this tensor is an IntStorage */
    int not_finite;    /* this tensor holds NaN */
    bool number;       /* an entry that is a number */
} twist;
static const twist straight = {.skip = -1, .reshape = -1, .retype = -1, .not_finite = -1};

static void write_net(um_buf *b, const char *prefix, twist how)
{
    tw_tensor t[UM_MTCNN_TENSORS + 1];
    char key[UM_MTCNN_TENSORS + 1][8];
    const char *keys[UM_MTCNN_TENSORS + 1];
    int tensor[UM_MTCNN_TENSORS + 1], n = 0;
    um_buf_clear(b);
    for (int i = 0; i < UM_MTCNN_TENSORS; i++) {
        if (strncmp(um_mtcnn_tensors[i].name, prefix, 5) != 0 || i == how.skip) continue;
        tensor[n] = i;
        t[n] = (tw_tensor){.name = um_mtcnn_tensors[i].name + 5,
                           .storage_class = i == how.retype ? "IntStorage" : "FloatStorage",
                           .count = (int64_t)um_mtcnn_tensor_count(i)};
        int64_t stride = 1;
        for (int d = 0; d < 4 && um_mtcnn_tensors[i].dims[d] > 0; d++) {
            t[n].dims[t[n].n_dims] = um_mtcnn_tensors[i].dims[d] - (i == how.reshape && d == 0 ? 1 : 0);
            t[n].strides[t[n].n_dims++] = stride; /* the first dimension runs fastest */
            stride *= um_mtcnn_tensors[i].dims[d];
        }
        n++;
    }
    if (how.extra != NULL) {
        tensor[n] = tensor[1];
        t[n] = t[1];
        t[n++].name = how.extra;
    }
    for (int i = 0; i < n; i++) {
        snprintf(key[i], sizeof key[i], "%d", 100 + i);
        t[i].key = keys[i] = key[i];
    }
    tw_legacy_header(b);
    tw_state_dict(b, t, n, true);
    if (how.number) {
        b->len -= 2; /* "u." */
        tw_str(b, "epoch");
        tw_text(b, "K\1u.");
    }
    tw_legacy_keys(b, keys, n);
    for (int i = 0; i < n; i++) {
        size_t count = um_mtcnn_tensor_count(tensor[i]);
        float *x = malloc(count * sizeof *x);
        for (size_t k = 0; k < count; k++) { /* k runs over the row-major order; find where that element lies */
            size_t rest = k, at = 0;
            for (int d = t[i].n_dims - 1; d >= 0; d--) {
                size_t dim = (size_t)um_mtcnn_tensors[tensor[i]].dims[d];
                at += rest % dim * (size_t)t[i].strides[d];
                rest /= dim;
            }
            x[at] = value(tensor[i], k);
        }
        if (tensor[i] == how.not_finite) x[0] = NAN;
        tw_legacy_storage(b, (int64_t)count, x, count * sizeof *x);
        free(x);
    }
}

static void put(const char *name, const um_buf *b)
{
    unlink(path_of(name));
    CHECK_OK(um_vfs_write_whole(vfs, path_of(name), b->data, b->len));
}

static void check_values(const um_mtcnn_weights *w)
{
    for (int i = 0; i < UM_MTCNN_TENSORS; i++) {
        size_t wrong = 0;
        for (size_t k = 0; k < um_mtcnn_tensor_count(i); k++) wrong += w->data[i] == NULL || w->data[i][k] != value(i, k);
        CHECK_INT(wrong, 0);
    }
}

/* Imports from the sources, which must fail with this status and word. */
static void refused(int line, const char *const *sources, int n, um_status want, const char *word)
{
    um_mtcnn_weights w;
    char sha[65];
    um_status st = um_weights_import_mtcnn(vfs, sources, n, &w, sha);
    if (st != want || strstr(um_err_text(), word) == NULL || w.data[0] != NULL) {
        fprintf(stderr, "line %d: want %s and \"%s\", got %s: %s\n", line, um_status_name(want), word, um_status_name(st),
                um_err_text());
        test_failures++;
    }
    um_mtcnn_weights_release(&w);
}
#define REFUSED(source, status, word) refused(__LINE__, (const char *const[]){source}, 1, status, word)

static void twisted(int line, twist how, const char *word)
{
    um_buf b = {0};
    write_net(&b, "rnet.", how);
    put("rnet.pt", &b);
    refused(line, (const char *const[]){folder}, 1, UM_DATA, word);
    write_net(&b, "rnet.", straight);
    put("rnet.pt", &b);
    um_buf_release(&b);
}

static void import(char sha[65])
{
    um_buf net[3] = {{0}}, wheel = {0};
    um_mtcnn_weights w;
    char again[65];
    static const char *const prefix[3] = {"pnet.", "rnet.", "onet."}, *const file[3] = {"pnet.pt", "rnet.pt", "onet.pt"};
    for (int i = 0; i < 3; i++) {
        write_net(&net[i], prefix[i], straight);
        put(file[i], &net[i]);
    }
    CHECK_OK(um_weights_import_mtcnn(vfs, (const char *const[]){folder}, 1, &w, sha));
    check_values(&w);
    um_mtcnn_weights_release(&w);

    /* the three files, in any order */
    CHECK_OK(um_weights_import_mtcnn(vfs, (const char *const[]){path_of("onet.pt"), path_of("pnet.pt"), path_of("rnet.pt")}, 3, &w,
                                     again));
    check_values(&w);
    CHECK_STR(again, sha);
    um_mtcnn_weights_release(&w);

    /* a wheel: deflated members between others */
    static const char *const name[3] = {"facenet_pytorch/data/pnet.pt", "facenet_pytorch/data/rnet.pt",
                                        "facenet_pytorch/data/onet.pt"};
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(6);
    tw_member m[5];
    void *packed[3];
    m[0] = tw_stored("facenet_pytorch/__init__.py", "pass\n", 5);
    m[4] = tw_stored("facenet_pytorch-2.6.0.dist-info/RECORD", "", 0);
    for (int i = 0; i < 3; i++) {
        packed[i] = malloc(net[i].len + 4096);
        m[1 + i] = tw_stored(name[i], net[i].data, net[i].len);
        m[1 + i].data = packed[i];
        m[1 + i].n = libdeflate_deflate_compress(c, net[i].data, net[i].len, packed[i], net[i].len + 4096);
        m[1 + i].method = 8;
    }
    tw_zip(&wheel, m, 5);
    put("facenet_pytorch-2.6.0-py3-none-any.whl", &wheel);
    CHECK_OK(um_weights_import_mtcnn(vfs, (const char *const[]){path_of("facenet_pytorch-2.6.0-py3-none-any.whl")}, 1, &w, again));
    check_values(&w);
    CHECK_STR(again, sha);
    um_mtcnn_weights_release(&w);

    /* wheels that lie: a size too small, too large, far too large (a bomb), none of the members */
    for (int k = 0; k < 4; k++) {
        static const char *const word[4] = {"facenet_pytorch/data/rnet.pt", "facenet_pytorch/data/rnet.pt", "",
                                            "has no member facenet_pytorch/data/rnet.pt"};
        tw_member lie[5];
        um_buf b = {0};
        for (int i = 0; i < 5; i++) {
            lie[i] = m[i];
            lie[i].at = -1;
        }
        if (k == 0) lie[2].size -= 5;
        if (k == 1) lie[2].size += 5;
        if (k == 2) lie[2].size = 0xf0000000;
        if (k == 3) lie[2].name = "facenet_pytorch/data/xnet.pt";
        tw_zip(&b, lie, 5);
        put("lie.whl", &b);
        REFUSED(path_of("lie.whl"), UM_DATA, word[k]);
        um_buf_release(&b);
    }
    libdeflate_free_compressor(c);
    for (int i = 0; i < 3; i++) {
        free(packed[i]);
        um_buf_release(&net[i]);
    }
    um_buf_release(&wheel);
}

static void strictness(void)
{
    twist t;
    t = straight;
    t.skip = 17;
    twisted(__LINE__, t, "the tensor 'conv2.bias' is missing");
    t = straight;
    t.extra = "conv9.bias";
    twisted(__LINE__, t, "the tensor 'conv9.bias' does not belong");
    t = straight;
    t.reshape = 22;
    twisted(__LINE__, t, "the tensor 'dense4.weight' has the shape (127, 576); this network has (128, 576) there");
    t = straight;
    t.retype = 17;
    twisted(__LINE__, t, "the tensor 'conv2.bias' holds i32");
    t = straight;
    t.not_finite = 17;
    twisted(__LINE__, t, "the tensor rnet.conv2.bias holds a number that is not finite");
    t = straight;
    t.number = true;
    twisted(__LINE__, t, "the entry 'epoch' does not belong");
    CHECK(strstr(um_err_text(), "cannot import rnet.pt") != NULL);

    um_buf b = {0};
    tw_text(&b, "hello");
    put("note.txt", &b);
    REFUSED(path_of("note.txt"), UM_DATA, "pip download --no-deps facenet-pytorch");
    REFUSED(path_of("nothing.whl"), UM_MISSING, "nothing.whl");
    refused(__LINE__, (const char *const[]){path_of("pnet.pt"), path_of("rnet.pt")}, 2, UM_USAGE, "2 sources");
    refused(__LINE__, (const char *const[]){path_of("pnet.pt"), path_of("rnet.pt"), path_of("pnet.pt")}, 3, UM_USAGE,
            "two files called pnet.pt");
    refused(__LINE__, (const char *const[]){path_of("pnet.pt"), path_of("rnet.pt"), path_of("note.txt")}, 3, UM_USAGE,
            "is called neither");
    mkdir(path_of("empty"), 0755);
    REFUSED(path_of("empty"), UM_MISSING, "must hold pnet.pt, rnet.pt and onet.pt");
    rmdir(path_of("empty"));
    put("rnet.pt", &b);
    REFUSED(folder, UM_DATA, "cannot import rnet.pt: cannot read the magic number");
    um_buf_release(&b);
}

static void ours(const char *sha)
{
    um_mtcnn_weights w = {0}, back;
    char fingerprint[17], again[17];
    for (int i = 0; i < UM_MTCNN_TENSORS; i++) {
        w.data[i] = malloc(um_mtcnn_tensor_count(i) * sizeof(float));
        for (size_t k = 0; k < um_mtcnn_tensor_count(i); k++) w.data[i][k] = value(i, k);
    }
    CHECK_OK(um_weights_write_mtcnn(vfs, path_of("mtcnn.h5"), &w, "a.whl", sha));
    CHECK_OK(um_weights_read_mtcnn(vfs, path_of("mtcnn.h5"), &back, fingerprint));
    check_values(&back);
    um_mtcnn_weights_release(&back);
    CHECK_INT(strlen(fingerprint), 16);

    /* any HDF5 program reads it */
    hid_t f = H5Fopen(path_of("mtcnn.h5"), H5F_ACC_RDONLY, H5P_DEFAULT), d = H5Dopen2(f, "pnet.conv1.weight", H5P_DEFAULT);
    float first[270];
    CHECK(f >= 0 && d >= 0);
    CHECK(H5Dread(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, first) >= 0);
    CHECK(first[269] == value(0, 269));
    H5Dclose(d);
    H5Fclose(f);

    /* damage is found: some bits, the user block's and the data's, and every kind of cut */
    void *bytes = NULL;
    size_t n = 0;
    um_buf b = {0};
    CHECK_OK(um_vfs_read_whole(vfs, path_of("mtcnn.h5"), 16 << 20, &bytes, &n));
    tw_raw(&b, bytes, n);
    for (size_t at = 0; at < n; at += at < 64 ? 1 : n / 40) {
        if (at >= 160 && at < 512) continue; /* filling of the user block */
        b.data[at] ^= 4;
        put("bad.h5", &b);
        um_status st = um_weights_read_mtcnn(vfs, path_of("bad.h5"), &back, again);
        if (st != UM_DATA) fprintf(stderr, "byte %zu\n", at);
        CHECK_INT(st, UM_DATA);
        b.data[at] ^= 4;
    }
    for (size_t cut = 0; cut < n; cut += n / 20) {
        b.len = cut;
        put("bad.h5", &b);
        CHECK_INT(um_weights_read_mtcnn(vfs, path_of("bad.h5"), &back, again), UM_DATA);
        CHECK(back.data[0] == NULL);
    }
    CHECK_INT(um_weights_read_mtcnn(vfs, path_of("none.h5"), &back, again), UM_MISSING);
    um_buf_release(&b);
    free(bytes);

    /* the fingerprint is the content's: not of the source's name, and of each number */
    CHECK_OK(um_weights_write_mtcnn(vfs, path_of("mtcnn.h5"), &w, "b.whl", sha));
    CHECK_OK(um_weights_read_mtcnn(vfs, path_of("mtcnn.h5"), &back, again));
    CHECK_STR(again, fingerprint);
    um_mtcnn_weights_release(&back);
    w.data[49][9] += 1;
    CHECK_OK(um_weights_write_mtcnn(vfs, path_of("mtcnn.h5"), &w, "b.whl", sha));
    CHECK_OK(um_weights_read_mtcnn(vfs, path_of("mtcnn.h5"), &back, again));
    CHECK(strcmp(again, fingerprint) != 0);
    um_mtcnn_weights_release(&back);
    w.data[49][9] = NAN;
    CHECK_INT(um_weights_write_mtcnn(vfs, path_of("mtcnn.h5"), &w, "b.whl", sha), UM_DATA);
    um_mtcnn_weights_release(&w);
}

int main(void)
{
    char sha[65] = "";
    vfs = um_vfs_real();
    snprintf(folder, sizeof folder, "test_weights.XXXXXX");
    if (mkdtemp(folder) == NULL) return 1;
    size_t numbers = 0;
    for (int i = 0; i < UM_MTCNN_TENSORS; i++) numbers += um_mtcnn_tensor_count(i);
    CHECK_INT(numbers, 6632 + 100178 + 389040); /* facenet-pytorch's three networks */
    import(sha);
    strictness();
    ours(sha);
    static const char *const made[] = {"pnet.pt", "rnet.pt", "onet.pt",  "note.txt",
                                       "lie.whl", "bad.h5",  "mtcnn.h5", "facenet_pytorch-2.6.0-py3-none-any.whl"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) unlink(path_of(made[i]));
    CHECK_INT(rmdir(folder), 0);
    return TEST_END();
}
