/* The decoder on videos that carry their frame number in their pixels: eight blocks along the upper half, white for a 1 bit, lowest bit left; the lower half is dark grey. */
#include "io/video.h"
#include "src/core/clock.h"
#include "tests/unit/test.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 90, FPS = 30 };
static char dir[200];
static um_decoder *dec;
static const um_frames ALL = {.kind = UM_FRAMES_ALL};

static bool make(const char *options)
{
    char command[1024];
    snprintf(command, sizeof command, "cd %s && ffmpeg -nostdin -v error -y %s", dir, options);
    return system(command) == 0;
}

#define NUMBERED "-f lavfi -i \"color=s=160x64:r=30:d=3,geq=lum='if(lt(Y,32),if(bitand(N,pow(2,floor(X/20))),235,16),60)':cb=128:cr=128\" "

static const char *in_dir(const char *name)
{
    static char paths[4][256];
    static int at;
    char *p = paths[at = (at + 1) % 4];
    snprintf(p, sizeof paths[0], "%s/%s", dir, name);
    return p;
}

/* The number that the picture shows, after turning it back by `deg`; -1 when it is no such picture. */
static int shown(const um_image *img, int deg)
{
    int w = deg % 180 ? img->height_px : img->width_px, h = deg % 180 ? img->width_px : img->height_px, n = 0;
    if (w != 160 || h != 64) return -1;
    for (int bit = 0; bit < 9; bit++) {
        int sx = bit < 8 ? bit * 20 + 10 : 80, sy = bit < 8 ? 16 : 48;
        int x = deg == 90 ? h - 1 - sy : deg == 180 ? w - 1 - sx : deg == 270 ? sy : sx;
        int y = deg == 90 ? sx : deg == 180 ? h - 1 - sy : deg == 270 ? w - 1 - sx : sy;
        const uint8_t *p = img->data + (size_t)y * img->stride + (size_t)x * 3;
        if (bit == 8) return p[0] > 30 && p[0] < 80 && p[1] > 30 && p[1] < 80 ? n : -1;
        if (p[0] > 128) n |= 1 << bit;
    }
    return -1;
}

/* Reads a whole video: every frame must show its index. Returns how many frames came. */
static int64_t read_all(um_video *v, const um_video_info *info, um_video_result *r)
{
    um_frame f;
    um_status st;
    int64_t n = 0;
    while ((st = um_video_next(v, -1, &f)) == UM_OK) {
        CHECK_INT(shown(&f.image, info->rotation_deg), f.index);
        CHECK_NEAR(f.time_s, (double)f.index / FPS, 0.002);
        n++;
    }
    CHECK_INT(st, UM_END);
    CHECK_INT(um_video_next(v, -1, &f), UM_END);
    um_video_close(v, r);
    return n;
}

static void selection(const char *name, const char *spec)
{
    um_frames frames;
    um_video *v;
    um_video_info info;
    um_video_result r;
    um_frame f;
    CHECK_OK(um_frames_parse(spec, &frames));
    CHECK_OK(um_video_open(dec, in_dir(name), &frames, -1, -1, &v, &info));
    if (!v) return;
    for (int64_t i = 0; i < N; i++) {
        if (!um_frames_wants(&frames, i, N)) continue;
        CHECK_OK(um_video_next(v, -1, &f));
        CHECK_INT(f.index, i);
        CHECK_INT(shown(&f.image, info.rotation_deg), i);
        CHECK_NEAR(f.time_s, (double)i / FPS, 0.002);
    }
    CHECK_INT(um_video_next(v, -1, &f), UM_END);
    um_video_close(v, &r);
    if (r.status != UM_OK) fprintf(stderr, "%s %s: %s %s\n", name, spec, um_status_name(r.status), r.message);
    CHECK_INT(r.status, UM_OK);
    CHECK_INT(r.frames_given, um_frames_count(&frames, N));
    CHECK_INT(r.frames_wanted, r.frames_given);
    CHECK_INT(r.frames_damaged, 0);
}

