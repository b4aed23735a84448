/* The reference's choice of frames and its averages, to the bit (make_score_golden.py). usage: test_score DATA/score.tsv */
#include "src/score/score.h"
#include "src/score/window.h"
#include "tests/unit/test.h"

#include <stdlib.h>

/* As in make_score_golden.py. */
static float prediction(uint32_t kind, uint32_t i)
{
    uint32_t h = i * 2654435761u + kind * 40503u + 12345u;
    h ^= h >> 15;
    h *= 0x2c1b3c6du;
    h ^= h >> 12;
    float u = (float)(h >> 8) / 16777216;
    if (kind % 4 == 1) return 1 - u * 0.25f;
    if (kind % 4 == 2) return u * 0.21f;
    if (kind % 4 == 3) return (float[]){0.8f, 0.2f, 0.95f, 0.05f}[h >> 4 & 3];
    return u;
}

static uint32_t bits(double x)
{
    float f = (float)x;
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static void check_frames(char *rest)
{
    char *end;
    long n_frames = strtol(rest, &end, 10), wanted = strtol(end, &end, 10);
    int64_t index[64];
    int n = um_frames_linspace(n_frames, (int)wanted, index), i = 0;
    for (char *at = end;; at = end, i++) {
        long v = strtol(at, &end, 10);
        if (end == at) break;
        CHECK(i < n && index[i] == v);
    }
    CHECK_INT(n, i);
}

static void check_faces(unsigned kind, int n, int models, unsigned want)
{
    um_score_row row = {.n_models = models, .n_faces = n, .face = calloc((size_t)n + 1, sizeof(um_score_face))};
    if (row.face == NULL) abort();
    for (int i = 0; i < n; i++) {
        row.face[i].score = malloc((size_t)models * sizeof(float));
        if (row.face[i].score == NULL) abort();
        for (int m = 0; m < models; m++) row.face[i].score[m] = prediction(kind + (unsigned)m, (unsigned)i);
    }
    CHECK_OK(um_score_faces(&row, 0.5));
    if (bits(row.score) != want) fprintf(stderr, "%d faces of kind %u, %d models: %.9g (%08x), want %08x\n", n, kind, models, row.score, (unsigned)bits(row.score), want);
    CHECK(bits(row.score) == want);
    CHECK_INT(row.faces_dropped, n > 127 ? n - 127 : 0);
    CHECK_INT(row.status, n == 0 ? UM_NO_FACE : UM_OK);
    CHECK_INT(row.verdict, n < 2 ? UM_VERDICT_UNKNOWN : row.score >= 0.5 ? UM_VERDICT_FAKE : UM_VERDICT_REAL);
    um_score_row_release(&row);
}

int main(int argc, char **argv)
{
    FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (f == NULL) return 2;
    static char line[4096];
    int n_frames = 0, n_confident = 0, n_faces = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        unsigned kind, want;
        int n, models;
        if (strncmp(line, "frames\t", 7) == 0) {
            check_frames(line + 7);
            n_frames++;
        } else if (sscanf(line, "confident %u %d %x", &kind, &n, &want) == 3) {
            float p[1000];
            for (int i = 0; i < n; i++) p[i] = prediction(kind, (unsigned)i);
            double got = um_score_confident(p, n);
            if (bits(got) != want) fprintf(stderr, "confident, %d of kind %u: %.9g (%08x), want %08x\n", n, kind, got, (unsigned)bits(got), want);
            CHECK(bits(got) == want);
            n_confident++;
        } else if (sscanf(line, "faces %u %d %d %x", &kind, &n, &models, &want) == 4) {
            check_faces(kind, n, models, want);
            n_faces++;
        } else {
            CHECK(0);
        }
    }
    CHECK(n_frames > 100 && n_confident > 300 && n_faces > 100);
    fclose(f);
    return TEST_END();
}
