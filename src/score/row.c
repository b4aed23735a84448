#include "src/score/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *um_verdict_name(um_verdict v) { return v == UM_VERDICT_FAKE ? "fake" : v == UM_VERDICT_REAL ? "real" : "unknown"; }

static void forget_persons(um_score_row *r)
{
    for (int i = 0; i < r->n_persons && r->person != NULL; i++) free(r->person[i].model_score);
    free(r->person);
    r->person = NULL;
    r->n_persons = 0;
}

void um_score_row_release(um_score_row *r)
{
    forget_persons(r);
    for (int i = 0; i < r->n_faces && r->face != NULL; i++) free(r->face[i].score);
    free(r->face);
    free(r->model_score);
    *r = (um_score_row){0};
}

/* A row without a score. */
static um_status clear(um_score_row *row)
{
    forget_persons(row);
    row->verdict = UM_VERDICT_UNKNOWN;
    row->score = row->start_s = row->end_s = NAN;
    row->faces_dropped = 0;
    if (row->model_score == NULL) row->model_score = malloc((size_t)(row->n_models > 0 ? row->n_models : 1) * sizeof *row->model_score);
    if (row->model_score == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the scores of a video");
    for (int m = 0; m < row->n_models; m++) row->model_score[m] = NAN;
    return UM_OK;
}

static double mean_of_models(const double *score, int n)
{
    double sum = 0;
    for (int m = 0; m < n; m++) sum += score[m];
    return sum / n;
}

/* numpy.mean over the models' averages, which are f32 there: pairwise from 8 on. */
static double mean_of_models_f32(const double *score, int n)
{
    float s[8] = {0}, sum = 0;
    int m = 0;
    if (n >= 8) {
        for (; m < n - n % 8; m++) s[m % 8] = m < 8 ? (float)score[m] : s[m % 8] + (float)score[m];
        sum = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
    }
    for (; m < n; m++) sum += (float)score[m];
    return sum / (float)n;
}

static double mean_of_face(const um_score_face *f, int n_models)
{
    double sum = 0;
    for (int m = 0; m < n_models; m++) sum += (double)f->score[m];
    return sum / n_models;
}

static um_verdict verdict_of(double score, double threshold)
{
    if (isnan(score)) return UM_VERDICT_UNKNOWN;
    return score >= threshold ? UM_VERDICT_FAKE : UM_VERDICT_REAL;
}

/* The three faces with the highest mean over the models; of equals the earlier. */
static void add_best(um_score_person *p, double best[3], int64_t frame, double score)
{
    int at = 0;
    while (at < 3 && p->best_frame[at] >= 0 && best[at] >= score) at++;
    if (at == 3) return;
    for (int k = 2; k > at; k--) {
        p->best_frame[k] = p->best_frame[k - 1];
        best[k] = best[k - 1];
    }
    p->best_frame[at] = frame;
    best[at] = score;
}

/* value: room for all faces. Faces that a model did not look at do not count for it. */
static void fill_person(const um_score_row *row, int track, um_score_person *p, float *value)
{
    double best[3] = {0};
    *p = (um_score_person){.track = track, .start_s = NAN, .end_s = NAN, .score = NAN, .model_score = p->model_score, .best_frame = {-1, -1, -1}};
    for (int i = 0; i < row->n_faces; i++) {
        const um_score_face *f = &row->face[i];
        if (f->track != track) continue;
        p->n_faces++;
        p->start_s = fmin(p->start_s, f->time_s); /* fmin(NaN, x) is x */
        p->end_s = fmax(p->end_s, f->time_s);
        double score = mean_of_face(f, row->n_models);
        if (!isnan(score)) add_best(p, best, f->frame, score);
    }
    for (int m = 0; m < row->n_models; m++) {
        int n = 0;
        for (int i = 0; i < row->n_faces; i++)
            if (row->face[i].track == track && !isnan(row->face[i].score[m])) value[n++] = row->face[i].score[m];
        p->model_score[m] = um_score_confident(value, n);
    }
    p->score = mean_of_models(p->model_score, row->n_models);
}

/* Highest score first, those without a score last; of equals the one who appeared first. */
static int by_score(const void *a, const void *b)
{
    const um_score_person *p = a, *q = b;
    if (isnan(p->score) != isnan(q->score)) return isnan(p->score) ? 1 : -1;
    if (p->score > q->score) return -1;
    if (p->score < q->score) return 1;
    return p->track < q->track ? -1 : p->track > q->track;
}

um_status um_score_persons(um_score_row *row, int min_faces, double threshold)
{
    UM_PASS(clear(row));
    if (row->n_faces < 1 || row->n_models < 1) return UM_OK;
    um_status st = UM_OK;
    int n_tracks = 0, n_persons = 0, *n = NULL;
    float *value = NULL;
    for (int i = 0; i < row->n_faces; i++)
        if (row->face[i].track >= n_tracks) n_tracks = row->face[i].track + 1;
    n = calloc((size_t)n_tracks + 1, sizeof *n);
    value = malloc((size_t)row->n_faces * sizeof *value);
    if (n == NULL || value == NULL) goto out_of_memory;
    for (int i = 0; i < row->n_faces; i++)
        if (row->face[i].track >= 0) n[row->face[i].track]++;
    for (int t = 0; t < n_tracks; t++) n_persons += n[t] > 0 && n[t] >= min_faces;
    if (n_persons == 0) goto done;
    row->person = calloc((size_t)n_persons, sizeof *row->person);
    if (row->person == NULL) goto out_of_memory;
    for (int t = 0; t < n_tracks; t++) {
        if (n[t] < 1 || n[t] < min_faces) continue;
        um_score_person *p = &row->person[row->n_persons];
        p->model_score = malloc((size_t)row->n_models * sizeof *p->model_score);
        if (p->model_score == NULL) goto out_of_memory;
        row->n_persons++;
        fill_person(row, t, p, value);
    }
    qsort(row->person, (size_t)row->n_persons, sizeof *row->person, by_score);
    row->score = row->person[0].score;
    row->start_s = row->person[0].start_s;
    row->end_s = row->person[0].end_s;
    row->verdict = verdict_of(row->score, threshold);
    memcpy(row->model_score, row->person[0].model_score, (size_t)row->n_models * sizeof *row->model_score);
    goto done;
out_of_memory:
    st = UM_FAIL(UM_NO_MEMORY, "no memory for the persons of a video");
done:
    free(n);
    free(value);
    return st;
}

um_status um_score_faces(um_score_row *row, double threshold)
{
    UM_PASS(clear(row));
    /* The reference's quirks. Its batch has 4 * 32 rows, and a face goes into row n while n + 1 < 128: 127 fit. It squeezes the network's output, which for one face leaves a number, and slicing a number raises
     * an exception; whatever raises one, or finds no face, gets 0.5. */
    const int n = row->n_faces < UM_SCORE_REFERENCE_FACES ? row->n_faces : UM_SCORE_REFERENCE_FACES;
    row->faces_dropped = row->n_faces - n;
    row->score = 0.5;
    if (n == 0 && row->status == UM_OK) row->status = UM_NO_FACE;
    if (n < 2 || row->n_models < 1) return UM_OK;
    float value[UM_SCORE_REFERENCE_FACES];
    for (int m = 0; m < row->n_models; m++) {
        for (int i = 0; i < n; i++) value[i] = row->face[i].score[m];
        row->model_score[m] = um_score_confident(value, n);
    }
    row->score = mean_of_models_f32(row->model_score, row->n_models);
    row->verdict = verdict_of(row->score, threshold);
    return UM_OK;
}
