#pragma once
/* buf.h: a growable array of bytes; text and records are built in it.
 *
 *     um_buf b = {0};
 *     UM_PASS(um_buf_printf(&b, "%s,%d\n", name, n));
 *     ...
 *     um_buf_release(&b);
 *
 * `data` is always followed by a 0 byte once anything was added, so a text buffer is a C string. Errors: UM_NO_MEMORY only.
 */
#include "src/core/err.h"

#include <stdint.h>

typedef struct um_buf {
    uint8_t *data;
    size_t len; /* bytes used */
    size_t cap; /* bytes allocated */
} um_buf;

void um_buf_release(um_buf *b);
/* Forgets the content, keeps the memory. */
void um_buf_clear(um_buf *b);
/* Makes room for n more bytes. */
um_status um_buf_reserve(um_buf *b, size_t n);
um_status um_buf_add(um_buf *b, const void *p, size_t n);
um_status um_buf_add_str(um_buf *b, const char *s);
um_status um_buf_printf(um_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* `s` as a JSON string with its quotes. Valid UTF-8 stays; any other byte 0xNN becomes the escape of the lone surrogate U+DCNN, which
 * Python's json.loads and os.fsencode turn back into the byte (PEP 383), so that no file name is lost. */
um_status um_buf_add_json(um_buf *b, const char *s);
/* `s` as one CSV field, RFC 4180: quoted when it holds a comma, quote, CR or LF. Bytes stay as they are. */
um_status um_buf_add_csv(um_buf *b, const char *s);
