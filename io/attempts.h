#pragma once
/* attempts.h: what journals say of units that were begun: which runs ended while one was in hand, and why (reliability 5).
 *
 *     {"t":"start","unit":"<16 hex>"}                  begun; with ,"alone":true while no other unit was in hand anywhere
 *     {"t":"end","unit":"<16 hex>"}, "abort"            no longer in hand
 *     {"t":"strike","unit":"<16 hex>","signal":n}       last words (um_journal_arm)
 *
 * One writer has one unit in hand: a start, or the end of the journal, shows that the unit before was never ended: an unexplained death, unless a strike explains it.
 */
#include "io/jsontext.h"

typedef struct um_attempts { /* of one unit */
    int starts;  /* runs that ended while it was in hand, those with strikes too */
    int alone;   /* those of them in which it was the only one in hand */
    int strikes; /* recorded fatal signals */
    int strike_signal;
} um_attempts;

typedef struct um_attempts_reader { /* of one journal after another */
    um_attempts *(*find)(void *user, uint64_t unit); /* NULL: a unit that does not matter */
    void *user;
    um_buf text; /* scratch */
    uint64_t unit;
    bool open, alone;
} um_attempts_reader;

/* After `{"t":` and the type was read to r->text: does the rest of the record. *known: it is one of ours. false: damaged. */
bool um_attempts_record(um_attempts_reader *r, um_jsontext *t, bool *known);
/* The unit in hand is done, whatever records it. */
void um_attempts_ended(um_attempts_reader *r, uint64_t unit);
/* At the end of a journal. */
void um_attempts_close(um_attempts_reader *r);
/* The payload of a record of that type; returns its length. */
int um_attempts_format(char out[96], const char *type, uint64_t unit, bool alone);
