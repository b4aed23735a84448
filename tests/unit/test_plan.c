/* Plans: that what is folded, fused, merged and laid over each other in memory computes the graph that was written. */
#include "src/models/classifier.h"
#include "src/nn/plan_parts.h"
#include "tests/golden/classifier_golden.h"
#include "tests/unit/nn_interpreter.h"
#include "tests/unit/test.h"

enum { BATCH = 3, MOST_OUT = 4096 };

/* Every call for memory passes here (the linker's --wrap): a run must make none. */
static int n_allocations;
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t a, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t a, size_t n);
void *__wrap_malloc(size_t n) { return n_allocations++, __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size) { return n_allocations++, __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t n) { return n_allocations++, __real_realloc(p, n); }
void *__wrap_aligned_alloc(size_t a, size_t n) { return n_allocations++, __real_aligned_alloc(a, n); }

/* A backend that takes up to three steps as one kernel, on ref's kernels; what lies between them is in its scratch memory. */
typedef struct merged {
    um_step step[3];
    um_kernel *part[3];
    int n, n_values;
} merged;
static bool all_precisions(um_dtype t) { return t != UM_U8; }
static int merge(const um_step *s, int n) { return (void)s, n < 3 ? n : 3; }
static size_t between(const um_step *s) { return um_align((size_t)s->n * (size_t)s->p * (size_t)s->q * (size_t)s->k * 4 + UM_SLACK_BYTES); }
static um_status merged_new(const um_step *s, int n, um_kernel **out)
{
    merged *m = calloc(1, sizeof *m);
    m->n = n;
    for (int i = 0; i < n; i++) {
        const int uses[] = {s[i].in, s[i].out, s[i].gate, s[i].residual, s[i].means};
        m->step[i] = s[i];
        for (int j = 0; j < 5; j++)
            if (uses[j] >= m->n_values) m->n_values = uses[j] + 1;
        CHECK_OK(um_backend_ref.kernel_new(&s[i], 1, &m->part[i]));
    }
    *out = (um_kernel *)m;
    return UM_OK;
}
static void merged_free(um_kernel *k)
{
    merged *m = (merged *)k;
    for (int i = 0; m != NULL && i < m->n; i++) um_backend_ref.kernel_free(m->part[i]);
    free(m);
}
static size_t merged_constants(const um_kernel *k)
{
    const merged *m = (const merged *)k;
    size_t n = 0;
    for (int i = 0; i < m->n; i++) n += um_align(um_backend_ref.constant_bytes(m->part[i]));
    return n;
}
static size_t merged_scratch(const um_kernel *k)
{
    const merged *m = (const merged *)k;
    size_t n = um_align((size_t)m->n_values * sizeof(void *)), most = 0;
    for (int i = 0; i < m->n; i++) {
        size_t own = um_backend_ref.scratch_bytes(m->part[i]);
        most = own > most ? own : most;
        n += between(&m->step[i]);
    }
    return n + most;
}
static um_status merged_pack(const um_kernel *k, const um_step_weights *w, void *constants)
{
    const merged *m = (const merged *)k;
    unsigned char *to = constants;
    for (int i = 0; i < m->n; i++) {
        CHECK_OK(um_backend_ref.pack(m->part[i], &w[i], to));
        to += um_align(um_backend_ref.constant_bytes(m->part[i]));
    }
    return UM_OK;
}
static um_status merged_run(const um_kernel *k, const void *constants, void *const *value, void *scratch, void *stream)
{
    const merged *m = (const merged *)k;
    const unsigned char *from = constants;
    void **own = scratch;
    unsigned char *at = (unsigned char *)scratch + um_align((size_t)m->n_values * sizeof(void *));
    memcpy(own, value, (size_t)m->n_values * sizeof *own);
    for (int i = 0; i < m->n - 1; i++) {
        CHECK(value[m->step[i].out] == NULL); /* no memory for what stays inside */
        own[m->step[i].out] = at;
        at += between(&m->step[i]);
    }
    for (int i = 0; i < m->n; i++) {
        CHECK_OK(um_backend_ref.run(m->part[i], from, own, at, stream));
        from += um_align(um_backend_ref.constant_bytes(m->part[i]));
    }
    return UM_OK;
}
static const um_backend merging = {"merging", all_precisions, merge, merged_new, merged_free, merged_constants, merged_scratch, merged_pack, merged_run, NULL};

