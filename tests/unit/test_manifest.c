#include "io/vfs.h"
#include "store_world.h"

#include <errno.h>
#include <limits.h>

static char *base;

static void part(const char *root, const char *name, const char *metadata)
{
    char path[4096];
    mkdir(root, 0777);
    world_path(path, root, name);
    CHECK(mkdir(path, 0777) == 0);
    if (metadata != NULL) world_file(path, "metadata.json", metadata);
}

static void touch(const char *root, const char *name) { world_file(root, name, "video"); }

static const um_manifest_video *video(const um_manifest *m, const char *path)
{
    for (int i = 0; i < m->n_videos; i++)
        if (strcmp(m->video[i].path, path) == 0) return &m->video[i];
    fprintf(stderr, "no video %s\n", path);
    exit(1);
}

static void check_video(const um_manifest *m, const char *path, um_status status, const char *text, int line)
{
    const um_manifest_video *v = video(m, path);
    if (v->status == status && strstr(v->message, text) != NULL && (v->unit >= 0) == (status == UM_PENDING)) return;
    fprintf(stderr, "line %d: %s: %s, unit %d: %s\n", line, path, um_status_name(v->status), v->unit, v->message);
    test_failures++;
}
#define CHECK_VIDEO(path, status, text) check_video(&m, (path), (status), (text), __LINE__)

static void same(const um_manifest *a, const um_manifest *b)
{
    CHECK_STR(a->root, b->root);
    CHECK_INT(a->n_videos, b->n_videos);
    CHECK_INT(a->n_units, b->n_units);
    CHECK_INT(a->n_parts, b->n_parts);
    CHECK_INT(a->n_other_files, b->n_other_files);
    CHECK_INT(a->n_other_folders, b->n_other_folders);
    CHECK_INT(a->n_units_found, b->n_units_found);
    if (a->n_videos != b->n_videos || a->n_units != b->n_units) return;
    int wrong = 0;
    for (int i = 0; i < a->n_videos; i++) {
        const um_manifest_video *x = &a->video[i], *y = &b->video[i];
        wrong += x->id != y->id || strcmp(x->path, y->path) != 0 || x->part != y->part || x->label != y->label || x->original != y->original || x->unit != y->unit ||
                 strcmp(x->original_name, y->original_name) != 0 || x->size_bytes != y->size_bytes || x->mtime_ns != y->mtime_ns || x->status != y->status ||
                 strcmp(x->message, y->message) != 0;
    }
    CHECK_INT(wrong, 0);
    CHECK(a->n_units == 0 || memcmp(a->unit, b->unit, (size_t)a->n_units * sizeof *a->unit) == 0);
    int in_units = a->n_units > 0 ? a->unit[a->n_units - 1].first + a->unit[a->n_units - 1].n : 0;
    CHECK(in_units == 0 || memcmp(a->unit_video, b->unit_video, (size_t)in_units * sizeof(int)) == 0);
}

static void round_trip(const um_manifest *m)
{
    um_buf text = {0};
    um_manifest back;
    CHECK_OK(um_manifest_write(m, &text));
    CHECK_OK(um_manifest_parse((char *)text.data, text.len, &back));
    same(m, &back);
    um_manifest_release(&back);
    um_buf_release(&text);
}

