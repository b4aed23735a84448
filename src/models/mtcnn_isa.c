/* mtcnn_isa.c: see mtcnn_kernels.h; compiled once per level. */
#include "src/models/mtcnn_kernels.h"
#include "src/nn/cpu/isa.h"

#include <stdlib.h>

/* ---- P-net ---- */

enum {
    CHUNK = 48,        /* output pixels of a row that are carried through a convolution together: three, six or twelve registers */
    RING = 8,          /* rows of a map kept: a group of four outputs needs six */
    SLACK = UM_PNET_SLACK /* floats after a row that a chunk may read or write */
};

/* Outputs (channels) x registers of pixels that stay in registers while the sums run: bounded by 32 (AVX-512) or 16 registers. */
#if defined(UM_ISA_avx512)
enum { BLOCK_10 = 5, BLOCK = 8 };
#else
enum { BLOCK_10 = 5, BLOCK = 4 };
#endif
enum { REGS_MAX = 3 };

static int block_of(int n_out) { return n_out == 10 ? BLOCK_10 : BLOCK; }

/* Weights in the order the loops read them: (K / block, frequency 6, C, 3 across, block). */
static size_t pnet_pack(int n_in, int n_out, const float *weight, float *packed)
{
    static const double G[6][3] = {{1. / 4, 0, 0},           {-1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6},
                                   {1. / 24, 1. / 12, 1. / 6}, {1. / 24, -1. / 12, 1. / 6}, {0, 0, 1}};
    int block = block_of(n_out);
    size_t at = 0;
    for (int k = 0; k < n_out; k += block)
        for (int f = 0; f < 6; f++)
            for (int c = 0; c < n_in; c++)
                for (int s = 0; s < 3; s++)
                    for (int b = 0; b < block; b++, at++) {
                        if (packed == NULL) continue;
                        const float *w = weight + ((size_t)(k + b) * (size_t)n_in + (size_t)c) * 9 + s;
                        packed[at] = (float)(G[f][0] * (double)w[0] + G[f][1] * (double)w[3] + G[f][2] * (double)w[6]);
                    }
    return at;
}

