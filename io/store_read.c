/* Loading a store as a whole, and reading pictures of one that is loaded. */
#include "io/store_load.h"

#include "src/core/crc.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_MANIFEST_BYTES = 1 << 30 };

static um_status read_manifest(um_vfs *vfs, const char *dir, um_manifest *out)
{
    void *text = NULL;
    size_t n;
    char *path = um_store_path(dir, "manifest.jsonl", NULL);
    if (path == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a path");
    um_status st = um_vfs_read_whole(vfs, path, MAX_MANIFEST_BYTES, &text, &n);
    if (st == UM_OK) st = um_manifest_parse(text, n, out);
    free(text);
    free(path);
    return st;
}

um_status um_store_load(um_vfs *vfs, const char *dir, bool need_rows, um_store_content *out)
{
    um_store_content *c = out;
    um_store_loader l = {.c = c, .vfs = vfs};
    um_status st = UM_OK;
    *c = (um_store_content){0};
    c->dir = strdup(dir);
    if (c->dir == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for a store");
        goto done;
    }
    UM_GOTO_PASS(st, um_store_read_config(vfs, dir, &c->config));
    UM_GOTO_PASS(st, read_manifest(vfs, dir, &c->manifest));
    UM_GOTO_PASS(st, um_store_files_new(vfs, dir, &c->files));
    size_t n_units = (size_t)c->manifest.n_units, n_videos = (size_t)c->manifest.n_videos;
    c->state = calloc(n_units + 1, sizeof *c->state);
    c->video = calloc(n_videos + 1, sizeof *c->video);
    c->message = calloc(n_videos + 1, sizeof *c->message);
    if (c->state == NULL || c->video == NULL || c->message == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for %zu videos", n_videos);
        goto done;
    }
    for (size_t i = 0; i < n_videos; i++) {
        c->video[i].video = c->manifest.video[i].id;
        c->video[i].status = (int32_t)c->manifest.video[i].status; /* PENDING, or why it is not to be done */
        c->video[i].n_frames = -1;
    }
    l.j.m = &c->manifest;
    l.j.state = c->state;
    UM_GOTO_PASS(st, um_store_journals_read(vfs, dir, &l.j, &c->n_unreferenced));
    c->n_journal_damaged = l.j.n_damaged;
    for (size_t i = 0; i < n_units; i++) c->n_units_done += c->state[i].stages == (1u << UM_STAGES) - 1;
    if (need_rows) UM_GOTO_PASS(st, um_store_load_rows(&l));
    for (size_t i = 0; i < n_videos; i++) {
        if (c->message[i] == NULL) c->message[i] = strdup(c->manifest.video[i].message);
        if (c->message[i] == NULL) {
            st = UM_FAIL(UM_NO_MEMORY, "no memory for messages");
            goto done;
        }
    }
done:
    um_store_journals_release(&l.j);
    um_keymap_release(&l.by_video);
    for (int i = 0; i < UM_STAGES; i++) {
        free(l.taken[i]);
        um_buf_release(&l.rows[i]);
    }
    free(l.took);
    um_buf_release(&l.weak);
    if (st == UM_OK) return UM_OK;
    um_store_content_release(c);
    return um_err_note(st, "cannot read the store %s", um_quote(dir));
}

void um_store_content_release(um_store_content *c)
{
    for (int i = 0; c->message != NULL && i < c->manifest.n_videos; i++) free(c->message[i]);
    free(c->message);
    free(c->video);
    free(c->state);
    free(c->entry);
    free(c->first_entry);
    free(c->dir);
    free(c->config);
    um_store_files_free(c->files);
    um_manifest_release(&c->manifest);
    *c = (um_store_content){0};
}

um_status um_store_read(const um_store_content *c, const um_store_ref *ref, void *out)
{
    if (ref->shard < 0 || ref->shard >= c->files->n) return UM_FAIL(UM_INTERNAL, "there is no picture to read");
    UM_PASS(um_store_files_read(c->files, ref->shard, out, ref->bytes, (int64_t)ref->at));
    if (um_crc32c(0, out, ref->bytes) != ref->crc) return um_store_damaged(&c->files->shard[ref->shard], "a picture does not match its checksum");
    return UM_OK;
}
