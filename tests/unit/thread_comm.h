#pragma once
/* thread_comm.h: ranks that are threads of one process, for tests of um_net: the tables of src/nn/comm.h, summed in a binary tree. */
#include "src/nn/comm.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { THREAD_RANKS_MAX = 8 };

typedef struct thread_world {
    int size;
    pthread_barrier_t meet;
    void *value[THREAD_RANKS_MAX]; /* what each rank brings */
} thread_world;

typedef struct thread_rank {
    thread_world *world;
    um_comm comm;
    int n_messages;
    struct {
        float *v;
        size_t n;
    } pending[UM_COMM_MAX_PENDING];
} thread_rank;

/* Neighbours first, from copies; every rank adds up by itself. */
#define THREAD_SUM(name, type)                                                                                  \
    static void name(void *self, type *v, size_t n, void *stream)                                               \
    {                                                                                                           \
        thread_rank *r = self;                                                                                  \
        thread_world *w = r->world;                                                                             \
        type *all = malloc((n * (size_t)w->size + 1) * sizeof *all);                                            \
        (void)stream;                                                                                           \
        if (all == NULL) abort();                                                                               \
        r->n_messages++;                                                                                        \
        w->value[r->comm.rank] = v;                                                                             \
        pthread_barrier_wait(&w->meet);                                                                         \
        for (int i = 0; i < w->size; i++) memcpy(all + (size_t)i * n, w->value[i], n * sizeof *v);              \
        pthread_barrier_wait(&w->meet);                                                                         \
        for (int step = 1; step < w->size; step *= 2)                                                           \
            for (int i = 0; i + step < w->size; i += 2 * step)                                                  \
                for (size_t j = 0; j < n; j++) all[(size_t)i * n + j] += all[(size_t)(i + step) * n + j];       \
        memcpy(v, all, n * sizeof *v);                                                                          \
        pthread_barrier_wait(&w->meet);                                                                         \
        free(all);                                                                                              \
    }
THREAD_SUM(thread_sum_f32, float)
THREAD_SUM(thread_sum_f64, double)

static void thread_begin(void *self, float *v, size_t n, int ticket, void *stream)
{
    thread_rank *r = self;
    (void)stream;
    r->pending[ticket].v = v;
    r->pending[ticket].n = n;
}

static void thread_wait(void *self, int ticket, void *stream)
{
    thread_rank *r = self;
    thread_sum_f32(self, r->pending[ticket].v, r->pending[ticket].n, stream);
}

static void thread_rank_init(thread_rank *r, thread_world *w, int rank)
{
    *r = (thread_rank){.world = w,
                       .comm = {.self = r, .rank = rank, .size = w->size, .tree = true, .sum_f32 = thread_sum_f32, .sum_f64 = thread_sum_f64, .begin_sum_f32 = thread_begin, .wait = thread_wait}};
}
