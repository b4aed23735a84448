/* planes_isa.c: the passes of a bottleneck in training over planes of 16 channels, and dense layers on vectors: see train_kernels.h; compiled once per level.
 *
 * Normalised and activated maps are made here again whenever they are needed, from the saved outputs of the convolutions: that costs less than memory would.
 */
#include "src/nn/cpu/elem.h"
#include "src/nn/cpu/train_kernels.h"

enum { AT_ONCE = 3 }; /* pixels: um_v_logistic hides latencies behind each other */

UM_INLINE void add_f64(double *to, um_v v)
{
    float part[UM_VL];
    um_v_store(part, v);
    for (int i = 0; i < UM_VL; i++) to[i] += (double)part[i];
}

/* What belongs to the 16 channels of a plane, one register of them. */
typedef struct norm_v {
    um_v mean, scale, bias;
} norm_v;

UM_INLINE norm_v load_norm(const um_norm *b, int c) { return (norm_v){um_v_load(b->mean + c), um_v_load(b->scale + c), um_v_load(b->bias + c)}; }

/* y = norm(z), s = sigmoid(y), of n pixels. */
UM_INLINE void logistic_of(const float *z, const int n, const norm_v *b, um_v *y, um_v *s)
{
    UM_UNROLL
    for (int i = 0; i < n; i++) s[i] = y[i] = um_v_fma(um_v_sub(um_v_load(z + i * UM_CPU_PLANE), b->mean), b->scale, b->bias);
    um_v_logistic(s, n, true);
}

/* The derivative of swish, from y, s = sigmoid(y) and a = y s. */
UM_INLINE um_v slope_of(um_v s, um_v a) { return um_v_fma(a, um_v_sub(um_v_set(1), s), s); }

void UM_ISA(um_train_plane_sums)(size_t pixels, const float *z, const float *about, double *one, double *two)
{
    for (int v = 0; v < UM_CPU_PLANE; v += UM_VL) {
        um_v m = um_v_load(about + v);
        for (size_t first = 0; first < pixels; first += UM_TRAIN_PIECE) {
            size_t n = pixels - first < UM_TRAIN_PIECE ? pixels - first : UM_TRAIN_PIECE;
            const float *at = z + first * UM_CPU_PLANE + v;
            um_v sum = um_v_set(0), squares = um_v_set(0);
            for (size_t i = 0; i < n; i++, at += UM_CPU_PLANE) {
                um_v d = um_v_sub(um_v_load(at), m);
                sum = um_v_add(sum, d);
                squares = um_v_fma(d, d, squares);
            }
            add_f64(one + v, sum);
            add_f64(two + v, squares);
        }
    }
}

UM_INLINE void act_some(const float *z, const int n, const norm_v *b, um_v gate, bool gated, float *a, float *d)
{
    um_v y[AT_ONCE], s[AT_ONCE];
    logistic_of(z, n, b, y, s);
    UM_UNROLL
    for (int i = 0; i < n; i++) {
        um_v w = um_v_mul(y[i], s[i]);
        um_v_store(a + i * UM_CPU_PLANE, gated ? um_v_mul(w, gate) : w);
        if (d != NULL) um_v_store(d + i * UM_CPU_PLANE, slope_of(s[i], w));
    }
}

/* a = swish(norm(z)) [* gate], d = swish'(norm(z)), or d NULL. */
void UM_ISA(um_train_plane_act)(size_t pixels, const float *z, const um_norm *b, int c, const float *gate, float *a, float *d)
{
    for (int v = 0; v < UM_CPU_PLANE; v += UM_VL) {
        norm_v n = load_norm(b, c + v);
        um_v g = um_v_set(1);
        size_t i = 0, end = pixels * UM_CPU_PLANE;
        if (gate != NULL) g = um_v_load(gate + v);
        for (; i + AT_ONCE * UM_CPU_PLANE <= end; i += AT_ONCE * UM_CPU_PLANE) act_some(z + i + v, AT_ONCE, &n, g, gate != NULL, a + i + v, d != NULL ? d + i + v : NULL);
        for (; i < end; i += UM_CPU_PLANE) act_some(z + i + v, 1, &n, g, gate != NULL, a + i + v, d != NULL ? d + i + v : NULL);
    }
}

