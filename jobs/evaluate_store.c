/* The crops of a store through models, one model after the other; ranks share out the crops. The baseline beside them learns from the crops that a network was trained on. */
#include "io/model.h"
#include "jobs/console.h"
#include "jobs/device.h"
#include "jobs/evaluate.h"
#include "jobs/model_files.h"
#include "jobs/stop.h"
#include "jobs/train_data.h"
#include "jobs/train_source.h"
#include "src/core/log.h"
#include "src/models/classifier.h"
#include "src/train/baseline.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64, BATCH = 16, AHEAD = 3, MAX_MODELS = 1024 };

typedef struct run {
    um_job_context *ctx;
    um_world *w;
    const um_evaluate_options *o;
    um_evaluation *e;
    um_train_options train;   /* what um_train_data and um_train_source want to be told */
    um_train_data data;
    um_pool *pool;
    um_device device;
    int n_threads;
    int64_t begin, end;       /* this rank's crops of data.val */
    double *number, *there;   /* [2 n_val]: of each crop, and whether there is one; 0 where another rank has it */
    char (*seen)[17];         /* fingerprints */
    int n_seen;
    um_progress progress;
    char words[160];
} run;

static int64_t share(int64_t n, int rank, int size) { return n * rank / size; }

/* ---- numbers of all ranks, on rank 0 ---- */

static void gather(run *r, double *v, int64_t n)
{
    enum { MOST = 1 << 24 };
    for (int64_t i = 0; i < n; i += MOST) um_world_sum_f64(r->w, v + i, (int)(n - i < MOST ? n - i : MOST));
}

/* Rank 0: frames' numbers, and from them videos'. */
static um_status keep(run *r, const char *name)
{
    um_evaluation *e = r->e;
    um_evaluated *by;
    UM_PASS(um_evaluation_add(e, name, true, &by));
    e->damaged = 0;
    for (int64_t i = 0, j; i < e->n_frames; i = j) {
        int32_t v = e->video_of_frame[i];
        double sum = 0;
        int64_t n = 0;
        for (j = i; j < e->n_frames && e->video_of_frame[j] == v; j++) {
            if (r->there[j] == 0) continue;
            by->frame[j] = r->number[j];
            sum += r->number[j];
            n++;
        }
        if (n > 0) by->video[v] = sum / (double)n;
        e->damaged += j - i - n;
    }
    return UM_OK;
}

/* ---- one model ---- */

static um_status run_crops(run *r, um_classifier *c, int size_px, const char *name)
{
    um_train_source *source = NULL;
    um_loader *loader = NULL;
    float logit[BATCH];
    um_status st;
    r->train.size_px = size_px;
    UM_GOTO_PASS(st, um_train_source_open(&r->data, &r->train, 0, 1, r->n_threads, &source));
    um_loader_options o = {.n_threads = r->n_threads, .depth = AHEAD, .max_batch = BATCH, .image_bytes = (size_t)size_px * (size_t)size_px * 3};
    UM_GOTO_PASS(st, um_loader_new(&o, &loader));
    um_loader_run what = {.make = um_train_source_validate, .user = source, .end_batch = (r->end - r->begin + BATCH - 1) / BATCH, .stride = BATCH, .offset = r->begin, .end = r->end, .n = BATCH};
    UM_GOTO_PASS(st, um_loader_begin(loader, &what));
    for (um_loader_batch b; (st = um_loader_next(loader, &b)) == UM_OK;) {
        if (*um_stop_flag() != 0) UM_GOTO_PASS(st, UM_FAIL(UM_STOPPED, "a signal asked to stop"));
        UM_GOTO_PASS(st, um_classifier_run(c, r->pool, b.images, b.n, logit));
        for (int i = 0; i < b.n; i++) {
            if ((b.weight[i] & UM_PICTURE_COUNTS) == 0) continue;
            r->number[b.first + i] = 1 / (1 + exp(-(double)logit[i]));
            r->there[b.first + i] = 1;
        }
        if (r->w->rank != 0) continue;
        snprintf(r->words, sizeof r->words, "%s: %" PRId64 " of %" PRId64 " crops of this rank", name, b.first + b.n - r->begin, r->end - r->begin);
        um_progress_show(&r->progress, r->words, b.first + b.n - r->begin, r->end - r->begin, false);
    }
    if (st == UM_END) st = UM_OK;
done:
    um_loader_free(loader);
    um_train_source_close(source);
    return st;
}

