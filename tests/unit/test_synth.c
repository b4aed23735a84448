/* The synthetic data set: its plan, its pictures, its forgeries, and what is left of them in a compressed video. */
#include "io/video.h"
#include "io/video_write.h"
#include "src/synth/forge.h"
#include "src/synth/plan.h"
#include "src/synth/shot.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <unistd.h>

enum { SIDE = 256 };

/* A picture with detail everywhere and, at the middle of its face box, a disc of pure green. */
static um_portrait portrait(int shade)
{
    um_image img;
    um_portrait p = {0};
    um_face face = {.box = {80, 60, 160, 164}, .probability = 1, .landmarks = {{104, 96}, {138, 98}, {121, 116}, {106, 138}, {136, 139}}};
    CHECK_OK(um_image_new(SIDE, SIDE, 3, &img));
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
            uint8_t *d = img.data + (size_t)y * img.stride + 3 * x;
            bool disc = hypot(x - 120, y - 112) < 6;
            d[0] = (uint8_t)(disc ? 0 : shade + 40 * sin(x * 0.5) * cos(y * 0.4) + x / 8);
            d[1] = (uint8_t)(disc ? 255 : shade / 2 + 30 * sin(x * 0.9 + y * 0.7));
            d[2] = (uint8_t)(disc ? 0 : shade / 2 + 20 * cos(y * 0.8) + y / 8);
        }
    }
    CHECK_OK(um_portrait_new(&img, &face, &p));
    um_image_free(&img);
    return p;
}

static double psnr_of(double squares, double n) { return n == 0 || squares == 0 ? 99 : 10 * log10(255.0 * 255.0 * n / squares); }

/* PSNR inside and outside of an ellipse of half axes a and b (widths and heights of the face) around the face. */
static void compare(const um_image *p, const um_image *q, const um_synth_face *f, double a, double *inside, double *outside)
{
    double sum[2] = {0, 0}, n[2] = {0, 0}, c = cos(f->angle), s = sin(f->angle);
    for (int y = 0; y < p->height_px; y++) {
        for (int x = 0; x < p->width_px; x++) {
            double dx = x - f->x, dy = y - f->y;
            int in = hypot((c * dx + s * dy) / f->width, (c * dy - s * dx) / f->height) < a;
            for (int k = 0; k < 3; k++) {
                double d = p->data[(size_t)y * p->stride + 3 * (size_t)x + (size_t)k] - (double)q->data[(size_t)y * q->stride + 3 * (size_t)x + (size_t)k];
                sum[in] += d * d;
                n[in]++;
            }
        }
    }
    *outside = psnr_of(sum[0], n[0]);
    *inside = psnr_of(sum[1], n[1]);
}

static void test_plan(void)
{
    um_synth_config c = {.parts = 5, .originals = 12, .fakes = 2, .seconds = 2, .width_px = 640, .height_px = 480, .two_people = true, .seed = 7, .people = 5};
    um_synth_plan p, q;
    CHECK_OK(um_synth_plan_make(&c, &p));
    CHECK_INT(p.n_originals, 60);
    CHECK_INT(p.n_fakes, 120);
    for (int part = 0; part < 5; part++) {
        int two = 0, tall = 0, turned = 0, down = 0;
        for (int i = part * 12; i < part * 12 + 12; i++) {
            const um_synth_original *o = &p.original[i];
            CHECK_INT(o->part, part);
            CHECK_INT(o->person, part);
            CHECK(o->second == -1 || (o->second != o->person && o->second != 4 && part != 4));
            CHECK_INT(strlen(o->name), 14);
            CHECK_INT(strspn(o->name, "abcdefghijklmnopqrstuvwxyz"), 10);
            CHECK(o->frames == 60 || o->frames == 50 || o->frames == 48);
            two += o->second >= 0;
            tall += o->height_px > o->width_px && o->rotation_deg == 0;
            turned += o->rotation_deg == 90 || o->rotation_deg == 270;
            down += o->rotation_deg == 180;
            CHECK((o->rotation_deg % 180 == 0) || o->height_px > o->width_px);
        }
        CHECK_INT(two, part == 4 ? 0 : 2);
        CHECK_INT(tall, 2);
        CHECK_INT(turned, 2);
        CHECK_INT(down, 2);
    }
    CHECK_OK(um_synth_plan_make(&c, &q));
    CHECK(memcmp(p.original, q.original, 60 * sizeof *p.original) == 0);
    CHECK(memcmp(p.fake_name, q.fake_name, 120 * sizeof *p.fake_name) == 0);
    um_synth_plan_release(&q);
    c.seed = 8;
    CHECK_OK(um_synth_plan_make(&c, &q));
    CHECK(strcmp(p.original[0].name, q.original[0].name) != 0);
    um_synth_plan_release(&q);
    um_synth_plan_release(&p);

    /* Fewer people than parts: the last part's is nowhere else. One part, or two people: nobody can be a second person. */
    for (int people = 2; people <= 4; people++) {
        c.people = people;
        CHECK_OK(um_synth_plan_make(&c, &p));
        int two = 0;
        for (int i = 0; i < 48; i++) {
            CHECK(p.original[i].person != people - 1 && p.original[i].second != people - 1);
            CHECK(p.original[i].second != p.original[i].person);
            two += p.original[i].second >= 0;
        }
        CHECK_INT(two > 0, people > 2);
        for (int i = 48; i < 60; i++) CHECK(p.original[i].person == people - 1 && p.original[i].second == -1);
        um_synth_plan_release(&p);
    }
    c.width_px = 641;
    CHECK_INT(um_synth_plan_make(&c, &p), UM_USAGE);
    c.width_px = 640;
    c.people = 0;
    CHECK_INT(um_synth_plan_make(&c, &p), UM_USAGE);
    um_err_clear();
}

