/* Following persons from one looked-at moment to the next.
 *
 * Moments lie 0.3 to 2 s apart, so a face may have moved by its own width. A track expects its face where it was last, or where its last motion would have brought it by now; the nearer of the two counts (a person who stops is
 * as likely as one who walks on). Pairs are joined in order of cost, the cheapest first; what is left over on both sides is joined over a longer way only where nothing else could be meant. A track that was not seen in
 * more than MISSES moments in which somebody was is closed: who comes back later is a new track.
 */
#include "src/score/score.h"

#include <math.h>
#include <stdlib.h>

enum { MISSES = 5 };
#define NEAR_OVERLAP  0.2  /* intersection over union */
#define NEAR_SHIFT    0.6  /* mean motion of the landmarks, in sizes of the face */
#define NEAR_GROWTH   0.70 /* log of the ratio of sizes: a factor of two */
#define FAR_SHIFT     2.5
#define FAR_GROWTH    0.41 /* half as large again */

typedef struct track {
    const um_score_face *last, *before; /* before: NULL in the first moment */
    int number;
    int missed;  /* moments since `last` */
    bool joined; /* in this moment */
} track;

typedef struct pair {
    double cost;
    int track, face; /* face: index in the moment */
} pair;

static double size_of(const float box[4]) { return sqrt(fmax(1e-6, (double)(box[2] - box[0]) * (double)(box[3] - box[1]))); }

static double overlap(const float a[4], const float b[4], double dx, double dy)
{
    double w = fmin((double)a[2] + dx, (double)b[2]) - fmax((double)a[0] + dx, (double)b[0]);
    double h = fmin((double)a[3] + dy, (double)b[3]) - fmax((double)a[1] + dy, (double)b[1]);
    if (!(w > 0 && h > 0)) return 0;
    double sa = size_of(a), sb = size_of(b);
    return w * h / (sa * sa + sb * sb - w * h);
}

/* Mean way of the landmarks from a, moved by (dx, dy), to b, in sizes of the face. */
static double shift(const um_score_face *a, const um_score_face *b, double dx, double dy)
{
    double sum = 0;
    for (int i = 0; i < 5; i++)
        sum += hypot((double)(b->landmarks[i][0] - a->landmarks[i][0]) - dx, (double)(b->landmarks[i][1] - a->landmarks[i][1]) - dy);
    return sum / 5 / ((size_of(a->box) + size_of(b->box)) / 2);
}

static double growth(const um_score_face *a, const um_score_face *b) { return fabs(log(size_of(b->box) / size_of(a->box))); }

/* Where the track's own motion has brought it at the time of f. */
static void expected(const track *t, const um_score_face *f, double *dx, double *dy)
{
    *dx = *dy = 0;
    if (t->before == NULL || !(t->last->time_s > t->before->time_s)) return;
    double steps = (f->time_s - t->last->time_s) / (t->last->time_s - t->before->time_s);
    if (!(steps > 0)) return;
    if (steps > 2) steps = 2; /* nobody goes straight on for long */
    const float *a = t->before->box, *b = t->last->box;
    *dx = steps * ((double)(b[0] + b[2]) - (double)(a[0] + a[2])) / 2;
    *dy = steps * ((double)(b[1] + b[3]) - (double)(a[1] + a[3])) / 2;
}

/* Cost of joining, INFINITY when too far. */
static double near_cost(const track *t, const um_score_face *f, double dx, double dy)
{
    double o = overlap(t->last->box, f->box, dx, dy), s = shift(t->last, f, dx, dy), g = growth(t->last, f);
    if (g > NEAR_GROWTH || (o < NEAR_OVERLAP && s > NEAR_SHIFT)) return INFINITY;
    return (1 - o) + s + g;
}

static bool is_far_pair(const track *t, const um_score_face *f)
{
    double dx, dy;
    expected(t, f, &dx, &dy);
    return growth(t->last, f) <= FAR_GROWTH && fmin(shift(t->last, f, 0, 0), shift(t->last, f, dx, dy)) <= FAR_SHIFT;
}

