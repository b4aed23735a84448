#include "src/train/loss.h"

#include <math.h>

double um_sigmoid(double x)
{
    double e = exp(-fabs(x));
    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

double um_log_loss(double p, bool fake)
{
    static const double edge = 1e-7;
    double q = fake ? p : 1 - p;
    return -log(q < edge ? edge : q > 1 - edge ? 1 - edge : q);
}

/* One picture: its loss and the derivative by its logit. */
static double one(const um_loss_options *o, double x, double y, double *d)
{
    double p = um_sigmoid(x), l = 0;
    if (y < o->smoothing) y = o->smoothing;
    if (y > 1 - o->smoothing) y = 1 - o->smoothing;
    *d = 0;
    if (o->bce_weight != 0) {
        l += o->bce_weight * ((x > 0 ? x : 0) - x * y + log1p(exp(-fabs(x))));
        *d += o->bce_weight * (p - y);
    }
    if (o->focal_weight != 0) {
        static const double edge = 1e-8;
        double c = p < edge ? edge : p > 1 - edge ? 1 - edge : p, t = y < edge ? edge : y > 1 - edge ? 1 - edge : y;
        double q = t * c + (1 - t) * (1 - c), g = o->focal_gamma;
        l -= o->focal_weight * pow(1 - q, g) * log(q);
        /* dq/dx = (2t - 1) p (1 - p), 0 where p is clipped */
        double dq = c != p ? 0 : (2 * t - 1) * p * (1 - p);
        *d += o->focal_weight * dq * (g * pow(1 - q, g - 1) * log(q) - pow(1 - q, g) / q);
    }
    return isfinite(x) ? l : x - x; /* max(NaN, 0) is 0: a logit that is no number must not pass for one */
}

/* The k largest of a class keep their weight: the others' loss becomes NaN, which marks them. Selection by repeated search: k and n are small (hundreds). */
static void keep_hardest(size_t n, const float *target, const uint8_t *weight, double *loss, bool fake, int64_t k, int64_t count)
{
    for (; count > k; count--) {
        size_t least = n;
        for (size_t i = 0; i < n; i++) /* of equals the last goes first */
            if (weight[i] != 0 && (target[i] > 0.5f) == fake && !isnan(loss[i]) && (least == n || loss[i] <= loss[least])) least = i;
        if (least == n) return;
        loss[least] = NAN;
    }
}

um_loss um_loss_batch(const um_loss_options *o, size_t n, const float *logit, const float *target, const uint8_t *weight, float *d_logit, double *scratch)
{
    um_loss r = {0};
    double sum[2] = {0, 0};
    int64_t count[2] = {0, 0};
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        double d = 0, l = weight[i] != 0 ? one(o, (double)logit[i], (double)target[i], &d) : 0;
        d_logit[i] = (float)d;
        if (weight[i] == 0) continue;
        finite = finite && isfinite(l);
        count[target[i] > 0.5f]++;
        if (o->ohem_k > 0) scratch[i] = l;
        else sum[target[i] > 0.5f] += l;
    }
    if (!finite) {
        for (size_t i = 0; i < n; i++) d_logit[i] = 0;
        return (um_loss){NAN, NAN, NAN, count[1], count[0]};
    }
    if (o->ohem_k > 0) {
        for (int c = 0; c < 2; c++) {
            if (count[c] <= o->ohem_k) continue;
            keep_hardest(n, target, weight, scratch, c == 1, o->ohem_k, count[c]);
            count[c] = o->ohem_k;
        }
        for (size_t i = 0; i < n; i++) {
            if (weight[i] == 0) continue;
            if (isnan(scratch[i])) d_logit[i] = 0;
            else sum[target[i] > 0.5f] += scratch[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        int64_t c = count[target[i] > 0.5f];
        d_logit[i] = weight[i] != 0 ? (float)((double)d_logit[i] / (2.0 * (double)c)) : 0;
    }
    r.n_fake = count[1];
    r.n_real = count[0];
    r.fake = count[1] > 0 ? sum[1] / (double)count[1] : 0;
    r.real = count[0] > 0 ? sum[0] / (double)count[0] : 0;
    r.loss = (r.fake + r.real) / 2;
    return r;
}