typedef struct machine {
    um_plan *plan;
    um_run *run;
    void *constants;
} machine;

static machine machine_new(const um_graph *g, const um_backend *b, um_dtype precision, int batch, const float *params)
{
    machine m = {0};
    um_plan_options o = {.batch = batch, .precision = precision};
    memcpy(o.mean, um_imagenet_mean, sizeof o.mean);
    memcpy(o.std, um_imagenet_std, sizeof o.std);
    CHECK_OK(um_plan_new(g, b, &o, &m.plan));
    if (m.plan == NULL) exit(TEST_END());
    m.constants = aligned_alloc(64, um_plan_constant_bytes(m.plan));
    CHECK_OK(um_plan_pack(m.plan, params, m.constants));
    CHECK_OK(um_plan_attach(m.plan, m.constants));
    CHECK_OK(um_run_new(m.plan, &m.run));
    if (m.run == NULL) exit(TEST_END());
    return m;
}

static void machine_free(machine *m)
{
    um_run_free(m->run);
    um_plan_free(m->plan);
    free(m->constants);
}

/* No two values that live at the same time share a byte, and each has room and slack. */
static void check_memory(const um_plan *p)
{
    for (int i = 0; i < p->n_values; i++) {
        const um_value *v = &p->value[i];
        if (!v->placed) continue;
        CHECK_INT(v->offset % UM_ALIGN_BYTES, 0);
        CHECK(v->offset + v->bytes + UM_SLACK_BYTES <= p->arena_bytes);
        for (int j = 0; j < i; j++) {
            const um_value *u = &p->value[j];
            bool both_live = u->placed && u->first <= v->last && v->first <= u->last;
            CHECK(!both_live || u->offset + u->bytes + UM_SLACK_BYTES <= v->offset || v->offset + v->bytes + UM_SLACK_BYTES <= u->offset);
        }
    }
}

/* One graph on both backends, in both precisions, with poisoned memory, against the interpreter. */
static void check_graph(const um_graph *g, const char *what)
{
    const um_node *in = &g->node[0], *last = &g->node[g->output];
    size_t each = (size_t)(in->h * in->w * in->c), n_out = (size_t)(last->h * last->w * last->c);
    float *params = malloc((size_t)(g->param_count + 1) * sizeof *params), first[BATCH * MOST_OUT], again[BATCH * MOST_OUT];
    uint8_t *images = malloc(BATCH * each);
    double want[MOST_OUT];
    const um_backend *backends[] = {&um_backend_ref, &merging, &um_backend_cpu};
    CHECK(n_out <= MOST_OUT);
    golden_params(g, 5, params);
    for (size_t i = 0; i < BATCH * each; i++) images[i] = (uint8_t)(golden_mix((uint32_t)i) & 255);
    for (int precision = UM_F32; precision <= UM_BF16; precision++)
        for (int b = 0; b < 3; b++) {
            if (!backends[b]->has((um_dtype)precision)) continue;
            machine m = machine_new(g, backends[b], (um_dtype)precision, BATCH, params);
            check_memory(m.plan);
            CHECK_OK(um_run_forward(m.run, images, BATCH, first));
            memset(m.run->memory, 0xff, um_align(m.plan->arena_bytes) + um_align(m.plan->scratch_bytes)); /* NaN everywhere */
            n_allocations = 0;
            CHECK_OK(um_run_forward(m.run, images, BATCH, again));
            CHECK_INT(n_allocations, 0);
            CHECK(memcmp(first, again, BATCH * n_out * sizeof *first) == 0);
            for (int i = 0; i < BATCH; i++) {
                double most = 0, off = 0;
                CHECK(interpret(g, params, um_imagenet_mean, um_imagenet_std, images + (size_t)i * each, want));
                for (size_t j = 0; j < n_out; j++) {
                    double d = fabs(want[j] - (double)first[(size_t)i * n_out + j]);
                    if (!(d <= off)) off = d; /* a NaN too */
                    if (fabs(want[j]) > most) most = fabs(want[j]);
                }
                if (!(off <= (precision == UM_F32 ? 2e-6 : 0.03) * most)) {
                    fprintf(stderr, "%s, %s, %s: off by %g of %g\n", what, backends[b]->name, precision == UM_F32 ? "f32" : "bf16", off, most);
                    test_failures++;
                }
            }
            machine_free(&m);
        }
    free(params);
    free(images);
}

