/* What a plan says: one JSON object, or a text for people. */
#include "jobs/output.h"
#include "jobs/plan.h"
#include "src/core/clock.h"
#include "src/core/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KINDS = 64 };

typedef struct count { /* of one codec, or one size of pictures */
    char name[32];
    int64_t n;
} count;

static void add(count *list, int *n, const char *name)
{
    int i = 0;
    while (i < *n && strcmp(list[i].name, name) != 0) i++;
    if (i == MAX_KINDS) i = MAX_KINDS - 1; /* the last one gathers the rest */
    if (i == *n) {
        list[i].n = 0;
        snprintf(list[i].name, sizeof list[i].name, "%s", i == MAX_KINDS - 1 ? "other" : name);
        ++*n;
    }
    list[i].n++;
}

static int by_count(const void *a, const void *b)
{
    const count *x = a, *y = b;
    if (x->n != y->n) return x->n > y->n ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void count_kinds(const um_job_plan *p, count *codecs, int *n_codecs, count *sizes, int *n_sizes)
{
    *n_codecs = *n_sizes = 0;
    for (int64_t i = 0; i < p->n_videos; i++) {
        const um_job_plan_video *v = &p->video[i];
        char size[32];
        if (!v->read || v->failed) continue;
        snprintf(size, sizeof size, "%dx%d", v->info.width_px, v->info.height_px);
        add(codecs, n_codecs, v->info.codec);
        add(sizes, n_sizes, size);
    }
    qsort(codecs, (size_t)*n_codecs, sizeof *codecs, by_count);
    qsort(sizes, (size_t)*n_sizes, sizeof *sizes, by_count);
}

static json_t *kinds(const count *list, int n)
{
    json_t *j = json_object();
    for (int i = 0; i < n && j != NULL; i++) json_object_set_new(j, list[i].name, json_integer(list[i].n));
    return j;
}

static json_t *point(const um_job_plan_point *at)
{
    return json_pack("{s:i, s:f, s:f, s:f, s:f, s:I, s:I}", "ranks", at->ranks, "wall_s", at->wall_s, "efficiency", at->efficiency, "bound_s", at->bound_s, "largest_unit_s", at->largest_s, "messages", (json_int_t)at->messages,
                     "units_moved", (json_int_t)at->moved);
}

static double percent_left(const um_job_plan *p) { return 100 * p->error; }

static json_t *make_json(const um_job_plan *p, const char *command, const count *codecs, int n_codecs, const count *sizes, int n_sizes)
{
    json_t *inputs = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:o, s:o}", "videos", (json_int_t)p->n_videos, "units", (json_int_t)p->n_units, "units_all", (json_int_t)p->n_units_all, "bytes", (json_int_t)p->bytes,
                               "headers_read", (json_int_t)p->n_read, "headers_failed", (json_int_t)p->n_failed, "hours", p->hours, "frames", p->frames, "frames_looked_at", p->looked, "codecs", kinds(codecs, n_codecs), "sizes",
                               kinds(sizes, n_sizes));
    json_t *j = json_pack("{s:s, s:s, s:i, s:i, s:i, s:o, s:s}", "format", "unmask-plan 1", "stage", p->stage->job->name, "nodes", p->nodes, "ranks_per_node", p->ranks_per_node, "threads", p->n_threads, "inputs", inputs, "sbatch", command);
    if (p->have_costs) {
        json_t *parts = json_array();
        for (int k = 0; k < p->stage->n_parts; k++)
            json_array_append_new(parts, json_pack("{s:s, s:f, s:s, s:f, s:f}", "name", p->part[k].name, "seconds", p->part[k].rate, "per", p->part[k].per, "sample_s", p->part[k].s, "sample_amount", p->part[k].amount));
        json_object_set_new(j, "costs",
                            json_pack("{s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "parts", parts, "spread", p->spread, "start_s", p->start_s, "result_video_s", p->finish_video_s, "bytes_per_amount", p->bytes_per_amount,
                                      "memory_rank_bytes", p->rank_bytes, "memory_decoder_bytes", p->decoder_bytes, "memory_machine_bytes", p->machine_bytes));
        json_object_set_new(j, "sample", json_pack("{s:b, s:I, s:i, s:f}", "measured", (int)p->measured, "units", (json_int_t)p->n_sample, "ranks", p->sample_ranks, "wall_s", p->sample_wall_s));
        json_object_set_new(j, "work_s", json_real(p->total_s));
        json_object_set_new(j, "result_bytes", json_real(p->result_bytes));
        json_object_set_new(j, "wall_s", json_real(p->wall_s));
        json_object_set_new(j, "error", json_real(p->error));
        json_object_set_new(j, "node_hours", json_real(p->wall_s / 3600 * p->nodes));
        json_object_set_new(j, "forecast", point(&p->forecast));
    }
    if (p->n_points > 0) {
        json_t *table = json_array();
        for (int i = 0; i < p->n_points; i++) json_array_append_new(table, point(&p->point[i]));
        json_object_set_new(j, "simulated", table);
    }
    json_object_set(j, "assumptions", p->assumption != NULL ? p->assumption : json_null());
    return j;
}

