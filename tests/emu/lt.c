/* lt.c: cuBLASLt for the emulator: products in plain C, after what NVIDIA's checks too: types, sizes, leading dimensions, alignment, workspace, and that every operand lies within one living block of device memory. */
#include "emu.h"

#include <cublasLt.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 0x656d7500, OPERANDS = 4, ALIGN = 256 /* that the library takes for granted */ };

struct cublasLtContext {
    int magic;
};
struct emu_lt_desc {
    cublasOperation_t trans_a, trans_b;
    cublasLtEpilogue_t epilogue;
    const void *bias;
};
struct emu_lt_layout {
    cudaDataType type;
    int64_t rows, cols, ld, step;
    int32_t batch;
};
struct emu_lt_preference {
    size_t workspace;
    uint32_t align[OPERANDS]; /* A, B, C, D */
};

typedef struct product {
    struct emu_lt_desc desc;
    struct emu_lt_layout a, b, d;
    const void *pa, *pb, *pc;
    void *pd;
    float alpha, beta;
    void *workspace;
    size_t workspace_bytes;
} product;

size_t cublasLtGetVersion(void) { return 130000; }

const char *cublasLtGetStatusName(cublasStatus_t s)
{
    switch (s) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "a status that the emulator does not know";
}

static void *made(const char *call, size_t bytes)
{
    return emu_fails(call) ? NULL : calloc(1, bytes);
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    *handle = made("cublasLtCreate", sizeof **handle);
    if (*handle == NULL) return CUBLAS_STATUS_ALLOC_FAILED;
    (*handle)->magic = MAGIC;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute, cudaDataType_t scale)
{
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
    *desc = made("cublasLtMatmulDescCreate", sizeof **desc);
    if (*desc == NULL) return CUBLAS_STATUS_ALLOC_FAILED;
    (*desc)->epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    free(desc);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t set(void *field, size_t bytes, const void *value, size_t size)
{
    if (size != bytes) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(field, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attr, const void *value, size_t size)
{
    if (emu_fails("cublasLtMatmulDescSetAttribute")) return CUBLAS_STATUS_INVALID_VALUE;
    switch (attr) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return set(&desc->trans_a, sizeof desc->trans_a, value, size);
    case CUBLASLT_MATMUL_DESC_TRANSB: return set(&desc->trans_b, sizeof desc->trans_b, value, size);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return set(&desc->epilogue, sizeof desc->epilogue, value, size);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return set(&desc->bias, sizeof desc->bias, value, size);
    }
    return CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows, uint64_t cols, int64_t ld)
{
    if ((type != CUDA_R_32F && type != CUDA_R_16BF) || rows == 0 || cols == 0 || ld < (int64_t)rows) return CUBLAS_STATUS_INVALID_VALUE;
    *layout = made("cublasLtMatrixLayoutCreate", sizeof **layout);
    if (*layout == NULL) return CUBLAS_STATUS_ALLOC_FAILED;
    **layout = (struct emu_lt_layout){type, (int64_t)rows, (int64_t)cols, ld, 0, 1};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    free(layout);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attr, const void *value, size_t size)
{
    if (emu_fails("cublasLtMatrixLayoutSetAttribute")) return CUBLAS_STATUS_INVALID_VALUE;
    switch (attr) {
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return set(&layout->batch, sizeof layout->batch, value, size);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return set(&layout->step, sizeof layout->step, value, size);
    }
    return CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *pref)
{
    *pref = made("cublasLtMatmulPreferenceCreate", sizeof **pref);
    if (*pref == NULL) return CUBLAS_STATUS_ALLOC_FAILED;
    for (int i = 0; i < OPERANDS; i++) (*pref)->align[i] = ALIGN;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t pref)
{
    free(pref);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref, cublasLtMatmulPreferenceAttributes_t attr, const void *value, size_t size)
{
    if (emu_fails("cublasLtMatmulPreferenceSetAttribute")) return CUBLAS_STATUS_INVALID_VALUE;
    if (attr != CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) return set(&pref->align[attr - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], sizeof pref->align[0], value, size);
    return set(&pref->workspace, sizeof pref->workspace, value, size);
}

/* Do the shapes fit together? */
static bool fits(const struct emu_lt_desc *desc, const struct emu_lt_layout *a, const struct emu_lt_layout *b, const struct emu_lt_layout *c, const struct emu_lt_layout *d)
{
    int64_t m = desc->trans_a == CUBLAS_OP_T ? a->cols : a->rows, k = desc->trans_a == CUBLAS_OP_T ? a->rows : a->cols;
    int64_t k_b = desc->trans_b == CUBLAS_OP_T ? b->cols : b->rows, n = desc->trans_b == CUBLAS_OP_T ? b->rows : b->cols;
    if (a->type != b->type || c->type != d->type || a->batch != b->batch || a->batch != d->batch || c->batch != d->batch) return false;
    return k == k_b && d->rows == m && d->cols == n && c->rows == m && c->cols == n && c->ld == d->ld && c->step == d->step;
}

enum { MAX_WORKSPACE_USED = 4 << 20 }; /* what the emulated algorithm says it needs */

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t pref, int wanted, cublasLtMatmulHeuristicResult_t *results, int *found)
{
    *found = 0;
    if (emu_fails("cublasLtMatmulAlgoGetHeuristic") || handle->magic != MAGIC || wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
    if (!fits(desc, a, b, c, d)) return CUBLAS_STATUS_NOT_SUPPORTED;
    memset(results, 0, sizeof *results);
    results->algo.data[0] = MAGIC;
    results->workspaceSize = pref->workspace < MAX_WORKSPACE_USED ? pref->workspace : MAX_WORKSPACE_USED;
    results->algo.data[1] = results->workspaceSize;
    for (int i = 0; i < OPERANDS; i++) results->algo.data[2 + i] = pref->align[i];
    *found = 1;
    return CUBLAS_STATUS_SUCCESS;
}

static float number(const void *p, cudaDataType type, int64_t i)
{
    union {
        uint32_t u;
        float f;
    } v;
    if (type == CUDA_R_32F) return ((const float *)p)[i];
    v.u = (uint32_t)((const uint16_t *)p)[i] << 16;
    return v.f;
}

static void store(void *p, cudaDataType type, int64_t i, float f)
{
    union {
        float f;
        uint32_t u;
    } v = {.f = f};
    if (type == CUDA_R_32F) ((float *)p)[i] = f;
    else ((uint16_t *)p)[i] = (uint16_t)((v.u & 0x7fffffffu) > 0x7f800000u ? v.u >> 16 | 0x40 : (v.u + 0x7fffu + (v.u >> 16 & 1u)) >> 16);
}

enum { BLOCK = 64 }; /* products that are summed in f32 before they go into the f64 sum */

static void run_one(const product *p, int batch, float *a, double *sum, float *part)
{
    int64_t m = p->d.rows, n = p->d.cols, k = p->desc.trans_a == CUBLAS_OP_T ? p->a.rows : p->a.cols;
    int64_t a_at = batch * p->a.step, b_at = batch * p->b.step, d_at = batch * p->d.step;
    for (int64_t q = 0; q < k; q++)
        for (int64_t i = 0; i < m; i++) a[q * m + i] = number(p->pa, p->a.type, a_at + (p->desc.trans_a == CUBLAS_OP_T ? i * p->a.ld + q : q * p->a.ld + i));
    for (int64_t j = 0; j < n; j++) {
        memset(sum, 0, (size_t)m * sizeof *sum);
        for (int64_t q0 = 0; q0 < k; q0 += BLOCK) {
            memset(part, 0, (size_t)m * sizeof *part);
            for (int64_t q = q0; q < q0 + BLOCK && q < k; q++) {
                float b = number(p->pb, p->b.type, b_at + (p->desc.trans_b == CUBLAS_OP_T ? q * p->b.ld + j : j * p->b.ld + q));
                const float *row = a + q * m;
                for (int64_t i = 0; i < m; i++) part[i] += row[i] * b;
            }
            for (int64_t i = 0; i < m; i++) sum[i] += (double)part[i];
        }
        for (int64_t i = 0; i < m; i++) {
            int64_t at = d_at + j * p->d.ld + i;
            float v = p->alpha * (float)sum[i];
            if (p->beta != 0) v += p->beta * number(p->pc, p->d.type, at);
            if (p->desc.epilogue == CUBLASLT_EPILOGUE_BIAS) v += number(p->desc.bias, p->d.type, i);
            store(p->pd, p->d.type, at, v);
        }
    }
}

static size_t type_bytes(cudaDataType t) { return t == CUDA_R_32F ? 4 : 2; }

/* Of one batch after the other: what lies between them is nobody's. */
static void look(const void *p, const struct emu_lt_layout *l, int batch, bool write)
{
    for (int i = 0; i < batch; i++)
        for (int64_t col = 0; col < l->cols; col++) emu_checker->range((const char *)p + (size_t)(i * l->step + col * l->ld) * type_bytes(l->type), (size_t)l->rows * type_bytes(l->type), write);
}

static void run(void *arg)
{
    const product *p = arg;
    if (emu_checker != NULL) {
        look(p->pa, &p->a, p->a.step == 0 ? 1 : p->d.batch, false);
        look(p->pb, &p->b, p->b.step == 0 ? 1 : p->d.batch, false);
        if (p->beta != 0) look(p->pc, &p->d, p->d.batch, false);
        if (p->desc.epilogue == CUBLASLT_EPILOGUE_BIAS) emu_checker->range(p->desc.bias, (size_t)p->d.rows * type_bytes(p->d.type), false);
        emu_checker->range(p->workspace, p->workspace_bytes, true);
        look(p->pd, &p->d, p->d.batch, true);
    }
    int64_t m = p->d.rows, k = p->desc.trans_a == CUBLAS_OP_T ? p->a.rows : p->a.cols;
    float *a = malloc((size_t)(m * k) * sizeof *a), *part = malloc((size_t)m * sizeof *part);
    double *sum = malloc((size_t)m * sizeof *sum);
    if (a == NULL || part == NULL || sum == NULL) emu_die("no memory for the emulator");
    for (int i = 0; i < p->d.batch; i++) run_one(p, i, a, sum, part);
    free(a);
    free(part);
    free(sum);
}

static bool is_there(const void *p, const struct emu_lt_layout *l, uint64_t align)
{
    size_t last = (size_t)((l->batch - 1) * l->step + (l->cols - 1) * l->ld + l->rows);
    return (uintptr_t)p % align == 0 && emu_fits(p, last * type_bytes(l->type));
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *a, cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
                              cublasLtMatrixLayout_t c_layout, void *d, cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_bytes, cudaStream_t stream)
{
    product p = {*desc, *a_layout, *b_layout, *d_layout, a, b, c, d, *(const float *)alpha, *(const float *)beta, workspace, (size_t)algo->data[1]};
    if (emu_fails("cublasLtMatmul")) return CUBLAS_STATUS_EXECUTION_FAILED;
    if (handle->magic != MAGIC || !fits(desc, a_layout, b_layout, c_layout, d_layout)) return CUBLAS_STATUS_INVALID_VALUE;
    if (algo->data[0] != MAGIC || workspace_bytes < algo->data[1] || !emu_fits(workspace, workspace_bytes)) return CUBLAS_STATUS_INVALID_VALUE;
    if (!is_there(a, a_layout, algo->data[2]) || !is_there(b, b_layout, algo->data[3]) || !is_there(d, d_layout, algo->data[5]) || (p.beta != 0 && !is_there(c, c_layout, algo->data[4]))) return CUBLAS_STATUS_INVALID_VALUE;
    if (desc->epilogue == CUBLASLT_EPILOGUE_BIAS && !emu_fits(desc->bias, (size_t)d_layout->rows * type_bytes(d_layout->type))) return CUBLAS_STATUS_INVALID_VALUE;
    emu_count.products++;
    return emu_queue_library(stream, "a product", run, &p, sizeof p, NULL) == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
