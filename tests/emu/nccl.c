/* nccl.c: NCCL for the emulator, over MPI between real processes: communicators that do not block, sums on streams and in graphs, errors that are told later, and the end of what never ends.
 *
 * A collective that has its turn begins an MPI_Iallreduce and stays in flight while other work runs (stream.c), so that two ranks may run the collectives of two communicators in different orders. Device memory is closed to MPI: it sees a copy.
 * Members find each other through the rank that named the communicator; only members take part. Alone, a rank needs no MPI. */
#include "emu.h"

#include <mpi.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 22809, MAGIC = 0x656d756e, TAG = 20000, AGREED = 4 };

typedef enum state { OPENING, OPEN, CLOSING, CLOSED, ABORTED } state;

struct ncclComm {
    state state;
    int rank, size, root, tag; /* tag: to the root; from it: tag + 1 */
    int n_known, *world_rank;  /* of the members */
    MPI_Comm mpi;
    emu_op *last;              /* its operations run one after the other */
    int in_graphs, busy;       /* busy: how often a call that is under way is still asked for */
    bool silent;               /* from here on it begins nothing */
    ncclResult_t error;
    char text[200];
    struct ncclComm *next;
};

typedef struct name {
    int magic, root, number;
} name;

/* What MPI may use for as long as it likes: after an abort it is never given back. */
typedef struct wire {
    MPI_Request request;
    int64_t mine[AGREED], most[AGREED];
    void *data;
} wire;

typedef struct sum {
    ncclComm_t comm;
    const void *from;
    void *to;
    size_t n, bytes;
    MPI_Datatype type;
    enum { WAITING, AGREEING, SUMMING, STUCK } at;
    wire *wire;
} sum;

static struct ncclComm *comms; /* for ever: so that the use of one that is gone is noticed */
static char text[200];
static long n_begun;

static ncclResult_t refuse(ncclComm_t c, ncclResult_t e, const char *why)
{
    snprintf(c != NULL ? c->text : text, sizeof text, "%s", why);
    return e;
}

static bool has_mpi(void)
{
    int begun, ended;
    MPI_Initialized(&begun);
    MPI_Finalized(&ended);
    return begun && !ended;
}

static int world_rank(void)
{
    int rank = 0;
    if (has_mpi()) MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

static void look_up(ncclComm_t c, const char *call)
{
    ncclComm_t at = comms;
    while (at != NULL && at != c) at = at->next;
    if (at == NULL) emu_die("%s: no communicator", call);
    if (c->state >= CLOSED) emu_die("%s: the communicator was %s", call, c->state == CLOSED ? "destroyed" : "aborted");
}

/* ---- calls about nothing in particular ---- */

ncclResult_t ncclGetVersion(int *version)
{
    *version = VERSION;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t e)
{
    switch (e) {
    case ncclSuccess: return "no error";
    case ncclUnhandledCudaError: return "unhandled cuda error";
    case ncclSystemError: return "unhandled system error";
    case ncclInternalError: return "internal error";
    case ncclInvalidArgument: return "invalid argument";
    case ncclInvalidUsage: return "invalid usage";
    case ncclRemoteError: return "remote process exited or there was a network error";
    case ncclInProgress: return "NCCL operation in progress";
    }
    return "an error that the emulator does not know";
}

const char *ncclGetLastError(ncclComm_t c) { return c != NULL ? c->text : text; }

/* ---- communicators ---- */

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    static int number;
    name n = {MAGIC, has_mpi() ? world_rank() : -1, number++};
    if (emu_fails("ncclGetUniqueId")) return refuse(NULL, ncclSystemError, "emulated: no network");
    memset(id, 0, sizeof *id);
    memcpy(id->internal, &n, sizeof n);
    return ncclSuccess;
}

static void make(ncclComm_t c)
{
    MPI_Group all, members;
    MPI_Comm_group(MPI_COMM_WORLD, &all);
    MPI_Group_incl(all, c->size, c->world_rank, &members);
    MPI_Comm_create_group(MPI_COMM_WORLD, members, c->tag, &c->mpi);
    MPI_Group_free(&members);
    MPI_Group_free(&all);
    c->state = OPEN;
}

