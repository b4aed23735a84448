/* backend.c: inference on a GPU (src/nn/backend.h): which steps are one kernel, and what each queues.
 *
 * What is merged, and why (bytes are what an H200 waits for):
 *  - [convert] convolution of 3 channels [depthwise]: the pictures' bytes are turned into numbers as they are loaded.
 *  - [1 x 1] depthwise, dense, dense, 1 x 1: a bottleneck with squeeze-and-excite. The product before the depthwise convolution leaves its raw sums; bias and activation are applied as the depthwise kernel loads them. The gate goes into
 *    a set of weights an image, so that the product behind it reads the depthwise kernel's map as it lies.
 *  - 1 x 1, mean: the head. The product leaves raw sums, the mean loads them.
 * A map in the middle is then written once and read once. */
#include "src/nn/cuda/gemm.h"
#include "src/nn/cuda/infer_kernels.h"
#include "src/nn/cuda/tally.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 8, ALIGN = 256 };

/* How a step is done. */
typedef enum way {
    WAY_NONE,      /* by the step behind it */
    WAY_CONVERT,
    WAY_GEMM,      /* 1 x 1 */
    WAY_DIRECT,    /* any other convolution */
    WAY_DENSE,     /* on 1 x 1 maps in f32 */
    WAY_DEPTHWISE,
    WAY_MEAN,
    WAY_MAX_POOL,
    WAY_ELEMENTS,
} way;

typedef struct stage {
    um_step step;
    way way;
    bool raw;                /* leaves its sums to the next stage, which applies bias and activation */
    um_gpu_gemm *gemm;
    um_gpu_gemm_shape shape; /* of gemm */
    size_t weight, bias, slope; /* offsets in the constants */
    um_dtype bias_type;         /* f32; of a product that adds it itself: its output's */
    size_t out, gated, partial, means; /* offsets in the scratch; out, means: where inside */
    bool out_inside, means_inside;
} stage;

struct um_kernel {
    int n;
    size_t constant_bytes, scratch_bytes, workspace;
    stage stage[STEPS_MAX];
};

static bool is_pointwise(const um_step *s) { return s->kind == UM_STEP_CONV && s->r == 1 && s->s == 1 && s->stride == 1 && s->pad_top == 0 && s->pad_left == 0; }
static bool is_dense(const um_step *s) { return is_pointwise(s) && s->p == 1 && s->q == 1 && s->in_type == UM_F32 && s->out_type == UM_F32 && s->gate < 0 && s->residual < 0; }
static bool is_product(const um_step *s) { return is_pointwise(s) && !is_dense(s) && s->act != UM_ACT_PRELU; }
static bool may_be_raw(const um_step *s) { return s->kind == UM_STEP_CONV && !is_dense(s) && s->act != UM_ACT_PRELU && s->residual < 0 && s->gate < 0; }

static bool has(um_dtype precision)
{
    const um_gpu *g = um_gpu_get();
    return precision == UM_F32 || (precision == UM_BF16 && g != NULL && g->sm >= 80);
}

/* Depthwise, two dense layers, and the 1 x 1 that they gate: 4, or 0. */
static int gated(const um_step *s, int n)
{
    if (n < 4 || s[0].kind != UM_STEP_DEPTHWISE || s[0].means < 0 || !is_dense(&s[1]) || !is_dense(&s[2]) || !is_product(&s[3])) return 0;
    return s[1].in == s[0].means && s[2].in == s[1].out && s[3].in == s[0].out && s[3].gate == s[2].out ? 4 : 0;
}

static int take(const um_step *s, int n)
{
    int taken = 0;
    if (s[0].kind == UM_STEP_CONVERT && n > 1 && s[1].kind == UM_STEP_CONV && s[1].in == s[0].out && !is_pointwise(&s[1])) taken = 1;
    if (taken < n && may_be_raw(&s[taken]) && taken + 1 < n && s[taken + 1].in == s[taken].out) {
        const um_step *next = &s[taken + 1];
        int behind = gated(next, n - taken - 1);
        if (behind > 0) return taken + 1 + behind;
        if (next->kind == UM_STEP_DEPTHWISE || next->kind == UM_STEP_MEAN) return taken + 2;
    }
    if (taken == 0 && gated(s, n) > 0) return 4;
    return taken + 1;
}

static size_t place(size_t *end, size_t bytes)
{
    size_t at = *end;
    *end += (bytes + 64 + ALIGN - 1) / ALIGN * ALIGN; /* 64: loads of eight may go past an end */
    return at;
}

