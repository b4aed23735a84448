/* train_optim.cu: from gradients to new parameters: src/train/optim.c on the device, with the same formulas in the same types; and the parameters rewritten as the other kernels want them.
 *
 * The flat array is cut into pieces of one kind, a block each. Whether the step is taken, its scale and its rate are numbers in device memory: nothing waits for the host. */
#include "src/nn/cuda/train.cuh"

#include <string.h>

static const int THREADS = 256, EACH = UM_GPU_PIECE / THREADS, PLAN_THREADS = 512;

/* ---- the host's tables ---- */

static bool in_head(const um_param *p) { return strncmp(p->name, "fc.", 3) == 0; }
static bool is_trained(const um_param *p) { return p->kind != UM_PARAM_BN_MEAN && p->kind != UM_PARAM_BN_VAR; }

extern "C" int64_t um_gpu_pieces(const um_graph *g, um_gpu_piece *piece)
{
    int64_t count = 0;
    for (int i = 0, j; i < g->n_params; i = j) {
        const um_param *p = &g->param[i];
        int64_t n = p->count;
        for (j = i + 1; j < g->n_params; j++) {
            const um_param *q = &g->param[j];
            if (in_head(q) != in_head(p) || is_trained(q) != is_trained(p) || q->offset != p->offset + n) break;
            n += q->count;
        }
        for (int64_t at = 0; at < n; at += UM_GPU_PIECE, count++) {
            if (piece == NULL) continue;
            piece[count].at = p->offset + at;
            piece[count].n = n - at < UM_GPU_PIECE ? (int32_t)(n - at) : (int32_t)UM_GPU_PIECE;
            piece[count].head = in_head(p);
            piece[count].trained = is_trained(p);
        }
    }
    return count;
}

extern "C" int64_t um_gpu_running_plan(const um_gpu_piece *piece, int64_t n, int64_t *saved_at)
{
    int64_t all = 0;
    for (int64_t i = 0; i < n; i++) {
        saved_at[i] = piece[i].trained ? -1 : all;
        if (!piece[i].trained) all += piece[i].n;
    }
    return all;
}

/* ---- norm ---- */

static __device__ __forceinline__ bool is_updated(const um_gpu_piece &p, const um_gpu_moment *m) { return p.trained && (p.head || m->head_only == 0); }

/* The sum of squares of a piece, f64: a thread's own, then a tree. */
template <int N> static __device__ double block_sum(double v, double *shared)
{
    shared[threadIdx.x] = v;
    __syncthreads();
    for (int by = N / 2; by > 0; by /= 2) {
        if ((int)threadIdx.x < by) shared[threadIdx.x] += shared[threadIdx.x + by];
        __syncthreads();
    }
    return shared[0];
}

static __global__ void __launch_bounds__(THREADS) opt_norm_f32_kernel(um_gpu_opt_args a)
{
    UM_GPU_SHARED(double, shared);
    um_gpu_piece p = a.piece[blockIdx.x];
    double sum = 0;
    if (is_updated(p, a.moment)) {
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            int at = i * THREADS + (int)threadIdx.x;
            double g = at < p.n ? (double)a.grads[p.at + at] : 0;
            sum += g * g;
        }
    }
    sum = block_sum<THREADS>(sum, shared);
    if (threadIdx.x == 0) ((double *)a.scratch)[blockIdx.x] = sum;
}

/* One block: the norm, whether the step is taken, and its numbers. */
static __global__ void __launch_bounds__(PLAN_THREADS) opt_plan_f64_kernel(um_gpu_opt_args a)
{
    UM_GPU_SHARED(double, shared);
    double sum = 0;
    for (int64_t i = threadIdx.x; i < a.n_pieces; i += PLAN_THREADS) sum += ((const double *)a.scratch)[i];
    sum = block_sum<PLAN_THREADS>(sum, shared);
    if (threadIdx.x != 0) return;
    um_gpu_opt_state *s = a.state;
    const um_gpu_moment *m = a.moment;
    double norm = m->scale * sqrt(sum), clip = m->max_norm / (norm + 1e-6);
    bool ok = isfinite(norm);
    for (int i = 0; i < a.n_losses; i++) ok = ok && isfinite(a.loss[i].loss) && !(m->max_loss > 0 && a.loss[i].loss > m->max_loss);
    s->norm = norm;
    s->ok = ok;
    if (!ok) {
        s->n_skipped++;
        return;
    }
    s->n_head++;
    if (m->head_only == 0) s->n_encoder++;
    s->scale = (float)(m->scale * (m->max_norm > 0 && clip < 1 ? clip : 1));
    s->rate = (float)m->rate;
    for (int head = 0; a.rule == UM_GPU_ADAMW && head < 2; head++) {
        double t = (double)(head != 0 ? s->n_head : s->n_encoder);
        s->correction[head][0] = (float)(m->rate / (1 - pow(a.beta1, t)));
        s->correction[head][1] = (float)sqrt(1 - pow(a.beta2, t));
    }
    if (a.average != NULL) {
        double warm = (double)(1 + s->n_average) / (double)(10 + s->n_average);
        s->fresh = (float)(1 - (a.average_decay < warm ? a.average_decay : warm));
        s->n_average++;
    }
}

