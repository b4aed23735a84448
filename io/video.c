#include "io/video.h"

#include "io/video_wire.h"
#include "io/video_zygote.h"
#include "src/core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

const um_video_limits um_video_limits_default = {
    .max_pixels = INT64_C(4096) * 4096, .max_cpu_s = 120, .memory_bytes = INT64_C(2) << 30, .max_streams = 16};

#define MAX_IDLE 4            /* workers kept for the next video */
#define VIDEOS_PER_WORKER 500 /* then a fresh one: whatever libav leaks or fragments ends with it */
#define MAX_LIST (1 << 24)
#define CLOSE_WAIT_S 0.5      /* for the worker to finish the frame it is at, when a video is closed early */
#define PAGE 4096

typedef struct worker {
    pid_t pid;
    int sock;
    uint32_t serial;
    int n_videos;
    uint8_t *ring;
    int64_t ring_bytes;
    struct worker *next;
} worker;

struct um_decoder {
    um_video_limits limits;
    pid_t zygote;
    int sock;
    worker *idle;
    int n_idle;
};

struct um_video {
    um_decoder *dec;
    worker *w;           /* NULL once it is lost */
    um_frames frames;
    int64_t *list;       /* wanted indices; n_list = -1: `frames` */
    int64_t n_list, n_times, list_at; /* list_at: of the list or the times, the first that no frame has answered */
    um_video_info info;
    int64_t stride_bytes, slot_bytes;
    int n_slots;
    int held;            /* slot of the frame the caller looks at, -1 = none */
    int64_t last_index, n_given;
    bool done;           /* `result` is final */
    um_video_result result;
};

um_status um_decoder_start(const um_video_limits *limits, um_decoder **out)
{
    *out = NULL;
    um_decoder *d = calloc(1, sizeof *d);
    if (!d) return UM_FAIL(UM_NO_MEMORY, "no memory for the decoder");
    d->limits = limits ? *limits : um_video_limits_default;
    um_status st = um_zygote_start(&d->limits, getenv("UNMASK_TEST_DECODER"), &d->zygote, &d->sock);
    if (st != UM_OK) {
        free(d);
        return st;
    }
    *out = d;
    return UM_OK;
}

/* Ends a worker. The wait status, -1 when unknown. */
static int worker_end(um_decoder *d, worker *w)
{
    close(w->sock);
    if (w->ring) munmap(w->ring, (size_t)w->ring_bytes);
    int status = um_zygote_reap(d->sock, w->pid);
    free(w);
    return status;
}

void um_decoder_stop(um_decoder *d)
{
    if (!d) return;
    while (d->idle) {
        worker *w = d->idle;
        d->idle = w->next;
        worker_end(d, w);
    }
    um_zygote_stop(d->zygote, d->sock);
    free(d);
}

static um_status worker_take(um_decoder *d, worker **out)
{
    *out = NULL;
    while (d->idle) {
        worker *w = d->idle;
        d->idle = w->next;
        d->n_idle--;
        struct pollfd p = {.fd = w->sock, .events = POLLIN};
        if (poll(&p, 1, 0) == 0) {
            *out = w;
            return UM_OK;
        }
        worker_end(d, w); /* it died while idle, or talks out of turn */
    }
    worker *w = calloc(1, sizeof *w);
    if (!w) return UM_FAIL(UM_NO_MEMORY, "no memory for a decoder worker");
    um_status st = um_zygote_spawn(d->sock, &w->pid, &w->sock);
    if (st != UM_OK) {
        free(w);
        return st;
    }
    *out = w;
    return UM_OK;
}

/* Gives the worker back after its DONE. */
static void worker_put(um_decoder *d, worker *w)
{
    if (d->n_idle >= MAX_IDLE || w->n_videos >= VIDEOS_PER_WORKER) {
        worker_end(d, w);
        return;
    }
    w->next = d->idle;
    d->idle = w;
    d->n_idle++;
}

static void set_result(um_video *v, um_status st, const char *message)
{
    v->result.status = st;
    v->result.end_s = -1;
    v->result.frames_given = v->n_given;
    snprintf(v->result.message, sizeof v->result.message, "%s", message);
    v->done = true;
}

