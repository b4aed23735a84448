#include "src/score/score.h"

#include <math.h>
#include <stdlib.h>

/* Numbers of the reference's confident_strategy. */
#define CONFIDENT_FAKE 0.8f
#define CONFIDENT_REAL 0.2f
enum { CONFIDENT_LEAST = 11, POOL_FACES = 127, BEST_FRAMES = 3 };

const char *um_verdict_name(um_verdict v) { return v == UM_VERDICT_FAKE ? "fake" : v == UM_VERDICT_REAL ? "real" : "unknown"; }

void um_score_row_release(um_score_row *r)
{
    for (int i = 0; i < r->n_persons; i++) free(r->person[i].model_score);
    for (int i = 0; i < r->n_faces; i++) free(r->face[i].score);
    free(r->person);
    free(r->face);
    free(r->model_score);
    *r = (um_score_row){0};
}

/* Which predictions are averaged. */
typedef enum side { ALL, ABOVE, BELOW } side;
static bool is_on(side s, float p) { return s == ALL || (s == ABOVE ? p > CONFIDENT_FAKE : p < CONFIDENT_REAL); }

/* The sum as numpy.sum makes it of contiguous f32 (pairwise.h.src): fewer than 8 in a row, else eight partial sums; blocks of 128. The reference's averages are numpy's, so published ones come out to the last bit. */
static float numpy_sum(const float *p, int n)
{
    if (n < 8) {
        float s = n > 0 ? p[0] : 0;
        for (int i = 1; i < n; i++) s += p[i];
        return s;
    }
    if (n > 128) {
        int half = n / 2;
        half -= half % 8;
        return numpy_sum(p, half) + numpy_sum(p + half, n - half);
    }
    float r[8];
    int i = 8;
    for (int k = 0; k < 8; k++) r[k] = p[k];
    for (; i < n - n % 8; i += 8)
        for (int k = 0; k < 8; k++) r[k] += p[i + k];
    float s = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    for (; i < n; i++) s += p[i];
    return s;
}

double um_score_confident(float *p, int n)
{
    int fake = 0, real = 0, kept = 0;
    for (int i = 0; i < n; i++) {
        fake += is_on(ABOVE, p[i]);
        real += is_on(BELOW, p[i]);
    }
    side s = fake > floor(n / 2.5) && fake > CONFIDENT_LEAST ? ABOVE : real > 0.9 * n ? BELOW : ALL;
    for (int i = 0; i < n; i++)
        if (is_on(s, p[i])) p[kept++] = p[i];
    return kept > 0 ? (double)(numpy_sum(p, kept) / (float)kept) : NAN;
}

/* The mean over the models, as numpy.mean of a list of f32. */
static double mean_of_models(const double *model_score, int n)
{
    float s[UM_SCORE_MAX_MODELS];
    for (int i = 0; i < n; i++) s[i] = (float)model_score[i];
    return (double)(numpy_sum(s, n) / (float)n);
}

