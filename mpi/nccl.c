/* nccl.c: src/nn/cuda/rank_sums.h by NCCL. Part of the GPU module, not of the program; libnccl.so.2 itself is looked for at the first use, so that machines without it still score, and train on one GPU. */
#include "src/nn/cuda/rank_sums.h"

#if defined(UM_HAS_NCCL)

#include "src/core/clock.h"

#include <dlfcn.h>
#include <nccl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

_Static_assert((int)UM_COMM_ID_BYTES == (int)NCCL_UNIQUE_ID_BYTES, "ids have NCCL's size");

/* All that we call. */
#define NCCL_CALLS(X)       \
    X(ncclGetVersion)       \
    X(ncclGetUniqueId)      \
    X(ncclCommInitRankConfig) \
    X(ncclCommFinalize)     \
    X(ncclCommDestroy)      \
    X(ncclCommAbort)        \
    X(ncclCommGetAsyncError) \
    X(ncclGetErrorString)   \
    X(ncclGetLastError)     \
    X(ncclAllReduce)

static struct {
    void *handle;
#define X(name) __typeof__(name) *name;
    NCCL_CALLS(X)
#undef X
} lib;

struct um_rank_sums {
    ncclComm_t comm;
    int rank, size;
    double patience_s;
};

#if defined(UM_EMU)
static um_status load(void)
{
#define X(name) lib.name = name;
    NCCL_CALLS(X)
#undef X
    return UM_OK;
}
#else
/* Once found it stays: threads of its own may run in it. */
static um_status load(void)
{
    const char *missing = NULL;
    if (lib.handle != NULL) return UM_OK;
    void *handle = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) return UM_FAIL(UM_CONFIG, "training on several GPUs needs NCCL: install libnccl2 (2.14 or newer), or put libnccl.so.2 where the loader looks (LD_LIBRARY_PATH): %s", dlerror());
#define X(name)                                            \
    {                                                      \
        void *at = dlsym(handle, #name);                   \
        memcpy(&lib.name, &at, sizeof at);                 \
        if (at == NULL && missing == NULL) missing = #name; \
    }
    NCCL_CALLS(X)
#undef X
    if (missing != NULL) {
        dlclose(handle);
        return UM_FAIL(UM_CONFIG, "libnccl.so.2 is too old: it has no %s; install libnccl2 2.14 or newer", missing);
    }
    lib.handle = handle;
    return UM_OK;
}
#endif

static int version(void)
{
    int version = 0;
    if (load() != UM_OK) {
        um_err_clear();
        return 0;
    }
    return lib.ncclGetVersion(&version) == ncclSuccess ? version : 0;
}

/* ---- errors ---- */

/* The last error's own text is longer ("... Connection refused"); where there is none, only the name's. c: NULL before there is a communicator. */
static um_status failed(const um_rank_sums *c, ncclResult_t e, const char *what)
{
    const char *more = lib.ncclGetLastError(c != NULL ? c->comm : NULL);
    if (c == NULL) return UM_FAIL(UM_INTERNAL, "%s: NCCL: %s%s%s", what, lib.ncclGetErrorString(e), more != NULL && *more != 0 ? ": " : "", more != NULL ? more : "");
    return UM_FAIL(UM_INTERNAL, "%s: NCCL on rank %d of %d: %s%s%s", what, c->rank, c->size, lib.ncclGetErrorString(e), more != NULL && *more != 0 ? ": " : "", more != NULL ? more : "");
}

/* Calls of a communicator that does not block go on in the background: until then nothing else may be asked of it. */
static um_status finish(um_rank_sums *c, ncclResult_t e, const char *what)
{
    struct timespec pause = {.tv_nsec = 20000};
    double start = um_clock_s(), limit = c->patience_s;
    while (e == ncclInProgress) {
        ncclResult_t asked = lib.ncclCommGetAsyncError(c->comm, &e);
        if (asked != ncclSuccess) e = asked;
        if (e != ncclInProgress) break;
        if (limit > 0 && um_clock_s() - start > limit) return UM_FAIL(UM_STOPPED, "%s: NCCL on rank %d of %d waited %.0f s for the others: one of them is lost or stuck", what, c->rank, c->size, limit);
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < 2000000) pause.tv_nsec *= 2;
    }
    return e == ncclSuccess ? UM_OK : failed(c, e, what);
}

/* ---- communicators ---- */

