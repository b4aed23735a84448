/* api.c: copies, launches, devices and errors of the run time, the faults that a test asks for, and the counters. */
#include "emu.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

emu_counters emu_count;
static _Thread_local cudaError_t last_error;

/* In one piece, so that the words of several ranks do not mix. */
void emu_die(const char *fmt, ...)
{
    char line[1024] = "emu: ";
    va_list ap;
    fflush(stdout);
    va_start(ap, fmt);
    vsnprintf(line + 5, sizeof line - 5, fmt, ap);
    va_end(ap);
    size_t n = strlen(line);
    if (emu_now != NULL) snprintf(line + n, sizeof line - n, "; in %s%s", emu_now->name, emu_where());
    fprintf(stderr, "%s\n", line);
    _exit(EMU_EXIT);
}

cudaError_t emu_error(cudaError_t e)
{
    last_error = e;
    return e;
}

bool emu_fails(const char *call)
{
    static long of_name;
    const char *one = getenv("EMU_FAIL"), *at = getenv("EMU_FAIL_AT");
    emu_count.calls++;
    if (at != NULL && emu_count.calls == strtol(at, NULL, 10)) return true;
    if (one == NULL) return false;
    size_t n = strlen(call);
    return strncmp(one, call, n) == 0 && one[n] == ':' && ++of_name == strtol(one + n + 1, NULL, 10);
}

/* ---- copies ---- */

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t count, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    bool to = emu_is_device(dst), from = emu_is_device(src), recorded = stream != NULL && emu_is_capturing(stream);
    if (emu_fails("cudaMemcpyAsync")) return emu_error(cudaErrorLaunchFailure);
    if (count == 0) return cudaSuccess;
    if (kind != cudaMemcpyDefault && (to != (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) || from != (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice)))
        return emu_error(cudaErrorInvalidMemcpyDirection);
    if ((to && !emu_fits(dst, count)) || (from && !emu_fits(src, count))) return emu_error(cudaErrorInvalidValue);
    emu_op *o = emu_op_new(EMU_COPY, to ? from ? "a copy within the device" : "a copy to the device" : "a copy to the host", NULL, 0);
    o->to = dst;
    o->from = src;
    o->bytes = count;
    if (!from && !recorded && !emu_is_pinned(src, count)) { /* of pageable memory it is taken at once */
        void *taken = malloc(count);
        if (taken == NULL) emu_die("no memory for the emulator");
        o->from = memcpy(taken, src, count);
        o->owns_from = true;
    }
    if (!to && !recorded) memset(dst, 0xff, count); /* until it has run */
    emu_count.copies++;
    cudaError_t e = emu_queue(stream, o);
    if (e == cudaSuccess && !to && !recorded && !emu_is_pinned(dst, count)) return emu_stream_wait(stream);
    return e;
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t count, enum cudaMemcpyKind kind)
{
    if (emu_is_capturing(NULL)) return emu_error(cudaErrorStreamCaptureUnsupported);
    cudaError_t e = cudaMemcpyAsync(dst, src, count, kind, NULL);
    return e != cudaSuccess ? e : emu_stream_wait(NULL);
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t count, cudaStream_t stream)
{
    if (emu_fails("cudaMemsetAsync")) return emu_error(cudaErrorLaunchFailure);
    if (count == 0) return cudaSuccess;
    if (!emu_fits(p, count)) return emu_error(cudaErrorInvalidValue);
    emu_op *o = emu_op_new(EMU_SET, "a memset", NULL, 0);
    o->to = p;
    o->bytes = count;
    o->value = value;
    return emu_queue(stream, o);
}

cudaError_t cudaMemset(void *p, int value, size_t count)
{
    if (emu_is_capturing(NULL)) return emu_error(cudaErrorStreamCaptureUnsupported);
    return cudaMemsetAsync(p, value, count, NULL);
}

/* ---- launches ---- */

enum { MAX_KERNELS = 4096 };
static emu_kernel_info *kernels[MAX_KERNELS];

