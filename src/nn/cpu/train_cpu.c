/* train_cpu.c: the table um_train_cpu: operators of training on maps of (N,H,W,C), one node at a time. Convolutions are matrix products: the inference's (cpu_kernels.h) forward and by the data, wgrad by the filters, whose operands are
 * first laid in planes, a piece of pixels at a time. What no network of ours needs often is done by `ref`. */
#include "src/core/cpu.h"
#include "src/nn/cpu/train_kernels.h"

#include <stdatomic.h>
#include <string.h>

static const um_train_kernels *_Atomic chosen;

/* Asking the processor takes thousands of cycles in a virtual machine, so that it is done once, and again when a net is made: tests change the level. */
static void choose(void)
{
    switch (um_cpu_level_get()) {
    case UM_CPU_AVX512: chosen = &um_train_kernels_avx512; return;
    case UM_CPU_AVX2: chosen = &um_train_kernels_avx2; return;
    case UM_CPU_BASE: break;
    }
    chosen = &um_train_kernels_base;
}

const um_train_kernels *um_train_level(void)
{
    if (chosen == NULL) choose();
    return chosen;
}

static size_t align64(size_t n) { return (n + 63) / 64 * 64; }
static size_t up16(int c) { return ((size_t)c + UM_CPU_PLANE - 1) / UM_CPU_PLANE * UM_CPU_PLANE; }
static bool is_dense(const um_window *v) { return v->h == 1 && v->w == 1 && v->r == 1 && v->s == 1 && v->stride == 1; }
static bool is_pointwise(const um_window *v) { return v->r == 1 && v->s == 1 && v->stride == 1 && v->pad_top == 0 && v->pad_left == 0; }
static size_t pictures_rows(const um_window *v, int n) { return (size_t)n * (size_t)v->p * (size_t)v->q; }

enum { PIECE = UM_TRAIN_PIECE, ROWS_MAX = 1 << 14 /* of one product */ };

/* ---- scratch of a lane ---- */

typedef struct conv_scratch {
    void *packed, *gemm;
    float *matrix, *rows, *x, *dy; /* filters in the order k, r, s, c; im2col; planes */
} conv_scratch;

static void *place(unsigned char *base, size_t *end, size_t bytes)
{
    size_t at = *end;
    *end += align64(bytes + 64);
    return base == NULL ? NULL : base + at;
}

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

static conv_scratch lay_conv(const um_window *v, unsigned char *base, size_t *end)
{
    const um_cpu_kernels *k = um_train_level()->cpu;
    conv_scratch s;
    int depth = v->r * v->s * v->c;
    s.packed = place(base, end, most(k->gemm_bytes(depth, v->k, UM_F32), k->gemm_bytes(v->k, v->c, UM_F32)));
    s.gemm = place(base, end, most(k->gemm_scratch(ROWS_MAX, depth, v->k), k->gemm_scratch(ROWS_MAX, v->k, v->c)));
    s.matrix = place(base, end, (size_t)v->k * (size_t)depth * sizeof(float));
    s.rows = place(base, end, PIECE * (size_t)depth * sizeof(float));
    s.x = place(base, end, PIECE * up16(depth) * sizeof(float));
    s.dy = place(base, end, PIECE * up16(v->k) * sizeof(float));
    return s;
}

/* A plane between zeros, of which the depthwise kernels read a little more than they need. */
typedef struct framed {
    int rows, cols;
} framed;
static framed frame_forward(const um_window *v)
{
    int tile_q = (v->q + 11) / 12 * 12, rows = (v->p - 1) * v->stride + v->r, cols = (tile_q - 1) * v->stride + v->s;
    return (framed){rows > v->pad_top + v->h ? rows : v->pad_top + v->h, cols > v->pad_left + v->w ? cols : v->pad_left + v->w};
}
/* The derivative by the output with zeros between (stride - 1 of them), as the input of a depthwise convolution of stride 1 with the filter turned by half a circle. */
static framed frame_back(const um_window *v)
{
    int rows = v->h + v->r - 1, cols = (v->w + 11) / 12 * 12 + v->s - 1, spread_h = v->r + (v->p - 1) * v->stride + 1, spread_w = v->s + (v->q - 1) * v->stride + 1;
    return (framed){rows > spread_h ? rows : spread_h, cols > spread_w ? cols : spread_w};
}
static size_t frame_count(framed f) { return (size_t)f.rows * (size_t)f.cols * UM_CPU_PLANE; }

