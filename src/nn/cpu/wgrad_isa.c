/* wgrad_isa.c: gradients of filters, see train_kernels.h; compiled once per level.
 *
 * A tile of the gradient, ROWS outputs by COLS registers of inputs, stays in registers while it runs over the pixels of a call. Planes make both sides run through memory in order.
 */
#include "src/nn/cpu/elem.h"
#include "src/nn/cpu/train_kernels.h"

#if defined(UM_ISA_avx512)
enum { ROWS = 8, COLS = 3 };
#elif defined(UM_ISA_avx2)
enum { ROWS = 4, COLS = 3 };
#else
enum { ROWS = 4, COLS = 2 };
#endif

UM_INLINE void tile(const um_wgrad *g, int k, int c, const int cols)
{
    um_v acc[ROWS][COLS];
    const float *x[COLS], *dy = g->dy + (size_t)(k / UM_CPU_PLANE) * g->dy_plane + k % UM_CPU_PLANE;
    UM_UNROLL
    for (int j = 0; j < cols; j++) {
        int at = c + j * UM_VL;
        x[j] = g->x + (size_t)(at / UM_CPU_PLANE) * g->x_plane + at % UM_CPU_PLANE;
        UM_UNROLL
        for (int i = 0; i < ROWS; i++) acc[i][j] = um_v_set(0);
    }
    for (size_t at = 0, end = (size_t)g->pixels * UM_CPU_PLANE; at != end; at += UM_CPU_PLANE) {
        um_v v[COLS];
        UM_UNROLL
        for (int j = 0; j < cols; j++) v[j] = um_v_load(x[j] + at);
        UM_UNROLL
        for (int i = 0; i < ROWS; i++) {
            um_v d = um_v_set(dy[at + (size_t)i]);
            UM_UNROLL
            for (int j = 0; j < cols; j++) acc[i][j] = um_v_fma(d, v[j], acc[i][j]);
        }
    }
    UM_UNROLL
    for (int i = 0; i < ROWS; i++) {
        if (k + i >= g->k) break;
        float *row = g->dw + (size_t)(k + i) * g->dw_row + c;
        UM_UNROLL
        for (int j = 0; j < cols; j++) {
            int n = g->c - c - j * UM_VL;
            um_v v = acc[i][j];
            if (n >= UM_VL) um_v_store(row + j * UM_VL, g->first ? v : um_v_add(um_v_load(row + j * UM_VL), v));
            else {
                float part[UM_VL] = {0};
                if (!g->first) memcpy(part, row + j * UM_VL, (size_t)n * sizeof *part);
                um_v_store_part(row + j * UM_VL, g->first ? v : um_v_add(um_v_load(part), v), n);
            }
        }
    }
}

void UM_ISA(um_train_wgrad)(const um_wgrad *g)
{
    for (int c = 0; c < g->c; c += COLS * UM_VL) {
        int cols = (g->c - c + UM_VL - 1) / UM_VL;
        for (int k = 0; k < g->k; k += ROWS) {
            if (cols >= COLS) tile(g, k, c, COLS);
            else if (cols == 2) tile(g, k, c, 2);
            else tile(g, k, c, 1);
        }
    }
}

/* ---- depthwise ---- */

/* TR filter rows at a time: their TR * S sums stay in registers. */
UM_INLINE void taps(const um_dw_taps *d, const int TR, const int S, const int stride, int v, int r)
{
    um_v acc[25];
    UM_UNROLL
    for (int t = 0; t < TR; t++)
        UM_UNROLL
        for (int s = 0; s < S; s++) acc[t * S + s] = um_v_set(0);
    for (int p = 0; p < d->rows; p++) {
        const float *dy = d->dy + (size_t)p * d->dy_row + v, *x = d->x + (size_t)(p * stride + r) * d->x_row + v;
        for (int q = 0; q < d->q; q++, dy += d->dy_col, x += stride * UM_CPU_PLANE) {
            um_v g = um_v_load(dy);
            UM_UNROLL
            for (int t = 0; t < TR; t++)
                UM_UNROLL
                for (int s = 0; s < S; s++) acc[t * S + s] = um_v_fma(g, um_v_load(x + (size_t)t * d->x_row + (size_t)s * UM_CPU_PLANE), acc[t * S + s]);
        }
    }
    UM_UNROLL
    for (int t = 0; t < TR; t++)
        UM_UNROLL
        for (int s = 0; s < S; s++) {
            float *to = d->taps + (size_t)((r + t) * S + s) * UM_CPU_PLANE + v;
            um_v_store(to, um_v_add(um_v_load(to), acc[t * S + s]));
        }
}

#if defined(UM_ISA_avx512)
enum { ROWS3 = 3, ROWS5 = 5 };
#else
enum { ROWS3 = 3, ROWS5 = 2 }; /* 16 registers */
#endif

static void taps_3_1(const um_dw_taps *d, int v) { taps(d, ROWS3, 3, 1, v, 0); }
static void taps_3_2(const um_dw_taps *d, int v) { taps(d, ROWS3, 3, 2, v, 0); }
static void taps_5(const um_dw_taps *d, const int stride, int v)
{
    int r = 0;
    for (; r + ROWS5 <= 5; r += ROWS5) taps(d, ROWS5, 5, stride, v, r);
    for (; r < 5; r++) taps(d, 1, 5, stride, v, r);
}
static void taps_5_1(const um_dw_taps *d, int v) { taps_5(d, 1, v); }
static void taps_5_2(const um_dw_taps *d, int v) { taps_5(d, 2, v); }

static void taps_plain(const um_dw_taps *d, int v)
{
    for (int r = 0; r < d->r; r++)
        for (int s = 0; s < d->s; s++) {
            um_v acc = um_v_set(0);
            for (int p = 0; p < d->rows; p++)
                for (int q = 0; q < d->q; q++)
                    acc = um_v_fma(um_v_load(d->dy + (size_t)p * d->dy_row + (size_t)q * d->dy_col + v),
                                   um_v_load(d->x + (size_t)(p * d->stride + r) * d->x_row + (size_t)(q * d->stride + s) * UM_CPU_PLANE + v), acc);
            float *to = d->taps + (size_t)(r * d->s + s) * UM_CPU_PLANE + v;
            um_v_store(to, um_v_add(um_v_load(to), acc));
        }
}

void UM_ISA(um_train_dw_taps)(const um_dw_taps *d)
{
    for (int v = 0; v < UM_CPU_PLANE; v += UM_VL) {
        if (d->r == 3 && d->s == 3 && d->stride == 1) taps_3_1(d, v);
        else if (d->r == 3 && d->s == 3 && d->stride == 2) taps_3_2(d, v);
        else if (d->r == 5 && d->s == 5 && d->stride == 1) taps_5_1(d, v);
        else if (d->r == 5 && d->s == 5 && d->stride == 2) taps_5_2(d, v);
        else taps_plain(d, v);
    }
}
