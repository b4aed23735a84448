/* train_ref.c: every operator of training written out as its definition, and its derivative as the sum that the chain rule gives, in f64. The oracle of the tests: slow on purpose. */
#include "src/nn/train_ops.h"

#include <math.h>
#include <string.h>

static size_t scratch_bytes(const um_window *v)
{
    (void)v;
    return 0;
}

static void put(float *to, double v, bool add) { *to = (float)(add ? (double)*to + v : v); }

static size_t index_of(int n, int y, int x, int height, int width, int channels)
{
    return (((size_t)n * (size_t)height + (size_t)y) * (size_t)width + (size_t)x) * (size_t)channels;
}

static size_t in_at(const um_window *v, int n, int y, int x) { return index_of(n, y, x, v->h, v->w, v->c); }
static size_t out_at(const um_window *v, int n, int p, int q) { return index_of(n, p, q, v->p, v->q, v->k); }

/* Row or column of the input under tap t of window i, or -1 outside. */
static int under(int i, int stride, int t, int pad, int side)
{
    int at = i * stride + t - pad;
    return at < side ? at : -1;
}

/* The window whose tap t lies on row or column i of the input, or -1. */
static int over(int i, int stride, int t, int pad, int windows)
{
    int at = i + pad - t;
    return at >= 0 && at % stride == 0 && at / stride < windows ? at / stride : -1;
}

static size_t filter_at(const um_window *v, int k, int c, int r, int s) { return (((size_t)k * (size_t)v->c + (size_t)c) * (size_t)v->r + (size_t)r) * (size_t)v->s + (size_t)s; }
static size_t tap_at(const um_window *v, int k, int r, int s) { return ((size_t)k * (size_t)v->r + (size_t)r) * (size_t)v->s + (size_t)s; }

static void convert(const uint8_t *x, size_t pixels, int c, const float *mean, const float *std, float *y)
{
    for (size_t i = 0; i < pixels * (size_t)c; i++) y[i] = (float)(((double)x[i] / 255 - (double)mean[i % (size_t)c]) / (double)std[i % (size_t)c]);
}

static void conv(const um_window *v, int n, const float *x, const float *weight, const float *bias, float *y, void *scratch)
{
    (void)scratch;
    for (int i = 0; i < n; i++)
        for (int p = 0; p < v->p; p++)
            for (int q = 0; q < v->q; q++)
                for (int k = 0; k < v->k; k++) {
                    double sum = bias != NULL ? (double)bias[k] : 0;
                    for (int r = 0; r < v->r; r++)
                        for (int s = 0; s < v->s; s++) {
                            int row = under(p, v->stride, r, v->pad_top, v->h), col = under(q, v->stride, s, v->pad_left, v->w);
                            if (row < 0 || col < 0) continue;
                            const float *from = x + in_at(v, i, row, col);
                            for (int c = 0; c < v->c; c++) sum += (double)from[c] * (double)weight[filter_at(v, k, c, r, s)];
                        }
                    y[out_at(v, i, p, q) + (size_t)k] = (float)sum;
                }
}

static void conv_data(const um_window *v, int n, const float *dy, const float *weight, float *dx, bool add, void *scratch)
{
    (void)scratch;
    for (int i = 0; i < n; i++)
        for (int row = 0; row < v->h; row++)
            for (int col = 0; col < v->w; col++)
                for (int c = 0; c < v->c; c++) {
                    double sum = 0;
                    for (int r = 0; r < v->r; r++)
                        for (int s = 0; s < v->s; s++) {
                            int p = over(row, v->stride, r, v->pad_top, v->p), q = over(col, v->stride, s, v->pad_left, v->q);
                            if (p < 0 || q < 0) continue;
                            const float *from = dy + out_at(v, i, p, q);
                            for (int k = 0; k < v->k; k++) sum += (double)from[k] * (double)weight[filter_at(v, k, c, r, s)];
                        }
                    put(&dx[in_at(v, i, row, col) + (size_t)c], sum, add);
                }
}

