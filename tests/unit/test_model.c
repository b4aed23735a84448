/* Classifiers in files: from what torch and safetensors write, strictly, into a file of ours, back, and out again with the same bits. */
#include "io/model.h"
#include "io/safetensors.h"
#include "tests/unit/model_writer.h"
#include "tests/unit/test.h"

#include <hdf5.h>
#include <unistd.h>

#define TINY "w0.1d0.1"
static const um_model_import tiny = {.arch = TINY};
static char folder[64];
static um_vfs *vfs;
static um_graph *whole, *encoder; /* of TINY */

static const char *path_of(const char *name)
{
    static char path[4][256];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void put(const char *name, const um_buf *b) { CHECK_OK(um_vfs_write_whole(vfs, path_of(name), b->data, b->len)); }

static void check_params(const um_model *m)
{
    const um_graph *g = m->has_head ? whole : encoder;
    int64_t wrong = 0;
    CHECK_INT(m->param_count, g->param_count);
    for (int i = 0; i < g->n_params && m->params != NULL; i++) {
        const um_param *p = &g->param[i];
        for (int64_t k = 0; k < p->count; k++) wrong += m->params[p->offset + k] != mw_value(p, k);
    }
    CHECK_INT(wrong, 0);
}

static um_status import(const mw_spec *s, const um_model_import *o, um_model *m, um_model_dropped *dropped)
{
    um_buf b = {0};
    mw_write(&b, whole, s);
    um_status st = um_model_import_bytes(b.data, b.len, o, m, dropped);
    um_buf_release(&b);
    return st;
}

/* All formats, all types, all shapes of state dict give the same model. */
static void formats(void)
{
    char fingerprint[2][17] = {"", ""};
    static const um_torch_dtype dtypes[] = {UM_TORCH_F32, UM_TORCH_F64, UM_TORCH_F16, UM_TORCH_BF16};
    int counters = 0;
    for (int i = 0; i < encoder->n_params; i++) counters += encoder->param[i].kind == UM_PARAM_BN_VAR;
    for (int f = 0; f < 3; f++)
        for (int t = 0; t < 4; t++)
            for (int shape = 0; shape < 16; shape += t == 0 ? 1 : 6) {
                mw_spec s = {.format = (mw_format)f, .dtype = dtypes[t], .bare = (shape & 1) != 0, .checkpoint = (shape & 2) != 0, .extras = (shape & 4) != 0};
                if ((shape & 8) != 0) s.reversed = s.headless = true;
                um_model m;
                um_model_dropped dropped;
                CHECK_OK(import(&s, &tiny, &m, &dropped));
                bool head = !s.bare && !s.headless;
                CHECK_INT(m.has_head, head);
                CHECK_STR(m.net.name, TINY);
                CHECK_INT(m.size_px, 380);
                CHECK(m.mean[0] == 0.485f && m.std[2] == 0.225f);
                CHECK_INT(dropped.classifier, s.extras ? 2 : 0);
                CHECK_INT(dropped.counters, s.extras ? counters : 0);
                CHECK_INT(dropped.scalars, s.checkpoint && f != MW_SAFE ? 2 : 0);
                check_params(&m);
                if (fingerprint[head][0] == 0) memcpy(fingerprint[head], m.fingerprint, sizeof m.fingerprint);
                CHECK_STR(m.fingerprint, fingerprint[head]);
                um_model_release(&m);
            }
    CHECK(strcmp(fingerprint[0], fingerprint[1]) != 0);
}

/* Tried in all formats; in one only, where a format other than the first is named. */
static void refused(int line, mw_spec s, const um_model_import *o, um_status want, const char *word)
{
    const mw_format only = s.format;
    for (int f = 0; f < 3; f++) {
        um_model m;
        um_model_dropped dropped;
        if (only != MW_ZIP && (int)only != f) continue;
        s.format = (mw_format)f;
        um_status st = import(&s, o, &m, &dropped);
        if (st != want || strstr(um_err_text(), word) == NULL || m.params != NULL) {
            fprintf(stderr, "line %d, format %d: want %s and \"%s\", got %s: %s\n", line, f, um_status_name(want), word, um_status_name(st), um_err_text());
            test_failures++;
        }
        um_model_release(&m);
    }
}
#define REFUSED(word, ...) refused(__LINE__, (mw_spec){__VA_ARGS__}, &tiny, UM_DATA, word)

static void strictness(void)
{
    REFUSED("1 missing: 'encoder.blocks.1.0.bn2.running_mean'", .extras = true, .skip = {"blocks.1.0.bn2.running_mean"});
    REFUSED("1 missing: 'blocks.1.0.bn2.running_mean'", .bare = true, .skip = {"blocks.1.0.bn2.running_mean"});
    REFUSED("1 missing: 'fc.bias'", .checkpoint = true, .skip = {"fc.bias"});
    REFUSED("5 missing: 'encoder.bn1.weight', 'encoder.bn1.bias', 'encoder.bn1.running_mean', ...",
            .skip = {"bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var", "bn2.bias"});
    REFUSED("1 that do not belong: 'encoder.bn3.weight'", .add = "encoder.bn3.weight");
    REFUSED("1 that do not belong: 'fc2.weight'", .add = "fc2.weight");
    REFUSED("1 that do not belong: 'fc.extra'", .add = "fc.extra");
    REFUSED("1 that do not belong: 'bn1.weight'", .add = "bn1.weight"); /* one without the prefix of the others */
    REFUSED("1 that do not belong: 'state_dict/encoder.bn1.weight'", .add = "encoder.bn1.weight", .checkpoint = true, .format = MW_LEGACY);
    REFUSED("1 that do not belong: 'classifier.bias'", .add = "classifier.bias");
    REFUSED("that do not belong: 'encoder.bn1.num_batches_tracked'", .add = "encoder.bn1.num_batches_tracked"); /* not one whole number */
    REFUSED("that do not belong: 'encoder.bn9.num_batches_tracked'", .add = "encoder.bn9.num_batches_tracked", .dtype = UM_TORCH_F16);
    REFUSED("1 misshapen: 'encoder.blocks.2.0.conv_dw.weight' is (47, 1, 5, 5) instead of (48, 1, 5, 5)", .reshape = "blocks.2.0.conv_dw.weight");
    REFUSED("1 misshapen: 'fc.weight' is (0, 128) instead of (1, 128)", .reshape = "fc.weight");
    REFUSED("1 of the wrong type: 'encoder.bn2.bias' is i64", .retype = "bn2.bias");
    REFUSED("the tensor encoder.bn2.bias holds a number that is not finite", .spoil = "bn2.bias", .with = NAN);
    REFUSED("the tensor fc.bias holds a number that is not finite", .spoil = "fc.bias", .with = -INFINITY, .dtype = UM_TORCH_F16);
    REFUSED("the tensor encoder.blocks.6.0.bn3.running_var holds a negative variance: -0.5", .spoil = "blocks.6.0.bn3.running_var", .with = -0.5f);
    REFUSED("the entry 'epochs' is not a tensor", .entry = "epochs", .format = MW_LEGACY);
    REFUSED("the entry 'state_dict/epochs' is not a tensor", .entry = "epochs", .checkpoint = true, .format = MW_LEGACY);
    REFUSED("encoder.conv_stem.weight is missing", .skip = {"conv_stem.weight"});
    REFUSED("conv_head.weight is missing", .bare = true, .skip = {"conv_head.weight"});
    REFUSED("stem 7, head 128, blocks 1-1-1-1-1-1-1", .reshape = "conv_stem.weight");
    /* all at once, one line */
    REFUSED("1 missing: 'encoder.bn1.bias'; 1 misshapen: 'fc.bias' is (0) instead of (1); 1 of the wrong type: 'encoder.bn2.bias' is i64; 1 that do not belong: 'x'", .skip = {"bn1.bias"},
            .reshape = "fc.bias", .retype = "bn2.bias", .add = "x");

    const mw_spec sound = {.extras = true};
    refused(__LINE__, sound, &(um_model_import){0}, UM_DATA, "(stem 8, head 128, blocks 1-1-1-1-1-1-1) are those of none of b0 to b7");
    refused(__LINE__, sound, &(um_model_import){.arch = "b0"}, UM_DATA, "b0 has stem 32, head 1280, blocks 1-2-2-3-3-4-1, the file has stem 8");
    refused(__LINE__, sound, &(um_model_import){.arch = "b8"}, UM_USAGE, "b8");
    refused(__LINE__, sound, &(um_model_import){.arch = TINY, .size_px = 31}, UM_USAGE, "31 px");
    refused(__LINE__, (mw_spec){.format = MW_SAFE, .metadata = "{\"arch\":\"b0\"}"}, &(um_model_import){0}, UM_DATA, "b0 has stem 32");
    refused(__LINE__, (mw_spec){.format = MW_SAFE, .metadata = "{\"arch\":\"nonsense\"}"}, &(um_model_import){0}, UM_DATA, "none of b0 to b7");

    /* not weights at all */
    um_model m;
    um_model_dropped d;
    static const struct {
        const char *bytes, *word;
    } other[] = {{"", "it is empty"}, {"version https://git-lfs", "begins with 'vers'"}, {"unmask-h5 1\nkind model", "unmask's own"}, {"PK\3\4garbage", "not a sound zip"}, {"\x80\x02garbage", "magic"}};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        CHECK_INT(um_model_import_bytes(other[i].bytes, strlen(other[i].bytes), &tiny, &m, &d), UM_DATA);
        if (strstr(um_err_text(), other[i].word) == NULL) fprintf(stderr, "%zu: %s\n", i, um_err_text()), test_failures++;
    }
    CHECK_INT(um_model_import_file(vfs, path_of("nothing.pth"), &tiny, &m, &d), UM_MISSING);
}

