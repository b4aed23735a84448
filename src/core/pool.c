#include "src/core/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 1024 };

typedef struct worker {
    um_pool *pool;
    pthread_t thread;
    int index;
} worker;

struct um_pool {
    int n_threads;
    worker *worker; /* [n_threads - 1], indices 1.. */
    int n_started;
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    /* under lock */
    int64_t next, n;    /* items of the loop: handed out, in all */
    int busy;           /* workers that have not left the loop yet */
    unsigned loop;      /* counts loops: a worker joins each once */
    bool quit;
    um_pool_body *body;
    void *user;
    int64_t failed;     /* lowest item that failed, -1: none */
    um_status status;
    char *text;         /* its error chain */
};

int um_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

/* Takes items until there are none or one has failed. Called and left with the lock held. */
static void work(um_pool *p, int thread)
{
    while (p->next < p->n && p->failed < 0) {
        int64_t item = p->next++;
        pthread_mutex_unlock(&p->lock);
        um_status st = p->body(p->user, item, thread);
        pthread_mutex_lock(&p->lock);
        if (st != UM_OK && (p->failed < 0 || item < p->failed)) {
            p->failed = item;
            p->status = st;
            free(p->text);
            p->text = strdup(um_err_text());
        }
    }
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    um_pool *p = w->pool;
    unsigned seen = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->loop == seen && !p->quit) pthread_cond_wait(&p->begin, &p->lock);
        if (p->quit) break;
        seen = p->loop;
        work(p, w->index);
        if (--p->busy == 0) pthread_cond_signal(&p->end);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

um_status um_pool_new(int n_threads, um_pool **out)
{
    *out = NULL;
    if (n_threads < 1 || n_threads > MAX_THREADS)
        return UM_FAIL(UM_USAGE, "%d threads: 1 to %d are possible", n_threads, MAX_THREADS);
    um_pool *p = calloc(1, sizeof *p);
    if (p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for threads");
    p->n_threads = n_threads;
    p->failed = -1;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->begin, NULL);
    pthread_cond_init(&p->end, NULL);
    um_status st = UM_OK;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* new threads inherit it */
    p->worker = calloc((size_t)n_threads, sizeof *p->worker);
    if (p->worker == NULL) st = UM_FAIL(UM_NO_MEMORY, "no memory for threads");
    for (int i = 0; st == UM_OK && i < n_threads - 1; i++) {
        p->worker[i] = (worker){.pool = p, .index = i + 1};
        int e = pthread_create(&p->worker[i].thread, NULL, worker_main, &p->worker[i]);
        if (e != 0) st = UM_FAIL(UM_NO_MEMORY, "cannot start thread %d of %d: %s", i + 1, n_threads, strerror(e));
        else p->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (st != UM_OK) {
        um_pool_free(p);
        return st;
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
    for (int i = 0; i < p->n_started; i++) pthread_join(p->worker[i].thread, NULL);
    pthread_cond_destroy(&p->begin);
    pthread_cond_destroy(&p->end);
    pthread_mutex_destroy(&p->lock);
    free(p->worker);
    free(p->text);
    free(p);
}

int um_pool_threads(const um_pool *p) { return p == NULL ? 1 : p->n_threads; }

um_status um_pool_run(um_pool *p, int64_t n, um_pool_body *body, void *user)
{
    if (p == NULL || p->n_threads == 1 || n == 1) {
        for (int64_t i = 0; i < n; i++) UM_PASS(body(user, i, 0));
        return UM_OK;
    }
    pthread_mutex_lock(&p->lock);
    p->next = 0;
    p->n = n;
    p->body = body;
    p->user = user;
    p->failed = -1;
    p->status = UM_OK;
    p->busy = p->n_started;
    p->loop++;
    pthread_cond_broadcast(&p->begin);
    work(p, 0);
    while (p->busy > 0) pthread_cond_wait(&p->end, &p->lock);
    um_status st = p->status;
    char *text = p->text;
    p->text = NULL;
    pthread_mutex_unlock(&p->lock);
    /* The chain is the failing thread's: it becomes one line of the caller's. */
    if (st != UM_OK) st = UM_FAIL(st, "%s", text != NULL ? text : um_status_text(st));
    free(text);
    return st;
}
