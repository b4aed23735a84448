/* cpu.c: the table um_backend_cpu: a kernel for a step, or for a whole inverted bottleneck (Sandler et al., "MobileNetV2", 2018, with squeeze-and-excite): [1 x 1], depthwise with means, the two dense
 * layers of the gate, 1 x 1 with gate.
 *
 * Depthwise work goes through a band: some lines of a few planes of channels (cpu_kernels.h), between zeros, so that no filter meets an edge; it stays in L2. The band is filled from the map or, in a
 * bottleneck, by the convolution before it: the widest map of the network is never written to memory. What the depthwise step writes waits in scratch memory, in planes, for its gate.
 *
 * bf16 is how maps and weights lie in memory. By default the arithmetic is that of f32 (maps of a kernel's inside stay f32): on processors whose bfloat16 product is no faster than two of f32, Intel's without
 * AMX among them, this is faster, needs no new instruction, and has the same bits at all levels. Where it is twice as fast, on AMD's, the level avx512_bf16 multiplies in bfloat16.
 */
#include "src/core/cpu.h"
#include "src/nn/cpu/cpu_kernels.h"

#include <stdlib.h>
#include <string.h>

enum { BAND_BYTES = 384 * 1024, GATHER_BYTES = 128 * 1024, STEPS_MAX = 5 };

