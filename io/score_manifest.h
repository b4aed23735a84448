#pragma once
/* score_manifest.h: what a scoring run is about: its inputs, its configuration, its models, frozen in one file before the first video is scored (reliability 5).
 *
 * The results are a pure function of this and of the journals. Inputs are sorted by the bytes of their paths and each path occurs once, so the order of arguments does not matter. A run that continues lists its inputs anew; where
 * they differ from the frozen ones it is refused, since a result must not depend on when a run was killed: the user says whether to take the new list (and keep the scores of what did not change) or to start over.
 *
 *     {"format": "unmask-score 1", "bytes": <of the rest>, "crc32c": "<of the rest>"}
 *     {"inputs": n, "others": n, "twice": n, "loops": n, "config": {...}, "models": ["name", ...]}
 *     {"path": "a/b.mp4", "size": n, "mtime_ns": n, "status": "PENDING"}                               one line an input
 */
#include "io/keymap.h"
#include "src/core/buf.h"

typedef struct um_score_input {
    char *path;       /* as typed, joined with '/'; bytes as the file system has them */
    uint64_t key;     /* um_hash64 of path, size and time: another file, another key */
    int64_t size_bytes, mtime_ns;
    um_status status; /* UM_PENDING: to be scored; UM_MISSING, UM_UNREADABLE: that is its row */
} um_score_input;

typedef struct um_score_manifest {
    um_score_input *input; /* sorted by path */
    int64_t n;
    int64_t n_others;      /* files in folders that are no videos, by content and by name */
    int64_t n_twice;       /* paths that came more than once: one row */
    int64_t n_loops;       /* links back into a folder */
    char *config;          /* JSON object of strings, keys sorted */
    char **model;          /* names of the models as results show them, in the order of model_score */
    int n_models;
    um_keymap by_key;      /* key -> index in input */
} um_score_manifest;

/* Lists the inputs: files and folders of `path`, then those of `list` (text of a file of names, each ended by a NUL byte if there is any in it, else by a newline; NULL for none). A named file is always an input; of a folder, files
 * named like videos and files that are videos by content. limit > 0: the first so many. config and models: copied. Local. Errors: UM_USAGE (no names at all), UM_TOO_LARGE, UM_NO_MEMORY, UM_DATA (a list with an empty name). */
um_status um_score_manifest_list(const char *const *path, int n_paths, const char *list, size_t list_bytes, int64_t limit, const char *config, const char *const *model, int n_models, um_score_manifest *out);
um_status um_score_manifest_write(const um_score_manifest *m, um_buf *out);
/* The inverse; text must be followed by a 0 byte. UM_DATA names what is wrong. */
um_status um_score_manifest_parse(const char *text, size_t n, um_score_manifest *out);
/* UM_DATA with the first input that is new, gone or changed, and `remedy`. */
um_status um_score_manifest_compare(const um_score_manifest *had, const um_score_manifest *now, const char *remedy);
/* UM_USAGE names two inputs that have one file name: where rows are named by it they could not be told apart. */
um_status um_score_manifest_check_names(const um_score_manifest *m);
/* The part of a path after its last '/'. */
const char *um_score_name(const char *path);
/* Fingerprint of the configuration: what records of a journal must have been made with. */
uint64_t um_score_manifest_config_key(const um_score_manifest *m);
void um_score_manifest_release(um_score_manifest *m);
