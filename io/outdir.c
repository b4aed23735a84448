#include "io/outdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int remove_entry(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s;
    (void)type;
    (void)f;
    return remove(path);
}

um_status um_tree_remove(const char *path)
{
    if (nftw(path, remove_entry, 32, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) return UM_FAIL(UM_IO, "cannot remove %s: %s", um_quote(path), strerror(errno));
    return UM_OK;
}

static char *joined(const char *a, const char *separator, const char *b)
{
    size_t n = strlen(a) + strlen(separator) + strlen(b) + 1;
    char *s = malloc(n);
    if (s != NULL) snprintf(s, n, "%s%s%s", a, separator, b);
    return s;
}

/* Absent, empty or ours. */
static um_status check_free(const char *path, const char *marker)
{
    struct stat s;
    if (lstat(path, &s) != 0) return errno == ENOENT ? UM_OK : UM_FAIL(UM_IO, "cannot look at %s: %s", um_quote(path), strerror(errno));
    if (!S_ISDIR(s.st_mode)) return UM_FAIL(UM_CONFIG, "%s exists and is not a folder; name another output", um_quote(path));
    DIR *d = opendir(path);
    if (d == NULL) return UM_FAIL(UM_IO, "cannot read %s: %s", um_quote(path), strerror(errno));
    bool empty = true, ours = false;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        empty = false;
        ours = ours || strcmp(e->d_name, marker) == 0;
    }
    closedir(d);
    if (empty || ours) return UM_OK;
    return UM_FAIL(UM_CONFIG, "%s holds files that this command did not make (it has no %s); name another output or remove it", um_quote(path), marker);
}

um_status um_outdir_begin(um_vfs *vfs, const char *path, const char *marker, um_outdir *out)
{
    char suffix[32], *clean = strdup(path);
    *out = (um_outdir){.vfs = vfs};
    if (clean == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a path");
    for (size_t n = strlen(clean); n > 1 && clean[n - 1] == '/'; n--) clean[n - 1] = 0;
    snprintf(suffix, sizeof suffix, "%ld.tmp", (long)getpid());
    out->path = clean;
    out->temporary = joined(clean, ".", suffix);
    out->marker = strdup(marker);
    um_status st = out->temporary == NULL || out->marker == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a path") : check_free(clean, marker);
    if (st == UM_OK) st = um_tree_remove(out->temporary); /* of a process long gone that had our number */
    if (st == UM_OK) st = um_vfs_mkdir(vfs, out->temporary);
    if (st == UM_OK) return UM_OK;
    free(out->path);
    free(out->temporary);
    free(out->marker);
    *out = (um_outdir){0};
    return st;
}

um_status um_outdir_end(um_outdir *o, um_status st, const char *marker_text)
{
    if (o->path == NULL) return st;
    if (st == UM_OK) {
        char *name = joined(o->temporary, "/", o->marker);
        st = name == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a path") : um_vfs_write_whole(o->vfs, name, marker_text, strlen(marker_text));
        free(name);
    }
    if (st == UM_OK) st = check_free(o->path, o->marker); /* it may have been filled meanwhile */
    if (st == UM_OK) st = um_tree_remove(o->path);
    if (st == UM_OK) st = um_vfs_rename(o->vfs, o->temporary, o->path);
    if (st != UM_OK) {
        char kept[UM_ERR_LINE_BYTES];
        snprintf(kept, sizeof kept, "%s", um_err_text());
        if (um_tree_remove(o->temporary) != UM_OK) um_err_note(UM_IO, "after: %s", kept);
        else um_err_fail(st, __FILE__, __LINE__, "%s", kept);
    }
    free(o->path);
    free(o->temporary);
    free(o->marker);
    *o = (um_outdir){0};
    return st;
}
