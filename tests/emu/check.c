/* check.c: the checking build. Kernels compiled with -fsanitize=thread,alignment,bounds-strict call __tsan_* before every load and store; they are defined here (the sanitizer's own library is not linked): exact bounds, alignment, loads of memory that
 * nothing has written, pointers of the host in kernels, races between threads of a kernel, and races between operations that no stream, event or wait of the host orders.
 *
 * For every byte of device and shared memory: the last store and the last load. A store races with an access of the same operation by another block, or by another thread with neither a barrier of the block nor, within a warp, a meeting of the warp
 * between them; and with an access of an operation that its own is not ordered behind: each operation has a bit for every one before it, so that this does not depend on which order was drawn. Only the last load is kept, so that a store may miss a race
 * with one before it; between two waits for everything, WINDOW operations can be told apart. */
#include "emu.h"

#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { WINDOW = 4096, WORDS = WINDOW / 64, MANY = 0xffff, IMAGES = 256 };

typedef struct access {
    uint32_t serial, block; /* serial 0: never */
    uint16_t thread, atomic;
    uint32_t when;          /* barriers of the block << 16 | meetings of the warp */
} access;
typedef struct cell {
    access store, load;
} cell;

static cell *device_cells, *shared_cells;
static const char *low, *high, *shared_low;
static uint32_t generation = 1, next_serial;
static uint64_t host_knows[WORDS];
static const char *name_of[WINDOW];
static struct {
    const char *low, *high;
} image[IMAGES];
static int n_images;

static cell *cells(size_t bytes)
{
    void *p = mmap(NULL, bytes * sizeof(cell), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) emu_die("no memory for the emulator's checks");
    return p;
}

/* ---- order between operations ---- */

static bool is_current(uint32_t serial) { return serial != 0 && (serial - 1) / WINDOW == generation; }

static void need(emu_op *o)
{
    if (o->ancestors == NULL) o->ancestors = calloc(WORDS, sizeof *o->ancestors);
    if (o->ancestors == NULL) emu_die("no memory for the emulator's checks");
}

static void ordered(emu_op *o, const emu_op *earlier)
{
    need(o);
    if (!is_current(earlier->serial)) return;
    uint32_t i = (earlier->serial - 1) % WINDOW;
    for (int k = 0; earlier->ancestors != NULL && k < WORDS; k++) o->ancestors[k] |= earlier->ancestors[k];
    o->ancestors[i / 64] |= (uint64_t)1 << i % 64;
}

static void submitted(emu_op *o)
{
    need(o);
    if (next_serial == WINDOW) emu_die("more than %d operations between two waits for everything", WINDOW);
    name_of[next_serial] = o->name;
    o->serial = generation * WINDOW + next_serial++ + 1;
    for (int k = 0; k < WORDS; k++) o->ancestors[k] |= host_knows[k];
}

static void waited(const emu_op *o)
{
    if (o == NULL) {
        generation++;
        next_serial = 0;
        memset(host_knows, 0, sizeof host_knows);
        return;
    }
    if (!is_current(o->serial)) return;
    uint32_t i = (o->serial - 1) % WINDOW;
    for (int k = 0; k < WORDS; k++) host_knows[k] |= o->ancestors[k];
    host_knows[i / 64] |= (uint64_t)1 << i % 64;
    /* All is done: what comes next is ordered behind it. */
    bool all = true;
    for (uint32_t k = 0; k < next_serial && all; k++) all = (host_knows[k / 64] >> k % 64 & 1) != 0;
    if (all) waited(NULL);
}

/* ---- races ---- */

static bool races(const access *a, const access *me)
{
    if (!is_current(a->serial) || (a->atomic && me->atomic)) return false;
    if (a->serial != me->serial) {
        uint32_t i = (a->serial - 1) % WINDOW;
        return (emu_now->ancestors[i / 64] >> i % 64 & 1) == 0;
    }
    if (a->block != me->block) return true;
    if (a->thread == me->thread || a->when >> 16 != me->when >> 16) return false;
    return a->thread == MANY || a->thread / 32 != me->thread / 32 || (uint16_t)a->when == (uint16_t)me->when;
}

static void tell(const access *a, const access *me, const char *how, const char *space)
{
    if (a->serial != me->serial) emu_die("a %s of %s memory is not ordered behind '%s', which touched it", how, space, name_of[(a->serial - 1) % WINDOW]);
    if (a->thread == MANY) emu_die("a %s of %s memory races with several threads", how, space);
    emu_die("a %s of %s memory races with thread %u of block %u", how, space, a->thread, a->block);
}

static void touch(cell *c, size_t n, bool write, bool atomic, const char *space, bool of_block)
{
    access me = {emu_now->serial, emu_thread < 0 ? 0 : emu_block, (uint16_t)(emu_thread < 0 ? 0 : emu_thread), atomic, emu_thread < 0 ? 0 : emu_barriers << 16 | (emu_meetings[emu_thread / 32] & 0xffff)};
    for (size_t i = 0; i < n; i++, c++) {
        if (of_block) { /* what other blocks did to shared memory is forgotten */
            if (c->store.serial != me.serial || c->store.block != me.block) c->store.serial = 0;
            if (c->load.serial != me.serial || c->load.block != me.block) c->load.serial = 0;
        }
        if (races(&c->store, &me)) tell(&c->store, &me, write ? "store" : "load", space);
        if (write) {
            if (races(&c->load, &me)) tell(&c->load, &me, "store", space);
            c->store = me;
            c->load.serial = 0;
            continue;
        }
        if (c->store.serial == 0 && emu_thread >= 0) emu_die("a load of %s memory that nothing has written", space);
        if (c->load.serial == me.serial && c->load.block == me.block && c->load.thread != me.thread && c->load.when >> 16 == me.when >> 16) c->load.thread = MANY;
        else if (c->load.serial == me.serial && c->load.block != me.block) {
            c->load.thread = MANY;
            c->load.block = UINT32_MAX;
        } else
            c->load = me;
    }
}

