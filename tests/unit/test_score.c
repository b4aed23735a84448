/* Pools, persons and moments: what a score is made of. */
#include "src/core/rng.h"
#include "src/score/score.h"
#include "src/score/window.h"
#include "tests/unit/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the confident average ---- */

static double confident(int n_high, int n_low, int n_middle)
{
    float p[256];
    int n = 0;
    for (int i = 0; i < n_high; i++) p[n++] = 0.9f;
    for (int i = 0; i < n_low; i++) p[n++] = 0.1f;
    for (int i = 0; i < n_middle; i++) p[n++] = 0.5f;
    return um_score_confident(p, n);
}

static void test_confident(void)
{
    CHECK(isnan(um_score_confident(NULL, 0)));
    CHECK_NEAR(confident(12, 0, 17), 0.9, 1e-6);            /* 12 > floor(29 / 2.5) = 11, and more than 11 */
    CHECK_NEAR(confident(12, 0, 18), (10.8 + 9) / 30, 1e-6); /* 12 is not more than floor(30 / 2.5) = 12 */
    CHECK_NEAR(confident(11, 0, 0), 0.9, 1e-6);              /* not more than 11: the mean of all, which is the same */
    CHECK_NEAR(confident(11, 1, 0), (9.9 + .1) / 12, 1e-6);
    CHECK_NEAR(confident(1, 10, 0), 0.1, 1e-6);              /* 10 > 0.9 * 11 */
    CHECK_NEAR(confident(1, 9, 0), (0.9 + 0.9) / 10, 1e-6);  /* 9 is not more than 9 */
    float edge[12];
    for (int i = 0; i < 12; i++) edge[i] = 0.8f; /* t itself is not above */
    CHECK_NEAR(um_score_confident(edge, 12), 0.8, 1e-6);
}

/* ---- tracks: a world of people at places ---- */

typedef struct cast {
    um_score_row row;
} cast;

/* A face of 100 x 120 px, or `size` times it, with its middle at (x, y). */
static void add(cast *c, int moment, double step_s, double x, double y, double size)
{
    um_score_row *r = &c->row;
    r->face = realloc(r->face, ((size_t)r->n_faces + 1) * sizeof *r->face);
    um_score_face *f = &r->face[r->n_faces++];
    *f = (um_score_face){.frame = moment * 10, .time_s = moment * step_s, .track = -1};
    double w = 50 * size, h = 60 * size;
    float box[4] = {(float)(x - w), (float)(y - h), (float)(x + w), (float)(y + h)};
    memcpy(f->box, box, sizeof box);
    static const double at[5][2] = {{-.4, -.3}, {.4, -.3}, {0, 0}, {-.3, .4}, {.3, .4}};
    for (int i = 0; i < 5; i++) {
        f->landmarks[i][0] = (float)(x + w * at[i][0]);
        f->landmarks[i][1] = (float)(y + h * at[i][1]);
    }
    f->score = calloc(2, sizeof *f->score);
}

static int tracks(cast *c)
{
    int n = -1;
    c->row.n_models = 2;
    CHECK_OK(um_score_tracks(&c->row, &n));
    return n;
}

static void test_one_walks(void)
{
    cast c = {0};
    for (int i = 0; i < 32; i++) add(&c, i, .3, 300 + 30 * i, 400 + 10 * sin(i), 1 + i / 60.0);
    CHECK_INT(tracks(&c), 1);
    um_score_row_release(&c.row);
    for (int i = 0; i < 32; i++) add(&c, i, .3, 300 + 180 * i, 400, 1); /* nearly two faces a step: alone, so nobody else can be meant */
    CHECK_INT(tracks(&c), 1);
    um_score_row_release(&c.row);
}

static void test_two_cross(void)
{
    cast c = {0};
    for (int i = 0; i < 32; i++) {
        /* Order in a frame says nothing about who it is. */
        double a = 100 + 40 * i, b = 1340 - 40 * i;
        add(&c, i, .3, i % 2 ? a : b, i % 2 ? 400 : 430, 1);
        add(&c, i, .3, i % 2 ? b : a, i % 2 ? 430 : 400, 1);
    }
    CHECK_INT(tracks(&c), 2);
    for (int i = 0; i < 64; i++) {
        bool is_a = fabs((double)(c.row.face[i].box[1] + c.row.face[i].box[3]) / 2 - 400) < 1;
        bool first_is_a = fabs((double)(c.row.face[0].box[1] + c.row.face[0].box[3]) / 2 - 400) < 1;
        CHECK_INT(c.row.face[i].track, is_a == first_is_a ? 0 : 1);
    }
    um_score_row_release(&c.row);
}

static void test_comes_and_goes(void)
{
    cast c = {0};
    for (int i = 0; i < 32; i++) {
        add(&c, i, .3, 300, 400, 1);
        if (i % 3 != 1) add(&c, i, .3, 900, 400, 1);          /* missed by the detector in every third frame */
        if (i == 5 || i == 20) add(&c, i, .3, 600, 900, .3);  /* a false one now and then */
    }
    CHECK_INT(tracks(&c), 4);
    for (int i = 0; i < c.row.n_faces; i++)
        for (int m = 0; m < 2; m++) c.row.face[i].score[m] = c.row.face[i].track == 1 ? 0.95f : 0.05f;
    CHECK_OK(um_score_persons(&c.row, 8, 0.5));
    CHECK_INT(c.row.n_persons, 2); /* false ones do not count */
    CHECK_INT(c.row.person[0].track, 1);
    CHECK_NEAR(c.row.score, .95, 1e-6);
    CHECK_INT(c.row.verdict, UM_VERDICT_FAKE);
    CHECK_NEAR(c.row.start_s, 0, 1e-9);
    CHECK_NEAR(c.row.end_s, 30 * .3, 1e-9);
    CHECK_INT(c.row.person[1].n_faces, 32);
    um_score_row_release(&c.row);
}

