/* stream.c: streams are queues that run late: nothing happens before somebody waits, and then queued operations run in a random order among those that CUDA's rules allow. Three kinds of order are drawn: only what is waited for; one stream far ahead of
 * the others; any. An operation waits for the one before it in its stream, for events, for the legacy stream's rules, and for the one before it in its chain (the operations of a communicator). */
#include "emu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct CUstream_st {
    emu_op *last; /* queued */
    bool independent; /* of the legacy stream */
    unsigned priority;
    struct CUgraph_st *capture;
    emu_op *last_recorded;
    struct CUstream_st *next;
};
struct CUevent_st {
    emu_op *op;
    struct CUgraph_st *capture;
    bool timed;
};
struct CUgraph_st {
    emu_op **op;
    int n, cap;
    struct CUstream_st *origin;
    bool broken;
};
struct CUgraphExec_st {
    emu_op **op;
    int n;
    emu_op *last; /* of its last launch: one at a time */
};

emu_op *emu_now;
__attribute__((weak)) const emu_checks *emu_checker;
static struct CUstream_st legacy = {0}, *streams = &legacy;
static struct CUgraph_st *capturing;
static emu_op **ready, **flying; /* flying: begun, and waiting for other processes */
static int n_ready, cap_ready, n_flying, cap_flying, n_pending;
static unsigned mark_now;

static void *grown(void *list, int n, int *cap)
{
    if (n < *cap) return list;
    *cap = *cap > 0 ? 2 * *cap : 16;
    list = realloc(list, (size_t)*cap * sizeof(void *));
    if (list == NULL) emu_die("no memory for the emulator");
    return list;
}

/* ---- operations ---- */

static void take(emu_op *o) { o->references++; }

static void drop(emu_op *o)
{
    if (o == NULL || --o->references > 0) return;
    for (int i = 0; i < o->n_before; i++) drop(o->before[i]);
    if (o->owns_from) free((void *)(uintptr_t)o->from);
    free(o->before);
    free(o->after);
    free(o->arg);
    free(o->ancestors);
    free(o);
}

static void put(emu_op **slot, emu_op *o)
{
    if (o != NULL) take(o);
    drop(*slot);
    *slot = o;
}

emu_op *emu_op_new(emu_kind kind, const char *name, const void *arg, size_t arg_bytes)
{
    emu_op *o = calloc(1, sizeof *o);
    if (o != NULL && arg_bytes > 0) o->arg = aligned_alloc(16, (arg_bytes + 15) / 16 * 16);
    if (o == NULL || (arg_bytes > 0 && o->arg == NULL)) emu_die("no memory for the emulator");
    if (arg_bytes > 0) memcpy(o->arg, arg, arg_bytes);
    o->kind = kind;
    o->name = name;
    o->references = 1;
    o->arg_bytes = arg_bytes;
    return o;
}

static void wait_for(emu_op *o, emu_op *earlier)
{
    if (earlier == NULL) return;
    if (emu_checker != NULL && !o->recorded) emu_checker->ordered(o, earlier);
    if (earlier->done) return;
    o->before = realloc(o->before, (size_t)(o->n_before + 1) * sizeof(emu_op *));
    if (o->before == NULL) emu_die("no memory for the emulator");
    take(earlier);
    o->before[o->n_before++] = earlier;
    if (o->recorded) return;
    earlier->after = realloc(earlier->after, (size_t)(earlier->n_after + 1) * sizeof(emu_op *));
    if (earlier->after == NULL) emu_die("no memory for the emulator");
    earlier->after[earlier->n_after++] = o;
    o->waits_for++;
}

static void make_ready(emu_op *o)
{
    ready = grown(ready, n_ready, &cap_ready);
    ready[n_ready++] = o;
}

/* The queue holds a reference until it has run. */
static void submit(emu_op *o)
{
    if (o->chain != NULL) {
        wait_for(o, *o->chain);
        put(o->chain, o);
    }
    take(o);
    n_pending++;
    if (emu_checker != NULL) emu_checker->submitted(o);
    if (o->waits_for == 0) make_ready(o);
}

