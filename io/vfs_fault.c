#include "io/vfs_fault.h"

#include "io/vfs_table.h"

#include <errno.h>
#include <stdlib.h>

typedef struct fault {
    um_vfs table; /* first */
    um_vfs *base;
    int64_t calls, fails_at, hits;
    bool forever;
    int error;
} fault;

/* Counts a call; true: it fails. */
static bool fails(fault *f)
{
    f->calls++;
    if (f->fails_at == 0 || f->calls < f->fails_at || (f->calls > f->fails_at && !f->forever)) return false;
    f->hits++;
    errno = f->error;
    return true;
}

static int fault_open(um_vfs *v, const char *path, int flags)
{
    fault *f = (fault *)v;
    return fails(f) ? -1 : f->base->open(f->base, path, flags);
}

static ssize_t fault_write(um_vfs *v, int fd, const void *p, size_t n)
{
    fault *f = (fault *)v;
    if (!fails(f)) return f->base->write(f->base, fd, p, n);
    if (n > 1 && f->base->write(f->base, fd, p, n / 2) < 0) return -1;
    errno = f->error;
    return -1;
}

static ssize_t fault_pread(um_vfs *v, int fd, void *p, size_t n, off_t at)
{
    fault *f = (fault *)v;
    return fails(f) ? -1 : f->base->pread(f->base, fd, p, n, at);
}

static int fault_sync(um_vfs *v, int fd)
{
    fault *f = (fault *)v;
    return fails(f) ? -1 : f->base->sync(f->base, fd);
}

static int fault_close(um_vfs *v, int fd)
{
    fault *f = (fault *)v;
    int r = f->base->close(f->base, fd);
    return fails(f) ? -1 : r;
}

static int fault_rename(um_vfs *v, const char *from, const char *to)
{
    fault *f = (fault *)v;
    return fails(f) ? -1 : f->base->rename(f->base, from, to);
}

static int fault_link(um_vfs *v, const char *from, const char *to)
{
    fault *f = (fault *)v;
    return fails(f) ? -1 : f->base->link(f->base, from, to);
}

static int fault_unlink(um_vfs *v, const char *path)
{
    fault *f = (fault *)v;
    return fails(f) ? -1 : f->base->unlink(f->base, path);
}

static int fault_mkdir(um_vfs *v, const char *path)
{
    fault *f = (fault *)v;
    return fails(f) ? -1 : f->base->mkdir(f->base, path);
}

static int fault_sync_dir(um_vfs *v, const char *path)
{
    fault *f = (fault *)v;
    return fails(f) ? -1 : f->base->sync_dir(f->base, path);
}

static int fault_list(um_vfs *v, const char *path, um_names *out)
{
    fault *f = (fault *)v;
    return fails(f) ? -1 : f->base->list(f->base, path, out);
}

um_vfs *um_vfs_fault_new(um_vfs *base)
{
    static const um_vfs table = {fault_open,  fault_write,  fault_pread, fault_sync,     fault_close, fault_rename,
                                 fault_link, fault_unlink, fault_mkdir, fault_sync_dir, fault_list};
    fault *f = calloc(1, sizeof *f);
    if (f == NULL) return NULL;
    f->table = table;
    f->base = base;
    return &f->table;
}

void um_vfs_fault_free(um_vfs *v) { free(v); }

void um_vfs_fault_arm(um_vfs *v, int64_t n, bool forever, int error)
{
    fault *f = (fault *)v;
    f->calls = f->hits = 0;
    f->fails_at = n;
    f->forever = forever;
    f->error = error;
}

int64_t um_vfs_fault_hits(const um_vfs *v) { return ((const fault *)v)->hits; }
