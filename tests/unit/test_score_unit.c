/* One video scored, from the file to its row: a detector with seeded random weights finds the same places in every frame of a picture that stands still, a tiny network scores them. */
#include "io/video_write.h"
#include "jobs/score_unit.h"
#include "src/core/rng.h"
#include "src/detect/crop.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <unistd.h>

enum { W = 64, H = 48, MAX_THREADS = 3, N_MODELS = 2, SIZE_A = 32, SIZE_B = 40 };
static char dir[200];
static um_decoder *dec;
static um_mtcnn_weights weights;
static um_model models[N_MODELS];
static int size_px[N_MODELS] = {SIZE_A, SIZE_B};
static void *constants[N_MODELS];

static const char *in_dir(const char *name)
{
    static char paths[4][256];
    static int at;
    char *p = paths[at = (at + 1) % 4];
    snprintf(p, sizeof paths[0], "%s/%s", dir, name);
    return p;
}

/* As in test_mtcnn.c: many places pass low thresholds. */
static void make_weights(void)
{
    um_rng r = um_rng_stream(11, 0, 0, UM_RNG_TEST);
    for (int i = 0; i < UM_MTCNN_TENSORS; i++) {
        const um_mtcnn_tensor *t = &um_mtcnn_tensors[i];
        size_t n = um_mtcnn_tensor_count(i);
        weights.data[i] = malloc(n * sizeof(float));
        double scale = t->dims[1] == 0 ? 0.1 : 1.4 / sqrt((double)n / t->dims[0]);
        if (t->dims[0] == 4 && t->dims[1] != 0) scale *= 0.1;
        for (size_t k = 0; k < n; k++) weights.data[i][k] = (float)(scale * um_rng_normal(&r) + (strstr(t->name, "prelu") != NULL ? 0.2 : 0));
    }
}

/* The parameters of a network of a tenth of B0's width: seeded. */
static void make_models(void)
{
    for (int m = 0; m < N_MODELS; m++) {
        um_model *o = &models[m];
        um_graph *g;
        um_rng r = um_rng_stream(2, (uint64_t)m, 0, UM_RNG_TEST);
        CHECK_OK(um_efficientnet_parse("w0.1d0.1", &o->net));
        CHECK_OK(um_efficientnet_graph(&o->net, size_px[m], true, 0, 0, &g));
        o->size_px = size_px[m];
        o->has_head = true;
        memcpy(o->mean, um_imagenet_mean, sizeof o->mean);
        memcpy(o->std, um_imagenet_std, sizeof o->std);
        o->param_count = g->param_count;
        o->params = malloc((size_t)g->param_count * sizeof *o->params);
        for (int i = 0; i < g->n_params; i++) {
            const um_param *p = &g->param[i];
            bool scale = p->kind == UM_PARAM_BN_WEIGHT || p->kind == UM_PARAM_BN_VAR;
            for (int64_t k = 0; k < p->count; k++) o->params[p->offset + k] = scale ? 1 : (float)(0.3 * um_rng_normal(&r));
        }
        um_graph_free(g);
    }
}

/* n frames of a picture that stands still: grey blobs, since colours are stored coarsely and not alike when turned. */
static void make_video(const char *name, int n, int fps, int rotation_deg)
{
    um_video_writer_config c = {.width_px = W, .height_px = H, .rotation_deg = rotation_deg, .fps_num = fps, .fps_den = 1, .crf = 0};
    um_video_writer *w;
    um_image img;
    um_buf mp4 = {0};
    CHECK_OK(um_video_writer_new(&c, &w));
    CHECK_OK(um_image_new(W, H, 3, &img));
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W * 3; x++) img.data[(size_t)y * img.stride + (size_t)x] = (uint8_t)(128 + 100 * sin(0.13 * (x / 3)) * cos(0.19 * y));
    for (int i = 0; i < n; i++) CHECK_OK(um_video_writer_add(w, &img));
    CHECK_OK(um_video_writer_finish(w, &mp4));
    FILE *f = fopen(in_dir(name), "w");
    CHECK(f != NULL && fwrite(mp4.data, 1, mp4.len, f) == mp4.len && fclose(f) == 0);
    um_buf_release(&mp4);
    um_image_free(&img);
    um_video_writer_free(w);
}

