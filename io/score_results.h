#pragma once
/* score_results.h: the results of a scoring run, merged from its manifest and its journals, and nothing else: the same bytes whoever scored what, in whatever order, however often.
 *
 *     um_score_results_read(vfs, "scores.csv.journal", &manifest, &r);
 *     r.row[i].done ...; um_score_results_csv(&r, add, out) ...
 *     um_score_results_release(&r);
 *
 * Records of one video must agree to the bit (UM_DATA names it), except where one tells of the machine and not of the video (TIMEOUT, OOM, CRASH, CHANGED, MISSING, UNREADABLE, POISON): a record that does not is preferred to one
 * that does, and of two that do the one whose text comes first by its bytes; so the choice does not depend on their order. Journals made with another configuration, and records of other inputs, count for nothing.
 */
#include "io/attempts.h"
#include "io/score_manifest.h"
#include "io/score_row.h"
#include "io/vfs.h"

typedef struct um_score_result { /* of one input */
    bool done;
    um_attempts attempts;
    um_score_summary row;
    int32_t journal; /* where the row's text is, -1: nowhere (the manifest's own) */
    uint32_t bytes;
    int64_t at;
} um_score_result;

typedef struct um_score_results {
    const um_score_manifest *manifest; /* borrowed */
    um_score_result *row;              /* [manifest->n] */
    int64_t n_done, n_damaged;         /* rows that are there; journals with a damaged tail (or of which only a part could be read) */
    int64_t n_twice, n_foreign;        /* records beyond the first of a video; journals of another configuration */
    double no_score;                   /* of an input that the listing could not read: NaN, .5 with --pool faces */
    struct um_score_sources *sources;  /* private */
} um_score_results;

/* folder: of the journals; a missing one is empty. Errors: UM_DATA, UM_IO, UM_NO_MEMORY. */
um_status um_score_results_read(um_vfs *vfs, const char *folder, const um_score_manifest *m, double no_score, um_score_results *out);
/* The same from records in memory (um_score_journal_text of all ranks, one after the other); `text` must stay. */
um_status um_score_results_scan(const char *text, size_t n, const um_score_manifest *m, double no_score, um_score_results *out);
void um_score_results_release(um_score_results *r);

/* Takes text and empties the buffer. */
typedef um_status um_score_sink(void *user, um_buf *text);
/* All rows must be done (else UM_INTERNAL). */
um_status um_score_results_csv(const um_score_results *r, um_score_sink *add, void *user);
/* filename,label sorted by file name; 0.5 where there is no score; n_without: how many have no verdict. */
um_status um_score_results_submission(const um_score_results *r, um_score_sink *add, void *user, int64_t *n_without);
/* A line a video: {"path": "...", "models": ["name", ...], <the row>}. */
um_status um_score_results_details(const um_score_results *r, um_score_sink *add, void *user);
