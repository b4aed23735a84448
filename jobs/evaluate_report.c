/* Metrics, tables, files. */
#include "io/jsontext.h"
#include "jobs/evaluate.h"
#include "jobs/output.h"
#include "src/core/log.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CALIBRATION_BYTES = 1 << 16 };

typedef struct report {
    um_job_context *ctx;
    const um_evaluate_options *o;
    um_evaluation *e;
    um_scored *main, *after; /* of e->main, sorted; after: calibrated, NULL without */
    size_t n;                /* videos that it has a number for */
    um_metrics low, high, calibrated;
    int rounds;
    bool fitted, applied;
    um_calibration calibration;
} report;

static size_t collect(const double *p, const bool *fake, const int32_t *group, const int32_t *of, int64_t n, um_scored *s)
{
    size_t m = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t v = of != NULL ? of[i] : i;
        if (!isnan(p[i])) s[m++] = (um_scored){p[i], fake[v], group[v]};
    }
    um_scored_sort(s, m);
    return m;
}

static um_status measure_all(um_evaluation *e)
{
    int64_t most = e->n_frames > e->n_videos ? e->n_frames : e->n_videos;
    um_scored *s = malloc(((size_t)most + 1) * sizeof *s);
    if (s == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " scores", most);
    for (int i = 0; i < e->n_by; i++) {
        um_evaluated *by = &e->by[i];
        by->of_videos = um_metrics_of(s, collect(by->video, e->fake, e->group, NULL, e->n_videos, s), NULL);
        if (by->frame != NULL) by->of_frames = um_metrics_of(s, collect(by->frame, e->fake, e->group, e->video_of_frame, e->n_frames, s), NULL);
        if (i < e->n_models && !isnan(by->of_videos.weighted) && (e->best < 0 || by->of_videos.weighted < e->by[e->best].of_videos.weighted)) e->best = i;
    }
    free(s);
    e->main = e->n_models == 1 ? 0 : e->n_by - 1; /* the ensemble is last */
    return UM_OK;
}

/* ---- calibration ---- */

static um_status read_calibration(um_job_context *ctx, const char *path, um_calibration *out)
{
    void *text;
    size_t n;
    UM_TRY(um_vfs_read_whole(ctx->vfs, path, MOST_CALIBRATION_BYTES, &text, &n), "cannot read the calibration %s", um_quote(path));
    json_t *j = json_loadb(text, n, 0, NULL);
    const json_t *scale = json_object_get(j, "scale"), *offset = json_object_get(j, "offset");
    bool ok = json_is_number(scale) && json_is_number(offset);
    if (ok) *out = (um_calibration){json_number_value(scale), json_number_value(offset)};
    json_decref(j);
    free(text);
    return ok && out->scale > 0 ? UM_OK : UM_FAIL(UM_DATA, "%s is no calibration: a JSON object with scale (above 0) and offset is wanted, as --fit-calibration writes it", um_quote(path));
}

