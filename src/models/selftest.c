#include "src/models/selftest.h"

#include "src/core/rng.h"
#include "src/nn/plan_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VALUES_MAX = 24, STEPS_MAX = 8, BATCH = 2, NET_PX = 380 };

/* ---- operands ---- */

static void *memory(size_t bytes) { return calloc(1, (bytes + UM_SLACK_BYTES + UM_ALIGN_BYTES - 1) / UM_ALIGN_BYTES * UM_ALIGN_BYTES); }

static float *random_floats(size_t n, double scale, uint32_t what)
{
    um_rng r = um_rng_stream(7, what, 0, UM_RNG_TEST);
    float *p = memory(n * sizeof *p);
    for (size_t i = 0; p != NULL && i < n; i++) p[i] = (float)um_rng_uniform(&r, -scale, scale);
    return p;
}

static void *random_map(size_t bytes, um_dtype type, uint32_t what)
{
    size_t n = bytes / um_dtype_bytes(type);
    float *f = random_floats(n, 2, what);
    if (type == UM_F32 || f == NULL) return f;
    unsigned char *b = memory(bytes);
    for (size_t i = 0; b != NULL && i < n; i++) {
        if (type == UM_U8) b[i] = (unsigned char)((f[i] + 2) * 63.9f);
        else ((uint16_t *)(void *)b)[i] = um_bf16_from_f32(f[i]);
    }
    free(f);
    return b;
}

static size_t in_bytes(const um_step *s) { return (size_t)s->n * (size_t)s->h * (size_t)s->w * (size_t)s->c * um_dtype_bytes(s->in_type); }
static size_t out_count(const um_step *s) { return (size_t)s->n * (size_t)s->p * (size_t)s->q * (size_t)s->k; }
static size_t out_bytes(const um_step *s) { return out_count(s) * um_dtype_bytes(s->out_type); }
static size_t means_bytes(const um_step *s) { return (size_t)s->n * (size_t)s->k * sizeof(float); }

/* The values of a chain of steps, in memory of the host: inputs random, and the same for whoever computes. */
typedef struct values {
    void *at[VALUES_MAX];
    size_t bytes[VALUES_MAX];
} values;

static um_status need(values *v, int i, size_t bytes, um_dtype type, uint32_t what)
{
    if (i < 0 || v->at[i] != NULL) return UM_OK;
    v->at[i] = what > 0 ? random_map(bytes, type, what) : memory(bytes);
    v->bytes[i] = bytes;
    return v->at[i] != NULL ? UM_OK : UM_FAIL(UM_NO_MEMORY, "no memory for a self-test");
}

static um_status values_make(values *v, const um_step *s, int n)
{
    for (int i = 0; i < n; i++) {
        UM_PASS(need(v, s[i].in, in_bytes(&s[i]), s[i].in_type, 1));
        UM_PASS(need(v, s[i].residual, out_bytes(&s[i]), s[i].out_type, 2));
        UM_PASS(need(v, s[i].gate, (size_t)s[i].n * (size_t)s[i].c * sizeof(float), UM_F32, 3));
        UM_PASS(need(v, s[i].out, out_bytes(&s[i]), s[i].out_type, 0));
        UM_PASS(need(v, s[i].means, means_bytes(&s[i]), UM_F32, 0));
    }
    return UM_OK;
}

static void values_free(values *v)
{
    for (int i = 0; i < VALUES_MAX; i++) free(v->at[i]);
}

typedef struct weights {
    float *weight[STEPS_MAX], *bias[STEPS_MAX], *slope[STEPS_MAX];
    um_step_weights of[STEPS_MAX];
} weights;