static void every_status(void)
{
    char root[4096], a[4096], b[4096], path[4096];
    um_manifest m;
    world_path(root, base, "statuses");
    part(root, "dfdc_train_part_0",
         "{\"o.mp4\": {\"label\": \"REAL\", \"split\": \"train\"},"
         " \"alone.mp4\": {\"label\": \"REAL\", \"original\": null},"
         " \"f2.mp4\": {\"label\": \"FAKE\", \"original\": \"o.mp4\"},"
         " \"f1.mp4\": {\"label\": \"FAKE\", \"original\": \"o.mp4\"},"
         " \"gone.mp4\": {\"label\": \"REAL\"},"
         " \"orphan.mp4\": {\"label\": \"FAKE\", \"original\": \"gone.mp4\"},"
         " \"nobody.mp4\": {\"label\": \"FAKE\", \"original\": \"unlisted.mp4\"},"
         " \"none.mp4\": {\"label\": \"FAKE\"},"
         " \"self.mp4\": {\"label\": \"FAKE\", \"original\": \"self.mp4\"},"
         " \"second.mp4\": {\"label\": \"FAKE\", \"original\": \"f1.mp4\"},"
         " \"elsewhere.mp4\": {\"label\": \"FAKE\", \"original\": \"only.mp4\"},"
         " \"ambiguous.mp4\": {\"label\": \"FAKE\", \"original\": \"twice.mp4\"},"
         " \"folder.mp4\": {\"label\": \"REAL\"}, \"pipe.mp4\": {\"label\": \"REAL\"}, \"loop.mp4\": {\"label\": \"REAL\"}, \"link.mp4\": {\"label\": \"REAL\"}, \"dangling.mp4\": {\"label\": \"REAL\"},"
         " \"../escape.mp4\": {\"label\": \"REAL\"}, \"..\": {\"label\": \"REAL\"}, \"\": {\"label\": \"REAL\"},"
         " \"label.mp4\": {\"label\": \"real\"}, \"nolabel.mp4\": {}, \"number.mp4\": {\"label\": 7}, \"text.mp4\": \"REAL\","
         " \"wrong.mp4\": {\"label\": \"FAKE\", \"original\": [\"o.mp4\"]}}");
    part(root, "dfdc_train_part_1", "{\"only.mp4\": {\"label\": \"REAL\"}, \"twice.mp4\": {\"label\": \"REAL\"}, \"o.mp4\": {\"label\": \"REAL\"}}");
    part(root, "dfdc_train_part_2", "{\"twice.mp4\": {\"label\": \"REAL\"}}");
    part(root, "dfdc_train_part_3", NULL);
    part(root, "dfdc_train_part_4", "{\"x.mp4\": {\"label\": \"REAL\"}");
    part(root, "dfdc_train_part_5", "[1]");
    part(root, "dfdc_train_part_6", "{\"x.mp4\": {\"label\": \"REAL\"}, \"x.mp4\": {\"label\": \"FAKE\"}}");
    part(root, "other", NULL);
    part(root, "dfdc_train_part_x", NULL);
    world_path(a, root, "dfdc_train_part_0");
    world_path(path, root, "dfdc_train_part_9");
    CHECK(symlink("dfdc_train_part_0", path) == 0);
    const char *there[] = {"o.mp4", "alone.mp4", "f1.mp4", "f2.mp4", "orphan.mp4", "nobody.mp4", "none.mp4", "self.mp4", "second.mp4", "elsewhere.mp4", "ambiguous.mp4", "unlisted.mp4",
                           "label.mp4", "nolabel.mp4", "number.mp4", "text.mp4", "wrong.mp4", "notes.txt", "UPPER.MOV", ".mp4"};
    for (size_t i = 0; i < sizeof there / sizeof there[0]; i++) touch(a, there[i]);
    world_path(path, a, "folder.mp4");
    CHECK(mkdir(path, 0777) == 0);
    world_path(path, a, "pipe.mp4");
    CHECK(mkfifo(path, 0666) == 0);
    world_path(path, a, "loop.mp4");
    CHECK(symlink("loop.mp4", path) == 0);
    world_path(path, a, "link.mp4");
    CHECK(symlink("o.mp4", path) == 0);
    world_path(path, a, "dangling.mp4");
    CHECK(symlink("not there", path) == 0);
    for (int i = 1; i < 7; i++) {
        char name[64];
        snprintf(name, sizeof name, "dfdc_train_part_%d", i);
        world_path(b, root, name);
        touch(b, "only.mp4");
        touch(b, "twice.mp4");
    }
    world_path(b, root, "dfdc_train_part_1");
    touch(b, "o.mp4");

    CHECK_OK(um_manifest_scan(root, 0, &m));
    CHECK_INT(m.n_parts, 7);
    CHECK_INT(m.n_other_folders, 3);
    CHECK_INT(m.n_other_files, 2);
#define P "dfdc_train_part_0/"
    CHECK_VIDEO(P "o.mp4", UM_PENDING, "");
    CHECK_VIDEO(P "alone.mp4", UM_PENDING, "");
    CHECK_VIDEO(P "f1.mp4", UM_PENDING, "");
    CHECK_VIDEO(P "link.mp4", UM_PENDING, "");
    CHECK_VIDEO(P "elsewhere.mp4", UM_PENDING, "");
    CHECK_VIDEO(P "gone.mp4", UM_MISSING, "No such file");
    CHECK_VIDEO(P "dangling.mp4", UM_MISSING, "No such file");
    CHECK_VIDEO(P "orphan.mp4", UM_NO_ORIGINAL, "'gone.mp4' cannot be used: listed, but not there");
    CHECK_VIDEO(P "nobody.mp4", UM_NO_ORIGINAL, "'unlisted.mp4' is not listed");
    CHECK_VIDEO(P "none.mp4", UM_NO_ORIGINAL, "names no original");
    CHECK_VIDEO(P "self.mp4", UM_NO_ORIGINAL, "itself");
    CHECK_VIDEO(P "second.mp4", UM_NO_ORIGINAL, "fake itself");
    CHECK_VIDEO(P "ambiguous.mp4", UM_NO_ORIGINAL, "several");
    CHECK_VIDEO(P "folder.mp4", UM_UNREADABLE, "regular");
    CHECK_VIDEO(P "pipe.mp4", UM_UNREADABLE, "regular");
    CHECK_VIDEO(P "loop.mp4", UM_UNREADABLE, "symbolic links");
    CHECK_VIDEO(P "unlisted.mp4", UM_NO_METADATA, "does not list it");
    CHECK_VIDEO(P "UPPER.MOV", UM_NO_METADATA, "does not list it");
    CHECK_VIDEO(P "../escape.mp4", UM_NO_METADATA, "not a file name");
    CHECK_VIDEO(P "..", UM_NO_METADATA, "not a file name");
    CHECK_VIDEO(P, UM_NO_METADATA, "not a file name");
    CHECK_VIDEO(P "label.mp4", UM_NO_METADATA, "'real' is neither");
    CHECK_VIDEO(P "nolabel.mp4", UM_NO_METADATA, "no label");
    CHECK_VIDEO(P "number.mp4", UM_NO_METADATA, "no label");
    CHECK_VIDEO(P "text.mp4", UM_NO_METADATA, "not an object");
    CHECK_VIDEO(P "wrong.mp4", UM_NO_METADATA, "not a name");
    CHECK_VIDEO("dfdc_train_part_3/only.mp4", UM_NO_METADATA, "has no metadata.json");
    CHECK_VIDEO("dfdc_train_part_4/only.mp4", UM_NO_METADATA, "damaged: line 1");
    CHECK_VIDEO("dfdc_train_part_5/only.mp4", UM_NO_METADATA, "not a JSON object");
    CHECK_VIDEO("dfdc_train_part_6/only.mp4", UM_NO_METADATA, "duplicate");
    /* The part's own original comes first; the unit has its fakes by path. */
    const um_manifest_video *o = video(&m, P "o.mp4"), *f1 = video(&m, P "f1.mp4");
    const um_manifest_unit *u = &m.unit[o->unit];
    CHECK_INT(u->n, 3);
    CHECK(&m.video[f1->original] == o);
    CHECK(m.unit_video[u->first] == o - m.video && m.unit_video[u->first + 1] == f1 - m.video);
    CHECK_INT(u->cost, 5 * 3); /* "video" three times */
    CHECK_STR(m.video[video(&m, P "elsewhere.mp4")->original].path, "dfdc_train_part_1/only.mp4");
    CHECK_INT(video(&m, "dfdc_train_part_1/only.mp4")->part, 1);
    for (int i = 1; i < m.n_videos; i++) CHECK(strcmp(m.video[i - 1].path, m.video[i].path) < 0);
    CHECK_INT(um_manifest_find(&m, P "f1.mp4"), f1 - m.video);
    CHECK_INT(um_manifest_find(&m, "f1"), f1 - m.video);
    CHECK_INT(um_manifest_find(&m, "f1.mp4"), f1 - m.video);
    CHECK_INT(um_manifest_find(&m, "o"), -2);
    CHECK_INT(um_manifest_find(&m, "nowhere"), -1);
    round_trip(&m);

    /* --limit keeps units and all that is in none. */
    um_manifest few;
    CHECK_OK(um_manifest_scan(root, 2, &few));
    CHECK_INT(few.n_units, 2);
    CHECK_INT(few.n_units_found, m.n_units);
    for (int i = 0; i < 2; i++) CHECK(few.unit[i].key == m.unit[i].key);
    int rest = 0, none = 0;
    for (int i = 0; i < m.n_videos; i++) none += m.video[i].unit < 0;
    for (int i = 0; i < few.n_videos; i++) rest += few.video[i].unit < 0;
    CHECK_INT(rest, none);
    CHECK_INT(few.n_videos, none + few.unit[0].n + few.unit[1].n);
    round_trip(&few);
    um_manifest_release(&few);

    /* Another size or time is another unit of work. */
    uint64_t key = u->key;
    world_path(path, a, "f1.mp4");
    world_file(a, "f1.mp4", "longer than before");
    um_manifest changed;
    CHECK_OK(um_manifest_scan(root, 0, &changed));
    CHECK(changed.unit[video(&changed, P "o.mp4")->unit].key != key);
    um_manifest_release(&changed);
    um_manifest_release(&m);
}

