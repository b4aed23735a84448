/* What scoring works with, made on all ranks together. Rank 0 says which models there are; one rank of each machine reads and packs their weights. */
#include "jobs/score_setup.h"

#include "io/model.h"
#include "io/weights.h"
#include "jobs/model_files.h"
#include "mpi/share.h"
#include "src/core/cpu.h"
#include "src/core/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

typedef struct model_file {
    um_model head;   /* without its parameters */
    char path[4096];
    size_t at;       /* of its constants in the shared memory */
} model_file;

typedef struct um_score_setup_work {
    um_job_context *ctx;
    model_file *model;
    int n_models, n_threads, gpu_batch, gpu_frames;
    double scale;
    int *size_px;
    um_share weights;
    um_mtcnn_weights mtcnn;
} work;

/* ---- rank 0: which models ---- */

/* Reads a model for what it says of itself. from_folder: nobody named it, so what cannot score is left out. */
static um_status add_model(work *w, const char *path, bool from_folder)
{
    um_model m = {0};
    if (strlen(path) >= sizeof w->model->path) return UM_FAIL(UM_TOO_LARGE, "the path of a model is longer than %zu bytes: %s", sizeof w->model->path, um_quote(path));
    UM_TRY(um_model_read(w->ctx->vfs, path, &m), "cannot use the model %s", um_quote(path));
    free(m.params);
    m.params = NULL;
    if (!m.has_head) {
        if (!from_folder)
            return UM_FAIL(UM_DATA, "the model %s is an encoder without the head that gives a score: it is there to train from (unmask train --init)", um_quote(path));
        um_log(UM_LOG_WARN, "%s is an encoder without the head that gives a score: left out", um_quote(path));
        return UM_OK;
    }
    for (int i = 0; i < w->n_models; i++)
        if (strcmp(w->model[i].head.fingerprint, m.fingerprint) == 0) {
            um_log(UM_LOG_WARN, "%s and %s are the same model: it counts once", um_quote(w->model[i].path), um_quote(path));
            return UM_OK;
        }
    if (w->n_models == UM_SCORE_MAX_MODELS) return UM_FAIL(UM_TOO_LARGE, "more than %d models", UM_SCORE_MAX_MODELS);
    w->model[w->n_models].head = m;
    memcpy(w->model[w->n_models].path, path, strlen(path) + 1);
    w->n_models++;
    return UM_OK;
}

static int by_fingerprint(const void *a, const void *b) { return strcmp(((const model_file *)a)->head.fingerprint, ((const model_file *)b)->head.fingerprint); }

static um_status find_models(work *w, const um_texts *given)
{
    um_model_files files;
    um_status st = um_model_files_find(w->ctx, given, &files);
    if (st != UM_OK) return st;
    for (int i = 0; i < files.n; i++) UM_GOTO_PASS(st, add_model(w, files.file[i].path, files.file[i].found));
    if (w->n_models == 0)
        UM_GOTO_PASS(st, UM_FAIL(UM_MISSING, "there is no model to score with, neither by -m nor in $UNMASK_HOME nor in share/unmask beside the program; make one of published weights with: unmask import classifier FILE -o "
                                             "model.h5, then give -m model.h5 or put it into $UNMASK_HOME"));
    qsort(w->model, (size_t)w->n_models, sizeof *w->model, by_fingerprint);
done:
    um_model_files_release(&files);
    return st;
}

/* File name without folder and .h5. */
static char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = strdup(slash != NULL ? slash + 1 : path);
    if (name != NULL && strlen(name) > 3 && strcmp(name + strlen(name) - 3, ".h5") == 0) name[strlen(name) - 3] = 0;
    return name;
}

/* ---- all ranks ---- */

/* bf16 where all ranks have it. Collective. */
static um_dtype choose_precision(um_world *world, const um_backend *backend, bool bf16)
{
    int64_t lacking = !backend->has(UM_BF16);
    if (!bf16) return UM_F32;
    um_world_sum_i64(world, &lacking, 1);
    um_world_bcast(world, &lacking, sizeof lacking);
    if (lacking == 0) return UM_BF16;
    if (world->rank == 0) um_log(UM_LOG_WARN, "--precision bf16: the %s of %lld of %d ranks do not compute in bf16: all use f32", backend->device != NULL ? "GPUs" : "processors", (long long)lacking, world->size);
    return UM_F32;
}

