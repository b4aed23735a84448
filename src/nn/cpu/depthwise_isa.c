/* depthwise_isa.c: see cpu_kernels.h; compiled once per level.
 *
 * One register of channels at a time. A tile of PX neighbouring outputs stays in registers; each input is loaded once a filter row
 * and serves all outputs whose window it is in.
 */
#include "src/nn/cpu/elem.h"

#if defined(UM_ISA_avx512)
enum { PX = 12 };
#else
enum { PX = 6 };
#endif

size_t UM_ISA(um_cpu_dw_bytes)(int c, int r, int s) { return (size_t)((c + 15) / 16 * 16) * (size_t)(r * s + 1) * sizeof(float); }

/* For each register of channels: the bias, then the taps. */
void UM_ISA(um_cpu_dw_pack)(int c, int r, int s, const float *weight, const float *bias, float *packed)
{
    int all = (c + 15) / 16 * 16, taps = r * s;
    for (int v = 0; v < all; v += UM_VL)
        for (int t = -1; t < taps; t++)
            for (int j = 0; j < UM_VL; j++) {
                int i = v + j;
                *packed++ = i >= c ? 0 : t < 0 ? bias[i] : weight[t * c + i];
            }
}

UM_INLINE void dw_any(const um_dw *d, const int R, const int S, const int stride, const um_act act)
{
    for (int v = 0; v < d->n_channels; v += UM_VL) {
        const float *w = d->packed + (size_t)v * (size_t)(R * S + 1);
        int n = d->n_channels - v;
        um_v total = d->sum == NULL ? um_v_set(0) : um_v_load(d->sum + v);
        for (int p = 0; p < d->rows; p++) {
            um_v row_sum = um_v_set(0);
            size_t out = (size_t)p * d->out_row + (size_t)v;
            for (int q = 0; q < d->q; q += PX) {
                const float *in = d->in + (size_t)(p * stride) * d->in_row + (size_t)(q * stride) * (size_t)UM_CPU_PLANE + v;
                um_v acc[PX];
                UM_UNROLL
                for (int i = 0; i < PX; i++) acc[i] = um_v_load(w);
                for (int r = 0; r < R; r++) {
                    const float *line = in + (size_t)r * d->in_row, *wr = w + (1 + r * S) * UM_VL;
                    if (S <= 5) {
                        um_v tap[5];
                        UM_UNROLL
                        for (int s = 0; s < S; s++) tap[s] = um_v_load(wr + s * UM_VL);
#if defined(__clang__)
                        _Pragma("unroll")
#else
                        _Pragma("GCC unroll 32")
#endif
                        for (int x = 0; x < (PX - 1) * stride + S; x++) {
                            um_v u = um_v_once(um_v_load(line + (size_t)x * (size_t)UM_CPU_PLANE));
                            UM_UNROLL
                            for (int i = 0; i < PX; i++) {
                                int s = x - i * stride;
                                if (s >= 0 && s < S) acc[i] = um_v_fma(u, tap[s], acc[i]);
                            }
                        }
                    } else
                        for (int s = 0; s < S; s++) {
                            um_v tap = um_v_load(wr + s * UM_VL);
                            UM_UNROLL
                            for (int i = 0; i < PX; i++) acc[i] = um_v_fma(um_v_load(line + (size_t)(i * stride + s) * (size_t)UM_CPU_PLANE), tap, acc[i]);
                        }
                }
                float tile[PX * UM_VL] __attribute__((aligned(64)));
                UM_UNROLL
                for (int i = 0; i < PX; i++) um_v_store(tile + i * UM_VL, acc[i]);
                int valid = d->q - q < PX ? d->q - q : PX;
                for (int i = 0; i < valid; i += 3) {
                    um_v y[3];
                    UM_UNROLL
                    for (int j = 0; j < 3; j++) y[j] = um_v_load(tile + (i + j) * UM_VL);
                    um_v_act(y, 3, act, NULL);
                    UM_UNROLL
                    for (int j = 0; j < 3; j++, out += d->out_col) {
                        if (i + j >= valid) break;
                        row_sum = um_v_add(row_sum, y[j]);
                        um_any_store(d->out_type, d->out, out, y[j], n);
                    }
                }
            }
            total = um_v_add(total, row_sum);
        }
        if (d->sum != NULL) um_v_store(d->sum + v, total);
    }
}

#define DW(name, act)                                                      \
    static void dw_3_1_##name(const um_dw *d) { dw_any(d, 3, 3, 1, act); } \
    static void dw_3_2_##name(const um_dw *d) { dw_any(d, 3, 3, 2, act); } \
    static void dw_5_1_##name(const um_dw *d) { dw_any(d, 5, 5, 1, act); } \
    static void dw_5_2_##name(const um_dw *d) { dw_any(d, 5, 5, 2, act); }
DW(swish, UM_ACT_SWISH)
DW(raw, UM_ACT_NONE) /* training, which normalises first */

/* Any other filter or activation: one output at a time. */
static void dw_plain(const um_dw *d)
{
    for (int v = 0; v < d->n_channels; v += UM_VL) {
        const float *w = d->packed + (size_t)v * (size_t)(d->r * d->s + 1);
        um_v total = d->sum == NULL ? um_v_set(0) : um_v_load(d->sum + v);
        for (int p = 0; p < d->rows; p++) {
            um_v row_sum = um_v_set(0);
            for (int q = 0; q < d->q; q++) {
                const float *in = d->in + (size_t)(p * d->stride) * d->in_row + (size_t)(q * d->stride) * (size_t)UM_CPU_PLANE + v;
                um_v acc = um_v_load(w);
                for (int t = 0; t < d->r * d->s; t++)
                    acc = um_v_fma(um_v_load(in + (size_t)(t / d->s) * d->in_row + (size_t)(t % d->s) * (size_t)UM_CPU_PLANE), um_v_load(w + (t + 1) * UM_VL), acc);
                um_v_act(&acc, 1, d->act, NULL);
                row_sum = um_v_add(row_sum, acc);
                um_any_store(d->out_type, d->out, (size_t)p * d->out_row + (size_t)q * d->out_col + (size_t)v, acc, d->n_channels - v);
            }
            total = um_v_add(total, row_sum);
        }
        if (d->sum != NULL) um_v_store(d->sum + v, total);
    }
}

void UM_ISA(um_cpu_dw)(const um_dw *d)
{
    bool raw = d->act == UM_ACT_NONE;
    if (d->act != UM_ACT_SWISH && !raw) dw_plain(d);
    else if (d->r == 3 && d->s == 3 && d->stride == 1) raw ? dw_3_1_raw(d) : dw_3_1_swish(d);
    else if (d->r == 3 && d->s == 3 && d->stride == 2) raw ? dw_3_2_raw(d) : dw_3_2_swish(d);
    else if (d->r == 5 && d->s == 5 && d->stride == 1) raw ? dw_5_1_raw(d) : dw_5_1_swish(d);
    else if (d->r == 5 && d->s == 5 && d->stride == 2) raw ? dw_5_2_raw(d) : dw_5_2_swish(d);
    else dw_plain(d);
}
