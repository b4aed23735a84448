#include "src/core/placing.h"
#include "src/nn/cuda/train_net_parts.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PARAM_ALIGN = UM_GPU_OPERAND_ALIGN / sizeof(float), DEFAULT_BUCKET_BYTES = 25 * 1024 * 1024 };

/* ---- finding ---- */

static bool is(const um_graph *g, int i, um_op op, int in) { return i < g->n_nodes && g->node[i].op == op && g->node[i].in[0] == in; }
static bool is_swish(const um_graph *g, int i, int in) { return is(g, i, UM_OP_ACT, in) && g->node[i].act == UM_ACT_SWISH; }

static int64_t pixels_of(const um_gpu_net *n, int node) { return (int64_t)n->o.n * um_gpu_node(n, node)->h * um_gpu_node(n, node)->w; }

static um_gpu_product product_of(const um_gpu_net *n, int node, int c, bool adds)
{
    return (um_gpu_product){.node = node, .c = c, .k = um_gpu_node(n, node)->c, .pixels = pixels_of(n, node), .adds = adds};
}

static um_gpu_batch_norm norm_of(const um_gpu_net *n, int node)
{
    const um_node *v = um_gpu_node(n, node);
    return (um_gpu_batch_norm){.node = node, .c = v->c, .area = v->h * v->w};
}

static um_gpu_bottleneck block_of(um_gpu_net *n, const um_bottleneck *at)
{
    int c_in = um_gpu_node(n, at->x)->c, c_mid = um_gpu_node(n, at->dw)->c;
    um_gpu_bottleneck b = {.at = *at, .dw = um_window_of(&n->graph, at->dw), .c_in = c_in, .c_squeezed = um_gpu_node(n, at->reduce)->c, .c_out = um_gpu_node(n, at->project)->c, .number = -1};
    if (at->expand >= 0) b.expand = product_of(n, at->expand, c_in, at->drop >= 0);
    b.project = product_of(n, at->project, c_mid, false);
    for (int i = 0; i < 3; i++)
        if (at->norm[i] >= 0) b.norm[i] = norm_of(n, at->norm[i]);
    if (at->drop >= 0) b.number = n->n_drops++;
    return b;
}

