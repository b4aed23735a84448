/* malloc_fault.c: a library for LD_PRELOAD that lets the n-th allocation of our own code fail. malloc_fault.py runs commands with it.
 *
 *   MALLOC_FAULT_AT=N      the N-th allocation (from 1) fails; 0: none, they are counted
 *   MALLOC_FAULT_MODE      once, or on: from then on all of them
 *   MALLOC_FAULT_WHO       main: in the process that was started; child: in those it forked
 *   MALLOC_FAULT_LOG=FILE  a line for each failure: pid, kind, bytes, caller's offset in the program; at the end of each process "total", its allocations
 *
 * Ours are calls from the program's own code, told by their return address: what libraries (MPI, HDF5, FFmpeg) allocate for themselves never fails. strdup and the like allocate inside the C library
 * but answer for us, so they are done here. Only a program called unmask is concerned; what it starts is left alone. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

static uintptr_t first, last; /* the program's code; 0: not ours */
static uintptr_t base;
static long fail_at;
static bool from_then_on, in_child;
static pid_t main_pid;
static int log_fd = -1;
static long count; /* of this process: a child starts with its parent's */

static int on_object(struct dl_phdr_info *info, size_t size, void *user)
{
    (void)size;
    (void)user;
    base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || (p->p_flags & PF_X) == 0) continue;
        first = base + p->p_vaddr;
        last = first + p->p_memsz;
    }
    return 1; /* the first object is the program */
}

__attribute__((constructor)) static void begin(void)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    const char *at = getenv("MALLOC_FAULT_AT"), *mode = getenv("MALLOC_FAULT_MODE"), *who = getenv("MALLOC_FAULT_WHO"), *path = getenv("MALLOC_FAULT_LOG");
    if (n < 7 || memcmp(self + n - 7, "/unmask", 7) != 0) return;
    fail_at = at != NULL ? atol(at) : 0;
    from_then_on = mode != NULL && strcmp(mode, "on") == 0;
    in_child = who != NULL && strcmp(who, "child") == 0;
    main_pid = getpid();
    if (path != NULL) log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    dl_iterate_phdr(on_object, NULL);
}

static void say(const char *kind, size_t n, uintptr_t caller)
{
    char line[128];
    int had = errno, len = snprintf(line, sizeof line, "%d %s %zu %lx\n", (int)getpid(), kind, n, (unsigned long)caller);
    if (log_fd >= 0 && write(log_fd, line, (size_t)len) < 0) log_fd = -1;
    errno = had;
}

__attribute__((destructor)) static void end(void)
{
    if (first != 0) say("total", (size_t)count, 0);
}

static bool fails(const char *kind, size_t n, const void *caller)
{
    uintptr_t c = (uintptr_t)caller;
    if (c < first || c >= last || (getpid() == main_pid) == in_child) return false;
    long i = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    if (fail_at == 0 && in_child) say("total", (size_t)i, 0); /* children end without a word */
    if (fail_at == 0 || (from_then_on ? i < fail_at : i != fail_at)) return false;
    say(kind, n, c - base);
    errno = ENOMEM;
    return true;
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t n) { return fails("malloc", n, CALLER) ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return fails("calloc", n * size, CALLER) ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return fails("realloc", n, CALLER) ? NULL : __libc_realloc(p, n); }
void *aligned_alloc(size_t align, size_t n) { return fails("aligned_alloc", n, CALLER) ? NULL : __libc_memalign(align, n); }

int posix_memalign(void **out, size_t align, size_t n)
{
    if (fails("posix_memalign", n, CALLER)) return ENOMEM;
    void *p = __libc_memalign(align, n);
    if (p == NULL) return ENOMEM;
    *out = p;
    return 0;
}

char *strndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *p = fails("strndup", len + 1, CALLER) ? NULL : __libc_malloc(len + 1);
    if (p == NULL) return NULL;
    memcpy(p, s, len);
    p[len] = 0;
    return p;
}

char *strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = fails("strdup", n, CALLER) ? NULL : __libc_malloc(n);
    return p != NULL ? memcpy(p, s, n) : NULL;
}

static int print(char **out, const char *format, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    *out = n >= 0 ? __libc_malloc((size_t)n + 1) : NULL;
    return *out != NULL ? vsnprintf(*out, (size_t)n + 1, format, ap) : -1;
}

int vasprintf(char **out, const char *format, va_list ap) { return fails("vasprintf", 0, CALLER) ? -1 : print(out, format, ap); }

int asprintf(char **out, const char *format, ...)
{
    if (fails("asprintf", 0, CALLER)) return -1;
    va_list ap;
    va_start(ap, format);
    int n = print(out, format, ap);
    va_end(ap);
    return n;
}
