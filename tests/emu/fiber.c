/* fiber.c: the threads of a block. Each is a fiber with a stack of its own; one runs at a time, until it must wait for others (a barrier, an operation of its warp) or ends. Warps run in a random order between barriers, lanes of a warp from a
 * random one on, blocks in a random order: what a kernel leaves to chance is not left in peace.
 *
 * Deadlocks and meetings at different places end the program, where a GPU would hang or compute something. x86-64 only: the switch saves what the System V ABI says a callee saves. */
#include "emu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { WARP = 32, MAX_WARPS = EMU_MAX_THREADS / WARP, STACK = 64 << 10, PAGE = 4096 };

uint3 threadIdx, blockIdx;
struct emu_dim3 {
    unsigned x, y, z;
} blockDim, gridDim;

enum { SHUFFLE, SHUFFLE_UP, SHUFFLE_DOWN, SHUFFLE_XOR, BALLOT, SYNC };

typedef struct thread {
    void *sp;
    char *stack;
    bool begun;
    uint3 index;
    /* where it waits */
    int kind, arg, width, line;
    const char *file;
    unsigned mask;
    uint64_t value;
} thread;

typedef struct warp {
    int first, from;              /* thread; lane to begin with */
    unsigned all, ready, done, in_warp, in_block; /* lanes: in_warp, in_block: waiting for their warp, for their block */
} warp;

static thread threads[EMU_MAX_THREADS];
static warp warps[MAX_WARPS];
static int n_warps;
static thread *running;
static warp *running_warp;
static const emu_op *kernel_op;
static void *scheduler_sp;
int emu_thread = -1;
uint32_t emu_block, emu_barriers, emu_meetings[MAX_WARPS];
static char *stacks, *free_stack[EMU_MAX_THREADS + 1], *shared_end, *shared;
static int n_free_stacks;

/* ---- chance ---- */

unsigned emu_random(void)
{
    static uint64_t state;
    if (state == 0) {
        const char *seed = getenv("EMU_SEED");
        state = 0x9e3779b97f4a7c15u * ((seed != NULL ? strtoull(seed, NULL, 10) : 1) + 1);
    }
    state ^= state << 13; /* xorshift64 (Marsaglia, 2003) */
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 32);
}

/* ---- switching ---- */

/* Saves this fiber's registers and stack, and goes on with another's. */
__attribute__((naked, noinline)) static void switch_to(void **save, void *sp)
{
    (void)save;
    (void)sp;
    __asm__("pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
            "movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
            "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret");
}

static void body(void);

static void begin(thread *t)
{
    if (n_free_stacks == 0) emu_die("no stack is left for a thread");
    t->stack = free_stack[--n_free_stacks];
    size_t number = (size_t)(t->stack - stacks) / (STACK + PAGE);
    void **top = (void **)(void *)(t->stack + STACK - number % 61 * 64); /* tops in different sets of the cache */
    top[-1] = NULL;
    top[-2] = (void *)(uintptr_t)body;
    t->sp = top - 8;
    t->begun = true;
}

static void enter(thread *t)
{
    running = t;
    emu_thread = (int)(t - threads);
    threadIdx = t->index;
}

static void go(thread *t, void **save)
{
    if (!t->begun) begin(t);
    enter(t);
    switch_to(save, t->sp);
}

/* The next lane of the warp that can run, or NULL. */
static thread *pick(warp *w)
{
    if (w->ready == 0) return NULL;
    unsigned turned = w->from == 0 ? w->ready : w->ready >> w->from | w->ready << (WARP - w->from);
    int lane = (__builtin_ctz(turned) + w->from) % WARP;
    w->ready &= ~(1u << lane);
    return &threads[w->first + lane];
}

static void to_scheduler(void **save)
{
    running = NULL;
    emu_thread = -1;
    switch_to(save, scheduler_sp);
}

/* The running thread cannot go on. */
static void leave(void)
{
    thread *t = running, *next = pick(running_warp);
    if (next != NULL) go(next, &t->sp);
    else to_scheduler(&t->sp);
}

/* What a fiber does: its thread, and then, where the next has not begun, that one on the same stack, which is warm. */
static void body(void)
{
    for (;;) {
        void *args[EMU_MAX_ARGS], *nowhere;
        unsigned char *at = kernel_op->arg;
        for (int i = 0; i < kernel_op->kernel->n_args; i++) {
            args[i] = at;
            at += (kernel_op->kernel->arg_bytes[i] + 15u) & ~15u;
        }
        kernel_op->kernel->call(kernel_op->kernel->kernel, args);
        thread *t = running, *next;
        running_warp->done |= 1u << (t - threads - running_warp->first);
        next = pick(running_warp);
        if (next != NULL && !next->begun) {
            next->stack = t->stack;
            next->begun = true;
            enter(next);
            continue;
        }
        free_stack[n_free_stacks++] = t->stack;
        if (next != NULL) go(next, &nowhere);
        to_scheduler(&nowhere);
    }
}

