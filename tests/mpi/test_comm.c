/* comm: sums over ranks: exact where the numbers are; the same bits everywhere; the written tree; many at once, in any order of waiting. */
#include "mpi/comm.h"
#include "src/core/rng.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static um_world w;

static float value(int rank, size_t i, int salt)
{
    um_rng r = um_rng_stream((uint64_t)rank, i, (uint32_t)salt, UM_RNG_TEST);
    return (float)(um_rng_normal(&r) * exp(um_rng_uniform(&r, -10, 10)));
}

/* ((0+1)+(2+3))+... of ranks [first, first + n) */
static float tree(int first, int n, size_t i, int salt)
{
    return n == 1 ? value(first, i, salt) : tree(first, n / 2, i, salt) + tree(first + n / 2, n / 2, i, salt);
}

static void same_everywhere(const void *p, size_t n)
{
    char *first = malloc(n + 1);
    if (w.rank == 0) memcpy(first, p, n);
    um_world_bcast(&w, first, n);
    CHECK(memcmp(first, p, n) == 0);
    free(first);
}

static void sums(um_comm *c)
{
    static const size_t sizes[] = {0, 1, 7, 5000, (1 << 20) + 3};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        size_t n = sizes[k], wrong = 0, looked = n < 10000 ? n : 10000;
        float *v = malloc((n + 1) * sizeof *v);
        double *d = malloc((n + 1) * sizeof *d);
        for (size_t i = 0; i < n; i++) v[i] = i < looked ? value(w.rank, i, 1) : (float)w.rank;
        for (size_t i = 0; i < n; i++) d[i] = (double)(w.rank + 1) * (double)i;
        c->sum_f32(c->self, v, n, NULL);
        c->sum_f64(c->self, d, n, NULL);
        same_everywhere(v, n * sizeof *v);
        for (size_t i = 0; i < looked && c->tree; i++) wrong += v[i] != tree(0, w.size, i, 1);
        for (size_t i = looked; i < n; i++) wrong += v[i] != (float)(w.size * (w.size - 1) / 2);
        for (size_t i = 0; i < n; i++) wrong += d[i] != (double)(w.size * (w.size + 1) / 2) * (double)i;
        CHECK_INT(wrong, 0);
        free(v);
        free(d);
    }
}

/* All tickets under way at once, beside blocking sums, ranks at different speeds, waited for in another order. */
static void tickets(um_comm *c)
{
    enum { N = 60000, EACH = 37 };
    float *v[UM_COMM_MAX_PENDING];
    for (int round = 0; round < 3; round++) {
        for (int t = 0; t < UM_COMM_MAX_PENDING; t++) {
            size_t n = t == 5 ? (1 << 20) * 2 + 9 : t == 6 ? 0 : N / (size_t)(t + 1);
            v[t] = malloc((n + 1) * sizeof **v);
            for (size_t i = 0; i < n; i++) v[t][i] = i % EACH == 0 ? value(w.rank, i, t) : (float)(w.rank + t);
            c->begin_sum_f32(c->self, v[t], n, t, NULL);
            if (t % 8 == w.rank) c->poll(c->self);
            if (t % 16 == 3) {
                double one = 1;
                c->sum_f64(c->self, &one, 1, NULL);
                CHECK_NEAR(one, w.size, 0);
            }
        }
        for (int k = 0; k < UM_COMM_MAX_PENDING; k++) {
            int t = (k * 29 + round) % UM_COMM_MAX_PENDING; /* the same order on all ranks is not asked for, but that every one is waited for once */
            if (w.rank == 1) t = UM_COMM_MAX_PENDING - 1 - k;
            c->wait(c->self, t, NULL);
        }
        size_t wrong = 0;
        for (int t = 0; t < UM_COMM_MAX_PENDING; t++) {
            size_t n = t == 5 ? (1 << 20) * 2 + 9 : t == 6 ? 0 : N / (size_t)(t + 1);
            for (size_t i = 0; i < n; i++)
                if (i % EACH != 0) wrong += v[t][i] != (float)(w.size * (w.size - 1) / 2 + t * w.size);
                else if (c->tree && i < 2000) wrong += v[t][i] != tree(0, w.size, i, t);
            same_everywhere(v[t], n * sizeof **v);
            free(v[t]);
        }
        CHECK_INT(wrong, 0);
    }
    CHECK(um_mpi_comm_waited_s(c) >= 0);
}

static void parts(void)
{
    um_world part;
    um_world_split(&w, w.rank % 2, &part);
    CHECK_INT(part.size, (w.size + 1 - w.rank % 2) / 2);
    CHECK_INT(part.rank, w.rank / 2);
    um_status st = w.rank == 1 ? UM_FAIL(UM_IO, "this rank") : UM_OK;
    CHECK_INT(um_agree(&part, st, "a part"), w.rank % 2 == 1 ? UM_IO : UM_OK);
    um_err_clear();
    um_world_leave(&part);
    um_world_leave(&part);
}

int main(void)
{
    CHECK_OK(um_world_open(&w));
    for (int is_tree = 0; is_tree < 2; is_tree++) {
        um_comm c;
        um_status st = um_mpi_comm_open(&w, is_tree, &c);
        if (is_tree && (w.size & (w.size - 1)) != 0) {
            CHECK_INT(st, UM_USAGE);
            um_err_clear();
            continue;
        }
        CHECK_INT(st, UM_OK);
        CHECK(c.rank == w.rank && c.size == w.size && c.tree == (is_tree != 0));
        sums(&c);
        tickets(&c);
        um_mpi_comm_close(&c);
        um_mpi_comm_close(&c);
    }
    parts();
    MPI_Barrier(w.comm);
    int failed = test_failures;
    MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, w.comm);
    um_world_close(&w);
    return failed ? 1 : TEST_END();
}
