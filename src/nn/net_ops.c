/* net_ops.c: each node of the graph as an action of one lane, forward and backward, by the backend's operators. */
#include "src/core/rng.h"
#include "src/nn/net_parts.h"

/* The draws of one node and picture: a picture of the batch has the same on any rank and in any lane. */
static um_rng draws(const um_net *n, int node, int picture)
{
    uint64_t global = (uint64_t)(n->batch->first + picture);
    return um_rng_stream(n->batch->seed, (uint64_t)n->batch->step << 24 ^ global, (uint32_t)node, UM_RNG_DROPOUT);
}

static float keep(um_rng *r, float rate) { return um_rng_uniform(r, 0, 1) < (double)rate ? 0 : 1 / (1 - rate); }

float um_net_keep(const um_net *n, int node, int picture)
{
    const um_node *v = um_net_node(n, node);
    um_rng r;
    if (!n->training || v->rate <= 0) return 1;
    r = draws(n, node, picture);
    return keep(&r, v->rate);
}

/* y (+)= x times what the node draws; the same forward and backward. */
static void drop(const um_net *n, int node, int lane, const float *x, float *y, bool add)
{
    const um_node *v = um_net_node(n, node);
    size_t count = um_net_node_count(n, node);
    for (int i = 0; i < um_net_lane_count(n, lane); i++, x += count, y += count) {
        int picture = n->lane_first[lane] + i;
        if (v->op == UM_OP_DROP_PATH || !n->training || v->rate <= 0) {
            n->ops->times(count, x, v->op == UM_OP_DROP_PATH ? um_net_keep(n, node, picture) : 1, y, add);
            continue;
        }
        um_rng r = draws(n, node, picture);
        for (size_t j = 0; j < count; j++) y[j] = (add ? y[j] : 0) + x[j] * keep(&r, v->rate);
    }
}

static um_norm norm_of(const um_norm_state *s) { return (um_norm){s->mean, s->rstd, s->scale, s->bias, s->a, s->b, s->k}; }

static size_t pixels_of(const um_net *n, int node, int lane)
{
    const um_node *v = um_net_node(n, node);
    return (size_t)um_net_lane_count(n, lane) * (size_t)v->h * (size_t)v->w;
}

void um_net_node_forward(um_net *n, int node, int lane)
{
    const um_node *v = um_net_node(n, node), *in = v->in[0] >= 0 ? um_net_node(n, v->in[0]) : NULL;
    const um_train_ops *ops = n->ops;
    int count = um_net_lane_count(n, lane), area = in != NULL ? in->h * in->w : 0;
    float *y = um_net_map(n, node, lane);
    const float *x = v->in[0] >= 0 ? um_net_map(n, v->in[0], lane) : NULL, *other = v->in[1] >= 0 ? um_net_map(n, v->in[1], lane) : NULL;
    um_norm b;
    um_window w;
    switch (v->op) {
    case UM_OP_INPUT:
        ops->convert(n->batch->images + um_net_node_count(n, node) * (size_t)n->lane_first[lane], pixels_of(n, node, lane), v->c, n->o.mean, n->o.std, y);
        break;
    case UM_OP_CONV:
    case UM_OP_DENSE:
        w = um_window_of(n->graph, node);
        ops->conv(&w, count, x, um_net_param(n, v->weight), um_net_param(n, v->bias), y, um_net_scratch(n, lane));
        break;
    case UM_OP_DEPTHWISE:
        w = um_window_of(n->graph, node);
        ops->depthwise(&w, count, x, um_net_param(n, v->weight), um_net_param(n, v->bias), y, um_net_scratch(n, lane));
        break;
    case UM_OP_BATCH_NORM:
        b = norm_of(&n->norm[node]);
        ops->norm(pixels_of(n, node, lane), v->c, x, &b, y);
        break;
    case UM_OP_ACT: ops->act(v->act, pixels_of(n, node, lane), v->c, x, um_net_param(n, v->weight), y); break;
    case UM_OP_MEAN: ops->mean(count, area, v->c, x, y); break;
    case UM_OP_MAX_POOL:
        w = um_window_of(n->graph, node);
        ops->max_pool(&w, count, x, y);
        break;
    case UM_OP_SCALE: ops->scale(count, area, v->c, x, other, y); break;
    case UM_OP_ADD: ops->sum((size_t)count * um_net_node_count(n, node), x, other, y); break;
    case UM_OP_DROP_PATH:
    case UM_OP_DROPOUT: drop(n, node, lane, x, y, false); break;
    }
}

