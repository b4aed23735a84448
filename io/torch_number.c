#include "io/torch_number.h"

#include <string.h>

/* IEEE 754 binary16, all its values: subnormals, infinities, NaN. */
static float f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023, bits;
    float x;
    if (exponent == 0) {
        x = (float)mantissa * 0x1p-24f;
        return sign != 0 ? -x : x;
    }
    bits = sign | (exponent == 31 ? 0xffu << 23 : (exponent + 112) << 23) | mantissa << 13;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float number_f32(um_torch_dtype dtype, const uint8_t *p)
{
    float x;
    double d;
    uint16_t h;
    uint32_t bits;
    switch (dtype) {
    case UM_TORCH_F16:
        memcpy(&h, p, sizeof h);
        return f16(h);
    case UM_TORCH_BF16:
        memcpy(&h, p, sizeof h);
        bits = (uint32_t)h << 16;
        memcpy(&x, &bits, sizeof x);
        return x;
    case UM_TORCH_F64:
        memcpy(&d, p, sizeof d);
        return (float)d;
    default:
        memcpy(&x, p, sizeof x);
        return x;
    }
}

static int64_t number_i64(um_torch_dtype dtype, const uint8_t *p)
{
    int64_t x;
    int32_t w;
    int16_t h;
    switch (dtype) {
    case UM_TORCH_I32:
        memcpy(&w, p, sizeof w);
        return w;
    case UM_TORCH_I16:
        memcpy(&h, p, sizeof h);
        return h;
    case UM_TORCH_I8:
        return (int8_t)p[0];
    case UM_TORCH_U8:
        return p[0];
    case UM_TORCH_BOOL:
        return p[0] != 0;
    default:
        memcpy(&x, p, sizeof x);
        return x;
    }
}

void um_torch_gather(const um_torch_tensor *t, const uint8_t *data, float *f32, int64_t *i64)
{
    int64_t index[UM_TORCH_MAX_DIMS] = {0}, at = t->offset;
    const size_t size = um_torch_dtype_bytes(t->dtype);
    for (int64_t i = 0; i < t->count; i++) {
        const uint8_t *p = data + (size_t)at * size;
        if (f32 != NULL)
            f32[i] = number_f32(t->dtype, p);
        else
            i64[i] = number_i64(t->dtype, p);
        for (int d = t->n_dims - 1; d >= 0; d--) {
            at += t->strides[d];
            if (++index[d] < t->dims[d]) break;
            at -= t->dims[d] * t->strides[d];
            index[d] = 0;
        }
    }
}

bool um_torch_numpy_number(const um_pickle_value *type, const um_pickle_value *text, double *out)
{
    uint8_t raw[8] = {0};
    size_t n = 0;
    float f32;
    if (text->kind != UM_PICKLE_STR) return false;
    for (uint32_t i = 0; i < text->n; i++, n++) { /* the UTF-8 of U+0000..U+00FF: one byte below 0x80, else c2 or c3 and another */
        uint8_t b = text->s[i];
        if (n == sizeof raw || (b >= 0x80 && ((b & 0xfe) != 0xc2 || i + 1 == text->n))) return false;
        if (b >= 0x80) b = (uint8_t)((b & 3) << 6 | (text->s[++i] & 0x3f));
        raw[n] = b;
    }
    if (um_pickle_str_is(type, "f8") && n == sizeof *out) {
        memcpy(out, raw, sizeof *out);
        return true;
    }
    memcpy(&f32, raw, sizeof f32);
    *out = (double)f32;
    return um_pickle_str_is(type, "f4") && n == sizeof f32;
}
