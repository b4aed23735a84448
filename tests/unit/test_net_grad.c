/* Gradients of a net in training: every operator's derivative against finite differences of its forward pass, the processor's operators against the plain ones, whole nets, lanes. */
#include "src/core/rng.h"
#include "src/models/efficientnet.h"
#include "src/nn/init.h"
#include "src/nn/net.h"
#include "src/nn/plan.h"
#include "src/nn/train_ops.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static um_rng rng;

static void fill(float *x, size_t n, double range)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)um_rng_uniform(&rng, -range, range);
}

static float *random_map(size_t n, double range)
{
    float *x = aligned_alloc(64, (n * sizeof *x + 191) / 64 * 64); /* kernels read up to a register behind */
    if (x == NULL) exit(1);
    fill(x, n, range);
    return x;
}

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Root mean square of the difference over that of `want`. */
static double off(const float *got, const float *want, size_t n)
{
    double d = 0, w = 0;
    for (size_t i = 0; i < n; i++) {
        d += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
        w += (double)want[i] * (double)want[i];
    }
    return w > 0 ? sqrt(d / w) : sqrt(d);
}

/* ---- operators with filters ---- */

typedef struct filter_case {
    um_window v;
    int n;
    bool depthwise;
} filter_case;

static um_window window(int h, int w, int c, int k, int r, int stride, bool same)
{
    um_window v = {.h = h, .w = w, .c = c, .k = k, .r = r, .s = r, .stride = stride};
    v.p = same ? (h + stride - 1) / stride : (h - r) / stride + 1;
    v.q = same ? (w + stride - 1) / stride : (w - r) / stride + 1;
    if (same && (v.p - 1) * stride + r > h) v.pad_top = ((v.p - 1) * stride + r - h) / 2;
    if (same && (v.q - 1) * stride + r > w) v.pad_left = ((v.q - 1) * stride + r - w) / 2;
    return v;
}

static void forward(const um_train_ops *ops, const filter_case *f, const float *x, const float *w, const float *b, float *y, void *scratch)
{
    (f->depthwise ? ops->depthwise : ops->conv)(&f->v, f->n, x, w, b, y, scratch);
}

