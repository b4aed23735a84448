/* ref.c: every step written out as its definition, one output number after the other, summed in f64. The oracle of the tests: slow on purpose. In a bf16 plan, maps and weights are rounded to bf16 where
 * they are stored, and nothing else is. */
#include "src/nn/backend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct um_kernel {
    um_step step;
};

static double load(const void *p, um_dtype type, size_t i)
{
    if (type == UM_F32) return (double)((const float *)p)[i];
    if (type == UM_BF16) return (double)um_bf16_to_f32(((const uint16_t *)p)[i]);
    return (double)((const uint8_t *)p)[i];
}

/* Returns what was stored, after rounding. */
static double store(void *p, um_dtype type, size_t i, double v)
{
    if (type == UM_F32) ((float *)p)[i] = (float)v;
    else ((uint16_t *)p)[i] = um_bf16_from_f32((float)v);
    return load(p, type, i);
}

static double activate(um_act act, double x, const float *slope, size_t k)
{
    switch (act) {
    case UM_ACT_NONE: return x;
    case UM_ACT_SWISH: return x / (1 + exp(-x));
    case UM_ACT_SIGMOID: return 1 / (1 + exp(-x));
    case UM_ACT_RELU: return x > 0 ? x : 0;
    case UM_ACT_PRELU: return x > 0 ? x : x * (double)slope[k];
    }
    return x;
}

/* Constants of a step: weight, then bias (K), then slope (K). The filter of a CONV is kept as (R,S,C,K), so that one input number meets the weights of all outputs side by side. */
static size_t weight_count(const um_step *s)
{
    size_t taps = (size_t)s->r * (size_t)s->s;
    return s->kind == UM_STEP_CONV ? taps * (size_t)s->c * (size_t)s->k : s->kind == UM_STEP_DEPTHWISE ? taps * (size_t)s->k : 0;
}

static size_t index_of(int n, int y, int x, int height, int width, int channels)
{
    return (((size_t)n * (size_t)height + (size_t)y) * (size_t)width + (size_t)x) * (size_t)channels;
}

/* Row or column of the input under tap t of window i, or -1 outside. */
static int under(int i, int stride, int t, int pad, int side)
{
    int at = i * stride + t - pad;
    return at < side ? at : -1;
}

static void run_convert(const um_step *s, const void *in, void *out)
{
    size_t n = (size_t)s->n * (size_t)s->h * (size_t)s->w;
    for (size_t i = 0; i < n * (size_t)s->c; i++) {
        size_t c = i % (size_t)s->c;
        store(out, s->out_type, i, (load(in, UM_U8, i) / 255 - (double)s->mean[c]) / (double)s->std[c]);
    }
}

static void run_conv(const um_step *s, const float *weight, void *const *value, double *sum)
{
    size_t n_c = (size_t)s->c, n_k = (size_t)s->k;
    const float *bias = weight + weight_count(s), *slope = bias + n_k;
    for (int n = 0; n < s->n; n++)
        for (int p = 0; p < s->p; p++)
            for (int q = 0; q < s->q; q++) {
                size_t to = index_of(n, p, q, s->p, s->q, s->k);
                for (size_t k = 0; k < n_k; k++) sum[k] = (double)bias[k];
                for (int r = 0; r < s->r; r++)
                    for (int t = 0; t < s->s; t++) {
                        int y = under(p, s->stride, r, s->pad_top, s->h), x = under(q, s->stride, t, s->pad_left, s->w);
                        const float *w = weight + (size_t)(r * s->s + t) * n_c * n_k;
                        if (y < 0 || x < 0) continue;
                        for (size_t c = 0; c < n_c; c++) {
                            double v = load(value[s->in], s->in_type, index_of(n, y, x, s->h, s->w, s->c) + c);
                            if (s->gate >= 0) v *= load(value[s->gate], UM_F32, (size_t)n * n_c + c);
                            for (size_t k = 0; k < n_k; k++) sum[k] += v * (double)w[c * n_k + k];
                        }
                    }
                for (size_t k = 0; k < n_k; k++) {
                    if (s->residual >= 0) sum[k] += load(value[s->residual], s->out_type, to + k);
                    store(value[s->out], s->out_type, to + k, activate(s->act, sum[k], slope, k));
                }
            }
}

static void run_depthwise(const um_step *s, const float *weight, void *const *value)
{
    size_t n_k = (size_t)s->k;
    const float *bias = weight + weight_count(s), *slope = bias + n_k;
    for (int n = 0; n < s->n; n++)
        for (size_t k = 0; k < n_k; k++) {
            double total = 0;
            for (int p = 0; p < s->p; p++)
                for (int q = 0; q < s->q; q++) {
                    double sum = (double)bias[k];
                    for (int r = 0; r < s->r; r++)
                        for (int t = 0; t < s->s; t++) {
                            int y = under(p, s->stride, r, s->pad_top, s->h), x = under(q, s->stride, t, s->pad_left, s->w);
                            if (y < 0 || x < 0) continue;
                            sum += load(value[s->in], s->in_type, index_of(n, y, x, s->h, s->w, s->c) + k) * (double)weight[(size_t)(r * s->s + t) * n_k + k];
                        }
                    total += store(value[s->out], s->out_type, index_of(n, p, q, s->p, s->q, s->k) + k, activate(s->act, sum, slope, k));
                }
            if (s->means >= 0) store(value[s->means], UM_F32, (size_t)n * n_k + k, total / ((double)s->p * s->q));
        }
}

