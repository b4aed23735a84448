/* cpu.c: the table um_backend_cpu: one kernel for a step, or for a 1 x 1 convolution and the depthwise step behind it.
 *
 * Depthwise steps work on UM_CPU_BLOCK channels at a time, in a band of lines that stands between zeros in scratch memory (so that no filter meets an edge) and stays in L2. The band is
 * filled from the map, or, fused, by the convolution before it, whose map then never goes through memory.
 */
#include "src/core/cpu.h"
#include "src/nn/cpu/cpu_kernels.h"

#include <stdlib.h>
#include <string.h>

enum { BAND_BYTES = 384 * 1024 };

struct um_kernel {
    um_step step[2];
    int n;                  /* steps */
    const um_cpu_kernels *k;
    /* Of the depthwise step: */
    int band;               /* output lines of a band */
    int band_rows, band_cols; /* of the lines in scratch */
    /* Of a convolution by im2col: */
    int rows, depth;        /* output pixels at a time; R S C rounded up to pairs */
    size_t slope, second;   /* in the constants: slopes of the convolution; those of the depthwise step */
    size_t constant_bytes, scratch_bytes;
    size_t at_band, at_sum, at_rows, at_out; /* in scratch; the GEMM's own is at 0 */
    float table[256 * 3];   /* CONVERT */
};

static size_t align64(size_t n) { return (n + 63) / 64 * 64; }

static const um_cpu_kernels *level_f32(void)
{
    switch (um_cpu_level_get()) {
    case UM_CPU_AVX512: return &um_cpu_kernels_avx512;
    case UM_CPU_AVX2: return &um_cpu_kernels_avx2;
    case UM_CPU_BASE: break;
    }
    return &um_cpu_kernels_base;
}

