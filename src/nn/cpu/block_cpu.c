/* block_cpu.c: um_train_cpu_block: a bottleneck in training, with only the outputs of its convolutions in memory.
 *
 * z1, z2, e1, e2 lie in planes, (n, C/16, pixels, 16). Products take a chunk of pixels at a time: its operands are made from what was saved (norm, swish, gate; on the way back the derivatives of all three) into planes that stay in the
 * second-level cache, are multiplied, and what comes out is summed up for batch norm while it is still there. Depthwise work takes one plane at a time, in bands of lines between zeros.
 */
#include "src/nn/cpu/train_kernels.h"

#include <string.h>

enum { CHUNK = UM_TRAIN_PIECE, BAND_BYTES = 320 * 1024, WIDE_BYTES = 384 * 1024, PLANE = UM_CPU_PLANE, PACK_BLOCK = UM_CPU_BLOCK };

static size_t align64(size_t n) { return (n + 63) / 64 * 64; }
static int up16(int c) { return (c + PLANE - 1) / PLANE * PLANE; }
static size_t in_pixels(const um_block *b) { return (size_t)b->dw.h * (size_t)b->dw.w; }
static size_t out_pixels(const um_block *b) { return (size_t)b->dw.p * (size_t)b->dw.q; }

/* Equal chunks of at most CHUNK pixels. */
static int chunk_of(size_t pixels)
{
    size_t n = (pixels + CHUNK - 1) / CHUNK;
    return (int)((pixels + n - 1) / n);
}

/* Channels that are made, multiplied and forgotten together. */
static int wide_of(int chunk, int c)
{
    int n = (int)(WIDE_BYTES / ((size_t)chunk * sizeof(float))) / PACK_BLOCK * PACK_BLOCK;
    if (c % PACK_BLOCK != 0) return c; /* the last panels of weights are divided otherwise */
    return n < PACK_BLOCK ? PACK_BLOCK : n < c ? n : c;
}

static bool fits(const um_block *b)
{
    const um_window *v = &b->dw;
    /* Every line and column of the input must be under some window: with SAME padding they are. */
    bool covered = (v->p - 1) * v->stride + v->r - v->pad_top >= v->h && (v->q - 1) * v->stride + v->s - v->pad_left >= v->w;
    return b->c_mid % PLANE == 0 && covered && v->h <= v->p * v->stride && v->w <= v->q * v->stride && v->pad_top < v->r && v->pad_left < v->s && v->h < 1 << 14 && v->w < 1 << 14;
}

/* ---- scratch of a lane ---- */

typedef struct band {
    int lines;      /* outputs of the depthwise step */
    int rows, cols; /* of their inputs between zeros, as the forward pass and the filter's gradient read them */
    int back_lines, back_rows, back_cols; /* inputs of a band; rows and columns of the derivative, spread by the stride, as the way back reads them */
} band;

static band band_of(const um_window *v)
{
    band b;
    int tile_q = (v->q + 11) / 12 * 12, tile_w = (v->w + 11) / 12 * 12, n;
    b.cols = (tile_q - 1) * v->stride + v->s;
    if (b.cols < v->pad_left + v->w) b.cols = v->pad_left + v->w;
    b.back_cols = tile_w + v->s - 1;
    n = BAND_BYTES / (int)((size_t)b.cols * PLANE * sizeof(float)); /* rows of input */
    b.lines = n < v->r ? 1 : (n - v->r) / v->stride + 1;
    if (b.lines < 4) b.lines = 4;
    n = (v->p + b.lines - 1) / b.lines;
    b.lines = (v->p + n - 1) / n;
    b.rows = (b.lines - 1) * v->stride + v->r;
    b.back_lines = b.lines * v->stride;
    b.back_rows = b.back_lines + v->r - 1;
    return b;
}

typedef struct room {
    void *gemm;
    float *narrow, *wide;            /* planes of a chunk */
    float *taps, *packed, *packed_back; /* filters of a plane: gradient; weights */
    float *in, *slope, *back, *out;  /* bands */
    float *sums;                     /* 5 (f64) a channel in the middle, and 2 for each of the output's */
    float *m, *dgate, *dexcited, *dacted, *dsqueezed;
} room;

static void *place(unsigned char *base, size_t *end, size_t bytes)
{
    size_t at = *end;
    *end += align64(bytes + 64);
    return base == NULL ? NULL : base + at;
}

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

