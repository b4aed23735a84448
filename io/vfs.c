#include "io/vfs_table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct um_vfs_file {
    um_vfs *v;
    int fd;
    char path[];
};

/* ---- the operating system's calls ---- */

static int real_open(um_vfs *v, const char *path, int flags)
{
    (void)v;
    return open(path, flags | O_CLOEXEC, 0666);
}
static ssize_t real_write(um_vfs *v, int fd, const void *p, size_t n)
{
    (void)v;
    return write(fd, p, n);
}
static ssize_t real_pread(um_vfs *v, int fd, void *p, size_t n, off_t at)
{
    (void)v;
    return pread(fd, p, n, at);
}
static int real_sync(um_vfs *v, int fd)
{
    (void)v;
    return fdatasync(fd); /* the size is data; times need not be durable */
}
static int real_close(um_vfs *v, int fd)
{
    (void)v;
    return close(fd);
}
static int real_rename(um_vfs *v, const char *from, const char *to)
{
    (void)v;
    return rename(from, to);
}
static int real_link(um_vfs *v, const char *from, const char *to)
{
    (void)v;
    return link(from, to);
}
static int real_unlink(um_vfs *v, const char *path)
{
    (void)v;
    return unlink(path);
}
static int real_mkdir(um_vfs *v, const char *path)
{
    (void)v;
    return mkdir(path, 0777);
}

static int real_sync_dir(um_vfs *v, const char *path)
{
    (void)v;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    int r = fsync(fd), e = errno;
    if (r < 0 && (e == EINVAL || e == EROFS)) r = 0; /* file systems that cannot sync a folder say so like this */
    close(fd);
    errno = e;
    return r;
}

static int real_list(um_vfs *v, const char *path, um_names *out)
{
    (void)v;
    DIR *d = opendir(path);
    if (d == NULL) return -1;
    struct dirent *e;
    int failed = 0;
    while ((errno = 0, e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (um_names_add(out, e->d_name) < 0) break;
    }
    failed = errno;
    closedir(d);
    errno = failed;
    return failed != 0 ? -1 : 0;
}

um_vfs *um_vfs_real(void)
{
    static um_vfs real = {real_open,   real_write,  real_pread, real_sync,     real_close, real_rename,
                          real_link,   real_unlink, real_mkdir, real_sync_dir, real_list};
    return &real;
}

/* ---- the calls of vfs.h ---- */

/* What to tell of a failed call; errno is its reason. */
static um_status fail(const char *what, const char *path)
{
    int e = errno;
    if (e == ENOSPC || e == EDQUOT)
        return UM_FAIL(UM_IO, "cannot %s %s: %s; free space there (nothing that was acknowledged is lost), then run the same command again",
                       what, um_quote(path), strerror(e));
    return UM_FAIL(e == ENOENT ? UM_MISSING : e == ENOMEM ? UM_NO_MEMORY : UM_IO, "cannot %s %s: %s", what, um_quote(path), strerror(e));
}

/* A file that is not there is a trouble of our own when we make it or rename it. */
static um_status fail_io(const char *what, const char *path)
{
    um_status st = fail(what, path);
    return st == UM_MISSING ? UM_IO : st;
}

static um_status open_as(um_vfs *v, const char *path, int flags, um_vfs_file **out)
{
    *out = NULL;
    size_t n = strlen(path) + 1;
    um_vfs_file *f = malloc(sizeof *f + n);
    if (f == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory to open %s", um_quote(path));
    f->v = v;
    memcpy(f->path, path, n);
    f->fd = v->open(v, path, flags);
    if (f->fd < 0) {
        um_status st = (flags & O_CREAT) ? fail_io("create", path) : fail("open", path);
        free(f);
        return st;
    }
    *out = f;
    return UM_OK;
}

um_status um_vfs_create(um_vfs *v, const char *path, um_vfs_file **out) { return open_as(v, path, O_WRONLY | O_CREAT | O_EXCL, out); }

um_status um_vfs_create_append(um_vfs *v, const char *path, um_vfs_file **out)
{
    return open_as(v, path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND, out);
}

um_status um_vfs_write(um_vfs_file *f, const void *p, size_t n)
{
    const uint8_t *b = p;
    while (n > 0) {
        ssize_t r = f->v->write(f->v, f->fd, b, n);
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) {
            if (r == 0) errno = EIO;
            return fail_io("write", f->path);
        }
        b += r;
        n -= (size_t)r;
    }
    return UM_OK;
}

um_status um_vfs_sync(um_vfs_file *f)
{
    if (f->v->sync(f->v, f->fd) < 0) return fail_io("make durable", f->path);
    return UM_OK;
}

um_status um_vfs_close(um_vfs_file *f)
{
    if (f == NULL) return UM_OK;
    um_status st = f->v->close(f->v, f->fd) < 0 && errno != EINTR ? fail_io("close", f->path) : UM_OK;
    free(f);
    return st;
}

void um_vfs_drop(um_vfs_file *f)
{
    if (f == NULL) return;
    f->v->close(f->v, f->fd);
    free(f);
}

int um_vfs_fd(const um_vfs_file *f) { return f->fd; }

um_status um_vfs_rename(um_vfs *v, const char *from, const char *to)
{
    if (v->rename(v, from, to) < 0) return fail_io("rename to", to);
    return UM_OK;
}

um_status um_vfs_rename_new(um_vfs *v, const char *from, const char *to, bool *existed)
{
    /* link() decides between two who come at once, on every file system that has it; where it has not (some network ones), a check and a rename must do. */
    *existed = false;
    if (v->link(v, from, to) < 0) {
        *existed = errno == EEXIST;
        if (*existed) return UM_OK;
        if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS && errno != EMLINK) return fail_io("make", to);
        struct stat s;
        *existed = lstat(to, &s) == 0;
        return *existed ? UM_OK : um_vfs_rename(v, from, to);
    }
    return um_vfs_unlink(v, from);
}

