/* trainer.c: src/train/trainer.h on the GPU. A batch forward and backward is one recorded graph; that of a step's last batch makes the update too. Nothing is allocated, and the host waits for nothing but the step before.
 *
 *     host     fills slot k % 2's inbox, starts its copy and its graph; then waits for step k - 1 and reads its outbox
 *     copies   inbox of slot k % 2, while the graph of the other slot runs
 *     graph    [weights, statistics saved,] forward, loss of all ranks' logits, backward; [update or statistics restored, outbox]
 *     sums     gradients over ranks, a bucket at a time, beside the way backward (their own stream, their own communicator)
 *
 * Two communicators at once: each rank's graph has the same branches, so that both kernels of NCCL come to run on every GPU as long as it lets two branches of a graph run at the same time; a kernel that waits for other ranks takes a part of the
 * multiprocessors only, and our own end without waiting. Where a system serialises branches in different orders, a step would wait for ever: patience_s ends it, and in_order is the way without.
 */
#include "src/train/trainer.h"

#include "src/core/clock.h"
#include "src/core/placing.h"
#include "src/nn/cuda/rank_sums.h"
#include "src/nn/cuda/train_net.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SLOTS = 2, ALIGN = 256 /* of parts of an inbox, and of what the host reads */ };

typedef struct outbox {
    um_gpu_opt_state state;
    um_gpu_loss_result loss[]; /* [rounds] */
} outbox;

typedef struct slot {
    unsigned char *host, *device; /* inbox: moment, targets, weights, images */
    outbox *out;                  /* host */
    cudaEvent_t copied;
    um_tape *running;             /* what may still read the inbox; NULL: nothing */
} slot;

struct um_trainer {
    const um_graph *graph;
    um_trainer_options o;
    um_gpu_net *net;
    um_trainer_state *state;
    bool taken; /* the state's arrays hold what the device has */
    um_rank_sums *sums[UM_TRAINER_IDS]; /* of batch norm and logits; of gradients */
    cudaStream_t copies, side;
    cudaEvent_t whole[UM_COMM_MAX_PENDING], summed;
    int n_sums;
    size_t bytes, target_at, weight_at, images_at, image_bytes, inbox_bytes, out_bytes;
    unsigned char *memory, *host;
    slot slot[SLOTS];
    /* of the device */
    float *params, *grads, *grad_sum, *average, *slots[UM_OPTIM_SLOTS], *saved, *logits, *d_logits;
    um_gpu_moment *moment;
    outbox *out;
    um_gpu_piece *piece;
    int64_t *saved_at;
    void *scratch;
    float *eval_logits; /* host */
    int64_t n_pieces, n_saved;
    size_t scratch_bytes;
    um_tape *tape[SLOTS][2][2][2]; /* head only, first round, last round; NULL: not recorded yet */
    um_tape *eval;
    struct {
        int slot;
        um_tape *tape;
    } begun[SLOTS]; /* steps, the oldest first */
    int n_begun;
    /* of what is recorded */
    int at_slot;
    bool at_head, at_first, at_last;
};

/* ---- sums over ranks ---- */

/* um_gpu_net_options.sum. */
static um_status sum_of_norm(void *user, double *v, size_t n, cudaStream_t stream)
{
    um_trainer *t = user;
    return um_rank_sums_nccl.sum_f64(t->sums[0], v, n, stream);
}

/* Gradients [v, v + n) are whole on the stream: summed on the side. */
static um_status begin_bucket(um_trainer *t, float *v, size_t n, cudaStream_t stream)
{
    if (t->n_sums == UM_COMM_MAX_PENDING) return UM_FAIL(UM_INTERNAL, "more than %d buckets of gradients", UM_COMM_MAX_PENDING);
    cudaEvent_t e = t->whole[t->n_sums++];
    UM_PASS(um_gpu_check(cudaEventRecord(e, stream), "cannot order a sum"));
    UM_PASS(um_gpu_check(cudaStreamWaitEvent(t->side, e, 0), "cannot order a sum"));
    return um_rank_sums_nccl.sum_f32(t->sums[1], v, n, t->side);
}

static um_status end_buckets(um_trainer *t, cudaStream_t stream)
{
    if (t->n_sums == 0) return UM_OK;
    UM_PASS(um_gpu_check(cudaEventRecord(t->summed, t->side), "cannot order a sum"));
    return um_gpu_check(cudaStreamWaitEvent(stream, t->summed, 0), "cannot order a sum");
}

