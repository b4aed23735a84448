#pragma once
/* sniff.h: is a file a video, by its first bytes? For files in folders whose names do not say so. The containers are those the decoder accepts (io/video_input.c); sound and pictures in the same containers (m4a, heic, ogg without
 * a video stream, wma) are not videos. It is a filter, no proof: what it lets through gets its status from the decoder.
 */
#include "src/core/err.h"

#include <stdbool.h>

enum { UM_SNIFF_BYTES = 4096 };

/* head: the first n bytes, UM_SNIFF_BYTES or the whole file if that is shorter. */
bool um_sniff_is_video(const unsigned char *head, size_t n);
/* The same of a file; false when it cannot be read or is no regular file. */
bool um_sniff_file(const char *path);
