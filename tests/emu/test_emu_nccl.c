/* Sums over ranks by NCCL (src/nn/cuda/rank_sums.h), in the emulator, each rank a process: exact sums, alone and recorded in graphs, of two communicators at once; ranks that are late, lost or fail; each call that fails.
 *
 * usage: test_emu_nccl sums|graphs|members|faults|two_sizes|living_graph     EMU_SEED: the schedule */
#include "mpi/world.h"
#include "src/nn/cuda/rank_sums.h"
#include "tests/emu/emu.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N = 1000 };

static um_world w;
static const um_rank_sums_ops *const nccl = &um_rank_sums_nccl;
static double patience_s = 600;

static void ok(cudaError_t e)
{
    if (e == cudaSuccess) return;
    fprintf(stderr, "%s\n", cudaGetErrorName(e));
    exit(3);
}

static void fine(um_status st)
{
    if (st == UM_OK) return;
    fprintf(stderr, "rank %d: %s\n", w.rank, um_err_text());
    exit(3);
}

static void *device(size_t bytes)
{
    void *p;
    ok(cudaMalloc(&p, bytes));
    return p;
}

static cudaStream_t stream(void)
{
    cudaStream_t s;
    ok(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    return s;
}

static cudaEvent_t event(void)
{
    cudaEvent_t e;
    ok(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    return e;
}

static void late(int rank)
{
    if (w.rank == rank) nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

/* Of the ranks first, first + step, ... of the world. */
static um_rank_sums *opened(int first, int step)
{
    unsigned char id[UM_COMM_ID_BYTES] = {0};
    um_rank_sums *c = NULL;
    int size = (w.size - first + step - 1) / step;
    if (w.rank == first) fine(nccl->id(id));
    if (w.size > 1) MPI_Bcast(id, (int)sizeof id, MPI_BYTE, first, w.comm);
    if (w.rank >= first && (w.rank - first) % step == 0) fine(nccl->open(id, (w.rank - first) / step, size, patience_s, &c));
    return c;
}

/* What rank r brings to sum i; whole numbers, so that sums are exact. */
static float value(int r, int i) { return (float)((r + 1) * (i % 37 + 1)); }

static void put(float *d, int salt, cudaStream_t s)
{
    float v[N];
    for (int i = 0; i < N; i++) v[i] = value(w.rank, i + salt);
    ok(cudaMemcpyAsync(d, v, sizeof v, cudaMemcpyHostToDevice, s));
}

static float total(int i)
{
    float t = 0;
    for (int r = 0; r < w.size; r++) t += value(r, i);
    return t;
}

static void sums(void)
{
    um_rank_sums *c = opened(0, 1);
    cudaStream_t s = stream();
    float *d = device(N * sizeof *d), v[N];
    double *e = device(N * sizeof *e), x[N];
    CHECK(nccl->version() > 21400);
    for (int round = 0; round < 5; round++) {
        int wrong = 0;
        late(round % w.size);
        put(d, round, s);
        fine(nccl->sum_f32(c, d, N, s));
        for (int i = 0; i < N; i++) x[i] = 1e10 * (w.rank + 1) + i;
        ok(cudaMemcpyAsync(e, x, sizeof x, cudaMemcpyHostToDevice, s));
        fine(nccl->sum_f64(c, e, N - 1, s));
        fine(nccl->sum_f64(c, e, 0, s));
        ok(cudaMemcpyAsync(v, d, sizeof v, cudaMemcpyDeviceToHost, s));
        ok(cudaMemcpyAsync(x, e, sizeof x, cudaMemcpyDeviceToHost, s));
        ok(cudaStreamSynchronize(s));
        for (int i = 0; i < N; i++) wrong += v[i] != total(i + round);
        for (int i = 0; i < N - 1; i++) wrong += x[i] != 1e10 * (w.size * (w.size + 1) / 2) + (double)w.size * i;
        wrong += x[N - 1] != 1e10 * (w.rank + 1) + (N - 1); /* beyond the sum */
        CHECK_INT(wrong, 0);
        fine(nccl->check(c));
    }
    CHECK_INT(emu_count.collectives, 10);
    CHECK_INT(emu_count.collectives_recorded, 0);
    nccl->close(c);
    nccl->close(NULL);
    ok(cudaFree(d));
    ok(cudaFree(e));
    ok(cudaStreamDestroy(s));
}

/* A step like the trainer's: sums of one communicator on the main stream; those of another fork off, run beside them, and join. Each doubles by the number of ranks, so that each launch's result tells how often and in which order it was summed. */
static void graphs(void)
{
    enum { LAUNCHES = 6, SMALL = 4, LARGE = 3 };
    um_rank_sums *a = opened(0, 1), *b = opened(0, 1);
    cudaStream_t s = stream(), side = stream();
    cudaEvent_t fork = event(), join = event(), end = event();
    cudaGraph_t g;
    cudaGraphExec_t x;
    float *small = device(N * sizeof *small), *large[LARGE], v[N], one[N];
    for (int i = 0; i < N; i++) one[i] = 1;
    for (int i = 0; i < LARGE; i++) large[i] = device(N * sizeof **large);
    ok(cudaMemcpyAsync(small, one, sizeof one, cudaMemcpyHostToDevice, s));
    for (int i = 0; i < LARGE; i++) ok(cudaMemcpyAsync(large[i], one, sizeof one, cudaMemcpyHostToDevice, s));
    ok(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < SMALL; i++) {
        fine(nccl->sum_f32(a, small, N, s));
        if (i >= LARGE) continue;
        ok(cudaEventRecord(fork, s));
        ok(cudaStreamWaitEvent(side, fork, 0));
        fine(nccl->sum_f32(b, large[i], N, side));
    }
    ok(cudaEventRecord(join, side));
    ok(cudaStreamWaitEvent(s, join, 0));
    ok(cudaStreamEndCapture(s, &g));
    ok(cudaGraphInstantiate(&x, g, 0));
    CHECK_INT(emu_count.collectives, SMALL + LARGE);
    CHECK_INT(emu_count.collectives_recorded, SMALL + LARGE);
    float wanted = 1, wanted_large = 1;
    for (int l = 0; l < LAUNCHES; l++) {
        int wrong = 0;
        late(l % w.size);
        ok(cudaGraphLaunch(x, s));
        ok(cudaEventRecord(end, s));
        for (cudaError_t e; (e = cudaEventQuery(end)) != cudaSuccess;) {
            CHECK_INT(e, cudaErrorNotReady);
            fine(nccl->check(a));
            fine(nccl->check(b));
        }
        /* The small ones begin at 1 with each launch: they would not stay exact. */
        for (int i = 0; i < SMALL; i++) wanted *= (float)w.size;
        wanted_large *= (float)w.size;
        ok(cudaMemcpy(v, small, sizeof v, cudaMemcpyDeviceToHost));
        for (int i = 0; i < N; i++) wrong += v[i] != wanted;
        for (int k = 0; k < LARGE; k++) {
            ok(cudaMemcpy(v, large[k], sizeof v, cudaMemcpyDeviceToHost));
            for (int i = 0; i < N; i++) wrong += v[i] != wanted_large;
        }
        CHECK_INT(wrong, 0);
        ok(cudaMemcpyAsync(small, one, sizeof one, cudaMemcpyHostToDevice, s));
        wanted = 1;
    }
    CHECK_INT(emu_count.collectives, SMALL + LARGE);
    CHECK_INT(emu_count.graph_launches, LAUNCHES);
    ok(cudaGraphExecDestroy(x));
    ok(cudaGraphDestroy(g));
    /* The two communicators in other orders on the ranks: neither may keep the other from beginning. */
    put(small, 0, s);
    put(large[0], 1, side);
    um_rank_sums *first = w.rank % 2 == 0 ? a : b, *second = w.rank % 2 == 0 ? b : a;
    cudaStream_t on_first = w.rank % 2 == 0 ? s : side, on_second = w.rank % 2 == 0 ? side : s;
    fine(nccl->sum_f32(first, w.rank % 2 == 0 ? small : large[0], N, on_first));
    fine(nccl->sum_f32(second, w.rank % 2 == 0 ? large[0] : small, N, on_second));
    ok(cudaStreamSynchronize(on_first));
    ok(cudaStreamSynchronize(on_second));
    int wrong = 0;
    ok(cudaMemcpy(v, small, sizeof v, cudaMemcpyDeviceToHost));
    for (int i = 0; i < N; i++) wrong += v[i] != total(i);
    ok(cudaMemcpy(v, large[0], sizeof v, cudaMemcpyDeviceToHost));
    for (int i = 0; i < N; i++) wrong += v[i] != total(i + 1);
    CHECK_INT(wrong, 0);
    nccl->close(a);
    nccl->close(b);
    ok(cudaFree(small));
    for (int i = 0; i < LARGE; i++) ok(cudaFree(large[i]));
    ok(cudaEventDestroy(fork));
    ok(cudaEventDestroy(join));
    ok(cudaEventDestroy(end));
    ok(cudaStreamDestroy(s));
    ok(cudaStreamDestroy(side));
}

/* Communicators of some of the ranks, named by others than rank 0 of the world, one after the other and at once. */
static void members(void)
{
    cudaStream_t s = stream();
    float *d = device(N * sizeof *d), v[N];
    for (int step = 1; step <= 2; step++) {
        um_rank_sums *c[2] = {NULL, NULL};
        for (int first = 0; first < step && first < w.size; first++) c[first] = opened(first, step);
        for (int first = 0; first < step; first++) {
            float wanted = 0;
            int wrong = 0;
            if (c[first] == NULL) continue;
            put(d, 0, s);
            fine(nccl->sum_f32(c[first], d, N, s));
            ok(cudaMemcpyAsync(v, d, sizeof v, cudaMemcpyDeviceToHost, s));
            ok(cudaStreamSynchronize(s));
            for (int i = 0; i < N; i++) {
                wanted = 0;
                for (int r = first; r < w.size; r += step) wanted += value(r, i);
                wrong += v[i] != wanted;
            }
            CHECK_INT(wrong, 0);
            nccl->close(c[first]);
        }
    }
    ok(cudaFree(d));
    ok(cudaStreamDestroy(s));
}

/* Waits as a caller must: until the stream is through, or an error, or the time is over. */
static um_status watched(um_rank_sums *c, cudaStream_t s, double limit_s)
{
    struct timespec t0, t;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    for (;;) {
        cudaError_t e = cudaStreamQuery(s);
        um_status st = nccl->check(c);
        if (st != UM_OK) return st;
        if (e == cudaSuccess) return UM_OK;
        clock_gettime(CLOCK_MONOTONIC, &t);
        if ((double)(t.tv_sec - t0.tv_sec) + 1e-9 * (double)(t.tv_nsec - t0.tv_nsec) > limit_s) return UM_STOPPED;
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
}

static void fails(const char *call) { setenv("EMU_FAIL", call, 1); }

static void faults(void)
{
    unsigned char id[UM_COMM_ID_BYTES];
    char number[32];
    cudaStream_t s = stream();
    float *d = device(N * sizeof *d), v[N];
    um_rank_sums *c;
    int last = w.size - 1;

    /* A rank that does not come to the opening: the others leave after the deadline, and the next communicator is not disturbed. */
    if (w.size > 1) {
        memset(id, 0, sizeof id);
        if (w.rank == 0) fine(nccl->id(id));
        MPI_Bcast(id, (int)sizeof id, MPI_BYTE, 0, w.comm);
        patience_s = 1;
        if (w.rank != last) {
            CHECK_INT(nccl->open(id, w.rank, w.size, patience_s, &c), UM_STOPPED);
            CHECK(strstr(um_err_text(), "waited 1 s for the others") != NULL);
            CHECK(c == NULL);
        }
        patience_s = 600;
        MPI_Barrier(w.comm);
    }

    /* A collective that fails on one rank: there an error that says so, on the others silence; abort ends both, and what is behind it runs. In a graph, as the trainer's. */
    for (int silent = 0; silent < 2; silent++) {
        cudaGraph_t g;
        cudaGraphExec_t x;
        c = opened(0, 1);
        put(d, 0, s);
        ok(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
        fine(nccl->sum_f32(c, d, N, s));
        ok(cudaStreamEndCapture(s, &g));
        ok(cudaGraphInstantiate(&x, g, 0));
        ok(cudaGraphLaunch(x, s));
        fine(watched(c, s, 60));
        snprintf(number, sizeof number, "%d@%d", silent == 0 ? 2 : 4, last); /* of the last rank's */
        setenv(silent == 0 ? "EMU_NCCL_ERROR" : "EMU_NCCL_SILENT", number, 1);
        ok(cudaGraphLaunch(x, s));
        um_status st = watched(c, s, silent == 0 && w.rank == last ? 60 : 0.3);
        CHECK_INT(st, silent == 0 && w.rank == last ? UM_INTERNAL : UM_STOPPED);
        if (silent == 0 && w.rank == last) {
            CHECK(strstr(um_err_text(), "connection closed by remote peer") != NULL);
            CHECK_INT(nccl->sum_f32(c, d, N, s), UM_INTERNAL); /* it stays broken */
        } else {
            CHECK_INT(cudaStreamQuery(s), cudaErrorNotReady);
        }
        unsetenv("EMU_NCCL_ERROR");
        unsetenv("EMU_NCCL_SILENT");
        if (w.size > 1) MPI_Barrier(w.comm); /* all have seen it */
        ok(cudaGraphExecDestroy(x));
        ok(cudaGraphDestroy(g));
        nccl->break_off(c);
        ok(cudaMemcpyAsync(v, d, sizeof v, cudaMemcpyDeviceToHost, s));
        ok(cudaStreamSynchronize(s));
        CHECK(v[0] != v[0]); /* what an aborted sum leaves is nothing to rely on */
    }

    /* Calls that fail. */
    fails("ncclGetUniqueId:1");
    CHECK_INT(nccl->id(id), UM_CONFIG);
    CHECK(strstr(um_err_text(), "NCCL_SOCKET_IFNAME") != NULL);
    unsetenv("EMU_FAIL");
    fine(nccl->id(id));
    fails("ncclCommInitRankConfig:2"); /* EMU_FAIL counts on */
    CHECK_INT(nccl->open(id, 0, 1, patience_s, &c), UM_INTERNAL);
    CHECK(c == NULL);
    unsetenv("EMU_FAIL");
    CHECK_INT(nccl->open(id, 1, 1, patience_s, &c), UM_INTERNAL); /* no such rank */
    memset(id, 0, sizeof id);
    CHECK_INT(nccl->open(id, 0, 1, patience_s, &c), UM_INTERNAL);
    fine(nccl->id(id));
    fine(nccl->open(id, 0, 1, patience_s, &c));
    CHECK_INT(nccl->sum_f32(c, d, N + 1, s), UM_INTERNAL); /* beyond the block */
    CHECK_INT(nccl->sum_f32(c, v, N, s), UM_INTERNAL);     /* the host's */
    fails("ncclAllReduce:3");
    CHECK_INT(nccl->sum_f32(c, d, N, s), UM_INTERNAL);
    fails("ncclCommGetAsyncError:4");
    CHECK_INT(nccl->check(c), UM_INTERNAL);
    unsetenv("EMU_FAIL");
    fine(nccl->check(c));
    put(d, 0, s);
    fine(nccl->sum_f32(c, d, N, s));
    fails("ncclCommFinalize:5");
    nccl->close(c); /* by aborting */
    unsetenv("EMU_FAIL");

    /* A capture that is broken takes no more sums. */
    cudaGraph_t g;
    fine(nccl->id(id));
    fine(nccl->open(id, 0, 1, patience_s, &c));
    ok(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
    fine(nccl->sum_f32(c, d, N, s));
    CHECK(cudaDeviceSynchronize() != cudaSuccess);
    CHECK_INT(nccl->sum_f32(c, d, N, s), UM_INTERNAL);
    CHECK(cudaStreamEndCapture(s, &g) != cudaSuccess);
    nccl->close(c);
    ok(cudaFree(d));
    ok(cudaStreamDestroy(s));
}

/* Ends the program, with words. */
static void two_sizes(void)
{
    um_rank_sums *c = opened(0, 1);
    float *d = device(N * sizeof *d);
    fine(nccl->sum_f32(c, d, w.rank == 0 ? N : N - 1, NULL));
    ok(cudaDeviceSynchronize());
}

static void living_graph(void)
{
    um_rank_sums *c = opened(0, 1);
    float *d = device(N * sizeof *d);
    cudaStream_t s = stream();
    cudaGraph_t g;
    ok(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
    fine(nccl->sum_f32(c, d, N, s));
    ok(cudaStreamEndCapture(s, &g));
    nccl->break_off(c);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } part[] = {{"sums", sums}, {"graphs", graphs}, {"members", members}, {"faults", faults}, {"two_sizes", two_sizes}, {"living_graph", living_graph}};
    const char *want = argc > 1 ? argv[1] : "";
    fine(um_world_open(&w));
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++)
        if (strcmp(part[i].name, want) == 0) part[i].run();
    um_world_close(&w);
    return TEST_END();
}
