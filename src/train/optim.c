#include "src/train/optim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 15 };

typedef struct piece {
    int64_t at;
    int n;
    bool head, trained;
} piece;

struct um_optim {
    um_optim_options options;
    um_optim_state state;
    um_pool *pool;
    piece *piece;
    double *sum; /* [n_pieces] */
    int64_t n_pieces, cap_pieces;
};

static bool in_head(const um_param *p) { return strncmp(p->name, "fc.", 3) == 0; }

static bool is_trained(const um_param *p) { return p->kind != UM_PARAM_BN_MEAN && p->kind != UM_PARAM_BN_VAR; }

static um_status add_pieces(um_optim *o, int64_t at, int64_t n, bool head, bool trained)
{
    for (; n > 0; at += PIECE, n -= PIECE) {
        if (o->n_pieces == o->cap_pieces) {
            int64_t cap = o->cap_pieces * 2 + 64;
            piece *more = realloc(o->piece, (size_t)cap * sizeof *more);
            if (more == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for an optimiser");
            o->piece = more;
            o->cap_pieces = cap;
        }
        o->piece[o->n_pieces++] = (piece){at, n < PIECE ? (int)n : PIECE, head, trained};
    }
    return UM_OK;
}

/* Neighbours of one kind together, cut into pieces. */
static um_status cut(um_optim *o, const um_graph *g)
{
    for (int i = 0, j; i < g->n_params; i = j) {
        const um_param *p = &g->param[i];
        int64_t n = p->count;
        for (j = i + 1; j < g->n_params; j++) {
            const um_param *q = &g->param[j];
            if (in_head(q) != in_head(p) || is_trained(q) != is_trained(p) || q->offset != p->offset + n) break;
            n += q->count;
        }
        UM_PASS(add_pieces(o, p->offset, n, in_head(p), is_trained(p)));
    }
    return UM_OK;
}

um_status um_optim_new(const um_graph *g, const um_optim_options *options, um_pool *pool, um_optim **out)
{
    um_status st = UM_OK;
    bool slot[UM_OPTIM_SLOTS] = {options->type == UM_OPTIM_ADAMW || options->momentum != 0, options->type != UM_OPTIM_SGD};
    *out = NULL;
    if (options->type == UM_OPTIM_SGD && options->nesterov && !(options->momentum > 0)) return UM_FAIL(UM_USAGE, "Nesterov's rule needs a momentum above 0");
    um_optim *o = calloc(1, sizeof *o);
    if (o == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for an optimiser");
    o->options = *options;
    o->pool = pool;
    UM_GOTO_PASS(st, cut(o, g));
    o->sum = malloc((size_t)(o->n_pieces + 1) * sizeof *o->sum);
    if (o->sum == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for an optimiser"));
    for (int i = 0; i < UM_OPTIM_SLOTS; i++) {
        if (!slot[i]) continue;
        o->state.slot[i] = calloc((size_t)g->param_count, sizeof *o->state.slot[i]);
        if (o->state.slot[i] == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for the moments of %lld parameters", (long long)g->param_count));
    }
    *out = o;
done:
    if (st != UM_OK) um_optim_free(o);
    return st;
}

void um_optim_free(um_optim *o)
{
    if (o == NULL) return;
    for (int i = 0; i < UM_OPTIM_SLOTS; i++) free(o->state.slot[i]);
    free(o->piece);
    free(o->sum);
    free(o);
}

um_optim_state *um_optim_get_state(um_optim *o) { return &o->state; }

/* ---- norm ---- */

typedef struct norm_work {
    um_optim *o;
    const float *grads;
    bool head_only;
} norm_work;

static um_status norm_of(void *user, int64_t i, int thread)
{
    enum { LANES = 8 }; /* sums of their own, so that the compiler may use vectors; their order is written out */
    const norm_work *w = user;
    const piece *p = &w->o->piece[i];
    const float *g = w->grads + p->at;
    double s[LANES] = {0};
    int k = 0;
    (void)thread;
    w->o->sum[i] = 0;
    if (!p->trained || (w->head_only && !p->head)) return UM_OK;
    for (; k + LANES <= p->n; k += LANES)
        for (int j = 0; j < LANES; j++) s[j] += (double)g[k + j] * (double)g[k + j];
    for (; k < p->n; k++) s[0] += (double)g[k] * (double)g[k];
    w->o->sum[i] = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
    return UM_OK;
}

double um_optim_norm(um_optim *o, const float *grads, bool head_only)
{
    norm_work w = {o, grads, head_only};
    double sum = 0;
    (void)um_pool_run(o->pool, o->n_pieces, norm_of, &w);
    for (int64_t i = 0; i < o->n_pieces; i++) sum += o->sum[i];
    return sqrt(sum);
}

double um_optim_clip(double norm, double max_norm)
{
    double c = max_norm / (norm + 1e-6);
    return max_norm > 0 && c < 1 ? c : 1;
}

/* ---- step ---- */

typedef struct step_work {
    um_optim *o;
    float *params;
    const float *grads;
    float scale, rate, decay;
    float correction[2][2]; /* AdamW, [head]: r / (1 - beta1^t), sqrt(1 - beta2^t) */
    bool head_only;
} step_work;

static void sgd(const step_work *w, const piece *q)
{
    const um_optim_options *o = &w->o->options;
    float *p = w->params + q->at, momentum = (float)o->momentum;
    const float *g = w->grads + q->at;
    if (w->o->state.slot[0] == NULL) {
        for (int i = 0; i < q->n; i++) p[i] -= w->rate * (w->scale * g[i] + w->decay * p[i]);
        return;
    }
    float *m = w->o->state.slot[0] + q->at;
    float own = o->nesterov ? 1 : 0, past = o->nesterov ? momentum : 1;
    for (int i = 0; i < q->n; i++) {
        float d = w->scale * g[i] + w->decay * p[i];
        m[i] = momentum * m[i] + d;
        p[i] -= w->rate * (own * d + past * m[i]);
    }
}

static void adamw(const step_work *w, const piece *q)
{
    const um_optim_options *o = &w->o->options;
    float *p = w->params + q->at, *m = w->o->state.slot[0] + q->at, *v = w->o->state.slot[1] + q->at;
    const float *g = w->grads + q->at;
    float keep = 1 - w->rate * w->decay, new1 = (float)(1 - o->beta1), beta2 = (float)o->beta2, new2 = (float)(1 - o->beta2), eps = (float)o->eps;
    float rate = w->correction[q->head][0], root = w->correction[q->head][1];
    for (int i = 0; i < q->n; i++) {
        float d = w->scale * g[i];
        m[i] += new1 * (d - m[i]);
        v[i] = beta2 * v[i] + new2 * (d * d);
        p[i] = keep * p[i] - rate * (m[i] / (sqrtf(v[i]) / root + eps));
    }
}

static void rmsprop(const step_work *w, const piece *q)
{
    const um_optim_options *o = &w->o->options;
    float *p = w->params + q->at, *m = w->o->state.slot[0] != NULL ? w->o->state.slot[0] + q->at : NULL, *v = w->o->state.slot[1] + q->at;
    const float *g = w->grads + q->at;
    float alpha = (float)o->alpha, fresh = (float)(1 - o->alpha), eps = (float)o->eps, momentum = (float)o->momentum;
    for (int i = 0; i < q->n; i++) {
        float d = w->scale * g[i] + w->decay * p[i];
        v[i] = alpha * v[i] + fresh * (d * d);
        d = d / (sqrtf(v[i]) + eps);
        if (m != NULL) d = m[i] = momentum * m[i] + d;
        p[i] -= w->rate * d;
    }
}

static um_status step_piece(void *user, int64_t i, int thread)
{
    const step_work *w = user;
    const piece *p = &w->o->piece[i];
    (void)thread;
    if (!p->trained || (w->head_only && !p->head)) return UM_OK;
    switch (w->o->options.type) {
    case UM_OPTIM_SGD: sgd(w, p); break;
    case UM_OPTIM_ADAMW: adamw(w, p); break;
    case UM_OPTIM_RMSPROP: rmsprop(w, p); break;
    }
    return UM_OK;
}

void um_optim_step(um_optim *o, float *params, const float *grads, double scale, double rate, bool head_only)
{
    step_work w = {.o = o, .params = params, .grads = grads, .scale = (float)scale, .rate = (float)rate, .decay = (float)o->options.weight_decay, .head_only = head_only};
    o->state.n_head++;
    if (!head_only) o->state.n_encoder++;
    for (int head = 0; head < 2; head++) {
        double t = (double)(head != 0 ? o->state.n_head : o->state.n_encoder);
        w.correction[head][0] = (float)(rate / (1 - pow(o->options.beta1, t)));
        w.correction[head][1] = (float)sqrt(1 - pow(o->options.beta2, t));
    }
    (void)um_pool_run(o->pool, o->n_pieces, step_piece, &w);
}

/* ---- average ---- */

typedef struct average_work {
    um_optim *o;
    float *average;
    const float *params;
    float fresh;
} average_work;

static um_status average_piece(void *user, int64_t i, int thread)
{
    const average_work *w = user;
    const piece *q = &w->o->piece[i];
    float *a = w->average + q->at;
    const float *p = w->params + q->at;
    (void)thread;
    for (int k = 0; k < q->n; k++) a[k] += w->fresh * (p[k] - a[k]);
    return UM_OK;
}

void um_optim_average(um_optim *o, float *average, const float *params, double decay, int64_t n)
{
    double warm = (double)(1 + n) / (double)(10 + n);
    average_work w = {o, average, params, (float)(1 - (decay < warm ? decay : warm))};
    (void)um_pool_run(o->pool, o->n_pieces, average_piece, &w);
}