static um_graph *begun(int h, int w)
{
    um_graph *g = NULL;
    CHECK_OK(um_graph_new(&g));
    um_graph_input(g, h, w, 3);
    return g;
}

static void check_and_free(um_graph *g, int output, const char *what)
{
    um_graph_output(g, output);
    CHECK_OK(um_graph_finish(g));
    if (g->status == UM_OK) check_graph(g, what);
    um_graph_free(g);
}

/* Every operator, and the ways in which they may or may not be taken into one step. */
static void test_shapes_of_graphs(void)
{
    um_graph *g = begun(9, 7);
    int x, y, z;

    check_and_free(begun(9, 7), 0, "the input alone");
    x = um_graph_batch_norm(g, "n", 0, 1e-3f);
    check_and_free(g, um_graph_act(g, NULL, x, UM_ACT_RELU), "a batch norm alone");

    g = begun(9, 7);
    x = um_graph_conv(g, "a", 0, 5, 3, 2, 2, UM_PAD_SAME, true);
    x = um_graph_act(g, "p", um_graph_batch_norm(g, "n", x, 1e-3f), UM_ACT_PRELU);
    x = um_graph_max_pool(g, x, 2, 3, 2);
    x = um_graph_act(g, "q", um_graph_dense(g, "fc", x, 6, true), UM_ACT_PRELU);
    check_and_free(g, um_graph_dense(g, "fc2", x, 4, false), "filter, slopes, pooling, dense layers over a map");

    g = begun(11, 8);
    x = um_graph_conv(g, "a", 0, 6, 3, 3, 1, UM_PAD_VALID, false);
    y = um_graph_batch_norm(g, "n1", um_graph_conv(g, "b", x, 6, 1, 1, 1, UM_PAD_SAME, false), 1e-3f);
    z = um_graph_batch_norm(g, "n2", um_graph_conv(g, "c", x, 6, 3, 3, 1, UM_PAD_SAME, true), 1e-3f);
    x = um_graph_act(g, NULL, um_graph_add(g, um_graph_drop_path(g, y, 0.5f), z), UM_ACT_SWISH);
    check_and_free(g, um_graph_add(g, x, x), "a sum of two convolutions with an activation, and x + x");

    g = begun(8, 8);
    x = um_graph_conv(g, "a", 0, 6, 3, 3, 1, UM_PAD_SAME, false); /* read twice: its batch norm must not be folded */
    y = um_graph_act(g, NULL, um_graph_batch_norm(g, "n1", x, 1e-3f), UM_ACT_SIGMOID);
    y = um_graph_batch_norm(g, "n2", um_graph_batch_norm(g, "n3", y, 1e-3f), 1e-3f);
    check_and_free(g, um_graph_add(g, x, y), "a convolution with two readers, batch norms in a row");

    g = begun(10, 9);
    x = um_graph_conv(g, "a", 0, 8, 3, 3, 2, UM_PAD_SAME, false);
    x = um_graph_act(g, NULL, um_graph_batch_norm(g, "n", um_graph_depthwise(g, "d", x, 5, 3, 2, UM_PAD_SAME, true), 1e-3f), UM_ACT_SWISH);
    y = um_graph_act(g, NULL, um_graph_conv(g, "r", um_graph_mean(g, x), 3, 1, 1, 1, UM_PAD_SAME, true), UM_ACT_SWISH);
    y = um_graph_act(g, NULL, um_graph_conv(g, "e", y, 8, 1, 1, 1, UM_PAD_SAME, true), UM_ACT_SIGMOID);
    z = um_graph_conv(g, "k", um_graph_scale(g, x, y), 8, 3, 3, 1, UM_PAD_SAME, false);
    check_and_free(g, um_graph_add(g, z, x), "squeeze and excite in front of a 3 x 3 filter, and a residual sum");

    g = begun(10, 9);
    x = um_graph_depthwise(g, "d", 0, 3, 3, 1, UM_PAD_VALID, false);
    y = um_graph_mean(g, x);
    z = um_graph_scale(g, x, um_graph_max_pool(g, um_graph_conv(g, "c", 0, 3, 3, 3, 1, UM_PAD_SAME, false), 10, 9, 1)); /* a gate that is no mean: bf16 in a bf16 plan */
    z = um_graph_act(g, NULL, um_graph_add(g, z, x), UM_ACT_RELU);
    check_and_free(g, um_graph_scale(g, z, um_graph_add(g, y, um_graph_mean(g, x))), "products that no convolution reads, one mean used twice");

    g = begun(6, 6);
    x = um_graph_conv(g, "a", 0, 4, 6, 6, 1, UM_PAD_VALID, false);
    y = um_graph_mean(g, um_graph_conv(g, "b", 0, 4, 3, 3, 1, UM_PAD_SAME, false));
    z = um_graph_add(g, um_graph_dense(g, "c", x, 4, false), y); /* a sum of bf16 and f32 */
    z = um_graph_add(g, um_graph_dropout(g, um_graph_dense(g, "d", z, 4, true), 0.1f), x);
    um_graph_conv(g, "unused", 0, 4, 3, 3, 1, UM_PAD_SAME, false);
    check_and_free(g, um_graph_add(g, y, um_graph_scale(g, um_graph_scale(g, z, y), x)), "maps of one number, both precisions meet, a branch nobody reads");
}

