/* Every call of the I/O layer fails once, and from some call on all fail: the right error, and the next run completes with the same content. */
#include "io/h5image.h"
#include "io/vfs_fault.h"
#include "tests/unit/store_world.h"

#include <errno.h>

enum { N_UNITS = 4 };
static char *base;
static um_manifest m;

static uint32_t sum_of(const char *dir)
{
    um_store_content c;
    uint32_t sum = 0;
    CHECK_OK(um_store_load(um_vfs_real(), dir, true, &c));
    if (c.manifest.n_videos == 0) return 0;
    CHECK_OK(world_sum(&c, &sum));
    CHECK_INT(c.n_units_done, N_UNITS);
    um_store_content_release(&c);
    return sum;
}

/* No file under a final name is damaged, whatever happened. */
static void check_files(const char *dir)
{
    char shards[4096], path[4096];
    um_names names;
    um_h5image *im;
    world_path(shards, dir, "shards");
    if (um_vfs_list(um_vfs_real(), shards, &names) != UM_OK) return;
    for (int i = 0; i < names.n; i++) {
        size_t n = strlen(names.name[i]);
        if (n < 3 || strcmp(names.name[i] + n - 3, ".h5") != 0) continue;
        world_path(path, shards, names.name[i]);
        CHECK_OK(um_h5image_read(um_vfs_real(), path, "shard", 1 << 24, &im));
        um_h5image_free(im);
    }
    um_names_release(&names);
}

/* `start`: what was there before. Returns how many calls the work makes. */
static int try_all(uint32_t want, bool forever, int error, bool fresh)
{
    um_vfs *v = um_vfs_fault_new(um_vfs_real());
    char dir[4096];
    int n = 1;
    for (;; n++) {
        world_path(dir, base, "store");
        if (fresh) CHECK_OK(world_run(um_vfs_real(), dir, &m, 0, N_UNITS, 2, false, NULL, NULL));
        um_vfs_fault_arm(v, n, forever, error);
        um_status st = world_run(v, dir, &m, 0, N_UNITS, 2, fresh, NULL, NULL);
        int64_t hits = um_vfs_fault_hits(v);
        if (hits == 0) break;
        if (st != UM_OK && st != UM_IO) fprintf(stderr, "call %d: %s: %s\n", n, um_status_name(st), um_err_text());
        CHECK(st == UM_OK || st == UM_IO);
        if (st == UM_IO && error == ENOSPC) CHECK(strstr(um_err_text(), "free space") != NULL);
        if (st == UM_OK) CHECK_INT(sum_of(dir), want);
        check_files(dir);
        um_status again = world_run(um_vfs_real(), dir, &m, 0, N_UNITS, 3, false, NULL, NULL);
        if (again != UM_OK) fprintf(stderr, "after call %d failed, the next run: %s\n", n, um_err_text());
        CHECK_INT(again, UM_OK);
        CHECK_INT(sum_of(dir), want);
        world_remove(dir);
        if (test_failures > 20) break;
    }
    um_vfs_fault_free(v);
    world_remove(dir);
    return n - 1;
}

int main(void)
{
    char root[4096], dir[4096];
    base = world_dir();
    world_path(root, base, "data");
    world_path(dir, base, "whole");
    world_root(root, N_UNITS);
    CHECK_OK(um_manifest_scan(root, 0, &m));
    CHECK_OK(world_run(um_vfs_real(), dir, &m, 0, N_UNITS, 2, false, NULL, NULL));
    uint32_t want = sum_of(dir);
    int calls = try_all(want, false, ENOSPC, false);
    CHECK(calls > 60);
    CHECK(try_all(want, true, EIO, false) >= 60);
    CHECK(try_all(want, false, EIO, true) > calls);
    printf("%d calls failed, once and from then on\n", calls);
    um_manifest_release(&m);
    world_remove(base);
    free(base);
    return TEST_END();
}
