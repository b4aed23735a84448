/* Steps of training (src/train/trainer.h) on the emulated GPU against the processor's trainer: losses, norms, weights, moments, the average, after several steps; steps left out; what the host asks of the GPU in a step.
 *
 * usage: test_emu_trainer b0|b0_bf16|rules|rounds|skip|counters */
#include "src/models/efficientnet.h"
#include "src/nn/cuda/device.h"
#include "src/nn/init.h"
#include "src/train/trainer_check.h"
#include "tests/emu/emu.h"
#include "tests/emu/train_check.h"

extern const um_trainer_ops um_trainer_cuda;

typedef struct side {
    const um_trainer_ops *ops;
    um_trainer *trainer;
    um_trainer_state state;
} side;

static void open_side(side *s, const um_trainer_ops *ops, const um_graph *g, const um_trainer_options *o)
{
    size_t n = (size_t)g->param_count;
    s->ops = ops;
    s->state = (um_trainer_state){.params = host_floats(n), .average = o->ema > 0 ? host_floats(n) : NULL};
    um_graph_init(g, 3, s->state.params);
    if (s->state.average != NULL) memcpy(s->state.average, s->state.params, n * sizeof(float));
    CHECK_OK(um_optim_new(g, &o->optim, NULL, &s->state.optim));
    s->state.remembered = um_optim_get_state(s->state.optim);
    CHECK_OK(ops->open(g, o, &s->trainer));
    if (s->trainer == NULL) exit(1);
    CHECK_OK(ops->join(s->trainer));
    CHECK_OK(ops->put(s->trainer, &s->state));
}

static void close_side(side *s)
{
    s->ops->close(s->trainer);
    um_optim_free(s->state.optim);
}

static um_trainer_options usual(int n, int rounds)
{
    return (um_trainer_options){.n = n, .batch = n, .rounds = rounds, .mean = {0.485f, 0.456f, 0.406f}, .std = {0.229f, 0.224f, 0.225f}, .bn_momentum = 0.1f, .loss = {.bce_weight = 1}, .n_lanes = 1, .size = 1, .ema = 0.9, .max_loss = 100,
                                .optim = {.type = UM_OPTIM_SGD, .momentum = 0.9, .nesterov = true, .weight_decay = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .alpha = 0.99, .eps = 1e-8}};
}

typedef struct data {
    uint8_t *images;
    float *target;
    uint8_t *weight;
} data;
static data make_data(const um_trainer_options *o, int px, int64_t step)
{
    size_t bytes = (size_t)o->n * (size_t)px * (size_t)px * 3;
    data d = {host_block(bytes), host_floats((size_t)o->batch), host_block((size_t)o->batch)};
    um_rng r = um_rng_stream(9, (uint64_t)step, 0, UM_RNG_TEST);
    for (size_t i = 0; i < bytes; i++) d.images[i] = (uint8_t)um_rng_below(&r, 256);
    for (int i = 0; i < o->batch; i++) {
        d.target[i] = (float)(i % 2);
        d.weight[i] = i != 3;
    }
    return d;
}

static void check_params(const char *what, const um_graph *g, const float *got, const float *want, double limit)
{
    double worst = 0;
    if (got == NULL || want == NULL) return;
    for (int i = 0; i < g->n_params; i++) {
        const um_param *p = &g->param[i];
        double square = 0, off = 0;
        for (int64_t j = p->offset; j < p->offset + p->count; j++) {
            square += (double)want[j] * (double)want[j];
            off = fmax(off, fabs((double)got[j] - (double)want[j]));
            if (isnan(got[j])) off = INFINITY;
        }
        double by = p->kind == UM_PARAM_BN_MEAN || p->kind == UM_PARAM_BIAS || p->kind == UM_PARAM_BN_BIAS ? 1 : sqrt(square / (double)p->count);
        if (by > 0 && off / by > worst) worst = off / by;
    }
    printf("%s: off by at most %.1e\n", what, worst);
    CHECK(worst <= limit);
}

