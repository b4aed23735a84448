/* memory.c: the memory of the device: a mapping of its own that only emulated work can read and write. Each block ends at a guard page, so that the first byte behind it faults, and is preceded by one; the few bytes before it on its first page hold a
 * pattern that is looked at. Fresh memory is 0xff: NaN in every type. A freed address is never used again. Guards and freed blocks are shared mappings of an empty file, which fault whatever mprotect says: so one mprotect opens or closes all. */
#include "emu.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { PAGE = 4096, ALIGN = 256, CANARY = 0xa5, POISON = 0xff };
static const size_t room = (size_t)64 << 30; /* of addresses */

typedef struct block {
    char *low, *p, *end; /* pages; the block; both end at end, but for what rounds its size up to ALIGN */
    size_t bytes;
    bool lives;
} block;

static char *base, *end_of_room, *top;
static block *blocks;
static int n_blocks, cap_blocks, first_living, depth, guard_file = -1; /* first_living: all blocks before it are freed */
static size_t used, limit;
static struct sigaction before[2];

static block *find(const void *p) /* the last that begins at or before p */
{
    int low = 0, high = n_blocks;
    while (low < high) {
        int mid = (low + high) / 2;
        if (blocks[mid].low <= (const char *)p) low = mid + 1;
        else high = mid;
    }
    return low > 0 ? &blocks[low - 1] : NULL;
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    const char *p = info->si_addr, *what = (((ucontext_t *)context)->uc_mcontext.gregs[REG_ERR] & 2) != 0 ? "a store to" : "a load from";
    if (emu_is_device(p)) {
        const block *b = find(p);
        if (b != NULL && p < b->end && !b->lives) emu_die("%s freed device memory, block %td, offset %td", what, b - blocks, p - b->p);
        if (b != NULL && p < b->end && emu_now == NULL) emu_die("%s device memory by the host, block %td of %zu bytes, offset %td", what, b - blocks, b->bytes, p - b->p);
        if (b != NULL) emu_die("%s device memory at offset %td of block %td, which has %zu bytes", what, p - b->p, b - blocks, b->bytes);
        emu_die("%s device memory that was never allocated", what);
    }
    if (emu_in_shared(p)) emu_die("%s memory beside the shared memory of the block", what);
    if (emu_in_stack(p)) emu_die("a thread's stack overflows");
    sigaction(signal, &before[signal == SIGBUS], NULL); /* not ours: it happens again, to whoever was there before */
}

static void start(void)
{
    static char alternate[1 << 16];
    const char *wanted = getenv("EMU_MEMORY");
    struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (base != NULL) return;
    limit = wanted != NULL ? strtoull(wanted, NULL, 10) : (size_t)16 << 30;
    base = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    guard_file = memfd_create("emu-guard", MFD_CLOEXEC);
    if (base == MAP_FAILED || guard_file < 0) emu_die("no memory for the emulator");
    top = base;
    end_of_room = base + room;
    sigaltstack(&(stack_t){.ss_sp = alternate, .ss_size = sizeof alternate}, NULL);
    sigaction(SIGSEGV, &a, &before[0]);
    sigaction(SIGBUS, &a, &before[1]);
}

__attribute__((destructor)) static void report_leaks(void)
{
    int n = 0;
    size_t bytes = 0;
    for (int i = 0; i < n_blocks; i++)
        if (blocks[i].lives) {
            n++;
            bytes += blocks[i].bytes;
        }
    if (n > 0) fprintf(stderr, "emu: %d blocks of device memory, %zu bytes, were never freed\n", n, bytes);
}

bool emu_is_device(const void *p) { return base != NULL && (const char *)p >= base && (const char *)p < end_of_room; }

void emu_device_room(const char **low, const char **high)
{
    *low = base;
    *high = end_of_room;
}

bool emu_fits(const void *p, size_t bytes)
{
    const block *b = emu_is_device(p) ? find(p) : NULL;
    return b != NULL && b->lives && (const char *)p >= b->p && bytes <= b->bytes && (size_t)((const char *)p - b->p) <= b->bytes - bytes;
}

/* From the first living block on: what was freed before it stays closed, and the kernel need not look through all that ever was. */
static void protect(int protection)
{
    while (first_living < n_blocks && !blocks[first_living].lives) first_living++;
    if (first_living < n_blocks) mprotect(blocks[first_living].low, (size_t)(top - blocks[first_living].low), protection);
}

static void look_at_canaries(void)
{
    for (int i = first_living; i < n_blocks; i++) {
        const block *b = &blocks[i];
        for (const char *p = b->low; b->lives && p < b->end; p++) {
            if (p == b->p) p += b->bytes;
            if (p < b->end && *(const unsigned char *)p != CANARY) emu_die("a store beside device memory: byte %td of block %d of %zu bytes was overwritten", p - b->p, i, b->bytes);
        }
    }
}

