/* resize_isa.c: see resize_kernels.h; compiled once per level. Integers only: every level gives the same numbers. */
#include "src/image/resize_kernels.h"
#include "src/nn/cpu/isa.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { ROWS = UM_RESIZE_ROWS, HALF = 1 << (UM_RESIZE_BITS - 1) };

static inline uint8_t clip8(int32_t v)
{
    v >>= UM_RESIZE_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* Sixteen sums. The compiler's own conversion between bytes and numbers is slow (gcc 12), so it is written per level. */
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef struct sums {
#if defined(UM_ISA_avx512)
    __m512i v[1];
#elif defined(UM_ISA_avx2)
    __m256i v[2];
#else
    i32x4 v[4];
#endif
} sums;

UM_INLINE sums sums_start(void)
{
    sums s;
#if defined(UM_ISA_avx512)
    s.v[0] = _mm512_set1_epi32(HALF);
#elif defined(UM_ISA_avx2)
    s.v[0] = s.v[1] = _mm256_set1_epi32(HALF);
#else
    for (int i = 0; i < 4; i++) s.v[i] = (i32x4){HALF, HALF, HALF, HALF};
#endif
    return s;
}

/* Adds 16 bytes times a weight. */
UM_INLINE void sums_add(sums *s, const uint8_t *p, int32_t weight)
{
#if defined(UM_ISA_avx512)
    __m512i v = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    s->v[0] = _mm512_add_epi32(s->v[0], _mm512_mullo_epi32(v, _mm512_set1_epi32(weight)));
#elif defined(UM_ISA_avx2)
    for (int i = 0; i < 2; i++) {
        __m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p + 8 * i)));
        s->v[i] = _mm256_add_epi32(s->v[i], _mm256_mullo_epi32(v, _mm256_set1_epi32(weight)));
    }
#else
    for (int i = 0; i < 4; i++) s->v[i] += (i32x4){p[4 * i], p[4 * i + 1], p[4 * i + 2], p[4 * i + 3]} * weight;
#endif
}

UM_INLINE void sums_store(const sums *s, uint8_t *p)
{
#if defined(UM_ISA_avx512)
    __m512i v = _mm512_max_epi32(_mm512_srai_epi32(s->v[0], UM_RESIZE_BITS), _mm512_setzero_si512());
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtusepi32_epi8(v));
#elif defined(UM_ISA_avx2)
    __m256i v = _mm256_packs_epi32(_mm256_srai_epi32(s->v[0], UM_RESIZE_BITS), _mm256_srai_epi32(s->v[1], UM_RESIZE_BITS));
    v = _mm256_permute4x64_epi64(v, 0xd8); /* packing works within halves */
    _mm_storeu_si128((__m128i *)(void *)p, _mm_packus_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
#else
    for (int i = 0; i < 16; i++) p[i] = clip8(s->v[i / 4][i % 4]);
#endif
}

/* 16x16 bytes: out[16 * i + r] = in[r][i]. */
static inline void transpose(const uint8_t *const in[16], size_t at, uint8_t *out)
{
#if defined(__SSE2__)
    __m128i a[16], b[16];
    UM_UNROLL for (int r = 0; r < 16; r++) a[r] = _mm_loadu_si128((const __m128i *)(const void *)(in[r] + at));
    /* Interleaving row r with row r + 8, four times, is the transposition. */
    UM_UNROLL for (int round = 0; round < 4; round++)
    {
        UM_UNROLL for (int r = 0; r < 8; r++)
        {
            b[2 * r] = _mm_unpacklo_epi8(a[r], a[r + 8]);
            b[2 * r + 1] = _mm_unpackhi_epi8(a[r], a[r + 8]);
        }
        UM_UNROLL for (int r = 0; r < 16; r++) a[r] = b[r];
    }
    UM_UNROLL for (int r = 0; r < 16; r++) _mm_storeu_si128((__m128i *)(void *)(out + 16 * r), a[r]);
#else
    for (int i = 0; i < 16; i++)
        for (int r = 0; r < 16; r++) out[16 * i + r] = in[r][at + (size_t)i];
#endif
}

