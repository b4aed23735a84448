#include "io/walk.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 64 };

typedef struct folder_id {
    dev_t dev;
    ino_t ino;
} folder_id;

/* s: what stat said of it, NULL for nothing. */
static um_status add_entry(um_walk *w, const char *path, bool named, um_status status, const struct stat *s)
{
    if (w->n == w->cap) {
        int64_t cap = w->cap < 64 ? 64 : w->cap * 2;
        um_walk_entry *p = realloc(w->entry, (size_t)cap * sizeof *p);
        if (p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a list of %lld files", (long long)cap);
        w->entry = p;
        w->cap = cap;
    }
    char *copy = strdup(path);
    if (copy == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a list of files");
    w->entry[w->n] = (um_walk_entry){.path = copy, .named = named, .status = status};
    if (s != NULL && status == UM_OK) {
        w->entry[w->n].size_bytes = s->st_size;
        w->entry[w->n].mtime_ns = (int64_t)s->st_mtim.tv_sec * 1000000000 + s->st_mtim.tv_nsec;
    }
    w->n++;
    return UM_OK;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static um_status read_names(const char *path, char ***out, size_t *n_out)
{
    char **names = NULL;
    size_t n = 0, cap = 0;
    um_status st = UM_OK;
    DIR *d = opendir(path);
    if (d == NULL) return UM_UNREADABLE;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (n == cap) {
            cap = cap < 64 ? 64 : cap * 2;
            char **p = realloc(names, cap * sizeof *p);
            if (p == NULL) {
                st = UM_FAIL(UM_NO_MEMORY, "no memory for the names in %s", um_quote(path));
                break;
            }
            names = p;
        }
        names[n] = strdup(e->d_name);
        if (names[n] == NULL) {
            st = UM_FAIL(UM_NO_MEMORY, "no memory for the names in %s", um_quote(path));
            break;
        }
        n++;
    }
    closedir(d);
    if (n > 0) qsort(names, n, sizeof *names, by_bytes);
    *out = names;
    *n_out = n;
    return st;
}

static um_status visit(um_walk *w, const char *path, bool named, folder_id *above, int depth)
{
    struct stat s;
    if (stat(path, &s) != 0) {
        return add_entry(w, path, named, errno == ENOENT || errno == ENOTDIR ? UM_MISSING : UM_UNREADABLE, NULL);
    }
    if (!S_ISDIR(s.st_mode)) return add_entry(w, path, named, S_ISREG(s.st_mode) ? UM_OK : UM_UNREADABLE, &s);
    for (int i = 0; i < depth; i++)
        if (above[i].dev == s.st_dev && above[i].ino == s.st_ino) {
            w->n_loops++;
            return UM_OK;
        }
    if (depth == MAX_DEPTH) return UM_FAIL(UM_TOO_LARGE, "%s is deeper than %d folders", um_quote(path), MAX_DEPTH);
    above[depth] = (folder_id){s.st_dev, s.st_ino};

    char **names = NULL;
    size_t n = 0, length = strlen(path);
    um_status st = read_names(path, &names, &n);
    if (st == UM_UNREADABLE) return add_entry(w, path, named, UM_UNREADABLE, NULL);
    for (size_t i = 0; i < n; i++) {
        size_t bytes = length + strlen(names[i]) + 2;
        char *child = st == UM_OK ? malloc(bytes) : NULL;
        if (child != NULL) {
            snprintf(child, bytes, "%s%s%s", path, length > 0 && path[length - 1] == '/' ? "" : "/", names[i]);
            st = visit(w, child, false, above, depth + 1);
        } else if (st == UM_OK) {
            st = UM_FAIL(UM_NO_MEMORY, "no memory for a path of %zu bytes", bytes);
        }
        free(child);
        free(names[i]);
    }
    free(names);
    return st;
}

um_status um_walk_add(um_walk *w, const char *path)
{
    folder_id above[MAX_DEPTH];
    return visit(w, path, true, above, 0);
}

void um_walk_release(um_walk *w)
{
    for (int64_t i = 0; i < w->n; i++) free(w->entry[i].path);
    free(w->entry);
    *w = (um_walk){0};
}

static bool has_extension(const char *path, const char *const *extensions)
{
    const char *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
    if (dot == NULL || (slash != NULL && slash > dot)) return false;
    for (; *extensions != NULL; extensions++)
        if (strcasecmp(dot + 1, *extensions) == 0) return true;
    return false;
}

bool um_name_is_video(const char *path)
{
    static const char *const known[] = {"mp4", "mov", "avi", "mkv", "webm", "m4v", "mpg", "mpeg", "wmv", "flv", "ts", "mts", "m2ts", "3gp", "3g2", "ogv", "asf", NULL};
    return has_extension(path, known);
}

bool um_name_is_picture(const char *path)
{
    static const char *const known[] = {"png", "jpg", "jpeg", NULL};
    return has_extension(path, known);
}