static bool make(const char *options)
{
    char command[1024];
    snprintf(command, sizeof command, "cd %s && ffmpeg -nostdin -v error -y %s", dir, options);
    return system(command) == 0;
}

/* A scorer and what it works with. */
typedef struct bench {
    um_scorer s;
    um_detector *detector[MAX_THREADS];
    um_cvresize *resize[MAX_THREADS];
    um_classifier *model[N_MODELS];
} bench;

static void bench_new(bench *b, int n_threads)
{
    *b = (bench){0};
    um_scorer *s = &b->s;
    CHECK_OK(um_pool_new(n_threads, &s->threads));
    for (int i = 0; i < n_threads; i++) {
        CHECK_OK(um_detector_new(&weights, 1, &b->detector[i]));
        CHECK_OK(um_cvresize_new(&b->resize[i]));
    }
    for (int m = 0; m < N_MODELS; m++) {
        um_classifier_options o = {.precision = UM_F32, .n_threads = n_threads};
        CHECK_OK(um_classifier_new(&models[m], &o, &b->model[m]));
        if (!constants[m]) {
            size_t bytes = (um_classifier_constant_bytes(b->model[m]) + 63) / 64 * 64;
            constants[m] = aligned_alloc(64, bytes);
            CHECK_OK(um_classifier_pack(b->model[m], &models[m], constants[m]));
        }
        CHECK_OK(um_classifier_attach(b->model[m], constants[m]));
    }
    s->pool = UM_POOL_PERSONS;
    s->frames = (um_frames){.kind = UM_FRAMES_SPREAD, .count = 32};
    s->windows = (um_window_options){.every_s = 60, .length_s = 10, .per_window = 32};
    s->thresholds = (um_thresholds){0.5, 0.35, 0.2};
    s->threshold = 0.5;
    s->min_faces = 8;
    s->decoder = dec;
    s->detector = b->detector;
    s->resize = b->resize;
    s->model = b->model;
    s->size_px = size_px;
    s->n_models = N_MODELS;
}

static void bench_free(bench *b)
{
    for (int i = 0; i < MAX_THREADS; i++) {
        um_detector_free(b->detector[i]);
        um_cvresize_free(b->resize[i]);
    }
    for (int m = 0; m < N_MODELS; m++) um_classifier_free(b->model[m]);
    um_pool_free(b->s.threads);
    um_scorer_release(&b->s);
}

static um_status score(bench *b, const char *name, um_score_row *row) { return um_score_video(&b->s, in_dir(name), -1, -1, row); }

static bool same(double a, double b) { return a == b || (isnan(a) && isnan(b)); }

static bool same_rows(const um_score_row *a, const um_score_row *b)
{
    bool eq = a->status == b->status && strcmp(a->message, b->message) == 0 && a->verdict == b->verdict && same(a->score, b->score) && a->frames_wanted == b->frames_wanted &&
              a->frames_decoded == b->frames_decoded && a->frames_with_faces == b->frames_with_faces && a->n_persons == b->n_persons && same(a->start_s, b->start_s) && same(a->end_s, b->end_s) &&
              a->n_faces == b->n_faces && a->faces_dropped == b->faces_dropped;
    for (int i = 0; eq && i < a->n_faces; i++) {
        const um_score_face *x = &a->face[i], *y = &b->face[i];
        eq = x->frame == y->frame && x->time_s == y->time_s && x->window == y->window && x->track == y->track && memcmp(x->box, y->box, sizeof x->box) == 0;
        for (int m = 0; eq && m < N_MODELS; m++) eq = same((double)x->score[m], (double)y->score[m]);
    }
    for (int i = 0; eq && i < a->n_persons; i++) eq = a->person[i].track == b->person[i].track && same(a->person[i].score, b->person[i].score) && a->person[i].n_faces == b->person[i].n_faces;
    for (int m = 0; eq && m < N_MODELS; m++) eq = same(a->model_score[m], b->model_score[m]);
    return eq;
}