um_status um_vfs_unlink(um_vfs *v, const char *path)
{
    if (v->unlink(v, path) < 0) return fail("remove", path);
    return UM_OK;
}

void um_vfs_discard(um_vfs *v, const char *path) { v->unlink(v, path); }

/* Length of the folder part of `path`, 0 when it has none. */
static size_t folder_len(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n > 0 && path[n - 1] != '/') n--;
    while (n > 1 && path[n - 1] == '/') n--;
    return n;
}

static um_status sync_folder_of(um_vfs *v, const char *path)
{
    size_t n = folder_len(path);
    if (n == 0) return um_vfs_sync_dir(v, ".");
    char *folder = strndup(path, n);
    if (folder == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a path");
    um_status st = um_vfs_sync_dir(v, folder);
    free(folder);
    return st;
}

um_status um_vfs_mkdir(um_vfs *v, const char *path)
{
    bool made = true;
    if (v->mkdir(v, path) < 0) {
        if (errno == EEXIST) {
            struct stat s;
            if (stat(path, &s) < 0) return fail_io("look at", path);
            if (!S_ISDIR(s.st_mode)) return UM_FAIL(UM_IO, "%s is not a folder", um_quote(path));
            made = false;
        } else if (errno == ENOENT && folder_len(path) > 0) {
            char *folder = strndup(path, folder_len(path));
            if (folder == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a path");
            um_status st = um_vfs_mkdir(v, folder);
            free(folder);
            if (st != UM_OK) return st;
            if (v->mkdir(v, path) < 0 && errno != EEXIST) return fail_io("make the folder", path);
        } else {
            return fail_io("make the folder", path);
        }
    }
    return made ? sync_folder_of(v, path) : UM_OK;
}

um_status um_vfs_sync_dir(um_vfs *v, const char *path)
{
    if (v->sync_dir(v, path) < 0) return fail_io("make durable the folder", path);
    return UM_OK;
}

uint64_t um_vfs_unique(void)
{
    uint64_t r;
    if (getrandom(&r, sizeof r, GRND_NONBLOCK) == (ssize_t)sizeof r) return r;
    struct timespec t; /* early in the life of a machine */
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000007u ^ (uint64_t)t.tv_nsec << 20 ^ (uint64_t)getpid();
}

um_status um_vfs_whole_begin(um_vfs *v, const char *path, um_vfs_whole *w)
{
    size_t size = strlen(path) + 32;
    *w = (um_vfs_whole){.v = v, .path = strdup(path), .temporary = malloc(size)};
    um_status st = w->path == NULL || w->temporary == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a path") : UM_OK;
    if (st == UM_OK) {
        snprintf(w->temporary, size, "%s.%016llx.tmp", path, (unsigned long long)um_vfs_unique());
        st = um_vfs_create(v, w->temporary, &w->file);
    }
    if (st != UM_OK) {
        free(w->path);
        free(w->temporary);
        *w = (um_vfs_whole){0};
    }
    return st;
}

um_status um_vfs_whole_end(um_vfs_whole *w, um_status st, bool *existed)
{
    bool there = false;
    if (w->file == NULL) return st;
    if (st == UM_OK) st = um_vfs_sync(w->file);
    if (st == UM_OK)
        st = um_vfs_close(w->file);
    else
        um_vfs_drop(w->file);
    if (st == UM_OK) st = existed != NULL ? um_vfs_rename_new(w->v, w->temporary, w->path, &there) : um_vfs_rename(w->v, w->temporary, w->path);
    if (st != UM_OK || there) um_vfs_discard(w->v, w->temporary);
    if (st == UM_OK) st = sync_folder_of(w->v, w->path);
    if (existed != NULL) *existed = there;
    free(w->path);
    free(w->temporary);
    *w = (um_vfs_whole){0};
    return st;
}

um_status um_vfs_write_whole(um_vfs *v, const char *path, const void *p, size_t n)
{
    um_vfs_whole w;
    UM_PASS(um_vfs_whole_begin(v, path, &w));
    return um_vfs_whole_end(&w, um_vfs_write(w.file, p, n), NULL);
}

um_status um_vfs_write_new(um_vfs *v, const char *path, const void *p, size_t n, bool *existed)
{
    um_vfs_whole w;
    UM_PASS(um_vfs_whole_begin(v, path, &w));
    return um_vfs_whole_end(&w, um_vfs_write(w.file, p, n), existed);
}

um_status um_vfs_remove_some(um_vfs *v, const char *folder, bool (*ours)(const char *name))
{
    um_names names;
    um_status st = um_vfs_list(v, folder, &names);
    if (st == UM_MISSING) {
        um_err_clear();
        return UM_OK;
    }
    for (int i = 0; st == UM_OK && i < names.n; i++) {
        if (!ours(names.name[i])) continue;
        size_t size = strlen(folder) + strlen(names.name[i]) + 2;
        char *file = malloc(size);
        if (file != NULL) snprintf(file, size, "%s/%s", folder, names.name[i]);
        st = file == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a path") : um_vfs_unlink(v, file);
        if (st == UM_MISSING) st = UM_OK;
        free(file);
    }
    if (st == UM_OK) st = um_vfs_sync_dir(v, folder);
    um_names_release(&names);
    return st;
}

um_status um_vfs_open(um_vfs *v, const char *path, um_vfs_file **out, int64_t *size_bytes)
{
    struct stat s;
    UM_PASS(open_as(v, path, O_RDONLY | O_NONBLOCK, out)); /* not to wait for a FIFO's writer */
    um_status st = fstat((*out)->fd, &s) < 0 ? fail_io("look at", path) : UM_OK;
    if (st == UM_OK && !S_ISREG(s.st_mode)) st = UM_FAIL(UM_IO, "%s is not a regular file", um_quote(path));
    if (st != UM_OK) {
        um_vfs_drop(*out);
        *out = NULL;
        return st;
    }
    *size_bytes = s.st_size;
    return UM_OK;
}

um_status um_vfs_read(const um_vfs_file *f, void *p, size_t n, int64_t at)
{
    uint8_t *b = p;
    while (n > 0) {
        ssize_t r = f->v->pread(f->v, f->fd, b, n, at);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return fail_io("read", f->path);
        if (r == 0) return UM_FAIL(UM_DATA, "%s ends at byte %lld: %zu more were expected", um_quote(f->path), (long long)at, n);
        b += r;
        at += r;
        n -= (size_t)r;
    }
    return UM_OK;
}

um_status um_vfs_read_whole(um_vfs *v, const char *path, size_t max_bytes, void **out, size_t *n)
{
    um_vfs_file *f;
    int64_t size;
    *out = NULL;
    *n = 0;
    UM_PASS(um_vfs_open(v, path, &f, &size));
    um_status st = UM_OK;
    char *p = NULL;
    if ((uint64_t)size > max_bytes) {
        st = UM_FAIL(UM_TOO_LARGE, "%s is larger than the limit: %lld bytes, at most %zu", um_quote(path), (long long)size, max_bytes);
        goto done;
    }
    p = malloc((size_t)size + 1);
    if (p == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for the %lld bytes of %s", (long long)size, um_quote(path));
        goto done;
    }
    UM_GOTO_PASS(st, um_vfs_read(f, p, (size_t)size, 0));
    p[size] = 0;
    *out = p;
    *n = (size_t)size;
    p = NULL;
done:
    free(p);
    um_vfs_drop(f);
    return st;
}

int um_names_add(um_names *names, const char *name)
{
    if (((unsigned)names->n & ((unsigned)names->n - 1)) == 0) { /* full at powers of two */
        char **p = realloc(names->name, sizeof *p * (names->n > 0 ? 2 * (size_t)names->n : 1));
        if (p == NULL) return -1;
        names->name = p;
    }
    char *copy = strdup(name);
    if (copy == NULL) return -1;
    names->name[names->n++] = copy;
    return 0;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

um_status um_vfs_list(um_vfs *v, const char *path, um_names *out)
{
    *out = (um_names){0};
    if (v->list(v, path, out) < 0) {
        um_status st = fail("list", path);
        um_names_release(out);
        return st;
    }
    if (out->n > 0) qsort(out->name, (size_t)out->n, sizeof *out->name, by_bytes);
    return UM_OK;
}

void um_names_release(um_names *names)
{
    for (int i = 0; i < names->n; i++) free(names->name[i]);
    free(names->name);
    *names = (um_names){0};
}
