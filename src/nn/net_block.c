/* net_block.c: bottlenecks of the graph that the backend takes as one (um_block): finding them, and their phases as actions. */
#include "src/nn/net_parts.h"

#include <stdlib.h>

/* Is node i an operator of that kind that reads node `in` first? */
static bool is(const um_graph *g, int i, um_op op, int in) { return i < g->n_nodes && g->node[i].op == op && g->node[i].in[0] == in; }
static bool is_act(const um_graph *g, int i, um_act act, int in) { return is(g, i, UM_OP_ACT, in) && g->node[i].act == act; }
static bool is_pointwise(const um_graph *g, int i, int in, bool bias)
{
    const um_node *v = &g->node[i];
    return is(g, i, UM_OP_CONV, in) && v->r == 1 && v->s == 1 && v->stride == 1 && v->pad_top == 0 && v->pad_left == 0 && (v->bias >= 0) == bias;
}

/* Does nobody outside read what the nodes [first, last) make? */
static bool closed(const um_graph *g, int first, int last)
{
    if (g->output >= first && g->output < last) return false;
    for (int i = last + 1; i < g->n_nodes; i++)
        for (int j = 0; j < 2; j++)
            if (g->node[i].in[j] >= first && g->node[i].in[j] < last) return false;
    return true;
}

/* The bottleneck that begins at node i, if there is one. */
static bool match(const um_net *n, int i, um_net_block *b)
{
    const um_graph *g = n->graph;
    int x = g->node[i].in[0], at = i, dw_in = x, acted;
    *b = (um_net_block){.first = i, .x = x, .expand = -1, .norm = {-1, -1, -1}, .drop = -1};
    if (x < 0) return false;
    if (is_pointwise(g, at, x, false) && is(g, at + 1, UM_OP_BATCH_NORM, at) && is_act(g, at + 2, UM_ACT_SWISH, at + 1)) {
        b->expand = at;
        b->norm[0] = at + 1;
        dw_in = at + 2;
        at += 3;
    }
    if (!is(g, at, UM_OP_DEPTHWISE, dw_in) || g->node[at].bias >= 0 || !is(g, at + 1, UM_OP_BATCH_NORM, at) || !is_act(g, at + 2, UM_ACT_SWISH, at + 1)) return false;
    b->dw = at;
    b->norm[1] = at + 1;
    acted = at + 2;
    at += 3;
    if (!is(g, at, UM_OP_MEAN, acted) || at + 6 >= g->n_nodes || !is_pointwise(g, at + 1, at, true) || !is_act(g, at + 2, UM_ACT_SWISH, at + 1) || !is_pointwise(g, at + 3, at + 2, true) ||
        !is_act(g, at + 4, UM_ACT_SIGMOID, at + 3) || !is(g, at + 5, UM_OP_SCALE, acted) || g->node[at + 5].in[1] != at + 4)
        return false;
    b->reduce = at + 1;
    b->excite = at + 3;
    b->project = at + 6;
    b->norm[2] = at + 7;
    if (!is_pointwise(g, b->project, at + 5, false) || !is(g, b->norm[2], UM_OP_BATCH_NORM, b->project)) return false;
    b->last = b->norm[2];
    if (is(g, b->last + 1, UM_OP_DROP_PATH, b->last) && is(g, b->last + 2, UM_OP_ADD, b->last + 1) && g->node[b->last + 2].in[1] == x) {
        b->drop = b->last + 1;
        b->last += 2;
    }
    const um_node *in = &g->node[x], *mid = &g->node[b->dw], *out = &g->node[b->last];
    b->shape = (um_block){.expands = b->expand >= 0, .shortcut = b->drop >= 0, .c_in = in->c, .c_mid = mid->c, .c_squeezed = g->node[b->reduce].c, .c_out = out->c, .dw = um_net_window(n, b->dw)};
    return closed(g, b->first, b->last) && n->ops->block->fits(&b->shape);
}

