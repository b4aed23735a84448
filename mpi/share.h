#pragma once
/* share.h: one block of memory per machine, filled by one of its ranks and read by all: the weights of an ensemble are held once a node, not once a rank.
 *
 *     um_share s;
 *     UM_PASS(um_share_open(world, bytes, UM_SHARE_ANY, &s));   // collective
 *     um_status st = s.fill ? fill(s.data) : UM_OK;             // 0 or more of the node's ranks
 *     UM_PASS(um_share_ready(world, &s, st, "weights"));        // collective: from here on s.data is filled and read-only
 *     ...
 *     um_share_close(&s);
 *
 * The block is a memory file without a name (memfd), which the node's other ranks open through /proc of the rank that made it; where that fails (ranks in process namespaces of their own) a file in /dev/shm, whose name is
 * removed as soon as all have it open. So nothing is left behind, whenever the job is killed. Its pages are reserved when it is made: too little room is an error there and then, not a SIGBUS later. Where neither way works, each
 * rank gets memory of its own and fills it itself; the log says so once a node. One-sided MPI is not used: it fails with Debian's Open MPI (reliability 15).
 */
#include "mpi/world.h"

#include <stddef.h>

enum { UM_SHARE_MEMFD = 1, UM_SHARE_FILE = 2, UM_SHARE_ANY = 3 }; /* ways that may be tried; 0: memory of its own for each rank */

typedef struct um_share {
    void *data;     /* [bytes], aligned to a page, zeroed; read-only for ranks that do not fill, and for all after um_share_ready */
    size_t bytes;
    bool fill;      /* this rank must fill it */
    bool shared;    /* one block for all ranks of the node (true also where a rank is alone on its node) */
    size_t mapped_bytes; /* private */
} um_share;

/* Collective over w->comm. All ranks of a node give the same `bytes` (else UM_INTERNAL). Errors, the same on all ranks: UM_NO_MEMORY. */
um_status um_share_open(um_world *w, size_t bytes, int ways, um_share *out);
/* All ranks' fillings are complete, or the worst of their statuses is everyone's (um_agree, with its error chain; the share is closed then). Collective over w->comm. */
um_status um_share_ready(um_world *w, um_share *s, um_status filled, const char *phase);
/* Unmaps it. Local; nothing happens to a zeroed struct or one that is closed. */
void um_share_close(um_share *s);