void emu_memory_open(void)
{
    if (depth++ == 0) protect(PROT_READ | PROT_WRITE);
}

void emu_memory_close(void)
{
    if (--depth > 0) return;
    look_at_canaries();
    protect(PROT_NONE);
}

int emu_memory_shut(void)
{
    int was = depth;
    protect(PROT_NONE);
    depth = 0;
    return was;
}

void emu_memory_restore(int was)
{
    depth = was;
    if (depth > 0) protect(PROT_READ | PROT_WRITE);
}

static void guard(char *p, size_t bytes)
{
    if (mmap(p, bytes, PROT_NONE, MAP_SHARED | MAP_FIXED, guard_file, 0) == MAP_FAILED) emu_die("no guard page");
}

cudaError_t cudaMalloc(void **p, size_t size)
{
    size_t whole = (size + ALIGN - 1) / ALIGN * ALIGN, pages = (whole + PAGE - 1) / PAGE * PAGE;
    start();
    if (emu_fails("cudaMalloc")) return emu_error(cudaErrorMemoryAllocation);
    if (emu_is_capturing(NULL)) return emu_error(cudaErrorStreamCaptureUnsupported);
    *p = NULL;
    if (size == 0) return cudaSuccess;
    if (used + whole > limit || (size_t)(end_of_room - top) < pages + 2 * PAGE) return emu_error(cudaErrorMemoryAllocation);
    if (n_blocks == cap_blocks) {
        cap_blocks = cap_blocks > 0 ? 2 * cap_blocks : 64;
        blocks = realloc(blocks, (size_t)cap_blocks * sizeof *blocks);
        if (blocks == NULL) emu_die("no memory for the emulator");
    }
    block b = {.low = top + PAGE, .end = top + PAGE + pages, .bytes = size, .lives = true};
    b.p = b.end - whole;
    guard(top, PAGE);
    guard(b.end, PAGE);
    top = b.end;
    mprotect(b.low, pages, PROT_READ | PROT_WRITE);
    memset(b.low, CANARY, pages);
    memset(b.p, POISON, size);
    if (depth == 0) mprotect(b.low, pages, PROT_NONE);
    blocks[n_blocks++] = b;
    used += whole;
    emu_count.allocations++;
    *p = b.p;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    if (p == NULL) return cudaSuccess;
    if (emu_fails("cudaFree")) return emu_error(cudaErrorInvalidValue);
    if (emu_is_capturing(NULL)) return emu_error(cudaErrorStreamCaptureUnsupported);
    block *b = emu_is_device(p) ? find(p) : NULL;
    if (b == NULL || b->p != p || !b->lives) return emu_error(cudaErrorInvalidValue);
    emu_wait(NULL);
    emu_memory_open();
    emu_memory_close();
    b->lives = false;
    used -= (b->bytes + ALIGN - 1) / ALIGN * ALIGN;
    guard(b->low, (size_t)(b->end - b->low));
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    start();
    if (emu_fails("cudaMemGetInfo")) return emu_error(cudaErrorInvalidValue);
    *left = limit - used;
    *total = limit;
    return cudaSuccess;
}

/* ---- memory of the host that the device copies from ---- */

typedef struct pinned {
    char *p;
    size_t bytes;
} pinned;
static pinned *pins;
static int n_pins, cap_pins;

bool emu_is_pinned(const void *p, size_t bytes)
{
    for (int i = 0; i < n_pins; i++)
        if ((const char *)p >= pins[i].p && (const char *)p + bytes <= pins[i].p + pins[i].bytes) return true;
    return false;
}

cudaError_t cudaMallocHost(void **p, size_t size)
{
    start();
    *p = NULL;
    if (emu_fails("cudaMallocHost")) return emu_error(cudaErrorMemoryAllocation);
    if (n_pins == cap_pins) {
        cap_pins = cap_pins > 0 ? 2 * cap_pins : 16;
        pins = realloc(pins, (size_t)cap_pins * sizeof *pins);
        if (pins == NULL) emu_die("no memory for the emulator");
    }
    *p = malloc(size > 0 ? size : 1);
    if (*p == NULL) return emu_error(cudaErrorMemoryAllocation);
    memset(*p, POISON, size);
    pins[n_pins++] = (pinned){*p, size};
    emu_count.allocations++;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    if (p == NULL) return cudaSuccess;
    if (emu_fails("cudaFreeHost")) return emu_error(cudaErrorInvalidValue);
    emu_wait(NULL);
    for (int i = 0; i < n_pins; i++)
        if (pins[i].p == p) {
            pins[i] = pins[--n_pins];
            free(p);
            return cudaSuccess;
        }
    return emu_error(cudaErrorInvalidValue);
}
