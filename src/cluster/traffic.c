#include "src/cluster/traffic.h"

enum { DEFAULT_BUCKET_BYTES = 25 << 20, FLAGS = 2 }; /* sums of flags beside the loss: before a batch and after loading it */

void um_traffic_count(const um_graph *g, int64_t batch, int64_t bucket_bytes, um_traffic *t)
{
    *t = (um_traffic){.parameters = g->param_count, .gradient_bytes = g->param_count * (int64_t)sizeof(float)};
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->node[i].op != UM_OP_BATCH_NORM) continue;
        t->n_norms++;
        t->norm_channels += g->node[i].c;
        t->norm_bytes += (4 * (int64_t)g->node[i].c + 1) * (int64_t)sizeof(double);
    }
    if (bucket_bytes <= 0) bucket_bytes = DEFAULT_BUCKET_BYTES;
    int64_t end = g->param_count; /* as the net cuts them: from the last parameter on, each as soon as it is large enough */
    for (int p = g->n_params - 1; p >= 0; p--) {
        if ((end - g->param[p].offset) * (int64_t)sizeof(float) < bucket_bytes && p > 0) continue;
        end = g->param[p].offset;
        t->n_buckets++;
    }
    t->loss_bytes = 3 * batch * (int64_t)sizeof(double);
    t->n_messages = 2 * t->n_norms + 1 + FLAGS;
}

static int rounds(int n_ranks)
{
    int k = 0;
    while (k < 31 && (1 << k) < n_ranks) k++;
    return k;
}

double um_network_sum_s(const um_network *w, int n_ranks, double bytes)
{
    if (n_ranks < 2) return 0;
    double rate = w->bytes_s / (w->sharing > 1 ? w->sharing : 1), R = n_ranks;
    double doubling = rounds(n_ranks) * (w->latency_s + bytes / rate), ring = 2 * (R - 1) * w->latency_s + 2 * (R - 1) / R * bytes / rate;
    return doubling < ring ? doubling : ring;
}

double um_traffic_s(const um_traffic *t, const um_network *w, int n_ranks, double *small_s, double *gradient_s)
{
    int norms = 2 * t->n_norms;
    double small = norms > 0 ? norms * um_network_sum_s(w, n_ranks, (double)t->norm_bytes / norms) : 0;
    small += um_network_sum_s(w, n_ranks, (double)t->loss_bytes) + FLAGS * um_network_sum_s(w, n_ranks, sizeof(double));
    double gradient = t->n_buckets > 0 ? t->n_buckets * um_network_sum_s(w, n_ranks, (double)t->gradient_bytes / t->n_buckets) : 0;
    if (small_s != NULL) *small_s = small;
    if (gradient_s != NULL) *gradient_s = gradient;
    return small + gradient;
}

int um_traffic_limit(const um_traffic *t, const um_network *w, double step_s, int most)
{
    for (int r = 2; r <= most && r > 0; r *= 2)
        if (um_traffic_s(t, w, r, NULL, NULL) > step_s) return r;
    return 0;
}