/* um_gpu_net_options.ready. */
static um_status ready(void *user, float *grads, int64_t from, int64_t to, cudaStream_t stream)
{
    um_trainer *t = user;
    float *v = (t->grad_sum != NULL ? t->grad_sum : grads) + from;
    if (t->grad_sum != NULL) UM_PASS(um_gpu_check(um_gpu_accumulate(v, grads + from, to - from, t->at_first, stream), "cannot queue accumulate"));
    if (t->o.size == 1 || !t->at_last) return UM_OK;
    return t->o.in_order ? um_rank_sums_nccl.sum_f32(t->sums[0], v, (size_t)(to - from), stream) : begin_bucket(t, v, (size_t)(to - from), stream);
}

/* ---- a batch, recorded ---- */

static um_gpu_opt_args opt_of(um_trainer *t)
{
    const um_optim_options *r = &t->o.optim;
    static const um_gpu_rule rule[] = {[UM_OPTIM_SGD] = UM_GPU_SGD, [UM_OPTIM_ADAMW] = UM_GPU_ADAMW, [UM_OPTIM_RMSPROP] = UM_GPU_RMSPROP};
    return (um_gpu_opt_args){.rule = rule[r->type], .nesterov = r->nesterov, .momentum = r->momentum, .weight_decay = r->weight_decay, .beta1 = r->beta1, .beta2 = r->beta2, .alpha = r->alpha, .eps = r->eps, .average_decay = t->o.ema,
                             .param_count = um_gpu_net_count(t->net), .n_pieces = t->n_pieces, .piece = t->piece, .moment = t->moment, .loss = t->out->loss, .n_losses = t->o.rounds, .params = t->params,
                             .slot = {t->slots[0], t->slots[1]}, .grads = t->grad_sum != NULL ? t->grad_sum : t->grads, .average = t->average, .state = &t->out->state, .scratch = t->scratch};
}

static um_gpu_loss_args loss_of(um_trainer *t, unsigned char *inbox)
{
    const um_loss_options *l = &t->o.loss;
    return (um_gpu_loss_args){.n = (int)t->o.batch, .bce_weight = l->bce_weight, .focal_weight = l->focal_weight, .focal_gamma = l->focal_gamma, .smoothing = l->smoothing, .ohem_k = l->ohem_k, .logit = t->logits,
                              .target = (const float *)(const void *)(inbox + t->target_at), .weight = inbox + t->weight_at, .d_logit = t->d_logits, .result = t->out->loss, .moment = t->moment, .scratch = t->scratch};
}

static um_status record_batch(void *user, void *stream)
{
    um_trainer *t = user;
    cudaStream_t s = stream;
    const slot *at = &t->slot[t->at_slot];
    um_gpu_running_args running = {t->n_pieces, t->piece, t->saved_at, t->params, t->saved, NULL};
    t->n_sums = 0;
    UM_PASS(um_gpu_check(cudaMemcpyAsync(t->moment, at->device, sizeof *t->moment, cudaMemcpyDeviceToDevice, s), "cannot queue a copy"));
    if (t->at_first) {
        UM_PASS(um_gpu_net_weights(t->net, t->params, s));
        UM_PASS(um_gpu_check(um_gpu_running(&running, s), "cannot queue running"));
    }
    if (t->o.size > 1) UM_PASS(um_gpu_check(cudaMemsetAsync(t->logits, 0, (size_t)t->o.batch * sizeof *t->logits, s), "cannot clear logits"));
    UM_PASS(um_gpu_net_forward(t->net, t->params, at->device + t->images_at, t->logits + t->o.first, true, s));
    if (t->o.size > 1) UM_PASS(um_rank_sums_nccl.sum_f32(t->sums[0], t->logits, (size_t)t->o.batch, s));
    um_gpu_loss_args loss = loss_of(t, at->device);
    UM_PASS(um_gpu_check(um_gpu_loss(&loss, s), "cannot queue loss"));
    UM_PASS(um_gpu_net_backward(t->net, t->params, t->d_logits + t->o.first, t->at_head, s));
    UM_PASS(end_buckets(t, s));
    if (!t->at_last) return UM_OK;
    um_gpu_opt_args opt = opt_of(t);
    UM_PASS(um_gpu_check(um_gpu_opt(&opt, s), "cannot queue opt"));
    running.state = &t->out->state;
    UM_PASS(um_gpu_check(um_gpu_running(&running, s), "cannot queue running"));
    return um_gpu_check(cudaMemcpyAsync(at->out, t->out, t->out_bytes, cudaMemcpyDeviceToHost, s), "cannot queue a copy");
}

