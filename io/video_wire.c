#include "io/video_wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int um_wire_send(int sock, const um_wire *m, const int *fds, int n_fds, bool dont_wait)
{
    um_wire copy = *m; /* sendmsg takes a pointer to non-const */
    struct iovec v = {&copy, sizeof copy};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(UM_WIRE_FDS * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
    if (n_fds > 0) {
        h.msg_control = control.bytes;
        h.msg_controllen = CMSG_SPACE((size_t)n_fds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, (size_t)n_fds * sizeof(int));
    }
    ssize_t r;
    do r = sendmsg(sock, &h, MSG_NOSIGNAL | (dont_wait ? MSG_DONTWAIT : 0));
    while (r < 0 && errno == EINTR);
    return r < 0 ? -1 : 0;
}

int um_wire_recv(int sock, um_wire *m, int *fds, bool dont_wait)
{
    struct iovec v = {m, sizeof *m};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(UM_WIRE_FDS * sizeof(int))];
    } control;
    int got[UM_WIRE_FDS];
    for (int i = 0; i < UM_WIRE_FDS; i++) got[i] = -1;
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t r;
    /* A peer that died with our messages unread shows once as ECONNRESET, ahead of what it had sent before: read on. */
    do r = recvmsg(sock, &h, MSG_CMSG_CLOEXEC | (dont_wait ? MSG_DONTWAIT : 0));
    while (r < 0 && (errno == EINTR || errno == ECONNRESET));
    if (r > 0) {
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
            if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
            size_t bytes = c->cmsg_len - CMSG_LEN(0);
            if (bytes > sizeof got) bytes = sizeof got;
            memcpy(got, CMSG_DATA(c), bytes);
        }
    }
    bool good = r == (ssize_t)sizeof *m && !(h.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
    for (int i = 0; i < UM_WIRE_FDS; i++) {
        if (fds) fds[i] = good ? got[i] : -1;
        if ((!fds || !good) && got[i] >= 0) close(got[i]);
    }
    if (r == 0) return 0;
    if (r < 0) return -1;
    if (!good) {
        errno = EPROTO;
        return -1;
    }
    return 1;
}