static void lists(void)
{
    static const int64_t some[] = {0, 1, 7, 41, 42, 88}, beyond[] = {3, 89, 90, 500};
    um_video *v;
    um_video_info info;
    um_video_result r;
    CHECK_OK(um_video_open_list(dec, in_dir("b.mp4"), some, 6, -1, -1, &v, &info));
    CHECK_INT(read_all(v, &info, &r), 6);
    CHECK_INT(r.status, UM_OK);
    CHECK_OK(um_video_open_list(dec, in_dir("b.mp4"), beyond, 4, -1, -1, &v, &info));
    CHECK_INT(read_all(v, &info, &r), 2);
    CHECK_INT(r.status, UM_PARTIAL);
    CHECK_INT(r.frames_wanted, 4);
    /* None wanted: what the headers say. */
    CHECK_OK(um_video_open_list(dec, in_dir("b.mp4"), NULL, 0, -1, -1, &v, &info));
    CHECK_INT(info.width_px, 160);
    CHECK_INT(info.height_px, 64);
    CHECK_INT(info.n_frames, N);
    CHECK_NEAR(info.fps, FPS, 1e-6);
    CHECK_NEAR(info.duration_s, 3, 0.01);
    CHECK_STR(info.codec, "h264");
    CHECK_INT(read_all(v, &info, &r), 0);
    CHECK_INT(r.status, UM_OK);
    CHECK_INT(um_video_open_list(dec, in_dir("b.mp4"), (int64_t[]){4, 4}, 2, -1, -1, &v, &info), UM_INTERNAL);
}

static uint64_t checksum(const um_image *img)
{
    uint64_t h = 1469598103934665603u;
    for (int y = 0; y < img->height_px; y++)
        for (int x = 0; x < img->width_px * 3; x++) h = (h ^ img->data[(size_t)y * img->stride + (size_t)x]) * 1099511628211u;
    return h;
}

/* The rule for times restated over all frames: the first that begins no more than half a mean frame before the time, else the last. */
static void times(const char *name, double fps, int n, double from_s, double to_s)
{
    enum { MAX = 400 };
    static double frame_s[MAX], want_s[MAX];
    static uint64_t pixels[MAX];
    int expected[MAX], frames = 0, given = 0, decoded = 0;
    um_video *v;
    um_video_info info;
    um_video_result r;
    um_frame f;
    um_status st;
    CHECK_OK(um_video_open(dec, in_dir(name), &ALL, -1, -1, &v, &info));
    if (!v) return;
    while (um_video_next(v, -1, &f) == UM_OK && frames < MAX) {
        pixels[frames] = checksum(&f.image);
        frame_s[frames++] = f.time_s;
    }
    um_video_close(v, &r);
    CHECK_NEAR(info.fps, fps, 0.02 * fps);
    double half_s = fmin(0.5 / info.fps, 0.5);
    for (int i = 0; i < n; i++) {
        want_s[i] = n > 1 ? from_s + (to_s - from_s) * i / (n - 1) : from_s;
        int k = 0;
        while (k < frames - 1 && frame_s[k] < want_s[i] - half_s) k++;
        expected[i] = k;
    }
    CHECK_OK(um_video_open_times(dec, in_dir(name), want_s, n, -1, -1, &v, &info));
    if (!v) return;
    for (int i = 0; (st = um_video_next(v, -1, &f)) == UM_OK; given++) {
        while (i > 0 && i < n && expected[i] == expected[i - 1]) i++;
        CHECK(i < n);
        if (i >= n) break;
        CHECK_INT(f.answers, i);
        CHECK_INT(f.index, expected[i]);
        CHECK_INT(shown(&f.image, info.rotation_deg), expected[i]);
        CHECK(checksum(&f.image) == pixels[expected[i]]);
        CHECK_NEAR(f.time_s, frame_s[expected[i]], 1e-9);
        i++;
    }
    CHECK_INT(st, UM_END);
    for (int i = 0; i < n; i++) decoded += i == 0 || expected[i] != expected[i - 1];
    um_video_close(v, &r);
    CHECK_INT(given, decoded);
    CHECK_INT(r.frames_given, decoded);
    CHECK_INT(r.frames_wanted, decoded);
    CHECK_INT(r.frames_damaged, 0);
    if (r.status != UM_OK) fprintf(stderr, "%s: %s %s\n", name, um_status_name(r.status), r.message);
    CHECK_INT(r.status, UM_OK);
    if (to_s > frame_s[frames - 1] + 1) CHECK_NEAR(r.end_s, frame_s[frames - 1], 1e-9); /* to the end, for sure */
}

static double last_s(const char *name, int64_t *n_frames)
{
    um_video *v;
    um_video_info info;
    um_video_result r;
    CHECK_OK(um_video_open_times(dec, in_dir(name), NULL, 0, -1, -1, &v, &info));
    if (!v) return -1;
    um_video_close(v, &r);
    CHECK_INT(r.status, UM_OK);
    *n_frames = info.n_frames;
    return info.last_s;
}