/* Four output rows of one chunk of `parts` * 16 pixels. in: channel c's row r at in + c * in_channel + row[r]; out: channel k's row r at out + k * out_channel + r * out_row. */
UM_INLINE void conv_chunk(const int n_in, const int n_out, const int block, const int parts, const float *in, size_t in_channel, const size_t row[6], const float *w,
                          const float *bias, const float *slope, float *out, size_t out_channel, size_t out_row)
{
    float u[6][16][CHUNK + 16] __attribute__((aligned(64)));
    float m[6][BLOCK > BLOCK_10 ? BLOCK : BLOCK_10][CHUNK] __attribute__((aligned(64)));
    const um_v c2 = um_v_set(2), c4 = um_v_set(4), c5 = um_v_set(-5), c8 = um_v_set(8), m4 = um_v_set(-4), m2 = um_v_set(-2);

    const int n = parts * 16;
    /* Registers of pixels per block: with AVX-512 the whole chunk; else two, or one where the count is odd. */
    const int regs = UM_VL == 16 ? parts : n / UM_VL % 2 == 0 ? 2 : 1;

    for (int c = 0; c < n_in; c++) {
        const float *p = in + (size_t)c * in_channel;
        for (int x = 0; x < n + 2; x += UM_VL) {
            um_v d0 = um_v_load(p + row[0] + x), d1 = um_v_load(p + row[1] + x), d2 = um_v_load(p + row[2] + x), d3 = um_v_load(p + row[3] + x),
                 d4 = um_v_load(p + row[4] + x), d5 = um_v_load(p + row[5] + x);
            um_v even = um_v_fma(d2, m4, d4), odd = um_v_fma(d1, m4, d3), near = um_v_sub(d4, d2), far = um_v_sub(d3, d1);
            um_v_store(&u[0][c][x], um_v_fma(d0, c4, um_v_fma(d2, c5, d4)));
            um_v_store(&u[1][c][x], um_v_add(even, odd));
            um_v_store(&u[2][c][x], um_v_sub(even, odd));
            um_v_store(&u[3][c][x], um_v_fma(far, c2, near));
            um_v_store(&u[4][c][x], um_v_fma(far, m2, near));
            um_v_store(&u[5][c][x], um_v_fma(d1, c4, um_v_fma(d3, c5, d5)));
        }
    }
    for (int k = 0; k < n_out; k += block) {
        for (int f = 0; f < 6; f++, w += n_in * 3 * block)
            for (int x = 0; x < n; x += regs * UM_VL) {
                um_v acc[8][REGS_MAX];
                /* Frequency 1 reaches all four rows with factor 1: the bias enters there. */
                UM_UNROLL for (int b = 0; b < block; b++) UM_UNROLL for (int r = 0; r < regs; r++) acc[b][r] = um_v_set(f == 1 ? bias[k + b] : 0);
                const float *q = w;
                for (int c = 0; c < n_in; c++) {
                    const float *p = &u[f][c][x];
                    UM_UNROLL for (int s = 0; s < 3; s++, q += block)
                    {
                        um_v v[REGS_MAX];
                        UM_UNROLL for (int r = 0; r < regs; r++) v[r] = um_v_load(p + s + r * UM_VL);
                        UM_UNROLL for (int b = 0; b < block; b++)
                        {
                            um_v t = um_v_set(q[b]);
                            UM_UNROLL for (int r = 0; r < regs; r++) acc[b][r] = um_v_fma(v[r], t, acc[b][r]);
                        }
                    }
                }
                UM_UNROLL for (int b = 0; b < block; b++) UM_UNROLL for (int r = 0; r < regs; r++) um_v_store(&m[f][b][x + r * UM_VL], acc[b][r]);
            }
        for (int b = 0; b < block; b++) {
            float *o = out + (size_t)(k + b) * out_channel;
            um_v a = um_v_set(slope[k + b]);
            for (int x = 0; x < n; x += UM_VL) {
                um_v m1 = um_v_load(&m[1][b][x]), mm2 = um_v_load(&m[2][b][x]), m3 = um_v_load(&m[3][b][x]), mm4 = um_v_load(&m[4][b][x]);
                um_v s1 = um_v_add(m1, mm2), t1 = um_v_sub(m1, mm2), s3 = um_v_add(m3, mm4), t3 = um_v_sub(m3, mm4);
                um_v y0 = um_v_add(um_v_add(um_v_load(&m[0][b][x]), s1), s3);
                um_v y1 = um_v_fma(t3, c2, t1);
                um_v y2 = um_v_fma(s3, c4, s1);
                um_v y3 = um_v_add(um_v_fma(t3, c8, t1), um_v_load(&m[5][b][x]));
                um_v_store(o + x, um_v_prelu(y0, a));
                um_v_store(o + out_row + x, um_v_prelu(y1, a));
                um_v_store(o + 2 * out_row + x, um_v_prelu(y2, a));
                um_v_store(o + 3 * out_row + x, um_v_prelu(y3, a));
            }
        }
    }
}

/* The convolutions, each for one, two or three sixteens of pixels, so that narrow maps and right edges cost little more than they must. Not inlined into each
 * other: each is one loop nest with its constants known. */