static void bias_sums(const um_window *v, int n, const float *dy, float *dbias)
{
    for (int k = 0; dbias != NULL && k < v->k; k++) {
        double sum = 0;
        for (size_t i = 0; i < (size_t)n * (size_t)v->p * (size_t)v->q; i++) sum += (double)dy[i * (size_t)v->k + (size_t)k];
        dbias[k] = (float)sum;
    }
}

/* The sum over all windows of dy at channel k times x at channel c under the tap. */
static double tap_sum(const um_window *v, int n, const float *x, const float *dy, int k, int c, int r, int s)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        for (int p = 0; p < v->p; p++)
            for (int q = 0; q < v->q; q++) {
                int row = under(p, v->stride, r, v->pad_top, v->h), col = under(q, v->stride, s, v->pad_left, v->w);
                if (row >= 0 && col >= 0) sum += (double)x[in_at(v, i, row, col) + (size_t)c] * (double)dy[out_at(v, i, p, q) + (size_t)k];
            }
    return sum;
}

static void conv_weight(const um_window *v, int n, const float *x, const float *dy, float *dweight, float *dbias, void *scratch)
{
    (void)scratch;
    for (int k = 0; k < v->k; k++)
        for (int c = 0; c < v->c; c++)
            for (int r = 0; r < v->r; r++)
                for (int s = 0; s < v->s; s++) dweight[filter_at(v, k, c, r, s)] = (float)tap_sum(v, n, x, dy, k, c, r, s);
    bias_sums(v, n, dy, dbias);
}

static void depthwise(const um_window *v, int n, const float *x, const float *weight, const float *bias, float *y, void *scratch)
{
    (void)scratch;
    for (int i = 0; i < n; i++)
        for (int p = 0; p < v->p; p++)
            for (int q = 0; q < v->q; q++)
                for (int k = 0; k < v->k; k++) {
                    double sum = bias != NULL ? (double)bias[k] : 0;
                    for (int r = 0; r < v->r; r++)
                        for (int s = 0; s < v->s; s++) {
                            int row = under(p, v->stride, r, v->pad_top, v->h), col = under(q, v->stride, s, v->pad_left, v->w);
                            if (row >= 0 && col >= 0) sum += (double)x[in_at(v, i, row, col) + (size_t)k] * (double)weight[tap_at(v, k, r, s)];
                        }
                    y[out_at(v, i, p, q) + (size_t)k] = (float)sum;
                }
}

static void depthwise_data(const um_window *v, int n, const float *dy, const float *weight, float *dx, bool add, void *scratch)
{
    (void)scratch;
    for (int i = 0; i < n; i++)
        for (int row = 0; row < v->h; row++)
            for (int col = 0; col < v->w; col++)
                for (int k = 0; k < v->k; k++) {
                    double sum = 0;
                    for (int r = 0; r < v->r; r++)
                        for (int s = 0; s < v->s; s++) {
                            int p = over(row, v->stride, r, v->pad_top, v->p), q = over(col, v->stride, s, v->pad_left, v->q);
                            if (p >= 0 && q >= 0) sum += (double)dy[out_at(v, i, p, q) + (size_t)k] * (double)weight[tap_at(v, k, r, s)];
                        }
                    put(&dx[in_at(v, i, row, col) + (size_t)k], sum, add);
                }
}

static void depthwise_weight(const um_window *v, int n, const float *x, const float *dy, float *dweight, float *dbias, void *scratch)
{
    (void)scratch;
    for (int k = 0; k < v->k; k++)
        for (int r = 0; r < v->r; r++)
            for (int s = 0; s < v->s; s++) dweight[tap_at(v, k, r, s)] = (float)tap_sum(v, n, x, dy, k, k, r, s);
    bias_sums(v, n, dy, dbias);
}

static void norm_sums(size_t pixels, int c, const float *x, const float *about, double *sums)
{
    memset(sums, 0, 2 * (size_t)c * sizeof *sums);
    for (size_t i = 0; i < pixels; i++)
        for (int j = 0; j < c; j++) {
            double d = (double)x[i * (size_t)c + (size_t)j] - (double)about[j];
            sums[j] += d;
            sums[c + j] += d * d;
        }
}

