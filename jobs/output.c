#include "jobs/output.h"

#include <stdio.h>
#include <string.h>

enum { FLUSH_BYTES = 1 << 20 };

um_status um_output_open(um_vfs *vfs, const char *path, um_output *out)
{
    *out = (um_output){0};
    return strcmp(path, "-") == 0 ? UM_OK : um_vfs_whole_begin(vfs, path, &out->whole);
}

static um_status flush(um_output *o)
{
    um_status st = UM_OK;
    if (o->pending.len == 0) return UM_OK;
    if (o->whole.file != NULL)
        st = um_vfs_write(o->whole.file, o->pending.data, o->pending.len);
    else if (fwrite(o->pending.data, 1, o->pending.len, stdout) != o->pending.len || fflush(stdout) != 0)
        st = UM_FAIL(UM_IO, "cannot write to the standard output");
    um_buf_clear(&o->pending);
    return st;
}

um_status um_output_add(um_output *o, um_buf *text)
{
    UM_PASS(um_buf_add(&o->pending, text->data, text->len));
    um_buf_clear(text);
    return o->whole.file == NULL || o->pending.len >= FLUSH_BYTES ? flush(o) : UM_OK;
}

um_status um_output_end(um_output *o, um_status st)
{
    if (st == UM_OK) st = flush(o);
    st = um_vfs_whole_end(&o->whole, st, NULL);
    um_buf_release(&o->pending);
    *o = (um_output){0};
    return st;
}
