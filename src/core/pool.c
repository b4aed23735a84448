#include "src/core/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 4096, CACHE_LINE_BYTES = 64 };

typedef struct worker {
    um_pool *pool;
    pthread_t id;
    int thread;
} worker;

/* The loop's fields are written under the lock before its generation is published under it, and read by a worker only after it has seen
 * that generation under it: so they need no more care. Items are drawn without the lock. */
struct um_pool {
    int n_threads; /* with the caller */
    int n_started; /* workers that exist */
    worker *worker;
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    uint64_t generation; /* of the loop that runs; workers remember the last one they took part in */
    int n_busy;          /* workers that have not finished the loop */
    bool quit;
    um_pool_body *body;
    void *user;
    /* The lowest item that failed; written under the lock. */
    um_status status;
    char text[UM_ERR_LINES * UM_ERR_LINE_BYTES + 64];
    char file[96];
    int line;
    _Alignas(CACHE_LINE_BYTES) _Atomic int64_t next; /* item to draw; on a line of its own: every thread writes it */
    _Alignas(CACHE_LINE_BYTES) _Atomic int64_t limit; /* no item from here on begins: n, or the lowest item that failed */
};

static void record_failure(um_pool *p, int64_t item, um_status st)
{
    pthread_mutex_lock(&p->lock);
    if (item < atomic_load_explicit(&p->limit, memory_order_relaxed)) {
        atomic_store_explicit(&p->limit, item, memory_order_relaxed);
        p->status = st;
        snprintf(p->text, sizeof p->text, "%s", um_err_text());
        snprintf(p->file, sizeof p->file, "%s", um_err_where()); /* "io/vfs.c:31" */
        char *colon = strrchr(p->file, ':');
        p->line = colon != NULL ? atoi(colon + 1) : 0;
        if (colon != NULL) *colon = 0;
    }
    pthread_mutex_unlock(&p->lock);
}

/* Items are drawn in ascending order, so when item i fails every lower one has begun already and is finished: whichever thread is faster, the lowest failure is the same. */
static void work(um_pool *p, int thread)
{
    for (;;) {
        int64_t item = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (item >= atomic_load_explicit(&p->limit, memory_order_relaxed)) return;
        um_status st = p->body(p->user, item, thread);
        if (st != UM_OK) record_failure(p, item, st);
    }
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    um_pool *p = w->pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->quit && p->generation == seen) pthread_cond_wait(&p->begin, &p->lock);
        if (p->quit) break;
        seen = p->generation;
        pthread_mutex_unlock(&p->lock);
        work(p, w->thread);
        pthread_mutex_lock(&p->lock);
        if (--p->n_busy == 0) pthread_cond_signal(&p->end);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

um_status um_pool_new(int n_threads, um_pool **out)
{
    *out = NULL;
    if (n_threads < 1 || n_threads > MAX_THREADS) return UM_FAIL(UM_INTERNAL, "a pool of %d threads", n_threads);
    um_pool *p = NULL;
    if (posix_memalign((void **)&p, CACHE_LINE_BYTES, sizeof *p) != 0) return UM_FAIL(UM_NO_MEMORY, "no memory for %d threads", n_threads);
    memset(p, 0, sizeof *p);
    p->n_threads = n_threads;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->begin, NULL);
    pthread_cond_init(&p->end, NULL);
    p->worker = calloc((size_t)n_threads, sizeof *p->worker);
    if (p->worker == NULL) {
        um_pool_free(p);
        return UM_FAIL(UM_NO_MEMORY, "no memory for %d threads", n_threads);
    }
    /* A thread inherits the mask of its maker. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int err = 0;
    for (int i = 1; i < n_threads && err == 0; i++) {
        worker *w = &p->worker[p->n_started];
        w->pool = p;
        w->thread = i;
        err = pthread_create(&w->id, NULL, worker_main, w);
        if (err == 0) p->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (err != 0) {
        um_pool_free(p);
        return UM_FAIL(UM_INTERNAL, "cannot start %d threads: %s", n_threads, strerror(err));
    }
    *out = p;
    return UM_OK;
}

void um_pool_free(um_pool *p)
{
    if (p == NULL) return;
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    pthread_cond_broadcast(&p->begin);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n_started; i++) pthread_join(p->worker[i].id, NULL);
    pthread_cond_destroy(&p->end);
    pthread_cond_destroy(&p->begin);
    pthread_mutex_destroy(&p->lock);
    free(p->worker);
    free(p);
}

int um_pool_threads(const um_pool *p) { return p != NULL ? p->n_threads : 1; }

um_status um_pool_run(um_pool *p, int64_t n, um_pool_body *body, void *user)
{
    if (n <= 0) return UM_OK;
    if (p == NULL || p->n_started == 0 || n == 1) { /* nobody to wake */
        for (int64_t i = 0; i < n; i++) UM_PASS(body(user, i, 0));
        return UM_OK;
    }
    pthread_mutex_lock(&p->lock);
    p->body = body;
    p->user = user;
    p->status = UM_OK;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    atomic_store_explicit(&p->limit, n, memory_order_relaxed);
    p->n_busy = p->n_started;
    p->generation++;
    pthread_cond_broadcast(&p->begin);
    pthread_mutex_unlock(&p->lock);

    work(p, 0);

    pthread_mutex_lock(&p->lock);
    while (p->n_busy > 0) pthread_cond_wait(&p->end, &p->lock);
    um_status st = p->status;
    pthread_mutex_unlock(&p->lock);
    if (st == UM_OK) return UM_OK;
    /* The chain was another thread's: it comes back as one line, which cuts only very long ones. */
    return um_err_fail(st, p->file, p->line, "%s", p->text);
}

int um_processors(void)
{
    int n = 1;
    /* Sets larger than cpu_set_t are asked for until the kernel is content: machines with more than 1024 processors exist. */
    for (int bits = CPU_SETSIZE; bits <= 1 << 16; bits *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)bits);
        if (set == NULL) break;
        size_t bytes = CPU_ALLOC_SIZE((size_t)bits);
        int ok = sched_getaffinity(0, bytes, set);
        if (ok == 0) n = CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
        if (ok == 0) break;
    }
    return n < 1 ? 1 : n;
}