static um_status calibrate(report *r)
{
    if (r->o->calibration == NULL && r->o->fit_calibration == NULL) return UM_OK;
    if (r->o->calibration != NULL) UM_PASS(read_calibration(r->ctx, r->o->calibration, &r->calibration));
    else UM_TRY(um_calibration_fit(r->main, r->n, &r->calibration), "cannot fit a calibration");
    r->applied = r->o->calibration != NULL;
    r->fitted = !r->applied;
    r->after = malloc((r->n + 1) * sizeof *r->after);
    if (r->after == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %zu scores", r->n);
    for (size_t i = 0; i < r->n; i++) {
        r->after[i] = r->main[i];
        r->after[i].p = um_calibrate(&r->calibration, r->main[i].p);
    }
    um_scored_sort(r->after, r->n);
    r->calibrated = um_metrics_of(r->after, r->n, NULL);
    return UM_OK;
}

static um_status write_calibration(const report *r)
{
    um_buf b = {0};
    const um_metrics *m = &r->e->by[r->e->main].of_videos;
    um_status st;
    UM_GOTO_PASS(st, um_buf_add_str(&b, "{\"scale\": "));
    UM_GOTO_PASS(st, um_buf_add_real(&b, r->calibration.scale));
    UM_GOTO_PASS(st, um_buf_add_str(&b, ", \"offset\": "));
    UM_GOTO_PASS(st, um_buf_add_real(&b, r->calibration.offset));
    UM_GOTO_PASS(st, um_buf_printf(&b, ", \"videos\": %" PRId64 ", \"mean_log_loss_before\": %.6f, \"mean_log_loss_after\": %.6f}\n", m->n_fake + m->n_real, m->mean, r->calibrated.mean));
    st = um_vfs_write_whole(r->ctx->vfs, r->o->fit_calibration, b.data, b.len);
done:
    um_buf_release(&b);
    return st;
}

/* ---- for people ---- */

static const char *cell(double v, char out[16])
{
    if (isnan(v)) snprintf(out, 16, "n/a");
    else snprintf(out, 16, "%.4f", v);
    return out;
}

static um_status print_row(const char *name, const um_metrics *v, const um_metrics *f, const char *mark)
{
    char c[11][16];
    UM_PASS(um_job_print("%-24.24s %6s %6s %6s %8s %8s  %6s %6s %6s %8s", name, cell(v->fake, c[0]), cell(v->real, c[1]), cell(v->mean, c[2]), cell(v->weighted, c[3]), cell(v->log_loss, c[4]),
                         cell(v->auc, c[5]), cell(v->eer, c[6]), cell(v->average_precision, c[7]), cell(v->accuracy, c[8])));
    if (f != NULL) UM_PASS(um_job_print("  %6s %8s", cell(f->auc, c[9]), cell(f->accuracy, c[10])));
    return um_job_print("%s\n", mark);
}

static um_status print_counts(const report *r)
{
    const um_evaluation *e = r->e;
    const um_metrics *m = &e->by[e->main].of_videos;
    UM_PASS(um_job_print("%" PRId64 " videos: %" PRId64 " fakes, %" PRId64 " reals", m->n_fake + m->n_real, m->n_fake, m->n_real));
    if (e->n_frames > 0) UM_PASS(um_job_print("; %" PRId64 " crops", e->n_frames));
    UM_PASS(um_job_print("\n"));
    if (e->damaged > 0) UM_PASS(um_job_print("left out: %" PRId64 " damaged crops\n", e->damaged));
    if (e->n_videos > (int64_t)r->n) UM_PASS(um_job_print("left out: %" PRId64 " videos, all of whose crops are damaged\n", e->n_videos - (int64_t)r->n));
    if (e->unlabelled > 0) UM_PASS(um_job_print("left out: %" PRId64 " rows without a label\n", e->unlabelled));
    if (e->several > 0) UM_PASS(um_job_print("left out: %" PRId64 " rows whose name has several labels that differ\n", e->several));
    if (e->unscored > 0) UM_PASS(um_job_print("left out: %" PRId64 " labels without a row\n", e->unscored));
    if (e->repeated > 0) UM_PASS(um_job_print("left out: %" PRId64 " rows that stand there twice\n", e->repeated));
    if (e->filled > 0)
        UM_PASS(um_job_print("%s: %" PRId64 " rows without a score (--missing %s)\n", strcmp(r->o->missing, "skip") == 0 ? "left out" : "counted as 0.5", e->filled, r->o->missing));
    if (e->failed > 0) UM_PASS(um_job_print("%" PRId64 " rows have a status other than OK\n", e->failed));
    if (m->n_fake == 0 || m->n_real == 0) UM_PASS(um_job_print("all videos are %s: what compares both classes is n/a\n", m->n_fake == 0 ? "reals" : "fakes"));
    return UM_OK;
}

static um_status print_all(const report *r)
{
    const um_evaluation *e = r->e;
    bool frames = e->n_frames > 0;
    UM_PASS(print_counts(r));
    UM_PASS(um_job_print("\n%-24s %36s  %29s%s\n", "", "log-loss of videos", "videos", frames ? "           frames" : ""));
    UM_PASS(um_job_print("%-24s %6s %6s %6s %8s %8s  %6s %6s %6s %8s%s\n", "", "fake", "real", "mean", "weighted", "plain", "AUC", "EER", "AP", "accuracy", frames ? "     AUC accuracy" : ""));
    for (int i = 0; i < e->n_by; i++) UM_PASS(print_row(e->by[i].name, &e->by[i].of_videos, frames ? &e->by[i].of_frames : NULL, i == e->best && e->n_models > 1 ? "  best" : ""));
    if (r->after != NULL) UM_PASS(print_row("calibrated", &r->calibrated, NULL, ""));
    if (e->best >= 0 && e->n_models > 1) UM_PASS(um_job_print("\nbest by (1.4 fake + real) / 2: %s\n", e->by[e->best].name));
    if (r->rounds > 0)
        UM_PASS(um_job_print("\n%s, 95 %% of %d resamples: AUC %.3f to %.3f, mean log-loss %.3f to %.3f, accuracy %.3f to %.3f\n", e->by[e->main].name, r->rounds, r->low.auc, r->high.auc, r->low.mean, r->high.mean, r->low.accuracy,
                             r->high.accuracy));
    if (r->after != NULL)
        UM_PASS(um_job_print("%s: sigmoid(%.4f logit(score) %+.4f)%s\n", r->fitted ? "calibration fitted to these videos" : "calibration applied", r->calibration.scale, r->calibration.offset,
                             r->fitted ? "; its row above is no test of it" : ""));
    return UM_OK;
}

/* ---- for programs ---- */

typedef struct field {
    const char *key;
    size_t at;
} field;
static const field fields[] = {{"log_loss_fake", offsetof(um_metrics, fake)}, {"log_loss_real", offsetof(um_metrics, real)}, {"log_loss_mean", offsetof(um_metrics, mean)}, {"log_loss_weighted", offsetof(um_metrics, weighted)},
                               {"log_loss", offsetof(um_metrics, log_loss)}, {"auc", offsetof(um_metrics, auc)}, {"eer", offsetof(um_metrics, eer)}, {"average_precision", offsetof(um_metrics, average_precision)},
                               {"accuracy", offsetof(um_metrics, accuracy)}, {"balanced_accuracy", offsetof(um_metrics, balanced)}};
enum { FIELDS = sizeof fields / sizeof fields[0] };

static double value(const um_metrics *m, int i) { return *(const double *)(const void *)((const char *)m + fields[i].at); }

static um_status add_metrics(um_buf *b, const char *key, const um_metrics *m)
{
    UM_PASS(um_buf_printf(b, "\"%s\": {\"fakes\": %" PRId64 ", \"reals\": %" PRId64, key, m->n_fake, m->n_real));
    for (int i = 0; i < FIELDS; i++) {
        UM_PASS(um_buf_printf(b, ", \"%s\": ", fields[i].key));
        UM_PASS(um_buf_add_real(b, value(m, i)));
    }
    return um_buf_add_str(b, "}");
}

static um_status add_reliability(um_buf *b, const char *key, const um_scored *s, size_t n)
{
    um_reliability r = um_reliability_of(s, n);
    UM_PASS(um_buf_printf(b, ", \"%s\": {\"expected_calibration_error\": ", key));
    UM_PASS(um_buf_add_real(b, r.error));
    UM_PASS(um_buf_add_str(b, ", \"bins\": ["));
    for (int i = 0; i < UM_RELIABILITY_BINS; i++) {
        UM_PASS(um_buf_printf(b, "%s{\"videos\": %" PRId64 ", \"mean_score\": ", i > 0 ? ", " : "", r.bin[i].n));
        UM_PASS(um_buf_add_real(b, r.bin[i].mean_p));
        UM_PASS(um_buf_add_str(b, ", \"fakes\": "));
        UM_PASS(um_buf_add_real(b, r.bin[i].fakes));
        UM_PASS(um_buf_add_str(b, "}"));
    }
    return um_buf_add_str(b, "]}");
}

static um_status make_json(const report *r, um_buf *b)
{
    const um_evaluation *e = r->e;
    UM_PASS(um_buf_printf(b, "{\"format\": \"unmask-evaluation 1\", \"videos\": %" PRId64 ", \"crops\": %" PRId64 ", \"damaged_crops\": %" PRId64 ", \"unlabelled\": %" PRId64 ", \"ambiguous\": %" PRId64 ", \"repeated\": %" PRId64 ", \"unscored\": %" PRId64
                             ", \"without_score\": %" PRId64 ", \"failed\": %" PRId64 ",\n \"judges\": [",
                          e->n_videos, e->n_frames, e->damaged, e->unlabelled, e->several, e->repeated, e->unscored, e->filled, e->failed));
    for (int i = 0; i < e->n_by; i++) {
        const um_evaluated *by = &e->by[i];
        UM_PASS(um_buf_printf(b, "%s\n  {\"name\": ", i > 0 ? "," : ""));
        UM_PASS(um_buf_add_json(b, by->name));
        UM_PASS(um_buf_printf(b, ", \"kind\": \"%s\", ", i < e->n_models ? "model" : strcmp(by->name, "baseline") == 0 ? "baseline" : by->frame != NULL ? "ensemble" : "scores"));
        UM_PASS(add_metrics(b, "of_videos", &by->of_videos));
        if (by->frame != NULL) {
            UM_PASS(um_buf_add_str(b, ", "));
            UM_PASS(add_metrics(b, "of_frames", &by->of_frames));
        }
        UM_PASS(um_buf_add_str(b, "}"));
    }
    UM_PASS(um_buf_add_str(b, "],\n \"main\": "));
    UM_PASS(um_buf_add_json(b, e->by[e->main].name));
    UM_PASS(um_buf_add_str(b, ", \"best_model\": "));
    UM_PASS(e->best >= 0 ? um_buf_add_json(b, e->by[e->best].name) : um_buf_add_str(b, "null"));
    UM_PASS(um_buf_printf(b, ",\n \"interval_95\": {\"resamples\": %d", r->rounds));
    for (int i = 0; i < FIELDS; i++) {
        UM_PASS(um_buf_printf(b, ", \"%s\": [", fields[i].key));
        UM_PASS(um_buf_add_real(b, value(&r->low, i)));
        UM_PASS(um_buf_add_str(b, ", "));
        UM_PASS(um_buf_add_real(b, value(&r->high, i)));
        UM_PASS(um_buf_add_str(b, "]"));
    }
    UM_PASS(um_buf_add_str(b, "}"));
    UM_PASS(add_reliability(b, "reliability", r->main, r->n));
    if (r->after != NULL) {
        UM_PASS(um_buf_printf(b, ",\n \"calibration\": {\"fitted_here\": %s, \"scale\": ", r->fitted ? "true" : "false"));
        UM_PASS(um_buf_add_real(b, r->calibration.scale));
        UM_PASS(um_buf_add_str(b, ", \"offset\": "));
        UM_PASS(um_buf_add_real(b, r->calibration.offset));
        UM_PASS(um_buf_add_str(b, ", "));
        UM_PASS(add_metrics(b, "of_videos", &r->calibrated));
        UM_PASS(add_reliability(b, "reliability", r->after, r->n));
        UM_PASS(um_buf_add_str(b, "}"));
    }
    return um_buf_add_str(b, "}\n");
}

static um_status make_csv(const report *r, um_buf *b)
{
    const um_evaluation *e = r->e;
    UM_PASS(um_buf_add_str(b, "path,label"));
    for (int k = 0; k < e->n_by; k++) {
        UM_PASS(um_buf_add_str(b, ","));
        UM_PASS(um_buf_add_csv(b, e->by[k].name));
    }
    UM_PASS(um_buf_add_str(b, r->after != NULL ? ",calibrated\n" : "\n"));
    for (int64_t i = 0; i < e->n_videos; i++) {
        UM_PASS(um_buf_add_csv(b, e->path[i]));
        UM_PASS(um_buf_add_str(b, e->fake[i] ? ",FAKE" : ",REAL"));
        for (int k = 0; k < e->n_by; k++) {
            UM_PASS(um_buf_add_str(b, ","));
            if (!isnan(e->by[k].video[i])) UM_PASS(um_buf_add_real(b, e->by[k].video[i]));
        }
        if (r->after != NULL) UM_PASS(um_buf_add_str(b, ","));
        if (r->after != NULL && !isnan(e->by[e->main].video[i])) UM_PASS(um_buf_add_real(b, um_calibrate(&r->calibration, e->by[e->main].video[i])));
        UM_PASS(um_buf_add_str(b, "\n"));
    }
    return UM_OK;
}

static um_status write_text(const report *r, const char *path, um_status (*make)(const report *r, um_buf *b))
{
    um_output out = {0};
    um_buf b = {0};
    um_status st = make(r, &b);
    if (st == UM_OK) {
        st = um_output_open(r->ctx->vfs, path, &out);
        if (st == UM_OK) st = um_output_end(&out, um_output_add(&out, &b));
    }
    um_buf_release(&b);
    return st;
}

um_status um_evaluate_report(um_job_context *ctx, const um_evaluate_options *o, um_evaluation *e)
{
    report r = {.ctx = ctx, .o = o, .e = e};
    bool to_stdout = (o->json != NULL && strcmp(o->json, "-") == 0) || (o->csv != NULL && strcmp(o->csv, "-") == 0);
    um_status st = UM_OK;
    if (e->n_by > 0) {
        UM_GOTO_PASS(st, measure_all(e));
        r.main = malloc(((size_t)e->n_videos + 1) * sizeof *r.main);
        if (r.main == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " scores", e->n_videos));
        r.n = collect(e->by[e->main].video, e->fake, e->group, NULL, e->n_videos, r.main);
        if (r.n == 0) UM_GOTO_PASS(st, UM_FAIL(UM_DATA, "not one crop of the videos to evaluate on can be read"));
        UM_GOTO_PASS(st, um_metrics_intervals(r.main, r.n, (int)o->rounds, &r.low, &r.high, &r.rounds));
        UM_GOTO_PASS(st, calibrate(&r));
        if (!to_stdout) UM_GOTO_PASS(st, print_all(&r));
        if (o->json != NULL) UM_GOTO_PASS(st, write_text(&r, o->json, make_json));
        if (o->csv != NULL) UM_GOTO_PASS(st, write_text(&r, o->csv, make_csv));
        if (r.fitted) UM_GOTO_PASS(st, write_calibration(&r));
    }
    if (o->svg != NULL) st = um_evaluate_plots(ctx, o, e, r.main, r.after, r.n);
done:
    free(r.main);
    free(r.after);
    return st;
}
