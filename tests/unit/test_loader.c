/* loader: every picture once, in its place, whatever the threads; in time; stopped in the middle; failures told where they belong. */
#include "src/train/loader.h"
#include "src/core/rng.h"
#include "tests/unit/test.h"

#include <stdatomic.h>
#include <time.h>

enum { BYTES = 40 };
static atomic_long made[4000];
static atomic_long highest;
static int64_t fails_at = -1;

static um_status make(void *user, int64_t number, int thread, uint8_t *image, float *target, uint8_t *weight)
{
    int n_threads = *(int *)user;
    CHECK(thread >= 0 && thread < n_threads);
    um_rng r = um_rng_stream(3, (uint64_t)number, 0, UM_RNG_TEST);
    atomic_fetch_add(&made[number], 1);
    long seen = atomic_load(&highest);
    while (number > seen && !atomic_compare_exchange_weak(&highest, &seen, (long)number)) {}
    if (um_rng_below(&r, 4) == 0) nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    memset(image, (int)(number % 251), BYTES);
    *target = (float)number;
    *weight = number % 3 != 0;
    return fails_at >= 0 && (number == fails_at || number == fails_at + 2) ? UM_FAIL(UM_DATA, "picture %lld is bad", (long long)number) : UM_OK;
}

static void run(int n_threads, int depth, int64_t first, int64_t end_batch, int64_t stride, int64_t offset, int n, int64_t end, int64_t stop_at)
{
    um_loader_options o = {n_threads, depth, n > 0 ? n : 1, BYTES};
    um_loader_run what = {make, &n_threads, first, end_batch, stride, offset, end, n};
    um_loader *l;
    um_loader_batch b;
    um_status st;
    int64_t at = first;
    CHECK_OK(um_loader_new(&o, &l));
    for (int again = 0; again < 2; again++) {
        for (int i = 0; i < 4000; i++) atomic_store(&made[i], 0);
        atomic_store(&highest, -1);
        CHECK_OK(um_loader_begin(l, &what));
        for (at = first; at != stop_at && (st = um_loader_next(l, &b)) != UM_END; at++) {
            int64_t left = end - (at * stride + offset), want = left < 0 ? 0 : left < n ? left : n;
            CHECK_INT(b.number, at);
            CHECK_INT(b.n, want);
            CHECK_INT(b.first, at * stride + offset);
            CHECK_INT(st, fails_at >= b.first && fails_at < b.first + b.n ? UM_DATA : UM_OK);
            if (st == UM_DATA) CHECK_STR(um_err_text(), "picture 41 is bad");
            for (int i = 0; i < b.n; i++) {
                CHECK(b.target[i] == (float)(b.first + i) && b.weight[i] == ((b.first + i) % 3 != 0));
                CHECK(b.images[i * BYTES] == (b.first + i) % 251 && b.images[i * BYTES + BYTES - 1] == (b.first + i) % 251);
            }
            CHECK(atomic_load(&highest) < (at + depth) * stride + offset + n); /* no further ahead than asked */
        }
        if (stop_at < 0) {
            CHECK_INT(at, end_batch);
            CHECK_INT(um_loader_next(l, &b), UM_END);
            for (int64_t k = first; k < end_batch; k++)
                for (int64_t i = 0; i < n && k * stride + offset + i < end; i++) CHECK_INT(atomic_load(&made[k * stride + offset + i]), 1);
        }
        um_loader_stop(l);
    }
    CHECK(um_loader_waited_s(l) >= 0);
    um_loader_free(l);
}

int main(void)
{
    for (int threads = 1; threads <= 4; threads++) {
        run(threads, 2, 0, 20, 8, 0, 8, 4000, -1);
        run(threads, 4, 3, 40, 10, 4, 3, 4000, -1);
        run(threads, 3, 0, 7, 10, 6, 4, 55, -1);  /* the last batches are short and empty */
        run(threads, 3, 5, 5, 10, 0, 4, 55, -1);  /* nothing */
        run(threads, 3, 0, 9, 10, 0, 0, 4000, -1); /* a rank without pictures */
        run(threads, 3, 0, 50, 10, 0, 10, 4000, 4);
    }
    fails_at = 41;
    run(3, 3, 0, 10, 10, 0, 10, 4000, -1);
    return TEST_END();
}
