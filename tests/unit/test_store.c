#include "store_world.h"

#include <limits.h>
#include <sys/wait.h>

enum { N_UNITS = 12, ALL = 15 };
static const um_store_limits never = {1 << 30, 1e9}, often = {2000, 1e9};
static char *base;
static char root[PATH_MAX];
static um_manifest m;
static uint32_t want; /* world_sum of the whole */

static const char *dir_of(const char *name)
{
    static char path[8][PATH_MAX];
    static int next;
    char *p = path[next++ % 8];
    world_path(p, base, name);
    return p;
}

/* Opens, sets the manifest, writes units [first, end) as rank `rank`, closes. */
static um_status run(const char *dir, int rank, int first, int end, unsigned stages, const um_store_limits *limits)
{
    um_store *s = NULL;
    um_store_writer *w = NULL;
    um_status st = um_store_open(um_vfs_real(), dir, WORLD_CONFIG, false, &s);
    if (st == UM_OK) st = um_store_set_manifest(s, &m);
    if (st == UM_OK) st = um_store_writer_open(s, rank, limits, &w);
    for (int u = first; st == UM_OK && u < end; u++) st = world_unit(w, &m, u, stages);
    um_status closed = um_store_writer_close(w, NULL);
    um_store_close(s);
    return st != UM_OK ? st : closed;
}

static char digest[65]; /* of the whole */

/* The checksum of what a reader sees; the digest must be that of the whole, too. */
static uint32_t sum_of(const char *dir)
{
    um_store_content c;
    uint32_t sum = 0;
    char is[65];
    CHECK_OK(um_store_load(um_vfs_real(), dir, true, &c));
    CHECK_OK(world_sum(&c, &sum));
    CHECK_OK(um_store_digest(&c, is));
    CHECK_STR(is, digest);
    um_store_content_release(&c);
    return sum;
}

static void round_trip(void)
{
    const char *dir = dir_of("a");
    um_store_content c;
    CHECK_OK(run(dir, 0, 0, N_UNITS, ALL, &never));
    CHECK_OK(um_store_load(um_vfs_real(), dir, true, &c));
    CHECK_INT(c.n_units_done, N_UNITS);
    CHECK_INT(c.n_shards, 4);
    CHECK_INT(c.n_unreferenced, 0);
    CHECK_INT(c.n_journal_damaged, 0);
    CHECK_STR(c.config, WORLD_CONFIG);
    CHECK_OK(world_sum(&c, &want));
    CHECK_OK(um_store_digest(&c, digest));
    CHECK_INT(strlen(digest), 64);
    for (int v = 0; v < c.manifest.n_videos; v++) {
        bool fake = c.manifest.video[v].label == UM_LABEL_FAKE, bad = c.manifest.video[v].id % 5 == 0;
        CHECK_INT(c.video[v].status, bad ? UM_PARTIAL : UM_OK);
        CHECK_STR(c.message[v], bad ? "frame 3 is damaged" : "");
        CHECK_INT(c.video[v].faces_found, fake ? 0 : 4);
        CHECK(c.first_entry[v + 1] - c.first_entry[v] >= 3);
        for (int64_t i = c.first_entry[v]; i < c.first_entry[v + 1]; i++) {
            const um_store_entry *e = &c.entry[i];
            uint8_t bytes[1024], wanted[1024];
            CHECK_INT(e->video, v);
            CHECK(e->probability == 0.99f && e->box[2] == e->box[0] + 50); /* a fake's too: its original's */
            CHECK_INT(e->mask.shard >= 0, fake);
            CHECK_INT(e->changed_px, fake ? 9 : 0);
            uint64_t seed = um_hash64(c.manifest.video[v].id, &(int[3]){UM_STAGE_CROPS, (int)(e->frame / 10), e->face}, 12);
            CHECK_INT(e->image.bytes, world_picture(seed, 3, wanted));
            CHECK_OK(um_store_read(&c, &e->image, bytes));
            CHECK(memcmp(bytes, wanted, e->image.bytes) == 0);
        }
    }
    um_store_content_release(&c);
}

