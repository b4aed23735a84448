#include "io/store_files.h"

#include <stdlib.h>
#include <string.h>

struct um_store_handle {
    um_vfs_file *file;
    int shard;
    int users; /* readers, and one for the place it stands at */
};

um_status um_store_files_new(um_vfs *vfs, const char *dir, um_store_files **out)
{
    um_store_files *f = calloc(1, sizeof *f);
    if (f != NULL) f->dir = strdup(dir);
    if (f == NULL || f->dir == NULL) {
        free(f);
        return UM_FAIL(UM_NO_MEMORY, "no memory for a store");
    }
    f->vfs = vfs;
    pthread_mutex_init(&f->lock, NULL);
    *out = f;
    return UM_OK;
}

/* The lock is held. */
static void let_go(um_store_handle *h)
{
    if (h == NULL || --h->users > 0) return;
    um_vfs_drop(h->file);
    free(h);
}

void um_store_files_free(um_store_files *f)
{
    if (f == NULL) return;
    for (int i = 0; i < UM_STORE_OPEN_FILES; i++) let_go(f->open[i]);
    for (int i = 0; i < f->n; i++) free(f->shard[i].file);
    pthread_mutex_destroy(&f->lock);
    free(f->shard);
    free(f->dir);
    free(f);
}

um_status um_store_files_add(um_store_files *f, const um_store_shard *s)
{
    unsigned n = (unsigned)f->n;
    if ((n & (n - 1)) == 0) {
        um_store_shard *grown = realloc(f->shard, sizeof *grown * (n > 0 ? 2 * (size_t)n : 1));
        if (grown == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %u shards", n);
        f->shard = grown;
    }
    f->shard[f->n++] = *s;
    return UM_OK;
}

/* The lock is held. */
static um_status open_shard(um_store_files *f, int shard, um_store_handle **out)
{
    const um_store_shard *s = &f->shard[shard];
    int64_t size;
    char *path = um_store_path(f->dir, "shards", s->file);
    um_store_handle *h = calloc(1, sizeof *h);
    um_status st = UM_OK;
    if (path == NULL || h == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for a shard");
        goto done;
    }
    st = um_vfs_open(f->vfs, path, &h->file, &size);
    if (st == UM_MISSING) st = UM_DATA;
    if (st == UM_OK && size != s->bytes)
        st = UM_FAIL(UM_DATA, "the shard %s is damaged: it has %lld bytes instead of %lld", um_quote(path), (long long)size, (long long)s->bytes);
    if (st != UM_OK) goto done;
    h->shard = shard;
    h->users = 1;
    *out = h;
    h = NULL;
done:
    if (h != NULL) {
        um_vfs_drop(h->file);
        free(h);
    }
    free(path);
    return st;
}

um_status um_store_files_read(um_store_files *f, int shard, void *out, size_t n, int64_t at)
{
    um_status st = UM_OK;
    um_store_handle **place = &f->open[shard % UM_STORE_OPEN_FILES], *h;
    pthread_mutex_lock(&f->lock);
    h = *place;
    if (h == NULL || h->shard != shard) {
        st = open_shard(f, shard, &h);
        if (st == UM_OK) {
            let_go(*place); /* closes it when its last reader is done */
            *place = h;
        }
    }
    if (st == UM_OK) h->users++;
    pthread_mutex_unlock(&f->lock);
    if (st != UM_OK) return st;
    st = um_vfs_read(h->file, out, n, at);
    pthread_mutex_lock(&f->lock);
    let_go(h);
    pthread_mutex_unlock(&f->lock);
    return st;
}