/* The worker died by itself: why? */
static void worker_lost(um_video *v)
{
    int status = worker_end(v->dec, v->w);
    v->w = NULL;
    v->held = -1;
    char text[128];
    if (status >= 0 && WIFSIGNALED(status)) {
        int sig = WTERMSIG(status);
        if (sig == SIGXCPU) {
            snprintf(text, sizeof text, "decoding took more than %lld processor seconds (decoder.cpu_s raises the limit)", (long long)v->dec->limits.max_cpu_s);
            set_result(v, UM_TIMEOUT, text);
        } else if (sig == SIGKILL) {
            /* Not by us: in practice the kernel, when the machine or the job's memory group is full. */
            set_result(v, UM_OOM, "the decoder was killed, most likely because memory ran out");
        } else {
            snprintf(text, sizeof text, "the decoder crashed (signal %d, SIG%s)", sig, sigabbrev_np(sig) ? sigabbrev_np(sig) : "?");
            set_result(v, UM_CRASH, text);
            v->result.signal = sig;
        }
    } else {
        set_result(v, UM_CRASH, "the decoder process ended");
    }
}

/* The worker says what cannot be: it is not trusted with anything any more. */
static void worker_lied(um_video *v)
{
    worker_end(v->dec, v->w);
    v->w = NULL;
    v->held = -1;
    set_result(v, UM_CRASH, "the decoder sent a message that makes no sense");
}

/* The worker's text: ended, printable, no more than fits. */
static void clean_text(char *s, size_t size)
{
    s[size - 1] = 0;
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e) *s = '?';
}

static void take_done(um_video *v, const um_wire *m)
{
    um_video_result r = m->u.done;
    um_status_class c = um_status_class_of(r.status);
    if (!isfinite(r.end_s)) r.end_s = -1;
    if ((c != UM_CLASS_OK && c != UM_CLASS_ITEM) || r.frames_decoded < 0 || r.frames_damaged < 0 || r.frames_wanted < 0) {
        worker_lied(v);
        return;
    }
    r.signal = 0;
    r.frames_given = v->n_given;
    clean_text(r.message, sizeof r.message);
    v->result = r;
    v->done = true;
    worker_put(v->dec, v->w);
    v->w = NULL;
}

/* The next message about this video. UM_STOPPED: none came until `deadline` (um_clock_s; < 0: no limit) or a signal came; UM_END: v->done was set. */
static um_status await_message(um_video *v, double deadline, um_wire *m)
{
    for (;;) {
        if (v->done) return UM_END;
        int r = um_wire_recv(v->w->sock, m, NULL, true);
        if (r == 0) {
            worker_lost(v);
            return UM_END;
        }
        if (r < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            worker_lied(v);
            return UM_END;
        }
        if (r == 1) {
            if (m->serial != v->w->serial) continue;
            if (m->type != UM_WIRE_DONE) return UM_OK;
            take_done(v, m);
            return UM_END;
        }
        struct pollfd p = {.fd = v->w->sock, .events = POLLIN};
        int ms = -1;
        if (deadline >= 0) {
            double left = deadline - um_clock_s();
            if (left <= 0) return UM_STOPPED;
            ms = left > 1e6 ? 1000000000 : (int)ceil(left * 1e3);
        }
        r = poll(&p, 1, ms);
        if (r < 0 && errno == EINTR && deadline >= 0) return UM_STOPPED;
    }
}

/* To a worker that may be dead: what goes wrong shows at the next message from it. */
static void tell(um_video *v, um_wire *m)
{
    m->serial = v->w->serial;
    um_wire_send(v->w->sock, m, NULL, 0, true);
}

