#pragma once
/* elem.cuh: numbers as kernels load and store them: f32, or bf16 kept as its 16 bits; eight channels at a time where they are aligned. */
#include "src/nn/cuda/gpu.h"
#include "src/nn/graph.h"

#include <stdint.h>
#ifndef UM_EMU
#include <cuda_bf16.h>
#endif

typedef uint16_t um_bf16; /* the upper half of an f32 */

static __device__ __forceinline__ float um_load(const float *p) { return *p; }
static __device__ __forceinline__ float um_load(const um_bf16 *p) { return __uint_as_float((unsigned)*p << 16); }
static __device__ __forceinline__ void um_store(float *p, float v) { *p = v; }
/* Nearest even; a NaN stays one. The device has an instruction for it (sm_80), for one and for two numbers. */
#ifdef UM_EMU
static __device__ __forceinline__ um_bf16 um_round_bf16(float v) { return um_bf16_from_f32(v); }
static __device__ __forceinline__ unsigned um_round_bf16_pair(float low, float high) { return (unsigned)um_bf16_from_f32(low) | (unsigned)um_bf16_from_f32(high) << 16; }
#else
static __device__ __forceinline__ um_bf16 um_round_bf16(float v) { return __bfloat16_as_ushort(__float2bfloat16_rn(v)); }
static __device__ __forceinline__ unsigned um_round_bf16_pair(float low, float high)
{
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return (unsigned)__bfloat16_as_ushort(pair.x) | (unsigned)__bfloat16_as_ushort(pair.y) << 16;
}
#endif
static __device__ __forceinline__ void um_store(um_bf16 *p, float v) { *p = um_round_bf16(v); }

/* v[0..8) of 16-byte aligned memory. */
static __device__ __forceinline__ void um_load8(const float *p, float *v)
{
    float4 a = *(const float4 *)p, b = *((const float4 *)p + 1);
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}
static __device__ __forceinline__ void um_load8(const um_bf16 *p, float *v)
{
    uint4 a = *(const uint4 *)p;
    const unsigned u[4] = {a.x, a.y, a.z, a.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        v[2 * i] = __uint_as_float(u[i] << 16);
        v[2 * i + 1] = __uint_as_float(u[i] & 0xffff0000u);
    }
}
static __device__ __forceinline__ void um_store8(float *p, const float *v)
{
    *(float4 *)p = make_float4(v[0], v[1], v[2], v[3]);
    *((float4 *)p + 1) = make_float4(v[4], v[5], v[6], v[7]);
}
static __device__ __forceinline__ void um_store8(um_bf16 *p, const float *v)
{
    unsigned u[4];
#pragma unroll
    for (int i = 0; i < 4; i++) u[i] = um_round_bf16_pair(v[2 * i], v[2 * i + 1]);
    *(uint4 *)p = make_uint4(u[0], u[1], u[2], u[3]);
}

/* Up to eight channels from c0 of C: those there are; the others 0. `whole`: C is a multiple of 8, so that rows of channels are aligned. */
template <class T> static __device__ __forceinline__ void um_load_channels(const T *p, int left, bool whole, float *v)
{
    if (whole) {
        um_load8(p, v);
        return;
    }
    for (int i = 0; i < 8; i++) v[i] = i < left ? um_load(p + i) : 0.0f;
}
template <class T> static __device__ __forceinline__ void um_store_channels(T *p, int left, bool whole, const float *v)
{
    if (whole) {
        um_store8(p, v);
        return;
    }
    for (int i = 0; i < 8 && i < left; i++) um_store(p + i, v[i]);
}

static __device__ __forceinline__ float um_sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }
static __device__ __forceinline__ float um_activate(um_act act, float x, float slope)
{
    switch (act) {
    case UM_ACT_NONE: return x;
    case UM_ACT_SWISH: return x * um_sigmoid(x);
    case UM_ACT_SIGMOID: return um_sigmoid(x);
    case UM_ACT_RELU: return x > 0.0f ? x : 0.0f;
    case UM_ACT_PRELU: return x > 0.0f ? x : x * slope;
    }
    return x;
}
