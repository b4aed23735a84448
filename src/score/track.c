/* track.c: who is who from frame to frame, by geometry alone.
 *
 * Frame after frame, the faces are assigned to the tracks of the window so that the sum of the costs is least (Kuhn 1955; shortest augmenting paths with potentials, as in Jonker and Volgenant 1987), where a pair is
 * possible at all. A pair costs what separates the face from where the track should be by now: the distance of the landmarks, the boxes' lack of overlap, another size, and another face (where eyes, nose and mouth lie
 * within it, which tells two people apart while they pass each other). All lengths are in face sizes, so resolution does not matter. The order of the faces within a frame does not matter either. */
#include "src/score/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double REACH = 1.0, REACH_PER_S = 1.5, MAX_REACH = 2.5; /* face sizes by which a face may miss the expected place */
static const double MAX_GROWTH = 1.0;                                /* of the size between two sightings, in doublings */
static const double SHAPE_WEIGHT = 2.0, OVERLAP_WEIGHT = 0.5, GROWTH_WEIGHT = 1.0;
static const double GAP_WEIGHT_PER_S = 0.2; /* whoever was seen last is preferred */
static const double MAX_AHEAD_S = 1.0;      /* motion is foretold so far, then the track stands still */
static const double NEW_TRACK = 100;        /* more than any possible pair costs: as many faces as possible find a track */
enum { MAX_GAP = 10 };                      /* frames in which a person may be missing (of a window's 32); in time: so many usual distances */

typedef struct place {
    double time_s, x, y; /* centroid of the landmarks */
} place;

typedef struct track {
    int id;
    const um_score_face *last;
    place seen[3]; /* newest first */
    int n_seen;    /* up to 3 */
} track;

typedef struct work {
    int *order;         /* faces by window, frame, place */
    track *track;       /* of this window */
    int *match;         /* [faces of a frame]: index into track, -1: a new one */
    double *cost;       /* (faces, tracks + faces) */
    size_t cap_cost;
    double *u, *v, *slack;
    int *row_of, *back;
    bool *used;
    double *step;
} work;

static double face_size(const um_score_face *f)
{
    double w = (double)f->box[2] - (double)f->box[0], h = (double)f->box[3] - (double)f->box[1];
    double s = w > 0 && h > 0 ? sqrt(w * h) : 0;
    return s > 1e-3 && isfinite(s) ? s : 1e-3;
}

static place place_of(const um_score_face *f)
{
    place p = {.time_s = f->time_s};
    for (int k = 0; k < 5; k++) {
        p.x += (double)f->landmarks[k][0] / 5;
        p.y += (double)f->landmarks[k][1] / 5;
    }
    return p;
}

static double overlap(const float *a, const float *b, double dx, double dy)
{
    double x0 = fmax((double)a[0] + dx, (double)b[0]), x1 = fmin((double)a[2] + dx, (double)b[2]);
    double y0 = fmax((double)a[1] + dy, (double)b[1]), y1 = fmin((double)a[3] + dy, (double)b[3]);
    if (!(x1 > x0) || !(y1 > y0)) return 0;
    double both = (x1 - x0) * (y1 - y0);
    double sum = ((double)a[2] - (double)a[0]) * ((double)a[3] - (double)a[1]) + ((double)b[2] - (double)b[0]) * ((double)b[3] - (double)b[1]);
    return both / (sum - both);
}

/* How far the track should have moved since it was last seen: its mean speed over its last two steps. */
static void expected_move(const track *t, double now_s, double *dx, double *dy)
{
    *dx = *dy = 0;
    if (t->n_seen < 2) return;
    const place *a = &t->seen[t->n_seen - 1], *b = &t->seen[0];
    double span = b->time_s - a->time_s, ahead = fmin(now_s - b->time_s, MAX_AHEAD_S);
    if (!(span > 0) || !(ahead > 0)) return;
    *dx = (b->x - a->x) / span * ahead;
    *dy = (b->y - a->y) / span * ahead;
}

