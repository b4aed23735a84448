/* What a member works with, made on all its ranks together, and the state it goes on from. */
#include "jobs/train_member.h"

#include "io/model.h"
#include "jobs/versions.h"
#include "src/core/cpu.h"
#include "src/core/log.h"
#include "src/nn/init.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the configuration that may not change ---- */

static bool set_text(json_t *j, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static bool set_text(json_t *j, const char *key, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return n >= 0 && (size_t)n < sizeof text && json_object_set_new(j, key, json_string(text)) == 0;
}

/* The table's frozen rows, and what they do not say: the crops, the first weights, the seed; with --deterministic what decides bits. */
static um_status frozen_config(const um_train_member *m, const char *init, um_buf *out)
{
    um_buf rows = {0};
    um_status st = um_opt_config(um_train_table(), m->o, UM_OPT_FROZEN, true, &rows);
    if (st == UM_OK) {
        char *text = NULL;
        json_t *j = json_loadb((char *)rows.data, rows.len, 0, NULL);
        bool ok = j != NULL && set_text(j, "encoder", "%s", m->plan->net.name) && set_text(j, "seed", "%" PRId64, m->seed) && set_text(j, "crops", "%s", m->data->digest) && set_text(j, "init", "%s", init);
            if (m->plan->schedule.type == UM_SCHEDULE_COSINE && m->plan->schedule.max_iter == 0) ok = ok && set_text(j, "optimizer.schedule.epochs", "%" PRId64, m->o->epochs); /* it ends with them */
        if (m->o->deterministic)
            ok = ok && set_text(j, "precision", "%s", m->precision) && set_text(j, "instruction set", "%s", um_cpu_level_name(um_cpu_level_get())) && set_text(j, "c library", "%s", um_version_libc()) &&
                 set_text(j, "unmask", "%s", UNMASK_VERSION);
        if (ok) text = json_dumps(j, JSON_SORT_KEYS);
        st = text == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for the configuration") : um_buf_add_str(out, text);
        free(text);
        json_decref(j);
    }
    um_buf_release(&rows);
    return st;
}

/* ---- first weights ---- */

/* Random, then what the file has, name by name. name: "random", or the file's fingerprint. */
static um_status first_weights(um_train_member *m, char name[32])
{
    um_model init = {0};
    um_graph *g = NULL;
    um_status st = UM_OK;
    snprintf(name, 32, "random");
    um_graph_init(m->graph, (uint64_t)m->seed, m->params);
    if (m->o->init == NULL) return UM_OK;
    UM_GOTO_PASS(st, um_model_read(m->ctx->vfs, m->o->init, &init));
    if (init.net.width != m->plan->net.width || init.net.depth != m->plan->net.depth)
        UM_GOTO_PASS(st, UM_FAIL(UM_DATA, "--init %s is a %s, the configuration's encoder is %s", um_quote(m->o->init), init.net.name, m->plan->net.name));
    UM_GOTO_PASS(st, um_efficientnet_graph(&init.net, init.size_px, init.has_head, 0, 0, &g));
    for (int i = 0; i < g->n_params; i++) {
        int to = um_graph_find_param(m->graph, g->param[i].name);
        if (to < 0 || m->graph->param[to].count != g->param[i].count) UM_GOTO_PASS(st, UM_FAIL(UM_DATA, "--init %s: the tensor %s does not fit", um_quote(m->o->init), g->param[i].name));
        memcpy(m->params + m->graph->param[to].offset, init.params + g->param[i].offset, (size_t)g->param[i].count * sizeof *m->params);
    }
    snprintf(name, 32, "%s", init.fingerprint);
    um_log(UM_LOG_INFO, "begins with the weights of %s%s", um_quote(m->o->init), init.has_head ? "" : " (an encoder: the head is random)");
done:
    um_graph_free(g);
    um_model_release(&init);
    return st;
}

/* ---- the state ---- */

static int64_t batch_of(const um_train_member *m) { return m->o->batch_size * (m->o->deterministic ? UM_TRAIN_LANES : m->w->size); }

/* Rank 0: files, weights, or the newest checkpoint. */
static um_status find_state(um_train_member *m)
{
    um_buf config = {0};
    char init[32];
    um_optim_state *optim = um_optim_get_state(m->optim);
    um_checkpoint c = {0};
    um_status st;
    UM_GOTO_PASS(st, first_weights(m, init));
    UM_GOTO_PASS(st, frozen_config(m, init, &config));
    UM_GOTO_PASS(st, um_train_files_open(m->ctx->vfs, m->o->output, m->o->prefix, m->seed, m->o->fresh, (char *)config.data, &m->files));
    st = um_checkpoint_load(m->ctx->vfs, m->files.folder, m->graph, &c);
    if (st == UM_END) {
        st = UM_OK;
        m->state = (um_checkpoint){.seed = m->seed, .batch_pictures = batch_of(m), .lanes = m->o->deterministic ? UM_TRAIN_LANES : 0, .best_epoch = -1, .best_score = INFINITY};
        m->state.config = strdup((char *)config.data);
        if (m->state.config == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for a configuration"));
        if (m->average != NULL) memcpy(m->average, m->params, (size_t)m->graph->param_count * sizeof *m->average);
        if (m->o->init == NULL)
            um_log(UM_LOG_WARN, "WITHOUT --init THE NETWORK BEGINS WITH RANDOM WEIGHTS. The published results begin with timm's tf_efficientnet_%s_ns (ImageNet, noisy student); from nothing a large network "
                                "needs far more data. Get timm's file, then: unmask import classifier FILE -o encoder.h5, and --init encoder.h5", m->plan->net.name);
        goto done;
    }
    if (st != UM_OK) goto done;
    size_t n = (size_t)m->graph->param_count * sizeof(float);
    for (int i = 0; i < UM_OPTIM_SLOTS; i++) {
        if ((c.slot[i] == NULL) != (optim->slot[i] == NULL)) UM_GOTO_PASS(st, UM_FAIL(UM_DATA, "the checkpoint in %s is of another optimiser", um_quote(m->files.folder)));
        if (c.slot[i] != NULL) memcpy(optim->slot[i], c.slot[i], n);
    }
    if ((c.average == NULL) != (m->average == NULL)) UM_GOTO_PASS(st, UM_FAIL(UM_DATA, "the checkpoint in %s %s a moving average", um_quote(m->files.folder), c.average != NULL ? "has" : "lacks"));
    memcpy(m->params, c.params, n);
    if (m->average != NULL) memcpy(m->average, c.average, n);
    m->state = c;
    m->state.params = m->state.average = NULL;
    for (int i = 0; i < UM_OPTIM_SLOTS; i++) m->state.slot[i] = NULL;
    c.config = NULL; /* the state's now */
    um_log(UM_LOG_INFO, "going on with %s at epoch %" PRId64 ", step %" PRId64, um_quote(m->files.name), m->state.epoch, m->state.step);
done:
    if (st != UM_OK || c.config == NULL) um_checkpoint_release(&c);
    um_buf_release(&config);
    return st;
}

/* Rank 0's state on all. */
static void share_state(um_train_member *m)
{
    um_optim_state *optim = um_optim_get_state(m->optim);
    size_t n = (size_t)m->graph->param_count * sizeof(float);
    char *config = m->state.config;
    um_world_bcast(m->w, &m->state, sizeof m->state);
    m->state.config = config; /* rank 0's own */
    um_world_bcast(m->w, m->params, n);
    for (int i = 0; i < UM_OPTIM_SLOTS; i++)
        if (optim->slot[i] != NULL) um_world_bcast(m->w, optim->slot[i], n);
    if (m->average != NULL) um_world_bcast(m->w, m->average, n);
    optim->n_head = m->state.head_updates;
    optim->n_encoder = m->state.encoder_updates;
}

/* ---- machinery ---- */

/* bf16 where it is asked for and all ranks have it. Collective. */
static um_dtype choose_precision(um_train_member *m)
{
    bool wanted = strcmp(m->o->precision, "bf16") == 0 || (strcmp(m->o->precision, "auto") == 0 && m->o->fp16);
    if (!wanted) return UM_F32;
    int64_t lacking = !m->ops->has(UM_BF16);
    um_world_sum_i64(m->w, &lacking, 1);
    um_world_bcast(m->w, &lacking, sizeof lacking);
    if (lacking == 0) return UM_BF16;
    if (m->w->rank == 0)
        um_log(strcmp(m->o->precision, "bf16") == 0 ? UM_LOG_WARN : UM_LOG_INFO, "%s: bf16 is not to be had for training on %" PRId64 " of %d ranks: f32 is used", m->o->fp16 ? "fp16" : "precision", lacking, m->w->size);
    return UM_F32;
}

/* Rank 0's names for the ranks' sums, to all. Collective. */
static um_status share_ids(um_train_member *m)
{
    um_status st = UM_OK;
    if (!um_train_member_on_gpus(m) || m->w->size == 1) return UM_OK;
    for (int i = 0; i < UM_TRAINER_IDS && m->w->rank == 0 && st == UM_OK; i++) st = m->device->module->comm_id(m->ids[i]);
    UM_PASS(um_agree(m->w, st, "preparing sums over ranks"));
    um_world_bcast(m->w, m->ids, sizeof m->ids);
    return UM_OK;
}

static um_status make_trainer(um_train_member *m, um_dtype precision)
{
    um_trainer_options o = {.precision = precision, .n = m->n, .batch = m->batch, .first = m->first, .rounds = (int)m->o->accumulate, .bn_momentum = (float)m->o->bn_momentum, .loss = m->plan->loss, .clip = m->o->clip,
                            .max_loss = m->o->max_loss, .ema = m->o->ema, .n_lanes = m->n_lanes, .pool = m->pool, .comm = m->w->size > 1 ? &m->comm : NULL, .rank = m->w->rank, .size = m->w->size, .optim = m->plan->optim, .ids = m->ids, .patience_s = m->o->patience_s, .in_order = m->o->in_order};
    o.loss.ohem_k = m->o->ohem_samples * m->batch / m->o->batch_size;
    for (int i = 0; i < 3; i++) {
        o.mean[i] = (float)m->o->mean[i];
        o.std[i] = (float)m->o->std[i];
    }
    return m->ops->open(m->graph, &o, &m->trainer);
}

static um_status begin_training(um_train_member *m)
{
    m->trained = (um_trainer_state){.params = m->params, .average = m->average, .optim = m->optim, .remembered = um_optim_get_state(m->optim), .average_updates = m->state.average_updates};
    um_status st = m->ops->join(m->trainer);
    if (st != UM_OK) um_world_lost(m->w, st == UM_STOPPED);
    return m->ops->put(m->trainer, &m->trained);
}

static um_status make_memory(um_train_member *m)
{
    size_t b = (size_t)m->batch + 1;
    m->message = malloc(2 * b * sizeof *m->message);
    m->logit = malloc(b * sizeof *m->logit);
    m->target = malloc(b * sizeof *m->target);
    m->weight = malloc(b);
    return m->message != NULL && m->logit != NULL && m->target != NULL && m->weight != NULL ? UM_OK : UM_FAIL(UM_NO_MEMORY, "no memory for batches of %" PRId64 " pictures", m->batch);
}

/* A schedule that ends with the training. */
static um_status finish_schedule(um_train_member *m)
{
    int64_t pictures, steps;
    UM_PASS(um_train_source_epoch(m->source, 0, &pictures));
    steps = pictures / (m->batch * m->o->accumulate);
    if (m->o->batches_per_epoch > 0 && steps > m->o->batches_per_epoch) steps = m->o->batches_per_epoch;
    m->schedule = m->plan->schedule;
    if (m->schedule.type == UM_SCHEDULE_COSINE && m->schedule.max_iter == 0) m->schedule.max_iter = (double)(m->o->epochs * (m->schedule.per_epoch || steps == 0 ? 1 : steps));
    return UM_OK;
}

um_status um_train_member_open(um_train_member *m)
{
    um_world *w = m->w;
    um_status st = UM_OK;
    if (m->o->deterministic && w->size != 1 && w->size != 2 && w->size != 4) st = UM_FAIL(UM_USAGE, "--deterministic works with 1, 2 or 4 ranks a member, not %d", w->size);
    UM_PASS(um_agree(w, st, "preparing"));
    m->ops = m->device != NULL && m->device->module != NULL ? m->device->module->trainer : &um_trainer_cpu;
    um_dtype precision = choose_precision(m);
    m->precision = precision == UM_BF16 ? "bf16" : "f32";
    st = um_efficientnet_graph(&m->plan->net, (int)m->o->size_px, true, (float)m->o->drop_path, (float)m->o->dropout, &m->graph);
    if (st == UM_OK) {
        m->params = calloc((size_t)m->graph->param_count, sizeof *m->params);
        if (m->o->ema > 0) m->average = calloc((size_t)m->graph->param_count, sizeof *m->average);
        if (m->params == NULL || (m->o->ema > 0 && m->average == NULL)) st = UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " parameters", m->graph->param_count);
    }
    if (st == UM_OK) st = um_pool_new(m->n_threads, &m->pool);
    if (st == UM_OK) st = um_optim_new(m->graph, &m->plan->optim, m->pool, &m->optim);
    if (st == UM_OK && w->rank == 0) st = find_state(m);
    UM_PASS(um_agree(w, st, "preparing"));
    share_state(m);

    m->batch = m->state.batch_pictures;
    m->first = um_train_cut(m->batch, w->rank, w->size);
    m->n = (int)(um_train_cut(m->batch, w->rank + 1, w->size) - m->first);
    m->n_lanes = m->o->deterministic ? UM_TRAIN_LANES / w->size : m->n_threads < m->n || m->n == 0 ? m->n_threads : m->n;
    if (w->size > 1) UM_PASS(um_mpi_comm_open(w, m->o->deterministic, &m->comm));
    st = make_memory(m);
    if (st == UM_OK) st = make_trainer(m, precision);
    UM_PASS(um_agree(w, st, "preparing"));
    UM_PASS(share_ids(m));
    st = begin_training(m);
    if (st == UM_OK) st = um_train_source_open(m->data, m->o, (uint64_t)m->seed, m->batch, m->n_threads, &m->source);
    if (st == UM_OK) st = finish_schedule(m);
    um_loader_options loader = {.n_threads = m->n_threads, .depth = (int)m->o->ahead + 1, .max_batch = m->n, .image_bytes = (size_t)m->o->size_px * (size_t)m->o->size_px * 3};
    if (st == UM_OK) st = um_loader_new(&loader, &m->loader);
    if (st == UM_OK && w->rank == 0) st = um_train_files_log_begin(&m->files, m->state.step, m->state.validated);
    UM_PASS(um_agree(w, st, "preparing"));
    if (w->rank == 0) um_log(UM_LOG_INFO, "%s", um_train_source_words(m->source));
    if (w->rank == 0)
        um_log(UM_LOG_INFO, "%s: EfficientNet-%s at %" PRId64 " px, %" PRId64 " parameters, %s, seed %" PRId64 "; %d ranks with %d threads, %" PRId64 " pictures a batch; memory of a rank%s: %.0f MB", um_quote(m->files.name),
               m->plan->net.name, m->o->size_px, m->graph->param_count, m->precision, m->seed, w->size, m->n_threads, m->batch, um_train_member_on_gpus(m) ? "'s GPU" : "", (double)m->ops->bytes(m->trainer) / 1e6);
    return UM_OK;
}

um_status um_train_member_close(um_train_member *m)
{
    um_loader_free(m->loader);
    um_train_source_close(m->source);
    if (m->ops != NULL) m->ops->close(m->trainer);
    um_optim_free(m->optim);
    um_pool_free(m->pool);
    um_graph_free(m->graph);
    um_status st = um_train_files_close(&m->files);
    um_mpi_comm_close(&m->comm);
    free(m->state.config);
    free(m->params);
    free(m->average);
    free(m->message);
    free(m->logit);
    free(m->target);
    free(m->weight);
    return st;
}

um_status um_train_member_save(um_train_member *m)
{
    um_status st = UM_OK;
    if (m->w->rank == 0) st = m->ops->take(m->trainer);
    if (m->w->rank == 0 && st == UM_OK) {
        const um_optim_state *optim = um_optim_get_state(m->optim);
        m->state.average_updates = m->trained.average_updates;
        um_checkpoint c = m->state;
        c.param_count = m->graph->param_count;
        c.params = m->params;
        c.average = m->average;
        c.head_updates = optim->n_head;
        c.encoder_updates = optim->n_encoder;
        for (int i = 0; i < UM_OPTIM_SLOTS; i++) c.slot[i] = optim->slot[i];
        st = um_train_files_log_sync(&m->files);
        if (st == UM_OK) st = um_checkpoint_save(m->ctx->vfs, m->files.folder, m->graph, &c);
    }
    return um_agree(m->w, st, "writing a checkpoint");
}
