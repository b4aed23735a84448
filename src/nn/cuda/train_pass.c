/* train_pass.c: the passes of train_net.h as kernels on a stream. Each kernel goes through QUEUE, which in the rehearsal only counts. */
#include "src/nn/cuda/train_net_parts.h"

#include <string.h>

static void tally(const um_gpu_net *n, const char *op, int node, double bytes, double flops)
{
    if (n->rehearsal && n->o.tally != NULL) n->o.tally(n->o.user, op, node, bytes, flops);
}

/* Of a depthwise convolution: forward; by the data and by the weights. */
static double flops_of(const um_gpu_net *n, const char *op, int node)
{
    if (strncmp(op, "depthwise_", 10) != 0) return 0;
    um_window w = um_window_of(&n->graph, node);
    return 2.0 * n->o.n * w.p * w.q * w.k * w.r * w.s * (strcmp(op, "depthwise_fwd") == 0 ? 1 : 2);
}

#define QUEUE(n, op, node, args)                                                              \
    do {                                                                                      \
        tally(n, #op, node, (double)um_gpu_##op##_bytes(args), flops_of(n, #op, node));       \
        if (!(n)->rehearsal) UM_PASS(um_gpu_check(um_gpu_##op(args, (n)->stream), "cannot queue " #op)); \
    } while (0)
/* The same for one that needs scratch. */
#define QUEUE_SCRATCHED(n, op, node, args)                                                    \
    do {                                                                                      \
        size_t bytes_ = um_gpu_##op##_scratch(args);                                          \
        if ((n)->scratch_bytes < bytes_) (n)->scratch_bytes = bytes_;                         \
        (args)->scratch = (n)->scratch;                                                       \
        QUEUE(n, op, node, args);                                                             \
    } while (0)

static float *param(const um_gpu_net *n, int p) { return n->params + um_gpu_offset(n, p); }
static float *gradient(const um_gpu_net *n, int p) { return n->grads + um_gpu_offset(n, p); }
static int weight_of(const um_gpu_net *n, int node) { return um_gpu_node(n, node)->weight; }

/* ---- products ---- */

static um_status multiply(um_gpu_net *n, const char *op, const um_gpu_product *p, const um_gpu_gemm *g, size_t bytes, const void *a, const void *b, const void *c, void *d)
{
    tally(n, op, p->node, (double)bytes, 2.0 * (double)p->pixels * p->c * p->k);
    if (n->rehearsal || p->pixels == 0) return UM_OK;
    return um_gpu_gemm_run(g, a, b, c, NULL, d, n->workspace, n->stream);
}

static const void *weight_for(const um_gpu_net *n, const um_gpu_product *p) { return p->weight != NULL ? p->weight : param(n, weight_of(n, p->node)); }

static size_t product_bytes(const um_gpu_net *n, const um_gpu_product *p, int64_t in, int64_t out, int64_t weight_bytes)
{
    return (size_t)((in * p->c + out * p->k) * p->pixels) * um_dtype_bytes(n->o.precision) + (size_t)(weight_bytes * p->c * p->k);
}

static um_status product_forward(um_gpu_net *n, const um_gpu_product *p, const void *in, void *out)
{
    return multiply(n, "product_forward", p, p->forward, product_bytes(n, p, 1, 1, (int64_t)um_dtype_bytes(n->o.precision)), in, weight_for(n, p), NULL, out);
}

/* dx = dout weight [+ added] */
static um_status product_data(um_gpu_net *n, const um_gpu_product *p, const void *dout, const void *added, void *dx)
{
    return multiply(n, "product_data", p, p->data, product_bytes(n, p, p->adds ? 2 : 1, 1, (int64_t)um_dtype_bytes(n->o.precision)), dout, weight_for(n, p), added, dx);
}

static um_status product_gradient(um_gpu_net *n, const um_gpu_product *p, const void *in, const void *dout, float *to)
{
    return multiply(n, "product_gradient", p, p->gradient, product_bytes(n, p, 1, 1, sizeof(float)), dout, in, NULL, to);
}

/* ---- batch norm ---- */

static double *sums_of(const um_gpu_batch_norm *b) { return b->message + 1; }

static um_status sum_over_ranks(um_gpu_net *n, const um_gpu_batch_norm *b) { return n->rehearsal || n->o.sum == NULL ? UM_OK : n->o.sum(n->o.user, sums_of(b), 2 * (size_t)b->c, n->stream); }

static um_gpu_norm_finish_args finish_of(const um_gpu_net *n, const um_gpu_batch_norm *b)
{
    const um_node *v = um_gpu_node(n, b->node);
    return (um_gpu_norm_finish_args){.c = b->c, .eps = v->eps, .momentum = n->o.bn_momentum, .message = b->message, .weight = param(n, v->weight), .bias = param(n, v->weight + 1), .running_mean = param(n, v->weight + 2),
                                     .running_var = param(n, v->weight + 3), .norm = b->norm};
}

/* From the sums, which are this rank's yet, or from the running values. */
static um_status norm_meet(um_gpu_net *n, const um_gpu_batch_norm *b)
{
    um_gpu_norm_finish_args a = finish_of(n, b);
    if (!n->training) return um_gpu_check(um_gpu_norm_running(&a, n->stream), "cannot queue norm_running");
    UM_PASS(sum_over_ranks(n, b));
    QUEUE(n, norm_finish, b->node, &a);
    return UM_OK;
}

static const float *about_of(const um_gpu_net *n, const um_gpu_batch_norm *b) { return param(n, weight_of(n, b->node) + 2); }

/* Of a map that a product has left. */
static um_status norm_forward(um_gpu_net *n, const um_gpu_batch_norm *b, const void *z)
{
    if (n->training) {
        um_gpu_norm_stats_args a = {.n = n->o.n, .area = b->area, .c = b->c, .type = n->o.precision, .z = z, .about = about_of(n, b), .sums = sums_of(b)};
        QUEUE_SCRATCHED(n, norm_stats, b->node, &a);
    }
    return norm_meet(n, b);
}

static um_status norm_meet_back(um_gpu_net *n, const um_gpu_batch_norm *b)
{
    int weight = weight_of(n, b->node);
    um_gpu_norm_data_finish_args a = {.c = b->c, .first = !n->o.others, .count = b->message, .message = sums_of(b), .norm = b->norm, .dweight = gradient(n, weight), .dbias = gradient(n, weight + 1)};
    UM_PASS(sum_over_ranks(n, b));
    QUEUE(n, norm_data_finish, b->node, &a);
    return UM_OK;
}

/* dz = the derivative by z, of y = act(norm(z)) keep, from e (a map) or e_mean; where it lies: in z's place. */
static um_status norm_backward(um_gpu_net *n, const um_gpu_batch_norm *b, um_act act, void *z, const void *e, const float *e_mean, const float *keep)
{
    um_gpu_norm_bwd_args a = {.n = n->o.n, .area = b->area, .c = b->c, .type = n->o.precision, .act = act, .z = z, .norm = b->norm, .e = e, .e_mean = e_mean, .keep = keep, .sums = sums_of(b), .dz = z};
    QUEUE_SCRATCHED(n, norm_bwd_sums, b->node, &a);
    UM_PASS(norm_meet_back(n, b));
    QUEUE(n, norm_bwd, b->node, &a);
    return UM_OK;
}

/* ---- forward ---- */

um_status um_gpu_net_weights(um_gpu_net *n, const float *params, cudaStream_t stream)
{
    um_gpu_weights_args a = {.params = params, .segment = n->segment, .n_segments = n->n_segments, .n_blocks = n->n_segment_blocks};
    tally(n, "weights", -1, (double)um_gpu_weights_bytes(n->segments, n->n_segments), 0);
    return n->rehearsal ? UM_OK : um_gpu_check(um_gpu_weights(&a, stream), "cannot queue weights");
}

static um_status stem_forward(um_gpu_net *n, const uint8_t *images)
{
    const um_window *w = &n->stem_window;
    um_gpu_patches_args p = {.n = n->o.n, .h = w->h, .w = w->w, .c = w->c, .p = w->p, .q = w->q, .r = w->r, .s = w->s, .stride = w->stride, .pad_top = w->pad_top, .pad_left = w->pad_left, .row = um_gpu_stem_row(n), .type = n->o.precision, .in = images,
                             .out = n->patches};
    for (int i = 0; i < 3; i++) {
        p.mean[i] = n->o.mean[i];
        p.std[i] = n->o.std[i];
    }
    QUEUE(n, patches, n->stem.node, &p);
    UM_PASS(product_forward(n, &n->stem, n->patches, n->stem_z));
    UM_PASS(norm_forward(n, &n->stem_norm, n->stem_z));
    um_gpu_norm_fwd_args f = {.n = n->o.n, .area = n->stem_norm.area, .c = n->stem_norm.c, .type = n->o.precision, .act = UM_ACT_SWISH, .z = n->stem_z, .norm = n->stem_norm.norm, .out = n->stem_out};
    QUEUE(n, norm_fwd, n->stem_norm.node, &f);
    return UM_OK;
}

static um_gpu_depthwise_train_args depthwise_of(const um_gpu_net *n, const um_gpu_bottleneck *b, const void *x)
{
    const um_window *w = &b->dw;
    bool expands = b->at.expand >= 0;
    return (um_gpu_depthwise_train_args){.n = n->o.n, .h = w->h, .w = w->w, .c = w->c, .p = w->p, .q = w->q, .r = w->r, .stride = w->stride, .pad_top = w->pad_top, .pad_left = w->pad_left, .type = n->o.precision, .in = expands ? b->z1 : x,
                                         .normed = expands, .in_norm = b->norm[0].norm, .weight = b->w_dw, .out = b->z2};
}

static um_gpu_se_args squeeze_of(const um_gpu_net *n, const um_gpu_bottleneck *b)
{
    const um_node *reduce = um_gpu_node(n, b->at.reduce), *excite = um_gpu_node(n, b->at.excite);
    return (um_gpu_se_args){.n = n->o.n, .area = b->dw.p * b->dw.q, .c = b->dw.c, .s = b->c_squeezed, .type = n->o.precision, .w_reduce = param(n, reduce->weight), .b_reduce = param(n, reduce->bias), .w_excite = param(n, excite->weight),
                            .b_excite = param(n, excite->bias), .means = b->means, .squeezed = b->squeezed, .gate = b->gate};
}

static const float *keep_of(const um_gpu_net *n, const um_gpu_bottleneck *b) { return n->training && b->number >= 0 ? n->keep + (size_t)b->number * (size_t)n->o.n : NULL; }

static um_status block_forward(um_gpu_net *n, const um_gpu_bottleneck *b, const void *x)
{
    int out_area = b->dw.p * b->dw.q, c = b->dw.c;
    um_dtype type = n->o.precision;
    if (b->at.expand >= 0) {
        UM_PASS(product_forward(n, &b->expand, x, b->z1));
        UM_PASS(norm_forward(n, &b->norm[0], b->z1));
    }
    um_gpu_depthwise_train_args d = depthwise_of(n, b, x);
    if (n->training) {
        d.about = about_of(n, &b->norm[1]);
        d.sums = sums_of(&b->norm[1]);
    }
    QUEUE_SCRATCHED(n, depthwise_fwd, b->at.dw, &d);
    UM_PASS(norm_meet(n, &b->norm[1]));
    um_gpu_norm_means_args means = {.n = n->o.n, .area = out_area, .c = c, .type = type, .act = UM_ACT_SWISH, .z = b->z2, .norm = b->norm[1].norm, .means = b->means};
    QUEUE_SCRATCHED(n, norm_means, b->norm[1].node, &means);
    um_gpu_se_args se = squeeze_of(n, b);
    QUEUE(n, se_fwd, b->at.reduce, &se);
    um_gpu_norm_fwd_args gated = {.n = n->o.n, .area = out_area, .c = c, .type = type, .act = UM_ACT_SWISH, .z = b->z2, .norm = b->norm[1].norm, .gate = b->gate, .out = b->a2};
    QUEUE(n, norm_fwd, b->norm[1].node, &gated);
    UM_PASS(product_forward(n, &b->project, b->a2, b->z3));
    UM_PASS(norm_forward(n, &b->norm[2], b->z3));
    um_gpu_norm_fwd_args last = {.n = n->o.n, .area = out_area, .c = b->c_out, .type = type, .act = UM_ACT_NONE, .z = b->z3, .norm = b->norm[2].norm, .keep = keep_of(n, b), .residual = b->number < 0 ? NULL : x, .out = b->out};
    QUEUE(n, norm_fwd, b->norm[2].node, &last);
    return UM_OK;
}

um_status um_gpu_net_forward(um_gpu_net *n, float *params, const uint8_t *images, float *logits, bool training, cudaStream_t stream)
{
    const void *x = n->stem_out;
    n->params = params;
    n->stream = stream;
    n->training = training;
    if (training && n->n_drops > 0) {
        um_gpu_keep_args k = {.n_nodes = n->n_drops, .n = n->o.n, .node = n->drop_node, .rate = n->drop_rate, .moment = n->moment, .keep = n->keep};
        QUEUE(n, keep, -1, &k);
    }
    UM_PASS(stem_forward(n, images));
    for (int i = 0; i < n->n_blocks; x = n->block[i++].out) UM_PASS(block_forward(n, &n->block[i], x));
    UM_PASS(product_forward(n, &n->head, x, n->head_z));
    UM_PASS(norm_forward(n, &n->head_norm, n->head_z));
    um_gpu_norm_means_args means = {.n = n->o.n, .area = n->head_norm.area, .c = n->head_norm.c, .type = n->o.precision, .act = UM_ACT_SWISH, .z = n->head_z, .norm = n->head_norm.norm, .means = n->head_means};
    QUEUE_SCRATCHED(n, norm_means, n->head_norm.node, &means);
    const um_node *dense = um_gpu_node(n, n->dense);
    um_gpu_head_args head = {.n = n->o.n, .c = n->head.k, .node = n->dropout, .rate = training ? um_gpu_node(n, n->dropout)->rate : 0, .moment = n->moment, .means = n->head_means, .weight = param(n, dense->weight), .bias = param(n, dense->bias), .logit = logits};
    QUEUE(n, head_fwd, n->dense, &head);
    return UM_OK;
}

/* ---- backward ---- */

/* Gradients from parameter p on are there. They are told in buckets: a small message costs as much as a larger one, and a bucket is under way while the next is computed. */
static um_status tell(um_gpu_net *n, int p, bool last)
{
    int64_t from = um_gpu_offset(n, p), bytes = (n->whole - from) * (int64_t)sizeof(float);
    if (n->rehearsal || n->o.ready == NULL || n->whole <= from || (!last && bytes < n->o.bucket_bytes)) return UM_OK;
    UM_PASS(n->o.ready(n->o.user, n->grads, from, n->whole, n->stream));
    n->whole = from;
    return UM_OK;
}

/* e: the derivative by the block's output; dx: by its input. */
static um_status block_backward(um_gpu_net *n, const um_gpu_bottleneck *b, const void *x, const void *e, void *dx)
{
    const um_node *reduce = um_gpu_node(n, b->at.reduce), *excite = um_gpu_node(n, b->at.excite);
    bool expands = b->at.expand >= 0, shortcut = b->number >= 0;
    UM_PASS(norm_backward(n, &b->norm[2], UM_ACT_NONE, b->z3, e, NULL, keep_of(n, b)));
    UM_PASS(product_data(n, &b->project, b->z3, NULL, n->e2));
    UM_PASS(product_gradient(n, &b->project, b->a2, b->z3, gradient(n, weight_of(n, b->at.project))));
    um_gpu_se_args se = squeeze_of(n, b);
    se.e = n->e2;
    se.z = b->z2;
    se.norm = b->norm[1].norm;
    se.parts = n->parts;
    se.m = n->m;
    se.sums = sums_of(&b->norm[1]);
    se.dw_reduce = gradient(n, reduce->weight);
    se.db_reduce = gradient(n, reduce->bias);
    se.dw_excite = gradient(n, excite->weight);
    se.db_excite = gradient(n, excite->bias);
    QUEUE_SCRATCHED(n, se_bwd_sums, b->at.reduce, &se);
    QUEUE_SCRATCHED(n, se_bwd, b->at.reduce, &se);
    UM_PASS(norm_meet_back(n, &b->norm[1]));
    um_gpu_depthwise_train_args d = depthwise_of(n, b, x);
    d.e = n->e2;
    d.out_norm = b->norm[1].norm;
    d.gate = b->gate;
    d.m = n->m;
    d.dx = expands ? n->e1 : dx;
    d.add = expands || !shortcut ? NULL : e;
    d.dweight = gradient(n, weight_of(n, b->at.dw));
    d.sums = expands ? sums_of(&b->norm[0]) : NULL;
    QUEUE_SCRATCHED(n, depthwise_bwd, b->at.dw, &d);
    if (!expands) return UM_OK;
    UM_PASS(norm_meet_back(n, &b->norm[0]));
    um_gpu_norm_bwd_args dz = {.n = n->o.n, .area = b->norm[0].area, .c = b->norm[0].c, .type = n->o.precision, .act = UM_ACT_NONE, .z = b->z1, .norm = b->norm[0].norm, .e = n->e1, .dz = n->e1};
    QUEUE(n, norm_bwd, b->norm[0].node, &dz);
    UM_PASS(product_data(n, &b->expand, n->e1, shortcut ? e : NULL, dx));
    return product_gradient(n, &b->expand, x, n->e1, gradient(n, weight_of(n, b->at.expand)));
}

static um_status stem_backward(um_gpu_net *n, const void *e)
{
    UM_PASS(norm_backward(n, &n->stem_norm, UM_ACT_SWISH, n->stem_z, e, NULL, NULL));
    tally(n, "product_gradient", n->stem.node, (double)product_bytes(n, &n->stem, 1, 1, sizeof(float)), 2.0 * (double)n->stem.pixels * n->stem.c * n->stem.k);
    if (n->rehearsal || n->stem.pixels == 0) return UM_OK;
    UM_PASS(um_gpu_gemm_run(n->stem.gradient, n->patches, n->stem_z, NULL, NULL, n->stem_gradient, n->workspace, n->stream));
    um_gpu_weights_args a = {.params = n->stem_gradient, .segment = n->stem_back, .n_segments = 1, .n_blocks = n->n_stem_blocks};
    return um_gpu_check(um_gpu_weights(&a, n->stream), "cannot queue the stem's gradient");
}

um_status um_gpu_net_backward(um_gpu_net *n, const float *params, const float *d_logits, bool head_only, cudaStream_t stream)
{
    const um_node *dense = um_gpu_node(n, n->dense);
    int at = 0;
    n->params = (float *)(size_t)params; /* read only */
    n->stream = stream;
    n->training = true;
    n->whole = n->graph.param_count;
    if (!n->rehearsal && n->o.n == 0) UM_PASS(um_gpu_check(cudaMemsetAsync(n->grads, 0, (size_t)n->graph.param_count * sizeof *n->grads, stream), "cannot clear gradients")); /* no product writes them */
    um_gpu_head_args head = {.n = n->o.n, .c = n->head.k, .node = n->dropout, .rate = um_gpu_node(n, n->dropout)->rate, .moment = n->moment, .means = n->head_means, .weight = param(n, dense->weight), .bias = param(n, dense->bias), .d_logit = d_logits,
                             .d_means = head_only ? NULL : n->d_means, .dweight = gradient(n, dense->weight), .dbias = gradient(n, dense->bias)};
    QUEUE(n, head_bwd, n->dense, &head);
    if (head_only) return tell(n, dense->weight, true);
    UM_PASS(norm_backward(n, &n->head_norm, UM_ACT_SWISH, n->head_z, NULL, n->d_means, NULL));
    const um_gpu_bottleneck *b = &n->block[n->n_blocks - 1];
    UM_PASS(product_data(n, &n->head, n->head_z, NULL, n->e[0]));
    UM_PASS(product_gradient(n, &n->head, b->out, n->head_z, gradient(n, weight_of(n, n->head.node))));
    UM_PASS(tell(n, weight_of(n, n->head.node), false));
    for (; b >= n->block; b--, at = 1 - at) {
        const void *x = b > n->block ? b[-1].out : n->stem_out;
        UM_PASS(block_backward(n, b, x, n->e[at], n->e[1 - at]));
        UM_PASS(tell(n, weight_of(n, b->at.expand >= 0 ? b->at.expand : b->at.dw), false));
    }
    UM_PASS(stem_backward(n, n->e[at]));
    return tell(n, weight_of(n, n->stem.node), true);
}