/* Neighbours of a row become columns of 16 rows, so that the lanes are 16 pictures' rows with the same weights. */
static void pass_x(const um_resize_axis *a, const uint8_t *const in[ROWS], int channels, uint8_t *columns, uint8_t *columns_out, uint8_t *const out[ROWS], int n_rows)
{
    const int n_in = a->n_in * channels, n_out = a->n_out * channels;
    int x = 0;
    for (; x + 16 <= n_in; x += 16) transpose(in, (size_t)x, columns + (size_t)x * 16);
    for (; x < n_in; x++)
        for (int r = 0; r < 16; r++) columns[(size_t)x * 16 + (size_t)r] = in[r][x];

    for (int i = 0; i < a->n_out; i++) {
        const int32_t *w = a->weight + (size_t)i * (size_t)a->taps;
        const int taps = a->n[i];
        int c = 0;
        if (channels == 3) { /* three sums at a time hide the latency of the multiplication */
            const uint8_t *p = columns + (size_t)a->first[i] * 48;
            sums s0 = sums_start(), s1 = s0, s2 = s0;
            for (int t = 0; t < taps; t++, p += 48) {
                sums_add(&s0, p, w[t]);
                sums_add(&s1, p + 16, w[t]);
                sums_add(&s2, p + 32, w[t]);
            }
            uint8_t *o = columns_out + (size_t)i * 48;
            sums_store(&s0, o);
            sums_store(&s1, o + 16);
            sums_store(&s2, o + 32);
            c = 3;
        }
        for (; c < channels; c++) {
            const uint8_t *p = columns + ((size_t)a->first[i] * (size_t)channels + (size_t)c) * 16;
            uint8_t *o = columns_out + ((size_t)i * (size_t)channels + (size_t)c) * 16;
            sums s = sums_start();
            for (int t = 0; t < taps; t++, p += channels * 16) sums_add(&s, p, w[t]);
            sums_store(&s, o);
        }
    }

    const uint8_t *column[16];
    uint8_t block[256];
    for (x = 0; x < n_out; x += 16) { /* room for 16 more columns: the last block may hold some of no meaning */
        for (int r = 0; r < 16; r++) column[r] = columns_out + (size_t)(x + r) * 16;
        transpose(column, 0, block);
        size_t n = n_out - x < 16 ? (size_t)(n_out - x) : 16;
        for (int r = 0; r < n_rows; r++) {
            if (n == 16)
                memcpy(out[r] + x, block + 16 * r, 16);
            else
                memcpy(out[r] + x, block + 16 * r, n);
        }
    }
}

static void pass_y(const um_resize_axis *a, int i, const uint8_t *in, size_t stride, int n, uint8_t *out)
{
    enum { BLOCK = 64 };
    const int32_t *w = a->weight + (size_t)i * (size_t)a->taps;
    const uint8_t *p = in + (size_t)a->first[i] * stride;
    const int taps = a->n[i];
    int x = 0;
    for (; x + BLOCK <= n; x += BLOCK) {
        sums s[BLOCK / 16];
        UM_UNROLL for (int k = 0; k < BLOCK / 16; k++) s[k] = sums_start();
        for (int t = 0; t < taps; t++) {
            const uint8_t *q = p + (size_t)t * stride + (size_t)x;
            UM_UNROLL for (int k = 0; k < BLOCK / 16; k++) sums_add(&s[k], q + 16 * k, w[t]);
        }
        UM_UNROLL for (int k = 0; k < BLOCK / 16; k++) sums_store(&s[k], out + x + 16 * k);
    }
    for (; x < n; x++) {
        int32_t s = HALF;
        for (int t = 0; t < taps; t++) s += p[(size_t)t * stride + (size_t)x] * w[t];
        out[x] = clip8(s);
    }
}

const um_resize_kernels UM_ISA(um_resize_kernels) = {.x = pass_x, .y = pass_y};
