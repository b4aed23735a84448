#pragma once
/* model_writer.h: writes a network's weights as PyTorch or safetensors would, in the shapes of the files that are found, and in wrong ones. The numbers are such that f16 and bf16 hold them exactly. */
#include "io/torch_file.h"
#include "src/models/efficientnet.h"
#include "tests/unit/torch_writer.h"

#include <math.h>
#include <stdio.h>

typedef enum mw_format { MW_ZIP, MW_LEGACY, MW_SAFE } mw_format;

typedef struct mw_spec {
    mw_format format;
    um_torch_dtype dtype;
    bool bare;           /* timm's: no "encoder.", no head */
    bool headless;       /* "encoder." but no head */
    bool checkpoint;     /* {epoch, state_dict, bce_best}, "module."; safetensors: "module." only */
    bool extras;         /* classifier.* and num_batches_tracked */
    bool reversed;       /* tensors lie in the file in the other order */
    /* what is wrong with it */
    const char *skip[5], *add, *reshape, *retype, *spoil; /* names without prefixes; add: as it stands */
    float with;          /* the first number of `spoil` */
    const char *entry;   /* a number among the tensors */
    const char *metadata; /* safetensors: JSON object */
} mw_spec;

/* Parameter number i of the network, k-th number: |x| <= 2, 8 bits; variances are positive. */
static inline float mw_value(const um_param *p, int64_t k)
{
    uint32_t h = (uint32_t)((p->offset + k) * 2654435761) >> 20;
    return p->kind == UM_PARAM_BN_VAR ? (float)(1 + h % 127) / 64.0f : (float)((int)(h % 255) - 127) / 64.0f;
}

typedef struct mw_item {
    char name[160], key[16];
    um_torch_dtype dtype;
    int n_dims, dims[4];
    int64_t count;
    uint8_t *data;
    size_t n;
    const um_param *param; /* NULL: an extra one */
} mw_item;

static inline void mw_number(mw_item *it, int64_t k, float x)
{
    uint8_t *at = it->data + (size_t)k * um_torch_dtype_bytes(it->dtype);
    union {
        float f;
        uint32_t u;
    } v = {.f = x};
    uint16_t half = (uint16_t)(v.u >> 16);
    if (it->dtype == UM_TORCH_F32) memcpy(at, &x, 4);
    if (it->dtype == UM_TORCH_F64) memcpy(at, &(double){x}, 8);
    if (it->dtype == UM_TORCH_BF16) memcpy(at, &half, 2);
    if (it->dtype == UM_TORCH_F16) {
        uint32_t e = v.u >> 23 & 255; /* of normal numbers that f16 holds; infinities and NaN stay such */
        half = (uint16_t)((v.u >> 16 & 0x8000) | (e == 0 ? 0 : e == 255 ? 0x7c00 : (e - 112) << 10) | (v.u >> 13 & 0x3ff));
        memcpy(at, &half, 2);
    }
    if (it->dtype == UM_TORCH_I64) memcpy(at, &(int64_t){(int64_t)x}, 8);
}

static inline mw_item *mw_push(mw_item *item, int *n, const char *prefix, const char *name, um_torch_dtype dtype, int n_dims, const int *dims)
{
    mw_item *it = &item[(*n)++];
    *it = (mw_item){.dtype = dtype, .n_dims = n_dims, .count = 1};
    snprintf(it->name, sizeof it->name, "%s%s", prefix, name);
    snprintf(it->key, sizeof it->key, "%d", 1000 + *n);
    for (int d = 0; d < n_dims; d++) it->count *= it->dims[d] = dims[d];
    it->n = (size_t)it->count * um_torch_dtype_bytes(dtype);
    it->data = calloc(it->n + 8, 1);
    if (it->data == NULL) abort();
    return it;
}

static inline bool mw_is(const char *a, const char *b) { return a != NULL && b != NULL && strcmp(a, b) == 0; }

/* All tensors of the file; *n. item has room for 2 * g->n_params + 8. */
static inline void mw_items(const um_graph *g, const mw_spec *s, mw_item *item, int *n)
{
    const char *module = s->checkpoint ? "module." : "";
    char prefix[32];
    *n = 0;
    for (int i = 0; i < g->n_params; i++) {
        const um_param *p = &g->param[i];
        bool encoder = strncmp(p->name, "encoder.", 8) == 0, skipped = !encoder && (s->bare || s->headless);
        const char *name = encoder ? p->name + 8 : p->name;
        for (int k = 0; k < 5; k++) skipped = skipped || mw_is(s->skip[k], name);
        if (skipped) continue;
        snprintf(prefix, sizeof prefix, "%s%s", module, encoder && !s->bare ? "encoder." : "");
        int dims[4] = {p->dims[0], p->dims[1], p->dims[2], p->dims[3]};
        if (mw_is(s->reshape, name)) dims[0]--;
        mw_item *it = mw_push(item, n, prefix, name, mw_is(s->retype, name) ? UM_TORCH_I64 : s->dtype, p->n_dims, dims);
        it->param = p;
        for (int64_t k = 0; k < it->count; k++) mw_number(it, k, mw_value(p, k));
        if (mw_is(s->spoil, name)) mw_number(it, 0, s->with);
        if (p->kind == UM_PARAM_BN_VAR && s->extras) {
            char counter[UM_PARAM_MAX_NAME];
            snprintf(counter, sizeof counter, "%.*snum_batches_tracked", (int)(strlen(name) - strlen("running_var")), name);
            it = mw_push(item, n, prefix, counter, UM_TORCH_I64, 0, NULL);
            memcpy(it->data, &(int64_t){INT64_C(1) << 40}, 8);
        }
    }
    if (s->extras) {
        snprintf(prefix, sizeof prefix, "%s%s", module, s->bare ? "" : "encoder.");
        mw_push(item, n, prefix, "classifier.weight", s->dtype, 2, (int[]){5, 3});
        mw_push(item, n, prefix, "classifier.bias", s->dtype, 1, (int[]){5});
    }
    if (s->add != NULL) mw_push(item, n, "", s->add, s->dtype, 1, (int[]){2});
}