/* Several steps on both; the GPU's are ended one step later than they are begun. */
/* bad: a step with a target that is no number; -1: none. limit: of losses, norms and logits; params_limit: rules that divide by the gradient's own size make of a gradient that is only rounding a step as large as any. */
static void check_steps(const char *name, int px, um_trainer_options o, double rate, int n_steps, int64_t bad, double limit, double params_limit)
{
    um_efficientnet net;
    um_graph *g = NULL;
    side cpu, gpu;
    um_trainer_result want[16], got;
    double worst = 0;
    CHECK_OK(um_efficientnet_parse(name, &net));
    CHECK_OK(um_efficientnet_graph(&net, px, true, 0.2f, 0.2f, &g));
    open_side(&cpu, &um_trainer_cpu, g, &o);
    open_side(&gpu, &um_trainer_cuda, g, &o);
    for (int64_t i = 0; i <= n_steps; i++) {
        um_trainer_step s = {.seed = 4, .step = i, .rate = rate, .head_only = i < 1};
        for (int r = 0; r < o.rounds && i < n_steps; r++) {
            data d = make_data(&o, px, i * o.rounds + r);
            if (i == bad) d.target[0] = NAN;
            um_trainer_batch b = {d.images, d.target, d.weight};
            CHECK_OK(cpu.ops->begin(cpu.trainer, &s, r, &b));
            CHECK_OK(gpu.ops->begin(gpu.trainer, &s, r, &b));
            memset(d.images, 0, 100); /* it is the caller's again */
        }
        if (i < n_steps) CHECK_OK(cpu.ops->end(cpu.trainer, &want[i]));
        if (i == 0) continue;
        CHECK_OK(gpu.ops->end(gpu.trainer, &got));
        CHECK_INT(got.skipped, want[i - 1].skipped);
        CHECK_INT(got.lost, false);
        if (got.skipped) continue;
        worst = fmax(worst, fmax(fabs(got.loss / want[i - 1].loss - 1), fabs(got.norm / want[i - 1].norm - 1)));
        CHECK_NEAR(got.loss / want[i - 1].loss, 1, limit);
        CHECK_NEAR(got.norm / want[i - 1].norm, 1, limit);
    }
    printf("losses and norms off by at most %.1e; ", worst);
    CHECK_OK(gpu.ops->take(gpu.trainer));
    check_params("weights", g, gpu.state.params, cpu.state.params, params_limit);
    check_params("average", g, gpu.state.average, cpu.state.average, params_limit);
    CHECK_INT(gpu.state.remembered->n_head, cpu.state.remembered->n_head);
    CHECK_INT(gpu.state.remembered->n_encoder, cpu.state.remembered->n_encoder);
    CHECK_INT(gpu.state.average_updates, cpu.state.average_updates);
    /* Fewer pictures than a batch has. */
    data d = make_data(&o, px, 99);
    float *a = host_floats((size_t)o.n), *b = host_floats((size_t)o.n);
    CHECK_OK(cpu.ops->evaluate(cpu.trainer, d.images, o.n - 1, a));
    CHECK_OK(gpu.ops->evaluate(gpu.trainer, d.images, o.n - 1, b));
    NEAR(b, a, (size_t)o.n - 1, limit, "evaluation");
    /* What was taken can be gone on with: to the bit. */
    side again;
    open_side(&again, &um_trainer_cuda, g, &o);
    size_t all = (size_t)g->param_count;
    memcpy(again.state.params, gpu.state.params, all * sizeof(float));
    if (o.ema > 0) memcpy(again.state.average, gpu.state.average, all * sizeof(float));
    for (int i = 0; i < UM_OPTIM_SLOTS; i++)
        if (gpu.state.remembered->slot[i] != NULL) memcpy(again.state.remembered->slot[i], gpu.state.remembered->slot[i], all * sizeof(float));
    again.state.remembered->n_head = gpu.state.remembered->n_head;
    again.state.remembered->n_encoder = gpu.state.remembered->n_encoder;
    again.state.average_updates = gpu.state.average_updates;
    CHECK_OK(again.ops->put(again.trainer, &again.state));
    side *both[2] = {&gpu, &again};
    for (int k = 0; k < 2; k++) {
        um_trainer_step s = {.seed = 4, .step = n_steps, .rate = 0.01};
        for (int r = 0; r < o.rounds; r++) {
            data e = make_data(&o, px, 50 + r);
            um_trainer_batch batch = {e.images, e.target, e.weight};
            CHECK_OK(both[k]->ops->begin(both[k]->trainer, &s, r, &batch));
        }
        CHECK_OK(both[k]->ops->end(both[k]->trainer, &got));
        CHECK_OK(both[k]->ops->take(both[k]->trainer));
    }
    CHECK(memcmp(gpu.state.params, again.state.params, all * sizeof(float)) == 0);
    close_side(&again);
    close_side(&gpu);
    close_side(&cpu);
    um_graph_free(g);
    check_release();
}