/* The derivative of dot(y, t) along a random direction of x, w and b: by the backward operators, and by the difference of two forward passes. Both are linear in each. */
static void check_filter(filter_case f)
{
    const um_window *v = &f.v;
    size_t n_x = (size_t)f.n * (size_t)(v->h * v->w * v->c), n_y = (size_t)f.n * (size_t)(v->p * v->q * v->k), n_w = (size_t)(v->k * v->r * v->s) * (size_t)(f.depthwise ? 1 : v->c), n_b = (size_t)v->k;
    float *x = random_map(n_x, 1), *w = random_map(n_w, 1), *b = random_map(n_b, 1), *t = random_map(n_y, 1), *y = random_map(n_y, 1), *y2 = random_map(n_y, 1);
    float *ex = random_map(n_x, 1), *ew = random_map(n_w, 1), *eb = random_map(n_b, 1), *dx = random_map(n_x, 1), *dw = random_map(n_w, 1), *db = random_map(n_b, 1);
    float *dx2 = random_map(n_x, 1), *dw2 = random_map(n_w, 1), *db2 = random_map(n_b, 1);
    void *scratch = aligned_alloc(64, um_train_cpu.scratch_bytes(v) + 64);
    if (scratch == NULL) exit(1);
    (f.depthwise ? um_train_ref.depthwise_data : um_train_ref.conv_data)(v, f.n, t, w, dx, false, NULL);
    (f.depthwise ? um_train_ref.depthwise_weight : um_train_ref.conv_weight)(v, f.n, x, t, dw, db, NULL);
    for (int which = 0; which < 3; which++) {
        float *at = which == 0 ? x : which == 1 ? w : b, *e = which == 0 ? ex : which == 1 ? ew : eb, *d = which == 0 ? dx : which == 1 ? dw : db;
        size_t n = which == 0 ? n_x : which == 1 ? n_w : n_b;
        forward(&um_train_ref, &f, x, w, b, y, NULL);
        for (size_t i = 0; i < n; i++) at[i] += e[i];
        forward(&um_train_ref, &f, x, w, b, y2, NULL);
        for (size_t i = 0; i < n; i++) at[i] -= e[i];
        double want = dot(y2, t, n_y) - dot(y, t, n_y), size = sqrt(dot(y, y, n_y) * dot(t, t, n_y));
        CHECK_NEAR(dot(d, e, n), want, 1e-5 * size);
    }
    /* cpu against ref: forward; by the data, alone and added; by the weights. */
    forward(&um_train_ref, &f, x, w, b, y, NULL);
    forward(&um_train_cpu, &f, x, w, b, y2, scratch);
    CHECK(off(y2, y, n_y) < 2e-6);
    (f.depthwise ? um_train_cpu.depthwise_data : um_train_cpu.conv_data)(v, f.n, t, w, dx2, false, scratch);
    CHECK(off(dx2, dx, n_x) < 2e-6);
    (f.depthwise ? um_train_cpu.depthwise_data : um_train_cpu.conv_data)(v, f.n, t, w, dx2, true, scratch);
    for (size_t i = 0; i < n_x; i++) dx2[i] /= 2;
    CHECK(off(dx2, dx, n_x) < 2e-6);
    (f.depthwise ? um_train_cpu.depthwise_weight : um_train_cpu.conv_weight)(v, f.n, x, t, dw2, db2, scratch);
    CHECK(off(dw2, dw, n_w) < 5e-6);
    CHECK(off(db2, db, n_b) < 5e-6);
    if (test_failures > 0) fprintf(stderr, "  (%s %dx%dx%d -> %dx%dx%d, %dx%d, stride %d, %d pictures)\n", f.depthwise ? "depthwise" : "conv", v->h, v->w, v->c, v->p, v->q, v->k, v->r, v->s, v->stride, f.n);
    float *all[] = {x, w, b, t, y, y2, ex, ew, eb, dx, dw, db, dx2, dw2, db2};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
    free(scratch);
}

static void test_filters(void)
{
    static const int sides[][2] = {{1, 1}, {2, 3}, {7, 5}, {13, 13}, {16, 9}, {25, 24}};
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++) {
        int h = sides[i][0], w = sides[i][1];
        check_filter((filter_case){window(h, w, 3, 8, 3, 2, true), 2, false});
        check_filter((filter_case){window(h, w, 24, 40, 1, 1, true), 3, false});
        check_filter((filter_case){window(h, w, 17, 5, 1, 2, true), 2, false});
        for (int r = 3; r <= 5; r += 2)
            for (int stride = 1; stride <= 2; stride++) {
                check_filter((filter_case){window(h, w, 21, 21, r, stride, true), 2, true});
                check_filter((filter_case){window(h, w, 6, 4, r, stride, true), 1, false});
            }
        check_filter((filter_case){window(h, w, 16, 16, 4, 3, true), 1, true});
    }
    check_filter((filter_case){window(9, 11, 18, 18, 3, 1, false), 2, true});
    check_filter((filter_case){window(9, 11, 5, 7, 3, 2, false), 2, false});
    check_filter((filter_case){window(1, 1, 130, 33, 1, 1, true), 5, false});
    check_filter((filter_case){window(20, 20, 72, 200, 1, 1, true), 2, false});
}

/* ---- whole nets ---- */

typedef struct setting {
    const char *backend;
    const um_graph *g;
    int n, n_lanes;
    const int *lane_count;
    um_pool *pool;
    bool freeze;
} setting;

static const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};

/* One forward pass, and with grads one backward pass with d_logits t. Parameters change in their running values. */
static void step(const setting *s, float *params, const uint8_t *images, float *logits, const float *t, float *grads)
{
    um_net_options o = {.backend = s->backend, .max_batch = s->n, .n_lanes = s->n_lanes, .precision = UM_F32, .bn_momentum = 0.1f, .pool = s->pool};
    um_net_batch b = {.images = images, .lane_count = s->lane_count, .first = 0, .seed = 7, .step = 3, .freeze_encoder = s->freeze};
    um_net *n = NULL;
    memcpy(o.mean, mean, sizeof mean);
    memcpy(o.std, std, sizeof std);
    CHECK_OK(um_net_new(s->g, &o, &n));
    if (n == NULL) return;
    CHECK_OK(um_net_forward(n, params, &b, logits));
    if (grads != NULL) CHECK_OK(um_net_backward(n, params, &b, t, grads));
    um_net_free(n);
}