typedef struct dw_scratch {
    float *packed, *taps, *x, *back, *dy;
} dw_scratch;

static dw_scratch lay_dw(const um_window *v, unsigned char *base, size_t *end)
{
    dw_scratch s;
    s.packed = place(base, end, um_train_level()->cpu->dw_bytes(UM_CPU_PLANE, v->r, v->s));
    s.taps = place(base, end, (size_t)(v->r * v->s) * 2 * UM_CPU_PLANE * sizeof(float));
    s.x = place(base, end, (frame_count(frame_forward(v)) + UM_CPU_OVERRUN * UM_CPU_PLANE) * sizeof(float));
    s.back = place(base, end, (frame_count(frame_back(v)) + UM_CPU_OVERRUN * UM_CPU_PLANE) * sizeof(float));
    s.dy = place(base, end, (size_t)v->p * (size_t)v->q * UM_CPU_PLANE * sizeof(float));
    return s;
}

static size_t scratch_bytes(const um_window *v)
{
    size_t conv = 0, dw = 0;
    choose();
    if (!is_dense(v)) lay_conv(v, NULL, &conv);
    if (v->c == v->k) lay_dw(v, NULL, &dw);
    return most(conv, dw);
}

/* ---- convolutions ---- */

/* (k, c, r, s) <-> (k, r, s, c). */
static void turn(const um_window *v, const float *from, float *to, bool to_params)
{
    int taps = v->r * v->s;
    for (int k = 0; k < v->k; k++)
        for (int c = 0; c < v->c; c++)
            for (int t = 0; t < taps; t++) {
                size_t param = ((size_t)k * (size_t)v->c + (size_t)c) * (size_t)taps + (size_t)t, mine = ((size_t)k * (size_t)taps + (size_t)t) * (size_t)v->c + (size_t)c;
                if (to_params) to[param] = from[mine];
                else to[mine] = from[param];
            }
}

/* The windows of `rows` outputs from the first on. */
static void gather(const um_window *v, const float *x, size_t first, size_t rows, float *out)
{
    size_t run = (size_t)v->c, area = (size_t)v->p * (size_t)v->q;
    for (size_t i = first; i < first + rows; i++) {
        size_t picture = i / area;
        int p = (int)(i % area) / v->q, q = (int)(i % area) % v->q;
        for (int r = 0; r < v->r; r++)
            for (int s = 0; s < v->s; s++, out += run) {
                int row = p * v->stride + r - v->pad_top, col = q * v->stride + s - v->pad_left;
                if (row < 0 || col < 0 || row >= v->h || col >= v->w) memset(out, 0, run * sizeof *out);
                else memcpy(out, x + ((picture * (size_t)v->h + (size_t)row) * (size_t)v->w + (size_t)col) * run, run * sizeof *out);
            }
    }
}

static void conv(const um_window *v, int n, const float *x, const float *weight, const float *bias, float *y, void *scratch)
{
    const um_train_kernels *t = um_train_level();
    size_t end = 0, total = pictures_rows(v, n), depth = (size_t)v->r * (size_t)v->s * (size_t)v->c;
    conv_scratch s = lay_conv(v, scratch, &end);
    bool pointwise = is_pointwise(v);
    if (is_dense(v)) {
        t->dense(n, v->c, v->k, x, weight, bias, y);
        return;
    }
    if (v->r * v->s > 1) turn(v, weight, s.matrix, false);
    t->pack((int)depth, (int)depth, v->k, v->r * v->s > 1 ? s.matrix : weight, false, 0, 1, s.packed);
    for (size_t first = 0; first < total;) {
        size_t rows = pointwise ? ROWS_MAX : PIECE;
        if (rows > total - first) rows = total - first;
        if (!pointwise) gather(v, x, first, rows, s.rows);
        um_gemm g = {.m = (int)rows,
                     .c = (int)depth,
                     .k = v->k,
                     .a = pointwise ? x + first * depth : s.rows,
                     .a_stride = depth,
                     .packed = s.packed,
                     .w_type = UM_F32,
                     .out = y + first * (size_t)v->k,
                     .out_type = UM_F32,
                     .out_stride = (size_t)v->k};
        t->cpu->gemm(&g, s.gemm);
        first += rows;
    }
    for (size_t i = 0; bias != NULL && i < total; i++) t->sum((size_t)v->k, y + i * (size_t)v->k, bias, y + i * (size_t)v->k);
}

