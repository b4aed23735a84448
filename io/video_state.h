#pragma once
/* video_state.h: the decoder's state and what its files give one another. Private to video_input.c (bytes to an open stream), video_packets.c (packets, those that can be left out), video_seek.c (stretches that are passed over), video_times.c (frames
 * by time), video_decode.c (packets to numbered frames, the result) and video_convert.c (pixels). Every function is about the one video of its um_vdec. */
#include "io/video_decode.h"

/* libav's headers are not clean under -Wconversion. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
#pragma GCC diagnostic pop

#define UM_VDEC_CODED_PADDING 128 /* pixels by which a decoder's coded size may exceed the frame's */
#define UM_VDEC_QUEUE 64          /* packets read ahead */
#define UM_VDEC_MOV "mov,mp4,m4a,3gp,3g2,mj2" /* libav's name of the MP4 demuxer */

typedef struct um_vdec_ranked {
    int64_t pts, rank;
} um_vdec_ranked;

typedef struct um_vdec_source {
    int fd;
    int64_t at, size;
    bool failed; /* a read error of the disk or network, not of the content */
} um_vdec_source;

struct um_vdec {
    um_vdec_source src;
    um_video_limits limits;
    um_vdec_want want;
    bool (*stopped)(void *user);
    void *user;

    AVIOContext *io;
    AVFormatContext *fmt;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame;
    struct SwsContext *sws;
    AVStream *stream; /* borrowed from fmt */

    /* Size of the first frame, before rotation: what all others must have. */
    int width, height, rotation;
    um_vdec_room room;
    uint8_t *upright; /* the converted frame before it is turned; only when it must be */

    int64_t n_total;        /* frames of the file, for `spread`; -1 = not counted */
    int64_t n_container;    /* frames the container's table lists, -1 = it has none that can be trusted */
    int64_t n_packets;      /* packets of the stream that were read and whose frame is to be shown */
    int64_t n_out;          /* number of the next frame, as far as frames that came out tell */
    int64_t *absent;        /* presentation times of packets whose frame did not come out */
    int n_absent, cap_absent;
    int64_t list_at;
    int64_t first_pts;
    int64_t frame_index;
    double frame_s;
    double jump_s, raw_s;   /* where time stamps may jump (transport streams): what was added to bridge jumps; the last time without it */
    double packets_last_s;  /* um_vdec_count_packets: when the last frame begins; -1 */

    /* Frames by time. */
    int64_t time_at;        /* the first wanted time without an answer */
    int64_t sought_for;     /* the last one that a seek was tried for */
    double half_frame_s;    /* by how much a frame may begin too early */
    double last_s;          /* of the last frame that came out */
    AVFrame *kept;          /* the last frame that came out and answered nothing: the answer to what lies past the end */
    int64_t kept_index, lost;/* lost: times past the last frame's beginning, once the end was reached; -1 before */
    double kept_s;
    bool pending;           /* frame holds a frame that was not looked at yet */
    bool draining, ended;   /* ended: no more frames; the numbers are final */
    bool tainted;           /* something was damaged since the last intact key frame */
    bool cut_short;         /* the file ended before its own tables said so, or could not be read on */
    bool size_changed, out_of_memory, by_request;
    int errors_in_a_row;
    int64_t frames_decoded, frames_damaged, frames_given, given_tainted;
    int64_t last_given;     /* index, -1 = none */

    bool leave_out, contradiction, no_seek;
    int nal_length_bytes;
    AVPacket *queue[UM_VDEC_QUEUE]; /* read ahead, in decoding order: a ring */
    int queue_at, n_queue;
    bool queue_end;
    int64_t last_dts;
    um_vdec_ranked taken[UM_VDEC_QUEUE]; /* the last packets taken from the queue: a ring */
    int64_t n_taken, taken_first; /* packets taken so far, or passed over by seeking; the first in the ring that counts */
    int64_t n_read;               /* packets of the stream read, or passed over: the next one's place in the index */
};

/* What libav has logged since um_vdec_open. The first error says more than error codes do: "moov atom not found". Kept for the row's message. */
typedef struct um_vdec_log_state {
    char text[160];
    bool too_large;
    int64_t errors;
} um_vdec_log_state;
extern um_vdec_log_state um_vdec_log;

/* ---- video_input.c ---- */

/* Forgets what was logged and begins to listen. */
void um_vdec_log_start(void);
/* Opens the container of d->src and chooses the stream. An item status. What is half open is left for um_vdec_close_input. */
um_status um_vdec_open_input(um_vdec *d);
void um_vdec_close_input(um_vdec *d);
/* Opens the decoder of d->stream. */
um_status um_vdec_open_codec(um_vdec *d);

/* ---- video_packets.c ---- */

/* Frames that the container's own table lists, -1 when there is none. */
int64_t um_vdec_table_frames(const um_vdec *d);
/* Counts the frames of a file without a table into d->n_total by reading all packets, notes when the last begins, and opens it again. */
um_status um_vdec_count_packets(um_vdec *d);
/* Is the packet's frame one that is shown? */
bool um_vdec_packet_shown(const um_vdec *d, const AVPacket *p);
/* The frame shown at `pts` will not come out of the decoder. */
void um_vdec_note_absent(um_vdec *d, int64_t pts);
/* Decides whether unwanted frames of this stream may be left out. */
void um_vdec_plan_leaving_out(um_vdec *d);
/* The next packet for the decoder into d->packet, without those that can be left out. False at the end or when a contradiction shows. */
bool um_vdec_next_packet(um_vdec *d);
/* Is the frame's number the rank of its packet? */
bool um_vdec_rank_agrees(const um_vdec *d);
void um_vdec_drop_queue(um_vdec *d);

/* One more packet of the stream into p. False at the end. */
bool um_vdec_read_packet(um_vdec *d, AVPacket *p);

/* ---- video_seek.c ---- */

/* Passes over packets up to the last key frame before the next wanted time, where that is exact. False: the file contradicts its index, and must be read again from its start. */
bool um_vdec_seek_ahead(um_vdec *d);

/* ---- video_times.c ---- */

/* A frame's usual length: of the average rate, a 25th of a second where that is unknown. */
double um_vdec_usual_s(const um_vdec *d);
/* May time stamps jump in this container, and is a step of this length such a jump? */
bool um_vdec_is_jump(const um_vdec *d, double step_s);
/* Seconds between the first frame and a frame shown at `pts` (both known). */
double um_vdec_seconds(const um_vdec *d, int64_t pts);
/* When the last frame begins by the container's table; -1 without one. */
double um_vdec_table_last_s(const um_vdec *d);
/* Are some frames wanted by their times? */
bool um_vdec_by_time(const um_vdec *d);
void um_vdec_times_start(um_vdec *d);
/* Is a frame at time_s, before which the last one is at before_s, the answer to a wanted time? */
bool um_vdec_time_wanted(const um_vdec *d, double before_s, double time_s);
/* Is there a wanted time past time_s? */
bool um_vdec_time_left(const um_vdec *d, double time_s);
/* The frame in d->frame: does it answer a time? Moves past all times that it answers; *answers is the first. */
bool um_vdec_time_take(um_vdec *d, int64_t *answers);
/* The end was reached: puts the last frame into d->frame if it is the answer to what is left. */
bool um_vdec_time_take_last(um_vdec *d, int64_t *answers);

/* ---- video_convert.c ---- */

/* The display matrix's turn: 0, 90, 180 or 270 degrees clockwise. */
int um_vdec_rotation(const AVStream *s);
/* Bytes between rows of a picture that the scaler writes. */
int64_t um_vdec_row_stride(int width);
