#pragma once
/* gemm.h: matrix products by cuBLASLt: D(m,n) = op(A)(m,k) op(B)(k,n) [+ C(m,n)] [+ bias(n)]. For files of src/nn/cuda only.
 *
 *     um_gpu_gemm *g; UM_PASS(um_gpu_gemm_new(&shape, &g));             // descriptors, and the algorithm: once
 *     UM_PASS(um_gpu_gemm_run(g, a, b, NULL, bias, d, workspace, stream));
 *
 * Matrices are row-major and contiguous, in memory of the device, 16-byte aligned; op(A) is A of (m,k), or with trans_a the transpose of an A of (k,m); B alike. Products are summed in f32 whatever the types; f32 is not cut to TF32.
 * The algorithm is what cuBLASLt's heuristic names first: the same for the same shape on the same GPU and library, so bits repeat there.
 */
#include "src/nn/cuda/device.h"

typedef struct um_gpu_gemm_shape {
    int64_t m, n, k;
    bool trans_a, trans_b, has_c, has_bias;
    um_dtype type;     /* of A and B */
    um_dtype out_type; /* of C, D and bias */
    int batch;         /* products at once, 1 or more; then each matrix lies `step` elements behind the one before, 0 for one that all share; the bias is shared */
    int64_t a_step, b_step, out_step;
} um_gpu_gemm_shape;

typedef struct um_gpu_gemm um_gpu_gemm;
/* Errors: UM_NO_MEMORY, UM_INTERNAL (no algorithm for the shape). */
um_status um_gpu_gemm_new(const um_gpu_gemm_shape *s, um_gpu_gemm **out);
void um_gpu_gemm_free(um_gpu_gemm *g);
/* c may be d. workspace: UM_GPU_WORKSPACE_BYTES of the device, in use until the product is done. */
um_status um_gpu_gemm_run(const um_gpu_gemm *g, const void *a, const void *b, const void *c, const void *bias, void *d, void *workspace, cudaStream_t stream);
/* Of its operands: what the product reads and writes. */
size_t um_gpu_gemm_bytes(const um_gpu_gemm_shape *s);
