#pragma once
/* world.h: the ranks of this run.
 *
 * um_world_open comes after um_decoder_start (the decoder's children are forked before MPI exists) and before anything collective;
 * um_world_close is called once, by main. A program that was not started by mpirun or srun is a world of one rank; no daemon is
 * started for it, and the functions below make no MPI call in a world of one: they serve jobs that never open MPI, too. Errors of MPI itself end the job through MPI_Abort (class "lost": MPI 3 leaves nothing to continue with); the
 * next run resumes.
 */
#include "src/core/err.h"

#include <mpi.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct um_world {
    MPI_Comm comm; /* a duplicate of MPI_COMM_WORLD: our tags meet nobody else's */
    int rank, size;
    int node_rank, node_size; /* among the ranks of this machine */
    int n_nodes;
    int node; /* this machine: the rank of the first of its ranks */
    double patience_s; /* how long um_agree, um_world_bcast and um_world_total wait for other ranks before um_world_lost; 0: for ever. A job sets it, the same on all ranks */
} um_world;

/* Rank and number of ranks as the launcher's environment tells, before MPI_Init: so that only one of many ranks prints a usage
 * error. 0 and 1 without launcher. Local. */
int um_world_env_rank(void);
int um_world_env_size(void);

/* Collective over all ranks. Errors: UM_INTERNAL. */
um_status um_world_open(um_world *w);
/* Collective over all ranks, also after errors. */
void um_world_close(um_world *w);

/* All ranks learn the worst status of any (job statuses rank above item statuses, these above OK) and return it; where that is not
 * UM_OK, every rank's chain holds "phase: " and the text of the lowest rank that has it, and the rank number when there are
 * several. `status` is this rank's, with its error chain. This is how ranks leave a phase together: local work, um_agree,
 * collective (reliability 13). Collective over w->comm. */
um_status um_agree(um_world *w, um_status status, const char *phase);

/* Ends the job where ranks can no longer agree: one is silent, or a library between them broke. Says this rank's error chain and aborts with the exit code of UM_STOPPED, since the same command goes on from the last checkpoint.
 * call_roll: this rank has waited for others in vain. So have all that can still answer: each tells the others, for some seconds, and those that are not heard are named. Local. Does not return. */
void um_world_lost(um_world *w, bool call_roll);

/* The ranks that give the same `part`, in their order, as a world of their own: for um_agree and all else below. Every rank takes part. um_world_leave releases it (a zeroed one too). Collective over w->comm. */
void um_world_split(um_world *w, int part, um_world *out);
void um_world_leave(um_world *part);

/* Rank 0's n bytes to all. Collective over w->comm. */
void um_world_bcast(um_world *w, void *p, size_t n);
/* v[i] = sum over all ranks, on all ranks, the same bits on each. Collective over w->comm. */
void um_world_total(um_world *w, double *v, size_t n);
/* Element-wise over all ranks, in place on rank 0; on other ranks the content is unspecified afterwards. Collective over w->comm.
 */
void um_world_sum_f64(um_world *w, double *v, int n);
void um_world_sum_i64(um_world *w, int64_t *v, int n);
void um_world_max_f64(um_world *w, double *v, int n);

/* All ranks' bytes on rank 0, in order of ranks: new memory in *out (free it; one 0 byte follows); NULL and 0 on the others. Collective over w->comm. Errors, the same on all ranks: UM_NO_MEMORY. */
um_status um_world_gather(um_world *w, const void *p, size_t n, char **out, size_t *n_out);
/* How many processors this rank may count as its own: those of its affinity mask, each shared fairly with the ranks of the machine that may use it too; at least 1. So ranks that mpirun bound get what they were bound to,
 * and ranks that were not bound share out the machine. Collective over w->comm. */
int um_world_processors(um_world *w);

/* "Open MPI v4.1.4": the library loaded at run time; MPI need not be open. Local. */
void um_world_library(char *out, size_t size);
