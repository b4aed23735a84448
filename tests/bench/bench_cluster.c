/* The simulated figures of docs/scaling.md: the traffic of training B7, and the queue over a data set like the DFDC's, for 1 to 4,096 ranks. Pure: the same numbers everywhere.
 *
 *     bench_cluster [latency in us: 20]
 */
#include "src/cluster/queue_model.h"
#include "src/cluster/traffic.h"
#include "src/core/rng.h"
#include "src/models/efficientnet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ORIGINALS = 19154, VIDEOS = 119154, MOST_VIDEOS = 11 };
static double cost[ORIGINALS];
static int64_t key[ORIGINALS];

static um_status traffic(void)
{
    static const struct {
        double gbit, latency_s;
    } link[] = {{10, 30e-6}, {100, 2e-6}, {200, 1.5e-6}};
    static const double step_s[] = {13, 1, 0.2, 0.05};
    um_efficientnet net;
    um_graph *g = NULL;
    um_traffic t;
    UM_PASS(um_efficientnet_parse("b7", &net));
    UM_PASS(um_efficientnet_graph(&net, 380, true, 0.2f, 0, &g));
    um_traffic_count(g, 12, 0, &t);
    printf("B7: %lld parameters; gradients %lld bytes in %d buckets; %d batch norms, %lld channels, %lld bytes; %d small sums\n", (long long)t.parameters, (long long)t.gradient_bytes, t.n_buckets, t.n_norms,
           (long long)t.norm_channels, (long long)t.norm_bytes, t.n_messages);
    for (size_t i = 0; i < sizeof link / sizeof *link; i++) {
        for (int ranks = 2; ranks <= 4096; ranks *= ranks < 8 ? 4 : 8) {
            um_network w = {.latency_s = link[i].latency_s, .bytes_s = link[i].gbit * 1e9 / 8};
            double small, gradient;
            um_traffic_count(g, 12 * ranks, 0, &t);
            um_traffic_s(&t, &w, ranks, &small, &gradient);
            printf("%3.0f Gbit/s, %4.1f us, %4d ranks: batch norms %7.2f ms, gradients %7.1f ms\n", link[i].gbit, 1e6 * link[i].latency_s, ranks, 1e3 * small, 1e3 * gradient);
        }
        for (size_t k = 0; k < sizeof step_s / sizeof *step_s; k++) {
            um_network w = {.latency_s = link[i].latency_s, .bytes_s = link[i].gbit * 1e9 / 8};
            int from = um_traffic_limit(&t, &w, step_s[k], 4096);
            printf("%3.0f Gbit/s, a step of %g s: %s %d ranks\n", link[i].gbit, step_s[k], from > 0 ? "communication is longer from" : "not longer up to", from > 0 ? from : 4096);
        }
    }
    um_graph_free(g);
    return UM_OK;
}

/* Originals with up to ten fakes, of lengths that differ; a second of work a video on average; bytes tell the time only roughly. */
static um_status queue(double latency_s)
{
    um_rng r = um_rng_stream(9, 0, 0, UM_RNG_TEST);
    double sum = 0;
    for (int i = 0; i < ORIGINALS; i++) {
        double size = (1 + um_rng_below(&r, MOST_VIDEOS)) * exp(0.6 * um_rng_normal(&r));
        cost[i] = size * exp(0.25 * um_rng_normal(&r));
        key[i] = (int64_t)(1e6 * size);
        sum += cost[i];
    }
    for (int i = 0; i < ORIGINALS; i++) cost[i] *= VIDEOS / sum;
    for (int ranks = 1; ranks <= 4096; ranks *= 2) {
        um_queue_model m = {.n_ranks = ranks, .latency_s = latency_s, .poll_s = 0.05};
        um_queue_forecast f;
        UM_PASS(um_queue_model_run(&m, cost, key, ORIGINALS, &f));
        printf("%4d ranks: %9.1f s, limit %9.1f s (largest unit %.1f s), at work %5.1f %%, %lld messages, %lld units moved\n", ranks, f.wall_s, f.bound_s, f.largest_s, 100 * f.efficiency, (long long)f.messages, (long long)f.moved);
    }
    return UM_OK;
}

int main(int argc, char **argv)
{
    um_status st = traffic();
    if (st == UM_OK) st = queue(1e-6 * (argc > 1 ? atof(argv[1]) : 20));
    if (st != UM_OK) fprintf(stderr, "%s\n", um_err_text());
    return st == UM_OK ? 0 : 1;
}