static void conv_data(const um_window *v, int n, const float *dy, const float *weight, float *dx, bool add, void *scratch)
{
    const um_train_kernels *t = um_train_level();
    size_t end = 0, total = pictures_rows(v, n);
    conv_scratch s = lay_conv(v, scratch, &end);
    if (is_dense(v)) {
        t->dense_data(n, v->c, v->k, dy, weight, dx, add);
        return;
    }
    if (!is_pointwise(v)) {
        um_train_ref.conv_data(v, n, dy, weight, dx, add, scratch);
        return;
    }
    t->pack(v->k, v->k, v->c, weight, true, 0, 1, s.packed);
    for (size_t first = 0; first < total; first += ROWS_MAX) {
        float *out = dx + first * (size_t)v->c;
        um_gemm g = {.m = total - first < ROWS_MAX ? (int)(total - first) : ROWS_MAX,
                     .c = v->k,
                     .k = v->c,
                     .a = dy + first * (size_t)v->k,
                     .a_stride = (size_t)v->k,
                     .packed = s.packed,
                     .w_type = UM_F32,
                     .residual = add ? out : NULL,
                     .out = out,
                     .out_type = UM_F32,
                     .out_stride = (size_t)v->c};
        t->cpu->gemm(&g, s.gemm);
    }
}

/* (pixels, c) to planes with zeros behind c. */
static void to_planes(const um_train_kernels *t, const float *x, int pixels, int c, float *out)
{
    for (int j = 0; j < c; j += UM_CPU_PLANE, out += PIECE * UM_CPU_PLANE) {
        if (c - j < UM_CPU_PLANE) memset(out, 0, (size_t)pixels * UM_CPU_PLANE * sizeof *out);
        t->cpu->widen(x + j, (size_t)c, pixels, c - j < UM_CPU_PLANE ? c - j : UM_CPU_PLANE, out);
    }
}

static void conv_weight(const um_window *v, int n, const float *x, const float *dy, float *dweight, float *dbias, void *scratch)
{
    const um_train_kernels *t = um_train_level();
    size_t end = 0, total = pictures_rows(v, n), depth = (size_t)v->r * (size_t)v->s * (size_t)v->c;
    conv_scratch s = lay_conv(v, scratch, &end);
    bool pointwise = is_pointwise(v);
    if (is_dense(v)) {
        t->dense_weight(n, v->c, v->k, x, dy, dweight, dbias);
        return;
    }
    for (size_t first = 0; first < total; first += PIECE) {
        int rows = total - first < PIECE ? (int)(total - first) : PIECE;
        if (!pointwise) gather(v, x, first, (size_t)rows, s.rows);
        to_planes(t, pointwise ? x + first * depth : s.rows, rows, (int)depth, s.x);
        to_planes(t, dy + first * (size_t)v->k, rows, v->k, s.dy);
        um_wgrad g = {.pixels = rows,
                      .k = v->k,
                      .c = (int)depth,
                      .dy = s.dy,
                      .x = s.x,
                      .dy_plane = PIECE * UM_CPU_PLANE,
                      .x_plane = PIECE * UM_CPU_PLANE,
                      .dw = v->r * v->s > 1 ? s.matrix : dweight,
                      .dw_row = depth,
                      .first = first == 0};
        t->wgrad(&g);
    }
    if (v->r * v->s > 1) turn(v, s.matrix, dweight, true);
    if (dbias != NULL) t->column_sums(total, v->k, dy, dbias);
}

