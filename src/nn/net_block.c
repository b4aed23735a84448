/* net_block.c: bottlenecks of the graph that the backend takes as one (um_block): finding them, and their phases as actions. */
#include "src/nn/net_parts.h"

#include <stdlib.h>

/* The bottleneck that begins at node i, if there is one that the backend takes. */
static bool find(const um_net *n, int i, um_net_block *b)
{
    const um_graph *g = n->graph;
    *b = (um_net_block){0};
    if (!um_bottleneck_find(g, i, &b->at)) return false;
    const um_node *in = &g->node[b->at.x], *mid = &g->node[b->at.dw], *out = &g->node[b->at.last];
    b->shape = (um_block){.expands = b->at.expand >= 0, .shortcut = b->at.drop >= 0, .c_in = in->c, .c_mid = mid->c, .c_squeezed = g->node[b->at.reduce].c, .c_out = out->c, .dw = um_window_of(g, b->at.dw)};
    return n->ops->block->fits(&b->shape);
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
        if (!find(n, i, b)) continue;
        for (int j = b->at.first; j <= b->at.last; j++) n->block_of[j] = n->n_blocks;
        i = b->at.last;
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
                       .x = um_net_map(n, b->at.x, lane),
                       .out = um_net_map(n, b->at.last, lane),
                       .z1 = s->expands ? b->z1 + first * in * mid : NULL,
                       .z2 = b->z2 + first * out * mid,
                       .z3 = b->z3 + first * out * (size_t)s->c_out,
                       .means = b->means + first * mid,
                       .squeezed = b->squeezed + first * sq,
                       .acted = b->acted + first * sq,
                       .excited = b->excited + first * mid,
                       .gate = b->gate + first * mid,
                       .w_dw = weight(n, b->at.dw),
                       .w_reduce = weight(n, b->at.reduce),
                       .b_reduce = bias(n, b->at.reduce),
                       .w_excite = weight(n, b->at.excite),
                       .b_excite = bias(n, b->at.excite),
                       .packed = {n->packed[0], n->packed[1]},
                       .keep = b->keep + first,
                       .scratch = um_net_scratch(n, lane)};
    for (int i = 0; i < 3; i++) {
        if (b->at.norm[i] < 0) continue;
        const um_norm_state *norm = &n->norm[b->at.norm[i]];
        l.norm[i] = norm_of(n, b->at.norm[i]);
        l.about[i] = um_net_param(n, um_net_node(n, b->at.norm[i])->weight + 2);
        if (n->training) l.sums[i] = norm->sums + 2 * (size_t)lane * (size_t)norm->c;
    }
    if (!back) return l;
    l.e = um_net_grad(n, b->at.last, lane);
    if (n->way->needs[b->at.x]) l.dx = um_net_grad(n, b->at.x, lane);
    l.add = n->way->add[2 * (size_t)b->at.last];
    l.e1 = n->e1 + first * in * mid;
    l.e2 = n->e2 + first * out * mid;
    if (s->expands) l.dw_expand = um_net_part(n, um_net_node(n, b->at.expand)->weight, lane);
    l.dw_dw = um_net_part(n, um_net_node(n, b->at.dw)->weight, lane);
    l.dw_reduce = um_net_part(n, um_net_node(n, b->at.reduce)->weight, lane);
    l.db_reduce = um_net_part(n, um_net_node(n, b->at.reduce)->bias, lane);
    l.dw_excite = um_net_part(n, um_net_node(n, b->at.excite)->weight, lane);
    l.db_excite = um_net_part(n, um_net_node(n, b->at.excite)->bias, lane);
    l.dw_project = um_net_part(n, um_net_node(n, b->at.project)->weight, lane);
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
        for (int i = n->lane_first[lane]; i < n->lane_first[lane + 1]; i++) b->keep[i] = b->at.drop >= 0 ? um_net_keep(n, b->at.drop, i) : 1;
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
    int which = p->b->at.expand < 0 ? 1 : (int)(item / PARTS);
    (void)thread;
    p->n->ops->block->pack(&p->b->shape, p->back, which, weight(p->n, which == 0 ? p->b->at.expand : p->b->at.project), (int)(item % PARTS), PARTS, p->n->packed[which]);
    return UM_OK;
}

um_status um_net_block_pack(um_net *n, int item)
{
    packing p = {n, &n->block[item / 2], item % 2 == 1};
    bool small = (size_t)p.b->shape.c_in * (size_t)p.b->shape.c_mid < 16384; /* waking threads costs more */
    return um_pool_run(small ? NULL : n->o.pool, p.b->at.expand < 0 ? PARTS : 2 * PARTS, pack_part, &p);
}
