/* net_grads.c: gradients summed over lanes, in a binary tree, and over ranks, in buckets that are begun as soon as all of their parameters are there. */
#include "src/core/clock.h"
#include "src/core/clones.h"
#include "src/nn/net_parts.h"

#include <string.h>

enum { SLICE = 8192 }; /* numbers that a thread sums at a time */

UM_CLONES static void add_to(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] += from[i];
}

typedef struct slices {
    um_net *n;
    int param;
} slices;

static um_status sum_slice(void *user, int64_t item, int thread)
{
    const slices *s = user;
    um_net *n = s->n;
    int64_t first = item * SLICE, left = n->graph->param[s->param].count - first;
    size_t count = (size_t)(left < SLICE ? left : SLICE);
    (void)thread;
    for (int lane = 0; lane < n->o.n_lanes; lane++)
        if (um_net_lane_count(n, lane) == 0) memset(um_net_part(n, s->param, lane) + first, 0, count * sizeof(float));
    for (int step = 1; step < n->o.n_lanes; step *= 2)
        for (int lane = 0; lane + step < n->o.n_lanes; lane += 2 * step) add_to(um_net_part(n, s->param, lane) + first, um_net_part(n, s->param, lane + step) + first, count);
    return UM_OK;
}

um_status um_net_group_join(um_net *n, int group)
{
    const um_param_group *g = &n->way->group[group];
    for (int i = g->first; i < g->first + g->n; i++) {
        slices s = {n, n->way->group_param[i]};
        int64_t count = n->graph->param[s.param].count, items = (count + SLICE - 1) / SLICE;
        UM_PASS(um_pool_run(items < 4 ? NULL : n->o.pool, items, sum_slice, &s)); /* waking threads costs more than a few slices */
        um_net_param_done(n, s.param);
    }
    return UM_OK;
}

void um_net_param_done(um_net *n, int param)
{
    const um_comm *comm = n->o.comm;
    int bucket = n->bucket_of[param];
    if (comm == NULL || --n->bucket_wait[bucket] > 0) return;
    double start = um_clock_s();
    comm->begin_sum_f32(comm->self, n->grads + n->bucket_at[bucket + 1], (size_t)(n->bucket_at[bucket] - n->bucket_at[bucket + 1]), n->n_begun++, NULL);
    n->comm_s += um_clock_s() - start;
}
