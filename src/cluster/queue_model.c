#include "src/cluster/queue_model.h"

#include "src/core/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef enum kind { FREE, ASKED, ANSWERED, WANTS } kind; /* a rank is done with its unit (or begins); an ask arrives; an answer arrives; a rank at work polls and its share is empty */

typedef struct event {
    double t;
    int64_t number; /* events of one moment happen in the order of their making */
    int rank, other; /* ASKED: other asks rank; ANSWERED: other has answered rank */
    int64_t n;       /* ANSWERED: units, the asker's `given` */
    kind kind;
    bool idle, waited; /* ASKED: the asker has nothing in hand; the ask has waited for this poll */
} event;

typedef struct member {
    int64_t first, last; /* share: its part of `unit`, or of what it was given last */
    int64_t *given;      /* what it was given last; NULL: the share dealt at the start */
    int64_t done;
    double begun, ends;  /* of the unit in hand */
    um_rng rng;
    int *victim;         /* made when first needed */
    int n_victims, at, refused;
    bool working, asking, gone;
    bool polls;          /* a WANTS event is under way */
} member;

typedef struct model {
    const um_queue_model *o;
    const double *cost;
    member *m;
    int64_t *unit;  /* [n] shares one after the other */
    event *heap;
    int64_t n_events, cap_events, number;
    um_queue_forecast *out;
} model;

/* ---- events: a binary heap by time ---- */

static bool before(const event *a, const event *b) { return a->t < b->t || (a->t == b->t && a->number < b->number); }