static void test_warp(void)
{
    um_image in, out;
    um_rgbx x, half;
    CHECK_OK(um_image_new(37, 23, 3, &in));
    CHECK_OK(um_image_new(37, 23, 3, &out));
    for (size_t i = 0; i < in.stride * 23; i++) in.data[i] = (uint8_t)(i * 37 % 251);
    CHECK_OK(um_rgbx_new(37, 23, &x));
    um_rgbx_set(&x, &in);
    /* The identity keeps every pixel, but the last row and column are taken from just inside the border. */
    const double same[6] = {1, 0, 0, 0, 1, 0};
    um_warp_affine(&x, same, &out);
    for (int y = 0; y < 23; y++)
        for (size_t i = 0; i < in.stride; i++)
            CHECK_NEAR(out.data[(size_t)y * out.stride + i], in.data[(size_t)y * in.stride + i], y < 22 && i < 36 * 3 ? 0 : 2);
    /* Half a pixel to the right is the mean of two neighbours. */
    const double between[6] = {1, 0, 0.5, 0, 1, 0};
    um_warp_affine(&x, between, &out);
    for (int i = 0; i < 36 * 3; i++) CHECK_NEAR(out.data[5 * out.stride + (size_t)i], (in.data[5 * in.stride + (size_t)i] + in.data[5 * in.stride + (size_t)i + 3]) / 2.0, 1);
    /* Beyond the border the picture is mirrored: column -3 is column 3. */
    const double left[6] = {1, 0, -3, 0, 1, 0};
    um_warp_affine(&x, left, &out);
    for (int k = 0; k < 3; k++) CHECK_NEAR(out.data[4 * out.stride + (size_t)k], in.data[4 * in.stride + 9 + (size_t)k], 1);
    CHECK_NEAR(um_warp_mirror(-1, 10), 1, 1e-12);
    CHECK_NEAR(um_warp_mirror(9.5, 10), 8.5, 1e-12);
    CHECK_NEAR(um_warp_mirror(19, 10), 1, 1e-12);
    CHECK_OK(um_rgbx_new(19, 12, &half));
    um_rgbx_halve(&x, &half);
    for (int k = 0; k < 3; k++) {
        double mean = (in.data[3 + 3 + k] + in.data[9 + k] + in.data[in.stride + 6 + (size_t)k] + in.data[in.stride + 9 + (size_t)k]) / 4.0;
        CHECK_NEAR(half.data[1] >> (8 * k) & 255, mean, 0.51);
    }
    um_rgbx_free(&x);
    um_rgbx_free(&half);
    um_image_free(&in);
    um_image_free(&out);
}

