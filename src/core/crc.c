#include "src/core/crc.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static uint32_t table_crc(uint32_t c, const uint8_t *p, size_t n)
{
    static const uint32_t POLYNOMIAL = 0x82f63b78u; /* reflected 1edc6f41 */
    /* Four bits at a time: the table is small enough to be made on the fly and the path is only for processors without SSE 4.2. */
    uint32_t t[16];
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t v = i;
        for (int k = 0; k < 4; k++) v = (v >> 1) ^ ((v & 1) ? POLYNOMIAL : 0);
        t[i] = v;
    }
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        c = (c >> 4) ^ t[c & 15];
        c = (c >> 4) ^ t[c & 15];
    }
    return c;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t hw_crc(uint32_t crc, const uint8_t *p, size_t n)
{
    uint64_t c = crc;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        c = __builtin_ia32_crc32di(c, v);
    }
    uint32_t r = (uint32_t)c;
    for (; n > 0; p++, n--) r = __builtin_ia32_crc32qi(r, *p);
    return r;
}

/* 64 bytes at a time by carry-less multiplication (Gopal et al., "Fast CRC computation for generic polynomials using PCLMULQDQ", Intel 2009): a message keeps its CRC when 128 bits that stand D bits before the rest
 * are replaced by their product with x^D mod P. Constants: the 32 bits of x^(D+32) and x^(D-32) mod P, reflected, shifted left by one. The instruction above alone takes as long as reading from the page cache. */
#define FOLD512(a, k, b) _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(a, k, 0x00), _mm512_clmulepi64_epi128(a, k, 0x11), b, 0x96)
#define FOLD128(a, b) _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(a, k128, 0x00), _mm_clmulepi64_si128(a, k128, 0x11)), b)
__attribute__((target("avx512f,avx512vl,vpclmulqdq,pclmul,sse4.2"))) static uint32_t wide_crc(uint32_t crc, const uint8_t *p, size_t n)
{
    const __m512i k2048 = _mm512_set4_epi64(0xb9e02b86, 0xdcb17aa4, 0xb9e02b86, 0xdcb17aa4), k512 = _mm512_set4_epi64(0x9e4addf8, 0x740eef02, 0x9e4addf8, 0x740eef02);
    const __m128i k128 = _mm_set_epi64x(0x14cd00bd6, 0xf20c0dfe);
    if (n < 256) return hw_crc(crc, p, n);
    __m512i a = _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
    __m512i b = _mm512_loadu_si512(p + 64), c = _mm512_loadu_si512(p + 128), d = _mm512_loadu_si512(p + 192);
    for (p += 256, n -= 256; n >= 256; p += 256, n -= 256) {
        a = FOLD512(a, k2048, _mm512_loadu_si512(p));
        b = FOLD512(b, k2048, _mm512_loadu_si512(p + 64));
        c = FOLD512(c, k2048, _mm512_loadu_si512(p + 128));
        d = FOLD512(d, k2048, _mm512_loadu_si512(p + 192));
    }
    a = FOLD512(a, k512, b);
    a = FOLD512(a, k512, c);
    a = FOLD512(a, k512, d);
    for (; n >= 64; p += 64, n -= 64) a = FOLD512(a, k512, _mm512_loadu_si512(p));
    __m128i x = _mm512_castsi512_si128(a);
    x = FOLD128(x, _mm512_extracti32x4_epi32(a, 1));
    x = FOLD128(x, _mm512_extracti32x4_epi32(a, 2));
    x = FOLD128(x, _mm512_extracti32x4_epi32(a, 3));
    uint64_t r = __builtin_ia32_crc32di(0, (uint64_t)_mm_cvtsi128_si64(x));
    r = __builtin_ia32_crc32di(r, (uint64_t)_mm_extract_epi64(x, 1));
    return hw_crc((uint32_t)r, p, n);
}
#endif

uint32_t um_crc32c(uint32_t crc, const void *p, size_t n)
{
#if defined(__x86_64__)
    if (n >= 256 && __builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("avx512vl")) return ~wide_crc(~crc, p, n);
    if (__builtin_cpu_supports("sse4.2")) return ~hw_crc(~crc, p, n);
#endif
    return ~table_crc(~crc, p, n);
}
