/* queue and agree: each unit exactly once, whatever the shares, the speeds and who stops. */
#include "mpi/queue.h"
#include "src/core/clock.h"
#include "src/core/rng.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <time.h>

static um_world w;

static void work(um_queue *q, double seconds)
{
    double end = um_clock_s() + seconds;
    do {
        um_queue_poll(q);
        struct timespec t = {0, 50 * 1000};
        nanosleep(&t, NULL);
    } while (um_clock_s() < end);
}

/* slow: rank 0's units take this much longer; stopper: a rank that stops after its first unit, -1 for none. */
static void round_of(int64_t n, double unit_s, double slow, int stopper)
{
    um_rng r = um_rng_stream(7, (uint64_t)n, 0, UM_RNG_TEST);
    int64_t *cost = malloc((size_t)(n + 1) * sizeof *cost), unit, units, done, videos, bad, mine = 0;
    int *times = calloc((size_t)n + 1, sizeof *times), *all = calloc((size_t)n + 1, sizeof *all);
    for (int64_t i = 0; i < n; i++) cost[i] = 1 + (int64_t)um_rng_below(&r, 1000);
    um_queue *q;
    um_queue_stats stats;
    CHECK_OK(um_queue_open(&w, w.rank == 0 ? cost : NULL, n, &q));
    um_status st;
    while ((st = um_queue_next(q, &unit)) == UM_OK) {
        CHECK(unit >= 0 && unit < n);
        times[unit]++;
        work(q, unit_s * (double)cost[unit] / 500 * (w.rank == 0 ? slow : 1));
        um_queue_done(q, cost[unit], 1, unit % 2);
        mine++;
        if (w.rank == stopper) um_queue_stop(q);
    }
    CHECK_INT(st, UM_END);
    um_queue_progress(q, &units, &done, &videos, &bad);
    um_queue_close(q, &stats);
    CHECK_INT(stats.units_first + stats.units_taken - stats.units_given, mine + (w.rank == stopper ? stats.units_first + stats.units_taken - stats.units_given - mine : 0));
    MPI_Allreduce(times, all, (int)n, MPI_INT, MPI_SUM, w.comm);
    for (int64_t i = 0; i < n; i++) {
        CHECK(all[i] <= 1);
        if (stopper < 0) CHECK_INT(all[i], 1);
    }
    int64_t taken = 0, first = stats.units_taken;
    MPI_Allreduce(&first, &taken, 1, MPI_INT64_T, MPI_SUM, w.comm);
    if (slow > 5 && w.size > 1 && n >= 20) CHECK(taken > 0); /* the slow rank's tail went to the others */
    free(cost);
    free(times);
    free(all);
}

static void agreement(void)
{
    um_err_clear();
    CHECK_INT(um_agree(&w, UM_OK, "nothing"), UM_OK);
    int last = w.size - 1;
    um_status st = w.rank == last ? UM_FAIL(UM_IO, "disk of %d is full", w.rank) : w.rank == 0 ? UM_FAIL(UM_CORRUPT, "bad") : UM_OK;
    st = um_agree(&w, st, "sealing");
    CHECK_INT(st, UM_IO); /* a job status is worse than an item's */
    char want[80];
    if (w.size > 1)
        snprintf(want, sizeof want, "sealing: rank %d: disk of %d is full", last, last);
    else
        snprintf(want, sizeof want, "sealing: disk of 0 is full");
    CHECK_STR(um_err_text(), want);
}

int main(void)
{
    CHECK_OK(um_world_open(&w));
    agreement();
    const int64_t sizes[] = {0, 1, 2, 3, 7, 40, 600};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) round_of(sizes[i], 0.0001, 1, -1);
    round_of(60, 0.001, 20, -1);
    for (int stopper = 0; stopper < w.size; stopper++) round_of(30, 0.001, 1, stopper);
    int bad = TEST_END(), any = 0;
    MPI_Allreduce(&bad, &any, 1, MPI_INT, MPI_MAX, w.comm);
    um_world_close(&w);
    return any;
}
