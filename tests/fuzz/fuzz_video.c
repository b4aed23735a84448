/* fuzz_video: the decoder of untrusted videos, as the worker runs it. Seeds for long runs: tests/fault/make_bad_videos.sh; use -max_len=65536 -timeout=20. */
#include "io/video_decode.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_FRAMES = 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    um_video_limits limits = {.max_pixels = 1 << 18, .max_cpu_s = 10, .memory_bytes = 1 << 29, .max_streams = 8};
    /* The last byte chooses which frames are wanted, so that counting, leaving out and plain decoding are all reached. */
    static const int64_t list[] = {0, 3, 9};
    unsigned choice = n > 0 ? data[n - 1] : 0;
    static const double times[] = {0, 0.1, 0.35, 4};
    um_vdec_want want = {.n_list = -1, .n_times = -1};
    if (choice % 5 == 0) want.frames.kind = UM_FRAMES_ALL;
    if (choice % 5 == 1) want.frames = (um_frames){.kind = UM_FRAMES_EVERY, .step = 3};
    if (choice % 5 == 2) want.frames = (um_frames){.kind = UM_FRAMES_SPREAD, .count = 5};
    if (choice % 5 == 3) want.list = list, want.n_list = 3;
    if (choice % 5 == 4) want.time_s = times, want.n_times = choice >= 128 ? 0 : 4;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n) abort();
    um_vdec *d;
    um_video_info info;
    um_vdec_room room;
    um_video_result result;
    if (um_vdec_open(fd, &want, &limits, NULL, NULL, &d, &info, &room, &result) == UM_OK) {
        /* Exactly the memory that was promised to be enough. */
        uint8_t *slot = NULL;
        if (posix_memalign((void **)&slot, 64, (size_t)room.slot_bytes) != 0) abort();
        int64_t last = -1;
        um_frame f;
        for (int i = 0; i < MAX_FRAMES && um_vdec_next(d, &f) == UM_OK; i++) {
            if (f.index <= last) abort();
            last = f.index;
            if (um_vdec_convert(d, slot) != UM_OK) break;
        }
        um_vdec_stop(d);
        um_vdec_close(d, &result);
        free(slot);
    }
    if (um_status_class_of(result.status) == UM_CLASS_JOB) abort();
    close(fd);
    return 0;
}
