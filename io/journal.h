#pragma once
/* journal.h: a file of records, each on a line of its own with its length and checksum.
 *
 *     UMJ1 <bytes of payload> <CRC-32C of payload, 8 hex digits> <payload>\n
 *
 * The payload is one line of JSON. A journal is written by one process and only grows. Reading stops at the first record that is not whole (the end of a file that a crash cut, or damage): what follows counts as not
 * written.
 */
#include "io/vfs.h"
#include "src/core/buf.h"

typedef struct um_journal um_journal;

/* Makes a new journal and its entry in the folder durable. */
um_status um_journal_create(um_vfs *vfs, const char *path, um_journal **out);
/* <UTC time>-<8 random hexadecimal digits>-r<rank>: a name for the files of one rank of one run, nobody else's. */
void um_journal_name(int rank, char out[64]);
/* Appends the line of a record to `out`. */
um_status um_journal_format(um_buf *out, const char *payload, size_t n);
/* Appends one record. durable: it is on disk when this returns. After a failure nothing may be appended (UM_INTERNAL): what stands at the end is not known. */
um_status um_journal_append(um_journal *j, const char *payload, size_t n, bool durable);
/* Makes durable what was appended. */
um_status um_journal_sync(um_journal *j);
/* Releases j also when it fails. */
um_status um_journal_close(um_journal *j);
/* The same after a failure: leaves the error chain alone. */
void um_journal_drop(um_journal *j);

/* Prepares the record that um_journal_last_words writes: {"t":"strike","unit":"<key>","signal":n}. One journal of the process has the last words at a time. disarm: takes them back. */
void um_journal_arm(um_journal *j, uint64_t unit);
void um_journal_disarm(void);
/* Async-signal-safe. */
void um_journal_last_words(int signal_number);

/* Calls `record` for each whole record in order, until it returns something other than UM_OK: UM_END stops and counts as damage, anything else is passed on. at: where the payload begins in the file. *damaged:
 * something follows that is no whole record. Memory: the largest record. */
typedef um_status um_journal_record(void *user, const char *payload, size_t n, int64_t at);
um_status um_journal_read(um_vfs *vfs, const char *path, um_journal_record *record, void *user, bool *damaged);
/* The same for text in memory. */
um_status um_journal_scan(const char *text, size_t n, um_journal_record *record, void *user, bool *damaged);
/* All journals (*.jnl) of a folder, in order of their names; `begin`, where it is not NULL, is called with the name before a journal, `end` after it. One that vanishes meanwhile counts as read. n_damaged is added to. */
typedef um_status um_journal_begin(void *user, const char *name);
typedef void um_journal_end(void *user);
um_status um_journal_read_folder(um_vfs *vfs, const char *folder, um_journal_begin *begin, um_journal_record *record, um_journal_end *end, void *user, int64_t *n_damaged);
bool um_journal_is_name(const char *file_name);
