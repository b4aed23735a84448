/* Following people by geometry: made-up paths of heads whose true owner is known. */
#include "src/score/score.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { MOST = 4000, FRAMES = 32 };

/* Heads and who they are, in a row; `truth` stands beside each face. */
typedef struct scene {
    um_score_row row;
    um_score_face face[MOST];
    int truth[MOST];
} scene;

static scene the_scene;

static scene *new_scene(void)
{
    memset(&the_scene, 0, sizeof the_scene);
    the_scene.row.face = the_scene.face;
    return &the_scene;
}

static double hash01(uint32_t v)
{
    v = v * 2654435761u + 12345u;
    v ^= v >> 15;
    v *= 0x2c1b3c6du;
    v ^= v >> 13;
    return (v & 0xffffff) / 16777216.0;
}

/* A face of `size` pixels around (x, y), turned: -1 looks to the left, 1 to the right; detections jitter by a few per cent. */
static void add(scene *s, int who, int window, int frame, double time_s, double x, double y, double size, double turned)
{
    static const double at[5][2] = {{-0.2, -0.15}, {0.2, -0.15}, {0, 0.05}, {-0.15, 0.25}, {0.15, 0.25}};
    um_score_face *f = &s->face[s->row.n_faces];
    *f = (um_score_face){.frame = frame, .time_s = time_s, .window = window, .track = -1, .probability = 0.99f};
    double jx = (hash01((uint32_t)(s->row.n_faces * 7 + 1)) - 0.5) * 0.06 * size, jy = (hash01((uint32_t)(s->row.n_faces * 7 + 2)) - 0.5) * 0.06 * size;
    f->box[0] = (float)(x + jx - 0.4 * size);
    f->box[1] = (float)(y + jy - 0.5 * size);
    f->box[2] = (float)(x + jx + 0.4 * size);
    f->box[3] = (float)(y + jy + 0.5 * size);
    for (int k = 0; k < 5; k++) {
        double shift = turned * (k == 2 ? 0.18 : 0.1);
        f->landmarks[k][0] = (float)(x + jx + (at[k][0] * (1 - 0.3 * fabs(turned)) + shift) * size);
        f->landmarks[k][1] = (float)(y + jy + at[k][1] * size);
    }
    s->truth[s->row.n_faces++] = who;
}

static int track_all(scene *s)
{
    int n = -1;
    CHECK_OK(um_score_tracks(&s->row, &n));
    int first = 0; /* numbered in order of first appearance, without holes */
    for (int i = 0; i < s->row.n_faces; i++) {
        CHECK(s->face[i].track >= 0 && s->face[i].track < n);
        if (s->face[i].track > first) first = s->face[i].track;
    }
    CHECK_INT(first, n - 1);
    return n;
}

/* No track holds two people. */
static int mixed(const scene *s)
{
    int n = 0;
    for (int i = 0; i < s->row.n_faces; i++)
        for (int j = 0; j < i; j++) n += s->face[i].track == s->face[j].track && s->truth[i] != s->truth[j];
    return n;
}

static int track_of(const scene *s, int who)
{
    for (int i = 0; i < s->row.n_faces; i++)
        if (s->truth[i] == who) return s->face[i].track;
    return -1;
}

static int longest(const scene *s, int who)
{
    int best = 0;
    for (int t = 0; t < s->row.n_faces; t++) {
        int n = 0;
        for (int i = 0; i < s->row.n_faces; i++) n += s->truth[i] == who && s->face[i].track == t;
        if (n > best) best = n;
    }
    return best;
}

static void one_person(void)
{
    /* Sitting, nodding, walking through the picture at four face sizes a second, coming closer. */
    for (int how = 0; how < 4; how++) {
        scene *s = new_scene();
        for (int i = 0; i < FRAMES; i++) {
            double x = 500, y = 400, size = 150, t = i * 0.31;
            if (how == 1) y += 40 * sin(i * 1.7), x += 50 * cos(i * 0.9);
            if (how == 2) x = 100 + 180.0 * i;
            if (how == 3) size = 60 * pow(1.06, i), x += 6 * i;
            add(s, 0, 0, i * 9, t, x, y, size, 0.8 * sin(i * 0.6));
        }
        CHECK_INT(track_all(s), 1);
    }
    /* A video of a minute in one window: 1.9 s from frame to frame. */
    scene *s = new_scene();
    for (int i = 0; i < FRAMES; i++) add(s, 0, 0, i * 48, i * 1.9, 500 + 150 * sin(i * 2.1), 400 + 40 * cos(i * 1.3), 150, 0);
    CHECK_INT(track_all(s), 1);
}

