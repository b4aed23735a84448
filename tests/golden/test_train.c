/* One training step of B0 against PyTorch and timm in f64: loss, gradients, running values (data/train.tsv, made by make_train_golden.py). usage: test_train DATADIR cpu|ref */
#include "src/models/classifier.h"
#include "src/nn/net.h"
#include "tests/golden/classifier_golden.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { SEED = 3, DIRECTION = 99, LANES = 2 };

typedef struct tensor {
    double norm, along;
} tensor;

static tensor measure(int number, const um_param *p, const float *x)
{
    tensor t = {0};
    for (int64_t i = 0; i < p->count; i++) {
        double v = (double)x[p->offset + i];
        t.norm += v * v;
        t.along += v * (golden_uniform(DIRECTION, (uint32_t)number, (uint32_t)i) - 0.5);
    }
    t.norm = sqrt(t.norm);
    return t;
}

static void check(FILE *f, const char *backend)
{
    char arch[16], line[512];
    int size = 0, n = 0, count[LANES];
    double want_loss = 0, loss = 0, all = 0;
    um_efficientnet net;
    um_graph *g = NULL;
    um_net *trained = NULL;
    um_net_options o = {.backend = backend, .n_lanes = LANES, .precision = UM_F32, .bn_momentum = 0.1f};
    CHECK(fgets(line, sizeof line, f) != NULL && sscanf(line, "%15s %d %d %lf", arch, &size, &n, &want_loss) == 4);
    CHECK_OK(um_efficientnet_parse(arch, &net));
    CHECK_OK(um_efficientnet_graph(&net, size, true, 0, 0, &g));
    if (g == NULL) return;
    o.max_batch = n;
    count[0] = n / 2;
    count[1] = n - n / 2;
    memcpy(o.mean, um_imagenet_mean, sizeof o.mean);
    memcpy(o.std, um_imagenet_std, sizeof o.std);
    size_t each = (size_t)size * (size_t)size * 3;
    uint8_t *images = malloc(each * (size_t)n);
    float *params = malloc((size_t)g->param_count * sizeof *params), *grads = malloc((size_t)g->param_count * sizeof *grads), *logits = calloc((size_t)n, sizeof *logits), *d = calloc((size_t)n, sizeof *d);
    if (images == NULL || params == NULL || grads == NULL || logits == NULL || d == NULL) exit(1);
    for (int i = 0; i < n; i++) golden_picture((uint32_t)i, size, images + (size_t)i * each);
    golden_params(g, SEED, params);
    um_net_batch b = {.images = images, .lane_count = count};
    CHECK_OK(um_net_new(g, &o, &trained));
    CHECK_OK(um_net_forward(trained, params, &b, logits));
    for (int i = 0; i < n; i++) {
        double z = (double)logits[i], y = i % 2;
        loss += (fmax(z, 0) - z * y + log1p(exp(-fabs(z)))) / n;
        d[i] = (float)((1 / (1 + exp(-z)) - y) / n);
    }
    CHECK_OK(um_net_backward(trained, params, &b, d, grads));
    CHECK_NEAR(loss, want_loss, 1e-5);
    for (int64_t i = 0; i < g->param_count; i++) all += (double)grads[i] * (double)grads[i];
    all = sqrt(all);
    for (int p = 0; p < g->n_params; p++) {
        char name[UM_PARAM_MAX_NAME];
        tensor want = {0}, got;
        bool running = g->param[p].kind == UM_PARAM_BN_MEAN || g->param[p].kind == UM_PARAM_BN_VAR;
        CHECK(fgets(line, sizeof line, f) != NULL && sscanf(line, "%79s %lf %lf", name, &want.norm, &want.along) == 3);
        CHECK_STR(name, g->param[p].name);
        got = measure(p, &g->param[p], running ? params : grads);
        /* A bias that the next batch norm takes away again has no gradient but rounding errors. */
        double by = running ? 1e-5 * want.norm : 1e-3 * fmax(want.norm, 1e-4 * all);
        if (!(fabs(got.norm - want.norm) <= by && fabs(got.along - want.along) <= by)) fprintf(stderr, "%s\n", name);
        CHECK_NEAR(got.norm, want.norm, by);
        CHECK_NEAR(got.along, want.along, by);
    }
    um_net_free(trained);
    um_graph_free(g);
    free(images), free(params), free(grads), free(logits), free(d);
}

int main(int argc, char **argv)
{
    char path[4096];
    if (argc != 3) return 2;
    snprintf(path, sizeof path, "%s/train.tsv", argv[1]);
    FILE *f = fopen(path, "r");
    CHECK(f != NULL);
    if (f != NULL) {
        check(f, argv[2]);
        fclose(f);
    }
    return TEST_END();
}