/* The first face's score, by hand. */
static void by_hand(const char *name, const um_score_row *row)
{
    bench b;
    um_video *v;
    um_video_info info;
    um_frame f;
    um_faces faces = {0};
    um_rect rect;
    bench_new(&b, 1);
    CHECK_OK(um_video_open_list(dec, in_dir(name), (int64_t[]){0}, 1, -1, -1, &v, &info));
    CHECK_OK(um_video_next(v, -1, &f));
    CHECK_OK(um_detector_run(b.detector[0], &f.image, &b.s.thresholds, &faces));
    CHECK(faces.n > 0 && row->n_faces > 0 && um_crop_rect(faces.face[0].box, W, H, &rect));
    if (faces.n > 0 && row->n_faces > 0) {
        um_image crop = um_image_crop(&f.image, rect);
        static uint8_t picture[SIZE_B * SIZE_B * 3];
        CHECK(memcmp(faces.face[0].box, row->face[0].box, sizeof row->face[0].box) == 0);
        for (int m = 0; m < N_MODELS; m++) {
            float logit;
            CHECK_OK(um_cvresize_letterbox(b.resize[0], &crop, size_px[m], picture));
            CHECK_OK(um_classifier_run(b.model[m], NULL, picture, 1, &logit));
            CHECK(row->face[0].score[m] == (float)(1 / (1 + exp(-(double)logit))));
        }
    }
    um_video_close(v, NULL);
    um_faces_release(&faces);
    bench_free(&b);
}

static void persons(void)
{
    bench b;
    um_score_row row;
    bench_new(&b, 1);
    CHECK_OK(score(&b, "still.mp4", &row));
    CHECK_INT(row.status, UM_OK);
    CHECK_STR(row.message, "");
    CHECK_INT(row.frames_wanted, 32);
    CHECK_INT(row.frames_decoded, 32);
    CHECK_INT(row.frames_with_faces, 32);
    CHECK(row.n_persons >= 1);
    CHECK(row.score > 0 && row.score < 1);
    CHECK(row.verdict == (row.score >= 0.5 ? UM_VERDICT_FAKE : UM_VERDICT_REAL));
    CHECK_NEAR(row.start_s, 0, 1e-9);
    CHECK_NEAR(row.end_s, 39.0 / 10, 1e-6);
    CHECK_INT(row.n_models, N_MODELS);
    for (int i = 0; i < row.n_persons; i++) CHECK(row.person[i].n_faces >= 8 && row.person[i].score <= row.score);
    /* Scores where a person counts, and only there. */
    for (int i = 0; i < row.n_faces; i++) {
        bool counts = false;
        for (int k = 0; k < row.n_persons; k++) counts = counts || row.person[k].track == row.face[i].track;
        for (int m = 0; m < N_MODELS; m++) CHECK(isnan(row.face[i].score[m]) == !counts);
        CHECK_INT(row.face[i].window, 0);
    }
    by_hand("still.mp4", &row);
    CHECK_INT(b.s.second_passes, 0);
    CHECK(b.s.times.classify > 0 && b.s.times.detect > 0);

    /* The same row in any company and for any number of threads. */
    for (int n = 1; n <= MAX_THREADS; n++) {
        bench c;
        um_score_row again;
        bench_new(&c, n);
        CHECK_OK(score(&c, "short.mp4", &again));
        um_score_row_release(&again);
        CHECK_OK(score(&c, "still.mp4", &again));
        CHECK(same_rows(&row, &again));
        um_score_row_release(&again);
        bench_free(&c);
    }
    um_score_row_release(&row);
    bench_free(&b);
}

