#pragma once
/* status.h: every outcome the program can name.
 *
 * One table gives the enum, the name that appears in results, the process exit code and a sentence for people. The numbers are stored
 * in files (docs/format.md), so they are fixed: add at the end of a group, never renumber.
 *
 * Classes (architecture: errors): an ITEM status is the result of one input (a video, a picture, a face): it becomes a row and the run
 * goes on. A JOB status ends the job in order, with the exit code given. UM_END and UM_PENDING are neither: the normal
 * end of a stream, and an input that has no outcome yet.
 */
#include <stdbool.h>

typedef enum um_status_class { UM_CLASS_OK, UM_CLASS_END, UM_CLASS_ITEM, UM_CLASS_JOB } um_status_class;

/* X(symbol, number, name in results, class, exit code, text) */
#define UM_STATUS_TABLE(X)                                                                                                        \
    X(UM_OK, 0, "OK", OK, 0, "complete")                                                                                          \
    X(UM_END, 1, "END", END, 0, "end of stream")                                                                                  \
    X(UM_PENDING, 2, "PENDING", END, 0, "not processed yet")                                                                      \
    X(UM_PARTIAL, 10, "PARTIAL", ITEM, 0, "some of the wanted frames could not be decoded")                                       \
    X(UM_NO_FACE, 11, "NO_FACE", ITEM, 0, "no face was found")                                                                    \
    X(UM_NO_VIDEO, 12, "NO_VIDEO", ITEM, 0, "the file has no video stream")                                                       \
    X(UM_ZERO_FRAMES, 13, "ZERO_FRAMES", ITEM, 0, "not one frame could be decoded")                                               \
    X(UM_CORRUPT, 14, "CORRUPT", ITEM, 0, "the file is damaged")                                                                  \
    X(UM_UNSUPPORTED_FORMAT, 15, "UNSUPPORTED_FORMAT", ITEM, 0, "not a container format that is accepted")                        \
    X(UM_UNSUPPORTED_CODEC, 16, "UNSUPPORTED_CODEC", ITEM, 0, "not a codec or pixel format that is accepted")                     \
    X(UM_TOO_LARGE, 17, "TOO_LARGE", ITEM, 0, "larger than the limit")                                                            \
    X(UM_TIMEOUT, 18, "TIMEOUT", ITEM, 0, "took more processor time than the limit")                                              \
    X(UM_CRASH, 19, "CRASH", ITEM, 0, "the decoder crashed")                                                                      \
    X(UM_OOM, 20, "OOM", ITEM, 0, "needed more memory than the limit")                                                            \
    X(UM_CHANGED, 21, "CHANGED", ITEM, 0, "the file changed after the run had listed it")                                         \
    X(UM_MISSING, 22, "MISSING", ITEM, 0, "listed, but not there")                                                                \
    X(UM_UNREADABLE, 23, "UNREADABLE", ITEM, 0, "could not be read (permission or I/O error)")                                    \
    X(UM_NO_ORIGINAL, 24, "NO_ORIGINAL", ITEM, 0, "a fake whose original is missing or not listed")                               \
    X(UM_NO_METADATA, 25, "NO_METADATA", ITEM, 0, "a file that its folder's metadata.json does not list")                         \
    X(UM_MISMATCH, 26, "MISMATCH", ITEM, 0, "a fake whose size or rotation differs from its original's")                          \
    X(UM_POISON, 27, "POISON", ITEM, 0, "skipped: it brought the program down before")                                            \
    X(UM_USAGE, 40, "USAGE", JOB, 2, "wrong use of the command line")                                                             \
    X(UM_TOO_MANY_BAD, 41, "TOO_MANY_BAD", JOB, 3, "complete, but more inputs failed than --max-bad allows")                      \
    X(UM_DATA, 42, "DATA", JOB, 65, "data, manifest or model do not match")                                                       \
    X(UM_INTERNAL, 43, "INTERNAL", JOB, 70, "internal error")                                                                     \
    X(UM_NO_MEMORY, 44, "NO_MEMORY", JOB, 70, "out of memory")                                                                    \
    X(UM_IO, 45, "IO", JOB, 74, "input/output error")                                                                             \
    X(UM_STOPPED, 46, "STOPPED", JOB, 75, "stopped early; run the same command again to continue")                                \
    X(UM_CONFIG, 47, "CONFIG", JOB, 78, "configuration error")

typedef enum um_status {
#define X(sym, num, name, cls, exit_code, text) sym = num,
    UM_STATUS_TABLE(X)
#undef X
} um_status;

/* Name as it appears in results ("NO_FACE"); "UNKNOWN" for a number that is not in the table. Any thread. */
const char *um_status_name(um_status st);
/* The sentence for people. Any thread. */
const char *um_status_text(um_status st);
/* Process exit code (reliability: exit codes). Item statuses have 0: a bad input does not fail a run. */
int um_status_exit(um_status st);
um_status_class um_status_class_of(um_status st);
/* Is it the status of an input that failed (what --max-bad counts)? OK, PARTIAL, NO_FACE and PENDING are not. */
bool um_status_is_bad(um_status st);
/* The status called `name`, or -1. */
int um_status_from_name(const char *name);
