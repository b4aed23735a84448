/* The CPU backend against the plain one: every step kind, every layer shape of EfficientNet B0, B4 and B7 at 380 and of MTCNN's nets, f32 and bf16, alone and in a batch.
 *
 * usage: test_nn_cpu [full]      full: maps at their size (minutes); else maps are cut to 13 px, channels stay, and only B0's and B7's widest are taken
 *
 * Of each shape the normalised error is printed: root mean square of the difference over that of the oracle's output. */
#include "src/core/rng.h"
#include "tests/unit/net_steps.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { VALUES_MAX = 64, PIXELS_CUT = 13 };

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (p == NULL) exit(2);
    memset(p, 0xff, (bytes + 127) / 64 * 64); /* NaN: what is read past an end must not count */
    return p;
}

static float *random_floats(size_t n, double scale, uint32_t what)
{
    um_rng r = um_rng_stream(7, what, 0, UM_RNG_TEST);
    float *p = memory(n * sizeof *p);
    for (size_t i = 0; i < n; i++) p[i] = (float)um_rng_uniform(&r, -scale, scale);
    return p;
}

static size_t out_count(const um_step *s) { return (size_t)s->p * (size_t)s->q * (size_t)s->k; }
static size_t in_count(const um_step *s) { return (size_t)s->h * (size_t)s->w * (size_t)s->c; }

static float get(const void *p, um_dtype type, size_t i) { return type == UM_F32 ? ((const float *)p)[i] : um_bf16_to_f32(((const uint16_t *)p)[i]); }

static void *random_map(size_t n, um_dtype type, uint32_t what)
{
    float *f = random_floats(n, 2, what);
    if (type == UM_F32) return f;
    unsigned char *bytes = memory(n * um_dtype_bytes(type));
    for (size_t i = 0; i < n; i++) {
        if (type == UM_U8) bytes[i] = (unsigned char)((f[i] + 2) * 63.9f);
        else ((uint16_t *)(void *)bytes)[i] = um_bf16_from_f32(f[i]);
    }
    free(f);
    return bytes;
}

/* Values of a chain of steps: inputs random and the same for every run, outputs fresh. */
typedef struct values {
    void *at[VALUES_MAX];
    bool own[VALUES_MAX];
    int n;
} values;

static void values_free(values *v)
{
    for (int i = 0; i < VALUES_MAX; i++) free(v->at[i]);
    memset(v, 0, sizeof *v);
}

static void values_make(values *v, const um_step *s, int n, int batch)
{
    size_t b = (size_t)batch;
    memset(v, 0, sizeof *v);
    for (int i = 0; i < n; i++) {
        if (v->at[s[i].in] == NULL) v->at[s[i].in] = random_map(b * in_count(&s[i]), s[i].in_type, 1);
        if (s[i].residual >= 0 && v->at[s[i].residual] == NULL) v->at[s[i].residual] = random_map(b * out_count(&s[i]), s[i].out_type, 2);
        if (s[i].gate >= 0 && v->at[s[i].gate] == NULL) v->at[s[i].gate] = random_map(b * (size_t)s[i].c, UM_F32, 3);
        v->at[s[i].out] = memory(b * out_count(&s[i]) * um_dtype_bytes(s[i].out_type));
        if (s[i].means >= 0) v->at[s[i].means] = memory(b * (size_t)s[i].k * sizeof(float));
    }
}

/* Runs the steps on a backend: all as one kernel if `merge` and it takes them, else one after the other. Returns how many kernels that were. */
static int run_steps(const um_backend *b, const um_step *steps, int n, int batch, bool merge, values *v)
{
    um_step s[8];
    int kernels = 0;
    memcpy(s, steps, (size_t)n * sizeof *s);
    for (int i = 0; i < n; i++) s[i].n = batch;
    for (int i = 0, taken; i < n; i += taken, kernels++) {
        um_kernel *k;
        um_step_weights w[8] = {{0}};
        taken = merge ? b->take(&s[i], n - i) : 1;
        CHECK_OK(b->kernel_new(&s[i], taken, &k));
        if (k == NULL) return 0;
        for (int j = 0; j < taken; j++) {
            const um_step *t = &s[i + j];
            double scale = t->kind == UM_STEP_DEPTHWISE ? 1.7 / t->r : net_weights(t) > 0 ? 1.7 / sqrt((double)net_weights(t) / t->k) : 1;
            w[j].weight = random_floats(net_weights(t) + 1, scale, 10 + (uint32_t)(i + j));
            w[j].bias = random_floats((size_t)t->k, 0.5, 20 + (uint32_t)(i + j));
            w[j].slope = random_floats((size_t)t->k, 0.5, 30 + (uint32_t)(i + j));
        }
        void *constants = memory(b->constant_bytes(k)), *scratch = memory(b->scratch_bytes(k));
        CHECK_OK(b->pack(k, w, constants));
        for (int j = 0; j < taken; j++) free((void *)(size_t)w[j].weight), free((void *)(size_t)w[j].bias), free((void *)(size_t)w[j].slope);
        b->run(k, constants, v->at, scratch, NULL);
        free(constants);
        free(scratch);
        b->kernel_free(k);
    }
    return kernels;
}

