/* Epoch after epoch: steps, validation, the epoch's model, a checkpoint; and what is said of them. */
#include "jobs/train_member.h"

#include "io/jsontext.h"
#include "src/core/clock.h"
#include "src/core/crc.h"
#include "src/core/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct watch { /* clocks of this rank at some moment */
    double now, waited, comm;
} watch;

static watch look(const um_train_member *m) { return (watch){um_clock_s(), um_loader_waited_s(m->loader), um_mpi_comm_waited_s(&m->comm)}; }

/* ---- log ---- */

static um_status add_real(um_buf *b, const char *key, double v)
{
    UM_PASS(um_buf_printf(b, ", \"%s\": ", key));
    return um_buf_add_real(b, v);
}

static um_status add_times(um_buf *b, const watch *from, const watch *to, int64_t pictures)
{
    double s = to->now - from->now;
    UM_PASS(um_buf_printf(b, ", \"images_per_s\": %.4g, \"seconds\": %.4g, \"wait_data_s\": %.3g, \"wait_ranks_s\": %.3g}\n", s > 0 ? (double)pictures / s : 0, s, to->waited - from->waited, to->comm - from->comm));
    return UM_OK;
}

static um_status log_run(um_train_member *m)
{
    um_buf b = {0};
    char now[21];
    um_clock_iso(now);
    um_status st = um_buf_printf(&b, "{\"kind\": \"run\", \"epoch\": %" PRId64 ", \"step\": %" PRId64 ", \"time\": \"%s\", \"ranks\": %d, \"threads\": %d, \"batch\": %" PRId64 ", \"device\": \"%s\", \"precision\": \"%s\", \"train_crops\": %" PRId64 ", \"val_crops\": %" PRId64 "}\n",
                                 m->state.epoch, m->state.step, now, m->w->size, m->n_threads, m->batch, m->ops->name, m->precision, m->data->n_train, m->data->n_val);
    if (st == UM_OK) st = um_train_files_log(&m->files, &b);
    um_buf_release(&b);
    return st;
}

static um_status log_step(um_train_member *m, const um_train_step *s, const watch *from, const watch *to)
{
    um_buf b = {0};
    um_status st;
    UM_GOTO_PASS(st, um_buf_printf(&b, "{\"kind\": \"step\", \"epoch\": %" PRId64 ", \"step\": %" PRId64, m->state.epoch, m->state.step));
    UM_GOTO_PASS(st, add_real(&b, "loss", s->loss));
    UM_GOTO_PASS(st, add_real(&b, "fake", s->fake));
    UM_GOTO_PASS(st, add_real(&b, "real", s->real));
    UM_GOTO_PASS(st, add_real(&b, "lr", s->rate));
    UM_GOTO_PASS(st, add_real(&b, "grad_norm", s->norm));
    UM_GOTO_PASS(st, um_buf_printf(&b, ", \"skipped\": %s, \"replaced\": %" PRId64, s->skipped ? "true" : "false", s->replaced));
    UM_GOTO_PASS(st, add_times(&b, from, to, s->pictures));
    st = um_train_files_log(&m->files, &b);
done:
    um_buf_release(&b);
    return st;
}

static um_status log_epoch(um_train_member *m, const um_train_score *v, bool best, const watch *from, const watch *to)
{
    um_buf b = {0};
    double n = m->state.epoch_counted > 0 ? (double)m->state.epoch_counted : NAN;
    um_status st;
    UM_GOTO_PASS(st, um_buf_printf(&b, "{\"kind\": \"epoch\", \"epoch\": %" PRId64 ", \"step\": %" PRId64, m->state.epoch, m->state.step));
    UM_GOTO_PASS(st, add_real(&b, "loss", m->state.epoch_loss / n));
    UM_GOTO_PASS(st, add_real(&b, "fake", m->state.epoch_fake / n));
    UM_GOTO_PASS(st, add_real(&b, "real", m->state.epoch_real / n));
    UM_GOTO_PASS(st, add_real(&b, "val_loss", v->mean));
    UM_GOTO_PASS(st, add_real(&b, "val_fake", v->fake));
    UM_GOTO_PASS(st, add_real(&b, "val_real", v->real));
    UM_GOTO_PASS(st, add_real(&b, "val_weighted", v->weighted));
    UM_GOTO_PASS(st, um_buf_printf(&b, ", \"val_videos\": %" PRId64 ", \"val_crops\": %" PRId64 ", \"val_damaged\": %" PRId64 ", \"best\": %s, \"skipped\": %" PRId64 ", \"replaced\": %" PRId64, v->videos, v->crops, v->damaged,
                                   best ? "true" : "false", m->state.skipped, m->state.replaced));
    UM_GOTO_PASS(st, add_times(&b, from, to, m->epoch_pictures));
    st = um_train_files_log(&m->files, &b);
done:
    um_buf_release(&b);
    return st;
}

