/* Which moments are looked at, and from faces to persons and the video's row. */
#include "src/score/score.h"
#include "src/score/window.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static void check_moments(void)
{
    const um_window_options o = {.every_s = 60, .length_s = 10, .per_window = 32};
    um_moments m;
    /* Up to a minute: one window over all of it, from the first frame to where the last begins. */
    static const double shorts[] = {10, 59.5, 60};
    for (size_t k = 0; k < 3; k++) {
        CHECK_OK(um_moments_spread(shorts[k], 25, &o, &m));
        CHECK_INT(m.n, 32);
        CHECK_INT(m.n_windows, 1);
        CHECK(m.time_s[0] == 0);
        CHECK_NEAR(m.time_s[31], shorts[k] - 0.04, 1e-9);
        CHECK_NEAR(m.time_s[1], (shorts[k] - 0.04) / 31, 1e-9);
        um_moments_release(&m);
    }
    /* Longer: a window of ten seconds in each minute at most. */
    static const struct {
        double duration;
        int windows;
    } longs[] = {{60.1, 2}, {119, 2}, {120, 2}, {121, 3}, {3600, 60}};
    for (size_t k = 0; k < sizeof longs / sizeof *longs; k++) {
        CHECK_OK(um_moments_spread(longs[k].duration, 30, &o, &m));
        CHECK_INT(m.n_windows, longs[k].windows);
        CHECK_INT(m.n, 32 * longs[k].windows);
        for (int i = 0; i < m.n; i++) {
            CHECK_INT(m.window[i], i / 32);
            CHECK(i == 0 || m.time_s[i] > m.time_s[i - 1]);
            CHECK(m.time_s[i] >= 0 && m.time_s[i] <= longs[k].duration - 1.0 / 30);
            if (i % 32 == 31) CHECK_NEAR(m.time_s[i] - m.time_s[i - 31], 10 - 1.0 / 30, 1e-6);
            double stretch = longs[k].duration / longs[k].windows;
            CHECK(m.time_s[i] >= (i / 32) * stretch && m.time_s[i] < (i / 32 + 1) * stretch);
        }
        um_moments_release(&m);
    }
    /* One frame, no length, no rate. */
    CHECK_OK(um_moments_spread(0.04, 25, &o, &m));
    for (int i = 0; i < m.n; i++) CHECK(m.time_s[i] == 0);
    um_moments_release(&m);
    CHECK_OK(um_moments_spread(NAN, 0, &o, &m));
    for (int i = 0; i < m.n; i++) CHECK(m.time_s[i] == 0);
    um_moments_release(&m);
    CHECK_OK(um_moments_spread(31, 0, &o, &m));
    CHECK_NEAR(m.time_s[31], 31, 1e-9);
    um_moments_release(&m);
    const um_window_options one = {.every_s = 1, .length_s = 5, .per_window = 1};
    CHECK_OK(um_moments_spread(3, 10, &one, &m)); /* windows never overlap */
    CHECK_INT(m.n, 3);
    CHECK_NEAR(m.time_s[2], 2, 1e-9);
    um_moments_release(&m);
    /* Limits. */
    CHECK_INT(um_moments_spread(60.0 * 3126, 25, &o, &m), UM_TOO_LARGE);
    CHECK_OK(um_moments_spread(60.0 * 3125, 25, &o, &m));
    um_moments_release(&m);
    CHECK_INT(um_moments_spread(1e300, 25, &o, &m), UM_TOO_LARGE);
    CHECK_INT(um_moments_spread(INFINITY, 25, &o, &m), UM_TOO_LARGE);
    CHECK_INT(um_moments_spread(10, 25, &(um_window_options){.every_s = 60, .length_s = 10}, &m), UM_USAGE);
    CHECK_INT(um_moments_spread(10, 25, &(um_window_options){.every_s = NAN, .length_s = 10, .per_window = 2}, &m), UM_USAGE);
    um_moments_release(&m);
}

enum { MODELS = 2 };

static void add(um_score_row *row, int track, int64_t frame, float a, float b)
{
    um_score_face *f = realloc(row->face, (size_t)(row->n_faces + 1) * sizeof *f);
    float *score = malloc(MODELS * sizeof *score);
    if (f == NULL || score == NULL) abort();
    row->face = f;
    score[0] = a;
    score[1] = b;
    f[row->n_faces++] = (um_score_face){.frame = frame, .time_s = (double)frame / 25, .track = track, .score = score};
}

