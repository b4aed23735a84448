#pragma once
/* gpu.h: what every .cu file begins with: a launch that checks its arguments, dynamic shared memory, and numbers of 16 and 32 bits. The same text compiles under nvcc and, for the tests, under g++ with tests/emu. */
#include <cuda_runtime.h>

#ifndef UM_EMU
#define UM_EMU_KERNEL(kernel, name) ((void)0)
/* `name` points to the block's dynamic shared memory. */
#define UM_GPU_SHARED(type, name)                                    \
    extern __shared__ __align__(16) unsigned char um_gpu_shared_[]; \
    type *name = (type *)um_gpu_shared_
#endif

/* um_gpu_launch(kernel, grid, block, shared_bytes, stream, arguments...): arguments are converted to the kernel's own parameters. */
template <class... P, class... A>
static inline cudaError_t um_gpu_launch_(void (*kernel)(P...), const char *name, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, A... a)
{
    UM_EMU_KERNEL(kernel, name);
    (void)name;
    return [&](P... p) {
        void *at[] = {(void *)&p...};
        return cudaLaunchKernel((const void *)kernel, grid, block, at, shared_bytes, stream);
    }(a...);
}
#define um_gpu_launch(kernel, ...) um_gpu_launch_(kernel, #kernel, __VA_ARGS__)
