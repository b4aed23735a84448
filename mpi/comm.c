#include "mpi/comm.h"

#include "src/core/clock.h"

#include <stdlib.h>
#include <string.h>

/* A tree's sum in the background goes piece by piece, so that the memory it takes does not grow with the gradients. */
enum { PIECE = 1 << 20, TAG_BLOCKING = 0, TAG_TICKET = 1 };

typedef struct ticket {
    bool open;
    MPI_Request request[2]; /* [0] alone without tree */
    float *v;
    size_t n, at; /* all; the piece in hand begins at */
    int round;    /* partner: rank ^ (1 << round) */
    float *other; /* [PIECE] of the partner's; kept for the next use */
} ticket;

typedef struct mpi_comm {
    MPI_Comm comm; /* a duplicate: tags of its own */
    int rank, size, n_open;
    double waited_s;
    double *other; /* [PIECE] */
    ticket ticket[UM_COMM_MAX_PENDING];
} mpi_comm;

/* lower + higher, in this order, on both sides. */
#define ADD_HALVES(v, other, n, partner_is_lower)                                                             \
    do {                                                                                                      \
        if (partner_is_lower)                                                                                 \
            for (size_t i_ = 0; i_ < (n); i_++) (v)[i_] = (other)[i_] + (v)[i_];                              \
        else                                                                                                  \
            for (size_t i_ = 0; i_ < (n); i_++) (v)[i_] = (v)[i_] + (other)[i_];                              \
    } while (0)

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* ---- blocking ---- */

static void tree_f64(mpi_comm *c, double *v, size_t n)
{
    for (size_t at = 0; at < n; at += PIECE) {
        size_t m = least(n - at, PIECE);
        for (int bit = 1; bit < c->size; bit <<= 1) {
            int partner = c->rank ^ bit;
            MPI_Sendrecv(v + at, (int)m, MPI_DOUBLE, partner, TAG_BLOCKING, c->other, (int)m, MPI_DOUBLE, partner, TAG_BLOCKING, c->comm, MPI_STATUS_IGNORE);
            ADD_HALVES(v + at, c->other, m, partner < c->rank);
        }
    }
}

static void tree_f32(mpi_comm *c, float *v, size_t n)
{
    float *other = (float *)c->other;
    for (size_t at = 0; at < n; at += PIECE) {
        size_t m = least(n - at, PIECE);
        for (int bit = 1; bit < c->size; bit <<= 1) {
            int partner = c->rank ^ bit;
            MPI_Sendrecv(v + at, (int)m, MPI_FLOAT, partner, TAG_BLOCKING, other, (int)m, MPI_FLOAT, partner, TAG_BLOCKING, c->comm, MPI_STATUS_IGNORE);
            ADD_HALVES(v + at, other, m, partner < c->rank);
        }
    }
}

static void plain(mpi_comm *c, void *v, size_t n, MPI_Datatype type, size_t bytes)
{
    enum { MOST = 1 << 28 }; /* MPI counts are int */
    for (size_t at = 0; at < n; at += MOST) MPI_Allreduce(MPI_IN_PLACE, (char *)v + at * bytes, (int)least(n - at, MOST), type, MPI_SUM, c->comm);
}

static void sum_f32_plain(void *self, float *v, size_t n, void *stream)
{
    mpi_comm *c = self;
    double start = um_clock_s();
    (void)stream;
    plain(c, v, n, MPI_FLOAT, sizeof *v);
    c->waited_s += um_clock_s() - start;
}

static void sum_f64_plain(void *self, double *v, size_t n, void *stream)
{
    mpi_comm *c = self;
    double start = um_clock_s();
    (void)stream;
    plain(c, v, n, MPI_DOUBLE, sizeof *v);
    c->waited_s += um_clock_s() - start;
}

static void sum_f32_tree(void *self, float *v, size_t n, void *stream)
{
    mpi_comm *c = self;
    double start = um_clock_s();
    (void)stream;
    tree_f32(c, v, n);
    c->waited_s += um_clock_s() - start;
}

static void sum_f64_tree(void *self, double *v, size_t n, void *stream)
{
    mpi_comm *c = self;
    double start = um_clock_s();
    (void)stream;
    tree_f64(c, v, n);
    c->waited_s += um_clock_s() - start;
}

/* ---- in the background ---- */

static void begin_plain(void *self, float *v, size_t n, int number, void *stream)
{
    mpi_comm *c = self;
    ticket *t = &c->ticket[number];
    (void)stream;
    t->open = true;
    c->n_open++;
    MPI_Iallreduce(MPI_IN_PLACE, v, (int)n, MPI_FLOAT, MPI_SUM, c->comm, &t->request[0]);
}