/* For so many pictures a lane; only what belongs to the gate grows with them, and lies behind the rest. */
static room lay_out(const um_block *b, unsigned char *base, size_t *end)
{
    const um_cpu_kernels *k = um_train_level()->cpu;
    const um_window *v = &b->dw;
    band w = band_of(v);
    room r;
    int in = chunk_of(in_pixels(b)), out = chunk_of(out_pixels(b)), mid = b->c_mid;
    size_t overrun = (size_t)UM_CPU_OVERRUN * PLANE * sizeof(float), narrow = most((size_t)in * (size_t)up16(b->c_in), (size_t)out * (size_t)up16(b->c_out));
    size_t gemm = most(most(k->gemm_scratch(CHUNK, b->c_in, mid), k->gemm_scratch(CHUNK, mid, b->c_out)), most(k->gemm_scratch(CHUNK, mid, b->c_in), k->gemm_scratch(CHUNK, up16(b->c_out), mid)));
    r.gemm = place(base, end, gemm);
    r.narrow = place(base, end, narrow * sizeof(float));
    r.wide = place(base, end, (size_t)(in > out ? in : out) * (size_t)mid * sizeof(float));
    r.taps = place(base, end, (size_t)(v->r * v->s) * 2 * PLANE * sizeof(float));
    r.packed = place(base, end, k->dw_bytes(PLANE, v->r, v->s));
    r.packed_back = place(base, end, k->dw_bytes(PLANE, v->r, v->s));
    r.in = place(base, end, (size_t)w.rows * (size_t)w.cols * PLANE * sizeof(float) + overrun);
    r.slope = place(base, end, (size_t)w.rows * (size_t)w.cols * PLANE * sizeof(float) + overrun);
    r.back = place(base, end, (size_t)w.back_rows * (size_t)w.back_cols * PLANE * sizeof(float) + overrun);
    r.out = place(base, end, (size_t)w.back_lines * (size_t)v->w * PLANE * sizeof(float));
    r.sums = place(base, end, ((size_t)mid * 5 + (size_t)b->c_out * 2) * sizeof(double));
    r.m = place(base, end, (size_t)mid * sizeof(float));
    r.dgate = place(base, end, (size_t)mid * sizeof(float));
    r.dexcited = place(base, end, (size_t)mid * sizeof(float));
    r.dacted = place(base, end, (size_t)b->c_squeezed * sizeof(float));
    r.dsqueezed = place(base, end, (size_t)b->c_squeezed * sizeof(float));
    return r;
}

static size_t scratch_bytes(const um_block *b)
{
    size_t end = 0;
    lay_out(b, NULL, &end);
    return end;
}

static room room_of(const um_block_lane *l)
{
    size_t end = 0;
    return lay_out(l->block, l->scratch, &end);
}

/* ---- weights ---- */

/* Forward: outputs of the layer as columns; back: its inputs. Channels that come in planes are whole planes. */
static void shape_of(const um_block *b, bool back, int which, int *c, int *c_weight, int *k)
{
    int in = which == 0 ? b->c_in : b->c_mid, out = which == 0 ? b->c_mid : b->c_out;
    *c_weight = back ? out : in;
    *c = which == 0 && !back ? in : up16(*c_weight);
    *k = back ? in : out;
}

static size_t packed_bytes(const um_block *b, bool back, int which)
{
    int c, c_weight, k;
    shape_of(b, back, which, &c, &c_weight, &k);
    return um_train_level()->cpu->gemm_bytes(c, k, UM_F32) + 64;
}

static void pack(const um_block *b, bool back, int which, const float *weight, int part, int parts, void *packed)
{
    int c, c_weight, k;
    shape_of(b, back, which, &c, &c_weight, &k);
    um_train_level()->pack(c, c_weight, k, weight, back, part, parts, packed);
}

/* The filters of one plane of channels from params (C,1,R,S) as (R,S,16), turned by half a circle or not; then packed. */
static void pack_taps(const um_train_kernels *t, const um_window *v, const float *weight, bool turned, float *taps, float *packed)
{
    static const float none[PLANE];
    int n = v->r * v->s;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < PLANE; j++) taps[i * PLANE + j] = weight[(size_t)j * (size_t)n + (size_t)(turned ? n - 1 - i : i)];
    t->cpu->dw_pack(PLANE, v->r, v->s, taps, none, packed);
}

