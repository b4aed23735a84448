#pragma once
/* output.h: the result of a job: a file that appears whole, by rename, or the standard output ("-").
 *
 *     um_output o; UM_PASS(um_output_open(ctx->vfs, path, &o));
 *     UM_PASS(um_output_add(&o, &line)) ...; the caller's buffer is emptied
 *     st = um_output_end(&o, st);       // st == UM_OK: the file appears; else what was written is removed; returns the first error
 */
#include "io/vfs.h"
#include "src/core/buf.h"

typedef struct um_output {
    um_vfs_whole whole; /* file NULL: standard output */
    um_buf pending;
} um_output;

/* Errors: UM_IO. */
um_status um_output_open(um_vfs *vfs, const char *path, um_output *out);
um_status um_output_add(um_output *o, um_buf *text);
um_status um_output_end(um_output *o, um_status st);
