/* Augmentation: what is drawn how often, that a draw is a function of its names, and what each operation promises beside being equal to OpenCV's (tests/golden/test_augment.c). */
#include "src/train/augment_parts.h"
#include "src/train/preview.h"
#include "tests/unit/test.h"

#include <stdlib.h>

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
static int64_t n_allocations;

void *__wrap_malloc(size_t n)
{
    n_allocations++;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    n_allocations++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    n_allocations++;
    return __real_realloc(p, n);
}

static um_image picture(int w, int h, int channels)
{
    um_image img;
    CHECK_OK(um_image_new(w, h, channels, &img));
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w * channels; x++) img.data[(size_t)y * img.stride + (size_t)x] = (uint8_t)(40 + (x * 7 + y * 3 + (x * y) % 13) % 180); /* never black */
    return img;
}

/* A face in the middle of the crop. */
static um_face_picture face(const um_image *crop)
{
    const int w = crop->width_px, h = crop->height_px;
    um_face_picture p = {.crop = *crop, .has_landmarks = true, .box = {0.2f * (float)w, 0.2f * (float)h, 0.8f * (float)w, 0.8f * (float)h}};
    const double at[5][2] = {{0.4, 0.42}, {0.6, 0.42}, {0.5, 0.53}, {0.42, 0.65}, {0.58, 0.65}};
    for (int i = 0; i < 5; i++) {
        p.point[i][0] = (int16_t)(at[i][0] * w);
        p.point[i][1] = (int16_t)(at[i][1] * h);
    }
    return p;
}

static uint64_t sum_of(const um_image *img)
{
    uint64_t h = 1469598103934665603u;
    for (int y = 0; y < img->height_px; y++)
        for (int x = 0; x < img->width_px * img->channels; x++) h = (h ^ img->data[(size_t)y * img->stride + (size_t)x]) * 1099511628211u;
    return h;
}

/* src knows no JPEG: the test's own turns the quality into another picture. */
static um_status fake_jpeg(void *self, int quality, const um_image *in, const um_image *out)
{
    ++*(int *)self;
    for (int y = 0; y < in->height_px; y++)
        for (int x = 0; x < in->width_px * 3; x++) out->data[(size_t)y * out->stride + (size_t)x] = (uint8_t)(in->data[(size_t)y * in->stride + (size_t)x] ^ (quality & 3));
    return UM_OK;
}

static void share_is(const char *what, int64_t n, int64_t of, double want)
{
    const double got = (double)n / (double)of, deviation = sqrt(want * (1 - want) / (double)of);
    if (!(fabs(got - want) <= 4.5 * deviation)) {
        fprintf(stderr, "%s: %.5f of %lld draws, want %.5f\n", what, got, (long long)of, want);
        test_failures++;
    }
}

typedef struct range {
    double lo, hi, sum;
    int64_t n;
} range;

static void see(range *r, double v)
{
    if (r->n == 0 || v < r->lo) r->lo = v;
    if (r->n == 0 || v > r->hi) r->hi = v;
    r->sum += v;
    r->n++;
}

/* Uniform in [lo, hi]: within, reaching out to both ends, and the mean in the middle. */
static void uniform_is(const char *what, const range *r, double lo, double hi)
{
    const double n = (double)r->n, mean = r->sum / n, slack = (hi - lo) * 30 / n;
    if (!(r->lo >= lo && r->hi <= hi && r->lo <= lo + slack && r->hi >= hi - slack && fabs(mean - (lo + hi) / 2) <= 4.5 * (hi - lo) / sqrt(12 * n))) {
        fprintf(stderr, "%s: %g..%g, mean %g, of %lld; want %g..%g\n", what, r->lo, r->hi, mean, (long long)r->n, lo, hi);
        test_failures++;
    }
}

