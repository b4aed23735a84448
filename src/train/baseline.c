#include "src/train/baseline.h"

#include "src/train/loss.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

enum { SIDE = UM_BASELINE_SIDE, PAD = 2, ROW = SIDE + 2 * PAD, PIXELS = SIDE * SIDE };
enum { N = UM_BASELINE_FEATURES, M = N + 1, MAX_STEPS = 100 }; /* M: weights and the bias behind them */

/* ---- features ---- */

typedef struct sums {
    int64_t sum, squares;
} sums;

static void add(sums *s, int64_t v)
{
    s->sum += v;
    s->squares += v * v;
}

static double mean_of(sums s) { return (double)s.sum / PIXELS; }
/* n E[x^2] - (n E[x])^2 / n, the difference taken in whole numbers: |x| < 2^11 here, so nothing overflows. */
static double variance_of(sums s) { return (double)(s.squares * PIXELS - s.sum * s.sum) / ((double)PIXELS * PIXELS); }

/* The middle half of the crop, of the fixed size. */
static um_status middle(um_cvresize *resize, const um_image *crop, const um_image *out)
{
    int w = crop->width_px, h = crop->height_px, dx = w / 4, dy = h / 4;
    um_image in = um_image_crop(crop, (um_rect){dx, dy, w - dx, h - dy}), to = *out;
    return in.width_px >= SIDE && in.height_px >= SIDE ? um_cvresize_area(resize, &in, &to) : um_cvresize_cubic(resize, &in, &to);
}

/* Index of the pixel that stands at `i` - PAD: the border is a mirror through the last pixel. */
static int mirrored(int i)
{
    i = abs(i - PAD);
    return i < SIDE ? i : 2 * (SIDE - 1) - i;
}

static void fill_grey(const um_image *rgb, int32_t grey[ROW][ROW])
{
    for (int y = 0; y < ROW; y++) {
        const uint8_t *row = rgb->data + (size_t)mirrored(y) * rgb->stride;
        for (int x = 0; x < ROW; x++) {
            const uint8_t *p = row + 3 * mirrored(x);
            grey[y][x] = (9798 * p[0] + 19235 * p[1] + 3735 * p[2] + (1 << 14)) >> 15;
        }
    }
}

static void sharpness(int32_t grey[ROW][ROW], double *out)
{
    static const int32_t five[5] = {1, 4, 6, 4, 1};
    sums y = {0}, laplacian = {0};
    int64_t gradient = 0, high5 = 0, high3 = 0, noise = 0; /* high: of 256 and of 16 times the difference */
    for (int r = PAD; r < PAD + SIDE; r++) {
        for (int c = PAD; c < PAD + SIDE; c++) {
            const int32_t *u = &grey[r - 1][c], *m = &grey[r][c], *d = &grey[r + 1][c];
            int32_t side = u[0] + d[0] + m[-1] + m[1], corner = u[-1] + u[1] + d[-1] + d[1], b = 0;
            int32_t gx = u[1] - u[-1] + 2 * (m[1] - m[-1]) + d[1] - d[-1], gy = d[-1] - u[-1] + 2 * (d[0] - u[0]) + d[1] - u[1];
            for (int i = 0; i < 5; i++)
                for (int k = 0; k < 5; k++) b += five[i] * five[k] * grey[r - 2 + i][c - 2 + k];
            int64_t h5 = 256 * m[0] - b, h3 = 16 * m[0] - (4 * m[0] + 2 * side + corner);
            add(&y, m[0]);
            add(&laplacian, side - 4 * m[0]);
            gradient += gx * gx + gy * gy;
            high5 += h5 * h5;
            high3 += h3 * h3;
            noise += abs(corner - 2 * side + 4 * m[0]);
        }
    }
    out[UM_BASELINE_LAPLACIAN] = log(variance_of(laplacian) + 1);
    out[UM_BASELINE_TENENGRAD] = log((double)gradient / PIXELS + 1);
    out[UM_BASELINE_HIGH_5] = log(((double)high5 / (65536.0 * PIXELS) + 0.01) / (variance_of(y) + 1));
    out[UM_BASELINE_HIGH_3] = log(((double)high3 / (256.0 * PIXELS) + 0.01) / (variance_of(y) + 1));
    out[UM_BASELINE_NOISE] = log(sqrt(acos(-1) / 2) / 6 * (double)noise / PIXELS + 0.01);
}

static void colour(const um_image *rgb, double *out)
{
    sums channel[3] = {{0}, {0}, {0}};
    double sum = 0, squares = 0;
    for (int r = 0; r < SIDE; r++) {
        const uint8_t *p = rgb->data + (size_t)r * rgb->stride;
        for (int c = 0; c < SIDE; c++, p += 3) {
            int most = p[0], least = p[0];
            for (int k = 0; k < 3; k++) {
                add(&channel[k], p[k]);
                most = p[k] > most ? p[k] : most;
                least = p[k] < least ? p[k] : least;
            }
            double s = most > 0 ? (double)(most - least) / most : 0;
            sum += s;
            squares += s * s;
        }
    }
    for (int k = 0; k < 3; k++) {
        out[UM_BASELINE_MEAN_R + k] = mean_of(channel[k]);
        out[UM_BASELINE_STD_R + k] = sqrt(variance_of(channel[k]));
    }
    double mean = sum / PIXELS, variance = squares / PIXELS - mean * mean;
    out[UM_BASELINE_MEAN_SATURATION] = mean;
    out[UM_BASELINE_STD_SATURATION] = sqrt(variance > 0 ? variance : 0);
}