static void two_people(void)
{
    scene *s = new_scene();
    for (int i = 0; i < FRAMES; i++) {
        add(s, 0, 0, i * 9, i * 0.3, 400 + 20 * sin(i), 400, 150, 0.5);
        add(s, 1, 0, i * 9, i * 0.3, 620 + 20 * cos(i), 390, 140, -0.5);
    }
    CHECK_INT(track_all(s), 2);
    CHECK_INT(mixed(s), 0);
    CHECK_INT(track_of(s, 0), 0); /* of those in one frame, from left to right */
}

/* They walk through each other, at several speeds, meeting between or in a frame; with `hidden`, who is behind is not seen for some frames. */
static void crossing(double step, double offset, int hidden, double turned)
{
    scene *s = new_scene();
    for (int i = 0; i < FRAMES; i++) {
        double d = (i - FRAMES / 2 + offset) * step * 150;
        add(s, 0, 0, i * 9, i * 0.3, 900 + d / 2, 400, 150, turned);
        if (fabs(d) > hidden * step * 150) add(s, 1, 0, i * 9, i * 0.3, 900 - d / 2, 410, 145, -turned);
    }
    track_all(s);
    int m = mixed(s);
    if (m > 0) fprintf(stderr, "crossing at %.2f sizes a frame, offset %.2f, hidden %d, turned %.1f: mixed up\n", step, offset, hidden, turned);
    CHECK_INT(m, 0);
    CHECK_INT(longest(s, 0), FRAMES);
    CHECK(longest(s, 1) >= FRAMES - 2 * hidden - 1);
}

static void leaving(void)
{
    scene *s = new_scene();
    for (int i = 0; i < FRAMES; i++) {
        add(s, 0, 0, i * 9, i * 0.3, 400, 400, 150, 0);
        if (i < 10 || i >= 18) add(s, 1, 0, i * 9, i * 0.3, 800, 400, 150, 0); /* away for eight frames */
    }
    CHECK_INT(track_all(s), 2);
    CHECK_INT(mixed(s), 0);

    /* Away for longer: a new track; and nobody takes over the place of somebody far away. */
    s = new_scene();
    for (int i = 0; i < FRAMES; i++) {
        add(s, 0, 0, i * 9, i * 0.3, 400, 400, 150, 0);
        if (i < 8 || i >= 24) add(s, 1, 0, i * 9, i * 0.3, 800, 400, 150, 0);
        if (i >= 12 && i < 20) add(s, 2, 0, i * 9, i * 0.3, 1600, 400, 150, 0);
    }
    CHECK_INT(track_all(s), 4);
    CHECK_INT(mixed(s), 0);
}

static void flicker(void)
{
    scene *s = new_scene();
    int seen = 0;
    for (int i = 0; i < 2 * FRAMES; i++) {
        if (hash01((uint32_t)i + 900) < 0.6 || i == 0) add(s, 0, 0, i * 5, i * 0.3, 400 + 8 * i, 400, 150, 0.3), seen++;
        if (hash01((uint32_t)i + 500) < 0.6) add(s, 1, 0, i * 5, i * 0.3, 900 - 2 * i, 300, 120, -0.3);
    }
    CHECK_INT(track_all(s), 2);
    CHECK_INT(mixed(s), 0);
    CHECK_INT(longest(s, 0), seen);
}

/* Faces that are none, here and there: each by itself, so they never reach eight, and the person is whole. */
static void false_detections(void)
{
    scene *s = new_scene();
    for (int i = 0; i < FRAMES; i++) {
        add(s, 0, 0, i * 9, i * 0.3, 700, 400, 200, 0.2 * sin(i));
        if (i % 3 == 1) add(s, 1 + i, 0, i * 9, i * 0.3, 1900 * hash01((uint32_t)i), 1000 * hash01((uint32_t)i + 77), 30 + 20 * hash01((uint32_t)i + 99), 0);
    }
    track_all(s);
    CHECK_INT(longest(s, 0), FRAMES);
    s->row.n_models = 1;
    for (int i = 0; i < s->row.n_faces; i++) {
        static float score[MOST];
        score[i] = s->truth[i] == 0 ? 0.3f : 0.99f;
        s->face[i].score = &score[i];
    }
    CHECK_OK(um_score_persons(&s->row, 8, 0.5));
    CHECK_INT(s->row.n_persons, 1);
    CHECK_NEAR(s->row.score, 0.3, 1e-6);
    CHECK_INT(s->row.person[0].n_faces, FRAMES);
    s->row.face = NULL; /* these are ours */
    s->row.n_faces = 0;
    um_score_row_release(&s->row);
}