static size_t weight_count(const um_step *s)
{
    size_t taps = (size_t)s->r * (size_t)s->s;
    return s->kind == UM_STEP_CONV ? taps * (size_t)s->c * (size_t)s->k : s->kind == UM_STEP_DEPTHWISE ? taps * (size_t)s->k : 0;
}

static size_t out_bytes(const um_step *s, um_dtype type) { return (size_t)s->n * (size_t)s->p * (size_t)s->q * (size_t)s->k * um_dtype_bytes(type); }

static um_status plan_gemm(um_kernel *k, stage *g)
{
    const um_step *s = &g->step;
    int64_t pixels = (int64_t)s->p * s->q;
    bool each = s->gate >= 0;
    um_gpu_gemm_shape shape = {
        .m = each ? pixels : pixels * s->n, .n = s->k, .k = s->c, .trans_b = true, .has_c = s->residual >= 0, .has_bias = !g->raw, .type = s->in_type, .out_type = s->out_type, .batch = each ? s->n : 1};
    if (each) {
        shape.a_step = pixels * s->c;
        shape.b_step = (int64_t)s->k * s->c;
        shape.out_step = pixels * s->k;
        g->gated = place(&k->scratch_bytes, (size_t)s->n * weight_count(s) * um_dtype_bytes(s->in_type));
    }
    g->shape = shape;
    return um_gpu_gemm_new(&shape, &g->gemm);
}

static um_gpu_depthwise_args depthwise_of(const um_step *s)
{
    return (um_gpu_depthwise_args){.n = s->n, .h = s->h, .w = s->w, .c = s->c, .p = s->p, .q = s->q, .r = s->r, .stride = s->stride, .pad_top = s->pad_top, .pad_left = s->pad_left, .type = s->in_type, .act = s->act};
}

/* Does a stage other than the next read what stage i writes? (The stem of a narrow net: the first block adds it again.) */
static bool read_again(const um_kernel *k, int i)
{
    int value = k->stage[i].step.out;
    for (int j = i + 1; j < k->n; j++) {
        const um_step *s = &k->stage[j].step;
        if ((j > i + 1 && s->in == value) || s->residual == value || s->gate == value) return true;
    }
    return false;
}

static um_status plan_stage(um_kernel *k, int i)
{
    stage *g = &k->stage[i];
    const um_step *s = &g->step;
    const um_step *next = i + 1 < k->n ? &k->stage[i + 1].step : NULL;
    size_t weights = weight_count(s);
    um_gpu_depthwise_args d;
    g->raw = next != NULL && next->in == s->out && may_be_raw(s) && (next->kind == UM_STEP_DEPTHWISE || next->kind == UM_STEP_MEAN) && !read_again(k, i);
    switch (s->kind) {
    case UM_STEP_CONVERT: g->way = next != NULL && next->kind == UM_STEP_CONV ? WAY_NONE : WAY_CONVERT; break;
    case UM_STEP_CONV: g->way = is_dense(s) ? WAY_DENSE : is_product(s) ? WAY_GEMM : WAY_DIRECT; break;
    case UM_STEP_DEPTHWISE: g->way = WAY_DEPTHWISE; break;
    case UM_STEP_MEAN: g->way = WAY_MEAN; break;
    case UM_STEP_MAX_POOL: g->way = WAY_MAX_POOL; break;
    case UM_STEP_ACT: g->way = WAY_ELEMENTS; break;
    }
    bool fits = true;
    if (g->way == WAY_GEMM && s->in_type != s->out_type) fits = false;
    if (g->way == WAY_DIRECT && (s->residual >= 0 || s->gate >= 0)) fits = false;
    if (g->way == WAY_DEPTHWISE && (s->in_type != s->out_type || s->r != s->s || s->act == UM_ACT_PRELU || (s->r != 1 && s->r != 3 && s->r != 5))) fits = false;
    if (g->way == WAY_MAX_POOL && s->in_type != s->out_type) fits = false;
    if (!fits) return UM_FAIL(UM_INTERNAL, "step of kind %d, filter %dx%d, types %d and %d", (int)s->kind, s->r, s->s, (int)s->in_type, (int)s->out_type);

    if (weights > 0) {
        bool rounded = g->way == WAY_GEMM && s->gate < 0; /* gated ones are rounded when they are gated */
        g->weight = place(&k->constant_bytes, weights * um_dtype_bytes(rounded ? s->in_type : UM_F32));
        g->bias_type = g->way == WAY_GEMM && !g->raw ? s->out_type : UM_F32;
        g->bias = place(&k->constant_bytes, (size_t)s->k * um_dtype_bytes(g->bias_type));
    }
    if (s->act == UM_ACT_PRELU) g->slope = place(&k->constant_bytes, (size_t)s->k * sizeof(float));
    g->out_inside = i + 1 < k->n;
    if (g->out_inside && g->way != WAY_NONE) g->out = place(&k->scratch_bytes, out_bytes(s, s->out_type));
    if (g->way == WAY_DEPTHWISE && s->means >= 0) {
        d = depthwise_of(s);
        g->means_inside = k->n > i + 1;
        if (g->means_inside) g->means = place(&k->scratch_bytes, (size_t)s->n * (size_t)s->k * sizeof(float));
        g->partial = place(&k->scratch_bytes, um_gpu_depthwise_partial_bytes(&d));
    }
    return g->way == WAY_GEMM ? plan_gemm(k, g) : UM_OK;
}