static void run_mean(const um_step *s, const void *in, void *out)
{
    for (int n = 0; n < s->n; n++)
        for (size_t c = 0; c < (size_t)s->c; c++) {
            double total = 0;
            for (int y = 0; y < s->h; y++)
                for (int x = 0; x < s->w; x++) total += load(in, s->in_type, index_of(n, y, x, s->h, s->w, s->c) + c);
            store(out, s->out_type, (size_t)n * (size_t)s->c + c, total / ((double)s->h * s->w));
        }
}

static void run_max_pool(const um_step *s, const void *in, void *out)
{
    for (int n = 0; n < s->n; n++)
        for (int p = 0; p < s->p; p++)
            for (int q = 0; q < s->q; q++)
                for (size_t c = 0; c < (size_t)s->c; c++) {
                    double most = -INFINITY;
                    for (int r = 0; r < s->r; r++)
                        for (int t = 0; t < s->s; t++) {
                            int y = under(p, s->stride, r, s->pad_top, s->h), x = under(q, s->stride, t, s->pad_left, s->w);
                            if (y < 0 || x < 0) continue;
                            most = fmax(most, load(in, s->in_type, index_of(n, y, x, s->h, s->w, s->c) + c));
                        }
                    store(out, s->out_type, index_of(n, p, q, s->p, s->q, s->k) + c, most);
                }
}

static void run_elements(const um_step *s, const float *constants, void *const *value)
{
    size_t n_k = (size_t)s->k, each = (size_t)s->p * (size_t)s->q * n_k;
    const float *slope = constants + n_k;
    for (size_t i = 0; i < (size_t)s->n * each; i++) {
        double v = load(value[s->in], s->in_type, i);
        if (s->gate >= 0) v *= load(value[s->gate], UM_F32, i / each * n_k + i % n_k);
        if (s->residual >= 0) v += load(value[s->residual], s->out_type, i);
        store(value[s->out], s->out_type, i, activate(s->act, v, slope, i % n_k));
    }
}

static bool has(um_dtype precision)
{
    (void)precision;
    return true;
}

static int take(const um_step *step, int n)
{
    (void)step;
    (void)n;
    return 1;
}

static um_status kernel_new(const um_step *step, int n, um_kernel **out)
{
    um_kernel *k = malloc(sizeof *k);
    if (k == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a kernel");
    (void)n; /* 1: take() */
    k->step = step[0];
    *out = k;
    return UM_OK;
}

static void kernel_free(um_kernel *k) { free(k); }

static size_t constant_bytes(const um_kernel *k) { return (weight_count(&k->step) + 2 * (size_t)k->step.k) * sizeof(float); }

static size_t scratch_bytes(const um_kernel *k) { return k->step.kind == UM_STEP_CONV ? (size_t)k->step.k * sizeof(double) : 0; }

static um_status pack(const um_kernel *k, const um_step_weights *w, void *constants)
{
    const um_step *s = &k->step;
    float *weight = constants, *bias = weight + weight_count(s), *slope = bias + s->k;
    size_t n_k = (size_t)s->k, each = (size_t)s->r * (size_t)s->s * (size_t)s->c;
    for (size_t i = 0; i < weight_count(s); i++) {
        /* (K,R,S,C) to (R,S,C,K); (R,S,C) stays. */
        float v = s->kind == UM_STEP_CONV ? w->weight[i % n_k * each + i / n_k] : w->weight[i];
        weight[i] = s->in_type == UM_BF16 ? um_bf16_to_f32(um_bf16_from_f32(v)) : v;
    }
    for (size_t i = 0; i < n_k; i++) {
        bias[i] = w->bias != NULL ? w->bias[i] : 0;
        slope[i] = w->slope != NULL ? w->slope[i] : 0;
    }
    return UM_OK;
}

static um_status run(const um_kernel *k, const void *constants, void *const *value, void *scratch, void *stream)
{
    const um_step *s = &k->step;
    (void)stream;
    switch (s->kind) {
    case UM_STEP_CONVERT: run_convert(s, value[s->in], value[s->out]); break;
    case UM_STEP_CONV: run_conv(s, constants, value, scratch); break;
    case UM_STEP_DEPTHWISE: run_depthwise(s, constants, value); break;
    case UM_STEP_MEAN: run_mean(s, value[s->in], value[s->out]); break;
    case UM_STEP_MAX_POOL: run_max_pool(s, value[s->in], value[s->out]); break;
    case UM_STEP_ACT: run_elements(s, constants, value); break;
    }
    return UM_OK;
}

const um_backend um_backend_ref = {"ref", has, take, kernel_new, kernel_free, constant_bytes, scratch_bytes, pack, run, NULL};
