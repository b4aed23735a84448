#include "jobs/device.h"

#include "src/core/cpu.h"
#include "src/core/log.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

um_status um_device_module(const um_gpu_module **out)
{
    static const char *const places[] = {"libunmask_cuda.so", "../lib/unmask/libunmask_cuda.so", NULL};
    const char *given = getenv("UNMASK_CUDA_MODULE");
    um_buf path = {0};
    *out = NULL;
    if (given != NULL && *given != 0) return um_gpu_module_load(given, out);
    um_status st = um_job_beside(places, &path);
    if (st == UM_OK) st = um_gpu_module_load((char *)path.data, out);
    um_buf_release(&path);
    return st;
}

/* The one NUMA node that all processors of this rank belong to; -1: several, or not known. */
static int numa_of_rank(void)
{
    cpu_set_t mine;
    int node = -1;
    CPU_ZERO(&mine);
    if (sched_getaffinity(0, sizeof mine, &mine) != 0) return -1;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        char path[96];
        int found = -1;
        if (!CPU_ISSET(cpu, &mine)) continue;
        for (int n = 0; n < 64 && found < 0; n++) {
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%zu/node%d", cpu, n);
            if (access(path, F_OK) == 0) found = n;
        }
        if (found < 0 || (node >= 0 && node != found)) return -1;
        node = found;
    }
    return node;
}

/* What this rank sees. A view without GPUs says why in the error chain. */
static um_status look(const um_world *w, bool automatic, const um_gpu_module **module, um_gpu_list *list, um_gpu_view *view)
{
    *view = (um_gpu_view){.node = w->node, .numa = numa_of_rank()};
    UM_PASS(um_device_module(module));
    if (automatic && (*module)->emulated) return UM_FAIL(UM_CONFIG, "the GPU module is the tests' emulator, which is taken with --device gpu only");
    UM_PASS((*module)->list(list));
    view->n = list->n;
    for (int i = 0; i < list->n; i++) {
        memcpy(view->gpu[i].bus, list->device[i].bus, sizeof view->gpu[i].bus);
        view->gpu[i].numa = list->device[i].numa;
    }
    return UM_OK;
}

/* Rank 0 decides for all. *device: of this rank, -1: none. *without: ranks that have none. Collective. */
static um_status assign(um_world *w, const um_gpu_view *mine, bool share, int *device, int *without)
{
    char *views = NULL;
    size_t n_views = 0;
    int *all = calloc((size_t)w->size + 1, sizeof *all); /* and how many are left */
    um_status st = all == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for %d ranks", w->size) : UM_OK;
    UM_GOTO_PASS(st, um_agree(w, st, "sharing out the GPUs"));
    UM_GOTO_PASS(st, um_world_gather(w, mine, sizeof *mine, &views, &n_views));
    if (w->rank == 0) {
        all[w->size] = um_gpu_assign((const um_gpu_view *)(const void *)views, w->size, share, all);
        if (all[w->size] < 0) st = UM_FAIL(UM_NO_MEMORY, "no memory for %d ranks", w->size);
    }
    UM_GOTO_PASS(st, um_agree(w, st, "sharing out the GPUs"));
    um_world_bcast(w, all, ((size_t)w->size + 1) * sizeof *all);
    *device = all[w->rank];
    *without = all[w->size];
done:
    free(views);
    free(all);
    return st;
}

typedef enum wish { WISH_CPU, WISH_AUTO, WISH_GPU } wish;

static um_status read_wish(const char *device, wish *out)
{
    const char *setting = getenv("UNMASK_CUDA");
    *out = strcmp(device, "cpu") == 0 ? WISH_CPU : strcmp(device, "gpu") == 0 ? WISH_GPU : WISH_AUTO;
    if (setting == NULL || *setting == 0 || strcmp(setting, "auto") == 0) return UM_OK;
    if (strcmp(setting, "on") != 0 && strcmp(setting, "off") != 0) return UM_FAIL(UM_CONFIG, "UNMASK_CUDA=%s: auto, on and off are known", um_quote(setting));
    if (*out == WISH_AUTO) *out = strcmp(setting, "on") == 0 ? WISH_GPU : WISH_CPU;
    return UM_OK;
}

/* Ranks must compute the same bits: all on GPUs, or none. All blind is a machine without GPUs, and no surprise; some is. Collective. */
static bool all_see(um_world *w, um_status mine)
{
    int64_t blind = mine != UM_OK;
    um_world_sum_i64(w, &blind, 1);
    um_world_bcast(w, &blind, sizeof blind);
    if (w->rank == 0 && blind > 0 && blind < w->size)
        um_log(UM_LOG_WARN, "%lld of %d ranks see no GPU: all compute on processors; --device gpu says what is missing", (long long)blind, w->size);
    else if (w->rank == 0 && blind > 0)
        um_log(UM_LOG_INFO, "no GPU: %s", um_err_text());
    um_err_clear();
    return blind == 0;
}

um_status um_device_open(um_job_context *ctx, const char *device, bool share_gpus, um_device *out)
{
    um_world *w = &ctx->world;
    const um_gpu_module *module = NULL;
    um_gpu_list list = {0};
    um_gpu_view view;
    wish how = WISH_CPU;
    int mine = -1, without = 0;
    *out = (um_device){.backend = &um_backend_cpu};
    /* One rank's environment, since ranks that go different ways would wait for each other. */
    um_status st = w->rank == 0 ? read_wish(device, &how) : UM_OK;
    UM_PASS(um_agree(w, st, "choosing a device"));
    um_world_bcast(w, &how, sizeof how);
    if (how == WISH_CPU) return UM_OK;
    st = look(w, how == WISH_AUTO, &module, &list, &view);
    if (how == WISH_GPU) UM_PASS(um_agree(w, st, "looking for GPUs"));
    else if (!all_see(w, st)) return UM_OK;
    UM_PASS(assign(w, &view, share_gpus, &mine, &without));
    if (without > 0 && how == WISH_AUTO) {
        if (w->rank == 0)
            um_log(UM_LOG_WARN, "%d of %d ranks have no GPU of their own: all compute on processors; start one rank for each GPU, or give --share-gpus", without, w->size);
        return UM_OK;
    }
    if (without > 0)
        return UM_FAIL(UM_CONFIG, "%d of %d ranks have no GPU of their own: start one rank for each GPU (mpirun -n, --ntasks-per-node), or give --share-gpus, or --device cpu", without, w->size);
    st = module->open(mine);
    UM_PASS(um_agree(w, st, "opening the GPU"));
    *out = (um_device){.backend = module->backend, .module = module, .gpu = list.device[mine], .cublaslt = (int)list.cublaslt};
    if (w->rank == 0) um_log(module->emulated ? UM_LOG_WARN : UM_LOG_INFO, "rank 0 computes on %s at %s%s", out->gpu.name, out->gpu.bus, module->emulated ? ": the GPU is emulated: this is for tests" : "");
    return UM_OK;
}

void um_device_arithmetic(const um_device *d, char *out, size_t size)
{
    if (d->module == NULL) snprintf(out, size, "%s", um_cpu_level_name(um_cpu_level_get()));
    else snprintf(out, size, "sm_%d, cuBLASLt %d", d->gpu.sm, d->cublaslt);
}

void um_device_close(um_device *d)
{
    if (d->module != NULL) d->module->close();
    *d = (um_device){0};
}
