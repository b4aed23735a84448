/* plan: what a stage would take, before it is run: inputs, memory, time, nodes, the command. */
#include "jobs/plan.h"
#include "jobs/preprocess_options.h"
#include "jobs/score_options.h"
#include "jobs/train_options.h"
#include "jobs/stop.h"
#include "src/core/clock.h"
#include "src/core/log.h"
#include "src/core/pool.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIELD(name) offsetof(um_job_plan_options, name)

static const um_opt rows[] = {
    {"nodes", 0, UM_OPT_INT, FIELD(nodes), "1", "N", 1, 65536, .help = "plan: machines to run on"},
    {"ranks-per-node", 0, UM_OPT_INT, FIELD(ranks_per_node), "0", "N", 0, 1024, .help = "plan: ranks on each; 0: one for each of this machine's processors, for train one"},
    {"gpus-per-node", 0, UM_OPT_INT, FIELD(gpus_per_node), "0", "N", 0, 64, .help = "plan: refused above 0: no part of unmask has run on a GPU yet, so that any figure would be a guess"},
    {"no-measure", 0, UM_OPT_FLAG, FIELD(no_measure), NULL, NULL, .help = "plan: work no sample; without --costs nothing is said of time"},
    {"costs", 0, UM_OPT_TEXT, FIELD(costs), NULL, "FILE", .help = "plan: costs from what an earlier plan wrote with --json, instead of a sample; edited ones too"},
    {"sample", 0, UM_OPT_INT, FIELD(sample), "0", "N", 0, 1e6, .help = "plan: work at most N units (train: steps); 0: as many as the time allows"},
    {"sample-seconds", 0, UM_OPT_REAL, FIELD(sample_s), "30", "SECONDS", 0, 86400, .help = "plan: begin no more units when a rank has worked so long"},
    {"headers", 0, UM_OPT_INT, FIELD(headers), "10000", "N", 0, 1e9, .help = "plan: read at most so many headers, drawn by lot; the other files are taken to be like those of about their size; 0: all"},
    {"ranks", 0, UM_OPT_TEXT, FIELD(ranks), NULL, "N,N,...", .help = "plan: a table of wall time and balance for so many ranks, such as 1,2,4,...,4096, by playing the queue through"},
    {"simulate", 0, UM_OPT_FLAG, FIELD(simulate), NULL, NULL, .help = "plan: the same as --ranks 1,2,4,...,4096"},
    {"network", 0, UM_OPT_REAL, FIELD(network_gbit), "100", "GBIT", 0.001, 1e5, .help = "plan: what a link between machines carries, in Gbit/s"},
    {"latency", 0, UM_OPT_REAL, FIELD(latency_us), "20", "US", 0, 1e6, .help = "plan: what a message takes from one machine to another, in microseconds"},
    {"json", 0, UM_OPT_TEXT, FIELD(json), NULL, "FILE", .help = "plan: write the plan as JSON instead of a text; - is the standard output"},
    {NULL},
};

/* The stage's rows, then the plan's. */
static const um_opt *join(const um_job *job, um_opt *table, int max)
{
    int n = 0;
    if (table[0].key != NULL) return table;
    for (const um_opt *o = job->make_options != NULL ? job->make_options() : job->options; o->key != NULL && n < max - 1; o++) table[n++] = *o;
    for (const um_opt *o = rows; o->key != NULL && n < max - 1; o++) {
        table[n] = *o;
        table[n++].offset += um_job_plan_offset(job->options_size);
    }
    return table;
}