static void by_time(void)
{
    static const char *const files[] = {"b.mp4", "deep.mp4", "b.mkv", "b.ts", "frag.mp4", "b.avi", "vp8.webm", "r90.mp4", "late_start.mkv", "late_start.ts", "late_start.mp4", "audio.mkv"};
    int64_t n;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        CHECK_NEAR(last_s(files[i], &n), (double)(N - 1) / FPS, 0.0021);
        CHECK_INT(n, N);
        times(files[i], FPS, 32, 0, (double)(N - 1) / FPS);
        times(files[i], FPS, 5, 0.49, 1.7);
        times(files[i], FPS, 1, 1.5, 1.5);
        times(files[i], FPS, 200, -1, 5); /* more than there are, before the first and past the end */
        times(files[i], FPS, 3, 50, 60);
    }
    /* Stretches in which nothing is wanted are passed over, where a key frame allows it. */
    static const struct {
        const char *name;
        int at_most;
    } passed[] = {{"b.mp4", 24}, {"r90.mp4", 24}, {"late_start.mp4", 24}, {"edits.mp4", 24}, {"vfr.mp4", 24}, {"deep.mp4", 90}};
    for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++) {
        um_video *v;
        um_video_info info;
        um_video_result r;
        um_frame f;
        CHECK_OK(um_video_open_times(dec, in_dir(passed[i].name), (double[]){0, 0.01, 2.6, 2.7}, 4, -1, -1, &v, &info));
        while (um_video_next(v, -1, &f) == UM_OK) CHECK_INT(shown(&f.image, info.rotation_deg), f.index + (strcmp(passed[i].name, "edits.mp4") == 0 ? 12 : 0));
        um_video_close(v, &r);
        CHECK_INT(r.frames_given, strcmp(passed[i].name, "edits.mp4") == 0 ? 2 : 3);
        CHECK_INT(r.status, UM_OK);
        if (r.frames_decoded > passed[i].at_most) fprintf(stderr, "%s: %lld frames decoded\n", passed[i].name, (long long)r.frames_decoded);
        CHECK(r.frames_decoded <= passed[i].at_most);
    }
    /* A rate that varies: 90 frames over 4.2 s, some of them 0.13 s apart. */
    CHECK_NEAR(last_s("vfr.mp4", &n), 125.15 / 30, 0.21);
    CHECK_NEAR(last_s("vfr.mkv", &n), 125.15 / 30, 0.01);
    CHECK_INT(n, N);
    times("vfr.mp4", 21.2, 32, 0, 125.15 / 30);
    times("vfr.mkv", 21.2, 32, 0, 125.15 / 30);
    times("vfr.mp4", 21.2, 7, 0.3, 2);
    /* Two transport streams one behind the other, the second's clock 1000 s on: the jump is bridged. */
    CHECK_NEAR(last_s("jump.ts", &n), (2.0 * N - 1) / FPS, 0.3);
    CHECK_INT(n, 2 * N);

    /* Cut in the middle: the table promises 90 frames. */
    um_video *v;
    um_video_info info;
    um_video_result r;
    um_frame f;
    double t[32];
    for (int i = 0; i < 32; i++) t[i] = (N - 1.0) / FPS * i / 31;
    CHECK_OK(um_video_open_times(dec, in_dir("cut.mp4"), t, 32, -1, -1, &v, &info));
    int64_t given = 0;
    for (; um_video_next(v, -1, &f) == UM_OK; given++) CHECK_INT(shown(&f.image, 0), f.index);
    um_video_close(v, &r);
    CHECK(given > 4 && given < 28);
    CHECK_INT(r.status, UM_PARTIAL);
    CHECK(r.end_s > 0.3 && r.end_s < 2.8);
    CHECK(r.frames_wanted >= 31 && r.frames_wanted <= 32);
    CHECK_NEAR(info.last_s, (double)(N - 1) / FPS, 1e-6);

    /* Closed early. */
    CHECK_OK(um_video_open_times(dec, in_dir("b.mp4"), t, 32, -1, -1, &v, &info));
    CHECK_OK(um_video_next(v, -1, &f));
    um_video_close(v, &r);
    CHECK_INT(r.status, UM_OK);
    CHECK(r.end_s == -1);
    CHECK_INT(um_video_open_times(dec, in_dir("b.mp4"), (double[]){2, 1}, 2, -1, -1, &v, &info), UM_INTERNAL);
    CHECK_INT(um_video_open_times(dec, in_dir("b.mp4"), (double[]){NAN}, 1, -1, -1, &v, &info), UM_INTERNAL);
    CHECK_INT(um_video_open_times(dec, in_dir("none.mp4"), t, 32, -1, -1, &v, &info), UM_MISSING);
}

