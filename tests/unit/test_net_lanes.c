/* A net in training does not depend on who computes: lanes, ranks (threads of this process: thread_comm.h), pools of threads; unequal and empty ones; a frozen encoder; no allocation in a step. */
#include "src/models/efficientnet.h"
#include "src/nn/init.h"
#include "src/nn/net.h"
#include "tests/golden/classifier_golden.h"
#include "tests/unit/test.h"
#include "tests/unit/thread_comm.h"

static int allocations;
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t a, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t a, size_t n);
void *__wrap_malloc(size_t n) { return __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED), __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t m) { return __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED), __real_calloc(n, m); }
void *__wrap_realloc(void *p, size_t n) { return __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED), __real_realloc(p, n); }
void *__wrap_aligned_alloc(size_t a, size_t n) { return __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED), __real_aligned_alloc(a, n); }

enum { MOST = 16, STEPS = 2 };
static um_graph *graph;
static uint8_t *images; /* MOST pictures */
static float *start;    /* parameters to begin with */

static size_t picture_bytes(void) { return (size_t)(graph->node[0].h * graph->node[0].w * graph->node[0].c); }

/* Who trains: `ranks` ranks of `lanes` lanes with count[rank * lanes + lane] pictures, `threads` threads each. */
typedef struct world {
    const char *backend;
    int ranks, lanes, threads, steps;
    const int *count;
    bool freeze;
    thread_world meet;
    float *params[THREAD_RANKS_MAX], *grads[THREAD_RANKS_MAX], logits[THREAD_RANKS_MAX][MOST];
    int messages[THREAD_RANKS_MAX], allocated;
    um_status status[THREAD_RANKS_MAX];
} world;

typedef struct rank_of {
    world *w;
    int rank;
} rank_of;

static void train(world *w, int rank)
{
    thread_rank r;
    um_net *n = NULL;
    um_pool *pool = NULL;
    int first = 0, total = 0;
    const int *mine = w->count + rank * w->lanes;
    float d[MOST];
    thread_rank_init(&r, &w->meet, rank);
    for (int i = 0; i < rank * w->lanes; i++) first += w->count[i];
    for (int i = 0; i < w->lanes; i++) total += mine[i];
    CHECK_OK(um_pool_new(w->threads, &pool));
    um_net_options o = {.backend = w->backend,
                        .max_batch = total > 0 ? total : 1,
                        .n_lanes = w->lanes,
                        .precision = UM_F32,
                        .mean = {0.485f, 0.456f, 0.406f},
                        .std = {0.229f, 0.224f, 0.225f},
                        .bn_momentum = 0.1f,
                        .bucket_bytes = 100000,
                        .pool = pool,
                        .comm = w->ranks > 1 ? &r.comm : NULL};
    CHECK_OK(um_net_new(graph, &o, &n));
    if (n == NULL) return;
    memcpy(w->params[rank], start, (size_t)graph->param_count * sizeof *start);
    for (int step = 0; step < w->steps; step++) {
        um_net_batch b = {.images = images + (size_t)first * picture_bytes(), .lane_count = mine, .first = first, .seed = 9, .step = step, .freeze_encoder = w->freeze};
        int before = allocations;
        w->status[rank] = um_net_forward(n, w->params[rank], &b, w->logits[rank]);
        if (w->status[rank] != UM_OK) break;
        for (int i = 0; i < total; i++) d[i] = (float)(1 / (1 + exp(-(double)w->logits[rank][i])) - (first + i) % 2) / MOST;
        CHECK_OK(um_net_backward(n, w->params[rank], &b, d, w->grads[rank]));
        if (w->ranks == 1) w->allocated += allocations - before;
        for (int64_t i = 0; i < graph->param_count; i++) w->params[rank][i] -= 0.05f * w->grads[rank][i];
    }
    w->messages[rank] = r.n_messages;
    CHECK(w->ranks == 1 || um_net_comm_s(n) > 0);
    um_net_free(n);
    um_pool_free(pool);
}

static void *train_thread(void *p)
{
    const rank_of *r = p;
    train(r->w, r->rank);
    return NULL;
}

static void run(world *w)
{
    pthread_t id[THREAD_RANKS_MAX];
    rank_of r[THREAD_RANKS_MAX];
    w->meet.size = w->ranks;
    pthread_barrier_init(&w->meet.meet, NULL, (unsigned)w->ranks);
    for (int i = 0; i < w->ranks; i++) {
        w->params[i] = calloc((size_t)graph->param_count, sizeof(float));
        w->grads[i] = calloc((size_t)graph->param_count, sizeof(float));
        if (w->params[i] == NULL || w->grads[i] == NULL) exit(1);
        r[i] = (rank_of){w, i};
        if (w->ranks > 1 && pthread_create(&id[i], NULL, train_thread, &r[i]) != 0) exit(1);
    }
    if (w->ranks == 1) train(w, 0);
    for (int i = 0; w->ranks > 1 && i < w->ranks; i++) pthread_join(id[i], NULL);
    pthread_barrier_destroy(&w->meet.meet);
}