/* ---- step and average ---- */

/* Products and sums are rounded each by itself, as the processor's are. */
static __device__ __forceinline__ float mul_add(float a, float b, float c) { return __fadd_rn(__fmul_rn(a, b), c); }

static __device__ __forceinline__ float stepped(const um_gpu_opt_args &a, const um_gpu_opt_state &s, bool head, int64_t i, float p)
{
    float g = a.grads[i], decay = (float)a.weight_decay, momentum = (float)a.momentum;
    if (a.rule == UM_GPU_ADAMW) {
        float keep = 1.0f - __fmul_rn(s.rate, decay), new1 = (float)(1 - a.beta1), beta2 = (float)a.beta2, new2 = (float)(1 - a.beta2), d = __fmul_rn(s.scale, g);
        float m = a.slot[0][i], v = a.slot[1][i];
        m = mul_add(new1, d - m, m);
        v = __fadd_rn(__fmul_rn(beta2, v), __fmul_rn(new2, __fmul_rn(d, d)));
        a.slot[0][i] = m;
        a.slot[1][i] = v;
        return __fadd_rn(__fmul_rn(keep, p), -__fmul_rn(s.correction[head][0], m / __fadd_rn(sqrtf(v) / s.correction[head][1], (float)a.eps)));
    }
    float d = __fadd_rn(__fmul_rn(s.scale, g), __fmul_rn(decay, p));
    if (a.rule == UM_GPU_RMSPROP) {
        float v = __fadd_rn(__fmul_rn((float)a.alpha, a.slot[1][i]), __fmul_rn((float)(1 - a.alpha), __fmul_rn(d, d)));
        a.slot[1][i] = v;
        d = d / __fadd_rn(sqrtf(v), (float)a.eps);
        if (a.slot[0] != NULL) a.slot[0][i] = d = mul_add(momentum, a.slot[0][i], d);
        return __fadd_rn(p, -__fmul_rn(s.rate, d));
    }
    if (a.slot[0] != NULL) {
        float m = mul_add(momentum, a.slot[0][i], d), own = a.nesterov ? 1.0f : 0.0f, past = a.nesterov ? momentum : 1.0f;
        a.slot[0][i] = m;
        d = __fadd_rn(__fmul_rn(own, d), __fmul_rn(past, m));
    }
    return __fadd_rn(p, -__fmul_rn(s.rate, d));
}

static __global__ void __launch_bounds__(THREADS) opt_step_f32_kernel(um_gpu_opt_args a)
{
    um_gpu_piece q = a.piece[blockIdx.x];
    um_gpu_opt_state s = *a.state;
    bool updated = is_updated(q, a.moment);
    if (s.ok == 0 || (!updated && a.average == NULL)) return;
#pragma unroll 4
    for (int at = (int)threadIdx.x; at < q.n; at += THREADS) {
        int64_t i = q.at + at;
        float p = a.params[i];
        if (updated) a.params[i] = p = stepped(a, s, q.head, i, p);
        if (a.average != NULL) {
            float v = a.average[i];
            a.average[i] = mul_add(s.fresh, p - v, v);
        }
    }
}