/* ---- depthwise ---- */

/* One plane of a map into the middle of zeros: pixel (i, j) to row top + i * stride, column left + j * stride. */
static void fill_frame(const um_train_kernels *t, const float *x, int h, int w, int c, int channels, int top, int left, int stride, framed f, float *out)
{
    memset(out, 0, (frame_count(f) + UM_CPU_OVERRUN * UM_CPU_PLANE) * sizeof *out);
    for (int i = 0; i < h; i++, x += (size_t)w * (size_t)c) {
        float *row = out + ((size_t)(top + i * stride) * (size_t)f.cols + (size_t)left) * UM_CPU_PLANE;
        if (stride == 1) t->cpu->widen(x, (size_t)c, w, channels, row);
        else
            for (int j = 0; j < w; j++) memcpy(row + (size_t)(j * stride) * UM_CPU_PLANE, x + (size_t)j * (size_t)c, (size_t)channels * sizeof *x);
    }
}

static int in_plane(int c, int first) { return c - first < UM_CPU_PLANE ? c - first : UM_CPU_PLANE; }

/* The filters of `n` channels from params (C,1,R,S) as (R,S,n), turned by half a circle or not; then packed. */
static void pack_taps(const um_train_kernels *t, const um_window *v, const float *weight, int n, bool turned, const dw_scratch *s)
{
    static const float none[UM_CPU_PLANE];
    int taps = v->r * v->s;
    for (int i = 0; i < taps; i++)
        for (int j = 0; j < n; j++) s->taps[i * n + j] = weight[(size_t)j * (size_t)taps + (size_t)(turned ? taps - 1 - i : i)];
    t->cpu->dw_pack(n, v->r, v->s, s->taps, none, s->packed);
}

static void depthwise(const um_window *v, int n, const float *x, const float *weight, const float *bias, float *y, void *scratch)
{
    const um_train_kernels *t = um_train_level();
    size_t end = 0, area = (size_t)v->p * (size_t)v->q;
    dw_scratch s = lay_dw(v, scratch, &end);
    framed f = frame_forward(v);
    for (int j = 0; j < v->k; j += UM_CPU_PLANE) {
        int channels = in_plane(v->k, j);
        pack_taps(t, v, weight + (size_t)j * (size_t)(v->r * v->s), channels, false, &s);
        for (int i = 0; i < n; i++) {
            fill_frame(t, x + (size_t)i * (size_t)v->h * (size_t)v->w * (size_t)v->c + j, v->h, v->w, v->c, channels, v->pad_top, v->pad_left, 1, f, s.x);
            um_dw d = {.in = s.x,
                       .in_row = (size_t)f.cols * UM_CPU_PLANE,
                       .packed = s.packed,
                       .rows = v->p,
                       .q = v->q,
                       .n_channels = channels,
                       .r = v->r,
                       .s = v->s,
                       .stride = v->stride,
                       .out = y + (size_t)i * area * (size_t)v->k + j,
                       .out_type = UM_F32,
                       .out_row = (size_t)v->q * (size_t)v->k,
                       .out_col = (size_t)v->k};
            t->cpu->dw(&d);
        }
    }
    for (size_t i = 0; bias != NULL && i < (size_t)n * area; i++) t->sum((size_t)v->k, y + i * (size_t)v->k, bias, y + i * (size_t)v->k);
}

