#pragma once
/* manifest.h: what there is to do: the videos of a data root, as units of work.
 *
 * A root holds part folders (a name that contains "dfdc" and ends in _<number>), each with metadata.json and its video files; a root that is itself such a folder is a root of one part.
 * A unit is an original with its fakes. Videos are sorted by path, units by their original's path, so a manifest depends on the folder only. Local; the result is read-only and may be shared by
 * threads.
 */
#include "src/core/buf.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum um_label { UM_LABEL_UNKNOWN = 0, UM_LABEL_REAL = 1, UM_LABEL_FAKE = 2 } um_label;

typedef struct um_manifest_video {
    uint64_t id;        /* um_hash64 of path: the video's key in the store */
    char *path;         /* relative to the root, '/' separated: "dfdc_train_part_0/aaqaifqrwn.mp4"; bytes as the file system has them */
    int part;           /* the folder's number */
    um_label label;
    int original;       /* index of a fake's original in video[], -1 for none */
    char *original_name;/* as metadata.json has it; "" when absent */
    int unit;           /* index in unit[], -1: not to be processed, see status */
    int64_t size_bytes;
    int64_t mtime_ns;
    um_status status;   /* UM_PENDING: to be processed; else the final status: UM_MISSING, UM_NO_METADATA, UM_NO_ORIGINAL, UM_UNREADABLE */
    char *message;      /* why; "" */
} um_manifest_video;

typedef struct um_manifest_unit {
    uint64_t key;         /* um_hash64 over paths, sizes and times of its videos: another key, another unit of work */
    int first, n;         /* its videos: unit_video[first .. first+n), the original first, then its fakes by path */
    int64_t cost;         /* bytes of its files: what the queue sorts by */
} um_manifest_unit;

typedef struct um_manifest {
    char *root;           /* as typed */
    um_manifest_video *video;
    int n_videos;
    um_manifest_unit *unit;
    int n_units;
    int *unit_video;
    int n_parts;
    int64_t n_other_files;   /* files in part folders that are neither listed nor named like a video: counted, not processed */
    int64_t n_other_folders; /* folders of the root that are not parts */
    int64_t n_units_found;   /* before --limit */
} um_manifest;

/* Reads the root. limit > 0 keeps the first `limit` units and the videos of them, plus every video that belongs to no unit. Symbolic links to files are followed, loops are not (a link to a folder
 * is not a part). A part without or with a damaged metadata.json gives its videos UM_NO_METADATA. Errors: UM_DATA when the root holds no part (says what was looked for), UM_IO when it cannot be read. */
um_status um_manifest_scan(const char *root, int64_t limit, um_manifest *out);
/* JSON Lines, one video a line, after one line for the whole (docs/format.md). */
um_status um_manifest_write(const um_manifest *m, um_buf *out);
/* The inverse. UM_DATA names the line. */
um_status um_manifest_parse(const char *text, size_t n, um_manifest *out);
void um_manifest_release(um_manifest *m);
/* Index of the video called `name`: its path, or its file name or stem where only one video has it. -1 none, -2 several. */
int um_manifest_find(const um_manifest *m, const char *name);
/* A video's file name without folder and extension: the reference's id of it. New memory: free it. NULL when there is none. */
char *um_manifest_stem(const um_manifest_video *v);
/* Do two videos with used[i] (NULL: all) have one stem? UM_DATA names both: where files or rows are named by stem they could not be told apart. */
um_status um_manifest_check_stems(const um_manifest *m, const bool *used);