static void test_frequencies(void)
{
    enum { N = 200000 };
    um_image crop = picture(100, 120, 3);
    um_face_picture p = face(&crop), bare = p;
    bare.has_landmarks = false;
    const um_augment_config c = um_augment_config_default(380);
    int64_t cut[6] = {0}, bare_cut[6] = {0}, jpeg = 0, noise = 0, blur = 0, flip = 0, grey = 0, warp = 0, resize[3] = {0}, colour[4] = {0}, hull_side[4] = {0}, side[6] = {0};
    range quality = {0}, variance = {0}, alpha = {0}, beta = {0}, hsv[3] = {{0}}, angle = {0}, scale = {0}, dx = {0}, dy = {0};
    double pca = 0, pca2 = 0;
    for (int i = 0; i < N; i++) {
        um_augment_params a, b;
        um_augment_draw(&c, 111, i % 7, i, i, &p, &a);
        um_augment_draw(&c, 111, i % 7, i, i, &bare, &b);
        cut[a.cut]++;
        bare_cut[b.cut]++;
        if (b.cut == UM_CUT_HULL) hull_side[b.side]++;
        if (b.cut == UM_CUT_BLACKOUT) side[b.side]++;
        resize[a.resize]++;
        colour[a.colour]++;
        blur += a.blur;
        flip += a.flip;
        grey += a.grey;
        if (a.jpeg_quality > 0) {
            jpeg++;
            see(&quality, a.jpeg_quality);
        }
        if (a.noise_sigma > 0) {
            noise++;
            see(&variance, (double)a.noise_sigma * (double)a.noise_sigma);
        }
        if (a.colour == UM_COLOUR_BRIGHTNESS_CONTRAST) {
            see(&alpha, a.alpha);
            see(&beta, a.beta);
        } else if (a.colour == UM_COLOUR_PCA) {
            pca += a.alpha;
            pca2 += a.alpha * a.alpha;
        } else if (a.colour == UM_COLOUR_HSV) {
            for (int k = 0; k < 3; k++) see(&hsv[k], a.shift_hsv[k]);
        }
        if (a.warp) {
            warp++;
            see(&angle, a.angle_deg);
            see(&scale, a.scale);
            see(&dx, a.dx);
            see(&dy, a.dy);
        }
        CHECK(!a.tint && a.shuffle == 0 && a.mixup == 0);
    }
    share_is("eyes", cut[UM_CUT_EYES], N, 0.7 / 2);
    share_is("mouth", cut[UM_CUT_MOUTH], N, 0.7 / 4);
    share_is("nose", cut[UM_CUT_NOSE], N, 0.7 / 8);
    share_is("hull", cut[UM_CUT_HULL], N, 0.3 * 0.2);
    share_is("blackout", cut[UM_CUT_BLACKOUT], N, 0.3 * 0.8 * 0.1);
    share_is("no cut", cut[UM_CUT_NONE], N, 0.7 / 8 + 0.3 * 0.8 * 0.9);
    share_is("hull without landmarks", bare_cut[UM_CUT_HULL], N, 0.2);
    share_is("blackout without landmarks", bare_cut[UM_CUT_BLACKOUT], N, 0.08);
    CHECK_INT(bare_cut[UM_CUT_EYES] + bare_cut[UM_CUT_MOUTH] + bare_cut[UM_CUT_NOSE], 0);
    for (int k = 0; k < 4; k++) share_is("side of the hull", hull_side[k], bare_cut[UM_CUT_HULL], 0.25);
    for (int k = 0; k < 6; k++) share_is("side of the picture", side[k], bare_cut[UM_CUT_BLACKOUT], 1.0 / 6);
    share_is("jpeg", jpeg, N, 0.5);
    share_is("noise", noise, N, 0.1);
    share_is("blur", blur, N, 0.05);
    share_is("flip", flip, N, 0.5);
    share_is("grey", grey, N, 0.2);
    share_is("warp", warp, N, 0.5);
    for (int k = 0; k < 3; k++) share_is("resize", resize[k], N, 1.0 / 3);
    for (int k = 1; k < 4; k++) share_is("colour", colour[k], N, 0.7 / 3);
    CHECK_NEAR(quality.lo, 60, 0);
    CHECK_NEAR(quality.hi, 100, 0);
    CHECK_NEAR(quality.sum / (double)quality.n, 80, 0.2);
    uniform_is("variance", &variance, 10 - 1e-4, 50 + 1e-4);
    uniform_is("contrast", &alpha, 0.8, 1.2);
    uniform_is("brightness", &beta, -0.2, 0.2);
    uniform_is("hue", &hsv[0], -20, 20);
    uniform_is("saturation", &hsv[1], -30, 30);
    uniform_is("value", &hsv[2], -20, 20);
    uniform_is("angle", &angle, -10, 10);
    uniform_is("scale", &scale, 0.8, 1.2);
    uniform_is("dx", &dx, -0.1, 0.1);
    uniform_is("dy", &dy, -0.1, 0.1);
    const double n_pca = (double)colour[UM_COLOUR_PCA];
    CHECK_NEAR(pca / n_pca, 0, 4.5 * 0.1 / sqrt(n_pca));
    CHECK_NEAR(pca2 / n_pca, 0.01, 0.0004);

    const um_augment_config strong = um_augment_config_strong(96);
    int64_t tint = 0, swapped = 0, strong_grey = 0;
    range factor = {0};
    for (int i = 0; i < N / 4; i++) {
        um_augment_params a;
        um_augment_draw(&strong, 5, 0, i, i, &p, &a);
        tint += a.tint;
        swapped += a.shuffle > 0;
        strong_grey += a.grey;
        if (a.tint) see(&factor, a.tint_hsv[1]);
    }
    share_is("tint", tint, N / 4, 0.8);
    share_is("shuffle", swapped, N / 4, 0.5 * 5 / 6);
    share_is("grey, strong", strong_grey, N / 4, 0.3);
    uniform_is("saturation factor", &factor, 0.5, 1.5);

    um_augment_config mix = um_augment_config_default(96);
    mix.p_mixup = 0.4;
    for (int k = 0; k < 2; k++) {
        mix.mixup_alpha = k == 0 ? 1 : 0.5;
        int64_t mixed = 0;
        double mean = 0, square = 0;
        for (int i = 0; i < N / 4; i++) {
            um_augment_params a;
            um_augment_draw(&mix, 5, 0, i, i, &p, &a);
            mixed += a.mixup > 0;
            CHECK(a.mixup >= 0 && a.mixup <= 255);
            const double v = (a.mixup + 0.5) / 256 - 0.5;
            if (a.mixup > 0) {
                mean += v;
                square += v * v;
            }
        }
        share_is("mixup", mixed, N / 4, 0.4);
        CHECK_NEAR(mean / (double)mixed, 0, 0.01);
        CHECK_NEAR(square / (double)mixed, 0.25 / (2 * mix.mixup_alpha + 1), 0.005); /* variance of Beta(a, a) */
    }
    um_image_free(&crop);
}

