/* checkpoint: what is written comes back; every call of the I/O layer fails once, and from then on; power is lost; bytes change: there is always a checkpoint that loads, and never one that is not what was written. */
#include "io/checkpoint.h"
#include "src/core/log.h"
#include "src/core/rng.h"
#include "tests/fault/vfs_crash.h"
#include "tests/fault/vfs_fault.h"
#include "tests/unit/store_world.h"

#include <errno.h>

static um_graph *graph;
static int warnings;

static void count(void *user, um_log_level level, const char *line)
{
    (void)user;
    (void)line;
    warnings += level == UM_LOG_WARN;
}

static um_graph *make_graph(int channels)
{
    um_graph *g;
    CHECK_OK(um_graph_new(&g));
    int x = um_graph_input(g, 8, 8, 3);
    x = um_graph_conv(g, "encoder.a", x, channels, 3, 3, 1, UM_PAD_SAME, false);
    x = um_graph_batch_norm(g, "encoder.b", x, 1e-3f);
    x = um_graph_mean(g, x);
    um_graph_output(g, um_graph_dense(g, "fc", x, 1, true));
    CHECK_OK(um_graph_finish(g));
    return g;
}

/* What the state after `step` steps is. */
static void fill(um_checkpoint *c, int64_t step)
{
    static char config[] = "{\"a\": \"1\"}";
    *c = (um_checkpoint){.seed = 111, .step = step, .epoch = step / 7, .best_epoch = -1, .best_score = INFINITY, .epoch_loss = (double)step / 3, .config = config, .param_count = graph->param_count};
    float **all[4] = {&c->params, &c->slot[0], &c->average, &c->slot[1]};
    for (int k = 0; k < (step % 2 == 0 ? 4 : 3); k++) {
        *all[k] = malloc((size_t)graph->param_count * sizeof(float));
        um_rng r = um_rng_stream((uint64_t)step, (uint64_t)k, 0, UM_RNG_TEST);
        for (int64_t i = 0; i < graph->param_count; i++) (*all[k])[i] = (float)um_rng_uniform(&r, k == 1 ? -1 : 0, 1);
    }
}

static void drop(um_checkpoint *c)
{
    c->config = NULL; /* not the heap's */
    um_checkpoint_release(c);
}

static bool same_array(const float *a, const float *b) { return (a == NULL) == (b == NULL) && (a == NULL || memcmp(a, b, (size_t)graph->param_count * sizeof *a) == 0); }

/* Is it exactly the state after its number of steps? */
static bool is_right(const um_checkpoint *c)
{
    um_checkpoint want;
    fill(&want, c->step);
    bool ok = strcmp(c->config, want.config) == 0 && same_array(c->params, want.params) && same_array(c->slot[0], want.slot[0]) && same_array(c->slot[1], want.slot[1]) && same_array(c->average, want.average);
#define X(name) ok = ok && c->name == want.name;
    UM_CHECKPOINT_COUNTERS(X)
    UM_CHECKPOINT_FIGURES(X)
#undef X
    drop(&want);
    return ok;
}

static um_status save(um_vfs *v, const char *dir, int64_t step)
{
    um_checkpoint c;
    fill(&c, step);
    um_status st = um_checkpoint_save(v, dir, graph, &c);
    drop(&c);
    return st;
}

/* The step of what loads; -1: nothing is there; -2: what loads is wrong, or nothing does. */
static int64_t loaded(um_vfs *v, const char *dir)
{
    um_checkpoint c;
    um_status st = um_checkpoint_load(v, dir, graph, &c);
    if (st == UM_END) return -1;
    if (st != UM_OK) return -2;
    int64_t step = is_right(&c) ? c.step : -2;
    um_checkpoint_release(&c);
    return step;
}

static void round_trip(const char *dir)
{
    um_names names;
    CHECK_INT(loaded(um_vfs_real(), dir), -1);
    CHECK_OK(um_vfs_mkdir(um_vfs_real(), dir));
    CHECK_INT(loaded(um_vfs_real(), dir), -1);
    for (int64_t step = 0; step < 5; step++) {
        CHECK_OK(save(um_vfs_real(), dir, step * 1000));
        CHECK_INT(loaded(um_vfs_real(), dir), step * 1000);
    }
    CHECK_OK(um_vfs_list(um_vfs_real(), dir, &names));
    CHECK_INT(names.n, 2);
    CHECK_STR(names.name[1], "checkpoint-000000004000.h5");
    um_names_release(&names);
    /* Going on from an older one leaves a future behind. */
    CHECK_OK(save(um_vfs_real(), dir, 3500));
    CHECK_INT(loaded(um_vfs_real(), dir), 3500);

    /* What is not finite never gets there. */
    um_checkpoint c;
    fill(&c, 5000);
    c.slot[0][3] = NAN;
    CHECK_INT(um_checkpoint_save(um_vfs_real(), dir, graph, &c), UM_DATA);
    c.slot[0][3] = 1;
    c.params[graph->param_count - 1] = INFINITY;
    CHECK_INT(um_checkpoint_save(um_vfs_real(), dir, graph, &c), UM_DATA);
    CHECK(strstr(um_err_text(), "fc.bias") != NULL);
    drop(&c);
    CHECK_INT(loaded(um_vfs_real(), dir), 3500);

    /* Another network's is refused. */
    um_graph *other = make_graph(4);
    warnings = 0;
    CHECK_INT(um_checkpoint_load(um_vfs_real(), dir, other, &c), UM_DATA);
    CHECK_INT(warnings, 2);
    um_graph_free(other);
    CHECK(um_checkpoint_is_name("checkpoint-000000004000.h5") && um_checkpoint_is_name("checkpoint-000000004000.h5.0123.tmp"));
    CHECK(!um_checkpoint_is_name("checkpoint-.h5") && !um_checkpoint_is_name("epoch-000.h5") && !um_checkpoint_is_name("checkpoint-1.h5x") && !um_checkpoint_is_name("xcheckpoint-1.h5"));
}

