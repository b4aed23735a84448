/* Threads that share out items: each item once, results that do not depend on the number of threads, the lowest failure. */
#include "src/core/pool.h"
#include "tests/unit/test.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { MOST = 5000 };

typedef struct work {
    _Atomic int ran[MOST];
    int thread_of[MOST];
    int64_t fails_from, fails_every; /* item i >= fails_from with i % fails_every == 0 fails; 0: none */
    int n_threads;
    _Atomic int wrong_thread, unblocked;
} work;

static void wait_a_little(int64_t item)
{
    /* Items of unequal length, so that the order of finishing differs from that of beginning. */
    struct timespec t = {.tv_nsec = (item * 7919 % 5) * 20000};
    if (item % 3 == 0) nanosleep(&t, NULL);
}

static um_status body(void *user, int64_t item, int thread)
{
    work *w = user;
    wait_a_little(item);
    atomic_fetch_add(&w->ran[item], 1);
    w->thread_of[item] = thread;
    if (thread < 0 || thread >= w->n_threads) atomic_fetch_add(&w->wrong_thread, 1);
    if (thread > 0) {
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, NULL, &mask);
        if (!sigismember(&mask, SIGTERM) || !sigismember(&mask, SIGUSR1)) atomic_fetch_add(&w->unblocked, 1);
    }
    if (w->fails_every > 0 && item >= w->fails_from && item % w->fails_every == 0) {
        um_status st = item % 2 == 0 ? UM_CORRUPT : UM_IO;
        um_err_fail(st, "body.c", (int)item, "item %d fails", (int)item);
        return um_err_note(st, "in the body");
    }
    return UM_OK;
}

static void check_all_run(int n_threads)
{
    um_pool *p = NULL;
    work *w = calloc(1, sizeof *w);
    if (w == NULL) abort();
    CHECK_OK(um_pool_new(n_threads, &p));
    CHECK_INT(um_pool_threads(p), n_threads);
    w->n_threads = n_threads;
    /* Reused, with loops shorter and longer than the number of threads. */
    static const int lengths[] = {0, 1, 2, 3, 7, 300, 1, 4, 100};
    int total[MOST] = {0};
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        CHECK_OK(um_pool_run(p, lengths[k], body, w));
        for (int i = 0; i < lengths[k]; i++) total[i]++;
        int wrong = 0;
        for (int i = 0; i < MOST; i++) wrong += atomic_load(&w->ran[i]) != total[i];
        CHECK_INT(wrong, 0);
    }
    CHECK_INT(w->wrong_thread, 0);
    CHECK_INT(w->unblocked, 0);
    um_pool_free(p);
    free(w);
}

static void check_failure(int n_threads)
{
    um_pool *p = NULL;
    if (n_threads > 0) CHECK_OK(um_pool_new(n_threads, &p));
    for (int round = 0; round < 20; round++) {
        work *w = calloc(1, sizeof *w);
        if (w == NULL) abort();
        w->n_threads = n_threads > 0 ? n_threads : 1;
        w->fails_every = 7;
        w->fails_from = 40 + round * 3;
        int64_t first = (w->fails_from + 6) / 7 * 7;
        char text[64], where[64];
        snprintf(text, sizeof text, "in the body: item %d fails", (int)first);
        snprintf(where, sizeof where, "body.c:%d", (int)first);
        um_err_clear();
        CHECK_INT(um_pool_run(p, MOST, body, w), first % 2 == 0 ? UM_CORRUPT : UM_IO);
        CHECK_STR(um_err_text(), text);
        CHECK_STR(um_err_where(), where);
        int missing = 0, twice = 0, late = 0;
        for (int i = 0; i < MOST; i++) {
            int ran = atomic_load(&w->ran[i]);
            missing += i <= first && ran == 0;
            twice += ran > 1;
            late += ran > 0 && i > first;
        }
        CHECK_INT(missing, 0);
        CHECK_INT(twice, 0);
        CHECK(late < MOST / 4); /* no new items begin */
        /* The pool is whole afterwards, and the failure is forgotten. */
        w->fails_every = 0;
        CHECK_OK(um_pool_run(p, 10, body, w));
        free(w);
    }
    um_pool_free(p);
}

/* What an item computes does not depend on the thread: the sum per item, whoever ran it. */
static um_status fill(void *user, int64_t item, int thread)
{
    (void)thread;
    float *out = user, s = 0;
    for (int k = 1; k <= 100; k++) s += 1.0f / (float)(item + k);
    out[item] = s;
    return UM_OK;
}

static void check_same(void)
{
    static float want[1000], got[1000];
    CHECK_OK(um_pool_run(NULL, 1000, fill, want));
    for (int n = 1; n <= 4; n++) {
        um_pool *p = NULL;
        memset(got, 0, sizeof got);
        CHECK_OK(um_pool_new(n, &p));
        CHECK_OK(um_pool_run(p, 1000, fill, got));
        CHECK(memcmp(want, got, sizeof want) == 0);
        um_pool_free(p);
    }
}

/* Two items that wait for each other only end when two threads run at once. */
static um_status meet(void *user, int64_t item, int thread)
{
    (void)item;
    (void)thread;
    _Atomic int *here = user;
    atomic_fetch_add(here, 1);
    while (atomic_load(here) < 2) sched_yield();
    return UM_OK;
}

int main(void)
{
    for (int n = 1; n <= 4; n++) check_all_run(n);
    for (int n = 0; n <= 4; n++) check_failure(n);
    check_same();

    um_pool *p = NULL;
    _Atomic int here = 0;
    CHECK_OK(um_pool_new(2, &p));
    CHECK_OK(um_pool_run(p, 2, meet, &here));
    um_pool_free(p);

    CHECK_INT(um_pool_new(0, &p), UM_INTERNAL);
    CHECK(p == NULL);
    CHECK_INT(um_pool_threads(NULL), 1);
    um_pool_free(NULL);

    cpu_set_t old, one;
    CHECK_INT(sched_getaffinity(0, sizeof old, &old), 0);
    CHECK_INT(um_processors(), CPU_COUNT(&old));
    for (size_t i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &old)) {
            CPU_ZERO(&one);
            CPU_SET(i, &one);
            break;
        }
    CHECK_INT(sched_setaffinity(0, sizeof one, &one), 0);
    CHECK_INT(um_processors(), 1);
    return TEST_END();
}