struct um_kernel {
    um_step step[STEPS_MAX];
    int n;                      /* steps */
    const um_cpu_kernels *k;    /* of the elements */
    const um_cpu_kernels *f32;  /* of gates and means */
    bool widened;               /* maps are bf16, the kernels f32 */
    um_dtype w_type;            /* of the convolutions on maps */
    const um_step *expand, *depthwise, *reduce, *excite, *project; /* of `step`; NULL: there is none */
    int mid;                    /* channels of the depthwise step, up to whole planes */
    int band;                   /* output lines of a band */
    int band_rows, band_cols;   /* of the lines in scratch */
    /* Of a single convolution: */
    int rows, depth;            /* by im2col: output pixels at a time, else 0; R S C, even for bfloat16 */
    size_t at[STEPS_MAX], at_slope; /* constants of each step */
    size_t constant_bytes, scratch_bytes;
    size_t s_in, s_band, s_sum, s_gate, s_squeezed, s_map, s_rows; /* in scratch; 0 is the products' own */
    float table[256 * 3];       /* CONVERT */
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

static bool has(um_dtype precision) { return precision == UM_F32 || precision == UM_BF16; }

/* UNMASK_BF16=dot|wide in the environment is for tests. */
static bool multiplies_bf16(void)
{
#if defined(__x86_64__)
    const char *wish = getenv("UNMASK_BF16");
    if (um_cpu_level_get() != UM_CPU_AVX512 || !__builtin_cpu_supports("avx512bf16")) return false;
    return wish != NULL ? strcmp(wish, "dot") == 0 : __builtin_cpu_is("amd") != 0;
#else
    return false;
#endif
}

const char *um_backend_cpu_arithmetic(um_dtype precision) { return precision == UM_BF16 && multiplies_bf16() ? "bf16 products" : "f32"; }

static bool is_pointwise(const um_step *s) { return s->r == 1 && s->s == 1 && s->stride == 1 && s->pad_top == 0 && s->pad_left == 0; }

/* A dense layer on f32 vectors. */
static bool is_dense(const um_step *s, int in)
{
    return s->kind == UM_STEP_CONV && is_pointwise(s) && s->h == 1 && s->w == 1 && s->in == in && s->in_type == UM_F32 && s->out_type == UM_F32 && s->gate < 0 && s->residual < 0 && s->act != UM_ACT_PRELU;
}

/* Steps of the bottleneck that begins here, 0: none does. */
static int bottleneck(const um_step *step, int n)
{
    const um_step *a = step, *d = step, *p;
    if (n >= 5 && a->kind == UM_STEP_CONV && is_pointwise(a) && a->gate < 0 && a->residual < 0 && a->act != UM_ACT_PRELU && a->k % UM_CPU_BLOCK == 0 && a->c % 2 == 0 && a->in_type == a->out_type &&
        a[1].in == a->out)
        d = a + 1;
    if (n < d - step + 4) return 0;
    p = d + 3;
    bool fits = d->kind == UM_STEP_DEPTHWISE && d->means >= 0 && d->act != UM_ACT_PRELU && d->residual < 0 && d->gate < 0 && d->in_type == d->out_type && d->in_type == a->in_type && is_dense(d + 1, d->means) &&
                is_dense(d + 2, d[1].out) && p->kind == UM_STEP_CONV && is_pointwise(p) && p->in == d->out && p->gate == d[2].out && p->in_type == d->out_type && p->out_type == p->in_type &&
                p->act != UM_ACT_PRELU;
    return fits ? (int)(p - step) + 1 : 0;
}

static int take(const um_step *step, int n)
{
    int steps = bottleneck(step, n);
    return steps > 0 ? steps : 1;
}

/* ---- making ---- */

/* Takes n bytes of scratch or constants. */
static size_t place(size_t *end, size_t n)
{
    size_t at = *end;
    *end += align64(n);
    return at;
}

static void at_least(size_t *bytes, size_t n)
{
    n = align64(n);
    if (*bytes < n) *bytes = n;
}

static void plan_depthwise(um_kernel *k)
{
    const um_step *d = k->depthwise;
    int tile_q = (d->q + 11) / 12 * 12; /* a multiple of every level's tile */
    k->mid = (d->k + UM_CPU_PLANE - 1) / UM_CPU_PLANE * UM_CPU_PLANE;
    k->band_cols = (tile_q - 1) * d->stride + d->s;
    if (k->band_cols < d->pad_left + d->w) k->band_cols = d->pad_left + d->w;
    size_t line = (size_t)k->band_cols * UM_CPU_BLOCK * sizeof(float);
    int lines = (int)(BAND_BYTES / line);
    k->band = lines < d->r ? 1 : (lines - d->r) / d->stride + 1;
    if (k->band < 4) k->band = 4;
    int n = (d->p + k->band - 1) / k->band;
    k->band = (d->p + n - 1) / n;
    k->band_rows = (k->band - 1) * d->stride + d->r;
    k->s_band = place(&k->scratch_bytes, (size_t)k->band_rows * line);
    k->s_sum = place(&k->scratch_bytes, (size_t)k->mid * sizeof(float));
    k->at[d - k->step] = place(&k->constant_bytes, k->k->dw_bytes(d->k, d->r, d->s));
}

static void plan_bottleneck(um_kernel *k)
{
    const um_step *e = k->expand, *d = k->depthwise, *p = k->project;
    int mid = (d->k + UM_CPU_PLANE - 1) / UM_CPU_PLANE * UM_CPU_PLANE;
    size_t own = k->k->gemm_scratch(p->p * p->q, mid, p->k);
    if (e != NULL) at_least(&own, k->k->gemm_scratch(e->p * e->q, e->c, e->k));
    at_least(&own, k->f32->gemm_scratch(1, k->reduce->c, k->reduce->k));
    at_least(&own, k->f32->gemm_scratch(1, k->excite->c, k->excite->k));
    place(&k->scratch_bytes, own);
    if (e != NULL) k->at[0] = place(&k->constant_bytes, k->k->gemm_bytes(e->c, e->k, k->w_type));
    plan_depthwise(k);
    k->at[k->reduce - k->step] = place(&k->constant_bytes, k->f32->gemm_bytes(k->reduce->c, k->reduce->k, UM_F32));
    k->at[k->excite - k->step] = place(&k->constant_bytes, k->f32->gemm_bytes(k->excite->c, k->excite->k, UM_F32));
    k->at[p - k->step] = place(&k->constant_bytes, k->k->gemm_bytes(mid, p->k, k->w_type));
    k->s_squeezed = place(&k->scratch_bytes, (size_t)k->reduce->k * sizeof(float) + 64);
    k->s_gate = place(&k->scratch_bytes, (size_t)mid * sizeof(float));
    k->s_map = place(&k->scratch_bytes, (size_t)mid * (size_t)p->p * (size_t)p->q * um_dtype_bytes(k->k->elem) + 64);
}

static um_status plan_conv(um_kernel *k)
{
    const um_step *s = &k->step[0];
    bool f32 = k->k->elem == UM_F32;
    int m = s->n * s->p * s->q;
    k->depth = s->r * s->s * s->c;
    if (!f32) k->depth = (k->depth + 1) / 2 * 2;
    if (!is_pointwise(s) || k->depth != s->c) {
        if (s->gate >= 0) return UM_FAIL(UM_INTERNAL, "a gate before a %dx%d convolution of %d channels", s->r, s->s, s->c);
        size_t rows = GATHER_BYTES / ((size_t)k->depth * um_dtype_bytes(k->k->elem));
        k->rows = rows < 36 ? 36 : (int)rows / 36 * 36; /* a multiple of every level's tile */
        if (k->rows > m) k->rows = m;
        m = k->rows;
    } else if (s->gate >= 0)
        m = s->p * s->q; /* a gate belongs to one picture */
    place(&k->scratch_bytes, k->k->gemm_scratch(m, k->depth, s->k));
    k->s_rows = place(&k->scratch_bytes, (size_t)k->rows * (size_t)k->depth * um_dtype_bytes(k->k->elem) + 64);
    k->at[0] = place(&k->constant_bytes, k->k->gemm_bytes(k->depth, s->k, k->w_type));
    return UM_OK;
}

/* Room for the input of one picture in f32, and for what a small step writes in f32. */
static void place_widened(um_kernel *k)
{
    const um_step *s = &k->step[0];
    if (!k->widened) return;
    k->s_in = place(&k->scratch_bytes, (size_t)s->h * (size_t)s->w * (size_t)s->c * sizeof(float) + 64);
    if (s->kind == UM_STEP_CONVERT || s->kind == UM_STEP_MAX_POOL) k->s_map = place(&k->scratch_bytes, (size_t)s->p * (size_t)s->q * (size_t)s->k * sizeof(float) + 64);
}

static um_status plan(um_kernel *k)
{
    const um_step *s = &k->step[0];
    bool bf16 = s->kind == UM_STEP_CONVERT ? s->out_type == UM_BF16 : s->in_type == UM_BF16;
    k->k = k->f32 = level_f32();
    um_dtype type = bf16 ? UM_BF16 : UM_F32;
    /* That level takes channels in pairs; a gate cannot be padded to one. */
    bool odd_gate = s->kind == UM_STEP_CONV && s->gate >= 0 && s->c % 2 != 0;
    if (bf16 && !odd_gate && multiplies_bf16()) k->k = &um_cpu_kernels_avx512_bf16;
    k->widened = bf16 && k->k->elem == UM_F32;
    k->w_type = type;
    if (k->n > 1) {
        k->expand = k->n == 5 ? s : NULL;
        k->depthwise = s + k->n - 4;
        k->reduce = s + k->n - 3;
        k->excite = s + k->n - 2;
        k->project = s + k->n - 1;
        plan_bottleneck(k);
        place_widened(k);
        return UM_OK;
    }
    if (s->act == UM_ACT_PRELU) k->at_slope = place(&k->constant_bytes, ((size_t)s->k + 16) * sizeof(float));
    bool fits = s->kind == UM_STEP_CONVERT || (s->in_type == type && (s->out_type == type || s->out_type == UM_F32));
    switch (s->kind) {
    case UM_STEP_CONVERT:
        if (s->c > 3 || s->in_type != UM_U8) fits = false;
        for (int i = 0; i < 256; i++)
            for (int c = 0; c < 3; c++) k->table[i * 3 + c] = ((float)i / 255.0f - s->mean[c]) / s->std[c];
        break;
    case UM_STEP_CONV:
        if (fits) UM_PASS(plan_conv(k));
        break;
    case UM_STEP_DEPTHWISE:
        if (s->out_type != type || s->act == UM_ACT_PRELU || s->residual >= 0 || s->gate >= 0) fits = false;
        k->depthwise = s;
        plan_depthwise(k);
        break;
    case UM_STEP_MEAN:
        if (s->out_type != UM_F32) fits = false;
        break;
    case UM_STEP_MAX_POOL:
        if (s->out_type != type) fits = false;
        break;
    case UM_STEP_ACT: break;
    }
    if (!fits) return UM_FAIL(UM_INTERNAL, "step of kind %d, activation %d, types %d and %d", (int)s->kind, (int)s->act, (int)s->in_type, (int)s->out_type);
    place_widened(k);
    return UM_OK;
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
    for (int i = 0; i < k->n; i++) {
        const um_step *s = &k->step[i];
        const um_step_weights *w = &weights[i];
        unsigned char *at = (unsigned char *)constants + k->at[i];
        const um_cpu_kernels *level = s == k->reduce || s == k->excite ? k->f32 : k->k;
        int c = s->r * s->s * s->c;
        if (s->kind == UM_STEP_CONV) level->gemm_pack(s == k->project ? k->mid : k->n == 1 ? k->depth : c, c, s->k, w->weight, w->bias, s == k->reduce || s == k->excite ? UM_F32 : k->w_type, at);
        if (s->kind == UM_STEP_DEPTHWISE) level->dw_pack(s->k, s->r, s->s, w->weight, w->bias, (float *)(void *)at);
    }
    if (k->n == 1 && k->step[0].act == UM_ACT_PRELU) {
        const um_step *s = &k->step[0];
        float *slope = (float *)(void *)((unsigned char *)constants + k->at_slope);
        memset(slope, 0, ((size_t)s->k + 16) * sizeof *slope);
        memcpy(slope, weights[0].slope, (size_t)s->k * sizeof *slope);
    }
    return UM_OK;
}

/* ---- running ---- */

typedef struct call {
    const um_kernel *k;
    const unsigned char *constants;
    void *const *value;
    unsigned char *scratch;
} call;

/* What lies `elements` numbers of that type behind base. */
static void *part(const void *base, size_t elements, um_dtype type) { return (unsigned char *)(size_t)base + elements * um_dtype_bytes(type); }
static const unsigned char *constants_of(const call *c, const um_step *s) { return c->constants + c->k->at[s - c->k->step]; }
/* The map of one picture as the level's elements. */
static const void *elements(const call *c, const void *map, size_t n)
{
    if (!c->k->widened) return map;
    c->k->k->to_f32(map, n, (float *)(void *)(c->scratch + c->k->s_in));
    return c->scratch + c->k->s_in;
}
static float *floats(const call *c, size_t at) { return (float *)(void *)(c->scratch + at); }

/* Rows of R x S windows of the map, from output pixel `first` on, zeros outside of the map. */
static void gather(const um_kernel *k, const void *in, int first, int n, void *rows)
{
    const um_step *s = &k->step[0];
    size_t e = um_dtype_bytes(k->k->elem), run = (size_t)s->c * e, depth = (size_t)k->depth * e;
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

static void run_conv(const call *c)
{
    const um_kernel *k = c->k;
    const um_step *s = &k->step[0];
    size_t pixels = (size_t)s->p * (size_t)s->q;
    um_gemm g = {.c = k->depth, .k = s->k, .a_stride = (size_t)k->depth, .packed = c->constants + k->at[0], .w_type = k->w_type, .out_type = s->out_type, .out_stride = (size_t)s->k, .act = s->act};
    if (s->act == UM_ACT_PRELU) g.slope = (const float *)(const void *)(c->constants + k->at_slope);
    /* One product for all pictures, or one each; by im2col, some rows at a time. */
    int all = s->n * (int)pixels, each = k->widened || s->gate >= 0 ? (int)pixels : all, m = k->rows > 0 ? k->rows : each;
    size_t map = (size_t)s->h * (size_t)s->w * (size_t)s->c;
    for (int base = 0; base < all; base += each) {
        size_t picture = (size_t)base / pixels;
        const void *in = elements(c, part(c->value[s->in], picture * map, s->in_type), map);
        if (s->gate >= 0) g.gate = (const float *)c->value[s->gate] + picture * (size_t)s->c;
        for (int first = 0; first < each; first += m) {
            size_t to = (size_t)(base + first) * (size_t)s->k;
            g.m = each - first < m ? each - first : m;
            g.a = part(in, (size_t)first * (size_t)s->c, k->k->elem);
            if (k->rows > 0) {
                gather(k, in, first, g.m, c->scratch + k->s_rows);
                g.a = c->scratch + k->s_rows;
            }
            if (s->residual >= 0) g.residual = part(c->value[s->residual], to, s->out_type);
            g.out = part(c->value[s->out], to, s->out_type);
            k->k->gemm(&g, c->scratch);
        }
    }
}

/* Lines y .. y_end of the map of one picture (all inside of it), channels c0 .. c0 + n, to line i of the band. */
static void fill(const call *c, const void *in, int c0, int n, int y, int y_end, int i)
{
    const um_kernel *k = c->k;
    const um_step *e = k->expand, *d = k->depthwise;
    size_t row = (size_t)k->band_cols * UM_CPU_PLANE, plane = row * (size_t)k->band_rows;
    float *line = floats(c, k->s_band) + (size_t)i * row + (size_t)d->pad_left * UM_CPU_PLANE;
    if (e == NULL) {
        for (int j = 0; j < n; j += UM_CPU_PLANE)
            for (int l = y; l < y_end; l++)
                k->k->widen(part(in, (size_t)l * (size_t)d->w * (size_t)d->c + (size_t)(c0 + j), k->k->elem), (size_t)d->c, d->w, n - j < UM_CPU_PLANE ? n - j : UM_CPU_PLANE,
                            line + (size_t)(j / UM_CPU_PLANE) * plane + (size_t)(l - y) * row);
        return;
    }
    um_gemm g = {.m = (y_end - y) * e->w,
                 .c = e->c,
                 .k = e->k,
                 .a = part(in, (size_t)y * (size_t)e->w * (size_t)e->c, k->k->elem),
                 .a_stride = (size_t)e->c,
                 .packed = constants_of(c, e),
                 .w_type = k->w_type,
                 .out = line,
                 .out_type = UM_F32,
                 .out_stride = UM_CPU_PLANE,
                 .out_plane = plane,
                 .line = e->w,
                 .line_stride = row,
                 .k_first = c0,
                 .k_end = c0 + n,
                 .act = e->act};
    k->k->gemm(&g, c->scratch);
}

/* One picture's map `in`, elements, to `out`, of out_type: pixels of out_col elements, and so many from plane to plane. The means too, if the step has them. */
static void run_depthwise(const call *c, const void *in, void *out, um_dtype out_type, size_t out_col, size_t out_plane, float *means)
{
    const um_kernel *k = c->k;
    const um_step *d = k->depthwise;
    float *band = floats(c, k->s_band), *sum = floats(c, k->s_sum);
    const float *taps = (const float *)(const void *)constants_of(c, d);
    size_t row = (size_t)k->band_cols * UM_CPU_PLANE, plane = row * (size_t)k->band_rows;
    memset(band, 0, plane * (UM_CPU_BLOCK / UM_CPU_PLANE) * sizeof *band);
    memset(sum, 0, (size_t)k->mid * sizeof *sum);
    for (int c0 = 0; c0 < d->k; c0 += UM_CPU_BLOCK) {
        int n = d->k - c0 < UM_CPU_BLOCK ? d->k - c0 : UM_CPU_BLOCK, n_planes = (n + UM_CPU_PLANE - 1) / UM_CPU_PLANE;
        int have = 0; /* lines that the band before left */
        for (int p = 0; p < d->p; p += k->band) {
            int rows = d->p - p < k->band ? d->p - p : k->band, y0 = p * d->stride - d->pad_top, lines = (rows - 1) * d->stride + d->r;
            for (int i = have; i < lines;) {
                int y = y0 + i, end = y0 + lines < d->h ? y0 + lines : d->h;
                if (y >= 0 && y < end) {
                    fill(c, in, c0, n, y, end, i);
                    i += end - y;
                    continue;
                }
                for (int j = 0; j < n_planes; j++) memset(band + (size_t)j * plane + (size_t)i * row, 0, row * sizeof *band);
                i++;
            }
            int used = rows * d->stride;
            have = lines > used && p + rows < d->p ? lines - used : 0;
            for (int j = 0; j < n_planes; j++) {
                int at = c0 + j * UM_CPU_PLANE;
                float *lines_of = band + (size_t)j * plane;
                um_dw dw = {.in = lines_of,
                            .in_row = row,
                            .packed = taps + (size_t)at * (size_t)(d->r * d->s + 1),
                            .rows = rows,
                            .q = d->q,
                            .n_channels = out_plane != UM_CPU_PLANE || n - j * UM_CPU_PLANE >= UM_CPU_PLANE ? UM_CPU_PLANE : n - j * UM_CPU_PLANE,
                            .r = d->r,
                            .s = d->s,
                            .stride = d->stride,
                            .act = d->act,
                            .out = part(out, (size_t)p * (size_t)d->q * out_col + (size_t)(at / UM_CPU_PLANE) * out_plane, out_type),
                            .out_type = out_type,
                            .out_row = (size_t)d->q * out_col,
                            .out_col = out_col,
                            .sum = means != NULL ? sum + at : NULL};
                k->k->dw(&dw);
                if (have > 0) memmove(lines_of, lines_of + (size_t)used * row, (size_t)have * row * sizeof *band);
            }
        }
    }
    float one = 1.0f / (float)(d->p * d->q);
    for (int i = 0; means != NULL && i < d->k; i++) means[i] = sum[i] * one;
}

static void run_single_depthwise(const call *c)
{
    const um_step *d = c->k->depthwise;
    size_t map = (size_t)d->h * (size_t)d->w * (size_t)d->c;
    for (int i = 0; i < d->n; i++)
        run_depthwise(c, elements(c, part(c->value[d->in], (size_t)i * map, d->in_type), map), part(c->value[d->out], (size_t)i * (size_t)d->p * (size_t)d->q * (size_t)d->k, d->out_type), d->out_type,
                      (size_t)d->k, UM_CPU_PLANE,
                      d->means >= 0 ? (float *)c->value[d->means] + (size_t)i * (size_t)d->k : NULL);
}

static void run_dense(const call *c, const um_step *s, const float *in, float *out)
{
    um_gemm g = {.m = 1, .c = s->c, .k = s->k, .a = in, .a_stride = (size_t)s->c, .packed = constants_of(c, s), .w_type = UM_F32, .out = out, .out_type = UM_F32, .out_stride = (size_t)s->k, .act = s->act};
    c->k->f32->gemm(&g, c->scratch);
}

static void run_bottleneck(const call *c)
{
    const um_kernel *k = c->k;
    const um_step *s = &k->step[0], *p = k->project;
    size_t in_count = (size_t)s->h * (size_t)s->w * (size_t)s->c, pixels = (size_t)p->p * (size_t)p->q, mid = (size_t)k->mid;
    unsigned char *map = c->scratch + k->s_map;
    float *means = floats(c, k->s_sum), *gate = floats(c, k->s_gate), *squeezed = floats(c, k->s_squeezed);
    for (int i = 0; i < p->n; i++) {
        run_depthwise(c, elements(c, part(c->value[s->in], (size_t)i * in_count, s->in_type), in_count), map, k->k->elem, UM_CPU_PLANE, pixels * UM_CPU_PLANE, means);
        run_dense(c, k->reduce, means, squeezed);
        memset(gate, 0, mid * sizeof *gate);
        run_dense(c, k->excite, squeezed, gate);
        um_gemm g = {.m = (int)pixels,
                     .c = k->mid,
                     .k = p->k,
                     .a = map,
                     .a_stride = UM_CPU_PLANE,
                     .a_plane = pixels * UM_CPU_PLANE,
                     .packed = constants_of(c, p),
                     .w_type = k->w_type,
                     .out_type = p->out_type,
                     .gate = gate,
                     .residual = p->residual >= 0 ? part(c->value[p->residual], (size_t)i * pixels * (size_t)p->k, p->out_type) : NULL,
                     .out = part(c->value[p->out], (size_t)i * pixels * (size_t)p->k, p->out_type),
                     .out_stride = (size_t)p->k,
                     .act = p->act};
        k->k->gemm(&g, c->scratch);
    }
}

static um_status run(const um_kernel *k, const void *constants, void *const *value, void *scratch, void *stream)
{
    const call c = {k, constants, value, scratch};
    const um_step *s = &k->step[0];
    (void)stream;
    if (k->n > 1) {
        run_bottleneck(&c);
        return UM_OK;
    }
    if (s->kind == UM_STEP_CONV) {
        run_conv(&c);
        return UM_OK;
    }
    if (s->kind == UM_STEP_DEPTHWISE) {
        run_single_depthwise(&c);
        return UM_OK;
    }
    size_t in = (size_t)s->h * (size_t)s->w * (size_t)s->c, out = (size_t)s->p * (size_t)s->q * (size_t)s->k;
    for (int i = 0; i < s->n; i++) {
        const void *map = part(value[s->in], in * (size_t)i, s->in_type), *x = s->kind == UM_STEP_CONVERT ? map : elements(&c, map, in);
        void *y = part(value[s->out], out * (size_t)i, s->out_type), *z = k->s_map > 0 ? c.scratch + k->s_map : y;
        if (s->kind == UM_STEP_CONVERT) k->k->convert(x, (size_t)s->h * (size_t)s->w, s->c, k->table, z);
        if (s->kind == UM_STEP_MEAN) k->k->mean(x, s->h, s->w, s->c, y);
        if (s->kind == UM_STEP_MAX_POOL) k->k->max_pool(x, s->h, s->w, s->c, s->r, s->s, s->stride, z, s->p, s->q);
        if (z != y) k->k->to_bf16(z, out, y);
        if (s->kind == UM_STEP_ACT) {
            const float *gate = s->gate >= 0 ? (const float *)value[s->gate] + (size_t)i * (size_t)s->c : NULL;
            const void *residual = s->residual >= 0 ? part(value[s->residual], out * (size_t)i, s->out_type) : NULL;
            const float *slope = s->act == UM_ACT_PRELU ? (const float *)(const void *)(c.constants + k->at_slope) : NULL;
            k->k->act(x, gate, residual, (size_t)s->h * (size_t)s->w, s->c, s->act, slope, y, s->out_type);
        }
    }
    return UM_OK;
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
