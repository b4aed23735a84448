/* One step of a member: batches, loss, gradients, update, or nothing of it. */
#include "jobs/train_member.h"

#include "jobs/stop.h"

#include <math.h>
#include <string.h>

/* Sums over ranks, with the bits that comm.h promises. */
static void sum_over_ranks(um_train_member *m, double *v, size_t n)
{
    if (m->w->size > 1) m->comm.sum_f64(m->comm.self, v, n, NULL);
}

static void copy_statistics(um_train_member *m, bool back)
{
    float *at = m->statistics;
    for (int i = 0; i < m->graph->n_params; i++) {
        const um_param *p = &m->graph->param[i];
        if (p->kind != UM_PARAM_BN_MEAN && p->kind != UM_PARAM_BN_VAR) continue;
        size_t bytes = (size_t)p->count * sizeof *at;
        if (back) memcpy(m->params + p->offset, at, bytes);
        else memcpy(at, m->params + p->offset, bytes);
        at += p->count;
    }
}

/* Takes the next batch. All ranks leave together: with the worst status of any, or because a signal reached one. */
static um_status take_batch(um_train_member *m, bool may_stop, um_loader_batch *b)
{
    double flag[2] = {m->failed != UM_OK, may_stop && *um_stop_flag() != 0};
    if (may_stop) sum_over_ranks(m, flag, 2);
    if (may_stop && flag[0] > 0) return um_agree(m->w, m->failed, "training");
    if (flag[1] > 0) return UM_FAIL(UM_STOPPED, "a signal asked to stop");
    um_status st = um_loader_next(m->loader, b);
    if (st == UM_END) st = UM_FAIL(UM_INTERNAL, "an epoch ended before its steps were done");
    flag[0] = st != UM_OK;
    sum_over_ranks(m, flag, 1);
    return flag[0] > 0 ? um_agree(m->w, st, "loading pictures") : UM_OK;
}

/* The whole batch's logits, targets and weights on every rank: each rank fills in its own part, the sum with zeros changes no bit. */
static um_loss loss_of(um_train_member *m, const um_loader_batch *b, const float *logits, int64_t *replaced)
{
    size_t B = (size_t)m->batch;
    memset(m->message, 0, 3 * B * sizeof *m->message);
    for (int i = 0; i < b->n; i++) {
        double *at = m->message + m->first + i;
        at[0] = (double)logits[i];
        at[B] = (double)b->target[i];
        at[2 * B] = b->weight[i];
    }
    sum_over_ranks(m, m->message, 3 * B);
    for (size_t i = 0; i < B; i++) {
        int bits = (int)m->message[2 * B + i];
        m->logit[i] = (float)m->message[i];
        m->target[i] = (float)m->message[B + i];
        m->weight[i] = (bits & UM_PICTURE_COUNTS) != 0;
        *replaced += (bits & UM_PICTURE_REPLACED) != 0;
    }
    return um_loss_batch(&m->loss, B, m->logit, m->target, m->weight, m->d_logit, m->scratch);
}

static bool is_outlying(const um_train_member *m, double loss) { return !(loss <= m->o->max_loss); /* NaN too */ }

um_status um_train_member_step(um_train_member *m, um_train_step *out)
{
    int64_t rounds = m->o->accumulate;
    bool head_only = m->state.epoch < m->o->freeze_epochs;
    size_t p = (size_t)m->graph->param_count;
    *out = (um_train_step){.rate = um_schedule_rate(&m->schedule, m->state.step, m->state.epoch)};
    copy_statistics(m, false);
    if (m->grad_sum != NULL) memset(m->grad_sum, 0, p * sizeof *m->grad_sum);
    for (int64_t a = 0; a < rounds; a++) {
        um_loader_batch b;
        UM_PASS(take_batch(m, a == 0, &b));
        out->pictures += m->batch;
        if (out->skipped) continue; /* the batches of a step belong together: they are passed over together */
        for (int i = 0; i < m->n_lanes; i++) m->lane_count[i] = (int)(um_train_cut(b.n, i + 1, m->n_lanes) - um_train_cut(b.n, i, m->n_lanes));
        um_net_batch batch = {.images = b.images, .lane_count = m->lane_count, .first = m->first, .seed = (uint64_t)m->seed, .step = m->state.step * rounds + a, .freeze_encoder = head_only};
        float *logits = m->logit; /* taken over by loss_of */
        UM_PASS(um_net_forward(m->net, m->params, &batch, logits));
        um_loss l = loss_of(m, &b, logits, &out->replaced);
        out->loss += l.loss / (double)rounds;
        out->fake += l.fake / (double)rounds;
        out->real += l.real / (double)rounds;
        out->skipped = is_outlying(m, l.loss);
        if (out->skipped) continue;
        UM_PASS(um_net_backward(m->net, m->params, &batch, m->d_logit + m->first, m->grads));
        if (m->grad_sum != NULL)
            for (size_t i = 0; i < p; i++) m->grad_sum[i] += m->grads[i];
    }
    const float *grads = m->grad_sum != NULL ? m->grad_sum : m->grads;
    double scale = 1 / (double)rounds;
    if (!out->skipped) {
        out->norm = scale * um_optim_norm(m->optim, grads, head_only);
        out->skipped = !isfinite(out->norm);
    }
    m->state.step++;
    m->state.epoch_step++;
    m->state.replaced += out->replaced;
    if (out->skipped) {
        copy_statistics(m, true);
        m->state.skipped++;
        if (++m->state.skipped_in_a_row >= m->o->max_skipped)
            return UM_FAIL(UM_DATA, "the loss of %lld steps in a row was no number or above %g, or their gradients were not finite: lower optimizer.learning_rate; the last checkpoint is from before", (long long)m->state.skipped_in_a_row,
                           m->o->max_loss);
        return UM_OK;
    }
    m->state.skipped_in_a_row = 0;
    um_optim_step(m->optim, m->params, grads, scale * um_optim_clip(out->norm, m->o->clip), out->rate, head_only);
    if (m->average != NULL) um_optim_average(m->optim, m->average, m->params, m->o->ema, m->state.average_updates++);
    m->state.epoch_counted++;
    m->state.epoch_loss += out->loss;
    m->state.epoch_fake += out->fake;
    m->state.epoch_real += out->real;
    return UM_OK;
}