extern "C" size_t um_gpu_opt_scratch(const um_gpu_opt_args *a) { return (size_t)a->n_pieces * sizeof(double); }
/* Gradients twice, parameters, slots and the average read and written. */
extern "C" size_t um_gpu_opt_bytes(const um_gpu_opt_args *a)
{
    size_t each = 2 + 2 + (a->slot[0] != NULL ? 2 : 0) + (a->slot[1] != NULL ? 2 : 0) + (a->average != NULL ? 2 : 0);
    return (size_t)a->param_count * each * sizeof(float);
}
extern "C" cudaError_t um_gpu_opt(const um_gpu_opt_args *a, cudaStream_t stream)
{
    unsigned blocks = (unsigned)a->n_pieces;
    cudaError_t e = um_gpu_launch(opt_norm_f32_kernel, blocks, THREADS, THREADS * sizeof(double), stream, *a);
    if (e == cudaSuccess) e = um_gpu_launch(opt_plan_f64_kernel, 1, PLAN_THREADS, PLAN_THREADS * sizeof(double), stream, *a);
    return e != cudaSuccess ? e : um_gpu_launch(opt_step_f32_kernel, blocks, THREADS, 0, stream, *a);
}

static __global__ void __launch_bounds__(THREADS) opt_accumulate_f32_kernel(float *sum, const float *grads, int64_t count, int first)
{
    for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (int64_t)gridDim.x * THREADS) sum[i] = first ? grads[i] : sum[i] + grads[i];
}
extern "C" cudaError_t um_gpu_accumulate(float *sum, const float *grads, int64_t count, bool first, cudaStream_t stream)
{
    int64_t blocks = (count + 4 * THREADS - 1) / (4 * THREADS);
    return count == 0 ? cudaSuccess : um_gpu_launch(opt_accumulate_f32_kernel, (unsigned)(blocks < 4096 ? blocks : 4096), THREADS, 0, stream, sum, grads, count, (int)first);
}

/* ---- running statistics ---- */

static __global__ void __launch_bounds__(THREADS) running_f32_kernel(um_gpu_running_args a)
{
    int64_t saved = a.saved_at[blockIdx.x];
    um_gpu_piece p = a.piece[blockIdx.x];
    if (saved < 0 || (a.state != NULL && a.state->ok != 0)) return;
    for (int i = (int)threadIdx.x; i < p.n; i += THREADS) {
        if (a.state == NULL) a.saved[saved + i] = a.params[p.at + i];
        else a.params[p.at + i] = a.saved[saved + i];
    }
}
extern "C" cudaError_t um_gpu_running(const um_gpu_running_args *a, cudaStream_t stream) { return um_gpu_launch(running_f32_kernel, (unsigned)a->n_pieces, THREADS, 0, stream, *a); }

/* ---- weights ---- */

static int64_t segment_count(const um_gpu_segment *s) { return (int64_t)s->dims[0] * s->dims[1] * s->dims[2]; }
extern "C" int64_t um_gpu_segments_plan(um_gpu_segment *segment, int n)
{
    int64_t blocks = 0;
    for (int i = 0; i < n; i++) {
        segment[i].first_block = blocks;
        blocks += (segment_count(&segment[i]) + UM_GPU_PIECE - 1) / UM_GPU_PIECE;
    }
    return blocks;
}

static __global__ void __launch_bounds__(THREADS) weights_fwd_kernel(um_gpu_weights_args a)
{
    int low = 0, high = a.n_segments; /* the last segment that begins no later than this block */
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (a.segment[middle].first_block <= (int64_t)blockIdx.x) low = middle;
        else high = middle;
    }
    um_gpu_segment s = a.segment[low];
    int64_t first = ((int64_t)blockIdx.x - s.first_block) * UM_GPU_PIECE, count = (int64_t)s.dims[0] * s.dims[1] * s.dims[2];
#pragma unroll 4
    for (int i = (int)threadIdx.x; i < UM_GPU_PIECE; i += THREADS) {
        int64_t from = first + i;
        if (from >= count) break;
        int64_t row = from / s.dims[2], to = row / s.dims[1] * s.step[0] + row % s.dims[1] * s.step[1] + from % s.dims[2] * s.step[2];
        float v = a.params[s.from + from];
        if (s.type == UM_F32) ((float *)s.to)[to] = v;
        else um_store((um_bf16 *)s.to + to, v);
    }
}
extern "C" size_t um_gpu_weights_bytes(const um_gpu_segment *segment, int n)
{
    size_t all = 0;
    for (int i = 0; i < n; i++) all += (size_t)segment_count(&segment[i]) * (sizeof(float) + um_dtype_bytes((um_dtype)segment[i].type));
    return all;
}
extern "C" cudaError_t um_gpu_weights(const um_gpu_weights_args *a, cudaStream_t stream) { return a->n_blocks == 0 ? cudaSuccess : um_gpu_launch(weights_fwd_kernel, (unsigned)a->n_blocks, THREADS, 0, stream, *a); }