static um_status write_status(um_train_member *m, const char *state)
{
    um_buf b = {0};
    const um_checkpoint *s = &m->state;
    um_status st;
    UM_GOTO_PASS(st, um_buf_printf(&b, "{\"state\": \"%s\", \"epochs\": %" PRId64 ", \"epochs_done\": %" PRId64 ", \"step\": %" PRId64 ", \"best_epoch\": %" PRId64, state, m->o->epochs, s->validated, s->step, s->best_epoch));
    UM_GOTO_PASS(st, add_real(&b, "best_weighted", s->best_epoch >= 0 ? s->best_score : NAN));
    UM_GOTO_PASS(st, um_buf_printf(&b, ", \"skipped\": %" PRId64 ", \"replaced\": %" PRId64 "}\n", s->skipped, s->replaced));
    st = um_train_files_status(&m->files, &b);
done:
    um_buf_release(&b);
    return st;
}

static void show(um_train_member *m, const um_train_step *s, bool force)
{
    char words[160];
    int64_t done = m->state.epoch * m->epoch_steps + m->state.epoch_step, total = m->o->epochs * m->epoch_steps;
    if (!m->speaks) return;
    snprintf(words, sizeof words, "%s: epoch %" PRId64 ", step %" PRId64 " of %" PRId64 ", loss %.4f", m->files.name, m->state.epoch, m->state.epoch_step, m->epoch_steps, s->loss);
    um_progress_show(&m->progress, words, done, total, force);
}

/* ---- an epoch ---- */

um_status um_train_member_begin_epoch(um_train_member *m)
{
    int64_t pictures, of_step = m->batch * m->o->accumulate;
    um_status st = um_train_source_epoch(m->source, m->state.epoch, &pictures);
    m->epoch_steps = pictures / of_step;
    if (m->o->batches_per_epoch > 0 && m->epoch_steps > m->o->batches_per_epoch) m->epoch_steps = m->o->batches_per_epoch;
    if (st == UM_OK && m->epoch_steps == 0)
        st = UM_FAIL(UM_CONFIG, "an epoch has %" PRId64 " pictures, fewer than the %" PRId64 " of one step (%" PRId64 " a batch, %" PRId64 " batches): lower optimizer.batch_size or accumulate", pictures, of_step, m->batch, m->o->accumulate);
    if (st == UM_OK) {
        um_loader_run run = {.make = um_train_source_train, .user = m->source, .first_batch = m->state.epoch_step * m->o->accumulate, .end_batch = m->epoch_steps * m->o->accumulate, .stride = m->batch, .offset = m->first,
                             .end = pictures, .n = m->n};
        st = um_loader_begin(m->loader, &run);
    }
    return um_agree(m->w, st, "beginning an epoch");
}

/* A step has ended. */
static void tell(um_train_member *m, const um_train_step *s, watch *from)
{
    watch to = look(m);
    m->epoch_pictures += s->pictures;
    if (m->w->rank == 0 && m->failed == UM_OK) m->failed = log_step(m, s, from, &to);
    *from = to;
    show(m, s, false);
}

/* Ends what is under way. */
static um_status finish_steps(um_train_member *m, watch *from)
{
    um_train_step s;
    for (int n = 1; n > 0;) {
        UM_PASS(um_train_member_end(m, &s, &n));
        if (n > 0) tell(m, &s, from);
    }
    return UM_OK;
}

static um_status train_epoch(um_train_member *m)
{
    um_status st = UM_OK;
    watch from = look(m);
    m->epoch_pictures = 0;
    while (st == UM_OK && m->state.epoch_step + m->n_under_way < m->epoch_steps) {
        um_train_step s;
        int n;
        st = um_train_member_step(m, &s, &n);
        if (n > 0 && st == UM_OK) tell(m, &s, &from);
        if (st != UM_OK || m->o->checkpoint_steps == 0 || (m->state.step + m->n_under_way) % m->o->checkpoint_steps != 0) continue;
        st = finish_steps(m, &from);
        if (st == UM_OK) st = um_agree(m->w, m->failed, "training");
        if (st == UM_OK) st = um_train_member_save(m);
    }
    if (st == UM_OK) st = finish_steps(m, &from);
    else if (st == UM_STOPPED) UM_PASS(finish_steps(m, &from)); /* for the checkpoint */
    um_loader_stop(m->loader);
    return st;
}

