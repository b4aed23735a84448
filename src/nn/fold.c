/* fold.c: the constants of a step from the network's parameters. A batch norm behind a filter is one more factor and one more summand for each channel:
 *     weight * (conv(x) + b - mean) / sqrt(var + eps) + bias = conv'(x) + b',  factor = weight / sqrt(var + eps),  filter' = filter * factor,  b' = bias + (b - mean) * factor
 * computed in f64 and rounded to f32 once. */
#include "src/nn/plan_parts.h"

#include <math.h>

/* Of a parameter that the step uses: all finite, and a variance not below 0. */
static um_status check(const um_param *p, const float *v)
{
    for (int64_t i = 0; i < p->count; i++) {
        if (!isfinite(v[i])) return UM_FAIL(UM_DATA, "%s: element %lld is not finite", p->name, (long long)i);
        if (p->kind == UM_PARAM_BN_VAR && v[i] < 0) return UM_FAIL(UM_DATA, "%s: element %lld is %g: a variance below 0", p->name, (long long)i, (double)v[i]);
    }
    return UM_OK;
}

/* The four parameters of a batch norm, or where there is none, what leaves numbers as they are. */
typedef struct norm {
    const um_param *first; /* weight, bias, mean, var follow each other */
    const float *weight, *bias, *mean, *var;
    double eps;
} norm;

static um_status norm_get(const um_graph *g, int node, const float *params, norm *out)
{
    const um_param *p;
    *out = (norm){0};
    if (node < 0) return UM_OK;
    p = &g->param[g->node[node].weight];
    for (int i = 0; i < 4; i++) UM_PASS(check(&p[i], params + p[i].offset));
    *out = (norm){p, params + p[0].offset, params + p[1].offset, params + p[2].offset, params + p[3].offset, (double)g->node[node].eps};
    return UM_OK;
}

static double norm_factor(const norm *n, int k) { return n->first == NULL ? 1 : (double)n->weight[k] / sqrt((double)n->var[k] + n->eps); }
static double norm_summand(const norm *n, int k, double bias, double factor)
{
    return n->first == NULL ? bias : (double)n->bias[k] + (bias - (double)n->mean[k]) * factor;
}

size_t um_fold_weight_count(const um_step *s)
{
    if (s->kind == UM_STEP_CONV) return (size_t)s->k * (size_t)s->r * (size_t)s->s * (size_t)s->c;
    if (s->kind == UM_STEP_DEPTHWISE) return (size_t)s->r * (size_t)s->s * (size_t)s->k;
    return 0;
}

/* CONV: (K,C,R,S) times the factor of its channel becomes (K,R,S,C); DEPTHWISE: (C,1,R,S) becomes (R,S,C). `in` NULL: all 1, a batch norm that stands alone. */
static void fold_filter(const um_step *s, const float *in, const norm *n, const float *bias, const um_fold *f)
{
    bool depthwise = s->kind == UM_STEP_DEPTHWISE;
    size_t taps = (size_t)s->r * (size_t)s->s, channels = depthwise ? 1 : (size_t)s->c, k_all = (size_t)s->k;
    for (size_t k = 0; k < k_all; k++) {
        double factor = norm_factor(n, (int)k);
        f->bias[k] = (float)norm_summand(n, (int)k, bias != NULL ? (double)bias[k] : 0, factor);
        for (size_t c = 0; c < channels; c++)
            for (size_t t = 0; t < taps; t++) {
                double w = in != NULL ? (double)in[(k * channels + c) * taps + t] : 1;
                f->weight[depthwise ? t * k_all + k : (k * taps + t) * channels + c] = (float)(w * factor);
            }
    }
}

um_status um_fold_step(const um_plan *p, int i, const float *params, const um_fold *f)
{
    const um_step *s = &p->step[i];
    const um_source *from = &p->source[i];
    const um_graph *g = p->graph;
    if (from->filter >= 0) {
        const um_node *node = &g->node[from->filter];
        bool alone = node->op == UM_OP_BATCH_NORM;
        const um_param *weight = &g->param[node->weight], *bias = !alone && node->bias >= 0 ? &g->param[node->bias] : NULL;
        norm n;
        UM_PASS(check(weight, params + weight->offset));
        if (bias != NULL) UM_PASS(check(bias, params + bias->offset));
        UM_PASS(norm_get(g, alone ? from->filter : from->norm, params, &n));
        fold_filter(s, alone ? NULL : params + weight->offset, &n, bias != NULL ? params + bias->offset : NULL, f);
        for (size_t j = 0; j < um_fold_weight_count(s); j++)
            if (!isfinite(f->weight[j])) return UM_FAIL(UM_DATA, "%s, with the batch norm behind it, is not finite", weight->name);
        for (int k = 0; k < s->k; k++)
            if (!isfinite(f->bias[k])) return UM_FAIL(UM_DATA, "the bias of %s, with the batch norm behind it, is not finite", weight->name);
    }
    if (from->act >= 0) {
        const um_param *slope = &g->param[g->node[from->act].weight];
        UM_PASS(check(slope, params + slope->offset));
        for (int k = 0; k < s->k; k++) f->slope[k] = params[slope->offset + k];
    }
    return UM_OK;
}