/* Root mean square of the difference over that of `want`. */
static double error_of(const void *got, const void *want, um_dtype type, size_t n)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double g = (double)get(got, type, i), w = (double)get(want, type, i);
        difference += (g - w) * (g - w);
        size += w * w;
    }
    return size > 0 ? sqrt(difference / size) : sqrt(difference);
}

static const char *const kind_names[] = {"convert", "conv", "depthwise", "mean", "max pool", "act"};
static double worst[2];

/* One step or block: the oracle, the backend, merged and not, batch 1 and 3, at each instruction-set level. */
static bool products; /* of bfloat16: only the highest level has them, so levels differ */

static void check(const um_step *steps, int n, bool levels)
{
    const um_step *s = &steps[0], *last = &steps[n - 1];
    um_dtype type = last->out_type;
    bool bf16 = s->in_type == UM_BF16 || s->out_type == UM_BF16;
    size_t count = out_count(last), bytes = count * um_dtype_bytes(type);
    values want, one, three, other;
    values_make(&want, steps, n, 1);
    values_make(&one, steps, n, 1);
    values_make(&three, steps, n, 3);
    run_steps(&um_backend_ref, steps, n, 1, false, &want);
    run_steps(&um_backend_cpu, steps, n, 1, false, &one);
    double e = error_of(one.at[last->out], want.at[last->out], type, count);
    /* bf16: half a unit in the last place is up to 2^-9; the oracle also rounds depthwise weights, and products of bfloat16 need weight times gate rounded, too. */
    double limit = !bf16 ? 2e-6 : n > 1 ? 2e-2 : products ? 1e-2 : 5e-3;
    if (!(e <= limit)) fprintf(stderr, "error %g is above %g:\n", e, limit);
    CHECK(e <= limit);
    if (n == 1 && s->means >= 0) CHECK(error_of(one.at[s->means], want.at[s->means], UM_F32, (size_t)s->k) <= (bf16 ? 1e-2 : 2e-6));
    if (e > worst[bf16]) worst[bf16] = e;
    printf("%-9s %s %3dx%-3d %4d -> %4d %dx%d/%d steps %d error %.1e\n", kind_names[s->kind], bf16 ? "bf16" : "f32 ", s->h, s->w, s->c, last->k, s->r, s->s, s->stride, n, e);

    if (n > 1) { /* a merged kernel: the same bits in f32; in bf16 less is rounded in between */
        values_make(&other, steps, n, 1);
        CHECK_INT(run_steps(&um_backend_cpu, steps, n, 1, true, &other), 1);
        if (!bf16) CHECK(memcmp(other.at[last->out], one.at[last->out], bytes) == 0);
        else CHECK(error_of(other.at[last->out], want.at[last->out], type, count) <= limit);
        memcpy(one.at[last->out], other.at[last->out], bytes);
        values_free(&other);
    }
    /* The third of a batch, computed alone, has the same bits. */
    run_steps(&um_backend_cpu, steps, n, 3, true, &three);
    values_make(&other, steps, n, 1);
    for (int i = 0; i < n; i++) {
        if (three.at[s[i].in] != NULL && i == 0) memcpy(other.at[s[i].in], (char *)three.at[s[i].in] + 2 * in_count(&s[i]) * um_dtype_bytes(s[i].in_type), in_count(&s[i]) * um_dtype_bytes(s[i].in_type));
        if (s[i].residual >= 0 && i > 0 && s[i].residual == s[0].in) continue;
        if (s[i].residual >= 0) memcpy(other.at[s[i].residual], (char *)three.at[s[i].residual] + 2 * out_count(&s[i]) * um_dtype_bytes(s[i].out_type), out_count(&s[i]) * um_dtype_bytes(s[i].out_type));
        if (s[i].gate >= 0 && n == 1) memcpy(other.at[s[i].gate], (char *)three.at[s[i].gate] + 2 * (size_t)s[i].c * sizeof(float), (size_t)s[i].c * sizeof(float));
    }
    run_steps(&um_backend_cpu, steps, n, 1, true, &other);
    CHECK(memcmp(other.at[last->out], (char *)three.at[last->out] + 2 * bytes, bytes) == 0);
    if (n == 1 && s->means >= 0) CHECK(memcmp(other.at[s->means], (float *)three.at[s->means] + 2 * s->k, (size_t)s->k * sizeof(float)) == 0);
    values_free(&other);
    for (int i = 0; levels && !products && i < 2; i++) {
        setenv("UNMASK_ISA", i == 0 ? "base" : "avx2", 1);
        values_make(&other, steps, n, 1);
        run_steps(&um_backend_cpu, steps, n, 1, true, &other);
        CHECK(memcmp(other.at[last->out], one.at[last->out], bytes) == 0);
        if (n == 1 && s->means >= 0) CHECK(memcmp(other.at[s->means], one.at[s->means], (size_t)s->k * sizeof(float)) == 0);
        values_free(&other);
        unsetenv("UNMASK_ISA");
    }
    values_free(&want);
    values_free(&one);
    values_free(&three);
}