static void test_track(void)
{
    um_synth_face a = {.x = 100, .y = 50, .width = 40, .height = 50}, b = a, far = a, out;
    b.x = 110;
    far.x = 300;
    um_track_point p[4] = {{0, true, a}, {10, true, b}, {20, true, far}, {30, false, a}}, scratch[4];
    CHECK(um_track_at(p, 4, 5, &out));
    CHECK_NEAR(out.x, 105, 1e-9);
    CHECK(um_track_at(p, 4, 14, &out)); /* a cut: no face flies from one place to the other */
    CHECK_NEAR(out.x, 110, 1e-9);
    CHECK(um_track_at(p, 4, 16, &out));
    CHECK_NEAR(out.x, 300, 1e-9);
    CHECK(um_track_at(p, 4, 24, &out));
    CHECK(!um_track_at(p, 4, 26, &out));
    CHECK(!um_track_at(p, 4, 99, &out));
    p[2].face = a;
    um_track_smooth(p, 4, scratch);
    CHECK_NEAR(p[1].face.x, 105, 1e-9);
    CHECK_NEAR(p[2].face.x, 100, 1e-9);
    um_face face[2] = {{.box = {0, 0, 100, 100}}, {.box = {300, 0, 340, 50}}};
    um_faces faces = {.face = face, .n = 2};
    CHECK(um_track_pick(&faces, NULL, &out));
    CHECK_NEAR(out.x, 50, 1e-9);
    CHECK(um_track_pick(&faces, &far, &out));
    CHECK_NEAR(out.x, 320, 1e-9);
    faces.n = 0;
    CHECK(!um_track_pick(&faces, &far, &out));
}

static void test_shot(void)
{
    enum { W = 320, H = 240, FRAMES = 40 };
    um_portrait p[2] = {portrait(90), portrait(150)};
    const um_portrait *people[2] = {&p[0], &p[1]};
    um_image a, b;
    CHECK_OK(um_image_new(W, H, 3, &a));
    CHECK_OK(um_image_new(W, H, 3, &b));
    for (int n = 1; n <= 2; n++) {
        for (uint64_t seed = 1; seed <= 6; seed++) {
            um_shot *s, *again, *other;
            um_synth_face face[2], before[2] = {0}, f2[2];
            CHECK_OK(um_shot_new(people, n, W, H, 25, FRAMES, seed, 3, &s));
            CHECK_OK(um_shot_new(people, n, W, H, 25, FRAMES, seed, 3, &again));
            CHECK_OK(um_shot_new(people, n, W, H, 25, FRAMES, seed + 100, 3, &other));
            for (int t = 0; t < FRAMES; t++) {
                um_shot_render(s, t, &a, face);
                for (int i = 0; i < n; i++) {
                    /* The green disc in the middle of the face is where the shot says it is. */
                    double sx = 0, sy = 0, sum = 0;
                    for (int y = 0; y < H; y++) {
                        for (int x = 0; x < W; x++) {
                            const uint8_t *d = a.data + (size_t)y * a.stride + 3 * (size_t)x;
                            bool mine = n == 1 || (x < W / 2) == (i == 0);
                            double green = d[1] - (d[0] > d[2] ? d[0] : d[2]) - 70;
                            if (!mine || green <= 0) continue;
                            sx += green * x;
                            sy += green * y;
                            sum += green;
                        }
                    }
                    CHECK(sum > 0);
                    CHECK_NEAR(sx / sum, face[i].x, 0.04 * face[i].width + 0.5);
                    CHECK_NEAR(sy / sum, face[i].y, 0.04 * face[i].width + 0.5);
                    if (t > 0) CHECK(hypot(face[i].x - before[i].x, face[i].y - before[i].y) < 4 && fabs(face[i].angle - before[i].angle) < 0.02);
                    CHECK(face[i].width > 0.1 * H && face[i].width < 0.6 * H && fabs(face[i].angle) < 0.5);
                    before[i] = face[i];
                }
                if (t % 13 != 0) continue;
                um_shot_render(again, t, &b, f2);
                CHECK(memcmp(a.data, b.data, a.stride * H) == 0);
                um_shot_render(other, t, &b, f2);
                CHECK(memcmp(a.data, b.data, a.stride * H) != 0);
            }
            um_shot_free(s);
            um_shot_free(again);
            um_shot_free(other);
        }
    }
    um_image_free(&a);
    um_image_free(&b);
    um_portrait_free(&p[0]);
    um_portrait_free(&p[1]);
}

