/* video_dump FILE FRAMES: the wanted frames of a video as raw bytes on stdout, for compare_opencv.py: one line "index time_s width height\n" and width * height * 3 bytes RGB each; what happened on stderr. */
#include "io/video.h"

#include <inttypes.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    um_decoder *dec = NULL;
    um_video *v = NULL;
    um_video_info info;
    um_video_result r;
    um_frames frames;
    um_frame f;
    if (argc != 3 || um_frames_parse(argv[2], &frames) != UM_OK || um_decoder_start(NULL, &dec) != UM_OK) return 2;
    um_status st = um_video_open(dec, argv[1], &frames, -1, -1, &v, &info);
    if (st != UM_OK) {
        fprintf(stderr, "%s: %s\n", um_status_name(st), um_err_text());
        um_decoder_stop(dec);
        return 1;
    }
    while (um_video_next(v, -1, &f) == UM_OK) {
        printf("%" PRId64 " %.6f %d %d\n", f.index, f.time_s, f.image.width_px, f.image.height_px);
        for (int y = 0; y < f.image.height_px; y++) fwrite(f.image.data + (size_t)y * f.image.stride, 3, (size_t)f.image.width_px, stdout);
    }
    um_video_close(v, &r);
    um_decoder_stop(dec);
    fprintf(stderr, "%s: %" PRId64 " of %" PRId64 " frames, decoded %" PRId64 ", damaged %" PRId64 ", container says %" PRId64 ", %s %s %dx%d %d deg %.3f fps %.3f s; %s\n", um_status_name(r.status),
            r.frames_given, r.frames_wanted, r.frames_decoded, r.frames_damaged, info.n_frames, info.container, info.codec, info.width_px, info.height_px, info.rotation_deg, info.fps,
            info.duration_s, r.message);
    return 0;
}
