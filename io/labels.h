#pragma once
/* labels.h: the truth about videos, from DFDC's metadata.json or from a CSV file, and the scores of videos, from a CSV file: what unmask evaluate puts side by side.
 *
 *     um_labels l = {0};
 *     UM_PASS(um_labels_add(&l, vfs, "part_0/metadata.json")); UM_PASS(um_labels_add(&l, vfs, "more.csv"));
 *     UM_PASS(um_labels_seal(&l));
 *     int at = um_labels_find(&l, path);          // l.label[at].fake, .group
 *     um_labels_release(&l);
 */
#include "io/vfs.h"

typedef struct um_label {
    char *path;       /* of metadata.json: its folder, "/", the name; of CSV: as it stands there */
    char *original;   /* of a fake: path of its original; NULL: none is named */
    const char *name; /* the last part of path */
    bool fake;
    int32_t group;    /* 0 ..: an original and its fakes have one */
} um_label;

typedef struct um_labels {
    um_label *label; /* sealed: sorted by name, then path */
    int n, capacity;
    int n_groups;
} um_labels;

/* A file whose name ends in .json is metadata.json, a folder stands for the metadata.json in it, any other file is CSV: columns path, filename, name or video; label (REAL, FAKE, 1 for fake, 0 for real; any case); and, if it is there,
 * original. Errors: UM_MISSING, UM_IO, UM_DATA (with the line), UM_NO_MEMORY. */
um_status um_labels_add(um_labels *l, um_vfs *vfs, const char *path);
/* After the last um_labels_add. Errors: UM_DATA: nothing is there, or one path is real and fake. */
um_status um_labels_seal(um_labels *l);
/* The label of a path: of those with its last part the one that shares the most parts of the path, from the end. -1: none; -2: several share as many, and not all say the same. */
int um_labels_find(const um_labels *l, const char *path);
void um_labels_release(um_labels *l);
