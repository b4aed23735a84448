/* Items are done once each, whatever the number of threads; the lowest failure comes back with its words; a pool can be used again. */
#include "src/core/pool.h"
#include "tests/unit/test.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { N = 5000 };
typedef struct loop {
    atomic_int done[N];
    atomic_int wrong_thread;
    int n_threads;
    int64_t fail_from;
} loop;

static um_status body(void *user, int64_t item, int thread)
{
    loop *l = user;
    if (thread < 0 || thread >= l->n_threads) l->wrong_thread++;
    l->done[item]++;
    if (item >= l->fail_from) return UM_FAIL(UM_CORRUPT, "item %d is bad", (int)item);
    return UM_OK;
}

static void check(int n_threads)
{
    static loop l;
    um_pool *p = NULL;
    CHECK(um_pool_new(n_threads, &p) == UM_OK);
    CHECK(um_pool_threads(p) == n_threads);
    for (int round = 0; round < 20; round++) {
        memset(&l, 0, sizeof l);
        l.n_threads = n_threads;
        l.fail_from = N;
        int64_t n = round == 0 ? 0 : round == 1 ? 1 : N;
        CHECK(um_pool_run(p, n, body, &l) == UM_OK);
        for (int64_t i = 0; i < N; i++) CHECK(l.done[i] == (i < n));
        CHECK(l.wrong_thread == 0);
    }
    memset(&l, 0, sizeof l);
    l.n_threads = n_threads;
    l.fail_from = 100;
    CHECK(um_pool_run(p, N, body, &l) == UM_CORRUPT);
    CHECK(strstr(um_err_text(), "item 100 is bad") != NULL); /* 100 is begun before any later one */
    int begun = 0;
    for (int i = 0; i < N; i++) begun += l.done[i];
    CHECK(begun >= 101 && begun <= 100 + n_threads);
    l.fail_from = N;
    CHECK(um_pool_run(p, N, body, &l) == UM_OK);
    um_pool_free(p);
}

int main(void)
{
    for (int n = 1; n <= 4; n++) check(n);
    um_pool *none = NULL;
    CHECK(um_pool_new(0, &none) == UM_USAGE && none == NULL);
    CHECK(um_pool_threads(NULL) == 1);
    static loop l;
    l.n_threads = 1;
    l.fail_from = N;
    CHECK(um_pool_run(NULL, 10, body, &l) == UM_OK && l.done[9] == 1);
    CHECK(um_processors() >= 1);
    return TEST_END();
}
