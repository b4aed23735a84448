/* folds: the rows of folds.csv beside their store: found by video, frame and face; what does not fit is named. */
#include "io/folds.h"
#include "store_world.h"

static char dir[4096], csv[4096];
static um_store_content c;

static um_status read_csv(const char *text, um_folds *f)
{
    CHECK_OK(um_vfs_write_whole(um_vfs_real(), csv, text, strlen(text)));
    return um_folds_read(um_vfs_real(), csv, &c, f);
}

static void refused(const char *text, const char *word)
{
    um_folds f;
    CHECK_INT(read_csv(text, &f), UM_DATA);
    if (strstr(um_err_text(), word) == NULL) fprintf(stderr, "%s: %s\n", text, um_err_text());
    CHECK(strstr(um_err_text(), word) != NULL);
    um_folds_release(&f);
}

int main(void)
{
    char root[4096], *base = world_dir();
    um_manifest m;
    um_folds f;
    world_path(root, base, "root");
    world_path(dir, base, "store");
    world_path(csv, base, "folds.csv");
    world_root(root, 4);
    CHECK_OK(um_manifest_scan(root, 0, &m));
    CHECK_OK(world_run(um_vfs_real(), dir, &m, 0, m.n_units, 10, false, NULL, NULL));
    CHECK_OK(um_store_load(um_vfs_real(), dir, true, &c));

    CHECK_OK(read_csv("video,file,label,original,frame,fold\no0001,10_0.png,0,o0001,10,2\r\n\"f0001_0\",\"20_0.png\",1,o0001,20,0\no0001,999_0.png,0,o0001,999,1\nnobody,0_0.png,0,,0,5\n\n", &f));
    CHECK_INT(f.n_rows, 2);
    CHECK_INT(f.n_missing, 2);
    CHECK_INT(f.n_folds, 3);
    CHECK_STR(f.first_missing, "o0001/999_0.png");
    int n = 0;
    for (int64_t i = 0; i < c.n_entries; i++) {
        const um_store_entry *e = &c.entry[i];
        const char *path = c.manifest.video[e->video].path;
        int want = strstr(path, "o0001") != NULL && e->frame == 10 && e->face == 0 ? 2 : strstr(path, "f0001_0") != NULL && e->frame == 20 && e->face == 0 ? 0 : -1;
        CHECK_INT(f.fold[i], want);
        n += want >= 0;
    }
    CHECK_INT(n, 2);
    um_folds_release(&f);
    CHECK_OK(read_csv("fold,extra,label,file,video\n7,\"a \"\"b\"\", c\",0,0_0.png,o0000\n", &f));
    CHECK_INT(f.n_folds, 8);
    um_folds_release(&f);

    refused("video,file,label,frame\n", "no column fold");
    refused("", "no column video");
    refused("video,file,label,fold\no0001,10_0.png,1,0\n", "line 2");
    refused("video,file,label,fold\no0001,10_0.png,0,0\no0001,10_0.png,0,1\n", "twice");
    refused("video,file,label,fold\no0001,10_0.png,0\n", "columns of line 1");
    refused("video,file,label,fold\no0001,10.png,0,0\n", "<frame>_<face>.png");
    refused("video,file,label,fold\no0001,10_0.png,2,0\n", "label");
    refused("video,file,label,fold\no0001,10_0.png,0,-1\n", "fold");
    refused("video,file,label,fold\nnobody,10_0.png,0,1\n", "not one of its 1 crops");
    CHECK_INT(um_folds_read(um_vfs_real(), "/nonexistent/folds.csv", &c, &f), UM_MISSING);
    um_store_content_release(&c);
    um_manifest_release(&m);
    world_remove(base);
    free(base);
    return TEST_END();
}