um_status um_baseline_features(um_cvresize *resize, const um_image *crop, double out[UM_BASELINE_FEATURES])
{
    uint8_t pixels[PIXELS * 3];
    int32_t grey[ROW][ROW];
    const um_image rgb = {pixels, SIDE, SIDE, 3, SIDE * 3};
    if (crop->channels != 3) return UM_FAIL(UM_USAGE, "the baseline wants RGB, not %d channels", crop->channels);
    UM_PASS(middle(resize, crop, &rgb));
    fill_grey(&rgb, grey);
    sharpness(grey, out);
    colour(&rgb, out);
    return UM_OK;
}

/* ---- fit ---- */

typedef struct problem {
    const double *x;
    const uint8_t *fake;
    size_t n;
    double share[2]; /* c_i of a real, of a fake */
    um_baseline *b;
} problem;

static double logit_of(const um_baseline *b, const double *x)
{
    double z = b->bias;
    for (int j = 0; j < N; j++) z += b->weight[j] * ((x[j] - b->mean[j]) / b->scale[j]);
    return z;
}

double um_baseline_score(const um_baseline *b, const double x[UM_BASELINE_FEATURES]) { return um_sigmoid(logit_of(b, x)); }

static um_status standardise(problem *p)
{
    um_baseline *b = p->b;
    for (int j = 0; j < N; j++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < p->n; i++) sum += p->x[i * N + (size_t)j];
        double mean = sum / (double)p->n;
        for (size_t i = 0; i < p->n; i++) squares += (p->x[i * N + (size_t)j] - mean) * (p->x[i * N + (size_t)j] - mean);
        if (!isfinite(squares)) return UM_FAIL(UM_DATA, "statistic %d of the baseline is not a finite number everywhere", j);
        double deviation = sqrt(squares / (double)p->n);
        b->mean[j] = mean;
        b->scale[j] = deviation > 10 * DBL_EPSILON * fabs(mean) ? deviation : 1; /* a statistic that is the same everywhere tells nothing */
    }
    return UM_OK;
}

/* What is made small. */
static double objective(const problem *p)
{
    double sum = 0;
    for (int j = 0; j < N; j++) sum += p->b->weight[j] * p->b->weight[j] / 2;
    for (size_t i = 0; i < p->n; i++) {
        double z = logit_of(p->b, p->x + i * N);
        sum += p->share[p->fake[i] != 0] * ((z > 0 ? z : 0) - (p->fake[i] != 0 ? z : 0) + log1p(exp(-fabs(z))));
    }
    return sum;
}

/* Its first derivatives, and the lower half of its second. */
static void derive(const problem *p, double g[M], double h[M][M])
{
    for (int j = 0; j < M; j++) {
        g[j] = j < N ? p->b->weight[j] : 0;
        for (int k = 0; k <= j; k++) h[j][k] = j == k && j < N;
    }
    for (size_t i = 0; i < p->n; i++) {
        double z[M], q = um_baseline_score(p->b, p->x + i * N), share = p->share[p->fake[i] != 0];
        double d = share * (q - (p->fake[i] != 0)), dd = share * q * (1 - q);
        for (int j = 0; j < N; j++) z[j] = (p->x[i * N + (size_t)j] - p->b->mean[j]) / p->b->scale[j];
        z[N] = 1;
        for (int j = 0; j < M; j++) {
            g[j] += d * z[j];
            for (int k = 0; k <= j; k++) h[j][k] += dd * z[j] * z[k];
        }
    }
}

/* h s = g by Cholesky's decomposition; h becomes its root, g becomes s. */
static void solve(double h[M][M], double g[M])
{
    for (int j = 0; j < M; j++)
        for (int i = j; i < M; i++) {
            double v = h[i][j];
            for (int k = 0; k < j; k++) v -= h[i][k] * h[j][k];
            /* 1 or more but for the bias, which has nothing to hold it where all scores are 0 or 1 to the last bit */
            h[i][j] = i == j ? sqrt(v > DBL_MIN ? v : DBL_MIN) : v / h[j][j];
        }
    for (int i = 0; i < M; i++) {
        for (int k = 0; k < i; k++) g[i] -= h[i][k] * g[k];
        g[i] /= h[i][i];
    }
    for (int i = M - 1; i >= 0; i--) {
        for (int k = i + 1; k < M; k++) g[i] -= h[k][i] * g[k];
        g[i] /= h[i][i];
    }
}

/* One step of Newton's; false where none makes it less: this is the least, up to rounding. */
static bool descend(const problem *p, double *value)
{
    double s[M], h[M][M], factor = 1;
    const um_baseline from = *p->b;
    derive(p, s, h);
    solve(h, s);
    for (int halved = 0; halved < 40; halved++, factor /= 2) {
        for (int j = 0; j < N; j++) p->b->weight[j] = from.weight[j] - factor * s[j];
        p->b->bias = from.bias - factor * s[N];
        double now = objective(p);
        if (now < *value) {
            *value = now;
            return true;
        }
    }
    *p->b = from;
    return false;
}

um_status um_baseline_fit(const double *x, const uint8_t *fake, size_t n, um_baseline *out)
{
    problem p = {.x = x, .fake = fake, .n = n, .b = out};
    size_t fakes = 0;
    *out = (um_baseline){0};
    for (size_t i = 0; i < n; i++) fakes += fake[i] != 0;
    if (fakes == 0 || fakes == n) return UM_FAIL(UM_DATA, "the baseline has %zu reals and %zu fakes to learn from: both are needed", n - fakes, fakes);
    p.share[0] = (double)n / (2 * (double)(n - fakes));
    p.share[1] = (double)n / (2 * (double)fakes);
    UM_PASS(standardise(&p));
    double value = objective(&p);
    while (out->n_steps < MAX_STEPS && descend(&p, &value)) out->n_steps++;
    return UM_OK;
}
