#pragma once
/* video_decode.h: decoding with libav in the calling process. Only the worker (video_worker.c) and the fuzz target call it; the program goes through io/video.h.
 *
 *     um_vdec *d;
 *     um_vdec_open(fd, &want, &limits, NULL, NULL, &d, &info, &need);
 *     while ((st = um_vdec_next(d, &frame)) == UM_OK) um_vdec_convert(d, slot, need.stride_bytes);
 *     um_vdec_close(d, &result);
 *
 * Threads: one per process (the libav log is caught in process-wide state).
 */
#include "io/video.h"

typedef struct um_vdec_want {
    um_frames frames;
    const int64_t *list; /* used when n_list >= 0; ascending; borrowed until close */
    int64_t n_list;      /* -1: `frames` */
    const double *time_s; /* used when n_times >= 0; ascending; borrowed until close */
    int64_t n_times;     /* -1: `list` or `frames` */
} um_vdec_want;

typedef struct um_vdec_room {
    int64_t stride_bytes; /* between rows of a converted frame */
    int64_t slot_bytes;   /* memory that one converted frame needs; larger than height * stride: the converter works on whole macroblocks */
} um_vdec_room;

typedef struct um_vdec um_vdec;

/* Reads the headers and decodes up to the first frame (unless n_list = 0 or n_times = 0). fd stays the caller's and must be a regular file. `stopped` (may be NULL) is asked between packets; when it answers true, decoding
 * ends as if the file ended there. On failure: an item status, *result filled, nothing to close. */
um_status um_vdec_open(int fd, const um_vdec_want *want, const um_video_limits *limits, bool (*stopped)(void *user), void *user, um_vdec **out,
                       um_video_info *info, um_vdec_room *room, um_video_result *result);
/* Decodes to the next wanted frame: all of *out but the image. UM_END when there is none. */
um_status um_vdec_next(um_vdec *d, um_frame *out);
/* The frame that um_vdec_next found, as RGB, turned upright, to dst: room->slot_bytes bytes, aligned to 64. UM_UNSUPPORTED_CODEC, UM_OOM. */
um_status um_vdec_convert(um_vdec *d, uint8_t *dst);
/* The caller wants no more: what is missing from here on is not the file's fault. */
void um_vdec_stop(um_vdec *d);
/* The result counts a frame as given when um_vdec_next returned it and um_vdec_convert succeeded. */
void um_vdec_close(um_vdec *d, um_video_result *result);
