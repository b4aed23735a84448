#pragma once
/* score_files.h: the files of a scoring run, all named after -o X: X.manifest, X.journal/, X.status.json and X itself (docs/format.md). Rank 0 calls these but for the journals. */
#include "io/score_results.h"
#include "io/vfs.h"

typedef struct um_score_files {
    um_vfs *vfs;
    char *results, *manifest, *journal, *status; /* NULL: a run that leaves nothing behind */
} um_score_files;

um_status um_score_files_init(um_vfs *vfs, const char *results, um_score_files *out);
void um_score_files_release(um_score_files *f);

/* Takes up what is there or begins: *m is the listing of today, and becomes the frozen manifest. fresh: removes what an earlier run left. update: other inputs are taken over instead of being refused.
 * Errors: UM_DATA (another configuration, other inputs, damage), UM_IO. */
um_status um_score_files_begin(const um_score_files *f, bool fresh, bool update, um_score_manifest *m);

enum { UM_SCORE_STATUSES = 64 }; /* item statuses have smaller numbers */
typedef struct um_score_counts {
    int64_t inputs, left, bad, unknown, real, fake, by_status[UM_SCORE_STATUSES];
} um_score_counts;
void um_score_count(const um_score_results *r, um_score_counts *out);
/* X.status.json */
um_status um_score_files_status(const um_score_files *f, const um_score_results *r, const um_score_counts *c);