static int by_cost(const void *a, const void *b)
{
    const pair *x = a, *y = b;
    if (x->cost != y->cost) return x->cost < y->cost ? -1 : 1;
    if (x->track != y->track) return x->track - y->track;
    return x->face - y->face;
}

static void join(track *t, um_score_face *f)
{
    t->before = t->last;
    t->last = f;
    t->missed = 0;
    t->joined = true;
    f->track = t->number;
}

/* The faces f[0..n) of one moment find their tracks. */
static void moment(track *open, int n_open, um_score_face *f, int n, pair *pairs)
{
    int n_pairs = 0;
    for (int t = 0; t < n_open; t++)
        for (int i = 0; i < n; i++) {
            double dx, dy;
            expected(&open[t], &f[i], &dx, &dy);
            double cost = fmin(near_cost(&open[t], &f[i], 0, 0), near_cost(&open[t], &f[i], dx, dy));
            if (isfinite(cost)) pairs[n_pairs++] = (pair){cost, t, i};
        }
    if (n_pairs > 0) qsort(pairs, (size_t)n_pairs, sizeof *pairs, by_cost);
    for (int p = 0; p < n_pairs; p++)
        if (!open[pairs[p].track].joined && f[pairs[p].face].track < 0) join(&open[pairs[p].track], &f[pairs[p].face]);
    /* The long way: only a pair of which each is the other's one possibility. Counted first, joined after, so that the order does not matter. */
    n_pairs = 0;
    for (int t = 0; t < n_open; t++) {
        int found = -1, n_found = 0;
        for (int i = 0; i < n && !open[t].joined; i++)
            if (f[i].track < 0 && is_far_pair(&open[t], &f[i])) {
                found = i;
                n_found++;
            }
        int n_rivals = 0;
        for (int u = 0; n_found == 1 && u < n_open; u++) n_rivals += !open[u].joined && is_far_pair(&open[u], &f[found]);
        if (n_found == 1 && n_rivals == 1) pairs[n_pairs++] = (pair){0, t, found};
    }
    for (int p = 0; p < n_pairs; p++) join(&open[pairs[p].track], &f[pairs[p].face]);
}

um_status um_score_tracks(um_score_row *row, int *n_tracks)
{
    um_status st = UM_OK;
    int n_open = 0, most = 0;
    *n_tracks = 0;
    for (int i = 0, k; i < row->n_faces; i = k) {
        for (k = i; k < row->n_faces && row->face[k].frame == row->face[i].frame; k++) row->face[k].track = -1;
        if (k - i > most) most = k - i;
    }
    /* Open tracks were seen in the last MISSES + 1 moments. */
    size_t cap = (size_t)most * (MISSES + 2);
    track *open = calloc(cap + 1, sizeof *open);
    pair *pairs = calloc(cap * (size_t)most + 1, sizeof *pairs);
    if (open == NULL || pairs == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %d faces", row->n_faces));
    for (int i = 0, k; i < row->n_faces; i = k) {
        for (k = i; k < row->n_faces && row->face[k].frame == row->face[i].frame; k++) {}
        int kept = 0;
        for (int t = 0; t < n_open; t++) {
            if (open[t].last->window != row->face[i].window || open[t].missed > MISSES) continue;
            open[kept] = open[t];
            open[kept++].joined = false;
        }
        n_open = kept;
        for (int t = 0; t < n_open; t++) open[t].missed++;
        moment(open, n_open, row->face + i, k - i, pairs);
        for (int j = i; j < k; j++) {
            if (row->face[j].track >= 0) continue;
            row->face[j].track = *n_tracks;
            open[n_open++] = (track){.last = &row->face[j], .number = (*n_tracks)++};
        }
    }
done:
    free(open);
    free(pairs);
    return st;
}