static void norm(size_t pixels, int c, const float *x, const um_norm *b, float *y)
{
    for (size_t i = 0; i < pixels * (size_t)c; i++) {
        size_t j = i % (size_t)c;
        y[i] = (float)(((double)x[i] - (double)b->mean[j]) * (double)b->scale[j] + (double)b->bias[j]);
    }
}

static void norm_data_sums(size_t pixels, int c, const float *x, const float *dy, const um_norm *b, double *sums)
{
    memset(sums, 0, 2 * (size_t)c * sizeof *sums);
    for (size_t i = 0; i < pixels; i++)
        for (int j = 0; j < c; j++) {
            size_t at = i * (size_t)c + (size_t)j;
            sums[j] += (double)dy[at];
            sums[c + j] += (double)dy[at] * (((double)x[at] - (double)b->mean[j]) * (double)b->rstd[j]);
        }
}

static void norm_data(size_t pixels, int c, const float *x, const float *dy, const um_norm *b, float *dx, bool add)
{
    for (size_t i = 0; i < pixels * (size_t)c; i++) {
        size_t j = i % (size_t)c;
        put(&dx[i], (double)b->a[j] * (double)dy[i] + (double)b->b[j] * ((double)x[i] - (double)b->mean[j]) + (double)b->c[j], add);
    }
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static void act(um_act kind, size_t pixels, int c, const float *x, const float *slope, float *y)
{
    for (size_t i = 0; i < pixels * (size_t)c; i++) {
        double v = (double)x[i];
        switch (kind) {
        case UM_ACT_NONE: break;
        case UM_ACT_SWISH: v *= sigmoid(v); break;
        case UM_ACT_SIGMOID: v = sigmoid(v); break;
        case UM_ACT_RELU: v = v > 0 ? v : 0; break;
        case UM_ACT_PRELU: v = v > 0 ? v : v * (double)slope[i % (size_t)c]; break;
        }
        y[i] = (float)v;
    }
}

static double derivative(um_act kind, double v, double slope)
{
    double s = sigmoid(v);
    switch (kind) {
    case UM_ACT_NONE: break;
    case UM_ACT_SWISH: return s * (1 + v * (1 - s));
    case UM_ACT_SIGMOID: return s * (1 - s);
    case UM_ACT_RELU: return v > 0 ? 1 : 0;
    case UM_ACT_PRELU: return v > 0 ? 1 : slope;
    }
    return 1;
}

static void act_data(um_act kind, size_t pixels, int c, const float *x, const float *slope, const float *dy, float *dx, bool add, float *dslope)
{
    for (int j = 0; kind == UM_ACT_PRELU && dslope != NULL && j < c; j++) {
        double sum = 0;
        for (size_t i = 0; i < pixels; i++) {
            size_t at = i * (size_t)c + (size_t)j;
            if (!(x[at] > 0)) sum += (double)x[at] * (double)dy[at];
        }
        dslope[j] = (float)sum;
    }
    for (size_t i = 0; dx != NULL && i < pixels * (size_t)c; i++)
        put(&dx[i], (double)dy[i] * derivative(kind, (double)x[i], kind == UM_ACT_PRELU ? (double)slope[i % (size_t)c] : 0), add);
}

static void mean(int n, int area, int c, const float *x, float *y)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < c; j++) {
            double sum = 0;
            for (int a = 0; a < area; a++) sum += (double)x[((size_t)i * (size_t)area + (size_t)a) * (size_t)c + (size_t)j];
            y[(size_t)i * (size_t)c + (size_t)j] = (float)(sum / area);
        }
}

static void mean_data(int n, int area, int c, const float *dy, float *dx, bool add)
{
    for (size_t i = 0; i < (size_t)n * (size_t)area; i++)
        for (int j = 0; j < c; j++) put(&dx[i * (size_t)c + (size_t)j], (double)dy[i / (size_t)area * (size_t)c + (size_t)j] / area, add);
}

