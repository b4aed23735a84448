/* gemm_isa.c: see cpu_kernels.h; compiled once per level.
 *
 * The matrix is packed in panels of a few registers' width: biases, then for each input channel a row of the panel. A tile of the product, MR rows by one panel, stays in registers
 * while it runs over the channels: each row's number is broadcast, each panel row is loaded once for all rows of the tile. Blocking: a block of rows and a chunk of channels of A
 * stay in L2 while all panels pass, a chunk of a panel stays in L1 while all tiles of the block pass; sums of a chunk wait in f32 for the next one, which takes them up where they
 * were, so that chunks do not change a bit. The gate is multiplied into the chunk of the panel, which is far smaller than the rows it serves.
 */
#include "src/nn/cpu/elem.h"

#if defined(UM_ISA_avx512)
enum { NV_MAX = 3, MR = 9 };
#elif defined(UM_ISA_avx2)
enum { NV_MAX = 2, MR = 6 };
#else
enum { NV_MAX = 2, MR = 3 };
#endif

enum {
    CHUNK_MAX = 160,          /* channels: 48 columns of them are 30 KB */
    ROWS_BYTES = 768 * 1024,  /* of a block of rows, with its sums */
};

#if defined(UM_ISA_avx512_bf16)
enum { PAIR = 2 }; /* channels are taken in pairs */
#else
enum { PAIR = 1 };
#endif

static int vectors_of(int k) { return (k + UM_VL - 1) / UM_VL; }
static int even_of(int c) { return (c + PAIR - 1) / PAIR * PAIR; }
/* Registers of the next panel when `left` remain: never one alone where two and two do. */
static int panel_of(int left) { return left == NV_MAX + 1 && NV_MAX == 3 ? 2 : left < NV_MAX ? left : NV_MAX; }
/* Bytes of a panel `n_vectors` wide: f32 biases and weights. */
static size_t panel_bytes(int c, int n_vectors, um_dtype type) { return (size_t)n_vectors * UM_VL * (sizeof(float) + (size_t)even_of(c) * um_dtype_bytes(type)); }

size_t UM_ISA(um_cpu_gemm_bytes)(int c, int k, um_dtype w_type) { return panel_bytes(c, vectors_of(k), w_type); }

void UM_ISA(um_cpu_gemm_pack)(int c, int c_weight, int k, const float *weight, const float *bias, um_dtype w_type, void *packed)
{
    unsigned char *at = packed;
    for (int v = 0, n = vectors_of(k), nv; v < n; v += nv) {
        nv = panel_of(n - v);
        int width = nv * UM_VL;
        float *b = (float *)(void *)at;
        void *w = b + width;
        for (int j = 0; j < width; j++) {
            int o = v * UM_VL + j;
            b[j] = o < k ? bias[o] : 0;
            for (int i = 0; i < even_of(c); i++) {
                float value = o < k && i < c_weight ? weight[(size_t)o * (size_t)c_weight + (size_t)i] : 0;
                size_t to = ((size_t)(i / PAIR) * (size_t)width + (size_t)j) * PAIR + (size_t)(i % PAIR);
                if (w_type == UM_F32) ((float *)w)[to] = value;
                else ((uint16_t *)w)[to] = um_bf16_from_f32(value);
            }
        }
        at += panel_bytes(c, nv, w_type);
    }
}

#if !defined(UM_ISA_avx512_bf16)
void UM_ISA(um_train_pack)(int c, int c_weight, int k, const float *weight, bool by_rows, int part, int parts, void *packed)
{
    float *to = packed;
    for (int v = 0, n = vectors_of(k), nv, panel = 0; v < n; v += nv, panel++) {
        nv = panel_of(n - v);
        int width = nv * UM_VL, first = v * UM_VL, mine = k - first < width ? k - first : width;
        float *w = to + width;
        size_t all = (size_t)c * (size_t)width, used = (size_t)c_weight * (size_t)width;
        to += (size_t)width + all;
        if (panel % parts != part) continue;
        memset(w - width, 0, (size_t)width * sizeof *w); /* no bias */
        if (used < all) memset(w + used, 0, (all - used) * sizeof *w);
        if (by_rows)
            for (int i = 0; i < c_weight; i++, w += width) {
                memcpy(w, weight + (size_t)i * (size_t)k + first, (size_t)mine * sizeof *w);
                if (mine < width) memset(w + mine, 0, (size_t)(width - mine) * sizeof *w);
            }
        else
            for (int i0 = 0; i0 < c_weight; i0 += 16) /* a line of each row of weights */
                for (int j = 0; j < width; j++) {
                    const float *from = weight + (size_t)(first + j) * (size_t)c_weight;
                    int end = c_weight - i0 < 16 ? c_weight : i0 + 16;
                    for (int i = i0; i < end; i++) w[(size_t)i * (size_t)width + (size_t)j] = j < mine ? from[i] : 0;
                }
    }
}
#endif

