/* The files of a scoring run: what the manifest refuses, what journals give back, what the merge depends on (nothing but both). */
#include "io/journal.h"
#include "io/sniff.h"
#include "score_world.h"

static char *base;

static void manifest(void)
{
    char in[4096], sub[4096], path[4096];
    um_score_manifest m, back, now;
    um_buf text = {0}, again = {0};
    world_path(in, base, "in");
    score_inputs(in, 7);
    world_path(sub, in, "sub");
    CHECK(mkdir(sub, 0777) == 0);
    world_file(sub, "video_without_name", "....ftypisom....");
    world_file(sub, "sound", "....ftypM4A ....");
    world_file(sub, "notes.txt", "text");
    world_file(sub, "v0.mp4", "not a video at all");

    /* Folders, a file twice, a list with names that are not there. */
    world_path(path, in, "v0.mp4");
    const char *paths[] = {in, path, "none.mp4"};
    CHECK_OK(um_score_manifest_list(paths, 3, "none.mp4\nlisted, \"too\".mp4\n\n", 28, 0, SCORE_CONFIG, score_models, 2, &m));
    CHECK_INT(m.n, 7 + 2 + 2);
    CHECK_INT(m.n_others, 2);
    CHECK_INT(m.n_twice, 2);
    for (int64_t i = 1; i < m.n; i++) CHECK(strcmp(m.input[i - 1].path, m.input[i].path) < 0);
    for (int64_t i = 0; i < m.n; i++) {
        bool missing = strstr(m.input[i].path, "gone.avi") != NULL || strstr(m.input[i].path, "none.mp4") != NULL || strstr(m.input[i].path, "listed") != NULL;
        CHECK_INT(m.input[i].status, missing ? UM_MISSING : UM_PENDING);
    }
    /* NUL-separated names may hold newlines. */
    CHECK_OK(um_score_manifest_list(NULL, 0, "a\nb.mp4\0c.mp4", 14, 0, SCORE_CONFIG, score_models, 2, &now));
    CHECK_INT(now.n, 2);
    CHECK_STR(now.input[0].path, "a\nb.mp4");
    um_score_manifest_release(&now);
    CHECK_OK(um_score_manifest_list(paths, 1, NULL, 0, 3, SCORE_CONFIG, score_models, 2, &now));
    CHECK_INT(now.n, 3);
    CHECK_OK(um_score_manifest_compare(&now, &now, ""));
    CHECK_INT(um_score_manifest_compare(&now, &m, "the remedy"), UM_DATA);
    CHECK(strstr(um_err_text(), "is new") != NULL && strstr(um_err_text(), "the remedy") != NULL);
    CHECK_INT(um_score_manifest_compare(&m, &now, ""), UM_DATA);
    CHECK(strstr(um_err_text(), "no longer") != NULL);
    um_score_manifest_release(&now);
    /* Two of one file name. */
    CHECK_INT(um_score_manifest_check_names(&m), UM_USAGE);
    CHECK(strstr(um_err_text(), "in/v0.mp4") != NULL && strstr(um_err_text(), "in/sub/v0.mp4") != NULL);

    /* As text and back; any damage is refused. */
    CHECK_OK(um_score_manifest_write(&m, &text));
    CHECK_OK(um_score_manifest_parse((char *)text.data, text.len, &back));
    CHECK_OK(um_score_manifest_compare(&m, &back, ""));
    CHECK_OK(um_score_manifest_write(&back, &again));
    CHECK(again.len == text.len && memcmp(again.data, text.data, text.len) == 0);
    CHECK(um_score_manifest_config_key(&m) == um_score_manifest_config_key(&back));
    um_score_manifest_release(&back);
    int accepted = 0;
    for (size_t i = 0; i < text.len * 8; i++) {
        text.data[i / 8] ^= (uint8_t)(1u << i % 8);
        accepted += um_score_manifest_parse((char *)text.data, text.len, &back) == UM_OK;
        text.data[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t n = 0; n < text.len; n++) {
        char *cut = strndup((char *)text.data, n);
        accepted += um_score_manifest_parse(cut, n, &back) == UM_OK;
        free(cut);
    }
    CHECK_INT(accepted, 0);
    um_score_manifest_release(&m);
    um_buf_release(&text);
    um_buf_release(&again);
}

static void sniffing(void)
{
#define IS(literal) um_sniff_is_video((const unsigned char *)literal, sizeof literal - 1)
    unsigned char ts[800] = {0};
    for (int i = 0; i < 800; i += 188) ts[i] = 0x47;
    CHECK(um_sniff_is_video(ts, sizeof ts));
    ts[188] = 0;
    CHECK(!um_sniff_is_video(ts, sizeof ts));
    memset(ts, 0, sizeof ts);
    for (int i = 4; i < 800; i += 192) ts[i] = 0x47;
    CHECK(um_sniff_is_video(ts, sizeof ts));
    CHECK(IS("\0\0\0\x20" "ftypisom....") && IS("\0\0\0\x08wide....mdat") && IS("\x1a\x45\xdf\xa3......webm") && IS("RIFF....AVI LIST") && IS("FLV\x01\x05..."));
    CHECK(IS("OggS.........\x80theora...") && IS("\0\0\x01\xba....") && IS("\x30\x26\xb2\x75\x8e\x66\xcf\x11....\xc0\xef\x19\xbc\x4d\x5b\xcf\x11"));
    CHECK(!IS("\0\0\0\x20" "ftypheic....") && !IS("\0\0\0\x20" "ftypM4A ....") && !IS("RIFF....WAVE") && !IS("FLV\x01\x04...") && !IS("OggS....vorbis") && !IS("") && !IS("#EXTM3U") && !IS("\x89PNG...."));
#undef IS
}

static void numbers(void)
{
    const double v[] = {0, -0.0, 0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, 0.5, 123456789012345678.0, -1e-7, INFINITY};
    um_buf b = {0};
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        double back;
        um_buf_clear(&b);
        CHECK_OK(um_buf_add_real(&b, v[i]));
        um_jsontext t = {(char *)b.data, (char *)b.data + b.len};
        CHECK(um_jsontext_real(&t, &back) && t.p == t.end && memcmp(&back, &v[i], 8) == 0);
    }
    um_buf_clear(&b);
    CHECK_OK(um_buf_add_real(&b, 0.1));
    CHECK_OK(um_buf_add_real32(&b, 0.1f));
    CHECK_OK(um_buf_add_real32(&b, NAN));
    CHECK_STR((char *)b.data, "0.10.1null");
    um_buf_release(&b);
}

