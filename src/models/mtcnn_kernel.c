#include "src/models/mtcnn_kernel.h"

#include "src/nn/cpu/isa.h"

/* How many output channels (planes) or pixels (NHWC) are held in registers at once, by the number of vector registers: 32, 16, 16. */
#if defined(UM_ISA_avx512)
enum { PLANES_10 = 10, PLANES_16 = 8, PLANES_32 = 8, PIXELS = 12 };
#elif defined(UM_ISA_avx2)
enum { PLANES_10 = 5, PLANES_16 = 4, PLANES_32 = 4, PIXELS = 6 };
#else
enum { PLANES_10 = 5, PLANES_16 = 4, PLANES_32 = 4, PIXELS = 4 };
#endif

/* Two vectors of x by `n` output planes: each weight is broadcast once for both. */
static inline __attribute__((always_inline)) void plane_block(const int n, int C, int K, const float *const *rows, const float *w, const float *bias, const float *slope, float *const *out, int x)
{
    um_vec a0[10], a1[10];
    for (int o = 0; o < n; o++) a0[o] = a1[o] = um_vec_set(bias[o]);
    for (int r = 0; r < 3 * C; r++) {
        const float *p = rows[r] + x, *q = w + (size_t)r * 3 * (size_t)K;
        for (int k = 0; k < 3; k++, q += K) {
            um_vec v0 = um_vec_load(p + k), v1 = um_vec_load(p + k + UM_LANES);
#pragma GCC unroll 10
            for (int o = 0; o < n; o++) {
                um_vec f = um_vec_set(q[o]);
                a0[o] = um_vec_fma(v0, f, a0[o]);
                a1[o] = um_vec_fma(v1, f, a1[o]);
            }
        }
    }
#pragma GCC unroll 10
    for (int o = 0; o < n; o++) {
        um_vec s = um_vec_set(slope[o]);
        um_vec_store(out[o] + x, um_vec_prelu(a0[o], s));
        um_vec_store(out[o] + x + UM_LANES, um_vec_prelu(a1[o], s));
    }
}

static void plane_row(int C, int K, const float *const *rows, const float *w, const float *bias, const float *slope, float *const *out, int width)
{
    for (int x = 0; x < width; x += 2 * UM_LANES) {
        if (K == 10)
            for (int o = 0; o < 10; o += PLANES_10) plane_block(PLANES_10, C, K, rows, w + o, bias + o, slope + o, out + o, x);
        else if (K == 16)
            for (int o = 0; o < 16; o += PLANES_16) plane_block(PLANES_16, C, K, rows, w + o, bias + o, slope + o, out + o, x);
        else
            for (int o = 0; o < K; o += PLANES_32) plane_block(PLANES_32, C, K, rows, w + o, bias + o, slope + o, out + o, x);
    }
}

static inline float larger(float a, float b) { return a > b ? a : b; }

static void pool_row(const float *a, const float *b, int width, float *out)
{
    int n = width / 2;
    for (int i = 0; i < n; i++) out[i] = larger(larger(a[2 * i], a[2 * i + 1]), larger(b[2 * i], b[2 * i + 1]));
    if (width % 2 != 0) out[n] = larger(a[width - 1], b[width - 1]);
}

static void dot_row(const float *const *plane, int n, const float *w, float bias, int width, float *d)
{
    for (int x = 0; x < width; x += UM_LANES) {
        um_vec a = um_vec_set(bias);
        for (int i = 0; i < n; i++) a = um_vec_fma(um_vec_load(plane[i] + x), um_vec_set(w[i]), a);
        um_vec_store(d + x, a);
    }
}