um_status um_net_find_blocks(um_net *n)
{
    const um_graph *g = n->graph;
    n->block = calloc((size_t)g->n_nodes, sizeof *n->block);
    n->block_of = calloc((size_t)g->n_nodes, sizeof *n->block_of);
    if (n->block == NULL || n->block_of == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a net in training");
    for (int i = 0; i < g->n_nodes; i++) n->block_of[i] = -1;
    for (int i = 0; n->ops->block != NULL && i < g->n_nodes; i++) {
        um_net_block *b = &n->block[n->n_blocks];
        if (!match(n, i, b)) continue;
        for (int j = b->first; j <= b->last; j++) n->block_of[j] = n->n_blocks;
        i = b->last;
        n->n_blocks++;
    }
    return UM_OK;
}

/* ---- phases ---- */

static um_norm norm_of(const um_net *n, int node)
{
    const um_norm_state *s = &n->norm[node];
    return (um_norm){s->mean, s->rstd, s->scale, s->bias, s->a, s->b, s->k};
}

static const float *weight(const um_net *n, int node) { return um_net_param(n, um_net_node(n, node)->weight); }
static const float *bias(const um_net *n, int node) { return um_net_param(n, um_net_node(n, node)->bias); }

static um_block_lane lane_of(const um_net *n, const um_net_block *b, int lane, bool back)
{
    const um_block *s = &b->shape;
    size_t first = (size_t)n->lane_first[lane], in = (size_t)s->dw.h * (size_t)s->dw.w, out = (size_t)s->dw.p * (size_t)s->dw.q, mid = (size_t)s->c_mid, sq = (size_t)s->c_squeezed;
    um_block_lane l = {.block = s,
                       .n = um_net_lane_count(n, lane),
                       .x = um_net_map(n, b->x, lane),
                       .out = um_net_map(n, b->last, lane),
                       .z1 = s->expands ? b->z1 + first * in * mid : NULL,
                       .z2 = b->z2 + first * out * mid,
                       .z3 = b->z3 + first * out * (size_t)s->c_out,
                       .means = b->means + first * mid,
                       .squeezed = b->squeezed + first * sq,
                       .acted = b->acted + first * sq,
                       .excited = b->excited + first * mid,
                       .gate = b->gate + first * mid,
                       .w_dw = weight(n, b->dw),
                       .w_reduce = weight(n, b->reduce),
                       .b_reduce = bias(n, b->reduce),
                       .w_excite = weight(n, b->excite),
                       .b_excite = bias(n, b->excite),
                       .packed = {n->packed[0], n->packed[1]},
                       .keep = b->keep + first,
                       .scratch = um_net_scratch(n, lane)};
    for (int i = 0; i < 3; i++) {
        if (b->norm[i] < 0) continue;
        const um_norm_state *norm = &n->norm[b->norm[i]];
        l.norm[i] = norm_of(n, b->norm[i]);
        l.about[i] = um_net_param(n, um_net_node(n, b->norm[i])->weight + 2);
        if (n->training) l.sums[i] = norm->sums + 2 * (size_t)lane * (size_t)norm->c;
    }
    if (!back) return l;
    l.e = um_net_grad(n, b->last, lane);
    if (n->way->needs[b->x]) l.dx = um_net_grad(n, b->x, lane);
    l.add = n->way->add[2 * (size_t)b->last];
    l.e1 = n->e1 + first * in * mid;
    l.e2 = n->e2 + first * out * mid;
    if (s->expands) l.dw_expand = um_net_part(n, um_net_node(n, b->expand)->weight, lane);
    l.dw_dw = um_net_part(n, um_net_node(n, b->dw)->weight, lane);
    l.dw_reduce = um_net_part(n, um_net_node(n, b->reduce)->weight, lane);
    l.db_reduce = um_net_part(n, um_net_node(n, b->reduce)->bias, lane);
    l.dw_excite = um_net_part(n, um_net_node(n, b->excite)->weight, lane);
    l.db_excite = um_net_part(n, um_net_node(n, b->excite)->bias, lane);
    l.dw_project = um_net_part(n, um_net_node(n, b->project)->weight, lane);
    return l;
}

void um_net_block_forward(um_net *n, int item, int lane)
{
    const um_block_ops *ops = n->ops->block;
    const um_net_block *b = &n->block[item / 4];
    um_block_lane l = lane_of(n, b, lane, false);
    switch (item % 4) {
    case 0: ops->expand(&l); break;
    case 1: ops->depthwise(&l); break;
    case 2: ops->project(&l); break;
    default:
        for (int i = n->lane_first[lane]; i < n->lane_first[lane + 1]; i++) b->keep[i] = b->drop >= 0 ? um_net_keep(n, b->drop, i) : 1;
        ops->finish(&l);
    }
}

void um_net_block_back(um_net *n, int item, int lane)
{
    const um_block_ops *ops = n->ops->block;
    um_block_lane l = lane_of(n, &n->block[item / 4], lane, true);
    switch (item % 4) {
    case 0: ops->back_sums(&l); break;
    case 1: ops->back_project(&l); break;
    case 2: ops->back_depthwise(&l); break;
    default: ops->back_expand(&l);
    }
}

typedef struct packing {
    um_net *n;
    const um_net_block *b;
    bool back;
} packing;

enum { PARTS = 4 /* of each matrix */ };

static um_status pack_part(void *user, int64_t item, int thread)
{
    const packing *p = user;
    int which = p->b->expand < 0 ? 1 : (int)(item / PARTS);
    (void)thread;
    p->n->ops->block->pack(&p->b->shape, p->back, which, weight(p->n, which == 0 ? p->b->expand : p->b->project), (int)(item % PARTS), PARTS, p->n->packed[which]);
    return UM_OK;
}

um_status um_net_block_pack(um_net *n, int item)
{
    packing p = {n, &n->block[item / 2], item % 2 == 1};
    bool small = (size_t)p.b->shape.c_in * (size_t)p.b->shape.c_mid < 16384; /* waking threads costs more */
    return um_pool_run(small ? NULL : n->o.pool, p.b->expand < 0 ? PARTS : 2 * PARTS, pack_part, &p);
}