/* What it costs to take face f for the next one of track t; INFINITY: impossible. */
static double pair_cost(const track *t, const um_score_face *f)
{
    const um_score_face *l = t->last;
    const double size_l = face_size(l), size_f = face_size(f), size = sqrt(size_l * size_f);
    const place pl = t->seen[0], pf = place_of(f);
    double dx, dy, apart = 0, shape = 0;
    const double since = f->time_s - l->time_s, growth = fabs(log2(size_f / size_l));
    expected_move(t, f->time_s, &dx, &dy);
    for (int k = 0; k < 5; k++) {
        double lx = (double)l->landmarks[k][0], ly = (double)l->landmarks[k][1], fx = (double)f->landmarks[k][0], fy = (double)f->landmarks[k][1];
        apart += hypot(fx - lx - dx, fy - ly - dy) / 5;
        shape += hypot((fx - pf.x) / size_f - (lx - pl.x) / size_l, (fy - pf.y) / size_f - (ly - pl.y) / size_l) / 5;
    }
    apart /= size;
    /* Also false where a number is none. */
    if (!(apart <= fmin(REACH + REACH_PER_S * since, MAX_REACH)) || !(growth <= MAX_GROWTH)) return INFINITY;
    return apart + SHAPE_WEIGHT * shape + OVERLAP_WEIGHT * (1 - overlap(l->box, f->box, dx, dy)) + GROWTH_WEIGHT * growth + GAP_WEIGHT_PER_S * fmin(since, 10);
}

/* The assignment of n rows to m >= n columns with the least sum; row_of[j]: row of column j, -1 none. cost: (n, m). */
static void assign(work *w, int n, int m)
{
    double *u = w->u, *v = w->v, *slack = w->slack;
    int *row_of = w->row_of, *back = w->back;
    for (int j = 0; j <= m; j++) {
        v[j] = 0;
        row_of[j] = -1;
    }
    for (int i = 0; i < n; i++) {
        /* A path of least cost from row i to a free column; column m stands for where it starts. */
        int at = m;
        u[i] = 0;
        row_of[m] = i;
        for (int j = 0; j <= m; j++) {
            slack[j] = INFINITY;
            w->used[j] = false;
            back[j] = m;
        }
        do {
            const int row = row_of[at];
            const double *c = w->cost + (size_t)row * (size_t)m;
            double least = INFINITY;
            int to = -1;
            w->used[at] = true;
            for (int j = 0; j < m; j++) {
                if (w->used[j]) continue;
                double reduced = c[j] - u[row] - v[j];
                if (reduced < slack[j]) {
                    slack[j] = reduced;
                    back[j] = at;
                }
                if (to < 0 || slack[j] < least) {
                    least = slack[j];
                    to = j;
                }
            }
            for (int j = 0; j <= m; j++) {
                if (w->used[j]) {
                    u[row_of[j]] += least;
                    v[j] -= least;
                } else {
                    slack[j] -= least;
                }
            }
            at = to;
        } while (row_of[at] >= 0);
        while (at != m) {
            row_of[at] = row_of[back[at]];
            at = back[at];
        }
    }
}

static int compare_places(const um_score_face *a, const um_score_face *b)
{
    if (a->window != b->window) return a->window < b->window ? -1 : 1;
    if (a->frame != b->frame) return a->frame < b->frame ? -1 : 1;
    for (int k = 0; k < 4; k++)
        if (a->box[k] != b->box[k]) return a->box[k] < b->box[k] ? -1 : 1;
    for (int k = 0; k < 5; k++)
        for (int c = 0; c < 2; c++)
            if (a->landmarks[k][c] != b->landmarks[k][c]) return a->landmarks[k][c] < b->landmarks[k][c] ? -1 : 1;
    return 0;
}

