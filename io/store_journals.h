#pragma once
/* store_journals.h: what the journals of a store say: which units were begun, which were sealed and where. Private to io/store*.c. */
#include "io/keymap.h"
#include "io/store_files.h"

typedef struct um_store_sealed { /* one stage of one seal record */
    um_store_shard shard;
    int record; /* equal for the stages that were sealed together, and for no others */
    int first_unit, n_units; /* in um_store_journals.unit: those that have this stage */
} um_store_sealed;

typedef struct um_store_journals {
    um_buf seals; /* um_store_sealed: in the order of journal names and positions */
    um_buf unit;  /* uint64_t keys */
    const um_manifest *m;
    um_keymap by_key; /* unit key -> index in m */
    um_store_state *state;
    int64_t n_damaged;
    um_attempts_reader attempts;
} um_store_journals;

/* Reads all journals, drops the shards that are not there, sets state[].stages. Set j->m and j->state before, the rest 0; release *j whatever comes back.
 * n_unreferenced: files in shards/ that no journal names. UM_IO, UM_NO_MEMORY. */
um_status um_store_journals_read(um_vfs *vfs, const char *dir, um_store_journals *j, int64_t *n_unreferenced);
void um_store_journals_release(um_store_journals *j);
