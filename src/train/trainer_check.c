#include "src/train/trainer_check.h"

#include "src/core/rng.h"
#include "src/models/efficientnet.h"
#include "src/nn/init.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_PX = 64, BATCH = 4, IMAGE_BYTES = SIZE_PX * SIZE_PX * 3 };

typedef struct side {
    um_trainer *trainer;
    um_trainer_state state;
    um_trainer_result result[UM_TRAINER_CHECK_MAX_STEPS];
} side;

static void close_side(side *s, const um_trainer_ops *ops)
{
    ops->close(s->trainer);
    um_optim_free(s->state.optim);
    free(s->state.params);
}

static um_status train(side *s, const um_trainer_ops *ops, const um_graph *g, um_dtype precision, int n_steps, uint8_t *images)
{
    um_trainer_options o = {.precision = precision, .n = BATCH, .batch = BATCH, .rounds = 1, .bn_momentum = 0.1f, .loss = {.bce_weight = 1}, .n_lanes = 1, .size = 1, .clip = 1, .max_loss = 100,
                            .optim = {.type = UM_OPTIM_SGD, .momentum = 0.9, .nesterov = true, .weight_decay = 1e-4}};
    static const uint8_t weight[BATCH] = {1, 1, 1, 1};
    const float target[BATCH] = {0, 1, 0, 1};
    for (int i = 0; i < 3; i++) {
        o.mean[i] = 0.45f;
        o.std[i] = 0.225f;
    }
    s->state.params = calloc((size_t)g->param_count, sizeof *s->state.params);
    if (s->state.params == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a self-test");
    um_graph_init(g, 1, s->state.params);
    UM_PASS(um_optim_new(g, &o.optim, NULL, &s->state.optim));
    s->state.remembered = um_optim_get_state(s->state.optim);
    UM_PASS(ops->open(g, &o, &s->trainer));
    UM_PASS(ops->join(s->trainer));
    UM_PASS(ops->put(s->trainer, &s->state));
    for (int i = 0; i < n_steps; i++) {
        um_rng r = um_rng_stream(1, (uint64_t)i, 0, UM_RNG_TEST);
        um_trainer_step step = {.seed = 1, .step = i, .rate = 1e-3};
        um_trainer_batch b = {images, target, weight};
        for (int j = 0; j < BATCH * IMAGE_BYTES; j++) images[j] = (uint8_t)um_rng_below(&r, 256);
        UM_PASS(ops->begin(s->trainer, &step, 0, &b));
        if (i >= ops->depth) UM_PASS(ops->end(s->trainer, &s->result[i - ops->depth]));
    }
    for (int i = n_steps - ops->depth; i < n_steps; i++) UM_PASS(ops->end(s->trainer, &s->result[i]));
    return ops->take(s->trainer);
}

static double apart(double a, double b) { return a == b ? 0 : isfinite(a) && isfinite(b) ? fabs(a - b) / fabs(b) : INFINITY; }

um_status um_trainer_check_run(um_trainer_check *c)
{
    um_efficientnet net;
    um_graph *g = NULL;
    side cpu = {0}, other = {0};
    float *start = NULL;
    uint8_t *images = malloc((size_t)BATCH * IMAGE_BYTES);
    um_status st;
    c->loss = c->norm = c->weights = 0;
    c->limit = c->precision == UM_F32 ? 1e-3 : 0.2;
    if (images == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for a self-test"));
    UM_GOTO_PASS(st, um_efficientnet_parse("b0", &net));
    UM_GOTO_PASS(st, um_efficientnet_graph(&net, SIZE_PX, true, 0.2f, 0.2f, &g));
    start = calloc((size_t)g->param_count, sizeof *start);
    if (start == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for a self-test"));
    um_graph_init(g, 1, start);
    UM_GOTO_PASS(st, train(&cpu, &um_trainer_cpu, g, UM_F32, c->n_steps, images));
    UM_GOTO_PASS(st, train(&other, c->ops, g, c->precision, c->n_steps, images));
    for (int i = 0; i < c->n_steps; i++) {
        const um_trainer_result *a = &other.result[i], *b = &cpu.result[i];
        c->loss = fmax(c->loss, a->skipped ? INFINITY : apart(a->loss, b->loss));
        c->norm = fmax(c->norm, apart(a->norm, b->norm));
    }
    double off = 0, moved = 0;
    for (int64_t i = 0; i < g->param_count; i++) {
        double a = (double)other.state.params[i], b = (double)cpu.state.params[i];
        off += (a - b) * (a - b);
        moved += (b - (double)start[i]) * (b - (double)start[i]);
    }
    c->weights = sqrt(off / moved);
    c->right = c->loss <= c->limit && c->norm <= c->limit && c->weights <= c->limit; /* not a NaN */
done:
    close_side(&cpu, &um_trainer_cpu);
    close_side(&other, c->ops);
    um_graph_free(g);
    free(images);
    free(start);
    return st;
}