typedef void chunk_fn(const um_pnet *n, const float *in, size_t in_channel, const size_t row[6], float *out, size_t out_channel, size_t out_row);
#define CONV(i, parts, n_in, n_out, block)                                                                                                        \
    __attribute__((noinline)) static void conv##i##_##parts(const um_pnet *n, const float *in, size_t in_channel, const size_t row[6], float *out, \
                                                            size_t out_channel, size_t out_row)                                                   \
    {                                                                                                                                             \
        conv_chunk(n_in, n_out, block, parts, in, in_channel, row, n->w##i, n->b##i, n->a##i, out, out_channel, out_row);                         \
    }
CONV(1, 1, 3, 10, BLOCK_10)
CONV(1, 2, 3, 10, BLOCK_10)
CONV(1, 3, 3, 10, BLOCK_10)
CONV(2, 1, 10, 16, BLOCK)
CONV(2, 2, 10, 16, BLOCK)
CONV(2, 3, 10, 16, BLOCK)
CONV(3, 1, 16, 32, BLOCK)
CONV(3, 2, 16, 32, BLOCK)
CONV(3, 3, 16, 32, BLOCK)
static chunk_fn *const CONV1[3] = {conv1_1, conv1_2, conv1_3}, *const CONV2[3] = {conv2_1, conv2_2, conv2_3}, *const CONV3[3] = {conv3_1, conv3_2, conv3_3};

/* Index into CONV* for what is left of a row of n from x on. */
static int parts_at(int x, int n) { return n - x > 32 ? 2 : n - x > 16 ? 1 : 0; }

/* Rows are held in rings of RING per channel; rows past the end of a map are repeats of its last row, and what is computed from them is not used. */
typedef struct pnet_maps {
    size_t s0, s1;       /* floats from row to row: conv1 (full width), pooled and conv2 (half) */
    float *c1, *p1, *c2; /* (10, 4, s0), (10, RING, s1), (16, RING, s1) */
} pnet_maps;

static size_t pnet_maps_init(pnet_maps *m, float *work, int width_px)
{
    size_t w = (size_t)width_px;
    m->s0 = ((w + SLACK + 15) & ~(size_t)15) + 16;
    m->s1 = ((w / 2 + SLACK + 15) & ~(size_t)15) + 16;
    m->c1 = work;
    m->p1 = m->c1 + 10 * 4 * m->s0;
    m->c2 = m->p1 + 10 * RING * m->s1;
    return 10 * 4 * m->s0 + 26 * RING * m->s1;
}

static size_t pnet_work(int width_px)
{
    pnet_maps m;
    return pnet_maps_init(&m, NULL, width_px);
}

static void ring_rows(int first, int n_rows, size_t step, size_t row[6])
{
    for (int r = 0; r < 6; r++) {
        int y = first + r < n_rows ? first + r : n_rows - 1;
        row[r] = (size_t)(y & (RING - 1)) * step;
    }
}

static um_status pnet_level(const um_pnet *net, float *work, const float *level, size_t stride, int height_px, int width_px, float least, um_pnet_hits *hits)
{
    pnet_maps m;
    pnet_maps_init(&m, work, width_px);
    const int h0 = height_px, w0 = width_px, h1 = h0 - 2, w1 = w0 - 2, hp = (h1 + 1) / 2, wp = (w1 + 1) / 2, h2 = hp - 2, w2 = wp - 2, h3 = h2 - 2, w3 = w2 - 2;
    int np = 0, n2 = 0; /* rows made so far of the pooled map and of conv2 */
    size_t row[6];
    float y3[32][4][CHUNK] __attribute__((aligned(64)));

    for (int g3 = 0; g3 < h3; g3 += 4) {
        UM_PASS(um_pnet_hits_reserve(hits, (size_t)w3 * 4));
        while (n2 < h2 && n2 < g3 + 6) {
            while (np < hp && np < n2 + 6) {
                for (int r = 0; r < 6; r++) row[r] = (size_t)(2 * np + r < h0 ? 2 * np + r : h0 - 1) * stride;
                for (int x = 0; x < w1; x += CHUNK)
                    CONV1[parts_at(x, w1)](net, level + x, (size_t)h0 * stride, row, m.c1 + x, 4 * m.s0, m.s0);
                for (int half = 0; half < 2 && np < hp; half++, np++)
                    for (int c = 0; c < 10; c++) {
                        float *a = m.c1 + ((size_t)c * 4 + (size_t)half * 2) * m.s0, *b = 2 * np + 1 < h1 ? a + m.s0 : a;
                        float *o = m.p1 + ((size_t)c * RING + (size_t)(np & (RING - 1))) * m.s1;
                        a[w1] = a[w1 - 1]; /* the last column of an odd width is pooled alone */
                        b[w1] = b[w1 - 1];
                        for (int x = 0; x < wp; x += UM_VL)
                            um_v_store(o + x, um_v_pair_max(um_v_max(um_v_load(a + 2 * x), um_v_load(b + 2 * x)),
                                                            um_v_max(um_v_load(a + 2 * x + UM_VL), um_v_load(b + 2 * x + UM_VL))));
                    }
            }
            ring_rows(n2, hp, m.s1, row);
            for (int x = 0; x < w2; x += CHUNK)
                CONV2[parts_at(x, w2)](net, m.p1 + x, RING * m.s1, row, m.c2 + (size_t)(n2 & (RING - 1)) * m.s1 + x, RING * m.s1, m.s1);
            n2 += 4;
        }
        ring_rows(g3, h2, m.s1, row);
        for (int x = 0; x < w3; x += CHUNK) {
            CONV3[parts_at(x, w3)](net, m.c2 + x, RING * m.s1, row, &y3[0][0][0], 4 * CHUNK, CHUNK);
            for (int r = 0; r < 4 && g3 + r < h3; r++)
                for (int v = 0; v < CHUNK && x + v < w3; v += UM_VL) {
                    um_v d = um_v_set(net->face_bias);
                    for (int k = 0; k < 32; k++) d = um_v_fma(um_v_load(&y3[k][r][v]), um_v_set(net->face[k]), d);
                    if (!um_v_any_ge(d, least)) continue;
                    float logit[UM_VL];
                    um_v_store(logit, d);
                    for (int i = 0; i < UM_VL && x + v + i < w3; i++) {
                        if (!(logit[i] >= least)) continue;
                        um_pnet_hit *hit = &hits->hit[hits->n++];
                        *hit = (um_pnet_hit){.logit = logit[i], .x = x + v + i, .y = g3 + r};
                        for (int o = 0; o < 4; o++) {
                            float s = net->box_bias[o];
                            for (int k = 0; k < 32; k++) s = fmaf(y3[k][r][v + i], net->box[o * 32 + k], s);
                            hit->box[o] = s;
                        }
                    }
                }
        }
    }
    return UM_OK;
}

/* ---- R-net and O-net ---- */

enum {
    LAYER_BLOCK = 16, /* outputs are packed in groups of 16: one, two or four registers */
#if defined(UM_ISA_avx512)
    GROUPS = 4, /* groups carried together: 4 registers x 6 pixels */
    PIXELS = 6
#elif defined(UM_ISA_avx2)
    GROUPS = 1,
    PIXELS = 6
#else
    GROUPS = 1,
    PIXELS = 2
#endif
};

/* (groups of 16, n_in, 16), the last group filled up with zeros. */
static size_t layer_pack(int n_in, int n_out, const float *weight, float *packed)
{
    size_t at = 0;
    for (int k = 0; k < n_out; k += LAYER_BLOCK)
        for (int c = 0; c < n_in; c++)
            for (int b = 0; b < LAYER_BLOCK; b++, at++)
                if (packed != NULL) packed[at] = k + b < n_out ? weight[(size_t)c * (size_t)n_out + (size_t)(k + b)] : 0;
    return at;
}

UM_INLINE void layer_block(const um_layer *l, const int groups, const int pixels, int k, const float *in, const uint32_t *offset, size_t row_step, float *out,
                           size_t stride_out)
{
    enum { PER = LAYER_BLOCK / UM_VL };
    um_v acc[PIXELS][GROUPS * PER];
    const float *p[PIXELS];
    const size_t group = (size_t)l->rows * (size_t)l->run * LAYER_BLOCK; /* floats of one group's weights */
    const float *w = l->w + (size_t)(k / LAYER_BLOCK) * group;
    UM_UNROLL for (int i = 0; i < pixels; i++)
    {
        p[i] = in + offset[i];
        UM_UNROLL for (int j = 0; j < groups * PER; j++) acc[i][j] = um_v_load(l->bias + k + j * UM_VL);
    }
    for (int r = 0; r < l->rows; r++) {
        for (int c = 0; c < l->run; c++, w += LAYER_BLOCK) {
            um_v q[GROUPS * PER];
            UM_UNROLL for (int j = 0; j < groups * PER; j++) q[j] = um_v_load(w + (size_t)(j / PER) * group + (j % PER) * UM_VL);
            UM_UNROLL for (int i = 0; i < pixels; i++)
            {
                um_v t = um_v_set(p[i][c]);
                UM_UNROLL for (int j = 0; j < groups * PER; j++) acc[i][j] = um_v_fma(q[j], t, acc[i][j]);
            }
        }
        UM_UNROLL for (int i = 0; i < pixels; i++) p[i] += row_step;
    }
    UM_UNROLL for (int i = 0; i < pixels; i++) UM_UNROLL for (int j = 0; j < groups * PER; j++)
    {
        um_v v = acc[i][j];
        if (l->slope != NULL) v = um_v_prelu(v, um_v_load(l->slope + k + j * UM_VL));
        um_v_store(out + (size_t)i * stride_out + k + j * UM_VL, v);
    }
}

UM_INLINE void layer_groups(const um_layer *l, const int groups, int k, const float *in, const uint32_t *offset, int n, size_t row_step, float *out,
                            size_t stride_out)
{
    int i = 0;
    for (; i + PIXELS <= n; i += PIXELS) layer_block(l, groups, PIXELS, k, in, offset + i, row_step, out + (size_t)i * stride_out, stride_out);
    for (; i < n; i++) layer_block(l, groups, 1, k, in, offset + i, row_step, out + (size_t)i * stride_out, stride_out);
}

/* From the last group to the first, so that what a padded group writes past its output is repaired by the groups before it. */
static void layer(const um_layer *l, const float *in, const uint32_t *offset, int n, size_t row_step, float *out, size_t stride_out)
{
    int left = (l->n_out + LAYER_BLOCK - 1) / LAYER_BLOCK;
    while (left > 0) {
        int take = left % GROUPS != 0 ? left % GROUPS : GROUPS;
        left -= take;
        int k = left * LAYER_BLOCK;
#if defined(UM_ISA_avx512)
        if (take == 4) layer_groups(l, 4, k, in, offset, n, row_step, out, stride_out);
        if (take == 3) layer_groups(l, 3, k, in, offset, n, row_step, out, stride_out);
        if (take == 2) layer_groups(l, 2, k, in, offset, n, row_step, out, stride_out);
#endif
        if (take == 1) layer_groups(l, 1, k, in, offset, n, row_step, out, stride_out);
    }
}

static void pool(const float *in, int height, int width, int n_channels, int k, float *out, int height_out, int width_out)
{
    for (int y = 0; y < height_out; y++)
        for (int x = 0; x < width_out; x++, out += n_channels) {
            int y_end = 2 * y + k < height ? 2 * y + k : height, x_end = 2 * x + k < width ? 2 * x + k : width;
            for (int c = 0; c < n_channels; c += UM_VL) {
                um_v v = um_v_load(in + ((size_t)(2 * y) * (size_t)width + (size_t)(2 * x)) * (size_t)n_channels + c);
                for (int r = 2 * y; r < y_end; r++)
                    for (int s = 2 * x; s < x_end; s++)
                        v = um_v_max(v, um_v_load(in + ((size_t)r * (size_t)width + (size_t)s) * (size_t)n_channels + c));
                um_v_store(out + c, v);
            }
        }
}

const um_mtcnn_kernels UM_ISA(um_mtcnn_kernels) = {
    .name = UM_ISA_NAME,
    .pnet_pack = pnet_pack,
    .pnet_work = pnet_work,
    .pnet_level = pnet_level,
    .layer_pack = layer_pack,
    .layer = layer,
    .pool = pool,
};