static void rotations(void)
{
    static const struct {
        const char *name;
        int deg;
    } turned[] = {{"r90.mp4", 270}, {"r180.mp4", 180}, {"r270.mp4", 90}}; /* ffmpeg's rotate= is counter-clockwise */
    for (int i = 0; i < 3; i++) {
        um_video *v;
        um_video_info info;
        um_video_result r;
        CHECK_OK(um_video_open(dec, in_dir(turned[i].name), &ALL, -1, -1, &v, &info));
        CHECK_INT(info.rotation_deg, turned[i].deg);
        CHECK_INT(info.width_px, turned[i].deg == 180 ? 160 : 64);
        CHECK_INT(read_all(v, &info, &r), N);
        CHECK_INT(r.status, UM_OK);
    }
}

static void waiting(void)
{
    um_video *v;
    um_video_info info;
    um_frame f;
    um_video_result r;
    um_status st;
    int64_t n = 0;
    CHECK_OK(um_video_open(dec, in_dir("b.mp4"), &ALL, -1, -1, &v, &info));
    /* Zero wait: never blocks, loses nothing. */
    while ((st = um_video_next(v, 0, &f)) != UM_END) {
        if (st == UM_STOPPED) continue;
        CHECK_INT(f.index, n);
        CHECK_INT(shown(&f.image, 0), n);
        n++;
    }
    CHECK_INT(n, N);
    um_video_close(v, &r);
    CHECK_INT(r.status, UM_OK);

    /* A worker that spins keeps nobody waiting longer than asked. */
    um_video_limits limits = um_video_limits_default;
    limits.max_cpu_s = 1;
    um_decoder *d2;
    CHECK_OK(um_decoder_start(&limits, &d2));
    double t = um_clock_s();
    CHECK_INT(um_video_open(d2, in_dir("spin.bin"), &ALL, -1, -1, &v, &info), UM_TIMEOUT);
    CHECK(um_clock_s() - t < 30);
    CHECK_OK(um_video_open(d2, in_dir("b.mp4"), &ALL, -1, -1, &v, &info));
    CHECK_INT(read_all(v, &info, NULL), N);
    um_decoder_stop(d2);
}

static void sequence(void)
{
    um_video *a, *b;
    um_video_info ia, ib;
    um_frame fa, fb;
    um_video_result r;
    um_frames every = {.kind = UM_FRAMES_EVERY, .step = 10};
    /* Many after one another, some closed early, sizes changing. */
    for (int i = 0; i < 40; i++) {
        const char *name = i % 3 == 0 ? "b.mp4" : i % 3 == 1 ? "r90.mp4" : "vp8.webm";
        CHECK_OK(um_video_open(dec, in_dir(name), i % 2 ? &ALL : &every, -1, -1, &a, &ia));
        if (!a) return;
        for (int k = 0; k < i % 7; k++) CHECK_OK(um_video_next(a, -1, &fa));
        um_video_close(a, &r);
        CHECK_INT(r.status, UM_OK);
        CHECK_INT(r.frames_given, i % 7);
    }
    /* Two at once, read in turns; the frames of one stay while the other moves. */
    CHECK_OK(um_video_open(dec, in_dir("b.mp4"), &ALL, -1, -1, &a, &ia));
    CHECK_OK(um_video_open(dec, in_dir("r90.mp4"), &every, -1, -1, &b, &ib));
    for (int i = 0; i < 9; i++) {
        CHECK_OK(um_video_next(b, -1, &fb));
        for (int k = 0; k < 10; k++) {
            CHECK_OK(um_video_next(a, -1, &fa));
            CHECK_INT(shown(&fa.image, 0), i * 10 + k);
        }
        CHECK_INT(shown(&fb.image, ib.rotation_deg), i * 10);
    }
    um_video_close(b, &r);
    CHECK_INT(r.status, UM_OK);
    um_video_close(a, &r);
    CHECK_INT(r.frames_given, N);
}