static void check_persons(void)
{
    um_score_row row = {.n_models = MODELS};
    /* A real person of ten faces, a fake one of nine, and a false detection of seven that nobody looked at. */
    for (int i = 0; i < 10; i++) {
        add(&row, 0, i, 0.25f, 0.5f);
        if (i > 0) add(&row, 1, i, i == 4 ? 0.7f : 0.6f, i == 7 ? 0.9f : i == 4 ? 0.65f : 0.6f);
        if (i < 7) add(&row, 2, i, NAN, NAN);
    }
    CHECK_OK(um_score_persons(&row, 8, 0.5));
    CHECK_INT(row.n_persons, 2);
    CHECK_INT(row.verdict, UM_VERDICT_FAKE);
    CHECK_INT(row.person[0].track, 1);
    CHECK_INT(row.person[0].n_faces, 9);
    CHECK_NEAR(row.person[0].model_score[0], (8 * 0.6 + 0.7) / 9, 1e-6);
    CHECK_NEAR(row.person[0].model_score[1], (7 * 0.6 + 0.9 + 0.65) / 9, 1e-6);
    CHECK_NEAR(row.person[0].score, (row.person[0].model_score[0] + row.person[0].model_score[1]) / 2, 1e-12);
    CHECK(row.score == row.person[0].score && row.model_score[1] == row.person[0].model_score[1]);
    CHECK_NEAR(row.start_s, 1 / 25.0, 1e-12);
    CHECK_NEAR(row.end_s, 9 / 25.0, 1e-12);
    CHECK_INT(row.person[0].best_frame[0], 7); /* mean 0.75 */
    CHECK_INT(row.person[0].best_frame[1], 4); /* 0.675 */
    CHECK_INT(row.person[0].best_frame[2], 1); /* the first of equals */
    CHECK_NEAR(row.person[1].score, 0.375, 1e-12);
    CHECK_INT(row.person[1].best_frame[0], 0);

    /* Again, with another limit: nothing of the last time is left. */
    CHECK_OK(um_score_persons(&row, 10, 0.5));
    CHECK_INT(row.n_persons, 1);
    CHECK_INT(row.verdict, UM_VERDICT_REAL);
    CHECK_OK(um_score_persons(&row, 10, 0.375)); /* fake from the threshold on */
    CHECK_INT(row.verdict, UM_VERDICT_FAKE);
    /* Persons that nobody looked at come last and give no score by themselves. */
    CHECK_OK(um_score_persons(&row, 1, 0.5));
    CHECK_INT(row.n_persons, 3);
    CHECK_INT(row.person[2].track, 2);
    CHECK(isnan(row.person[2].score));
    CHECK_INT(row.person[2].best_frame[0], -1);
    CHECK_OK(um_score_persons(&row, 11, 0.5));
    CHECK_INT(row.n_persons, 0);
    CHECK_INT(row.verdict, UM_VERDICT_UNKNOWN);
    CHECK(isnan(row.score) && isnan(row.start_s) && isnan(row.model_score[0]));
    um_score_row_release(&row);

    /* Equal scores: who appeared first. */
    um_score_row tie = {.n_models = MODELS};
    for (int i = 0; i < 8; i++) {
        add(&tie, 1, i, 0.5f, 0.5f);
        add(&tie, 0, i + 20, 0.5f, 0.5f);
    }
    CHECK_OK(um_score_persons(&tie, 8, 0.5));
    CHECK_INT(tie.person[0].track, 0);
    CHECK_NEAR(tie.start_s, 20 / 25.0, 1e-12);
    um_score_row_release(&tie);

    um_score_row none = {.n_models = MODELS};
    CHECK_OK(um_score_persons(&none, 8, 0.5));
    CHECK_INT(none.verdict, UM_VERDICT_UNKNOWN);
    CHECK(isnan(none.score));
    um_score_row_release(&none);
}

static void check_confident(void)
{
    float p[40];
    for (int i = 0; i < 40; i++) p[i] = i < 12 ? 0.9f : 0.3f;
    CHECK_NEAR(um_score_confident(p, 29), 0.9, 1e-6);                            /* 12 of 29: more than floor(11.6) = 11 and more than 11 */
    CHECK_NEAR(um_score_confident(p, 30), (12 * 0.9 + 18 * 0.3) / 30, 1e-6);     /* 12 are not more than 12 */
    CHECK_NEAR(um_score_confident(p + 1, 12), (11 * 0.9 + 0.3) / 12, 1e-6);      /* 11 are too few */
    for (int i = 0; i < 40; i++) p[i] = i < 3 ? 0.5f : 0.1f;
    CHECK_NEAR(um_score_confident(p, 40), 0.1, 1e-6);                            /* 37 of 40 below 0.2 */
    CHECK_NEAR(um_score_confident(p, 30), (3 * 0.5 + 27 * 0.1) / 30, 1e-6);      /* 27 are not more than 27 */
    CHECK(isnan(um_score_confident(p, 0)));
}

/* With a bad file behind it, the status that is there stays. */
static void check_faces_of_a_failure(void)
{
    um_score_row row = {.n_models = MODELS, .status = UM_CORRUPT};
    CHECK_OK(um_score_faces(&row, 0.5));
    CHECK_INT(row.status, UM_CORRUPT);
    CHECK(row.score == 0.5);
    CHECK_INT(row.verdict, UM_VERDICT_UNKNOWN);
    um_score_row_release(&row);
}

int main(void)
{
    check_moments();
    check_confident();
    check_persons();
    check_faces_of_a_failure();
    CHECK_STR(um_verdict_name(UM_VERDICT_FAKE), "fake");
    CHECK_STR(um_verdict_name(UM_VERDICT_REAL), "real");
    CHECK_STR(um_verdict_name(UM_VERDICT_UNKNOWN), "unknown");
    return TEST_END();
}