static um_status say_kinds(um_buf *b, const char *label, const count *list, int n)
{
    int64_t all = 0;
    for (int i = 0; i < n; i++) all += list[i].n;
    UM_PASS(um_buf_printf(b, "%-12s", label));
    for (int i = 0; i < n && i < 6; i++) UM_PASS(um_buf_printf(b, "%s%s %.0f %%", i > 0 ? ", " : "", list[i].name, 100.0 * (double)list[i].n / (double)all));
    return um_buf_printf(b, "%s\n", n > 6 ? ", ..." : n == 0 ? "-" : "");
}

static um_status say_inputs(const um_job_plan *p, um_buf *b, const count *codecs, int n_codecs, const count *sizes, int n_sizes)
{
    UM_PASS(um_buf_printf(b, "%-12s%" PRId64 " videos in %" PRId64 " units%s", "to do", p->n_videos, p->n_units, p->n_units < p->n_units_all ? "" : "\n"));
    if (p->n_units < p->n_units_all) UM_PASS(um_buf_printf(b, " (%" PRId64 " of %" PRId64 " units are done)\n", p->n_units_all - p->n_units, p->n_units_all));
    UM_PASS(um_buf_printf(b, "%-12s%" PRId64 " read%s, %" PRId64 " could not be\n", "headers", p->n_read, p->n_read < p->n_videos ? " by lot" : "", p->n_failed));
    UM_PASS(um_buf_printf(b, "%-12s%.2f hours, %.0f frames, of which %.0f are looked at\n", "length", p->hours, p->frames, p->looked));
    UM_PASS(um_buf_printf(b, "%-12s%.3f GB to read\n", "bytes", 1e-9 * (double)p->bytes));
    UM_PASS(say_kinds(b, "codecs", codecs, n_codecs));
    return say_kinds(b, "pictures", sizes, n_sizes);
}

static um_status say_costs(const um_job_plan *p, um_buf *b)
{
    double all = 0;
    if (p->measured) UM_PASS(um_buf_printf(b, "\nmeasured on %" PRId64 " units, by %d rank%s with %d thread%s each, in %.1f s:\n", p->n_sample, p->sample_ranks, p->sample_ranks == 1 ? "" : "s", p->n_threads, p->n_threads == 1 ? "" : "s", p->sample_wall_s));
    else UM_PASS(um_buf_printf(b, "\ncosts:\n"));
    for (int k = 0; k < p->stage->n_parts; k++) all += p->part[k].s;
    for (int k = 0; k < p->stage->n_parts; k++) {
        const um_job_plan_part *q = &p->part[k];
        UM_PASS(um_buf_printf(b, "  %-22s %10.4g ms a %s", q->name, 1e3 * q->rate, q->per));
        UM_PASS(all > 0 ? um_buf_printf(b, "   %3.0f %%\n", 100 * q->s / all) : um_buf_add_str(b, "\n"));
    }
    UM_PASS(um_buf_printf(b, "  %-22s %10.4g s, and %.3g ms a video at the end, on rank 0 alone\n", "start, listing", p->start_s, 1e3 * p->finish_video_s));
    UM_PASS(um_buf_printf(b, "%-12s%.0f MB a rank and %.0f MB its decoder, at their highest", "memory", 1e-6 * p->rank_bytes, 1e-6 * p->decoder_bytes));
    UM_PASS(p->machine_bytes > 0 ? um_buf_printf(b, "; of the rank's, %.0f MB of weights are there once a machine\n", 1e-6 * p->machine_bytes) : um_buf_add_str(b, "\n"));
    return um_buf_printf(b, "%-12s%.3f GB\n", "to write", 1e-9 * p->result_bytes);
}