static void test_names(void)
{
    um_image crop = picture(90, 70, 3), out[2];
    um_face_picture p = face(&crop);
    um_augment_config c = um_augment_config_strong(64);
    int calls = 0;
    const um_augment_jpeg jpeg = {fake_jpeg, &calls};
    um_augment_work *w, *fresh;
    CHECK_OK(um_augment_work_new(&jpeg, &w));
    for (int k = 0; k < 2; k++) CHECK_OK(um_image_new(64, 64, 3, &out[k]));
    const uint64_t before = sum_of(&crop);
    int changed = 0;
    for (int i = 0; i < 300; i++) {
        um_augment_params a, b;
        um_augment_draw(&c, 9, 4, i, i, &p, &a);
        CHECK_OK(um_augment_apply(w, &a, &p, &out[0]));
        CHECK_OK(um_augment_work_new(&jpeg, &fresh)); /* nothing is left of the picture before */
        um_augment_draw(&c, 9, 4, i, i, &p, &b);
        CHECK_OK(um_augment_apply(fresh, &b, &p, &out[1]));
        um_augment_work_free(fresh);
        CHECK(sum_of(&out[0]) == sum_of(&out[1]));
        /* Another epoch, seed or sample is another picture. */
        um_augment_draw(&c, 9 + (i % 3 == 0), 4 + (i % 3 == 1), i + (i % 3 == 2), i + (i % 3 == 2), &p, &b);
        CHECK_OK(um_augment_apply(w, &b, &p, &out[1]));
        changed += sum_of(&out[0]) != sum_of(&out[1]);
    }
    CHECK(changed > 290);
    CHECK(calls > 0);
    CHECK(sum_of(&crop) == before);

    /* Switching one thing off leaves the others as they were. */
    um_augment_config without = c;
    without.p_jpeg = without.p_landmarks = without.p_warp = 0;
    for (int i = 0; i < 300; i++) {
        um_augment_params a, b;
        um_augment_draw(&c, 9, 4, i, i, &p, &a);
        um_augment_draw(&without, 9, 4, i, i, &p, &b);
        CHECK_INT(b.jpeg_quality, 0);
        CHECK(!b.warp && b.cut != UM_CUT_EYES);
        CHECK(a.noise_sigma == b.noise_sigma && a.blur == b.blur && a.flip == b.flip && a.resize == b.resize && a.colour == b.colour && a.alpha == b.alpha && a.tint == b.tint && a.shuffle == b.shuffle && a.grey == b.grey);
    }
    without = c;
    without.no_hardcore = true;
    for (int i = 0; i < 300; i++) {
        um_augment_params a;
        um_augment_draw(&without, 9, 4, i, i, &p, &a);
        CHECK(a.cut == UM_CUT_NONE);
    }

    /* The two of a pair. */
    int different = 0;
    for (int only = 0; only < 2; only++) {
        c.pair_geometry_only = only == 1;
        for (int i = 0; i < 300; i++) {
            um_augment_params a, b;
            um_augment_draw(&c, 9, 4, 1000 + i, i, &p, &a);
            um_augment_draw(&c, 9, 4, 2000 + i, i, &p, &b);
            CHECK(a.cut == b.cut && a.side == b.side && a.flip == b.flip && a.resize == b.resize && a.warp == b.warp && a.angle_deg == b.angle_deg && a.scale == b.scale && a.dx == b.dx && a.dy == b.dy);
            const bool same = a.jpeg_quality == b.jpeg_quality && a.colour == b.colour && a.grey == b.grey && a.noise_key[0] == b.noise_key[0] && a.tint_hsv[0] == b.tint_hsv[0];
            if (only == 0) CHECK(same);
            different += !same;
        }
    }
    CHECK(different > 250);
    um_augment_work_free(w);
    for (int k = 0; k < 2; k++) um_image_free(&out[k]);
    um_image_free(&crop);
}

