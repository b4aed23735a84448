#include "mpi/world.h"

#include "src/core/clock.h"
#include "src/core/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Open MPI's mpirun, PMIx launchers (srun --mpi=pmix), PMI-1/2 (srun --mpi=pmi2). SLURM_PROCID alone proves nothing: it is set in a
 * plain batch script too. */
static int env_number(const char *const *names, int otherwise)
{
    for (; *names != NULL; names++) {
        const char *s = getenv(*names);
        if (s != NULL && *s != 0) return atoi(s);
    }
    return otherwise;
}

int um_world_env_rank(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", NULL};
    return env_number(names, 0);
}

int um_world_env_size(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS", NULL};
    static const char *const launched[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", NULL};
    return env_number(launched, -1) < 0 ? 1 : env_number(names, 1);
}

/* What is told by w->comm alone. */
static void look_around(um_world *w)
{
    MPI_Comm node;
    MPI_Comm_rank(w->comm, &w->rank);
    MPI_Comm_size(w->comm, &w->size);
    MPI_Comm_split_type(w->comm, MPI_COMM_TYPE_SHARED, w->rank, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, &w->node_rank);
    MPI_Comm_size(node, &w->node_size);
    w->node = w->rank;
    MPI_Bcast(&w->node, 1, MPI_INT, 0, node);
    MPI_Comm_free(&node);
    int first = w->node_rank == 0;
    MPI_Allreduce(&first, &w->n_nodes, 1, MPI_INT, MPI_SUM, w->comm);
}

um_status um_world_open(um_world *w)
{
    int provided;
    static const char *const launched[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", NULL};
    /* Alone: keep Open MPI from starting a daemon for a world of one. */
    if (env_number(launched, -1) < 0) setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
    *w = (um_world){.comm = MPI_COMM_NULL, .size = 1, .node_size = 1, .n_nodes = 1};
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) return UM_FAIL(UM_INTERNAL, "MPI_Init failed");
    MPI_Comm_dup(MPI_COMM_WORLD, &w->comm);
    look_around(w);
    return UM_OK;
}

void um_world_close(um_world *w)
{
    if (w->comm == MPI_COMM_NULL) return;
    MPI_Comm_free(&w->comm);
    MPI_Finalize();
}

void um_world_split(um_world *w, int part, um_world *out)
{
    *out = (um_world){.comm = MPI_COMM_NULL, .patience_s = w->patience_s};
    MPI_Comm_split(w->comm, part, w->rank, &out->comm);
    look_around(out);
}

void um_world_leave(um_world *part)
{
    if (part->size > 0 && part->comm != MPI_COMM_NULL) MPI_Comm_free(&part->comm);
    *part = (um_world){.comm = MPI_COMM_NULL};
}

enum { TAG_ROLL = 101 /* beyond gather's */, ROLL_NAMED = 16 };
static const double roll_s = 10;

/* Numbers of the ranks that say nothing, as text; "" if all do. Requests that are still open are left: the job ends. */
static void call_the_roll(um_world *w, char *out, size_t size)
{
    MPI_Request *r = calloc(2 * (size_t)w->size, sizeof *r);
    int missing = w->size - 1, named = 0;
    double until = um_clock_s() + roll_s;
    size_t at = 0;
    *out = 0;
    if (r == NULL) return;
    for (int i = 0; i < w->size; i++) {
        r[i] = r[w->size + i] = MPI_REQUEST_NULL;
        if (i == w->rank) continue;
        MPI_Irecv(NULL, 0, MPI_BYTE, i, TAG_ROLL, w->comm, &r[i]);
        MPI_Isend(NULL, 0, MPI_BYTE, i, TAG_ROLL, w->comm, &r[w->size + i]);
    }
    while (missing > 0 && um_clock_s() < until) {
        int done = 0, ignored;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        MPI_Testany(w->size, r, &ignored, &done, MPI_STATUS_IGNORE);
        if (done != 0 && ignored != MPI_UNDEFINED) missing--;
    }
    for (int i = 0; i < w->size && named < ROLL_NAMED; i++)
        if (r[i] != MPI_REQUEST_NULL && at < size) at += (size_t)snprintf(out + at, size - at, "%s%d", named++ > 0 ? ", " : "", i);
    free(r);
}

void um_world_lost(um_world *w, bool call_roll)
{
    char silent[128] = "";
    um_log(UM_LOG_ERROR, "%s", um_err_text());
    if (call_roll) call_the_roll(w, silent, sizeof silent);
    if (*silent != 0) um_log(UM_LOG_ERROR, "no answer from rank %s: look at its machine and its log. Run the same command again to continue from the last checkpoint", silent);
    else um_log(UM_LOG_ERROR, "the job ends here: run the same command again to continue from the last checkpoint");
    MPI_Abort(w->comm, um_status_exit(UM_STOPPED));
}

/* Until the others have come, or for as long as the job has patience. */
static void await(um_world *w, MPI_Request *r)
{
    enum { SPINS = 2000 }; /* about as long as a step of ranks that are not far apart takes to meet */
    double until = um_clock_s() + w->patience_s;
    int done = 0;
    if (!(w->patience_s > 0)) {
        MPI_Wait(r, MPI_STATUS_IGNORE);
        return;
    }
    for (int64_t i = 0; done == 0; i++) {
        MPI_Test(r, &done, MPI_STATUS_IGNORE);
        if (done != 0 || i < SPINS) continue;
        if (um_clock_s() > until) {
            (void)UM_FAIL(UM_STOPPED, "waited %.0f s for other ranks", w->patience_s);
            um_world_lost(w, true);
        }
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
}

/* Order of badness: OK < item < job; within a class by number, so that all ranks choose alike. */
static int badness(um_status st)
{
    return st == UM_OK ? 0 : (um_status_class_of(st) == UM_CLASS_JOB ? 1000 : 100) + (int)st;
}

um_status um_agree(um_world *w, um_status status, const char *phase)
{
    char text[1024] = "";
    if (w->size == 1) {
        snprintf(text, sizeof text, "%s", um_err_text());
        return status == UM_OK ? UM_OK : UM_FAIL(status, "%s: %s", phase, text);
    }
    struct {
        int value, rank;
    } mine = {badness(status), w->rank}, worst;
    MPI_Request r;
    MPI_Iallreduce(&mine, &worst, 1, MPI_2INT, MPI_MAXLOC, w->comm, &r); /* MAXLOC takes the lowest rank of equals */
    await(w, &r);
    if (worst.value == 0) return UM_OK;
    int st = (int)status;
    if (w->rank == worst.rank) snprintf(text, sizeof text, "%s", um_err_text());
    MPI_Bcast(text, sizeof text, MPI_CHAR, worst.rank, w->comm);
    MPI_Bcast(&st, 1, MPI_INT, worst.rank, w->comm);
    return UM_FAIL((um_status)st, "%s: rank %d: %s", phase, worst.rank, text);
}

void um_world_bcast(um_world *w, void *p, size_t n)
{
    enum { PIECE = 1 << 28 }; /* MPI counts are int */
    for (size_t at = 0; at < n && w->size > 1; at += PIECE) {
        MPI_Request r;
        MPI_Ibcast((char *)p + at, (int)(n - at < PIECE ? n - at : PIECE), MPI_BYTE, 0, w->comm, &r);
        await(w, &r);
    }
}

void um_world_total(um_world *w, double *v, size_t n)
{
    enum { PIECE = 1 << 24 };
    for (size_t at = 0; at < n && w->size > 1; at += PIECE) {
        MPI_Request r;
        MPI_Iallreduce(MPI_IN_PLACE, v + at, (int)(n - at < PIECE ? n - at : PIECE), MPI_DOUBLE, MPI_SUM, w->comm, &r);
        await(w, &r);
    }
}

static void reduce(um_world *w, void *v, int n, MPI_Datatype type, MPI_Op op)
{
    if (w->size > 1) MPI_Reduce(w->rank == 0 ? MPI_IN_PLACE : v, v, n, type, op, 0, w->comm);
}

void um_world_sum_f64(um_world *w, double *v, int n)
{
    reduce(w, v, n, MPI_DOUBLE, MPI_SUM);
}
void um_world_sum_i64(um_world *w, int64_t *v, int n)
{
    reduce(w, v, n, MPI_INT64_T, MPI_SUM);
}
void um_world_max_f64(um_world *w, double *v, int n)
{
    reduce(w, v, n, MPI_DOUBLE, MPI_MAX);
}

void um_world_library(char *out, size_t size)
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int n = 0;
    MPI_Get_library_version(text, &n);
    text[strcspn(text, ",\n")] = 0;
    snprintf(out, size, "%s", text);
}