/* Windows know nothing of each other, and numbering goes on. */
static void windows(void)
{
    scene *s = new_scene();
    for (int w = 0; w < 3; w++)
        for (int i = 0; i < 8; i++) add(s, w, w, w * 1000 + i, w * 60 + i * 0.3, 400, 400, 150, 0);
    CHECK_INT(track_all(s), 3);
    CHECK_INT(mixed(s), 0);
    for (int w = 0; w < 3; w++) CHECK_INT(track_of(s, w), w);
}

/* The order of the faces within a frame, how large the picture is, and where it starts change nothing. */
static void invariance(void)
{
    static um_score_face kept[MOST];
    static int want[MOST];
    scene *s = new_scene();
    for (int i = 0; i < FRAMES; i++)
        for (int k = 0; k < 12; k++)
            if (hash01((uint32_t)(i * 12 + k)) < 0.85)
                add(s, k, 0, i * 9, i * 0.3, 960 + 700 * sin(k * 2.4 + i * 0.11), 540 + 350 * cos(k * 1.7 + i * 0.13), 70 + 5 * k, k % 3 - 1);
    track_all(s);
    int n = s->row.n_faces;
    for (int i = 0; i < n; i++) want[i] = s->face[i].track;
    memcpy(kept, s->face, sizeof kept);

    int at[MOST];
    for (int i = 0; i < n; i++) at[i] = i;
    for (int i = 0; i < n; i++) { /* shuffled within frames */
        int j = i + (int)(hash01((uint32_t)i + 4242) * 12);
        if (j < n && kept[at[i]].frame == kept[at[j]].frame) {
            int swap = at[i];
            at[i] = at[j];
            at[j] = swap;
        }
    }
    for (int i = 0; i < n; i++) s->face[i] = kept[at[i]];
    track_all(s);
    for (int i = 0; i < n; i++) CHECK_INT(s->face[i].track, want[at[i]]);

    for (int i = 0; i < n; i++) {
        s->face[i] = kept[i];
        for (int k = 0; k < 4; k++) s->face[i].box[k] *= 4;
        for (int k = 0; k < 5; k++)
            for (int c = 0; c < 2; c++) s->face[i].landmarks[k][c] *= 4;
    }
    track_all(s);
    for (int i = 0; i < n; i++) CHECK_INT(s->face[i].track, want[i]);
}

/* Crowds and nonsense: an answer in time, and each face has a track. */
static void hard_cases(void)
{
    int n = -1;
    scene *s = new_scene();
    CHECK_OK(um_score_tracks(&s->row, &n));
    CHECK_INT(n, 0);
    for (int i = 0; i < 20; i++)
        for (int k = 0; k < 200; k++) add(s, k, 0, i, i * 0.3, 20.0 * k + 5 * sin(i + k), 300, 18, 0);
    CHECK_INT(track_all(s), 200);
    CHECK_INT(mixed(s), 0);

    s = new_scene();
    for (int i = 0; i < 40; i++) {
        add(s, 0, 0, i / 4, (i / 4) * 0.3, 100, 100, 50, 0);
        um_score_face *f = &s->face[i];
        if (i % 4 == 1) memset(f->box, 0, sizeof f->box);
        if (i % 4 == 2) f->box[0] = f->landmarks[2][0] = NAN;
        if (i % 4 == 3) f->box[2] = f->landmarks[3][1] = INFINITY;
    }
    track_all(s);
    s = new_scene(); /* the same face thousands of times in one frame and the next */
    for (int i = 0; i < 400; i++) add(s, 0, 0, i / 200, i / 200, 100, 100, 50, 0), s->face[i].box[0] = 0;
    CHECK_INT(track_all(s), 200);
}

int main(void)
{
    one_person();
    two_people();
    for (int k = 0; k < 5; k++)
        for (int hidden = 0; hidden < 3; hidden++) {
            crossing(0.3, k * 0.2, hidden, 0.6);
            crossing(0.6, k * 0.2, hidden, 0.6);
            crossing(1.1, k * 0.2, hidden, 0.6);
        }
    leaving();
    flicker();
    false_detections();
    windows();
    invariance();
    hard_cases();
    return TEST_END();
}