static void shapes(void)
{
    bench b;
    um_score_row row, whole;
    bench_new(&b, 2);
    /* Fewer frames than a person needs faces; then enough. */
    CHECK_OK(score(&b, "short.mp4", &row));
    CHECK_INT(row.status, UM_NO_FACE);
    CHECK_INT(row.frames_wanted, 5);
    CHECK_INT(row.frames_decoded, 5);
    CHECK(row.n_faces > 0 && row.n_persons == 0);
    CHECK(row.verdict == UM_VERDICT_UNKNOWN && isnan(row.score));
    CHECK(strstr(row.message, "no person in 8 of them") != NULL);
    um_score_row_release(&row);
    b.s.min_faces = 5;
    CHECK_OK(score(&b, "short.mp4", &row));
    CHECK_INT(row.status, UM_OK);
    CHECK(row.n_persons >= 1 && row.score > 0);
    um_score_row_release(&row);
    b.s.min_faces = 1;
    CHECK_OK(score(&b, "one.mp4", &row));
    CHECK_INT(row.status, UM_OK);
    CHECK_INT(row.frames_decoded, 1);
    CHECK(row.start_s == 0 && row.end_s == 0);
    um_score_row_release(&row);
    b.s.min_faces = 8;

    /* Shown turned: the same picture, upright, so the same faces. */
    CHECK_OK(score(&b, "still.mp4", &whole));
    CHECK_OK(score(&b, "turned.mp4", &row));
    CHECK(same_rows(&row, &whole));
    um_score_row_release(&row);

    /* Nothing to see. */
    b.s.thresholds = (um_thresholds){0.99999, 0.99999, 0.99999};
    CHECK_OK(score(&b, "still.mp4", &row));
    CHECK_INT(row.status, UM_NO_FACE);
    CHECK_STR(row.message, "no face in 32 frames");
    CHECK(row.verdict == UM_VERDICT_UNKNOWN && isnan(row.score) && isnan(row.model_score[0]));
    um_score_row_release(&row);
    b.s.thresholds = (um_thresholds){0.5, 0.35, 0.2};

    /* By number. */
    b.s.frames = (um_frames){.kind = UM_FRAMES_EVERY, .step = 4};
    CHECK_OK(score(&b, "still.mp4", &row));
    CHECK_INT(row.status, UM_OK);
    CHECK_INT(row.frames_decoded, 10);
    CHECK_INT(row.face[row.n_faces - 1].frame, 36);
    um_score_row_release(&row);
    b.s.frames = (um_frames){.kind = UM_FRAMES_SPREAD, .count = 32};

    /* Longer than a minute: a window each, its own persons. */
    CHECK_OK(score(&b, "long.mp4", &row));
    CHECK_INT(row.status, UM_OK);
    CHECK_INT(row.face[row.n_faces - 1].window, 2);
    CHECK(row.n_persons >= 3);
    for (int i = 0; i < row.n_persons; i++) CHECK(row.person[i].end_s - row.person[i].start_s <= 10.01);
    for (int i = 1; i < row.n_faces; i++) CHECK(row.face[i].window >= row.face[i - 1].window && row.face[i].frame >= row.face[i - 1].frame);
    um_score_row_release(&row);
    um_score_row_release(&whole);
    bench_free(&b);
}

static void reference_pool(void)
{
    bench b;
    um_score_row row;
    int64_t index[32];
    bench_new(&b, 2);
    b.s.pool = UM_POOL_FACES;
    CHECK_OK(score(&b, "still.mp4", &row));
    CHECK_INT(row.status, UM_OK);
    CHECK_INT(row.frames_decoded, um_frames_linspace(40, 32, index));
    CHECK(row.score > 0 && row.score < 1);
    CHECK(row.n_faces > 127 && row.faces_dropped == row.n_faces - 127);
    CHECK(!isnan((double)row.face[126].score[0]) && isnan((double)row.face[127].score[0]));
    int k = 0;
    for (int i = 0; i < row.n_faces; i++) {
        while (index[k] < row.face[i].frame) k++;
        CHECK_INT(index[k], row.face[i].frame);
    }
    um_score_row_release(&row);
    /* Linspace over 5 frames repeats the first: only it is read. */
    CHECK_OK(score(&b, "short.mp4", &row));
    CHECK_INT(row.frames_decoded, 1);
    um_score_row_release(&row);
    CHECK_OK(score(&b, "text.mp4", &row));
    CHECK_INT(row.status, UM_UNSUPPORTED_FORMAT);
    CHECK(row.score == 0.5 && row.verdict == UM_VERDICT_UNKNOWN);
    um_score_row_release(&row);
    bench_free(&b);
}

static int calls;
static volatile sig_atomic_t stop;
static void count(void *user)
{
    calls++;
    if (user && calls >= *(int *)user) stop = 1;
}

