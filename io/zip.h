#pragma once
/* zip.h: reads the members of a zip archive that lies in memory, and believes nothing it says.
 *
 * Refused when it is opened (UM_DATA, with the name): two members of one name, names with "..", a leading '/' or '\\', encryption,
 * compression other than deflate, sizes that do not fit the archive. A member is read only when its size is at most what the caller
 * expects; its length and CRC-32 must be what the directory says.
 */
#include "src/core/err.h"

#include <stdbool.h>
#include <stdint.h>

enum { UM_ZIP_MAX_MEMBERS = (1 << 16) + 64 };

typedef struct um_zip um_zip;

/* Do the bytes begin like a zip archive? */
bool um_zip_is(const void *bytes, size_t n);
/* bytes must outlive *out. Errors: UM_DATA, UM_NO_MEMORY. */
um_status um_zip_open(const void *bytes, size_t n, um_zip **out);
void um_zip_close(um_zip *z);
int um_zip_count(const um_zip *z);
/* Name of member i, 0 <= i < count, as it stands in the archive. Borrowed. */
const char *um_zip_name(const um_zip *z, int i);
uint64_t um_zip_size(const um_zip *z, int i);
/* Is it stored without compression? */
bool um_zip_stored(const um_zip *z, int i);
/* Index of the member with that name, or -1. */
int um_zip_find(const um_zip *z, const char *name);
/* Reads member i, at most max_bytes, into new memory (free it); *n may be NULL. One thread per archive. Errors: UM_TOO_LARGE,
 * UM_DATA, UM_NO_MEMORY. */
um_status um_zip_read(um_zip *z, int i, uint64_t max_bytes, uint8_t **out, size_t *n);
