#include "src/train/metrics.h"

#include "src/core/rng.h"
#include "src/train/loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_ROUNDS = 20, NEWTON_STEPS = 100, HALVINGS = 40 };
static const double edge = 1e-6;

static int by_p(const void *a, const void *b)
{
    const um_scored *x = a, *y = b;
    if (x->p != y->p) return x->p < y->p ? 1 : -1;
    if (x->fake != y->fake) return x->fake ? -1 : 1;
    return (x->group > y->group) - (x->group < y->group);
}

void um_scored_sort(um_scored *s, size_t n)
{
    if (n > 0) qsort(s, n, sizeof *s, by_p);
}

/* Each class's share of something, a missing one NaN. */
static double share(double part, double all) { return all > 0 ? part / all : NAN; }

um_metrics um_metrics_of(const um_scored *s, size_t n, const int32_t *times)
{
    um_metrics m = {0};
    double loss[2] = {0, 0}, right[2] = {0, 0}, count[2] = {0, 0}, seen[2] = {0, 0}, area = 0, precision = 0, eer = NAN, before = -1, fpr_before = 0;
    for (size_t i = 0; i < n; i++) {
        double w = times != NULL ? times[i] : 1;
        count[s[i].fake] += w;
        loss[s[i].fake] += w * um_log_loss(s[i].p, s[i].fake);
        right[s[i].fake] += (s[i].p >= 0.5) == s[i].fake ? w : 0;
    }
    double fakes = count[1], reals = count[0];
    for (size_t i = 0, j; i < n; i = j) { /* equal p, one threshold */
        double here[2] = {0, 0};
        for (j = i; j < n && s[j].p == s[i].p; j++) here[s[j].fake] += times != NULL ? times[j] : 1;
        if (here[0] + here[1] == 0) continue;
        area += here[0] * (seen[1] + here[1] / 2);
        seen[0] += here[0];
        seen[1] += here[1];
        if (here[1] > 0) precision += here[1] * seen[1] / (seen[0] + seen[1]);
        double fpr = share(seen[0], reals), gap = fpr - (1 - share(seen[1], fakes)); /* from -1 up to 1 */
        if (isnan(eer) && gap >= 0) eer = fpr_before + (fpr - fpr_before) * (before / (before - gap));
        before = gap;
        fpr_before = fpr;
    }
    bool both = fakes > 0 && reals > 0;
    m.n_fake = (int64_t)fakes;
    m.n_real = (int64_t)reals;
    m.fake = share(loss[1], fakes);
    m.real = share(loss[0], reals);
    double fake = fakes > 0 ? m.fake : m.real, real = reals > 0 ? m.real : m.fake;
    m.mean = (fake + real) / 2;
    m.weighted = (1.4 * fake + real) / 2;
    m.log_loss = share(loss[0] + loss[1], fakes + reals);
    m.auc = both ? area / (fakes * reals) : NAN;
    m.eer = both ? eer : NAN;
    m.average_precision = both ? precision / fakes : NAN;
    m.accuracy = share(right[0] + right[1], fakes + reals);
    m.balanced = both ? (right[0] / reals + right[1] / fakes) / 2 : NAN;
    return m;
}

/* ---- intervals ---- */

enum { NUMBERS = 10 };
static const size_t number_at[NUMBERS] = {offsetof(um_metrics, fake), offsetof(um_metrics, real), offsetof(um_metrics, mean), offsetof(um_metrics, weighted), offsetof(um_metrics, log_loss), offsetof(um_metrics, auc),
                                          offsetof(um_metrics, eer), offsetof(um_metrics, average_precision), offsetof(um_metrics, accuracy), offsetof(um_metrics, balanced)};

static double *number(um_metrics *m, int i) { return (double *)(void *)((char *)m + number_at[i]); }

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Percentile q of n sorted values, between neighbours in proportion (numpy.percentile). */
static double percentile(const double *v, int n, double q)
{
    double at = q * (n - 1);
    int below = (int)at;
    return below + 1 < n ? v[below] + (at - below) * (v[below + 1] - v[below]) : v[n - 1];
}

um_status um_metrics_intervals(const um_scored *s, size_t n, int rounds, um_metrics *low, um_metrics *high, int *used)
{
    int32_t groups = 0;
    um_status st = UM_OK;
    for (size_t i = 0; i < n; i++)
        if (s[i].group >= groups) groups = s[i].group + 1;
    int32_t *drawn = malloc(((size_t)groups + 1) * sizeof *drawn), *times = malloc((n + 1) * sizeof *times);
    double *value = malloc((size_t)rounds * NUMBERS * sizeof *value);
    *used = 0;
    *low = *high = (um_metrics){0};
    for (int k = 0; k < NUMBERS; k++) *number(low, k) = *number(high, k) = NAN;
    if (drawn == NULL || times == NULL || value == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for %zu videos", n);
        goto done;
    }
    for (int r = 0; r < rounds && groups > 0; r++) {
        um_rng g = um_rng_stream(777, (uint64_t)r, 0, UM_RNG_BOOTSTRAP);
        memset(drawn, 0, (size_t)groups * sizeof *drawn);
        for (int32_t i = 0; i < groups; i++) drawn[um_rng_below(&g, (uint32_t)groups)]++;
        for (size_t i = 0; i < n; i++) times[i] = drawn[s[i].group];
        um_metrics m = um_metrics_of(s, n, times);
        if (m.n_fake == 0 || m.n_real == 0) continue;
        for (int k = 0; k < NUMBERS; k++) value[(size_t)k * (size_t)rounds + (size_t)*used] = *number(&m, k);
        ++*used;
    }
    for (int k = 0; k < NUMBERS && *used >= LEAST_ROUNDS; k++) {
        double *v = value + (size_t)k * (size_t)rounds;
        qsort(v, (size_t)*used, sizeof *v, by_value);
        *number(low, k) = percentile(v, *used, 0.025);
        *number(high, k) = percentile(v, *used, 0.975);
    }
done:
    free(drawn);
    free(times);
    free(value);
    return st;
}