static cudaError_t record(struct CUstream_st *s, emu_op *o, emu_op *event)
{
    struct CUgraph_st *g = s->capture;
    o->recorded = true;
    o->index = g->n;
    wait_for(o, s->last_recorded);
    wait_for(o, event);
    for (int i = g->n - 1; o->chain != NULL && i >= 0; i--)
        if (g->op[i]->chain == o->chain) {
            wait_for(o, g->op[i]);
            break;
        }
    g->op = grown(g->op, g->n, &g->cap);
    g->op[g->n++] = o; /* its reference is the graph's now */
    o->graphs = 1;
    put(&s->last_recorded, o);
    return cudaSuccess;
}

static cudaError_t queue(struct CUstream_st *s, emu_op *o, emu_op *event)
{
    if (s == NULL) s = &legacy;
    o->stream = s;
    if (s->capture != NULL && s->capture->broken) {
        drop(o);
        return emu_error(cudaErrorStreamCaptureInvalidated);
    }
    if (s->capture != NULL) return record(s, o, event);
    if (s == &legacy && capturing != NULL) {
        capturing->broken = true;
        drop(o);
        return emu_error(cudaErrorStreamCaptureImplicit);
    }
    wait_for(o, s->last);
    wait_for(o, event);
    for (struct CUstream_st *t = streams; s == &legacy && t != NULL; t = t->next)
        if (t != s && !t->independent) wait_for(o, t->last);
    if (s != &legacy && !s->independent) wait_for(o, legacy.last);
    submit(o);
    put(&s->last, o);
    drop(o);
    return cudaSuccess;
}

cudaError_t emu_queue(cudaStream_t stream, emu_op *op) { return queue(stream, op, NULL); }

cudaError_t emu_queue_library(cudaStream_t stream, const char *name, void (*call)(void *arg), const void *arg, size_t arg_bytes, emu_op **chain)
{
    emu_op *o = emu_op_new(EMU_LIBRARY, name, arg, arg_bytes);
    o->call = call;
    o->chain = chain;
    return queue(stream, o, NULL);
}

cudaError_t emu_queue_flight(cudaStream_t stream, const char *name, bool (*advance)(void *arg), void (*forgotten)(void *arg), const void *arg, size_t arg_bytes, emu_op **chain)
{
    emu_op *o = emu_op_new(EMU_FLIGHT, name, arg, arg_bytes);
    o->advance = advance;
    o->forgotten = forgotten;
    o->chain = chain;
    return queue(stream, o, NULL);
}

/* NULL: any stream, for calls that no capture allows. */
bool emu_is_capturing(cudaStream_t stream)
{
    if (stream != NULL) return stream->capture != NULL;
    if (capturing != NULL) capturing->broken = true;
    return capturing != NULL;
}

/* ---- running ---- */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void finished(emu_op *o)
{
    o->done = true;
    o->time = now_s();
    n_pending--;
    for (int i = 0; i < o->n_after; i++)
        if (--o->after[i]->waits_for == 0) make_ready(o->after[i]);
    for (int i = 0; i < o->n_before; i++) drop(o->before[i]);
    o->n_before = 0;
    drop(o);
}

static bool advances(emu_op *o)
{
    emu_now = o;
    bool ended = o->advance(o->arg);
    emu_now = NULL;
    return ended;
}

static void run(emu_op *o)
{
    if (o->kind == EMU_FLIGHT && !advances(o)) {
        flying = grown(flying, n_flying, &cap_flying);
        flying[n_flying++] = o;
        return;
    }
    emu_now = o;
    switch (o->kind) {
    case EMU_NOTHING:
    case EMU_FLIGHT: break;
    case EMU_KERNEL: emu_run_kernel(o); break;
    case EMU_COPY:
        if (emu_checker != NULL) {
            emu_checker->range(o->from, o->bytes, false);
            emu_checker->range(o->to, o->bytes, true);
        }
        memcpy(o->to, o->from, o->bytes);
        break;
    case EMU_SET:
        if (emu_checker != NULL) emu_checker->range(o->to, o->bytes, true);
        memset(o->to, o->value, o->bytes);
        break;
    case EMU_LIBRARY: o->call(o->arg); break;
    case EMU_HOST: {
        int was = emu_memory_shut(); /* it is the host's code */
        emu_now = NULL;
        o->call(*(void **)o->arg);
        emu_memory_restore(was);
        break;
    }
    }
    emu_now = NULL;
    finished(o);
}