/* A row as it comes from the journal: any bits of its numbers. */
static void rows(void)
{
    um_score_row row;
    um_score_summary s;
    um_buf b = {0}, scratch = {0};
    for (uint64_t key = 1; key != 0 && key < UINT64_MAX / 3; key = key * 3 + 1) {
        score_row(key, false, &row);
        um_buf_clear(&b);
        CHECK_OK(um_score_row_write(&row, &b));
        um_jsontext t = {(char *)b.data, (char *)b.data + b.len};
        CHECK(um_score_summary_read(&t, &scratch, &s));
        CHECK(memcmp(&s.score, &row.score, 8) == 0 && s.end_s == row.end_s && s.status == UM_PARTIAL && s.verdict == UM_VERDICT_FAKE && s.frames_decoded == 31 && s.n_persons == 1);
    }
    um_buf_release(&b);
    um_buf_release(&scratch);
}

typedef struct one {
    um_status status;
    uint64_t key, config;
    bool other, end;
} one;

/* Journals in memory, one after the other, each of `per` records. */
static um_status merge(const um_score_manifest *m, const one *x, int n, int per, um_score_results *r)
{
    um_buf text = {0};
    um_score_limits limits = {1, 1};
    um_score_journal *j = NULL;
    for (int i = 0; i < n; i++) {
        um_score_row row;
        if (i % per == 0) CHECK_OK(um_score_journal_open(NULL, NULL, 0, x[i].config, &limits, &j));
        score_row(x[i].key, x[i].other, &row);
        row.status = x[i].status;
        CHECK_OK(um_score_journal_begin(j, x[i].key, false));
        if (x[i].end) CHECK_OK(um_score_journal_done(j, &row));
        if (i % per < per - 1 && i + 1 < n) continue;
        const um_buf *t = um_score_journal_text(j);
        CHECK_OK(um_buf_add(&text, t->data, t->len));
        CHECK_OK(um_score_journal_close(j));
    }
    um_status st = um_score_results_scan((char *)text.data, text.len, m, NAN, r);
    um_buf_release(&text);
    return st;
}