/* Where the largest number of the window lies. */
static size_t largest(const um_window *v, const float *x, int i, int p, int q, int c)
{
    size_t best = 0;
    bool found = false;
    for (int r = 0; r < v->r; r++)
        for (int s = 0; s < v->s; s++) {
            int row = under(p, v->stride, r, v->pad_top, v->h), col = under(q, v->stride, s, v->pad_left, v->w);
            if (row < 0 || col < 0) continue;
            size_t at = in_at(v, i, row, col) + (size_t)c;
            if (!found || x[at] > x[best]) best = at;
            found = true;
        }
    return best;
}

static void max_pool(const um_window *v, int n, const float *x, float *y)
{
    for (int i = 0; i < n; i++)
        for (int p = 0; p < v->p; p++)
            for (int q = 0; q < v->q; q++)
                for (int c = 0; c < v->c; c++) y[out_at(v, i, p, q) + (size_t)c] = x[largest(v, x, i, p, q, c)];
}

static void max_pool_data(const um_window *v, int n, const float *x, const float *dy, float *dx, bool add)
{
    if (!add) memset(dx, 0, (size_t)n * (size_t)v->h * (size_t)v->w * (size_t)v->c * sizeof *dx);
    for (int i = 0; i < n; i++)
        for (int p = 0; p < v->p; p++)
            for (int q = 0; q < v->q; q++)
                for (int c = 0; c < v->c; c++) put(&dx[largest(v, x, i, p, q, c)], (double)dy[out_at(v, i, p, q) + (size_t)c], true);
}

static void scale(int n, int area, int c, const float *x, const float *gate, float *y)
{
    for (size_t i = 0; i < (size_t)n * (size_t)area; i++)
        for (int j = 0; j < c; j++) y[i * (size_t)c + (size_t)j] = x[i * (size_t)c + (size_t)j] * gate[i / (size_t)area * (size_t)c + (size_t)j];
}

static void scale_data(int n, int area, int c, const float *gate, const float *dy, float *dx, bool add)
{
    for (size_t i = 0; i < (size_t)n * (size_t)area; i++)
        for (int j = 0; j < c; j++) put(&dx[i * (size_t)c + (size_t)j], (double)dy[i * (size_t)c + (size_t)j] * (double)gate[i / (size_t)area * (size_t)c + (size_t)j], add);
}

static void scale_gate(int n, int area, int c, const float *x, const float *dy, float *dgate, bool add)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < c; j++) {
            double sum = 0;
            for (int a = 0; a < area; a++) {
                size_t at = ((size_t)i * (size_t)area + (size_t)a) * (size_t)c + (size_t)j;
                sum += (double)x[at] * (double)dy[at];
            }
            put(&dgate[(size_t)i * (size_t)c + (size_t)j], sum, add);
        }
}

static void sum(size_t count, const float *a, const float *b, float *y)
{
    for (size_t i = 0; i < count; i++) y[i] = a[i] + b[i];
}

static void times(size_t count, const float *x, float factor, float *y, bool add)
{
    for (size_t i = 0; i < count; i++) put(&y[i], (double)x[i] * (double)factor, add);
}

const um_train_ops um_train_ref = {
    .name = "ref",
    .scratch_bytes = scratch_bytes,
    .convert = convert,
    .conv = conv,
    .conv_data = conv_data,
    .conv_weight = conv_weight,
    .depthwise = depthwise,
    .depthwise_data = depthwise_data,
    .depthwise_weight = depthwise_weight,
    .norm_sums = norm_sums,
    .norm = norm,
    .norm_data_sums = norm_data_sums,
    .norm_data = norm_data,
    .act = act,
    .act_data = act_data,
    .mean = mean,
    .mean_data = mean_data,
    .max_pool = max_pool,
    .max_pool_data = max_pool_data,
    .scale = scale,
    .scale_data = scale_data,
    .scale_gate = scale_gate,
    .sum = sum,
    .times = times,
};