static void calls_fail(const char *base, bool forever, int error)
{
    char dir[4096];
    um_vfs *v = um_vfs_fault_new(um_vfs_unsynced());
    world_path(dir, base, "fault");
    int n = 1;
    for (;; n++) {
        CHECK(mkdir(dir, 0777) == 0);
        CHECK_OK(save(um_vfs_unsynced(), dir, 1));
        CHECK_OK(save(um_vfs_unsynced(), dir, 2));
        um_vfs_fault_arm(v, n, forever, error);
        um_status st = save(v, dir, 3);
        int64_t hits = um_vfs_fault_hits(v), now = loaded(um_vfs_unsynced(), dir);
        CHECK(st == UM_OK || st == UM_IO);
        if (st == UM_IO && error == ENOSPC) CHECK(strstr(um_err_text(), "free space") != NULL);
        CHECK(now == 3 || (now == 2 && st != UM_OK));
        CHECK_OK(save(um_vfs_unsynced(), dir, 4));
        CHECK_INT(loaded(um_vfs_unsynced(), dir), 4);
        /* Reading may fail, but never gives anything else. */
        um_vfs_fault_arm(v, n, forever, error);
        now = loaded(v, dir);
        CHECK(now == 4 || now == -2);
        world_remove(dir);
        if (hits == 0 || test_failures > 20) break;
    }
    CHECK(n > 8);
    um_vfs_fault_free(v);
}

static void bytes_change(const char *base, int count_of)
{
    char dir[4096], path[4096];
    void *bytes;
    size_t n;
    world_path(dir, base, "damage");
    CHECK(mkdir(dir, 0777) == 0);
    CHECK_OK(save(um_vfs_unsynced(), dir, 1));
    CHECK_OK(save(um_vfs_unsynced(), dir, 2));
    world_path(path, dir, "checkpoint-000000000002.h5");
    CHECK_OK(um_vfs_read_whole(um_vfs_real(), path, 1 << 24, &bytes, &n));
    um_rng r = um_rng_stream(5, 0, 0, UM_RNG_TEST);
    for (int i = 0; i < count_of; i++) {
        uint8_t *copy = malloc(n);
        memcpy(copy, bytes, n);
        size_t length = i % 5 == 0 ? um_rng_below(&r, (uint32_t)n) : n, at = um_rng_below(&r, (uint32_t)n);
        copy[at] ^= (uint8_t)(1u << um_rng_below(&r, 8));
        CHECK_OK(um_vfs_write_whole(um_vfs_unsynced(), path, copy, length));
        warnings = 0;
        int64_t now = loaded(um_vfs_real(), dir);
        CHECK(now == 1 && warnings == 2);
        free(copy);
    }
    free(bytes);
    /* No good one at all is not the same as none. */
    world_file(dir, "checkpoint-000000000001.h5", "x");
    CHECK_INT(loaded(um_vfs_real(), dir), -2);
    CHECK(strstr(um_err_text(), "--fresh") != NULL);
}

/* Loss of power: what was acknowledged is there, in whole. */
static void power_fails(const char *base, int count_of)
{
    char dir[4096], after[4096];
    int seen[8] = {0};
    world_path(dir, base, "power");
    CHECK(mkdir(dir, 0777) == 0);
    um_vfs *v = um_vfs_crash_new(dir);
    for (int64_t step = 1; step <= 5; step++) {
        CHECK_OK(save(v, dir, step));
        um_vfs_crash_mark(v);
    }
    for (int seed = 0; seed < count_of; seed++) {
        int n_marks = 0;
        world_path(after, base, "after");
        CHECK_OK(um_vfs_crash_make(v, (uint64_t)seed, after, &n_marks));
        int64_t now = loaded(um_vfs_real(), after);
        if (now == -2) fprintf(stderr, "seed %d: %s\n", seed, um_err_text());
        CHECK(n_marks == 0 ? now >= -1 : now >= n_marks);
        seen[n_marks]++;
        CHECK_OK(save(um_vfs_unsynced(), after, 9));
        CHECK_INT(loaded(um_vfs_real(), after), 9);
        world_remove(after);
    }
    CHECK(seen[0] > 0 && seen[2] > 0 && seen[4] > 0);
    um_vfs_crash_free(v);
}

int main(int argc, char **argv)
{
    char dir[4096], *base = world_dir();
    um_log_set_sink(count, NULL);
    graph = make_graph(8);
    world_path(dir, base, "trip");
    round_trip(dir);
    calls_fail(base, false, ENOSPC);
    calls_fail(base, true, EIO);
    bytes_change(base, argc > 1 ? atoi(argv[1]) : 300);
    power_fails(base, argc > 1 ? atoi(argv[1]) : 300);
    um_graph_free(graph);
    world_remove(base);
    free(base);
    return TEST_END();
}
