#include "src/models/classifier.h"

#include "src/core/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const float um_imagenet_mean[3] = {0.485f, 0.456f, 0.406f}, um_imagenet_std[3] = {0.229f, 0.224f, 0.225f};

void um_model_release(um_model *m)
{
    free(m->params);
    m->params = NULL;
    m->param_count = 0;
}

void um_model_seal(um_model *m)
{
    uint64_t h = UM_HASH64_START;
    uint32_t head = m->has_head, size = (uint32_t)m->size_px;
    h = um_hash64(h, &m->net.width, sizeof m->net.width);
    h = um_hash64(h, &m->net.depth, sizeof m->net.depth);
    h = um_hash64(h, &head, sizeof head);
    h = um_hash64(h, &size, sizeof size);
    h = um_hash64(h, m->mean, sizeof m->mean);
    h = um_hash64(h, m->std, sizeof m->std);
    h = um_hash64(h, m->params, (size_t)m->param_count * sizeof *m->params);
    snprintf(m->fingerprint, sizeof m->fingerprint, "%016llx", (unsigned long long)h);
}

struct um_classifier {
    um_graph *graph;
    um_plan *plan;
    const um_backend *backend;
    um_run **run; /* [n_runs] */
    int n_runs, wanted_runs, batch;
    size_t image_bytes;
};

enum { DEVICE_RUNS = 2 /* one is filled while the other computes */ };

static um_status make_runs(um_classifier *c)
{
    for (; c->n_runs < c->wanted_runs; c->n_runs++) UM_PASS(um_run_new(c->plan, &c->run[c->n_runs]));
    return UM_OK;
}

um_status um_classifier_new(const um_model *m, const um_classifier_options *o, um_classifier **out)
{
    um_status st = UM_OK;
    um_plan_options plan = {.batch = 1, .precision = o->precision};
    um_classifier *c;
    *out = NULL;
    if (!m->has_head) return UM_FAIL(UM_DATA, "the model is an encoder without the head that gives a score: it is there to train from");
    if (o->n_threads < 1) return UM_FAIL(UM_INTERNAL, "a classifier for %d threads", o->n_threads);
    c = calloc(1, sizeof *c);
    if (c == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a classifier");
    memcpy(plan.mean, m->mean, sizeof plan.mean);
    memcpy(plan.std, m->std, sizeof plan.std);
    UM_GOTO_PASS(st, um_efficientnet_graph(&m->net, m->size_px, true, 0, 0, &c->graph));
    c->backend = o->backend != NULL ? o->backend : &um_backend_cpu;
    plan.batch = c->batch = c->backend->device == NULL ? 1 : o->batch > 0 ? o->batch : c->backend->device->batch;
    c->wanted_runs = c->backend->device != NULL ? DEVICE_RUNS : o->n_threads;
    UM_GOTO_PASS(st, um_plan_new(c->graph, c->backend, &plan, &c->plan));
    c->image_bytes = (size_t)m->size_px * (size_t)m->size_px * 3;
    c->run = calloc((size_t)c->wanted_runs, sizeof *c->run);
    if (c->run == NULL) st = UM_FAIL(UM_NO_MEMORY, "out of memory for a classifier");
    /* On a CPU at once, so that what they take is known before the weights are loaded; a device records the addresses of the weights. */
    if (st == UM_OK && c->backend->device == NULL) st = make_runs(c);
    if (st != UM_OK) goto done;
    *out = c;
done:
    if (st != UM_OK) um_classifier_free(c);
    return st;
}

void um_classifier_free(um_classifier *c)
{
    if (c == NULL) return;
    for (int i = 0; i < c->n_runs; i++) um_run_free(c->run[i]);
    free(c->run);
    um_plan_free(c->plan);
    um_graph_free(c->graph);
    free(c);
}

size_t um_classifier_constant_bytes(const um_classifier *c) { return um_plan_constant_bytes(c->plan); }

size_t um_classifier_run_bytes(const um_classifier *c) { return (size_t)c->wanted_runs * um_plan_run_bytes(c->plan); }

int um_classifier_batch(const um_classifier *c) { return c->batch; }

um_status um_classifier_pack(um_classifier *c, const um_model *m, void *constants)
{
    if (m->params == NULL || m->param_count != c->graph->param_count)
        return UM_FAIL(UM_DATA, "the model has %lld parameters, its network wants %lld", (long long)m->param_count, (long long)c->graph->param_count);
    return um_plan_pack(c->plan, m->params, constants);
}

um_status um_classifier_attach(um_classifier *c, const void *constants)
{
    UM_PASS(um_plan_attach(c->plan, constants));
    return make_runs(c);
}

typedef struct batch {
    um_classifier *c;
    const uint8_t *images;
    float *logits;
} batch;

static um_status run_image(void *user, int64_t i, int thread)
{
    const batch *b = user;
    return um_run_forward(b->c->run[thread], b->images + (size_t)i * b->c->image_bytes, 1, b->logits + i);
}

/* Batch after batch, each run waited for when its turn comes again. */
static um_status run_on_device(um_classifier *c, const uint8_t *images, int n, float *logits)
{
    int n_batches = (n + c->batch - 1) / c->batch;
    for (int i = 0; i < n_batches + DEVICE_RUNS - 1; i++) {
        int ended = i - (DEVICE_RUNS - 1), first = i * c->batch;
        if (i < n_batches) UM_PASS(um_run_begin(c->run[i % DEVICE_RUNS], images + (size_t)first * c->image_bytes, n - first < c->batch ? n - first : c->batch));
        if (ended >= 0) UM_PASS(um_run_end(c->run[ended % DEVICE_RUNS], logits + (size_t)ended * (size_t)c->batch));
    }
    return UM_OK;
}

um_status um_classifier_run(um_classifier *c, um_pool *pool, const uint8_t *images, int n, float *logits)
{
    batch b = {c, images, logits};
    if (c->backend->device != NULL) return run_on_device(c, images, n, logits);
    if (um_pool_threads(pool) > c->n_runs) return UM_FAIL(UM_INTERNAL, "%d threads for a classifier made for %d", um_pool_threads(pool), c->n_runs);
    return um_pool_run(pool, n, run_image, &b);
}