/* What the host asks of the GPU in a step, once it is recorded. */
static void check_counters(void)
{
    um_trainer_options o = usual(4, 1);
    um_efficientnet net;
    um_graph *g = NULL;
    side gpu;
    um_trainer_result r;
    CHECK_OK(um_efficientnet_parse("w0.25d0.5", &net));
    CHECK_OK(um_efficientnet_graph(&net, 40, true, 0.2f, 0.2f, &g));
    open_side(&gpu, &um_trainer_cuda, g, &o);
    data d = make_data(&o, 40, 0);
    um_trainer_batch b = {d.images, d.target, d.weight};
    for (int64_t i = 0; i < 6; i++) {
        um_trainer_step s = {.seed = 4, .step = i, .rate = 0.01};
        memset(&emu_count, 0, sizeof emu_count);
        CHECK_OK(gpu.ops->begin(gpu.trainer, &s, 0, &b));
        if (i >= 2) { /* both slots are recorded */
            CHECK_INT(emu_count.graph_launches, 1);
            CHECK_INT(emu_count.host_waits, 0);
            CHECK_INT(emu_count.allocations, 0);
            CHECK_INT(emu_count.copies, 1);
            CHECK_INT(emu_count.launches, 0);
            CHECK_INT(emu_count.products, 0);
        }
        if (i == 0) continue;
        memset(&emu_count, 0, sizeof emu_count);
        CHECK_OK(gpu.ops->end(gpu.trainer, &r));
        CHECK_INT(emu_count.host_waits, 1); /* for the step before, behind which this one is queued already */
        CHECK_INT(emu_count.copies + emu_count.allocations + emu_count.graph_launches + emu_count.launches, 0);
    }
    CHECK_OK(gpu.ops->end(gpu.trainer, &r));
    close_side(&gpu);
    um_graph_free(g);
    check_release();
}

/* What unmask doctor --selftest does, ten steps of B0; with a limit of our own. */
static void check_ten(um_dtype precision, double limit)
{
    um_trainer_check c = {.ops = &um_trainer_cuda, .precision = precision, .n_steps = 10};
    CHECK_OK(um_trainer_check_run(&c));
    printf("B0, ten steps: losses off by at most %.1e, norms by %.1e, weights by %.1e of what was learned\n", c.loss, c.norm, c.weights);
    CHECK(c.right);
    CHECK(c.loss <= limit && c.norm <= limit && c.weights <= limit);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    um_gpu *gpu = NULL;
    um_trainer_options o = usual(4, 1);
    CHECK_OK(um_gpu_open(0, &gpu));
    if (strcmp(what, "b0") == 0) check_ten(UM_F32, 1e-4);
    else if (strcmp(what, "b0_bf16") == 0) check_ten(UM_BF16, 1);
    else if (strcmp(what, "rules") == 0) {
        check_steps("w0.25d0.5", 40, o, 0.01, 4, -1, 1e-3, 1e-3);
        o.optim.type = UM_OPTIM_ADAMW;
        o.clip = 1;
        o.loss.smoothing = 0.01;
        check_steps("w0.25d0.5", 40, o, 0.001, 3, -1, 1e-3, 1);
        o.optim.type = UM_OPTIM_RMSPROP;
        o.optim.nesterov = false;
        o.ema = 0;
        check_steps("w0.25d0.5", 40, o, 0.0001, 3, -1, 1e-3, 1);
    } else if (strcmp(what, "rounds") == 0) {
        o.rounds = 3;
        check_steps("w0.25d0.5", 40, o, 0.01, 3, -1, 1e-3, 1e-3);
        o.rounds = 2;
        check_steps("w0.25d0.5", 40, o, 0.01, 4, -1, 1e-3, 1e-3);
    } else if (strcmp(what, "skip") == 0) {
        check_steps("w0.25d0.5", 40, o, 0.01, 4, 2, 1e-3, 1e-3);
    } else if (strcmp(what, "counters") == 0) check_counters();
    else return 2;
    um_gpu_close();
    return TEST_END();
}
