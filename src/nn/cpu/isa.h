#pragma once
/* isa.h: vectors of floats for kernels that are compiled once per instruction-set level (cmake/um_isa.cmake).
 *
 * A kernel file includes this, writes with um_vec and names its functions UM_ISA(name); a dispatcher outside picks one level's functions at run time. Every level does the same fused multiply-adds in the same order for each
 * output element, so all levels give the same bits: the base level, for processors without FMA, calls fmaf and is slow.
 */
#include <math.h>
#include <stddef.h>
#include <string.h>

#if defined(UM_ISA_avx512) || defined(UM_ISA_avx2)
#include <immintrin.h>
#endif

#define UM_ISA_JOIN2(a, b) a##_##b
#define UM_ISA_JOIN(a, b) UM_ISA_JOIN2(a, b)
#define UM_ISA(name) UM_ISA_JOIN(name, UM_ISA_LEVEL)
#define UM_ISA_TEXT2(a) #a
#define UM_ISA_TEXT(a) UM_ISA_TEXT2(a)

#if defined(UM_ISA_avx512)
#define UM_LANES 16
#elif defined(UM_ISA_avx2)
#define UM_LANES 8
#else
#define UM_LANES 4
#endif

typedef float um_vec __attribute__((vector_size(4 * UM_LANES)));
typedef int um_mask __attribute__((vector_size(4 * UM_LANES)));

static inline um_vec um_vec_load(const float *p)
{
    um_vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void um_vec_store(float *p, um_vec v) { memcpy(p, &v, sizeof v); }

static inline um_vec um_vec_set(float x)
{
#if defined(UM_ISA_avx512)
    return _mm512_set1_ps(x);
#elif defined(UM_ISA_avx2)
    return _mm256_set1_ps(x);
#else
    return (um_vec){x, x, x, x};
#endif
}

static inline um_vec um_vec_fma(um_vec a, um_vec b, um_vec c)
{
#if defined(UM_ISA_avx512)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(UM_ISA_avx2)
    return _mm256_fmadd_ps(a, b, c);
#else
    um_vec r;
    for (int i = 0; i < UM_LANES; i++) r[i] = fmaf(a[i], b[i], c[i]);
    return r;
#endif
}

/* v where it is not negative, v * slope elsewhere (He et al., "Delving deep into rectifiers", 2015). */
static inline um_vec um_vec_prelu(um_vec v, um_vec slope)
{
#if defined(UM_ISA_avx512)
    return _mm512_mask_mul_ps(v, _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_LT_OQ), v, slope);
#else
    um_mask negative = v < 0;
    return (um_vec)(((um_mask)(v * slope) & negative) | ((um_mask)v & ~negative));
#endif
}