static void misfortunes(void)
{
    um_video *v;
    um_video_info info;
    um_video_result r;
    um_frame f;
    for (int i = 0; i < 30; i++) {
        CHECK_INT(um_video_open(dec, in_dir("crash.bin"), &ALL, -1, -1, &v, &info), UM_CRASH);
        CHECK(strstr(um_err_text(), "SIGSEGV") != NULL);
        CHECK_OK(um_video_open(dec, in_dir("b.mp4"), &ALL, -1, -1, &v, &info));
        CHECK_OK(um_video_next(v, -1, &f));
        um_video_close(v, NULL);
    }
    um_err_clear();
    CHECK_INT(um_video_open(dec, in_dir("eat.bin"), &ALL, -1, -1, &v, &info), UM_OOM);

    /* It dies midway: the frames before are good, the rest is missing, the result says why. */
    CHECK_OK(um_video_open(dec, in_dir("late.mp4"), &ALL, -1, -1, &v, &info));
    CHECK_INT(read_all(v, &info, &r), 3);
    CHECK_INT(r.status, UM_CRASH);
    CHECK_INT(r.signal, SIGSEGV);
    CHECK_INT(r.frames_given, 3);
    /* It sends nonsense: not believed. */
    CHECK_OK(um_video_open(dec, in_dir("lie.mp4"), &ALL, -1, -1, &v, &info));
    CHECK_INT(read_all(v, &info, &r), 0);
    CHECK_INT(r.status, UM_CRASH);

    struct stat sb;
    CHECK_INT(stat(in_dir("b.mp4"), &sb), 0);
    int64_t mtime = (int64_t)sb.st_mtim.tv_sec * 1000000000 + sb.st_mtim.tv_nsec;
    CHECK_OK(um_video_open(dec, in_dir("b.mp4"), &ALL, sb.st_size, mtime, &v, &info));
    um_video_close(v, NULL);
    CHECK_INT(um_video_open(dec, in_dir("b.mp4"), &ALL, sb.st_size + 1, -1, &v, &info), UM_CHANGED);
    CHECK_INT(um_video_open(dec, in_dir("b.mp4"), &ALL, sb.st_size, mtime + 1, &v, &info), UM_CHANGED);
    CHECK_INT(um_video_open(dec, in_dir("none.mp4"), &ALL, -1, -1, &v, &info), UM_MISSING);
    CHECK_INT(um_video_open(dec, dir, &ALL, -1, -1, &v, &info), UM_UNREADABLE);

    um_video_limits limits = um_video_limits_default;
    limits.max_pixels = 160 * 64 - 1;
    um_decoder *d2;
    CHECK_OK(um_decoder_start(&limits, &d2));
    CHECK_INT(um_video_open(d2, in_dir("b.mp4"), &ALL, -1, -1, &v, &info), UM_TOO_LARGE);
    um_decoder_stop(d2);
}

/* Number of living processes whose parent is `parent`. */
static int children(pid_t parent, pid_t *out, int max)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    int n = 0;
    while (d && (e = readdir(d))) {
        char path[300], line[512];
        snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        FILE *f = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? fopen(path, "r") : NULL;
        if (!f) continue;
        char state;
        int ppid;
        char *end = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
        if (end && sscanf(end + 1, " %c %d", &state, &ppid) == 2 && ppid == parent && state != 'Z' && n < max) out[n++] = atoi(e->d_name);
        fclose(f);
    }
    if (d) closedir(d);
    return n;
}

/* A program that is killed leaves no process behind, and one that stops its decoder neither. */
static void orphans(void)
{
    int sync[2];
    CHECK_INT(pipe(sync), 0);
    pid_t p = fork();
    if (p == 0) {
        um_video *v;
        um_video_info info;
        um_frame f;
        if (um_decoder_start(NULL, &dec) != UM_OK || um_video_open(dec, in_dir("b.mp4"), &ALL, -1, -1, &v, &info) != UM_OK || um_video_next(v, -1, &f) != UM_OK) _exit(1);
        ssize_t ignored = write(sync[1], "x", 1);
        (void)ignored;
        for (;;) pause();
    }
    char c;
    pid_t zygote[4], workers[4];
    CHECK_INT(read(sync[0], &c, 1), 1);
    CHECK_INT(children(p, zygote, 4), 1);
    CHECK_INT(children(zygote[0], workers, 4), 1);
    kill(zygote[0], SIGTERM); /* ignored: batch systems send it to everyone */
    kill(p, SIGKILL);
    waitpid(p, NULL, 0);
    bool gone = false;
    for (double t = um_clock_s(); !gone && um_clock_s() - t < 20;) {
        gone = kill(zygote[0], 0) != 0 && errno == ESRCH && kill(workers[0], 0) != 0 && errno == ESRCH;
        if (!gone) usleep(2000);
    }
    CHECK(gone);
    close(sync[0]);
    close(sync[1]);
}