static bool same_shape(const um_step *a, const um_step *b)
{
    return a->kind == b->kind && a->act == b->act && a->h == b->h && a->w == b->w && a->c == b->c && a->k == b->k && a->r == b->r && a->stride == b->stride && (a->residual < 0) == (b->residual < 0) &&
           (a->gate < 0) == (b->gate < 0);
}

/* Makes the map of a step at most `px` wide. */
static um_step cut(const um_step *from, int px)
{
    um_step s = *from;
    if (s.h > px) {
        int pad;
        s.h = s.w = px;
        s.p = s.q = s.kind == UM_STEP_MEAN ? 1 : (px + s.stride - 1) / s.stride;
        pad = (s.p - 1) * s.stride + s.r - px;
        s.pad_top = s.pad_left = pad > 0 ? pad / 2 : 0;
        if (s.kind == UM_STEP_MEAN) s.r = s.s = px, s.pad_top = s.pad_left = 0;
    }
    return s;
}

static net_steps net, seen;

static void check_net(double width, double depth, um_dtype type, int px, bool levels)
{
    net_efficientnet(&net, width, depth, 380, type);
    memset(&seen, 0, sizeof seen);
    for (int i = 0; i < net.n; i++) {
        um_step s[5] = {cut(&net.step[i], px)};
        bool known = false;
        for (int j = 0; j < seen.n && !known; j++) known = same_shape(&seen.step[j], &s[0]);
        int taken = um_backend_cpu.take(&net.step[i], net.n - i);
        if (known && taken == 1) continue;
        if (!known) {
            um_step t = s[0];
            seen.step[seen.n++] = s[0];
            /* Values of its own. */
            t.in = 0;
            t.out = 1;
            t.residual = t.residual < 0 ? -1 : 2;
            t.gate = t.gate < 0 ? -1 : 3;
            t.means = t.means < 0 ? -1 : 4;
            check(&t, 1, levels && t.c * t.k <= 20000);
        }
        if (taken > 1) {
            int low = net.step[i].in;
            for (int j = 0; j < taken; j++) {
                s[j] = cut(&net.step[i + j], j > taken - 4 ? (px + net.step[i + taken - 4].stride - 1) / net.step[i + taken - 4].stride : px);
                s[j].in -= low;
                s[j].out -= low;
                if (s[j].residual >= 0) s[j].residual = s[j].residual == low ? 0 : -1;
                if (s[j].gate >= 0) s[j].gate -= low;
                if (s[j].means >= 0) s[j].means -= low;
            }
            for (int j = 0; j < seen.n && !known; j++) known = false;
            bool block_known = false;
            for (int j = i - 1; j >= 0 && !block_known; j--) block_known = same_shape(&net.step[j], &net.step[i]) && same_shape(&net.step[j + taken - 1], &net.step[i + taken - 1]) && same_shape(&net.step[j + 1], &net.step[i + 1]);
            if (!block_known) check(s, taken, levels && s[0].c * s[0].k <= 20000);
        }
    }
}

