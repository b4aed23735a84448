/* Curves as SVG. */
#include "jobs/evaluate.h"
#include "src/core/log.h"
#include "src/train/plot.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LOG_BYTES = 1 << 30, NAME = 96 };

static um_status write_plot(um_job_context *ctx, const char *folder, const char *name, const um_plot *p)
{
    um_buf svg = {0}, path = {0};
    um_status st = um_buf_printf(&path, "%s/%s", folder, name);
    if (st == UM_OK) st = um_plot_svg(p, &svg);
    if (st == UM_OK) st = um_vfs_write_whole(ctx->vfs, (char *)path.data, svg.data, svg.len);
    um_buf_release(&svg);
    um_buf_release(&path);
    return st;
}

/* ---- ROC ---- */

static um_status draw_roc(um_job_context *ctx, const char *folder, const um_evaluation *e)
{
    static const double diagonal[2] = {0, 1};
    um_plot p = {.title = "Receiver operating characteristic, videos", .x = {"false positive rate (reals called fake)", 0, 1}, .y = {"true positive rate (fakes called fake)", 0, 1}};
    char label[UM_PLOT_LINES][NAME];
    size_t n = (size_t)e->n_videos, points = 0;
    double *xy = malloc((n + 1) * 2 * UM_PLOT_LINES * sizeof *xy);
    um_scored *s = malloc((n + 1) * sizeof *s);
    um_status st = xy == NULL || s == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a curve") : UM_OK;
    p.line[p.n_lines++] = (um_plot_line){.x = diagonal, .y = diagonal, .n = 2, .colour = -1, .dashed = true};
    for (int i = 0, colour = 0; i < e->n_by && st == UM_OK && p.n_lines < UM_PLOT_LINES; i++) {
        bool last = p.n_lines == UM_PLOT_LINES - 1;
        int k = last ? e->main : i; /* where not all fit in, the one that counts does */
        if (last && e->n_by > UM_PLOT_LINES - 1) um_log(UM_LOG_WARN, "roc.svg shows %d of %d curves", UM_PLOT_LINES - 1, e->n_by);
        double *x = xy + 2 * (n + 1) * (size_t)p.n_lines, *y = x + n + 1;
        size_t m = 0;
        for (size_t v = 0; v < n; v++)
            if (!isnan(e->by[k].video[v])) s[m++] = (um_scored){e->by[k].video[v], e->fake[v], e->group[v]};
        um_scored_sort(s, m);
        points = um_roc(s, m, x, y);
        snprintf(label[p.n_lines], NAME, "%.60s, AUC %.3f", e->by[k].name, e->by[k].of_videos.auc);
        p.line[p.n_lines] = (um_plot_line){.label = label[p.n_lines], .x = x, .y = y, .n = points, .colour = k == e->main ? 0 : ++colour};
        if (points > 0) p.n_lines++;
    }
    if (st == UM_OK && p.n_lines > 1) st = write_plot(ctx, folder, "roc.svg", &p);
    free(xy);
    free(s);
    return st;
}

/* ---- calibration ---- */

static void add_reliability(um_plot *p, const um_scored *s, size_t n, const char *what, char label[NAME], double x[UM_RELIABILITY_BINS], double y[UM_RELIABILITY_BINS])
{
    um_reliability r = um_reliability_of(s, n);
    int m = 0;
    for (int i = 0; i < UM_RELIABILITY_BINS; i++) {
        if (r.bin[i].n == 0) continue;
        x[m] = r.bin[i].mean_p;
        y[m++] = r.bin[i].fakes;
    }
    snprintf(label, NAME, "%.40s, calibration error %.3f", what, r.error);
    p->line[p->n_lines] = (um_plot_line){.label = label, .x = x, .y = y, .n = (size_t)m, .colour = p->n_lines - 1, .marks = true};
    p->n_lines++;
}

static um_status draw_calibration(um_job_context *ctx, const char *folder, const um_evaluation *e, const um_scored *scored, const um_scored *calibrated, size_t n)
{
    static const double diagonal[2] = {0, 1};
    um_plot p = {.title = "Calibration, videos", .x = {"mean score of the videos in a bin", 0, 1}, .y = {"share of fakes among them", 0, 1}};
    char label[2][NAME];
    double x[2][UM_RELIABILITY_BINS], y[2][UM_RELIABILITY_BINS];
    p.line[p.n_lines++] = (um_plot_line){.x = diagonal, .y = diagonal, .n = 2, .colour = -1, .dashed = true};
    add_reliability(&p, scored, n, e->by[e->main].name, label[0], x[0], y[0]);
    if (calibrated != NULL) add_reliability(&p, calibrated, n, "calibrated", label[1], x[1], y[1]);
    return write_plot(ctx, folder, "calibration.svg", &p);
}

