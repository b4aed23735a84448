#include "src/detect/device_detect.h"

#include <math.h>
#include <stdlib.h>

enum { SIZES = 2, MOST_PIXELS = 16 * 960 * 540 /* of a batch */ };

typedef struct sized {
    int width_px, height_px, max_frames;
    um_gpu_detector *detector; /* NULL: its memory was not to be had */
    int64_t used;              /* when last */
} sized;

struct um_device_detector {
    const um_gpu_detector_ops *ops;
    const um_mtcnn_weights *weights;
    um_thresholds thresholds;
    double scale;
    int max_frames, n_threads;
    sized size[SIZES];
    um_resize **resize; /* [n_threads] */
    um_image *scaled;   /* [max_frames] */
    um_faces *found;    /* [max_frames] */
    const uint8_t **data;
    bool *overflown;
    int64_t clock, fallbacks;
    /* of the batch in hand */
    const um_image *const *frame;
    um_faces *const *faces;
    um_detector *const *fallback;
};

void um_device_detector_free(um_device_detector *d)
{
    if (d == NULL) return;
    for (int i = 0; i < SIZES; i++) d->ops->close(d->size[i].detector);
    for (int i = 0; d->resize != NULL && i < d->n_threads; i++) um_resize_free(d->resize[i]);
    for (int i = 0; i < d->max_frames; i++) {
        if (d->scaled != NULL) um_image_free(&d->scaled[i]);
        if (d->found != NULL) um_faces_release(&d->found[i]);
    }
    free(d->resize);
    free(d->scaled);
    free(d->found);
    free(d->data);
    free(d->overflown);
    free(d);
}

um_status um_device_detector_new(const um_gpu_detector_ops *ops, const um_mtcnn_weights *w, double scale, int max_frames, const um_thresholds *t, int n_threads, um_device_detector **out)
{
    um_status st = UM_OK;
    um_device_detector *d = calloc(1, sizeof *d);
    *out = NULL;
    if (d == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the face detector");
    *d = (um_device_detector){.ops = ops, .weights = w, .thresholds = *t, .scale = scale, .max_frames = max_frames, .n_threads = n_threads};
    d->resize = calloc((size_t)n_threads, sizeof(um_resize *));
    d->scaled = calloc((size_t)max_frames, sizeof *d->scaled);
    d->found = calloc((size_t)max_frames, sizeof *d->found);
    d->data = calloc((size_t)max_frames, sizeof(uint8_t *));
    d->overflown = calloc((size_t)max_frames, sizeof *d->overflown);
    bool ok = d->resize != NULL && d->scaled != NULL && d->found != NULL && d->data != NULL && d->overflown != NULL;
    for (int i = 0; ok && i < n_threads; i++) ok = (d->resize[i] = um_resize_new()) != NULL;
    if (!ok) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for the face detector"));
    *out = d;
done:
    if (st != UM_OK) um_device_detector_free(d);
    return st;
}

int64_t um_device_detector_fallbacks(const um_device_detector *d) { return d->fallbacks; }

/* The device's detector of that size. A size without one is remembered too: asking again would cost as much. */
static um_status detector_of(um_device_detector *d, int width_px, int height_px, sized **out)
{
    sized *s = &d->size[0];
    for (int i = 0; i < SIZES; i++) {
        sized *at = &d->size[i];
        if (at->width_px == width_px && at->height_px == height_px) {
            at->used = ++d->clock;
            *out = at;
            return UM_OK;
        }
        if (at->used < s->used) s = at;
    }
    int64_t fits = MOST_PIXELS / ((int64_t)width_px * height_px);
    d->ops->close(s->detector);
    *s = (sized){.width_px = width_px, .height_px = height_px, .max_frames = fits < 1 ? 1 : fits < d->max_frames ? (int)fits : d->max_frames, .used = ++d->clock};
    um_status st = d->ops->open(d->weights, width_px, height_px, s->max_frames, &d->thresholds, &s->detector);
    *out = s;
    if (st != UM_NO_MEMORY) return st;
    um_err_clear();
    return UM_OK;
}

static um_status scale_one(void *user, int64_t i, int thread)
{
    um_device_detector *d = user;
    return um_resize_bicubic(d->resize[thread], d->frame[i], &d->scaled[i]);
}

static um_status search_one(void *user, int64_t i, int thread)
{
    um_device_detector *d = user;
    return d->overflown[i] ? um_detector_run(d->fallback[thread], d->frame[i], &d->thresholds, d->faces[i]) : UM_OK;
}

static um_status give(um_device_detector *d, int n, float factor)
{
    for (int i = 0; i < n; i++) {
        um_faces *to = d->faces[i], *from = &d->found[i], kept = *to;
        if (d->overflown[i]) continue;
        *to = *from; /* memories change hands */
        *from = kept;
        for (int j = 0; j < to->n && factor != 1; j++) {
            um_face *f = &to->face[j];
            for (int k = 0; k < 4; k++) f->box[k] /= factor;
            for (int k = 0; k < 10; k++) f->landmarks[k / 2][k % 2] /= factor;
        }
    }
    return UM_OK;
}

/* At most max_frames. */
static um_status run_some(um_device_detector *d, um_pool *pool, int n, double factor, int w, int h)
{
    sized *s;
    UM_PASS(detector_of(d, w, h, &s));
    bool as_it_is = factor == 1 && d->frame[0]->stride == (size_t)w * 3;
    for (int i = 0; i < n; i++) {
        d->overflown[i] = s->detector == NULL;
        d->data[i] = as_it_is ? d->frame[i]->data : NULL;
        if (!as_it_is) UM_PASS(um_image_fit(&d->scaled[i], w, h, 3));
    }
    if (s->detector != NULL) {
        if (!as_it_is) UM_PASS(um_pool_run(pool, n, scale_one, d));
        for (int i = 0; i < n && !as_it_is; i++) d->data[i] = d->scaled[i].data;
        for (int at = 0; at < n; at += s->max_frames) {
            int some = n - at < s->max_frames ? n - at : s->max_frames;
            UM_PASS(d->ops->run(s->detector, d->data + at, some, d->found + at, d->overflown + at));
        }
    }
    for (int i = 0; i < n; i++) d->fallbacks += d->overflown[i];
    UM_PASS(um_pool_run(pool, n, search_one, d));
    return give(d, n, (float)factor);
}

um_status um_device_detector_run(um_device_detector *d, um_pool *pool, um_detector *const *fallback, const um_image *const *frame, int n, um_faces *const *faces)
{
    if (n == 0) return UM_OK;
    double factor = d->scale > 0 ? d->scale : um_detect_auto_scale(frame[0]->width_px, frame[0]->height_px);
    double w = floor(frame[0]->width_px * factor), h = floor(frame[0]->height_px * factor);
    bool odd = w < 1 || h < 1 || w > UM_IMAGE_MAX_SIDE || h > UM_IMAGE_MAX_SIDE; /* what becomes of these is said in one place */
    d->fallback = fallback;
    for (int at = 0; at < n; at += d->max_frames) {
        int some = n - at < d->max_frames ? n - at : d->max_frames;
        d->frame = frame + at;
        d->faces = faces + at;
        for (int i = 0; i < some; i++) d->overflown[i] = true;
        UM_PASS(odd ? um_pool_run(pool, some, search_one, d) : run_some(d, pool, some, factor, (int)w, (int)h));
    }
    return UM_OK;
}