static void other_orders(void)
{
    /* Small seals; other ranks and units in other runs; stage after stage: the content is the same. */
    CHECK_OK(run(dir_of("b"), 0, 0, N_UNITS, ALL, &often));
    CHECK_INT(sum_of(dir_of("b")), want);
    CHECK_OK(run(dir_of("c"), 3, 5, N_UNITS, ALL, &often));
    CHECK_OK(run(dir_of("c"), 1, 0, 5, ALL, &never));
    CHECK_INT(sum_of(dir_of("c")), want);
    for (unsigned s = 0; s < UM_STAGES; s++) CHECK_OK(run(dir_of("d"), 0, 0, N_UNITS, 1u << s, &often));
    CHECK_INT(sum_of(dir_of("d")), want);
    /* Two runs did the same units: they count once. */
    CHECK_OK(run(dir_of("d"), 0, 2, 7, ALL, &often));
    CHECK_INT(sum_of(dir_of("d")), want);
}

static void states(void)
{
    const char *dir = dir_of("e");
    um_store *s;
    um_store_writer *w;
    um_store_state state[N_UNITS];
    CHECK_OK(um_store_open(um_vfs_real(), dir, WORLD_CONFIG, false, &s));
    CHECK_OK(um_store_writer_open(s, 0, &never, &w));
    CHECK_OK(world_unit(w, &m, 0, 1u << UM_STAGE_DETECT));
    CHECK_OK(um_store_load_states(um_vfs_real(), dir, &m, state));
    CHECK_INT(state[0].stages, 0); /* not sealed: not acknowledged */
    CHECK_INT(state[0].attempts.starts, 0); /* but ended */
    CHECK_OK(um_store_seal(w));
    CHECK_OK(world_unit(w, &m, 1, ALL));
    CHECK_OK(um_store_begin(w, m.unit[2].key));
    CHECK_OK(um_store_load_states(um_vfs_real(), dir, &m, state));
    CHECK_INT(state[0].stages, 1u << UM_STAGE_DETECT);
    CHECK_INT(state[1].stages, 0);
    CHECK_INT(state[2].attempts.starts, 1);
    CHECK_INT(state[2].attempts.strikes, 0);
    um_store_last_words(11);
    um_store_last_words(11); /* only once */
    CHECK_OK(um_store_load_states(um_vfs_real(), dir, &m, state));
    CHECK_INT(state[2].attempts.strikes, 1);
    CHECK_INT(state[2].attempts.strike_signal, 11);
    um_store_abort(w);
    CHECK_OK(um_store_writer_close(w, NULL));
    um_store_last_words(11); /* nobody is there any more */
    CHECK_OK(um_store_load_states(um_vfs_real(), dir, &m, state));
    CHECK_INT(state[1].stages, ALL);
    CHECK_INT(state[2].stages, 0);
    CHECK_INT(state[2].attempts.starts, 0);
    CHECK_INT(state[2].attempts.strikes, 1);

    /* A rank without work leaves no file. */
    CHECK_OK(um_store_writer_open(s, 7, &never, &w));
    CHECK_OK(um_store_writer_close(w, NULL));
    um_names names;
    CHECK_OK(um_vfs_list(um_vfs_real(), dir_of("e/journal"), &names));
    CHECK_INT(names.n, 1);
    um_names_release(&names);
    um_store_close(s);
}

static void configurations(void)
{
    const char *dir = dir_of("e");
    um_store *s;
    um_store_content c;
    CHECK_INT(um_store_open(um_vfs_real(), dir, "{\"crop-format\": \"png\", \"frames\": \"every:10:320\"}", false, &s), UM_CONFIG);
    CHECK(strstr(um_err_text(), "crop-format = 'raw', not 'png'") != NULL && strstr(um_err_text(), "--fresh") != NULL);
    CHECK_INT(um_store_open(um_vfs_real(), dir, "{\"crop-format\": \"raw\"}", false, &s), UM_CONFIG);
    CHECK(strstr(um_err_text(), "with frames = ") != NULL);
    CHECK_INT(um_store_open(um_vfs_real(), dir, "{\"a\": \"\", \"crop-format\": \"raw\", \"frames\": \"every:10:320\"}", false, &s), UM_CONFIG);
    CHECK(strstr(um_err_text(), "without a") != NULL);
    CHECK_INT(um_store_load(um_vfs_real(), dir_of("nowhere"), true, &c), UM_MISSING);

    /* --fresh removes ours and nothing else. */
    world_file(dir, "notes.txt", "mine");
    world_file(dir_of("e/shards"), "notes.txt", "mine");
    CHECK_OK(um_store_open(um_vfs_real(), dir, "{\"crop-format\": \"png\"}", true, &s));
    um_store_close(s);
    um_names names;
    CHECK_OK(um_vfs_list(um_vfs_real(), dir, &names));
    CHECK_INT(names.n, 4);
    um_names_release(&names);
    CHECK_OK(um_vfs_list(um_vfs_real(), dir_of("e/shards"), &names));
    CHECK_INT(names.n, 1);
    um_names_release(&names);
    CHECK_OK(um_vfs_list(um_vfs_real(), dir_of("e/journal"), &names));
    CHECK_INT(names.n, 0);
    um_names_release(&names);
}

