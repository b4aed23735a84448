#include "io/video_worker.h"

#include "io/video_decode.h"
#include "io/video_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct worker {
    int sock;
    const char *hook;
    uint32_t serial;
    bool stop;          /* STOP came, or the program is gone */
    uint8_t *ring;
    int64_t ring_bytes;
    int n_slots;
    int64_t slot_bytes;
    unsigned free_slots; /* bit i: slot i may be written */
} worker;

static void set_limit(int which, rlim_t soft, rlim_t hard)
{
    struct rlimit l = {soft, hard};
    setrlimit((__rlimit_resource_t)which, &l);
}

/* Bytes of address space in use; 0 when the kernel does not say. */
static rlim_t address_space(void)
{
    char text[64];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return 0;
    text[n] = 0;
    return (rlim_t)strtoull(text, NULL, 10) * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void confine(const um_video_limits *limits)
{
    /* Where memory runs out for the whole machine, the kernel shall take the decoder, not the rank. */
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t ignored = write(fd, "800", 3);
        (void)ignored;
        close(fd);
    }
#ifndef UNMASK_SANITIZED
    /* What the program had mapped before the fork is not the video's. */
    rlim_t base = address_space();
    set_limit(RLIMIT_AS, base + (rlim_t)limits->memory_bytes, base + (rlim_t)limits->memory_bytes);
#else
    (void)limits;
    (void)address_space;
#endif
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGXCPU, SIG_DFL);
    set_limit(RLIMIT_FSIZE, 0, 0);
    set_limit(RLIMIT_CORE, 0, 0);
    set_limit(RLIMIT_NOFILE, 16, 16);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* Processor seconds for one video, counted from what the worker has used so far. SIGXCPU ends the process; the program reads that as a time-out. */
static void limit_cpu(int64_t seconds)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    int64_t used = (int64_t)u.ru_utime.tv_sec + (int64_t)u.ru_stime.tv_sec + 1;
    set_limit(RLIMIT_CPU, (rlim_t)(used + seconds), RLIM_INFINITY);
}

static void send_message(worker *w, um_wire *m)
{
    m->serial = w->serial;
    if (um_wire_send(w->sock, m, NULL, 0, false) != 0) _exit(0);
}

/* Takes what the program sent: freed slots, STOP. With `wait`, waits for one message. */
static void take_messages(worker *w, bool wait)
{
    for (;;) {
        um_wire m;
        int r = um_wire_recv(w->sock, &m, NULL, !wait);
        if (r == 0) _exit(0);
        if (r < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK) return;
            _exit(0);
        }
        if (m.serial == w->serial) {
            if (m.type == UM_WIRE_STOP) w->stop = true;
            if (m.type == UM_WIRE_FREE && m.u.free_slot >= 0 && m.u.free_slot < w->n_slots) w->free_slots |= 1u << m.u.free_slot;
        }
        wait = false;
    }
}

static bool asked_to_stop(void *user)
{
    worker *w = user;
    take_messages(w, false);
    return w->stop;
}

/* See video_worker.h. Returns the kind of misbehaviour that starts after the opening ("late", "lie"), or 0. */
static char misbehave(const char *hook, int fd)
{
    char head[65] = {0}, later = 0;
    if (!hook || pread(fd, head, 64, 0) <= 0) return 0;
    for (const char *p = hook; *p;) {
        size_t n = strcspn(p, ",");
        const char *colon = memchr(p, ':', n);
        size_t word = colon ? n - (size_t)(colon + 1 - p) : 0;
        if (word > 0 && memmem(head, 64, colon + 1, word)) {
            if (strncmp(p, "crash:", 6) == 0) signal(SIGSEGV, SIG_DFL), raise(SIGSEGV);
            if (strncmp(p, "spin:", 5) == 0)
                for (volatile unsigned i = 0;; i++) {}
            if (strncmp(p, "eat:", 4) == 0) {
                /* Address space is what is limited: one touched byte a block will do. Where no limit acts (sanitizers), stop at 16 GiB of it and say that it was reached. */
                volatile char *q;
                for (int i = 0; i < 1024 && (q = malloc(1 << 24)); i++) *q = 1;
                later = 'e';
            }
            if (strncmp(p, "late:", 5) == 0) later = 't';
            if (strncmp(p, "lie:", 4) == 0) later = 'l';
        }
        p += n + (p[n] == ',');
    }
    return later;
}

