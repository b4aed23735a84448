#pragma once
/* train_files.h: the files of one member of a training run (docs/format.md). Rank 0 of the member calls these.
 *
 *     OUT/<name>.h5                     the best epoch's model
 *     OUT/<name>/config.json            what the run is made with; another configuration is refused
 *     OUT/<name>/epoch-007.h5           each epoch's model
 *     OUT/<name>/checkpoint-<step>.h5   io/checkpoint.h
 *     OUT/<name>/log.jsonl              a line a step and an epoch, up to the newest checkpoint
 *     OUT/<name>/status.json            how far it is
 *
 * where <name> is the prefix and "seed<seed>".
 */
#include "io/vfs.h"
#include "src/core/buf.h"
#include "src/models/classifier.h"

typedef struct um_train_files {
    um_vfs *vfs;
    char *name, *folder, *best; /* paths of the member's folder and of its best model */
    um_vfs_file *log;
    um_buf pending;             /* lines not yet written */
    double flushed_s;
} um_train_files;

/* Takes up what is there or begins. config: JSON, an object of texts with sorted keys. Errors: UM_DATA (another configuration), UM_IO. */
um_status um_train_files_open(um_vfs *vfs, const char *output, const char *prefix, int64_t seed, bool fresh, const char *config, um_train_files *out);
/* Ends the log and releases all; also after a failed open. Errors: UM_IO, of ending the log. */
um_status um_train_files_close(um_train_files *f);
/* Opens the log for lines after this state; what an interrupted run logged beyond it is dropped: it is done again. step: steps done; epochs: epochs validated. */
um_status um_train_files_log_begin(um_train_files *f, int64_t step, int64_t epochs);
/* Adds a line and empties it. Lines reach the file within a second or so of the next call. */
um_status um_train_files_log(um_train_files *f, um_buf *line);
/* Lines are in the file, and durable. */
um_status um_train_files_log_sync(um_train_files *f);
/* Writes the epoch's model, reads it back, and the best model if it is that; then removes the models of epochs before the last `keep_last` (0: none). */
um_status um_train_files_model(um_train_files *f, const um_model *m, int64_t epoch, bool best, int keep_last);
um_status um_train_files_status(um_train_files *f, const um_buf *text);