static um_status make_detectors(um_score_setup *s, work *w, const char *given)
{
    um_buf path = {0};
    um_status st;
    UM_GOTO_PASS(st, um_job_find(w->ctx, given, "mtcnn.h5", &path));
    UM_GOTO(st, um_weights_read_mtcnn(w->ctx->vfs, (char *)path.data, &w->mtcnn, s->detector), "cannot load the detector %s", um_quote((char *)path.data));
    s->scorer.detector = calloc((size_t)w->n_threads, sizeof *s->scorer.detector);
    s->scorer.resize = calloc((size_t)w->n_threads, sizeof *s->scorer.resize);
    if (s->scorer.detector == NULL || s->scorer.resize == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %d threads", w->n_threads));
    for (int i = 0; i < w->n_threads; i++) {
        UM_GOTO_PASS(st, um_detector_new(&w->mtcnn, w->scale, &s->scorer.detector[i]));
        UM_GOTO_PASS(st, um_cvresize_new(&s->scorer.resize[i]));
    }
    UM_GOTO_PASS(st, um_pool_new(w->n_threads, &s->scorer.threads));
    if (s->device.module != NULL && w->gpu_frames > 0) {
        s->scorer.device_frames = w->gpu_frames;
        st = um_device_detector_new(s->device.module->detector, &w->mtcnn, w->scale, w->gpu_frames, &s->scorer.thresholds, w->n_threads, &s->scorer.device_detector);
    }
done:
    um_buf_release(&path);
    return st;
}

static um_status make_classifiers(um_score_setup *s, work *w, um_dtype precision, size_t *bytes)
{
    um_classifier_options o = {.precision = precision, .n_threads = w->n_threads, .backend = s->device.backend, .batch = w->gpu_batch};
    *bytes = 0;
    s->scorer.model = calloc((size_t)w->n_models, sizeof *s->scorer.model);
    s->name = calloc((size_t)w->n_models, sizeof *s->name);
    w->size_px = calloc((size_t)w->n_models, sizeof *w->size_px);
    if (s->scorer.model == NULL || s->name == NULL || w->size_px == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d models", w->n_models);
    s->scorer.n_models = w->n_models;
    s->scorer.size_px = w->size_px;
    for (int i = 0; i < w->n_models; i++) {
        model_file *m = &w->model[i];
        UM_TRY(um_classifier_new(&m->head, &o, &s->scorer.model[i]), "cannot make the network of %s ready", um_quote(m->path));
        m->at = *bytes;
        *bytes += (um_classifier_constant_bytes(s->scorer.model[i]) + ALIGN - 1) / ALIGN * ALIGN;
        s->own_bytes += (int64_t)um_classifier_run_bytes(s->scorer.model[i]);
        w->size_px[i] = m->head.size_px;
        s->name[i] = name_of(m->path);
        if (s->name[i] == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a name");
        UM_PASS(um_buf_printf(&s->fingerprints, "%s%s", i > 0 ? " " : "", m->head.fingerprint));
    }
    return UM_OK;
}

/* One model at a time is in memory as its file has it. */
static um_status fill(um_score_setup *s, work *w)
{
    for (int i = 0; i < w->n_models; i++) {
        model_file *m = &w->model[i];
        um_model now = {0};
        UM_TRY(um_model_read(w->ctx->vfs, m->path, &now), "cannot use the model %s", um_quote(m->path));
        um_status st = strcmp(now.fingerprint, m->head.fingerprint) == 0
                           ? um_classifier_pack(s->scorer.model[i], &now, (char *)w->weights.data + m->at)
                           : UM_FAIL(UM_DATA, "%s is another model here than on rank 0 (fingerprint %s, not %s)", um_quote(m->path), now.fingerprint, m->head.fingerprint);
        um_model_release(&now);
        UM_PASS(st);
    }
    return UM_OK;
}

/* The maps take memory by the number of faces at once, the weights do not. */
static void say_what_fits(const um_score_setup *s, const work *w, size_t weights)
{
    double all = .95 * (double)s->device.gpu.memory_bytes, each = (double)s->own_bytes / w->gpu_batch;
    int fits = all > (double)weights ? (int)((all - (double)weights) / each) : 0;
    if (fits >= w->gpu_batch) fits = w->gpu_batch / 2; /* something else has its memory */
    if (fits > 0) um_err_note(UM_NO_MEMORY, "%d models with %d faces at once do not fit the GPU: try --set gpu.batch=%d", w->n_models, w->gpu_batch, fits);
    else um_err_note(UM_NO_MEMORY, "%d models do not fit the GPU: score with fewer at a time, or with --device cpu (gpu.batch=1 would not do)", w->n_models);
}

um_status um_score_setup_open(um_job_context *ctx, const um_score_wish *wish, um_score_setup *s)
{
    um_world *world = &ctx->world;
    um_status st;
    size_t bytes = 0;
    int64_t n = 0;
    *s = (um_score_setup){0};
    work *w = calloc(1, sizeof *w);
    s->work = w;
    if (w != NULL) w->model = calloc(UM_SCORE_MAX_MODELS, sizeof *w->model);
    st = w == NULL || w->model == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for models") : UM_OK;
    UM_PASS(um_agree(world, st, "loading the models"));
    w->ctx = ctx;
    w->n_threads = wish->n_threads;
    w->gpu_batch = wish->gpu_batch;
    w->gpu_frames = wish->gpu_frames;
    w->scale = wish->scale;
    s->scorer.decoder = ctx->decoder;
    s->scorer.thresholds = wish->thresholds;
    UM_PASS(um_device_open(ctx, wish->device, wish->share_gpus, &s->device));
    s->backend = s->device.backend->name;
    um_device_arithmetic(&s->device, s->isa, sizeof s->isa);
    if (s->device.module != NULL) { /* products of other sizes may be summed in another order */
        size_t used = strlen(s->isa);
        snprintf(s->isa + used, sizeof s->isa - used, ", %d at once%s", w->gpu_batch, w->gpu_frames > 0 ? ", detects" : "");
    }
    if (world->rank == 0) st = find_models(w, wish->models);
    UM_PASS(um_agree(world, st, "loading the models"));
    n = w->n_models;
    um_world_bcast(world, &n, sizeof n);
    w->n_models = (int)n;
    um_world_bcast(world, w->model, (size_t)n * sizeof *w->model);

    um_dtype precision = choose_precision(world, s->device.backend, wish->bf16);
    s->precision = precision == UM_F32 ? "f32" : s->device.module == NULL && strcmp(um_backend_cpu_arithmetic(UM_BF16), "f32") == 0 ? "bf16" : "bf16 products";
    st = make_detectors(s, w, wish->detector);
    if (st == UM_OK) st = make_classifiers(s, w, precision, &bytes);
    UM_PASS(um_agree(world, st, "loading the models"));
    UM_PASS(um_share_open(world, bytes, UM_SHARE_ANY, &w->weights));
    st = w->weights.fill ? fill(s, w) : UM_OK;
    UM_PASS(um_share_ready(world, &w->weights, st, "loading the models"));
    for (int i = 0; i < w->n_models && st == UM_OK; i++) st = um_classifier_attach(s->scorer.model[i], (const char *)w->weights.data + w->model[i].at);
    if (st == UM_NO_MEMORY && s->device.module != NULL) say_what_fits(s, w, bytes);
    UM_PASS(um_agree(world, st, "loading the models"));
    s->shared_bytes = (int64_t)bytes;
    return UM_OK;
}

void um_score_setup_close(um_score_setup *s)
{
    work *w = s->work;
    if (w == NULL) return;
    um_scorer_release(&s->scorer);
    um_device_detector_free(s->scorer.device_detector);
    for (int i = 0; s->scorer.model != NULL && i < w->n_models; i++) um_classifier_free(s->scorer.model[i]);
    for (int i = 0; s->name != NULL && i < w->n_models; i++) free(s->name[i]);
    for (int i = 0; s->scorer.detector != NULL && i < w->n_threads; i++) um_detector_free(s->scorer.detector[i]);
    for (int i = 0; s->scorer.resize != NULL && i < w->n_threads; i++) um_cvresize_free(s->scorer.resize[i]);
    um_pool_free(s->scorer.threads);
    free(s->scorer.model);
    free(s->scorer.detector);
    free(s->scorer.resize);
    free(s->name);
    um_buf_release(&s->fingerprints);
    um_device_close(&s->device);
    um_share_close(&w->weights);
    um_mtcnn_weights_release(&w->mtcnn);
    free(w->size_px);
    free(w->model);
    free(w);
    *s = (um_score_setup){0};
}
