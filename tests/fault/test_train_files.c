/* The files of a training run: every call of the I/O layer fails once, and from then on: the right error, what was kept loads, nothing is half written under a final name, and the next run ends with the same files. */
#include "io/checkpoint.h"
#include "io/model.h"
#include "jobs/train_files.h"
#include "src/core/log.h"
#include "src/nn/init.h"
#include "tests/fault/vfs_fault.h"
#include "tests/unit/store_world.h"

#include <errno.h>

enum { EPOCHS = 2, STEPS = 3 };
static um_model model;
static um_graph *graph;

static void ignore(void *user, um_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

/* As a training does it; what it "learns" is a function of the step. */
static um_status train(um_vfs *v, const char *out, bool fresh)
{
    um_train_files f;
    um_checkpoint c = {0};
    um_buf b = {0};
    um_status st = um_train_files_open(v, out, "p_", 5, fresh, "{\"a\": \"1\"}", &f);
    if (st == UM_OK) st = um_checkpoint_load(v, f.folder, graph, &c);
    if (st == UM_END) {
        c = (um_checkpoint){.config = strdup("{}"), .param_count = graph->param_count, .best_epoch = -1};
        st = UM_OK;
    }
    free(c.params);
    c.params = model.params;
    if (st == UM_OK) st = um_train_files_log_begin(&f, c.step, c.epoch);
    for (; st == UM_OK && c.epoch < EPOCHS; c.epoch++) {
        for (int i = 0; st == UM_OK && i < STEPS; i++) {
            c.step++;
            st = um_buf_printf(&b, "{\"kind\": \"step\", \"epoch\": %d, \"step\": %d, \"loss\": 1}\n", (int)c.epoch, (int)c.step);
            if (st == UM_OK) st = um_train_files_log(&f, &b);
        }
        if (st == UM_OK) st = um_buf_printf(&b, "{\"kind\": \"epoch\", \"epoch\": %d, \"step\": %d}\n", (int)c.epoch, (int)c.step);
        if (st == UM_OK) st = um_train_files_log(&f, &b);
        model.params[0] = (float)c.step;
        if (st == UM_OK) st = um_train_files_model(&f, &model, c.epoch, c.epoch < 1, 1);
        if (st == UM_OK) st = um_train_files_log_sync(&f);
        c.epoch++;
        if (st == UM_OK) st = um_checkpoint_save(v, f.folder, graph, &c);
        c.epoch--;
    }
    if (st == UM_OK) st = um_buf_printf(&b, "{\"step\": %d}\n", (int)c.step);
    if (st == UM_OK) st = um_train_files_status(&f, &b);
    c.params = NULL;
    um_checkpoint_release(&c);
    um_buf_release(&b);
    um_status end = um_train_files_close(&f);
    return st == UM_OK ? end : st;
}

/* Names and contents of a folder and what is below. */
static uint32_t sum_of(const char *folder)
{
    um_names names;
    uint32_t sum = 1;
    if (um_vfs_list(um_vfs_real(), folder, &names) != UM_OK) return 0;
    for (int i = 0; i < names.n; i++) {
        char path[4096];
        void *bytes;
        size_t n;
        world_path(path, folder, names.name[i]);
        sum = um_crc32c(sum, names.name[i], strlen(names.name[i]));
        if (um_vfs_read_whole(um_vfs_real(), path, 1 << 26, &bytes, &n) == UM_OK) {
            sum = um_crc32c(sum, bytes, n);
            free(bytes);
        } else {
            sum ^= sum_of(path);
        }
    }
    um_names_release(&names);
    return sum;
}

static int try_all(const char *base, uint32_t want, bool forever, int error, bool fresh)
{
    char out[4096];
    um_vfs *v = um_vfs_fault_new(um_vfs_unsynced());
    world_path(out, base, "out");
    int n = 1;
    for (;; n++) {
        CHECK(mkdir(out, 0777) == 0);
        if (fresh) CHECK_OK(train(um_vfs_unsynced(), out, false));
        um_vfs_fault_arm(v, n, forever, error);
        um_status st = train(v, out, fresh);
        int64_t hits = um_vfs_fault_hits(v);
        if (st != UM_OK && st != UM_IO) fprintf(stderr, "call %d: %s: %s\n", n, um_status_name(st), um_err_text());
        CHECK(st == UM_OK || st == UM_IO);
        if (st == UM_IO && error == ENOSPC) CHECK(strstr(um_err_text(), "free space") != NULL);
        char best[4096];
        um_model m;
        world_path(best, out, "p_seed5.h5");
        if (access(best, F_OK) == 0) {
            CHECK_OK(um_model_read(um_vfs_real(), best, &m));
            um_model_release(&m);
        }
        um_status again = train(um_vfs_unsynced(), out, false);
        if (again != UM_OK) fprintf(stderr, "after call %d failed, the next run: %s\n", n, um_err_text());
        CHECK_INT(again, UM_OK);
        CHECK(sum_of(out) == want);
        world_remove(out);
        if (hits == 0 || test_failures > 20) break;
    }
    um_vfs_fault_free(v);
    return n - 1;
}

int main(void)
{
    char *base = world_dir(), out[4096];
    um_log_set_sink(ignore, NULL);
    CHECK_OK(um_efficientnet_parse("w0.1d0.1", &model.net));
    CHECK_OK(um_efficientnet_graph(&model.net, 32, true, 0, 0, &graph));
    model.size_px = 32;
    model.has_head = true;
    model.param_count = graph->param_count;
    model.params = calloc((size_t)graph->param_count, sizeof *model.params);
    for (int i = 0; i < 3; i++) model.std[i] = 1;
    um_graph_init(graph, 1, model.params);
    world_path(out, base, "out");
    CHECK(mkdir(out, 0777) == 0);
    CHECK_OK(train(um_vfs_unsynced(), out, false));
    uint32_t want = sum_of(out);
    CHECK_OK(train(um_vfs_unsynced(), out, false)); /* nothing to do, nothing done */
    CHECK(sum_of(out) == want);
    um_train_files f; /* another configuration */
    CHECK_INT(um_train_files_open(um_vfs_real(), out, "p_", 5, false, "{\"a\": \"2\"}", &f), UM_DATA);
    CHECK(strstr(um_err_text(), "was begun with a = '1', not '2'") != NULL);
    CHECK_OK(um_train_files_close(&f));
    world_remove(out);
    int calls = try_all(base, want, false, ENOSPC, false);
    CHECK(calls > 50);
    CHECK_INT(try_all(base, want, true, EIO, false), calls);
    CHECK(try_all(base, want, false, EIO, true) > calls);
    printf("%d calls failed, once and from then on\n", calls);
    um_model_release(&model);
    um_graph_free(graph);
    world_remove(base);
    free(base);
    return TEST_END();
}