static void test_windows_apart(void)
{
    cast c = {0};
    for (int i = 0; i < 16; i++) {
        add(&c, i, .3, 300, 400, 1);
        c.row.face[i].window = i / 8;
    }
    CHECK_INT(tracks(&c), 2);
    um_score_row_release(&c.row);
}

/* Eight faces make a person, seven do not; the best frames are the highest ones, earlier ones first. */
static void test_persons(void)
{
    for (int n = 7; n <= 8; n++) {
        cast c = {0};
        for (int i = 0; i < n; i++) {
            add(&c, i, .5, 300, 400, 1);
            for (int m = 0; m < 2; m++) c.row.face[i].score[m] = i == 2 || i == 5 ? 0.6f : 0.3f + 0.1f * (float)m;
        }
        CHECK_INT(tracks(&c), 1);
        CHECK_OK(um_score_persons(&c.row, 8, 0.5));
        CHECK_INT(c.row.n_persons, n == 8);
        if (n == 8) {
            CHECK_INT(c.row.person[0].best_frame[0], 20);
            CHECK_INT(c.row.person[0].best_frame[1], 50);
            CHECK_INT(c.row.person[0].best_frame[2], 0);
            CHECK_NEAR(c.row.model_score[0], (2 * .6 + 6 * .3) / 8, 1e-6);
            CHECK_NEAR(c.row.model_score[1], (2 * .6 + 6 * .4) / 8, 1e-6);
            CHECK_NEAR(c.row.score, (c.row.model_score[0] + c.row.model_score[1]) / 2, 1e-6);
            CHECK_INT(c.row.verdict, UM_VERDICT_REAL);
        } else {
            CHECK(isnan(c.row.score) && isnan(c.row.model_score[0]) && c.row.verdict == UM_VERDICT_UNKNOWN);
        }
        um_score_row_release(&c.row);
    }
}

static void test_faces(void)
{
    for (int n = 0; n <= 130; n++) {
        cast c = {0};
        for (int i = 0; i < n; i++) {
            add(&c, i, .3, 300, 400, 1);
            c.row.face[i].score[0] = c.row.face[i].score[1] = i < 127 ? 0.4f : 1.0f;
        }
        c.row.n_models = 2;
        CHECK_OK(um_score_faces(&c.row, 0.5));
        CHECK_NEAR(c.row.score, n < 2 ? 0.5 : 0.4, 1e-6);
        CHECK_INT(c.row.verdict, n < 2 ? UM_VERDICT_UNKNOWN : UM_VERDICT_REAL);
        CHECK_INT(c.row.faces_dropped, n > 127 ? n - 127 : 0);
        um_score_row_release(&c.row);
    }
}

/* ---- moments ---- */

static void test_moments(void)
{
    um_window_options o = {.every_s = 60, .length_s = 10, .per_window = 32};
    um_moments m;
    CHECK_OK(um_moments_spread(10, 30, &o, &m));
    CHECK_INT(m.n, 32);
    CHECK_INT(m.n_windows, 1);
    CHECK_NEAR(m.time_s[0], 0, 0);
    CHECK_NEAR(m.time_s[31], 10 - 1 / 30.0, 1e-9);
    um_moments_release(&m);
    CHECK_OK(um_moments_spread(60, 0, &o, &m));
    CHECK_INT(m.n_windows, 1);
    CHECK_NEAR(m.time_s[31], 60, 1e-9);
    um_moments_release(&m);
    CHECK_OK(um_moments_spread(185, 25, &o, &m));
    CHECK_INT(m.n_windows, 4);
    CHECK_INT(m.n, 4 * 32);
    CHECK_NEAR(m.time_s[32], 60, 1e-9);
    CHECK_NEAR(m.time_s[63], 70 - 1 / 25.0, 1e-9);
    CHECK_NEAR(m.time_s[127], 185 - 1 / 25.0, 1e-9);
    for (int i = 1; i < m.n; i++) CHECK(m.time_s[i] >= m.time_s[i - 1] && m.window[i] >= m.window[i - 1]);
    um_moments_release(&m);
    CHECK_OK(um_moments_spread(0, 0, &o, &m));
    CHECK_INT(m.n, 32);
    um_moments_release(&m);
    CHECK_INT(um_moments_spread(1e9, 30, &o, &m), UM_TOO_LARGE);
}

static void test_linspace(void)
{
    int64_t i[64];
    CHECK_INT(um_frames_linspace(300, 32, i), 32);
    static const int want[6] = {0, 9, 19, 28, 38, 48}; /* numpy.linspace(0, 299, 32, dtype=int)[:6] */
    for (int k = 0; k < 6; k++) CHECK_INT(i[k], want[k]);
    CHECK_INT(i[31], 299);
    CHECK_INT(um_frames_linspace(32, 32, i), 32);
    CHECK_INT(um_frames_linspace(31, 32, i), 1); /* 0, 0.97, ...: the second is frame 0 again */
    CHECK_INT(um_frames_linspace(1, 32, i), 1);
    CHECK_INT(um_frames_linspace(0, 32, i), 0);
    CHECK_INT(um_frames_linspace(40, 1, i), 1);
}

int main(void)
{
    test_confident();
    test_one_walks();
    test_two_cross();
    test_comes_and_goes();
    test_windows_apart();
    test_persons();
    test_faces();
    test_moments();
    test_linspace();
    return TEST_END();
}