static int by_place(const void *a, const void *b, void *faces)
{
    const um_score_face *face = faces;
    int i = *(const int *)a, j = *(const int *)b, c = compare_places(&face[i], &face[j]);
    return c != 0 ? c : (i > j) - (i < j);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The usual time between two frames with faces of order[from..to): the lower median, which missed frames do not raise. */
static double usual_step(const work *w, const um_score_face *face, int from, int to)
{
    int n = 0;
    for (int i = from + 1; i < to; i++) {
        double d = face[w->order[i]].time_s - face[w->order[i - 1]].time_s;
        if (d > 0) w->step[n++] = d;
    }
    if (n == 0) return 0;
    qsort(w->step, (size_t)n, sizeof *w->step, by_value);
    return w->step[(n - 1) / 2];
}

static void see(track *t, const um_score_face *f)
{
    t->last = f;
    memmove(&t->seen[1], &t->seen[0], 2 * sizeof t->seen[0]);
    t->seen[0] = place_of(f);
    if (t->n_seen < 3) t->n_seen++;
}

/* One frame: order[from..to). Tracks that have been away for too long are dropped first. */
static um_status take_frame(work *w, um_score_face *face, int from, int to, double max_gap_s, int *n_live, int *n_tracks)
{
    const int n = to - from;
    const double now = face[w->order[from]].time_s;
    int live = 0;
    for (int k = 0; k < *n_live; k++)
        if (now - w->track[k].last->time_s <= max_gap_s) w->track[live++] = w->track[k];
    const int m = live + n;
    if ((size_t)n * (size_t)m > w->cap_cost) {
        free(w->cost);
        w->cap_cost = (size_t)n * (size_t)m * 2;
        w->cost = malloc(w->cap_cost * sizeof *w->cost);
        if (w->cost == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory to follow %d faces", n);
    }
    for (int i = 0; i < n; i++) {
        double *c = w->cost + (size_t)i * (size_t)m;
        for (int k = 0; k < live; k++) {
            double cost = pair_cost(&w->track[k], &face[w->order[from + i]]);
            c[k] = isfinite(cost) ? cost : 4 * NEW_TRACK; /* dearer than a new track in any exchange of two */
        }
        for (int k = live; k < m; k++) c[k] = NEW_TRACK;
    }
    assign(w, n, m);
    for (int i = 0; i < n; i++) w->match[i] = -1;
    for (int k = 0; k < live; k++) {
        int i = w->row_of[k];
        if (i >= 0 && w->cost[(size_t)i * (size_t)m + (size_t)k] < NEW_TRACK) w->match[i] = k;
    }
    for (int i = 0; i < n; i++) {
        um_score_face *f = &face[w->order[from + i]];
        int k = w->match[i];
        if (k < 0) {
            k = live++;
            w->track[k] = (track){.id = (*n_tracks)++};
        }
        see(&w->track[k], f);
        f->track = w->track[k].id;
    }
    *n_live = live;
    return UM_OK;
}

static void release(work *w)
{
    free(w->order);
    free(w->track);
    free(w->match);
    free(w->cost);
    free(w->u);
    free(w->v);
    free(w->slack);
    free(w->row_of);
    free(w->back);
    free(w->used);
    free(w->step);
}

um_status um_score_tracks(um_score_row *row, int *n_tracks)
{
    um_score_face *face = row->face;
    const int n = row->n_faces;
    const size_t most = 2 * (size_t)n + 1; /* columns: tracks and new ones, at most as many as faces each */
    work w = {0};
    um_status st = UM_OK;
    *n_tracks = 0;
    if (n < 1) return UM_OK;
    w.order = malloc((size_t)n * sizeof *w.order);
    w.track = malloc(most * sizeof *w.track);
    w.match = malloc((size_t)n * sizeof *w.match);
    w.u = malloc((size_t)n * sizeof *w.u);
    w.v = malloc(most * sizeof *w.v);
    w.slack = malloc(most * sizeof *w.slack);
    w.row_of = malloc(most * sizeof *w.row_of);
    w.back = malloc(most * sizeof *w.back);
    w.used = malloc(most * sizeof *w.used);
    w.step = malloc((size_t)n * sizeof *w.step);
    if (w.order == NULL || w.track == NULL || w.match == NULL || w.u == NULL || w.v == NULL || w.slack == NULL || w.row_of == NULL || w.back == NULL || w.used == NULL || w.step == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory to follow %d faces", n);
        goto done;
    }
    for (int i = 0; i < n; i++) w.order[i] = i;
    qsort_r(w.order, (size_t)n, sizeof *w.order, by_place, face);
    for (int from = 0, to; from < n; from = to) {
        /* A window. */
        int n_live = 0;
        for (to = from; to < n && face[w.order[to]].window == face[w.order[from]].window;) to++;
        const double max_gap_s = (MAX_GAP + 1.5) * usual_step(&w, face, from, to);
        for (int a = from, b; a < to; a = b) {
            for (b = a; b < to && face[w.order[b]].frame == face[w.order[a]].frame;) b++;
            UM_GOTO_PASS(st, take_frame(&w, face, a, b, max_gap_s, &n_live, n_tracks));
        }
    }
done:
    release(&w);
    return st;
}