static void test_efficientnet(void)
{
    um_efficientnet net;
    um_graph *g = NULL;
    int count[6] = {0}, residuals = 0, gates = 0, means = 0;
    CHECK_OK(um_efficientnet_parse("b0", &net));
    CHECK_OK(um_efficientnet_graph(&net, 45, true, 0.2f, 0.2f, &g));
    if (g == NULL) return;
    check_graph(g, "b0");
    float *params = malloc((size_t)g->param_count * sizeof *params);
    golden_params(g, 5, params);
    machine m = machine_new(g, &um_backend_ref, UM_BF16, 1, params);
    size_t all = 0;
    for (int i = 0; i < m.plan->n_steps; i++) {
        const um_step *s = &m.plan->step[i];
        count[s->kind]++;
        residuals += s->residual >= 0;
        gates += s->gate >= 0;
        means += s->means >= 0;
        CHECK(s->kind != UM_STEP_CONV || s->h > 1 || s->c == 3 || s->in_type == UM_F32 || s->gate >= 0 || s->act == UM_ACT_SWISH);
    }
    /* 16 blocks: 15 expand; all have a gate of two layers and a projection; stem, head and logit. */
    CHECK_INT(count[UM_STEP_CONVERT], 1);
    CHECK_INT(count[UM_STEP_CONV], 15 + 16 * 3 + 3);
    CHECK_INT(count[UM_STEP_DEPTHWISE], 16);
    CHECK_INT(count[UM_STEP_MEAN], 1);
    CHECK_INT(count[UM_STEP_ACT], 0);
    CHECK_INT(residuals, 9);
    CHECK_INT(gates, 16);
    CHECK_INT(means, 16);
    for (int i = 0; i < m.plan->n_values; i++) all += m.plan->value[i].bytes;
    CHECK(m.plan->arena_bytes < all / 3); /* memory is used again */
    machine_free(&m);
    free(params);
    um_graph_free(g);
}

