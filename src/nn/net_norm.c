/* net_norm.c: where lanes and ranks meet in batch norm (net.h). Sums are f64 from here on: a lane's own are made by the backend, the lanes' are added in a binary tree, the ranks' by the communicator. */
#include "src/core/clock.h"
#include "src/nn/net_parts.h"

#include <math.h>
#include <string.h>

/* The lanes' sums over all ranks into message[1 .. 2C], and before them, if it is wanted, the count of numbers a channel. */
static void gather(um_net *n, int node, bool counted)
{
    const um_norm_state *s = &n->norm[node];
    const um_node *v = um_net_node(n, node);
    size_t width = 2 * (size_t)s->c;
    double *m = n->message;
    for (int lane = 0; lane < n->o.n_lanes; lane++)
        if (um_net_lane_count(n, lane) == 0) memset(s->sums + (size_t)lane * width, 0, width * sizeof *m);
    for (int step = 1; step < n->o.n_lanes; step *= 2)
        for (int lane = 0; lane + step < n->o.n_lanes; lane += 2 * step) {
            double *to = s->sums + (size_t)lane * width;
            const double *from = s->sums + (size_t)(lane + step) * width;
            for (size_t i = 0; i < width; i++) to[i] += from[i];
        }
    m[0] = (double)n->lane_first[n->o.n_lanes] * v->h * v->w;
    memcpy(m + 1, s->sums, width * sizeof *m);
    if (n->o.comm != NULL) {
        double start = um_clock_s();
        n->o.comm->sum_f64(n->o.comm->self, counted ? m : m + 1, counted ? width + 1 : width, NULL);
        n->comm_s += um_clock_s() - start;
    }
}

um_status um_net_norm_join(um_net *n, int node)
{
    um_norm_state *s = &n->norm[node];
    const um_node *v = um_net_node(n, node);
    const float *weight = um_net_param(n, v->weight), *bias = um_net_param(n, v->weight + 1);
    float *running_mean = n->params + n->graph->param[v->weight + 2].offset, *running_var = n->params + n->graph->param[v->weight + 3].offset;
    double momentum = (double)n->o.bn_momentum, count;
    gather(n, node, true);
    count = n->message[0];
    if (count < 2) return UM_FAIL(UM_DATA, "batch norm of %.0f number%s a channel: statistics need at least two", count, count == 1 ? "" : "s");
    s->count = (int64_t)count;
    for (int c = 0; c < s->c; c++) {
        double shift = n->message[1 + c] / count, var = n->message[1 + s->c + c] / count - shift * shift, mean = (double)running_mean[c] + shift;
        if (var < 0) var = 0; /* by rounding; a NaN stays */
        double rstd = 1 / sqrt(var + (double)v->eps);
        s->mean[c] = (float)mean;
        s->rstd[c] = (float)rstd;
        s->scale[c] = (float)((double)weight[c] * rstd);
        s->bias[c] = bias[c];
        running_mean[c] = (float)((1 - momentum) * (double)running_mean[c] + momentum * mean);
        running_var[c] = (float)((1 - momentum) * (double)running_var[c] + momentum * var * (count / (count - 1)));
    }
    return UM_OK;
}

um_status um_net_norm_running(um_net *n, int node)
{
    um_norm_state *s = &n->norm[node];
    const um_node *v = um_net_node(n, node);
    const float *p = um_net_param(n, v->weight);
    for (int c = 0; c < s->c; c++) {
        s->mean[c] = p[2 * s->c + c];
        s->rstd[c] = (float)(1 / sqrt((double)p[3 * s->c + c] + (double)v->eps));
        s->scale[c] = (float)((double)p[c] / sqrt((double)p[3 * s->c + c] + (double)v->eps));
        s->bias[c] = p[s->c + c];
    }
    return UM_OK;
}

um_status um_net_norm_data_join(um_net *n, int node)
{
    um_norm_state *s = &n->norm[node];
    const um_node *v = um_net_node(n, node);
    float *weight = n->grads + n->graph->param[v->weight].offset, *bias = n->grads + n->graph->param[v->weight + 1].offset;
    /* The sums are all ranks' already, and gradients will be summed over the ranks: the first one brings them. */
    bool mine = n->o.comm == NULL || n->o.comm->rank == 0;
    gather(n, node, false);
    for (int c = 0; c < s->c; c++) {
        double by_mean = n->message[1 + c], by_scale = n->message[1 + s->c + c], a = (double)s->scale[c];
        s->a[c] = s->scale[c];
        s->b[c] = (float)(-a * by_scale / (double)s->count * (double)s->rstd[c]);
        s->k[c] = (float)(-a * by_mean / (double)s->count);
        weight[c] = mine ? (float)by_scale + 0.0f : 0; /* never -0, which + 0 of another rank would turn */
        bias[c] = mine ? (float)by_mean + 0.0f : 0;
    }
    um_net_param_done(n, v->weight);
    um_net_param_done(n, v->weight + 1);
    return UM_OK;
}