/* Opens and checks the file. */
static um_status open_file(const char *path, int64_t want_size_bytes, int64_t want_mtime_ns, int *out)
{
    struct stat sb;
    int fd = -1;
    /* Looked at before it is opened: opening a device can do things. */
    if (stat(path, &sb) == 0) {
        if (!S_ISREG(sb.st_mode)) return UM_FAIL(UM_UNREADABLE, "not a regular file");
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    }
    if (fd < 0) {
        int e = errno;
        um_status st = e == ENOENT || e == ENOTDIR                            ? UM_MISSING
                       : e == EMFILE || e == ENFILE                           ? UM_IO
                       : e == ENOMEM                                          ? UM_NO_MEMORY
                                                                              : UM_UNREADABLE;
        return UM_FAIL(st, "%s", strerror(e));
    }
    if (fstat(fd, &sb) != 0 || !S_ISREG(sb.st_mode)) {
        close(fd);
        return UM_FAIL(UM_UNREADABLE, "not a regular file");
    }
    int64_t mtime_ns = (int64_t)sb.st_mtim.tv_sec * 1000000000 + sb.st_mtim.tv_nsec;
    if ((want_size_bytes >= 0 && sb.st_size != want_size_bytes) || (want_mtime_ns >= 0 && mtime_ns != want_mtime_ns)) {
        close(fd);
        return UM_FAIL(UM_CHANGED, "the file is not the one that was listed: size or modification time differ");
    }
    *out = fd;
    return UM_OK;
}