static um_status record_evaluation(void *user, void *stream)
{
    um_trainer *t = user;
    cudaStream_t s = stream;
    float *params = t->average != NULL ? t->average : t->params;
    UM_PASS(um_gpu_net_weights(t->net, params, s));
    UM_PASS(um_gpu_net_forward(t->net, params, t->slot[0].device + t->images_at, t->logits, false, s));
    return um_gpu_check(cudaMemcpyAsync(t->eval_logits, t->logits, (size_t)t->o.n * sizeof *t->logits, cudaMemcpyDeviceToHost, s), "cannot queue a copy");
}

/* ---- memory ---- */

/* Of the device; the net's own memory last. Once without a base, to count. */
static size_t lay_out(um_trainer *t, unsigned char *base, void **net)
{
    um_placing p = {.base = base, .align = UM_GPU_MEMORY_ALIGN, .slack = UM_GPU_MEMORY_SLACK};
    size_t count = (size_t)um_gpu_net_count(t->net) * sizeof(float), batch = (size_t)t->o.batch * sizeof(float);
    bool has[UM_OPTIM_SLOTS] = {t->o.optim.type == UM_OPTIM_ADAMW || t->o.optim.momentum != 0, t->o.optim.type != UM_OPTIM_SGD};
    for (int i = 0; i < SLOTS; i++) t->slot[i].device = um_place(&p, t->inbox_bytes);
    t->params = um_place(&p, count);
    t->grads = um_place(&p, count);
    if (t->o.rounds > 1) t->grad_sum = um_place(&p, count);
    if (t->o.ema > 0) t->average = um_place(&p, count);
    for (int i = 0; i < UM_OPTIM_SLOTS; i++)
        if (has[i]) t->slots[i] = um_place(&p, count);
    t->saved = um_place(&p, (size_t)t->n_saved * sizeof(float));
    t->saved_at = um_place(&p, (size_t)t->n_pieces * sizeof *t->saved_at);
    t->piece = um_place(&p, (size_t)t->n_pieces * sizeof *t->piece);
    t->moment = um_place(&p, sizeof *t->moment);
    t->out = um_place(&p, t->out_bytes);
    t->logits = um_place(&p, batch > (size_t)t->o.n * sizeof(float) ? batch : (size_t)t->o.n * sizeof(float));
    t->d_logits = um_place(&p, batch);
    t->scratch = um_place(&p, t->scratch_bytes);
    *net = um_place(&p, um_gpu_net_bytes(t->net));
    return p.end;
}

/* What one picture more a batch costs, and what is needed without any: memory is a straight line in their number. */
static um_status no_room(const um_trainer *t, size_t wanted)
{
    um_gpu_net_options o = {.precision = t->o.precision, .n = 1, .batch = t->o.batch};
    um_gpu_net *one = NULL;
    size_t left = 0, all = 0;
    if (t->o.n < 2 || cudaMemGetInfo(&left, &all) != cudaSuccess || um_gpu_net_new(t->graph, &o, &one) != UM_OK)
        return UM_FAIL(UM_NO_MEMORY, "out of memory of the GPU: training in batches of %d pictures needs %.1f GB", t->o.n, (double)wanted / 1e9);
    double each = (double)(um_gpu_net_bytes(t->net) - um_gpu_net_bytes(one)) / (t->o.n - 1) + SLOTS * (double)(t->inbox_bytes - t->images_at) / t->o.n, fixed = (double)wanted - each * t->o.n;
    int fits = (double)left > fixed + each ? (int)(((double)left - fixed) / each) : 0;
    um_gpu_net_free(one);
    if (fits < 1) return UM_FAIL(UM_NO_MEMORY, "out of memory of the GPU: %.1f GB are free, and training needs %.1f GB for one picture at a time", (double)left / 1e9, (fixed + each) / 1e9);
    return UM_FAIL(UM_NO_MEMORY, "out of memory of the GPU: training in batches of %d pictures needs %.1f GB, %.1f of %.1f GB are free: batches of %d would fit (optimizer.batch_size; accumulate for the rest)", t->o.n, (double)wanted / 1e9,
                   (double)left / 1e9, (double)all / 1e9, fits);
}

