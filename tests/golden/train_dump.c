/* What compare_train.py and bench_train_step.py run; not a test by itself. Parameters are raw f32 in the graph's order, pictures raw u8 (N,size,size,3); picture i has label i % 2; the loss is the mean binary cross-entropy of a batch.
 * usage: train_dump ARCH SIZE BATCH LANES THREADS ref|cpu PARAMS IMAGES
 * For each line on stdin, always from PARAMS on:
 *   grads FILE            one step on the first BATCH pictures: gradients, then the parameters with moved running values, to FILE; the loss and the logits on one line
 *   train N sgd|adamw LR  N steps over the pictures in turn: the losses on one line
 *   time                  seconds and processor seconds of one step (forward, loss, backward) on the first BATCH pictures
 *   bytes                 of the net */
#include "src/core/clock.h"
#include "src/models/classifier.h"
#include "src/nn/net.h"
#include "tests/golden/read_all.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct trainer {
    um_graph *g;
    um_net *net;
    int batch, lanes, lane_count[UM_NET_MAX_LANES];
    const uint8_t *images;
    size_t picture;
    int n_images;
    float *params, *grads, *first, *second, *logits, *d; /* first, second: of the optimiser */
} trainer;

/* Mean binary cross-entropy of the batch that begins at picture `at`. */
static int step(trainer *t, int at, int number, double *loss)
{
    um_net_batch b = {.images = t->images + (size_t)at * t->picture, .lane_count = t->lane_count, .step = number};
    *loss = 0;
    if (um_net_forward(t->net, t->params, &b, t->logits) != UM_OK) return -1;
    for (int i = 0; i < t->batch; i++) {
        double z = (double)t->logits[i], y = (at + i) % 2;
        *loss += (fmax(z, 0) - z * y + log1p(exp(-fabs(z)))) / t->batch;
        t->d[i] = (float)((1 / (1 + exp(-z)) - y) / t->batch);
    }
    return um_net_backward(t->net, t->params, &b, t->d, t->grads) == UM_OK ? 0 : -1;
}

/* torch.optim.SGD(momentum=0.9, nesterov=True, weight_decay=1e-4), torch.optim.AdamW(weight_decay=1e-2). */
static void update(trainer *t, int number, bool adamw, float lr)
{
    double c1 = 1 - pow(0.9, number + 1), c2 = sqrt(1 - pow(0.999, number + 1));
    for (int p = 0; p < t->g->n_params; p++) {
        const um_param *q = &t->g->param[p];
        if (q->kind == UM_PARAM_BN_MEAN || q->kind == UM_PARAM_BN_VAR) continue;
        for (int64_t i = q->offset; i < q->offset + q->count; i++) {
            float g = t->grads[i], *x = &t->params[i];
            if (adamw) {
                *x *= 1 - lr * 1e-2f;
                t->first[i] = 0.9f * t->first[i] + 0.1f * g;
                t->second[i] = 0.999f * t->second[i] + 0.001f * g * g;
                *x -= (float)((double)lr / c1) * t->first[i] / (sqrtf(t->second[i]) / (float)c2 + 1e-8f);
            } else {
                g += 1e-4f * *x;
                t->first[i] = number == 0 ? g : 0.9f * t->first[i] + g;
                *x -= lr * (g + 0.9f * t->first[i]);
            }
        }
    }
}

