/* trainer_cpu.c: trainer.h on processors: a net (src/nn/net.h), a loss, an optimiser. */
#include "src/nn/net.h"
#include "src/train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct um_trainer {
    const um_graph *graph;
    um_trainer_options o;
    um_net *net;
    um_trainer_state *state;
    float *grads, *grad_sum; /* [param_count]; grad_sum: NULL for one round */
    float *statistics;       /* running statistics before a step that may be left out */
    int *lane_count;
    double *message, *scratch; /* [batch] */
    float *logit, *d_logit;
    um_trainer_result result;
};

static void close_trainer(um_trainer *t)
{
    if (t == NULL) return;
    um_net_free(t->net);
    free(t->grads);
    free(t->grad_sum);
    free(t->statistics);
    free(t->lane_count);
    free(t->message);
    free(t->scratch);
    free(t->logit);
    free(t->d_logit);
    free(t);
}

static um_status make_memory(um_trainer *t)
{
    size_t p = (size_t)t->graph->param_count, b = (size_t)t->o.batch + 1, statistics = 0;
    for (int i = 0; i < t->graph->n_params; i++) {
        const um_param *q = &t->graph->param[i];
        if (q->kind == UM_PARAM_BN_MEAN || q->kind == UM_PARAM_BN_VAR) statistics += (size_t)q->count;
    }
    t->grads = calloc(p, sizeof *t->grads);
    if (t->o.rounds > 1) t->grad_sum = calloc(p, sizeof *t->grad_sum);
    t->statistics = malloc((statistics + 1) * sizeof *t->statistics);
    t->lane_count = calloc((size_t)t->o.n_lanes + 1, sizeof *t->lane_count);
    t->message = malloc(b * sizeof *t->message);
    t->scratch = malloc(b * sizeof *t->scratch);
    t->logit = malloc(b * sizeof *t->logit);
    t->d_logit = malloc(b * sizeof *t->d_logit);
    bool ok = t->grads != NULL && (t->o.rounds <= 1 || t->grad_sum != NULL) && t->statistics != NULL && t->lane_count != NULL && t->message != NULL && t->scratch != NULL && t->logit != NULL && t->d_logit != NULL;
    return ok ? UM_OK : UM_FAIL(UM_NO_MEMORY, "no memory for the gradients of %zu parameters", p);
}

static bool has(um_dtype precision) { return precision == UM_F32; }

