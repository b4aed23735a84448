#include "io/video_zygote.h"

#include "io/video_wire.h"
#include "io/video_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_WORKERS 256
#define ANSWER_MS 20000 /* a fork that takes longer means a machine in deep trouble */

/* Leaves the parent's world: signals that batch systems send to every process of a step, its descriptors, its life time. */
static void settle(pid_t parent, int keep_fd)
{
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU, SIGCHLD};
    sigset_t none;
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) signal(ignored[i], SIG_IGN);
#ifndef UNMASK_SANITIZED
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) signal(fatal[i], SIG_DFL);
#else
    (void)fatal; /* the sanitizer's handlers tell where it broke */
    signal(SIGCHLD, SIG_DFL);
#endif
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent) _exit(0); /* it died before the line above */

    int null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
#ifndef UNMASK_SANITIZED
        dup2(null, 2);
#endif
    }
    if (keep_fd > 3) close_range(3, (unsigned)keep_fd - 1, 0);
    close_range((unsigned)(keep_fd < 3 ? 3 : keep_fd + 1), ~0u, 0);
}

static _Noreturn void zygote_run(int sock, const um_video_limits *limits, const char *hook)
{
    pid_t workers[MAX_WORKERS];
    int n = 0;
    for (;;) {
        um_wire m;
        int fds[UM_WIRE_FDS];
        if (um_wire_recv(sock, &m, fds, false) <= 0) break;
        if (m.type == UM_WIRE_SPAWN && fds[0] >= 0) {
            pid_t self = getpid();
            pid_t pid = n < MAX_WORKERS ? fork() : -1;
            if (pid == 0) {
                settle(self, fds[0]);
                um_worker_run(fds[0], limits, hook);
            }
            if (pid > 0) workers[n++] = pid;
            m = (um_wire){.type = UM_WIRE_SPAWNED, .u.child.pid = pid};
        } else if (m.type == UM_WIRE_REAP) {
            int status = -1;
            for (int i = 0; i < n; i++) {
                if (workers[i] != m.u.child.pid) continue;
                kill(workers[i], SIGKILL); /* no effect on one that has ended: it keeps its status until it is waited for */
                pid_t r;
                do r = waitpid(workers[i], &status, 0);
                while (r < 0 && errno == EINTR);
                workers[i] = workers[--n];
                break;
            }
            m = (um_wire){.type = UM_WIRE_REAPED, .u.child = {m.u.child.pid, status}};
        } else {
            m = (um_wire){0};
        }
        for (int i = 0; i < UM_WIRE_FDS; i++)
            if (fds[i] >= 0) close(fds[i]);
        if (um_wire_send(sock, &m, NULL, 0, false) != 0) break;
    }
    for (int i = 0; i < n; i++) kill(workers[i], SIGKILL);
    for (int i = 0; i < n; i++) waitpid(workers[i], NULL, 0);
    _exit(0);
}

um_status um_zygote_start(const um_video_limits *limits, const char *hook, pid_t *pid, int *sock)
{
    int sv[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) != 0) return UM_FAIL(UM_IO, "cannot make a socket pair: %s", strerror(errno));
    pid_t self = getpid();
    pid_t p = fork();
    if (p < 0) {
        int e = errno;
        close(sv[0]);
        close(sv[1]);
        return UM_FAIL(e == ENOMEM ? UM_NO_MEMORY : UM_IO, "cannot start the decoder process: %s", strerror(e));
    }
    if (p == 0) {
        settle(self, sv[1]);
        zygote_run(sv[1], limits, hook);
    }
    close(sv[1]);
    *pid = p;
    *sock = sv[0];
    return UM_OK;
}

void um_zygote_stop(pid_t pid, int sock)
{
    close(sock);
    pid_t r;
    do r = waitpid(pid, NULL, 0);
    while (r < 0 && errno == EINTR);
}

/* The zygote's answer; false when it is gone or silent. */
static bool answer(int sock, um_wire *m, int type)
{
    struct pollfd p = {.fd = sock, .events = POLLIN};
    int r;
    do r = poll(&p, 1, ANSWER_MS);
    while (r < 0 && errno == EINTR);
    return r == 1 && um_wire_recv(sock, m, NULL, true) == 1 && m->type == type;
}

um_status um_zygote_spawn(int sock, pid_t *worker, int *worker_sock)
{
    int sv[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) != 0) return UM_FAIL(UM_IO, "cannot make a socket pair: %s", strerror(errno));
    um_wire m = {.type = UM_WIRE_SPAWN};
    bool good = um_wire_send(sock, &m, &sv[1], 1, true) == 0 && answer(sock, &m, UM_WIRE_SPAWNED) && m.u.child.pid > 0;
    close(sv[1]);
    if (!good) {
        close(sv[0]);
        return UM_FAIL(UM_IO, "cannot start a decoder worker");
    }
    *worker = m.u.child.pid;
    *worker_sock = sv[0];
    return UM_OK;
}

int um_zygote_reap(int sock, pid_t worker)
{
    um_wire m = {.type = UM_WIRE_REAP, .u.child.pid = worker};
    if (um_wire_send(sock, &m, NULL, 0, true) != 0 || !answer(sock, &m, UM_WIRE_REAPED)) return -1;
    return m.u.child.wait_status;
}
