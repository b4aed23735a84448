/* test_bad_videos DIR EXPECTED: opens every file of expected_status.tsv in DIR and compares the status. One decoder serves all of them, so that what one file does to its worker would show in the next. */
#include "io/video.h"
#include "src/core/clock.h"
#include "src/core/hash.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

/* %XX in a name of the table is one byte: names hold newlines and bytes that are not text. */
static void unescape(char *s)
{
    char *to = s;
    for (; *s; s++) {
        if (*s == '%' && s[1] && s[2]) {
            char hex[3] = {s[1], s[2], 0};
            *to++ = (char)strtol(hex, NULL, 16);
            s += 2;
        } else {
            *to++ = *s;
        }
    }
    *to = 0;
}

/* Is `name` one of the words of "A|B|C"? */
static bool listed(const char *words, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = words; *p;) {
        size_t k = strcspn(p, "|");
        if (k == n && strncmp(p, name, n) == 0) return true;
        p += k + (p[k] == '|');
    }
    return false;
}

/* *hash: of the frames' numbers and pixels. */
static um_status run(um_decoder *dec, const char *path, um_video_result *r, uint64_t *hash)
{
    *hash = UM_HASH64_START;
    um_frames frames = {.kind = UM_FRAMES_EVERY, .step = 10};
    um_video *v;
    um_video_info info;
    um_frame f;
    *r = (um_video_result){0};
    um_err_clear();
    um_status st = um_video_open(dec, path, &frames, -1, -1, &v, &info);
    if (st != UM_OK) {
        CHECK(um_err_text()[0] != 0);
        snprintf(r->message, sizeof r->message, "%s", um_err_text());
        return st;
    }
    int64_t last = -1, n = 0;
    while ((st = um_video_next(v, -1, &f)) == UM_OK) {
        CHECK(f.index > last && f.index % 10 == 0);
        CHECK_INT(f.image.width_px, info.width_px);
        CHECK_INT(f.image.height_px, info.height_px);
        *hash = um_hash64(*hash, &f.index, sizeof f.index);
        for (int y = 0; y < f.image.height_px; y++) *hash = um_hash64(*hash, f.image.data + (size_t)y * f.image.stride, (size_t)f.image.width_px * 3);
        last = f.index;
        n++;
    }
    CHECK_INT(st, UM_END);
    um_video_close(v, r);
    CHECK_INT(r->frames_given, n);
    if (r->status == UM_OK) CHECK_INT(r->frames_given, r->frames_wanted);
    if (r->status != UM_OK) CHECK(r->message[0] != 0);
    return r->status;
}

int main(int argc, char **argv)
{
    if (argc != 3 || chdir(argv[1]) != 0) return 2;
    FILE *table = fopen(argv[2], "r");
    um_decoder *dec = NULL;
    um_video_limits limits = um_video_limits_default;
    limits.max_cpu_s = 20;
    limits.memory_bytes = INT64_C(512) << 20; /* a bomb of 16384x16384 would need more */
    int watch = inotify_init1(IN_NONBLOCK);
    if (!table || watch < 0) return 2;
    CHECK_OK(um_decoder_start(&limits, &dec));
    CHECK(inotify_add_watch(watch, "foreign.ts", IN_OPEN | IN_ACCESS) >= 0);
    char line[1024];
    enum { MAX_FILES = 400 };
    static char names[MAX_FILES][256];
    static uint64_t hashes[MAX_FILES];
    int n = 0;
    while (n < MAX_FILES && fgets(line, sizeof line, table)) {
        line[strcspn(line, "\n")] = 0;
        char *tab = strchr(line, '\t');
        if (line[0] == '#' || !tab) continue;
        *tab = 0;
        char shown[1024];
        snprintf(shown, sizeof shown, "%s", line);
        unescape(line);
        um_video_result r;
        double t = um_clock_s();
        um_status st = run(dec, line, &r, &hashes[n]);
        t = um_clock_s() - t;
        bool good = listed(tab + 1, um_status_name(st));
        if (!good) {
            fprintf(stderr, "failed: %s is %s, want %s: %s\n", shown, um_status_name(st), tab + 1, r.message);
            test_failures++;
        }
        printf("%-28s %-18s %5.2f s  %s\n", shown, um_status_name(st), t, r.message);
        snprintf(names[n++], sizeof names[0], "%.255s", line);
    }
    fclose(table);
    /* The same again, backwards: what a file gives, damaged ones too, must not depend on what its worker did before. */
    um_video_result r;
    uint64_t hash;
    for (int i = n - 1; i >= 0; i--) {
        run(dec, names[i], &r, &hash);
        if (hash != hashes[i]) {
            fprintf(stderr, "failed: %s gives other pixels the second time\n", names[i]);
            test_failures++;
        }
    }
    char event[4096];
    CHECK(read(watch, event, sizeof event) < 0); /* EAGAIN: nobody looked at the file that the playlists name */
    /* The watch works: the file itself is a fine video. */
    CHECK_INT(run(dec, "foreign.ts", &r, &hash), UM_OK);
    CHECK(read(watch, event, sizeof event) > 0);
    CHECK(n >= 100);
    um_decoder_stop(dec);
    printf("%d files\n", n);
    return TEST_END();
}