/* Planes of `pixels` from (pixels, c), zeros behind c. */
static void to_planes(const um_train_kernels *t, const float *x, int pixels, int c, float *out)
{
    for (int j = 0; j < c; j += PLANE, out += (size_t)pixels * PLANE) {
        if (c - j < PLANE) memset(out, 0, (size_t)pixels * PLANE * sizeof *out);
        t->cpu->widen(x + j, (size_t)c, pixels, c - j < PLANE ? c - j : PLANE, out);
    }
}

/* ---- forward ---- */

static void clear(double *sums, int c)
{
    if (sums != NULL) memset(sums, 0, 2 * (size_t)c * sizeof *sums);
}

static void expand(const um_block_lane *l)
{
    const um_block *b = l->block;
    const um_train_kernels *t = um_train_level();
    room r = room_of(l);
    size_t pixels = in_pixels(b), mid = (size_t)b->c_mid;
    int chunk = chunk_of(pixels);
    clear(l->sums[0], b->c_mid);
    for (int i = 0; i < l->n; i++)
        for (size_t first = 0; first < pixels; first += (size_t)chunk) {
            int m = pixels - first < (size_t)chunk ? (int)(pixels - first) : chunk;
            float *z = l->z1 + (size_t)i * pixels * mid + first * PLANE;
            um_gemm g = {.m = m,
                         .c = b->c_in,
                         .k = b->c_mid,
                         .a = l->x + ((size_t)i * pixels + first) * (size_t)b->c_in,
                         .a_stride = (size_t)b->c_in,
                         .packed = l->packed[0],
                         .w_type = UM_F32,
                         .out = z,
                         .out_type = UM_F32,
                         .out_stride = PLANE,
                         .out_plane = pixels * PLANE};
            t->cpu->gemm(&g, r.gemm);
            for (size_t c = 0; l->sums[0] != NULL && c < mid; c += PLANE) t->plane_sums((size_t)m, z + c * pixels, l->about[0] + c, l->sums[0] + c, l->sums[0] + mid + c);
        }
}

/* Rows [first, first + n) of the activated input of the depthwise step, plane c, picture i, between zeros: row 0 of the band is input row `first`, which may lie outside. With `slope`, the derivative of swish, too. */
static void fill(const um_block_lane *l, const band *w, int i, int c, int first, int n, float *in, float *slope)
{
    const um_block *b = l->block;
    const um_train_kernels *t = um_train_level();
    const um_window *v = &b->dw;
    size_t pixels = in_pixels(b), line = (size_t)w->cols * PLANE;
    for (int row = 0; row < n; row++) {
        int y = first + row;
        float *to = in + (size_t)row * line + (size_t)v->pad_left * PLANE;
        if (y < 0 || y >= v->h) memset(to, 0, (size_t)v->w * PLANE * sizeof *to);
        else if (b->expands)
            t->plane_act((size_t)v->w, l->z1 + (size_t)i * pixels * (size_t)b->c_mid + (size_t)c * pixels + (size_t)y * (size_t)v->w * PLANE, &l->norm[0], c, NULL, to,
                         slope != NULL ? slope + (size_t)row * line + (size_t)v->pad_left * PLANE : NULL);
        else
            t->cpu->widen(l->x + ((size_t)i * pixels + (size_t)y * (size_t)v->w) * (size_t)b->c_in + c, (size_t)b->c_in, v->w, PLANE, to);
    }
}

static void depthwise(const um_block_lane *l)
{
    const um_block *b = l->block;
    const um_train_kernels *t = um_train_level();
    const um_window *v = &b->dw;
    room r = room_of(l);
    band w = band_of(v);
    size_t pixels = out_pixels(b), mid = (size_t)b->c_mid;
    clear(l->sums[1], b->c_mid);
    memset(r.in, 0, ((size_t)w.rows * (size_t)w.cols + UM_CPU_OVERRUN) * PLANE * sizeof *r.in);
    for (int c = 0; c < b->c_mid; c += PLANE) {
        pack_taps(t, v, l->w_dw + (size_t)c * (size_t)(v->r * v->s), false, r.taps, r.packed);
        for (int i = 0; i < l->n; i++)
            for (int p = 0; p < v->p; p += w.lines) {
                int lines = v->p - p < w.lines ? v->p - p : w.lines;
                float *z = l->z2 + (size_t)i * pixels * mid + (size_t)c * pixels + (size_t)(p * v->q) * PLANE;
                fill(l, &w, i, c, p * v->stride - v->pad_top, (lines - 1) * v->stride + v->r, r.in, NULL);
                um_dw d = {.in = r.in,
                           .in_row = (size_t)w.cols * PLANE,
                           .packed = r.packed,
                           .rows = lines,
                           .q = v->q,
                           .n_channels = PLANE,
                           .r = v->r,
                           .s = v->s,
                           .stride = v->stride,
                           .out = z,
                           .out_type = UM_F32,
                           .out_row = (size_t)v->q * PLANE,
                           .out_col = PLANE};
                t->cpu->dw(&d);
                if (l->sums[1] != NULL) t->plane_sums((size_t)lines * (size_t)v->q, z, l->about[1] + c, l->sums[1] + c, l->sums[1] + mid + c);
            }
    }
}

