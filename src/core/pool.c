#include "src/core/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 4096, TEXT_BYTES = UM_ERR_LINE_BYTES };

struct um_pool {
    pthread_mutex_t lock;
    pthread_cond_t begin, idle;
    pthread_t *thread; /* [n_threads - 1] */
    int n_threads, n_started;
    bool ending;
    /* The loop that is running; all below the lock. */
    uint64_t loop;
    int n_busy;
    um_pool_body *body;
    void *user;
    int64_t next, n, failed_item;
    um_status failed;
    char text[TEXT_BYTES];
};

typedef struct worker {
    um_pool *pool;
    int index;
} worker;

/* Called with the lock held, returns with it held. */
static void work(um_pool *p, int thread)
{
    while (p->failed == UM_OK && p->next < p->n) {
        int64_t item = p->next++;
        um_status st;
        pthread_mutex_unlock(&p->lock);
        st = p->body(p->user, item, thread);
        pthread_mutex_lock(&p->lock);
        if (st != UM_OK && (p->failed == UM_OK || item < p->failed_item)) {
            p->failed = st;
            p->failed_item = item;
            strncpy(p->text, um_err_text(), TEXT_BYTES - 1);
        }
    }
}

static void *worker_main(void *arg)
{
    worker w = *(worker *)arg;
    um_pool *p = w.pool;
    uint64_t seen = 0;
    free(arg);
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->ending && p->loop == seen) pthread_cond_wait(&p->begin, &p->lock);
        if (p->ending) break;
        seen = p->loop;
        work(p, w.index);
        if (--p->n_busy == 0) pthread_cond_signal(&p->idle);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static um_status start(um_pool *p)
{
    worker *w = malloc(sizeof *w);
    int rc;
    if (w == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a thread");
    *w = (worker){p, p->n_started + 1};
    rc = pthread_create(&p->thread[p->n_started], NULL, worker_main, w);
    if (rc != 0) {
        free(w);
        return UM_FAIL(UM_INTERNAL, "cannot start thread %d: %s", p->n_started + 1, strerror(rc));
    }
    p->n_started++;
    return UM_OK;
}

um_status um_pool_new(int n_threads, um_pool **out)
{
    um_status st = UM_OK;
    sigset_t all, before;
    um_pool *p;
    *out = NULL;
    if (n_threads < 1 || n_threads > MAX_THREADS) return UM_FAIL(UM_INTERNAL, "a pool of %d threads", n_threads);
    p = calloc(1, sizeof *p);
    if (p == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a pool of threads");
    p->n_threads = n_threads;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->begin, NULL);
    pthread_cond_init(&p->idle, NULL);
    p->thread = calloc((size_t)n_threads, sizeof *p->thread);
    if (p->thread == NULL) st = UM_FAIL(UM_NO_MEMORY, "out of memory for a pool of threads");
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before); /* inherited by the new threads */
    while (st == UM_OK && p->n_started < n_threads - 1) st = start(p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (st != UM_OK) um_pool_free(p);
    else *out = p;
    return st;
}

void um_pool_free(um_pool *p)
{
    if (p == NULL) return;
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->begin);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n_started; i++) pthread_join(p->thread[i], NULL);
    pthread_cond_destroy(&p->idle);
    pthread_cond_destroy(&p->begin);
    pthread_mutex_destroy(&p->lock);
    free(p->thread);
    free(p);
}

int um_pool_threads(const um_pool *p) { return p != NULL ? p->n_threads : 1; }

um_status um_pool_run(um_pool *p, int64_t n, um_pool_body *body, void *user)
{
    if (p == NULL || p->n_threads == 1) {
        for (int64_t i = 0; i < n; i++) UM_PASS(body(user, i, 0));
        return UM_OK;
    }
    pthread_mutex_lock(&p->lock);
    p->body = body;
    p->user = user;
    p->next = 0;
    p->n = n;
    p->failed = UM_OK;
    p->n_busy = p->n_started;
    p->loop++;
    pthread_cond_broadcast(&p->begin);
    work(p, 0);
    while (p->n_busy > 0) pthread_cond_wait(&p->idle, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return p->failed == UM_OK ? UM_OK : UM_FAIL(p->failed, "%s", p->text);
}

int um_processors(void)
{
    cpu_set_t set;
    int n;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}
