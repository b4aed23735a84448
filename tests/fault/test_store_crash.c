/* Power is lost at any moment: no acknowledged unit is lost, no file under a final name is damaged, the next run completes with the same content. */
#include "io/h5image.h"
#include "io/vfs_crash.h"
#include "tests/unit/store_world.h"

enum { N_UNITS = 9, PER_SEAL = 2 };
static char *base;
static um_manifest m;

static void mark(void *user) { um_vfs_crash_mark(user); }

static void check_crash(um_vfs *v, uint64_t seed, const int *units_at_mark, uint32_t want, int *partly)
{
    char dir[4096], shards[4096], path[4096];
    int marks = 0, failed = test_failures;
    um_names names;
    um_store_content c;
    uint32_t sum = 0;
    world_path(dir, base, "after");
    CHECK_OK(um_vfs_crash_make(v, seed, dir, &marks));
    world_path(shards, dir, "shards");
    if (um_vfs_list(um_vfs_real(), shards, &names) == UM_OK) {
        for (int i = 0; i < names.n; i++) {
            um_h5image *im = NULL;
            size_t n = strlen(names.name[i]);
            if (n < 3 || strcmp(names.name[i] + n - 3, ".h5") != 0) continue;
            world_path(path, shards, names.name[i]);
            CHECK_OK(um_h5image_read(um_vfs_real(), path, "shard", 1 << 24, &im));
            um_h5image_free(im);
        }
        um_names_release(&names);
    }
    if (units_at_mark != NULL) { /* each unit that was acknowledged before is there */
        um_store_state state[N_UNITS];
        memset(state, 0, sizeof state);
        if (marks > 0) CHECK_OK(um_store_load_states(um_vfs_real(), dir, &m, state));
        for (int u = 0; u < units_at_mark[marks]; u++) CHECK_INT(state[u].stages, 15);
        *partly += units_at_mark[marks] > 0 && units_at_mark[marks] < N_UNITS;
    }
    CHECK_OK(world_run(um_vfs_real(), dir, &m, 0, N_UNITS, 3, false, NULL, NULL));
    CHECK_OK(um_store_load(um_vfs_real(), dir, true, &c));
    if (c.manifest.n_videos > 0) CHECK_OK(world_sum(&c, &sum));
    CHECK_INT(sum, want);
    CHECK_INT(c.n_units_done, N_UNITS);
    um_store_content_release(&c);
    world_remove(dir);
    if (test_failures != failed) fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
}

int main(int argc, char **argv)
{
    uint64_t count = 300, first = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--count") == 0) count = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seed") == 0) first = strtoull(argv[i + 1], NULL, 10);
    }
    char root[4096], live[4096], store[4096];
    base = world_dir();
    world_path(root, base, "data");
    world_root(root, N_UNITS);
    CHECK_OK(um_manifest_scan(root, 0, &m));

    /* Two runs, one after the other. Marks: after units 2, 4, 5 (first run, units 0..4), then 7, 9, 9. */
    world_path(live, base, "live");
    CHECK(mkdir(live, 0777) == 0);
    um_vfs *v = um_vfs_crash_new(live);
    CHECK_OK(world_run(v, live, &m, 0, 5, PER_SEAL, false, mark, v));
    CHECK_OK(world_run(v, live, &m, 0, N_UNITS, PER_SEAL, false, mark, v));
    static const int units_at_mark[] = {0, 2, 4, 5, 7, 9, 9};
    um_store_content c;
    uint32_t want = 0;
    CHECK_OK(um_store_load(um_vfs_real(), live, true, &c));
    CHECK_OK(world_sum(&c, &want));
    um_store_content_release(&c);
    int partly = 0;
    for (uint64_t i = 0; i < count && test_failures < 20; i++) check_crash(v, first + i, units_at_mark, want, &partly);
    if (count >= 100) CHECK((uint64_t)partly > count / 4); /* the crashes were spread over the work */
    um_vfs_crash_free(v);

    /* Starting over: whatever of the removal is lost, the next run goes on from a store that is whole. */
    world_path(store, base, "again");
    CHECK(mkdir(store, 0777) == 0);
    v = um_vfs_crash_new(store);
    CHECK_OK(world_run(v, store, &m, 0, 4, PER_SEAL, false, NULL, NULL));
    CHECK_OK(world_run(v, store, &m, 0, N_UNITS, PER_SEAL, true, NULL, NULL));
    for (uint64_t i = 0; i < count / 2 && test_failures < 20; i++) check_crash(v, first + i, NULL, want, NULL);
    um_vfs_crash_free(v);
    printf("%llu crashes, %d between the first and the last acknowledgement\n", (unsigned long long)(count + count / 2), partly);
    um_manifest_release(&m);
    world_remove(base);
    free(base);
    return TEST_END();
}
