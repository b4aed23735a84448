#pragma once
/* score_journal.h: what one rank of a scoring run has done, written as it goes.
 *
 *     um_score_journal_open(vfs, "scores.csv.journal", rank, config_key, &limits, &j);
 *     for each video: um_score_journal_begin(j, key, alone); ... um_score_journal_done(j, &row);     // or um_score_journal_abort(j)
 *     um_score_journal_close(j);
 *
 * FOLDER/<run>-r<rank>.jnl holds records (io/journal.h): {"t":"run","config":"<16 hex>"} first; start, abort and strike records (io/attempts.h); {"t":"done","unit":"<16 hex>","row":{<io/score_row.h>}}.
 * A row counts once its record is whole. A killed process loses the video in hand; a loss of power what was appended since the last sync, at most limits.records rows and limits.seconds seconds of work.
 * Without a folder the records stay in memory (um_score_journal_text): a run that is to leave nothing behind.
 */
#include "io/score_row.h"
#include "io/vfs.h"

typedef struct um_score_limits {
    int records;    /* 64 */
    double seconds; /* 2 */
} um_score_limits;

typedef struct um_score_journal um_score_journal;
um_status um_score_journal_open(um_vfs *vfs, const char *folder, int rank, uint64_t config_key, const um_score_limits *limits, um_score_journal **out);
/* Also arms the last words. */
um_status um_score_journal_begin(um_score_journal *j, uint64_t unit, bool alone);
um_status um_score_journal_done(um_score_journal *j, const um_score_row *row);
/* The video in hand was left undone on purpose. Nothing happens when there is none. */
void um_score_journal_abort(um_score_journal *j);
/* The records of a journal in memory. Borrowed. */
const um_buf *um_score_journal_text(const um_score_journal *j);
/* Makes it durable, releases j also when it fails; a journal that says nothing is removed. NULL is allowed. */
um_status um_score_journal_close(um_score_journal *j);
