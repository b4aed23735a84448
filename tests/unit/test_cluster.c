/* The queue played through, against what can be reckoned by hand; the traffic of a step, counted. */
#include "src/cluster/queue_model.h"
#include "src/cluster/traffic.h"
#include "src/core/rng.h"
#include "src/models/efficientnet.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { MANY = 20000 };
static double cost[MANY];
static int64_t key[MANY];

static um_queue_forecast play(int n_ranks, int64_t n, const int64_t *by, double latency_s, double poll_s)
{
    um_queue_model m = {.n_ranks = n_ranks, .latency_s = latency_s, .poll_s = poll_s};
    um_queue_forecast f;
    CHECK_OK(um_queue_model_run(&m, cost, by, n, &f));
    return f;
}

static void check_closed_forms(void)
{
    um_queue_forecast f;
    for (int i = 0; i < MANY; i++) cost[i] = 2;
    /* One rank does all, one after the other. */
    f = play(1, 100, NULL, 1e-3, 0.05);
    CHECK_NEAR(f.wall_s, 200, 1e-9);
    CHECK_NEAR(f.efficiency, 1, 1e-12);
    CHECK_INT(f.messages, 0);
    CHECK_INT(f.most, 100);
    /* Equal units that come out even: as long as a rank's share, and no unit moves. */
    f = play(8, 800, NULL, 0, 0.05);
    CHECK_NEAR(f.wall_s, 200, 1e-9);
    CHECK_NEAR(f.bound_s, 200, 1e-9);
    CHECK_INT(f.moved, 0);
    /* One more than comes out even: one unit longer. */
    f = play(8, 801, NULL, 0, 0.05);
    CHECK_NEAR(f.wall_s, 202, 1e-9);
    /* The last rank begins later by what dealing out takes: (R - 1) messages. */
    f = play(8, 8, NULL, 0.01, 0.05);
    CHECK_NEAR(f.wall_s, 2 + 7 * 0.01, 1e-9);
    /* Fewer units than ranks: the largest. */
    cost[1] = 7;
    f = play(16, 5, NULL, 0, 0.05);
    CHECK_NEAR(f.wall_s, 7, 1e-9);
    CHECK_NEAR(f.bound_s, 7, 1e-9);
    CHECK_NEAR(f.efficiency, 15. / (16 * 7), 1e-12);
    /* Nothing to do. */
    f = play(4, 0, NULL, 0, 0.05);
    CHECK_NEAR(f.wall_s, 0, 0);
    CHECK_NEAR(f.efficiency, 1, 0);
}

/* One giant, and small ones that the other ranks can do beside it: who has the giant is left with nothing else, since others take the rest of its share. */
static void check_giant(void)
{
    for (int i = 0; i < 1000; i++) cost[i] = 1;
    cost[500] = 400;
    um_queue_forecast f = play(4, 1000, NULL, 1e-4, 0.05);
    CHECK(f.wall_s >= 400 && f.wall_s < 401);
    CHECK_NEAR(f.largest_s, 400, 0);
    CHECK_NEAR(f.bound_s, 400, 0);
    CHECK(f.moved >= 200);
    /* The queue knows only bytes: where they hide the giant it comes last, and nobody can help. */
    for (int i = 0; i < 1000; i++) key[i] = i == 500 ? 0 : 1;
    f = play(4, 1000, key, 1e-4, 0.05);
    CHECK(f.wall_s > 600 && f.wall_s < 660);
}

/* All units on one rank: the others must come and take. */
static void check_taking(void)
{
    for (int i = 0; i < 4096; i++) cost[i] = i % 4 == 0 ? 1 : 0; /* dealt in turn: rank 0 gets all that take time */
    for (int i = 0; i < 4096; i++) key[i] = 1;
    um_queue_forecast f = play(4, 4096, key, 1e-5, 0.01);
    CHECK(f.bound_s == 256);
    CHECK(f.wall_s < 256 * 1.05);
    CHECK(f.moved > 512);
    /* A slow answer is waited for. */
    um_queue_forecast slow = play(4, 4096, key, 1e-5, 1);
    CHECK(slow.wall_s >= f.wall_s);
}