/* ---- meeting ---- */

static unsigned lane_bit(const thread *t) { return 1u << (t - threads - running_warp->first); }

void emu_syncthreads(const char *file, int line);
void emu_syncthreads(const char *file, int line)
{
    if (running == NULL) emu_die("__syncthreads outside of a kernel");
    running->file = file;
    running->line = line;
    running_warp->in_block |= lane_bit(running);
    leave();
}

static uint64_t meet(unsigned mask, uint64_t value, int kind, int arg, int width, const char *file, int line)
{
    thread *t = running;
    if (t == NULL) emu_die("an operation of a warp outside of a kernel");
    if ((mask & lane_bit(t)) == 0) emu_die("%s:%d: the calling lane is not in its own mask %08x", file, line, mask);
    t->kind = kind;
    t->mask = mask;
    t->value = value;
    t->arg = arg;
    t->width = width;
    t->file = file;
    t->line = line;
    running_warp->in_warp |= lane_bit(t);
    leave();
    return t->value;
}

uint64_t emu_shuffle(unsigned mask, uint64_t value, int kind, int arg, int width, const char *file, int line);
uint64_t emu_shuffle(unsigned mask, uint64_t value, int kind, int arg, int width, const char *file, int line) { return meet(mask, value, kind, arg, width, file, line); }
unsigned emu_ballot(unsigned mask, int predicate, const char *file, int line);
unsigned emu_ballot(unsigned mask, int predicate, const char *file, int line) { return (unsigned)meet(mask, predicate != 0, BALLOT, 0, WARP, file, line); }
void emu_syncwarp(unsigned mask, const char *file, int line);
void emu_syncwarp(unsigned mask, const char *file, int line) { (void)meet(mask, 0, SYNC, 0, WARP, file, line); }

/* The lane that lane l of a shuffle reads. */
static int source(const thread *t, int l)
{
    int low = l & ~(t->width - 1), s = l;
    switch (t->kind) {
    case SHUFFLE: return low + (t->arg & (t->width - 1));
    case SHUFFLE_UP: s = l - t->arg; return s < low ? l : s;
    case SHUFFLE_DOWN: s = l + t->arg; break;
    default: s = l ^ t->arg;
    }
    return s >= low + t->width ? l : s;
}

/* Lets one group of lanes go on that is complete at an operation of its warp. */
static bool release(warp *w)
{
    for (unsigned left = w->in_warp; left != 0; left &= left - 1) {
        const thread *first = &threads[w->first + __builtin_ctz(left)];
        unsigned group = first->mask & w->all & ~w->done, votes = 0;
        uint64_t in[WARP];
        if ((group & ~w->in_warp) != 0) continue;
        for (unsigned g = group; g != 0; g &= g - 1) {
            int l = __builtin_ctz(g);
            const thread *t = &threads[w->first + l];
            if (t->mask != first->mask || t->kind != first->kind || t->line != first->line || t->file != first->file)
                emu_die("lanes of one warp meet at different operations: %s:%d with mask %08x and %s:%d with mask %08x", first->file, first->line, first->mask, t->file, t->line, t->mask);
            in[l] = t->value;
            if (t->value != 0) votes |= 1u << l;
        }
        for (unsigned g = group; g != 0; g &= g - 1) {
            int l = __builtin_ctz(g);
            thread *t = &threads[w->first + l];
            if (t->kind == BALLOT) t->value = votes;
            else if (t->kind != SYNC) {
                int s = source(t, l);
                t->value = (group >> s & 1) != 0 ? in[s] : UINT64_MAX; /* of a lane that is away: undefined, here poison */
            }
        }
        w->in_warp &= ~group;
        w->ready |= group;
        emu_meetings[w - warps]++;
        return true;
    }
    return false;
}

/* Until all lanes have ended or wait for the block. */
static void run_warp(warp *w)
{
    running_warp = w;
    w->from = (int)(emu_random() % WARP);
    for (;;) {
        thread *t = pick(w);
        if (t != NULL) {
            go(t, &scheduler_sp);
            continue;
        }
        if (release(w)) continue;
        if (w->in_warp != 0) {
            const thread *a = &threads[w->first + __builtin_ctz(w->in_warp)];
            emu_die("lanes wait at %s:%d with mask %08x for lanes %08x, which do not come", a->file, a->line, a->mask, a->mask & ~w->in_warp & ~w->done & w->all);
        }
        return;
    }
}