/* ---- loss curves ---- */

enum { TRAIN, FAKES, REALS, CURVES };
typedef struct curves {
    double *x, *y[CURVES];
    size_t n;
    double top;
    char name[CURVES][NAME];
} curves;

static double number_of(const json_t *row, const char *key)
{
    const json_t *v = json_object_get(row, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* The epochs of a log.jsonl. A line that is not JSON is damage: the log is ours. */
static um_status read_log(um_job_context *ctx, const char *path, curves *c)
{
    static const char *const key[CURVES] = {"loss", "val_fake", "val_real"};
    void *text = NULL;
    size_t n, lines = 1;
    um_status st = um_vfs_read_whole(ctx->vfs, path, MOST_LOG_BYTES, &text, &n);
    for (size_t i = 0; st == UM_OK && i < n; i++) lines += ((char *)text)[i] == '\n';
    if (st == UM_OK) c->x = malloc(lines * sizeof *c->x);
    for (int k = 0; st == UM_OK && k < CURVES; k++) c->y[k] = malloc(lines * sizeof *c->y[k]);
    if (st == UM_OK && (c->x == NULL || c->y[0] == NULL || c->y[1] == NULL || c->y[2] == NULL)) st = UM_FAIL(UM_NO_MEMORY, "no memory for %zu lines", lines);
    int number = 0;
    for (char *line = text; st == UM_OK && line != NULL && *line != 0;) {
        char *end = strchr(line, '\n');
        if (end != NULL) *end = 0;
        number++;
        json_t *row = json_loads(line, 0, NULL);
        const char *kind = json_string_value(json_object_get(row, "kind"));
        if (row == NULL || kind == NULL) st = UM_FAIL(UM_DATA, "line %d is not one of a training log", number);
        if (st == UM_OK && strcmp(kind, "epoch") == 0) {
            c->x[c->n] = number_of(row, "epoch");
            for (int k = 0; k < CURVES; k++) {
                c->y[k][c->n] = number_of(row, key[k]);
                if (c->y[k][c->n] > c->top) c->top = c->y[k][c->n];
            }
            c->n++;
        }
        json_decref(row);
        line = end != NULL ? end + 1 : NULL;
    }
    free(text);
    return st == UM_OK ? UM_OK : um_err_note(st, "cannot use the log %s", um_quote(path));
}

static um_status draw_losses(um_job_context *ctx, const char *folder, const um_texts *logs)
{
    enum { MOST = UM_PLOT_LINES / CURVES };
    static const char *const what[CURVES] = {"training", "validation, fakes", "validation, reals"};
    curves c[MOST] = {0};
    um_plot p = {.title = "Loss of each epoch", .x = {"epoch", 0, 1}, .y = {"log-loss (nats)", 0, 0.7}, .legend_above = true};
    um_status st = UM_OK;
    int n = logs->n < MOST ? logs->n : MOST;
    if (n < logs->n) um_log(UM_LOG_WARN, "loss.svg shows the first %d of %d logs", n, logs->n);
    for (int i = 0; i < n && st == UM_OK; i++) {
        st = read_log(ctx, logs->text[i], &c[i]);
        if (st != UM_OK) break;
        if (c[i].top > p.y.to) p.y.to = c[i].top;
        if (c[i].n > 0 && c[i].x[c[i].n - 1] > p.x.to) p.x.to = c[i].x[c[i].n - 1];
        for (int k = 0; k < CURVES; k++) {
            if (n > 1) snprintf(c[i].name[k], NAME, "%s, log %d", what[k], i + 1);
            else snprintf(c[i].name[k], NAME, "%s", what[k]);
            p.line[p.n_lines++] = (um_plot_line){.label = c[i].name[k], .x = c[i].x, .y = c[i].y[k], .n = c[i].n, .colour = n > 1 ? i : k, .dashed = n > 1 && k == REALS, .marks = n == 1};
        }
    }
    if (st == UM_OK) st = write_plot(ctx, folder, "loss.svg", &p);
    for (int i = 0; i < n; i++) {
        free(c[i].x);
        for (int k = 0; k < CURVES; k++) free(c[i].y[k]);
    }
    return st;
}

um_status um_evaluate_plots(um_job_context *ctx, const um_evaluate_options *o, const um_evaluation *e, const um_scored *scored, const um_scored *calibrated, size_t n)
{
    UM_PASS(um_vfs_mkdir(ctx->vfs, o->svg));
    if (e->n_by > 0) UM_PASS(draw_roc(ctx, o->svg, e));
    if (n > 0) UM_PASS(draw_calibration(ctx, o->svg, e, scored, calibrated, n));
    return o->logs.n > 0 ? draw_losses(ctx, o->svg, &o->logs) : UM_OK;
}