typedef struct tile_args {
    const um_e *a;
    size_t a_stride;
    int c, blocks; /* channels of a block (even), blocks */
    size_t block_stride;
    const um_e *w;
    const float *init; /* biases (one row for all), or the sums so far */
    size_t init_stride;
    float *sums; /* MR rows of the panel's width */
    size_t ahead; /* elements from a row to one that will be wanted soon */
    const char *next; /* of the panel that comes after this one: lines to fetch, so many each 16 steps */
    int next_lines;
} tile_args;

enum { GROUP = 16 }; /* steps between prefetches: a line of each row */

UM_INLINE void tile(const int mr, const int nv, const tile_args *t)
{
    um_v acc[9][3];
    UM_UNROLL
    for (int i = 0; i < mr; i++)
        UM_UNROLL
        for (int j = 0; j < nv; j++) acc[i][j] = um_v_load(t->init + (size_t)i * t->init_stride + j * UM_VL);
    const um_e *w = t->w;
    const size_t stride = t->a_stride;
    const char *next = t->next;
    for (int b = 0; b < t->blocks; b++) {
        const um_e *row = t->a + (size_t)b * t->block_stride;
        for (const um_e *end = row + t->c; row != end;) {
            const um_e *stop = end - row > GROUP * PAIR ? row + GROUP * PAIR : end;
            UM_UNROLL
            for (int i = 0; i < mr; i++) __builtin_prefetch(row + (size_t)i * stride + t->ahead);
            for (int i = 0; i < t->next_lines; i++, next += 64) __builtin_prefetch(next, 0, 2);
            for (; row != stop; row += PAIR) {
                um_v x[3];
                UM_UNROLL
                for (int j = 0; j < nv; j++) x[j] = um_v_load((const float *)(const void *)(w + j * UM_VL * PAIR));
                UM_UNROLL
                for (int i = 0; i < mr; i++) {
#if defined(UM_ISA_avx512_bf16)
                    int32_t pair;
                    memcpy(&pair, row + (size_t)i * stride, sizeof pair);
                    __m512bh v = (__m512bh)_mm512_set1_epi32(pair);
                    UM_UNROLL
                    for (int j = 0; j < nv; j++) acc[i][j] = _mm512_dpbf16_ps(acc[i][j], v, (__m512bh)x[j]);
#else
                    um_v v = um_v_set(row[(size_t)i * stride]);
                    UM_UNROLL
                    for (int j = 0; j < nv; j++) acc[i][j] = um_v_fma(v, x[j], acc[i][j]);
#endif
                }
                w += nv * UM_VL * PAIR;
            }
        }
    }
    UM_UNROLL
    for (int i = 0; i < mr; i++)
        UM_UNROLL
        for (int j = 0; j < nv; j++) um_v_store(t->sums + (i * nv + j) * UM_VL, acc[i][j]);
}

#define TILE(mr, nv) \
    static void tile_##mr##_##nv(const tile_args *t) { tile(mr, nv, t); }
#define FEW_TILES(nv) TILE(1, nv) TILE(2, nv) TILE(3, nv) TILE(4, nv) TILE(5, nv) TILE(6, nv)
#define FEW_NAMES(nv) tile_1_##nv, tile_2_##nv, tile_3_##nv, tile_4_##nv, tile_5_##nv, tile_6_##nv
#if defined(UM_ISA_avx512)
#define TILES(nv) FEW_TILES(nv) TILE(7, nv) TILE(8, nv) TILE(9, nv)
#define NAMES(nv) {FEW_NAMES(nv), tile_7_##nv, tile_8_##nv, tile_9_##nv}
TILES(1)
TILES(2)
TILES(3)
static void (*const tiles[3][9])(const tile_args *) = {NAMES(1), NAMES(2), NAMES(3)};
#else
FEW_TILES(1)
FEW_TILES(2)
static void (*const tiles[2][6])(const tile_args *) = {{FEW_NAMES(1)}, {FEW_NAMES(2)}};
#endif

/* Where row i of the output begins, in numbers. */
UM_INLINE size_t out_at(const um_gemm *g, int i)
{
    if (g->line == 0) return (size_t)i * g->out_stride;
    return (size_t)(i / g->line) * g->line_stride + (size_t)(i % g->line) * g->out_stride;
}