/* The divergence of ranks would be silent: what they compute alike is compared once an epoch. */
static um_status check_ranks(um_train_member *m)
{
    size_t n = (size_t)m->graph->param_count * sizeof *m->params;
    uint32_t mine = um_crc32c(0, m->params, n), first = mine;
    if (m->w->size == 1) return UM_OK;
    um_world_bcast(m->w, &first, sizeof first);
    return um_agree(m->w, mine == first ? UM_OK : UM_FAIL(UM_INTERNAL, "this rank's weights are not those of rank 0: do all ranks run the same program on the same kind of processor?"), "comparing ranks");
}

static um_status keep_epoch(um_train_member *m, bool best)
{
    um_model model = {.net = m->plan->net, .size_px = (int)m->o->size_px, .has_head = true, .params = m->average != NULL ? m->average : m->params, .param_count = m->graph->param_count};
    for (int i = 0; i < 3; i++) {
        model.mean[i] = (float)m->o->mean[i];
        model.std[i] = (float)m->o->std[i];
    }
    snprintf(model.source, sizeof model.source, "unmask train, %s, epoch %" PRId64, m->files.name, m->state.epoch);
    return um_train_files_model(&m->files, &model, m->state.epoch, best, m->plan->keep_last);
}

static um_status end_epoch(um_train_member *m, const watch *from)
{
    um_train_score v;
    um_status st = UM_OK;
    UM_PASS(um_train_member_validate(m, &v));
    UM_PASS(um_agree(m->w, m->ops->take(m->trainer), "fetching the weights"));
    UM_PASS(check_ranks(m));
    bool best = v.weighted < m->state.best_score;
    if (best) {
        m->state.best_score = v.weighted;
        m->state.best_epoch = m->state.epoch;
    }
    if (m->w->rank == 0) {
        watch to = look(m);
        st = log_epoch(m, &v, best, from, &to);
        if (st == UM_OK) st = keep_epoch(m, best);
        um_log(UM_LOG_INFO, "%s: epoch %" PRId64 ": loss %.4f; on %" PRId64 " videos: fakes %.4f, reals %.4f, mean %.4f, weighted %.4f%s", m->files.name, m->state.epoch,
               m->state.epoch_counted > 0 ? m->state.epoch_loss / (double)m->state.epoch_counted : NAN, v.videos, v.fake, v.real, v.mean, v.weighted, best ? " (best)" : "");
        if (v.damaged > 0) um_log(UM_LOG_WARN, "%" PRId64 " of %" PRId64 " crops to validate on are damaged", v.damaged, v.crops);
    }
    UM_PASS(um_agree(m->w, st, "keeping the epoch"));
    m->state.epoch++;
    m->state.validated = m->state.epoch;
    m->state.epoch_step = m->state.epoch_counted = 0;
    m->state.epoch_loss = m->state.epoch_fake = m->state.epoch_real = 0;
    UM_PASS(um_train_member_save(m));
    st = m->w->rank == 0 ? write_status(m, "running") : UM_OK;
    return um_agree(m->w, st, "writing the status");
}

static um_status loop(um_train_member *m)
{
    um_status st = UM_OK;
    if (m->w->rank == 0) st = log_run(m);
    UM_PASS(um_agree(m->w, st, "writing the log"));
    um_progress_begin(&m->progress, 0);
    for (bool first = true; m->state.epoch < m->o->epochs; first = false) {
        watch from = look(m);
        UM_PASS(um_train_member_begin_epoch(m));
        if (first) um_progress_begin(&m->progress, m->state.epoch * m->epoch_steps + m->state.epoch_step);
        st = train_epoch(m);
        if (st == UM_OK) st = um_agree(m->w, m->failed, "training");
        if (st == UM_OK) st = end_epoch(m, &from);
        if (st != UM_OK) break;
    }
    um_progress_end(&m->progress);
    bool stopped = st == UM_STOPPED;
    if (!stopped && st != UM_OK) return st;
    if (stopped) UM_PASS(um_train_member_save(m));
    /* Also where there was nothing left to do: a run may have been killed after its last checkpoint. */
    st = m->w->rank == 0 ? write_status(m, stopped ? "stopped" : "complete") : UM_OK;
    UM_PASS(um_agree(m->w, st, "writing the status"));
    if (!stopped) return UM_OK;
    return UM_FAIL(UM_STOPPED, "stopped early, in epoch %" PRId64 " of %" PRId64 ": run the same command again to continue", m->state.epoch, m->o->epochs);
}

um_status um_train_member_run(um_train_member *m)
{
    char kept[UM_ERR_LINES * 128];
    um_status st = um_train_member_open(m);
    if (st == UM_OK) st = loop(m);
    snprintf(kept, sizeof kept, "%s", um_err_text());
    um_status end = um_train_member_close(m);
    if (st == UM_OK || st == UM_STOPPED) {
        end = um_agree(m->w, end, "ending the log");
        if (end != UM_OK) return end;
    }
    return st == UM_OK ? UM_OK : UM_FAIL(st, "%s", kept);
}