static uint8_t *random_images(size_t n)
{
    uint8_t *x = malloc(n);
    if (x == NULL) exit(1);
    for (size_t i = 0; i < n; i++) x[i] = (uint8_t)um_rng_below(&rng, 256);
    return x;
}

static size_t picture_bytes(const um_graph *g) { return (size_t)(g->node[0].h * g->node[0].w * g->node[0].c); }

/* The derivative of dot(logits, t) along a random direction of each parameter, by differences of forward passes of the plain operators. */
static void check_net(const um_graph *g, int n, const char *backend, double h, double tolerance)
{
    size_t count = (size_t)g->param_count;
    float *params = random_map(count, 1), *work = random_map(count, 1), *grads = random_map(count, 1), *t = random_map((size_t)n, 1), *e = random_map(count, 1), *y = random_map((size_t)n, 1);
    uint8_t *images = random_images(picture_bytes(g) * (size_t)n);
    setting s = {.backend = backend, .g = g, .n = n, .n_lanes = 1, .lane_count = &n}, plain = s;
    plain.backend = "ref";
    um_graph_init(g, 5, params);
    for (int p = 0; p < g->n_params; p++)
        if (g->param[p].kind == UM_PARAM_BIAS || g->param[p].kind == UM_PARAM_BN_BIAS || g->param[p].kind == UM_PARAM_BN_MEAN) fill(params + g->param[p].offset, (size_t)g->param[p].count, 0.3);
    memcpy(work, params, count * sizeof *work);
    step(&s, work, images, y, t, grads);
    for (int p = 0; p < g->n_params; p++) {
        size_t at = (size_t)g->param[p].offset, many = (size_t)g->param[p].count;
        double f[2], norm = sqrt(dot(grads + at, grads + at, many));
        if (g->param[p].kind == UM_PARAM_BN_MEAN || g->param[p].kind == UM_PARAM_BN_VAR) {
            CHECK(norm == 0);
            continue;
        }
        for (int sign = 0; sign < 2; sign++) {
            memcpy(work, params, count * sizeof *work);
            for (size_t i = 0; i < many; i++) work[at + i] += (float)((sign == 0 ? h : -h) * (double)e[at + i]);
            step(&plain, work, images, y, NULL, NULL);
            f[sign] = dot(y, t, (size_t)n);
        }
        double got = dot(grads + at, e + at, many), want = (f[0] - f[1]) / (2 * h), size = norm + fabs(want) + 1e-2;
        if (fabs(got - want) > tolerance * size) fprintf(stderr, "%s: %g, want %g\n", g->param[p].name, got, want);
        CHECK(fabs(got - want) <= tolerance * size);
    }
    free(params), free(work), free(grads), free(t), free(e), free(y), free(images);
}