/* A unit done twice with different results is told, by name. */
static void disagreement(void)
{
    const char *dir = dir_of("f");
    um_store *s;
    um_store_writer *w;
    um_store_content c;
    CHECK_OK(run(dir, 0, 0, N_UNITS, 1u << UM_STAGE_DETECT, &never));
    CHECK_OK(um_store_open(um_vfs_real(), dir, WORLD_CONFIG, false, &s));
    CHECK_OK(um_store_writer_open(s, 0, &never, &w));
    CHECK_OK(um_store_begin(w, m.unit[4].key));
    CHECK_OK(um_store_add_video(w, UM_STAGE_DETECT, &(um_store_video){.video = m.video[m.unit_video[m.unit[4].first]].id, .status = UM_CORRUPT}, "damaged"));
    CHECK_OK(um_store_end(w, 1u << UM_STAGE_DETECT));
    CHECK_OK(um_store_writer_close(w, NULL));
    um_store_close(s);
    CHECK_INT(um_store_load(um_vfs_real(), dir, true, &c), UM_DATA);
    CHECK(strstr(um_err_text(), "dfdc_train_part_7/o0004.mp4") != NULL);
    CHECK_OK(um_store_load(um_vfs_real(), dir, false, &c));
    um_store_content_release(&c);
}

/* A run in which the decoder of unit 5's original (2 fakes) met a limit of the machine, as preprocess writes it. */
static void weak_run(const char *dir, um_status status)
{
    const um_manifest_unit *u = &m.unit[5];
    um_store *s;
    um_store_writer *w;
    CHECK_INT(u->n, 3);
    CHECK_OK(um_store_open(um_vfs_real(), dir, WORLD_CONFIG, false, &s));
    CHECK_OK(um_store_set_manifest(s, &m));
    CHECK_OK(um_store_writer_open(s, 1, &never, &w));
    CHECK_OK(um_store_begin(w, u->key));
    CHECK_OK(um_store_add_video(w, UM_STAGE_DETECT, &(um_store_video){.video = m.video[m.unit_video[u->first]].id, .status = status, .n_frames = -1}, "at a limit"));
    for (int k = 1; k < u->n; k++)
        CHECK_OK(um_store_add_video(w, UM_STAGE_CROPS, &(um_store_video){.video = m.video[m.unit_video[u->first + k]].id, .status = UM_NO_ORIGINAL, .n_frames = -1}, "its original is at a limit"));
    CHECK_OK(um_store_end(w, ALL));
    CHECK_OK(um_store_writer_close(w, NULL));
    um_store_close(s);
}

/* What depends on the machine yields to what does not, whole and whichever came first; alone it stays. */
static void yielding(void)
{
    static const um_status weak[3] = {UM_TIMEOUT, UM_CRASH, UM_OOM};
    um_store_content c;
    char name[16];
    for (int i = 0; i < 8; i++) { /* names of runs are drawn by lot: both orders come up */
        snprintf(name, sizeof name, "yield%d", i);
        if (i % 2 == 0) CHECK_OK(run(dir_of(name), 0, 0, N_UNITS, ALL, &often));
        weak_run(dir_of(name), weak[i % 3]);
        if (i % 2 == 1) CHECK_OK(run(dir_of(name), 0, 0, N_UNITS, ALL, &never));
        if (i > 4) weak_run(dir_of(name), weak[(i + 1) % 3]);
        CHECK_INT(sum_of(dir_of(name)), want);
    }
    /* Two weak ones: one of them, whole. */
    weak_run(dir_of("weak"), UM_TIMEOUT);
    weak_run(dir_of("weak"), UM_OOM);
    CHECK_OK(um_store_load(um_vfs_real(), dir_of("weak"), true, &c));
    int v = m.unit_video[m.unit[5].first];
    CHECK(c.video[v].status == UM_TIMEOUT || c.video[v].status == UM_OOM);
    CHECK_INT(c.video[m.unit_video[m.unit[5].first + 1]].status, UM_NO_ORIGINAL);
    CHECK_INT(c.n_entries, 0);
    um_store_content_release(&c);
    /* A good search alone does not make the fakes' rows of the weak one good. */
    weak_run(dir_of("half"), UM_TIMEOUT);
    CHECK_OK(run(dir_of("half"), 0, 5, 6, 1u << UM_STAGE_DETECT, &never));
    CHECK_INT(um_store_load(um_vfs_real(), dir_of("half"), true, &c), UM_DATA);
    CHECK_OK(run(dir_of("half"), 0, 5, 6, ALL & ~(1u << UM_STAGE_DETECT), &never));
    CHECK_OK(um_store_load(um_vfs_real(), dir_of("half"), true, &c));
    CHECK(c.n_entries > 0);
    um_store_content_release(&c);
}

