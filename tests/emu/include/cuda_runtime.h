#pragma once
/* cuda_runtime.h of the emulator: what a .cu file says, for g++. A kernel is a function that a fiber calls for each thread (tests/emu/fiber.c). */
#ifndef __cplusplus
#error "only for .cu files, compiled as C++"
#endif
#include "cuda_runtime_api.h"

#include <math.h>
#include <string.h>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __restrict__ __restrict

extern "C" {
extern uint3 threadIdx, blockIdx;
extern struct emu_dim3 {
    unsigned x, y, z;
} blockDim, gridDim;
void emu_syncthreads(const char *file, int line);
void emu_syncwarp(unsigned mask, const char *file, int line);
uint64_t emu_shuffle(unsigned mask, uint64_t value, int kind, int arg, int width, const char *file, int line);
unsigned emu_ballot(unsigned mask, int predicate, const char *file, int line);
void *emu_shared(void);
void emu_register(const void *kernel, const char *name, void (*call)(const void *kernel, void **args), int n_args, const unsigned *arg_bytes);
}

/* ---- launches: gpu.h tells the emulator what a kernel's arguments are before it launches it ---- */

template <class... P> struct emu_kernel {
    template <size_t... I> static void spread(void (*kernel)(P...), void **args, std::index_sequence<I...>) { (void)args, kernel(*(P *)args[I]...); }
    static void call(const void *kernel, void **args) { spread((void (*)(P...))kernel, args, std::index_sequence_for<P...>{}); }
};
template <class... P> static inline void emu_register_kernel(void (*kernel)(P...), const char *name)
{
    static const unsigned bytes[] = {(unsigned)sizeof(P)..., 0};
    emu_register((const void *)kernel, name, emu_kernel<P...>::call, (int)sizeof...(P), bytes);
}
#define UM_EMU_KERNEL(kernel, name) emu_register_kernel(kernel, name)
#define UM_GPU_SHARED(type, name) type *name = (type *)emu_shared()

/* ---- threads that meet ---- */

#define __syncthreads() emu_syncthreads(__FILE__, __LINE__)
#define EMU_SYNCWARP(mask, ...) emu_syncwarp(mask, __FILE__, __LINE__)
#define __syncwarp(...) EMU_SYNCWARP(__VA_ARGS__ __VA_OPT__(, ) 0xffffffffu, 0)
#define __threadfence() ((void)0)

template <class T> static inline T emu_shuffle_as(unsigned mask, T value, int kind, int arg, int width, const char *file, int line)
{
    static_assert(sizeof(T) <= 8, "a shuffle is of at most 8 bytes");
    uint64_t u = 0;
    memcpy(&u, &value, sizeof value);
    u = emu_shuffle(mask, u, kind, arg, width, file, line);
    memcpy((void *)&value, &u, sizeof value);
    return value;
}
#define EMU_SHUFFLE(kind, mask, value, arg, width, ...) emu_shuffle_as(mask, value, kind, (int)(arg), width, __FILE__, __LINE__)
#define __shfl_sync(mask, value, ...) EMU_SHUFFLE(0, mask, value, __VA_ARGS__, 32, 0)
#define __shfl_up_sync(mask, value, ...) EMU_SHUFFLE(1, mask, value, __VA_ARGS__, 32, 0)
#define __shfl_down_sync(mask, value, ...) EMU_SHUFFLE(2, mask, value, __VA_ARGS__, 32, 0)
#define __shfl_xor_sync(mask, value, ...) EMU_SHUFFLE(3, mask, value, __VA_ARGS__, 32, 0)
#define __ballot_sync(mask, predicate) emu_ballot(mask, !!(predicate), __FILE__, __LINE__)
#define __any_sync(mask, predicate) (__ballot_sync(mask, predicate) != 0)
#define __all_sync(mask, predicate) (__ballot_sync(mask, !(predicate)) == 0)

/* One emulated thread runs at a time; the builtins let the checking build tell atomics from races. */
template <class T> static inline T emu_atomic_load(T *p)
{
    T v;
    __atomic_load(p, &v, __ATOMIC_RELAXED);
    return v;
}
#define EMU_ATOMIC(name, result)                                              \
    template <class T> static inline T name(T *p, T v)                        \
    {                                                                         \
        T old = emu_atomic_load(p), now = (T)(result);                        \
        __atomic_store(p, &now, __ATOMIC_RELAXED);                            \
        return old;                                                           \
    }
EMU_ATOMIC(atomicAdd, old + v)
EMU_ATOMIC(atomicMax, old > v ? old : v)
EMU_ATOMIC(atomicMin, old < v ? old : v)
EMU_ATOMIC(atomicOr, old | v)
EMU_ATOMIC(atomicExch, ((void)old, v))
template <class T> static inline T atomicCAS(T *p, T compare, T v)
{
    T old = emu_atomic_load(p);
    if (old == compare) __atomic_store(p, &v, __ATOMIC_RELAXED);
    return old;
}

/* ---- vectors ---- */

struct __attribute__((aligned(8))) float2 {
    float x, y;
};
struct __attribute__((aligned(16))) float4 {
    float x, y, z, w;
};
struct __attribute__((aligned(8))) uint2 {
    unsigned x, y;
};
struct __attribute__((aligned(16))) uint4 {
    unsigned x, y, z, w;
};
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

/* ---- functions of the device ---- */

template <class T> static inline T __ldg(const T *p) { return *p; }
template <class T> static inline T __ldcs(const T *p) { return *p; }
template <class T> static inline T __ldcg(const T *p) { return *p; }
template <class T> static inline void __stcs(T *p, T v) { *p = v; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __frcp_rn(float x) { return 1.0f / x; }
static inline float __saturatef(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }
/* glibc declares some of these names without having them. */
#define __expf(x) expf(x)
#define __logf(x) logf(x)
/* Rounded twice, since a processor may have to compute the fused one in software; results are compared within bounds anyway. */
#define fmaf(a, b, c) ((a) * (b) + (c))
#define __fmaf_rn(a, b, c) fmaf(a, b, c)
#define __fadd_rn(a, b) ((a) + (b))
#define __fmul_rn(a, b) ((a) * (b))
static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }
static inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
static inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
static inline size_t min(size_t a, size_t b) { return a < b ? a : b; }
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline unsigned __float_as_uint(float f)
{
    unsigned u;
    memcpy(&u, &f, sizeof u);
    return u;
}
static inline float __uint_as_float(unsigned u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __clz(int x) { return x != 0 ? __builtin_clz((unsigned)x) : 32; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