static void project(const um_block_lane *l)
{
    const um_block *b = l->block;
    const um_train_kernels *t = um_train_level();
    room r = room_of(l);
    size_t pixels = out_pixels(b), mid = (size_t)b->c_mid, n_sq = (size_t)l->n * (size_t)b->c_squeezed, n_mid = (size_t)l->n * mid;
    int chunk = chunk_of(pixels);
    for (int i = 0; i < l->n; i++)
        for (size_t c = 0; c < mid; c += PLANE) t->plane_mean(pixels, l->z2 + ((size_t)i * mid + c) * pixels, &l->norm[1], (int)c, l->means + (size_t)i * mid + c);
    t->dense(l->n, b->c_mid, b->c_squeezed, l->means, l->w_reduce, l->b_reduce, l->squeezed);
    t->act(UM_ACT_SWISH, n_sq, l->squeezed, l->acted);
    t->dense(l->n, b->c_squeezed, b->c_mid, l->acted, l->w_excite, l->b_excite, l->excited);
    t->act(UM_ACT_SIGMOID, n_mid, l->excited, l->gate);
    for (int i = 0; i < l->n; i++)
        for (size_t first = 0; first < pixels; first += (size_t)chunk) {
            int m = pixels - first < (size_t)chunk ? (int)(pixels - first) : chunk;
            for (size_t c = 0; c < mid; c += PLANE)
                t->plane_act((size_t)m, l->z2 + ((size_t)i * mid + c) * pixels + first * PLANE, &l->norm[1], (int)c, l->gate + (size_t)i * mid + c, r.wide + c * (size_t)m, NULL);
            um_gemm g = {.m = m,
                         .c = b->c_mid,
                         .k = b->c_out,
                         .a = r.wide,
                         .a_stride = PLANE,
                         .a_plane = (size_t)m * PLANE,
                         .packed = l->packed[1],
                         .w_type = UM_F32,
                         .out = l->z3 + ((size_t)i * pixels + first) * (size_t)b->c_out,
                         .out_type = UM_F32,
                         .out_stride = (size_t)b->c_out};
            t->cpu->gemm(&g, r.gemm);
        }
    if (l->sums[2] != NULL) t->norm_sums((size_t)l->n * pixels, b->c_out, l->z3, l->about[2], l->sums[2]);
}

static void finish(const um_block_lane *l)
{
    const um_block *b = l->block;
    size_t count = out_pixels(b) * (size_t)b->c_out;
    for (int i = 0; i < l->n; i++)
        um_train_level()->norm_add(out_pixels(b), b->c_out, l->z3 + (size_t)i * count, &l->norm[2], l->keep[i], b->shortcut ? l->x + (size_t)i * count : NULL, l->out + (size_t)i * count);
}

/* ---- the way back ---- */

static void back_sums(const um_block_lane *l)
{
    const um_block *b = l->block;
    double *own = (double *)(void *)room_of(l).sums;
    size_t pixels = out_pixels(b), count = pixels * (size_t)b->c_out;
    clear(l->sums[2], b->c_out);
    for (int i = 0; i < l->n; i++) {
        um_train_level()->norm_data_sums(pixels, b->c_out, l->z3 + (size_t)i * count, l->e + (size_t)i * count, &l->norm[2], own);
        for (int c = 0; c < 2 * b->c_out; c++) l->sums[2][c] += (double)l->keep[i] * own[c];
    }
}

