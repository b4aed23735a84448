#include "mpi/share.h"

#include "src/core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What the rank that made the block tells the others of its node. */
typedef struct offer {
    int made;               /* 0, or the way that worked */
    int error;              /* errno of the last way that did not */
    int pid, fd;            /* MEMFD */
    char name[64];          /* FILE */
    uint64_t device, inode; /* of the block: another file under the same number or name is not taken for it */
} offer;

static size_t whole_pages(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

/* Makes and maps the block in one way. The descriptor, or -1 with errno. */
static int make(int way, size_t bytes, offer *o, void **data)
{
    int fd;
    if (way == UM_SHARE_MEMFD) {
        fd = memfd_create("unmask-share", MFD_CLOEXEC);
    } else {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        snprintf(o->name, sizeof o->name, "/unmask-%ld-%lld-%ld", (long)getpid(), (long long)t.tv_sec, t.tv_nsec);
        fd = shm_open(o->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    }
    if (fd < 0) return -1;
    struct stat sb;
    int error = posix_fallocate(fd, 0, (off_t)bytes); /* takes the pages now */
    if (error == 0 && fstat(fd, &sb) != 0) error = errno;
    if (error == 0) {
        *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (*data == MAP_FAILED) error = errno;
    }
    if (error != 0) {
        *data = NULL;
        if (way == UM_SHARE_FILE) shm_unlink(o->name);
        close(fd);
        errno = error;
        return -1;
    }
    o->made = way;
    o->pid = (int)getpid();
    o->fd = fd;
    o->device = (uint64_t)sb.st_dev;
    o->inode = (uint64_t)sb.st_ino;
    return fd;
}

/* Maps the block that another rank made. 0 or errno. */
static int take(const offer *o, size_t bytes, void **data)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", o->pid, o->fd);
    int fd = o->made == UM_SHARE_MEMFD ? open(path, O_RDONLY | O_CLOEXEC) : shm_open(o->name, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return errno;
    struct stat sb;
    int error = 0;
    if (fstat(fd, &sb) != 0)
        error = errno;
    else if ((uint64_t)sb.st_dev != o->device || (uint64_t)sb.st_ino != o->inode || (size_t)sb.st_size != bytes)
        error = ESTALE;
    if (error == 0) {
        *data = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
        if (*data == MAP_FAILED) {
            error = errno;
            *data = NULL;
        }
    }
    close(fd);
    return error;
}

/* One block for the node, in the first of `ways` that works for all of its ranks. Collective over `node`. */
static bool open_shared(MPI_Comm node, int ways, um_share *s, int *error)
{
    static const int order[] = {UM_SHARE_MEMFD, UM_SHARE_FILE};
    int rank;
    MPI_Comm_rank(node, &rank);
    for (int i = 0; i < 2; i++) {
        if ((ways & order[i]) == 0) continue;
        offer o = {0};
        int fd = -1, failed = 0, worst;
        if (rank == 0) {
            fd = make(order[i], s->mapped_bytes, &o, &s->data);
            if (fd < 0) o.error = errno;
        }
        MPI_Bcast(&o, sizeof o, MPI_BYTE, 0, node);
        if (rank > 0 && o.made) failed = take(&o, s->mapped_bytes, &s->data);
        if (!o.made) failed = o.error ? o.error : EIO;
        MPI_Allreduce(&failed, &worst, 1, MPI_INT, MPI_MAX, node);
        if (fd >= 0) {
            if (o.made == UM_SHARE_FILE) shm_unlink(o.name);
            close(fd);
        }
        if (worst == 0) {
            s->fill = rank == 0;
            s->shared = true;
            return true;
        }
        *error = worst;
        if (s->data) munmap(s->data, s->mapped_bytes);
        s->data = NULL;
    }
    return false;
}

static um_status open_own(um_share *s)
{
    void *p = mmap(NULL, s->mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return UM_FAIL(UM_NO_MEMORY, "no memory for a block of %zu bytes", s->bytes);
    s->data = p;
    s->fill = true;
    return UM_OK;
}

um_status um_share_open(um_world *w, size_t bytes, int ways, um_share *out)
{
    um_status st = UM_OK;
    int rank, size, error = 0;
    *out = (um_share){.bytes = bytes, .mapped_bytes = whole_pages(bytes > 0 ? bytes : 1)};
    MPI_Comm node;
    MPI_Comm_split_type(w->comm, MPI_COMM_TYPE_SHARED, w->rank, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, &rank);
    MPI_Comm_size(node, &size);
    int64_t range[2] = {(int64_t)bytes, -(int64_t)bytes}, most[2];
    MPI_Allreduce(range, most, 2, MPI_INT64_T, MPI_MAX, node);
    if (bytes > SIZE_MAX / 4)
        st = UM_FAIL(UM_NO_MEMORY, "a block of %zu bytes", bytes);
    else if (most[0] != -most[1])
        st = UM_FAIL(UM_INTERNAL, "the ranks of a node want blocks of different sizes");
    int bad = st != UM_OK, any_bad;
    MPI_Allreduce(&bad, &any_bad, 1, MPI_INT, MPI_MAX, node);
    if (!any_bad && (size == 1 || !open_shared(node, ways, out, &error))) {
        if (size > 1 && rank == 0)
            um_log(UM_LOG_WARN, "%zu MB cannot be shared by the %d ranks of this machine%s%s: each holds its own", bytes >> 20, size, error ? ": " : "",
                   error ? strerror(error) : "");
        st = open_own(out);
        out->shared = size == 1;
    }
    MPI_Comm_free(&node);
    st = um_agree(w, st, "shared memory");
    if (st != UM_OK) um_share_close(out);
    return st;
}

um_status um_share_ready(um_world *w, um_share *s, um_status filled, const char *phase)
{
    /* What was written before this collective is seen by every rank after it. */
    um_status st = um_agree(w, filled, phase);
    if (st != UM_OK)
        um_share_close(s);
    else if (s->fill)
        mprotect(s->data, s->mapped_bytes, PROT_READ);
    return st;
}

void um_share_close(um_share *s)
{
    if (s->data) munmap(s->data, s->mapped_bytes);
    *s = (um_share){0};
}
