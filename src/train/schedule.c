#include "src/train/schedule.h"

#include <math.h>
#include <stdlib.h>

static const double pi = 3.14159265358979323846;

static double least(double a, double b) { return a < b ? a : b; }

static double base_rate(const um_schedule *s, double t)
{
    double v = s->rate;
    switch (s->type) {
    case UM_SCHEDULE_POLY: return s->rate * pow(1 - least(t, s->max_iter) / s->max_iter, s->power);
    case UM_SCHEDULE_STEP:
        if (s->n_points == 0) return s->rate * pow(s->gamma, floor(t / s->step_size));
        for (int i = 0; i < s->n_points && s->from[i] <= t; i++) v = s->to[i];
        return v;
    case UM_SCHEDULE_MULTISTEP: {
        int passed = 0;
        while (passed < s->n_points && s->from[passed] <= t) passed++;
        return s->rate * pow(s->gamma, passed);
    }
    case UM_SCHEDULE_COSINE: return s->min_rate + (s->rate - s->min_rate) * (1 + cos(pi * least(t, s->max_iter) / s->max_iter)) / 2;
    case UM_SCHEDULE_EXPONENTIAL: return s->rate * pow(s->gamma, t);
    case UM_SCHEDULE_CONSTANT: return s->rate;
    case UM_SCHEDULE_LINEAR: v = s->rate * (s->alpha * t + s->beta); return v > 0 ? v : 0;
    }
    return v;
}

double um_schedule_rate(const um_schedule *s, int64_t step, int64_t epoch)
{
    double v = base_rate(s, (double)(s->per_epoch ? epoch : step));
    return step < s->warmup ? v * (double)(step + 1) / (double)s->warmup : v;
}

um_status um_schedule_points(um_schedule *s, const char *text, bool pairs)
{
    const char *at = text;
    s->n_points = 0;
    while (*at != 0) {
        char *end;
        int i = s->n_points;
        if (i == UM_SCHEDULE_MAX_POINTS) return UM_FAIL(UM_USAGE, "more than %d steps of the learning rate", UM_SCHEDULE_MAX_POINTS);
        s->from[i] = strtod(at, &end);
        bool ok = end > at && isfinite(s->from[i]) && (i == 0 || s->from[i] > s->from[i - 1]);
        if (ok && pairs) {
            ok = *end == ':';
            at = end + 1;
            if (ok) s->to[i] = strtod(at, &end);
            ok = ok && end > at && isfinite(s->to[i]) && s->to[i] >= 0;
        }
        if (!ok || (*end != 0 && *end != ',') || (*end == ',' && end[1] == 0))
            return UM_FAIL(UM_USAGE, "%s is not %s in ascending order", um_quote(text), pairs ? "a list of pairs like 0:0.1,5:0.01" : "a list of numbers like 3,5,8");
        s->n_points++;
        at = *end == ',' ? end + 1 : end;
    }
    return UM_OK;
}