/* From the sums of picture i (plane_gate): through the gate to its dense layers and to the derivative m by each of the pixels that the mean was taken of; and the sums of batch norm. */
static void back_gate(const um_block_lane *l, int i, const room *r)
{
    const um_block *b = l->block;
    const um_train_kernels *t = um_train_level();
    size_t mid = (size_t)b->c_mid, sq = (size_t)b->c_squeezed;
    const double *sums = (const double *)(const void *)r->sums;
    const float *gate = l->gate + (size_t)i * mid;
    for (size_t c = 0; c < mid; c++) r->dgate[c] = (float)sums[c / PLANE * 5 * PLANE + c % PLANE];
    t->act_data(UM_ACT_SIGMOID, mid, l->excited + (size_t)i * mid, r->dgate, r->dexcited, false);
    t->dense_data(1, b->c_squeezed, b->c_mid, r->dexcited, l->w_excite, r->dacted, false);
    t->act_data(UM_ACT_SWISH, sq, l->squeezed + (size_t)i * sq, r->dacted, r->dsqueezed, false);
    t->dense_data(1, b->c_mid, b->c_squeezed, r->dsqueezed, l->w_reduce, r->m, false);
    t->times(mid, r->m, 1.0f / (float)out_pixels(b), r->m, false);
    for (size_t c = 0; c < mid; c++) {
        const double *s = sums + c / PLANE * 5 * PLANE + c % PLANE;
        l->sums[1][c] += (double)gate[c] * s[PLANE] + (double)r->m[c] * s[2 * PLANE];
        l->sums[1][mid + c] += (double)gate[c] * s[3 * PLANE] + (double)r->m[c] * s[4 * PLANE];
    }
    /* What the weights' gradients and the next phase need is kept where the values were. */
    memcpy(l->excited + (size_t)i * mid, r->dexcited, mid * sizeof(float));
    memcpy(l->squeezed + (size_t)i * sq, r->dsqueezed, sq * sizeof(float));
}

static void back_project(const um_block_lane *l)
{
    const um_block *b = l->block;
    const um_train_kernels *t = um_train_level();
    room r = room_of(l);
    size_t pixels = out_pixels(b), mid = (size_t)b->c_mid, out = (size_t)b->c_out;
    int chunk = chunk_of(pixels), wide = wide_of(chunk, b->c_mid);
    double *sums = (double *)(void *)r.sums;
    clear(l->sums[1], b->c_mid);
    for (int i = 0; i < l->n; i++) {
        memset(sums, 0, mid * 5 * sizeof *sums);
        for (size_t first = 0; first < pixels; first += (size_t)chunk) {
            int m = pixels - first < (size_t)chunk ? (int)(pixels - first) : chunk;
            size_t at = ((size_t)i * pixels + first) * out, plane = (size_t)m * PLANE;
            for (int c = 0; c < b->c_out; c += PLANE)
                t->plane_norm_data((size_t)m, l->z3 + at + c, l->e + at + c, out, b->c_out - c, l->keep[i], &l->norm[2], c, r.narrow + (size_t)c * (size_t)m);
            for (int c0 = 0; c0 < b->c_mid; c0 += wide) {
                int c_end = c0 + wide < b->c_mid ? c0 + wide : b->c_mid;
                float *e = l->e2 + ((size_t)i * mid + (size_t)c0) * pixels + first * PLANE;
                um_gemm g = {.m = m,
                             .c = up16(b->c_out),
                             .k = b->c_mid,
                             .a = r.narrow,
                             .a_stride = PLANE,
                             .a_plane = plane,
                             .packed = l->packed[1],
                             .w_type = UM_F32,
                             .out = e,
                             .out_type = UM_F32,
                             .out_stride = PLANE,
                             .out_plane = pixels * PLANE,
                             .k_first = c0,
                             .k_end = c_end};
                t->cpu->gemm(&g, r.gemm);
                for (int c = c0; c < c_end; c += PLANE)
                    t->plane_gate((size_t)m, l->z2 + ((size_t)i * mid + (size_t)c) * pixels + first * PLANE, e + (size_t)(c - c0) * pixels, &l->norm[1], c, l->gate + (size_t)i * mid + c,
                                  r.wide + (size_t)(c - c0) * (size_t)m, sums + (size_t)c * 5);
                um_wgrad w = {.pixels = m, .k = b->c_out, .c = c_end - c0, .dy = r.narrow, .x = r.wide, .dy_plane = plane, .x_plane = plane, .dw = l->dw_project + c0, .dw_row = mid, .first = i == 0 && first == 0};
                t->wgrad(&w);
            }
        }
        back_gate(l, i, &r);
    }
    t->dense_weight(l->n, b->c_squeezed, b->c_mid, l->acted, l->excited, l->dw_excite, l->db_excite);
    t->dense_weight(l->n, b->c_mid, b->c_squeezed, l->means, l->squeezed, l->dw_reduce, l->db_reduce);
    /* m of each picture, for the next phase, where the means were. */
    t->dense_data(l->n, b->c_mid, b->c_squeezed, l->squeezed, l->w_reduce, l->means, false);
    t->times((size_t)l->n * mid, l->means, 1.0f / (float)pixels, l->means, false);
}