/* The sum of swish(norm(z)): pieces as everywhere. */
void UM_ISA(um_train_plane_mean)(size_t pixels, const float *z, const um_norm *b, int c, float *mean)
{
    for (int v = 0; v < UM_CPU_PLANE; v += UM_VL) {
        norm_v n = load_norm(b, c + v);
        um_v total = um_v_set(0), y[AT_ONCE], s[AT_ONCE];
        for (size_t first = 0; first < pixels; first += UM_TRAIN_PIECE) {
            size_t end = pixels - first < UM_TRAIN_PIECE ? pixels : first + UM_TRAIN_PIECE, i = first;
            um_v sum = um_v_set(0);
            for (; i + AT_ONCE <= end; i += AT_ONCE) {
                logistic_of(z + i * UM_CPU_PLANE + v, AT_ONCE, &n, y, s);
                UM_UNROLL
                for (int j = 0; j < AT_ONCE; j++) sum = um_v_fma(y[j], s[j], sum);
            }
            for (; i < end; i++) {
                logistic_of(z + i * UM_CPU_PLANE + v, 1, &n, y, s);
                sum = um_v_fma(y[0], s[0], sum);
            }
            total = um_v_add(total, sum);
        }
        um_v_store(mean + v, um_v_mul(total, um_v_set(1.0f / (float)pixels)));
    }
}

typedef struct gate_sums {
    um_v gate, a, b, c, d;
} gate_sums;

UM_INLINE void gate_some(const float *z, const float *e, const int n, const norm_v *b, um_v rstd, um_v gate, float *ag, gate_sums *t)
{
    um_v y[AT_ONCE], s[AT_ONCE];
    logistic_of(z, n, b, y, s);
    UM_UNROLL
    for (int i = 0; i < n; i++) {
        um_v a = um_v_mul(y[i], s[i]), w = slope_of(s[i], a), dy = um_v_load(e + i * UM_CPU_PLANE), x = um_v_mul(um_v_sub(um_v_load(z + i * UM_CPU_PLANE), b->mean), rstd), dw = um_v_mul(dy, w);
        um_v_store(ag + i * UM_CPU_PLANE, um_v_mul(a, gate));
        t->gate = um_v_fma(dy, a, t->gate);
        t->a = um_v_add(t->a, dw);
        t->b = um_v_add(t->b, w);
        t->c = um_v_fma(dw, x, t->c);
        t->d = um_v_fma(w, x, t->d);
    }
}

/* Before the gate: with e the derivative by a gated map, a = swish(norm(z)), w = swish'(norm(z)) and x = (z - mean) rstd: ag = a gate, and sums[0..5) (f64, 16 each, added to) of e a, e w, w, e w x, w x. */
void UM_ISA(um_train_plane_gate)(size_t pixels, const float *z, const float *e, const um_norm *b, int c, const float *gate, float *ag, double *sums)
{
    for (int v = 0; v < UM_CPU_PLANE; v += UM_VL) {
        norm_v n = load_norm(b, c + v);
        um_v rstd = um_v_load(b->rstd + c + v), g = um_v_load(gate + v), zero = um_v_set(0);
        for (size_t first = 0; first < pixels; first += UM_TRAIN_PIECE) {
            size_t end = pixels - first < UM_TRAIN_PIECE ? pixels : first + UM_TRAIN_PIECE, i = first;
            gate_sums t = {zero, zero, zero, zero, zero};
            for (; i + AT_ONCE <= end; i += AT_ONCE) gate_some(z + i * UM_CPU_PLANE + v, e + i * UM_CPU_PLANE + v, AT_ONCE, &n, rstd, g, ag + i * UM_CPU_PLANE + v, &t);
            for (; i < end; i++) gate_some(z + i * UM_CPU_PLANE + v, e + i * UM_CPU_PLANE + v, 1, &n, rstd, g, ag + i * UM_CPU_PLANE + v, &t);
            add_f64(sums + v, t.gate);
            add_f64(sums + UM_CPU_PLANE + v, t.a);
            add_f64(sums + 2 * UM_CPU_PLANE + v, t.b);
            add_f64(sums + 3 * UM_CPU_PLANE + v, t.c);
            add_f64(sums + 4 * UM_CPU_PLANE + v, t.d);
        }
    }
}