/* A file that is cut anywhere is refused; so is one byte too many. */
static void cuts(void)
{
    for (int f = 0; f < 3; f++) {
        mw_spec s = {.format = (mw_format)f, .dtype = UM_TORCH_BF16, .checkpoint = true};
        um_buf b = {0};
        um_model m;
        um_model_dropped d;
        mw_write(&b, whole, &s);
        for (size_t cut = 0; cut < b.len; cut += cut < 200 || b.len - cut < 200 ? 1 : 997) {
            um_status st = um_model_import_bytes(b.data, cut, &tiny, &m, &d);
            if (st != UM_DATA) fprintf(stderr, "format %d cut at %zu\n", f, cut);
            CHECK_INT(st, UM_DATA);
        }
        tw_text(&b, "x");
        CHECK_INT(um_model_import_bytes(b.data, b.len, &tiny, &m, &d), UM_DATA);
        um_buf_release(&b);
    }
}

static bool equal_models(const um_model *a, const um_model *b)
{
    return strcmp(a->net.name, b->net.name) == 0 && a->net.width == b->net.width && a->net.depth == b->net.depth && a->size_px == b->size_px && a->has_head == b->has_head &&
           memcmp(a->mean, b->mean, sizeof a->mean) == 0 && memcmp(a->std, b->std, sizeof a->std) == 0 && a->param_count == b->param_count &&
           memcmp(a->params, b->params, (size_t)a->param_count * 4) == 0 && strcmp(a->source, b->source) == 0 && strcmp(a->source_sha256, b->source_sha256) == 0 &&
           strcmp(a->fingerprint, b->fingerprint) == 0;
}

