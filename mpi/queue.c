#include "mpi/queue.h"

#include "src/core/clock.h"
#include "src/core/rng.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TAG_ASK = 1, TAG_ANSWER, TAG_DONE };
enum { GIVE_MAX = 256, ASK_MAX = 64 };

typedef struct done_message {
    int64_t units, work, videos, bad;
} done_message;

struct um_queue {
    um_world *w;
    int64_t *unit; /* share: unit[first .. last) */
    int64_t first, last, cap;

    int *victim; /* the order in which this rank asks others: a permutation, or a draw of ASK_MAX */
    int n_victims;
    int at;      /* the one being asked */
    int refused; /* how many in turn had none, in this round */
    bool asking, working, stopped, finished;
    MPI_Request answer;
    int64_t incoming[GIVE_MAX + 1]; /* count, then units */

    done_message sum;    /* rank 0: over all ranks */
    int64_t sent, heard; /* done messages: sent by this rank; received by rank 0 */
    double last_poll_s;
    um_queue_stats stats;
};

typedef struct order {
    int64_t unit, cost;
} order;

static int by_cost(const void *a, const void *b)
{
    const order *x = a, *y = b;
    if (x->cost != y->cost) return x->cost < y->cost ? 1 : -1;
    return x->unit < y->unit ? -1 : x->unit > y->unit;
}

