#pragma once
/* video_write.h: RGB frames -> H.264 in MP4, in memory.
 *
 *     um_video_writer *w;
 *     UM_PASS(um_video_writer_new(&config, &w));
 *     for (...) um_video_writer_add(w, &rgb);
 *     um_video_writer_finish(w, &mp4);          // appends the file's bytes
 *     um_video_writer_free(w);
 *
 * Equal frames and configuration give equal bytes with one version of FFmpeg and x264: one thread per video, no times, no names of
 * programs in the file. Colours: BT.601, limited range, untagged, 4:2:0: what io/video.h assumes when it reads. Threads: one writer, one thread;
 * several writers may work at once. Errors that FFmpeg reports by itself go to um_log.
 */
#include "src/core/buf.h"
#include "src/image/image.h"

typedef struct um_video_writer_config {
    int width_px, height_px;  /* of the frames as given, upright; both even, 16..8192 */
    int rotation_deg;         /* 0, 90, 180, 270: frames are stored turned back by this, and the file tells players to turn them clockwise again */
    int fps_num, fps_den;
    int crf;                  /* x264's quality, 0 (lossless) .. 51 */
    const char *preset;       /* x264's; NULL: "veryfast" */
} um_video_writer_config;

typedef struct um_video_writer um_video_writer;

/* Errors: UM_USAGE (configuration), UM_CONFIG (this FFmpeg has no libx264), UM_NO_MEMORY, UM_INTERNAL. */
um_status um_video_writer_new(const um_video_writer_config *c, um_video_writer **out);
/* Adds the next frame: RGB of the configured size. Local. */
um_status um_video_writer_add(um_video_writer *w, const um_image *rgb);
/* Ends the video (at least one frame) and appends it to `mp4`. Only um_video_writer_free may follow. */
um_status um_video_writer_finish(um_video_writer *w, um_buf *mp4);
void um_video_writer_free(um_video_writer *w);