static void check_many(void)
{
    um_rng r = um_rng_stream(3, 0, 0, UM_RNG_TEST);
    double last = INFINITY;
    for (int i = 0; i < MANY; i++) {
        cost[i] = exp(0.8 * um_rng_normal(&r));
        key[i] = (int64_t)(1e6 * cost[i] * exp(0.3 * um_rng_normal(&r))); /* bytes tell the time only roughly */
    }
    for (int n_ranks = 1; n_ranks <= 4096; n_ranks *= 2) {
        um_queue_forecast f = play(n_ranks, MANY, key, 2e-6, 0.05), again = play(n_ranks, MANY, key, 2e-6, 0.05);
        CHECK(memcmp(&f, &again, sizeof f) == 0);
        CHECK(f.wall_s >= f.bound_s * (1 - 1e-12)); /* another order of summing */
        CHECK(f.wall_s <= f.mean_s + f.largest_s + 0.5); /* Graham's bound for any schedule that leaves nobody idle, and some messages */
        CHECK(f.wall_s <= last + n_ranks * 2e-6); /* where the largest unit decides, only the time for dealing out grows */
        CHECK(f.efficiency > 0 && f.efficiency <= 1 + 1e-12);
        CHECK(f.ready_s <= f.wall_s + 0.01);
        last = f.wall_s;
    }
}

static void check_refusals(void)
{
    um_queue_model m = {.n_ranks = 0};
    um_queue_forecast f;
    cost[0] = 1;
    CHECK_INT(um_queue_model_run(&m, cost, NULL, 1, &f), UM_USAGE);
    m.n_ranks = 2;
    cost[0] = NAN;
    CHECK_INT(um_queue_model_run(&m, cost, NULL, 1, &f), UM_USAGE);
    cost[0] = -1;
    CHECK_INT(um_queue_model_run(&m, cost, NULL, 1, &f), UM_USAGE);
}

static void check_traffic(void)
{
    um_efficientnet net;
    um_graph *g = NULL;
    um_traffic t;
    CHECK_OK(um_efficientnet_parse("b7", &net));
    CHECK_OK(um_efficientnet_graph(&net, 380, true, 0.2f, 0, &g));
    um_traffic_count(g, 48, 0, &t);
    /* Published figures of B7: 163 batch norms. */
    CHECK_INT(t.n_norms, 163);
    CHECK_INT(t.norm_channels, 155360);
    CHECK_INT(t.norm_bytes, 8 * (4 * 155360 + 163));
    CHECK_INT(t.n_messages, 329);
    CHECK_INT(t.gradient_bytes, 4 * g->param_count);
    CHECK_INT(t.loss_bytes, 8 * 3 * 48);
    CHECK(t.n_buckets >= 5 && t.n_buckets <= 11);
    um_graph_free(g);

    /* By hand: 4 ranks, 1 MB at 1 GB/s: doubling 2 (a + 1 ms), ring 6 a + 1.5 ms. */
    um_network w = {.latency_s = 1e-5, .bytes_s = 1e9};
    CHECK_NEAR(um_network_sum_s(&w, 4, 1e6), 6e-5 + 1.5e-3, 1e-12);
    CHECK_NEAR(um_network_sum_s(&w, 4, 8), 2 * (1e-5 + 8e-9), 1e-15);
    CHECK_NEAR(um_network_sum_s(&w, 1, 1e6), 0, 0);
    w.sharing = 2;
    CHECK_NEAR(um_network_sum_s(&w, 4, 1e6), 6e-5 + 3e-3, 1e-12);
    w.sharing = 0;
    CHECK_INT(um_traffic_limit(&t, &w, 1e9, 4096), 0);
    CHECK_INT(um_traffic_limit(&t, &w, 1e-6, 4096), 2);
    double small, gradient, all = um_traffic_s(&t, &w, 64, &small, &gradient);
    CHECK_NEAR(all, small + gradient, 1e-12);
    CHECK(um_traffic_s(&t, &w, 128, NULL, NULL) > all);
}

int main(void)
{
    check_closed_forms();
    check_giant();
    check_taking();
    check_many();
    check_refusals();
    check_traffic();
    return TEST_END();
}
