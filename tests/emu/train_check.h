#pragma once
/* train_check.h: what the tests of the training kernels share: device memory from host numbers, and how far two arrays are apart. */
#include "src/core/rng.h"
#include "src/nn/cuda/train_kernels.h"
#include "src/nn/train_ops.h"
#include "tests/unit/test.h"

#include <stdlib.h>

#define RUN(call) CHECK_INT((call), cudaSuccess)

/* ---- host numbers: everything is freed at once ---- */

enum { CHECK_MAX_BLOCKS = 512 };
static void *check_host[CHECK_MAX_BLOCKS], *check_device[CHECK_MAX_BLOCKS];
static int check_n_host, check_n_device;

static inline void *host_block(size_t bytes)
{
    void *p = calloc(1, bytes + 64);
    if (p == NULL || check_n_host == CHECK_MAX_BLOCKS) exit(2);
    return check_host[check_n_host++] = p;
}
static inline float *host_floats(size_t n) { return host_block(n * sizeof(float)); }
static inline double *host_doubles(size_t n) { return host_block(n * sizeof(double)); }

static uint64_t check_stream;
static inline float *host_random(size_t n, double low, double high)
{
    um_rng r = um_rng_stream(7, check_stream++, 0, UM_RNG_TEST);
    float *p = host_floats(n);
    for (size_t i = 0; i < n; i++) p[i] = (float)um_rng_uniform(&r, low, high);
    return p;
}
/* Random numbers that the type can hold: what goes to the device is what the oracle gets. */
static inline float *host_map(size_t n, um_dtype type, double low, double high)
{
    float *p = host_random(n, low, high);
    for (size_t i = 0; i < n && type == UM_BF16; i++) p[i] = um_bf16_to_f32(um_bf16_from_f32(p[i]));
    return p;
}

/* ---- device memory ---- */

static inline void *device_block(size_t bytes)
{
    void *p = NULL;
    RUN(cudaMalloc(&p, bytes > 0 ? bytes : 1));
    if (p == NULL || check_n_device == CHECK_MAX_BLOCKS) exit(2);
    return check_device[check_n_device++] = p;
}
static inline void *device_copy(const void *from, size_t bytes)
{
    void *p = device_block(bytes);
    if (bytes > 0) RUN(cudaMemcpy(p, from, bytes, cudaMemcpyHostToDevice));
    return p;
}
static inline void *device_floats(const float *from, size_t n) { return device_copy(from, n * sizeof *from); }
static inline void *device_map(const float *from, size_t n, um_dtype type)
{
    if (type == UM_F32) return device_floats(from, n);
    uint16_t *half = host_block(n * sizeof *half);
    for (size_t i = 0; i < n; i++) half[i] = um_bf16_from_f32(from[i]);
    return device_copy(half, n * sizeof *half);
}
static inline void *back(const void *from, size_t bytes)
{
    void *p = host_block(bytes);
    RUN(cudaDeviceSynchronize());
    if (bytes > 0) RUN(cudaMemcpy(p, from, bytes, cudaMemcpyDeviceToHost));
    return p;
}
static inline float *back_floats(const void *from, size_t n) { return back(from, n * sizeof(float)); }
static inline float *back_map(const void *from, size_t n, um_dtype type)
{
    if (type == UM_F32) return back_floats(from, n);
    const uint16_t *half = back(from, n * sizeof *half);
    float *p = host_floats(n);
    for (size_t i = 0; i < n; i++) p[i] = um_bf16_to_f32(half[i]);
    return p;
}
static inline void check_release(void)
{
    RUN(cudaDeviceSynchronize());
    while (check_n_host > 0) free(check_host[--check_n_host]);
    while (check_n_device > 0) RUN(cudaFree(check_device[--check_n_device]));
}

/* ---- distance: the largest |got - want| / (|want| + rms of want); a NaN is infinitely far, unless NaN is wanted ---- */

static double check_worst[2]; /* where the limit is that of f32, of bf16 */
static inline double far_apart(const float *got, const float *want, size_t n)
{
    double square = 0, worst = 0;
    for (size_t i = 0; i < n; i++) square += (double)want[i] * (double)want[i];
    double rms = n > 0 ? sqrt(square / (double)n) : 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - (double)want[i]), e = d == 0 ? 0 : d / (fabs((double)want[i]) + rms);
        if (!(e <= worst)) worst = isnan(e) ? INFINITY : e;
    }
    return worst;
}
static inline double far_apart_f64(const double *got, const double *want, size_t n)
{
    float *g = host_floats(n), *w = host_floats(n);
    for (size_t i = 0; i < n; i++) g[i] = (float)got[i], w[i] = (float)want[i];
    return far_apart(g, w, n);
}
#define NEAR(got, want, n, limit, what)                                                                              \
    do {                                                                                                             \
        double far_ = far_apart(got, want, n); \
        if (far_ > check_worst[(limit) > 1e-3]) check_worst[(limit) > 1e-3] = far_; \
        if (!(far_ <= (limit))) printf("%s:%d: %s is off by %.1e, limit %.1e (%s)\n", __FILE__, __LINE__, #got, far_, (double)(limit), what), test_failures++; \
    } while (0)
#define NEAR_F64(got, want, n, limit, what)                                                                          \
    do {                                                                                                             \
        double far_ = far_apart_f64(got, want, n); \
        if (far_ > check_worst[(limit) > 1e-3]) check_worst[(limit) > 1e-3] = far_; \
        if (!(far_ <= (limit))) printf("%s:%d: %s is off by %.1e, limit %.1e (%s)\n", __FILE__, __LINE__, #got, far_, (double)(limit), what), test_failures++; \
    } while (0)

/* docs/numerics.md says why. */
static inline double map_limit(um_dtype type) { return type == UM_F32 ? 2e-5 : 0x1p-8; }
static const double sum_limit = 2e-5, gate_limit = 2e-4;

/* ---- batch norm's constants, on both sides ---- */

typedef struct check_norm {
    um_norm host;
    um_gpu_norm device;
} check_norm;
static inline check_norm norm_random(int channels)
{
    size_t n = (size_t)channels;
    float *mean = host_random(n, -0.5, 0.5), *rstd = host_random(n, 0.5, 1.5), *weight = host_random(n, 0.5, 1.5), *scale = host_floats(n), *bias = host_random(n, -1, 1), *b = host_random(n, -0.1, 0.1), *c = host_random(n, -0.1, 0.1);
    for (size_t i = 0; i < n; i++) scale[i] = weight[i] * rstd[i];
    return (check_norm){{mean, rstd, scale, bias, scale, b, c}, {device_floats(mean, n), device_floats(rstd, n), device_floats(scale, n), device_floats(bias, n), device_floats(b, n), device_floats(c, n)}};
}
