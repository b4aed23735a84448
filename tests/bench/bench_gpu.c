/* bench_gpu.c: what bench_gpu.py runs: the networks on a GPU, through the module as the program loads it. Parameters are raw f32 in the graph's order, pictures raw u8 (BATCH,size,size,3); targets are 0, 1, 0, 1...
 * usage: bench_gpu MODULE train|infer ARCH SIZE f32|bf16 BATCH PARAMS IMAGES
 * For each line on stdin: "values": logits of all pictures (infer), or losses of three steps of SGD at 0.001 from PARAMS (train); "time N": seconds of N batches or steps, one after the other, as a job runs them; "bytes": memory of the device. */
#include "src/core/clock.h"
#include "src/models/classifier.h"
#include "src/nn/gpu_module.h"
#include "src/train/trainer.h"
#include "tests/golden/read_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench {
    um_model model;
    um_dtype precision;
    int batch;
    float *params;
    uint8_t *images;
    /* infer */
    um_classifier *classifier;
    float *logits;
    /* train */
    const um_trainer_ops *ops;
    um_graph *graph;
    um_trainer *trainer;
    um_trainer_state state;
    float *target;
    uint8_t *weight;
    int64_t step;
} bench;

static um_status open_infer(bench *b, const um_backend *backend)
{
    um_classifier_options o = {.precision = b->precision, .n_threads = 1, .backend = backend, .batch = b->batch};
    UM_PASS(um_classifier_new(&b->model, &o, &b->classifier));
    void *constants = aligned_alloc(64, (um_classifier_constant_bytes(b->classifier) + 63) / 64 * 64);
    if (constants == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory");
    um_status st = um_classifier_pack(b->classifier, &b->model, constants);
    if (st == UM_OK) st = um_classifier_attach(b->classifier, constants);
    free(constants);
    return st;
}

static um_status open_train(bench *b)
{
    um_trainer_options o = {.precision = b->precision, .n = b->batch, .batch = b->batch, .rounds = 1, .bn_momentum = 0.1f, .loss = {.bce_weight = 1}, .n_lanes = 1, .size = 1, .max_loss = 100,
                            .optim = {.type = UM_OPTIM_SGD, .momentum = 0.9, .nesterov = true, .weight_decay = 1e-4}};
    memcpy(o.mean, um_imagenet_mean, sizeof o.mean);
    memcpy(o.std, um_imagenet_std, sizeof o.std);
    UM_PASS(um_efficientnet_graph(&b->model.net, b->model.size_px, true, 0, 0, &b->graph));
    UM_PASS(um_optim_new(b->graph, &o.optim, NULL, &b->state.optim));
    b->state.remembered = um_optim_get_state(b->state.optim);
    b->state.params = b->model.params;
    UM_PASS(b->ops->open(b->graph, &o, &b->trainer));
    UM_PASS(b->ops->join(b->trainer));
    for (int i = 0; i < b->batch; i++) {
        b->target[i] = (float)(i % 2);
        b->weight[i] = 1;
    }
    return b->ops->put(b->trainer, &b->state);
}

/* n steps; loss [n] of each, or NULL. */
static um_status train(bench *b, int n, double *loss)
{
    um_trainer_batch batch = {b->images, b->target, b->weight};
    um_trainer_result r;
    for (int i = 0; i < n; i++) {
        um_trainer_step s = {.seed = 1, .step = b->step++, .rate = 1e-3};
        UM_PASS(b->ops->begin(b->trainer, &s, 0, &batch));
        if (i < b->ops->depth) continue;
        UM_PASS(b->ops->end(b->trainer, &r));
        if (loss != NULL) loss[i - b->ops->depth] = r.loss;
    }
    for (int i = n - b->ops->depth; i < n; i++) {
        UM_PASS(b->ops->end(b->trainer, &r));
        if (loss != NULL) loss[i] = r.loss;
    }
    return UM_OK;
}

static um_status infer(bench *b, int n)
{
    for (int i = 0; i < n; i++) UM_PASS(um_classifier_run(b->classifier, NULL, b->images, b->batch, b->logits));
    return UM_OK;
}

static um_status answer(bench *b, const char *line)
{
    int n = 0;
    double loss[3], start = um_clock_s();
    if (sscanf(line, "time %d", &n) == 1) {
        UM_PASS(b->ops != NULL ? train(b, n, NULL) : infer(b, n));
        printf("%.6f\n", um_clock_s() - start);
    } else if (strncmp(line, "bytes", 5) == 0) {
        printf("%zu\n", b->ops != NULL ? b->ops->bytes(b->trainer) : um_classifier_run_bytes(b->classifier) + um_classifier_constant_bytes(b->classifier));
    } else if (b->ops != NULL) {
        UM_PASS(train(b, 3, loss));
        printf("%.9g %.9g %.9g\n", loss[0], loss[1], loss[2]);
    } else {
        UM_PASS(infer(b, 1));
        for (int i = 0; i < b->batch; i++) printf("%.9g ", (double)b->logits[i]);
        printf("\n");
    }
    fflush(stdout);
    return UM_OK;
}

int main(int argc, char **argv)
{
    bench b = {.model = {.has_head = true}};
    const um_gpu_module *m;
    size_t params_bytes = 0, images_bytes = 0;
    char line[32];
    if (argc != 9) return fprintf(stderr, "usage: see tests/bench/bench_gpu.c\n"), 2;
    bool trains = strcmp(argv[2], "train") == 0;
    b.model.size_px = atoi(argv[4]);
    b.precision = strcmp(argv[5], "bf16") == 0 ? UM_BF16 : UM_F32;
    b.batch = atoi(argv[6]);
    memcpy(b.model.mean, um_imagenet_mean, sizeof b.model.mean);
    memcpy(b.model.std, um_imagenet_std, sizeof b.model.std);
    b.model.params = read_all(argv[7], &params_bytes);
    b.model.param_count = (int64_t)(params_bytes / sizeof(float));
    b.images = read_all(argv[8], &images_bytes);
    b.logits = calloc((size_t)b.batch + 1, sizeof *b.logits);
    b.target = calloc((size_t)b.batch + 1, sizeof *b.target);
    b.weight = calloc((size_t)b.batch + 1, 1);
    um_status st = um_gpu_module_load(argv[1], &m);
    if (st == UM_OK) st = m->open(0);
    if (st == UM_OK) st = um_efficientnet_parse(argv[3], &b.model.net);
    if (st == UM_OK && trains) b.ops = m->trainer;
    if (st == UM_OK) st = trains ? open_train(&b) : open_infer(&b, m->backend);
    while (st == UM_OK && fgets(line, sizeof line, stdin) != NULL) st = answer(&b, line);
    if (st != UM_OK) return fprintf(stderr, "bench_gpu: %s\n", um_err_text()), 1;
    if (b.ops != NULL) {
        b.ops->close(b.trainer);
        um_optim_free(b.state.optim);
        um_graph_free(b.graph);
    }
    um_classifier_free(b.classifier);
    um_model_release(&b.model);
    m->close();
    free(b.images), free(b.logits), free(b.target), free(b.weight);
    return 0;
}
