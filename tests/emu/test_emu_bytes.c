/* What B7 at 380 px must move through the GPU's memory: a training step as src/nn/cuda/train_net.h queues it, with its optimiser, and a plan of inference as src/nn/plan.h makes it; and in how many messages the ranks meet. No kernel runs.
 *
 * usage: test_emu_bytes [table]: with table, what each kind of kernel takes on an H200 if it takes what memory and arithmetic must: an estimate */
#include "src/models/efficientnet.h"
#include "src/nn/cuda/train_net.h"
#include "src/nn/plan_parts.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { BATCH = 48, INFERENCE_BATCH = 32, KINDS = 64 };
static const um_dtype TYPE = UM_BF16;
static const double bytes_per_s = 4.3e12, flops_per_s = 790e12; /* of an H200: copying, measured by others; dense bf16 */
static const double between_s = 1e-6;                           /* from one kernel of a graph to the next: a guess */

typedef struct kind {
    const char *op;
    double bytes, flops, least_s;
    int calls;
} kind;
typedef struct tally {
    kind kind[KINDS];
    int n;
    kind all;
} tally;

static void add(void *user, const char *op, int node, double bytes, double flops)
{
    tally *s = user;
    int i = 0;
    double least = fmax(bytes / bytes_per_s, flops / flops_per_s);
    (void)node;
    while (i < s->n && strcmp(s->kind[i].op, op) != 0) i++;
    if (i == s->n && s->n < KINDS) s->kind[s->n++].op = op;
    kind *of[2] = {&s->kind[i], &s->all};
    for (int j = 0; j < 2; j++) {
        of[j]->bytes += bytes;
        of[j]->flops += flops;
        of[j]->least_s += least;
        of[j]->calls++;
    }
}

static void show(const char *what, const tally *s, int batch, bool table)
{
    double with = s->all.least_s + s->all.calls * between_s;
    printf("%s: %.3f GB a picture, %d kernels; on an H200 at least %.2f ms (%.0f pictures/s), with %g us between kernels %.2f ms (%.0f pictures/s): an estimate\n", what, s->all.bytes / batch / 1e9, s->all.calls, 1e3 * s->all.least_s,
           batch / s->all.least_s, 1e6 * between_s, 1e3 * with, batch / with);
    for (int i = 0; table && i < s->n; i++)
        printf("| `%s` | %d | %.3f | %.2f | %.2f |\n", s->kind[i].op, s->kind[i].calls, s->kind[i].bytes / batch / 1e9, s->kind[i].flops / batch / 1e9, 1e3 * s->kind[i].least_s);
}

static void check_training(const um_graph *g, bool table)
{
    tally s = {0};
    um_gpu_net *n = NULL;
    um_gpu_net_options o = {.precision = TYPE, .n = BATCH, .batch = BATCH, .tally = add, .user = &s};
    CHECK_OK(um_gpu_net_new(g, &o, &n));
    if (n == NULL) return;
    um_gpu_opt_args opt = {.rule = UM_GPU_SGD, .param_count = g->param_count, .slot = {(float *)&s, NULL}};
    add(&s, "opt", -1, (double)um_gpu_opt_bytes(&opt), 0);
    show("B7 at 380 px, bf16, a training step of 48", &s, BATCH, table);
    printf("memory: %.1f GB\n", ((double)um_gpu_net_bytes(n) + 3 * 4 * (double)um_gpu_net_count(n)) / 1e9);
    CHECK(s.all.bytes / BATCH > 2e9 && s.all.bytes / BATCH <= 3.7e9);
    um_gpu_net_free(n);
}

static void check_inference(const um_graph *g, bool table)
{
    tally s = {0};
    um_plan *p = NULL;
    um_plan_options o = {.batch = INFERENCE_BATCH, .precision = TYPE, .std = {1, 1, 1}};
    extern const um_backend um_backend_cuda;
    CHECK_OK(um_plan_new(g, &um_backend_cuda, &o, &p));
    if (p == NULL) return;
    for (int i = 0; i < p->n_groups; i++) um_gpu_tally_kernel(p->group[i].kernel, add, &s);
    show("B7 at 380 px, bf16, inference of 32", &s, INFERENCE_BATCH, table);
    CHECK(s.all.bytes / INFERENCE_BATCH > 0.3e9 && s.all.bytes / INFERENCE_BATCH <= 0.6e9);
    um_plan_free(p);
}

/* ---- how often ranks meet ---- */

typedef struct meetings {
    int norms, buckets;
} meetings;
static um_status sum(void *user, double *v, size_t n, cudaStream_t stream)
{
    (void)v, (void)n, (void)stream;
    ((meetings *)user)->norms++;
    return UM_OK;
}
static um_status ready(void *user, float *grads, int64_t from, int64_t to, cudaStream_t stream)
{
    (void)grads, (void)from, (void)to, (void)stream;
    ((meetings *)user)->buckets++;
    return UM_OK;
}

static void check_meetings(const um_graph *g)
{
    meetings m = {0};
    um_gpu_net_options o = {.precision = TYPE, .batch = 2, .sum = sum, .ready = ready, .user = &m}; /* of the two pictures the other rank has both */
    um_gpu_net *n = NULL;
    void *memory = NULL, *params = NULL, *grads = NULL;
    CHECK_OK(um_gpu_net_new(g, &o, &n));
    if (n == NULL) return;
    size_t count = (size_t)um_gpu_net_count(n) * sizeof(float);
    CHECK_INT(cudaMalloc(&memory, um_gpu_net_bytes(n)), cudaSuccess);
    CHECK_INT(cudaMalloc(&params, count), cudaSuccess);
    CHECK_INT(cudaMalloc(&grads, count), cudaSuccess);
    CHECK_OK(um_gpu_net_place(n, memory, grads, NULL));
    CHECK_OK(um_gpu_net_forward(n, params, NULL, NULL, true, NULL));
    CHECK_OK(um_gpu_net_backward(n, params, NULL, false, NULL));
    CHECK_INT(cudaDeviceSynchronize(), cudaSuccess);
    printf("ranks meet %d times in batch norm, with %d buckets of gradients and once for the logits\n", m.norms, m.buckets);
    CHECK_INT(m.norms, 326);
    CHECK(m.buckets >= 2 && m.buckets + 1 <= 12);
    um_gpu_net_free(n);
    cudaFree(memory), cudaFree(params), cudaFree(grads);
}

int main(int argc, char **argv)
{
    um_efficientnet net;
    um_graph *g = NULL;
    um_gpu *gpu = NULL;
    bool table = argc > 1 && strcmp(argv[1], "table") == 0;
    CHECK_OK(um_gpu_open(0, &gpu));
    CHECK_OK(um_efficientnet_parse("b7", &net));
    CHECK_OK(um_efficientnet_graph(&net, 380, true, 0.2f, 0.5f, &g));
    if (g == NULL || gpu == NULL) return TEST_END();
    check_training(g, table);
    check_inference(g, table);
    check_meetings(g);
    um_graph_free(g);
    um_gpu_close();
    return TEST_END();
}