static um_status find(um_gpu_net *n)
{
    const um_graph *g = &n->graph;
    um_bottleneck at;
    int i = 0;
    bool stem = g->n_nodes > 4 && g->node[0].op == UM_OP_INPUT && g->node[0].c <= 3 && is(g, 1, UM_OP_CONV, 0) && g->node[1].bias < 0 && is(g, 2, UM_OP_BATCH_NORM, 1) && is_swish(g, 3, 2);
    if (!stem) goto other;
    n->block = calloc((size_t)g->n_nodes, sizeof *n->block);
    if (n->block == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a net in training");
    n->input = 0;
    n->stem_act = 3;
    n->stem_window = um_window_of(g, 1);
    n->stem = product_of(n, 1, um_gpu_stem_row(n), false);
    n->stem_norm = norm_of(n, 2);
    for (i = 4; um_bottleneck_find(g, i, &at) && at.x == i - 1; i = at.last + 1) n->block[n->n_blocks++] = block_of(n, &at);
    bool head = n->n_blocks > 0 && is(g, i, UM_OP_CONV, i - 1) && g->node[i].r == 1 && g->node[i].s == 1 && g->node[i].stride == 1 && g->node[i].bias < 0 && is(g, i + 1, UM_OP_BATCH_NORM, i) && is_swish(g, i + 2, i + 1) &&
                is(g, i + 3, UM_OP_MEAN, i + 2) && is(g, i + 4, UM_OP_DROPOUT, i + 3) && is(g, i + 5, UM_OP_DENSE, i + 4) && g->node[i + 5].c == 1 && g->node[i + 5].bias >= 0 && g->output == i + 5;
    if (!head) goto other;
    n->head_in = i - 1;
    n->head = product_of(n, i, g->node[i - 1].c, false);
    n->head_norm = norm_of(n, i + 1);
    n->head_act = i + 2;
    n->dropout = i + 4;
    n->dense = i + 5;
    return UM_OK;
other:
    return UM_FAIL(UM_CONFIG, "node %d of the network is not what an EfficientNet has there: only these are trained on a GPU", i);
}

/* The caller's parameters, each moved up to where a product may read it. */
static um_status pad(um_gpu_net *n, const um_graph *g)
{
    int64_t at = 0;
    n->graph = *g;
    n->graph.param = malloc((size_t)(g->n_params + 1) * sizeof *g->param);
    if (n->graph.param == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a net in training");
    for (int i = 0; i < g->n_params; i++) {
        n->graph.param[i] = g->param[i];
        n->graph.param[i].offset = at;
        at += (g->param[i].count + PARAM_ALIGN - 1) / PARAM_ALIGN * PARAM_ALIGN;
    }
    n->graph.param_count = at;
    return UM_OK;
}

/* ---- weights that are rewritten ---- */

static void add_segment(um_gpu_net *n, int node, void *to, um_dtype type, int d0, int d1, int d2, int64_t s0, int64_t s1, int64_t s2)
{
    n->segments[n->n_segments++] = (um_gpu_segment){.from = um_gpu_offset(n, um_gpu_node(n, node)->weight), .to = to, .type = (int32_t)type, .dims = {d0, d1, d2}, .step = {s0, s1, s2}};
}

static void add_product_segment(um_gpu_net *n, const um_gpu_product *p)
{
    if (n->o.precision != UM_F32) add_segment(n, p->node, p->weight, n->o.precision, 1, 1, p->c * p->k, 0, 0, 1);
}

static void list_segments(um_gpu_net *n)
{
    const um_window *w = &n->stem_window;
    int taps = w->r * w->s, row = um_gpu_stem_row(n);
    n->n_segments = 0;
    add_segment(n, n->stem.node, n->stem.weight, n->o.precision, w->k, w->c, taps, row, 1, w->c);
    for (int i = 0; i < n->n_blocks; i++) {
        um_gpu_bottleneck *b = &n->block[i];
        if (b->at.expand >= 0) add_product_segment(n, &b->expand);
        add_segment(n, b->at.dw, b->w_dw, UM_F32, 1, b->dw.c, b->dw.r * b->dw.s, 0, 1, b->dw.c);
        add_product_segment(n, &b->project);
    }
    add_product_segment(n, &n->head);
    n->n_segment_blocks = um_gpu_segments_plan(n->segments, n->n_segments);
    /* The stem's gradient was made as (row, K), of which the first R S C rows count: (taps, C, K) -> (K,C,R,S). */
    n->stem_segment = (um_gpu_segment){.from = 0, .type = UM_F32, .dims = {taps, w->c, w->k}, .step = {1, taps, (int64_t)w->c * taps}};
    n->n_stem_blocks = um_gpu_segments_plan(&n->stem_segment, 1);
}

/* ---- memory ---- */

static size_t at_least(size_t a, size_t b) { return a > b ? a : b; }

static void place_norm(um_placing *p, um_gpu_batch_norm *b)
{
    float **of[] = {&b->norm.mean, &b->norm.rstd, &b->norm.scale, &b->norm.bias, &b->norm.b, &b->norm.c};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) *of[i] = um_place(p, (size_t)b->c * sizeof(float));
    b->message = um_place(p, (1 + 2 * (size_t)b->c) * sizeof(double));
}

static void place_product(const um_gpu_net *n, um_placing *p, um_gpu_product *product)
{
    if (n->o.precision != UM_F32) product->weight = um_place(p, (size_t)product->c * (size_t)product->k * um_dtype_bytes(n->o.precision));
}

/* Once without a base, to count; then with the memory. */
static size_t lay_out(um_gpu_net *n, unsigned char *base)
{
    um_placing p = {.base = base, .align = UM_GPU_MEMORY_ALIGN, .slack = UM_GPU_MEMORY_SLACK};
    size_t count = (size_t)n->o.n, size = um_dtype_bytes(n->o.precision), widest = 0, e = 0, e1 = 0, e2 = 0, f = sizeof(float);
    size_t stem = (size_t)n->stem.pixels * (size_t)n->stem.k * size, row = (size_t)um_gpu_stem_row(n);
    n->patches = um_place(&p, (size_t)n->stem.pixels * row * size);
    n->stem_z = um_place(&p, stem);
    n->stem_out = um_place(&p, stem);
    n->stem.weight = um_place(&p, row * (size_t)n->stem.k * size);
    n->stem_gradient = um_place(&p, row * (size_t)n->stem.k * f);
    place_norm(&p, &n->stem_norm);
    e = at_least(e, stem);
    for (int i = 0; i < n->n_blocks; i++) {
        um_gpu_bottleneck *b = &n->block[i];
        const um_window *w = &b->dw;
        size_t mid = (size_t)w->c, in = count * (size_t)w->h * (size_t)w->w * mid * size, out = count * (size_t)w->p * (size_t)w->q, sq = (size_t)b->c_squeezed, last = out * (size_t)b->c_out * size;
        if (b->at.expand >= 0) b->z1 = um_place(&p, in);
        b->z2 = um_place(&p, out * mid * size);
        b->a2 = um_place(&p, out * mid * size);
        b->z3 = um_place(&p, last);
        b->out = um_place(&p, last);
        b->means = um_place(&p, count * mid * f);
        b->squeezed = um_place(&p, count * sq * f);
        b->gate = um_place(&p, count * mid * f);
        b->w_dw = um_place(&p, (size_t)(w->r * w->s) * mid * f);
        if (b->at.expand >= 0) place_product(n, &p, &b->expand);
        place_product(n, &p, &b->project);
        for (int j = 0; j < 3; j++)
            if (b->at.norm[j] >= 0) place_norm(&p, &b->norm[j]);
        e = at_least(e, last);
        e1 = at_least(e1, b->at.expand >= 0 ? in : 0);
        e2 = at_least(e2, out * mid * size);
        widest = at_least(widest, mid);
    }
    place_product(n, &p, &n->head);
    n->head_z = um_place(&p, (size_t)n->head.pixels * (size_t)n->head.k * size);
    place_norm(&p, &n->head_norm);
    n->head_means = um_place(&p, count * (size_t)n->head.k * f);
    n->d_means = um_place(&p, count * (size_t)n->head.k * f);
    for (int i = 0; i < 2; i++) n->e[i] = um_place(&p, e);
    n->e1 = um_place(&p, e1);
    n->e2 = um_place(&p, e2);
    n->m = um_place(&p, count * widest * f);
    n->parts = um_place(&p, count * UM_GPU_SE_SUMS * widest * f);
    n->keep = um_place(&p, (size_t)n->n_drops * count * f);
    n->drop_node = um_place(&p, (size_t)n->n_drops * sizeof(int));
    n->drop_rate = um_place(&p, (size_t)n->n_drops * f);
    list_segments(n);
    n->segment = um_place(&p, (size_t)n->n_segments * sizeof *n->segment);
    n->stem_back = um_place(&p, sizeof *n->stem_back);
    n->scratch = um_place(&p, n->scratch_bytes);
    n->workspace = um_place(&p, UM_GPU_WORKSPACE_BYTES);
    return p.end;
}

/* ---- new, place, free ---- */

/* A step of which nothing is queued: it counts bytes, and finds how much scratch is wanted. */
static um_status rehearse(um_gpu_net *n)
{
    void *nowhere = (void *)(uintptr_t)UM_GPU_MEMORY_ALIGN; /* kernels ask which operands there are: these are never looked at */
    um_status (*ready)(void *, float *, int64_t, int64_t, cudaStream_t) = n->o.ready;
    n->rehearsal = true;
    n->o.ready = NULL;
    n->grads = nowhere;
    (void)lay_out(n, nowhere);
    um_status st = um_gpu_net_weights(n, nowhere, NULL);
    if (st == UM_OK) st = um_gpu_net_forward(n, nowhere, nowhere, nowhere, true, NULL);
    if (st == UM_OK) st = um_gpu_net_backward(n, nowhere, nowhere, false, NULL);
    n->rehearsal = false;
    n->o.ready = ready;
    return st;
}

um_status um_gpu_net_new(const um_graph *g, const um_gpu_net_options *o, um_gpu_net **out)
{
    um_status st;
    um_gpu_net *n = calloc(1, sizeof *n);
    *out = NULL;
    if (n == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a net in training");
    n->o = *o;
    if (n->o.bucket_bytes <= 0) n->o.bucket_bytes = DEFAULT_BUCKET_BYTES;
    UM_GOTO_PASS(st, pad(n, g));
    UM_GOTO_PASS(st, find(n));
    n->segments = calloc(3 * (size_t)n->n_blocks + 2, sizeof *n->segments);
    if (n->segments == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "out of memory for a net in training"));
    UM_GOTO_PASS(st, rehearse(n));
    n->bytes = lay_out(n, NULL);
    *out = n;
done:
    if (st != UM_OK) um_gpu_net_free(n);
    return st;
}

static void free_product(um_gpu_product *p)
{
    um_gpu_gemm_free(p->forward);
    um_gpu_gemm_free(p->data);
    um_gpu_gemm_free(p->gradient);
}

void um_gpu_net_free(um_gpu_net *n)
{
    if (n == NULL) return;
    free_product(&n->stem);
    free_product(&n->head);
    for (int i = 0; i < n->n_blocks; i++) {
        free_product(&n->block[i].expand);
        free_product(&n->block[i].project);
    }
    free(n->block);
    free(n->segments);
    free(n->graph.param);
    free(n);
}

size_t um_gpu_net_bytes(const um_gpu_net *n) { return n->bytes; }
const um_graph *um_gpu_net_graph(const um_gpu_net *n) { return &n->graph; }
int64_t um_gpu_net_count(const um_gpu_net *n) { return n->graph.param_count; }

static um_status make_product(const um_gpu_net *n, um_gpu_product *p, bool stem)
{
    um_dtype t = n->o.precision;
    if (p->pixels == 0) return UM_OK;
    um_gpu_gemm_shape forward = {.m = p->pixels, .n = p->k, .k = p->c, .trans_b = true, .type = t, .out_type = t, .batch = 1};
    um_gpu_gemm_shape data = {.m = p->pixels, .n = p->c, .k = p->k, .has_c = p->adds, .type = t, .out_type = t, .batch = 1};
    um_gpu_gemm_shape gradient = {.m = p->k, .n = p->c, .k = p->pixels, .trans_a = true, .type = t, .out_type = UM_F32, .batch = 1};
    if (stem) gradient = (um_gpu_gemm_shape){.m = p->c, .n = p->k, .k = p->pixels, .trans_a = true, .type = t, .out_type = UM_F32, .batch = 1};
    UM_PASS(um_gpu_gemm_new(&forward, &p->forward));
    if (!stem) UM_PASS(um_gpu_gemm_new(&data, &p->data));
    return um_gpu_gemm_new(&gradient, &p->gradient);
}

static um_status set_count(const um_gpu_net *n, const um_gpu_batch_norm *b)
{
    return um_gpu_check(um_gpu_norm_count(b->message, (double)n->o.batch * b->area, um_gpu_get()->stream), "cannot prepare batch norm");
}

static um_status upload(void *to, const void *from, size_t bytes) { return bytes == 0 ? UM_OK : um_gpu_device_ops.upload(to, from, bytes); }

static um_status upload_drops(const um_gpu_net *n)
{
    um_status st = UM_NO_MEMORY;
    int *node = calloc((size_t)n->n_drops + 1, sizeof *node);
    float *rate = calloc((size_t)n->n_drops + 1, sizeof *rate);
    if (node == NULL || rate == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "out of memory for a net in training"));
    for (int i = 0; i < n->n_blocks; i++) {
        const um_gpu_bottleneck *b = &n->block[i];
        if (b->number < 0) continue;
        node[b->number] = b->at.drop;
        rate[b->number] = um_gpu_node(n, b->at.drop)->rate;
    }
    UM_GOTO_PASS(st, upload(n->drop_node, node, (size_t)n->n_drops * sizeof *node));
    UM_GOTO_PASS(st, upload(n->drop_rate, rate, (size_t)n->n_drops * sizeof *rate));
done:
    free(node);
    free(rate);
    return st;
}

