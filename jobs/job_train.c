/* train: networks learn to tell fakes, from a store, by many ranks together. */
#include "jobs/stop.h"
#include "jobs/train_member.h"
#include "io/codec.h"
#include "jobs/output.h"
#include "src/core/log.h"
#include "src/nn/net.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What is looked at before anything long begins; every rank for itself. */
static um_status check(const um_train_options *o, um_train_plan *plan)
{
    if (o->deterministic && strcmp(o->device, "gpu") == 0) return UM_FAIL(UM_USAGE, "--deterministic is the processors': --device gpu has no virtual ranks");
    UM_PASS(um_train_plan_make(o, plan));
    if (o->output == NULL && o->preview == NULL) return UM_FAIL(UM_USAGE, "-o DIR is missing: where the models go (or --preview FILE.png, to look at pictures only)");
    return UM_OK;
}

/* Rank 0. */
static um_status preview(um_job_context *ctx, const um_train_options *o, const um_train_plan *plan, const um_train_data *d)
{
    um_train_source *s = NULL;
    um_image sheet = {0};
    um_buf png = {0};
    um_codec *codec = um_codec_new();
    int64_t n = 0;
    um_status st = codec == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a picture") : UM_OK;
    if (st == UM_OK) st = um_train_source_open(d, o, (uint64_t)plan->seed[0], 2, 1, &s);
    if (st == UM_OK) st = um_train_source_epoch(s, 0, &n);
    if (st == UM_OK) st = um_train_source_preview(s, &sheet);
    if (st == UM_OK) st = um_codec_encode(codec, UM_CODEC_PNG, 0, &sheet, &png);
    if (st == UM_OK) st = um_vfs_write_whole(ctx->vfs, o->preview, png.data, png.len);
    if (st == UM_OK) um_log(UM_LOG_INFO, "%s shows what augmentation makes of some of the first epoch's %" PRId64 " pictures", um_quote(o->preview), n);
    um_image_free(&sheet);
    um_buf_release(&png);
    um_codec_free(codec);
    um_train_source_close(s);
    return st;
}

static void say_data(const um_train_data *d)
{
    um_log(UM_LOG_INFO, "training on %" PRId64 " crops of %d videos (%" PRId64 " real, %" PRId64 " fake), validating on %" PRId64 " of %d (%" PRId64 " real, %" PRId64 " fake)", d->n_train, d->n_train_videos,
           d->n_train - d->train_fakes, d->train_fakes, d->n_val, d->n_val_videos, d->n_val - d->val_fakes, d->val_fakes);
    if (d->val_fakes == 0 || d->val_fakes == d->n_val) um_log(UM_LOG_WARN, "all crops to validate on are %s: the best epoch is chosen by these alone", d->val_fakes == 0 ? "real" : "fake");
}

static um_status train_member(um_job_context *ctx, um_world *w, const um_train_options *o, const um_train_plan *plan, const um_train_data *d, const um_device *device, int number, bool speaks, int n_threads)
{
    um_train_member m = {.ctx = ctx, .w = w, .o = o, .plan = plan, .data = d, .device = device, .seed = plan->seed[number], .speaks = speaks, .n_threads = n_threads};
    return um_train_member_run(&m);
}

/* Members side by side, each with its part of the ranks, or one after the other with all of them. Collective; the same status on all. */
static um_status train_all(um_job_context *ctx, const um_train_options *o, const um_train_plan *plan, const um_train_data *d, const um_device *device)
{
    um_world *w = &ctx->world;
    um_status st = UM_OK;
    int n_threads = um_world_processors(w);
    if (o->threads > 0) n_threads = (int)o->threads;
    if (n_threads > UM_NET_MAX_LANES) n_threads = UM_NET_MAX_LANES;
    if (plan->n_seeds == 1 || w->size < plan->n_seeds) {
        for (int i = 0; i < plan->n_seeds && st == UM_OK; i++) st = train_member(ctx, w, o, plan, d, device, i, w->rank == 0, n_threads);
        return st;
    }
    if (w->rank == 0 && w->size % plan->n_seeds != 0)
        um_log(UM_LOG_WARN, "%d ranks for %d members: some have one rank more, and so a larger batch (optimizer.batch_size is a rank's)", w->size, plan->n_seeds);
    int number = (int)um_train_cut(plan->n_seeds, w->rank, w->size); /* parts differ by one rank at most */
    um_world part;
    um_world_split(w, number, &part);
    st = train_member(ctx, &part, o, plan, d, device, number, w->rank == 0, n_threads);
    um_world_leave(&part);
    return um_agree(w, st, "training several members");
}

static um_status run(um_job_context *ctx, void *values)
{
    const um_train_options *o = values;
    um_world *w = &ctx->world;
    um_train_plan plan;
    um_train_data d = {0};
    um_device device = {0};
    um_status st;
    um_stop_install();
    w->patience_s = o->patience_s;
    UM_GOTO_PASS(st, um_agree(w, check(o, &plan), "preparing"));
    st = um_train_data_load(ctx->vfs, o, &d);
    if (st == UM_OK) st = um_train_data_check(&d);
    UM_GOTO_PASS(st, um_agree(w, st, "loading the store"));
    if (w->rank == 0) {
        say_data(&d);
        if (o->preview != NULL) st = preview(ctx, o, &plan, &d);
    }
    UM_GOTO_PASS(st, um_agree(w, st, "drawing the preview"));
    if (o->output == NULL) goto done;
    UM_GOTO_PASS(st, um_device_open(ctx, o->deterministic ? "cpu" : o->device, o->share_gpus, &device));
    UM_GOTO_PASS(st, train_all(ctx, o, &plan, &d, &device));
    if (w->rank == 0)
        for (int i = 0; i < plan.n_seeds && st == UM_OK; i++) st = um_job_print("%s/%sseed%" PRId64 ".h5\n", o->output, o->prefix, plan.seed[i]);
    st = um_agree(w, st, "printing");
done:
    um_device_close(&device);
    um_train_data_release(&d);
    return st;
}

const um_job um_job_train = {
    .name = "train",
    .usage = "train --store DIR --folds folds.csv --config FILE.json [--seed 111 | --seeds 111,555,...] -o DIR [options]",
    .summary = "train an ensemble to tell fakes (MPI)",
    .details = "Makes DIR/seed111.h5, the best epoch's model, for unmask score -m DIR; DIR/seed111/ holds each epoch's model, checkpoints, and a log of JSON Lines.\n"
               "The batch is optimizer.batch_size pictures a rank; batch norm, loss and hard examples count over all ranks. The best epoch has the least (1.4 fake + real) / 2, log-losses of the validation videos.\n"
               "The same command continues what was stopped or killed, with any number of ranks: the batch stays as it was begun, and with --deterministic every bit. Another configuration is refused.\n",
    .make_options = um_train_table,
    .options_size = sizeof(um_train_options),
    .min_operands = 0,
    .max_operands = 0,
    .flags = UM_JOB_MPI,
    .complete = um_train_complete,
    .run = run,
};
