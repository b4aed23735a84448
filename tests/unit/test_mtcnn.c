/* The face detector with seeded random weights against a plain implementation in double precision, and its levels against each other. */
#include "src/core/cpu.h"
#include "src/core/rng.h"
#include "src/image/area.h"
#include "src/models/mtcnn.h"
#include "src/models/mtcnn_boxes.h"
#include "src/models/mtcnn_kernels.h"
#include "tests/unit/test.h"

#include <stdlib.h>

/* Weights that keep activations near 1, so that about a third of all places pass a threshold of 0.6. */
static um_mtcnn_weights random_weights(uint32_t seed)
{
    um_mtcnn_weights w = {0};
    um_rng r = um_rng_stream(seed, 0, 0, UM_RNG_TEST);
    for (int i = 0; i < UM_MTCNN_TENSORS; i++) {
        const um_mtcnn_tensor *t = &um_mtcnn_tensors[i];
        size_t n = um_mtcnn_tensor_count(i);
        w.data[i] = malloc(n * sizeof(float));
        double scale = t->dims[1] == 0 ? 0.1 : 1.4 / sqrt((double)n / t->dims[0]);
        if (t->dims[0] == 4 && t->dims[1] != 0) scale *= 0.1; /* boxes move by a tenth of their side */
        for (size_t k = 0; k < n; k++) w.data[i][k] = (float)(scale * um_rng_normal(&r) + (strstr(t->name, "prelu") != NULL ? 0.2 : 0));
    }
    return w;
}

static int find(const char *name)
{
    for (int i = 0; i < UM_MTCNN_TENSORS; i++)
        if (strcmp(um_mtcnn_tensors[i].name, name) == 0) return i;
    CHECK(false);
    return 0;
}

/* ---- the plain implementation: maps are (C,H,W) in double ---- */

typedef struct map {
    int c, h, w;
    double *v;
} map;

static map map_new(int c, int h, int w) { return (map){c, h, w, calloc((size_t)(c * h * w), sizeof(double))}; }
static double *at(const map *m, int c, int y, int x) { return &m->v[(c * m->h + y) * m->w + x]; }

static const float *tensor(const um_mtcnn_weights *w, const char *net, const char *layer, const char *what, int *dims)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s%s", net, layer, what);
    int i = find(name);
    if (dims != NULL) memcpy(dims, um_mtcnn_tensors[i].dims, 4 * sizeof(int));
    return w->data[i];
}

/* Convolution (or dense layer: a map of 1x1) then PReLU unless prelu is NULL; frees the input. */
static map conv(map in, const um_mtcnn_weights *w, const char *net, const char *layer, const char *prelu)
{
    int d[4];
    const float *k = tensor(w, net, layer, ".weight", d), *b = tensor(w, net, layer, ".bias", NULL), *a = prelu == NULL ? NULL : tensor(w, net, prelu, ".weight", NULL);
    int R = d[2] == 0 ? 1 : d[2];
    CHECK_INT(in.c, d[1]);
    map out = map_new(d[0], in.h - R + 1, in.w - R + 1);
    for (int o = 0; o < out.c; o++)
        for (int y = 0; y < out.h; y++)
            for (int x = 0; x < out.w; x++) {
                double s = (double)b[o];
                for (int c = 0; c < in.c; c++)
                    for (int r = 0; r < R; r++)
                        for (int q = 0; q < R; q++) s += *at(&in, c, y + r, x + q) * (double)k[((o * in.c + c) * R + r) * R + q];
                *at(&out, o, y, x) = a != NULL && s < 0 ? s * (double)a[o] : s;
            }
    free(in.v);
    return out;
}

static map pool(map in, int k)
{
    map out = map_new(in.c, (in.h - k + 1) / 2 + 1, (in.w - k + 1) / 2 + 1);
    for (int c = 0; c < in.c; c++)
        for (int y = 0; y < out.h; y++)
            for (int x = 0; x < out.w; x++) {
                double m = -INFINITY;
                for (int r = 2 * y; r < 2 * y + k && r < in.h; r++)
                    for (int q = 2 * x; q < 2 * x + k && q < in.w; q++) m = fmax(m, *at(&in, c, r, q));
                *at(&out, c, y, x) = m;
            }
    free(in.v);
    return out;
}