/* ---- curves ---- */

size_t um_roc(const um_scored *s, size_t n, double *fpr, double *tpr)
{
    double count[2] = {0, 0}, seen[2] = {0, 0};
    size_t points = 0;
    for (size_t i = 0; i < n; i++) count[s[i].fake]++;
    if (count[0] == 0 || count[1] == 0) return 0;
    fpr[points] = tpr[points] = 0;
    points++;
    for (size_t i = 0; i < n; i++) {
        seen[s[i].fake]++;
        if (i + 1 < n && s[i + 1].p == s[i].p) continue;
        fpr[points] = seen[0] / count[0];
        tpr[points] = seen[1] / count[1];
        points++;
    }
    return points;
}

um_reliability um_reliability_of(const um_scored *s, size_t n)
{
    um_reliability r = {0};
    double sum[UM_RELIABILITY_BINS] = {0}, fakes[UM_RELIABILITY_BINS] = {0};
    for (size_t i = 0; i < n; i++) {
        int b = (int)(s[i].p * UM_RELIABILITY_BINS);
        if (b < 0) b = 0;
        if (b >= UM_RELIABILITY_BINS) b = UM_RELIABILITY_BINS - 1;
        r.bin[b].n++;
        sum[b] += s[i].p;
        fakes[b] += s[i].fake;
    }
    for (int b = 0; b < UM_RELIABILITY_BINS; b++) {
        r.bin[b].mean_p = share(sum[b], (double)r.bin[b].n);
        r.bin[b].fakes = share(fakes[b], (double)r.bin[b].n);
        r.error += fabs(sum[b] - fakes[b]);
    }
    r.error = share(r.error, (double)n);
    return r;
}

/* ---- calibration ---- */

static double logit(double p)
{
    p = p < edge ? edge : p > 1 - edge ? 1 - edge : p;
    return log(p) - log1p(-p);
}

double um_calibrate(const um_calibration *c, double p) { return um_sigmoid(c->scale * logit(p) + c->offset); }

typedef struct slope { /* of the sum that is made least: its value, gradient and Hessian by (scale, offset) */
    double sum, g[2], h[3];
} slope;

static slope look(const um_scored *s, size_t n, const double count[2], const um_calibration *c)
{
    slope r = {0};
    for (size_t i = 0; i < n; i++) {
        double x = logit(s[i].p), z = c->scale * x + c->offset, p = um_sigmoid(z), w = 1 / count[s[i].fake];
        double t = s[i].fake ? (count[1] + 1) / (count[1] + 2) : 1 / (count[0] + 2), v = w * p * (1 - p);
        r.sum += w * ((z > 0 ? z : 0) - z * t + log1p(exp(-fabs(z))));
        r.g[0] += w * (p - t) * x;
        r.g[1] += w * (p - t);
        r.h[0] += v * x * x;
        r.h[1] += v * x;
        r.h[2] += v;
    }
    return r;
}

um_status um_calibration_fit(const um_scored *s, size_t n, um_calibration *out)
{
    double count[2] = {0, 0};
    for (size_t i = 0; i < n; i++) count[s[i].fake]++;
    *out = (um_calibration){1, 0};
    if (count[0] == 0 || count[1] == 0) return UM_FAIL(UM_DATA, "a calibration needs reals and fakes: there are %.0f and %.0f", count[0], count[1]);
    slope now = look(s, n, count, out);
    for (int k = 0; k < NEWTON_STEPS && fabs(now.g[0]) + fabs(now.g[1]) > 1e-12; k++) {
        double a = now.h[0] + 1e-12, d = now.h[2] + 1e-12, b = now.h[1], det = a * d - b * b; /* all scores equal: no curvature by the scale */
        if (!(det > 0)) break;
        double da = (d * now.g[0] - b * now.g[1]) / det, db = (a * now.g[1] - b * now.g[0]) / det, step = 1;
        um_calibration next;
        slope then = now;
        for (int i = 0; i < HALVINGS; i++, step /= 2) {
            next = (um_calibration){out->scale - step * da, out->offset - step * db};
            then = look(s, n, count, &next);
            if (then.sum <= now.sum) break;
        }
        if (!(then.sum <= now.sum)) break;
        *out = next;
        now = then;
    }
    if (out->scale > 0) return UM_OK;
    return UM_FAIL(UM_DATA, "the scores do not tell fakes from reals (a calibration would turn them round): there is nothing to calibrate");
}
