#pragma once
/* bugs.h: kernels with a mistake each (bugs.cu), to see that the emulator notices. */
#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif
/* x, y: 64 f32 of the device. bug 0: none. */
enum { BUG_NONE, BUG_NO_BARRIER, BUG_NO_WARP_BARRIER, BUG_ADD_BETWEEN_BLOCKS, BUG_SHARED_OVERRUN, BUG_STORE_PAST_END, BUG_LOAD_PAST_END, BUG_MISALIGNED, BUG_DIVERGENT_BARRIER, BUG_LANE_AWAY, BUG_SAME_CELL };
cudaError_t bug_launch(int bug, const float *x, float *y, cudaStream_t stream);
cudaError_t bug_big_shared(float *y, cudaStream_t stream); /* more than 48 KiB, not asked for */
cudaError_t bug_add(float *y, const float *x, cudaStream_t stream); /* y += x: right, for races between streams */
#ifdef __cplusplus
}
#endif