/* Wanted indices or times in a sealed memory file, for the worker. */
static um_status list_file(const void *data, size_t bytes, int *out)
{
    int fd = memfd_create("unmask-list", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return UM_FAIL(UM_IO, "cannot make a memory file: %s", strerror(errno));
    const char *p = data;
    size_t left = bytes;
    while (left > 0) {
        ssize_t r = write(fd, p, left);
        if (r <= 0) {
            close(fd);
            return UM_FAIL(UM_IO, "cannot fill a memory file: %s", strerror(errno));
        }
        p += r;
        left -= (size_t)r;
    }
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    *out = fd;
    return UM_OK;
}

static bool wants_nothing(const um_video *v) { return v->n_times >= 0 ? v->n_times == 0 : v->n_list == 0; }

static bool info_sane(const um_video *v, const um_wire *m)
{
    const um_video_info *i = &m->u.info.video;
    int64_t stride = m->u.info.stride_bytes, slot = m->u.info.slot_bytes;
    if (i->width_px < 1 || i->height_px < 1 || i->width_px > UM_IMAGE_MAX_SIDE || i->height_px > UM_IMAGE_MAX_SIDE) return wants_nothing(v) && slot == 0;
    int64_t w = i->width_px, h = i->height_px;
    if (w * h > v->dec->limits.max_pixels) return false;
    if (i->rotation_deg != 0 && i->rotation_deg != 90 && i->rotation_deg != 180 && i->rotation_deg != 270) return false;
    if (!isfinite(i->fps) || i->fps < 0 || !isfinite(i->duration_s) || i->duration_s < 0 || i->n_frames < -1 || i->n_claimed < 0) return false;
    if (!isfinite(i->last_s) || (i->last_s < 0 && i->last_s != -1)) return false;
    if (stride < w * 3 || stride > (w + 256) * 3) return false;
    return slot >= stride * (h - 1) + w * 3 && slot <= stride * (h + 256) + PAGE;
}

/* Sends START, with a ring that suits the video. */
static um_status start(um_video *v)
{
    worker *w = v->w;
    um_wire m = {.type = UM_WIRE_START, .serial = w->serial};
    int fd = -1;
    um_status st = UM_OK;
    if (!wants_nothing(v)) {
        /* Eight slots of a usual frame, four of a large one, two of a huge one. */
        int n = 8 * v->slot_bytes <= INT64_C(32) << 20 ? 8 : 4 * v->slot_bytes <= INT64_C(160) << 20 ? 4 : 2;
        int64_t need = n * v->slot_bytes;
        if (!w->ring || w->ring_bytes < need || w->ring_bytes > 4 * need + (INT64_C(16) << 20)) {
            fd = memfd_create("unmask-frames", MFD_CLOEXEC | MFD_ALLOW_SEALING);
            if (fd < 0) return UM_FAIL(UM_IO, "cannot make a memory file: %s", strerror(errno));
            if (ftruncate(fd, need) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
                st = UM_FAIL(UM_IO, "cannot size a memory file: %s", strerror(errno));
                goto done;
            }
            void *p = mmap(NULL, (size_t)need, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (p == MAP_FAILED) {
                st = UM_FAIL(UM_NO_MEMORY, "no memory for decoded frames");
                goto done;
            }
            if (w->ring) munmap(w->ring, (size_t)w->ring_bytes);
            w->ring = p;
            w->ring_bytes = need;
            m.u.start.new_ring = 1;
        }
        v->n_slots = n;
    }
    m.u.start.n_slots = v->n_slots;
    m.u.start.slot_bytes = v->slot_bytes;
    m.u.start.ring_bytes = w->ring_bytes;
    um_wire_send(w->sock, &m, &fd, fd >= 0, true); /* a failure shows as the worker's end */
done:
    if (fd >= 0) close(fd);
    return st;
}

static void video_free(um_video *v)
{
    free(v->list);
    free(v);
}

/* What is wanted: `frames`, or n > 0 indices, or n_times > 0 times. */
typedef struct wanted {
    const um_frames *frames;
    const int64_t *index;
    const double *time_s;
    int64_t n, n_times;
} wanted;

static um_status open_common(um_decoder *d, const char *path, const wanted *want, int64_t want_size_bytes, int64_t want_mtime_ns, um_video **out, um_video_info *info)
{
    um_status st = UM_OK;
    int fds[2] = {-1, -1};
    *out = NULL;
    if (info) *info = (um_video_info){0};
    um_video *v = calloc(1, sizeof *v);
    if (!v) return UM_FAIL(UM_NO_MEMORY, "no memory for a video");
    v->dec = d;
    v->held = -1;
    v->last_index = -1;
    v->n_list = want->n;
    v->n_times = want->n_times;
    if (want->frames) v->frames = *want->frames;
    if (want->n > 0) {
        v->list = malloc((size_t)want->n * sizeof *v->list);
        if (!v->list) {
            st = UM_FAIL(UM_NO_MEMORY, "no memory for the list of frames");
            goto done;
        }
        memcpy(v->list, want->index, (size_t)want->n * sizeof *v->list);
    }
    UM_GOTO_PASS(st, open_file(path, want_size_bytes, want_mtime_ns, &fds[0]));
    if (want->n > 0) UM_GOTO_PASS(st, list_file(v->list, (size_t)want->n * sizeof *v->list, &fds[1]));
    if (want->n_times > 0) UM_GOTO_PASS(st, list_file(want->time_s, (size_t)want->n_times * sizeof *want->time_s, &fds[1]));
    UM_GOTO_PASS(st, worker_take(d, &v->w));
    v->w->serial++;
    v->w->n_videos++;

    um_wire m = {.type = UM_WIRE_OPEN, .serial = v->w->serial};
    m.u.open.frames = v->frames;
    m.u.open.n_list = want->n;
    m.u.open.n_times = want->n_times;
    m.u.open.limits = d->limits;
    um_wire_send(v->w->sock, &m, fds, fds[1] >= 0 ? 2 : 1, true); /* a failure shows as the worker's end */
    st = await_message(v, -1, &m);
    if (st == UM_OK && (m.type != UM_WIRE_INFO || !info_sane(v, &m))) {
        worker_lied(v);
        st = UM_END;
    }
    if (st == UM_END) {
        st = v->result.status == UM_OK ? UM_CRASH : v->result.status;
        UM_FAIL(st, "%s", v->result.message);
        goto done;
    }
    v->info = m.u.info.video;
    clean_text(v->info.codec, sizeof v->info.codec);
    clean_text(v->info.container, sizeof v->info.container);
    v->stride_bytes = m.u.info.stride_bytes;
    v->slot_bytes = (m.u.info.slot_bytes + PAGE - 1) / PAGE * PAGE;
    UM_GOTO_PASS(st, start(v));
    if (info) *info = v->info;
    *out = v;
done:
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0) close(fds[i]);
    if (st != UM_OK) {
        if (v->w) worker_end(d, v->w);
        video_free(v);
    }
    return st;
}

um_status um_video_open(um_decoder *d, const char *path, const um_frames *frames, int64_t want_size_bytes, int64_t want_mtime_ns, um_video **out, um_video_info *info)
{
    return open_common(d, path, &(wanted){.frames = frames, .n = -1, .n_times = -1}, want_size_bytes, want_mtime_ns, out, info);
}

um_status um_video_open_list(um_decoder *d, const char *path, const int64_t *index, int64_t n, int64_t want_size_bytes, int64_t want_mtime_ns, um_video **out, um_video_info *info)
{
    *out = NULL;
    if (n < 0 || n > MAX_LIST) return UM_FAIL(UM_INTERNAL, "a list of %lld frames", (long long)n);
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0 || (i > 0 && index[i] <= index[i - 1])) return UM_FAIL(UM_INTERNAL, "the list of frames is not ascending");
    return open_common(d, path, &(wanted){.index = index, .n = n, .n_times = -1}, want_size_bytes, want_mtime_ns, out, info);
}