/* nq pixels by kb vectors of output channels. */
static inline __attribute__((always_inline)) void pixel_block(const int nq, const int kb, const float *in, size_t pixel, size_t row, int R, int run, const float *w, int K, const float *bias, const float *slope, float *out)
{
    um_vec a[PIXELS][2];
    for (int i = 0; i < nq; i++)
        for (int k = 0; k < kb; k++) a[i][k] = um_vec_load(bias + k * UM_LANES);
    for (int r = 0; r < R; r++) {
        const float *p = in + (size_t)r * row;
        for (int j = 0; j < run; j++, w += K) {
            um_vec f[2];
            for (int k = 0; k < kb; k++) f[k] = um_vec_load(w + k * UM_LANES);
#pragma GCC unroll 12
            for (int i = 0; i < nq; i++) {
                um_vec v = um_vec_set(p[(size_t)i * pixel + (size_t)j]);
                for (int k = 0; k < kb; k++) a[i][k] = um_vec_fma(v, f[k], a[i][k]);
            }
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < nq; i++)
        for (int k = 0; k < kb; k++) um_vec_store(out + (size_t)i * (size_t)K + k * UM_LANES, um_vec_prelu(a[i][k], um_vec_load(slope + k * UM_LANES)));
}

#define PIXEL_CASE(n)                                                                       \
    case n:                                                                                 \
        if ((n) <= PIXELS) {                                                                \
            if (kb == 2)                                                                    \
                pixel_block((n) <= PIXELS ? (n) : 1, 2, in, pixel, row, R, run, w, K, bias, slope, out); \
            else                                                                            \
                pixel_block((n) <= PIXELS ? (n) : 1, 1, in, pixel, row, R, run, w, K, bias, slope, out); \
        }                                                                                   \
        break;

static void pixels(int nq, int kb, const float *in, size_t pixel, size_t row, int R, int run, const float *w, int K, const float *bias, const float *slope, float *out)
{
    switch (nq) {
        PIXEL_CASE(1)
        PIXEL_CASE(2)
        PIXEL_CASE(3)
        PIXEL_CASE(4)
        PIXEL_CASE(5)
        PIXEL_CASE(6)
        PIXEL_CASE(7)
        PIXEL_CASE(8)
        PIXEL_CASE(9)
        PIXEL_CASE(10)
        PIXEL_CASE(11)
        PIXEL_CASE(12)
    default: break;
    }
}

static void conv(const float *in, int W, int C, int R, int S, const float *w, const float *bias, const float *slope, int K, float *out, int P, int Q)
{
    int blocks = (Q + PIXELS - 1) / PIXELS, run = S * C;
    size_t row = (size_t)W * (size_t)C;
    for (int k = 0; k < K;) { /* outermost: a block of weights stays in the nearest cache while all pixels pass */
        int kb = K - k >= 2 * UM_LANES ? 2 : 1;
        for (int p = 0; p < P; p++)
            for (int b = 0; b < blocks; b++) {
                int q = (int)((int64_t)Q * b / blocks), nq = (int)((int64_t)Q * (b + 1) / blocks) - q;
                pixels(nq, kb, in + (size_t)p * row + (size_t)q * (size_t)C, (size_t)C, row, R, run, w + k, K, bias + k, slope + k, out + ((size_t)p * (size_t)Q + (size_t)q) * (size_t)K + k);
            }
        k += kb * UM_LANES;
    }
}

static void pool(const float *in, int H, int W, int C, int n, float *out, int P, int Q)
{
    for (int p = 0; p < P; p++)
        for (int q = 0; q < Q; q++, out += C) {
            int y1 = 2 * p + n < H ? 2 * p + n : H, x1 = 2 * q + n < W ? 2 * q + n : W;
            const float *first = in + ((size_t)(2 * p) * (size_t)W + (size_t)(2 * q)) * (size_t)C;
            for (int c = 0; c < C; c++) out[c] = first[c];
            for (int y = 2 * p; y < y1; y++)
                for (int x = 2 * q; x < x1; x++) {
                    const float *v = in + ((size_t)y * (size_t)W + (size_t)x) * (size_t)C;
                    for (int c = 0; c < C; c++) out[c] = larger(out[c], v[c]);
                }
        }
}

const um_mtcnn_kernels UM_ISA(um_mtcnn_kernels) = {UM_ISA_TEXT(UM_ISA_LEVEL), plane_row, pool_row, dot_row, conv, pool};
