#include "jobs/output.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FLUSH_BYTES = 1 << 20 };

um_status um_output_open(um_vfs *vfs, const char *path, um_output *out)
{
    *out = (um_output){.vfs = vfs};
    if (strcmp(path, "-") == 0) return UM_OK;
    um_status st;
    UM_GOTO_PASS(st, um_buf_add_str(&out->path, path));
    UM_GOTO_PASS(st, um_buf_printf(&out->temporary, "%s.%ld.tmp", path, (long)getpid()));
    UM_GOTO_PASS(st, um_vfs_create(vfs, (char *)out->temporary.data, &out->file));
done:
    if (st != UM_OK) {
        um_buf_release(&out->path);
        um_buf_release(&out->temporary);
    }
    return st;
}

static um_status flush(um_output *o)
{
    um_status st = UM_OK;
    if (o->pending.len == 0) return UM_OK;
    if (o->file != NULL)
        st = um_vfs_write(o->file, o->pending.data, o->pending.len);
    else if (fwrite(o->pending.data, 1, o->pending.len, stdout) != o->pending.len || fflush(stdout) != 0)
        st = UM_FAIL(UM_IO, "cannot write to the standard output");
    um_buf_clear(&o->pending);
    return st;
}

um_status um_output_add(um_output *o, um_buf *text)
{
    UM_PASS(um_buf_add(&o->pending, text->data, text->len));
    um_buf_clear(text);
    return o->file == NULL || o->pending.len >= FLUSH_BYTES ? flush(o) : UM_OK;
}

um_status um_output_end(um_output *o, um_status st)
{
    if (st == UM_OK) st = flush(o);
    if (o->file != NULL) {
        const char *path = (char *)o->path.data, *temporary = (char *)o->temporary.data;
        if (st == UM_OK) st = um_vfs_sync(o->file);
        if (st == UM_OK) {
            st = um_vfs_close(o->file);
        } else {
            (void)um_vfs_close(o->file);
        }
        if (st == UM_OK) st = um_vfs_rename(o->vfs, temporary, path);
        if (st == UM_OK) {
            char folder[4096];
            const char *slash = strrchr(path, '/');
            snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int)(slash - path + 1), slash == NULL ? "." : path);
            st = um_vfs_sync_dir(o->vfs, folder);
        } else {
            (void)unlink(temporary);
        }
    }
    um_buf_release(&o->pending);
    um_buf_release(&o->path);
    um_buf_release(&o->temporary);
    *o = (um_output){0};
    return st;
}