um_status um_gpu_net_place(um_gpu_net *n, void *memory, float *grads, const um_gpu_moment *moment)
{
    cudaStream_t s = um_gpu_get()->stream;
    (void)lay_out(n, memory);
    n->grads = grads;
    n->moment = moment;
    n->stem_segment.to = grads + um_gpu_offset(n, um_gpu_node(n, n->stem.node)->weight);
    UM_PASS(upload(n->stem_back, &n->stem_segment, sizeof n->stem_segment));
    UM_PASS(upload(n->segment, n->segments, (size_t)n->n_segments * sizeof *n->segment));
    UM_PASS(upload_drops(n));
    UM_PASS(make_product(n, &n->stem, true));
    UM_PASS(make_product(n, &n->head, false));
    /* The rows' ends, which no weight fills. */
    UM_PASS(um_gpu_check(cudaMemsetAsync(n->stem.weight, 0, (size_t)um_gpu_stem_row(n) * (size_t)n->stem.k * um_dtype_bytes(n->o.precision), s), "cannot prepare the stem"));
    UM_PASS(set_count(n, &n->stem_norm));
    UM_PASS(set_count(n, &n->head_norm));
    for (int i = 0; i < n->n_blocks; i++) {
        um_gpu_bottleneck *b = &n->block[i];
        if (b->at.expand >= 0) UM_PASS(make_product(n, &b->expand, false));
        UM_PASS(make_product(n, &b->project, false));
        for (int j = 0; j < 3; j++)
            if (b->at.norm[j] >= 0) UM_PASS(set_count(n, &b->norm[j]));
    }
    return um_gpu_check(cudaStreamSynchronize(s), "cannot prepare a net");
}