UM_INLINE void through_some(const float *z, const float *e, const int n, const norm_v *b, const um_v *k, size_t out_step, float *dz)
{
    um_v y[AT_ONCE], s[AT_ONCE];
    logistic_of(z, n, b, y, s);
    UM_UNROLL
    for (int i = 0; i < n; i++) {
        um_v w = slope_of(s[i], um_v_mul(y[i], s[i])), dy = um_v_mul(um_v_fma(um_v_load(e + i * UM_CPU_PLANE), k[0], k[1]), w);
        um_v_store(dz + (size_t)i * out_step, um_v_fma(k[2], dy, um_v_fma(k[3], um_v_sub(um_v_load(z + i * UM_CPU_PLANE), b->mean), k[4])));
    }
}

/* dz = a dy + b (z - mean) + c with dy = (e gate + m) swish'(norm(z)): through the gate, swish and batch norm at once. Pixels of dz are out_step numbers apart. */
void UM_ISA(um_train_plane_through)(size_t pixels, const float *z, const float *e, const um_norm *b, int c, const float *gate, const float *m, size_t out_step, float *dz)
{
    for (int v = 0; v < UM_CPU_PLANE; v += UM_VL) {
        norm_v n = load_norm(b, c + v);
        um_v k[5] = {um_v_load(gate + v), um_v_load(m + v), um_v_load(b->a + c + v), um_v_load(b->b + c + v), um_v_load(b->c + c + v)};
        size_t i = 0;
        for (; i + AT_ONCE <= pixels; i += AT_ONCE) through_some(z + i * UM_CPU_PLANE + v, e + i * UM_CPU_PLANE + v, AT_ONCE, &n, k, out_step, dz + i * out_step + v);
        for (; i < pixels; i++) through_some(z + i * UM_CPU_PLANE + v, e + i * UM_CPU_PLANE + v, 1, &n, k, out_step, dz + i * out_step + v);
    }
}

/* dy = e d; sums of dy and of dy (z - mean) rstd, one chain over the pixels of the call each. */
void UM_ISA(um_train_plane_times)(size_t pixels, const float *e, const float *d, const float *z, const um_norm *b, int c, float *dy, double *one, double *two)
{
    for (int v = 0; v < UM_CPU_PLANE; v += UM_VL) {
        um_v mean = um_v_load(b->mean + c + v), rstd = um_v_load(b->rstd + c + v), sum = um_v_set(0), by_x = um_v_set(0);
        for (size_t i = 0; i < pixels * UM_CPU_PLANE; i += UM_CPU_PLANE) {
            um_v t = um_v_mul(um_v_load(e + i + v), um_v_load(d + i + v));
            um_v_store(dy + i + v, t);
            sum = um_v_add(sum, t);
            by_x = um_v_fma(t, um_v_mul(um_v_sub(um_v_load(z + i + v), mean), rstd), by_x);
        }
        add_f64(one + v, sum);
        add_f64(two + v, by_x);
    }
}

/* dz = a (factor e) + b (z - mean) + c; e and z have pixels `stride` numbers apart, of which n <= 16 channels are there; zeros behind. */
void UM_ISA(um_train_plane_norm_data)(size_t pixels, const float *z, const float *e, size_t stride, int n, float factor, const um_norm *b, int c, float *dz)
{
    for (int v = 0; v < UM_CPU_PLANE; v += UM_VL) {
        um_v mean = um_v_load(b->mean + c + v), ka = um_v_mul(um_v_load(b->a + c + v), um_v_set(factor)), kb = um_v_load(b->b + c + v), kc = um_v_load(b->c + c + v);
        int left = n - v < UM_VL ? n - v : UM_VL;
        for (size_t i = 0; i < pixels; i++) {
            um_v x = um_v_set(0), y = x;
            if (left == UM_VL) {
                x = um_v_load(z + i * stride + v);
                y = um_v_load(e + i * stride + v);
            } else if (left > 0) {
                float part[2][UM_VL] = {{0}};
                memcpy(part[0], z + i * stride + v, (size_t)left * sizeof **part);
                memcpy(part[1], e + i * stride + v, (size_t)left * sizeof **part);
                x = um_v_load(part[0]);
                y = um_v_load(part[1]);
            }
            um_v_store(dz + i * UM_CPU_PLANE + v, um_v_fma(ka, y, um_v_fma(kb, um_v_sub(x, mean), kc)));
        }
    }
}

