#pragma once
/* elem.h: elements of maps, the activations on registers, and stores of less than a register; for the files that are compiled once per level. */
#include "src/nn/cpu/cpu_kernels.h"
#include "src/nn/cpu/isa.h"

/* ---- integers in the lanes, division, minimum ---- */

#if defined(UM_ISA_avx512)
typedef __m512i um_vi;
UM_INLINE um_vi um_v_bits(um_v v) { return _mm512_castps_si512(v); }
UM_INLINE um_v um_v_from_bits(um_vi v) { return _mm512_castsi512_ps(v); }
UM_INLINE um_vi um_vi_set(int32_t i) { return _mm512_set1_epi32(i); }
UM_INLINE um_vi um_vi_add(um_vi a, um_vi b) { return _mm512_add_epi32(a, b); }
UM_INLINE um_vi um_vi_sub(um_vi a, um_vi b) { return _mm512_sub_epi32(a, b); }
UM_INLINE um_vi um_vi_to_exponent(um_vi a) { return _mm512_slli_epi32(a, 23); }
UM_INLINE um_v um_v_mul(um_v a, um_v b) { return _mm512_mul_ps(a, b); }
UM_INLINE um_v um_v_min(um_v a, um_v b) { return _mm512_min_ps(a, b); }
UM_INLINE um_v um_v_div(um_v a, um_v b) { return _mm512_div_ps(a, b); }
UM_INLINE um_v um_v_fnma(um_v a, um_v b, um_v c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a b */
/* v, loaded by an instruction of its own: the compiler else repeats a load for each use, and loads are as scarce as products. */
UM_INLINE um_v um_v_once(um_v v)
{
    __asm__("" : "+v"(v));
    return v;
}
/* The first n lanes. */
UM_INLINE void um_v_store_part(float *p, um_v v, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v); }
#elif defined(UM_ISA_avx2)
typedef __m256i um_vi;
UM_INLINE um_vi um_v_bits(um_v v) { return _mm256_castps_si256(v); }
UM_INLINE um_v um_v_from_bits(um_vi v) { return _mm256_castsi256_ps(v); }
UM_INLINE um_vi um_vi_set(int32_t i) { return _mm256_set1_epi32(i); }
UM_INLINE um_vi um_vi_add(um_vi a, um_vi b) { return _mm256_add_epi32(a, b); }
UM_INLINE um_vi um_vi_sub(um_vi a, um_vi b) { return _mm256_sub_epi32(a, b); }
UM_INLINE um_vi um_vi_to_exponent(um_vi a) { return _mm256_slli_epi32(a, 23); }
UM_INLINE um_v um_v_mul(um_v a, um_v b) { return _mm256_mul_ps(a, b); }
UM_INLINE um_v um_v_min(um_v a, um_v b) { return _mm256_min_ps(a, b); }
UM_INLINE um_v um_v_div(um_v a, um_v b) { return _mm256_div_ps(a, b); }
UM_INLINE um_v um_v_fnma(um_v a, um_v b, um_v c) { return _mm256_fnmadd_ps(a, b, c); }
UM_INLINE um_v um_v_once(um_v v)
{
    __asm__("" : "+x"(v));
    return v;
}
UM_INLINE void um_v_store_part(float *p, um_v v, int n)
{
    float t[UM_VL];
    um_v_store(t, v);
    for (int i = 0; i < n; i++) p[i] = t[i];
}
#else
typedef uint32_t um_vi __attribute__((vector_size(16)));
UM_INLINE um_vi um_v_bits(um_v v) { return (um_vi)v; }
UM_INLINE um_v um_v_from_bits(um_vi v) { return (um_v)v; }
UM_INLINE um_vi um_vi_set(int32_t i) { return (um_vi){(uint32_t)i, (uint32_t)i, (uint32_t)i, (uint32_t)i}; }
UM_INLINE um_vi um_vi_add(um_vi a, um_vi b) { return a + b; }
UM_INLINE um_vi um_vi_sub(um_vi a, um_vi b) { return a - b; }
UM_INLINE um_vi um_vi_to_exponent(um_vi a) { return a << 23; }
UM_INLINE um_v um_v_mul(um_v a, um_v b) { return a * b; }
UM_INLINE um_v um_v_min(um_v a, um_v b) { return um_v_select(a < b, a, b); }
UM_INLINE um_v um_v_div(um_v a, um_v b) { return a / b; }
UM_INLINE um_v um_v_fnma(um_v a, um_v b, um_v c) { return um_v_fma(-a, b, c); }
UM_INLINE um_v um_v_once(um_v v) { return v; }
UM_INLINE void um_v_store_part(float *p, um_v v, int n)
{
    for (int i = 0; i < n; i++) p[i] = v[i];
}
#endif