/* An image gives the same bits alone and at each place of a batch; constants made by one plan serve another. */
static void test_batches_and_constants(void)
{
    um_efficientnet net;
    um_graph *g = NULL;
    enum { SIZE = 40, EACH = SIZE * SIZE * 3 };
    static uint8_t images[4 * EACH], moved[4 * EACH];
    float whole[4], shifted[4], alone;
    CHECK_OK(um_efficientnet_parse("w0.5d0.5", &net));
    CHECK_OK(um_efficientnet_graph(&net, SIZE, true, 0, 0, &g));
    if (g == NULL) return;
    float *params = malloc((size_t)g->param_count * sizeof *params);
    golden_params(g, 1, params);
    for (uint32_t i = 0; i < 4; i++) golden_picture(i, SIZE, images + i * EACH);
    for (int precision = UM_F32; precision <= UM_BF16; precision++) {
        machine four = machine_new(g, &um_backend_ref, (um_dtype)precision, 4, params), one = machine_new(g, &um_backend_ref, (um_dtype)precision, 1, params);
        CHECK_OK(um_run_forward(four.run, images, 4, whole));
        for (size_t by = 1; by < 4; by++) {
            memcpy(moved, images + by * EACH, (4 - by) * EACH);
            memcpy(moved + (4 - by) * EACH, images, by * EACH);
            CHECK_OK(um_run_forward(four.run, moved, 4, shifted));
            for (size_t i = 0; i < 4; i++) CHECK(memcmp(&shifted[i], &whole[(i + by) % 4], sizeof alone) == 0);
        }
        /* `one` forgets its own constants and takes a copy of those of `four`: they do not depend on the batch. */
        CHECK_INT(um_plan_constant_bytes(one.plan), um_plan_constant_bytes(four.plan));
        CHECK(memcmp(one.constants, four.constants, um_plan_constant_bytes(four.plan)) == 0);
        memset(one.constants, 0xff, um_plan_constant_bytes(one.plan));
        CHECK_OK(um_plan_attach(one.plan, four.constants));
        for (size_t i = 0; i < 4; i++) {
            CHECK_OK(um_run_forward(one.run, images + i * EACH, 1, &alone));
            CHECK(memcmp(&alone, &whole[i], sizeof alone) == 0);
        }
        machine_free(&four);
        machine_free(&one);
    }
    free(params);
    um_graph_free(g);
}

static bool no_bf16(um_dtype t) { return t == UM_F32; }

static void test_refusals(void)
{
    um_efficientnet net;
    um_graph *g = NULL, *grey = NULL;
    um_plan *p = NULL;
    um_plan_options o = {.batch = 1, .precision = UM_F32, .mean = {0, 0, 0}, .std = {1, 1, 1}}, bad;
    um_backend f32_only = um_backend_ref;
    f32_only.has = no_bf16;
    CHECK_OK(um_efficientnet_parse("w0.5d0.5", &net));
    CHECK_OK(um_efficientnet_graph(&net, 40, true, 0, 0, &g));
    if (g == NULL) return;
    float *params = malloc((size_t)g->param_count * sizeof *params);
    golden_params(g, 1, params);
    CHECK_OK(um_plan_new(g, &um_backend_ref, &o, &p));
    if (p == NULL) return;
    void *constants = aligned_alloc(64, um_plan_constant_bytes(p));
    static const struct {
        const char *name;
        float value;
        const char *says;
    } lies[] = {{"encoder.blocks.1.0.bn2.running_var", -1e-9f, "encoder.blocks.1.0.bn2.running_var: element 5"},
                {"encoder.conv_stem.weight", NAN, "encoder.conv_stem.weight: element 5 is not finite"},
                {"encoder.blocks.0.0.se.conv_expand.bias", INFINITY, "encoder.blocks.0.0.se.conv_expand.bias: element 5"},
                {"encoder.bn2.weight", 3e38f, "encoder.conv_head.weight, with the batch norm behind it, is not finite"}};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        int at = um_graph_find_param(g, lies[i].name);
        CHECK(at >= 0);
        if (at < 0) continue;
        float *v = params + g->param[at].offset + 5, before = *v;
        *v = lies[i].value;
        if (lies[i].value > 1e38f && isfinite(lies[i].value)) params[g->param[um_graph_find_param(g, "encoder.conv_head.weight")].offset + 5 * g->param[um_graph_find_param(g, "encoder.conv_head.weight")].dims[1]] = 1e3f;
        CHECK_INT(um_plan_pack(p, params, constants), UM_DATA);
        if (strstr(um_err_text(), lies[i].says) == NULL) fprintf(stderr, "\"%s\" does not say \"%s\"\n", um_err_text(), lies[i].says), test_failures++;
        *v = before;
    }
    um_plan_free(p);
    p = NULL;
    bad = o, bad.batch = 0;
    CHECK_INT(um_plan_new(g, &um_backend_ref, &bad, &p), UM_CONFIG);
    bad = o, bad.precision = UM_U8;
    CHECK_INT(um_plan_new(g, &um_backend_ref, &bad, &p), UM_CONFIG);
    bad = o, bad.std[1] = 0;
    CHECK_INT(um_plan_new(g, &um_backend_ref, &bad, &p), UM_CONFIG);
    bad = o, bad.precision = UM_BF16;
    CHECK_INT(um_plan_new(g, &f32_only, &bad, &p), UM_CONFIG);
    CHECK(strstr(um_err_text(), "bf16") != NULL);
    CHECK_OK(um_graph_new(&grey));
    um_graph_output(grey, um_graph_input(grey, 8, 8, 1));
    CHECK_INT(um_plan_new(grey, &um_backend_ref, &o, &p), UM_DATA);
    um_graph_free(grey);
    free(constants);
    free(params);
    um_graph_free(g);
}