static void kernel_free(um_kernel *k)
{
    if (k == NULL) return;
    for (int i = 0; i < k->n; i++) um_gpu_gemm_free(k->stage[i].gemm);
    free(k);
}

static um_status kernel_new(const um_step *step, int n, um_kernel **out)
{
    um_status st = UM_OK;
    um_kernel *k = calloc(1, sizeof *k);
    *out = NULL;
    if (k == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a kernel");
    if (n > STEPS_MAX) UM_GOTO_PASS(st, UM_FAIL(UM_INTERNAL, "%d steps as one kernel", n));
    k->n = n;
    for (int i = 0; i < n; i++) k->stage[i].step = step[i];
    for (int i = 0; i < n; i++) UM_GOTO_PASS(st, plan_stage(k, i));
    k->workspace = place(&k->scratch_bytes, UM_GPU_WORKSPACE_BYTES);
    *out = k;
done:
    if (st != UM_OK) kernel_free(k);
    return st;
}

static size_t constant_bytes(const um_kernel *k) { return k->constant_bytes; }
static size_t scratch_bytes(const um_kernel *k) { return k->scratch_bytes; }

/* ---- constants ---- */

static void put(void *to, um_dtype type, size_t i, float v)
{
    if (type == UM_F32) ((float *)to)[i] = v;
    else ((uint16_t *)to)[i] = um_bf16_from_f32(v);
}

static um_status pack(const um_kernel *k, const um_step_weights *weights, void *constants)
{
    unsigned char *base = constants;
    for (int i = 0; i < k->n; i++) {
        const stage *g = &k->stage[i];
        const um_step *s = &g->step;
        size_t n = weight_count(s), n_k = (size_t)s->k, each = (size_t)s->r * (size_t)s->s * (size_t)s->c;
        um_dtype type = g->way == WAY_GEMM && s->gate < 0 ? s->in_type : UM_F32;
        for (size_t j = 0; j < n; j++) /* (K,R,S,C); a direct convolution wants (R,S,C,K) */
            put(base + g->weight, type, j, g->way == WAY_DIRECT ? weights[i].weight[j % n_k * each + j / n_k] : weights[i].weight[j]);
        for (size_t j = 0; n > 0 && j < n_k; j++) put(base + g->bias, g->bias_type, j, weights[i].bias[j]);
        for (size_t j = 0; s->act == UM_ACT_PRELU && j < n_k; j++) put(base + g->slope, UM_F32, j, weights[i].slope[j]);
    }
    return UM_OK;
}

/* ---- running ---- */

typedef struct call {
    const um_kernel *k;
    const unsigned char *constants;
    void *const *value;
    unsigned char *scratch;
    cudaStream_t stream;
} call;

static const float *constant(const call *c, size_t at) { return (const float *)(const void *)(c->constants + at); }
static void *output(const call *c, int i) { return c->k->stage[i].out_inside ? (void *)(c->scratch + c->k->stage[i].out) : c->value[c->k->stage[i].step.out]; }

/* The memory of a value that a stage reads: of an earlier stage, or the plan's. */
static void *operand(const call *c, int i, int value)
{
    for (int j = 0; j < i; j++) {
        const stage *g = &c->k->stage[j];
        if (g->step.out == value && g->out_inside) return c->scratch + g->out;
        if (g->step.means == value && g->means_inside) return c->scratch + g->means;
    }
    return value >= 0 ? c->value[value] : NULL;
}

static um_status run_gemm(const call *c, int i)
{
    const stage *g = &c->k->stage[i];
    const um_step *s = &g->step;
    const void *weight = c->constants + g->weight;
    void *out = output(c, i);
    if (s->gate >= 0) {
        um_gpu_gate_weights_args a = {.n = s->n, .k = s->k, .c = s->c, .type = s->in_type, .weight = weight, .gate = operand(c, i, s->gate), .out = c->scratch + g->gated};
        UM_PASS(um_gpu_check(um_gpu_gate_weights(&a, c->stream), "cannot queue gated weights"));
        weight = a.out;
    }
    UM_PASS(um_gpu_gemm_run(g->gemm, operand(c, i, s->in), weight, operand(c, i, s->residual), c->constants + g->bias, out, c->scratch + c->k->workspace, c->stream));
    if (g->raw || s->act == UM_ACT_NONE) return UM_OK;
    um_gpu_elements_args e = {.n = s->n, .area = s->p * s->q, .c = s->k, .in_type = s->out_type, .out_type = s->out_type, .in = out, .act = s->act, .out = out};
    return um_gpu_check(um_gpu_elements(&e, c->stream), "cannot queue an activation");
}

static um_status run_direct(const call *c, int i)
{
    const stage *g = &c->k->stage[i], *convert = i > 0 && c->k->stage[i - 1].way == WAY_NONE ? g - 1 : NULL;
    const um_step *s = &g->step;
    um_gpu_conv_args a = {.n = s->n, .h = s->h, .w = s->w, .c = s->c, .p = s->p, .q = s->q, .k = s->k, .r = s->r, .s = s->s, .stride = s->stride, .pad_top = s->pad_top, .pad_left = s->pad_left};
    a.in_type = convert != NULL ? UM_U8 : s->in_type;
    a.out_type = s->out_type;
    a.in = operand(c, i, convert != NULL ? convert->step.in : s->in);
    if (convert != NULL) {
        memcpy(a.mean, convert->step.mean, sizeof a.mean);
        memcpy(a.std, convert->step.std, sizeof a.std);
    }
    a.weight = constant(c, g->weight);
    a.bias = g->raw ? NULL : constant(c, g->bias);
    a.slope = s->act == UM_ACT_PRELU ? constant(c, g->slope) : NULL;
    a.act = g->raw ? UM_ACT_NONE : s->act;
    a.out = output(c, i);
    return um_gpu_check(um_gpu_conv(&a, c->stream), "cannot queue a convolution");
}

static um_status run_depthwise(const call *c, int i)
{
    const stage *g = &c->k->stage[i], *before = i > 0 && c->k->stage[i - 1].raw ? g - 1 : NULL;
    const um_step *s = &g->step;
    um_gpu_depthwise_args a = depthwise_of(s);
    a.in = operand(c, i, s->in);
    a.pre_bias = before != NULL ? constant(c, before->bias) : NULL;
    a.pre_act = before != NULL ? before->step.act : UM_ACT_NONE;
    a.weight = constant(c, g->weight);
    a.bias = constant(c, g->bias);
    a.out = output(c, i);
    if (s->means >= 0) {
        a.means = g->means_inside ? (float *)(void *)(c->scratch + g->means) : c->value[s->means];
        a.partial = (float *)(void *)(c->scratch + g->partial);
    }
    return um_gpu_check(um_gpu_depthwise(&a, c->stream), "cannot queue a depthwise convolution");
}

static um_status run_mean(const call *c, int i)
{
    const stage *g = &c->k->stage[i], *before = i > 0 && c->k->stage[i - 1].raw ? g - 1 : NULL;
    const um_step *s = &g->step;
    um_gpu_mean_args a = {.n = s->n, .area = s->h * s->w, .c = s->c, .type = s->in_type, .in = operand(c, i, s->in), .out = output(c, i)};
    a.pre_bias = before != NULL ? constant(c, before->bias) : NULL;
    a.pre_act = before != NULL ? before->step.act : UM_ACT_NONE;
    return um_gpu_check(um_gpu_mean(&a, c->stream), "cannot queue a mean");
}

static um_status run_stage(const call *c, int i)
{
    const stage *g = &c->k->stage[i];
    const um_step *s = &g->step;
    switch (g->way) {
    case WAY_NONE: return UM_OK;
    case WAY_GEMM: return run_gemm(c, i);
    case WAY_DIRECT: return run_direct(c, i);
    case WAY_DEPTHWISE: return run_depthwise(c, i);
    case WAY_MEAN: return run_mean(c, i);
    case WAY_CONVERT: {
        um_gpu_convert_args a = {.pixels = (size_t)s->n * (size_t)s->h * (size_t)s->w, .c = s->c, .out_type = s->out_type, .in = operand(c, i, s->in), .out = output(c, i)};
        memcpy(a.mean, s->mean, sizeof a.mean);
        memcpy(a.std, s->std, sizeof a.std);
        return um_gpu_check(um_gpu_convert(&a, c->stream), "cannot queue a conversion");
    }
    case WAY_DENSE: {
        um_gpu_dense_args a = {.n = s->n, .c = s->c, .k = s->k, .in = operand(c, i, s->in), .weight = constant(c, g->weight), .bias = constant(c, g->bias), .act = s->act, .out = output(c, i)};
        a.slope = s->act == UM_ACT_PRELU ? constant(c, g->slope) : NULL;
        return um_gpu_check(um_gpu_dense(&a, c->stream), "cannot queue a dense layer");
    }
    case WAY_MAX_POOL: {
        um_gpu_max_pool_args a = {.n = s->n, .h = s->h, .w = s->w, .c = s->c, .p = s->p, .q = s->q, .r = s->r, .s = s->s, .stride = s->stride, .type = s->in_type, .in = operand(c, i, s->in), .out = output(c, i)};
        return um_gpu_check(um_gpu_max_pool(&a, c->stream), "cannot queue a pooling");
    }
    case WAY_ELEMENTS: {
        um_gpu_elements_args a = {.n = s->n, .area = s->p * s->q, .c = s->k, .in_type = s->in_type, .out_type = s->out_type, .in = operand(c, i, s->in), .residual = operand(c, i, s->residual), .gate = operand(c, i, s->gate)};
        a.slope = s->act == UM_ACT_PRELU ? constant(c, g->slope) : NULL;
        a.act = s->act;
        a.out = output(c, i);
        return um_gpu_check(um_gpu_elements(&a, c->stream), "cannot queue a pass over elements");
    }
    }
    return UM_FAIL(UM_INTERNAL, "a step without a way to do it");
}

static um_status run(const um_kernel *k, const void *constants, void *const *value, void *scratch, void *stream)
{
    const call c = {k, constants, value, scratch, stream};
    for (int i = 0; i < k->n; i++) UM_PASS(run_stage(&c, i));
    return UM_OK;
}

/* ---- what that moves ---- */

void um_gpu_tally_kernel(const um_kernel *k, um_gpu_tally_fn *tally, void *user)
{
    for (int i = 0; i < k->n; i++) {
        const stage *g = &k->stage[i];
        const um_step *s = &g->step;
        bool from_picture = i > 0 && k->stage[i - 1].way == WAY_NONE;
        size_t n = (size_t)s->n, f = sizeof(float), out = out_bytes(s, s->out_type), in = n * (size_t)s->h * (size_t)s->w * (size_t)s->c * um_dtype_bytes(from_picture ? UM_U8 : s->in_type), weights = weight_count(s) * f + (size_t)s->k * f;
        size_t residual = s->residual >= 0 ? out : 0, gates = s->gate >= 0 ? n * (size_t)s->c * f : 0, products = n * (size_t)s->p * (size_t)s->q * weight_count(s);
        switch (g->way) {
        case WAY_NONE: break;
        case WAY_GEMM:
            if (s->gate >= 0) tally(user, "gate_weights", -1, (double)(weight_count(s) * (f + n * um_dtype_bytes(s->in_type)) + gates), 0);
            tally(user, "product", -1, (double)um_gpu_gemm_bytes(&g->shape), 2.0 * (double)products);
            if (!g->raw && s->act != UM_ACT_NONE) tally(user, "elements", -1, 2.0 * (double)out, 0);
            break;
        case WAY_DIRECT: tally(user, "conv", -1, (double)(in + out + weights), 2.0 * (double)products); break;
        case WAY_DENSE: tally(user, "dense", -1, (double)(in + out + weights), 2.0 * (double)products); break;
        case WAY_DEPTHWISE: tally(user, "depthwise", -1, (double)(in + out + weights + (s->means >= 0 ? n * (size_t)s->k * f : 0)), 2.0 * (double)products); break;
        case WAY_MEAN: tally(user, "mean", -1, (double)(in + out), 0); break;
        case WAY_MAX_POOL: tally(user, "max_pool", -1, (double)(in + out), 0); break;
        case WAY_ELEMENTS: tally(user, "elements", -1, (double)(in + out + residual + gates), 0); break;
        case WAY_CONVERT: tally(user, "convert", -1, (double)(n * (size_t)s->h * (size_t)s->w * (size_t)s->c) + (double)out, 0); break;
        }
    }
}

const um_backend um_backend_cuda = {
    .name = "cuda",
    .has = has,
    .take = take,
    .kernel_new = kernel_new,
    .kernel_free = kernel_free,
    .constant_bytes = constant_bytes,
    .scratch_bytes = scratch_bytes,
    .pack = pack,
    .run = run,
    .device = &um_gpu_device_ops,
};
