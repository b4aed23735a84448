#pragma once
/* err.h: how a function fails.
 *
 * A function that can fail returns um_status. The one who detects the failure writes the message:
 *
 *     if (fd < 0) return UM_FAIL(UM_IO, "cannot open %s: %s", um_quote(path), strerror(errno));
 *
 * and each caller adds only what it knows, or nothing:
 *
 *     UM_TRY(um_vfs_write(f, p, n), "cannot write the shard %s", um_quote(name));     // returns on failure
 *     UM_PASS(um_vfs_sync(f));                                                         // returns on failure, adds no line
 *     UM_GOTO(st, um_vfs_sync(f), "cannot seal %s", um_quote(name));                   // sets st, goes to done: on failure
 *
 * The lines form a chain, newest last, in thread-local memory of fixed size (no allocation; a line that does not fit is cut, and lines
 * past the last are counted). The chain is printed once: by main for a job's end, by the item loop for an input's row.
 * UM_END is not a failure of anything but it is non-zero: test for it before UM_TRY.
 */
#include "src/core/status.h"

#include <stddef.h>

#define UM_ERR_LINES 8
#define UM_ERR_LINE_BYTES 512

/* Clears the chain, records one line, returns `st`. */
um_status um_err_fail(um_status st, const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Adds one line, returns `st`. */
um_status um_err_note(um_status st, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The chain as one line, outermost first: "cannot write the shard 'x': cannot write 'y': No space left". Borrowed until the next call
 * on this thread. "" when nothing failed. */
const char *um_err_text(void);
/* File and line of the detecting UM_FAIL, for logs of internal errors: "io/vfs.c:31". */
const char *um_err_where(void);
void um_err_clear(void);

/* `s` between quotes with everything that is not printable ASCII or valid UTF-8 as \xHH, for messages. Borrowed: one of 8 rotating
 * thread-local buffers, cut with "..." after 300 bytes. */
const char *um_quote(const char *s);

/* The status is named again so that the compiler sees which one is returned; st must be free of side effects. */
#define UM_FAIL(st, ...) (um_err_fail((st), __FILE__, __LINE__, __VA_ARGS__), (um_status)(st))
#define UM_PASS(call)                            \
    do {                                         \
        um_status um_st_ = (call);               \
        if (um_st_ != UM_OK) return um_st_;      \
    } while (0)
#define UM_TRY(call, ...)                                                   \
    do {                                                                    \
        um_status um_st_ = (call);                                          \
        if (um_st_ != UM_OK) return um_err_note(um_st_, __VA_ARGS__);       \
    } while (0)
#define UM_GOTO(st, call, ...)                    \
    do {                                          \
        (st) = (call);                            \
        if ((st) != UM_OK) {                      \
            um_err_note((st), __VA_ARGS__);       \
            goto done;                            \
        }                                         \
    } while (0)
#define UM_GOTO_PASS(st, call)               \
    do {                                     \
        (st) = (call);                       \
        if ((st) != UM_OK) goto done;        \
    } while (0)
