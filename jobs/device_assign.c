/* device_assign.c: which rank gets which GPU: a matching of ranks and GPUs (Kuhn, "The Hungarian method", 1955, without weights: augmenting paths), so that a rank which sees one GPU only is not left over because another took it first. */
#include "jobs/device.h"

#include <stdlib.h>
#include <string.h>

typedef struct matching {
    const um_gpu_view *view;
    int n_ranks;
    int *device; /* [n_ranks] */
    bool *seen;  /* [n_ranks] in this search */
} matching;

static bool same_gpu(const matching *m, int a, int i, int b, int j)
{
    return m->view[a].node == m->view[b].node && strcmp(m->view[a].gpu[i].bus, m->view[b].gpu[j].bus) == 0;
}

static int owner_of(const matching *m, int rank, int gpu)
{
    for (int r = 0; r < m->n_ranks; r++)
        if (m->device[r] >= 0 && same_gpu(m, rank, gpu, r, m->device[r])) return r;
    return -1;
}

/* A GPU for the rank, if need be by moving others. Near ones first: `near` 1, then 0. */
static bool find(matching *m, int rank)
{
    const um_gpu_view *v = &m->view[rank];
    m->seen[rank] = true;
    for (int move = 0; move < 2; move++)
        for (int near = 1; near >= 0; near--)
            for (int i = 0; i < v->n; i++) {
                if ((v->numa >= 0 && v->gpu[i].numa == v->numa) != (near == 1)) continue;
                int owner = owner_of(m, rank, i);
                if (owner == rank || (owner >= 0 && (move == 0 || m->seen[owner]))) continue;
                if (owner >= 0) {
                    int had = m->device[owner];
                    m->device[rank] = i; /* taken, while the owner looks for another */
                    m->device[owner] = -1;
                    if (!find(m, owner)) {
                        m->device[owner] = had;
                        m->device[rank] = -1;
                        continue;
                    }
                }
                m->device[rank] = i;
                return true;
            }
    return false;
}

static int count_on(const matching *m, int rank, int gpu)
{
    int n = 0;
    for (int r = 0; r < m->n_ranks; r++) n += m->device[r] >= 0 && same_gpu(m, rank, gpu, r, m->device[r]);
    return n;
}

int um_gpu_assign(const um_gpu_view *view, int n_ranks, bool share, int *device)
{
    bool *seen = calloc((size_t)n_ranks, sizeof *seen);
    matching m = {view, n_ranks, device, seen};
    int without = 0;
    if (seen == NULL) return -1;
    for (int r = 0; r < n_ranks; r++) device[r] = -1;
    for (int r = 0; r < n_ranks; r++) {
        memset(seen, 0, (size_t)n_ranks * sizeof *seen);
        (void)find(&m, r);
    }
    for (int r = 0; r < n_ranks; r++) {
        if (device[r] >= 0) continue;
        int fewest = -1, best = -1;
        for (int i = 0; share && i < view[r].n; i++) {
            int n = count_on(&m, r, i);
            if (best < 0 || n < fewest) best = i, fewest = n;
        }
        device[r] = best;
        without += best < 0;
    }
    free(seen);
    return without;
}