static void depthwise_data(const um_window *v, int n, const float *dy, const float *weight, float *dx, bool add, void *scratch)
{
    const um_train_kernels *t = um_train_level();
    size_t end = 0, area = (size_t)v->h * (size_t)v->w;
    dw_scratch s = lay_dw(v, scratch, &end);
    framed f = frame_back(v);
    int top = v->r - 1 - v->pad_top, left = v->s - 1 - v->pad_left; /* never below 0: the padding is smaller than the filter */
    for (int j = 0; j < v->k; j += UM_CPU_PLANE) {
        int channels = in_plane(v->k, j);
        pack_taps(t, v, weight + (size_t)j * (size_t)(v->r * v->s), channels, true, &s);
        for (int i = 0; i < n; i++) {
            float *out = dx + (size_t)i * area * (size_t)v->c + j;
            fill_frame(t, dy + (size_t)i * (size_t)v->p * (size_t)v->q * (size_t)v->k + j, v->p, v->q, v->k, channels, top, left, v->stride, f, s.back);
            um_dw d = {.in = s.back,
                       .in_row = (size_t)f.cols * UM_CPU_PLANE,
                       .packed = s.packed,
                       .rows = v->h,
                       .q = v->w,
                       .n_channels = channels,
                       .r = v->r,
                       .s = v->s,
                       .stride = 1,
                       .out = add ? s.x : out,
                       .out_type = UM_F32,
                       .out_row = (size_t)v->w * (add ? UM_CPU_PLANE : (size_t)v->c),
                       .out_col = add ? UM_CPU_PLANE : (size_t)v->c};
            t->cpu->dw(&d);
            for (size_t a = 0; add && a < area; a++)
                for (int c = 0; c < channels; c++) out[a * (size_t)v->c + (size_t)c] += s.x[a * UM_CPU_PLANE + (size_t)c];
        }
    }
}

static void depthwise_weight(const um_window *v, int n, const float *x, const float *dy, float *dweight, float *dbias, void *scratch)
{
    const um_train_kernels *t = um_train_level();
    int taps = v->r * v->s;
    size_t end = 0, area = (size_t)v->p * (size_t)v->q;
    dw_scratch s = lay_dw(v, scratch, &end);
    framed f = frame_forward(v);
    for (int j = 0; j < v->k; j += UM_CPU_PLANE) {
        int channels = in_plane(v->k, j);
        memset(s.taps, 0, (size_t)taps * UM_CPU_PLANE * sizeof *s.taps);
        memset(s.dy, 0, area * UM_CPU_PLANE * sizeof *s.dy);
        for (int i = 0; i < n; i++) {
            fill_frame(t, x + (size_t)i * (size_t)v->h * (size_t)v->w * (size_t)v->c + j, v->h, v->w, v->c, channels, v->pad_top, v->pad_left, 1, f, s.x);
            t->cpu->widen(dy + (size_t)i * area * (size_t)v->k + j, (size_t)v->k, (int)area, channels, s.dy);
            for (int p = 0; p < v->p; p += 8) { /* short chains */
                um_dw_taps d = {.rows = v->p - p < 8 ? v->p - p : 8,
                                .q = v->q,
                                .r = v->r,
                                .s = v->s,
                                .stride = v->stride,
                                .dy = s.dy + (size_t)p * (size_t)v->q * UM_CPU_PLANE,
                                .x = s.x + (size_t)(p * v->stride) * (size_t)f.cols * UM_CPU_PLANE,
                                .dy_row = (size_t)v->q * UM_CPU_PLANE,
                                .dy_col = UM_CPU_PLANE,
                                .x_row = (size_t)f.cols * UM_CPU_PLANE,
                                .taps = s.taps};
                t->dw_taps(&d);
            }
        }
        for (int c = 0; c < channels; c++)
            for (int i = 0; i < taps; i++) dweight[(size_t)(j + c) * (size_t)taps + (size_t)i] = s.taps[i * UM_CPU_PLANE + c];
    }
    if (dbias != NULL) t->column_sums((size_t)n * area, v->k, dy, dbias);
}

/* ---- passes ---- */

static void convert(const uint8_t *x, size_t pixels, int c, const float *mean, const float *std, float *y)
{
    float table[256 * 3] = {0};
    for (int i = 0; i < 256; i++)
        for (int j = 0; j < c; j++) table[i * 3 + j] = ((float)i / 255.0f - mean[j]) / std[j];
    um_train_level()->cpu->convert(x, pixels, c, table, y);
}