/* Goes on with the opening as far as messages have come. */
static void meet(ncclComm_t c)
{
    MPI_Status from;
    int there = 1, hello[2];
    if (c->root != world_rank()) {
        MPI_Iprobe(c->root, c->tag + 1, MPI_COMM_WORLD, &there, MPI_STATUS_IGNORE);
        if (!there) return;
        MPI_Recv(c->world_rank, c->size, MPI_INT, c->root, c->tag + 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        make(c);
        return;
    }
    while (there && c->n_known < c->size) {
        MPI_Iprobe(MPI_ANY_SOURCE, c->tag, MPI_COMM_WORLD, &there, &from);
        if (!there) return;
        MPI_Recv(hello, 2, MPI_INT, from.MPI_SOURCE, c->tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (hello[1] != c->size) emu_die("ncclCommInitRankConfig: rank %d opens a communicator of %d ranks, rank %d one of %d", hello[0], hello[1], c->rank, c->size);
        if (c->world_rank[hello[0]] >= 0) emu_die("ncclCommInitRankConfig: two processes say that they are rank %d", hello[0]);
        c->world_rank[hello[0]] = from.MPI_SOURCE;
        c->n_known++;
    }
    for (int i = 0; i < c->size; i++)
        if (i != c->rank) MPI_Send(c->world_rank, c->size, MPI_INT, c->world_rank[i], c->tag + 1, MPI_COMM_WORLD);
    make(c);
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int size, ncclUniqueId id, int rank, ncclConfig_t *config)
{
    name n;
    *comm = NULL;
    memcpy(&n, id.internal, sizeof n);
    if (emu_fails("ncclCommInitRankConfig")) return refuse(NULL, ncclSystemError, "emulated: no connection");
    if (emu_is_capturing(NULL)) return refuse(NULL, ncclUnhandledCudaError, "a communicator is opened while work is recorded");
    if (size < 1 || rank < 0 || rank >= size || n.magic != MAGIC) return refuse(NULL, ncclInvalidArgument, "no such rank, or no id");
    if (config == NULL || config->magic != 0xcafebeef || config->blocking != 0) emu_die("the emulator's communicators do not block: config.blocking = 0");
    if (size > 1 && (n.root < 0 || !has_mpi())) return refuse(NULL, ncclSystemError, "the emulator has several ranks only where MPI is open");
    ncclComm_t c = calloc(1, sizeof *c);
    if (c != NULL) c->world_rank = malloc((size_t)size * sizeof *c->world_rank);
    if (c == NULL || c->world_rank == NULL) emu_die("no memory for the emulator");
    for (int i = 0; i < size; i++) c->world_rank[i] = -1;
    c->rank = rank;
    c->size = size;
    c->root = n.root;
    c->tag = TAG + 2 * n.number;
    c->next = comms;
    *comm = comms = c;
    if (size == 1) c->state = OPEN;
    else if (n.root == world_rank()) {
        c->world_rank[rank] = n.root;
        c->n_known = 1;
    } else
        MPI_Send((int[]){rank, size}, 2, MPI_INT, n.root, c->tag, MPI_COMM_WORLD);
    c->busy = 1 + (int)(emu_random() % 3);
    return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *error)
{
    look_up(c, "ncclCommGetAsyncError");
    if (emu_fails("ncclCommGetAsyncError")) return refuse(c, ncclInternalError, "emulated");
    if (c->state == OPENING) meet(c);
    bool all_done = c->state == CLOSING || emu_random() % 2 == 0 ? emu_progress(c->last) : false; /* a device goes on by itself */
    if (c->busy > 0) c->busy--;
    *error = c->error != ncclSuccess ? c->error : c->state == OPENING || c->busy > 0 || (c->state == CLOSING && !all_done) ? ncclInProgress : ncclSuccess;
    return ncclSuccess;
}

/* NCCL waits for them, without end where somebody still holds them. */
static void no_graphs(const ncclComm_t c, const char *call)
{
    if (c->in_graphs > 0) emu_die("%s: graphs that hold %d collectives of the communicator still exist: NCCL waits until they are destroyed", call, c->in_graphs);
}

ncclResult_t ncclCommFinalize(ncclComm_t c)
{
    look_up(c, "ncclCommFinalize");
    if (emu_fails("ncclCommFinalize")) return refuse(c, ncclInternalError, "emulated");
    if (c->state != OPEN || c->busy > 0) return refuse(c, ncclInvalidArgument, "a communicator that is not ready is finalized");
    if (c->error != ncclSuccess) return c->error;
    no_graphs(c, "ncclCommFinalize");
    c->state = CLOSING;
    return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t c)
{
    look_up(c, "ncclCommDestroy");
    no_graphs(c, "ncclCommDestroy");
    if (c->state == OPENING) emu_die("ncclCommDestroy: the communicator is not open yet");
    if (c->last != NULL) emu_wait(c->last);
    if (c->size > 1 && has_mpi()) MPI_Comm_free(&c->mpi);
    c->state = CLOSED;
    return emu_fails("ncclCommDestroy") ? ncclInternalError : ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t c)
{
    look_up(c, "ncclCommAbort");
    no_graphs(c, "ncclCommAbort");
    c->state = ABORTED;
    (void)emu_progress(c->last);
    return emu_fails("ncclCommAbort") ? ncclInternalError : ncclSuccess;
}

/* ---- collectives ---- */

/* EMU_NCCL_ERROR, EMU_NCCL_SILENT: is it this one's turn? */
static bool is_chosen(const char *variable)
{
    const char *s = getenv(variable), *at = s != NULL ? strchr(s, '@') : NULL;
    return s != NULL && strtol(s, NULL, 10) == n_begun && (at == NULL || strtol(at + 1, NULL, 10) == world_rank());
}

static void begin(sum *s)
{
    ncclComm_t c = s->comm;
    n_begun++;
    if (is_chosen("EMU_NCCL_ERROR")) {
        c->error = refuse(c, ncclRemoteError, "emulated: connection closed by remote peer");
        c->silent = true;
    }
    if (is_chosen("EMU_NCCL_SILENT")) c->silent = true;
    if (c->silent) {
        s->at = STUCK;
        return;
    }
    if (emu_checker != NULL) emu_checker->range(s->from, s->bytes, false);
    s->wire = calloc(1, sizeof *s->wire);
    if (s->wire != NULL) s->wire->data = malloc(s->bytes);
    if (s->wire == NULL || s->wire->data == NULL) emu_die("no memory for the emulator");
    memcpy(s->wire->data, s->from, s->bytes);
    s->at = SUMMING;
    if (c->size == 1) {
        s->wire->request = MPI_REQUEST_NULL;
        return;
    }
    /* Ranks that ask for different sums would wait for ever on a GPU, or read beside their buffers. */
    int64_t n = (int64_t)s->n, size = (int64_t)(s->bytes / s->n);
    memcpy(s->wire->mine, (int64_t[AGREED]){n, -n, size, -size}, sizeof s->wire->mine);
    MPI_Iallreduce(s->wire->mine, s->wire->most, AGREED, MPI_INT64_T, MPI_MAX, c->mpi, &s->wire->request);
    s->at = AGREEING;
}

static bool has_come(sum *s)
{
    int done = 1;
    if (s->comm->size > 1) MPI_Test(&s->wire->request, &done, MPI_STATUS_IGNORE);
    return done;
}

static bool advance(void *arg)
{
    sum *s = arg;
    if (s->comm->state == ABORTED) { /* it ends, and what it leaves is anything */
        memset(s->to, 0xff, s->bytes);
        return true;
    }
    if (s->at == WAITING) begin(s);
    if (s->at == STUCK || !has_come(s)) return false;
    if (s->at == AGREEING) {
        const int64_t *most = s->wire->most;
        if (most[0] != -most[1] || most[2] != -most[3])
            emu_die("ranks ask for different sums: %lld to %lld numbers of %lld to %lld bytes, rank %d for %zu of %zu", (long long)-most[1], (long long)most[0], (long long)-most[3], (long long)most[2], s->comm->rank, s->n, s->bytes / s->n);
        MPI_Iallreduce(MPI_IN_PLACE, s->wire->data, (int)s->n, s->type, MPI_SUM, s->comm->mpi, &s->wire->request);
        s->at = SUMMING;
        if (!has_come(s)) return false;
    }
    if (emu_checker != NULL) emu_checker->range(s->to, s->bytes, true);
    memcpy(s->to, s->wire->data, s->bytes);
    free(s->wire->data);
    free(s->wire);
    return true;
}

static void forgotten(void *arg)
{
    const sum *s = arg;
    s->comm->in_graphs--;
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t n, ncclDataType_t type, ncclRedOp_t op, ncclComm_t c, cudaStream_t stream)
{
    size_t size = type == ncclFloat64 ? sizeof(double) : sizeof(float);
    sum s = {.comm = c, .from = from, .to = to, .n = n, .bytes = n * size, .type = type == ncclFloat64 ? MPI_DOUBLE : type == ncclFloat32 ? MPI_FLOAT : MPI_INT};
    look_up(c, "ncclAllReduce");
    if (emu_fails("ncclAllReduce")) return refuse(c, ncclInternalError, "emulated");
    if (c->error != ncclSuccess) return c->error;
    if (c->state != OPEN || c->busy > 0) return refuse(c, ncclInvalidArgument, "a communicator is used before it said that the call before was done");
    if (op != ncclSum || (type != ncclInt32 && type != ncclFloat32 && type != ncclFloat64) || n > INT_MAX) emu_die("ncclAllReduce: the emulator adds at most %d int, float or double", INT_MAX);
    if (n == 0) return ncclSuccess;
    if (!emu_fits(from, s.bytes) || !emu_fits(to, s.bytes)) return refuse(c, ncclInvalidArgument, "a buffer is not within one living block of device memory");
    bool recorded = stream != NULL && emu_is_capturing(stream);
    if (recorded) c->in_graphs++; /* forgotten() counts it back */
    if (emu_queue_flight(stream, "ncclAllReduce", advance, forgotten, &s, sizeof s, &c->last) != cudaSuccess) {
        c->in_graphs -= recorded;
        return refuse(c, ncclUnhandledCudaError, cudaGetErrorName(cudaPeekAtLastError()));
    }
    emu_count.collectives++;
    emu_count.collectives_recorded += recorded;
    c->busy = (int)(emu_random() % 3);
    return c->busy > 0 ? ncclInProgress : ncclSuccess;
}