um_status um_video_open_times(um_decoder *d, const char *path, const double *time_s, int64_t n, int64_t want_size_bytes, int64_t want_mtime_ns, um_video **out, um_video_info *info)
{
    *out = NULL;
    if (n < 0 || n > MAX_LIST) return UM_FAIL(UM_INTERNAL, "a list of %lld times", (long long)n);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(time_s[i]) || (i > 0 && time_s[i] < time_s[i - 1])) return UM_FAIL(UM_INTERNAL, "the list of times is not ascending");
    return open_common(d, path, &(wanted){.time_s = time_s, .n = -1, .n_times = n}, want_size_bytes, want_mtime_ns, out, info);
}

static bool frame_sane(um_video *v, const um_wire *m)
{
    int64_t index = m->u.frame.index;
    if (m->type != UM_WIRE_FRAME || m->u.frame.slot < 0 || m->u.frame.slot >= v->n_slots || m->u.frame.slot == v->held) return false;
    if (index <= v->last_index || !isfinite(m->u.frame.time_s)) return false;
    if (v->n_times >= 0) {
        if (m->u.frame.answers < v->list_at || m->u.frame.answers >= v->n_times) return false;
        v->list_at = m->u.frame.answers + 1;
        return true;
    }
    if (v->n_list >= 0) {
        while (v->list_at < v->n_list && v->list[v->list_at] < index) v->list_at++;
        return v->list_at < v->n_list && v->list[v->list_at] == index;
    }
    /* Which frames a spread takes depends on a count that only the worker has. */
    if (v->frames.kind == UM_FRAMES_SPREAD) return v->n_given < v->frames.count;
    return um_frames_wants(&v->frames, index, -1);
}

um_status um_video_next(um_video *v, double wait_s, um_frame *out)
{
    if (v->held >= 0 && v->w) {
        um_wire m = {.type = UM_WIRE_FREE, .u.free_slot = v->held};
        tell(v, &m);
    }
    v->held = -1;
    um_wire m;
    um_status st = await_message(v, wait_s < 0 ? -1 : um_clock_s() + wait_s, &m);
    if (st != UM_OK) return st;
    if (!frame_sane(v, &m)) {
        worker_lied(v);
        return UM_END;
    }
    v->held = m.u.frame.slot;
    v->last_index = m.u.frame.index;
    v->n_given++;
    out->index = m.u.frame.index;
    out->time_s = m.u.frame.time_s;
    out->answers = v->n_times >= 0 ? m.u.frame.answers : -1;
    out->image = (um_image){.data = v->w->ring + v->held * v->slot_bytes,
                            .width_px = v->info.width_px,
                            .height_px = v->info.height_px,
                            .channels = 3,
                            .stride = (size_t)v->stride_bytes};
    return UM_OK;
}

void um_video_close(um_video *v, um_video_result *result)
{
    if (!v) return;
    if (!v->done) {
        um_wire m = {.type = UM_WIRE_STOP};
        tell(v, &m);
        double deadline = um_clock_s() + CLOSE_WAIT_S;
        um_status st;
        while ((st = await_message(v, deadline, &m)) == UM_OK || (st == UM_STOPPED && um_clock_s() < deadline)) {}
        if (!v->done) {
            /* It is busy with something long; what was given was good. */
            worker_end(v->dec, v->w);
            v->w = NULL;
            set_result(v, UM_OK, "");
        }
    }
    if (result) *result = v->result;
    video_free(v);
}
