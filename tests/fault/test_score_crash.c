/* Power is lost at any moment of a scoring run: no acknowledged row is lost, no result under its name is damaged, the next run ends with the same files. */
#include "tests/fault/vfs_crash.h"
#include "tests/fault/vfs_fault.h"
#include "tests/unit/score_world.h"

enum { N = 9 };
static char *base, in[4096];

static void mark(void *user) { um_vfs_crash_mark(user); }

static void check_crash(um_vfs *v, uint64_t seed, bool marks_count, uint32_t csv, uint32_t details, int *partly)
{
    char dir[4096], journals[4096];
    int marks = 0, failed = test_failures;
    um_score_manifest m;
    um_score_results r;
    world_path(dir, base, "after");
    world_path(journals, dir, "x.journal");
    CHECK_OK(um_vfs_crash_make(v, seed, dir, &marks));
    uint32_t now = score_sum(dir, "x"), now_details = score_sum(dir, "x.jsonl");
    CHECK(now == 0 || now == csv);
    CHECK(now_details == 0 || now_details == details);
    if (marks_count) {
        CHECK_OK(score_listing(in, SCORE_CONFIG, &m));
        CHECK_OK(um_score_results_read(um_vfs_unsynced(), journals, &m, NAN, &r));
        CHECK(r.n_done >= marks); /* one more has its row from the listing */
        *partly += marks > 0 && marks < N - 1;
        um_score_results_release(&r);
        um_score_manifest_release(&m);
    }
    CHECK_OK(score_run(um_vfs_unsynced(), in, dir, N, false, NULL, NULL));
    CHECK(score_sum(dir, "x") == csv && score_sum(dir, "x.jsonl") == details);
    world_remove(dir);
    if (test_failures != failed) fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
}

int main(int argc, char **argv)
{
    uint64_t count = 300, first = 0;
    char live[4096];
    int partly = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--count") == 0) count = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seed") == 0) first = strtoull(argv[i + 1], NULL, 10);
    }
    base = world_dir();
    world_path(in, base, "in");
    world_path(live, base, "live");
    score_inputs(in, N);
    /* Two runs, one after the other, a mark after each row, which is durable then. */
    CHECK(mkdir(live, 0777) == 0);
    um_vfs *v = um_vfs_crash_new(live);
    CHECK_OK(score_run(v, in, live, 4, false, mark, v));
    CHECK_OK(score_run(v, in, live, N, false, mark, v));
    uint32_t csv = score_sum(live, "x"), details = score_sum(live, "x.jsonl");
    CHECK(csv != 0 && details != 0);
    for (uint64_t i = 0; i < count && test_failures < 20; i++) check_crash(v, first + i, true, csv, details, &partly);
    if (count >= 100) CHECK((uint64_t)partly > count / 4); /* the crashes were spread over the work */
    um_vfs_crash_free(v);
    /* Starting over: whatever of the removal is lost, the next run ends with the same. */
    world_path(live, base, "again");
    CHECK(mkdir(live, 0777) == 0);
    v = um_vfs_crash_new(live);
    CHECK_OK(score_run(v, in, live, 4, false, NULL, NULL));
    CHECK_OK(score_run(v, in, live, N, true, NULL, NULL));
    for (uint64_t i = 0; i < count / 2 && test_failures < 20; i++) check_crash(v, first + i, false, csv, details, NULL);
    um_vfs_crash_free(v);
    printf("%llu crashes, %d between the first and the last row\n", (unsigned long long)(count + count / 2), partly);
    world_remove(base);
    free(base);
    return TEST_END();
}
