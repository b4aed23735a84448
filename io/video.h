#pragma once
/* video.h: wanted frames of a video as RGB, decoded in a child process.
 *
 * Untrusted bytes are never decoded in the calling process: a crash, an endless loop or too much memory there costs one video a status, not the MPI job (reliability 7).
 *
 *     um_decoder *dec; um_decoder_start(&limits, &dec);      // before MPI_Init and before any thread: forks the zygote
 *     um_video *v;
 *     st = um_video_open(dec, path, &frames, size_bytes, mtime_ns, &v, &info);   // -1, -1: any; item status on bad input
 *     while ((st = um_video_next(v, wait_s, &frame)) != UM_END) {
 *         if (st == UM_OK) use(&frame.image);
 *         else answer_messages();                            // UM_STOPPED: nothing came within wait_s, ask again
 *     }
 *     um_video_close(v, &result);                            // counts, and the status of the whole
 *     um_decoder_stop(dec);
 *
 * The zygote forks single-threaded workers on request; each video is decoded by a worker, which converts wanted frames to RGB24 (libswscale, default coefficients: BT.601,
 * limited range, whatever the stream is tagged with; then the display rotation) into a ring of shared memory, several frames ahead of the reader. Frame numbers count decoded
 * frames in display order from 0, as OpenCV's VideoCapture.read does; a frame that fails to decode does not shift the others' numbers where the container tells (see docs/numerics.md).
 * Collectivity: local. Threads: one thread per um_decoder; it may have several videos open, each in a worker of its own.
 */
#include "src/core/frames.h"
#include "src/image/image.h"

typedef struct um_video_limits {
    int64_t max_pixels;    /* of one frame; default 4096*4096 */
    int64_t max_cpu_s;     /* processor seconds for one video; default 120 */
    int64_t memory_bytes;  /* address space of a worker; default 2 GiB (not enforced under sanitizers) */
    int max_streams;       /* default 16 */
} um_video_limits;
extern const um_video_limits um_video_limits_default;

typedef struct um_video_info {
    int width_px, height_px;   /* of the frames given out, after rotation */
    int rotation_deg;          /* 0, 90, 180, 270: clockwise turn that was applied */
    double fps;                /* average frame rate; 0 = unknown */
    double duration_s;         /* 0 = unknown */
    int64_t n_frames;          /* what the container says; -1 = it does not. May lie. */
    int64_t n_claimed;         /* what OpenCV's CAP_PROP_FRAME_COUNT is: the header's number of samples, hidden ones too; without it floor(duration * fps + .5); 0: neither */
    double last_s;             /* when the last frame begins, seconds since the first frame; -1 = unknown. From the sample table, or (um_video_open_times) from reading all packets. May lie where a table does. */
    char codec[16], container[24];
} um_video_info;

typedef struct um_frame {
    int64_t index;   /* frame number, display order, from 0 */
    double time_s;   /* presentation time since the stream's first frame; index / fps where the file has none */
    int64_t answers; /* um_video_open_times: the first wanted time that this frame answers; else -1 */
    um_image image;  /* RGB, borrowed from the ring: valid until the next um_video_next or um_video_close of this video */
} um_frame;

typedef struct um_video_result {
    um_status status;          /* UM_OK, or the item status of the whole video */
    int64_t frames_wanted;     /* as far as known: of the frames the file really has; by times: frames given, and wanted times past the end of a file that ends early */
    int64_t frames_given;
    int64_t frames_decoded;    /* all frames that came out of the decoder, wanted or not */
    int64_t frames_damaged;    /* frames the decoder flagged as damaged or concealed, and packets it refused */
    double end_s;              /* um_video_open_times: the file was decoded to its end, and its last frame begins here; -1: it was not, or none came */
    int signal;                /* UM_CRASH: the signal; else 0 */
    char message[256];         /* one sentence for the row; "" when OK */
} um_video_result;

typedef struct um_decoder um_decoder;
typedef struct um_video um_video;

/* Forks the zygote. Call it before MPI_Init, CUDA or threads. Errors: UM_IO, UM_NO_MEMORY. */
um_status um_decoder_start(const um_video_limits *limits, um_decoder **out);
/* Ends workers and zygote. NULL is allowed. */
void um_decoder_stop(um_decoder *d);

/* Opens `path` (a regular file; a FIFO, device or directory is UM_UNREADABLE), probes it in a worker and starts decoding. If want_size_bytes >= 0 the size and, if want_mtime_ns >= 0, the
 * modification time must match (UM_CHANGED). Any failure is an item status with the message in the error chain; UM_IO and UM_NO_MEMORY are the caller's own troubles. */
um_status um_video_open(um_decoder *d, const char *path, const um_frames *frames, int64_t want_size_bytes, int64_t want_mtime_ns, um_video **out, um_video_info *info);
/* Like um_video_open, but exactly the frames index[0..n), ascending, are wanted (copied). n = 0 is allowed: probe only. */
um_status um_video_open_list(um_decoder *d, const char *path, const int64_t *index, int64_t n, int64_t want_size_bytes, int64_t want_mtime_ns, um_video **out, um_video_info *info);
/* Like um_video_open, but wanted are the frames at the times time_s[0..n) (ascending, finite, copied), in seconds since the first frame. A time is answered by the first frame, in display order, that begins no more than half a mean
 * frame (0.5 / fps, at most 0.5 s) before it; a time past the last frame's beginning by the last frame. A frame that answers several times is given once (um_frame.answers: the first of them). So each frame of a short clip comes
 * once, and a gap between frames is answered by the frame behind it. Without time stamps, number / fps is a frame's time.
 * n = 0 is allowed: probe only, and unlike um_video_open_list it reads all packets of a container without a sample table, so that info->last_s and n_frames are right. */
um_status um_video_open_times(um_decoder *d, const char *path, const double *time_s, int64_t n, int64_t want_size_bytes, int64_t want_mtime_ns, um_video **out, um_video_info *info);
/* The next wanted frame in order. UM_END after the last one that could be had; a crash or time limit also ends the stream, and um_video_close tells. Waits at most `wait_s` for a frame: UM_STOPPED when
 * none came in time (call again), so that the caller can answer messages between frames; wait_s < 0: no limit. */
um_status um_video_next(um_video *v, double wait_s, um_frame *out);
/* Stops decoding if it still goes on, and reports. *result may be NULL. Never fails. */
void um_video_close(um_video *v, um_video_result *result);
