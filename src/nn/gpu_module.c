#include "src/nn/gpu_module.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

um_status um_gpu_module_load(const char *path, const um_gpu_module **out)
{
    static const um_gpu_module *loaded;
    union { /* ISO C has no conversion of one to the other */
        void *object;
        um_gpu_module_fn *function;
    } get;
    *out = loaded;
    if (loaded != NULL) return UM_OK;
    if (access(path, F_OK) != 0) return UM_FAIL(UM_MISSING, "there is no GPU module %s: this is a build without CUDA, or the module was not installed beside the program", um_quote(path));
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return UM_FAIL(UM_CONFIG, "cannot load the GPU module: %s; install the CUDA run time and cuBLAS that it was built with", dlerror());
    get.object = dlsym(library, UM_GPU_MODULE_SYMBOL);
    if (get.object == NULL) {
        dlclose(library);
        return UM_FAIL(UM_CONFIG, "%s is no GPU module of unmask", um_quote(path));
    }
    const um_gpu_module *m = get.function();
    /* abi and bytes come first in every version of the struct. */
    if (m->abi != UM_GPU_MODULE_ABI || m->bytes != sizeof *m || strcmp(m->version, UNMASK_VERSION) != 0) {
        um_status st = m->abi != UM_GPU_MODULE_ABI || m->bytes != sizeof *m
                           ? UM_FAIL(UM_CONFIG, "the GPU module %s is of another version of unmask (interface %d of %zu bytes, this program's is %d of %zu): install both of one build", um_quote(path), m->abi, m->bytes,
                                     UM_GPU_MODULE_ABI, sizeof *m)
                           : UM_FAIL(UM_CONFIG, "the GPU module %s is of unmask %s, and this is %s: install both of one build", um_quote(path), m->version, UNMASK_VERSION);
        dlclose(library);
        return st;
    }
    *out = loaded = m;
    return UM_OK;
}
