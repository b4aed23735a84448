#pragma once
/* frames.h: which frames of a video are wanted: the value of --frames.
 *
 *   every:10       frames 0, 10, 20, ...
 *   every:10:320   the same, only frames below 320
 *   spread:32      32 frames evenly spaced over the n frames of the video: floor(i * (n-1) / 31), each once
 *   all            every frame
 */
#include "src/core/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum um_frames_kind { UM_FRAMES_EVERY, UM_FRAMES_SPREAD, UM_FRAMES_ALL } um_frames_kind;

typedef struct um_frames {
    um_frames_kind kind;
    int64_t step;  /* EVERY: the stride */
    int64_t limit; /* EVERY: frames below this; 0 = no limit */
    int64_t count; /* SPREAD: how many */
} um_frames;

/* UM_USAGE with the accepted forms when `text` is none of them. */
um_status um_frames_parse(const char *text, um_frames *out);
void um_frames_format(const um_frames *f, char out[64]);
/* Is frame `index` of a video of n frames wanted? n may be -1 (unknown) unless kind is SPREAD. */
bool um_frames_wants(const um_frames *f, int64_t index, int64_t n);
/* How many frames of a video of n (>= 0) frames are wanted. */
int64_t um_frames_count(const um_frames *f, int64_t n);
/* One past the last wanted index of n frames (n = -1: unknown); -1 when the whole video may be wanted. */
int64_t um_frames_end(const um_frames *f, int64_t n);
