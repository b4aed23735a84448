#pragma once
/* outdir.h: a folder of results that appears whole, by rename, and replaces only what we made ourselves.
 *
 *     um_outdir o; UM_PASS(um_outdir_begin(vfs, "out", "export.json", &o));   // refuses a folder that is neither empty nor has the marker
 *     ... write files under o.temporary ...; the marker file itself is written by um_outdir_end
 *     st = um_outdir_end(&o, st, marker_text);     // UM_OK: the folder is there; else what was written is removed
 *
 * Local. Errors: UM_CONFIG (something else is there), UM_IO.
 */
#include "io/vfs.h"

typedef struct um_outdir {
    um_vfs *vfs;
    char *path, *temporary, *marker;
} um_outdir;

um_status um_outdir_begin(um_vfs *vfs, const char *path, const char *marker, um_outdir *out);
/* Returns st, or the error of finishing. */
um_status um_outdir_end(um_outdir *o, um_status st, const char *marker_text);

/* Removes a file or a folder with all below it; symbolic links are removed, not followed. Missing is fine. */
um_status um_tree_remove(const char *path);
