/* plan train: no queue: real steps of one member are measured, the rest is counted: steps, pictures to validate, members in turn or side by side, what the ranks tell each other. */
#include "io/outdir.h"
#include "jobs/plan.h"
#include "jobs/stop.h"
#include "jobs/train_member.h"
#include "src/cluster/traffic.h"
#include "src/core/clock.h"
#include "src/core/log.h"
#include "src/nn/net.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct train_plan {
    um_job_plan *p;
    const um_train_options *o;
    um_train_plan plan;
    um_train_data data;
    um_graph *graph;
    um_traffic traffic;
    int member_ranks, n_at_once, n_turns;
    int64_t batch, epoch_pictures, epoch_steps; /* of all ranks of a member */
    double step_s, validate_s;                  /* compute of a step, of a picture to validate on one rank */
    double checkpoint_bytes, epoch_bytes;
    double small_s, gradient_s, epoch_s;
    int64_t n_steps;
    double load_s;
} train_plan;

static int64_t threads(const um_job_plan *p, int processors, int ranks_per_node)
{
    const um_train_options *o = p->planned;
    if (o->threads > 0) return o->threads;
    int64_t n = processors > ranks_per_node ? processors / ranks_per_node : 1;
    return n < UM_NET_MAX_LANES ? n : UM_NET_MAX_LANES;
}

static const um_job_plan_stage stage = {
    .job = &um_job_train,
    .script = "slurm/train.sbatch",
    .part = {{.name = "step", .per = "step"}, {.name = "validation", .per = "picture"}},
    .n_parts = 2,
    .bytes_part = -1,
    .threads = threads,
};

/* ---- what can be counted ---- */

static um_status count(train_plan *t)
{
    um_job_plan *p = t->p;
    const um_train_options *o = t->o;
    um_train_source *source = NULL;
    int ranks = p->nodes * p->ranks_per_node;
    UM_PASS(um_train_plan_make(o, &t->plan));
    UM_PASS(um_efficientnet_graph(&t->plan.net, (int)o->size_px, true, (float)o->drop_path, (float)o->dropout, &t->graph));
    bool together = t->plan.n_seeds == 1 || ranks < t->plan.n_seeds;
    t->n_at_once = together ? 1 : t->plan.n_seeds;
    t->n_turns = together ? t->plan.n_seeds : 1;
    t->member_ranks = ranks / t->n_at_once;
    t->batch = o->batch_size * (o->deterministic ? UM_TRAIN_LANES : t->member_ranks);
    um_traffic_count(t->graph, t->batch, 0, &t->traffic);
    double start = um_clock_s();
    UM_PASS(um_train_data_load(p->ctx->vfs, o, &t->data));
    t->load_s = um_clock_s() - start;
    um_status st = um_train_source_open(&t->data, o, (uint64_t)t->plan.seed[0], t->batch, 1, &source);
    if (st == UM_OK) st = um_train_source_epoch(source, 0, &t->epoch_pictures);
    um_train_source_close(source);
    UM_PASS(st);
    t->epoch_steps = t->epoch_pictures / (t->batch * o->accumulate);
    if (o->batches_per_epoch > 0 && t->epoch_steps > o->batches_per_epoch) t->epoch_steps = o->batches_per_epoch;
    if (t->epoch_steps == 0)
        return UM_FAIL(UM_CONFIG, "an epoch has %" PRId64 " pictures, fewer than the %" PRId64 " of one step of %d ranks: fewer ranks a member, or a smaller optimizer.batch_size", t->epoch_pictures, t->batch * o->accumulate, t->member_ranks);
    int slots = strcmp(o->optimizer, "AdamW") == 0 ? 2 : 1; /* moments beside the parameters */
    t->epoch_bytes = 4.0 * (double)t->graph->param_count;
    t->checkpoint_bytes = (1 + slots + (o->ema > 0)) * t->epoch_bytes;
    for (int i = 0; i < t->data.store.manifest.n_videos; i++) p->bytes += t->data.store.manifest.video[i].size_bytes;
    return UM_OK;
}

