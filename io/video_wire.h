#pragma once
/* video_wire.h: the messages between the program, the zygote and the workers of io/video.h.
 *
 * SOCK_SEQPACKET pairs carry messages of one fixed size, with up to two file descriptors (SCM_RIGHTS). Both ends run the same program image, so structs travel as they are. A worker handles hostile bytes
 * and may have been taken over by them: the program believes nothing that it says (video.c checks every field).
 *
 *   program -> zygote   SPAWN (fd: the worker's socket)                    zygote -> program   SPAWNED pid
 *                       REAP pid: kill it if it still runs, collect it                         REAPED wait status
 *   program -> worker   OPEN (fds: the video; the wanted indices or times, if any)  worker -> program   INFO, or DONE when it cannot be opened
 *                       START (fd: a new ring, unless the old one serves)                      FRAME slot, index, time
 *                       FREE slot; STOP                                                        DONE result: always the last
 */
#include "io/video.h"

#include <stddef.h>

typedef enum um_wire_type {
    UM_WIRE_SPAWN = 1,
    UM_WIRE_SPAWNED,
    UM_WIRE_REAP,
    UM_WIRE_REAPED,
    UM_WIRE_OPEN,
    UM_WIRE_START,
    UM_WIRE_FREE,
    UM_WIRE_STOP,
    UM_WIRE_INFO,
    UM_WIRE_FRAME,
    UM_WIRE_DONE
} um_wire_type;

#define UM_WIRE_MAX_SLOTS 16
#define UM_WIRE_FDS 2

typedef struct um_wire {
    int32_t type;    /* um_wire_type */
    uint32_t serial; /* which video of this worker: an answer to an earlier one is dropped */
    union {
        struct {
            int32_t pid;
            int32_t wait_status;
        } child;
        struct {
            um_frames frames;
            int64_t n_list; /* indices in the second descriptor; -1: `frames` says which are wanted */
            int64_t n_times; /* times in the second descriptor; -1: as n_list says */
            um_video_limits limits;
        } open;
        struct {
            int32_t n_slots;
            int32_t new_ring; /* 1: a descriptor comes with it */
            int64_t slot_bytes;
            int64_t ring_bytes;
        } start;
        int32_t free_slot;
        struct {
            um_video_info video;
            int64_t stride_bytes;
            int64_t slot_bytes; /* what one frame needs */
        } info;
        struct {
            int32_t slot;
            int64_t index;
            double time_s;
            int64_t answers;
        } frame;
        um_video_result done;
    } u;
} um_wire;

/* Sends one message with the n_fds descriptors. 0, or -1 with errno. dont_wait: EAGAIN instead of waiting for room. */
int um_wire_send(int sock, const um_wire *m, const int *fds, int n_fds, bool dont_wait);
/* Receives one message: 1; 0 when the other end is gone; -1 with errno (EAGAIN with dont_wait; EPROTO: not a message of ours). fds[0..UM_WIRE_FDS) get the descriptors that came with it, -1 where none
 * did; fds may be NULL: any that came are closed. */
int um_wire_recv(int sock, um_wire *m, int *fds, bool dont_wait);