static um_status new_id(unsigned char id[UM_COMM_ID_BYTES])
{
    ncclUniqueId name;
    memset(id, 0, UM_COMM_ID_BYTES);
    UM_PASS(load());
    ncclResult_t e = lib.ncclGetUniqueId(&name);
    /* Nobody else has taken part yet: what fails is this machine's network as NCCL sees it. */
    if (e == ncclSystemError) return um_err_note(UM_FAIL(UM_CONFIG, "NCCL: %s", lib.ncclGetLastError(NULL)), "NCCL finds no network to meet the other ranks in: NCCL_SOCKET_IFNAME names it, NCCL_DEBUG=INFO tells more");
    if (e != ncclSuccess) return failed(NULL, e, "cannot name a communicator");
    memcpy(id, name.internal, UM_COMM_ID_BYTES);
    return UM_OK;
}

static void break_off(um_rank_sums *c)
{
    if (c == NULL) return;
    if (c->comm != NULL) (void)lib.ncclCommAbort(c->comm);
    free(c);
}

static um_status open_sums(const unsigned char id[UM_COMM_ID_BYTES], int rank, int size, double patience_s, um_rank_sums **out)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId name;
    um_status st;
    *out = NULL;
    UM_PASS(load());
    um_rank_sums *c = calloc(1, sizeof *c);
    if (c == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a communicator");
    c->rank = rank;
    c->size = size;
    c->patience_s = patience_s;
    memcpy(name.internal, id, UM_COMM_ID_BYTES);
    config.blocking = 0;
    UM_GOTO_PASS(st, finish(c, lib.ncclCommInitRankConfig(&c->comm, size, name, rank, &config), "cannot reach the other ranks' GPUs"));
    *out = c;
done:
    if (st != UM_OK) break_off(c);
    return st;
}

static void close_sums(um_rank_sums *c)
{
    if (c == NULL) return;
    /* Then destroying it waits for nobody. */
    if (finish(c, lib.ncclCommFinalize(c->comm), "cannot close the communicator") != UM_OK) {
        um_err_clear();
        break_off(c);
        return;
    }
    (void)lib.ncclCommDestroy(c->comm);
    free(c);
}

static um_status check(um_rank_sums *c)
{
    ncclResult_t e = ncclSuccess, asked = lib.ncclCommGetAsyncError(c->comm, &e);
    if (asked != ncclSuccess) e = asked;
    return e == ncclSuccess || e == ncclInProgress ? UM_OK : failed(c, e, "a sum over ranks failed");
}

/* ---- sums ---- */

static um_status sum(um_rank_sums *c, void *v, size_t n, ncclDataType_t type, cudaStream_t stream)
{
    if (n == 0) return UM_OK;
    return finish(c, lib.ncclAllReduce(v, v, n, type, ncclSum, c->comm, stream), "cannot queue a sum over ranks");
}

static um_status sum_f32(um_rank_sums *c, float *v, size_t n, cudaStream_t stream) { return sum(c, v, n, ncclFloat32, stream); }
static um_status sum_f64(um_rank_sums *c, double *v, size_t n, cudaStream_t stream) { return sum(c, v, n, ncclFloat64, stream); }

#else

/* Built where there was no nccl.h. */
static um_status none(void) { return UM_FAIL(UM_CONFIG, "this GPU module was built without NCCL (nccl.h was missing): train on one GPU, or build it again where libnccl-dev is installed"); }

static int version(void) { return 0; }
static um_status new_id(unsigned char id[UM_COMM_ID_BYTES])
{
    for (int i = 0; i < UM_COMM_ID_BYTES; i++) id[i] = 0;
    return none();
}
static um_status open_sums(const unsigned char id[UM_COMM_ID_BYTES], int rank, int size, double patience_s, um_rank_sums **out)
{
    (void)id, (void)rank, (void)size, (void)patience_s;
    *out = NULL;
    return none();
}
static um_status sum_f32(um_rank_sums *c, float *v, size_t n, cudaStream_t stream)
{
    (void)c, (void)v, (void)n, (void)stream;
    return none();
}
static um_status sum_f64(um_rank_sums *c, double *v, size_t n, cudaStream_t stream)
{
    (void)c, (void)v, (void)n, (void)stream;
    return none();
}
static um_status check(um_rank_sums *c)
{
    (void)c;
    return none();
}
static void break_off(um_rank_sums *c) { (void)c; }
static void close_sums(um_rank_sums *c) { (void)c; }

#endif

const um_rank_sums_ops um_rank_sums_nccl = {
    .id = new_id,
    .open = open_sums,
    .sum_f32 = sum_f32,
    .sum_f64 = sum_f64,
    .check = check,
    .break_off = break_off,
    .close = close_sums,
    .version = version,
};
