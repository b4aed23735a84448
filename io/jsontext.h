#pragma once
/* jsontext.h: reads back the JSON that we ourselves write in one fixed form (manifest, configuration), bytes of names included.
 *
 * jansson cannot be used there: file names are bytes, um_buf_add_json writes a byte that is not UTF-8 as a lone surrogate, and jansson refuses these. All functions return false, and leave the cursor anywhere, when
 * the text is not what was asked for. A caller that tells damage from lack of memory asks um_jsontext_no_memory after a false.
 */
#include "src/core/buf.h"

#include <stdbool.h>

typedef struct um_jsontext {
    const char *p, *end;
} um_jsontext;

/* Exactly these characters. */
bool um_jsontext_skip(um_jsontext *t, const char *literal);
/* A whole number that fits. */
bool um_jsontext_int(um_jsontext *t, int64_t *out);
/* Exactly `digits` lower-case hexadecimal digits. */
bool um_jsontext_hex(um_jsontext *t, unsigned digits, uint64_t *out);
/* A number as um_buf_add_real writes it: the same bits come back; null is NaN. The text must end in a byte that is no part of a number. */
bool um_jsontext_real(um_jsontext *t, double *out);
/* Did the last false mean that memory was lacking? The cursor is at no text from then on: everything is false. */
bool um_jsontext_no_memory(const um_jsontext *t);
/* What the last false means: UM_NO_MEMORY (with `what` in its message), else `damaged`, without a message. What was not read for lack of memory must never count as damage: it would be done again, or refused. */
um_status um_jsontext_fault(const um_jsontext *t, um_status damaged, const char *what);
/* For callers who keep what they read and lack the memory; false. */
bool um_jsontext_fail_memory(um_jsontext *t);
/* A string; its bytes replace the content of `out` (lone surrogates U+DC80..U+DCFF become the bytes they stand for; a 0 byte is refused). */
bool um_jsontext_string(um_jsontext *t, um_buf *out);

/* The fewest of 15 to 17 digits that bring the same double back (6 to 9 for a float); null for NaN, 1e999 for infinity. */
um_status um_buf_add_real(um_buf *b, double v);
um_status um_buf_add_real32(um_buf *b, float v);