static int answer(trainer *t, const char *line, const float *start)
{
    size_t bytes = (size_t)t->g->param_count * sizeof(float);
    char name[4096], kind[16];
    double loss;
    float lr;
    int n;
    memcpy(t->params, start, bytes);
    if (sscanf(line, "grads %4095s", name) == 1) {
        FILE *f = fopen(name, "wb");
        if (f == NULL || step(t, 0, 0, &loss) != 0) return -1;
        if (fwrite(t->grads, 1, bytes, f) != bytes || fwrite(t->params, 1, bytes, f) != bytes || fclose(f) != 0) return -1;
        printf("%.9g", loss);
        for (int i = 0; i < t->batch; i++) printf(" %.9g", (double)t->logits[i]);
    } else if (sscanf(line, "train %d %15s %f", &n, kind, &lr) == 3) {
        memset(t->first, 0, bytes);
        memset(t->second, 0, bytes);
        for (int i = 0; i < n; i++) {
            if (step(t, i * t->batch % (t->n_images - t->batch + 1), i, &loss) != 0) return -1;
            update(t, i, strcmp(kind, "adamw") == 0, lr);
            printf("%.9g ", loss);
        }
    } else if (strncmp(line, "time", 4) == 0) {
        double from = um_clock_s(), cpu = um_clock_cpu_s();
        if (step(t, 0, 0, &loss) != 0) return -1;
        printf("%.6f %.6f", um_clock_s() - from, um_clock_cpu_s() - cpu);
    } else
        printf("%zu", um_net_bytes(t->net));
    printf("\n");
    return fflush(stdout);
}

int main(int argc, char **argv)
{
    trainer t = {0};
    um_efficientnet arch;
    um_pool *pool = NULL;
    size_t params_bytes = 0, images_bytes = 0;
    char line[8192];
    if (argc != 9) return fprintf(stderr, "usage: see tests/golden/train_dump.c\n"), 2;
    int size = atoi(argv[2]);
    t.batch = atoi(argv[3]);
    t.lanes = atoi(argv[4]);
    float *start = read_all(argv[7], &params_bytes);
    uint8_t *images = read_all(argv[8], &images_bytes);
    um_net_options o = {.backend = argv[6], .max_batch = t.batch, .n_lanes = t.lanes, .precision = UM_F32, .bn_momentum = 0.1f};
    memcpy(o.mean, um_imagenet_mean, sizeof o.mean);
    memcpy(o.std, um_imagenet_std, sizeof o.std);
    if (start == NULL || images == NULL || t.lanes < 1 || t.lanes > UM_NET_MAX_LANES || um_pool_new(atoi(argv[5]), &pool) != UM_OK || um_efficientnet_parse(argv[1], &arch) != UM_OK ||
        um_efficientnet_graph(&arch, size, true, 0, 0, &t.g) != UM_OK || (o.pool = pool, um_net_new(t.g, &o, &t.net)) != UM_OK)
        return fprintf(stderr, "train_dump: %s\n", um_err_text()), 1;
    t.images = images;
    t.picture = (size_t)size * (size_t)size * 3;
    t.n_images = (int)(images_bytes / t.picture);
    for (int i = 0; i < t.lanes; i++) t.lane_count[i] = t.batch * (i + 1) / t.lanes - t.batch * i / t.lanes;
    size_t bytes = (size_t)t.g->param_count * sizeof(float);
    float **of[] = {&t.params, &t.grads, &t.first, &t.second};
    for (int i = 0; i < 4; i++) *of[i] = calloc(1, bytes);
    t.logits = calloc((size_t)t.batch, sizeof(float));
    t.d = calloc((size_t)t.batch, sizeof(float));
    if (t.params == NULL || t.grads == NULL || t.first == NULL || t.second == NULL || t.logits == NULL || t.d == NULL || params_bytes != bytes || t.n_images < t.batch)
        return fprintf(stderr, "train_dump: parameters or pictures do not fit: %zu bytes of parameters, %zu wanted\n", params_bytes, bytes), 1;
    while (fgets(line, sizeof line, stdin) != NULL)
        if (answer(&t, line, start) != 0) return fprintf(stderr, "train_dump: %s\n", um_err_text()), 1;
    um_net_free(t.net);
    um_pool_free(pool);
    um_graph_free(t.g);
    for (int i = 0; i < 4; i++) free(*of[i]);
    free(t.logits);
    free(t.d);
    free(start);
    free(images);
    return 0;
}