static void norm_sums(size_t pixels, int c, const float *x, const float *about, double *sums) { um_train_level()->norm_sums(pixels, c, x, about, sums); }
static void norm(size_t pixels, int c, const float *x, const um_norm *b, float *y) { um_train_level()->norm(pixels, c, x, b, y); }
static void norm_data_sums(size_t pixels, int c, const float *x, const float *dy, const um_norm *b, double *sums) { um_train_level()->norm_data_sums(pixels, c, x, dy, b, sums); }
static void norm_data(size_t pixels, int c, const float *x, const float *dy, const um_norm *b, float *dx, bool add) { um_train_level()->norm_data(pixels, c, x, dy, b, dx, add); }

static void act(um_act kind, size_t pixels, int c, const float *x, const float *slope, float *y)
{
    if (kind == UM_ACT_PRELU) um_train_ref.act(kind, pixels, c, x, slope, y);
    else um_train_level()->act(kind, pixels * (size_t)c, x, y);
}

static void act_data(um_act kind, size_t pixels, int c, const float *x, const float *slope, const float *dy, float *dx, bool add, float *dslope)
{
    if (kind == UM_ACT_PRELU) um_train_ref.act_data(kind, pixels, c, x, slope, dy, dx, add, dslope);
    else um_train_level()->act_data(kind, pixels * (size_t)c, x, dy, dx, add);
}

static size_t picture(int area, int c) { return (size_t)area * (size_t)c; }

static void mean(int n, int area, int c, const float *x, float *y)
{
    for (int i = 0; i < n; i++) um_train_level()->mean(area, c, x + (size_t)i * picture(area, c), y + (size_t)i * (size_t)c);
}
static void mean_data(int n, int area, int c, const float *dy, float *dx, bool add)
{
    for (int i = 0; i < n; i++) um_train_level()->mean_data(area, c, dy + (size_t)i * (size_t)c, dx + (size_t)i * picture(area, c), add);
}
static void max_pool(const um_window *v, int n, const float *x, float *y) { um_train_ref.max_pool(v, n, x, y); }
static void max_pool_data(const um_window *v, int n, const float *x, const float *dy, float *dx, bool add) { um_train_ref.max_pool_data(v, n, x, dy, dx, add); }
static void scale_data(int n, int area, int c, const float *gate, const float *dy, float *dx, bool add)
{
    for (int i = 0; i < n; i++) um_train_level()->scale(area, c, dy + (size_t)i * picture(area, c), gate + (size_t)i * (size_t)c, dx + (size_t)i * picture(area, c), add);
}
static void scale(int n, int area, int c, const float *x, const float *gate, float *y) { scale_data(n, area, c, gate, x, y, false); }
static void scale_gate(int n, int area, int c, const float *x, const float *dy, float *dgate, bool add)
{
    for (int i = 0; i < n; i++) um_train_level()->scale_gate(area, c, x + (size_t)i * picture(area, c), dy + (size_t)i * picture(area, c), dgate + (size_t)i * (size_t)c, add);
}
static void sum(size_t count, const float *a, const float *b, float *y) { um_train_level()->sum(count, a, b, y); }
static void times(size_t count, const float *x, float factor, float *y, bool add) { um_train_level()->times(count, x, factor, y, add); }

const um_train_ops um_train_cpu = {
    .name = "cpu",
    .scratch_bytes = scratch_bytes,
    .convert = convert,
    .conv = conv,
    .conv_data = conv_data,
    .conv_weight = conv_weight,
    .depthwise = depthwise,
    .depthwise_data = depthwise_data,
    .depthwise_weight = depthwise_weight,
    .norm_sums = norm_sums,
    .norm = norm,
    .norm_data_sums = norm_data_sums,
    .norm_data = norm_data,
    .act = act,
    .act_data = act_data,
    .mean = mean,
    .mean_data = mean_data,
    .max_pool = max_pool,
    .max_pool_data = max_pool_data,
    .scale = scale,
    .scale_data = scale_data,
    .scale_gate = scale_gate,
    .sum = sum,
    .times = times,
    .block = &um_train_cpu_block,
};
