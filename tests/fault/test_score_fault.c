/* Every call of the I/O layer fails once, and from some call on all fail, while a scoring run is made or continued: the right error, no result that is not whole, and the next run ends with the same files. */
#include "tests/fault/vfs_fault.h"
#include "tests/unit/score_world.h"

#include <errno.h>

enum { N = 7 };
static char *base;

static int try_all(const char *in, uint32_t csv, uint32_t details, bool forever, int error, bool fresh)
{
    um_vfs *v = um_vfs_fault_new(um_vfs_unsynced());
    char dir[4096];
    world_path(dir, base, "run");
    int n = 1;
    for (;; n++) {
        CHECK(mkdir(dir, 0777) == 0);
        if (fresh) CHECK_OK(score_run(um_vfs_unsynced(), in, dir, N, false, NULL, NULL));
        um_vfs_fault_arm(v, n, forever, error);
        um_status st = score_run(v, in, dir, N, fresh, NULL, NULL);
        int64_t hits = um_vfs_fault_hits(v);
        if (st != UM_OK && st != UM_IO) fprintf(stderr, "call %d: %s: %s\n", n, um_status_name(st), um_err_text());
        CHECK(st == UM_OK || st == UM_IO);
        if (st == UM_IO && error == ENOSPC) CHECK(strstr(um_err_text(), "free space") != NULL);
        uint32_t now = score_sum(dir, "x"), now_details = score_sum(dir, "x.jsonl");
        CHECK(now == csv || (st != UM_OK && now == 0));
        CHECK(now_details == details || (st != UM_OK && now_details == 0));
        um_status again = score_run(um_vfs_unsynced(), in, dir, N, false, NULL, NULL);
        if (again != UM_OK) fprintf(stderr, "after call %d failed, the next run: %s\n", n, um_err_text());
        CHECK_INT(again, UM_OK);
        CHECK(score_sum(dir, "x") == csv && score_sum(dir, "x.jsonl") == details);
        world_remove(dir);
        if (hits == 0 || test_failures > 20) break;
    }
    um_vfs_fault_free(v);
    return n - 1;
}

int main(void)
{
    char in[4096], dir[4096];
    base = world_dir();
    world_path(in, base, "in");
    world_path(dir, base, "whole");
    score_inputs(in, N);
    CHECK(mkdir(dir, 0777) == 0);
    CHECK_OK(score_run(um_vfs_unsynced(), in, dir, N, false, NULL, NULL));
    uint32_t csv = score_sum(dir, "x"), details = score_sum(dir, "x.jsonl");
    int calls = try_all(in, csv, details, false, ENOSPC, false);
    CHECK(calls > 40);
    CHECK_INT(try_all(in, csv, details, true, EIO, false), calls);
    CHECK(try_all(in, csv, details, false, EIO, true) > calls);
    printf("%d calls failed, once and from then on\n", calls);
    world_remove(base);
    free(base);
    return TEST_END();
}
