#pragma once
/* comm.h: src/nn/comm.h over MPI: sums of statistics and gradients among the ranks that train one network.
 *
 *     um_comm c; UM_PASS(um_mpi_comm_open(&members, deterministic, &c));   // collective
 *     ... um_net_options.comm = &c ...
 *     um_mpi_comm_close(&c);
 *
 * tree: recursive doubling: in round k rank r and rank r ^ 2^k exchange what they have and both add the lower one's to the higher one's. Addition of two numbers commutes bit for bit, so both hold the same, and after the rounds all ranks
 * hold ((0+1)+(2+3))+...: the tree that src/nn/comm.h wants. The number of ranks must be a power of two. Otherwise MPI_Allreduce, whose bits are the same on all ranks, and from run to run for one number of ranks.
 *
 * Sums that were begun go on while um_comm.poll is called (and in every other call): Debian's Open MPI has no thread of its own for that. All calls come from the thread that opened MPI.
 */
#include "mpi/world.h"
#include "src/nn/comm.h"

/* Collective over w. Errors, the same on all ranks: UM_NO_MEMORY; UM_USAGE (tree, and the number of ranks is no power of two). */
um_status um_mpi_comm_open(um_world *w, bool tree, um_comm *out);
/* Collective; no sum may be under way. Nothing happens to a zeroed struct. */
void um_mpi_comm_close(um_comm *c);
/* Seconds since it was opened that were spent in blocking sums and waiting. Local. */
double um_mpi_comm_waited_s(const um_comm *c);
