#pragma once
/* train_data.h: which crops are trained on and which validate: the store, folds.csv, --fold, --val-list, --val-videos.
 *
 * Held out are the crops of --fold. With --val-list the videos it names validate instead (those of the held-out fold are then not used at all: nothing chooses by them), and their whole groups, an original with its fakes, are not
 * trained on. Validation looks at every second kept frame (frame % 20 == 0), as the reference; at all frames of a video that has no such.
 * Every rank loads the same and finds the same, whatever its number.
 */
#include "io/store.h"
#include "jobs/train_options.h"
#include "src/train/sample.h"

typedef struct um_train_data {
    um_store_content store;
    um_sample *train, *val; /* in the store's order: video, frame, face */
    int64_t n_train, n_val;
    int n_train_videos, n_val_videos;
    int64_t train_fakes, val_fakes;
    char digest[17];        /* hex of um_hash64 over both lists, by names: what a continued run must find again */
    bool loaded;            /* private */
} um_train_data;

/* Errors: UM_MISSING, UM_DATA (folds of another store, no crop to validate on, names of --val-list that are not there), UM_IO, UM_NO_MEMORY. Local. */
um_status um_train_data_load(um_vfs *vfs, const um_train_options *o, um_train_data *out);
/* Is there what training needs, reals and fakes? UM_DATA: no. Who only validates can do without. */
um_status um_train_data_check(const um_train_data *d);
void um_train_data_release(um_train_data *d);
/* "part/video.mp4, frame 30, face 0": borrowed until the next call of this thread. */
const char *um_train_data_name(const um_train_data *d, const um_sample *s);