static void test_classifier(void)
{
    enum { SIZE = 40, EACH = SIZE * SIZE * 3, N = 7 };
    static uint8_t images[N * EACH];
    um_model m = {.size_px = SIZE, .has_head = true};
    um_graph *g = NULL;
    float first[N], again[N];
    char sealed[17];
    CHECK_OK(um_efficientnet_parse("w0.5d0.5", &m.net));
    memcpy(m.mean, um_imagenet_mean, sizeof m.mean);
    memcpy(m.std, um_imagenet_std, sizeof m.std);
    CHECK_OK(um_efficientnet_graph(&m.net, SIZE, true, 0, 0, &g));
    if (g == NULL) return;
    m.param_count = g->param_count;
    m.params = malloc((size_t)m.param_count * sizeof *m.params);
    golden_params(g, 1, m.params);
    for (uint32_t i = 0; i < N; i++) golden_picture(i, SIZE, images + i * EACH);
    for (int threads = 1; threads <= 3; threads++) {
        um_classifier_options o = {.precision = UM_F32, .n_threads = threads, .backend = &um_backend_ref};
        um_classifier *c = NULL;
        um_pool *pool = NULL, *larger = NULL;
        CHECK_OK(um_pool_new(threads, &pool));
        CHECK_OK(um_pool_new(threads + 1, &larger));
        CHECK_OK(um_classifier_new(&m, &o, &c));
        if (c == NULL) break;
        void *constants = aligned_alloc(64, um_classifier_constant_bytes(c));
        CHECK_OK(um_classifier_pack(c, &m, constants));
        um_classifier_attach(c, constants);
        n_allocations = 0;
        CHECK_OK(um_classifier_run(c, pool, images, N, threads == 1 ? first : again));
        CHECK_INT(n_allocations, 0);
        CHECK(threads == 1 || memcmp(first, again, sizeof first) == 0);
        CHECK_OK(um_classifier_run(c, NULL, images, 0, again));
        CHECK_INT(um_classifier_run(c, larger, images, N, again), UM_INTERNAL);
        m.param_count--;
        CHECK_INT(um_classifier_pack(c, &m, constants), UM_DATA);
        m.param_count++;
        um_classifier_free(c);
        um_pool_free(pool);
        um_pool_free(larger);
        free(constants);
    }
    CHECK(first[0] != first[1]);
    um_model_seal(&m);
    memcpy(sealed, m.fingerprint, sizeof sealed);
    CHECK_INT(strlen(sealed), 16);
    um_model_seal(&m);
    CHECK_STR(m.fingerprint, sealed);
    m.params[m.param_count - 1] += 1;
    um_model_seal(&m);
    CHECK(strcmp(m.fingerprint, sealed) != 0);
    m.has_head = false;
    um_classifier_options o = {.precision = UM_F32, .n_threads = 1, .backend = &um_backend_ref};
    um_classifier *c = NULL;
    CHECK_INT(um_classifier_new(&m, &o, &c), UM_DATA);
    CHECK(strstr(um_err_text(), "encoder") != NULL);
    um_model_release(&m);
    um_model_release(&m);
    um_graph_free(g);
}

int main(void)
{
    test_shapes_of_graphs();
    test_efficientnet();
    test_batches_and_constants();
    test_refusals();
    test_classifier();
    return TEST_END();
}
