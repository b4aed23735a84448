/* The emulator notices what is wrong: each mistake in a process of its own, which must end with the emulator's exit code and words (or, where CUDA itself says so, with that error), and right code must pass.
 *
 * usage: test_emu_bugs plain|checked        EMU_SEED: the schedule */
#include "tests/emu/bugs.h"
#include "tests/emu/emu.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 64, BYTES = N * sizeof(float), RIGHT_CASES = 3 };

static float *x, *y, host[N];

static void must(cudaError_t e)
{
    if (e == cudaSuccess) return;
    fprintf(stderr, "%s\n", cudaGetErrorName(e));
    exit(3);
}

static void set_up(void)
{
    void *p;
    must(cudaMalloc(&p, BYTES));
    x = p;
    must(cudaMalloc(&p, BYTES));
    y = p;
    for (int i = 0; i < N; i++) host[i] = (float)i;
    must(cudaMemcpy(x, host, BYTES, cudaMemcpyHostToDevice));
    must(cudaMemset(y, 0, BYTES));
    must(cudaDeviceSynchronize()); /* streams of their own do not wait for that by themselves */
}

static cudaStream_t stream(void)
{
    cudaStream_t s;
    must(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    return s;
}

/* ---- cases: each runs in a child, and exits with 0 if nothing was noticed, 3 for an error of CUDA ---- */

static void kernel(int bug)
{
    must(bug_launch(bug, x, y, NULL));
    must(cudaDeviceSynchronize());
    must(cudaMemcpy(host, y, BYTES, cudaMemcpyDeviceToHost));
    for (int i = 0; i < N; i++)
        if (host[i] != (float)(N - 1 - i)) exit(4); /* seen by its result */
}

static void no_wait(int with_event)
{
    cudaStream_t a = stream(), b = stream();
    cudaEvent_t e;
    must(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    must(bug_add(y, x, a));
    must(cudaEventRecord(e, a));
    if (with_event) must(cudaStreamWaitEvent(b, e, 0));
    must(bug_add(y, x, b));
    must(cudaDeviceSynchronize());
}

static void host_reads_device(int arg)
{
    (void)arg;
    exit(*(volatile float *)y > 0);
}

static void use_after_free(int arg)
{
    (void)arg;
    must(cudaFree(x));
    kernel(BUG_NONE);
}

static void uninitialised(int arg)
{
    void *p;
    (void)arg;
    must(cudaMalloc(&p, BYTES));
    must(bug_launch(BUG_NONE, p, y, NULL));
    must(cudaDeviceSynchronize());
    must(cudaMemcpy(host, y, BYTES, cudaMemcpyDeviceToHost));
    if (host[0] != host[0]) exit(4); /* poison is NaN */
}

static void host_pointer(int arg)
{
    static float there[N];
    (void)arg;
    float *heap = calloc(N, sizeof *heap);
    must(bug_launch(BUG_NONE, heap != NULL ? heap : there, y, NULL));
    must(cudaDeviceSynchronize());
}

static void unjoined(int arg)
{
    cudaStream_t a = stream(), b = stream();
    cudaEvent_t e, back;
    cudaGraph_t g;
    must(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    must(cudaEventCreateWithFlags(&back, cudaEventDisableTiming));
    must(cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal));
    must(bug_add(y, x, a));
    must(cudaEventRecord(e, a));
    must(cudaStreamWaitEvent(b, e, 0));
    must(bug_add(y, x, b));
    must(cudaEventRecord(back, b));
    if (arg) must(cudaStreamWaitEvent(a, back, 0));
    must(cudaStreamEndCapture(a, &g));
}

static void wait_in_capture(int arg)
{
    cudaStream_t a = stream();
    (void)arg;
    must(cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal));
    must(cudaStreamSynchronize(a));
}

static void malloc_in_capture(int arg)
{
    cudaStream_t a = stream();
    void *p;
    (void)arg;
    must(cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal));
    must(cudaMalloc(&p, BYTES));
}

static void big_shared(int arg)
{
    (void)arg;
    must(bug_big_shared(y, NULL));
}

static void copy_past_end(int arg)
{
    (void)arg;
    must(cudaMemcpy(y, host, BYTES + 4, cudaMemcpyHostToDevice));
}

/* How a case ends: noticed by the emulator, told by CUDA's own error, seen by a wrong result, or not at all. */
enum { RIGHT = 0, TOLD = 3, SEEN = 4, NOTICED = EMU_EXIT, ANY = -1 };

static int end_of(void (*run)(int), int arg)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL) _exit(5);
        set_up();
        run(arg);
        exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -2;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(int);
        int arg, plain, checked;
    } cases[] = {
        {"right code", kernel, BUG_NONE, RIGHT, RIGHT},
        {"right code on two streams", no_wait, 1, RIGHT, RIGHT},
        {"a right capture of two streams", unjoined, 1, RIGHT, RIGHT},
        {"no barrier between a store and a load of shared memory", kernel, BUG_NO_BARRIER, ANY, NOTICED},
        {"no barrier within a warp", kernel, BUG_NO_WARP_BARRIER, ANY, NOTICED},
        {"a sum between blocks without an atomic", kernel, BUG_ADD_BETWEEN_BLOCKS, ANY, NOTICED},
        {"two threads store to one place", kernel, BUG_SAME_CELL, ANY, NOTICED},
        {"a store behind the shared memory", kernel, BUG_SHARED_OVERRUN, NOTICED, NOTICED},
        {"a store behind a block of device memory", kernel, BUG_STORE_PAST_END, NOTICED, NOTICED},
        {"a load behind a block of device memory", kernel, BUG_LOAD_PAST_END, NOTICED, NOTICED},
        {"a load of 16 bytes from an address that is no multiple", kernel, BUG_MISALIGNED, ANY, NOTICED},
        {"barriers in two branches", kernel, BUG_DIVERGENT_BARRIER, NOTICED, NOTICED},
        {"a shuffle from a lane that has left", kernel, BUG_LANE_AWAY, ANY, ANY},
        {"no event between two streams", no_wait, 0, ANY, NOTICED},
        {"the host reads device memory", host_reads_device, 0, NOTICED, NOTICED},
        {"a kernel reads freed memory", use_after_free, 0, NOTICED, NOTICED},
        {"a kernel reads memory that nothing has written", uninitialised, 0, SEEN, NOTICED},
        {"a kernel reads memory of the host", host_pointer, 0, ANY, NOTICED},
        {"a capture whose second stream does not come back", unjoined, 0, TOLD, TOLD},
        {"a wait in a capture", wait_in_capture, 0, TOLD, TOLD},
        {"an allocation in a capture", malloc_in_capture, 0, TOLD, TOLD},
        {"more shared memory than was asked for", big_shared, 0, TOLD, TOLD},
        {"a copy longer than its target", copy_past_end, 0, TOLD, TOLD},
    };
    bool checked = argc > 1 && strcmp(argv[1], "checked") == 0;
    int noticed = 0, n = (int)(sizeof cases / sizeof cases[0]);
    for (int i = 0; i < n; i++) {
        int want = checked ? cases[i].checked : cases[i].plain, got = end_of(cases[i].run, cases[i].arg);
        printf("%-60s %s\n", cases[i].name, got == RIGHT ? "passes" : got == TOLD ? "told by CUDA" : got == SEEN ? "seen by its result" : got == NOTICED ? "noticed" : "?");
        if (want != ANY) CHECK_INT(got, want);
        noticed += got == NOTICED || got == TOLD || got == SEEN;
    }
    printf("%d of %d mistakes noticed\n", noticed, n - RIGHT_CASES);
    return TEST_END();
}