/* permute(0, 3, 2, 1) and flatten: W, H, C. */
static map flatten(map in)
{
    map out = map_new(in.c * in.h * in.w, 1, 1);
    int i = 0;
    for (int x = 0; x < in.w; x++)
        for (int y = 0; y < in.h; y++)
            for (int c = 0; c < in.c; c++) out.v[i++] = *at(&in, c, y, x);
    free(in.v);
    return out;
}

static map copy(map in)
{
    map out = map_new(in.c, in.h, in.w);
    memcpy(out.v, in.v, (size_t)(in.c * in.h * in.w) * sizeof(double));
    return out;
}

static map area(const um_image *img, um_rect r, int h, int w)
{
    map m = map_new(3, h, w);
    um_area_window *x = malloc((size_t)w * sizeof *x), *y = malloc((size_t)h * sizeof *y);
    um_area_windows(r.x0, r.x1 - r.x0, w, x);
    um_area_windows(r.y0, r.y1 - r.y0, h, y);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < h; i++)
            for (int j = 0; j < w; j++) {
                double s = 0;
                for (int p = y[i].lo; p < y[i].hi; p++)
                    for (int q = x[j].lo; q < x[j].hi; q++) s += img->data[(size_t)p * img->stride + (size_t)q * 3 + (size_t)c];
                *at(&m, c, i, j) = (s / ((y[i].hi - y[i].lo) * (x[j].hi - x[j].lo)) - 127.5) / 128;
            }
    free(x);
    free(y);
    return m;
}

static map pnet_features(const um_mtcnn_weights *w, map in)
{
    map m = pool(conv(in, w, "pnet", "conv1", "prelu1"), 2);
    return conv(conv(m, w, "pnet", "conv2", "prelu2"), w, "pnet", "conv3", "prelu3");
}

static float sigmoid(double logit) { return (float)(1 / (1 + exp(-logit))); }

