#pragma once
/* walk.h: the files that paths on a command line stand for.
 *
 * A file stands for itself. A folder stands for all regular files under it, in order of their names' bytes, depth first; paths are as typed, joined with '/'. Symbolic links are followed; a link back into a
 * folder that is being walked is skipped and counted. Local; any thread.
 */
#include "src/core/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct um_walk_entry {
    char *path;
    bool named;     /* typed by the user, not found in a folder */
    um_status status; /* UM_OK, UM_MISSING, UM_UNREADABLE (not a regular file, no permission) */
    int64_t size_bytes, mtime_ns; /* with UM_OK, else 0 */
} um_walk_entry;

typedef struct um_walk {
    um_walk_entry *entry;
    int64_t n, cap;
    int64_t n_loops; /* links to folders that were being walked already */
} um_walk;

/* Adds what `path` stands for. A folder that cannot be read becomes an entry with UM_UNREADABLE. Errors: UM_NO_MEMORY, UM_TOO_LARGE (deeper than 64 folders). */
um_status um_walk_add(um_walk *w, const char *path);
void um_walk_release(um_walk *w);

/* Kinds of files by their name's extension, without regard to case. */
bool um_name_is_video(const char *path);
bool um_name_is_picture(const char *path);
