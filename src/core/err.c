#include "src/core/err.h"

#include "src/core/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct err_chain {
    int n;    /* lines recorded, at most UM_ERR_LINES */
    int lost; /* lines that did not fit */
    char where[96];
    char line[UM_ERR_LINES][UM_ERR_LINE_BYTES];
    char text[UM_ERR_LINES * UM_ERR_LINE_BYTES + 64];
} err_chain;

static _Thread_local err_chain chain;

static void add(const char *fmt, va_list ap)
{
    if (chain.n == UM_ERR_LINES) {
        chain.lost++;
        return;
    }
    vsnprintf(chain.line[chain.n++], UM_ERR_LINE_BYTES, fmt, ap);
}

um_status um_err_fail(um_status st, const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    chain.n = chain.lost = 0;
    snprintf(chain.where, sizeof chain.where, "%s:%d", file, line);
    va_start(ap, fmt);
    add(fmt, ap);
    va_end(ap);
    return st;
}

um_status um_err_note(um_status st, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(fmt, ap);
    va_end(ap);
    return st;
}

const char *um_err_text(void)
{
    size_t at = 0;
    chain.text[0] = 0;
    for (int i = chain.n - 1; i >= 0; i--)
        at += (size_t)snprintf(chain.text + at, sizeof chain.text - at, "%s%s", chain.line[i], i > 0 ? ": " : "");
    if (chain.lost > 0) snprintf(chain.text + at, sizeof chain.text - at, " (%d more lines)", chain.lost);
    return chain.text;
}

const char *um_err_where(void) { return chain.n > 0 ? chain.where : ""; }

void um_err_clear(void)
{
    chain.n = chain.lost = 0;
    chain.where[0] = 0;
}

const char *um_quote(const char *s)
{
    enum { SLOTS = 8, SHOWN_BYTES = 300 };
    static _Thread_local char slot[SLOTS][SHOWN_BYTES * 4 + 16];
    static _Thread_local int next;
    char *out = slot[next++ % SLOTS];
    size_t at = 0, i = 0, n = s != NULL ? strlen(s) : 0;
    out[at++] = '\'';
    while (i < n && i < SHOWN_BYTES) {
        size_t len = um_utf8_len((const unsigned char *)s + i, n - i);
        unsigned char c = (unsigned char)s[i];
        if (len == 0 || c < 0x20 || c == 0x7f || c == '\'' || c == '\\') {
            at += (size_t)snprintf(out + at, 5, "\\x%02x", c);
            i++;
        } else {
            memcpy(out + at, s + i, len);
            at += len;
            i += len;
        }
    }
    if (i < n) {
        memcpy(out + at, "...", 3);
        at += 3;
    }
    out[at++] = '\'';
    out[at] = 0;
    return out;
}
