/* loss, optim, schedule beside PyTorch's numbers (make_optim_golden.py). usage: test_optim optim.tsv */
#include "src/train/loss.h"
#include "src/train/optim.h"
#include "src/train/schedule.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { MOST = 64 };
static FILE *in;
static double v[MOST];

/* The numbers of the next line, which must be called `name`; how many. */
static int next(const char *name)
{
    static char line[4096];
    int n = 0;
    if (fgets(line, sizeof line, in) == NULL) line[0] = 0;
    char *at = strchr(line, '\t');
    CHECK(at != NULL && (size_t)(at - line) == strlen(name) && strncmp(line, name, strlen(name)) == 0);
    while (at != NULL && n < MOST) {
        v[n++] = strtod(at + 1, NULL);
        at = strchr(at + 1, '\t');
    }
    return n;
}

static void get(const char *name, float *out, int n)
{
    CHECK_INT(next(name), n);
    for (int i = 0; i < n; i++) out[i] = (float)v[i];
}

static void losses(void)
{
    for (int c = 0; c < 5; c++) {
        float x[MOST], y[MOST], w[MOST], d[MOST];
        uint8_t weight[MOST];
        double scratch[MOST];
        CHECK_INT(next("loss"), 9);
        int n = (int)v[0];
        um_loss_options o = {.bce_weight = v[1], .focal_weight = v[2], .focal_gamma = v[3], .smoothing = v[4], .ohem_k = (int64_t)v[5]};
        double loss = v[6], fake = v[7], real = v[8];
        get("logits", x, n);
        get("targets", y, n);
        get("weights", w, n);
        for (int i = 0; i < n; i++) weight[i] = w[i] != 0;
        um_loss r = um_loss_batch(&o, (size_t)n, x, y, weight, d, scratch);
        CHECK_NEAR(r.loss, loss, 1e-8 * (1 + loss));
        CHECK_NEAR(r.fake, fake, 1e-8 * (1 + fake));
        CHECK_NEAR(r.real, real, 1e-8 * (1 + real));
        CHECK_INT(r.n_fake, o.ohem_k > 0 ? o.ohem_k : 6);
        CHECK_INT(r.n_real, o.ohem_k > 0 ? o.ohem_k : 5);
        CHECK_INT(next("d"), n);
        for (int i = 0; i < n; i++) CHECK_NEAR((double)d[i], v[i], 1e-7 * (1e-2 + fabs(v[i])));
    }
    /* What is not finite is seen, and changes nothing. */
    float x[4] = {1, NAN, -2, INFINITY}, y[4] = {1, 0, 0, 1}, d[4];
    uint8_t weight[4] = {1, 1, 1, 0};
    um_loss_options o = {.bce_weight = 1};
    um_loss r = um_loss_batch(&o, 4, x, y, weight, d, NULL);
    CHECK(isnan(r.loss) && d[0] == 0 && d[1] == 0 && d[3] == 0);
    weight[1] = 0;
    r = um_loss_batch(&o, 4, x, y, weight, d, NULL);
    CHECK(isfinite(r.loss) && d[0] < 0 && d[1] == 0 && d[2] > 0 && d[3] == 0);
    /* A class that is absent counts 0; no picture at all is loss 0. */
    weight[2] = 0;
    r = um_loss_batch(&o, 4, x, y, weight, d, NULL);
    CHECK_NEAR(r.loss, log1p(exp(-1)) / 2, 1e-12);
    CHECK_NEAR(um_loss_batch(&o, 0, x, y, weight, d, NULL).loss, 0, 0);
    CHECK_NEAR(um_log_loss(0, true), -log(1e-7), 1e-9);
    CHECK_NEAR(um_log_loss(0.25, false), -log(0.75), 1e-12);
    CHECK_NEAR(um_sigmoid(-1000), 0, 0);
}

/* A graph of one dense layer, called as asked; its parameters are n numbers. */
static um_graph *graph_of(int n, const char *name)
{
    um_graph *g;
    CHECK_OK(um_graph_new(&g));
    int x = um_graph_input(g, 1, 1, n);
    um_graph_output(g, um_graph_dense(g, name, x, 1, false));
    CHECK_OK(um_graph_finish(g));
    return g;
}