/* ---- bfloat16 in memory (um_bf16_from_f32 in the lanes) ---- */

#if defined(UM_ISA_avx512)
UM_INLINE um_v um_h_load(const uint16_t *p) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p)), 16)); }
UM_INLINE __m256i um_h_of(um_v v)
{
    __m512i u = _mm512_castps_si512(v), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i h = _mm512_srli_epi32(_mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    h = _mm512_mask_or_epi32(h, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), _mm512_srli_epi32(u, 16), _mm512_set1_epi32(0x40));
    return _mm512_cvtepi32_epi16(h);
}
UM_INLINE void um_h_store(uint16_t *p, um_v v) { _mm256_storeu_si256((__m256i *)(void *)p, um_h_of(v)); }
UM_INLINE void um_h_store_part(uint16_t *p, um_v v, int n) { _mm256_mask_storeu_epi16(p, (__mmask16)((1u << n) - 1), um_h_of(v)); }
#else
UM_INLINE um_v um_h_load(const uint16_t *p)
{
    float t[UM_VL];
    for (int i = 0; i < UM_VL; i++) t[i] = um_bf16_to_f32(p[i]);
    return um_v_load(t);
}
UM_INLINE void um_h_store_part(uint16_t *p, um_v v, int n)
{
    float t[UM_VL];
    um_v_store(t, v);
    for (int i = 0; i < n; i++) p[i] = um_bf16_from_f32(t[i]);
}
UM_INLINE void um_h_store(uint16_t *p, um_v v) { um_h_store_part(p, v, UM_VL); }
#endif

/* Number `at` of an array of f32 or bf16, and the UM_VL - 1 behind it. */
UM_INLINE um_v um_any_load(um_dtype type, const void *p, size_t at) { return type == UM_F32 ? um_v_load((const float *)p + at) : um_h_load((const uint16_t *)p + at); }
/* Of v the first n lanes, or all if there are fewer. */
UM_INLINE void um_any_store(um_dtype type, void *p, size_t at, um_v v, int n)
{
    if (type == UM_F32) {
        if (n >= UM_VL) um_v_store((float *)p + at, v);
        else um_v_store_part((float *)p + at, v, n);
    } else {
        if (n >= UM_VL) um_h_store((uint16_t *)p + at, v);
        else um_h_store_part((uint16_t *)p + at, v, n);
    }
}

/* ---- elements ---- */

#if defined(UM_ISA_avx512_bf16)
typedef uint16_t um_e;
#define UM_ELEM UM_BF16
UM_INLINE um_v um_e_load(const um_e *p) { return um_h_load(p); }
UM_INLINE void um_e_store_part(um_e *p, um_v v, int n) { um_h_store_part(p, v, n); }
#else
typedef float um_e;
#define UM_ELEM UM_F32
UM_INLINE um_v um_e_load(const um_e *p) { return um_v_load(p); }
UM_INLINE void um_e_store_part(um_e *p, um_v v, int n) { um_v_store_part(p, v, n); }
#endif

/* ---- activations ---- */

/* v[i] = v[i] / (1 + exp(-v[i])), or with `sigmoid` 1 / (1 + exp(-v[i])), within 2e-7 of itself for v >= -8 and 1.3e-6 down to -87; beyond +-87 the exponential is constant. n <= 3 registers step by step,
 * so that one's latency hides behind the others. exp(-x) = 2^k 2^f with |f| <= 1/2: adding 1.5 * 2^23 rounds to the whole number k, which then sits in the low bits; 2^f is a minimax polynomial
 * (relative error 7.5e-8). A true division is the same at every level, and measured faster than an estimate with Newton's steps. */