/* Lets all threads go on that wait at the block's barrier. False: none does, the block has ended. */
static bool pass_barrier(void)
{
    const thread *first = NULL;
    for (int i = 0; i < n_warps; i++)
        for (unsigned left = warps[i].in_block; left != 0; left &= left - 1) {
            const thread *t = &threads[warps[i].first + __builtin_ctz(left)];
            if (first == NULL) first = t;
            if (first->line != t->line || first->file != t->file)
                emu_die("threads %d and %d of a block meet at different barriers: %s:%d and %s:%d", (int)(first - threads), (int)(t - threads), first->file, first->line, t->file, t->line);
        }
    for (int i = 0; i < n_warps; i++) {
        warps[i].ready = warps[i].in_block;
        warps[i].in_block = 0;
    }
    emu_barriers++;
    return first != NULL;
}

static void run_block(int n_threads)
{
    for (int i = 0; i < n_threads; i++) threads[i].begun = false;
    for (int i = 0; i < n_warps; i++) {
        int n = n_threads - WARP * i;
        unsigned all = n >= WARP ? ~0u : (1u << n) - 1;
        warps[i] = (warp){.first = WARP * i, .all = all, .ready = all};
    }
    memset(shared, 0xff, (size_t)(shared_end - shared));
    memset(emu_meetings, 0, sizeof emu_meetings);
    emu_barriers = 0;
    do {
        int order[MAX_WARPS];
        for (int i = 0; i < n_warps; i++) {
            int j = (int)(emu_random() % (unsigned)(i + 1));
            order[i] = order[j];
            order[j] = i;
        }
        for (int i = 0; i < n_warps; i++) run_warp(&warps[order[i]]);
    } while (pass_barrier());
}

/* ---- kernels ---- */

static char *reserve(size_t bytes, int protection)
{
    void *p = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) emu_die("no memory for the emulator");
    return p;
}

static void make_stacks(void)
{
    enum { SHARED_ROOM = (EMU_SHARED_BYTES + PAGE - 1) / PAGE * PAGE };
    char *s = reserve(SHARED_ROOM + 2 * PAGE, PROT_NONE);
    mprotect(s + PAGE, SHARED_ROOM, PROT_READ | PROT_WRITE);
    shared_end = s + PAGE + SHARED_ROOM;
    stacks = reserve((size_t)(EMU_MAX_THREADS + 1) * (STACK + PAGE), PROT_READ | PROT_WRITE);
    for (int i = EMU_MAX_THREADS; i >= 0; i--) {
        char *at = stacks + (size_t)i * (STACK + PAGE);
        mprotect(at, PAGE, PROT_NONE);
        free_stack[n_free_stacks++] = at + PAGE;
    }
}

static uint64_t common_divisor(uint64_t a, uint64_t b) { return b == 0 ? a : common_divisor(b, a % b); }

void emu_run_kernel(const emu_op *op)
{
    int n_threads = (int)(op->block.x * op->block.y * op->block.z);
    uint64_t n_blocks = (uint64_t)op->grid.x * op->grid.y * op->grid.z, block = emu_random() % n_blocks, step = emu_random() % n_blocks;
    if (stacks == NULL) make_stacks();
    kernel_op = op;
    gridDim = (struct emu_dim3){op->grid.x, op->grid.y, op->grid.z};
    blockDim = (struct emu_dim3){op->block.x, op->block.y, op->block.z};
    n_warps = (n_threads + WARP - 1) / WARP;
    shared = shared_end - ((op->shared + 15) & ~(size_t)15); /* ends at a guard page */
    for (int i = 0; i < n_threads; i++) threads[i].index = (uint3){(unsigned)i % op->block.x, (unsigned)i / op->block.x % op->block.y, (unsigned)i / (op->block.x * op->block.y)};
    while (common_divisor(n_blocks, step) != 1) step++; /* so that every block has its turn once */
    for (uint64_t i = 0; i < n_blocks; i++, block = (block + step) % n_blocks) {
        blockIdx = (uint3){(unsigned)(block % op->grid.x), (unsigned)(block / op->grid.x % op->grid.y), (unsigned)(block / ((uint64_t)op->grid.x * op->grid.y))};
        emu_block = (uint32_t)block;
        run_block(n_threads);
    }
}

void *emu_shared(void);
void *emu_shared(void) { return shared; }

const char *emu_where(void)
{
    static char text[96];
    if (running == NULL) return "";
    snprintf(text, sizeof text, " block (%u,%u,%u) thread (%u,%u,%u)", blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
    return text;
}

bool emu_in_own_shared(const void *p, size_t bytes) { return shared != NULL && (const char *)p >= shared && (const char *)p + bytes <= shared + kernel_op->shared; }
bool emu_in_stack(const void *p) { return stacks != NULL && (const char *)p >= stacks && (const char *)p < stacks + (size_t)(EMU_MAX_THREADS + 1) * (STACK + PAGE); }
bool emu_in_shared(const void *p) { return shared_end != NULL && (const char *)p >= shared_end - EMU_SHARED_BYTES - 2 * PAGE && (const char *)p < shared_end + PAGE; }