static void check_small(um_dtype type)
{
    /* height, width, channels, outputs, filter, stride, same, activation: MTCNN's layers, then shapes that are odd. */
    static const struct {
        int h, w, c, k, r, stride;
        bool same;
        um_act act;
    } conv[] = {{12, 12, 3, 10, 3, 1, false, UM_ACT_PRELU},  {5, 5, 10, 16, 3, 1, false, UM_ACT_PRELU}, {3, 3, 16, 32, 3, 1, false, UM_ACT_PRELU},   {1, 1, 32, 2, 1, 1, false, UM_ACT_NONE},
                {1, 1, 32, 4, 1, 1, false, UM_ACT_NONE},     {24, 24, 3, 28, 3, 1, false, UM_ACT_PRELU}, {11, 11, 28, 48, 3, 1, false, UM_ACT_PRELU}, {4, 4, 48, 64, 2, 1, false, UM_ACT_PRELU},
                {1, 1, 576, 128, 1, 1, false, UM_ACT_PRELU}, {1, 1, 128, 2, 1, 1, false, UM_ACT_NONE},  {1, 1, 128, 4, 1, 1, false, UM_ACT_NONE},    {48, 48, 3, 32, 3, 1, false, UM_ACT_PRELU},
                {23, 23, 32, 64, 3, 1, false, UM_ACT_PRELU}, {10, 10, 64, 64, 3, 1, false, UM_ACT_PRELU}, {4, 4, 64, 128, 2, 1, false, UM_ACT_PRELU}, {1, 1, 1152, 256, 1, 1, false, UM_ACT_PRELU},
                {1, 1, 256, 2, 1, 1, false, UM_ACT_NONE},    {1, 1, 256, 4, 1, 1, false, UM_ACT_NONE},  {1, 1, 256, 10, 1, 1, false, UM_ACT_NONE},   {7, 9, 5, 17, 3, 2, true, UM_ACT_RELU},
                {9, 4, 7, 33, 5, 3, true, UM_ACT_SIGMOID},   {1, 1, 1, 1, 1, 1, true, UM_ACT_SWISH},    {6, 5, 4, 65, 1, 2, true, UM_ACT_NONE},      {8, 8, 241, 100, 1, 1, true, UM_ACT_SWISH},
                {2, 3, 700, 49, 1, 1, true, UM_ACT_RELU},    {40, 41, 320, 640, 1, 1, true, UM_ACT_SWISH}};
    for (size_t i = 0; i < sizeof conv / sizeof *conv; i++)
        for (int extra = 0; extra < 2; extra++) {
            um_step s = {.kind = UM_STEP_CONV, .act = conv[i].act, .n = 1, .h = conv[i].h, .w = conv[i].w, .c = conv[i].c, .k = conv[i].k, .r = conv[i].r, .s = conv[i].r, .stride = conv[i].stride};
            if (extra && (i < 15 || conv[i].r > 1 || conv[i].stride > 1)) continue; /* gate and residual: 1 x 1 only */
            s.p = conv[i].same ? (s.h + s.stride - 1) / s.stride : (s.h - s.r) / s.stride + 1;
            s.q = conv[i].same ? (s.w + s.stride - 1) / s.stride : (s.w - s.s) / s.stride + 1;
            int down = (s.p - 1) * s.stride + s.r - s.h, right = (s.q - 1) * s.stride + s.s - s.w;
            s.pad_top = down > 0 ? down / 2 : 0;
            s.pad_left = right > 0 ? right / 2 : 0;
            s.out = 1;
            s.means = -1;
            s.residual = extra ? 2 : -1;
            s.gate = extra ? 3 : -1;
            s.in_type = s.out_type = type;
            check(&s, 1, s.c * s.k < 70000);
            s.out_type = UM_F32;
            if (type != UM_F32) check(&s, 1, s.c * s.k < 70000);
        }
    static const int depthwise[][6] = {/* h, w, c, filter, stride, swish */ {7, 9, 5, 3, 1, 1}, {40, 13, 20, 5, 1, 1}, {25, 12, 49, 5, 2, 1}, {12, 31, 48, 3, 2, 1}, {9, 9, 33, 7, 1, 1}, {8, 5, 17, 3, 3, 1}, {5, 5, 64, 1, 1, 0}, {90, 90, 16, 3, 1, 0}, {1, 1, 3, 5, 2, 1}};
    for (size_t i = 0; i < sizeof depthwise / sizeof *depthwise; i++) {
        const int *d = depthwise[i];
        um_step s = {.kind = UM_STEP_DEPTHWISE, .act = d[5] ? UM_ACT_SWISH : UM_ACT_NONE, .n = 1, .h = d[0], .w = d[1], .c = d[2], .k = d[2], .r = d[3], .s = d[3], .stride = d[4]};
        s.p = (s.h + s.stride - 1) / s.stride;
        s.q = (s.w + s.stride - 1) / s.stride;
        int down = (s.p - 1) * s.stride + s.r - s.h, right = (s.q - 1) * s.stride + s.s - s.w;
        s.pad_top = down > 0 ? down / 2 : 0;
        s.pad_left = right > 0 ? right / 2 : 0;
        s.out = 1;
        s.residual = s.gate = -1;
        s.means = i % 2 == 0 ? 4 : -1;
        s.in_type = s.out_type = type;
        check(&s, 1, true);
    }
    static const int pool[][5] = {{10, 10, 10, 2, 2}, {22, 22, 28, 3, 2}, {9, 9, 48, 3, 2}, {46, 46, 32, 3, 2}, {21, 21, 64, 3, 2}, {8, 8, 64, 2, 2}, {5, 7, 3, 3, 2}};
    for (size_t i = 0; i < sizeof pool / sizeof *pool; i++) {
        const int *d = pool[i];
        um_step s = {.kind = UM_STEP_MAX_POOL, .n = 1, .h = d[0], .w = d[1], .c = d[2], .k = d[2], .r = d[3], .s = d[3], .stride = d[4], .out = 1, .residual = -1, .gate = -1, .means = -1, .in_type = type, .out_type = type};
        s.p = (s.h - s.r + s.stride - 1) / s.stride + 1;
        s.q = (s.w - s.s + s.stride - 1) / s.stride + 1;
        check(&s, 1, true);
    }
    for (int i = 0; i < 6; i++) {
        um_step s = {.kind = UM_STEP_ACT, .act = i < 5 ? (um_act)i : UM_ACT_SWISH, .n = 1, .h = 3, .w = 5, .c = 37, .k = 37, .p = 3, .q = 5, .r = 1, .s = 1, .stride = 1, .out = 1, .means = -1, .in_type = type, .out_type = type};
        s.residual = i % 2 ? 2 : -1;
        s.gate = i % 3 ? 3 : -1;
        check(&s, 1, true);
        s.out_type = UM_F32;
        check(&s, 1, true);
    }
    um_step s = {.kind = UM_STEP_MEAN, .n = 1, .h = 7, .w = 9, .c = 35, .k = 35, .p = 1, .q = 1, .r = 7, .s = 9, .stride = 1, .out = 1, .residual = -1, .gate = -1, .means = -1, .in_type = type, .out_type = UM_F32};
    check(&s, 1, true);
    um_step c = {.kind = UM_STEP_CONVERT, .n = 1, .h = 7, .w = 9, .c = 3, .k = 3, .p = 7, .q = 9, .r = 1, .s = 1, .stride = 1, .out = 1, .residual = -1, .gate = -1, .means = -1, .in_type = UM_U8, .out_type = type, .mean = {.485f, .456f, .406f}, .std = {.229f, .224f, .225f}};
    check(&c, 1, true);
}

int main(int argc, char **argv)
{
    bool full = argc > 1 && strcmp(argv[1], "full") == 0;
    setenv("UNMASK_BF16", "wide", 1); /* also where products of bfloat16 are the default */
    for (int t = 0; t < 2; t++) {
        um_dtype type = t == 0 ? UM_F32 : UM_BF16;
        check_small(type);
        check_net(1, 1, type, full ? 380 : PIXELS_CUT, !full);
        if (full) check_net(1.4, 1.8, type, 380, false);
        if (full) check_net(2, 3.1, type, 380, false);
    }
    setenv("UNMASK_BF16", "dot", 1); /* where the processor has it; elsewhere as before */
    products = strcmp(um_backend_cpu_arithmetic(UM_BF16), "f32") != 0;
    printf("bf16 again, %s\n", products ? "with products of bfloat16" : "which this processor multiplies in f32 only");
    check_small(UM_BF16);
    if (!full) check_net(1, 1, UM_BF16, PIXELS_CUT, false);
    printf("largest error: f32 %.1e, bf16 %.1e\n", worst[0], worst[1]);
    return TEST_END();
}