static inline void mw_pickle(um_buf *b, const mw_spec *s, const mw_item *item, int n, bool legacy)
{
    static const char *const storage[] = {"FloatStorage", "DoubleStorage", "HalfStorage", "BFloat16Storage", "LongStorage"};
    tw_text(b, "\x80\x02");
    if (s->checkpoint) {
        tw_text(b, "}(");
        tw_str(b, "epoch");
        tw_text(b, "K\x25");
        tw_str(b, "state_dict");
    }
    tw_text(b, "ccollections\nOrderedDict\n)R(");
    for (int i = 0; i < n; i++) {
        tw_tensor t = {.storage_class = storage[item[i].dtype], .key = item[i].key, .count = item[i].count, .n_dims = item[i].n_dims};
        int64_t stride = 1;
        for (int d = t.n_dims - 1; d >= 0; d--) {
            t.dims[d] = item[i].dims[d];
            t.strides[d] = stride;
            stride *= item[i].dims[d];
        }
        tw_str(b, item[i].name);
        tw_tensor_value(b, &t, legacy);
    }
    if (s->entry != NULL) {
        tw_str(b, s->entry);
        tw_text(b, "K\1");
    }
    tw_text(b, "u");
    if (s->checkpoint) {
        tw_str(b, "bce_best"); /* a number of NumPy's, as the reference saves it */
        static const char pi[] = "cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(X\2\0\0\0f8K\0K\1tR(K\3X\1\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
                                 "c_codecs\nencode\n(X\x09\0\0\0\x18-DT\xc3\xbb!\t@X\6\0\0\0latin1tRtR";
        tw_raw(b, pi, sizeof pi - 1);
        tw_text(b, "u");
    }
    tw_text(b, ".");
}

static inline void mw_safe(um_buf *b, const mw_spec *s, const mw_item *item, int n)
{
    static const char *const dtype[] = {"F32", "F64", "F16", "BF16", "I64"};
    um_buf h = {0};
    size_t total = 0, at = 0;
    for (int i = 0; i < n; i++) total += item[i].n;
    tw_text(&h, "{");
    if (s->metadata != NULL) {
        tw_text(&h, "\"__metadata__\":");
        tw_text(&h, s->metadata);
        tw_text(&h, ",");
    }
    for (int i = 0; i < n; i++) {
        const mw_item *it = &item[i];
        size_t begin = s->reversed ? total - at - it->n : at;
        if (um_buf_printf(&h, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i > 0 ? "," : "", it->name, dtype[it->dtype]) != UM_OK) abort();
        for (int d = 0; d < it->n_dims; d++)
            if (um_buf_printf(&h, "%s%d", d > 0 ? "," : "", it->dims[d]) != UM_OK) abort();
        if (um_buf_printf(&h, "],\"data_offsets\":[%zu,%zu]}", begin, begin + it->n) != UM_OK) abort();
        at += it->n;
    }
    tw_text(&h, "}");
    tw_little(b, h.len, 8);
    tw_raw(b, h.data, h.len);
    for (int i = 0; i < n; i++) {
        const mw_item *it = &item[s->reversed ? n - 1 - i : i];
        tw_raw(b, it->data, it->n);
    }
    um_buf_release(&h);
}

/* g: the whole network, with head. Replaces the content of b. */
static inline void mw_write(um_buf *b, const um_graph *g, const mw_spec *s)
{
    mw_item *item = calloc((size_t)g->n_params * 2 + 8, sizeof *item);
    int n;
    if (item == NULL) abort();
    mw_items(g, s, item, &n);
    um_buf_clear(b);
    if (s->format == MW_SAFE) {
        mw_safe(b, s, item, n);
    } else if (s->format == MW_LEGACY) {
        const char **key = calloc((size_t)n, sizeof *key);
        if (key == NULL) abort();
        for (int i = 0; i < n; i++) key[i] = item[i].key;
        tw_legacy_header(b);
        mw_pickle(b, s, item, n, true);
        tw_legacy_keys(b, key, n);
        for (int i = 0; i < n; i++) tw_legacy_storage(b, item[i].count, item[i].data, item[i].n);
        free(key);
    } else {
        um_buf pickle = {0};
        tw_member *m = calloc((size_t)n + 1, sizeof *m);
        char(*name)[32] = calloc((size_t)n, sizeof *name);
        if (m == NULL || name == NULL) abort();
        mw_pickle(&pickle, s, item, n, false);
        m[0] = tw_stored("archive/data.pkl", pickle.data, pickle.len);
        for (int i = 0; i < n; i++) {
            snprintf(name[i], sizeof name[i], "archive/data/%s", item[i].key);
            m[1 + i] = tw_stored(name[i], item[i].data, item[i].n);
        }
        tw_zip(b, m, n + 1);
        free(name);
        free(m);
        um_buf_release(&pickle);
    }
    for (int i = 0; i < n; i++) free(item[i].data);
    free(item);
}
