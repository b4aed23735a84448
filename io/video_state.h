#pragma once
/* video_state.h: the decoder's state and what its files give one another. Private to video_input.c (bytes to an open stream), video_packets.c (packets, those that can be left out),
 * video_decode.c (packets to numbered frames, the result) and video_convert.c (pixels). Every function is about the one video of its um_vdec. */
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
    bool pending;           /* frame holds a frame that was not looked at yet */
    bool draining, ended;   /* ended: no more frames; the numbers are final */
    bool tainted;           /* something was damaged since the last intact key frame */
    bool cut_short;         /* the file ended before its own tables said so, or could not be read on */
    bool size_changed, out_of_memory, by_request;
    int errors_in_a_row;
    int64_t frames_decoded, frames_damaged, frames_given, given_tainted;
    int64_t last_given;     /* index, -1 = none */

    bool leave_out, contradiction;
    int nal_length_bytes;
    AVPacket *queue[UM_VDEC_QUEUE]; /* read ahead, in decoding order: a ring */
    int queue_at, n_queue;
    bool queue_end;
    int64_t last_dts;
    um_vdec_ranked taken[UM_VDEC_QUEUE]; /* the last packets taken from the queue: a ring */
    int64_t n_taken;
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
/* Counts the frames of a file without a table into d->n_total by reading all packets, and opens it again. */
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

/* ---- video_convert.c ---- */

/* The display matrix's turn: 0, 90, 180 or 270 degrees clockwise. */
int um_vdec_rotation(const AVStream *s);
/* Bytes between rows of a picture that the scaler writes. */
int64_t um_vdec_row_stride(int width);