/* And its k-th number behind that. */
UM_INLINE size_t column_at(const um_gemm *g, int k) { return g->out_plane == 0 ? (size_t)k : (size_t)(k / UM_CPU_PLANE) * g->out_plane + (size_t)(k % UM_CPU_PLANE); }

/* Residual and activation of `rows` rows of sums of nv registers, whose first is row i and column k of the output. */
UM_INLINE void finish_rows(const um_gemm *g, const float *sums, int rows, int i, int k, const int nv, const um_act act)
{
    int left = g->k - k;
    size_t at = out_at(g, i), col[3];
    UM_UNROLL
    for (int j = 0; j < nv; j++) col[j] = column_at(g, k - g->k_first + j * UM_VL);
    int in_line = g->line == 0 ? 0 : i % g->line;
    for (int r = 0; r < rows; r++, sums += nv * UM_VL) {
        um_v v[3];
        UM_UNROLL
        for (int j = 0; j < nv; j++) v[j] = um_v_load(sums + j * UM_VL);
        if (g->residual != NULL)
            UM_UNROLL
            for (int j = 0; j < nv; j++) v[j] = um_v_add(v[j], um_any_load(g->out_type, g->residual, at + col[j]));
        um_v_act(v, nv, act, act == UM_ACT_PRELU ? g->slope + k : NULL);
        UM_UNROLL
        for (int j = 0; j < nv; j++) um_any_store(g->out_type, g->out, at + col[j], v[j], left - j * UM_VL);
        at += g->out_stride;
        if (g->line != 0 && ++in_line == g->line) {
            in_line = 0;
            at += g->line_stride - (size_t)g->line * g->out_stride;
        }
    }
}

UM_INLINE void finish_act(const um_gemm *g, const float *sums, int rows, int i, int k, int nv, const um_act act)
{
    if (nv == 3) finish_rows(g, sums, rows, i, k, 3, act);
    else if (nv == 2) finish_rows(g, sums, rows, i, k, 2, act);
    else finish_rows(g, sums, rows, i, k, 1, act);
}

static void finish(const um_gemm *g, const float *sums, int rows, int i, int k, int nv)
{
    switch (g->act) {
    case UM_ACT_NONE: finish_act(g, sums, rows, i, k, nv, UM_ACT_NONE); break;
    case UM_ACT_SWISH: finish_act(g, sums, rows, i, k, nv, UM_ACT_SWISH); break;
    case UM_ACT_SIGMOID: finish_act(g, sums, rows, i, k, nv, UM_ACT_SIGMOID); break;
    case UM_ACT_RELU: finish_act(g, sums, rows, i, k, nv, UM_ACT_RELU); break;
    case UM_ACT_PRELU: finish_act(g, sums, rows, i, k, nv, UM_ACT_PRELU); break;
    }
}

typedef struct blocking {
    int chunk, n_chunks, rows;
} blocking;

static int round_up(int n, int to) { return (n + to - 1) / to * to; }

/* n_vectors: registers of the outputs wanted. */
static blocking blocking_of(int m, int c, int n_vectors, int unit)
{
    blocking b;
    int even = even_of(c);
    b.n_chunks = (even + CHUNK_MAX * PAIR - 1) / (CHUNK_MAX * PAIR);
    b.chunk = round_up((even + b.n_chunks - 1) / b.n_chunks, unit);
    b.n_chunks = (even + b.chunk - 1) / b.chunk;
    size_t row = (size_t)b.chunk * sizeof(um_e) + (b.n_chunks > 1 ? (size_t)n_vectors * UM_VL * sizeof(float) : 0);
    size_t rows = ROWS_BYTES / row;
    b.rows = rows < MR * 4 ? MR * 4 : (int)rows;
    int n = (m + b.rows - 1) / b.rows;
    b.rows = round_up((m + n - 1) / n, MR);
    return b;
}

enum { SCALED_BYTES = (CHUNK_MAX + UM_CPU_PLANE) * PAIR * NV_MAX * UM_VL * (int)sizeof(um_e) };

size_t UM_ISA(um_cpu_gemm_scratch)(int m, int c, int k)
{
    if (even_of(c) <= CHUNK_MAX * PAIR) return SCALED_BYTES;
    /* The sums of a block of rows: ROWS_BYTES or four tiles at most, and a tile from rounding. */
    size_t row = (size_t)vectors_of(k) * UM_VL * sizeof(float), most = ROWS_BYTES + 5 * MR * row, all = (size_t)round_up(m, MR) * row;
    return SCALED_BYTES + (all < most ? all : most);
}

