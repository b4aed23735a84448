#include "io/jsontext.h"

#include "src/core/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool um_jsontext_skip(um_jsontext *t, const char *literal)
{
    size_t n = strlen(literal);
    if ((size_t)(t->end - t->p) < n || memcmp(t->p, literal, n) != 0) return false;
    t->p += n;
    return true;
}

bool um_jsontext_int(um_jsontext *t, int64_t *out)
{
    bool minus = t->p < t->end && *t->p == '-';
    if (minus) t->p++;
    int64_t v = 0;
    const char *first = t->p;
    for (; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, *t->p - '0', &v)) return false; /* negative, to reach INT64_MIN */
    if (t->p == first || (*first == '0' && t->p - first > 1)) return false;
    if (!minus && __builtin_sub_overflow((int64_t)0, v, &v)) return false;
    *out = v;
    return true;
}

bool um_jsontext_hex(um_jsontext *t, unsigned digits, uint64_t *out)
{
    *out = 0;
    if ((size_t)(t->end - t->p) < digits) return false;
    for (unsigned i = 0; i < digits; i++) {
        char c = *t->p++;
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
        *out = *out << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

bool um_jsontext_real(um_jsontext *t, double *out)
{
    char text[40], *end;
    size_t n = 0, room = (size_t)(t->end - t->p);
    if (um_jsontext_skip(t, "null")) {
        *out = NAN;
        return true;
    }
    while (n < room && n < sizeof text - 1 && strchr("0123456789+-.e", t->p[n]) != NULL && t->p[n] != 0) n++;
    if (n == 0) return false;
    memcpy(text, t->p, n);
    text[n] = 0;
    *out = strtod(text, &end);
    t->p += n;
    return end == text + n;
}

um_status um_buf_add_real(um_buf *b, double v)
{
    char text[40];
    if (isnan(v)) return um_buf_add_str(b, "null");
    if (isinf(v)) return um_buf_add_str(b, v < 0 ? "-1e999" : "1e999");
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) break;
    }
    return um_buf_add_str(b, text);
}

um_status um_buf_add_real32(um_buf *b, float v)
{
    char text[40];
    if (isnan(v) || isinf(v)) return um_buf_add_real(b, (double)v);
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v) break;
    }
    return um_buf_add_str(b, text);
}

bool um_jsontext_no_memory(const um_jsontext *t) { return t->p == NULL; }

um_status um_jsontext_fault(const um_jsontext *t, um_status damaged, const char *what)
{
    return um_jsontext_no_memory(t) ? UM_FAIL(UM_NO_MEMORY, "no memory for %s", what) : damaged;
}

bool um_jsontext_fail_memory(um_jsontext *t)
{
    t->p = t->end = NULL;
    return false;
}

/* Four hexadecimal digits. */
static bool hex4(um_jsontext *t, unsigned *out)
{
    if (t->end - t->p < 4) return false;
    *out = 0;
    for (int i = 0; i < 4; i++) {
        char c = *t->p++;
        unsigned d = c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10) : 16;
        if (d == 16) return false;
        *out = *out * 16 + d;
    }
    return true;
}

static bool add_byte(um_jsontext *t, um_buf *out, unsigned c)
{
    uint8_t b = (uint8_t)c;
    return um_buf_add(out, &b, 1) == UM_OK || um_jsontext_fail_memory(t);
}

static bool add_code(um_jsontext *t, um_buf *out, unsigned c)
{
    if (c < 0x80) return c != 0 && add_byte(t, out, c);
    if (c < 0x800) return add_byte(t, out, 0xc0 | c >> 6) && add_byte(t, out, 0x80 | (c & 63));
    if (c < 0x10000) return add_byte(t, out, 0xe0 | c >> 12) && add_byte(t, out, 0x80 | (c >> 6 & 63)) && add_byte(t, out, 0x80 | (c & 63));
    return add_byte(t, out, 0xf0 | c >> 18) && add_byte(t, out, 0x80 | (c >> 12 & 63)) && add_byte(t, out, 0x80 | (c >> 6 & 63)) && add_byte(t, out, 0x80 | (c & 63));
}

/* After \u. */
static bool escape_u(um_jsontext *t, um_buf *out)
{
    unsigned c, low;
    if (!hex4(t, &c)) return false;
    if (c >= 0xdc80 && c <= 0xdcff) return add_byte(t, out, c & 0xff);
    if (c >= 0xd800 && c <= 0xdbff) {
        if (!um_jsontext_skip(t, "\\u") || !hex4(t, &low) || low < 0xdc00 || low > 0xdfff) return false;
        return add_code(t, out, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
    }
    return !(c >= 0xdc00 && c <= 0xdfff) && add_code(t, out, c);
}

bool um_jsontext_string(um_jsontext *t, um_buf *out)
{
    static const char short_name[] = "\"\\/bfnrt", short_byte[] = "\"\\/\b\f\n\r\t";
    um_buf_clear(out);
    if (um_buf_add(out, "", 0) != UM_OK) return um_jsontext_fail_memory(t);
    if (!um_jsontext_skip(t, "\"")) return false;
    while (t->p < t->end && *t->p != '"') {
        unsigned char c = (unsigned char)*t->p;
        if (c == '\\') {
            t->p++;
            if (t->p == t->end || *t->p == 0) return false;
            const char *which = strchr(short_name, *t->p);
            if (which != NULL) {
                t->p++;
                if (!add_byte(t, out, (unsigned char)short_byte[which - short_name])) return false;
            } else if (!um_jsontext_skip(t, "u") || !escape_u(t, out)) {
                return false;
            }
            continue;
        }
        size_t n = um_utf8_len((const unsigned char *)t->p, (size_t)(t->end - t->p));
        if (c < 0x20 || n == 0) return false;
        if (um_buf_add(out, t->p, n) != UM_OK) return um_jsontext_fail_memory(t);
        t->p += n;
    }
    return um_jsontext_skip(t, "\"");
}