static bool is_new(run *r, const char *fingerprint, const char *path)
{
    for (int i = 0; i < r->n_seen; i++)
        if (strcmp(r->seen[i], fingerprint) == 0) {
            if (r->w->rank == 0) um_log(UM_LOG_WARN, "%s is the same model as an earlier one: it counts once", um_quote(path));
            return false;
        }
    memcpy(r->seen[r->n_seen++], fingerprint, sizeof r->seen[0]);
    return true;
}

/* *used false: not a model that gives a score, or one that was there already; nothing was collected. */
static um_status run_model(run *r, const um_model_file *file, bool *used)
{
    um_model m = {0};
    um_classifier *c = NULL;
    void *constants = NULL;
    um_classifier_options o = {.precision = UM_F32, .n_threads = r->n_threads, .backend = r->device.backend, .batch = BATCH};
    um_status st;
    *used = false;
    UM_GOTO(st, um_model_read(r->ctx->vfs, file->path, &m), "cannot use the model %s", um_quote(file->path));
    if (!m.has_head) {
        if (!file->found) UM_GOTO_PASS(st, UM_FAIL(UM_DATA, "the model %s is an encoder without the head that gives a score: it is there to train from (unmask train --init)", um_quote(file->path)));
        if (r->w->rank == 0) um_log(UM_LOG_WARN, "%s is an encoder without the head that gives a score: left out", um_quote(file->path));
        goto done;
    }
    if (!is_new(r, m.fingerprint, file->path)) goto done;
    UM_GOTO(st, um_classifier_new(&m, &o, &c), "cannot make the network of %s ready", um_quote(file->path));
    size_t bytes = (um_classifier_constant_bytes(c) + ALIGN - 1) / ALIGN * ALIGN;
    constants = aligned_alloc(ALIGN, bytes > 0 ? bytes : ALIGN);
    if (constants == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for the weights of %s", um_quote(file->path)));
    UM_GOTO_PASS(st, um_classifier_pack(c, &m, constants));
    UM_GOTO_PASS(st, um_classifier_attach(c, constants));
    free(m.params);
    m.params = NULL;
    *used = true;
    memset(r->number, 0, (size_t)r->data.n_val * 2 * sizeof *r->number);
    st = run_crops(r, c, m.size_px, file->path);
done:
    um_classifier_free(c);
    free(constants);
    um_model_release(&m);
    return st;
}

/* "seed111", or where several folders are told apart "one/seed111": the path without what all have in common, and without .h5. */
static void name_of(const um_model_files *files, int i, char *out, size_t size)
{
    size_t common = 0;
    const char *path = files->file[i].path;
    for (size_t at = 0; path[at] != 0; at++) {
        bool all = true;
        for (int k = 0; k < files->n && all; k++) all = strncmp(files->file[k].path, path, at + 1) == 0;
        if (!all) break;
        if (path[at] == '/') common = at + 1;
    }
    size_t n = strlen(path + common);
    if (n > 3 && strcmp(path + common + n - 3, ".h5") == 0) n -= 3;
    snprintf(out, size, "%.*s", (int)n, path + common);
}

static um_status run_models(run *r)
{
    um_model_files files = {0};
    um_status st = r->o->models.n == 0 && r->o->baseline ? UM_OK : um_model_files_find(r->ctx, &r->o->models, &files);
    UM_GOTO_PASS(st, um_agree(r->w, st, "looking for models"));
    int64_t n[2] = {files.n, files.n};
    um_world_bcast(r->w, n, sizeof n[0]);
    st = n[0] != n[1] ? UM_FAIL(UM_DATA, "this rank sees %" PRId64 " models, rank 0 %" PRId64, n[1], n[0]) : files.n > MAX_MODELS ? UM_FAIL(UM_TOO_LARGE, "more than %d models", MAX_MODELS) : UM_OK;
    UM_GOTO_PASS(st, um_agree(r->w, st, "looking for models"));
    if (files.n == 0 && !r->o->baseline)
        UM_GOTO_PASS(st, UM_FAIL(UM_MISSING, "there is no model to evaluate, neither by -m nor in $UNMASK_HOME nor in share/unmask beside the program: give -m DIR, what unmask train -o DIR made"));
    r->seen = calloc((size_t)files.n + 1, sizeof *r->seen);
    UM_GOTO_PASS(st, um_agree(r->w, r->seen == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for names") : UM_OK, "looking for models"));
    if (files.n > 0) UM_GOTO_PASS(st, um_device_open(r->ctx, r->o->device, r->o->share_gpus, &r->device));
    for (int i = 0; i < files.n; i++) {
        char name[256];
        bool used;
        um_progress_begin(&r->progress, 0);
        st = run_model(r, &files.file[i], &used);
        um_progress_end(&r->progress);
        UM_GOTO_PASS(st, um_agree(r->w, st, "evaluating a model"));
        if (!used) continue;
        gather(r, r->number, 2 * r->data.n_val);
        name_of(&files, i, name, sizeof name);
        if (r->w->rank == 0) st = keep(r, name);
        UM_GOTO_PASS(st, um_agree(r->w, st, "evaluating a model"));
        if (r->w->rank == 0) r->e->n_models++;
    }
done:
    um_device_close(&r->device);
    um_model_files_release(&files);
    return st;
}

/* Rank 0: the mean over the models. */
static um_status make_ensemble(um_evaluation *e)
{
    um_evaluated *by;
    char name[64];
    if (e->n_models < 2) return UM_OK;
    snprintf(name, sizeof name, "ensemble of %d", e->n_models);
    UM_PASS(um_evaluation_add(e, name, true, &by));
    for (int64_t i = 0; i < e->n_videos; i++) {
        by->video[i] = 0;
        for (int k = 0; k < e->n_models; k++) by->video[i] += e->by[k].video[i] / e->n_models;
    }
    for (int64_t i = 0; i < e->n_frames; i++) {
        by->frame[i] = 0;
        for (int k = 0; k < e->n_models; k++) by->frame[i] += e->by[k].frame[i] / e->n_models;
    }
    return UM_OK;
}

/* ---- the baseline ---- */

/* Statistics of this rank's part of a list, 0 elsewhere; a damaged crop's are NaN. x: [n][UM_BASELINE_FEATURES]. */
static um_status measure(run *r, um_train_source *source, um_cvresize *resize, const um_sample *list, int64_t n, double *x)
{
    int64_t begin = share(n, r->w->rank, r->w->size), end = share(n, r->w->rank + 1, r->w->size);
    for (int64_t i = begin; i < end; i++) {
        um_image crop;
        bool damaged;
        if (*um_stop_flag() != 0) return UM_FAIL(UM_STOPPED, "a signal asked to stop");
        UM_PASS(um_train_source_crop(source, &list[i], &crop, &damaged));
        for (int k = 0; damaged && k < UM_BASELINE_FEATURES; k++) x[i * UM_BASELINE_FEATURES + k] = NAN;
        if (damaged) continue;
        um_status st = um_baseline_features(resize, &crop, x + i * UM_BASELINE_FEATURES);
        um_image_free(&crop);
        UM_PASS(st);
    }
    return UM_OK;
}

/* Rank 0: learns from x of the training crops, then says what it thinks of the others. */
static um_status judge(run *r, double *x, const double *y)
{
    um_baseline b;
    int64_t n = 0;
    uint8_t *fake = malloc((size_t)r->data.n_train + 1);
    um_status st = fake == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for labels") : UM_OK;
    for (int64_t i = 0; i < r->data.n_train && st == UM_OK; i++) {
        if (isnan(x[i * UM_BASELINE_FEATURES])) continue;
        memmove(x + n * UM_BASELINE_FEATURES, x + i * UM_BASELINE_FEATURES, UM_BASELINE_FEATURES * sizeof *x);
        fake[n++] = r->data.train[i].fake;
    }
    if (st == UM_OK) st = um_baseline_fit(x, fake, (size_t)n, &b);
    for (int64_t i = 0; i < r->data.n_val && st == UM_OK; i++) {
        r->there[i] = !isnan(y[i * UM_BASELINE_FEATURES]);
        r->number[i] = r->there[i] != 0 ? um_baseline_score(&b, y + i * UM_BASELINE_FEATURES) : 0;
    }
    if (st == UM_OK) st = keep(r, "baseline");
    free(fake);
    return st;
}

static um_status run_baseline(run *r)
{
    um_train_source *source = NULL;
    um_cvresize *resize = NULL;
    double *x = calloc((size_t)r->data.n_train * UM_BASELINE_FEATURES + 1, sizeof *x), *y = calloc((size_t)r->data.n_val * UM_BASELINE_FEATURES + 1, sizeof *y);
    um_status st = x == NULL || y == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for statistics of %" PRId64 " crops", r->data.n_train + r->data.n_val) : UM_OK;
    if (st == UM_OK) st = um_cvresize_new(&resize);
    if (st == UM_OK) st = um_train_source_open(&r->data, &r->train, 0, 1, 1, &source);
    if (st == UM_OK) st = measure(r, source, resize, r->data.train, r->data.n_train, x);
    if (st == UM_OK) st = measure(r, source, resize, r->data.val, r->data.n_val, y);
    UM_GOTO_PASS(st, um_agree(r->w, st, "measuring sharpness and colour"));
    gather(r, x, r->data.n_train * UM_BASELINE_FEATURES);
    gather(r, y, r->data.n_val * UM_BASELINE_FEATURES);
    if (r->w->rank == 0) st = judge(r, x, y);
    st = um_agree(r->w, st, "fitting the baseline");
done:
    um_train_source_close(source);
    um_cvresize_free(resize);
    free(x);
    free(y);
    return st;
}

/* ---- all ---- */

/* The options of training that say which crops are meant, from ours; the rest are its defaults. */
static um_status tell_training(run *r)
{
    const um_evaluate_options *o = r->o;
    um_texts operands = {0};
    um_opt_common common = {.print_config = true}; /* nothing is required */
    UM_PASS(um_opt_parse(um_train_table(), 0, NULL, &r->train, &operands, &common));
    um_texts_release(&operands);
    r->train.store = o->store;
    r->train.folds = o->folds;
    r->train.val_list = o->val_list;
    r->train.fold = o->fold;
    r->train.val_videos = o->val_videos;
    return UM_OK;
}

/* Videos and frames of the lists. */
static um_status list_videos(run *r)
{
    um_evaluation *e = r->e;
    const um_train_data *d = &r->data;
    e->n_frames = d->n_val;
    e->path = calloc((size_t)d->n_val_videos + 1, sizeof *e->path);
    e->fake = calloc((size_t)d->n_val_videos + 1, sizeof *e->fake);
    e->group = calloc((size_t)d->n_val_videos + 1, sizeof *e->group);
    e->video_of_frame = calloc((size_t)d->n_val + 1, sizeof *e->video_of_frame);
    if (e->path == NULL || e->fake == NULL || e->group == NULL || e->video_of_frame == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d videos", d->n_val_videos);
    for (int64_t i = 0; i < d->n_val; i++) {
        const um_sample *s = &d->val[i];
        if (i == 0 || s->video != d->val[i - 1].video) {
            e->path[e->n_videos] = strdup(d->store.manifest.video[d->store.entry[s->entry].video].path);
            if (e->path[e->n_videos] == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a path");
            e->fake[e->n_videos] = s->fake;
            e->group[e->n_videos++] = s->original;
        }
        e->video_of_frame[i] = (int32_t)(e->n_videos - 1);
    }
    return um_evaluation_close_groups(e);
}

um_status um_evaluate_store(um_job_context *ctx, const um_evaluate_options *o, um_evaluation *e)
{
    run r = {.ctx = ctx, .w = &ctx->world, .o = o, .e = e};
    um_status st;
    *e = (um_evaluation){.best = -1};
    UM_GOTO_PASS(st, um_agree(r.w, tell_training(&r), "preparing"));
    st = um_train_data_load(ctx->vfs, &r.train, &r.data);
    if (st == UM_OK && o->baseline) st = um_train_data_check(&r.data);
    UM_GOTO_PASS(st, um_agree(r.w, st, "loading the store"));
    r.begin = share(r.data.n_val, r.w->rank, r.w->size);
    r.end = share(r.data.n_val, r.w->rank + 1, r.w->size);
    r.n_threads = um_world_processors(r.w);
    if (o->threads > 0) r.n_threads = (int)o->threads;
    r.number = calloc((size_t)r.data.n_val * 2 + 1, sizeof *r.number);
    r.there = r.number != NULL ? r.number + r.data.n_val : NULL;
    st = r.number == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " crops", r.data.n_val) : um_pool_new(r.n_threads, &r.pool);
    if (st == UM_OK && r.w->rank == 0) st = list_videos(&r);
    UM_GOTO_PASS(st, um_agree(r.w, st, "preparing"));
    UM_GOTO_PASS(st, run_models(&r));
    if (o->baseline) UM_GOTO_PASS(st, run_baseline(&r));
    if (r.w->rank == 0) st = make_ensemble(e);
    st = um_agree(r.w, st, "making the ensemble");
done:
    free(r.number);
    free(r.seen);
    um_pool_free(r.pool);
    um_train_data_release(&r.data);
    um_opt_release(um_train_table(), &r.train);
    return st;
}