static emu_kernel_info *kernel_slot(const void *kernel)
{
    size_t i = (uintptr_t)kernel >> 4;
    while (kernels[i % MAX_KERNELS] != NULL && kernels[i % MAX_KERNELS]->kernel != kernel) i++;
    emu_kernel_info **slot = &kernels[i % MAX_KERNELS];
    if (*slot == NULL) {
        *slot = calloc(1, sizeof **slot);
        if (*slot == NULL) emu_die("no memory for the emulator");
        (*slot)->kernel = kernel;
        (*slot)->max_shared = 48 << 10; /* more must be asked for */
    }
    return *slot;
}

void emu_register(const void *kernel, const char *name, void (*call)(const void *kernel, void **args), int n_args, const unsigned *arg_bytes);
void emu_register(const void *kernel, const char *name, void (*call)(const void *kernel, void **args), int n_args, const unsigned *arg_bytes)
{
    emu_kernel_info *k = kernel_slot(kernel);
    if (n_args > EMU_MAX_ARGS) emu_die("kernel %s has %d arguments: at most %d", name, n_args, EMU_MAX_ARGS);
    k->name = name;
    k->call = call;
    k->n_args = n_args;
    memcpy(k->arg_bytes, arg_bytes, (size_t)n_args * sizeof *arg_bytes);
}

cudaError_t cudaLaunchKernel(const void *func, dim3 grid, dim3 block, void **args, size_t shared_bytes, cudaStream_t stream)
{
    const emu_kernel_info *k = kernel_slot(func);
    uint64_t n = (uint64_t)block.x * block.y * block.z;
    size_t bytes = 0;
    if (emu_fails("cudaLaunchKernel")) return emu_error(cudaErrorLaunchFailure);
    if (k->call == NULL) return emu_error(cudaErrorInvalidDeviceFunction);
    if (n == 0 || n > EMU_MAX_THREADS || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) return emu_error(cudaErrorInvalidConfiguration);
    if (shared_bytes > k->max_shared) return emu_error(cudaErrorInvalidValue);
    for (int i = 0; i < k->n_args; i++) bytes += (k->arg_bytes[i] + 15u) & ~15u;
    unsigned char *packed = malloc(bytes + 1), *at = packed;
    if (packed == NULL) emu_die("no memory for the emulator");
    for (int i = 0; i < k->n_args; i++) {
        memcpy(at, args[i], k->arg_bytes[i]);
        at += (k->arg_bytes[i] + 15u) & ~15u;
    }
    emu_op *o = emu_op_new(EMU_KERNEL, k->name, packed, bytes);
    free(packed);
    o->kernel = k;
    o->grid = grid;
    o->block = block;
    o->shared = shared_bytes;
    emu_count.launches++;
    return emu_queue(stream, o);
}

cudaError_t cudaFuncSetAttribute(const void *func, enum cudaFuncAttribute attr, int value)
{
    if (emu_fails("cudaFuncSetAttribute") || attr != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > EMU_SHARED_BYTES) return emu_error(cudaErrorInvalidValue);
    kernel_slot(func)->max_shared = (size_t)value;
    return cudaSuccess;
}

typedef struct host_call {
    cudaHostFn_t fn;
    void *user;
} host_call;

static void call_host(void *arg)
{
    const host_call *c = arg;
    c->fn(c->user);
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn, void *user)
{
    if (emu_fails("cudaLaunchHostFunc")) return emu_error(cudaErrorLaunchFailure);
    host_call c = {fn, user};
    emu_op *o = emu_op_new(EMU_HOST, "a host function", &c, sizeof c);
    o->call = call_host;
    return emu_queue(stream, o);
}

/* ---- devices ---- */

static int setting(const char *name, int otherwise)
{
    const char *s = getenv(name);
    return s != NULL && *s != 0 ? atoi(s) : otherwise;
}

static const char *driver(void)
{
    const char *s = getenv("EMU_DRIVER");
    return s != NULL ? s : "";
}