/* Every operator there is, in one net: each parameter's derivative goes through what stands behind it. */
static um_graph *zoo(void)
{
    um_graph *g = NULL;
    CHECK_OK(um_graph_new(&g));
    int x = um_graph_input(g, 13, 11, 3), y, z;
    x = um_graph_conv(g, "stem", x, 8, 3, 3, 2, UM_PAD_SAME, true);
    x = um_graph_batch_norm(g, "bn1", x, 1e-3f);
    x = um_graph_act(g, NULL, x, UM_ACT_SWISH);
    y = um_graph_depthwise(g, "dw", x, 5, 5, 1, UM_PAD_SAME, true);
    y = um_graph_batch_norm(g, "bn2", y, 1e-3f);
    y = um_graph_act(g, NULL, y, UM_ACT_SWISH);
    z = um_graph_mean(g, y);
    z = um_graph_conv(g, "reduce", z, 3, 1, 1, 1, UM_PAD_SAME, true);
    z = um_graph_act(g, NULL, z, UM_ACT_SWISH);
    z = um_graph_conv(g, "expand", z, 8, 1, 1, 1, UM_PAD_SAME, true);
    z = um_graph_act(g, NULL, z, UM_ACT_SIGMOID);
    y = um_graph_scale(g, y, z);
    y = um_graph_drop_path(g, y, 0.3f);
    x = um_graph_add(g, y, x);
    x = um_graph_act(g, "prelu", x, UM_ACT_PRELU);
    x = um_graph_conv(g, "wide", x, 12, 3, 3, 1, UM_PAD_VALID, false);
    x = um_graph_max_pool(g, x, 2, 2, 2);
    x = um_graph_dropout(g, x, 0.2f);
    x = um_graph_act(g, NULL, x, UM_ACT_SIGMOID);
    x = um_graph_dense(g, "fc1", x, 6, true);
    x = um_graph_act(g, NULL, x, UM_ACT_RELU);
    x = um_graph_dense(g, "fc2", x, 1, true);
    um_graph_output(g, x);
    CHECK_OK(um_graph_finish(g));
    return g;
}

static void test_nets(void)
{
    um_graph *g = zoo();
    check_net(g, 3, "ref", 1e-3, 5e-3);
    check_net(g, 3, "cpu", 1e-3, 5e-3);
    um_graph_free(g);
    um_efficientnet net;
    CHECK_OK(um_efficientnet_parse("w0.25d0.2", &net));
    CHECK_OK(um_efficientnet_graph(&net, 33, true, 0.2f, 0.1f, &g));
    check_net(g, 3, "cpu", 1e-3, 2e-2);
    um_graph_free(g);
}

/* cpu against ref, on a net with every kind of block. */
static void test_backends(void)
{
    um_efficientnet net;
    um_graph *g = NULL;
    enum { N = 4 };
    int n = N;
    CHECK_OK(um_efficientnet_parse("w0.5d0.5", &net));
    CHECK_OK(um_efficientnet_graph(&net, 64, true, 0.2f, 0.1f, &g));
    size_t count = (size_t)g->param_count;
    float *params[2], *grads[2], logits[2][N], t[N] = {0.3f, -0.2f, 0.5f, 0.1f};
    uint8_t *images = random_images(picture_bytes(g) * N);
    for (int i = 0; i < 2; i++) {
        setting s = {.backend = i == 0 ? "ref" : "cpu", .g = g, .n = N, .n_lanes = 1, .lane_count = &n};
        params[i] = random_map(count, 1);
        grads[i] = random_map(count, 1);
        um_graph_init(g, 5, params[i]);
        step(&s, params[i], images, logits[i], t, grads[i]);
    }
    CHECK(off(logits[1], logits[0], N) < 1e-4);
    for (int p = 0; p < g->n_params; p++) {
        size_t at = (size_t)g->param[p].offset, many = (size_t)g->param[p].count;
        /* A bias that the next batch norm takes away again has no gradient but rounding errors. */
        double by = off(grads[1] + at, grads[0] + at, many), all = sqrt(dot(grads[0], grads[0], count)), mine = sqrt(dot(grads[0] + at, grads[0] + at, many));
        if (mine < 1e-4 * all) by *= mine / (1e-4 * all);
        if (!(by < 1e-3)) fprintf(stderr, "gradient of %s: off by %g\n", g->param[p].name, by);
        CHECK(by < 1e-3);
        for (size_t i = at; i < at + many; i++) CHECK_NEAR((double)params[1][i], (double)params[0][i], 1e-6);
    }
    for (int i = 0; i < 2; i++) free(params[i]), free(grads[i]);
    free(images);
    um_graph_free(g);
}