/* Looks after what is under way; has any of it ended? */
static bool look_at_flights(void)
{
    bool any = false;
    for (int i = 0; i < n_flying;) {
        emu_op *o = flying[i];
        if (!advances(o)) {
            i++;
            continue;
        }
        flying[i] = flying[--n_flying];
        finished(o);
        any = true;
    }
    return any;
}

static void mark(emu_op *o)
{
    if (o->done || o->mark == mark_now) return;
    o->mark = mark_now;
    for (int i = 0; i < o->n_before; i++) mark(o->before[i]);
}

static int choose(int order, bool marked)
{
    int best = -1;
    uint64_t best_rank = 0;
    for (int i = 0; i < n_ready; i++) {
        if (order == 0 && marked && ready[i]->mark != mark_now) continue;
        uint64_t rank = (order == 1 ? (uint64_t)ready[i]->stream->priority << 32 : 0) | emu_random();
        if (best < 0 || rank > best_rank) {
            best = i;
            best_rank = rank;
        }
    }
    return best;
}

/* What the host sleeps through while other processes are awaited; ends the program where they do not come. */
static void wait_for_others(double *since)
{
    const char *limit = getenv("EMU_NCCL_LIMIT");
    if (*since <= 0) *since = now_s();
    if (now_s() - *since > (limit != NULL ? strtod(limit, NULL) : 120)) {
        emu_now = flying[0];
        emu_die("the host waits for other ranks that do not come (they may wait elsewhere, with work queued that nothing has begun: README.md)");
    }
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

/* wait: also for other processes; else as far as it goes without them. */
static void run_until(emu_op *target, bool wait)
{
    int order = (int)(emu_random() % 3), more = 64;
    double since = 0;
    if (target != NULL ? target->done : n_pending == 0) return;
    if (target != NULL) {
        mark_now++;
        mark(target);
    }
    for (struct CUstream_st *s = streams; s != NULL; s = s->next) s->priority = emu_random() & 0xffff;
    emu_memory_open();
    while (n_ready > 0 || n_flying > 0) {
        if (target != NULL && target->done && (order == 0 || n_ready == 0 || more-- == 0 || emu_random() % 4 != 0)) break; /* a device may be further than what was waited for */
        if (n_flying > 0 && emu_random() % 4 == 0 && look_at_flights()) continue;
        int i = choose(order, target != NULL);
        if (i < 0) {
            if (n_flying == 0) emu_die("work waits for itself");
            if (look_at_flights()) {
                since = 0;
                continue;
            }
            if (n_ready > 0) order = 2; /* other ranks may need what this one has not begun */
            else if (wait) wait_for_others(&since);
            else break;
            continue;
        }
        emu_op *o = ready[i];
        ready[i] = ready[--n_ready];
        run(o);
    }
    emu_memory_close();
}

cudaError_t emu_wait(emu_op *op)
{
    if (op != NULL && op->recorded) return emu_error(cudaErrorStreamCaptureUnsupported);
    if (op != NULL) take(op);
    run_until(op, true);
    if (emu_checker != NULL) emu_checker->waited(op);
    drop(op);
    return cudaSuccess;
}

bool emu_progress(emu_op *op)
{
    if (op == NULL || op->done) return true;
    take(op);
    run_until(op, false);
    bool done = op->done;
    drop(op);
    return done;
}

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    struct CUstream_st *s = calloc(1, sizeof *s);
    if (emu_fails("cudaStreamCreateWithFlags") || s == NULL) {
        free(s);
        return emu_error(cudaErrorMemoryAllocation);
    }
    s->independent = (flags & cudaStreamNonBlocking) != 0;
    s->next = streams->next;
    streams->next = s;
    *stream = s;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    if (emu_fails("cudaStreamDestroy") || stream == NULL) return emu_error(cudaErrorInvalidResourceHandle);
    emu_wait(NULL); /* queued operations still name the stream */
    for (struct CUstream_st *s = streams; s != NULL; s = s->next)
        if (s->next == stream) {
            s->next = stream->next;
            break;
        }
    drop(stream->last);
    drop(stream->last_recorded);
    free(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return emu_fails("cudaStreamSynchronize") ? emu_error(cudaErrorLaunchFailure) : emu_stream_wait(stream); }

cudaError_t emu_stream_wait(cudaStream_t stream)
{
    struct CUstream_st *s = stream != NULL ? stream : &legacy;
    if (s->capture != NULL || (s == &legacy && capturing != NULL)) {
        capturing->broken = true;
        return emu_error(cudaErrorStreamCaptureUnsupported);
    }
    emu_count.host_waits++;
    return s->last != NULL ? emu_wait(s->last) : cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
    if (emu_fails("cudaDeviceSynchronize")) return emu_error(cudaErrorLaunchFailure);
    if (emu_is_capturing(NULL)) return emu_error(cudaErrorStreamCaptureUnsupported);
    emu_count.host_waits++;
    return emu_wait(NULL);
}

static cudaError_t query(emu_op *o)
{
    if (o == NULL || o->done) return cudaSuccess;
    take(o);
    if (emu_random() % 2 == 0 || n_flying > 0) run_until(o, false);
    cudaError_t e = o->done ? cudaSuccess : cudaErrorNotReady;
    if (e == cudaSuccess && emu_checker != NULL) emu_checker->waited(o);
    drop(o);
    return e;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    if (emu_fails("cudaStreamQuery")) return emu_error(cudaErrorLaunchFailure);
    return query(stream != NULL ? stream->last : legacy.last);
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    *event = emu_fails("cudaEventCreateWithFlags") ? NULL : calloc(1, sizeof **event);
    if (*event == NULL) return emu_error(cudaErrorMemoryAllocation);
    (*event)->timed = (flags & cudaEventDisableTiming) == 0;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    if (emu_fails("cudaEventDestroy")) return emu_error(cudaErrorInvalidResourceHandle);
    drop(event->op);
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    if (emu_fails("cudaEventRecord")) return emu_error(cudaErrorInvalidResourceHandle);
    emu_op *o = emu_op_new(EMU_NOTHING, "event", NULL, 0);
    put(&event->op, o);
    event->capture = stream != NULL ? stream->capture : NULL;
    return queue(stream, o, NULL);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (emu_fails("cudaEventSynchronize")) return emu_error(cudaErrorLaunchFailure);
    emu_count.host_waits++;
    return event->op != NULL ? emu_wait(event->op) : cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    if (emu_fails("cudaEventQuery")) return emu_error(cudaErrorLaunchFailure);
    return query(event->op);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    if (emu_fails("cudaEventElapsedTime") || start->op == NULL || end->op == NULL || !start->timed || !end->timed) return emu_error(cudaErrorInvalidResourceHandle);
    if (!start->op->done || !end->op->done) return cudaErrorNotReady;
    *ms = (float)(1e3 * (end->op->time - start->op->time));
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    struct CUstream_st *s = stream != NULL ? stream : &legacy;
    (void)flags;
    if (emu_fails("cudaStreamWaitEvent")) return emu_error(cudaErrorInvalidResourceHandle);
    if (event->op == NULL) return cudaSuccess; /* never recorded: nothing to wait for */
    if (event->capture != NULL) {
        if (event->capture != capturing || (s->capture != NULL && s->capture != capturing)) return emu_error(cudaErrorStreamCaptureIsolation);
        s->capture = capturing; /* a fork */
    } else if (s->capture != NULL) {
        s->capture->broken = true;
        return emu_error(cudaErrorStreamCaptureIsolation);
    }
    return queue(s, emu_op_new(EMU_NOTHING, "wait for an event", NULL, 0), event->op);
}

/* ---- captures and graphs ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    (void)mode;
    if (emu_fails("cudaStreamBeginCapture") || stream == NULL || capturing != NULL) return emu_error(cudaErrorStreamCaptureUnsupported);
    capturing = calloc(1, sizeof *capturing);
    if (capturing == NULL) return emu_error(cudaErrorMemoryAllocation);
    capturing->origin = stream;
    stream->capture = capturing;
    return cudaSuccess;
}

/* By a graph. An event may know it for longer. */
static void forget(emu_op *o)
{
    if (--o->graphs == 0 && o->forgotten != NULL) o->forgotten(o->arg);
    drop(o);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    for (int i = 0; i < graph->n; i++) forget(graph->op[i]);
    free(graph->op);
    free(graph);
    return cudaSuccess;
}

/* Has every forked stream come back to the origin's last operation? */
static bool is_joined(const struct CUgraph_st *g)
{
    bool *used = calloc((size_t)g->n + 1, sizeof *used), joined = true;
    if (used == NULL) emu_die("no memory for the emulator");
    for (int i = 0; i < g->n; i++)
        for (int j = 0; j < g->op[i]->n_before; j++) used[g->op[i]->before[j]->index] = true;
    for (int i = 0; i < g->n; i++) joined = joined && (used[i] || g->op[i] == g->origin->last_recorded);
    free(used);
    return joined;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    *graph = NULL;
    if (stream == NULL || stream->capture == NULL || stream->capture->origin != stream) return emu_error(cudaErrorStreamCaptureUnmatched);
    struct CUgraph_st *g = stream->capture;
    cudaError_t e = g->broken ? cudaErrorStreamCaptureInvalidated : !is_joined(g) ? cudaErrorStreamCaptureUnjoined : cudaSuccess;
    for (struct CUstream_st *s = streams; s != NULL; s = s->next)
        if (s->capture == g) {
            s->capture = NULL;
            put(&s->last_recorded, NULL);
        }
    capturing = NULL;
    if (e == cudaSuccess && emu_fails("cudaStreamEndCapture")) e = cudaErrorStreamCaptureInvalidated;
    if (e != cudaSuccess) cudaGraphDestroy(g);
    else *graph = g;
    return e == cudaSuccess ? e : emu_error(e);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    (void)flags;
    *exec = emu_fails("cudaGraphInstantiate") ? NULL : calloc(1, sizeof **exec);
    if (*exec == NULL) return emu_error(cudaErrorMemoryAllocation);
    (*exec)->op = calloc((size_t)graph->n + 1, sizeof(emu_op *));
    if ((*exec)->op == NULL) emu_die("no memory for the emulator");
    for (; (*exec)->n < graph->n; (*exec)->n++) {
        take((*exec)->op[(*exec)->n] = graph->op[(*exec)->n]);
        graph->op[(*exec)->n]->graphs++;
    }
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream)
{
    (void)exec;
    (void)stream;
    return emu_fails("cudaGraphUpload") ? emu_error(cudaErrorMemoryAllocation) : cudaSuccess;
}

static emu_op *copy_of(const emu_op *t)
{
    emu_op *o = emu_op_new(t->kind, t->name, t->arg, t->arg_bytes);
    o->stream = t->stream;
    o->chain = t->chain;
    o->kernel = t->kernel;
    o->grid = t->grid;
    o->block = t->block;
    o->shared = t->shared;
    o->to = t->to;
    o->from = t->from;
    o->bytes = t->bytes;
    o->value = t->value;
    o->call = t->call;
    o->advance = t->advance;
    return o;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    if (emu_fails("cudaGraphLaunch")) return emu_error(cudaErrorLaunchFailure);
    if (stream != NULL && stream->capture != NULL) return emu_error(cudaErrorNotSupported);
    emu_op *begin = emu_op_new(EMU_NOTHING, "begin of a graph", NULL, 0), *end = emu_op_new(EMU_NOTHING, "end of a graph", NULL, 0), **copy = calloc((size_t)exec->n + 1, sizeof *copy);
    if (copy == NULL) emu_die("no memory for the emulator");
    take(begin);
    cudaError_t e = queue(stream, begin, exec->last);
    if (e != cudaSuccess) {
        drop(begin);
        drop(end);
        free(copy);
        return e;
    }
    for (int i = 0; i < exec->n; i++) {
        const emu_op *t = exec->op[i];
        emu_op *o = copy[i] = copy_of(t);
        wait_for(o, begin);
        for (int j = 0; j < t->n_before; j++) wait_for(o, copy[t->before[j]->index]);
        submit(o);
        wait_for(end, o);
    }
    put(&exec->last, end);
    e = queue(stream, end, begin);
    for (int i = 0; i < exec->n; i++) drop(copy[i]);
    drop(begin);
    free(copy);
    emu_count.graph_launches++;
    return e;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    for (int i = 0; i < exec->n; i++) forget(exec->op[i]);
    drop(exec->last);
    free(exec->op);
    free(exec);
    return cudaSuccess;
}

/* ---- the end ---- */

__attribute__((destructor)) static void report_queued(void)
{
    if (n_pending > 0) fprintf(stderr, "emu: %d operations were queued and never waited for\n", n_pending);
}
