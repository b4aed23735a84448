#include "src/core/buf.h"

#include "src/core/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void um_buf_release(um_buf *b)
{
    free(b->data);
    *b = (um_buf){0};
}

void um_buf_clear(um_buf *b)
{
    b->len = 0;
    if (b->data != NULL) b->data[0] = 0;
}

um_status um_buf_reserve(um_buf *b, size_t n)
{
    if (n >= SIZE_MAX / 2 - b->len) return UM_FAIL(UM_NO_MEMORY, "a buffer of %zu + %zu bytes is too large", b->len, n);
    size_t need = b->len + n + 1;
    if (need <= b->cap) return UM_OK;
    size_t cap = b->cap < 64 ? 64 : b->cap + b->cap / 2;
    if (cap < need) cap = need;
    uint8_t *p = realloc(b->data, cap);
    if (p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a buffer of %zu bytes", cap);
    b->data = p;
    b->cap = cap;
    return UM_OK;
}

um_status um_buf_add(um_buf *b, const void *p, size_t n)
{
    UM_PASS(um_buf_reserve(b, n));
    if (n > 0) memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = 0;
    return UM_OK;
}

um_status um_buf_add_str(um_buf *b, const char *s) { return um_buf_add(b, s, strlen(s)); }

um_status um_buf_printf(um_buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    um_status st = n < 0 ? UM_FAIL(UM_INTERNAL, "bad format %s", um_quote(fmt)) : um_buf_reserve(b, (size_t)n);
    if (st == UM_OK) {
        vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return st;
}

um_status um_buf_add_json(um_buf *b, const char *s)
{
    size_t n = strlen(s), i = 0;
    UM_PASS(um_buf_add_str(b, "\""));
    while (i < n) {
        size_t len = um_utf8_len((const unsigned char *)s + i, n - i);
        unsigned char c = (unsigned char)s[i];
        if (len == 0) {
            UM_PASS(um_buf_printf(b, "\\udc%02x", c));
            i++;
        } else if (c == '"' || c == '\\') {
            UM_PASS(um_buf_printf(b, "\\%c", c));
            i++;
        } else if (c < 0x20 || c == 0x7f) {
            UM_PASS(um_buf_printf(b, "\\u%04x", c));
            i++;
        } else {
            UM_PASS(um_buf_add(b, s + i, len));
            i += len;
        }
    }
    return um_buf_add_str(b, "\"");
}

um_status um_buf_add_csv(um_buf *b, const char *s)
{
    if (strpbrk(s, ",\"\r\n") == NULL) return um_buf_add_str(b, s);
    UM_PASS(um_buf_add_str(b, "\""));
    for (; *s != 0; s++) UM_PASS(um_buf_add(b, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1));
    return um_buf_add_str(b, "\"");
}