static void optimisers(um_pool *pool)
{
    for (int c = 0; c < 6; c++) {
        float p[MOST], g[MOST];
        CHECK_INT(next("optim"), 12);
        um_optim_options o = {.type = (um_optim_type)v[0], .momentum = v[2], .nesterov = v[3] != 0, .weight_decay = v[4], .beta1 = v[5], .beta2 = v[6], .alpha = v[7], .eps = v[8]};
        double rate = v[1], clip = v[11];
        int n = (int)v[9], steps = (int)v[10];
        um_graph *graph = graph_of(n, "fc");
        um_optim *optim;
        CHECK_OK(um_optim_new(graph, &o, pool, &optim));
        get("start", p, n);
        for (int i = 0; i < steps; i++) {
            get("grad", g, n);
            double norm = um_optim_norm(optim, g, false);
            CHECK_INT(next("norm"), 1);
            CHECK_NEAR(norm, v[0], 1e-6 * v[0]);
            um_optim_step(optim, p, g, um_optim_clip(norm, clip), rate, false);
        }
        CHECK_INT(next("end"), n);
        for (int i = 0; i < n; i++) CHECK_NEAR((double)p[i], v[i], 3e-6 * (1 + fabs(v[i])));
        CHECK_INT(um_optim_get_state(optim)->n_head, steps);
        um_optim_free(optim);
        um_graph_free(graph);
    }
}