static cell *device_cell(const void *p)
{
    if (device_cells == NULL) {
        emu_device_room(&low, &high);
        device_cells = cells((size_t)(high - low));
    }
    return device_cells + ((const char *)p - low);
}

static void range(const void *p, size_t bytes, bool write)
{
    if (bytes > 0 && emu_is_device(p)) touch(device_cell(p), bytes, write, false, "device", false);
}

/* ---- loads and stores of kernels ---- */

static int add_image(struct dl_phdr_info *info, size_t size, void *user)
{
    (void)size;
    (void)user;
    for (int i = 0; i < info->dlpi_phnum && n_images < IMAGES; i++) {
        if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
        image[n_images].low = (const char *)info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        image[n_images].high = image[n_images].low + info->dlpi_phdr[i].p_memsz;
        n_images++;
    }
    return 0;
}

static void access_of_kernel(const void *q, size_t bytes, bool write, bool atomic, bool aligned)
{
    const char *p = q, *how = write ? "store" : "load";
    if (emu_now == NULL || emu_thread < 0 || emu_in_stack(p)) return;
    if (aligned && ((uintptr_t)p & (bytes - 1)) != 0) emu_die("a %s of %zu bytes at an address that is no multiple of them", how, bytes);
    if (emu_is_device(p)) {
        if (!emu_fits(p, bytes)) emu_die("a %s of %zu bytes of device memory is not within one living block", how, bytes);
        touch(device_cell(p), bytes, write, atomic, "device", false);
        return;
    }
    if (emu_in_shared(p)) {
        if (!emu_in_own_shared(p, bytes)) emu_die("a %s of %zu bytes beside the shared memory of the block", how, bytes);
        if (shared_cells == NULL) {
            shared_low = (const char *)((uintptr_t)p & ~(uintptr_t)0xfffff) - (1 << 20);
            shared_cells = cells(3 << 20);
        }
        touch(shared_cells + (p - shared_low), bytes, write, atomic, "shared", true);
        return;
    }
    if (p >= (const char *)emu_now->arg && p < (const char *)emu_now->arg + emu_now->arg_bytes) return;
    if (n_images == 0) dl_iterate_phdr(add_image, NULL);
    for (int i = 0; i < n_images; i++)
        if (p >= image[i].low && p < image[i].high) return; /* threadIdx, constants */
    emu_die("a %s of memory of the host in a kernel", how);
}

static const emu_checks checks = {ordered, submitted, waited, range};
const emu_checks *emu_checker = &checks;

#define HOOK(name, ...)  \
    void name(__VA_ARGS__); \
    void name(__VA_ARGS__)
HOOK(__tsan_init, void) {}
HOOK(__tsan_func_entry, void *p) { (void)p; }
HOOK(__tsan_func_exit, void) {}
HOOK(__tsan_vptr_update, void *a, void *b) { (void)a, (void)b; }
HOOK(__tsan_read_range, void *p, unsigned long n) { access_of_kernel(p, n, false, false, false); }
HOOK(__tsan_write_range, void *p, unsigned long n) { access_of_kernel(p, n, true, false, false); }
#define BYTES(n)                                                                                 \
    HOOK(__tsan_read##n, void *p) { access_of_kernel(p, n, false, false, true); }                \
    HOOK(__tsan_write##n, void *p) { access_of_kernel(p, n, true, false, true); }                \
    HOOK(__tsan_unaligned_read##n, void *p) { access_of_kernel(p, n, false, false, false); }     \
    HOOK(__tsan_unaligned_write##n, void *p) { access_of_kernel(p, n, true, false, false); }
BYTES(1) BYTES(2) BYTES(4) BYTES(8) BYTES(16)
#define ATOMIC(bits, type)                                                        \
    type __tsan_atomic##bits##_load(const volatile type *p, int order);           \
    type __tsan_atomic##bits##_load(const volatile type *p, int order)            \
    {                                                                             \
        (void)order;                                                              \
        access_of_kernel((const void *)(uintptr_t)p, sizeof *p, false, true, true); \
        return *p;                                                                \
    }                                                                             \
    HOOK(__tsan_atomic##bits##_store, volatile type *p, type v, int order)        \
    {                                                                             \
        (void)order;                                                              \
        access_of_kernel((const void *)(uintptr_t)p, sizeof *p, true, true, true);  \
        *p = v;                                                                   \
    }
ATOMIC(8, uint8_t) ATOMIC(16, uint16_t) ATOMIC(32, uint32_t) ATOMIC(64, uint64_t)

/* -fsanitize=alignment,bounds-strict: vector loads, which GCC splits before the calls above, and arrays of a known size. */
struct place {
    const char *file;
    uint32_t line, column;
};
HOOK(__ubsan_handle_out_of_bounds_abort, struct place *l, unsigned long i) { emu_die("%s:%u: index %ld is outside of the array", l->file, l->line, (long)i); }
HOOK(__ubsan_handle_type_mismatch_v1_abort, struct place *l, unsigned long p) { emu_die("%s:%u: address %lx is not aligned", l->file, l->line, p); }