static void map_ring(worker *w, const um_wire *m, int fd)
{
    if (fd >= 0) {
        if (w->ring) munmap(w->ring, (size_t)w->ring_bytes);
        w->ring_bytes = m->u.start.ring_bytes;
        w->ring = mmap(NULL, (size_t)w->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        if (w->ring == MAP_FAILED) w->ring = NULL;
    }
    w->n_slots = m->u.start.n_slots;
    w->slot_bytes = m->u.start.slot_bytes;
    w->free_slots = (1u << w->n_slots) - 1;
}

static um_status give_frames(worker *w, um_vdec *d, char later)
{
    um_frame f;
    int given = 0;
    um_status st;
    while ((st = um_vdec_next(d, &f)) == UM_OK) {
        while (!w->free_slots && !w->stop) take_messages(w, true);
        if (w->stop) {
            um_vdec_stop(d);
            return UM_END;
        }
        int slot = __builtin_ctz(w->free_slots);
        UM_PASS(um_vdec_convert(d, w->ring + (int64_t)slot * w->slot_bytes));
        w->free_slots &= ~(1u << slot);
        um_wire m = {.type = UM_WIRE_FRAME};
        m.u.frame.slot = later == 'l' ? 99 : slot;
        m.u.frame.index = f.index;
        m.u.frame.time_s = isfinite(f.time_s) ? f.time_s : 0;
        m.u.frame.answers = f.answers;
        send_message(w, &m);
        if (++given == 3 && later == 't') signal(SIGSEGV, SIG_DFL), raise(SIGSEGV);
    }
    return st == UM_END ? UM_OK : st;
}

static void serve(worker *w, const um_wire *open_message, const int *fds)
{
    um_vdec_want want = {.frames = open_message->u.open.frames, .n_list = open_message->u.open.n_list, .n_times = open_message->u.open.n_times};
    um_video_result result = {0};
    um_vdec *d = NULL;
    void *list = NULL;
    size_t list_bytes = 8 * (size_t)(want.n_times > 0 ? want.n_times : want.n_list > 0 ? want.n_list : 0);
    w->serial = open_message->serial;
    w->stop = false;
    w->free_slots = 0;
    um_err_clear();
    limit_cpu(open_message->u.open.limits.max_cpu_s);
    char later = misbehave(w->hook, fds[0]);

    if (later == 'e') {
        result.status = UM_OOM;
        snprintf(result.message, sizeof result.message, "decoding needs more memory than the limit");
        goto done;
    }
    if (list_bytes > 0) {
        list = mmap(NULL, list_bytes, PROT_READ, MAP_PRIVATE, fds[1], 0);
        if (list == MAP_FAILED) {
            list = NULL;
            result.status = UM_OOM;
            goto done;
        }
        want.list = list;
        want.time_s = list;
    }
    um_wire m = {.type = UM_WIRE_INFO};
    um_vdec_room room;
    if (um_vdec_open(fds[0], &want, &open_message->u.open.limits, asked_to_stop, w, &d, &m.u.info.video, &room, &result) != UM_OK) goto done;
    m.u.info.stride_bytes = room.stride_bytes;
    m.u.info.slot_bytes = room.slot_bytes;
    send_message(w, &m);

    /* START, or STOP when the program wants none of it. Messages about earlier videos have another serial. */
    bool started = false;
    while (!started && !w->stop) {
        int ring_fds[UM_WIRE_FDS];
        int r = um_wire_recv(w->sock, &m, ring_fds, false);
        if (r <= 0) _exit(0);
        if (ring_fds[1] >= 0) close(ring_fds[1]);
        if (m.serial == w->serial && m.type == UM_WIRE_START) {
            map_ring(w, &m, ring_fds[0]);
            started = true;
        } else {
            if (ring_fds[0] >= 0) close(ring_fds[0]);
            if (m.serial == w->serial && m.type == UM_WIRE_STOP) w->stop = true;
        }
    }
    um_status st = UM_OK;
    if (started && want.n_list != 0 && want.n_times != 0) st = w->ring ? give_frames(w, d, later) : UM_OOM;
    if (!started) um_vdec_stop(d);
    um_vdec_close(d, &result);
    if (st != UM_OK && st != UM_END) {
        result.status = st;
        snprintf(result.message, sizeof result.message, "%.255s", um_err_text());
    }
done:
    if (list) munmap(list, list_bytes);
    um_wire last = {.type = UM_WIRE_DONE};
    last.u.done = result;
    send_message(w, &last);
}

void um_worker_run(int sock, const um_video_limits *limits, const char *hook)
{
    worker w = {.sock = sock, .hook = hook};
    confine(limits);
    for (;;) {
        um_wire m;
        int fds[UM_WIRE_FDS];
        if (um_wire_recv(sock, &m, fds, false) <= 0) _exit(0);
        if (m.type == UM_WIRE_OPEN && fds[0] >= 0) serve(&w, &m, fds);
        for (int i = 0; i < UM_WIRE_FDS; i++)
            if (fds[i] >= 0) close(fds[i]);
    }
}