static um_status choose_victims(um_queue *q)
{
    int others = q->w->size - 1;
    if (others == 0) return UM_OK;
    q->victim = malloc((size_t)others * sizeof *q->victim);
    if (q->victim == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a queue over %d ranks", q->w->size);
    um_rng r = um_rng_stream(1, (uint64_t)q->w->rank, 0, UM_RNG_QUEUE);
    for (int i = 0; i < others; i++) q->victim[i] = i < q->w->rank ? i : i + 1;
    for (int i = others - 1; i > 0; i--) { /* Fisher-Yates: so that not all idle ranks ask the same one */
        int j = (int)um_rng_below(&r, (uint32_t)i + 1), t = q->victim[i];
        q->victim[i] = q->victim[j];
        q->victim[j] = t;
    }
    q->n_victims = others < ASK_MAX ? others : ASK_MAX;
    return UM_OK;
}

/* Rank 0: the shares of all ranks one after another in *all, their sizes and places. Dealing in turn, largest first, leaves each
 * rank a share in falling order of cost. */
static um_status deal(const int64_t *cost, int64_t n, int size, int64_t *all, int *count, int *place)
{
    order *o = malloc((size_t)(n > 0 ? n : 1) * sizeof *o);
    if (o == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a queue of %lld units", (long long)n);
    for (int64_t i = 0; i < n; i++) o[i] = (order){.unit = i, .cost = cost[i]};
    qsort(o, (size_t)n, sizeof *o, by_cost);
    int64_t at = 0;
    for (int r = 0; r < size; r++) {
        place[r] = (int)at;
        for (int64_t i = r; i < n; i += size) all[at++] = o[i].unit;
        count[r] = (int)(at - place[r]);
    }
    free(o);
    return UM_OK;
}

um_status um_queue_open(um_world *w, const int64_t *cost, int64_t n, um_queue **out)
{
    int64_t *all = NULL;
    int *count = NULL, *place = NULL, mine = 0;
    um_status st = UM_OK;
    um_queue *q = calloc(1, sizeof *q);
    *out = NULL;
    if (q == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for the queue");
    } else {
        q->w = w;
        q->answer = MPI_REQUEST_NULL;
        st = choose_victims(q);
    }
    if (st == UM_OK && w->rank == 0) {
        all = malloc((size_t)(n > 0 ? n : 1) * sizeof *all);
        count = malloc((size_t)w->size * sizeof *count);
        place = malloc((size_t)w->size * sizeof *place);
        if (all == NULL || count == NULL || place == NULL)
            st = UM_FAIL(UM_NO_MEMORY, "no memory for a queue of %lld units", (long long)n);
        else
            st = deal(cost, n, w->size, all, count, place);
    }
    st = um_agree(w, st, "sharing out the work");
    if (st != UM_OK) goto done;
    MPI_Scatter(count, 1, MPI_INT, &mine, 1, MPI_INT, 0, w->comm);
    q->cap = mine > GIVE_MAX ? mine : GIVE_MAX;
    q->unit = malloc((size_t)q->cap * sizeof *q->unit);
    if (q->unit == NULL) st = UM_FAIL(UM_NO_MEMORY, "no memory for a share of %d units", mine);
    st = um_agree(w, st, "sharing out the work");
    if (st != UM_OK) goto done;
    MPI_Scatterv(all, count, place, MPI_INT64_T, q->unit, mine, MPI_INT64_T, 0, w->comm);
    q->last = q->stats.units_first = mine;
    q->last_poll_s = um_clock_s();
    *out = q;
done:
    free(all);
    free(count);
    free(place);
    if (st != UM_OK && q != NULL) {
        free(q->victim);
        free(q->unit);
        free(q);
    }
    return st;
}

/* Half of the share, from its end (the smallest units), to a rank that asks. One that still works on its last unit gets none of a
 * single unit left: two busy ranks would hand it to and fro. */
static void give(um_queue *q, int to, bool idle)
{
    int64_t message[GIVE_MAX + 1], left = q->last - q->first, n = idle ? (left + 1) / 2 : left / 2;
    if (n > GIVE_MAX) n = GIVE_MAX;
    message[0] = n;
    q->last -= n;
    memcpy(message + 1, q->unit + q->last, (size_t)n * sizeof *q->unit);
    q->stats.units_given += n;
    /* At most 2 KB, and the other side has posted its receive: this send completes by itself. */
    MPI_Send(message, (int)n + 1, MPI_INT64_T, to, TAG_ANSWER, q->w->comm);
}

static void ask(um_queue *q)
{
    int idle = !q->working, to = q->victim[q->at];
    MPI_Irecv(q->incoming, GIVE_MAX + 1, MPI_INT64_T, to, TAG_ANSWER, q->w->comm, &q->answer);
    MPI_Send(&idle, 1, MPI_INT, to, TAG_ASK, q->w->comm);
    q->asking = true;
}

/* Takes in an answer when it is there. */
static void receive_answer(um_queue *q)
{
    int there = 0;
    if (!q->asking) return;
    MPI_Test(&q->answer, &there, MPI_STATUS_IGNORE);
    if (!there) return;
    q->asking = false;
    int64_t n = q->incoming[0];
    if (n == 0) {
        q->refused++;
        q->at = (q->at + 1) % q->n_victims;
        return;
    }
    /* The share is empty when a rank asks, and stays so until the answer: there is room for GIVE_MAX. */
    q->first = 0;
    q->last = n;
    memcpy(q->unit, q->incoming + 1, (size_t)n * sizeof *q->unit);
    q->stats.units_taken += n;
    q->refused = 0;
}

static void add_done(um_queue *q, const done_message *m)
{
    q->sum.units += m->units;
    q->sum.work += m->work;
    q->sum.videos += m->videos;
    q->sum.bad += m->bad;
}

static void receive_done(um_queue *q, int from)
{
    done_message m;
    MPI_Recv(&m, 4, MPI_INT64_T, from, TAG_DONE, q->w->comm, MPI_STATUS_IGNORE);
    add_done(q, &m);
    q->heard++;
}

void um_queue_poll(um_queue *q)
{
    double now = um_clock_s();
    if (now - q->last_poll_s > q->stats.longest_gap_s) q->stats.longest_gap_s = now - q->last_poll_s;
    q->last_poll_s = now;
    if (q->w->size == 1) return;
    for (;;) {
        int there = 0, idle;
        MPI_Status s;
        MPI_Iprobe(MPI_ANY_SOURCE, TAG_ASK, q->w->comm, &there, &s);
        if (!there) break;
        MPI_Recv(&idle, 1, MPI_INT, s.MPI_SOURCE, TAG_ASK, q->w->comm, MPI_STATUS_IGNORE);
        give(q, s.MPI_SOURCE, idle != 0);
    }
    while (q->w->rank == 0) {
        int there = 0;
        MPI_Status s;
        MPI_Iprobe(MPI_ANY_SOURCE, TAG_DONE, q->w->comm, &there, &s);
        if (!there) break;
        receive_done(q, s.MPI_SOURCE);
    }
    receive_answer(q);
    /* Ask ahead: the share is empty, the last unit is being worked on. */
    if (q->working && !q->asking && !q->stopped && q->first == q->last && q->refused < q->n_victims) ask(q);
}

static void nap(void)
{
    struct timespec t = {0, 200 * 1000};
    nanosleep(&t, NULL);
}

um_status um_queue_next(um_queue *q, int64_t *unit)
{
    double start = um_clock_s();
    bool was_working = q->working;
    q->working = false;
    if (was_working) q->refused = 0; /* what the busy were refused the idle may get */
    for (;;) {
        um_queue_poll(q);
        if (q->first < q->last && !q->stopped) {
            *unit = q->unit[q->first++];
            q->working = true;
            q->refused = 0;
            q->stats.waited_s += um_clock_s() - start;
            return UM_OK;
        }
        if (!q->asking) {
            if (q->stopped || q->refused >= q->n_victims) break;
            ask(q);
        }
        nap();
    }
    q->stats.waited_s += um_clock_s() - start;
    return UM_END;
}

void um_queue_done(um_queue *q, int64_t work, int64_t n_videos, int64_t n_bad)
{
    done_message m = {1, work, n_videos, n_bad};
    if (q->w->rank == 0) {
        add_done(q, &m);
        return;
    }
    MPI_Send(&m, 4, MPI_INT64_T, 0, TAG_DONE, q->w->comm); /* 32 bytes: sent at once, received when rank 0 polls */
    q->sent++;
}

void um_queue_stop(um_queue *q)
{
    q->stopped = true;
}

void um_queue_progress(const um_queue *q, int64_t *units, int64_t *work, int64_t *videos, int64_t *bad)
{
    *units = q->sum.units;
    *work = q->sum.work;
    *videos = q->sum.videos;
    *bad = q->sum.bad;
}

void um_queue_close(um_queue *q, um_queue_stats *stats)
{
    double start = um_clock_s();
    q->stopped = true;
    q->working = false;
    while (q->asking) { /* an answer may be under way: units in it are not done in this run, as any that a stopped rank has left */
        um_queue_poll(q);
        nap();
    }
    MPI_Request barrier;
    int there = 0;
    MPI_Ibarrier(q->w->comm, &barrier);
    while (!there) {
        um_queue_poll(q);
        MPI_Test(&barrier, &there, MPI_STATUS_IGNORE);
        if (!there) nap();
    }
    int64_t sent = 0;
    MPI_Reduce(&q->sent, &sent, 1, MPI_INT64_T, MPI_SUM, 0, q->w->comm);
    while (q->w->rank == 0 && q->heard < sent) receive_done(q, MPI_ANY_SOURCE);
    q->stats.waited_s += um_clock_s() - start;
    if (stats != NULL) *stats = q->stats;
    free(q->victim);
    free(q->unit);
    free(q);
}
