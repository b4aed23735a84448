/* train_isa.c: the passes of training over maps of (pixels, C), and the level's table: see train_kernels.h; compiled once per level. */
#include "src/nn/cpu/elem.h"
#include "src/nn/cpu/train_kernels.h"

/* Of the numbers at p the first n, or a register; zeros behind. */
UM_INLINE um_v load_part(const float *p, int n)
{
    float part[UM_VL] = {0};
    if (n >= UM_VL) return um_v_load(p);
    memcpy(part, p, (size_t)n * sizeof *part);
    return um_v_load(part);
}

UM_INLINE void store_part(float *p, um_v v, int n)
{
    if (n >= UM_VL) um_v_store(p, v);
    else um_v_store_part(p, v, n);
}

UM_INLINE void give(float *p, um_v v, int n, bool add) { store_part(p, add ? um_v_add(load_part(p, n), v) : v, n); }

UM_INLINE void add_f64(double *to, um_v v, int n)
{
    float part[UM_VL];
    um_v_store(part, v);
    for (int i = 0; i < n && i < UM_VL; i++) to[i] += (double)part[i];
}

static void norm_sums(size_t pixels, int c, const float *x, const float *about, double *sums)
{
    memset(sums, 0, 2 * (size_t)c * sizeof *sums);
    for (size_t first = 0; first < pixels; first += UM_TRAIN_PIECE) {
        size_t n = pixels - first < UM_TRAIN_PIECE ? pixels - first : UM_TRAIN_PIECE;
        for (int j = 0; j < c; j += UM_VL) {
            um_v m = load_part(about + j, c - j), one = um_v_set(0), two = um_v_set(0);
            const float *at = x + first * (size_t)c + (size_t)j;
            for (size_t i = 0; i < n; i++, at += c) {
                um_v d = um_v_sub(load_part(at, c - j), m);
                one = um_v_add(one, d);
                two = um_v_fma(d, d, two);
            }
            add_f64(sums + j, one, c - j);
            add_f64(sums + c + j, two, c - j);
        }
    }
}

static void norm(size_t pixels, int c, const float *x, const um_norm *b, float *y)
{
    for (size_t i = 0; i < pixels; i++, x += c, y += c)
        for (int j = 0; j < c; j += UM_VL) {
            um_v v = um_v_sub(load_part(x + j, c - j), um_v_load(b->mean + j));
            store_part(y + j, um_v_fma(v, um_v_load(b->scale + j), um_v_load(b->bias + j)), c - j);
        }
}

static void norm_data_sums(size_t pixels, int c, const float *x, const float *dy, const um_norm *b, double *sums)
{
    memset(sums, 0, 2 * (size_t)c * sizeof *sums);
    for (size_t first = 0; first < pixels; first += UM_TRAIN_PIECE) {
        size_t n = pixels - first < UM_TRAIN_PIECE ? pixels - first : UM_TRAIN_PIECE;
        for (int j = 0; j < c; j += UM_VL) {
            um_v m = um_v_load(b->mean + j), r = um_v_load(b->rstd + j), one = um_v_set(0), two = um_v_set(0);
            size_t at = first * (size_t)c + (size_t)j;
            for (size_t i = 0; i < n; i++, at += (size_t)c) {
                um_v d = load_part(dy + at, c - j);
                one = um_v_add(one, d);
                two = um_v_fma(d, um_v_mul(um_v_sub(load_part(x + at, c - j), m), r), two);
            }
            add_f64(sums + j, one, c - j);
            add_f64(sums + c + j, two, c - j);
        }
    }
}

static void norm_data(size_t pixels, int c, const float *x, const float *dy, const um_norm *b, float *dx, bool add)
{
    for (size_t i = 0; i < pixels; i++, x += c, dy += c, dx += c)
        for (int j = 0; j < c; j += UM_VL) {
            um_v v = um_v_fma(um_v_load(b->b + j), um_v_sub(load_part(x + j, c - j), um_v_load(b->mean + j)), um_v_load(b->c + j));
            give(dx + j, um_v_fma(um_v_load(b->a + j), load_part(dy + j, c - j), v), c - j, add);
        }
}

static void act(um_act kind, size_t count, const float *x, float *y)
{
    for (size_t i = 0; i < count; i += UM_VL) {
        int n = count - i < UM_VL ? (int)(count - i) : UM_VL;
        um_v v = load_part(x + i, n);
        um_v_act(&v, 1, kind, NULL);
        store_part(y + i, v, n);
    }
}