static void test_blackout(void)
{
    um_image crop = picture(80, 60, 3), mask = picture(80, 60, 1);
    um_augment_config c = um_augment_config_default(64);
    c.p_landmarks = c.p_hull = 0;
    c.p_blackout = 1;
    memset(mask.data, 0, mask.stride * 60);
    um_face_picture p = face(&crop);
    p.fake = true;
    p.mask = mask;
    int64_t sides[6] = {0}, none = 0;
    um_augment_params a;
    for (int i = 0; i < 2000; i++) { /* nothing differs anywhere: nothing may be blacked out */
        um_augment_draw(&c, 1, 0, i, i, &p, &a);
        CHECK(a.cut == UM_CUT_NONE);
    }
    for (int i = 0; i < 21; i++) mask.data[i] = 5; /* upper left, 21 px, weak */
    for (int i = 0; i < 6000; i++) {
        um_augment_draw(&c, 1, 0, i, i, &p, &a);
        if (a.cut == UM_CUT_NONE) {
            none++;
            continue;
        }
        CHECK(a.side == 1 || a.side == 3 || a.side == 5); /* upper, left, upper left and lower right */
        CHECK(a.mask_too_small);
        sides[a.side]++;
    }
    share_is("no side after five tries", none, 6000, 1.0 / 32);
    CHECK(sides[1] > 1500 && sides[3] > 1500 && sides[5] > 1500);
    mask.data[20] = 0; /* 20 px are not enough */
    um_augment_draw(&c, 1, 0, 0, 0, &p, &a);
    CHECK(a.cut == UM_CUT_NONE);
    for (int i = 0; i < 33; i++) mask.data[i] = 21;
    do um_augment_draw(&c, 1, 0, none++, 0, &p, &a);
    while (a.cut != UM_CUT_BLACKOUT && none < 9000);
    CHECK(!a.mask_too_small);
    p.mask = (um_image){0};
    p.fake = false;
    um_augment_draw(&c, 1, 0, 0, 0, &p, &a);
    CHECK(a.cut == UM_CUT_BLACKOUT); /* a real has no mask to ask */
    um_image_free(&crop);
    um_image_free(&mask);
}

