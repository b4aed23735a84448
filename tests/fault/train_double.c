/* A stand-in for the network of a training run (src/nn/net.h): logits are a line through a few sums of pixels, so a step takes microseconds; statistics, gradients, lanes and sums over ranks obey the contract. The program
 * unmask_train_double is unmask with this instead: data, loader, loss, optimiser, checkpoints and log are the real ones.
 *
 * UNMASK_DOUBLE_MS: a step takes so many milliseconds. UNMASK_DOUBLE_NAN: these micro-batches ("3,17-19") give a logit that is no number, on the last rank. UNMASK_DOUBLE_KILL: at this micro-batch the last rank ends by SIGKILL. */
#include "src/nn/net.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CELLS = 4, FEATURES = CELLS * CELLS * 3 };

struct um_net {
    const um_graph *g;
    um_net_options o;
    const um_param *weight, *bias, *mean, *var, *other;
    float *feature;  /* [max_batch][FEATURES] */
    float *lane_sum; /* [lanes][param_count of the head + 2] */
    int n;           /* of FEATURES that are used */
};

um_status um_net_new(const um_graph *g, const um_net_options *o, um_net **out)
{
    um_net *n = calloc(1, sizeof *n);
    if (n == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory");
    n->g = g;
    n->o = *o;
    for (int i = 0; i < g->n_params; i++) {
        const um_param *p = &g->param[i];
        if (strcmp(p->name, "fc.weight") == 0) n->weight = p;
        else if (strcmp(p->name, "fc.bias") == 0) n->bias = p;
        else if (p->kind == UM_PARAM_BN_MEAN && n->mean == NULL) n->mean = p;
        else if (p->kind == UM_PARAM_BN_VAR && n->var == NULL) n->var = p;
        else if (p->kind == UM_PARAM_WEIGHT && n->other == NULL) n->other = p;
    }
    n->n = n->weight->count < FEATURES ? (int)n->weight->count : FEATURES;
    n->feature = calloc((size_t)o->max_batch * FEATURES + 1, sizeof *n->feature);
    n->lane_sum = calloc((size_t)o->n_lanes * (FEATURES + 3), sizeof *n->lane_sum);
    *out = n;
    return n->feature == NULL || n->lane_sum == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory") : UM_OK;
}

void um_net_free(um_net *n)
{
    if (n == NULL) return;
    free(n->feature);
    free(n->lane_sum);
    free(n);
}

size_t um_net_bytes(const um_net *n) { return (size_t)n->o.max_batch * FEATURES * sizeof(float); }

double um_net_comm_s(const um_net *n)
{
    (void)n;
    return 0;
}

static int pictures(const um_net *n, const um_net_batch *b)
{
    int sum = 0;
    for (int i = 0; i < n->o.n_lanes; i++) sum += b->lane_count[i];
    return sum;
}

static void look(um_net *n, const um_net_batch *b)
{
    int size = n->g->node[0].h, total = pictures(n, b);
    for (int i = 0; i < total; i++) {
        const uint8_t *p = b->images + (size_t)i * (size_t)size * (size_t)size * 3;
        float *f = n->feature + (size_t)i * FEATURES;
        memset(f, 0, FEATURES * sizeof *f);
        for (int y = 0; y < size; y++)
            for (int x = 0; x < size; x++)
                for (int c = 0; c < 3; c++) f[(y * CELLS / size * CELLS + x * CELLS / size) * 3 + c] += (float)p[(y * size + x) * 3 + c];
        for (int k = 0; k < FEATURES; k++) f[k] = f[k] * (float)(CELLS * CELLS) / (float)(size * size) / 64 - 2;
    }
}

static float logit(const um_net *n, const float *params, int i)
{
    const float *f = n->feature + (size_t)i * FEATURES, *w = params + n->weight->offset;
    float x = params[n->bias->offset] - 0.01f * params[n->mean->offset];
    for (int k = 0; k < n->n; k++) x += w[k] * f[k];
    return x;
}

/* Lanes in their tree, then ranks. v: [lanes][width]; the result is in v[0]. */
static void sum_lanes(um_net *n, float *v, int width)
{
    for (int step = 1; step < n->o.n_lanes; step *= 2)
        for (int i = 0; i + step < n->o.n_lanes; i += 2 * step)
            for (int k = 0; k < width; k++) v[i * width + k] += v[(i + step) * width + k];
    if (n->o.comm != NULL) n->o.comm->sum_f32(n->o.comm->self, v, (size_t)width, NULL);
}

static bool named(const char *list, int64_t number)
{
    while (list != NULL && *list != 0) {
        char *end;
        int64_t lo = strtoll(list, &end, 10), hi = lo;
        if (*end == '-') hi = strtoll(end + 1, &end, 10);
        if (number >= lo && number <= hi) return true;
        list = *end == ',' ? end + 1 : NULL;
    }
    return false;
}

um_status um_net_forward(um_net *n, float *params, const um_net_batch *b, float *logits)
{
    const char *ms = getenv("UNMASK_DOUBLE_MS");
    int total = pictures(n, b);
    bool last = n->o.comm == NULL || n->o.comm->rank == n->o.comm->size - 1;
    if (ms != NULL) nanosleep(&(struct timespec){.tv_nsec = (long)(atof(ms) * 1e6)}, NULL);
    if (last && named(getenv("UNMASK_DOUBLE_KILL"), b->step)) kill(getpid(), SIGKILL);
    look(n, b);
    for (int i = 0; i < total; i++) logits[i] = logit(n, params, i);
    /* Statistics: the mean of the first feature, over all lanes of all ranks. */
    for (int l = 0, at = 0; l < n->o.n_lanes; l++) {
        float *s = n->lane_sum + 2 * l;
        s[0] = s[1] = 0;
        for (int i = 0; i < b->lane_count[l]; i++, at++) {
            s[0] += 1;
            s[1] += n->feature[(size_t)at * FEATURES];
        }
    }
    sum_lanes(n, n->lane_sum, 2);
    float mean = n->lane_sum[1] / n->lane_sum[0];
    if (last && total > 0 && named(getenv("UNMASK_DOUBLE_NAN"), b->step)) logits[0] = mean = NAN;
    params[n->mean->offset] += n->o.bn_momentum * (mean - params[n->mean->offset]);
    return UM_OK;
}

um_status um_net_backward(um_net *n, const float *params, const um_net_batch *b, const float *d_logits, float *grads)
{
    enum { WIDTH = FEATURES + 1 };
    memset(grads, 0, (size_t)n->g->param_count * sizeof *grads);
    for (int l = 0, at = 0; l < n->o.n_lanes; l++) {
        float *s = n->lane_sum + WIDTH * l;
        memset(s, 0, WIDTH * sizeof *s);
        for (int i = 0; i < b->lane_count[l]; i++, at++) {
            for (int k = 0; k < FEATURES; k++) s[k] += d_logits[at] * n->feature[at * FEATURES + k];
            s[FEATURES] += d_logits[at];
        }
    }
    sum_lanes(n, n->lane_sum, WIDTH);
    for (int k = 0; k < n->n; k++) grads[n->weight->offset + k] = n->lane_sum[k];
    grads[n->bias->offset] = n->lane_sum[FEATURES];
    if (!b->freeze_encoder) /* something for the rest of the optimiser to do */
        for (int64_t i = 0; i < n->other->count; i++) grads[n->other->offset + i] = 1e-3f * n->lane_sum[i % (int64_t)FEATURES] + 1e-4f * params[n->other->offset + i];
    return UM_OK;
}

um_status um_net_evaluate(um_net *n, const float *params, const um_net_batch *b, float *logits)
{
    look(n, b);
    int total = pictures(n, b);
    for (int i = 0; i < total; i++) logits[i] = logit(n, params, i);
    return UM_OK;
}