UM_INLINE void um_v_logistic(um_v *v, const int n, const bool sigmoid)
{
    const um_v magic = um_v_set(0x1.8p23f), log2e = um_v_set(0x1.715476p0f), one = um_v_set(1);
    um_v x[3], k[3], f[3], p[3];
#define EACH UM_UNROLL for (int i = 0; i < n; i++)
    EACH x[i] = um_v_max(um_v_set(-87), um_v_min(um_v_set(87), v[i]));
    EACH k[i] = um_v_fnma(x[i], log2e, magic);
    EACH f[i] = um_v_fnma(x[i], log2e, um_v_sub(magic, k[i]));
    EACH p[i] = um_v_fma(um_v_set(0x1.5c08e6p-10f), f[i], um_v_set(0x1.3d0c54p-7f));
    EACH p[i] = um_v_fma(p[i], f[i], um_v_set(0x1.c6b6e4p-5f));
    EACH p[i] = um_v_fma(p[i], f[i], um_v_set(0x1.ebf918p-3f));
    EACH p[i] = um_v_fma(p[i], f[i], um_v_set(0x1.62e428p-1f));
    EACH p[i] = um_v_fma(p[i], f[i], um_v_set(0x1.000002p0f));
    EACH p[i] = um_v_add(um_v_from_bits(um_vi_add(um_v_bits(p[i]), um_vi_to_exponent(um_v_bits(k[i])))), one);
    EACH v[i] = um_v_div(sigmoid ? one : v[i], p[i]);
#undef EACH
}

/* v[i] = act(v[i]), n <= 3 neighbouring registers. slope: of the first's lanes, PReLU only. */
UM_INLINE void um_v_act(um_v *v, const int n, um_act act, const float *slope)
{
    switch (act) {
    case UM_ACT_SWISH: um_v_logistic(v, n, false); break;
    case UM_ACT_SIGMOID: um_v_logistic(v, n, true); break;
    case UM_ACT_RELU:
        for (int i = 0; i < n; i++) v[i] = um_v_max(um_v_set(0), v[i]);
        break;
    case UM_ACT_PRELU:
        for (int i = 0; i < n; i++) v[i] = um_v_prelu(v[i], um_v_load(slope + i * UM_VL));
        break;
    case UM_ACT_NONE: break;
    }
}

/* ---- the level's functions (um_cpu_kernels) ---- */

size_t UM_ISA(um_cpu_gemm_bytes)(int c, int k, um_dtype w_type);
void UM_ISA(um_cpu_gemm_pack)(int c, int c_weight, int k, const float *weight, const float *bias, um_dtype w_type, void *packed);
size_t UM_ISA(um_cpu_gemm_scratch)(int m, int c, int k);
void UM_ISA(um_cpu_gemm)(const um_gemm *g, void *scratch);
size_t UM_ISA(um_cpu_dw_bytes)(int c, int r, int s);
void UM_ISA(um_cpu_dw_pack)(int c, int r, int s, const float *weight, const float *bias, float *packed);
void UM_ISA(um_cpu_dw)(const um_dw *d);

/* And of training (train_kernels.h). */
struct um_wgrad;
struct um_dw_taps;
struct um_norm;
void UM_ISA(um_train_pack)(int c, int c_weight, int k, const float *weight, bool by_rows, int part, int parts, void *packed);
void UM_ISA(um_train_wgrad)(const struct um_wgrad *g);
void UM_ISA(um_train_dw_taps)(const struct um_dw_taps *d);
void UM_ISA(um_train_plane_sums)(size_t pixels, const float *z, const float *about, double *one, double *two);
void UM_ISA(um_train_plane_act)(size_t pixels, const float *z, const struct um_norm *b, int c, const float *gate, float *a, float *d);
void UM_ISA(um_train_plane_mean)(size_t pixels, const float *z, const struct um_norm *b, int c, float *mean);
void UM_ISA(um_train_plane_gate)(size_t pixels, const float *z, const float *e, const struct um_norm *b, int c, const float *gate, float *ag, double *sums);
void UM_ISA(um_train_plane_through)(size_t pixels, const float *z, const float *e, const struct um_norm *b, int c, const float *gate, const float *m, size_t out_step, float *dz);
void UM_ISA(um_train_plane_times)(size_t pixels, const float *e, const float *d, const float *z, const struct um_norm *b, int c, float *dy, double *one, double *two);
void UM_ISA(um_train_plane_norm_data)(size_t pixels, const float *z, const float *e, size_t stride, int n, float factor, const struct um_norm *b, int c, float *dz);
void UM_ISA(um_train_norm_add)(size_t pixels, int c, const float *z, const struct um_norm *b, float keep, const float *x, float *y);
void UM_ISA(um_train_dense)(int n, int c, int k, const float *x, const float *w, const float *bias, float *y);
void UM_ISA(um_train_dense_data)(int n, int c, int k, const float *dy, const float *w, float *dx, bool add);
void UM_ISA(um_train_dense_weight)(int n, int c, int k, const float *x, const float *dy, float *dw, float *dbias);