static void wait_plain(void *self, int number, void *stream)
{
    mpi_comm *c = self;
    ticket *t = &c->ticket[number];
    double start = um_clock_s();
    (void)stream;
    if (!t->open) return;
    MPI_Wait(&t->request[0], MPI_STATUS_IGNORE);
    t->open = false;
    c->n_open--;
    c->waited_s += um_clock_s() - start;
}

static void poll_plain(void *self)
{
    mpi_comm *c = self;
    for (int i = 0; i < UM_COMM_MAX_PENDING && c->n_open > 0; i++) {
        int done;
        if (c->ticket[i].open) MPI_Test(&c->ticket[i].request[0], &done, MPI_STATUS_IGNORE); /* the request becomes null: a later wait returns at once */
    }
}

/* Sends this rank's part of the piece and asks for the partner's. */
static void exchange(mpi_comm *c, ticket *t)
{
    int partner = c->rank ^ (1 << t->round), n = (int)least(t->n - t->at, PIECE), tag = TAG_TICKET + (int)(t - c->ticket);
    MPI_Irecv(t->other, n, MPI_FLOAT, partner, tag, c->comm, &t->request[0]);
    MPI_Isend(t->v + t->at, n, MPI_FLOAT, partner, tag, c->comm, &t->request[1]);
}

/* After an exchange: adds, and begins the next round or piece. Why tags suffice: of one ticket only one exchange is under way between two ranks, messages of one pair and tag arrive in order, and all ranks go through the same
 * rounds and pieces. */
static void advance(mpi_comm *c, ticket *t)
{
    size_t n = least(t->n - t->at, PIECE);
    ADD_HALVES(t->v + t->at, t->other, n, (c->rank ^ (1 << t->round)) < c->rank);
    if (1 << ++t->round >= c->size) {
        t->round = 0;
        t->at += n;
    }
    if (t->at < t->n) {
        exchange(c, t);
    } else {
        t->open = false;
        c->n_open--;
    }
}

static void begin_tree(void *self, float *v, size_t n, int number, void *stream)
{
    mpi_comm *c = self;
    ticket *t = &c->ticket[number];
    float *other = t->other;
    (void)stream;
    if (c->size == 1 || n == 0) return;
    if (other == NULL) other = malloc((size_t)PIECE * sizeof *other);
    *t = (ticket){.open = true, .v = v, .n = n, .other = other};
    c->n_open++;
    if (other == NULL) { /* 4 MB could not be had: nothing that others would wait for may be left out */
        MPI_Abort(c->comm, 70);
        return;
    }
    exchange(c, t);
}

static void poll_tree(void *self)
{
    mpi_comm *c = self;
    for (int i = 0; i < UM_COMM_MAX_PENDING && c->n_open > 0; i++) {
        ticket *t = &c->ticket[i];
        int done = t->open;
        while (t->open && done) {
            MPI_Testall(2, t->request, &done, MPI_STATUSES_IGNORE);
            if (done) advance(c, t);
        }
    }
}

static void wait_tree(void *self, int number, void *stream)
{
    mpi_comm *c = self;
    double start = um_clock_s();
    (void)stream;
    while (c->ticket[number].open) poll_tree(c); /* the others' progress may depend on ours with other tickets */
    c->waited_s += um_clock_s() - start;
}

/* ---- open, close ---- */

um_status um_mpi_comm_open(um_world *w, bool tree, um_comm *out)
{
    *out = (um_comm){.rank = w->rank, .size = w->size, .tree = tree};
    if (tree && (w->size & (w->size - 1)) != 0) return UM_FAIL(UM_USAGE, "a sum in a tree needs 1, 2, 4, 8... ranks, not %d", w->size);
    mpi_comm *c = calloc(1, sizeof *c);
    double *other = malloc((size_t)PIECE * sizeof *other);
    um_status st = c == NULL || other == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for sums") : UM_OK;
    st = um_agree(w, st, "preparing sums");
    if (st != UM_OK) {
        free(c);
        free(other);
        return st;
    }
    MPI_Comm_dup(w->comm, &c->comm);
    c->rank = w->rank;
    c->size = w->size;
    c->other = other;
    out->self = c;
    out->sum_f32 = tree ? sum_f32_tree : sum_f32_plain;
    out->sum_f64 = tree ? sum_f64_tree : sum_f64_plain;
    out->begin_sum_f32 = tree ? begin_tree : begin_plain;
    out->wait = tree ? wait_tree : wait_plain;
    out->poll = tree ? poll_tree : poll_plain;
    return UM_OK;
}

void um_mpi_comm_close(um_comm *out)
{
    mpi_comm *c = out->self;
    if (c == NULL) return;
    MPI_Comm_free(&c->comm);
    for (int i = 0; i < UM_COMM_MAX_PENDING; i++) free(c->ticket[i].other);
    free(c->other);
    free(c);
    *out = (um_comm){0};
}

double um_mpi_comm_waited_s(const um_comm *out)
{
    const mpi_comm *c = out->self;
    return c != NULL ? c->waited_s : 0;
}