static void drop(world *w)
{
    for (int i = 0; i < w->ranks; i++) free(w->params[i]), free(w->grads[i]);
}

static bool same(const float *a, const float *b) { return memcmp(a, b, (size_t)graph->param_count * sizeof *a) == 0; }

/* Largest ||a - b|| / ||b|| of a tensor; of weights that were trained. */
static double off(const float *a, const float *b)
{
    double most = 0;
    for (int p = 0; p < graph->n_params; p++) {
        double d = 0, n = 0;
        for (int64_t i = graph->param[p].offset; i < graph->param[p].offset + graph->param[p].count; i++) {
            d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
            n += (double)b[i] * (double)b[i];
        }
        if (n > 0 && sqrt(d / n) > most) most = sqrt(d / n);
    }
    return most;
}

/* Four lanes, wherever they are, and any number of threads. */
static void test_bits(const char *backend, const int count[4])
{
    world one = {.backend = backend, .ranks = 1, .lanes = 4, .threads = 1, .steps = STEPS, .count = count}, other[] = {one, one, one, one};
    other[0].threads = 3;
    other[1].ranks = 2, other[1].lanes = 2;
    other[2].ranks = 4, other[2].lanes = 1;
    other[3].ranks = 2, other[3].lanes = 2, other[3].threads = 2;
    run(&one);
    CHECK_OK(one.status[0]);
    CHECK_INT(one.allocated, 0);
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        world *w = &other[i];
        int at = 0;
        run(w);
        for (int r = 0; r < w->ranks; r++) {
            CHECK_OK(w->status[r]);
            CHECK(same(w->params[r], one.params[0]));
            CHECK(same(w->grads[r], one.grads[0]));
            for (int l = 0, n; l < w->lanes; l++, at += n) {
                n = count[r * w->lanes + l];
                int mine = at;
                for (int before = 0; before < r * w->lanes; before++) mine -= count[before];
                CHECK(memcmp(w->logits[r] + mine, one.logits[0] + at, (size_t)n * sizeof(float)) == 0);
            }
        }
        drop(w);
    }
    drop(&one);
}

/* The same pictures in one lane and in several, after ten steps. */
static void test_lanes(void)
{
    static const int all[] = {16}, four[] = {4, 4, 4, 4}, uneven[] = {7, 0, 1, 8}, pairs[] = {6, 10};
    world one = {.backend = "cpu", .ranks = 1, .lanes = 1, .threads = 1, .steps = 10, .count = all}, other[] = {one, one, one};
    other[0].lanes = 4, other[0].count = four;
    other[1].lanes = 4, other[1].count = uneven;
    other[2].lanes = 1, other[2].ranks = 2, other[2].count = pairs;
    run(&one);
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        run(&other[i]);
        double by = off(other[i].params[0], one.params[0]);
        if (!(by <= 1e-4)) fprintf(stderr, "%d lanes on %d ranks: a tensor is off by %g\n", other[i].lanes, other[i].ranks, by);
        CHECK(by <= 1e-4);
        CHECK(!same(other[i].params[0], start));
        drop(&other[i]);
    }
    drop(&one);
}

/* One message a batch norm each way, of all of the ranks' lanes; few buckets. */
static void test_messages(void)
{
    static const int count[] = {3, 2, 4, 1};
    world w = {.backend = "cpu", .ranks = 2, .lanes = 2, .threads = 1, .steps = 1, .count = count};
    int norms = 0;
    for (int i = 0; i < graph->n_nodes; i++) norms += graph->node[i].op == UM_OP_BATCH_NORM;
    run(&w);
    CHECK(w.messages[0] > 2 * norms + 1);
    CHECK(w.messages[0] <= 2 * norms + (int)(graph->param_count * 4 / 100000) + 1);
    drop(&w);
}

static void test_frozen(void)
{
    static const int count[] = {5, 0, 3, 2};
    world a = {.backend = "cpu", .ranks = 1, .lanes = 4, .threads = 1, .steps = 2, .count = count, .freeze = true}, b = a;
    int moved = 0;
    b.ranks = 2, b.lanes = 2;
    run(&a);
    run(&b);
    CHECK(same(a.params[0], b.params[1]));
    for (int p = 0; p < graph->n_params; p++) {
        const um_param *q = &graph->param[p];
        size_t at = (size_t)q->offset, bytes = (size_t)q->count * sizeof(float);
        bool head = strncmp(q->name, "fc.", 3) == 0, running = q->kind == UM_PARAM_BN_MEAN || q->kind == UM_PARAM_BN_VAR;
        bool changed = memcmp(a.params[0] + at, start + at, bytes) != 0;
        CHECK(changed == (head || running));
        moved += changed;
    }
    CHECK(moved > 2);
    drop(&a);
    drop(&b);
}

