#include "src/nn/init.h"

#include "src/core/rng.h"

#include <math.h>

static void fill(const um_param *p, float *params, float value)
{
    for (int64_t i = 0; i < p->count; i++) params[p->offset + i] = value;
}

static um_rng stream(const um_graph *g, uint64_t seed, const um_param *p) { return um_rng_stream(seed, (uint64_t)(p - g->param), 0, UM_RNG_INIT); }

static void normal(const um_graph *g, uint64_t seed, int param, double deviation, float *params)
{
    const um_param *p = &g->param[param];
    um_rng r = stream(g, seed, p);
    for (int64_t i = 0; i < p->count; i++) params[p->offset + i] = (float)(deviation * um_rng_normal(&r));
}

static void uniform(const um_graph *g, uint64_t seed, int param, double range, float *params)
{
    const um_param *p = &g->param[param];
    um_rng r = stream(g, seed, p);
    for (int64_t i = 0; i < p->count; i++) params[p->offset + i] = (float)um_rng_uniform(&r, -range, range);
}

void um_graph_init(const um_graph *g, uint64_t seed, float *params)
{
    for (int i = 0; i < g->n_params; i++) {
        um_param_kind kind = g->param[i].kind;
        fill(&g->param[i], params, kind == UM_PARAM_BN_WEIGHT || kind == UM_PARAM_BN_VAR ? 1.0f : kind == UM_PARAM_SLOPE ? 0.25f : 0.0f);
    }
    for (int i = 0; i < g->n_nodes; i++) {
        const um_node *n = &g->node[i];
        if (n->op == UM_OP_CONV) normal(g, seed, n->weight, sqrt(2.0 / ((double)n->r * n->s * n->c)), params);
        if (n->op == UM_OP_DEPTHWISE) normal(g, seed, n->weight, sqrt(2.0 / ((double)n->r * n->s)), params);
        if (n->op == UM_OP_DENSE) {
            double range = 1 / sqrt((double)(g->param[n->weight].count / n->c));
            uniform(g, seed, n->weight, range, params);
            if (n->bias >= 0) uniform(g, seed, n->bias, range, params);
        }
    }
}