/* Fills model_score[n_models] with the confident averages of the faces of `track` (-1: of all up to `most`). */
static um_status average(const um_score_row *row, int track, int most, double *model_score)
{
    int n = 0;
    float *p = malloc(((size_t)row->n_faces + 1) * sizeof *p);
    if (p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d scores", row->n_faces);
    for (int m = 0; m < row->n_models; m++) {
        n = 0;
        for (int i = 0; i < row->n_faces && n < most; i++)
            if (track < 0 || row->face[i].track == track) p[n++] = row->face[i].score[m];
        model_score[m] = um_score_confident(p, n);
    }
    free(p);
    return UM_OK;
}

static double face_score(const um_score_face *f, int n_models)
{
    double s = 0;
    for (int m = 0; m < n_models; m++) s += (double)f->score[m];
    return s / n_models;
}

static um_status describe(const um_score_row *row, int track, um_score_person *p)
{
    *p = (um_score_person){.track = track, .start_s = NAN, .best_frame = {-1, -1, -1}};
    double best[BEST_FRAMES] = {0};
    p->model_score = calloc((size_t)row->n_models, sizeof *p->model_score);
    if (p->model_score == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a person");
    for (int i = 0; i < row->n_faces; i++) {
        const um_score_face *f = &row->face[i];
        if (f->track != track) continue;
        if (p->n_faces++ == 0) p->start_s = f->time_s;
        p->end_s = f->time_s;
        /* Into its place among the best; an earlier face stays before an equal one. */
        double s = face_score(f, row->n_models);
        int at = BEST_FRAMES;
        while (at > 0 && (p->best_frame[at - 1] < 0 || s > best[at - 1])) at--;
        for (int k = BEST_FRAMES - 1; k > at; k--) {
            best[k] = best[k - 1];
            p->best_frame[k] = p->best_frame[k - 1];
        }
        if (at < BEST_FRAMES) {
            best[at] = s;
            p->best_frame[at] = f->frame;
        }
    }
    UM_PASS(average(row, track, row->n_faces, p->model_score));
    p->score = mean_of_models(p->model_score, row->n_models);
    return UM_OK;
}

static int by_score(const void *a, const void *b)
{
    const um_score_person *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->track > y->track) - (x->track < y->track);
}

static um_status no_score(um_score_row *row)
{
    row->verdict = UM_VERDICT_UNKNOWN;
    row->score = row->start_s = row->end_s = NAN;
    if (row->model_score == NULL) row->model_score = calloc((size_t)row->n_models + 1, sizeof *row->model_score);
    if (row->model_score == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a row");
    for (int m = 0; m < row->n_models; m++) row->model_score[m] = NAN;
    return UM_OK;
}

um_status um_score_persons(um_score_row *row, int min_faces, double threshold)
{
    um_status st = UM_OK;
    int n_tracks = 0;
    int *faces = NULL;
    UM_PASS(no_score(row));
    for (int i = 0; i < row->n_faces; i++)
        if (row->face[i].track >= n_tracks) n_tracks = row->face[i].track + 1;
    faces = calloc((size_t)n_tracks + 1, sizeof *faces);
    row->person = calloc((size_t)n_tracks + 1, sizeof *row->person);
    if (faces == NULL || row->person == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %d persons", n_tracks));
    for (int i = 0; i < row->n_faces; i++)
        if (row->face[i].track >= 0) faces[row->face[i].track]++;
    for (int t = 0; t < n_tracks; t++) {
        if (faces[t] < min_faces) continue;
        row->n_persons++;
        UM_GOTO_PASS(st, describe(row, t, &row->person[row->n_persons - 1]));
    }
    if (row->n_persons > 0) {
        qsort(row->person, (size_t)row->n_persons, sizeof *row->person, by_score);
        const um_score_person *p = &row->person[0];
        row->score = p->score;
        row->start_s = p->start_s;
        row->end_s = p->end_s;
        for (int m = 0; m < row->n_models; m++) row->model_score[m] = p->model_score[m];
        row->verdict = row->score >= threshold ? UM_VERDICT_FAKE : UM_VERDICT_REAL;
    }
done:
    free(faces);
    return st;
}

um_status um_score_faces(um_score_row *row, double threshold)
{
    UM_PASS(no_score(row));
    /* The reference's array has 4 x 32 rows and it stops filling one before the last. */
    row->faces_dropped = row->n_faces > POOL_FACES ? row->n_faces - POOL_FACES : 0;
    /* With one face its squeeze() leaves a number where it then indexes an array; the exception becomes 0.5, as every failure. */
    if (row->n_faces < 2) {
        row->score = 0.5;
        return UM_OK;
    }
    UM_PASS(average(row, -1, POOL_FACES, row->model_score));
    row->score = mean_of_models(row->model_score, row->n_models);
    row->verdict = row->score >= threshold ? UM_VERDICT_FAKE : UM_VERDICT_REAL;
    return UM_OK;
}