/* The weights of n channels of a panel from `at` on, times the gate if there is one, as elements. */
static void prepare(const void *w, size_t at, um_dtype type, const float *gate, int n, int width, um_e *out)
{
    for (int i = 0; i < n; i += PAIR) {
        um_v g = um_v_set(gate != NULL ? gate[i] : 1);
#if defined(UM_ISA_avx512_bf16)
        /* Even lanes are channel i, odd ones i + 1. */
        if (gate != NULL) g = _mm512_mask_blend_ps(0xaaaa, g, _mm512_set1_ps(gate[i + 1]));
#endif
        for (int j = 0; j < width * PAIR; j += UM_VL, at += UM_VL, out += UM_VL) um_any_store(UM_ELEM, out, 0, um_v_mul(um_any_load(type, w, at), g), UM_VL);
    }
}

void UM_ISA(um_cpu_gemm)(const um_gemm *g, void *scratch)
{
    int even = even_of(g->c), n_vectors = vectors_of(g->k);
    um_e *scaled = scratch;
    float *sums = (float *)(void *)((unsigned char *)scratch + SCALED_BYTES);
    float own[MR * NV_MAX * UM_VL] __attribute__((aligned(64)));
    int v_first = g->k_first / UM_VL, v_end = g->k_end == 0 ? n_vectors : vectors_of(g->k_end);
    blocking b = blocking_of(g->m, g->c, v_end - v_first, g->a_plane == 0 ? PAIR : UM_CPU_PLANE);
    for (int m0 = 0; m0 < g->m; m0 += b.rows) {
        int m_end = m0 + b.rows < g->m ? m0 + b.rows : g->m;
        for (int chunk = 0; chunk < b.n_chunks; chunk++) {
            int c0 = chunk * b.chunk, n = even - c0 < b.chunk ? even - c0 : b.chunk;
            bool first = chunk == 0, last = chunk == b.n_chunks - 1;
            const um_e *a = (const um_e *)g->a + (g->a_plane == 0 ? (size_t)c0 : (size_t)(c0 / UM_CPU_PLANE) * g->a_plane);
            for (int v = v_first, nv; v < v_end; v += nv) {
                nv = panel_of(n_vectors - v);
                int width = nv * UM_VL;
                const float *bias = (const float *)(const void *)((const unsigned char *)g->packed + panel_bytes(g->c, v, g->w_type));
                size_t w_bytes = um_dtype_bytes(g->w_type), w_first = (size_t)c0 * (size_t)width;
                const um_e *w = scaled;
                if (g->gate != NULL || g->w_type != UM_ELEM) prepare(bias + width, w_first, g->w_type, g->gate == NULL ? NULL : g->gate + c0, n, width, scaled);
                else w = (const um_e *)(const void *)(bias + width) + w_first;
                /* The next panel comes from far: its lines are fetched while this one works. */
                const char *next = NULL;
                int groups = (n / PAIR + GROUP - 1) / GROUP, n_tiles = (m_end - m0 + MR - 1) / MR, lines = (int)((size_t)n * (size_t)width * w_bytes / 64), per_group = 0;
                if (v + nv < n_vectors) next = (const char *)bias + panel_bytes(g->c, nv, g->w_type) + w_first * w_bytes;
                else if (!last) next = (const char *)g->packed + (size_t)(c0 + b.chunk) * (size_t)width * w_bytes;
                if (next != NULL) per_group = (lines + groups * n_tiles - 1) / (groups * n_tiles);
                float *part = sums + (size_t)(v - v_first) * UM_VL * (size_t)b.rows;
                for (int m = m0; m < m_end; m += MR) {
                    int rows = m_end - m < MR ? m_end - m : MR;
                    float *mine = b.n_chunks == 1 ? own : part + (size_t)(m - m0) * (size_t)width;
                    tile_args t = {.a = a + (size_t)m * g->a_stride,
                                   .a_stride = g->a_stride,
                                   .c = g->a_plane == 0 ? n : UM_CPU_PLANE,
                                   .blocks = g->a_plane == 0 ? 1 : n / UM_CPU_PLANE,
                                   .block_stride = g->a_plane,
                                   .w = w,
                                   .init = first ? bias : mine,
                                   .init_stride = first ? 0 : (size_t)width,
                                   .sums = mine,
                                   .ahead = v == v_first && m + 2 * MR <= g->m ? (size_t)MR * g->a_stride : 0,
                                   .next = next,
                                   .next_lines = lines > 0 ? per_group : 0};
                    lines -= groups * per_group;
                    if (next != NULL) next += (size_t)(groups * per_group) * 64;
                    tiles[nv - 1][rows - 1](&t);
                    if (last) finish(g, mine, rows, m, v * UM_VL, nv);
                }
            }
        }
    }
}
