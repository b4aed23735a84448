#pragma once
/* store_load.h: a store on its way from shards to entries: store_rows.c takes the rows out of the shards, store_join.c joins them. Private to io/store*.c. */
#include "io/store_journals.h"

typedef struct um_store_loader {
    um_store_content *c;
    um_vfs *vfs;
    um_store_journals j;
    um_keymap by_video;             /* id -> index in the manifest */
    um_disk_unit *taken[UM_STAGES]; /* [n_units]: whose rows count; unit == 0 in `took`: none yet */
    uint8_t *took;                  /* [n_units]: stages taken */
    bool disagree; /* two copies of a unit's stage were not equal */
    um_buf weak;   /* yielding copies, see store_rows.c; filled only when some disagree */
    /* The stages' rows of all taken units; .video is an index in the manifest, an image's .at counts from the start of its shard's file, .reserved is its shard. */
    um_buf rows[UM_STAGES];
} um_store_loader;

/* Opens the shards that the journals name, takes their units' rows, checked, and joins them to entries. */
um_status um_store_load_rows(um_store_loader *l);
/* Rows of all stages to l->c's entries. Sorts l->rows. */
um_status um_store_join(um_store_loader *l);
/* UM_DATA: the shard is damaged, and what to do about it. */
um_status um_store_damaged(const um_store_shard *s, const char *what);
