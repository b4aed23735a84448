#include "src/nn/bottleneck.h"

um_window um_window_of(const um_graph *g, int node)
{
    const um_node *v = &g->node[node], *in = &g->node[v->in[0]];
    um_window w = {.h = in->h, .w = in->w, .c = in->c, .p = v->h, .q = v->w, .k = v->c, .r = v->r, .s = v->s, .stride = v->stride, .pad_top = v->pad_top, .pad_left = v->pad_left};
    if (v->op == UM_OP_DENSE) {
        w.c = in->h * in->w * in->c;
        w.h = w.w = 1;
    }
    return w;
}

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

bool um_bottleneck_find(const um_graph *g, int i, um_bottleneck *b)
{
    int x = g->node[i].in[0], at = i, dw_in = x, acted;
    *b = (um_bottleneck){.first = i, .x = x, .expand = -1, .norm = {-1, -1, -1}, .drop = -1};
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
    return closed(g, b->first, b->last);
}
