/* The arithmetic of the three nets: all instruction-set levels of this processor give equal bits, and what a plain computation in double precision gives, for all shapes of layer. */
#include "src/models/mtcnn_kernels.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { LEVELS = 3, ROOM = 256 };
static const um_mtcnn_kernels *level[LEVELS];
static int n_levels;

static uint32_t seed = 1;
static float uniform(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1;
}

/* n numbers in -scale..scale, with room behind that holds numbers too: none may reach a result. */
static float *numbers(size_t n, float scale)
{
    float *p = aligned_alloc(64, ((n + ROOM) * sizeof *p + 63) / 64 * 64);
    if (p == NULL) abort();
    for (size_t i = 0; i < n + ROOM; i++) p[i] = uniform() * scale;
    return p;
}

static double prelu(double v, double slope) { return v < 0 ? v * slope : v; }

/* A square map (side, side, n_in) through a k x k convolution; a dense layer is k = 0: n = side inputs of n_in numbers. */
static void check_layer(int side, int n_in, int k, int n_out, int linear)
{
    int made = k > 0 ? side - k + 1 : side, n = k > 0 ? made * made : side, rows = k > 0 ? k : 1, run = k > 0 ? k * n_in : n_in;
    size_t row_step = k > 0 ? (size_t)(side * n_in) : 0, in_floats = (size_t)(k > 0 ? side * side : side) * (size_t)n_in, out_floats = (size_t)n * (size_t)n_out, at = 0;
    size_t padded = (size_t)(n_out + 15) / 16 * 16;
    float *in = numbers(in_floats, 1), *w = numbers((size_t)(rows * run) * (size_t)n_out, 2.0f / sqrtf((float)(rows * run))), *bias = numbers(padded, 0.5f), *slope = numbers(padded, 0.5f), *out[LEVELS];
    for (size_t i = (size_t)n_out; i < padded; i++) bias[i] = slope[i] = 0;
    uint32_t *offset = calloc((size_t)n, sizeof *offset);
    for (int y = 0; y < (k > 0 ? made : 1); y++)
        for (int x = 0; x < made; x++) offset[at++] = (uint32_t)((y * side + x) * n_in);
    for (int i = 0; i < n_levels; i++) {
        float *packed = numbers(level[i]->layer_pack(rows * run, n_out, w, NULL), 0);
        level[i]->layer_pack(rows * run, n_out, w, packed);
        um_layer l = {.rows = rows, .run = run, .n_out = n_out, .w = packed, .bias = bias, .slope = linear ? NULL : slope};
        out[i] = numbers(out_floats, 1);
        level[i]->layer(&l, in, offset, n, row_step, out[i], (size_t)n_out);
        if (memcmp(out[i], out[0], out_floats * sizeof(float)) != 0) fprintf(stderr, "%s and %s differ: side %d, %d -> %d, k %d\n", level[i]->name, level[0]->name, side, n_in, n_out, k);
        CHECK(memcmp(out[i], out[0], out_floats * sizeof(float)) == 0);
        free(packed);
    }
    double off = 0;
    for (int i = 0; i < n; i++)
        for (int o = 0; o < n_out; o++) {
            double sum = bias[o];
            for (int r = 0; r < rows; r++)
                for (int c = 0; c < run; c++) sum += (double)in[offset[i] + (size_t)r * row_step + (size_t)c] * w[(size_t)(r * run + c) * (size_t)n_out + (size_t)o];
            if (!linear) sum = prelu(sum, slope[o]);
            off = fmax(off, fabs(sum - out[0][(size_t)i * (size_t)n_out + (size_t)o]));
        }
    CHECK_NEAR(off, 0, 2e-5);
    for (int i = 0; i < n_levels; i++) free(out[i]);
    free(in);
    free(w);
    free(bias);
    free(slope);
    free(offset);
}

static void check_pool(int side, int n_channels, int k)
{
    int made = (side - k + 1) / 2 + 1;
    size_t n = (size_t)(side * side) * (size_t)n_channels;
    float *in = numbers(n, 1), *out = numbers((size_t)(made * made * n_channels), 1);
    for (int i = 0; i < n_levels; i++) {
        int wrong = 0;
        level[i]->pool(in, side, side, n_channels, k, out, made, made);
        for (int y = 0; y < made; y++)
            for (int x = 0; x < made; x++)
                for (int c = 0; c < n_channels; c++) {
                    float most = -INFINITY;
                    for (int r = 2 * y; r < 2 * y + k && r < side; r++)
                        for (int s = 2 * x; s < 2 * x + k && s < side; s++) most = fmaxf(most, in[(r * side + s) * n_channels + c]);
                    wrong += out[(y * made + x) * n_channels + c] != most;
                }
        CHECK_INT(wrong, 0);
    }
    free(in);
    free(out);
}

/* (n_in, h, w) through a valid 3x3 convolution and PReLU, in double precision. */
static double *convolved(const double *in, int n_in, int h, int w, const float *weight, const float *bias, const float *slope, int n_out)
{
    int ho = h - 2, wo = w - 2;
    double *out = calloc((size_t)(n_out * ho * wo), sizeof *out);
    if (out == NULL) abort();
    for (int o = 0; o < n_out; o++)
        for (int y = 0; y < ho; y++)
            for (int x = 0; x < wo; x++) {
                double sum = bias[o];
                for (int c = 0; c < n_in; c++)
                    for (int r = 0; r < 9; r++) sum += in[(c * h + y + r / 3) * w + x + r % 3] * weight[(o * n_in + c) * 9 + r];
                out[(o * ho + y) * wo + x] = prelu(sum, slope[o]);
            }
    return out;
}

static int by_place(const void *a, const void *b)
{
    const um_pnet_hit *p = a, *q = b;
    return p->y != q->y ? p->y - q->y : p->x - q->x;
}