static um_status allocate(um_trainer *t, void **net)
{
    size_t out = (t->out_bytes + ALIGN - 1) / ALIGN * ALIGN, host = SLOTS * (t->inbox_bytes + out) + (size_t)(t->o.n + 1) * sizeof(float);
    void *p = NULL;
    t->bytes = lay_out(t, NULL, net);
    cudaError_t e = cudaMalloc(&p, t->bytes);
    if (e == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return no_room(t, t->bytes);
    }
    UM_PASS(um_gpu_check(e, "cannot allocate memory of the GPU"));
    t->memory = p;
    (void)lay_out(t, t->memory, net);
    UM_PASS(um_gpu_check(cudaMallocHost(&p, host), "cannot allocate memory that the GPU copies from"));
    t->host = p;
    for (int i = 0; i < SLOTS; i++) {
        t->slot[i].host = t->host + (size_t)i * t->inbox_bytes;
        t->slot[i].out = (outbox *)(void *)(t->host + SLOTS * t->inbox_bytes + (size_t)i * out);
    }
    t->eval_logits = (float *)(void *)(t->host + SLOTS * (t->inbox_bytes + out));
    /* The gaps between parameters, and pictures that an evaluation does not fill. */
    return um_gpu_check(cudaMemset(t->memory, 0, t->bytes - um_gpu_net_bytes(t->net)), "cannot clear memory of the GPU");
}

/* ---- open, close ---- */

static bool has(um_dtype precision) { return precision == UM_F32 || um_gpu_get()->sm >= 80; }

static um_status make_net(um_trainer *t)
{
    um_gpu_net_options o = {.precision = t->o.precision, .n = t->o.n, .batch = t->o.batch, .first = t->o.first, .bn_momentum = t->o.bn_momentum, .others = t->o.rank > 0, .sum = t->o.size > 1 ? sum_of_norm : NULL, .ready = ready, .user = t};
    memcpy(o.mean, t->o.mean, sizeof o.mean);
    memcpy(o.std, t->o.std, sizeof o.std);
    return um_gpu_net_new(t->graph, &o, &t->net);
}

static void measure(um_trainer *t)
{
    const um_node *in = &t->graph->node[0];
    size_t batch = (size_t)t->o.batch;
    t->n_pieces = um_gpu_pieces(um_gpu_net_graph(t->net), NULL);
    t->target_at = sizeof(um_gpu_moment);
    t->weight_at = t->target_at + batch * sizeof(float);
    t->images_at = (t->weight_at + batch + ALIGN - 1) / ALIGN * ALIGN;
    t->image_bytes = (size_t)in->h * (size_t)in->w * (size_t)in->c;
    t->inbox_bytes = (t->images_at + (size_t)t->o.n * t->image_bytes + ALIGN - 1) / ALIGN * ALIGN;
    t->out_bytes = sizeof(outbox) + (size_t)t->o.rounds * sizeof(um_gpu_loss_result);
    um_gpu_opt_args opt = {.n_pieces = t->n_pieces};
    um_gpu_loss_args loss = {.n = (int)t->o.batch};
    t->scratch_bytes = um_gpu_opt_scratch(&opt) > um_gpu_loss_scratch(&loss) ? um_gpu_opt_scratch(&opt) : um_gpu_loss_scratch(&loss);
}

static um_status make_streams(um_trainer *t)
{
    UM_PASS(um_gpu_check(cudaStreamCreateWithFlags(&t->copies, cudaStreamNonBlocking), "cannot make a stream"));
    for (int i = 0; i < SLOTS; i++) UM_PASS(um_gpu_check(cudaEventCreateWithFlags(&t->slot[i].copied, cudaEventDisableTiming), "cannot make an event"));
    if (t->o.size == 1) return UM_OK;
    UM_PASS(um_gpu_check(cudaStreamCreateWithFlags(&t->side, cudaStreamNonBlocking), "cannot make a stream"));
    UM_PASS(um_gpu_check(cudaEventCreateWithFlags(&t->summed, cudaEventDisableTiming), "cannot make an event"));
    for (int i = 0; i < UM_COMM_MAX_PENDING; i++) UM_PASS(um_gpu_check(cudaEventCreateWithFlags(&t->whole[i], cudaEventDisableTiming), "cannot make an event"));
    return UM_OK;
}

