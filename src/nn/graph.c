#include "src/nn/graph.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bounds that no network of ours comes near; below them no product of sizes leaves 64 bits. */
enum { MAX_SIDE = 16384, MAX_CHANNELS = 1 << 24, MAX_FILTER = 64, MAX_STRIDE = 64 };
static const int64_t max_params = INT64_C(1) << 40;

um_status um_graph_new(um_graph **out)
{
    um_graph *g = calloc(1, sizeof *g);
    if (g == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a graph");
    g->output = -1;
    *out = g;
    return UM_OK;
}

void um_graph_free(um_graph *g)
{
    if (g == NULL) return;
    free(g->node);
    free(g->param);
    free(g);
}

static int __attribute__((format(printf, 3, 4))) refuse(um_graph *g, um_status st, const char *fmt, ...)
{
    va_list ap;
    if (g->status != UM_OK) return -1; /* the first one is the cause */
    g->status = st;
    va_start(ap, fmt);
    vsnprintf(g->problem, sizeof g->problem, fmt, ap);
    va_end(ap);
    return -1;
}

/* Room for one more of n things of `size` bytes each in *p. */
static bool reserve(um_graph *g, void *p, int n, int *cap, size_t size)
{
    void **at = p, *grown;
    int more = *cap > 0 ? *cap * 2 : 64;
    if (n < *cap) return true;
    grown = realloc(*at, (size_t)more * size);
    if (grown == NULL) {
        refuse(g, UM_NO_MEMORY, "out of memory for a graph of %d nodes", g->n_nodes);
        return false;
    }
    *at = grown;
    *cap = more;
    return true;
}

static const um_node *at(const um_graph *g, int x) { return x >= 0 && x < g->n_nodes ? &g->node[x] : NULL; }

/* What reads x begins as a copy of its shape. False when the graph is broken already or x is no node. */
static bool begin(um_graph *g, um_op op, const char *name, int x, um_node *n)
{
    const um_node *in = at(g, x);
    if (g->status != UM_OK) return false;
    if (name == NULL && op != UM_OP_ACT) {
        refuse(g, UM_DATA, "an operator with parameters has no name");
        return false;
    }
    if (in == NULL) {
        refuse(g, UM_DATA, "%s reads node %d of %d", name != NULL ? name : "an activation", x, g->n_nodes);
        return false;
    }
    *n = (um_node){.op = op, .in = {x, -1}, .h = in->h, .w = in->w, .c = in->c, .weight = -1, .bias = -1};
    return true;
}

static int append(um_graph *g, const um_node *n)
{
    void *node = &g->node;
    if (g->status != UM_OK || !reserve(g, node, g->n_nodes, &g->cap_nodes, sizeof *g->node)) return -1;
    g->node[g->n_nodes] = *n;
    return g->n_nodes++;
}

static int param(um_graph *g, const char *module, const char *suffix, um_param_kind kind, int n_dims, int d0, int d1, int d2, int d3)
{
    void *list = &g->param;
    um_param p = {.kind = kind, .n_dims = n_dims, .dims = {d0, d1, d2, d3}, .count = 1, .offset = g->param_count};
    int len;
    if (g->status != UM_OK) return -1;
    if (module == NULL || module[0] == 0) return refuse(g, UM_DATA, "an operator with parameters has no name");
    len = snprintf(p.name, sizeof p.name, "%s.%s", module, suffix);
    if (len < 0 || len >= UM_PARAM_MAX_NAME) return refuse(g, UM_DATA, "parameter name too long: %s.%s", um_quote(module), suffix);
    if (um_graph_find_param(g, p.name) >= 0) return refuse(g, UM_DATA, "two parameters are called %s", p.name);
    for (int i = 0; i < n_dims; i++) p.count *= p.dims[i]; /* at most 2^24 * 2^24 * 2^12 < 2^63 */
    if (p.count > max_params - g->param_count) return refuse(g, UM_DATA, "%s makes more than %lld parameters", p.name, (long long)max_params);
    if (!reserve(g, list, g->n_params, &g->cap_params, sizeof *g->param)) return -1;
    g->param[g->n_params] = p;
    g->param_count += p.count;
    return g->n_params++;
}

int um_graph_find_param(const um_graph *g, const char *name)
{
    for (int i = 0; i < g->n_params; i++)
        if (strcmp(g->param[i].name, name) == 0) return i;
    return -1;
}

int um_graph_input(um_graph *g, int h, int w, int c)
{
    um_node n = {.op = UM_OP_INPUT, .in = {-1, -1}, .h = h, .w = w, .c = c, .weight = -1, .bias = -1};
    if (g->n_nodes > 0) return refuse(g, UM_DATA, "the input comes first and once");
    if (h < 1 || w < 1 || c < 1 || h > MAX_SIDE || w > MAX_SIDE || c > MAX_CHANNELS) return refuse(g, UM_DATA, "an input of %d x %d x %d", h, w, c);
    return append(g, &n);
}

/* Output size and padding along one side; 0 when the filter does not fit. */
static int windows(int side, int filter, int stride, um_pad pad, int *before)
{
    int out, missing;
    *before = 0;
    if (pad == UM_PAD_VALID) return side < filter ? 0 : (side - filter) / stride + 1;
    out = (side + stride - 1) / stride;
    missing = (out - 1) * stride + filter - side;
    *before = missing > 0 ? missing / 2 : 0;
    return out;
}

static int filtered(um_graph *g, um_op op, const char *name, int x, int k, int r, int s, int stride, um_pad pad, bool bias)
{
    um_node n;
    if (!begin(g, op, name, x, &n)) return -1;
    if (k < 1 || k > MAX_CHANNELS || r < 1 || s < 1 || r > MAX_FILTER || s > MAX_FILTER || stride < 1 || stride > MAX_STRIDE)
        return refuse(g, UM_DATA, "%s: %d filters of %d x %d, stride %d", name, k, r, s, stride);
    n.h = windows(n.h, r, stride, pad, &n.pad_top);
    n.w = windows(n.w, s, stride, pad, &n.pad_left);
    if (n.h < 1 || n.w < 1) return refuse(g, UM_DATA, "%s: a filter of %d x %d on a map of %d x %d", name, r, s, g->node[x].h, g->node[x].w);
    n.r = r;
    n.s = s;
    n.stride = stride;
    n.weight = param(g, name, "weight", UM_PARAM_WEIGHT, 4, k, op == UM_OP_CONV ? n.c : 1, r, s);
    if (bias) n.bias = param(g, name, "bias", UM_PARAM_BIAS, 1, k, 0, 0, 0);
    n.c = k;
    return append(g, &n);
}

int um_graph_conv(um_graph *g, const char *name, int x, int k, int r, int s, int stride, um_pad pad, bool bias)
{
    return filtered(g, UM_OP_CONV, name, x, k, r, s, stride, pad, bias);
}

int um_graph_depthwise(um_graph *g, const char *name, int x, int r, int s, int stride, um_pad pad, bool bias)
{
    const um_node *in = at(g, x);
    return filtered(g, UM_OP_DEPTHWISE, name, x, in != NULL ? in->c : 1, r, s, stride, pad, bias);
}

int um_graph_batch_norm(um_graph *g, const char *name, int x, float eps)
{
    um_node n;
    if (!begin(g, UM_OP_BATCH_NORM, name, x, &n)) return -1;
    if (!(eps >= 0 && isfinite(eps))) return refuse(g, UM_DATA, "%s: eps is %g", name, (double)eps);
    n.eps = eps;
    n.weight = param(g, name, "weight", UM_PARAM_BN_WEIGHT, 1, n.c, 0, 0, 0);
    n.bias = param(g, name, "bias", UM_PARAM_BN_BIAS, 1, n.c, 0, 0, 0);
    param(g, name, "running_mean", UM_PARAM_BN_MEAN, 1, n.c, 0, 0, 0);
    param(g, name, "running_var", UM_PARAM_BN_VAR, 1, n.c, 0, 0, 0);
    return append(g, &n);
}

int um_graph_act(um_graph *g, const char *name, int x, um_act act)
{
    um_node n;
    if (!begin(g, UM_OP_ACT, name, x, &n)) return -1;
    n.act = act;
    if (act == UM_ACT_PRELU) n.weight = param(g, name, "weight", UM_PARAM_SLOPE, 1, n.c, 0, 0, 0);
    return append(g, &n);
}

int um_graph_mean(um_graph *g, int x)
{
    um_node n;
    if (!begin(g, UM_OP_MEAN, "a mean", x, &n)) return -1;
    n.h = n.w = 1;
    return append(g, &n);
}

int um_graph_max_pool(um_graph *g, int x, int r, int s, int stride)
{
    um_node n;
    if (!begin(g, UM_OP_MAX_POOL, "a pooling", x, &n)) return -1;
    if (r < 1 || s < 1 || stride < 1 || stride > MAX_STRIDE || r > n.h || s > n.w)
        return refuse(g, UM_DATA, "a pooling of %d x %d, stride %d, on a map of %d x %d", r, s, stride, n.h, n.w);
    n.r = r;
    n.s = s;
    n.stride = stride;
    n.h = (n.h - r + stride - 1) / stride + 1;
    n.w = (n.w - s + stride - 1) / stride + 1;
    /* A stride above the window may put the last one wholly behind the edge: it would be the largest of nothing. */
    if ((n.h - 1) * stride >= g->node[x].h || (n.w - 1) * stride >= g->node[x].w)
        return refuse(g, UM_DATA, "a pooling of %d x %d, stride %d: its last window lies outside of the map", r, s, stride);
    return append(g, &n);
}

int um_graph_dense(um_graph *g, const char *name, int x, int k, bool bias)
{
    um_node n;
    int64_t flat;
    if (!begin(g, UM_OP_DENSE, name, x, &n)) return -1;
    flat = (int64_t)n.h * n.w * n.c;
    if (k < 1 || k > MAX_CHANNELS || flat > MAX_CHANNELS) return refuse(g, UM_DATA, "%s: a dense layer from %lld to %d", name, (long long)flat, k);
    n.weight = param(g, name, "weight", UM_PARAM_WEIGHT, 2, k, (int)flat, 0, 0);
    if (bias) n.bias = param(g, name, "bias", UM_PARAM_BIAS, 1, k, 0, 0, 0);
    n.h = n.w = n.r = n.s = n.stride = 1;
    n.c = k;
    return append(g, &n);
}

int um_graph_scale(um_graph *g, int x, int gate)
{
    um_node n;
    const um_node *by = at(g, gate);
    if (!begin(g, UM_OP_SCALE, "a product", x, &n)) return -1;
    if (by == NULL) return refuse(g, UM_DATA, "a product reads node %d of %d", gate, g->n_nodes);
    if (by->h != 1 || by->w != 1 || by->c != n.c)
        return refuse(g, UM_DATA, "a map of %d channels times a gate of %d x %d x %d", n.c, by->h, by->w, by->c);
    n.in[1] = gate;
    return append(g, &n);
}

int um_graph_add(um_graph *g, int a, int b)
{
    um_node n;
    const um_node *other = at(g, b);
    if (!begin(g, UM_OP_ADD, "a sum", a, &n)) return -1;
    if (other == NULL) return refuse(g, UM_DATA, "a sum reads node %d of %d", b, g->n_nodes);
    if (other->h != n.h || other->w != n.w || other->c != n.c)
        return refuse(g, UM_DATA, "a sum of %d x %d x %d and %d x %d x %d", n.h, n.w, n.c, other->h, other->w, other->c);
    n.in[1] = b;
    return append(g, &n);
}

static int drop(um_graph *g, um_op op, int x, float rate)
{
    um_node n;
    if (!begin(g, op, "a dropout", x, &n)) return -1;
    if (!(rate >= 0 && rate < 1)) return refuse(g, UM_DATA, "a rate of %g to drop at: it must be at least 0 and below 1", (double)rate);
    n.rate = rate;
    return append(g, &n);
}

int um_graph_drop_path(um_graph *g, int x, float rate) { return drop(g, UM_OP_DROP_PATH, x, rate); }
int um_graph_dropout(um_graph *g, int x, float rate) { return drop(g, UM_OP_DROPOUT, x, rate); }

void um_graph_output(um_graph *g, int x)
{
    if (at(g, x) == NULL) refuse(g, UM_DATA, "the output is node %d of %d", x, g->n_nodes);
    g->output = x;
}

um_status um_graph_finish(um_graph *g)
{
    if (g->status == UM_OK && g->output < 0) refuse(g, UM_DATA, "a graph without output");
    if (g->status != UM_OK) return UM_FAIL(g->status, "%s", g->problem);
    return UM_OK;
}