static int64_t count_black(const um_image *img)
{
    int64_t n = 0;
    for (int y = 0; y < img->height_px; y++)
        for (int x = 0; x < img->width_px; x++) {
            const uint8_t *p = img->data + (size_t)y * img->stride + (size_t)x * 3;
            n += p[0] == 0 && p[1] == 0 && p[2] == 0;
        }
    return n;
}

static bool black_at(const um_image *img, int x, int y) { return img->data[(size_t)y * img->stride + (size_t)x * 3] == 0; }

static void test_hull(void)
{
    um_image crop = picture(200, 240, 3), cut;
    um_face_picture p = face(&crop);
    um_augment_hull h;
    int64_t black[4];
    CHECK(um_augment_hull_of(&p, &h));
    for (int side = 0; side < 4; side++) {
        CHECK_OK(um_image_copy(&crop, &cut));
        um_augment_cut_hull(&cut, &h, side);
        black[side] = count_black(&cut);
        CHECK(black_at(&cut, p.point[0][0], p.point[0][1]) == (side == 0 || side == 2));  /* left eye */
        CHECK(black_at(&cut, p.point[4][0], p.point[4][1]) == (side == 1 || side == 3));  /* right corner of the mouth */
        CHECK(!black_at(&cut, 0, 0) && !black_at(&cut, 199, 239) && !black_at(&cut, 100, 40)); /* corners, forehead */
        um_image_free(&cut);
    }
    CHECK_INT(black[0] + black[1], black[2] + black[3]); /* two halves are the whole */
    const double area = 3.14159265 / 2 * sqrt((double)(h.across[0] * h.across[0] + h.across[1] * h.across[1])) * (double)h.down[1] * (1 + (double)h.up);
    CHECK_NEAR((double)(black[0] + black[1]) / area, 1, 0.02);
    CHECK(h.centre[1] + h.down[1] > 0.7f * 240 && h.centre[1] + h.down[1] < 0.85f * 240); /* the chin */

    um_face_picture q = p; /* no landmarks: the box */
    q.has_landmarks = false;
    CHECK(um_augment_hull_of(&q, &h));
    CHECK_NEAR(h.centre[0], 100, 1);
    q.has_landmarks = true; /* landmarks that are one point: the box */
    for (int i = 0; i < 5; i++) q.point[i][0] = q.point[i][1] = 7;
    CHECK(um_augment_hull_of(&q, &h));
    CHECK_NEAR(h.centre[0], 100, 1);
    memset(q.box, 0, sizeof q.box);
    CHECK(!um_augment_hull_of(&q, &h));
    q = p; /* profile: both eyes at one place */
    q.point[1][0] = q.point[0][0];
    CHECK(um_augment_hull_of(&q, &h));
    CHECK(h.across[0] > 0.4f * 0.6f * 200 && h.down[1] > 0);
    q = p; /* upside down: eyes from right to left, below the mouth */
    for (int i = 0; i < 5; i++) {
        q.point[i][0] = (int16_t)(199 - p.point[i][0]);
        q.point[i][1] = (int16_t)(239 - p.point[i][1]);
    }
    CHECK(um_augment_hull_of(&q, &h));
    CHECK(h.down[1] < 0);
    /* Far outside and far too large: clipped. */
    CHECK_OK(um_image_copy(&crop, &cut));
    um_augment_cut_hull(&cut, &(um_augment_hull){{-5e8f, 3}, {4, 0}, {0, 4}, 0.3f}, 0);
    CHECK_INT(count_black(&cut), 0);
    um_augment_cut_hull(&cut, &(um_augment_hull){{100, 120}, {1e9f, 0}, {0, 1e9f}, 0.3f}, 2);
    CHECK_INT(count_black(&cut), 99 * 240); /* the centroid's column stays */
    um_image_free(&cut);
    um_image_free(&crop);
}

