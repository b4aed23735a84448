#pragma once
/* isa.h: one source file, three instruction-set levels (cmake/um_isa.cmake compiles it three times).
 *
 *     void UM_ISA(um_thing_row)(...) { ... }      defines um_thing_row_base, um_thing_row_avx2 or um_thing_row_avx512
 *
 * um_v is one register of UM_VL floats. Kernels put independent outputs into its lanes and never add lanes together, so an output is the same sequence of
 * operations, and therefore the same bits, whatever UM_VL is. That needs a fused multiply-add at every level: the base level calls fmaf(), which is exact
 * everywhere and slow where the processor lacks it; it is there to be right on old machines, not fast.
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define UM_ISA_PASTE2(name, level) name##_##level
#define UM_ISA_PASTE(name, level) UM_ISA_PASTE2(name, level)
#define UM_ISA(name) UM_ISA_PASTE(name, UM_ISA_LEVEL)
#define UM_ISA_TEXT2(level) #level
#define UM_ISA_TEXT(level) UM_ISA_TEXT2(level)
#define UM_ISA_NAME UM_ISA_TEXT(UM_ISA_LEVEL) /* "avx2" */

/* Before a loop of constant count whose variables must stay in registers. */
#define UM_UNROLL _Pragma("GCC unroll 16")
#define UM_INLINE static inline __attribute__((always_inline))

#if defined(UM_ISA_avx512)
#include <immintrin.h>
enum { UM_VL = 16 };
typedef __m512 um_v;
UM_INLINE um_v um_v_load(const float *p) { return _mm512_loadu_ps(p); }
UM_INLINE void um_v_store(float *p, um_v v) { _mm512_storeu_ps(p, v); }
UM_INLINE um_v um_v_set(float f) { return _mm512_set1_ps(f); }
UM_INLINE um_v um_v_fma(um_v a, um_v b, um_v c) { return _mm512_fmadd_ps(a, b, c); }
UM_INLINE um_v um_v_add(um_v a, um_v b) { return _mm512_add_ps(a, b); }
UM_INLINE um_v um_v_sub(um_v a, um_v b) { return _mm512_sub_ps(a, b); }
UM_INLINE um_v um_v_max(um_v a, um_v b) { return _mm512_max_ps(a, b); }
/* v < 0 ? slope * v : v */
UM_INLINE um_v um_v_prelu(um_v v, um_v slope)
{
    return _mm512_mask_mul_ps(v, _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_LT_OQ), v, slope);
}
/* The greater of each two neighbours of the 2 * UM_VL numbers a, b. */
UM_INLINE um_v um_v_pair_max(um_v a, um_v b)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_max_ps(_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b));
}
UM_INLINE bool um_v_any_ge(um_v v, float least) { return _mm512_cmp_ps_mask(v, _mm512_set1_ps(least), _CMP_GE_OQ) != 0; }

#elif defined(UM_ISA_avx2)
#include <immintrin.h>
enum { UM_VL = 8 };
typedef __m256 um_v;
UM_INLINE um_v um_v_load(const float *p) { return _mm256_loadu_ps(p); }
UM_INLINE void um_v_store(float *p, um_v v) { _mm256_storeu_ps(p, v); }
UM_INLINE um_v um_v_set(float f) { return _mm256_set1_ps(f); }
UM_INLINE um_v um_v_fma(um_v a, um_v b, um_v c) { return _mm256_fmadd_ps(a, b, c); }
UM_INLINE um_v um_v_add(um_v a, um_v b) { return _mm256_add_ps(a, b); }
UM_INLINE um_v um_v_sub(um_v a, um_v b) { return _mm256_sub_ps(a, b); }
UM_INLINE um_v um_v_max(um_v a, um_v b) { return _mm256_max_ps(a, b); }
UM_INLINE um_v um_v_prelu(um_v v, um_v slope)
{
    return _mm256_blendv_ps(v, _mm256_mul_ps(v, slope), _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_LT_OQ));
}
UM_INLINE um_v um_v_pair_max(um_v a, um_v b)
{
    __m256 even = _mm256_shuffle_ps(a, b, 0x88), odd = _mm256_shuffle_ps(a, b, 0xdd);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_max_ps(even, odd)), 0xd8));
}
UM_INLINE bool um_v_any_ge(um_v v, float least) { return _mm256_movemask_ps(_mm256_cmp_ps(v, _mm256_set1_ps(least), _CMP_GE_OQ)) != 0; }

#else
enum { UM_VL = 4 };
typedef float um_v __attribute__((vector_size(16)));
typedef int32_t um_v_mask __attribute__((vector_size(16)));
UM_INLINE um_v um_v_load(const float *p)
{
    um_v v;
    memcpy(&v, p, sizeof v);
    return v;
}
UM_INLINE void um_v_store(float *p, um_v v) { memcpy(p, &v, sizeof v); }
UM_INLINE um_v um_v_set(float f) { return (um_v){f, f, f, f}; }
UM_INLINE um_v um_v_fma(um_v a, um_v b, um_v c)
{
    return (um_v){fmaf(a[0], b[0], c[0]), fmaf(a[1], b[1], c[1]), fmaf(a[2], b[2], c[2]), fmaf(a[3], b[3], c[3])};
}
UM_INLINE um_v um_v_add(um_v a, um_v b) { return a + b; }
UM_INLINE um_v um_v_sub(um_v a, um_v b) { return a - b; }
UM_INLINE um_v um_v_select(um_v_mask m, um_v a, um_v b) { return (um_v)((m & (um_v_mask)a) | (~m & (um_v_mask)b)); }
UM_INLINE um_v um_v_max(um_v a, um_v b) { return um_v_select(a > b, a, b); }
UM_INLINE um_v um_v_prelu(um_v v, um_v slope) { return um_v_select(v < um_v_set(0), v * slope, v); }
UM_INLINE um_v um_v_pair_max(um_v a, um_v b)
{
    return um_v_max(__builtin_shuffle(a, b, (um_v_mask){0, 2, 4, 6}), __builtin_shuffle(a, b, (um_v_mask){1, 3, 5, 7}));
}
UM_INLINE bool um_v_any_ge(um_v v, float least) { return v[0] >= least || v[1] >= least || v[2] >= least || v[3] >= least; }
#endif
