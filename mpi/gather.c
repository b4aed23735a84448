/* What all ranks have, on rank 0; what a machine has, shared out among its ranks. */
#include "mpi/world.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

um_status um_world_gather(um_world *w, const void *p, size_t n, char **out, size_t *n_out)
{
    enum { TAG = 100, PIECE = 1 << 28 }; /* MPI counts are int; the queue has the tags below 100 */
    int64_t mine = (int64_t)n;
    int64_t *all = w->rank == 0 ? calloc((size_t)w->size, sizeof *all) : NULL;
    um_status st = w->rank == 0 && all == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for %d sizes", w->size) : UM_OK;
    *out = NULL;
    *n_out = 0;
    UM_GOTO_PASS(st, um_agree(w, st, "gathering"));
    if (w->size > 1) MPI_Gather(&mine, 1, MPI_INT64_T, all, 1, MPI_INT64_T, 0, w->comm);
    else all[0] = mine;
    if (w->rank == 0) {
        for (int r = 0; r < w->size; r++) *n_out += (size_t)all[r];
        *out = malloc(*n_out + 1);
        if (*out == NULL) st = UM_FAIL(UM_NO_MEMORY, "no memory for the %zu bytes of all ranks", *n_out);
    }
    UM_GOTO_PASS(st, um_agree(w, st, "gathering"));
    if (w->rank > 0) {
        for (size_t at = 0; at < n; at += PIECE) MPI_Send((const char *)p + at, (int)(n - at < PIECE ? n - at : PIECE), MPI_BYTE, 0, TAG, w->comm);
        goto done;
    }
    if (n > 0) memcpy(*out, p, n);
    char *to = *out + n;
    for (int r = 1; r < w->size; r++)
        for (int64_t left = all[r]; left > 0;) {
            int piece = left < PIECE ? (int)left : PIECE;
            MPI_Recv(to, piece, MPI_BYTE, r, TAG, w->comm, MPI_STATUS_IGNORE);
            to += piece;
            left -= piece;
        }
    *to = 0;
done:
    if (st != UM_OK) {
        free(*out);
        *out = NULL;
        *n_out = 0;
    }
    free(all);
    return st;
}

int um_world_processors(um_world *w)
{
    enum { MAX = CPU_SETSIZE };
    static int users[MAX]; /* 4 KB; called by one thread, once */
    int mine[MAX] = {0}, n = 0;
    double share = 0;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) CPU_SET(0, &set);
    for (int i = 0; i < MAX; i++) mine[i] = CPU_ISSET((size_t)i, &set) != 0;
    memcpy(users, mine, sizeof users);
    if (w->size > 1) {
        MPI_Comm node;
        MPI_Comm_split_type(w->comm, MPI_COMM_TYPE_SHARED, w->rank, MPI_INFO_NULL, &node);
        MPI_Allreduce(mine, users, MAX, MPI_INT, MPI_SUM, node);
        MPI_Comm_free(&node);
    }
    for (int i = 0; i < MAX; i++)
        if (mine[i] != 0) share += 1.0 / users[i];
    n = (int)(share + 1e-6);
    return n > 0 ? n : 1;
}