static void test_lines(void)
{
    um_image img = picture(60, 50, 3);
    int rows[100];
    um_augment_cut_line(&img, (const int[2][2]){{20, 20}, {20, 20}}, 3, rows); /* both at one place: a cross, grown to a diamond of radius 4 */
    CHECK_INT(count_black(&img), 41);
    um_image_free(&img);
    img = picture(60, 50, 3);
    um_augment_cut_line(&img, (const int[2][2]){{-300, -200}, {-100, 9000}}, 20, rows); /* outside */
    CHECK_INT(count_black(&img), 0);
    um_augment_cut_line(&img, (const int[2][2]){{-32768, -32768}, {32767, 32767}}, 200, rows);
    CHECK_INT(count_black(&img), 3000);
    um_image_free(&img);
}

static void test_padding(void)
{
    um_image crop = picture(401, 250, 3);
    um_face_picture p = face(&crop);
    um_augment_config c = um_augment_config_default(64);
    um_augment_params a;
    um_augment_draw(&c, 1, 0, 0, 0, &p, &a);
    CHECK(a.keep.x0 == 0 && a.keep.x1 == 401 && a.keep.y0 == 0 && a.keep.y1 == 250);
    c.padding_part = 4; /* p = int(60.15) = 60 and int(37.5) = 37 */
    um_augment_draw(&c, 1, 0, 0, 0, &p, &a);
    CHECK_INT(a.keep.x0, 20);
    CHECK_INT(a.keep.x1, 381);
    CHECK_INT(a.keep.y0, 13);
    CHECK_INT(a.keep.y1, 237);
    for (c.padding_part = 4; c.padding_part < 9; c.padding_part++)
        for (int w = 1; w < 60; w++) {
            p.crop.width_px = w;
            um_augment_draw(&c, 1, 0, 0, 0, &p, &a);
            CHECK(a.keep.x0 >= 0 && a.keep.x1 <= w && a.keep.x0 < a.keep.x1);
        }
    um_image_free(&crop);
}

static void test_noise(void)
{
    const int16_t *q = um_augment_quantiles();
    double sum2 = 0;
    for (int i = 0; i < 65536; i++) {
        if (i > 0) CHECK(q[i] >= q[i - 1]);
        CHECK(q[i] == -q[65535 - i]);
        sum2 += (double)q[i] * q[i];
    }
    CHECK_NEAR(sum2 / 65536 / 4096 / 4096, 1, 2e-4);
    CHECK_INT(q[65535], 17715); /* 4.3249, by scipy.stats.norm.ppf */
    CHECK_INT(q[60000], 5635);
    const um_image all = {.data = (uint8_t *)(uintptr_t)q, .width_px = 65536 * 2 / 64, .height_px = 64, .channels = 1, .stride = 65536 * 2 / 64};
    CHECK(sum_of(&all) == UINT64_C(0x8159178d7bb28e8)); /* equal to scipy's; the table is part of what makes results repeatable */
    um_image flat, out;
    CHECK_OK(um_image_new(300, 200, 3, &flat));
    CHECK_OK(um_image_new(300, 200, 3, &out));
    memset(flat.data, 128, flat.stride * 200);
    const uint32_t key[2] = {7, 8}, other[2] = {7, 9};
    um_augment_noise(&flat, 5, key, &out);
    const uint64_t first = sum_of(&out);
    double mean = 0, square = 0, next = 0;
    for (int i = 0; i < 180000; i++) {
        const double v = out.data[i] - 127.5;
        mean += v;
        square += v * v;
        if (i + 3 < 180000) next += v * (out.data[i + 3] - 127.5);
    }
    CHECK_NEAR(mean / 180000, 0, 0.05); /* cut off: half a level below */
    CHECK_NEAR(square / 180000, 25 + 1.0 / 12, 0.4);
    CHECK_NEAR(next / 180000, 0, 0.3);
    um_augment_noise(&flat, 5, key, &out);
    CHECK(sum_of(&out) == first);
    um_augment_noise(&flat, 5, other, &out);
    CHECK(sum_of(&out) != first);
    um_augment_noise(&flat, 5, key, &flat); /* in place */
    CHECK(sum_of(&flat) == first);
    um_image_free(&flat);
    um_image_free(&out);
}

