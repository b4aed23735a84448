/* walk and outdir: folders in, folders out. */
#include "io/outdir.h"
#include "io/walk.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void touch(const char *path)
{
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    if (f != NULL) fclose(f);
}

static void walks(void)
{
    um_walk w = {0};
    mkdir("in", 0777);
    mkdir("in/b", 0777);
    touch("in/c.MP4");
    touch("in/a.png");
    touch("in/b/x\xff\n.mov");
    CHECK_INT(symlink("..", "in/b/loop"), 0);
    CHECK_INT(symlink("nowhere", "in/b/dangling"), 0);
    CHECK_INT(mkfifo("in/fifo", 0666), 0);
    CHECK_OK(um_walk_add(&w, "in/"));
    CHECK_OK(um_walk_add(&w, "none.mp4"));
    const char *const want[] = {"in/a.png", "in/b/dangling", "in/b/x\xff\n.mov", "in/c.MP4", "in/fifo", "none.mp4"};
    const um_status status[] = {UM_OK, UM_MISSING, UM_OK, UM_OK, UM_UNREADABLE, UM_MISSING};
    CHECK_INT(w.n, 6);
    for (int i = 0; i < 6 && i < w.n; i++) {
        CHECK_STR(w.entry[i].path, want[i]);
        CHECK_INT(w.entry[i].status, status[i]);
        CHECK_INT(w.entry[i].named, i == 5);
    }
    CHECK_INT(w.n_loops, 1);
    um_walk_release(&w);
    CHECK(um_name_is_video("a/b.Mp4") && !um_name_is_video("a.mp4/b") && !um_name_is_video("mp4") && um_name_is_picture("x.JPEG") && !um_name_is_picture("x.jpeg.txt"));
}

static void output_folders(void)
{
    um_vfs *vfs = um_vfs_real();
    um_outdir o;
    CHECK_OK(um_outdir_begin(vfs, "out", "made.json", &o));
    char name[256];
    snprintf(name, sizeof name, "%s/file", o.temporary);
    touch(name);
    CHECK(access("out", F_OK) != 0);
    CHECK_OK(um_outdir_end(&o, UM_OK, "{}\n"));
    CHECK(access("out/file", F_OK) == 0 && access("out/made.json", F_OK) == 0);
    CHECK_OK(um_outdir_begin(vfs, "out", "made.json", &o)); /* ours: replaced */
    CHECK_OK(um_outdir_end(&o, UM_OK, "{}\n"));
    CHECK(access("out/file", F_OK) != 0 && access("out/made.json", F_OK) == 0);
    CHECK_OK(um_outdir_begin(vfs, "out", "made.json", &o)); /* a failure leaves what was there */
    CHECK_INT(um_outdir_end(&o, UM_FAIL(UM_IO, "disk"), "{}\n"), UM_IO);
    CHECK_STR(um_err_text(), "disk");
    CHECK(access("out/made.json", F_OK) == 0);
    mkdir("precious", 0777);
    touch("precious/thesis.txt");
    CHECK_INT(um_outdir_begin(vfs, "precious", "made.json", &o), UM_CONFIG);
    CHECK(access("precious/thesis.txt", F_OK) == 0);
}

int main(void)
{
    char dir[4096];
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/unmask-test-XXXXXX", base != NULL ? base : P_tmpdir);
    CHECK(mkdtemp(dir) != NULL && chdir(dir) == 0);
    walks();
    output_folders();
    CHECK(chdir("/") == 0);
    CHECK_OK(um_tree_remove(dir));
    CHECK(access(dir, F_OK) != 0);
    return TEST_END();
}