static void merging(void)
{
    char in[4096];
    um_score_manifest m;
    um_score_results r;
    world_path(in, base, "merge");
    score_inputs(in, 4); /* three and a missing one */
    CHECK_OK(score_listing(in, SCORE_CONFIG, &m));
    uint64_t c = um_score_manifest_config_key(&m), k[3];
    int at = 0;
    for (int64_t i = 0; i < m.n; i++)
        if (m.input[i].status == UM_PENDING) k[at++] = m.input[i].key;
    CHECK_INT(at, 3);

    /* Twice the same is once; a journal of another configuration, and another input, are nothing. */
    const one same[] = {{UM_OK, k[0], c, false, true}, {UM_OK, k[0], c, false, true}, {UM_OK, k[1], c + 1, true, true}, {UM_OK, 12345, c, true, true}};
    CHECK_OK(merge(&m, same, 4, 1, &r));
    CHECK_INT(r.n_done, 2); /* the missing one has its row */
    CHECK_INT(r.n_twice, 1);
    CHECK_INT(r.n_foreign, 1);
    um_score_results_release(&r);
    /* Twice, not the same. */
    const one differ[] = {{UM_OK, k[0], c, false, true}, {UM_OK, k[0], c, true, true}};
    CHECK_INT(merge(&m, differ, 2, 1, &r), UM_DATA);
    CHECK(strstr(um_err_text(), "disagree") != NULL);
    /* A result of the machine gives way, in whatever order; of two such one is chosen, the same in whatever order. */
    const one late[][2] = {{{UM_TIMEOUT, k[0], c, false, true}, {UM_OK, k[0], c, true, true}}, {{UM_OK, k[0], c, true, true}, {UM_TIMEOUT, k[0], c, false, true}}};
    const one both[][2] = {{{UM_TIMEOUT, k[0], c, false, true}, {UM_OOM, k[0], c, true, true}}, {{UM_OOM, k[0], c, true, true}, {UM_TIMEOUT, k[0], c, false, true}}};
    for (int i = 0; i < 2; i++) {
        int32_t first = um_keymap_get(&m.by_key, k[0]);
        CHECK_OK(merge(&m, late[i], 2, 1, &r));
        CHECK_INT(r.row[first].row.status, UM_OK);
        CHECK_INT(r.row[first].row.frames_decoded, 30);
        um_score_results_release(&r);
        CHECK_OK(merge(&m, both[i], 2, 1, &r));
        CHECK_INT(r.row[first].row.status, UM_OOM);
        um_score_results_release(&r);
    }
    /* Begun and not ended: a death that nothing explains. In one journal the next start shows it, too. */
    const one open[] = {{UM_OK, k[0], c, false, true}, {UM_OK, k[1], c, false, false}, {UM_OK, k[1], c, false, false}, {UM_OK, k[2], c, false, true}};
    CHECK_OK(merge(&m, open, 2, 2, &r));
    CHECK_INT(r.row[um_keymap_get(&m.by_key, k[0])].attempts.starts, 0);
    /* (um_score_journal_close records an abort of what is in hand) */
    CHECK_INT(r.row[um_keymap_get(&m.by_key, k[1])].attempts.starts, 1);
    um_score_results_release(&r);
    um_score_manifest_release(&m);
}

/* Whatever is cut off a journal, rows before it count; a strike is found; the tail is told. */
static void tails(void)
{
    char in[4096], dir[4096], journals[4096], path[4096], cut[4096];
    um_score_manifest m;
    um_score_results r;
    um_names names;
    um_score_journal *j;
    um_score_row row;
    um_score_limits limits = {64, 100};
    void *text;
    size_t n;
    world_path(in, base, "tails.in");
    world_path(dir, base, "tails");
    world_path(journals, dir, "j");
    world_path(cut, dir, "cut");
    score_inputs(in, 6);
    CHECK(mkdir(dir, 0777) == 0 && mkdir(journals, 0777) == 0 && mkdir(cut, 0777) == 0);
    CHECK_OK(score_listing(in, SCORE_CONFIG, &m));
    CHECK_OK(um_score_journal_open(um_vfs_real(), journals, 0, um_score_manifest_config_key(&m), &limits, &j));
    for (int i = 0; i < 3; i++) {
        score_row(m.input[i].key, false, &row);
        CHECK_OK(um_score_journal_begin(j, m.input[i].key, i == 2));
        if (i == 2) um_journal_last_words(11);
        if (i < 2) CHECK_OK(um_score_journal_done(j, &row));
    }
    CHECK_OK(um_vfs_list(um_vfs_real(), journals, &names));
    CHECK_INT(names.n, 1);
    world_path(path, journals, names.name[0]);
    CHECK_OK(um_vfs_read_whole(um_vfs_real(), path, 1 << 20, &text, &n)); /* as a kill leaves it */
    CHECK_OK(um_score_results_read(um_vfs_real(), journals, &m, NAN, &r));
    int64_t have = r.n_done;
    CHECK_INT(r.n_damaged, 0);
    CHECK_INT(r.row[2].attempts.strikes, 1);
    CHECK_INT(r.row[2].attempts.strike_signal, 11);
    CHECK_INT(r.row[2].attempts.starts, 1);
    CHECK_INT(r.row[2].attempts.alone, 1);
    um_score_results_release(&r);
    CHECK_OK(um_score_journal_close(j));
    world_path(path, cut, "a.jnl");
    int64_t last = 0;
    int wrong = 0;
    for (size_t len = 0; len <= n; len++) {
        FILE *f = fopen(path, "w");
        CHECK(f != NULL && fwrite(text, 1, len, f) == len);
        fclose(f);
        CHECK_OK(um_score_results_read(um_vfs_real(), cut, &m, NAN, &r));
        wrong += r.n_done < last || r.n_done > have;
        last = r.n_done;
        um_score_results_release(&r);
    }
    CHECK_INT(wrong, 0);
    CHECK_INT(last, have);
    free(text);
    um_names_release(&names);
    um_score_manifest_release(&m);
}

