#pragma once
/* score_world.h: a folder of inputs and a scoring run over it without scoring: what a row holds is a pure function of its input, so any run must end with the same files. */
#include "io/score_journal.h"
#include "jobs/output.h"
#include "jobs/score_files.h"
#include "store_world.h"

#define SCORE_CONFIG "{\"frames\": \"spread:32\", \"pool\": \"persons\"}"
static const char *const score_models[] = {"one", "two"};

/* n videos, names that need care among them; the last is a link that leads nowhere. */
__attribute__((unused)) static void score_inputs(const char *folder, int n)
{
    char name[64];
    CHECK(mkdir(folder, 0777) == 0);
    for (int i = 0; i < n - 1; i++) {
        snprintf(name, sizeof name, i == 1 ? "comma,\"%d\"\n.mp4" : i == 2 ? "\xff\xfe%d.mkv" : "v%d.mp4", i);
        world_file(folder, name, i % 3 == 0 ? "x" : "yy");
    }
    char link[4096];
    world_path(link, folder, "gone.avi");
    CHECK(symlink("nowhere", link) == 0);
}

__attribute__((unused)) static um_status score_listing(const char *folder, const char *config, um_score_manifest *m)
{
    return um_score_manifest_list(&folder, 1, NULL, 0, 0, config, score_models, 2, m);
}

/* The row of the input with this key; `other` makes another one of it. */
__attribute__((unused)) static void score_row(uint64_t key, bool other, um_score_row *row)
{
    static double model_score[2], person_score[2];
    static float face_score[2];
    static um_score_person person;
    static um_score_face face;
    model_score[0] = (double)(key >> 11) / 9007199254740992.0;
    model_score[1] = 1 / (1 + (double)(key % 1000));
    person_score[0] = model_score[1];
    person_score[1] = NAN;
    face_score[0] = (float)model_score[0];
    face_score[1] = 0.1f;
    person = (um_score_person){.track = 3, .start_s = 0.1, .end_s = 1e-300, .n_faces = 9, .score = model_score[0], .model_score = person_score, .best_frame = {7, -1, -1}};
    face = (um_score_face){.frame = INT64_MAX, .time_s = 1.0 / 3, .box = {-0.0f, 1e-30f, 3.4e38f, 0.3f}, .probability = 0.99999994f, .window = 1, .track = -1, .score = face_score};
    *row = (um_score_row){.status = UM_PARTIAL, .verdict = UM_VERDICT_FAKE, .score = model_score[0] / 3, .frames_wanted = 32, .frames_decoded = other ? 30 : 31, .frames_with_faces = 9, .n_persons = 1, .start_s = 0.1,
                          .end_s = 1e-300, .n_models = 2, .model_score = model_score, .person = &person, .face = &face, .n_faces = 1};
    snprintf(row->message, sizeof row->message, "one \"frame\" is\nmissing");
}

static um_status score_sink(void *user, um_buf *text) { return um_output_add(user, text); }

/* A run of one rank over `inputs` with results DIR/x: at most `most` rows, then, when all are there, the files. after: called after each row, which is durable then. */
__attribute__((unused)) static um_status score_run(um_vfs *vfs, const char *inputs, const char *dir, int most, bool fresh, void (*after)(void *), void *user)
{
    char path[4096], details[4096];
    um_score_files f;
    um_score_manifest m;
    um_score_results r = {0};
    um_score_journal *j = NULL;
    um_score_counts c;
    um_output out;
    um_score_row row;
    um_score_limits limits = {after != NULL ? 1 : 3, 1000};
    world_path(path, dir, "x");
    world_path(details, dir, "x.jsonl");
    UM_PASS(um_score_files_init(vfs, path, &f));
    um_status st = score_listing(inputs, SCORE_CONFIG, &m);
    UM_GOTO_PASS(st, st);
    UM_GOTO_PASS(st, um_score_files_begin(&f, fresh, false, &m));
    UM_GOTO_PASS(st, um_score_results_read(vfs, f.journal, &m, NAN, &r));
    UM_GOTO_PASS(st, um_score_journal_open(vfs, f.journal, 0, um_score_manifest_config_key(&m), &limits, &j));
    for (int64_t i = 0; i < m.n && most > 0; i++) {
        if (r.row[i].done) continue;
        score_row(m.input[i].key, false, &row);
        UM_GOTO_PASS(st, um_score_journal_begin(j, m.input[i].key, false));
        UM_GOTO_PASS(st, um_score_journal_done(j, &row));
        if (after != NULL) after(user);
        most--;
    }
    st = um_score_journal_close(j);
    j = NULL;
    um_score_results_release(&r);
    UM_GOTO_PASS(st, st);
    UM_GOTO_PASS(st, um_score_results_read(vfs, f.journal, &m, NAN, &r));
    um_score_count(&r, &c);
    if (c.left == 0) {
        UM_GOTO_PASS(st, um_output_open(vfs, path, &out));
        UM_GOTO_PASS(st, um_output_end(&out, um_score_results_csv(&r, score_sink, &out)));
        UM_GOTO_PASS(st, um_output_open(vfs, details, &out));
        UM_GOTO_PASS(st, um_output_end(&out, um_score_results_details(&r, score_sink, &out)));
    }
    st = um_score_files_status(&f, &r, &c);
done:
    (void)um_score_journal_close(j);
    um_score_results_release(&r);
    um_score_manifest_release(&m);
    um_score_files_release(&f);
    return st;
}

/* Checksum of DIR/name; 0 where it is not there. */
__attribute__((unused)) static uint32_t score_sum(const char *dir, const char *name)
{
    char path[4096];
    void *text;
    size_t n;
    world_path(path, dir, name);
    if (um_vfs_read_whole(um_vfs_real(), path, 1 << 24, &text, &n) != UM_OK) return 0;
    uint32_t sum = um_crc32c(1, text, n);
    free(text);
    return sum;
}