static void roots(void)
{
    char root[4096], sub[4096];
    um_manifest m;
    world_path(root, base, "nothing");
    CHECK_INT(um_manifest_scan(root, 0, &m), UM_IO);
    CHECK(mkdir(root, 0777) == 0);
    CHECK_INT(um_manifest_scan(root, 0, &m), UM_DATA);
    CHECK(strstr(um_err_text(), "dfdc_train_part_0") != NULL);
    world_path(root, base, "one");
    part(root, "my_dfdc_3", "{\"o.mp4\": {\"label\": \"REAL\"}}");
    world_path(sub, root, "my_dfdc_3");
    touch(sub, "o.mp4");
    CHECK_OK(um_manifest_scan(sub, 0, &m)); /* the part itself as the root */
    CHECK_INT(m.n_units, 1);
    if (m.n_videos == 1) CHECK_STR(m.video[0].path, "o.mp4");
    if (m.n_videos == 1) CHECK_INT(m.video[0].part, 3);
    um_manifest_release(&m);
}

/* Names are bytes: newlines, quotes, backslashes and bytes that are not UTF-8, listed raw, as Python writes them, or not at all. */
static void odd_names(void)
{
    char root[4096], dir[4096];
    um_manifest m;
    world_path(root, base, "odd");
    part(root, "dfdc_0",
         "{\"new\\nline.mp4\": {\"label\": \"REAL\"}, \"quo\\\"te,.mp4\": {\"label\": \"REAL\"}, \"back\\\\slash.mp4\": {\"label\": \"REAL\"}, \"py\\udcff.mp4\": {\"label\": \"REAL\"},"
         " \"raw\xfe.mp4\": {\"label\": \"REAL\"}, \"f.mp4\": {\"label\": \"FAKE\", \"original\": \"py\\udcff.mp4\"}, \"\\ud83d\\ude00.mp4\": {\"label\": \"REAL\"}, \"\\u00e9.mp4\": {\"label\": \"REAL\"}}");
    world_path(dir, root, "dfdc_0");
    const char *names[] = {"new\nline.mp4", "quo\"te,.mp4", "back\\slash.mp4", "py\xff.mp4", "raw\xfe.mp4", "f.mp4", "\xf0\x9f\x98\x80.mp4", "\xc3\xa9.mp4"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) touch(dir, names[i]);
    touch(dir, "un\x80listed\\.mp4");
    CHECK_OK(um_manifest_scan(root, 0, &m));
    CHECK_INT(m.n_videos, 9);
    CHECK_INT(m.n_units, 7);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        world_path(dir, "dfdc_0", names[i]);
        CHECK_VIDEO(dir, UM_PENDING, "");
    }
    CHECK_VIDEO("dfdc_0/un\x80listed\\.mp4", UM_NO_METADATA, "");
    round_trip(&m);
    um_manifest_release(&m);
}