/* ---- steps, really ---- */

static um_status steps(train_plan *t, um_train_member *m)
{
    um_job_plan *p = t->p;
    um_world *w = &p->ctx->world;
    double begin = um_clock_s(), sum = 0, first = 0;
    int64_t n = 0, most = p->o->sample > 0 ? p->o->sample : 1000000;
    for (int64_t i = 0; i <= most && m->state.epoch_step < m->epoch_steps; i++) { /* the first one warms up, where another can be had */
        um_train_step s;
        int ended;
        double start = um_clock_s();
        UM_PASS(um_train_member_step(m, &s, &ended));
        double now = um_clock_s(), took = now - start, over = now - begin >= p->o->sample_s;
        if (i == 0) first = took;
        else sum += took, n++;
        um_world_bcast(w, &over, sizeof over); /* all ranks stop after the same step */
        if (over != 0) break;
    }
    if (n == 0) sum = first, n = 1;
    t->n_steps = n;
    t->step_s = sum / (double)n;
    return UM_OK;
}

/* Forward passes with running statistics, of the loader's next pictures. Local. */
static um_status validate(train_plan *t, um_train_member *m)
{
    um_loader_batch b;
    um_loader_run run = {.make = um_train_source_validate, .user = m->source, .first_batch = 0, .end_batch = 1, .stride = m->batch, .offset = m->first, .end = t->data.n_val, .n = m->n};
    UM_PASS(um_loader_begin(m->loader, &run));
    um_status st = um_loader_next(m->loader, &b);
    if (st == UM_OK && b.n > 0) {
        double start = um_clock_s();
        st = m->ops->evaluate(m->trainer, b.images, b.n, m->logit);
        t->validate_s = (um_clock_s() - start) / b.n;
    }
    um_loader_stop(m->loader);
    return st == UM_END ? UM_OK : st;
}

static um_status measure(train_plan *t)
{
    um_job_plan *p = t->p;
    um_world *w = &p->ctx->world;
    um_train_options o = *t->o;
    um_train_plan plan = t->plan;
    um_train_member m = {.ctx = p->ctx, .w = w, .o = &o, .plan = &plan, .data = &t->data, .seed = t->plan.seed[0], .n_threads = p->n_threads};
    char folder[4096] = "";
    const char *temporary = getenv("TMPDIR");
    um_status st = UM_OK;
    if (w->rank == 0) {
        snprintf(folder, sizeof folder, "%s/unmask-plan-XXXXXX", temporary != NULL && *temporary != 0 ? temporary : "/tmp");
        if (mkdtemp(folder) == NULL) st = UM_FAIL(UM_IO, "no folder can be made for the sample: %s", um_quote(folder));
    }
    UM_PASS(um_agree(w, st, "preparing the sample"));
    o.output = folder;
    o.prefix = "";
    o.fresh = false;
    double start = um_clock_s();
    st = um_train_member_open(&m);
    if (st == UM_OK) {
        p->start_s += um_clock_s() - start;
        st = um_train_member_begin_epoch(&m);
        if (st == UM_OK) st = steps(t, &m);
        um_loader_stop(m.loader);
        if (st == UM_OK) st = um_agree(w, validate(t, &m), "measuring validation");
    }
    if (st == UM_OK) um_job_plan_memory(p);
    um_status end = um_train_member_close(&m);
    if (st == UM_OK) st = um_agree(w, end, "ending the sample");
    if (w->rank == 0 && um_tree_remove(folder) != UM_OK) um_err_clear();
    if (st != UM_OK) return st;
    double slowest[2] = {t->step_s, t->validate_s};
    um_world_max_f64(w, slowest, 2);
    t->step_s = slowest[0];
    t->validate_s = slowest[1];
    p->have_costs = p->measured = true;
    p->sample_ranks = w->size;
    memcpy(p->part, stage.part, sizeof p->part);
    p->part[0].rate = t->step_s;
    p->part[1].rate = t->validate_s;
    return UM_OK;
}