static void test_forgery(void)
{
    enum { W = 320, H = 240 };
    um_portrait p = portrait(110);
    const um_portrait *people[2] = {&p, NULL};
    um_image clean, fake, again;
    um_shot *s;
    um_synth_face face[2];
    CHECK_OK(um_image_new(W, H, 3, &clean));
    CHECK_OK(um_shot_new(people, 1, W, H, 25, 10, 5, 1, &s));
    um_shot_render(s, 0, &clean, face);
    for (int subtle = 0; subtle < 2; subtle++) {
        for (int k = 0; k < 6; k++) {
            um_forgery *f, *g;
            um_rect r;
            double inside, outside;
            CHECK_OK(um_image_copy(&clean, &fake));
            CHECK_OK(um_image_copy(&clean, &again));
            CHECK_OK(um_forgery_new(5, 1, k, 0, subtle != 0, face[0].width, &f));
            CHECK_OK(um_forgery_new(5, 1, k, 0, subtle != 0, face[0].width, &g));
            um_forgery_apply(f, &fake, &face[0], &r);
            um_forgery_apply(g, &again, &face[0], NULL);
            CHECK(memcmp(fake.data, again.data, fake.stride * H) == 0);
            int outside_rect = 0;
            for (int y = 0; y < H; y++)
                for (int x = 0; x < W; x++)
                    if (x < r.x0 || x >= r.x1 || y < r.y0 || y >= r.y1)
                        outside_rect += memcmp(fake.data + (size_t)y * fake.stride + 3 * (size_t)x, clean.data + (size_t)y * clean.stride + 3 * (size_t)x, 3) != 0;
            CHECK_INT(outside_rect, 0);
            compare(&clean, &fake, &face[0], 0.3, &inside, &outside);
            CHECK(inside < (subtle ? 40 : 32));
            compare(&clean, &fake, &face[0], 0.75, &inside, &outside);
            CHECK(outside == 99); /* not one pixel */
            CHECK(um_forgery_mask(f, 0, 0) > 0.7f && um_forgery_mask(f, 0, 0) <= 1);
            CHECK(um_forgery_mask(f, 0.74, 0) == 0 && um_forgery_mask(f, -2, 9) == 0);
            /* Half outside the frame, tiny, or not a number: no harm. */
            um_synth_face odd[4] = {{.x = 0, .y = 0, .width = 100, .height = 120, .angle = 1}, {.x = W, .y = H, .width = 2000, .height = 2000}, {.x = 9, .y = 9, .width = 1, .height = 1},
                                    {.x = NAN, .y = 9, .width = NAN, .height = 30}};
            for (int i = 0; i < 4; i++) um_forgery_apply(f, &again, &odd[i], NULL);
            um_forgery_free(f);
            um_forgery_free(g);
            um_image_free(&fake);
            um_image_free(&again);
        }
    }
    um_shot_free(s);
    um_image_free(&clean);
    um_portrait_free(&p);
}

static void test_cut(void)
{
    um_image source, out;
    um_cut cut;
    CHECK_OK(um_image_new(1280, 720, 3, &source));
    CHECK_OK(um_image_new(240, 320, 3, &out));
    um_synth_face face = {.x = 900, .y = 300, .width = 100, .height = 130};
    for (int y = 0; y < 720; y++)
        for (int x = 0; x < 1280; x++)
            for (int k = 0; k < 3; k++) source.data[(size_t)y * source.stride + 3 * (size_t)x + (size_t)k] = hypot(x - face.x, y - face.y) < 20 ? 255 : 20;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        CHECK_OK(um_cut_new(1280, 720, 240, 320, &face, seed, 1, &cut));
        um_cut_render(&cut, &source, &out);
        um_synth_face f = um_cut_face(&cut, &face);
        double sx = 0, sy = 0, n = 0;
        for (int y = 0; y < 320; y++) {
            for (int x = 0; x < 240; x++) {
                double v = out.data[(size_t)y * out.stride + 3 * (size_t)x] - 20;
                sx += v * x;
                sy += v * y;
                n += v;
            }
        }
        CHECK(n > 0);
        CHECK_NEAR(sx / n, f.x, 0.6);
        CHECK_NEAR(sy / n, f.y, 0.6);
        CHECK(f.x > f.width / 2 && f.x < 240 - f.width / 2);
        um_cut_free(&cut);
    }
    um_image_free(&source);
    um_image_free(&out);
}

/* Encodes `n` frames of a shot with the forgery f (NULL: none). */
static void encode(const um_video_writer_config *c, um_shot *s, um_forgery *f, const um_grain *g, int n, um_buf *mp4)
{
    um_video_writer *w;
    um_image img;
    um_synth_face face[2];
    CHECK_OK(um_video_writer_new(c, &w));
    CHECK_OK(um_image_new(c->width_px, c->height_px, 3, &img));
    for (int t = 0; t < n; t++) {
        um_shot_render(s, t, &img, face);
        if (f != NULL) um_forgery_apply(f, &img, &face[0], NULL);
        um_grain_apply(g, t, &img);
        CHECK_OK(um_video_writer_add(w, &img));
    }
    CHECK_OK(um_video_writer_finish(w, mp4));
    um_video_writer_free(w);
    um_image_free(&img);
}

static void save(const char *path, const um_buf *b)
{
    FILE *f = fopen(path, "wb");
    CHECK(f != NULL && fwrite(b->data, 1, b->len, f) == b->len && fclose(f) == 0);
}