/* Before sums over ranks are closed or broken off: NCCL waits, without end, for the graphs that hold some. */
static void free_tapes(um_trainer *t)
{
    for (int i = 0; i < SLOTS * 8; i++) {
        um_tape **tape = &t->tape[i / 8][i / 4 % 2][i / 2 % 2][i % 2];
        um_gpu_device_ops.tape_free(*tape);
        *tape = NULL;
    }
    um_gpu_device_ops.tape_free(t->eval);
    t->eval = NULL;
}

static void close_trainer(um_trainer *t)
{
    if (t == NULL) return;
    free_tapes(t);
    for (int i = 0; i < UM_TRAINER_IDS; i++) um_rank_sums_nccl.close(t->sums[i]);
    if (t->copies != NULL) cudaStreamDestroy(t->copies);
    if (t->side != NULL) cudaStreamDestroy(t->side);
    for (int i = 0; i < SLOTS; i++)
        if (t->slot[i].copied != NULL) cudaEventDestroy(t->slot[i].copied);
    for (int i = 0; i < UM_COMM_MAX_PENDING; i++)
        if (t->whole[i] != NULL) cudaEventDestroy(t->whole[i]);
    if (t->summed != NULL) cudaEventDestroy(t->summed);
    um_gpu_net_free(t->net);
    if (t->memory != NULL) cudaFree(t->memory);
    if (t->host != NULL) cudaFreeHost(t->host);
    free(t);
}

static um_status upload_pieces(um_trainer *t, const um_gpu_piece *piece, const int64_t *saved_at)
{
    UM_PASS(um_gpu_device_ops.upload(t->piece, piece, (size_t)t->n_pieces * sizeof *piece));
    return um_gpu_device_ops.upload(t->saved_at, saved_at, (size_t)t->n_pieces * sizeof *saved_at);
}