static um_status weights_make(const um_step *s, int n, weights *w)
{
    for (int i = 0; i < n; i++) {
        size_t taps = (size_t)s[i].r * (size_t)s[i].s, count = s[i].kind == UM_STEP_CONV ? taps * (size_t)s[i].c * (size_t)s[i].k : s[i].kind == UM_STEP_DEPTHWISE ? taps * (size_t)s[i].k : 0;
        double inputs = s[i].kind == UM_STEP_DEPTHWISE ? (double)taps : count > 0 ? (double)count / s[i].k : 1; /* what one output sums */
        w->weight[i] = random_floats(count + 1, 1.7 / sqrt(inputs), 10 + (uint32_t)i);
        w->bias[i] = random_floats((size_t)s[i].k, 0.5, 20 + (uint32_t)i);
        w->slope[i] = random_floats((size_t)s[i].k, 0.5, 30 + (uint32_t)i);
        if (w->weight[i] == NULL || w->bias[i] == NULL || w->slope[i] == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a self-test");
        w->of[i] = (um_step_weights){w->weight[i], w->bias[i], w->slope[i]};
    }
    return UM_OK;
}

static void weights_free(weights *w)
{
    for (int i = 0; i < STEPS_MAX; i++) {
        free(w->weight[i]);
        free(w->bias[i]);
        free(w->slope[i]);
    }
}

/* ---- running ---- */

/* A kernel with its memory: the host's, or the device's and what goes there. */
typedef struct rig {
    const um_backend *b;
    um_kernel *kernel;
    void *packed, *constants, *scratch, *at[VALUES_MAX], *landing;
    um_tape *tape;
} rig;

static um_status record(void *user, void *stream)
{
    rig *r = user;
    return r->b->run(r->kernel, r->constants, r->at, r->scratch, stream);
}

static um_status fetch(rig *r, void *to, const void *from, size_t bytes);

typedef struct fetching {
    rig *r;
    const void *from;
    size_t bytes;
} fetching;

static um_status record_fetch(void *user, void *stream)
{
    const fetching *f = user;
    return f->r->b->device->copy(f->r->landing, f->from, f->bytes, stream);
}

static um_status fetch(rig *r, void *to, const void *from, size_t bytes)
{
    const um_device_ops *d = r->b->device;
    fetching f = {r, from, bytes};
    um_tape *t = NULL;
    um_status st = d->host_new(bytes, &r->landing);
    if (st == UM_OK) st = d->tape_new(record_fetch, &f, &t);
    if (st == UM_OK) st = d->tape_begin(t);
    if (st == UM_OK) st = d->tape_end(t);
    if (st == UM_OK) memcpy(to, r->landing, bytes);
    d->tape_free(t);
    d->host_free(r->landing);
    r->landing = NULL;
    return st;
}

static um_status run_on_device(rig *r, const um_step *s, int n, values *v)
{
    const um_device_ops *d = r->b->device;
    const um_step *last = &s[n - 1];
    size_t constants = r->b->constant_bytes(r->kernel), scratch = r->b->scratch_bytes(r->kernel);
    UM_PASS(d->memory_new(constants + UM_SLACK_BYTES, &r->constants));
    UM_PASS(d->memory_new(scratch + UM_SLACK_BYTES, &r->scratch));
    UM_PASS(d->upload(r->constants, r->packed, constants));
    for (int i = 0; i < VALUES_MAX; i++) {
        bool inside = false;
        for (int j = 0; j < n - 1; j++) inside = inside || s[j].out == i;
        if (v->at[i] == NULL || inside) continue;
        UM_PASS(d->memory_new(v->bytes[i] + UM_SLACK_BYTES, &r->at[i]));
        UM_PASS(d->upload(r->at[i], v->at[i], v->bytes[i]));
    }
    UM_PASS(d->tape_new(record, r, &r->tape));
    for (int i = 0; i < 2; i++) { /* what the first run leaves must not disturb the second */
        UM_PASS(d->tape_begin(r->tape));
        UM_PASS(d->tape_end(r->tape));
    }
    UM_PASS(fetch(r, v->at[last->out], r->at[last->out], v->bytes[last->out]));
    return last->means >= 0 ? fetch(r, v->at[last->means], r->at[last->means], v->bytes[last->means]) : UM_OK;
}

static um_status run(const um_backend *b, const um_step *s, int n, const um_step_weights *w, values *v)
{
    rig r = {.b = b};
    um_status st;
    UM_GOTO_PASS(st, b->kernel_new(s, n, &r.kernel));
    r.packed = memory(b->constant_bytes(r.kernel));
    if (r.packed == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for a self-test"));
    UM_GOTO_PASS(st, b->pack(r.kernel, w, r.packed));
    if (b->device != NULL) {
        st = run_on_device(&r, s, n, v);
        goto done;
    }
    r.scratch = memory(b->scratch_bytes(r.kernel));
    if (r.scratch == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for a self-test"));
    st = b->run(r.kernel, r.packed, v->at, r.scratch, NULL);
done:
    if (b->device != NULL) {
        b->device->tape_free(r.tape);
        for (int i = 0; i < VALUES_MAX; i++) b->device->memory_free(r.at[i]);
        b->device->memory_free(r.constants);
        b->device->memory_free(r.scratch);
    } else
        free(r.scratch);
    free(r.packed);
    if (r.kernel != NULL) b->kernel_free(r.kernel);
    return st;
}

/* ---- comparing ---- */

static double number(const void *p, um_dtype type, size_t i) { return type == UM_F32 ? (double)((const float *)p)[i] : (double)um_bf16_to_f32(((const uint16_t *)p)[i]); }

/* NaN where one of the two has one. */
static double error_of(const void *got, const void *want, um_dtype type, size_t n)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double g = number(got, type, i), w = number(want, type, i);
        difference += (g - w) * (g - w);
        size += w * w;
    }
    return size > 0 ? sqrt(difference / size) : sqrt(difference);
}

static um_status check(um_selftest *t, const um_step *steps, int n)
{
    um_step s[STEPS_MAX];
    weights w = {0};
    values want = {0}, got = {0};
    um_selftest_case c = {s, n, UM_F32, 0, 0};
    um_status st;
    memcpy(s, steps, (size_t)n * sizeof *s);
    for (int i = 0; i < n; i++) {
        s[i].n = BATCH;
        if (s[i].in_type == UM_BF16 || s[i].out_type == UM_BF16) c.precision = UM_BF16;
    }
    const um_step *last = &s[n - 1];
    UM_GOTO_PASS(st, values_make(&want, s, n));
    UM_GOTO_PASS(st, values_make(&got, s, n));
    UM_GOTO_PASS(st, weights_make(s, n, &w));
    for (int i = 0; i < n; i++) UM_GOTO_PASS(st, run(&um_backend_ref, &s[i], 1, &w.of[i], &want));
    UM_GOTO_PASS(st, run(t->backend, s, n, w.of, &got));
    c.limit = c.precision == UM_F32 ? 3e-6 : n > 1 ? 2e-2 : 1e-2;
    c.error = error_of(got.at[last->out], want.at[last->out], last->out_type, out_count(last));
    if (last->means >= 0 && c.error <= c.limit) {
        double of_means = error_of(got.at[last->means], want.at[last->means], UM_F32, (size_t)last->n * (size_t)last->k);
        if (!(of_means <= c.error)) c.error = of_means;
    }
    t->n_cases++;
    t->n_failed += !(c.error <= c.limit);
    double *worst = &t->worst[c.precision == UM_BF16];
    if (!(c.error <= *worst)) *worst = c.error;
    if (t->each != NULL) t->each(t->user, &c);
done:
    values_free(&want);
    values_free(&got);
    weights_free(&w);
    return st;
}

/* ---- layers ---- */

/* TensorFlow's SAME, or none. */
static void set_window(um_step *s, bool same)
{
    s->p = same ? (s->h + s->stride - 1) / s->stride : (s->h - s->r) / s->stride + 1;
    s->q = same ? (s->w + s->stride - 1) / s->stride : (s->w - s->s) / s->stride + 1;
    int down = (s->p - 1) * s->stride + s->r - s->h, right = (s->q - 1) * s->stride + s->s - s->w;
    s->pad_top = down > 0 ? down / 2 : 0;
    s->pad_left = right > 0 ? right / 2 : 0;
}

static um_status check_convs(um_selftest *t, um_dtype type)
{
    /* MTCNN's, then odd ones. */
    static const struct {
        int h, w, c, k, r, stride;
        bool same;
        um_act act;
    } conv[] = {{12, 12, 3, 10, 3, 1, false, UM_ACT_PRELU},  {5, 5, 10, 16, 3, 1, false, UM_ACT_PRELU},   {3, 3, 16, 32, 3, 1, false, UM_ACT_PRELU},   {1, 1, 32, 2, 1, 1, false, UM_ACT_NONE},
                {11, 11, 28, 48, 3, 1, false, UM_ACT_PRELU}, {4, 4, 48, 64, 2, 1, false, UM_ACT_PRELU},   {1, 1, 576, 128, 1, 1, false, UM_ACT_PRELU}, {1, 1, 128, 4, 1, 1, false, UM_ACT_NONE},
                {10, 10, 64, 64, 3, 1, false, UM_ACT_PRELU}, {4, 4, 64, 128, 2, 1, false, UM_ACT_PRELU},  {1, 1, 1152, 256, 1, 1, false, UM_ACT_PRELU}, {1, 1, 256, 10, 1, 1, false, UM_ACT_NONE},
                {7, 9, 5, 17, 3, 2, true, UM_ACT_RELU},      {9, 4, 7, 33, 5, 3, true, UM_ACT_SIGMOID},   {1, 1, 1, 1, 1, 1, true, UM_ACT_SWISH},      {8, 8, 40, 104, 1, 1, true, UM_ACT_SWISH},
                {2, 3, 696, 48, 1, 1, true, UM_ACT_RELU}};
    for (size_t i = 0; i < sizeof conv / sizeof *conv; i++)
        for (int extra = 0; extra < 2; extra++) {
            um_step s = {.kind = UM_STEP_CONV, .act = conv[i].act, .n = 1, .h = conv[i].h, .w = conv[i].w, .c = conv[i].c, .k = conv[i].k, .r = conv[i].r, .s = conv[i].r, .stride = conv[i].stride};
            if (extra && (s.r > 1 || s.stride > 1 || s.act == UM_ACT_PRELU)) continue; /* gate and residual: 1 x 1 only */
            set_window(&s, conv[i].same);
            s.out = 1;
            s.means = -1;
            s.residual = extra ? 2 : -1;
            s.gate = extra ? 3 : -1;
            s.in_type = s.out_type = type;
            UM_PASS(check(t, &s, 1));
        }
    return UM_OK;
}

static um_status check_depthwise(um_selftest *t, um_dtype type)
{
    static const int shape[][6] = {/* h, w, c, filter, stride, swish */ {7, 9, 5, 3, 1, 1}, {40, 13, 20, 5, 1, 1}, {25, 12, 49, 5, 2, 1}, {12, 31, 48, 3, 2, 1}, {5, 5, 64, 1, 1, 0}, {33, 18, 72, 3, 1, 0}, {1, 1, 3, 5, 2, 1}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        const int *d = shape[i];
        um_step s = {.kind = UM_STEP_DEPTHWISE, .act = d[5] ? UM_ACT_SWISH : UM_ACT_NONE, .n = 1, .h = d[0], .w = d[1], .c = d[2], .k = d[2], .r = d[3], .s = d[3], .stride = d[4], .out = 1, .residual = -1, .gate = -1};
        set_window(&s, true);
        s.means = i % 2 == 0 ? 4 : -1;
        s.in_type = s.out_type = type;
        UM_PASS(check(t, &s, 1));
    }
    return UM_OK;
}

static um_status check_passes(um_selftest *t, um_dtype type)
{
    static const int pool[][5] = {/* h, w, c, filter, stride */ {10, 10, 10, 2, 2}, {22, 22, 28, 3, 2}, {9, 9, 48, 3, 2}, {5, 7, 3, 3, 2}};
    for (size_t i = 0; i < sizeof pool / sizeof *pool; i++) {
        const int *d = pool[i];
        um_step s = {.kind = UM_STEP_MAX_POOL, .n = 1, .h = d[0], .w = d[1], .c = d[2], .k = d[2], .r = d[3], .s = d[3], .stride = d[4], .out = 1, .residual = -1, .gate = -1, .means = -1, .in_type = type, .out_type = type};
        s.p = (s.h - s.r + s.stride - 1) / s.stride + 1;
        s.q = (s.w - s.s + s.stride - 1) / s.stride + 1;
        UM_PASS(check(t, &s, 1));
    }
    for (int i = 0; i < 6; i++) {
        um_step s = {.kind = UM_STEP_ACT, .act = i < 5 ? (um_act)i : UM_ACT_SWISH, .n = 1, .h = 3, .w = 5, .c = i < 3 ? 37 : 40, .p = 3, .q = 5, .r = 1, .s = 1, .stride = 1, .out = 1, .means = -1, .in_type = type, .out_type = type};
        s.k = s.c;
        s.residual = i % 2 ? 2 : -1;
        s.gate = i % 3 ? 3 : -1;
        UM_PASS(check(t, &s, 1));
        s.out_type = UM_F32;
        UM_PASS(check(t, &s, 1));
    }
    um_step mean = {.kind = UM_STEP_MEAN, .n = 1, .h = 7, .w = 9, .c = 35, .k = 35, .p = 1, .q = 1, .r = 7, .s = 9, .stride = 1, .out = 1, .residual = -1, .gate = -1, .means = -1, .in_type = type, .out_type = UM_F32};
    um_step convert = {.kind = UM_STEP_CONVERT, .n = 1, .h = 7, .w = 9, .c = 3, .k = 3, .p = 7, .q = 9, .r = 1, .s = 1, .stride = 1, .out = 1, .residual = -1, .gate = -1, .means = -1, .in_type = UM_U8, .out_type = type, .mean = {.485f, .456f, .406f}, .std = {.229f, .224f, .225f}};
    UM_PASS(check(t, &mean, 1));
    return check(t, &convert, 1);
}

um_status um_selftest_layers(um_selftest *t)
{
    for (int i = 0; i < 2; i++) {
        um_dtype type = i == 0 ? UM_F32 : UM_BF16;
        if (!t->backend->has(type)) continue;
        UM_PASS(check_convs(t, type));
        UM_PASS(check_depthwise(t, type));
        UM_PASS(check_passes(t, type));
    }
    return UM_OK;
}

/* ---- nets ---- */

static bool same_shape(const um_step *a, const um_step *b)
{
    return a->kind == b->kind && a->act == b->act && a->h == b->h && a->c == b->c && a->k == b->k && a->r == b->r && a->stride == b->stride && (a->residual < 0) == (b->residual < 0) && (a->gate < 0) == (b->gate < 0);
}

/* Makes the map of a step at most `px` wide. */
static void cut(um_step *s, int px)
{
    if (px < 1 || s->h <= px) return;
    s->h = s->w = px;
    if (s->kind == UM_STEP_MEAN) {
        s->r = s->s = px;
        return;
    }
    set_window(s, true);
}

static int renamed(int value, int *name, int *n)
{
    if (value < 0) return -1;
    for (int i = 0; i < *n; i++)
        if (name[i] == value) return i;
    name[*n] = value;
    return (*n)++;
}

/* One group of a plan's steps, with values of its own. */
static um_status check_group(um_selftest *t, const um_step *from, int n)
{
    um_step s[STEPS_MAX];
    int name[VALUES_MAX], n_names = 0, px = t->side_px;
    for (int i = 0; i < n; i++) {
        s[i] = from[i];
        cut(&s[i], px);
        if (px > 0 && s[i].p > 1) px = s[i].p;
        s[i].in = renamed(s[i].in, name, &n_names);
        s[i].out = renamed(s[i].out, name, &n_names);
        s[i].residual = renamed(s[i].residual, name, &n_names);
        s[i].gate = renamed(s[i].gate, name, &n_names);
        s[i].means = renamed(s[i].means, name, &n_names);
    }
    return check(t, s, n);
}

static um_status check_plan(um_selftest *t, const um_plan *p)
{
    for (int i = 0; i < p->n_groups; i++) {
        const um_group *g = &p->group[i];
        bool known = false;
        for (int j = 0; j < i && !known; j++) {
            known = p->group[j].n == g->n;
            for (int k = 0; k < g->n && known; k++) known = same_shape(&p->step[p->group[j].first + k], &p->step[g->first + k]);
        }
        if (g->n > STEPS_MAX) return UM_FAIL(UM_INTERNAL, "%d steps as one kernel", g->n);
        if (!known) UM_PASS(check_group(t, &p->step[g->first], g->n));
    }
    return UM_OK;
}

um_status um_selftest_net(um_selftest *t, const um_efficientnet *net)
{
    um_plan_options o = {.batch = BATCH, .mean = {.485f, .456f, .406f}, .std = {.229f, .224f, .225f}};
    um_graph *g = NULL;
    um_plan *p = NULL;
    um_status st;
    UM_GOTO_PASS(st, um_efficientnet_graph(net, NET_PX, true, 0, 0, &g));
    for (int i = 0; i < 2; i++) {
        o.precision = i == 0 ? UM_F32 : UM_BF16;
        if (!t->backend->has(o.precision)) continue;
        UM_GOTO_PASS(st, um_plan_new(g, t->backend, &o, &p));
        UM_GOTO_PASS(st, check_plan(t, p));
        um_plan_free(p);
        p = NULL;
    }
done:
    um_plan_free(p);
    um_graph_free(g);
    return st;
}