static void test_video(um_decoder *dec)
{
    enum { W = 240, H = 320, FRAMES = 12 };
    char dir[4000], real_path[4096], fake_path[4096];
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/um_test_synth.XXXXXX", base != NULL ? base : P_tmpdir);
    CHECK(mkdtemp(dir) != NULL);
    snprintf(real_path, sizeof real_path, "%s/real.mp4", dir);
    snprintf(fake_path, sizeof fake_path, "%s/fake.mp4", dir);
    um_portrait p = portrait(110);
    const um_portrait *people[2] = {&p, NULL};
    um_image img;
    um_grain grain;
    CHECK_OK(um_image_new(W, H, 3, &img));
    CHECK_OK(um_grain_new(5, 1, 2, W, &grain));
    for (int rotation = 0; rotation < 360; rotation += 90) {
        um_video_writer_config c = {.width_px = W, .height_px = H, .rotation_deg = rotation, .fps_num = 30000, .fps_den = 1001, .crf = 20};
        um_shot *s;
        um_forgery *f;
        um_synth_face face[2];
        um_buf real = {0}, again = {0}, fake = {0};
        CHECK_OK(um_shot_new(people, 1, W, H, 30000 / 1001.0, FRAMES, 5, 1, &s));
        um_shot_render(s, 0, &img, face);
        CHECK_OK(um_forgery_new(5, 1, 0, 0, false, face[0].width, &f));
        encode(&c, s, NULL, &grain, FRAMES, &real);
        encode(&c, s, NULL, &grain, FRAMES, &again);
        encode(&c, s, f, &grain, FRAMES, &fake);
        CHECK(real.len == again.len && memcmp(real.data, again.data, real.len) == 0);
        CHECK(memmem(real.data, real.len, "x264", 4) == NULL && memmem(real.data, real.len, "Lav", 3) == NULL);
        save(real_path, &real);
        save(fake_path, &fake);

        um_frames all = {.kind = UM_FRAMES_ALL};
        um_video *v = NULL, *u = NULL;
        um_video_info vi, ui;
        um_frame a, b;
        int n = 0;
        CHECK_OK(um_video_open(dec, real_path, &all, -1, -1, &v, &vi));
        CHECK_OK(um_video_open(dec, fake_path, &all, -1, -1, &u, &ui));
        CHECK_INT(vi.rotation_deg, rotation);
        CHECK_INT(ui.rotation_deg, rotation);
        CHECK(vi.width_px == W && vi.height_px == H && ui.width_px == W && ui.height_px == H);
        CHECK_INT(vi.n_frames, FRAMES);
        CHECK_INT(ui.n_frames, FRAMES);
        CHECK_NEAR(vi.fps, 30000 / 1001.0, 1e-3);
        while (v != NULL && u != NULL && um_video_next(v, -1, &a) == UM_OK && um_video_next(u, -1, &b) == UM_OK) {
            double inside, outside;
            um_shot_render(s, n, &img, face);
            CHECK_INT(a.index, n);
            CHECK_NEAR(a.time_s, n * 1001 / 30000.0, 1e-4);
            compare(&img, &a.image, &face[0], 0.5, &inside, &outside); /* upright, and about the frame that was given */
            CHECK(outside > 27 && inside > 27);
            compare(&a.image, &b.image, &face[0], 0.75, &inside, &outside);
            CHECK(outside > 36);
            CHECK(inside < outside - 6);
            n++;
        }
        CHECK_INT(n, FRAMES);
        um_video_close(v, NULL);
        um_video_close(u, NULL);
        um_forgery_free(f);
        um_shot_free(s);
        um_buf_release(&real);
        um_buf_release(&again);
        um_buf_release(&fake);
    }
    um_video_writer *w;
    um_video_writer_config odd = {.width_px = 241, .height_px = 320, .fps_num = 25, .fps_den = 1, .crf = 20};
    CHECK_INT(um_video_writer_new(&odd, &w), UM_USAGE);
    um_err_clear();
    unlink(real_path);
    unlink(fake_path);
    rmdir(dir);
    um_grain_free(&grain);
    um_image_free(&img);
    um_portrait_free(&p);
}

int main(void)
{
    um_decoder *dec = NULL;
    CHECK_OK(um_decoder_start(&um_video_limits_default, &dec)); /* first: it forks */
    test_plan();
    test_warp();
    test_track();
    test_shot();
    test_forgery();
    test_cut();
    if (dec != NULL) test_video(dec);
    um_decoder_stop(dec);
    return TEST_END();
}
