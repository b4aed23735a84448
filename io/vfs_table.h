#pragma once
/* vfs_table.h: the calls behind um_vfs, for those who provide them (vfs.c; tests/fault/vfs_fault.c and vfs_crash.c). Users include io/vfs.h.
 *
 * Each has the meaning and the errno of the system call of its name: -1 is a failure. A back end that wraps another one puts this struct first in its own.
 */
#include "io/vfs.h"

#include <sys/types.h>

struct um_vfs {
    int (*open)(um_vfs *v, const char *path, int flags);
    ssize_t (*write)(um_vfs *v, int fd, const void *p, size_t n);
    ssize_t (*pread)(um_vfs *v, int fd, void *p, size_t n, off_t at);
    int (*sync)(um_vfs *v, int fd);
    int (*close)(um_vfs *v, int fd);
    int (*rename)(um_vfs *v, const char *from, const char *to);
    int (*link)(um_vfs *v, const char *from, const char *to); /* a second name; EEXIST */
    int (*unlink)(um_vfs *v, const char *path);
    int (*mkdir)(um_vfs *v, const char *path);
    int (*sync_dir)(um_vfs *v, const char *path);
    int (*list)(um_vfs *v, const char *path, um_names *out);
};

/* Appends a copy of `name`; -1 with errno ENOMEM. */
int um_names_add(um_names *names, const char *name);