um_status um_job_plan_assume(um_job_plan *p, const char *fmt, ...)
{
    char text[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (p->assumption == NULL) p->assumption = json_array();
    json_t *j = json_stringn_nocheck(text, strlen(text));
    return p->assumption == NULL || j == NULL || json_array_append_new(p->assumption, j) != 0 ? UM_FAIL(UM_NO_MEMORY, "no memory for a text") : UM_OK;
}

/* ---- this process ---- */

double um_job_plan_age_s(void)
{
    char line[1024] = "";
    double up = 0, age = 0;
    FILE *f = fopen("/proc/uptime", "re");
    if (f != NULL && fgets(line, sizeof line, f) != NULL) up = strtod(line, NULL);
    if (f != NULL) fclose(f);
    f = fopen("/proc/self/stat", "re");
    if (f != NULL && fgets(line, sizeof line, f) != NULL && strrchr(line, ')') != NULL) {
        const char *at = strrchr(line, ')');
        for (int i = 2; i < 22 && at != NULL; i++) at = strchr(at + 1, ' '); /* field 22: when it was started, in ticks since the machine was */
        if (at != NULL) age = up - strtod(at, NULL) / (double)sysconf(_SC_CLK_TCK);
    }
    if (f != NULL) fclose(f);
    return age > 0 && age < 3600 ? age : 0;
}

/* VmHWM of a process, bytes. */
static double peak_of(long pid)
{
    char path[64], line[256];
    double kb = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", pid);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0) kb = strtod(line + 6, NULL);
    if (f != NULL) fclose(f);
    return 1024 * kb;
}

/* The largest of the processes below `pid`. The kernel may not tell: 0. */
static double peak_below(long pid, int depth)
{
    char path[96];
    double most = 0;
    long child;
    snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", pid, pid);
    FILE *f = fopen(path, "re");
    while (f != NULL && fscanf(f, "%ld", &child) == 1) {
        double own = peak_of(child), below = depth < 4 ? peak_below(child, depth + 1) : 0;
        if (own > most) most = own;
        if (below > most) most = below;
    }
    if (f != NULL) fclose(f);
    return most;
}

void um_job_plan_memory(um_job_plan *p)
{
    double most[2] = {peak_of((long)getpid()), peak_below((long)getpid(), 0)};
    um_world_max_f64(&p->ctx->world, most, 2);
    p->rank_bytes = most[0];
    p->decoder_bytes = most[1];
}

/* ---- the command ---- */

static um_status add_word(um_buf *b, const char *word)
{
    UM_PASS(um_buf_add_str(b, b->len > 0 ? " " : ""));
    if (*word != 0 && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%") == strlen(word)) return um_buf_add_str(b, word);
    UM_PASS(um_buf_add_str(b, "'"));
    for (const char *s = word; *s != 0; s++)
        if (*s == '\'') UM_PASS(um_buf_add_str(b, "'\\''"));
        else UM_PASS(um_buf_add(b, s, 1));
    return um_buf_add_str(b, "'");
}

static const um_opt *options_of(const um_job *job) { return job->make_options != NULL ? job->make_options() : job->options; }

/* Options that are not what they would be without being given: compared with the defaults, and with what --config says. */
static um_status add_options(um_job_plan *p, const char *skip, um_buf *out)
{
    const um_job *job = p->stage->job;
    const um_opt *table = options_of(job);
    um_job_context ctx = {.program = p->ctx->program, .vfs = p->ctx->vfs, .table = table, .common = {.print_config = true}};
    const char *config = NULL;
    um_buf mine = {0}, theirs = {0};
    void *reference = calloc(1, job->options_size + 1);
    json_t *a = NULL, *b = NULL;
    um_status st = reference == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory") : UM_OK;
    for (const um_opt *o = table; o->key != NULL; o++)
        if (strcmp(o->key, "config") == 0) config = *(const char *const *)(const void *)((const char *)p->planned + o->offset);
    const char *const args[2] = {"--config", config};
    int n_args = config != NULL ? 2 : 0;
    if (st == UM_OK) st = um_opt_parse(table, n_args, args, reference, &ctx.operands, &ctx.common);
    if (st == UM_OK && job->complete != NULL) st = job->complete(&ctx, n_args, args, reference);
    if (st == UM_OK) st = um_opt_config(table, p->planned, 0, true, &mine);
    if (st == UM_OK) st = um_opt_config(table, reference, 0, true, &theirs);
    if (st != UM_OK) goto done;
    a = json_loadb((char *)mine.data, mine.len, 0, NULL);
    b = json_loadb((char *)theirs.data, theirs.len, 0, NULL);
    if (a == NULL || b == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for options"));
    for (const um_opt *o = table; o->key != NULL; o++) {
        const char *is = json_string_value(json_object_get(a, o->key)), *was = json_string_value(json_object_get(b, o->key));
        char word[4096];
        if (is == NULL || was == NULL || (strcmp(o->key, "config") == 0 ? config == NULL : strcmp(is, was) == 0) || strcmp(o->key, skip) == 0) continue;
        if (o->type == UM_OPT_TEXTS) {
            const um_texts *t = (const void *)((const char *)p->planned + o->offset);
            for (int i = 0; i < t->n; i++) {
                snprintf(word, sizeof word, "--%s", o->key);
                UM_GOTO_PASS(st, add_word(out, word));
                UM_GOTO_PASS(st, add_word(out, t->text[i]));
            }
        } else if ((o->flags & UM_OPT_SET_ONLY) != 0) {
            snprintf(word, sizeof word, "%s=%s", o->key, is);
            UM_GOTO_PASS(st, add_word(out, "--set"));
            UM_GOTO_PASS(st, add_word(out, word));
        } else {
            snprintf(word, sizeof word, o->type == UM_OPT_FLAG && strcmp(is, "true") != 0 ? "--no-%s" : "--%s", o->key);
            UM_GOTO_PASS(st, add_word(out, word));
            if (o->type != UM_OPT_FLAG) UM_GOTO_PASS(st, add_word(out, is));
        }
    }
done:
    json_decref(a);
    json_decref(b);
    um_buf_release(&mine);
    um_buf_release(&theirs);
    if (reference != NULL) um_opt_release(table, reference);
    free(reference);
    um_texts_release(&ctx.operands);
    um_names_release(&ctx.settings);
    return st;
}

um_status um_job_plan_command(um_job_plan *p, const char *result_key, const char *result, bool result_first, um_buf *out)
{
    char word[64];
    int64_t megabytes = (int64_t)ceil((p->rank_bytes + p->decoder_bytes) * 1.25 / p->n_threads / (256 << 20)) * 256, minutes = (int64_t)ceil((1.5 * p->wall_s / 60 + 10) / 15) * 15;
    UM_PASS(add_word(out, "sbatch"));
    snprintf(word, sizeof word, "--nodes=%d", p->nodes);
    UM_PASS(add_word(out, word));
    snprintf(word, sizeof word, "--ntasks=%d", p->nodes * p->ranks_per_node);
    UM_PASS(add_word(out, word));
    snprintf(word, sizeof word, "--ntasks-per-node=%d", p->ranks_per_node);
    UM_PASS(add_word(out, word));
    snprintf(word, sizeof word, "--cpus-per-task=%d", p->n_threads);
    UM_PASS(add_word(out, word));
    if (megabytes > 0) {
        snprintf(word, sizeof word, "--mem-per-cpu=%" PRId64 "M", megabytes < 512 ? 512 : megabytes);
        UM_PASS(add_word(out, word));
    }
    if (p->have_costs) { /* a longer run goes back into the queue and continues */
        if (minutes > 24 * 60) minutes = 24 * 60;
        snprintf(word, sizeof word, "--time=%02" PRId64 ":%02" PRId64 ":00", minutes / 60, minutes % 60);
        UM_PASS(add_word(out, word));
    }
    UM_PASS(add_word(out, p->stage->script));
    if (result_first) UM_PASS(add_word(out, result));
    for (int i = 0; i < p->ctx->operands.n; i++) UM_PASS(add_word(out, p->ctx->operands.text[i]));
    if (!result_first) UM_PASS(add_word(out, result));
    return add_options(p, result_key, out);
}

/* ---- the plan of a stage with a queue ---- */

um_status um_job_plan_begin(um_job_plan *p)
{
    const um_job_plan_options *o = p->o;
    if (o->gpus_per_node > 0)
        return UM_FAIL(UM_CONFIG, "--gpus-per-node %" PRId64 ": nothing of unmask has run on a GPU yet, so that a plan for GPUs would be a guess; plan without it, for processors", o->gpus_per_node);
    if (o->costs != NULL && access(o->costs, R_OK) != 0) return UM_FAIL(UM_USAGE, "--costs %s: no such file can be read", um_quote(o->costs));
    int ranks[UM_JOB_PLAN_MAX_POINTS], n;
    if (o->ranks != NULL) UM_PASS(um_job_plan_ranks(o->ranks, ranks, &n));
    int processors = um_processors();
    p->nodes = (int)o->nodes;
    p->ranks_per_node = o->ranks_per_node > 0 ? (int)o->ranks_per_node : p->ranks_per_node > 0 ? p->ranks_per_node : processors;
    p->n_threads = (int)p->stage->threads(p, processors, p->ranks_per_node);
    if (p->nodes > 65536 / p->ranks_per_node) return UM_FAIL(UM_USAGE, "%d ranks on each of %d nodes: more than 65536 ranks", p->ranks_per_node, p->nodes);
    return UM_OK;
}

/* Rank 0's listing on all. Collective. */
static um_status ship(um_job_plan *p)
{
    um_world *w = &p->ctx->world;
    int64_t n = (int64_t)p->text.len;
    um_world_bcast(w, &n, sizeof n);
    um_status st = w->rank > 0 ? um_buf_reserve(&p->text, (size_t)n + 1) : UM_OK;
    UM_PASS(um_agree(w, st, "sending the listing"));
    um_world_bcast(w, p->text.data, (size_t)n);
    if (w->rank > 0) {
        p->text.len = (size_t)n;
        p->text.data[n] = 0;
        st = p->stage->take(p);
    }
    return um_agree(w, st, "reading the listing");
}

static um_status look(um_job_plan *p)
{
    double start = um_clock_s();
    UM_PASS(p->stage->list(p));
    p->list_s = um_clock_s() - start;
    if (p->n_units == 0) um_log(UM_LOG_INFO, "there is nothing left to do");
    UM_PASS(um_job_plan_headers(p));
    for (int64_t i = 0; i < p->n_units; i++) p->stage->reckon(p, &p->unit[i]);
    return UM_OK;
}

static um_status assume(um_job_plan *p)
{
    int here = um_processors();
    if (p->n_read < p->n_videos)
        UM_PASS(um_job_plan_assume(p, "the headers of %" PRId64 " of %" PRId64 " files were read, drawn by lot; the others are taken to be like those of about their size", p->n_read, p->n_videos));
    if (p->measured) {
        UM_PASS(um_job_plan_assume(p, "a machine of the cluster is like this one (%d processors), as busy as it was, and reads and writes as fast however many ranks do", here));
        if (p->sample_ranks < p->ranks_per_node)
            UM_PASS(um_job_plan_assume(p, "measured by %d of the %d ranks of a machine: what they take from each other (memory, caches, the decoders' processors) is not in it; mpirun -n %d unmask plan %s ... measures that too", p->sample_ranks,
                                   p->ranks_per_node, p->ranks_per_node, p->stage->job->name));
        if (p->ranks_per_node * p->n_threads > here) UM_PASS(um_job_plan_assume(p, "a machine needs %d processors for its ranks; this one has %d", p->ranks_per_node * p->n_threads, here));
        UM_PASS(um_job_plan_assume(p, "single videos differ from the rates by a factor of exp(%.2f) or so, as in the sample; faces are as many as there", p->spread));
    }
    if (p->have_costs && p->nodes > 1) UM_PASS(um_job_plan_assume(p, "the queue between machines: %g us a message, one that works answers within 50 ms; simulated, not measured", p->o->latency_us));
    return UM_OK;
}

static void release(um_job_plan *p)
{
    for (int64_t i = 0; i < p->n_videos; i++) free(p->video[i].path);
    free(p->video);
    free(p->member);
    free(p->unit);
    free(p->work);
    um_buf_release(&p->text);
    json_decref(p->assumption);
}

static um_status run_queue(um_job_plan *p, const char *result_key, const char *result, bool result_first)
{
    um_world *w = &p->ctx->world;
    um_buf command = {0};
    um_status st;
    p->start_s = um_job_plan_age_s();
    um_stop_install();
    p->work = calloc(1, p->stage->work_bytes);
    st = p->work == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a plan") : um_job_plan_begin(p);
    UM_GOTO_PASS(st, um_agree(w, st, "preparing"));
    st = w->rank == 0 ? look(p) : UM_OK;
    UM_GOTO_PASS(st, um_agree(w, st, "looking at the inputs"));
    UM_GOTO_PASS(st, ship(p));
    p->start_s += p->list_s;
    if (p->o->costs != NULL) UM_GOTO_PASS(st, um_agree(w, um_job_plan_read_costs(p), "reading costs"));
    else if (!p->o->no_measure) UM_GOTO_PASS(st, um_job_plan_measure(p));
    if (w->rank == 0) {
        if (p->have_costs) st = um_job_plan_forecast(p);
        if (st == UM_OK) st = assume(p);
        if (st == UM_OK) st = um_job_plan_command(p, result_key, result, result_first, &command);
        if (st == UM_OK) st = um_job_plan_report(p, (char *)command.data);
    }
    UM_GOTO_PASS(st, um_agree(w, st, "planning"));
done:
    if (p->work != NULL) p->stage->close(p);
    um_buf_release(&command);
    release(p);
    return st;
}

/* ---- the jobs ---- */

enum { MAX_ROWS = 192 };
#define DETAILS                                                                                                                                                                                                          \
    "Takes the arguments of the command it plans. Lists its inputs as it would, reads their headers, works a sample on this machine as the command would, and prints: videos, hours, bytes, memory of a rank, what will be\n" \
    "written, expected wall time and node-hours, what all that rests on, and the line for sbatch. Nothing of the command's own results is written.\n"                                                                     \
    "Measured is with as many ranks as the plan is started with: mpirun -n N, with as many as a machine is to have, is the truest. --ranks 1,2,4,...,4096 plays the queue through (docs/scaling.md).\n"

static const um_opt *preprocess_table(void)
{
    static um_opt table[MAX_ROWS];
    return join(&um_job_preprocess, table, MAX_ROWS);
}

static const um_opt *score_table(void)
{
    static um_opt table[MAX_ROWS];
    return join(&um_job_score, table, MAX_ROWS);
}

static const um_job_plan_options *own(const void *values, size_t size) { return (const um_job_plan_options *)(const void *)((const char *)values + um_job_plan_offset(size)); }

static um_status run_preprocess(um_job_context *ctx, void *values)
{
    const um_preprocess_options *o = values;
    um_job_plan p = {.ctx = ctx, .stage = &um_job_plan_stage_preprocess, .planned = o, .o = own(values, sizeof *o)};
    return run_queue(&p, "store", o->store, false);
}

static um_status run_score(um_job_context *ctx, void *values)
{
    const um_score_options *o = values;
    um_job_plan p = {.ctx = ctx, .stage = &um_job_plan_stage_score, .planned = o, .o = own(values, sizeof *o)};
    return run_queue(&p, "output", o->output != NULL ? o->output : "scores.csv", true);
}

static const um_opt *train_table(void)
{
    static um_opt table[MAX_ROWS];
    return join(&um_job_train, table, MAX_ROWS);
}

static um_status run_train(um_job_context *ctx, void *values) { return um_job_plan_train_run(ctx, values, own(values, sizeof(um_train_options))); }

enum { SIZE_OF_PLAN = sizeof(um_job_plan_options) + 16 };

const um_job um_job_plan_preprocess = {
    .name = "plan preprocess",
    .usage = "plan preprocess ROOT --store DIR [options of preprocess] [--nodes N --ranks-per-node R] [options]",
    .summary = "say what preprocessing will take, before it is run (MPI)",
    .details = DETAILS,
    .make_options = preprocess_table,
    .options_size = sizeof(um_preprocess_options) + SIZE_OF_PLAN,
    .min_operands = 1,
    .max_operands = 1,
    .flags = UM_JOB_MPI | UM_JOB_DECODES | UM_JOB_PROBES,
    .run = run_preprocess,
};

const um_job um_job_plan_score = {
    .name = "plan score",
    .usage = "plan score PATH... [-m MODEL...] [options of score] [--nodes N --ranks-per-node R] [options]",
    .summary = "say what scoring will take, before it is run (MPI)",
    .details = DETAILS,
    .make_options = score_table,
    .options_size = sizeof(um_score_options) + SIZE_OF_PLAN,
    .min_operands = 0,
    .max_operands = -1,
    .flags = UM_JOB_MPI | UM_JOB_DECODES | UM_JOB_PROBES,
    .run = run_score,
};

const um_job um_job_plan_train = {
    .name = "plan train",
    .usage = "plan train --store DIR --folds folds.csv --config FILE.json [options of train] [--nodes N --ranks-per-node R] [options]",
    .summary = "say what training will take, before it is run (MPI)",
    .details = "Takes the arguments of unmask train. Loads the store and the folds, makes some real steps and forward passes of one member with as many ranks as it is started with, and prints: crops, steps, memory of a rank, what the\n"
               "ranks tell each other in a step (counted from the network), expected wall time and node-hours, what all that rests on, and the line for sbatch. Nothing of training's results is written.\n",
    .make_options = train_table,
    .options_size = sizeof(um_train_options) + SIZE_OF_PLAN,
    .min_operands = 0,
    .max_operands = 0,
    .flags = UM_JOB_MPI,
    .complete = um_train_complete,
    .run = run_train,
};