static um_status ref_detect(const um_mtcnn_weights *w, const um_image *img, const um_thresholds *t, um_boxes *all)
{
    um_boxes level = {0};
    all->n = 0;
    double scale = 0.6, side = 0.6 * (img->width_px < img->height_px ? img->width_px : img->height_px);
    for (; side >= 12; scale *= 0.709, side *= 0.709) {
        map m = pnet_features(w, area(img, (um_rect){0, 0, img->width_px, img->height_px}, (int)(img->height_px * scale + 1), (int)(img->width_px * scale + 1)));
        map face = conv(copy(m), w, "pnet", "conv4_1", NULL), box = conv(m, w, "pnet", "conv4_2", NULL);
        level.n = 0;
        UM_PASS(um_boxes_reserve(&level, (size_t)(face.h * face.w)));
        for (int y = 0; y < face.h; y++)
            for (int x = 0; x < face.w; x++) {
                float p = sigmoid(*at(&face, 1, y, x) - *at(&face, 0, y, x));
                if (!(p >= (float)t->p)) continue;
                um_box *b = &level.box[level.n];
                *b = (um_box){.p = p, .order = (uint32_t)level.n++};
                b->x0 = floorf((float)(2 * x + 1) / (float)scale);
                b->y0 = floorf((float)(2 * y + 1) / (float)scale);
                b->x1 = floorf((float)(2 * x + 12) / (float)scale);
                b->y1 = floorf((float)(2 * y + 12) / (float)scale);
                for (int k = 0; k < 4; k++) b->shift[k] = (float)*at(&box, k, y, x);
            }
        um_boxes_sort(&level);
        um_boxes_nms(&level, 0.5);
        UM_PASS(um_boxes_append(all, &level));
        free(face.v);
        free(box.v);
    }
    um_boxes_release(&level);
    for (int i = 0; i < all->n; i++) all->box[i].order = (uint32_t)i;
    um_boxes_sort(all);
    um_boxes_nms(all, 0.7);
    for (int i = 0; i < all->n; i++) {
        um_box *b = &all->box[i];
        float bw = b->x1 - b->x0, bh = b->y1 - b->y0;
        b->x0 += b->shift[0] * bw;
        b->y0 += b->shift[1] * bh;
        b->x1 += b->shift[2] * bw;
        b->y1 += b->shift[3] * bh;
        um_box_square(b);
    }
    for (int stage = 0; stage < 2; stage++) {
        const char *net = stage == 0 ? "rnet" : "onet", *dense = stage == 0 ? "dense4" : "dense5", *prelu = stage == 0 ? "prelu4" : "prelu5";
        int n = 0, size = stage == 0 ? 24 : 48;
        for (int i = 0; i < all->n; i++) {
            um_box b = all->box[i];
            um_rect r;
            if (!um_box_pad(&b, img->width_px, img->height_px, &r)) continue;
            map m = pool(conv(area(img, r, size, size), w, net, "conv1", "prelu1"), 3);
            m = pool(conv(m, w, net, "conv2", "prelu2"), 3);
            m = conv(m, w, net, "conv3", "prelu3");
            if (stage == 1) m = conv(pool(m, 2), w, net, "conv4", "prelu4");
            m = conv(flatten(m), w, net, dense, prelu);
            map face = conv(copy(m), w, net, stage == 0 ? "dense5_1" : "dense6_1", NULL), box = conv(copy(m), w, net, stage == 0 ? "dense5_2" : "dense6_2", NULL);
            b.p = sigmoid(face.v[1] - face.v[0]);
            for (int k = 0; k < 4; k++) b.shift[k] = (float)box.v[k];
            if (stage == 1) {
                map marks = conv(copy(m), w, net, "dense6_3", NULL);
                for (int k = 0; k < 5; k++) {
                    b.landmarks[k][0] = (b.x1 - b.x0 + 1) * (float)marks.v[k] + b.x0 - 1;
                    b.landmarks[k][1] = (b.y1 - b.y0 + 1) * (float)marks.v[5 + k] + b.y0 - 1;
                }
                free(marks.v);
                um_box_shift(&b);
            }
            free(m.v);
            free(face.v);
            free(box.v);
            b.order = (uint32_t)n;
            if (b.p > (float)(stage == 0 ? t->r : t->o)) all->box[n++] = b;
        }
        all->n = n;
        if (stage == 0) {
            um_boxes_sort(all);
            um_boxes_nms(all, 0.7);
            for (int i = 0; i < all->n; i++) {
                um_box_shift(&all->box[i]);
                um_box_square(&all->box[i]);
            }
        }
    }
    um_boxes_nms_min(all, 0.7);
    um_boxes_sort_by_size(all);
    return UM_OK;
}

/* ---- tests ---- */

static um_image picture(int w, int h, uint32_t seed)
{
    um_image img;
    um_rng r = um_rng_stream(seed, 1, 0, UM_RNG_TEST);
    CHECK_OK(um_image_new(w, h, 3, &img));
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < 3; c++)
                img.data[(size_t)y * img.stride + (size_t)(3 * x + c)] =
                    (uint8_t)(127 + 90 * sin(0.13 * x + c) * cos(0.17 * y - 0.5 * c) + um_rng_uniform(&r, -30, 30));
    return img;
}

static void test_table(void)
{
    size_t total = 0;
    for (int i = 0; i < UM_MTCNN_TENSORS; i++) {
        total += um_mtcnn_tensor_count(i);
        for (int k = 0; k < i; k++) CHECK(strcmp(um_mtcnn_tensors[i].name, um_mtcnn_tensors[k].name) != 0);
    }
    CHECK_INT(total, 6632 + 100178 + 389040); /* parameters of the three nets */
}