/* Every operation at once, on sizes that are odd and tiny; views with spare bytes; nothing beside them is written. */
static void test_sizes(void)
{
    static const int SIZES[][2] = {{1, 1}, {2, 1}, {1, 2}, {1, 77}, {77, 1}, {7, 3}, {64, 64}, {65, 63}, {128, 128}, {301, 200}, {30, 400}};
    um_augment_config c = um_augment_config_strong(64);
    c.p_jpeg = c.p_noise = c.p_blur = c.p_flip = c.p_colour = c.p_tint = c.p_shuffle = c.p_warp = 1;
    c.p_hull = c.p_blackout = 0.5;
    c.p_grey = 0.1;
    c.padding_part = 5;
    int calls = 0;
    const um_augment_jpeg jpeg = {fake_jpeg, &calls};
    um_augment_work *w;
    um_image sheet;
    CHECK_OK(um_augment_work_new(&jpeg, &w));
    CHECK_OK(um_image_new(64 + 10, 64 + 4, 3, &sheet));
    const um_image out = um_image_crop(&sheet, (um_rect){3, 2, 67, 66});
    memset(sheet.data, 0x5a, sheet.stride * 68);
    for (size_t s = 0; s < sizeof SIZES / sizeof *SIZES; s++) {
        um_image crop = picture(SIZES[s][0], SIZES[s][1], 3);
        um_face_picture p = face(&crop);
        for (int i = 0; i < 60; i++) {
            um_augment_params a;
            p.has_landmarks = i % 2 == 0;
            um_augment_draw(&c, 3, 0, i, i, &p, &a);
            CHECK_OK(um_augment_apply(w, &a, &p, &out));
        }
        CHECK_OK(um_augment_plain(w, 64, &crop, &out));
        um_image_free(&crop);
    }
    int outside = 0;
    for (int y = 0; y < 68; y++)
        for (int x = 0; x < 74 * 3; x++)
            if (y < 2 || y >= 66 || x < 9 || x >= 67 * 3) outside += sheet.data[(size_t)y * sheet.stride + (size_t)x] != 0x5a;
    CHECK_INT(outside, 0);

    /* Once the largest was met, nothing is allocated. */
    um_image crop = picture(300, 280, 3);
    um_face_picture p = face(&crop);
    for (int i = 0; i < 100; i++) {
        um_augment_params a;
        um_augment_draw(&c, 3, 0, i, i, &p, &a);
        a.resize = UM_AUGMENT_AREA_CUBIC;
        CHECK_OK(um_augment_apply(w, &a, &p, &out));
        if (i == 0) n_allocations = 0;
    }
    CHECK_INT(n_allocations, 0);

    um_augment_params a;
    um_augment_draw(&c, 3, 0, 0, 0, &p, &a);
    p.crop.width_px--; /* not the picture it was drawn for */
    CHECK_INT(um_augment_apply(w, &a, &p, &out), UM_INTERNAL);
    um_augment_work_free(w);
    CHECK_OK(um_augment_work_new(NULL, &w));
    p.crop.width_px++;
    CHECK_INT(um_augment_apply(w, &a, &p, &out), UM_INTERNAL); /* JPEG without a codec */
    um_augment_work_free(w);
    um_image_free(&crop);
    um_image_free(&sheet);
}

static void test_mixup(void)
{
    um_image a = picture(33, 9, 3), b = picture(33, 9, 3), out;
    memset(b.data, 255, b.stride * 9);
    CHECK_OK(um_image_new(33, 9, 3, &out));
    um_augment_mixup(&a, &b, 0, &out);
    CHECK(sum_of(&out) == sum_of(&a));
    um_augment_mixup(&a, &b, 256, &out);
    CHECK(sum_of(&out) == sum_of(&b));
    um_augment_mixup(&a, &b, 64, &out);
    CHECK_INT(out.data[5], (255 * 64 + a.data[5] * 192 + 128) >> 8);
    um_augment_mixup(&a, &b, 64, &b);
    CHECK(sum_of(&out) == sum_of(&b));
    um_image_free(&a);
    um_image_free(&b);
    um_image_free(&out);
}