static um_status say_time(const um_job_plan *p, um_buf *b)
{
    char span[24], more[40] = "";
    um_clock_span(p->wall_s, span);
    if (p->error > 0) snprintf(more, sizeof more, " (+- %.0f %% by the sample)", percent_left(p));
    UM_PASS(um_buf_printf(b, "\n%-12s%d node%s with %d rank%s of %d thread%s: %s%s, %.4g node-hours; ranks at work %.0f %% of the time\n", "expected", p->nodes, p->nodes == 1 ? "" : "s", p->ranks_per_node,
                          p->ranks_per_node == 1 ? "" : "s", p->n_threads, p->n_threads == 1 ? "" : "s", span, more, p->wall_s / 3600 * p->nodes,
                          100 * p->forecast.efficiency));
    um_clock_span(p->forecast.bound_s, span);
    UM_PASS(um_buf_printf(b, "%-12sno order of work is faster than %s with these ranks; the largest unit takes %.3g s\n", "limit", span, p->forecast.largest_s));
    if (p->n_points == 0) return UM_OK;
    UM_PASS(um_buf_printf(b, "\n%8s  %14s  %14s  %8s  %10s  %10s\n", "ranks", "wall", "limit", "at work", "messages", "moved"));
    for (int i = 0; i < p->n_points; i++) {
        const um_job_plan_point *at = &p->point[i];
        char wall[24], bound[24];
        um_clock_span(at->wall_s, wall);
        um_clock_span(at->bound_s, bound);
        UM_PASS(um_buf_printf(b, "%8d  %14s  %14s  %6.1f %%  %10" PRId64 "  %10" PRId64 "\n", at->ranks, wall, bound, 100 * at->efficiency, at->messages, at->moved));
    }
    return UM_OK;
}

static um_status make_text(const um_job_plan *p, const char *command, const count *codecs, int n_codecs, const count *sizes, int n_sizes, um_buf *b)
{
    UM_PASS(say_inputs(p, b, codecs, n_codecs, sizes, n_sizes));
    if (p->have_costs) {
        UM_PASS(say_costs(p, b));
        UM_PASS(say_time(p, b));
    } else {
        UM_PASS(um_buf_printf(b, "%-12snothing was measured and no --costs were given: nothing is said of time\n", "expected"));
    }
    if (json_array_size(p->assumption) > 0) UM_PASS(um_buf_add_str(b, "\nassuming that\n"));
    for (size_t i = 0; i < json_array_size(p->assumption); i++) UM_PASS(um_buf_printf(b, "  - %s\n", json_string_value(json_array_get(p->assumption, i))));
    return um_buf_printf(b, "\n%s\n", command);
}

um_status um_job_plan_write(um_job_plan *p, json_t *json, const um_buf *text)
{
    um_output out;
    um_buf line = {0};
    char *dumped = NULL;
    if (p->o->json == NULL) return um_job_print("%s", (const char *)text->data);
    um_status st = json != NULL && (dumped = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9))) != NULL ? UM_OK : UM_FAIL(UM_NO_MEMORY, "no memory for a plan");
    if (st == UM_OK) st = um_buf_printf(&line, "%s\n", dumped);
    if (st == UM_OK) st = um_output_open(p->ctx->vfs, p->o->json, &out);
    if (st == UM_OK) st = um_output_end(&out, um_output_add(&out, &line));
    um_buf_release(&line);
    free(dumped);
    return st;
}

um_status um_job_plan_report(um_job_plan *p, const char *command)
{
    count codecs[MAX_KINDS], sizes[MAX_KINDS];
    int n_codecs, n_sizes;
    um_buf text = {0};
    count_kinds(p, codecs, &n_codecs, sizes, &n_sizes);
    json_t *json = make_json(p, command, codecs, n_codecs, sizes, n_sizes);
    um_status st = make_text(p, command, codecs, n_codecs, sizes, n_sizes, &text);
    if (st == UM_OK) st = um_job_plan_write(p, json, &text);
    json_decref(json);
    um_buf_release(&text);
    return st;
}