/* The derivative by z2 at the outputs that the inputs [y0, y1) of picture i, plane c, depend on; its row 0 is row y0 + pad - R + 1 of what it is when it is spread by the stride. */
static void fill_back(const um_block_lane *l, const band *w, int i, int c, int y0, int y1, float *back)
{
    const um_block *b = l->block;
    const um_window *v = &b->dw;
    size_t pixels = out_pixels(b), mid = (size_t)b->c_mid, line = (size_t)w->back_cols * PLANE, at = ((size_t)i * mid + (size_t)c) * pixels;
    const float *gate = l->gate + (size_t)i * mid + c, *m = l->means + (size_t)i * mid + c;
    int left = v->s - 1 - v->pad_left, rows = y1 - y0 + v->r - 1;
    for (int row = 0; row < rows; row++) {
        int spread = y0 + v->pad_top - v->r + 1 + row, p = spread / v->stride;
        float *to = back + (size_t)row * line + (size_t)left * PLANE;
        if (spread >= 0 && spread % v->stride == 0 && p < v->p)
            um_train_level()->plane_through((size_t)v->q, l->z2 + at + (size_t)(p * v->q) * PLANE, l->e2 + at + (size_t)(p * v->q) * PLANE, &l->norm[1], c, gate, m, (size_t)v->stride * PLANE, to);
        else memset(to, 0, ((size_t)((v->q - 1) * v->stride) + 1) * PLANE * sizeof *to);
    }
}

/* A band of derivatives by the depthwise step's input, `out` (lines, W, 16), is handed on: through swish, with sums for batch norm, or to the block's input. */
static void hand_on(const um_block_lane *l, const band *w, int i, int c, int y0, int y1, int first, const room *r)
{
    const um_block *b = l->block;
    const um_window *v = &b->dw;
    size_t pixels = in_pixels(b), mid = (size_t)b->c_mid;
    for (int y = y0; y < y1; y++) {
        const float *from = r->out + (size_t)(y - y0) * (size_t)v->w * PLANE;
        if (b->expands) {
            size_t at = ((size_t)i * mid + (size_t)c) * pixels + (size_t)(y * v->w) * PLANE;
            um_train_level()->plane_times((size_t)v->w, from, r->slope + ((size_t)(y - first) * (size_t)w->cols + (size_t)v->pad_left) * PLANE, l->z1 + at, &l->norm[0], c, l->e1 + at, l->sums[0] + c, l->sums[0] + mid + c);
            continue;
        }
        if (l->dx == NULL) continue;
        size_t at = ((size_t)i * pixels + (size_t)(y * v->w)) * (size_t)b->c_in + (size_t)c;
        for (int x = 0; x < v->w; x++, at += (size_t)b->c_in, from += PLANE)
            for (int j = 0; j < PLANE; j++) {
                float d = b->shortcut ? l->e[at + (size_t)j] + from[j] : from[j];
                l->dx[at + (size_t)j] = l->add ? l->dx[at + (size_t)j] + d : d;
            }
    }
}