static void act_data(um_act kind, size_t count, const float *x, const float *dy, float *dx, bool add)
{
    const um_v one = um_v_set(1);
    for (size_t i = 0; i < count; i += UM_VL) {
        int n = count - i < UM_VL ? (int)(count - i) : UM_VL;
        um_v v = load_part(x + i, n), s = v, d = load_part(dy + i, n);
        switch (kind) {
        case UM_ACT_SWISH:
            um_v_logistic(&s, 1, true);
            d = um_v_mul(d, um_v_fma(um_v_mul(v, s), um_v_sub(one, s), s));
            break;
        case UM_ACT_SIGMOID:
            um_v_logistic(&s, 1, true);
            d = um_v_mul(d, um_v_mul(s, um_v_sub(one, s)));
            break;
        case UM_ACT_RELU: /* 0 where x is not above 0 */
            for (int j = 0; j < UM_VL; j++) {
                float keep[UM_VL], from[UM_VL];
                um_v_store(keep, d);
                um_v_store(from, v);
                if (!(from[j] > 0)) keep[j] = 0;
                d = um_v_load(keep);
            }
            break;
        case UM_ACT_PRELU:
        case UM_ACT_NONE: break;
        }
        give(dx + i, d, n, add);
    }
}

/* Each piece from its first pixel on, the pieces in their order. */
static void column_sums(size_t pixels, int c, const float *x, float *sums)
{
    for (int j = 0; j < c; j += UM_VL) {
        um_v total = um_v_set(0);
        for (size_t first = 0; first < pixels; first += UM_TRAIN_PIECE) {
            size_t end = pixels - first < UM_TRAIN_PIECE ? pixels : first + UM_TRAIN_PIECE;
            um_v piece = um_v_set(0);
            for (size_t i = first; i < end; i++) piece = um_v_add(piece, load_part(x + i * (size_t)c + (size_t)j, c - j));
            total = um_v_add(total, piece);
        }
        store_part(sums + j, total, c - j);
    }
}

static void mean(int area, int c, const float *x, float *y)
{
    column_sums((size_t)area, c, x, y);
    for (int j = 0; j < c; j++) y[j] = y[j] * (1.0f / (float)area);
}

static void mean_data(int area, int c, const float *dy, float *dx, bool add)
{
    const um_v part = um_v_set(1.0f / (float)area);
    for (int i = 0; i < area; i++, dx += c)
        for (int j = 0; j < c; j += UM_VL) give(dx + j, um_v_mul(load_part(dy + j, c - j), part), c - j, add);
}

static void scale(int area, int c, const float *x, const float *gate, float *y, bool add)
{
    for (int i = 0; i < area; i++, x += c, y += c)
        for (int j = 0; j < c; j += UM_VL) give(y + j, um_v_mul(load_part(x + j, c - j), load_part(gate + j, c - j)), c - j, add);
}

static void scale_gate(int area, int c, const float *x, const float *dy, float *dgate, bool add)
{
    for (int j = 0; j < c; j += UM_VL) {
        um_v total = um_v_set(0);
        for (int first = 0; first < area; first += UM_TRAIN_PIECE) {
            int end = area - first < UM_TRAIN_PIECE ? area : first + UM_TRAIN_PIECE;
            um_v piece = um_v_set(0);
            for (int i = first; i < end; i++) {
                size_t at = (size_t)i * (size_t)c + (size_t)j;
                piece = um_v_fma(load_part(x + at, c - j), load_part(dy + at, c - j), piece);
            }
            total = um_v_add(total, piece);
        }
        give(dgate + j, total, c - j, add);
    }
}

static void sum(size_t count, const float *a, const float *b, float *y)
{
    for (size_t i = 0; i < count; i += UM_VL) {
        int n = count - i < UM_VL ? (int)(count - i) : UM_VL;
        store_part(y + i, um_v_add(load_part(a + i, n), load_part(b + i, n)), n);
    }
}

static void times(size_t count, const float *x, float factor, float *y, bool add)
{
    const um_v f = um_v_set(factor);
    for (size_t i = 0; i < count; i += UM_VL) {
        int n = count - i < UM_VL ? (int)(count - i) : UM_VL;
        give(y + i, um_v_mul(load_part(x + i, n), f), n, add);
    }
}

const um_train_kernels UM_ISA(um_train_kernels) = {
    .cpu = &UM_ISA(um_cpu_kernels),
    .pack = UM_ISA(um_train_pack),
    .wgrad = UM_ISA(um_train_wgrad),
    .dw_taps = UM_ISA(um_train_dw_taps),
    .norm_sums = norm_sums,
    .norm = norm,
    .norm_data_sums = norm_data_sums,
    .norm_data = norm_data,
    .act = act,
    .act_data = act_data,
    .mean = mean,
    .mean_data = mean_data,
    .scale = scale,
    .scale_gate = scale_gate,
    .column_sums = column_sums,
    .sum = sum,
    .times = times,
    .plane_sums = UM_ISA(um_train_plane_sums),
    .plane_act = UM_ISA(um_train_plane_act),
    .plane_mean = UM_ISA(um_train_plane_mean),
    .plane_gate = UM_ISA(um_train_plane_gate),
    .plane_through = UM_ISA(um_train_plane_through),
    .plane_times = UM_ISA(um_train_plane_times),
    .plane_norm_data = UM_ISA(um_train_plane_norm_data),
    .norm_add = UM_ISA(um_train_norm_add),
    .dense = UM_ISA(um_train_dense),
    .dense_data = UM_ISA(um_train_dense_data),
    .dense_weight = UM_ISA(um_train_dense_weight),
};