/* CUDA_VISIBLE_DEVICES, as far as whole numbers go: the numbers of the devices that this process sees. */
static int visible(int *number, int cap)
{
    const char *s = getenv("CUDA_VISIBLE_DEVICES");
    int all = setting("EMU_DEVICES", 1), n = 0;
    if (s == NULL) {
        for (int i = 0; i < all && n < cap; i++) number[n++] = i;
        return n;
    }
    while (*s != 0 && n < cap) {
        char *end;
        long i = strtol(s, &end, 10);
        if (end == s || i < 0 || i >= all) break; /* what is behind an invalid one is not seen */
        number[n++] = (int)i;
        s = *end == ',' ? end + 1 : end;
    }
    return n;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    int number[64];
    *count = 0;
    if (emu_fails("cudaGetDeviceCount")) return emu_error(cudaErrorDevicesUnavailable);
    if (*driver() != 0) return emu_error(cudaErrorInsufficientDriver);
    *count = visible(number, 64);
    return *count > 0 ? cudaSuccess : emu_error(cudaErrorNoDevice);
}

static int device_now;

cudaError_t cudaSetDevice(int device)
{
    int number[64];
    if (emu_fails("cudaSetDevice")) return emu_error(cudaErrorDevicesUnavailable);
    if (*driver() != 0) return emu_error(cudaErrorInsufficientDriver);
    if (device < 0 || device >= visible(number, 64)) return emu_error(cudaErrorInvalidDevice);
    device_now = device;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
    *device = device_now;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device)
{
    int sm = setting("EMU_SM", 90);
    size_t left;
    (void)device;
    if (emu_fails("cudaGetDeviceProperties")) return emu_error(cudaErrorInvalidDevice);
    *prop = (struct cudaDeviceProp){.major = sm / 10, .minor = sm % 10, .multiProcessorCount = 4, .warpSize = 32, .maxThreadsPerBlock = EMU_MAX_THREADS, .sharedMemPerBlock = 48 << 10, .sharedMemPerBlockOptin = EMU_SHARED_BYTES};
    strcpy(prop->name, "emulated GPU");
    return cudaMemGetInfo(&left, &prop->totalGlobalMem);
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int device)
{
    (void)device;
    if (emu_fails("cudaDeviceGetAttribute")) return emu_error(cudaErrorInvalidValue);
    *value = attr == cudaDevAttrHostNumaId ? 0 : -1;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int len, int device)
{
    int number[64];
    if (emu_fails("cudaDeviceGetPCIBusId") || device < 0 || device >= visible(number, 64)) return emu_error(cudaErrorInvalidDevice);
    snprintf(id, (size_t)len, "0000:%02x:00.0", number[device] + 1);
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = strcmp(driver(), "none") == 0 ? 0 : strcmp(driver(), "old") == 0 ? 11040 : 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

/* ---- errors ---- */

cudaError_t cudaGetLastError(void)
{
    cudaError_t e = last_error;
    last_error = cudaSuccess;
    return e;
}

cudaError_t cudaPeekAtLastError(void) { return last_error; }

const char *cudaGetErrorName(cudaError_t e)
{
    switch (e) {
#define NAME(x) \
    case x: return #x
        NAME(cudaSuccess);
        NAME(cudaErrorInvalidValue);
        NAME(cudaErrorMemoryAllocation);
        NAME(cudaErrorInvalidConfiguration);
        NAME(cudaErrorInvalidMemcpyDirection);
        NAME(cudaErrorInsufficientDriver);
        NAME(cudaErrorDevicesUnavailable);
        NAME(cudaErrorInvalidDeviceFunction);
        NAME(cudaErrorNoDevice);
        NAME(cudaErrorInvalidDevice);
        NAME(cudaErrorInvalidResourceHandle);
        NAME(cudaErrorNotReady);
        NAME(cudaErrorLaunchFailure);
        NAME(cudaErrorNotSupported);
        NAME(cudaErrorSystemDriverMismatch);
        NAME(cudaErrorStreamCaptureUnsupported);
        NAME(cudaErrorStreamCaptureInvalidated);
        NAME(cudaErrorStreamCaptureUnmatched);
        NAME(cudaErrorStreamCaptureUnjoined);
        NAME(cudaErrorStreamCaptureIsolation);
        NAME(cudaErrorStreamCaptureImplicit);
#undef NAME
    }
    return "an error that the emulator does not know";
}

const char *cudaGetErrorString(cudaError_t e) { return e == cudaSuccess ? "no error" : "emulated error"; }
