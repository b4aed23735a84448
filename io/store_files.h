#pragma once
/* store_files.h: the shards of a loaded store, open for reading. Private to io/store*.c.
 *
 * At most UM_STORE_OPEN_FILES are open at a time, whatever the number of shards; any thread may read. */
#include "io/store_format.h"

#include <pthread.h>

#define UM_STORE_OPEN_FILES 512

typedef struct um_store_set { /* where a table lies, as the journal says */
    int64_t at, rows;
    uint32_t crc;
} um_store_set;

typedef struct um_store_shard {
    char *file;  /* in DIR/shards */
    um_stage stage;
    int64_t bytes;
    uint32_t crc;
    um_store_set set[UM_SETS];
    int64_t first_byte; /* where its pictures lie in index.h5's /images or /masks */
    bool used;          /* some unit's rows come from it */
} um_store_shard;

typedef struct um_store_handle um_store_handle;

typedef struct um_store_files {
    um_vfs *vfs;
    char *dir;
    um_store_shard *shard;
    int n;
    pthread_mutex_t lock;
    um_store_handle *open[UM_STORE_OPEN_FILES]; /* shard i uses place i % UM_STORE_OPEN_FILES */
} um_store_files;

um_status um_store_files_new(um_vfs *vfs, const char *dir, um_store_files **out);
void um_store_files_free(um_store_files *f);
/* Takes over s->file. */
um_status um_store_files_add(um_store_files *f, const um_store_shard *s);
/* n bytes at `at` of a shard; its size was checked when it was opened. UM_DATA, UM_IO. */
um_status um_store_files_read(um_store_files *f, int shard, void *out, size_t n, int64_t at);