/* Damage to the text is always told, and hundred thousand names come back. */
static void many(void)
{
    enum { N = 100000 };
    um_manifest m = {.n_parts = 50, .n_other_files = 3};
    um_buf text = {0};
    m.root = strdup("/data/dfdc");
    m.video = calloc(N, sizeof *m.video);
    m.n_videos = m.n_units = N;
    for (int i = 0; i < N; i++) {
        um_manifest_video *v = &m.video[i];
        if (asprintf(&v->path, "dfdc_train_part_%d/%05d%s.mp4", i / 2000 + 10, i, i % 7 == 0 ? "\xff\n" : "") < 0) exit(1);
        v->part = i / 2000 + 10;
        v->label = i % 5 == 0 ? UM_LABEL_REAL : UM_LABEL_FAKE;
        v->original = i % 5 == 0 ? -1 : i - i % 5;
        v->unit = i / 5;
        v->size_bytes = 4000000 + i;
        v->mtime_ns = INT64_C(1575900000000000000) + i;
        v->original_name = strdup("x\"y");
        v->message = strdup("");
        v->status = UM_PENDING;
    }
    m.n_units = N / 5;
    m.n_units_found = N / 5;
    CHECK_OK(um_manifest_write(&m, &text));
    um_manifest back, again;
    CHECK_OK(um_manifest_parse((char *)text.data, text.len, &back));
    CHECK_INT(back.n_videos, N);
    CHECK_INT(back.unit[1].n, 5);
    um_buf second = {0};
    CHECK_OK(um_manifest_write(&back, &second));
    CHECK(second.len == text.len && memcmp(second.data, text.data, text.len) == 0);
    um_buf_release(&second);

    int wrong = 0;
    back.n_videos = 20; /* a short one for the damage */
    back.n_units = 4;
    um_buf few = {0};
    CHECK_OK(um_manifest_write(&back, &few));
    back.n_videos = N;
    uint8_t *copy = malloc(few.len + 1);
    for (size_t bit = 0; bit < few.len * 8; bit++) {
        memcpy(copy, few.data, few.len + 1);
        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        um_status st = um_manifest_parse((char *)copy, few.len, &again);
        if (st != UM_DATA) wrong++;
        um_manifest_release(&again);
    }
    for (size_t n = 0; n < few.len; n++) wrong += um_manifest_parse((char *)few.data, n, &again) != UM_DATA;
    CHECK_INT(wrong, 0);
    free(copy);
    um_buf_release(&few);
    um_buf_release(&text);
    um_manifest_release(&back);
    um_manifest_release(&m);
}

int main(void)
{
    base = world_dir();
    roots();
    every_status();
    odd_names();
    many();
    world_remove(base);
    free(base);
    return TEST_END();
}
