#pragma once
/* metadata.h: DFDC's metadata.json: {"name.mp4": {"label": "REAL" | "FAKE", "original": "other.mp4", "split": ...}, ...}, whose names are bytes.
 *
 * JSON text is UTF-8, but file names are bytes. A byte that is not UTF-8, bare or as the lone surrogate that Python writes, is carried through jansson as one of the 128 private characters U+10FF80..U+10FFFF (f4 8f be 80 ..
 * f4 8f bf bf); a file that uses one of these itself is parsed as it is.
 */
#include "io/vfs.h"
#include "src/core/buf.h"

#include <jansson.h>

/* *out: the object (json_decref), names and values as carried bytes. Errors: UM_MISSING, UM_IO, UM_TOO_LARGE, UM_DATA (no JSON object, with the line; a name twice), UM_NO_MEMORY. */
um_status um_metadata_read(um_vfs *vfs, const char *path, json_t **out);
/* Appends `text` with its bytes carried. json: backslashes escape. */
um_status um_metadata_carry(const char *text, size_t n, bool json, um_buf *out);
/* The bytes that a string from jansson stands for replace the content of *out. */
um_status um_metadata_name(const char *s, um_buf *out);
