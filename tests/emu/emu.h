#pragma once
/* emu.h: a GPU on the processor, for tests: enough of CUDA's run time, cuBLASLt and NCCL that the GPU module's own files run on it unchanged (README.md: what it shows and what it cannot).
 *
 *   fiber.c   threads of a block as fibers: barriers, shuffles, in random order where CUDA leaves it open
 *   memory.c  device memory: its own mapping, closed to the host, poisoned, between guard pages
 *   stream.c  operations, streams, events, captures, graphs: queues that run late and in a random legal order
 *   api.c     the run time's calls on top of these, with faults on demand and counters
 *   lt.c      cuBLASLt
 *   nccl.c    NCCL, over MPI between processes
 *   check.c   the checking build: every load and store of a kernel
 *
 * Environment: EMU_SEED=n the order; EMU_DEVICES=n (1), EMU_SM=n (90), EMU_MEMORY=bytes; EMU_DRIVER=none|old; EMU_FAIL=call:n the n-th call of that name fails, EMU_FAIL_AT=n the n-th call of all.
 * EMU_NCCL_ERROR=n[@rank]: the n-th collective that runs here fails, as NCCL tells later; EMU_NCCL_SILENT=n[@rank]: it never begins, without a word (rank: of MPI_COMM_WORLD; without it, every one); EMU_NCCL_LIMIT=seconds (120) that a host
 * may wait for other ranks before that ends the program.
 * What a program does wrong ends it with "emu: ..." and exit code 86.
 */
#include <cuda_runtime_api.h>
#include <stdbool.h>

enum { EMU_MAX_THREADS = 1024, EMU_MAX_ARGS = 8, EMU_SHARED_BYTES = 227 << 10, EMU_EXIT = 86 };

typedef struct emu_counters {
    long launches, graph_launches, host_waits, allocations, copies, products, calls; /* asked for by the host: what a graph does is counted when it is recorded */
    long collectives, collectives_recorded;                                              /* of all ranks; those of them that were recorded in graphs */
} emu_counters;
extern emu_counters emu_count; /* of this process so far; a test may clear it */

/* ---- kernels ---- */

typedef struct emu_kernel_info {
    const void *kernel;
    const char *name;
    void (*call)(const void *kernel, void **args);
    int n_args;
    unsigned arg_bytes[EMU_MAX_ARGS];
    size_t max_shared;
} emu_kernel_info;

/* ---- operations ---- */

typedef enum emu_kind { EMU_NOTHING, EMU_KERNEL, EMU_COPY, EMU_SET, EMU_HOST, EMU_LIBRARY, EMU_FLIGHT } emu_kind;

/* What was queued once. Counted references: a queue, a stream, an event, a graph may each hold it. */
typedef struct emu_op {
    emu_kind kind;
    const char *name;
    int references, waits_for; /* predecessors that have not run */
    bool done, recorded;       /* recorded: part of a graph, never run itself */
    int index, graphs;         /* in its graph; how many graphs hold it, made ready or not */
    unsigned mark;
    struct emu_op **before, **after;
    int n_before, n_after;
    struct CUstream_st *stream;
    struct emu_op **chain;     /* operations of one chain run in the order in which they were queued */
    double time;
    const emu_kernel_info *kernel;
    dim3 grid, block;
    size_t shared;
    void *to;
    const void *from;
    size_t bytes;
    int value;
    void (*call)(void *arg);
    bool (*advance)(void *arg);   /* EMU_FLIGHT */
    void (*forgotten)(void *arg); /* where not NULL: called when no graph holds it any more */
    void *arg; /* owned: the kernel's arguments one after the other, 16-byte aligned, or a library call's */
    size_t arg_bytes;
    bool owns_from;
    /* check.c */
    uint32_t serial;      /* 0: not queued */
    uint64_t *ancestors;  /* a bit for each operation that this one is ordered behind */
} emu_op;

emu_op *emu_op_new(emu_kind kind, const char *name, const void *arg, size_t arg_bytes);
/* Queues it, or records it where the stream is captured; takes the reference. */
cudaError_t emu_queue(cudaStream_t stream, emu_op *op);
/* A library's work: call(copy of arg) in the order of the stream and, where chain is not NULL, of the chain. */
cudaError_t emu_queue_library(cudaStream_t stream, const char *name, void (*call)(void *arg), const void *arg, size_t arg_bytes, emu_op **chain);
/* Work that others take part in: once its turn has come, advance(copy of arg) begins it and looks after it, again and again until it says true, and other work runs meanwhile. Does not wait for anything itself. forgotten: see emu_op. */
cudaError_t emu_queue_flight(cudaStream_t stream, const char *name, bool (*advance)(void *arg), void (*forgotten)(void *arg), const void *arg, size_t arg_bytes, emu_op **chain);
bool emu_is_capturing(cudaStream_t stream);
/* Runs work that is ready, without waiting for other processes. Is op done (NULL: nothing to wait for)? */
bool emu_progress(emu_op *op);
/* Runs queued work until op (NULL: all) is done. */
cudaError_t emu_wait(emu_op *op);
/* cudaStreamSynchronize, but it never fails on demand: for calls that wait on their way. */
cudaError_t emu_stream_wait(cudaStream_t stream);
/* What runs now; NULL: the host. */
extern emu_op *emu_now;

/* The checking build's own (check.c); NULL in the plain one. */
typedef struct emu_checks {
    void (*ordered)(emu_op *op, const emu_op *earlier);
    void (*submitted)(emu_op *op);
    void (*waited)(const emu_op *op); /* by the host; NULL: for everything */
    void (*range)(const void *p, size_t bytes, bool write); /* by the operation that runs, not by a kernel */
} emu_checks;
extern const emu_checks *emu_checker;

/* fiber.c */
extern int emu_thread;                /* that runs, within its block; -1: none */
extern uint32_t emu_block, emu_barriers, emu_meetings[EMU_MAX_THREADS / 32]; /* block of the grid; barriers that it has passed; operations that each warp has met at */
bool emu_in_own_shared(const void *p, size_t bytes); /* of the block's size */
void emu_run_kernel(const emu_op *op);
unsigned emu_random(void);
/* " block (1,2,0) thread (3,0,0)" where a kernel's thread runs, else "". */
const char *emu_where(void);
bool emu_in_stack(const void *p);
bool emu_in_shared(const void *p);

/* memory.c */
void emu_device_room(const char **low, const char **high);
bool emu_is_device(const void *p);
bool emu_is_pinned(const void *p, size_t bytes);
/* Is [p, p + bytes) within one living block of device memory? */
bool emu_fits(const void *p, size_t bytes);
/* Device memory can be read and written between the two; they nest. */
void emu_memory_open(void);
void emu_memory_close(void);
/* Closed for the time of a host function. */
int emu_memory_shut(void);
void emu_memory_restore(int depth);

/* api.c */
_Noreturn void emu_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Counts a call, and says whether it is one that must fail. */
bool emu_fails(const char *call);
cudaError_t emu_error(cudaError_t e);
const emu_kernel_info *emu_kernel_find(const void *kernel);