static void check_pnet(int height, int width)
{
    static const int N[4] = {3, 10, 16, 32};
    size_t stride = (size_t)(width + 15) / 16 * 16 + UM_PNET_SLACK;
    float *in = numbers(3 * (size_t)height * stride, 1), *weight[3], *bias[3], *slope[3], *face = numbers(32, 0.5f), *box = numbers(4 * 32, 0.5f);
    double *map = calloc((size_t)(3 * height * width), sizeof *map);
    um_pnet_hits hits[LEVELS] = {{0}};
    um_pnet net = {.face = face, .face_bias = 0.1f, .box = box, .box_bias = {0.1f, -0.2f, 0.3f, -0.4f}};
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) map[(c * height + y) * width + x] = in[(size_t)(c * height + y) * stride + (size_t)x];
    int h = height, w = width;
    for (int i = 0; i < 3; i++) {
        weight[i] = numbers((size_t)(N[i] * N[i + 1] * 9), 0.25f);
        bias[i] = numbers((size_t)N[i + 1], 0.3f);
        slope[i] = numbers((size_t)N[i + 1], 0.5f);
        double *next = convolved(map, N[i], h, w, weight[i], bias[i], slope[i], N[i + 1]);
        free(map);
        map = next;
        h -= 2;
        w -= 2;
        if (i > 0) continue;
        int hp = (h + 1) / 2, wp = (w + 1) / 2; /* 2x2 maximum, partial windows count */
        next = calloc((size_t)(N[1] * hp * wp), sizeof *next);
        for (int c = 0; c < N[1]; c++)
            for (int y = 0; y < hp; y++)
                for (int x = 0; x < wp; x++) {
                    double most = -INFINITY;
                    for (int r = 2 * y; r < 2 * y + 2 && r < h; r++)
                        for (int s = 2 * x; s < 2 * x + 2 && s < w; s++) most = fmax(most, map[(c * h + r) * w + s]);
                    next[(c * hp + y) * wp + x] = most;
                }
        free(map);
        map = next;
        h = hp;
        w = wp;
    }
    for (int i = 0; i < n_levels; i++) {
        float *packed[3], *work = numbers(level[i]->pnet_work(width), 1);
        for (int c = 0; c < 3; c++) {
            packed[c] = numbers(level[i]->pnet_pack(N[c], N[c + 1], NULL, NULL), 0);
            level[i]->pnet_pack(N[c], N[c + 1], weight[c], packed[c]);
        }
        net.w1 = packed[0], net.b1 = bias[0], net.a1 = slope[0];
        net.w2 = packed[1], net.b2 = bias[1], net.a2 = slope[1];
        net.w3 = packed[2], net.b3 = bias[2], net.a3 = slope[2];
        CHECK_OK(level[i]->pnet_level(&net, work, in, stride, height, width, -1e30f, &hits[i]));
        CHECK_INT(hits[i].n, h * w); /* every place, once */
        qsort(hits[i].hit, hits[i].n, sizeof hits[i].hit[0], by_place);
        CHECK(hits[i].n == hits[0].n && memcmp(hits[i].hit, hits[0].hit, hits[0].n * sizeof hits[0].hit[0]) == 0);
        for (int c = 0; c < 3; c++) free(packed[c]);
        free(work);
    }
    double off = 0;
    for (size_t i = 0; i < hits[0].n && i < (size_t)(h * w); i++) {
        const um_pnet_hit *hit = &hits[0].hit[i];
        CHECK(hit->y == (int)i / w && hit->x == (int)i % w);
        for (int k = 0; k < 5; k++) {
            double sum = k < 4 ? net.box_bias[k] : net.face_bias;
            for (int c = 0; c < 32; c++) sum += map[((size_t)c * (size_t)h * (size_t)w) + i] * (k < 4 ? box[k * 32 + c] : face[c]);
            off = fmax(off, fabs(sum - (k < 4 ? hit->box[k] : hit->logit)));
        }
    }
    CHECK_NEAR(off, 0, 1e-4);
    for (int i = 0; i < n_levels; i++) free(hits[i].hit);
    for (int i = 0; i < 3; i++) {
        free(weight[i]);
        free(bias[i]);
        free(slope[i]);
    }
    free(map);
    free(in);
    free(face);
    free(box);
}

int main(void)
{
    level[n_levels++] = &um_mtcnn_kernels_base;
#if defined(__x86_64__)
    __builtin_cpu_init();
    int has2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    if (has2) level[n_levels++] = &um_mtcnn_kernels_avx2;
    if (has2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) level[n_levels++] = &um_mtcnn_kernels_avx512;
#endif
    printf("%d levels\n", n_levels);
    /* R-net */
    check_layer(24, 3, 3, 28, 0);
    check_layer(11, 28, 3, 48, 0);
    check_layer(4, 48, 2, 64, 0);
    check_layer(13, 576, 0, 128, 0);
    check_layer(13, 128, 0, 6, 1);
    check_pool(22, 28, 3);
    check_pool(9, 48, 3);
    /* O-net */
    check_layer(48, 3, 3, 32, 0);
    check_layer(23, 32, 3, 64, 0);
    check_layer(10, 64, 3, 64, 0);
    check_layer(4, 64, 2, 128, 0);
    check_layer(5, 1152, 0, 256, 0);
    check_layer(1, 256, 0, 16, 1);
    check_pool(46, 32, 3);
    check_pool(21, 64, 3);
    check_pool(8, 64, 2);
    /* P-net, from its smallest picture through odd sizes */
    check_pnet(12, 12);
    check_pnet(13, 12);
    check_pnet(12, 77);
    check_pnet(31, 44);
    check_pnet(45, 83);
    check_pnet(20, 150);
    return TEST_END();
}