static void test_pnet(const um_mtcnn_weights *w, const um_mtcnn_kernels *k, int width, int height)
{
    map m = map_new(3, height, width);
    um_rng r = um_rng_stream(3, (uint64_t)width, (uint32_t)height, UM_RNG_TEST);
    size_t stride = (size_t)width + 3;
    float *level = calloc(stride * 3 * (size_t)height + UM_PNET_SLACK, sizeof(float)), *work = calloc(k->pnet_work(width), sizeof(float));
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                level[((size_t)(c * height + y)) * stride + (size_t)x] = (float)um_rng_uniform(&r, -1, 1);
                *at(&m, c, y, x) = (double)level[((size_t)(c * height + y)) * stride + (size_t)x];
            }
    um_pnet net = {0};
    const float *f = w->data[find("pnet.conv4_1.weight")], *fb = w->data[find("pnet.conv4_1.bias")];
    float face[32];
    for (int i = 0; i < 32; i++) face[i] = f[32 + i] - f[i];
    net.face = face;
    net.face_bias = fb[1] - fb[0];
    net.box = w->data[find("pnet.conv4_2.weight")];
    memcpy(net.box_bias, w->data[find("pnet.conv4_2.bias")], sizeof net.box_bias);
    static const int N[4] = {3, 10, 16, 32};
    float **dst[3] = {&net.w1, &net.w2, &net.w3};
    for (int i = 0; i < 3; i++) {
        *dst[i] = malloc(k->pnet_pack(N[i], N[i + 1], NULL, NULL) * sizeof(float));
        k->pnet_pack(N[i], N[i + 1], w->data[3 * i], *dst[i]);
    }
    net.b1 = w->data[1], net.a1 = w->data[2], net.b2 = w->data[4], net.a2 = w->data[5], net.b3 = w->data[7], net.a3 = w->data[8];

    um_pnet_hits hits = {0};
    CHECK_OK(k->pnet_level(&net, work, level, stride, height, width, -INFINITY, &hits));
    m = pnet_features(w, m);
    map ref = conv(copy(m), w, "pnet", "conv4_1", NULL), box = conv(m, w, "pnet", "conv4_2", NULL);
    CHECK_INT(hits.n, ref.h * ref.w);
    double worst = 0;
    int *seen = calloc((size_t)(ref.h * ref.w), sizeof *seen), once = 0;
    for (size_t i = 0; i < hits.n; i++) {
        const um_pnet_hit *hit = &hits.hit[i];
        if (hit->x < 0 || hit->x >= ref.w || hit->y < 0 || hit->y >= ref.h) continue;
        once += seen[hit->y * ref.w + hit->x]++ == 0;
        worst = fmax(worst, fabs((double)hit->logit - (*at(&ref, 1, hit->y, hit->x) - *at(&ref, 0, hit->y, hit->x))));
        for (int o = 0; o < 4; o++) worst = fmax(worst, fabs((double)hit->box[o] - *at(&box, o, hit->y, hit->x)));
    }
    CHECK_INT(once, ref.h * ref.w);
    CHECK_NEAR(worst, 0, 1e-5);
    for (int i = 0; i < 3; i++) free(*dst[i]);
    free(seen);
    free(ref.v);
    free(box.v);
    free(level);
    free(work);
    free(hits.hit);
}