/* File -> model.h5 -> safetensors -> model: the same bits. */
static void round_trip(bool headless)
{
    um_model m, back, again;
    um_model_dropped d;
    um_buf b = {0};
    void *bytes;
    size_t n;
    um_safetensors *f;
    mw_write(&b, whole, &(mw_spec){.format = MW_ZIP, .checkpoint = true, .extras = true, .headless = headless});
    put("a b.pth", &b);
    CHECK_OK(um_model_import_file(vfs, path_of("a b.pth"), &(um_model_import){.arch = TINY, .size_px = 128}, &m, &d));
    CHECK_STR(m.source, "a b.pth");
    CHECK_INT(strlen(m.source_sha256), 64);
    m.mean[1] = 0.1f;
    m.std[0] = 1e-7f / 3; /* numbers that need all their digits */
    um_model_seal(&m);
    CHECK_OK(um_model_write(vfs, path_of("m.h5"), &m));
    CHECK(um_model_is(vfs, path_of("m.h5")) && !um_model_is(vfs, path_of("a b.pth")) && !um_model_is(vfs, path_of("none")) && !um_model_is(vfs, folder));
    CHECK_OK(um_model_read(vfs, path_of("m.h5"), &back));
    CHECK(equal_models(&m, &back));

    CHECK_OK(um_model_export(vfs, path_of("m.safetensors"), &back));
    CHECK_OK(um_vfs_read_whole(vfs, path_of("m.safetensors"), 1 << 26, &bytes, &n));
    CHECK_OK(um_safetensors_open(bytes, n, &f));
    const um_graph *g = headless ? encoder : whole;
    CHECK_INT(um_safetensors_count(f), g->n_params);
    CHECK_STR(um_safetensors_metadata(f, "format"), "pt");
    CHECK_STR(um_safetensors_metadata(f, "arch"), TINY);
    CHECK_STR(um_safetensors_metadata(f, "size"), "128");
    for (int i = 0; i < g->n_params; i++) {
        const um_param *p = &g->param[i];
        int at = um_safetensors_find(f, p->name);
        float *x = malloc((size_t)p->count * sizeof *x);
        CHECK(at >= 0);
        CHECK_OK(um_safetensors_read_f32(f, at, x, p->count));
        CHECK(memcmp(x, m.params + p->offset, (size_t)p->count * 4) == 0);
        free(x);
    }
    um_safetensors_close(f);
    free(bytes);

    /* it says itself what it is; --size says otherwise */
    CHECK_OK(um_model_import_file(vfs, path_of("m.safetensors"), &(um_model_import){0}, &again, &d));
    CHECK(again.size_px == 128 && strcmp(again.net.name, TINY) == 0 && again.has_head == !headless);
    CHECK(memcmp(again.params, m.params, (size_t)m.param_count * 4) == 0);
    um_model_release(&again);
    CHECK_OK(um_model_import_file(vfs, path_of("m.safetensors"), &(um_model_import){.size_px = 96}, &again, &d));
    CHECK_INT(again.size_px, 96);
    um_model_release(&again);

    /* any HDF5 program reads ours */
    hid_t h = H5Fopen(path_of("m.h5"), H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(h, "encoder.bn1.running_var", H5P_DEFAULT);
    float var[8];
    CHECK(h >= 0 && set >= 0);
    CHECK(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, var) >= 0);
    CHECK(memcmp(var, m.params + whole->param[um_graph_find_param(whole, "encoder.bn1.running_var")].offset, sizeof var) == 0);
    H5Dclose(set);
    H5Fclose(h);
    um_model_release(&back);
    um_model_release(&m);
    um_buf_release(&b);
}