/* The same bits at every instruction-set level. */
static void test_levels(void)
{
    static const char *const level[] = {"base", "avx2", "avx512"};
    um_efficientnet net;
    um_graph *g = NULL;
    enum { N = 3 };
    int count[] = {2, 1};
    CHECK_OK(um_efficientnet_parse("w0.5d0.5", &net));
    CHECK_OK(um_efficientnet_graph(&net, 53, true, 0.2f, 0.1f, &g));
    size_t n = (size_t)g->param_count;
    float *params = random_map(n, 1), *grads[2] = {random_map(n, 1), random_map(n, 1)}, logits[2][N], t[N] = {0.3f, -0.2f, 0.5f};
    uint8_t *images = random_images(picture_bytes(g) * N);
    const char *kept = getenv("UNMASK_ISA");
    for (int i = 0; i < 3; i++) {
        setting s = {.backend = "cpu", .g = g, .n = N, .n_lanes = 2, .lane_count = count};
        int at = i > 0;
        setenv("UNMASK_ISA", level[i], 1); /* above what the processor has, it is the highest */
        um_graph_init(g, 5, params);
        step(&s, params, images, logits[at], t, grads[at]);
        CHECK(at == 0 || memcmp(logits[0], logits[1], sizeof logits[0]) == 0);
        CHECK(at == 0 || memcmp(grads[0], grads[1], n * sizeof(float)) == 0);
    }
    if (kept != NULL) setenv("UNMASK_ISA", kept, 1);
    else unsetenv("UNMASK_ISA");
    free(params), free(grads[0]), free(grads[1]), free(images);
    um_graph_free(g);
}

/* With running values a logit depends on its picture alone, and is what inference computes. */
static void test_evaluate(void)
{
    um_efficientnet net;
    um_graph *g = NULL;
    enum { N = 5 };
    int all[] = {N, 0}, split[] = {2, 3};
    CHECK_OK(um_efficientnet_parse("w0.5d0.5", &net));
    CHECK_OK(um_efficientnet_graph(&net, 64, true, 0.2f, 0.5f, &g));
    float *params = random_map((size_t)g->param_count, 1), logits[3][N];
    uint8_t *images = random_images(picture_bytes(g) * N);
    um_graph_init(g, 5, params);
    float *before = random_map((size_t)g->param_count, 1);
    memcpy(before, params, (size_t)g->param_count * sizeof *params);
    for (int i = 0; i < 2; i++) {
        um_net *n = NULL;
        um_net_options o = {.backend = i == 0 ? "cpu" : "ref", .max_batch = N, .n_lanes = 2, .precision = UM_F32};
        um_net_batch b = {.images = images, .lane_count = all};
        memcpy(o.mean, mean, sizeof mean);
        memcpy(o.std, std, sizeof std);
        CHECK_OK(um_net_new(g, &o, &n));
        CHECK_OK(um_net_evaluate(n, params, &b, logits[i]));
        b.lane_count = split;
        CHECK_OK(um_net_evaluate(n, params, &b, logits[2]));
        CHECK(memcmp(logits[2], logits[i], sizeof logits[i]) == 0);
        um_net_free(n);
    }
    CHECK(off(logits[0], logits[1], N) < 1e-5);
    CHECK(memcmp(before, params, (size_t)g->param_count * sizeof *params) == 0);
    um_plan_options po = {.batch = N, .precision = UM_F32};
    um_plan *plan = NULL;
    um_run *r = NULL;
    memcpy(po.mean, mean, sizeof mean);
    memcpy(po.std, std, sizeof std);
    CHECK_OK(um_plan_new(g, &um_backend_cpu, &po, &plan));
    void *constants = aligned_alloc(64, um_plan_constant_bytes(plan));
    CHECK_OK(um_plan_pack(plan, params, constants));
    CHECK_OK(um_plan_attach(plan, constants));
    CHECK_OK(um_run_new(plan, &r));
    CHECK_OK(um_run_forward(r, images, N, logits[2]));
    CHECK(off(logits[0], logits[2], N) < 1e-5);
    um_run_free(r);
    um_plan_free(plan);
    free(constants), free(params), free(before), free(images);
    um_graph_free(g);
}

int main(void)
{
    rng = um_rng_stream(1, 0, 0, UM_RNG_TEST);
    test_filters();
    test_nets();
    test_backends();
    test_levels();
    test_evaluate();
    return TEST_END();
}
