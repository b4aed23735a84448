#pragma once
/* utf8.h: which bytes of a name are text. File names are bytes; results are UTF-8. */
#include <stddef.h>

/* Bytes of the well-formed UTF-8 sequence that starts at s (1..4; RFC 3629: no overlong forms, no surrogates), or 0 when there is
 * none in the n bytes given. */
size_t um_utf8_len(const unsigned char *s, size_t n);