static um_status open_trainer(const um_graph *g, const um_trainer_options *o, um_trainer **out)
{
    um_net_options n = {.backend = "cpu", .max_batch = o->n > 0 ? o->n : 1, .n_lanes = o->n_lanes, .precision = o->precision, .bn_momentum = o->bn_momentum, .pool = o->pool, .comm = o->comm};
    um_status st;
    um_trainer *t = calloc(1, sizeof *t);
    *out = NULL;
    if (t == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for training");
    t->graph = g;
    t->o = *o;
    memcpy(n.mean, o->mean, sizeof n.mean);
    memcpy(n.std, o->std, sizeof n.std);
    UM_GOTO_PASS(st, make_memory(t));
    UM_GOTO_PASS(st, um_net_new(g, &n, &t->net));
    *out = t;
done:
    if (st != UM_OK) close_trainer(t);
    return st;
}

static size_t bytes_of(const um_trainer *t) { return um_net_bytes(t->net); }

static um_status join(um_trainer *t)
{
    (void)t;
    return UM_OK;
}

/* The state is computed in where it lies. */
static um_status put(um_trainer *t, um_trainer_state *state)
{
    t->state = state;
    return UM_OK;
}
static um_status take(um_trainer *t)
{
    (void)t;
    return UM_OK;
}

static void copy_statistics(um_trainer *t, bool back)
{
    float *at = t->statistics;
    for (int i = 0; i < t->graph->n_params; i++) {
        const um_param *p = &t->graph->param[i];
        if (p->kind != UM_PARAM_BN_MEAN && p->kind != UM_PARAM_BN_VAR) continue;
        size_t bytes = (size_t)p->count * sizeof *at;
        if (back) memcpy(t->state->params + p->offset, at, bytes);
        else memcpy(at, t->state->params + p->offset, bytes);
        at += p->count;
    }
}

static um_net_batch batch_of(um_trainer *t, const uint8_t *images, int n)
{
    for (int i = 0; i < t->o.n_lanes; i++) t->lane_count[i] = (int)(um_train_cut(n, i + 1, t->o.n_lanes) - um_train_cut(n, i, t->o.n_lanes));
    return (um_net_batch){.images = images, .lane_count = t->lane_count};
}

/* The whole batch's logits on every rank: each fills in its own part, the sum with zeros changes no bit. */
static um_loss loss_of(um_trainer *t, const um_trainer_batch *b)
{
    size_t all = (size_t)t->o.batch;
    memset(t->message, 0, all * sizeof *t->message);
    for (int i = 0; i < t->o.n; i++) t->message[t->o.first + i] = (double)t->logit[i];
    if (t->o.comm != NULL) t->o.comm->sum_f64(t->o.comm->self, t->message, all, NULL);
    for (size_t i = 0; i < all; i++) t->logit[i] = (float)t->message[i];
    return um_loss_batch(&t->o.loss, all, t->logit, b->target, b->weight, t->d_logit, t->scratch);
}

/* The update, or nothing of the step. */
static void finish(um_trainer *t, const um_trainer_step *s)
{
    const float *grads = t->grad_sum != NULL ? t->grad_sum : t->grads;
    um_trainer_result *r = &t->result;
    double scale = 1 / (double)t->o.rounds;
    if (!r->skipped) {
        r->norm = scale * um_optim_norm(t->state->optim, grads, s->head_only);
        r->skipped = !isfinite(r->norm);
    }
    if (r->skipped) {
        copy_statistics(t, true);
        return;
    }
    um_optim_step(t->state->optim, t->state->params, grads, scale * um_optim_clip(r->norm, t->o.clip), s->rate, s->head_only);
    if (t->state->average != NULL) um_optim_average(t->state->optim, t->state->average, t->state->params, t->o.ema, t->state->average_updates++);
}

static um_status begin(um_trainer *t, const um_trainer_step *s, int round, const um_trainer_batch *b)
{
    size_t p = (size_t)t->graph->param_count;
    um_trainer_result *r = &t->result;
    if (round == 0) {
        *r = (um_trainer_result){0};
        copy_statistics(t, false);
        if (t->grad_sum != NULL) memset(t->grad_sum, 0, p * sizeof *t->grad_sum);
    }
    if (!r->skipped) { /* the batches of a step belong together: they are passed over together */
        um_net_batch batch = batch_of(t, b->images, t->o.n);
        batch.first = t->o.first;
        batch.seed = s->seed;
        batch.step = s->step * t->o.rounds + round;
        batch.freeze_encoder = s->head_only;
        UM_PASS(um_net_forward(t->net, t->state->params, &batch, t->logit));
        um_loss l = loss_of(t, b);
        r->loss += l.loss / (double)t->o.rounds;
        r->fake += l.fake / (double)t->o.rounds;
        r->real += l.real / (double)t->o.rounds;
        r->skipped = t->o.max_loss > 0 ? !(l.loss <= t->o.max_loss) : !isfinite(l.loss); /* NaN too */
        if (!r->skipped) {
            UM_PASS(um_net_backward(t->net, t->state->params, &batch, t->d_logit + t->o.first, t->grads));
            if (t->grad_sum != NULL)
                for (size_t i = 0; i < p; i++) t->grad_sum[i] += t->grads[i];
        }
    }
    if (round == t->o.rounds - 1) finish(t, s);
    return UM_OK;
}

static um_status end(um_trainer *t, um_trainer_result *out)
{
    *out = t->result;
    return UM_OK;
}

static um_status evaluate(um_trainer *t, const uint8_t *images, int n, float *logits)
{
    um_net_batch batch = batch_of(t, images, n);
    return um_net_evaluate(t->net, t->state->average != NULL ? t->state->average : t->state->params, &batch, logits);
}

const um_trainer_ops um_trainer_cpu = {.name = "cpu", .has = has, .open = open_trainer, .join = join, .close = close_trainer, .bytes = bytes_of, .put = put, .take = take, .begin = begin, .end = end, .evaluate = evaluate};