/* Frozen parts stay as they are; running statistics never move, not even by decay; threads change no bit. */
static void parts(um_pool *pool)
{
    um_graph *g;
    CHECK_OK(um_graph_new(&g));
    int x = um_graph_input(g, 1, 1, 1000);
    x = um_graph_conv(g, "encoder.a", x, 200, 1, 1, 1, UM_PAD_SAME, false);
    x = um_graph_batch_norm(g, "encoder.b", x, 1e-3f);
    um_graph_output(g, um_graph_dense(g, "fc", x, 1, true));
    CHECK_OK(um_graph_finish(g));
    size_t n = (size_t)g->param_count;
    float *p[2], *gr = malloc(n * sizeof *gr), *average = calloc(n, sizeof *average);
    um_optim_options o = {.type = UM_OPTIM_ADAMW, .weight_decay = 0.1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    for (size_t i = 0; i < n; i++) gr[i] = (float)(i % 17) - 8;
    for (int k = 0; k < 2; k++) {
        um_optim *optim;
        p[k] = malloc(n * sizeof **p);
        for (size_t i = 0; i < n; i++) p[k][i] = 1;
        CHECK_OK(um_optim_new(g, &o, k == 0 ? NULL : pool, &optim));
        double norm = um_optim_norm(optim, gr, false), head = um_optim_norm(optim, gr, true), want = 0, want_head = 0;
        for (int i = 0; i < g->n_params; i++) {
            const um_param *q = &g->param[i];
            for (int64_t j = q->offset; j < q->offset + q->count; j++) {
                if (q->kind == UM_PARAM_BN_MEAN || q->kind == UM_PARAM_BN_VAR) continue;
                want += (double)gr[j] * (double)gr[j];
                if (q->name[0] == 'f') want_head += (double)gr[j] * (double)gr[j];
            }
        }
        CHECK_NEAR(norm, sqrt(want), 1e-9 * norm);
        CHECK_NEAR(head, sqrt(want_head), 1e-9 * head);
        um_optim_step(optim, p[k], gr, 1, 0.01, true);
        for (int i = 0; i < g->n_params; i++) {
            const um_param *q = &g->param[i];
            int64_t moved = 0;
            for (int64_t j = q->offset; j < q->offset + q->count; j++) moved += p[k][j] != 1;
            CHECK_INT(moved, q->name[0] == 'f' ? q->count : 0);
        }
        um_optim_step(optim, p[k], gr, 1, 0.01, false);
        for (int i = 0; i < g->n_params; i++) {
            const um_param *q = &g->param[i];
            int64_t moved = 0;
            for (int64_t j = q->offset; j < q->offset + q->count; j++) moved += p[k][j] != 1;
            CHECK_INT(moved, q->kind == UM_PARAM_BN_MEAN || q->kind == UM_PARAM_BN_VAR ? 0 : q->count);
        }
        CHECK_INT(um_optim_get_state(optim)->n_head, 2);
        CHECK_INT(um_optim_get_state(optim)->n_encoder, 1);
        um_optim_average(optim, average, p[k], 0.5, 0); /* the warm-up's 1/10 */
        CHECK_NEAR((double)average[0], 0.9 * (double)p[k][0] + (k == 0 ? 0 : 0.1 * 0.9 * (double)p[k][0]), 1e-6);
        um_optim_free(optim);
    }
    CHECK(memcmp(p[0], p[1], n * sizeof **p) == 0);
    CHECK_NEAR(um_optim_clip(NAN, 1), 1, 0); /* who skips the step sees the norm itself */
    CHECK_NEAR(um_optim_clip(0.5, 1), 1, 0);
    CHECK_NEAR(um_optim_clip(50, 0), 1, 0);
    o = (um_optim_options){.type = UM_OPTIM_SGD, .nesterov = true};
    um_optim *none;
    CHECK_INT(um_optim_new(g, &o, NULL, &none), UM_USAGE);
    um_graph_free(g);
    free(p[0]);
    free(p[1]);
    free(gr);
    free(average);
}

static void follow(um_schedule *s, const char *name)
{
    int n = next(name);
    for (int t = 0; t < n; t++) {
        s->per_epoch = false;
        CHECK_NEAR(um_schedule_rate(s, t, 99), v[t], 1e-9);
        s->per_epoch = true;
        CHECK_NEAR(um_schedule_rate(s, 1000000, t), v[t], 1e-9);
    }
}

static void schedules(void)
{
    um_schedule s = {.type = UM_SCHEDULE_STEP, .rate = 0.1, .gamma = 0.5, .step_size = 3};
    follow(&s, "step");
    s = (um_schedule){.type = UM_SCHEDULE_MULTISTEP, .rate = 0.1, .gamma = 0.3};
    CHECK_OK(um_schedule_points(&s, "2,5,9", false));
    follow(&s, "multistep");
    s = (um_schedule){.type = UM_SCHEDULE_COSINE, .rate = 0.1, .max_iter = 12, .min_rate = 0.01};
    follow(&s, "cosine");
    s = (um_schedule){.type = UM_SCHEDULE_EXPONENTIAL, .rate = 0.1, .gamma = 0.9};
    follow(&s, "exponential");
    s = (um_schedule){.type = UM_SCHEDULE_LINEAR, .rate = 0.1, .alpha = -0.05, .beta = 1};
    follow(&s, "linear");
    CHECK_NEAR(um_schedule_rate(&s, 100, 100), 0, 0);
    s = (um_schedule){.type = UM_SCHEDULE_POLY, .rate = 0.1, .max_iter = 10, .power = 0.9};
    follow(&s, "poly");
    s = (um_schedule){.type = UM_SCHEDULE_CONSTANT, .rate = 0.1, .warmup = 4};
    CHECK_NEAR(um_schedule_rate(&s, 0, 0), 0.025, 1e-12);
    CHECK_NEAR(um_schedule_rate(&s, 3, 0), 0.1, 1e-12);
    CHECK_NEAR(um_schedule_rate(&s, 1000, 0), 0.1, 1e-12);
    s = (um_schedule){.type = UM_SCHEDULE_STEP, .rate = 0.1};
    CHECK_OK(um_schedule_points(&s, "2:0.5,5:0.25", true));
    CHECK_NEAR(um_schedule_rate(&s, 1, 0), 0.1, 0);
    CHECK_NEAR(um_schedule_rate(&s, 2, 0), 0.5, 0);
    CHECK_NEAR(um_schedule_rate(&s, 50, 0), 0.25, 0);
    static const char *const bad[] = {"a", "3,", "3,2", "1:2", "nan", "1 2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) CHECK_INT(um_schedule_points(&s, bad[i], false), UM_USAGE);
    CHECK_INT(um_schedule_points(&s, "1", true), UM_USAGE);
    CHECK_INT(um_schedule_points(&s, "1:", true), UM_USAGE);
    CHECK_OK(um_schedule_points(&s, "", true));
    CHECK_INT(s.n_points, 0);
}

int main(int argc, char **argv)
{
    um_pool *pool;
    in = argc > 1 ? fopen(argv[1], "r") : NULL;
    if (in == NULL) return 2;
    CHECK_OK(um_pool_new(3, &pool));
    losses();
    optimisers(pool);
    schedules();
    parts(pool);
    um_pool_free(pool);
    fclose(in);
    return TEST_END();
}
