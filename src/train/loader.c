#include "src/train/loader.h"

#include "src/core/clock.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct slot { /* batch number % depth */
    uint8_t *images;
    float *target;
    uint8_t *weight;
    int n, done, failed_at; /* failed_at: the lowest picture that failed; n: none */
    um_status status;
    char error[UM_ERR_LINES * 128];
} slot;

struct um_loader {
    um_loader_options o;
    um_loader_run run;
    slot *slot;
    pthread_t *thread;
    int n_threads; /* that were started */
    pthread_mutex_t lock;
    pthread_cond_t work, ready;
    int64_t taken_batch; /* pictures of it are being handed out */
    int taken;           /* of its pictures */
    int64_t used;        /* batches before this one were given back */
    int busy;            /* threads that make a picture */
    bool going, lent, quit;
    double waited_s;
};

typedef struct worker {
    um_loader *l;
    int thread;
} worker;

static slot *slot_of(um_loader *l, int64_t batch) { return &l->slot[batch % l->o.depth]; }

static int size_of(const um_loader_run *r, int64_t batch)
{
    int64_t left = r->end - (batch * r->stride + r->offset);
    return left <= 0 ? 0 : left < r->n ? (int)left : r->n;
}

/* Is there a picture to hand out? Moves on to the next batch where one is done with. Under the lock. */
static bool find_work(um_loader *l)
{
    while (l->going && l->taken_batch < l->run.end_batch && l->taken_batch < l->used + l->o.depth) {
        slot *s = slot_of(l, l->taken_batch);
        if (l->taken == 0) {
            s->n = s->failed_at = size_of(&l->run, l->taken_batch);
            s->done = 0;
            s->status = UM_OK;
        }
        if (l->taken < s->n) return true;
        l->taken_batch++;
        l->taken = 0;
        pthread_cond_broadcast(&l->ready); /* an empty batch is complete at once */
    }
    return false;
}

static void *work(void *user)
{
    worker me = *(worker *)user;
    um_loader *l = me.l;
    free(user);
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (!l->quit && !find_work(l)) pthread_cond_wait(&l->work, &l->lock);
        if (l->quit) break;
        int64_t batch = l->taken_batch;
        slot *s = slot_of(l, batch);
        int i = l->taken++;
        um_loader_run run = l->run;
        l->busy++;
        pthread_mutex_unlock(&l->lock);
        s->target[i] = 0;
        s->weight[i] = 0;
        um_status st = run.make(run.user, batch * run.stride + run.offset + i, me.thread, s->images + (size_t)i * l->o.image_bytes, &s->target[i], &s->weight[i]);
        pthread_mutex_lock(&l->lock);
        l->busy--;
        s->done++;
        if (st != UM_OK && i < s->failed_at) {
            s->failed_at = i;
            s->status = st;
            snprintf(s->error, sizeof s->error, "%s", um_err_text());
        }
        if (s->done == s->n || !l->going) pthread_cond_broadcast(&l->ready);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static um_status start_threads(um_loader *l)
{
    sigset_t all, old;
    um_status st = UM_OK;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (st == UM_OK && l->n_threads < l->o.n_threads) {
        worker *w = malloc(sizeof *w);
        if (w == NULL) {
            st = UM_FAIL(UM_NO_MEMORY, "no memory for a thread");
            break;
        }
        *w = (worker){l, l->n_threads};
        int e = pthread_create(&l->thread[l->n_threads], NULL, work, w);
        if (e != 0) {
            free(w);
            st = UM_FAIL(UM_INTERNAL, "cannot start a thread: %s", strerror(e));
        } else {
            l->n_threads++;
        }
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return st;
}

um_status um_loader_new(const um_loader_options *o, um_loader **out)
{
    *out = NULL;
    um_loader *l = calloc(1, sizeof *l);
    if (l == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a loader");
    l->o = *o;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->ready, NULL);
    l->slot = calloc((size_t)o->depth, sizeof *l->slot);
    l->thread = calloc((size_t)o->n_threads, sizeof *l->thread);
    bool ok = l->slot != NULL && l->thread != NULL;
    for (int i = 0; ok && i < o->depth; i++) {
        slot *s = &l->slot[i];
        s->images = malloc((size_t)o->max_batch * o->image_bytes + 1);
        s->target = malloc(((size_t)o->max_batch + 1) * sizeof *s->target);
        s->weight = malloc((size_t)o->max_batch + 1);
        ok = s->images != NULL && s->target != NULL && s->weight != NULL;
    }
    um_status st = ok ? start_threads(l) : UM_FAIL(UM_NO_MEMORY, "no memory for %d batches of %d pictures of %zu bytes", o->depth, o->max_batch, o->image_bytes);
    if (st != UM_OK) {
        um_loader_free(l);
        return st;
    }
    *out = l;
    return UM_OK;
}

void um_loader_free(um_loader *l)
{
    if (l == NULL) return;
    pthread_mutex_lock(&l->lock);
    l->quit = true;
    l->going = false;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->n_threads; i++) pthread_join(l->thread[i], NULL);
    for (int i = 0; l->slot != NULL && i < l->o.depth; i++) {
        free(l->slot[i].images);
        free(l->slot[i].target);
        free(l->slot[i].weight);
    }
    free(l->slot);
    free(l->thread);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->ready);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

um_status um_loader_begin(um_loader *l, const um_loader_run *run)
{
    if (run->n > l->o.max_batch) return UM_FAIL(UM_INTERNAL, "a loader for batches of %d was given one of %d", l->o.max_batch, run->n);
    um_loader_stop(l);
    pthread_mutex_lock(&l->lock);
    l->run = *run;
    l->taken_batch = l->used = run->first_batch;
    l->taken = 0;
    l->lent = false;
    l->going = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    return UM_OK;
}

/* Everything of a batch was handed out and is done. Under the lock. */
static bool complete(um_loader *l, int64_t batch)
{
    const slot *s = slot_of(l, batch);
    return l->taken_batch > batch ? s->done == s->n : l->taken_batch == batch && l->taken > 0 && l->taken == s->n && s->done == s->n;
}

um_status um_loader_next(um_loader *l, um_loader_batch *out)
{
    um_status st = UM_END;
    *out = (um_loader_batch){0};
    pthread_mutex_lock(&l->lock);
    if (l->lent) l->used++;
    l->lent = false;
    pthread_cond_broadcast(&l->work);
    if (l->going && l->used < l->run.end_batch) {
        double start = um_clock_s();
        while (!complete(l, l->used)) pthread_cond_wait(&l->ready, &l->lock);
        l->waited_s += um_clock_s() - start;
        slot *s = slot_of(l, l->used);
        l->lent = true;
        st = s->status;
        *out = (um_loader_batch){s->images, s->target, s->weight, l->used, l->used * l->run.stride + l->run.offset, s->n};
        if (st != UM_OK) UM_FAIL(st, "%s", s->error);
    }
    pthread_mutex_unlock(&l->lock);
    return st;
}

void um_loader_stop(um_loader *l)
{
    pthread_mutex_lock(&l->lock);
    l->going = false;
    while (l->busy > 0) pthread_cond_wait(&l->ready, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

double um_loader_waited_s(const um_loader *l) { return l->waited_s; }