static void trigger(const char *name, const char *word)
{
    FILE *f = fopen(in_dir(name), "w");
    if (f) {
        fprintf(f, "%s and more", word);
        fclose(f);
    }
}

int main(void)
{
    if (system("ffmpeg -v quiet -encoders 2>/dev/null | grep -q libx264") != 0) {
        printf("skipped: the ffmpeg program with libx264 is missing\n");
        return 77;
    }
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/unmask_test_video_XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(dir)) return 2;
    const char *x264 = "-threads 1 -c:v libx264 -pix_fmt yuv420p -crf 12 ";
    char command[700];
    snprintf(command, sizeof command, NUMBERED "%s -bf 3 -g 24 b.mp4", x264);
    CHECK(make(command));
    snprintf(command, sizeof command, NUMBERED "%s -bf 8 -b_strategy 0 -x264-params b-pyramid=normal:ref=4:open-gop=1 -g 30 deep.mp4", x264);
    CHECK(make(command));
    CHECK(make("-i b.mp4 -c copy b.mkv") && make("-i b.mp4 -c copy b.ts") && make("-i b.mp4 -c copy -movflags frag_keyframe+empty_moov frag.mp4"));
    CHECK(make("-i b.mp4 -c:v mpeg4 -bf 2 -q:v 2 b.avi"));
    CHECK(make("-i b.mp4 -c:v libvpx -b:v 2M -deadline realtime -cpu-used 8 -auto-alt-ref 1 -lag-in-frames 12 vp8.webm"));
    CHECK(make("-i b.mp4 -c copy -metadata:s:v:0 rotate=90 r90.mp4") && make("-i b.mp4 -c copy -metadata:s:v:0 rotate=180 r180.mp4") &&
          make("-i b.mp4 -c copy -metadata:s:v:0 rotate=270 r270.mp4"));
    CHECK(make("-i b.mp4 -c copy -brand UMlt late.mp4") && make("-i b.mp4 -c copy -brand UMli lie.mp4"));
    CHECK(make("-i b.mp4 -c copy -output_ts_offset 5 late_start.mkv") && make("-i b.mp4 -c copy -output_ts_offset 50 late_start.ts") && make("-i b.mp4 -c copy -output_ts_offset 3 late_start.mp4"));
    CHECK(make("-i b.mp4 -f lavfi -i sine=d=9 -c:v copy -c:a libvorbis audio.mkv"));
    snprintf(command, sizeof command, NUMBERED "-vf \"setpts='(N+floor(N/7)*3+mod(N*N\\,5)*0.15)/30/TB'\" -vsync passthrough -enc_time_base 1/600 -video_track_timescale 600 %s -bf 3 -g 24 vfr.mp4", x264);
    CHECK(make(command) && make("-i vfr.mp4 -c copy vfr.mkv"));
    CHECK(make("-i b.mp4 -c copy -output_ts_offset 1000 second.ts && cat b.ts second.ts >jump.ts"));
    CHECK(make("-i b.mp4 -c copy -movflags faststart whole.mp4 && head -c $(($(stat -c %s whole.mp4) * 6 / 10)) whole.mp4 >cut.mp4"));
    CHECK(make("-ss 0.4 -i b.mp4 -c copy edits.mp4")); /* begins within a group of pictures: an edit list hides 12 frames */
    trigger("crash.bin", "UMCRASH");
    trigger("spin.bin", "UMSPIN");
    trigger("eat.bin", "UMEAT");
    setenv("UNMASK_TEST_DECODER", "crash:UMCRASH,spin:UMSPIN,eat:UMEAT,late:UMlt,lie:UMli", 1);

    CHECK_OK(um_decoder_start(NULL, &dec));
    static const char *const files[] = {"b.mp4", "deep.mp4", "b.mkv", "b.ts", "frag.mp4", "b.avi", "vp8.webm", "r90.mp4"};
    static const char *const specs[] = {"all", "every:10", "every:7:50", "every:1:5", "spread:32", "spread:1", "spread:200"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        for (size_t k = 0; k < sizeof specs / sizeof specs[0]; k++) selection(files[i], specs[k]);
    lists();
    by_time();
    rotations();
    waiting();
    sequence();
    misfortunes();
    um_decoder_stop(dec);
    pid_t left[4];
    CHECK_INT(children(getpid(), left, 4), 0);
    orphans();

    char clean[220];
    snprintf(clean, sizeof clean, "rm -rf %s", dir);
    CHECK_INT(system(clean), 0);
    return TEST_END();
}