static um_status push(model *s, event e)
{
    if (s->n_events == s->cap_events) {
        int64_t cap = 2 * s->cap_events + 64;
        event *p = realloc(s->heap, (size_t)cap * sizeof *p);
        if (p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %lld events", (long long)cap);
        s->heap = p;
        s->cap_events = cap;
    }
    e.number = s->number++;
    int64_t i = s->n_events++;
    for (; i > 0 && before(&e, &s->heap[(i - 1) / 2]); i = (i - 1) / 2) s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = e;
    return UM_OK;
}

static event pop(model *s)
{
    event top = s->heap[0], e = s->heap[--s->n_events];
    int64_t i = 0;
    for (;;) {
        int64_t c = 2 * i + 1;
        if (c >= s->n_events) break;
        if (c + 1 < s->n_events && before(&s->heap[c + 1], &s->heap[c])) c++;
        if (!before(&s->heap[c], &e)) break;
        s->heap[i] = s->heap[c];
        i = c;
    }
    s->heap[i] = e;
    return top;
}

/* ---- dealing ---- */

typedef struct order {
    double cost;
    int64_t key, unit;
} order;

static int by_key(const void *a, const void *b)
{
    const order *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? 1 : -1;
    if (x->cost != y->cost) return x->cost < y->cost ? 1 : -1;
    return x->unit < y->unit ? -1 : x->unit > y->unit;
}

static um_status deal(model *s, const int64_t *key, int64_t n)
{
    int R = s->o->n_ranks;
    order *o = malloc(((size_t)n + 1) * sizeof *o);
    if (o == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %lld units", (long long)n);
    /* With a key the queue knows no more than it: units of equal keys keep their order. */
    for (int64_t i = 0; i < n; i++) o[i] = (order){key != NULL ? 0 : s->cost[i], key != NULL ? key[i] : 0, i};
    qsort(o, (size_t)n, sizeof *o, by_key);
    int64_t at = 0;
    for (int r = 0; r < R; r++) {
        s->m[r].first = at;
        for (int64_t i = r; i < n; i += R) s->unit[at++] = o[i].unit;
        s->m[r].last = at;
    }
    free(o);
    return UM_OK;
}

/* ---- the ranks ---- */

static um_status choose_victims(model *s, int rank)
{
    member *m = &s->m[rank];
    int others = s->o->n_ranks - 1, n = others < UM_QUEUE_MODEL_ASK ? others : UM_QUEUE_MODEL_ASK;
    m->victim = malloc((size_t)(n + 1) * sizeof *m->victim);
    if (m->victim == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d ranks", s->o->n_ranks);
    /* The queue shuffles all others and keeps the first; drawing the first few by lot is as good a lot and needs no list of all. */
    while (m->n_victims < n) {
        int v = (int)um_rng_below(&m->rng, (uint32_t)others);
        bool there = false;
        if (v >= rank) v++;
        for (int i = 0; i < m->n_victims && !there; i++) there = m->victim[i] == v;
        if (!there) m->victim[m->n_victims++] = v;
    }
    return UM_OK;
}

static um_status ask(model *s, int rank, double t)
{
    member *m = &s->m[rank];
    if (m->victim == NULL) UM_PASS(choose_victims(s, rank));
    m->asking = true;
    s->out->messages++;
    return push(s, (event){.t = t + s->o->latency_s, .rank = m->victim[m->at], .other = rank, .kind = ASKED, .idle = !m->working});
}

/* The first poll of a rank at work that is not before t. */
static double next_poll(const model *s, const member *m, double t)
{
    if (!m->working || m->gone) return t + (s->o->nap_s > 0 ? s->o->nap_s : 200e-6) / 2;
    double k = s->o->poll_s > 0 ? m->begun + ceil((t - m->begun) / s->o->poll_s) * s->o->poll_s : t;
    return k < m->ends ? (k > t ? k : t) : m->ends > t ? m->ends : t;
}

/* Takes up the next unit of the share. */
static um_status work(model *s, int rank, double t)
{
    member *m = &s->m[rank];
    int64_t u = m->given != NULL ? m->given[m->first++] : s->unit[m->first++];
    m->working = true;
    m->refused = 0;
    m->begun = t;
    m->ends = t + s->cost[u];
    m->done++;
    UM_PASS(push(s, (event){.t = m->ends, .rank = rank, .kind = FREE}));
    return UM_OK;
}

static bool may_ask_ahead(const model *s, const member *m)
{
    bool refused = m->victim != NULL && m->refused >= m->n_victims;
    return m->working && !m->asking && m->first == m->last && s->o->n_ranks > 1 && !refused;
}

/* While the last unit is in hand: asks ahead at the next poll. */
static um_status look_ahead(model *s, int rank, double t)
{
    member *m = &s->m[rank];
    if (m->polls || !may_ask_ahead(s, m)) return UM_OK;
    double when = t > m->begun ? next_poll(s, m, t) : m->begun + s->o->poll_s;
    if (when >= m->ends) return UM_OK; /* it is free by then */
    m->polls = true;
    return push(s, (event){.t = when, .rank = rank, .kind = WANTS});
}

/* Has nothing in hand: works, asks or leaves. */
static um_status go_on(model *s, int rank, double t)
{
    member *m = &s->m[rank];
    if (m->first < m->last) {
        UM_PASS(work(s, rank, t));
        return look_ahead(s, rank, t);
    }
    if (m->asking || m->gone) return UM_OK;
    if (s->o->n_ranks == 1 || (m->victim != NULL && m->refused >= m->n_victims)) {
        m->gone = true;
        if (s->out->ready_s < 0) s->out->ready_s = t;
        return UM_OK;
    }
    return ask(s, rank, t);
}

/* Answers an ask at a poll. */
static um_status give(model *s, const event *e)
{
    member *m = &s->m[e->rank], *to = &s->m[e->other];
    int64_t left = m->last - m->first, n = e->idle ? (left + 1) / 2 : left / 2;
    if (n > UM_QUEUE_MODEL_GIVE) n = UM_QUEUE_MODEL_GIVE;
    int64_t *given = NULL;
    if (n > 0) {
        given = malloc((size_t)n * sizeof *given);
        if (given == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for units");
        m->last -= n;
        memcpy(given, (m->given != NULL ? m->given : s->unit) + m->last, (size_t)n * sizeof *given);
        free(to->given); /* its share is empty when it asks, and stays so */
        to->given = given;
        s->out->moved += n;
    }
    s->out->messages++;
    return push(s, (event){.t = e->t + s->o->latency_s, .rank = e->other, .other = e->rank, .n = n, .kind = ANSWERED});
}

static um_status happen(model *s, const event *e)
{
    member *m = &s->m[e->rank];
    switch (e->kind) {
    case FREE:
        if (m->working) {
            m->refused = 0; /* what the busy were refused the idle may get */
            if (e->t > s->out->wall_s) s->out->wall_s = e->t;
        }
        m->working = false;
        return go_on(s, e->rank, e->t);
    case ASKED: {
        double when = next_poll(s, m, e->t);
        event later = *e;
        if (!e->waited && when > e->t) {
            later.t = when;
            later.waited = true;
            return push(s, later);
        }
        return give(s, e);
    }
    case ANSWERED:
        m->asking = false;
        if (e->n == 0) {
            m->refused++;
            m->at = (m->at + 1) % m->n_victims;
        } else {
            m->first = 0;
            m->last = e->n;
            m->refused = 0;
        }
        return m->working ? look_ahead(s, e->rank, e->t) : go_on(s, e->rank, e->t);
    case WANTS:
        m->polls = false;
        return may_ask_ahead(s, m) ? ask(s, e->rank, e->t) : UM_OK;
    }
    return UM_OK;
}

um_status um_queue_model_run(const um_queue_model *o, const double *cost_s, const int64_t *key, int64_t n, um_queue_forecast *out)
{
    model s = {.o = o, .cost = cost_s, .out = out};
    double total = 0;
    um_status st = UM_OK;
    *out = (um_queue_forecast){.ready_s = -1};
    if (o->n_ranks < 1 || o->n_ranks > UM_QUEUE_MODEL_MAX_RANKS) return UM_FAIL(UM_USAGE, "%d ranks: 1 to %d can be simulated", o->n_ranks, UM_QUEUE_MODEL_MAX_RANKS);
    for (int64_t i = 0; i < n; i++) {
        if (!(cost_s[i] >= 0) || !isfinite(cost_s[i])) return UM_FAIL(UM_USAGE, "unit %lld costs %g s", (long long)i, cost_s[i]);
        total += cost_s[i];
        if (cost_s[i] > out->largest_s) out->largest_s = cost_s[i];
    }
    out->mean_s = total / o->n_ranks;
    out->bound_s = out->mean_s > out->largest_s ? out->mean_s : out->largest_s;
    s.m = calloc((size_t)o->n_ranks, sizeof *s.m);
    s.unit = malloc(((size_t)n + 1) * sizeof *s.unit);
    if (s.m == NULL || s.unit == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %d ranks and %lld units", o->n_ranks, (long long)n));
    UM_GOTO_PASS(st, deal(&s, key, n));
    for (int r = 0; r < o->n_ranks; r++) {
        s.m[r].rng = um_rng_stream(1, (uint64_t)r, 0, UM_RNG_QUEUE);
        UM_GOTO_PASS(st, push(&s, (event){.t = r * (o->deal_s > 0 ? o->deal_s : o->latency_s), .rank = r, .kind = FREE}));
    }
    while (s.n_events > 0) {
        event e = pop(&s);
        UM_GOTO_PASS(st, happen(&s, &e));
    }
    for (int r = 0; r < o->n_ranks; r++)
        if (s.m[r].done > out->most) out->most = s.m[r].done;
    if (out->ready_s < 0) out->ready_s = out->wall_s;
    out->efficiency = out->wall_s > 0 ? total / (o->n_ranks * out->wall_s) : 1;
done:
    for (int r = 0; s.m != NULL && r < o->n_ranks; r++) {
        free(s.m[r].victim);
        free(s.m[r].given);
    }
    free(s.m);
    free(s.unit);
    free(s.heap);
    return st;
}
