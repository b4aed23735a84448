#include "io/metadata.h"

#include "src/core/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 64 << 20 }; /* of one metadata.json; DFDC's largest has 0.3 MB */

um_status um_metadata_carry(const char *text, size_t n, bool json, um_buf *out)
{
    for (size_t i = 0; i < n;) {
        unsigned byte = 0, code;
        size_t len = 1;
        if (json && text[i] == '\\' && n - i >= 6 && text[i + 1] == 'u' && sscanf(text + i + 2, "%4x", &code) == 1) {
            len = code >= 0xd800 && code <= 0xdbff && n - i >= 12 && text[i + 6] == '\\' ? 12 : 6;
            if (code >= 0xdc80 && code <= 0xdcff) byte = code & 0xff;
        } else if (json && text[i] == '\\' && n - i >= 2) {
            len = 2;
        } else {
            len = um_utf8_len((const unsigned char *)text + i, n - i);
            if (len == 0) {
                byte = (unsigned char)text[i];
                len = 1;
            }
            if (len == 4 && memcmp(text + i, "\xf4\x8f", 2) == 0 && (unsigned char)text[i + 2] >= 0xbe) {
                um_buf_clear(out);
                return um_buf_add(out, text, n);
            }
        }
        if (byte != 0) {
            uint8_t c[4] = {0xf4, 0x8f, (uint8_t)(0xbc | byte >> 6), (uint8_t)(0x80 | (byte & 63))};
            UM_PASS(um_buf_add(out, c, 4));
        } else {
            UM_PASS(um_buf_add(out, text + i, len));
        }
        i += len;
    }
    return UM_OK;
}

um_status um_metadata_name(const char *s, um_buf *out)
{
    um_buf_clear(out);
    UM_PASS(um_buf_add(out, "", 0));
    for (size_t n = strlen(s), i = 0; i < n;) {
        if (n - i >= 4 && memcmp(s + i, "\xf4\x8f", 2) == 0 && (unsigned char)s[i + 2] >= 0xbe) {
            uint8_t c = (uint8_t)(((unsigned)(s[i + 2] & 3) << 6) | ((unsigned)s[i + 3] & 63));
            UM_PASS(um_buf_add(out, &c, 1));
            i += 4;
        } else {
            UM_PASS(um_buf_add(out, s + i++, 1));
        }
    }
    return UM_OK;
}

um_status um_metadata_read(um_vfs *vfs, const char *path, json_t **out)
{
    void *text = NULL;
    size_t n;
    um_buf carried = {0};
    json_error_t error;
    um_status st;
    *out = NULL;
    UM_PASS(um_vfs_read_whole(vfs, path, MAX_BYTES, &text, &n));
    size_t bom = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    UM_GOTO_PASS(st, um_metadata_carry((const char *)text + bom, n - bom, true, &carried));
    *out = json_loadb((const char *)carried.data, carried.len, JSON_REJECT_DUPLICATES, &error);
    if (*out != NULL && json_is_object(*out)) goto done;
    st = *out != NULL ? UM_FAIL(UM_DATA, "not a JSON object") : UM_FAIL(UM_DATA, "line %d: %s", error.line, error.text);
    json_decref(*out);
    *out = NULL;
done:
    um_buf_release(&carried);
    free(text);
    return st;
}