static void misfortunes(void)
{
    bench b;
    um_score_row row;
    bench_new(&b, 2);
    static const struct {
        const char *name;
        um_status st;
    } bad[] = {{"none.mp4", UM_MISSING}, {"text.mp4", UM_UNSUPPORTED_FORMAT}, {"empty.mp4", UM_CORRUPT}, {".", UM_UNREADABLE}};
    for (int i = 0; i < 4; i++) {
        CHECK_OK(score(&b, bad[i].name, &row));
        CHECK_INT(row.status, bad[i].st);
        CHECK(row.message[0] != 0);
        CHECK(row.verdict == UM_VERDICT_UNKNOWN && isnan(row.score) && row.n_faces == 0);
        um_score_row_release(&row);
    }
    CHECK_OK(um_score_video(&b.s, in_dir("still.mp4"), 1, -1, &row));
    CHECK_INT(row.status, UM_CHANGED);
    um_score_row_release(&row);
    /* Asked to stop: at any moment, and the next video is scored as ever. */
    um_score_row whole;
    CHECK_OK(score(&b, "still.mp4", &whole));
    b.s.between = count;
    b.s.stop = &stop;
    CHECK_OK(score(&b, "still.mp4", &row));
    um_score_row_release(&row);
    int total = calls;
    CHECK(total > 32);
    for (int at = 1; at < total; at += total / 3) {
        b.s.user = &at;
        calls = 0;
        stop = 0;
        um_status st = score(&b, "still.mp4", &row);
        CHECK(st == UM_STOPPED || st == UM_OK); /* how often it is called while waiting depends on the machine */
        if (st == UM_OK) um_score_row_release(&row);
        if (at == 1) CHECK_INT(st, UM_STOPPED);
        stop = 0;
        b.s.user = NULL;
        CHECK_OK(score(&b, "still.mp4", &row));
        CHECK(same_rows(&row, &whole));
        um_score_row_release(&row);
    }
    um_score_row_release(&whole);
    bench_free(&b);
}

/* Files that only the ffmpeg program makes. */
static void made_by_ffmpeg(void)
{
    bench b;
    um_score_row row;
    if (!make("-i still.mp4 -vf \"setpts='(N+floor(N/7)*3)/10/TB'\" -vsync passthrough -c:v libx264 -qp 0 vfr.mp4") || !make("-i still.mp4 -c copy -movflags faststart whole.mp4")) {
        printf("no ffmpeg program with libx264: variable rate and cut files are not tried\n");
        return;
    }
    bench_new(&b, 2);
    CHECK_OK(score(&b, "vfr.mp4", &row));
    CHECK_INT(row.status, UM_OK);
    CHECK(row.frames_decoded >= 20 && row.frames_decoded <= 32 && row.frames_wanted == row.frames_decoded);
    CHECK_NEAR(row.end_s, (39 + 15) / 10.0, 1e-3);
    um_score_row_release(&row);
    /* The table promises what is not there: read again at moments of what is. */
    CHECK(make("-i long.mp4 -c copy -movflags faststart cut0.mp4 && head -c $(($(stat -c %s cut0.mp4) / 2)) cut0.mp4 >cut.mp4"));
    CHECK_OK(score(&b, "cut.mp4", &row));
    CHECK_INT(row.status, UM_PARTIAL);
    CHECK_INT(b.s.second_passes, 1);
    CHECK(row.frames_decoded >= 30 && row.n_persons >= 1);
    CHECK(row.score > 0 && row.verdict != UM_VERDICT_UNKNOWN && row.message[0] != 0);
    um_score_row_release(&row);
    bench_free(&b);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/unmask_test_score_unit_XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(dir)) return 2;
    CHECK_OK(um_decoder_start(NULL, &dec));
    make_weights();
    make_models();
    make_video("still.mp4", 40, 10, 0);
    make_video("turned.mp4", 40, 10, 90);
    make_video("short.mp4", 5, 10, 0);
    make_video("one.mp4", 1, 10, 0);
    make_video("long.mp4", 640, 5, 0);
    FILE *f = fopen(in_dir("text.mp4"), "w");
    if (f) fputs("words and no pictures\n", f), fclose(f);
    f = fopen(in_dir("empty.mp4"), "w");
    if (f) fclose(f);
    persons();
    shapes();
    reference_pool();
    misfortunes();
    made_by_ffmpeg();
    um_decoder_stop(dec);
    um_mtcnn_weights_release(&weights);
    for (int m = 0; m < N_MODELS; m++) {
        um_model_release(&models[m]);
        free(constants[m]);
    }
    char clean[240];
    snprintf(clean, sizeof clean, "rm -rf %s", dir);
    CHECK_INT(system(clean), 0);
    return TEST_END();
}
