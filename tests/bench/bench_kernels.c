/* bench_kernels.c: every kernel of a network's plan on um_backend_cpu, timed by itself.
 *
 *     bench_kernels [b0|b4|b7] [f32|bf16] [rounds] [fused|single]
 *
 * Times are of the processor, one thread, so that other work on the machine disturbs less; the best of the rounds counts. Peak is measured: registers of fused multiply-adds (f32), on one thread, at the start and the end. */
#include "src/core/clock.h"
#include "src/core/cpu.h"
#include "src/core/rng.h"
#include "tests/unit/net_steps.h"

#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((target("avx512f"))) static double peak_gflops(void)
{
    double best = 0;
    for (int round = 0; round < 5; round++) {
        __m512 acc[16], x = _mm512_set1_ps(1.0f), y = _mm512_set1_ps(1e-9f);
        double start = um_clock_cpu_s();
        for (int i = 0; i < 16; i++) acc[i] = y;
        for (int i = 0; i < 1000000; i++)
#pragma GCC unroll 16
            for (int j = 0; j < 16; j++) {
                acc[j] = _mm512_fmadd_ps(x, y, acc[j]);
                __asm__ volatile("" : "+v"(acc[j]));
            }
        double s = um_clock_cpu_s() - start, g = 1e6 * 16 * 32 / s / 1e9;
        if (g > best) best = g;
    }
    return best;
}

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (p == NULL) exit(1);
    memset(p, 0, (bytes + 127) / 64 * 64);
    return p;
}

typedef struct unit {
    int first, n;
    um_kernel *kernel;
    void *constants;
    double best;
} unit;

static net_steps net;
static unit units[NET_STEPS_MAX];
static void *values[NET_STEPS_MAX * 2];

