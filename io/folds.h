#pragma once
/* folds.h: folds.csv (unmask folds; docs/format.md) beside the store that it was made of. */
#include "io/store.h"

typedef struct um_folds {
    int32_t *fold;      /* [n_entries of the store]: the crop's fold; -1: not listed */
    int64_t n_rows;     /* found in the store */
    int64_t n_missing;  /* listed, but the store has no such crop */
    int32_t n_folds;    /* one more than the largest */
    char first_missing[160];
} um_folds;

/* Columns by their names, in any order, others ignored: video, file (<frame>_<face>.png), label, fold. Errors: UM_DATA (the line is named: columns missing, a label that is not the store's, a crop twice; or not one crop is in the
 * store), UM_MISSING, UM_IO, UM_NO_MEMORY. */
um_status um_folds_read(um_vfs *vfs, const char *path, const um_store_content *store, um_folds *out);
void um_folds_release(um_folds *f);