static void test_cascade(const um_mtcnn_weights *w, int width, int height, um_thresholds t)
{
    um_image img = picture(width, height, 5);
    um_boxes want = {0};
    um_faces got = {0}, again = {0};
    um_mtcnn *net = NULL;
    CHECK_OK(ref_detect(w, &img, &t, &want));
    CHECK_OK(um_mtcnn_new(w, &net));
    CHECK_OK(um_mtcnn_detect(net, &img, &t, &got));
    CHECK_INT(got.n, want.n);
    CHECK(want.n >= 3); /* or the case shows nothing */
    double box = 0, p = 0, mark = 0;
    for (int i = 0; i < got.n && i < want.n; i++) {
        const um_box *b = &want.box[i];
        const double wb[4] = {(double)b->x0, (double)b->y0, (double)b->x1, (double)b->y1};
        for (int k = 0; k < 4; k++) box = fmax(box, fabs((double)got.face[i].box[k] - wb[k]));
        p = fmax(p, fabs((double)(got.face[i].probability - b->p)));
        for (int k = 0; k < 5; k++)
            for (int c = 0; c < 2; c++) mark = fmax(mark, fabs((double)(got.face[i].landmarks[k][c] - b->landmarks[k][c])));
    }
    CHECK_NEAR(box, 0, 1e-2);
    CHECK_NEAR(p, 0, 1e-5);
    CHECK_NEAR(mark, 0, 1e-2);

    /* A detector that has seen other sizes gives the same bits. */
    um_image other = picture(97, 41, 9);
    CHECK_OK(um_mtcnn_detect(net, &other, &t, &again));
    CHECK_OK(um_mtcnn_detect(net, &img, &t, &again));
    CHECK(again.n == got.n && memcmp(again.face, got.face, (size_t)got.n * sizeof *got.face) == 0);
    um_mtcnn_free(net);

    /* So does every instruction-set level. */
    static const char *const LEVELS[] = {"avx2", "base"};
    for (int i = 0; i < 2; i++) {
        setenv("UNMASK_ISA", LEVELS[i], 1);
        CHECK_OK(um_mtcnn_new(w, &net));
        CHECK_OK(um_mtcnn_detect(net, &img, &t, &again));
        CHECK(again.n == got.n && memcmp(again.face, got.face, (size_t)got.n * sizeof *got.face) == 0);
        um_mtcnn_free(net);
    }
    CHECK_STR(um_mtcnn_isa(), "base");
    unsetenv("UNMASK_ISA");
    um_image_free(&img);
    um_image_free(&other);
    um_faces_release(&got);
    um_faces_release(&again);
    um_boxes_release(&want);
}

static void test_edges(const um_mtcnn_weights *w)
{
    um_mtcnn *net;
    um_faces f = {0};
    CHECK_OK(um_mtcnn_new(w, &net));
    static const int SIDES[][2] = {{1, 1}, {19, 300}, {20, 20}, {21, 500}, {500, 20}};
    for (size_t i = 0; i < sizeof SIDES / sizeof SIDES[0]; i++) {
        um_image img = picture(SIDES[i][0], SIDES[i][1], 2);
        CHECK_OK(um_mtcnn_detect(net, &img, &(um_thresholds){0.6, 0.5, 0.5}, &f));
        if (SIDES[i][0] < 20 || SIDES[i][1] < 20) CHECK_INT(f.n, 0);
        CHECK_OK(um_mtcnn_detect(net, &img, &(um_thresholds){0, 0, 0}, &f));
        CHECK_OK(um_mtcnn_detect(net, &img, &(um_thresholds){1, 1, 1}, &f));
        CHECK_INT(f.n, 0);
        um_image_free(&img);
    }
    um_image huge = {.width_px = 30000, .height_px = 30000, .channels = 3};
    CHECK_INT(um_mtcnn_detect(net, &huge, &(um_thresholds){0.6, 0.5, 0.5}, &f), UM_TOO_LARGE);
    um_mtcnn_free(net);
    um_faces_release(&f);
}

int main(void)
{
    um_mtcnn_weights w = random_weights(11);
    test_table();
    static const int SIZES[][2] = {{13, 13}, {14, 13}, {12, 31}, {37, 22}, {100, 19}, {212, 24}, {131, 33}};
    const um_mtcnn_kernels *k = um_cpu_level_get() == UM_CPU_AVX512 ? &um_mtcnn_kernels_avx512
                                : um_cpu_level_get() == UM_CPU_AVX2 ? &um_mtcnn_kernels_avx2
                                                                    : &um_mtcnn_kernels_base;
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) test_pnet(&w, k, SIZES[i][0], SIZES[i][1]);
    test_cascade(&w, 64, 50, (um_thresholds){0.5, 0.3, 0.1});
    test_cascade(&w, 37, 63, (um_thresholds){0.5, 0.3, 0.2});
    test_edges(&w);
    um_mtcnn_weights_release(&w);
    CHECK(w.data[0] == NULL);
    return TEST_END();
}