/* The digest tells every kind of content apart, and nothing else. */
static void digests(void)
{
    um_store_content c;
    char is[65];
    CHECK_OK(um_store_load(um_vfs_real(), dir_of("a"), true, &c));
#define CHANGES(field, value)                     \
    do {                                          \
        __typeof__(field) had_ = (field);         \
        (field) = (value);                        \
        CHECK_OK(um_store_digest(&c, is));        \
        CHECK(strcmp(is, digest) != 0);           \
        (field) = had_;                           \
    } while (0)
    CHANGES(c.video[1].status, UM_CORRUPT);
    CHANGES(c.video[2].fps, 30);
    CHANGES(c.manifest.video[3].label, UM_LABEL_UNKNOWN);
    CHANGES(c.entry[5].box[2], 1);
    CHANGES(c.entry[5].point[4][1], 77);
    CHANGES(c.entry[5].image, c.entry[6].image);
    CHANGES(c.entry[5].time_s, 1e-9);
    CHANGES(c.entry[5].rect[0], 1000);
    c.manifest.video[0].mtime_ns++;
    CHECK_OK(um_store_digest(&c, is));
    CHECK_STR(is, digest);
    um_store_content_release(&c);
}

/* A shard that is removed costs its units, nothing else. */
static void removed_shard(void)
{
    const char *dir = dir_of("b");
    um_names names;
    char path[PATH_MAX];
    um_store_state state[N_UNITS];
    int done = 0;
    CHECK_OK(um_vfs_list(um_vfs_real(), dir_of("b/shards"), &names));
    world_path(path, dir_of("b/shards"), names.name[0]);
    CHECK(unlink(path) == 0);
    um_names_release(&names);
    CHECK_OK(um_store_load_states(um_vfs_real(), dir, &m, state));
    for (int u = 0; u < N_UNITS; u++) done += state[u].stages == ALL;
    CHECK(done > 0 && done < N_UNITS);
    for (int u = 0; u < N_UNITS; u++)
        if (state[u].stages != ALL) CHECK_OK(run(dir, 1, u, u + 1, ALL & ~state[u].stages, &never));
    CHECK_INT(sum_of(dir), want);
}

/* Several processes open a new store and do overlapping units at once. */
static void together(void)
{
    enum { N = 6 };
    const char *dir = dir_of("g");
    pid_t child[N];
    for (int i = 0; i < N; i++) {
        child[i] = fork();
        if (child[i] == 0) {
            um_status st = run(dir, i, i, i + 7 < N_UNITS ? i + 7 : N_UNITS, ALL, &often);
            if (st != UM_OK) fprintf(stderr, "process %d: %s\n", i, um_err_text());
            _exit(st != UM_OK);
        }
    }
    for (int i = 0; i < N; i++) {
        int status = 1;
        CHECK(waitpid(child[i], &status, 0) == child[i] && status == 0);
    }
    CHECK_INT(sum_of(dir), want);
    um_names names;
    CHECK_OK(um_vfs_list(um_vfs_real(), dir, &names));
    CHECK_INT(names.n, 4); /* config, manifest, journal, shards: no temporary file stays */
    um_names_release(&names);
}

int main(void)
{
    base = world_dir();
    world_path(root, base, "data");
    world_root(root, N_UNITS);
    CHECK_OK(um_manifest_scan(root, 0, &m));
    CHECK_INT(m.n_units, N_UNITS);
    CHECK_INT(m.n_videos, 2 * N_UNITS);
    if (m.n_units == N_UNITS) {
        round_trip();
        digests();
        other_orders();
        states();
        configurations();
        disagreement();
        yielding();
        removed_shard();
        together();
    }
    um_manifest_release(&m);
    world_remove(base);
    free(base);
    return TEST_END();
}