static void back_depthwise(const um_block_lane *l)
{
    const um_block *b = l->block;
    const um_train_kernels *t = um_train_level();
    const um_window *v = &b->dw;
    room r = room_of(l);
    band w = band_of(v);
    int taps = v->r * v->s, left = v->s - 1 - v->pad_left;
    size_t line = (size_t)w.back_cols * PLANE;
    if (b->expands) clear(l->sums[0], b->c_mid);
    memset(r.in, 0, ((size_t)w.rows * (size_t)w.cols + UM_CPU_OVERRUN) * PLANE * sizeof *r.in);
    memset(r.back, 0, ((size_t)w.back_rows * (size_t)w.back_cols + UM_CPU_OVERRUN) * PLANE * sizeof *r.back);
    for (int c = 0; c < b->c_mid; c += PLANE) {
        pack_taps(t, v, l->w_dw + (size_t)c * (size_t)taps, true, r.taps, r.packed_back);
        memset(r.taps, 0, (size_t)taps * PLANE * sizeof *r.taps);
        for (int i = 0; i < l->n; i++)
            for (int p = 0; p < v->p; p += w.lines) {
                int lines = v->p - p < w.lines ? v->p - p : w.lines, y0 = p * v->stride, y1 = p + lines == v->p ? v->h : y0 + lines * v->stride, first = y0 - v->pad_top;
                fill(l, &w, i, c, first, (lines - 1) * v->stride + v->r, r.in, r.slope);
                fill_back(l, &w, i, c, y0, y1, r.back);
                um_dw_taps g = {.rows = lines,
                                .q = v->q,
                                .r = v->r,
                                .s = v->s,
                                .stride = v->stride,
                                .dy = r.back + (size_t)(v->r - 1 - v->pad_top) * line + (size_t)left * PLANE,
                                .dy_row = (size_t)v->stride * line,
                                .dy_col = (size_t)v->stride * PLANE,
                                .x = r.in,
                                .x_row = (size_t)w.cols * PLANE,
                                .taps = r.taps};
                t->dw_taps(&g);
                um_dw d = {.in = r.back,
                           .in_row = line,
                           .packed = r.packed_back,
                           .rows = y1 - y0,
                           .q = v->w,
                           .n_channels = PLANE,
                           .r = v->r,
                           .s = v->s,
                           .stride = 1,
                           .out = r.out,
                           .out_type = UM_F32,
                           .out_row = (size_t)v->w * PLANE,
                           .out_col = PLANE};
                t->cpu->dw(&d);
                hand_on(l, &w, i, c, y0, y1, first, &r);
            }
        for (int j = 0; j < PLANE; j++)
            for (int i = 0; i < taps; i++) l->dw_dw[(size_t)(c + j) * (size_t)taps + (size_t)i] = r.taps[i * PLANE + j];
    }
}

static void back_expand(const um_block_lane *l)
{
    const um_block *b = l->block;
    const um_train_kernels *t = um_train_level();
    room r = room_of(l);
    size_t pixels = in_pixels(b), mid = (size_t)b->c_mid, in = (size_t)b->c_in;
    int chunk = chunk_of(pixels);
    for (int i = 0; i < l->n; i++)
        for (size_t first = 0; first < pixels; first += (size_t)chunk) {
            int m = pixels - first < (size_t)chunk ? (int)(pixels - first) : chunk;
            size_t at = ((size_t)i * pixels + first) * in, plane = (size_t)m * PLANE;
            to_planes(t, l->x + at, m, b->c_in, r.narrow);
            for (size_t c = 0; c < mid; c += PLANE) {
                size_t from = ((size_t)i * mid + c) * pixels + first * PLANE;
                t->plane_norm_data((size_t)m, l->z1 + from, l->e1 + from, PLANE, PLANE, 1, &l->norm[0], (int)c, r.wide + c * (size_t)m);
            }
            um_wgrad w = {.pixels = m, .k = b->c_mid, .c = b->c_in, .dy = r.wide, .x = r.narrow, .dy_plane = plane, .x_plane = plane, .dw = l->dw_expand, .dw_row = in, .first = i == 0 && first == 0};
            t->wgrad(&w);
            if (l->dx == NULL) continue;
            float *dx = l->dx + at;
            const float *e = b->shortcut ? l->e + at : NULL;
            if (l->add && e != NULL) t->times((size_t)m * in, e, 1, dx, true);
            um_gemm g = {.m = m,
                         .c = b->c_mid,
                         .k = b->c_in,
                         .a = r.wide,
                         .a_stride = PLANE,
                         .a_plane = plane,
                         .packed = l->packed[0],
                         .w_type = UM_F32,
                         .residual = l->add ? dx : e,
                         .out = dx,
                         .out_type = UM_F32,
                         .out_stride = in};
            t->cpu->gemm(&g, r.gemm);
        }
}

const um_block_ops um_train_cpu_block = {
    .fits = fits,
    .scratch_bytes = scratch_bytes,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .expand = expand,
    .depthwise = depthwise,
    .project = project,
    .finish = finish,
    .back_sums = back_sums,
    .back_project = back_project,
    .back_depthwise = back_depthwise,
    .back_expand = back_expand,
};