/* ---- the whole ---- */

static um_network network(const um_job_plan *p, double gbit)
{
    return (um_network){.latency_s = 1e-6 * p->o->latency_us, .bytes_s = gbit * 1e9 / 8, .sharing = p->ranks_per_node};
}

static void reckon(train_plan *t)
{
    um_job_plan *p = t->p;
    const um_train_options *o = t->o;
    um_network net = network(p, p->o->network_gbit);
    /* What the sample's ranks told each other is in its steps; over machines it is added. */
    if (p->nodes > 1) um_traffic_s(&t->traffic, &net, t->member_ranks, &t->small_s, &t->gradient_s);
    t->epoch_s = (double)t->epoch_steps * (t->step_s + (double)o->accumulate * (t->small_s + t->gradient_s)) + ceil((double)t->data.n_val / t->member_ranks) * t->validate_s;
    p->wall_s = p->start_s + t->load_s + t->n_turns * (double)o->epochs * t->epoch_s;
    int64_t kept = t->plan.keep_last > 0 && t->plan.keep_last < o->epochs ? t->plan.keep_last : o->epochs;
    p->result_bytes = t->plan.n_seeds * ((double)(kept + 1) * t->epoch_bytes + 2 * t->checkpoint_bytes); /* one checkpoint is written while another is there */
}

static um_status assume(train_plan *t)
{
    um_job_plan *p = t->p;
    if (!p->have_costs) return UM_OK;
    UM_PASS(um_job_plan_assume(p, "a machine of the cluster is like this one, as busy as it was"));
    if (p->sample_ranks != p->ranks_per_node)
        UM_PASS(um_job_plan_assume(p, "measured by %d rank(s); a machine has %d: mpirun -n %d unmask plan train ... measures what they take from each other", p->sample_ranks, p->ranks_per_node, p->ranks_per_node));
    if (p->nodes > 1)
        UM_PASS(um_job_plan_assume(p, "a link of %g Gbit/s a machine, shared by its ranks, %g us a message; none of the communication is hidden by computing; formulas of docs/scaling.md, not measured", p->o->network_gbit,
                                   p->o->latency_us));
    return um_job_plan_assume(p, "every epoch has as many pictures as the first; a checkpoint and a model are written in no time");
}

/* Ranks to tell times for: one rank alone tells nobody anything. */
static int told_ranks(const train_plan *t) { return t->member_ranks > 1 ? t->member_ranks : 64; }

static json_t *traffic_json(const train_plan *t)
{
    const um_traffic *c = &t->traffic;
    const double gbit[3] = {10, 100, 200};
    json_t *limits = json_array();
    for (int i = 0; i < 3; i++) {
        um_network net = network(t->p, gbit[i]);
        double small, gradient;
        um_traffic_s(c, &net, told_ranks(t), &small, &gradient);
        json_t *j = json_pack("{s:f, s:i, s:f, s:f}", "gbit_s", gbit[i], "ranks", told_ranks(t), "norms_s", small, "gradients_s", gradient);
        if (t->step_s > 0) json_object_set_new(j, "dominates_from_ranks", json_integer(um_traffic_limit(c, &net, t->step_s, 4096)));
        json_array_append_new(limits, j);
    }
    return json_pack("{s:I, s:I, s:i, s:i, s:I, s:I, s:I, s:i, s:o}", "parameters", (json_int_t)c->parameters, "gradient_bytes", (json_int_t)c->gradient_bytes, "buckets", c->n_buckets, "batch_norms", c->n_norms, "norm_channels",
                     (json_int_t)c->norm_channels, "norm_bytes", (json_int_t)c->norm_bytes, "loss_bytes", (json_int_t)c->loss_bytes, "small_messages", c->n_messages, "networks", limits);
}

