#pragma once
/* nn_interpreter.h: a graph computed node by node, as it is written, in f64 and without batches: what a plan, which folds, fuses and reuses memory, is compared with. */
#include "src/nn/graph.h"

#include <math.h>
#include <stdlib.h>

static double interpret_act(um_act act, double x, double slope)
{
    switch (act) {
    case UM_ACT_SWISH: return x / (1 + exp(-x));
    case UM_ACT_SIGMOID: return 1 / (1 + exp(-x));
    case UM_ACT_RELU: return x > 0 ? x : 0;
    case UM_ACT_PRELU: return x > 0 ? x : slope * x;
    default: return x;
    }
}

/* One window of node n at (p, q), channel k. */
static double interpret_window(const um_graph *g, const um_node *n, const float *params, const double *in, int p, int q, int k)
{
    const um_node *from = &g->node[n->in[0]];
    const float *w = n->weight >= 0 ? params + g->param[n->weight].offset : NULL;
    double sum = n->op != UM_OP_MAX_POOL && n->bias >= 0 ? (double)params[g->param[n->bias].offset + k] : 0, most = -INFINITY;
    int c_all = from->c;
    for (int r = 0; r < n->r; r++)
        for (int s = 0; s < n->s; s++) {
            int y = p * n->stride + r - n->pad_top, x = q * n->stride + s - n->pad_left;
            const double *at = in + ((ptrdiff_t)y * from->w + x) * c_all;
            if (y < 0 || x < 0 || y >= from->h || x >= from->w) continue;
            if (n->op == UM_OP_MAX_POOL) most = fmax(most, at[k]);
            if (n->op == UM_OP_DEPTHWISE) sum += at[k] * (double)w[(k * n->r + r) * n->s + s];
            for (int c = 0; n->op == UM_OP_CONV && c < c_all; c++) sum += at[c] * (double)w[((k * c_all + c) * n->r + r) * n->s + s];
        }
    return n->op == UM_OP_MAX_POOL ? most : sum;
}

static void interpret_node(const um_graph *g, const um_node *n, const float *params, const double *a, const double *b, double *out)
{
    const um_node *from = &g->node[n->in[0]];
    const float *w = n->weight >= 0 ? params + g->param[n->weight].offset : NULL;
    int area = from->h * from->w, i = 0;
    for (int p = 0; p < n->h; p++)
        for (int q = 0; q < n->w; q++)
            for (int k = 0; k < n->c; k++, i++) {
                double v = 0;
                switch (n->op) {
                case UM_OP_INPUT: break;
                case UM_OP_CONV:
                case UM_OP_DEPTHWISE:
                case UM_OP_MAX_POOL: v = interpret_window(g, n, params, a, p, q, k); break;
                case UM_OP_BATCH_NORM: v = (a[i] - (double)w[2 * n->c + k]) / sqrt((double)w[3 * n->c + k] + (double)n->eps) * (double)w[k] + (double)w[n->c + k]; break;
                case UM_OP_ACT: v = interpret_act(n->act, a[i], w != NULL ? (double)w[k] : 0); break;
                case UM_OP_MEAN:
                    for (int j = 0; j < area; j++) v += a[j * from->c + k] / area;
                    break;
                case UM_OP_DENSE:
                    v = n->bias >= 0 ? (double)params[g->param[n->bias].offset + k] : 0;
                    for (int j = 0; j < area * from->c; j++) v += a[j] * (double)w[k * area * from->c + j];
                    break;
                case UM_OP_SCALE: v = a[i] * b[k]; break;
                case UM_OP_ADD: v = a[i] + b[i]; break;
                case UM_OP_DROP_PATH:
                case UM_OP_DROPOUT: v = a[i]; break;
                }
                out[i] = v;
            }
}

/* image: (H,W,3) u8. out: the output node's map. False without memory. */
static bool interpret(const um_graph *g, const float *params, const float *mean, const float *std, const uint8_t *image, double *out)
{
    double **map = calloc((size_t)g->n_nodes, sizeof *map);
    bool ok = map != NULL;
    for (int i = 0; ok && i < g->n_nodes; i++) {
        const um_node *n = &g->node[i];
        int count = n->h * n->w * n->c;
        map[i] = malloc((size_t)count * sizeof **map);
        ok = map[i] != NULL;
        if (!ok) break;
        if (n->op == UM_OP_INPUT)
            for (int j = 0; j < count; j++) map[i][j] = ((double)image[j] / 255 - (double)mean[j % 3]) / (double)std[j % 3];
        else
            interpret_node(g, n, params, map[n->in[0]], n->in[1] >= 0 ? map[n->in[1]] : NULL, map[i]);
        if (i == g->output)
            for (int j = 0; j < count; j++) out[j] = map[i][j];
    }
    for (int i = 0; map != NULL && i < g->n_nodes; i++) free(map[i]);
    free(map);
    return ok;
}