/* A step of numbers that are not finite leaves nothing behind. */
static void test_nan(void)
{
    int count[] = {3, 2};
    float *params[2], *grads[2], logits[2][5], d[5] = {0.1f, -0.2f, 0.3f, 0.1f, -0.1f};
    for (int i = 0; i < 2; i++) {
        um_net *n = NULL;
        um_net_options o = {.backend = "cpu", .max_batch = 5, .n_lanes = 2, .precision = UM_F32, .std = {1, 1, 1}, .bn_momentum = 0.1f};
        um_net_batch b = {.images = images, .lane_count = count};
        size_t bytes = (size_t)graph->param_count * sizeof(float);
        params[i] = malloc(bytes);
        grads[i] = malloc(bytes);
        CHECK_OK(um_net_new(graph, &o, &n));
        if (n == NULL || params[i] == NULL || grads[i] == NULL) exit(1);
        memcpy(params[i], start, bytes);
        if (i == 1) {
            params[i][0] = NAN;
            CHECK_OK(um_net_forward(n, params[i], &b, logits[i]));
            CHECK(isnan(logits[i][0]));
            CHECK_OK(um_net_backward(n, params[i], &b, d, grads[i]));
            CHECK(isnan(grads[i][0]));
            memcpy(params[i], start, bytes);
        }
        CHECK_OK(um_net_forward(n, params[i], &b, logits[i]));
        CHECK_OK(um_net_backward(n, params[i], &b, d, grads[i]));
        um_net_free(n);
    }
    CHECK(same(grads[0], grads[1]));
    CHECK(same(params[0], params[1]));
    CHECK(memcmp(logits[0], logits[1], sizeof logits[0]) == 0);
    for (int i = 0; i < 2; i++) free(params[i]), free(grads[i]);
}

/* A batch that statistics cannot be made of is refused by all. */
static void test_refusals(void)
{
    static const int none[] = {0, 0}, single[] = {1, 0};
    um_efficientnet net;
    um_graph *kept = graph;
    world w = {.backend = "cpu", .ranks = 2, .lanes = 1, .threads = 1, .steps = 1, .count = none};
    run(&w);
    CHECK_INT(w.status[0], UM_DATA);
    CHECK_INT(w.status[1], UM_DATA);
    drop(&w);
    /* One picture is enough until a map has one number a channel. */
    CHECK_OK(um_efficientnet_parse("w0.25d0.2", &net));
    CHECK_OK(um_efficientnet_graph(&net, 32, true, 0, 0, &graph));
    start = realloc(start, (size_t)(graph->param_count > kept->param_count ? graph->param_count : kept->param_count) * sizeof *start);
    um_graph_init(graph, 1, start);
    w.count = single;
    run(&w);
    CHECK_INT(w.status[0], UM_DATA);
    CHECK_INT(w.status[1], UM_DATA);
    drop(&w);
    um_net *n = NULL;
    um_net_options o = {.backend = "cpu", .max_batch = 1, .n_lanes = 1, .precision = UM_BF16, .std = {1, 1, 1}};
    CHECK_INT(um_net_new(graph, &o, &n), UM_CONFIG);
    o.precision = UM_F32;
    o.backend = "gpu";
    CHECK_INT(um_net_new(graph, &o, &n), UM_CONFIG);
    o.backend = "cpu";
    CHECK_OK(um_net_new(graph, &o, &n));
    int two = 2;
    float logit[2];
    um_net_batch b = {.images = images, .lane_count = &two};
    CHECK_INT(um_net_evaluate(n, start, &b, logit), UM_INTERNAL);
    um_net_free(n);
    um_graph_free(graph);
    graph = kept;
}

int main(void)
{
    static const int even[] = {4, 4, 4, 4}, uneven[] = {5, 0, 3, 1}, first_empty[] = {0, 0, 6, 1}, small[] = {1, 1, 0, 2};
    um_efficientnet net;
    CHECK_OK(um_efficientnet_parse("w0.5d0.5", &net));
    CHECK_OK(um_efficientnet_graph(&net, 64, true, 0.2f, 0.1f, &graph));
    images = malloc(picture_bytes() * MOST);
    start = malloc((size_t)graph->param_count * sizeof *start);
    if (images == NULL || start == NULL) return 1;
    for (int i = 0; i < MOST; i++) golden_picture((uint32_t)i, graph->node[0].h, images + (size_t)i * picture_bytes());
    golden_params(graph, 4, start); /* a tame net: in one of random weights, rounding errors grow from layer to layer */
    test_bits("cpu", even);
    test_bits("cpu", uneven);
    test_bits("cpu", first_empty);
    test_bits("ref", small);
    test_lanes();
    test_messages();
    test_frozen();
    test_nan();
    test_refusals();
    um_graph_free(graph);
    free(images);
    free(start);
    return TEST_END();
}