static json_t *make_json(const train_plan *t, const char *command)
{
    const um_job_plan *p = t->p;
    json_t *j = json_pack("{s:s, s:s, s:i, s:i, s:i, s:{s:i, s:I, s:I, s:i, s:i}, s:s}", "format", "unmask-plan 1", "stage", "train", "nodes", p->nodes, "ranks_per_node", p->ranks_per_node, "threads", p->n_threads, "inputs", "videos",
                          t->data.n_train_videos + t->data.n_val_videos, "crops", (json_int_t)t->data.n_train, "validation_crops", (json_int_t)t->data.n_val, "train_videos", t->data.n_train_videos, "validation_videos",
                          t->data.n_val_videos, "sbatch", command);
    json_object_set_new(j, "training", json_pack("{s:s, s:i, s:i, s:i, s:I, s:I, s:I, s:I}", "network", t->plan.net.name, "members", t->plan.n_seeds, "members_at_once", t->n_at_once, "member_ranks", t->member_ranks, "batch",
                                                 (json_int_t)t->batch, "epoch_steps", (json_int_t)t->epoch_steps, "epoch_pictures", (json_int_t)t->epoch_pictures, "epochs", (json_int_t)t->o->epochs));
    json_object_set_new(j, "traffic", traffic_json(t));
    json_object_set_new(j, "result_bytes", json_real(p->result_bytes));
    if (p->have_costs) {
        json_object_set_new(j, "costs", json_pack("{s:[{s:s, s:f, s:s}, {s:s, s:f, s:s}], s:f, s:f, s:f}", "parts", "name", "step", "seconds", t->step_s, "per", "step", "name", "validation", "seconds", t->validate_s, "per",
                                                  "picture", "start_s", p->start_s, "memory_rank_bytes", p->rank_bytes, "memory_decoder_bytes", 0.0));
        json_object_set_new(j, "sample", json_pack("{s:b, s:I, s:i}", "measured", (int)p->measured, "steps", (json_int_t)t->n_steps, "ranks", p->sample_ranks));
        json_object_set_new(j, "wall_s", json_real(p->wall_s));
        json_object_set_new(j, "epoch_s", json_real(t->epoch_s));
        json_object_set_new(j, "node_hours", json_real(p->wall_s / 3600 * p->nodes));
    }
    json_object_set(j, "assumptions", p->assumption != NULL ? p->assumption : json_null());
    return j;
}