static bool has(um_dtype precision)
{
    if (precision == UM_F32) return true;
#if defined(__x86_64__)
    return precision == UM_BF16 && um_cpu_level_get() == UM_CPU_AVX512 && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

static bool is_pointwise(const um_step *s) { return s->r == 1 && s->s == 1 && s->stride == 1 && s->pad_top == 0 && s->pad_left == 0; }

static int take(const um_step *step, int n)
{
    const um_step *a = step, *b = step + 1;
    bool fits = n >= 2 && a->kind == UM_STEP_CONV && b->kind == UM_STEP_DEPTHWISE && b->in == a->out && is_pointwise(a) && a->gate < 0 && a->residual < 0 &&
                a->act != UM_ACT_PRELU && a->k % UM_CPU_BLOCK == 0 && a->in_type == a->out_type && b->in_type == b->out_type && b->in_type == a->in_type && a->c % 2 == 0;
    return fits ? 2 : 1;
}

/* ---- making ---- */

static void plan_depthwise(um_kernel *k, const um_step *s)
{
    int tile_q = (s->q + 11) / 12 * 12; /* a multiple of every level's tile */
    k->band_cols = (tile_q - 1) * s->stride + s->s;
    if (k->band_cols < s->pad_left + s->w) k->band_cols = s->pad_left + s->w;
    size_t line = (size_t)k->band_cols * UM_CPU_BLOCK * sizeof(float);
    int lines = (int)(BAND_BYTES / line);
    k->band = (lines - s->r) / s->stride + 1;
    if (lines < s->r || k->band < 4) k->band = 4;
    int n = (s->p + k->band - 1) / k->band;
    k->band = (s->p + n - 1) / n;
    k->band_rows = (k->band - 1) * s->stride + s->r;
    k->at_band = align64(k->scratch_bytes);
    k->at_sum = k->at_band + align64((size_t)k->band_rows * line);
    k->scratch_bytes = k->at_sum + align64(((size_t)s->k + 16) * sizeof(float));
}

static um_status plan_conv(um_kernel *k, const um_step *s)
{
    bool f32 = k->k->elem == UM_F32;
    k->rows = is_pointwise(s) && (f32 || s->c % 2 == 0) ? 0 : 1;
    k->depth = s->r * s->s * s->c;
    if (!f32) k->depth = (k->depth + 1) / 2 * 2;
    int m = s->n * s->p * s->q;
    if (k->rows != 0) {
        if (s->gate >= 0) return UM_FAIL(UM_INTERNAL, "a gate before a %dx%d convolution of %d channels", s->r, s->s, s->c);
        k->rows = (int)(128 * 1024 / ((size_t)k->depth * um_dtype_bytes(k->k->elem)));
        k->rows = k->rows < 36 ? 36 : k->rows / 36 * 36;
        if (k->rows > m) k->rows = m;
        m = k->rows;
    }
    k->scratch_bytes = k->k->gemm_scratch(m, k->depth, s->k);
    /* A gate belongs to one picture. */
    if (s->gate >= 0) {
        size_t one = k->k->gemm_scratch(s->p * s->q, k->depth, s->k);
        if (one > k->scratch_bytes) k->scratch_bytes = one;
    }
    k->at_rows = align64(k->scratch_bytes);
    k->scratch_bytes = k->at_rows + align64((size_t)k->rows * (size_t)k->depth * um_dtype_bytes(k->k->elem) + 64);
    k->slope = align64(k->k->gemm_bytes(k->depth, s->k));
    k->constant_bytes = k->slope + (s->act == UM_ACT_PRELU ? align64(((size_t)s->k + 16) * sizeof(float)) : 0);
    return UM_OK;
}

static um_status plan(um_kernel *k)
{
    const um_step *s = &k->step[0], *d = &k->step[k->n - 1];
    bool bf16 = (s->in_type == UM_BF16 && s->kind != UM_STEP_CONVERT) || (s->kind == UM_STEP_CONVERT && s->out_type == UM_BF16);
    k->k = level_f32();
    if (bf16) {
        if (!has(UM_BF16)) return UM_FAIL(UM_INTERNAL, "bfloat16 on a processor that does not compute in it");
        k->k = &um_cpu_kernels_avx512_bf16;
    }
    um_dtype elem = k->k->elem;
    switch (s->kind) {
    case UM_STEP_CONVERT:
        if (s->c > 3 || s->in_type != UM_U8) return UM_FAIL(UM_INTERNAL, "pictures of %d channels", s->c);
        for (int i = 0; i < 256; i++)
            for (int c = 0; c < 3; c++) k->table[i * 3 + c] = ((float)i / 255.0f - s->mean[c]) / s->std[c];
        return UM_OK;
    case UM_STEP_CONV:
        if (s->in_type != elem || (s->out_type != elem && s->out_type != UM_F32)) break;
        UM_PASS(plan_conv(k, s));
        if (k->n == 1) return UM_OK;
        k->second = k->constant_bytes;
        k->constant_bytes += k->k->dw_bytes(d->k, d->r, d->s);
        plan_depthwise(k, d);
        return UM_OK;
    case UM_STEP_DEPTHWISE:
        if (s->in_type != elem || s->out_type != elem || s->act == UM_ACT_PRELU || s->residual >= 0 || s->gate >= 0) break;
        k->constant_bytes = k->k->dw_bytes(s->k, s->r, s->s);
        plan_depthwise(k, s);
        return UM_OK;
    case UM_STEP_MEAN:
        if (s->in_type != elem || s->out_type != UM_F32) break;
        return UM_OK;
    case UM_STEP_MAX_POOL:
        if (s->in_type != elem || s->out_type != elem) break;
        return UM_OK;
    case UM_STEP_ACT:
        if (s->in_type != elem || (s->out_type != elem && s->out_type != UM_F32)) break;
        k->constant_bytes = s->act == UM_ACT_PRELU ? align64(((size_t)s->k + 16) * sizeof(float)) : 0;
        return UM_OK;
    }
    return UM_FAIL(UM_INTERNAL, "step kind %d with types %d and %d", (int)s->kind, (int)s->in_type, (int)s->out_type);
}

static void kernel_free(um_kernel *k) { free(k); }

static um_status kernel_new(const um_step *step, int n, um_kernel **out)
{
    um_kernel *k = calloc(1, sizeof *k);
    *out = NULL;
    if (k == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a kernel");
    k->n = n;
    memcpy(k->step, step, (size_t)n * sizeof *step);
    um_status st = plan(k);
    if (st != UM_OK) free(k);
    else *out = k;
    return st;
}

static size_t constant_bytes(const um_kernel *k) { return k->constant_bytes; }
static size_t scratch_bytes(const um_kernel *k) { return k->scratch_bytes; }

static um_status pack(const um_kernel *k, const um_step_weights *weights, void *constants)
{
    const um_step *s = &k->step[0], *d = &k->step[k->n - 1];
    unsigned char *at = constants;
    if (s->kind == UM_STEP_CONV) k->k->gemm_pack(s->r * s->s * s->c, s->k, weights[0].weight, weights[0].bias, constants);
    if (s->act == UM_ACT_PRELU && (s->kind == UM_STEP_CONV || s->kind == UM_STEP_ACT)) {
        float *slope = (float *)(void *)(at + k->slope);
        memset(slope, 0, ((size_t)s->k + 16) * sizeof *slope);
        memcpy(slope, weights[0].slope, (size_t)s->k * sizeof *slope);
    }
    if (d->kind == UM_STEP_DEPTHWISE) k->k->dw_pack(d->k, d->r, d->s, weights[k->n - 1].weight, weights[k->n - 1].bias, (float *)(void *)(at + k->second));
    return UM_OK;
}

/* ---- running ---- */

static const unsigned char *part(const void *base, size_t elements, um_dtype type) { return (const unsigned char *)base + elements * um_dtype_bytes(type); }

/* Rows of R x S windows of the map, from output pixel `first` on, zeros outside of the map. */
static void gather(const um_kernel *k, const um_step *s, const void *in, int first, int n, void *rows)
{
    size_t e = um_dtype_bytes(s->in_type), run = (size_t)s->c * e, depth = (size_t)k->depth * e;
    unsigned char *out = rows;
    for (int i = 0; i < n; i++, out += depth) {
        int pixel = first + i, q = pixel % s->q, p = pixel / s->q % s->p, image = pixel / s->q / s->p;
        int x0 = q * s->stride - s->pad_left, y0 = p * s->stride - s->pad_top;
        int s0 = x0 < 0 ? -x0 : 0, s1 = x0 + s->s > s->w ? s->w - x0 : s->s;
        for (int r = 0; r < s->r; r++) {
            int y = y0 + r;
            unsigned char *to = out + (size_t)(r * s->s) * run;
            if (y < 0 || y >= s->h || s1 <= s0) {
                memset(to, 0, (size_t)s->s * run);
                continue;
            }
            const unsigned char *from = (const unsigned char *)in + (((size_t)image * (size_t)s->h + (size_t)y) * (size_t)s->w + (size_t)(x0 + s0)) * run;
            if (s0 > 0) memset(to, 0, (size_t)s0 * run);
            memcpy(to + (size_t)s0 * run, from, (size_t)(s1 - s0) * run);
            if (s1 < s->s) memset(to + (size_t)s1 * run, 0, (size_t)(s->s - s1) * run);
        }
        size_t used = (size_t)(s->r * s->s) * run;
        if (used < depth) memset(out + used, 0, depth - used);
    }
}

static void run_conv(const um_kernel *k, const unsigned char *constants, void *const *value, unsigned char *scratch)
{
    const um_step *s = &k->step[0];
    size_t in_type = um_dtype_bytes(s->in_type), out_type = um_dtype_bytes(s->out_type), pixels = (size_t)s->p * (size_t)s->q;
    um_gemm g = {.c = k->depth, .k = s->k, .a_stride = (size_t)k->depth, .packed = constants, .out_f32 = s->out_type == UM_F32, .out_stride = (size_t)s->k, .act = s->act};
    if (s->act == UM_ACT_PRELU) g.slope = (const float *)(const void *)(constants + k->slope);
    /* One product for all pictures, or one each; by im2col, some rows at a time. */
    int all = s->n * (int)pixels, m = k->rows > 0 ? k->rows : s->gate >= 0 ? (int)pixels : all;
    for (int first = 0; first < all; first += m) {
        g.m = all - first < m ? all - first : m;
        g.a = part(value[s->in], (size_t)first * (size_t)s->c, s->in_type);
        if (k->rows > 0) {
            gather(k, s, value[s->in], first, g.m, scratch + k->at_rows);
            g.a = scratch + k->at_rows;
        }
        if (s->gate >= 0) g.gate = (const float *)value[s->gate] + (size_t)first / pixels * (size_t)s->c;
        if (s->residual >= 0) g.residual = (const unsigned char *)value[s->residual] + (size_t)first * (size_t)s->k * out_type;
        g.out = (unsigned char *)value[s->out] + (size_t)first * (size_t)s->k * out_type;
        k->k->gemm(&g, scratch);
    }
    (void)in_type;
}

/* Lines y0 .. y1 of the map of one picture (all inside of it), channels c0 .. c0 + n, to `line` of the band. */
static void fill(const um_kernel *k, const unsigned char *constants, const void *in, int c0, int n, int y0, int y1, float *line, unsigned char *scratch)
{
    const um_step *s = &k->step[0], *d = &k->step[k->n - 1];
    size_t row = (size_t)k->band_cols * UM_CPU_BLOCK;
    line += (size_t)d->pad_left * UM_CPU_BLOCK;
    if (k->n == 1) {
        for (int y = y0; y < y1; y++, line += row)
            k->k->widen(part(in, (size_t)y * (size_t)s->w * (size_t)s->c + (size_t)c0, s->in_type), (size_t)s->c, s->w, n, line, UM_CPU_BLOCK);
        return;
    }
    um_gemm g = {.m = (y1 - y0) * s->w,
                 .c = s->c,
                 .k = s->k,
                 .a = part(in, (size_t)y0 * (size_t)s->w * (size_t)s->c, s->in_type),
                 .a_stride = (size_t)s->c,
                 .packed = constants,
                 .out = line,
                 .out_f32 = true,
                 .out_stride = UM_CPU_BLOCK,
                 .line = s->w,
                 .line_stride = row,
                 .k_first = c0,
                 .k_end = c0 + n,
                 .act = s->act};
    k->k->gemm(&g, scratch);
}

static void run_depthwise(const um_kernel *k, const unsigned char *constants, void *const *value, unsigned char *scratch)
{
    const um_step *s = &k->step[0], *d = &k->step[k->n - 1];
    float *band = (float *)(void *)(scratch + k->at_band), *sum = (float *)(void *)(scratch + k->at_sum);
    const float *taps = (const float *)(const void *)(constants + k->second);
    size_t row = (size_t)k->band_cols * UM_CPU_BLOCK;
    memset(band, 0, (size_t)k->band_rows * row * sizeof *band);
    for (int image = 0; image < d->n; image++) {
        const unsigned char *in = part(value[s->in], (size_t)image * (size_t)s->h * (size_t)s->w * (size_t)s->c, s->in_type);
        unsigned char *out = (unsigned char *)value[d->out] + (size_t)image * (size_t)d->p * (size_t)d->q * (size_t)d->k * um_dtype_bytes(d->out_type);
        memset(sum, 0, ((size_t)d->k + 16) * sizeof *sum);
        for (int c0 = 0; c0 < d->k; c0 += UM_CPU_BLOCK) {
            int n = d->k - c0 < UM_CPU_BLOCK ? d->k - c0 : UM_CPU_BLOCK;
            int have = 0; /* lines of the map from the band's first on that are there already */
            for (int p = 0; p < d->p; p += k->band) {
                int rows = d->p - p < k->band ? d->p - p : k->band;
                int y0 = p * d->stride - d->pad_top, lines = (rows - 1) * d->stride + d->r;
                for (int i = have; i < lines;) {
                    int y = y0 + i, end = y0 + lines;
                    if (y < 0 || y >= d->h) {
                        memset(band + (size_t)i++ * row, 0, row * sizeof *band);
                        continue;
                    }
                    if (end > d->h) end = d->h;
                    fill(k, constants, in, c0, n, y, end, band + (size_t)i * row, scratch);
                    i += end - y;
                }
                um_dw dw = {.in = band,
                            .in_row = row,
                            .in_col = UM_CPU_BLOCK,
                            .packed = taps + (size_t)c0 * (size_t)(d->r * d->s + 1),
                            .rows = rows,
                            .q = d->q,
                            .n_channels = n,
                            .r = d->r,
                            .s = d->s,
                            .stride = d->stride,
                            .act = d->act,
                            .out = out + ((size_t)p * (size_t)d->q * (size_t)d->k + (size_t)c0) * um_dtype_bytes(d->out_type),
                            .out_row = (size_t)d->q * (size_t)d->k,
                            .out_col = (size_t)d->k,
                            .sum = d->means >= 0 ? sum + c0 : NULL};
                k->k->dw(&dw);
                int used = rows * d->stride;
                have = lines > used ? lines - used : 0;
                if (have > 0) memmove(band, band + (size_t)used * row, (size_t)have * row * sizeof *band);
            }
        }
        if (d->means >= 0) {
            float *means = (float *)value[d->means] + (size_t)image * (size_t)d->k, one = 1.0f / (float)(d->p * d->q);
            for (int c = 0; c < d->k; c++) means[c] = sum[c] * one;
        }
    }
}

static void run(const um_kernel *k, const void *constants, void *const *value, void *scratch, void *stream)
{
    const um_step *s = &k->step[0];
    (void)stream;
    if (k->n == 2 || s->kind == UM_STEP_DEPTHWISE) {
        run_depthwise(k, constants, value, scratch);
        return;
    }
    if (s->kind == UM_STEP_CONV) {
        run_conv(k, constants, value, scratch);
        return;
    }
    size_t in = (size_t)s->h * (size_t)s->w * (size_t)s->c, out = (size_t)s->p * (size_t)s->q * (size_t)s->k;
    for (int i = 0; i < s->n; i++) {
        const void *x = part(value[s->in], in * (size_t)i, s->in_type);
        void *y = (unsigned char *)value[s->out] + out * (size_t)i * um_dtype_bytes(s->out_type);
        if (s->kind == UM_STEP_CONVERT) k->k->convert(x, (size_t)s->h * (size_t)s->w, s->c, k->table, y);
        if (s->kind == UM_STEP_MEAN) k->k->mean(x, s->h, s->w, s->c, y);
        if (s->kind == UM_STEP_MAX_POOL) k->k->max_pool(x, s->h, s->w, s->c, s->r, s->s, s->stride, y, s->p, s->q);
        if (s->kind == UM_STEP_ACT)
            k->k->act(x, s->gate >= 0 ? (const float *)value[s->gate] + (size_t)i * (size_t)s->c : NULL,
                      s->residual >= 0 ? part(value[s->residual], out * (size_t)i, s->out_type) : NULL, (size_t)s->h * (size_t)s->w, s->c, s->act, constants, y,
                      s->out_type == UM_F32);
    }
}

const um_backend um_backend_cpu = {
    .name = "cpu",
    .has = has,
    .take = take,
    .kernel_new = kernel_new,
    .kernel_free = kernel_free,
    .constant_bytes = constant_bytes,
    .scratch_bytes = scratch_bytes,
    .pack = pack,
    .run = run,
};