static void fill(float *p, size_t n, double scale, uint32_t what)
{
    um_rng r = um_rng_stream(1, what, 0, UM_RNG_TEST);
    for (size_t i = 0; i < n; i++) p[i] = (float)um_rng_uniform(&r, -scale, scale);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "b7", *type = argc > 2 ? argv[2] : "f32";
    int rounds = argc > 3 ? atoi(argv[3]) : 5;
    bool fused = argc < 5 || strcmp(argv[4], "single") != 0;
    um_dtype precision = strcmp(type, "bf16") == 0 ? UM_BF16 : UM_F32;
    const um_backend *b = &um_backend_cpu;
    if (strcmp(name, "b0") == 0) net_efficientnet(&net, 1, 1, 380, precision);
    else if (strcmp(name, "b4") == 0) net_efficientnet(&net, 1.4, 1.8, 380, precision);
    else net_efficientnet(&net, 2, 3.1, 380, precision);
    if (!b->has(precision)) return printf("no %s here\n", type), 0;

    size_t scratch_bytes = 0;
    int n = 0;
    for (int i = 0; i < net.n; i += units[n++].n) {
        unit *u = &units[n];
        u->first = i;
        u->n = fused ? b->take(&net.step[i], net.n - i) : 1;
        u->best = 1e9;
        if (b->kernel_new(&net.step[i], u->n, &u->kernel) != UM_OK) return fprintf(stderr, "%s\n", um_err_text()), 1;
        um_step_weights w[8] = {{0}};
        for (int j = 0; j < u->n; j++) {
            const um_step *s = &net.step[i + j];
            float *weight = memory(net_weights(s) * 4), *bias = memory((size_t)s->k * 4);
            double scale = s->kind == UM_STEP_DEPTHWISE ? 1.7 / s->r : 1.7 / sqrt((double)net_weights(s) / s->k);
            fill(weight, net_weights(s), scale, (uint32_t)(i + j));
            fill(bias, (size_t)s->k, 0.1, (uint32_t)(i + j));
            w[j] = (um_step_weights){.weight = weight, .bias = bias};
        }
        u->constants = memory(b->constant_bytes(u->kernel));
        if (b->pack(u->kernel, w, u->constants) != UM_OK) return 1;
        for (int j = 0; j < u->n; j++) free((void *)(size_t)w[j].weight), free((void *)(size_t)w[j].bias);
        if (b->scratch_bytes(u->kernel) > scratch_bytes) scratch_bytes = b->scratch_bytes(u->kernel);
        const um_step *last = &net.step[i + u->n - 1];
        if (i == 0) values[0] = memory((size_t)last->h * (size_t)last->w * 3);
        values[last->out] = memory((size_t)last->p * (size_t)last->q * (size_t)last->k * um_dtype_bytes(last->out_type));
        for (int j = 0; j < u->n; j++)
            if (net.step[i + j].means >= 0) values[net.step[i + j].means] = memory((size_t)net.step[i + j].k * 4);
    }
    for (int i = 0; i < 380 * 380 * 3; i++) ((unsigned char *)values[0])[i] = (unsigned char)((unsigned)i * 7919u >> 4);
    void *scratch = memory(scratch_bytes);

    double peak = peak_gflops(), best_all = 1e9;
    for (int round = 0; round < rounds; round++) {
        double start = um_clock_cpu_s(), at = start;
        for (int i = 0; i < n; i++) {
            b->run(units[i].kernel, units[i].constants, values, scratch, NULL);
            double now = um_clock_cpu_s();
            if (now - at < units[i].best) units[i].best = now - at;
            at = now;
        }
        if (at - start < best_all) best_all = at - start;
    }
    double again = peak_gflops();
    if (again > peak) peak = again;
    static const char *kinds[] = {"convert", "conv", "dw", "mean", "pool", "act"};
    double sum[8] = {0}, macs[8] = {0}, total = 0, all_macs = 0;
    static const char *groups[] = {"block", "conv", "dw", "se", "project", "other"};
    for (int i = 0; i < n; i++) {
        const um_step *s = &net.step[units[i].first];
        double m = 0;
        for (int j = 0; j < units[i].n; j++) m += net_macs(s + j);
        int group = units[i].n >= 4 ? 0 : s->kind == UM_STEP_CONV && s->h == 1 ? 3 : s->gate >= 0 ? 4 : s->kind == UM_STEP_CONV ? 1 : s->kind == UM_STEP_DEPTHWISE ? 2 : 5;
        sum[group] += units[i].best;
        macs[group] += m;
        total += units[i].best;
        all_macs += m;
        const um_step *d = units[i].n == 5 ? s + 1 : s;
        bool seen = false;
        for (int j = 0; j < i && !seen; j++) {
            const um_step *o = &net.step[units[j].first];
            seen = o->kind == s->kind && o->h == s->h && o->c == s->c && o->k == s->k && o->r == s->r && o->stride == s->stride && units[j].n == units[i].n && (units[i].n < 5 || (s[1].r == o[1].r && s[1].stride == o[1].stride && s[4].k == o[4].k));
        }
        if (!seen)
            printf("%-7s%-4s %3dx%-3d %4d -> %4d %dx%d/%d%s  %7.3f ms %6.1f GFLOP/s %5.1f %%\n", kinds[s->kind], units[i].n >= 2 ? "+" : "", s->h, s->w, s->c, s[units[i].n - 1].k, d->r,
                   d->s, d->stride, s->gate >= 0 ? " gate" : "", units[i].best * 1e3, 2e-9 * m / units[i].best, 200e-9 * m / units[i].best / peak);
    }
    for (int i = 0; i < 6; i++) printf("%-10s %8.2f ms %6.1f GFLOP/s\n", groups[i], sum[i] * 1e3, sum[i] > 0 ? 2e-9 * macs[i] / sum[i] : 0);
    printf("%s %s: peak %.1f GFLOP/s; best kernels together %.1f ms, best run %.1f ms: %.1f GFLOP/s, %.1f %% of peak\n", name, type, peak, total * 1e3, best_all * 1e3, 2e-9 * all_macs / best_all,
           200e-9 * all_macs / best_all / peak);
    return 0;
}