static um_status say(const train_plan *t, const char *command, um_buf *b)
{
    const um_job_plan *p = t->p;
    const um_traffic *c = &t->traffic;
    char span[24], epoch[24];
    UM_PASS(um_buf_printf(b, "%-12s%" PRId64 " crops of %d videos; %" PRId64 " of %d to validate on\n", "to train on", t->data.n_train, t->data.n_train_videos, t->data.n_val, t->data.n_val_videos));
    UM_PASS(um_buf_printf(b, "%-12s%d of EfficientNet-%s at %" PRId64 " px, %d at once with %d rank(s) each, batch %" PRId64 "; %" PRId64 " epochs of %" PRId64 " steps\n", "members", t->plan.n_seeds, t->plan.net.name, t->o->size_px, t->n_at_once,
                          t->member_ranks, t->batch, t->o->epochs, t->epoch_steps));
    UM_PASS(um_buf_printf(b, "%-12s%.3f GB of models and checkpoints\n", "to write", 1e-9 * p->result_bytes));
    UM_PASS(um_buf_printf(b, "%-12sof a batch: gradients %.1f MB in %d sums; %d batch norms of %" PRId64 " channels %.2f MB in %d sums; loss %" PRId64 " bytes\n", "traffic", 1e-6 * (double)c->gradient_bytes, c->n_buckets, c->n_norms,
                          c->norm_channels, 1e-6 * (double)c->norm_bytes, 2 * c->n_norms, c->loss_bytes));
    for (int i = 0; i < 3; i++) {
        const double gbit[3] = {10, 100, 200};
        um_network net = network(p, gbit[i]);
        double small, gradient;
        um_traffic_s(c, &net, told_ranks(t), &small, &gradient);
        UM_PASS(um_buf_printf(b, "  at %3.0f Gbit/s, %g us: %.4g s of batch norms, %.4g s of gradients a batch on %d ranks", gbit[i], p->o->latency_us, small, gradient, told_ranks(t)));
        int from = t->step_s > 0 ? um_traffic_limit(c, &net, t->step_s, 4096) : 0;
        if (t->step_s <= 0) UM_PASS(um_buf_add_str(b, "\n"));
        else if (from > 0) UM_PASS(um_buf_printf(b, "; takes longer than computing from %d ranks on\n", from));
        else UM_PASS(um_buf_add_str(b, "; shorter than computing up to 4096 ranks\n"));
    }
    if (p->have_costs) {
        um_clock_span(p->wall_s, span);
        um_clock_span(t->epoch_s, epoch);
        if (p->measured) UM_PASS(um_buf_printf(b, "\nmeasured on %" PRId64 " steps, by %d rank(s) with %d thread(s) each:\n", t->n_steps, p->sample_ranks, p->n_threads));
        UM_PASS(um_buf_printf(b, "  step %.4g s, validation %.4g s a picture, start %.3g s\n", t->step_s, t->validate_s, p->start_s + t->load_s));
        UM_PASS(um_buf_printf(b, "%-12s%.0f MB a rank at its highest\n\n", "memory", 1e-6 * p->rank_bytes));
        UM_PASS(um_buf_printf(b, "%-12s%d node(s) with %d rank(s) of %d thread(s): %s, %s an epoch, %.4g node-hours\n", "expected", p->nodes, p->ranks_per_node, p->n_threads, span, epoch, p->wall_s / 3600 * p->nodes));
    } else {
        UM_PASS(um_buf_printf(b, "%-12snothing was measured and no --costs were given: nothing is said of time\n", "expected"));
    }
    if (json_array_size(p->assumption) > 0) UM_PASS(um_buf_add_str(b, "\nassuming that\n"));
    for (size_t i = 0; i < json_array_size(p->assumption); i++) UM_PASS(um_buf_printf(b, "  - %s\n", json_string_value(json_array_get(p->assumption, i))));
    return um_buf_printf(b, "\n%s\n", command);
}

um_status um_job_plan_train_run(um_job_context *ctx, const um_train_options *o, const um_job_plan_options *own)
{
    um_job_plan p = {.ctx = ctx, .stage = &stage, .planned = o, .o = own, .ranks_per_node = 1, .start_s = um_job_plan_age_s()};
    train_plan t = {.p = &p, .o = o};
    um_world *w = &ctx->world;
    um_buf command = {0}, text = {0};
    json_t *json = NULL;
    um_status st = um_job_plan_begin(&p);
    um_stop_install();
    if (st == UM_OK && (own->simulate || own->ranks != NULL)) st = UM_FAIL(UM_USAGE, "--ranks and --simulate play the queue of preprocess and score through; training has none");
    if (st == UM_OK) st = count(&t);
    UM_GOTO_PASS(st, um_agree(w, st, "preparing"));
    if (own->costs != NULL) {
        UM_GOTO_PASS(st, um_agree(w, um_job_plan_read_costs(&p), "reading costs"));
        t.step_s = p.part[0].rate;
        t.validate_s = p.part[1].rate;
    } else if (!own->no_measure) {
        UM_GOTO_PASS(st, measure(&t));
    }
    if (w->rank == 0) {
        reckon(&t);
        st = assume(&t);
        if (st == UM_OK) st = um_job_plan_command(&p, "output", o->output != NULL ? o->output : "models", true, &command);
        if (st == UM_OK) st = say(&t, (char *)command.data, &text);
        json = st == UM_OK ? make_json(&t, (char *)command.data) : NULL;
        if (st == UM_OK) st = um_job_plan_write(&p, json, &text);
        json_decref(json);
    }
    st = um_agree(w, st, "planning");
done:
    um_buf_release(&command);
    um_buf_release(&text);
    um_train_data_release(&t.data);
    um_graph_free(t.graph);
    json_decref(p.assumption);
    return st;
}