/* What is wrong with a file of ours is found, whether by its checksum or, where someone has made that right, by what it says. */
static void ours(void)
{
    um_model m, back;
    um_model_dropped d;
    um_buf b = {0};
    void *bytes = NULL;
    size_t n = 0;
    mw_write(&b, whole, &(mw_spec){.format = MW_SAFE});
    CHECK_OK(um_model_import_bytes(b.data, b.len, &tiny, &m, &d));
    CHECK_OK(um_model_write(vfs, path_of("m.h5"), &m));
    CHECK_OK(um_vfs_read_whole(vfs, path_of("m.h5"), 1 << 26, &bytes, &n));
    um_buf_clear(&b);
    tw_raw(&b, bytes, n);
    for (size_t at = 0; at < n; at += at < 64 ? 1 : n / 60) {
        if (at >= 160 && at < 512) continue; /* filling of the user block */
        b.data[at] ^= 4;
        put("bad.h5", &b);
        um_status st = um_model_read(vfs, path_of("bad.h5"), &back);
        if (st != UM_DATA) fprintf(stderr, "byte %zu\n", at);
        CHECK_INT(st, UM_DATA);
        CHECK(back.params == NULL);
        b.data[at] ^= 4;
    }
    for (size_t cut = 0; cut < n; cut += n / 30) {
        b.len = cut;
        put("bad.h5", &b);
        CHECK_INT(um_model_read(vfs, path_of("bad.h5"), &back), UM_DATA);
    }
    free(bytes);
    CHECK_INT(um_model_read(vfs, path_of("none.h5"), &back), UM_MISSING);

    /* sound files that say what cannot be */
    int var = um_graph_find_param(whole, "encoder.bn1.running_var");
    float *x = m.params + whole->param[var].offset;
    *x = -*x;
    CHECK_INT(um_model_write(vfs, path_of("bad.h5"), &m), UM_DATA);
    CHECK(strstr(um_err_text(), "encoder.bn1.running_var holds a negative variance") != NULL);
    *x = -*x;
    m.std[1] = 0;
    CHECK_OK(um_model_write(vfs, path_of("bad.h5"), &m));
    CHECK_INT(um_model_read(vfs, path_of("bad.h5"), &back), UM_DATA);
    CHECK(strstr(um_err_text(), "std") != NULL);
    m.std[1] = 1;
    um_efficientnet net = m.net;
    m.net.depth = 0.11;
    CHECK_OK(um_model_write(vfs, path_of("bad.h5"), &m));
    CHECK_INT(um_model_read(vfs, path_of("bad.h5"), &back), UM_DATA);
    CHECK(strstr(um_err_text(), "depth 0.11") != NULL);
    m.net = net;
    snprintf(m.net.name, sizeof m.net.name, "b9");
    CHECK_OK(um_model_write(vfs, path_of("bad.h5"), &m));
    CHECK_INT(um_model_read(vfs, path_of("bad.h5"), &back), UM_DATA);
    CHECK(strstr(um_err_text(), "attribute arch is 'b9'") != NULL);
    m.net = net;

    /* the fingerprint is of all that changes a score, and of nothing else */
    um_model_seal(&m);
    float *number = &m.params[m.param_count / 2], was = *number;
    for (int k = 0; k < 6; k++) {
        um_model other = m;
        if (k == 1) other.size_px++;
        if (k == 2) other.mean[2] += 0.5f;
        if (k == 3) other.std[0] += 0.5f;
        if (k == 4) *number += 1;
        if (k == 5) snprintf(other.source, sizeof other.source, "other");
        um_model_seal(&other);
        CHECK_INT(strcmp(m.fingerprint, other.fingerprint) == 0, k == 0 || k == 5);
        *number = was;
    }
    um_model_release(&m);
    um_buf_release(&b);
}

