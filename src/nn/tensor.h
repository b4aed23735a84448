#pragma once
/* tensor.h: numbers and shapes of activations. Every map is (N,H,W,C), contiguous: channels fastest. Dimensions have one letter throughout src/nn: N batch, H W in, C channels in,
 * K channels out, R S filter, P Q out.
 */
#include <stddef.h>
#include <stdint.h>

typedef enum um_dtype { UM_F32, UM_BF16, UM_U8 } um_dtype;
static inline size_t um_dtype_bytes(um_dtype t) { return t == UM_F32 ? 4 : t == UM_BF16 ? 2 : 1; }

typedef struct um_shape {
    int n, h, w, c;
} um_shape;
static inline size_t um_shape_count(um_shape s) { return (size_t)s.n * (size_t)s.h * (size_t)s.w * (size_t)s.c; }

/* bfloat16: the upper half of an f32, rounded to nearest even; a NaN stays a NaN. */
static inline uint16_t um_bf16_from_f32(float f)
{
    union {
        float f;
        uint32_t u;
    } v = {.f = f};
    if ((v.u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(v.u >> 16 | 0x40);
    return (uint16_t)((v.u + 0x7fffu + (v.u >> 16 & 1u)) >> 16);
}
static inline float um_bf16_to_f32(uint16_t b)
{
    union {
        uint32_t u;
        float f;
    } v = {.u = (uint32_t)b << 16};
    return v.f;
}