/* A journal larger than what is read at a time, and records that straddle the pieces. */
static um_status count(void *user, const char *payload, size_t n, int64_t at)
{
    int64_t *sum = user;
    sum[0]++;
    sum[1] += (int64_t)n;
    sum[2] += payload[0] == '{' && payload[n - 1] == '}' && at > sum[3];
    sum[3] = at;
    return UM_OK;
}

static void long_journal(void)
{
    char path[4096];
    um_journal *j;
    um_buf b = {0};
    int64_t bytes = 0, sum[4] = {0};
    bool damaged;
    world_path(path, base, "long.jnl");
    CHECK_OK(um_journal_create(um_vfs_real(), path, &j));
    for (int i = 0; i < 60; i++) {
        size_t n = (size_t)(i * 7919 % 300000) + (i == 30 ? 3000000 : 2);
        um_buf_clear(&b);
        CHECK_OK(um_buf_reserve(&b, n + 1));
        memset(b.data, 'x', n);
        b.data[0] = '{';
        b.data[n - 1] = '}';
        CHECK_OK(um_journal_append(j, (char *)b.data, n, false));
        bytes += (int64_t)n;
    }
    CHECK_OK(um_journal_close(j));
    CHECK_OK(um_journal_read(um_vfs_real(), path, count, sum, &damaged));
    CHECK(!damaged);
    CHECK_INT(sum[0], 60);
    CHECK_INT(sum[1], bytes);
    CHECK_INT(sum[2], 60);
    um_buf_release(&b);
}

/* A run in pieces ends as a run in one, and what is refused. */
static void runs(void)
{
    char in[4096], a[4096], b[4096], path[4096], video[4096];
    um_score_files f;
    um_score_manifest m;
    world_path(in, base, "runs.in");
    world_path(a, base, "a");
    world_path(b, base, "b");
    score_inputs(in, 9);
    CHECK(mkdir(a, 0777) == 0 && mkdir(b, 0777) == 0);
    CHECK_OK(score_run(um_vfs_real(), in, a, 100, false, NULL, NULL));
    for (int i = 0; i < 4; i++) CHECK_OK(score_run(um_vfs_real(), in, b, 2, false, NULL, NULL));
    CHECK(score_sum(a, "x") != 0 && score_sum(a, "x") == score_sum(b, "x"));
    CHECK(score_sum(a, "x.jsonl") != 0 && score_sum(a, "x.jsonl") == score_sum(b, "x.jsonl"));

    world_path(path, a, "x");
    CHECK_OK(um_score_files_init(um_vfs_real(), path, &f));
    CHECK_OK(score_listing(in, "{\"frames\": \"spread:32\", \"pool\": \"faces\"}", &m));
    CHECK_INT(um_score_files_begin(&f, false, true, &m), UM_DATA);
    CHECK(strstr(um_err_text(), "pool") != NULL);
    um_score_manifest_release(&m);
    world_path(video, in, "v3.mp4");
    world_file(in, "v3.mp4", "another content");
    CHECK_OK(score_listing(in, SCORE_CONFIG, &m));
    CHECK_INT(um_score_files_begin(&f, false, false, &m), UM_DATA);
    CHECK(strstr(um_err_text(), "v3.mp4' has changed") != NULL && strstr(um_err_text(), "--update") != NULL);
    CHECK_OK(um_score_files_begin(&f, false, true, &m));
    um_score_results r;
    CHECK_OK(um_score_results_read(um_vfs_real(), f.journal, &m, NAN, &r));
    CHECK_INT(r.n_done, m.n - 1);
    um_score_results_release(&r);
    CHECK_OK(um_score_files_begin(&f, true, false, &m));
    CHECK_OK(um_score_results_read(um_vfs_real(), f.journal, &m, NAN, &r));
    CHECK_INT(r.n_done, 1);
    CHECK_INT(score_sum(a, "x"), 0);
    um_score_results_release(&r);
    um_score_manifest_release(&m);
    um_score_files_release(&f);
}

int main(void)
{
    base = world_dir();
    manifest();
    sniffing();
    numbers();
    rows();
    merging();
    tails();
    long_journal();
    runs();
    world_remove(base);
    free(base);
    return TEST_END();
}
