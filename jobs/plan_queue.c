/* Costs of the parts from a sample that is really worked, or from a file; and the whole from them, through a simulation of the queue. */
#include "jobs/console.h"
#include "jobs/plan.h"
#include "jobs/stop.h"
#include "src/cluster/queue_model.h"
#include "src/core/clock.h"
#include "src/core/log.h"
#include "src/core/rng.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the sample ---- */

typedef struct by_key {
    int64_t key, at;
} by_key;

static int compare(const void *a, const void *b)
{
    const by_key *x = a, *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Units by size, visited so that any beginning of the list is spread evenly over all sizes (van der Corput's sequence). Rank 0. n of them: indices in p->unit. */
static um_status order_sample(const um_job_plan *p, int64_t *list, int64_t n)
{
    by_key *o = malloc(((size_t)p->n_units + 1) * sizeof *o);
    bool *taken = calloc((size_t)p->n_units + 1, sizeof *taken);
    um_status st = o == NULL || taken == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " units", p->n_units) : UM_OK;
    if (st == UM_OK) {
        for (int64_t i = 0; i < p->n_units; i++) o[i] = (by_key){p->unit[i].key, i};
        qsort(o, (size_t)p->n_units, sizeof *o, compare);
        int64_t k = 0;
        for (uint32_t i = 1; k < n; i++) {
            double x = 0, f = 0.5;
            for (uint32_t b = i; b > 0; b >>= 1, f /= 2) x += f * (b & 1);
            int64_t at = (int64_t)(x * (double)p->n_units);
            while (taken[at]) at = (at + 1) % p->n_units;
            taken[at] = true;
            list[k++] = o[at].at;
        }
    }
    free(o);
    free(taken);
    return st;
}

typedef struct sample {
    int64_t n;                /* units that may be worked */
    int64_t *unit, *number;   /* [n] indices in p->unit; the stage's numbers */
    double *part_s;           /* [n][UM_JOB_PLAN_PARTS], 0: not worked by this rank; on rank 0 in the end of all */
    double *wall_s;           /* [n] */
} sample;

/* This rank's units: every size-th of the list, until its time is up; one at least. */
static um_status work_sample(um_job_plan *p, sample *s, double *wall_s, double *late_s, double *bytes)
{
    const um_world *w = &p->ctx->world;
    um_progress progress;
    double begin = um_clock_s();
    int64_t written = 0;
    um_progress_begin(&progress, 0);
    for (int64_t i = w->rank; i < s->n; i += w->size) {
        double *part = s->part_s + i * UM_JOB_PLAN_PARTS, start = um_clock_s(), sum = 0;
        if (i > w->rank && start - begin >= p->o->sample_s) break;
        UM_PASS(p->stage->work(p, s->number[i], part));
        s->wall_s[i] = um_clock_s() - start;
        for (int k = 1; k < p->stage->n_parts; k++) sum += part[k];
        part[0] = s->wall_s[i] > sum ? s->wall_s[i] - sum : 0;
        if (*um_stop_flag() != 0) return UM_FAIL(UM_STOPPED, "a signal asked to stop: a plan keeps nothing");
        if (w->rank == 0) um_progress_show(&progress, "working a sample", (int64_t)(1e3 * (um_clock_s() - begin)), (int64_t)(1e3 * p->o->sample_s), false);
    }
    um_progress_end(&progress);
    UM_PASS(p->stage->end(p, late_s, &written));
    *wall_s = um_clock_s() - begin;
    *bytes = (double)written;
    return UM_OK;
}

/* Rank 0: rates, and how far single units are from what these say. */
static void draw_rates(um_job_plan *p, const sample *s, double late_s, double bytes)
{
    const um_job_plan_stage *g = p->stage;
    double spread = 0;
    memcpy(p->part, g->part, sizeof p->part);
    for (int64_t i = 0; i < s->n; i++) {
        const um_job_plan_unit *u = &p->unit[s->unit[i]];
        if (!(s->wall_s[i] > 0)) continue;
        p->n_sample++;
        for (int k = 0; k < g->n_parts; k++) {
            p->part[k].s += s->part_s[i * UM_JOB_PLAN_PARTS + k];
            p->part[k].amount += u->amount[k];
        }
    }
    p->part[g->n_parts - 1].s += late_s;
    for (int k = 0; k < g->n_parts; k++)
        if (p->part[k].amount > 0) p->part[k].rate = p->part[k].s / p->part[k].amount;
    for (int64_t i = 0; i < s->n; i++) {
        double want = 0;
        if (!(s->wall_s[i] > 0)) continue;
        for (int k = 0; k < g->n_parts; k++) want += p->part[k].rate * p->unit[s->unit[i]].amount[k];
        double off = want > 0 ? log(s->wall_s[i] / want) : 0;
        spread += off * off;
    }
    if (p->n_sample > 2) p->spread = sqrt(spread / (double)(p->n_sample - 1));
    if (g->bytes_part >= 0 && p->part[g->bytes_part].amount > 0) p->bytes_per_amount = bytes / p->part[g->bytes_part].amount;
}

um_status um_job_plan_measure(um_job_plan *p)
{
    um_world *w = &p->ctx->world;
    const um_job_plan_stage *g = p->stage;
    sample s = {0};
    double start = um_clock_s(), sums[3] = {0}, longest = 0;
    um_status st = UM_OK;
    UM_PASS(g->open(p));
    p->start_s += um_clock_s() - start;
    s.n = p->n_units < UM_JOB_PLAN_MAX_SAMPLE ? p->n_units : UM_JOB_PLAN_MAX_SAMPLE;
    if (p->o->sample > 0 && s.n > p->o->sample) s.n = p->o->sample;
    um_world_bcast(w, &s.n, sizeof s.n);
    size_t n = (size_t)s.n + 1;
    s.unit = calloc(n, sizeof *s.unit);
    s.number = calloc(n, sizeof *s.number);
    s.part_s = calloc(n * UM_JOB_PLAN_PARTS, sizeof *s.part_s);
    s.wall_s = calloc(n, sizeof *s.wall_s);
    if (s.unit == NULL || s.number == NULL || s.part_s == NULL || s.wall_s == NULL) st = UM_FAIL(UM_NO_MEMORY, "no memory for a sample of %" PRId64, s.n);
    if (st == UM_OK && w->rank == 0) {
        st = order_sample(p, s.unit, s.n);
        for (int64_t i = 0; st == UM_OK && i < s.n; i++) s.number[i] = p->unit[s.unit[i]].number;
        if (st == UM_OK) um_log(UM_LOG_INFO, "working a sample of at most %" PRId64 " units for about %.0f s on %d ranks", s.n, p->o->sample_s, w->size);
    }
    UM_GOTO_PASS(st, um_agree(w, st, "preparing the sample"));
    um_world_bcast(w, s.number, n * sizeof *s.number);
    st = work_sample(p, &s, &sums[0], &sums[1], &sums[2]);
    UM_GOTO_PASS(st, um_agree(w, st, "working the sample"));
    longest = sums[0];
    um_world_max_f64(w, &longest, 1);
    um_world_sum_f64(w, sums, 3);
    um_world_sum_f64(w, s.part_s, (int)(s.n * UM_JOB_PLAN_PARTS));
    um_world_sum_f64(w, s.wall_s, (int)s.n);
    um_job_plan_memory(p);
    if (w->rank == 0) {
        int64_t videos = 0;
        draw_rates(p, &s, sums[1], sums[2]);
        for (int64_t i = 0; i < s.n; i++) videos += s.wall_s[i] > 0 ? p->unit[s.unit[i]].n : 0;
        p->sample_wall_s = longest;
        p->sample_ranks = w->size;
        p->measured = p->have_costs = p->n_sample > 0;
        st = g->finish(p, videos, &p->finish_video_s);
    }
    st = um_agree(w, st, "ending the sample");
done:
    free(s.unit);
    free(s.number);
    free(s.part_s);
    free(s.wall_s);
    return st;
}

/* ---- costs from a file ---- */

static double real(const json_t *j, const char *key)
{
    const json_t *v = json_object_get(j, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

um_status um_job_plan_read_costs(um_job_plan *p)
{
    void *text = NULL;
    size_t n = 0;
    json_t *j = NULL;
    um_status st = um_vfs_read_whole(p->ctx->vfs, p->o->costs, 64 << 20, &text, &n);
    if (st != UM_OK) return um_err_note(st, "cannot read the costs %s", um_quote(p->o->costs));
    j = json_loadb(text, n, 0, NULL);
    const char *stage = json_string_value(json_object_get(j, "stage"));
    const json_t *costs = json_object_get(j, "costs"), *rates = json_object_get(costs, "parts");
    if (stage == NULL || rates == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_DATA, "%s is not what unmask plan --json writes with costs", um_quote(p->o->costs)));
    if (strcmp(stage, p->stage->job->name) != 0) UM_GOTO_PASS(st, UM_FAIL(UM_DATA, "%s holds costs of %s, not of %s", um_quote(p->o->costs), stage, p->stage->job->name));
    memcpy(p->part, p->stage->part, sizeof p->part);
    for (int k = 0; k < p->stage->n_parts; k++) {
        p->part[k].rate = NAN;
        for (size_t i = 0; i < json_array_size(rates); i++) {
            const json_t *r = json_array_get(rates, i);
            const char *name = json_string_value(json_object_get(r, "name"));
            if (name != NULL && strcmp(name, p->part[k].name) == 0) p->part[k].rate = real(r, "seconds");
        }
        if (!(p->part[k].rate >= 0)) UM_GOTO_PASS(st, UM_FAIL(UM_DATA, "%s lacks the cost of %s", um_quote(p->o->costs), p->part[k].name));
    }
    struct {
        const char *key;
        double *to;
    } const more[] = {{"spread", &p->spread}, {"start_s", &p->start_s}, {"result_video_s", &p->finish_video_s}, {"bytes_per_amount", &p->bytes_per_amount}, {"memory_rank_bytes", &p->rank_bytes},
                      {"memory_decoder_bytes", &p->decoder_bytes}, {"memory_machine_bytes", &p->machine_bytes}};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        double v = real(costs, more[i].key);
        *more[i].to = v >= 0 && isfinite(v) ? v : 0;
    }
    p->have_costs = true;
    st = um_job_plan_assume(p, "costs are those of %s, whatever machine that was", um_quote(p->o->costs));
done:
    json_decref(j);
    free(text);
    return st;
}

/* ---- the whole ---- */

um_status um_job_plan_ranks(const char *text, int *out, int *n)
{
    *n = 0;
    bool more = false;
    for (const char *at = text;;) {
        char *end;
        if (strncmp(at, "...", 3) == 0 && *n > 0 && !more && at[3] == ',') {
            more = true;
            at += 4;
            continue;
        }
        long v = strtol(at, &end, 10);
        bool ok = end > at && (*end == 0 || *end == ',') && v >= 1 && v <= UM_QUEUE_MODEL_MAX_RANKS && (*n == 0 || v > out[*n - 1]);
        if (!ok) return UM_FAIL(UM_USAGE, "--ranks %s: rising numbers of ranks from 1 to %d are wanted, such as 1,2,4,...,4096", um_quote(text), UM_QUEUE_MODEL_MAX_RANKS);
        if (more) { /* on in the steps of the last two */
            double by = *n > 1 ? (double)out[*n - 1] / out[*n - 2] : 2;
            while (*n < UM_JOB_PLAN_MAX_POINTS && (double)out[*n - 1] * by < (double)v - .5) {
                out[*n] = (int)((double)out[*n - 1] * by + .5);
                ++*n;
            }
            more = false;
        }
        if (*n == UM_JOB_PLAN_MAX_POINTS) return UM_FAIL(UM_USAGE, "--ranks %s: more than %d numbers", um_quote(text), UM_JOB_PLAN_MAX_POINTS);
        out[(*n)++] = (int)v;
        if (*end == 0) return UM_OK;
        at = end + 1;
    }
}

static um_status play(const um_job_plan *p, const double *cost, const int64_t *key, int n_ranks, um_job_plan_point *out)
{
    um_queue_model m = {.n_ranks = n_ranks, .latency_s = 1e-6 * p->o->latency_us, .poll_s = 0.05};
    um_queue_forecast f;
    UM_PASS(um_queue_model_run(&m, cost, key, p->n_units, &f));
    double alone = p->start_s + p->finish_video_s * (double)p->n_videos;
    *out = (um_job_plan_point){.ranks = n_ranks, .wall_s = alone + f.wall_s, .efficiency = f.efficiency, .bound_s = alone + f.bound_s, .largest_s = f.largest_s, .messages = f.messages, .moved = f.moved};
    return UM_OK;
}

um_status um_job_plan_forecast(um_job_plan *p)
{
    const um_job_plan_stage *g = p->stage;
    double *cost = malloc(((size_t)p->n_units + 1) * sizeof *cost), sum = 0;
    int64_t *key = malloc(((size_t)p->n_units + 1) * sizeof *key);
    um_status st = UM_OK;
    if (cost == NULL || key == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " units", p->n_units));
    um_rng lot = um_rng_stream(2, 0, 0, UM_RNG_PLAN);
    for (int64_t i = 0; i < p->n_units; i++) {
        const um_job_plan_unit *u = &p->unit[i];
        double s = 0;
        for (int k = 0; k < g->n_parts; k++) s += p->part[k].rate * u->amount[k];
        p->total_s += s;
        cost[i] = p->spread > 0 ? s * exp(p->spread * um_rng_normal(&lot)) : s; /* units differ from what their headers say as those of the sample did */
        sum += cost[i];
        key[i] = u->key;
        p->result_bytes += g->bytes_part >= 0 ? p->bytes_per_amount * u->amount[g->bytes_part] : g->bytes_video * (double)u->n;
    }
    for (int64_t i = 0; i < p->n_units && sum > 0; i++) cost[i] *= p->total_s / sum;
    UM_GOTO_PASS(st, play(p, cost, key, p->nodes * p->ranks_per_node, &p->forecast));
    p->wall_s = p->forecast.wall_s;
    if (p->measured && p->n_sample > 2) {
        /* Of the mean of a sample of n from N units, two standard errors; what was itself in the sample is not uncertain. */
        double left = 1 - (double)p->n_sample / (double)p->n_units;
        p->error = 2 * p->spread * sqrt((left > 0 ? left : 0) / (double)p->n_sample);
    }
    int ranks[UM_JOB_PLAN_MAX_POINTS], n = 0;
    if (p->o->simulate || p->o->ranks != NULL) UM_GOTO_PASS(st, um_job_plan_ranks(p->o->ranks != NULL ? p->o->ranks : "1,2,4,...,4096", ranks, &n));
    for (p->n_points = 0; p->n_points < n; p->n_points++) UM_GOTO_PASS(st, play(p, cost, key, ranks[p->n_points], &p->point[p->n_points]));
done:
    free(cost);
    free(key);
    return st;
}
