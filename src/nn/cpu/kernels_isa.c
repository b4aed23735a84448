/* kernels_isa.c: the small steps, and the level's table: see cpu_kernels.h; compiled once per level. */
#include "src/nn/cpu/elem.h"

#if defined(UM_ISA_avx512_bf16)
UM_INLINE float elem_get(um_e e) { return um_bf16_to_f32(e); }
UM_INLINE um_e elem_of(float f) { return um_bf16_from_f32(f); }
#else
UM_INLINE float elem_get(um_e e) { return e; }
UM_INLINE um_e elem_of(float f) { return f; }
#endif

static void widen(const void *in, size_t in_stride, int pixels, int n, float *out)
{
    const um_e *from = in;
    for (int i = 0; i < pixels; i++, from += in_stride, out += UM_CPU_PLANE) {
        int j = 0;
        for (; j + UM_VL <= n; j += UM_VL) um_v_store(out + j, um_e_load(from + j));
        for (; j < n; j++) out[j] = elem_get(from[j]);
    }
}

static void act(const void *in, const float *gate, const void *residual, size_t pixels, int c, um_act kind, const float *slope, void *out, um_dtype out_type)
{
    /* Reads up to a register past the end of a pixel, writes only what is its own. */
    for (size_t i = 0; i < pixels; i++) {
        const um_e *x = (const um_e *)in + i * (size_t)c;
        size_t at = i * (size_t)c;
        for (int j = 0; j < c; j += UM_VL) {
            int n = c - j < UM_VL ? c - j : UM_VL;
            um_v v = um_e_load(x + j);
            if (gate != NULL) {
                float part[UM_VL] = {0};
                memcpy(part, gate + j, (size_t)n * sizeof *part);
                v = um_v_mul(v, um_v_load(part));
            }
            if (residual != NULL) v = um_v_add(v, um_any_load(out_type, residual, at + (size_t)j));
            um_v_act(&v, 1, kind, kind == UM_ACT_PRELU ? slope + j : NULL);
            um_any_store(out_type, out, at + (size_t)j, v, n);
        }
    }
}

static void mean(const void *in, int h, int w, int c, float *out)
{
    const um_e *x = in;
    for (int j = 0; j < c; j += UM_VL) {
        um_v total = um_v_set(0);
        for (int row = 0; row < h; row++) {
            um_v sum = um_v_set(0);
            for (int col = 0; col < w; col++) sum = um_v_add(sum, um_e_load(x + ((size_t)row * (size_t)w + (size_t)col) * (size_t)c + j));
            total = um_v_add(total, sum);
        }
        total = um_v_mul(total, um_v_set(1.0f / (float)(h * w)));
        um_v_store_part(out + j, total, c - j < UM_VL ? c - j : UM_VL);
    }
}

static void max_pool(const void *in, int h, int w, int c, int r, int s, int stride, void *out, int p, int q)
{
    const um_e *x = in;
    um_e *y = out;
    for (int i = 0; i < p; i++)
        for (int j = 0; j < q; j++, y += c) {
            int row_end = i * stride + r < h ? i * stride + r : h, col_end = j * stride + s < w ? j * stride + s : w;
            for (int k = 0; k < c; k += UM_VL) {
                um_v best = um_e_load(x + ((size_t)(i * stride) * (size_t)w + (size_t)(j * stride)) * (size_t)c + k);
                for (int row = i * stride; row < row_end; row++)
                    for (int col = j * stride; col < col_end; col++)
                        best = um_v_max(best, um_e_load(x + ((size_t)row * (size_t)w + (size_t)col) * (size_t)c + k));
                um_e_store_part(y + k, best, c - k < UM_VL ? c - k : UM_VL);
            }
        }
}

static void convert(const uint8_t *in, size_t pixels, int c, const float *table, void *out)
{
    um_e *y = out;
    for (size_t i = 0; i < pixels; i++)
        for (int j = 0; j < c; j++) *y++ = elem_of(table[(size_t)*in++ * 3 + (size_t)j]);
}

static void to_f32(const uint16_t *in, size_t n, float *out)
{
    size_t i = 0;
    for (; i + UM_VL <= n; i += UM_VL) um_v_store(out + i, um_h_load(in + i));
    for (; i < n; i++) out[i] = um_bf16_to_f32(in[i]);
}

static void to_bf16(const float *in, size_t n, uint16_t *out)
{
    size_t i = 0;
    for (; i + UM_VL <= n; i += UM_VL) um_h_store(out + i, um_v_load(in + i));
    for (; i < n; i++) out[i] = um_bf16_from_f32(in[i]);
}

const um_cpu_kernels UM_ISA(um_cpu_kernels) = {
    .name = UM_ISA_NAME,
    .elem = UM_ELEM,
    .gemm_bytes = UM_ISA(um_cpu_gemm_bytes),
    .gemm_pack = UM_ISA(um_cpu_gemm_pack),
    .gemm_scratch = UM_ISA(um_cpu_gemm_scratch),
    .gemm = UM_ISA(um_cpu_gemm),
    .dw_bytes = UM_ISA(um_cpu_dw_bytes),
    .dw_pack = UM_ISA(um_cpu_dw_pack),
    .dw = UM_ISA(um_cpu_dw),
    .widen = widen,
    .act = act,
    .mean = mean,
    .max_pool = max_pool,
    .convert = convert,
    .to_f32 = to_f32,
    .to_bf16 = to_bf16,
};
