#pragma once
/* checkpoint.h: all that a training run needs to go on exactly where it was, in one file (docs/format.md).
 *
 * HDF5 behind our 512-byte user block (io/h5image.h), so damage is found before a byte is parsed; it appears by rename after fsync, whole or not at all. The folder keeps the newest and the one before:
 *
 *     um_checkpoint_save(vfs, folder, graph, &c);        // checkpoint-<step>.h5; reads it back; then removes those older than the one before it
 *     st = um_checkpoint_load(vfs, folder, graph, &c);   // the newest that is whole; UM_END: there is none
 *
 * Numbers that are not finite are never written (UM_DATA), so a checkpoint that loads can be trained on. Not for several threads at once (HDF5).
 */
#include "io/vfs.h"
#include "src/nn/graph.h"

/* X(name): whole numbers of the state, in the file's order. */
#define UM_CHECKPOINT_COUNTERS(X)                                                                                     \
    X(seed)             /* of this member */                                                                          \
    X(batch_pictures)   /* pictures of a micro-batch of all ranks */                                                  \
    X(lanes)            /* virtual ranks; 0: not deterministic */                                                     \
    X(epoch)            /* the one in hand; complete when epoch_step is its number of steps */                        \
    X(epoch_step)       /* steps done of it */                                                                        \
    X(step)             /* steps done in all: optimiser updates and those that were skipped */                        \
    X(validated)        /* epochs that were validated */                                                              \
    X(head_updates)                                                                                                   \
    X(encoder_updates)                                                                                                \
    X(average_updates)                                                                                                \
    X(skipped)          /* steps left out for their loss or gradient, in all */                                       \
    X(skipped_in_a_row)                                                                                               \
    X(replaced)         /* damaged crops that another one stood in for, in all */                                     \
    X(best_epoch)       /* -1: none yet */                                                                            \
    X(epoch_counted)    /* steps in the sums below */
#define UM_CHECKPOINT_FIGURES(X)                                                                                      \
    X(best_score)                                                                                                     \
    X(epoch_loss)       /* sums over the steps of the epoch in hand */                                                \
    X(epoch_fake)                                                                                                     \
    X(epoch_real)

enum { UM_CHECKPOINT_SLOTS = 2 };
typedef struct um_checkpoint {
#define X(name) int64_t name;
    UM_CHECKPOINT_COUNTERS(X)
#undef X
#define X(name) double name;
    UM_CHECKPOINT_FIGURES(X)
#undef X
    char *config;                     /* the frozen configuration: JSON, an object of texts; owned */
    int64_t param_count;
    float *params;                    /* [param_count]; owned by the caller when writing, by the struct when read: um_checkpoint_release */
    float *slot[UM_CHECKPOINT_SLOTS]; /* the optimiser's; NULL: none */
    float *average;                   /* moving average; NULL: none */
} um_checkpoint;

void um_checkpoint_release(um_checkpoint *c);
/* Errors: UM_DATA (a number that is not finite: the tensor is named; or the file does not read back as it was written), UM_IO, UM_NO_MEMORY. After an error the folder holds what it held, and perhaps the new file. */
um_status um_checkpoint_save(um_vfs *vfs, const char *folder, const um_graph *g, const um_checkpoint *c);
/* A file that is damaged or of another network is left out with a warning in the log, and the next older one is tried. Errors: UM_END (none there), UM_DATA (some, and none can be used), UM_IO,
 * UM_NO_MEMORY. */
um_status um_checkpoint_load(um_vfs *vfs, const char *folder, const um_graph *g, um_checkpoint *out);
um_status um_checkpoint_write(um_vfs *vfs, const char *path, const um_graph *g, const um_checkpoint *c);
/* UM_DATA: damaged, or not of this network. */
um_status um_checkpoint_read(um_vfs *vfs, const char *path, const um_graph *g, um_checkpoint *out);
/* Is this a name that um_checkpoint_save gives, or a temporary one of it? For --fresh. */
bool um_checkpoint_is_name(const char *name);
