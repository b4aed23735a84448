#include "src/score/score.h"

#include <math.h>

/* numpy's pairwise sum (numpy/_core/src/umath/loops_utils.h.src) over the elements that `wants` names: its order of additions, so that the mean has its bits. Up to 128 numbers in eight sums, more in halves. */
typedef enum choice { ALL, ABOVE, BELOW } choice;
static const float HIGH = 0.8f, LOW = 0.2f;

static int take(choice wants, float v) { return wants == ALL || (wants == ABOVE ? v > HIGH : v < LOW); }

/* The next element of the choice from *at on. */
static float next(const float *p, choice wants, int *at)
{
    while (!take(wants, p[*at])) ++*at;
    return p[(*at)++];
}

static float sum(const float *p, choice wants, int n, int *at)
{
    if (n < 8) {
        float s = 0;
        for (int i = 0; i < n; i++) s += next(p, wants, at);
        return s;
    }
    if (n <= 128) {
        float s[8], rest;
        int i;
        for (i = 0; i < 8; i++) s[i] = next(p, wants, at);
        for (; i < n - n % 8; i++) s[i % 8] += next(p, wants, at);
        rest = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
        for (; i < n; i++) rest += next(p, wants, at);
        return rest;
    }
    int half = n / 2;
    half -= half % 8;
    float a = sum(p, wants, half, at);
    return a + sum(p, wants, n - half, at);
}

static double mean(const float *p, choice wants, int n)
{
    int at = 0;
    return sum(p, wants, n, &at) / (float)n;
}

double um_score_confident(const float *p, int n)
{
    int high = 0, low = 0;
    if (n < 1) return NAN;
    for (int i = 0; i < n; i++) {
        high += p[i] > HIGH;
        low += p[i] < LOW;
    }
    if (high > floor(n / 2.5) && high > 11) return mean(p, ABOVE, high);
    if (low > 0.9 * n) return mean(p, BELOW, low);
    return mean(p, ALL, n);
}