void um_net_norm_sums(um_net *n, int node, int lane)
{
    const um_node *v = um_net_node(n, node);
    const um_norm_state *s = &n->norm[node];
    n->ops->norm_sums(pixels_of(n, node, lane), v->c, um_net_map(n, v->in[0], lane), um_net_param(n, v->weight + 2), s->sums + 2 * (size_t)lane * (size_t)s->c);
}

void um_net_norm_data_sums(um_net *n, int node, int lane)
{
    const um_node *v = um_net_node(n, node);
    const um_norm_state *s = &n->norm[node];
    um_norm b = norm_of(s);
    n->ops->norm_data_sums(pixels_of(n, node, lane), v->c, um_net_map(n, v->in[0], lane), um_net_grad(n, node, lane), &b, s->sums + 2 * (size_t)lane * (size_t)s->c);
}

void um_net_node_backward(um_net *n, int node, int lane)
{
    const um_node *v = um_net_node(n, node), *in = um_net_node(n, v->in[0]);
    const um_train_ops *ops = n->ops;
    const bool *add = n->way->add + 2 * (size_t)node;
    int count = um_net_lane_count(n, lane), area = in->h * in->w;
    const float *dy = um_net_grad(n, node, lane), *x = um_net_map(n, v->in[0], lane);
    float *dx = n->way->needs[v->in[0]] ? um_net_grad(n, v->in[0], lane) : NULL, *other = v->in[1] >= 0 && n->way->needs[v->in[1]] ? um_net_grad(n, v->in[1], lane) : NULL;
    size_t all = (size_t)count * um_net_node_count(n, node);
    void *scratch = um_net_scratch(n, lane);
    um_norm b;
    um_window w;
    switch (v->op) {
    case UM_OP_INPUT: break;
    case UM_OP_CONV:
    case UM_OP_DENSE:
        w = um_window_of(n->graph, node);
        ops->conv_weight(&w, count, x, dy, um_net_part(n, v->weight, lane), um_net_part(n, v->bias, lane), scratch);
        if (dx != NULL) ops->conv_data(&w, count, dy, um_net_param(n, v->weight), dx, add[0], scratch);
        break;
    case UM_OP_DEPTHWISE:
        w = um_window_of(n->graph, node);
        ops->depthwise_weight(&w, count, x, dy, um_net_part(n, v->weight, lane), um_net_part(n, v->bias, lane), scratch);
        if (dx != NULL) ops->depthwise_data(&w, count, dy, um_net_param(n, v->weight), dx, add[0], scratch);
        break;
    case UM_OP_BATCH_NORM:
        b = norm_of(&n->norm[node]);
        if (dx != NULL) ops->norm_data(pixels_of(n, node, lane), v->c, x, dy, &b, dx, add[0]);
        break;
    case UM_OP_ACT:
        if (dx != NULL || v->weight >= 0)
            ops->act_data(v->act, pixels_of(n, node, lane), v->c, x, um_net_param(n, v->weight), dy, dx, add[0], um_net_part(n, v->weight, lane));
        break;
    case UM_OP_MEAN:
        if (dx != NULL) ops->mean_data(count, area, v->c, dy, dx, add[0]);
        break;
    case UM_OP_MAX_POOL:
        w = um_window_of(n->graph, node);
        if (dx != NULL) ops->max_pool_data(&w, count, x, dy, dx, add[0]);
        break;
    case UM_OP_SCALE:
        if (dx != NULL) ops->scale_data(count, area, v->c, um_net_map(n, v->in[1], lane), dy, dx, add[0]);
        if (other != NULL) ops->scale_gate(count, area, v->c, x, dy, other, add[1]);
        break;
    case UM_OP_ADD:
        if (dx != NULL) ops->times(all, dy, 1, dx, add[0]);
        if (other != NULL) ops->times(all, dy, 1, other, add[1]);
        break;
    case UM_OP_DROP_PATH:
    case UM_OP_DROPOUT:
        if (dx != NULL) drop(n, node, lane, dy, dx, add[0]);
        break;
    }
}