static um_status open_trainer(const um_graph *g, const um_trainer_options *o, um_trainer **out)
{
    void *net = NULL;
    um_gpu_piece *piece = NULL;
    int64_t *saved_at = NULL;
    um_status st;
    um_trainer *t = calloc(1, sizeof *t);
    *out = NULL;
    if (t == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for training");
    t->graph = g;
    t->o = *o;
    UM_GOTO_PASS(st, make_net(t));
    measure(t);
    piece = calloc((size_t)t->n_pieces, sizeof *piece);
    saved_at = calloc((size_t)t->n_pieces, sizeof *saved_at);
    if (piece == NULL || saved_at == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for training"));
    (void)um_gpu_pieces(um_gpu_net_graph(t->net), piece);
    t->n_saved = um_gpu_running_plan(piece, t->n_pieces, saved_at);
    UM_GOTO_PASS(st, make_streams(t));
    UM_GOTO_PASS(st, allocate(t, &net));
    UM_GOTO_PASS(st, um_gpu_net_place(t->net, net, t->grads, t->moment));
    UM_GOTO_PASS(st, upload_pieces(t, piece, saved_at));
    *out = t;
done:
    free(piece);
    free(saved_at);
    if (st != UM_OK) close_trainer(t);
    return st;
}

static size_t bytes_of(const um_trainer *t) { return t->bytes; }

/* ---- the state ---- */

/* One of the flat arrays, between the caller's layout and the device's. */
static um_status move(const um_trainer *t, float *device, float *host, bool up)
{
    const um_graph *padded = um_gpu_net_graph(t->net);
    size_t bytes = (size_t)padded->param_count * sizeof(float);
    um_status st = UM_OK;
    if (device == NULL || host == NULL) return UM_OK;
    float *between = calloc(1, bytes);
    if (between == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %zu MB of parameters", bytes >> 20);
    if (!up) st = um_gpu_check(cudaMemcpy(between, device, bytes, cudaMemcpyDeviceToHost), "cannot copy from the GPU");
    for (int i = 0; i < t->graph->n_params && st == UM_OK; i++) {
        float *a = between + padded->param[i].offset, *b = host + t->graph->param[i].offset;
        size_t n = (size_t)t->graph->param[i].count * sizeof(float);
        if (up) memcpy(a, b, n);
        else memcpy(b, a, n);
    }
    if (up) st = um_gpu_device_ops.upload(device, between, bytes);
    free(between);
    return st;
}

static um_status move_all(um_trainer *t, bool up)
{
    um_trainer_state *s = t->state;
    UM_PASS(move(t, t->params, s->params, up));
    UM_PASS(move(t, t->average, s->average, up));
    for (int i = 0; i < UM_OPTIM_SLOTS; i++) UM_PASS(move(t, t->slots[i], s->remembered->slot[i], up));
    return UM_OK;
}

static um_status put(um_trainer *t, um_trainer_state *state)
{
    um_gpu_opt_state s = {.n_head = state->remembered->n_head, .n_encoder = state->remembered->n_encoder, .n_average = state->average_updates};
    t->state = state;
    t->taken = true;
    UM_PASS(move_all(t, true));
    return um_gpu_device_ops.upload(&t->out->state, &s, sizeof s);
}

static um_status take(um_trainer *t)
{
    um_gpu_opt_state s;
    if (t->taken) return UM_OK; /* an epoch ends with two wishes for it */
    UM_PASS(move_all(t, false));
    UM_PASS(um_gpu_check(cudaMemcpy(&s, &t->out->state, sizeof s, cudaMemcpyDeviceToHost), "cannot copy from the GPU"));
    t->state->remembered->n_head = s.n_head;
    t->state->remembered->n_encoder = s.n_encoder;
    t->state->average_updates = s.n_average;
    t->taken = true;
    return UM_OK;
}

/* ---- steps ---- */

/* Waits as long as other ranks may take. UM_STOPPED: they took longer. */
static um_status wait_for(um_trainer *t, um_tape *tape, bool *lost)
{
    double since = um_clock_s();
    um_status st = UM_OK;
    if (t->o.size == 1) return um_gpu_device_ops.tape_end(tape);
    for (bool done = false; st == UM_OK;) {
        st = um_gpu_tape_query(tape, &done);
        if (done) return UM_OK;
        for (int i = 0; i < UM_TRAINER_IDS && st == UM_OK; i++) st = um_rank_sums_nccl.check(t->sums[i]);
        if (st == UM_OK && t->o.patience_s > 0 && um_clock_s() - since > t->o.patience_s) st = UM_FAIL(UM_STOPPED, "waited %.0f s for a step of the other ranks", t->o.patience_s);
        if (st == UM_OK) nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
    free_tapes(t);
    for (int i = 0; i < UM_TRAINER_IDS; i++) {
        um_rank_sums_nccl.break_off(t->sums[i]);
        t->sums[i] = NULL;
    }
    *lost = true;
    return st;
}

/* A first sum of each communicator, outside of any graph: NCCL connects the ranks then. */
static um_status join(um_trainer *t)
{
    cudaStream_t s = um_gpu_get()->stream;
    if (t->o.size == 1) return UM_OK;
    for (int i = 0; i < UM_TRAINER_IDS; i++) {
        UM_PASS(um_rank_sums_nccl.open(t->o.ids[i], t->o.rank, t->o.size, t->o.patience_s, &t->sums[i]));
        UM_PASS(um_rank_sums_nccl.sum_f32(t->sums[i], t->logits, 1, s));
        UM_PASS(um_gpu_check(cudaEventRecord(t->summed, s), "cannot order a sum"));
        double since = um_clock_s();
        for (cudaError_t e; (e = cudaEventQuery(t->summed)) != cudaSuccess;) {
            if (e != cudaErrorNotReady) return um_gpu_check(e, "the GPU failed");
            (void)cudaGetLastError();
            UM_PASS(um_rank_sums_nccl.check(t->sums[i]));
            if (t->o.patience_s > 0 && um_clock_s() - since > t->o.patience_s) return UM_FAIL(UM_STOPPED, "waited %.0f s for the other ranks' GPUs", t->o.patience_s);
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
        }
    }
    return UM_OK;
}

static um_status tape_of(um_trainer *t, int number, bool head_only, int round, um_tape **out)
{
    bool first = round == 0, last = round == t->o.rounds - 1;
    um_tape **at = &t->tape[number][head_only][first][last];
    t->at_slot = number;
    t->at_head = head_only;
    t->at_first = first;
    t->at_last = last;
    if (*at == NULL) UM_PASS(um_gpu_device_ops.tape_new(record_batch, t, at));
    *out = *at;
    return UM_OK;
}

static um_status begin(um_trainer *t, const um_trainer_step *s, int round, const um_trainer_batch *b)
{
    /* A step's last batch lies in another slot than the last one of the step before, whose outbox is still to be read. */
    int number = (int)((s->step + round) % SLOTS);
    slot *at = &t->slot[number];
    cudaStream_t stream = um_gpu_get()->stream;
    size_t batch = (size_t)t->o.batch;
    bool lost = false;
    um_tape *tape;
    t->taken = false;
    UM_PASS(tape_of(t, number, s->head_only, round, &tape));
    if (at->running != NULL) UM_PASS(wait_for(t, at->running, &lost)); /* who is lost here learns it at the end of the step before, too */
    um_gpu_moment m = {.seed = s->seed, .step = s->step * t->o.rounds + round, .first = t->o.first, .rate = s->rate, .scale = 1 / (double)t->o.rounds, .max_norm = t->o.clip, .max_loss = t->o.max_loss, .head_only = s->head_only, .round = round};
    memcpy(at->host, &m, sizeof m);
    memcpy(at->host + t->target_at, b->target, batch * sizeof *b->target);
    memcpy(at->host + t->weight_at, b->weight, batch);
    memcpy(at->host + t->images_at, b->images, (size_t)t->o.n * t->image_bytes);
    UM_PASS(um_gpu_check(cudaMemcpyAsync(at->device, at->host, t->inbox_bytes, cudaMemcpyHostToDevice, t->copies), "cannot copy to the GPU"));
    UM_PASS(um_gpu_check(cudaEventRecord(at->copied, t->copies), "cannot copy to the GPU"));
    UM_PASS(um_gpu_check(cudaStreamWaitEvent(stream, at->copied, 0), "cannot copy to the GPU"));
    UM_PASS(um_gpu_device_ops.tape_begin(tape));
    at->running = tape;
    if (round < t->o.rounds - 1) return UM_OK;
    t->begun[t->n_begun].slot = number;
    t->begun[t->n_begun++].tape = tape;
    return UM_OK;
}

static um_status end(um_trainer *t, um_trainer_result *out)
{
    *out = (um_trainer_result){0};
    UM_PASS(wait_for(t, t->begun[0].tape, &out->lost));
    slot *at = &t->slot[t->begun[0].slot];
    const outbox *box = at->out;
    if (at->running == t->begun[0].tape) at->running = NULL;
    for (int i = 0; i < t->o.rounds; i++) {
        out->loss += box->loss[i].loss / t->o.rounds;
        out->fake += box->loss[i].fake / t->o.rounds;
        out->real += box->loss[i].real / t->o.rounds;
    }
    out->norm = box->state.norm;
    out->skipped = box->state.ok == 0;
    t->begun[0] = t->begun[1];
    t->n_begun--;
    return UM_OK;
}

static um_status evaluate(um_trainer *t, const uint8_t *images, int n, float *logits)
{
    slot *at = &t->slot[0];
    if (t->eval == NULL) UM_PASS(um_gpu_device_ops.tape_new(record_evaluation, t, &t->eval));
    memcpy(at->host + t->images_at, images, (size_t)n * t->image_bytes);
    UM_PASS(um_gpu_check(cudaMemcpyAsync(at->device + t->images_at, at->host + t->images_at, (size_t)n * t->image_bytes, cudaMemcpyHostToDevice, um_gpu_get()->stream), "cannot copy to the GPU"));
    UM_PASS(um_gpu_device_ops.tape_begin(t->eval));
    UM_PASS(um_gpu_device_ops.tape_end(t->eval));
    memcpy(logits, t->eval_logits, (size_t)n * sizeof *logits);
    return UM_OK;
}

const um_trainer_ops um_trainer_cuda = {.name = "cuda", .depth = 1, .has = has, .open = open_trainer, .join = join, .close = close_trainer, .bytes = bytes_of, .put = put, .take = take, .begin = begin, .end = end, .evaluate = evaluate};
