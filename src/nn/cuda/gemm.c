/* gemm.c: cuBLASLt thinks in columns, so that a row-major (m,n) is its (n,m) transposed: D' = op(B)' op(A)', first operand B, second A. */
#include "src/nn/cuda/gemm.h"

#include <stdlib.h>

struct um_gpu_gemm {
    um_gpu_gemm_shape shape;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t first, second, out;
    cublasLtMatmulAlgo_t algo;
};

static cudaDataType_t type_of(um_dtype t) { return t == UM_F32 ? CUDA_R_32F : CUDA_R_16BF; }

static um_status layout(um_dtype type, int64_t rows, int64_t cols, int batch, int64_t step, cublasLtMatrixLayout_t *out)
{
    int32_t count = batch;
    UM_PASS(um_gpu_check_lt(cublasLtMatrixLayoutCreate(out, type_of(type), (uint64_t)rows, (uint64_t)cols, rows), "cannot describe a matrix"));
    if (batch == 1) return UM_OK;
    UM_PASS(um_gpu_check_lt(cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count), "cannot describe matrices"));
    return um_gpu_check_lt(cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step), "cannot describe matrices");
}

static um_status describe(um_gpu_gemm *g)
{
    const um_gpu_gemm_shape *s = &g->shape;
    cublasOperation_t first = s->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N, second = s->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = s->has_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    UM_PASS(um_gpu_check_lt(cublasLtMatmulDescCreate(&g->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cannot describe a product"));
    UM_PASS(um_gpu_check_lt(cublasLtMatmulDescSetAttribute(g->desc, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first), "cannot describe a product"));
    UM_PASS(um_gpu_check_lt(cublasLtMatmulDescSetAttribute(g->desc, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second), "cannot describe a product"));
    UM_PASS(um_gpu_check_lt(cublasLtMatmulDescSetAttribute(g->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue), "cannot describe a product"));
    UM_PASS(s->trans_b ? layout(s->type, s->k, s->n, s->batch, s->b_step, &g->first) : layout(s->type, s->n, s->k, s->batch, s->b_step, &g->first));
    UM_PASS(s->trans_a ? layout(s->type, s->m, s->k, s->batch, s->a_step, &g->second) : layout(s->type, s->k, s->m, s->batch, s->a_step, &g->second));
    return layout(s->out_type, s->n, s->m, s->batch, s->out_step, &g->out);
}

static um_status choose(um_gpu_gemm *g)
{
    cublasLtMatmulPreference_t wish = NULL;
    cublasLtMatmulHeuristicResult_t found;
    const cublasLtMatmulPreferenceAttributes_t operand[] = {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    size_t workspace = UM_GPU_WORKSPACE_BYTES;
    uint32_t aligned = UM_GPU_OPERAND_ALIGN;
    int n = 0;
    um_status st;
    UM_PASS(um_gpu_check_lt(cublasLtMatmulPreferenceCreate(&wish), "cannot choose how to multiply"));
    UM_GOTO_PASS(st, um_gpu_check_lt(cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace), "cannot choose how to multiply"));
    for (size_t i = 0; i < sizeof operand / sizeof operand[0]; i++) /* else 256 is taken for granted */
        UM_GOTO_PASS(st, um_gpu_check_lt(cublasLtMatmulPreferenceSetAttribute(wish, operand[i], &aligned, sizeof aligned), "cannot choose how to multiply"));
    cublasStatus_t e = cublasLtMatmulAlgoGetHeuristic(um_gpu_get()->lt, g->desc, g->first, g->second, g->out, g->out, wish, 1, &found, &n);
    if (e != CUBLAS_STATUS_SUCCESS || n < 1)
        UM_GOTO_PASS(st, UM_FAIL(UM_INTERNAL, "cuBLASLt has no way to multiply %lld x %lld x %lld: %s", (long long)g->shape.m, (long long)g->shape.n, (long long)g->shape.k, cublasLtGetStatusName(e)));
    g->algo = found.algo;
done:
    cublasLtMatmulPreferenceDestroy(wish);
    return st;
}

um_status um_gpu_gemm_new(const um_gpu_gemm_shape *s, um_gpu_gemm **out)
{
    um_status st;
    um_gpu_gemm *g = calloc(1, sizeof *g);
    *out = NULL;
    if (g == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a product");
    g->shape = *s;
    UM_GOTO_PASS(st, describe(g));
    UM_GOTO_PASS(st, choose(g));
    *out = g;
done:
    if (st != UM_OK) um_gpu_gemm_free(g);
    return st;
}

void um_gpu_gemm_free(um_gpu_gemm *g)
{
    if (g == NULL) return;
    if (g->first != NULL) cublasLtMatrixLayoutDestroy(g->first);
    if (g->second != NULL) cublasLtMatrixLayoutDestroy(g->second);
    if (g->out != NULL) cublasLtMatrixLayoutDestroy(g->out);
    if (g->desc != NULL) cublasLtMatmulDescDestroy(g->desc);
    free(g);
}

um_status um_gpu_gemm_run(const um_gpu_gemm *g, const void *a, const void *b, const void *c, const void *bias, void *d, void *workspace, cudaStream_t stream)
{
    const float one = 1, beta = g->shape.has_c ? 1 : 0;
    /* The bias is an attribute of the description, read when the product is queued. */
    if (g->shape.has_bias)
        UM_PASS(um_gpu_check_lt(cublasLtMatmulDescSetAttribute(g->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias), "cannot describe a product"));
    return um_gpu_check_lt(cublasLtMatmul(um_gpu_get()->lt, g->desc, &one, b, g->first, a, g->second, &beta, g->shape.has_c ? c : d, g->out, d, g->out, &g->algo, workspace, UM_GPU_WORKSPACE_BYTES, stream),
                           "cannot queue a product");
}

size_t um_gpu_gemm_bytes(const um_gpu_gemm_shape *s)
{
    size_t batch = (size_t)s->batch, m = (size_t)s->m, n = (size_t)s->n, k = (size_t)s->k, in = um_dtype_bytes(s->type), out = um_dtype_bytes(s->out_type);
    size_t a = m * k * (s->a_step == 0 ? 1 : batch) * in, b = k * n * (s->b_step == 0 ? 1 : batch) * in, d = m * n * batch * out;
    return a + b + d * (s->has_c ? 2 : 1) + (s->has_bias ? n * out : 0);
}