static void test_config(void)
{
    um_augment_config c = um_augment_config_default(380), parsed = {.size_px = 380, .padding_part = 3};
    um_texts operands = {0};
    um_opt_common common = {0};
    CHECK_OK(um_opt_parse(um_augment_options, 0, NULL, &parsed, &operands, &common)); /* the table's defaults are those of the function */
    for (const um_opt *o = um_augment_options; o->key != NULL; o++) CHECK(memcmp((char *)&c + o->offset, (char *)&parsed + o->offset, o->type == UM_OPT_FLAG ? sizeof(bool) : 8) == 0);
    const char *const set[] = {"--set", "augment.p_tint=0.8", "--set", "augment.pair_geometry_only=true"};
    CHECK_OK(um_opt_parse(um_augment_options, 4, set, &parsed, &operands, &common));
    CHECK_NEAR(parsed.p_tint, 0.8, 0);
    CHECK(parsed.pair_geometry_only);
    um_texts_release(&operands);
    CHECK_OK(um_augment_config_check(&c));
    um_augment_config strong = um_augment_config_strong(96);
    CHECK_OK(um_augment_config_check(&strong));
    c.p_flip = 1.5;
    CHECK_INT(um_augment_config_check(&c), UM_CONFIG);
    CHECK(strstr(um_err_text(), "augment.p_flip") != NULL);
    c = um_augment_config_default(380);
    c.p_grey = (double)NAN;
    CHECK_INT(um_augment_config_check(&c), UM_CONFIG);
    c = um_augment_config_default(380);
    c.jpeg_min = 90, c.jpeg_max = 80;
    CHECK_INT(um_augment_config_check(&c), UM_CONFIG);
    c = um_augment_config_default(0);
    CHECK_INT(um_augment_config_check(&c), UM_CONFIG);
}

static void test_preview(void)
{
    um_image crop = picture(90, 70, 3), sheet, plain;
    um_face_picture p[2] = {face(&crop), face(&crop)};
    p[1].fake = true;
    const int64_t sample[2] = {3, 9}, pair[2] = {3, 3};
    const char *const label[2] = {"REAL", "FAKE"};
    um_augment_config c = um_augment_config_default(64);
    c.p_jpeg = 0;
    um_augment_work *w;
    CHECK_OK(um_augment_work_new(NULL, &w));
    CHECK_OK(um_preview_sheet(w, &c, 1, 0, p, sample, pair, label, 2, 4, &sheet));
    CHECK(sheet.width_px > 5 * 64 && sheet.width_px < 5 * 80 && sheet.height_px > 2 * 64);
    CHECK_OK(um_image_new(64, 64, 3, &plain));
    CHECK_OK(um_augment_plain(w, 64, &crop, &plain));
    const um_image cell = um_image_crop(&sheet, (um_rect){6, 6, 70, 70}); /* the first cell is the crop as it is */
    CHECK(sum_of(&cell) == sum_of(&plain));
    um_image_free(&sheet);
    um_image_free(&plain);
    CHECK_INT(um_preview_sheet(w, &c, 1, 0, p, sample, pair, label, 2, 4000, &sheet), UM_TOO_LARGE);
    char text[200];
    um_augment_params a = {.cut = UM_CUT_EYES, .jpeg_quality = 71, .flip = true, .colour = UM_COLOUR_PCA, .mixup = 64};
    um_augment_describe(&a, text, sizeof text);
    CHECK_STR(text, "EYES JPEG71 FLIP PCA MIX64/256 AC");
    um_augment_describe(&a, text, 5);
    CHECK_STR(text, "EYES");
    um_augment_work_free(w);
    um_image_free(&crop);
}

int main(void)
{
    test_frequencies();
    test_names();
    test_blackout();
    test_hull();
    test_lines();
    test_padding();
    test_noise();
    test_sizes();
    test_mixup();
    test_config();
    test_preview();
    return TEST_END();
}
