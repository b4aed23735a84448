/* One step of a member: batches are taken, a trainer computes, and what it found is counted; or it is left out. */
#include "jobs/train_member.h"

#include "jobs/stop.h"

#include <string.h>

/* Takes the next batch; targets and weights of the whole batch on every rank: each rank fills in its own part. All ranks leave together: with the worst status of any, or because a signal reached one. */
static um_status take_batch(um_train_member *m, bool may_stop, um_loader_batch *b, int64_t *replaced)
{
    double flag[2] = {m->failed != UM_OK, may_stop && *um_stop_flag() != 0}, *message = m->message;
    size_t B = (size_t)m->batch;
    if (may_stop) um_world_total(m->w, flag, 2);
    if (may_stop && flag[0] > 0) return um_agree(m->w, m->failed, "training");
    if (flag[1] > 0) return UM_FAIL(UM_STOPPED, "a signal asked to stop");
    um_status st = um_loader_next(m->loader, b);
    if (st == UM_END) st = UM_FAIL(UM_INTERNAL, "an epoch ended before its steps were done");
    memset(message, 0, (2 * B + 1) * sizeof *message);
    message[2 * B] = st != UM_OK;
    for (int i = 0; st == UM_OK && i < b->n; i++) {
        message[m->first + i] = (double)b->target[i];
        message[B + (size_t)(m->first + i)] = b->weight[i];
    }
    um_world_total(m->w, message, 2 * B + 1);
    for (size_t i = 0; i < B; i++) {
        int bits = (int)message[B + i];
        m->target[i] = (float)message[i];
        m->weight[i] = (bits & UM_PICTURE_COUNTS) != 0;
        *replaced += (bits & UM_PICTURE_REPLACED) != 0;
    }
    return message[2 * B] > 0 ? um_agree(m->w, st, "loading pictures") : UM_OK;
}

/* A step that has ended becomes part of the state. */
static um_status count(um_train_member *m, const um_train_step *s)
{
    m->state.step++;
    m->state.epoch_step++;
    m->state.replaced += s->replaced;
    if (s->skipped) {
        m->state.skipped++;
        if (++m->state.skipped_in_a_row >= m->o->max_skipped)
            return UM_FAIL(UM_DATA, "the loss of %lld steps in a row was no number or above %g, or their gradients were not finite: lower optimizer.learning_rate; the last checkpoint is from before", (long long)m->state.skipped_in_a_row,
                           m->o->max_loss);
        return UM_OK;
    }
    m->state.skipped_in_a_row = 0;
    m->state.epoch_counted++;
    m->state.epoch_loss += s->loss;
    m->state.epoch_fake += s->fake;
    m->state.epoch_real += s->real;
    return UM_OK;
}

um_status um_train_member_end(um_train_member *m, um_train_step *out, int *n)
{
    um_trainer_result r = {0};
    *n = 0;
    if (m->n_under_way == 0) return UM_OK;
    um_status st = m->ops->end(m->trainer, &r);
    if (r.lost) um_world_lost(m->w, st == UM_STOPPED);
    UM_PASS(st);
    *out = m->under_way[0];
    for (int i = 1; i < m->n_under_way; i++) m->under_way[i - 1] = m->under_way[i];
    m->n_under_way--;
    out->loss = r.loss;
    out->fake = r.fake;
    out->real = r.real;
    out->norm = r.norm;
    out->skipped = r.skipped;
    *n = 1;
    return count(m, out);
}

um_status um_train_member_step(um_train_member *m, um_train_step *out, int *n)
{
    int64_t rounds = m->o->accumulate, number = m->state.step + m->n_under_way;
    um_trainer_step step = {.seed = (uint64_t)m->seed, .step = number, .rate = um_schedule_rate(&m->schedule, number, m->state.epoch), .head_only = m->state.epoch < m->o->freeze_epochs};
    um_train_step s = {.rate = step.rate};
    *n = 0;
    for (int64_t a = 0; a < rounds; a++) {
        um_loader_batch b;
        UM_PASS(take_batch(m, a == 0, &b, &s.replaced));
        s.pictures += m->batch;
        um_trainer_batch batch = {.images = b.images, .target = m->target, .weight = m->weight};
        um_status st = m->ops->begin(m->trainer, &step, (int)a, &batch);
        if (st != UM_OK && m->w->size > 1 && um_train_member_on_gpus(m)) um_world_lost(m->w, st == UM_STOPPED); /* the others' GPUs wait for this one's sums */
        UM_PASS(st);
    }
    m->under_way[m->n_under_way++] = s;
    return m->n_under_way > m->ops->depth ? um_train_member_end(m, out, n) : UM_OK;
}
