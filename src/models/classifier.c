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
    um_run **run; /* [n_runs] */
    int n_runs;
    size_t image_bytes;
};

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
    UM_GOTO_PASS(st, um_plan_new(c->graph, o->backend != NULL ? o->backend : &um_backend_cpu, &plan, &c->plan));
    c->image_bytes = (size_t)m->size_px * (size_t)m->size_px * 3;
    c->run = calloc((size_t)o->n_threads, sizeof *c->run);
    if (c->run == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "out of memory for a classifier");
        goto done;
    }
    for (; c->n_runs < o->n_threads; c->n_runs++) UM_GOTO_PASS(st, um_run_new(c->plan, &c->run[c->n_runs]));
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

size_t um_classifier_run_bytes(const um_classifier *c) { return (size_t)c->n_runs * um_plan_run_bytes(c->plan); }

um_status um_classifier_pack(um_classifier *c, const um_model *m, void *constants)
{
    if (m->params == NULL || m->param_count != c->graph->param_count)
        return UM_FAIL(UM_DATA, "the model has %lld parameters, its network wants %lld", (long long)m->param_count, (long long)c->graph->param_count);
    return um_plan_pack(c->plan, m->params, constants);
}

void um_classifier_attach(um_classifier *c, const void *constants) { um_plan_attach(c->plan, constants); }

typedef struct batch {
    um_classifier *c;
    const uint8_t *images;
    float *logits;
} batch;

static um_status run_image(void *user, int64_t i, int thread)
{
    const batch *b = user;
    um_run_forward(b->c->run[thread], b->images + (size_t)i * b->c->image_bytes, b->logits + i);
    return UM_OK;
}

um_status um_classifier_run(um_classifier *c, um_pool *pool, const uint8_t *images, int n, float *logits)
{
    batch b = {c, images, logits};
    if (um_pool_threads(pool) > c->n_runs) return UM_FAIL(UM_INTERNAL, "%d threads for a classifier made for %d", um_pool_threads(pool), c->n_runs);
    return um_pool_run(pool, n, run_image, &b);
}
