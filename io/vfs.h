#pragma once
/* vfs.h: every durable byte goes through this table (SQLite's method: the I/O sits behind a table, so that a test can fail the n-th call or lose power).
 *
 * Files appear under their final name whole or not at all:
 *
 *     um_vfs_file *f;
 *     UM_PASS(um_vfs_create(vfs, "dir/x.tmp", &f));      // O_EXCL
 *     um_vfs_write(f, p, n); um_vfs_sync(f); um_vfs_close(f);
 *     um_vfs_rename(vfs, "dir/x.tmp", "dir/x"); um_vfs_sync_dir(vfs, "dir");
 *
 * um_vfs_write_whole does all of it. A failed fsync is never retried on the same file: rewrite under a new name (reliability 14). Errors: UM_IO with the path and errno's text;
 * a full disk is UM_IO whose message names the remedy.
 */
#include "src/core/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct um_vfs um_vfs;
typedef struct um_vfs_file um_vfs_file;

/* The operating system's. Never freed. Any thread. */
um_vfs *um_vfs_real(void);

um_status um_vfs_create(um_vfs *v, const char *path, um_vfs_file **out);         /* new file, fails if it exists */
um_status um_vfs_create_append(um_vfs *v, const char *path, um_vfs_file **out);  /* new file for appending, fails if it exists */
um_status um_vfs_write(um_vfs_file *f, const void *p, size_t n);                 /* all of it */
um_status um_vfs_sync(um_vfs_file *f);
um_status um_vfs_close(um_vfs_file *f);                                          /* releases f also when it fails */
void um_vfs_drop(um_vfs_file *f);                                                 /* the same after a failure: leaves the error chain alone */
int um_vfs_fd(const um_vfs_file *f);                                             /* for a signal handler's last words; -1 if there is none */
um_status um_vfs_rename(um_vfs *v, const char *from, const char *to);
/* Gives `from` the name `to` unless something is called that already: then *existed is true, and `from` stays. Else `from` is gone. Safe against other processes that do the same. */
um_status um_vfs_rename_new(um_vfs *v, const char *from, const char *to, bool *existed);
um_status um_vfs_unlink(um_vfs *v, const char *path);                            /* UM_MISSING if it is not there */
void um_vfs_discard(um_vfs *v, const char *path);                                /* removes it if it can; leaves the error chain alone */
um_status um_vfs_mkdir(um_vfs *v, const char *path);                             /* parents too; existing is fine; new entries are synced */
um_status um_vfs_sync_dir(um_vfs *v, const char *path);
/* A number that names a file nobody else makes, on this machine or another. */
uint64_t um_vfs_unique(void);
/* Writes `path`.<unique>.tmp, syncs, renames to `path`, syncs the folder; on failure the temporary file is removed. */
um_status um_vfs_write_whole(um_vfs *v, const char *path, const void *p, size_t n);
/* The same, unless something is called `path` already or comes to be while this goes on: then *existed is true and that stays. */
um_status um_vfs_write_new(um_vfs *v, const char *path, const void *p, size_t n, bool *existed);
/* The same in parts: begin, any number of um_vfs_write to w->file, end. */
typedef struct um_vfs_whole {
    um_vfs *v;
    um_vfs_file *file;
    char *path, *temporary;
} um_vfs_whole;
um_status um_vfs_whole_begin(um_vfs *v, const char *path, um_vfs_whole *w);
/* st == UM_OK: the file appears; else what was written is removed. existed: NULL, or as in um_vfs_write_new. Returns st, or the error of finishing. */
um_status um_vfs_whole_end(um_vfs_whole *w, um_status st, bool *existed);
/* Removes the files of a folder that `ours` says yes to, and makes that durable. A missing folder is fine. */
um_status um_vfs_remove_some(um_vfs *v, const char *folder, bool (*ours)(const char *name));

/* Opens a regular file for um_vfs_read; any number of threads may read it at once. UM_MISSING, UM_IO. */
um_status um_vfs_open(um_vfs *v, const char *path, um_vfs_file **out, int64_t *size_bytes);
/* All n bytes at offset `at`; UM_DATA when the file ends before. */
um_status um_vfs_read(const um_vfs_file *f, void *p, size_t n, int64_t at);
/* Reads a whole regular file of at most max_bytes into new memory (free it); one 0 byte follows. UM_TOO_LARGE, UM_MISSING, UM_IO. */
um_status um_vfs_read_whole(um_vfs *v, const char *path, size_t max_bytes, void **out, size_t *n);

/* The names in a folder, without . and .., sorted by bytes. UM_MISSING, UM_IO. um_names_release also takes {0}. */
typedef struct um_names {
    char **name;
    int n;
} um_names;
um_status um_vfs_list(um_vfs *v, const char *path, um_names *out);
void um_names_release(um_names *names);