/* y = norm(z) * keep [+ x]; (pixels, C). */
void UM_ISA(um_train_norm_add)(size_t pixels, int c, const float *z, const um_norm *b, float keep, const float *x, float *y)
{
    const um_v k = um_v_set(keep);
    for (size_t i = 0; i < pixels; i++, z += c, y += c) {
        for (int j = 0; j < c; j += UM_VL) {
            um_v v = um_v_fma(um_v_sub(um_v_load(z + j), um_v_load(b->mean + j)), um_v_load(b->scale + j), um_v_load(b->bias + j)); /* may read behind the pixel */
            v = um_v_mul(v, k);
            if (x != NULL) v = um_v_add(v, um_v_load(x + j));
            if (c - j >= UM_VL) um_v_store(y + j, v);
            else um_v_store_part(y + j, v, c - j);
        }
        if (x != NULL) x += c;
    }
}

/* ---- dense layers: n vectors at a time, weights (K,C) read once ---- */

/* y[k] = bias[k] + sum of w[k][c] x[c]: 16 chains, of c = 0, 16, ..., of c = 1, 17, ... and so on, which are then added in a binary tree. */
void UM_ISA(um_train_dense)(int n, int c, int k, const float *x, const float *w, const float *bias, float *y)
{
    enum { N = UM_CPU_PLANE / UM_VL };
    for (int o = 0; o < k; o++) {
        const float *row = w + (size_t)o * (size_t)c;
        for (int i = 0; i < n; i++) {
            const float *in = x + (size_t)i * (size_t)c;
            um_v acc[N];
            float sum[UM_CPU_PLANE];
            int j = 0;
            for (int t = 0; t < N; t++) acc[t] = um_v_set(0);
            for (; j + UM_CPU_PLANE <= c; j += UM_CPU_PLANE)
                for (int t = 0; t < N; t++) acc[t] = um_v_fma(um_v_load(row + j + t * UM_VL), um_v_load(in + j + t * UM_VL), acc[t]);
            for (int t = 0; t < N; t++) um_v_store(sum + t * UM_VL, acc[t]);
            for (int t = 0; j < c; j++, t++) sum[t] = fmaf(row[j], in[j], sum[t]);
            for (int step = 1; step < UM_CPU_PLANE; step *= 2)
                for (int t = 0; t + step < UM_CPU_PLANE; t += 2 * step) sum[t] += sum[t + step];
            y[(size_t)i * (size_t)k + (size_t)o] = (bias != NULL ? bias[o] : 0) + sum[0];
        }
    }
}

/* y += a x. */
UM_INLINE void axpy(int n, float a, const float *x, float *y)
{
    const um_v f = um_v_set(a);
    int j = 0;
    for (; j + UM_VL <= n; j += UM_VL) um_v_store(y + j, um_v_fma(f, um_v_load(x + j), um_v_load(y + j)));
    for (; j < n; j++) y[j] = fmaf(a, x[j], y[j]);
}

/* dx[c] (+)= sum of w[k][c] dy[k], a chain over k. */
void UM_ISA(um_train_dense_data)(int n, int c, int k, const float *dy, const float *w, float *dx, bool add)
{
    if (!add) memset(dx, 0, (size_t)n * (size_t)c * sizeof *dx);
    for (int o = 0; o < k; o++)
        for (int i = 0; i < n; i++) axpy(c, dy[(size_t)i * (size_t)k + (size_t)o], w + (size_t)o * (size_t)c, dx + (size_t)i * (size_t)c);
}

/* dw[k][c] = sum of dy[k] x[c], dbias[k] = sum of dy[k], chains over the vectors. */
void UM_ISA(um_train_dense_weight)(int n, int c, int k, const float *x, const float *dy, float *dw, float *dbias)
{
    for (int o = 0; o < k; o++) {
        float *row = dw + (size_t)o * (size_t)c, sum = 0;
        memset(row, 0, (size_t)c * sizeof *row);
        for (int i = 0; i < n; i++) {
            float d = dy[(size_t)i * (size_t)k + (size_t)o];
            axpy(c, d, x + (size_t)i * (size_t)c, row);
            sum += d;
        }
        if (dbias != NULL) dbias[o] = sum;
    }
}