static void listing(void)
{
    um_names names;
    um_buf b = {0};
    tw_text(&b, "unmask-h5 1\nkind detector\n");
    put("mtcnn.h5", &b);
    CHECK_OK(um_model_list(vfs, folder, &names));
    CHECK_INT(names.n, 2); /* bad.h5 has the right first lines; what it says is found when it is read */
    if (names.n == 2) CHECK(strstr(names.name[0], "/bad.h5") != NULL && strstr(names.name[1], "/m.h5") != NULL);
    um_names_release(&names);
    CHECK_INT(um_model_list(vfs, path_of("none"), &names), UM_MISSING);
    um_buf_release(&b);
}

int main(void)
{
    vfs = um_vfs_real();
    snprintf(folder, sizeof folder, "test_model.XXXXXX");
    if (mkdtemp(folder) == NULL) return 1;
    um_efficientnet net;
    CHECK_OK(um_efficientnet_parse(TINY, &net));
    CHECK_OK(um_efficientnet_graph(&net, 64, true, 0, 0, &whole));
    CHECK_OK(um_efficientnet_graph(&net, 64, false, 0, 0, &encoder));
    formats();
    strictness();
    cuts();
    round_trip(false);
    round_trip(true);
    ours();
    listing();
    um_graph_free(whole);
    um_graph_free(encoder);
    static const char *const made[] = {"a b.pth", "m.h5", "m.safetensors", "bad.h5", "mtcnn.h5"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) unlink(path_of(made[i]));
    CHECK_INT(rmdir(folder), 0);
    return TEST_END();
}
