#include "jobs/score_unit.h"

#include "jobs/score_crops.h"
#include "src/core/clock.h"
#include "src/detect/crop.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 20 };
static const int64_t MAX_BATCH_BYTES = INT64_C(256) << 20; /* of copied frames that are searched at once */

/* A frame that is searched: what one item of the pool works on. */
typedef struct item {
    um_image copy; /* owned */
    um_image image;
    int64_t index;
    double time_s;
    int window;
    um_faces faces; /* after the search: those that leave a crop */
    um_buf pixels;  /* their pictures, as um_score_crops_add takes them */
} item;

typedef struct um_score_work {
    item *item;
    const um_image **frame; /* of the items, and where their faces go: for a device */
    um_faces **faces;
    int n_items, max_items, cap_items;
    int cap_faces;
    int window, window_face; /* whose frames are searched, and where its faces begin in the row */
    um_score_crops crops;
} work;

/* Which frames are looked at. */
typedef struct choice {
    um_moments moments; /* by time */
    int64_t *index;     /* by number */
    int n_index;
    bool by_time, by_number;
} choice;

static void between(um_scorer *s)
{
    if (s->between != NULL) s->between(s->user);
}

static um_status stopping(const um_scorer *s)
{
    if (s->stop != NULL && *s->stop != 0) return UM_FAIL(UM_STOPPED, "stopped within a video");
    return UM_OK;
}

void um_scorer_release(um_scorer *s)
{
    work *w = s->work;
    if (w == NULL) return;
    for (int i = 0; i < w->cap_items; i++) {
        um_image_free(&w->item[i].copy);
        um_faces_release(&w->item[i].faces);
        um_buf_release(&w->item[i].pixels);
    }
    free(w->item);
    free(w->frame);
    free(w->faces);
    um_score_crops_release(&w->crops);
    free(w);
    s->work = NULL;
}

static um_status prepare(um_scorer *s)
{
    if (s->work != NULL) return UM_OK;
    if (s->n_models < 1 || s->n_models > UM_SCORE_MAX_MODELS) return UM_FAIL(UM_INTERNAL, "%d models", s->n_models);
    s->work = calloc(1, sizeof *s->work);
    if (s->work == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for scoring");
    work *w = s->work;
    int n = um_pool_threads(s->threads);
    if (s->device_detector != NULL && n < s->device_frames) n = s->device_frames;
    w->item = calloc((size_t)n, sizeof *w->item);
    w->frame = calloc((size_t)n, sizeof(um_image *));
    w->faces = calloc((size_t)n, sizeof(um_faces *));
    if (w->item == NULL || w->frame == NULL || w->faces == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for scoring");
    w->cap_items = n;
    um_score_crops_init(&w->crops, s->size_px, s->n_models);
    return UM_OK;
}

/* ---- which frames ---- */

static void choice_release(choice *c)
{
    um_moments_release(&c->moments);
    free(c->index);
    *c = (choice){0};
}

/* Moments spread over a video whose last frame begins at last_s. */
static um_status choose_moments(const um_scorer *s, double last_s, int64_t n_frames, double fps, choice *c)
{
    um_window_options o = s->windows;
    o.per_window = (int)s->frames.count;
    if (!(last_s > 0)) last_s = 0;
    /* The mean rate, so that the last moment is where the last frame begins. */
    if (n_frames > 1 && last_s > 0) fps = (double)(n_frames - 1) / last_s;
    if (!(fps > 0)) fps = 25;
    c->by_time = true;
    return um_moments_spread(last_s + 1 / fps, fps, &o, &c->moments);
}

/* What the container says. */
static um_status probe(um_scorer *s, bool packets, const char *path, int64_t size_bytes, int64_t mtime_ns, um_video_info *info)
{
    um_video *v;
    double start = um_clock_s();
    um_status st = packets ? um_video_open_times(s->decoder, path, NULL, 0, size_bytes, mtime_ns, &v, info)
                           : um_video_open_list(s->decoder, path, NULL, 0, size_bytes, mtime_ns, &v, info);
    if (st == UM_OK) um_video_close(v, NULL);
    s->times.decode_wait += um_clock_s() - start;
    return st;
}

static um_status choose(um_scorer *s, const char *path, int64_t size_bytes, int64_t mtime_ns, choice *c)
{
    um_video_info info;
    *c = (choice){0};
    if (s->frames.kind != UM_FRAMES_SPREAD) return UM_OK;
    UM_PASS(probe(s, s->pool == UM_POOL_PERSONS, path, size_bytes, mtime_ns, &info));
    if (s->pool == UM_POOL_PERSONS) return choose_moments(s, info.last_s, info.n_frames, info.fps, c);
    if (info.n_claimed < 1) return UM_FAIL(UM_ZERO_FRAMES, "the container tells neither a number of frames nor a duration, and the reference reads nothing then");
    c->by_number = true;
    c->index = malloc((size_t)s->frames.count * sizeof *c->index);
    if (c->index == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " frame numbers", s->frames.count);
    c->n_index = um_frames_linspace(info.n_claimed, (int)s->frames.count, c->index);
    return UM_OK;
}

/* ---- searching and holding ---- */

/* Finds the faces of one frame, where no device has done so, and makes the classifiers' pictures of them. */
static um_status search(void *user, int64_t i, int thread)
{
    um_scorer *s = user;
    work *w = s->work;
    item *it = &w->item[i];
    if (s->device_detector == NULL) UM_PASS(um_detector_run(s->detector[thread], &it->image, &s->thresholds, &it->faces));
    um_buf_clear(&it->pixels);
    int kept = 0;
    for (int k = 0; k < it->faces.n; k++) {
        um_rect rect;
        if (!um_crop_rect(it->faces.face[k].box, it->image.width_px, it->image.height_px, &rect)) continue;
        um_image crop = um_image_crop(&it->image, rect);
        UM_PASS(um_score_crops_picture(&w->crops, s->resize[thread], &crop, &it->pixels));
        it->faces.face[kept++] = it->faces.face[k];
    }
    it->faces.n = kept;
    return UM_OK;
}

static um_status add_face(um_scorer *s, um_score_row *row, const item *it, int k)
{
    work *w = s->work;
    const um_face *face = &it->faces.face[k];
    if (row->n_faces == w->cap_faces) {
        int cap = w->cap_faces < 64 ? 64 : 2 * w->cap_faces;
        um_score_face *f = realloc(row->face, (size_t)cap * sizeof *f);
        if (f == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d faces", cap);
        row->face = f;
        w->cap_faces = cap;
    }
    um_score_face *f = &row->face[row->n_faces];
    *f = (um_score_face){.frame = it->index, .time_s = it->time_s, .probability = face->probability, .window = it->window, .track = -1};
    memcpy(f->box, face->box, sizeof f->box);
    memcpy(f->landmarks, face->landmarks, sizeof f->landmarks);
    f->score = malloc((size_t)s->n_models * sizeof *f->score);
    if (f->score == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for scores");
    for (int m = 0; m < s->n_models; m++) f->score[m] = NAN;
    row->n_faces++;
    if (s->pool == UM_POOL_FACES && row->n_faces > UM_SCORE_REFERENCE_FACES) return UM_OK;
    return um_score_crops_add(&w->crops, row->n_faces - 1, it->pixels.data + (size_t)k * um_score_crops_bytes(&w->crops));
}

/* Of the faces that are held, those of persons that count; frees the others. All faces of a window are there. */
static um_status drop_uncounted(um_scorer *s, um_score_row *row)
{
    um_score_crops *c = &s->work->crops;
    if (c->n == 0) return UM_OK;
    int first = s->work->window_face;
    um_score_row part = {.face = row->face + first, .n_faces = row->n_faces - first, .n_models = row->n_models};
    int n_tracks;
    UM_PASS(um_score_tracks(&part, &n_tracks));
    int *n = calloc((size_t)n_tracks + 1, sizeof *n);
    if (n == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d tracks", n_tracks);
    for (int i = 0; i < part.n_faces; i++) n[part.face[i].track]++;
    for (int i = 0; i < c->n; i++) c->keep[i] = n[row->face[c->face[i]].track] >= s->min_faces;
    um_score_crops_compact(c);
    free(n);
    return UM_OK;
}

/* Batches of a device between two looks at the queue: enough to keep it busy. */
enum { DEVICE_BATCHES = 4 };

/* Scores the faces that are held. */
static um_status classify(um_scorer *s, um_score_row *row)
{
    um_score_crops *c = &s->work->crops;
    int n_threads = um_pool_threads(s->threads);
    for (int m = 0; m < s->n_models; m++) {
        int batch = um_classifier_batch(s->model[m]), most = batch > 1 ? DEVICE_BATCHES * batch : n_threads;
        for (int at = 0; at < c->n; at += most) {
            int n = c->n - at < most ? c->n - at : most;
            between(s);
            UM_PASS(stopping(s));
            double start = um_clock_s();
            UM_PASS(um_classifier_run(s->model[m], s->threads, um_score_crops_pixels(c, s->size_px[m], at), n, c->logit));
            s->times.classify += um_clock_s() - start;
            for (int i = 0; i < n; i++) row->face[c->face[at + i]].score[m] = (float)(1 / (1 + exp(-(double)c->logit[i])));
        }
    }
    um_score_crops_clear(c);
    return UM_OK;
}

/* The faces of a window are complete. */
static um_status end_window(um_scorer *s, um_score_row *row)
{
    if (s->pool == UM_POOL_PERSONS) UM_PASS(drop_uncounted(s, row));
    s->work->window_face = row->n_faces;
    return classify(s, row);
}

static um_status search_batch(um_scorer *s, um_score_row *row)
{
    work *w = s->work;
    double start = um_clock_s();
    if (s->device_detector != NULL) {
        for (int i = 0; i < w->n_items; i++) {
            w->frame[i] = &w->item[i].image;
            w->faces[i] = &w->item[i].faces;
        }
        UM_PASS(um_device_detector_run(s->device_detector, s->threads, s->detector, w->frame, w->n_items, w->faces));
    }
    UM_PASS(um_pool_run(s->threads, w->n_items, search, s));
    s->times.detect += um_clock_s() - start;
    for (int i = 0; i < w->n_items; i++) {
        const item *it = &w->item[i];
        row->frames_with_faces += it->faces.n > 0;
        for (int k = 0; k < it->faces.n; k++) UM_PASS(add_face(s, row, it, k));
    }
    w->n_items = 0;
    /* A window with more faces than can be held: those there are get scored, whether they will count or not. */
    if (um_score_crops_full(&w->crops)) return classify(s, row);
    return UM_OK;
}

static um_status take_frame(um_scorer *s, um_score_row *row, const um_frame *f, int window)
{
    work *w = s->work;
    if (window != w->window) {
        if (w->n_items > 0) UM_PASS(search_batch(s, row));
        UM_PASS(end_window(s, row));
        w->window = window;
    }
    item *it = &w->item[w->n_items++];
    it->index = f->index;
    it->time_s = f->time_s;
    it->window = window;
    it->image = f->image;
    if (w->max_items > 1) {
        /* The decoder's frame is gone at the next one. */
        UM_PASS(um_image_keep(&it->copy, &f->image));
        it->image = it->copy;
    }
    if (w->n_items < w->max_items) return UM_OK;
    return search_batch(s, row);
}

static um_status next_frame(um_scorer *s, um_video *v, um_frame *f)
{
    double start = um_clock_s();
    um_status st;
    do {
        between(s);
        UM_PASS(stopping(s));
        st = um_video_next(v, WAIT_MS * 1e-3, f);
    } while (st == UM_STOPPED);
    s->times.decode_wait += um_clock_s() - start;
    return st;
}

static void forget_faces(um_scorer *s, um_score_row *row)
{
    for (int i = 0; i < row->n_faces; i++) free(row->face[i].score);
    row->n_faces = row->frames_with_faces = 0;
    s->work->n_items = 0;
    s->work->window = s->work->window_face = 0;
    um_score_crops_clear(&s->work->crops);
}

/* Decodes the chosen frames, finds and scores their faces. *r is the decoder's result. Item statuses: it could not be opened. */
static um_status one_pass(um_scorer *s, const char *path, int64_t size_bytes, int64_t mtime_ns, const choice *c, um_score_row *row, um_video_result *r)
{
    work *w = s->work;
    um_video *v;
    um_video_info info;
    um_frame f;
    forget_faces(s, row);
    double start = um_clock_s();
    um_status st = c->by_time     ? um_video_open_times(s->decoder, path, c->moments.time_s, c->moments.n, size_bytes, mtime_ns, &v, &info)
                   : c->by_number ? um_video_open_list(s->decoder, path, c->index, c->n_index, size_bytes, mtime_ns, &v, &info)
                                  : um_video_open(s->decoder, path, &s->frames, size_bytes, mtime_ns, &v, &info);
    s->times.decode_wait += um_clock_s() - start;
    if (st != UM_OK) return st;
    int64_t n = MAX_BATCH_BYTES / ((int64_t)info.width_px * info.height_px * 3);
    w->max_items = n < 1 ? 1 : n < w->cap_items ? (int)n : w->cap_items;
    while ((st = next_frame(s, v, &f)) == UM_OK) {
        st = take_frame(s, row, &f, c->by_time ? c->moments.window[f.answers] : 0);
        if (st != UM_OK) break;
    }
    um_video_close(v, r);
    if (st != UM_END) return st;
    if (w->n_items > 0) UM_PASS(search_batch(s, row));
    return end_window(s, row);
}

/* ---- the row ---- */

/* Has so much of the file proved missing that its moments must be chosen anew? */
static bool ended_far_too_early(const choice *c, const um_video_result *r)
{
    int past = 0;
    if (!c->by_time || r->end_s < 0 || (r->status != UM_OK && r->status != UM_PARTIAL)) return false;
    for (int i = 0; i < c->moments.n; i++) past += c->moments.time_s[i] > r->end_s;
    return past > c->moments.n / 4;
}

/* Faces to persons or pool, and the status: why there is no score, where there is none. */
static um_status conclude(um_scorer *s, const um_video_result *r, um_score_row *row)
{
    const char *also = r->message[0] ? "; " : "";
    row->frames_wanted = (int)r->frames_wanted;
    row->frames_decoded = (int)r->frames_given;
    /* A decoder that died or ran out of time may come further another day: what it gave until then is not the file's. */
    bool usable = r->status == UM_OK || r->status == UM_PARTIAL;
    if (!usable) forget_faces(s, row);
    row->status = r->status;
    snprintf(row->message, sizeof row->message, "%s", r->message);
    if (s->pool == UM_POOL_FACES) {
        UM_PASS(um_score_faces(row, s->threshold));
    } else {
        int n_tracks;
        UM_PASS(um_score_tracks(row, &n_tracks));
        UM_PASS(um_score_persons(row, s->min_faces, s->threshold));
    }
    row->status = r->status;
    if (!usable) return UM_OK;
    if (row->n_faces == 0) {
        row->status = UM_NO_FACE;
        snprintf(row->message, sizeof row->message, "no face in %d frames%s%.180s", row->frames_decoded, also, r->message);
    } else if (s->pool == UM_POOL_PERSONS && row->n_persons == 0) {
        row->status = UM_NO_FACE;
        snprintf(row->message, sizeof row->message, "%d faces in %d of %d frames, but no person in %d of them%s%.120s", row->n_faces, row->frames_with_faces, row->frames_decoded, s->min_faces, also,
                 r->message);
    } else if (s->pool == UM_POOL_FACES && row->n_faces == 1) {
        snprintf(row->message, sizeof row->message, "one face only: 0.5 by the reference's rule%s%.180s", also, r->message);
    }
    return UM_OK;
}

/* Scores of tracks that do not count would depend on how much was held: nobody shall see them. */
static void hide_uncounted(um_score_row *row)
{
    for (int i = 0; i < row->n_faces; i++) {
        bool counts = false;
        for (int k = 0; k < row->n_persons && !counts; k++) counts = row->person[k].track == row->face[i].track;
        for (int m = 0; m < row->n_models && !counts; m++) row->face[i].score[m] = NAN;
    }
}

static um_status score(um_scorer *s, const char *path, int64_t size_bytes, int64_t mtime_ns, um_score_row *row)
{
    choice c;
    um_video_result r = {0};
    um_status st = choose(s, path, size_bytes, mtime_ns, &c);
    if (st == UM_OK) st = one_pass(s, path, size_bytes, mtime_ns, &c, row, &r);
    if (st == UM_OK && ended_far_too_early(&c, &r)) {
        um_video_result first = r;
        s->second_passes++;
        choice_release(&c);
        st = choose_moments(s, r.end_s, 0, 0, &c);
        if (st == UM_OK) st = one_pass(s, path, size_bytes, mtime_ns, &c, row, &r);
        /* The second pass need not come to where the file breaks off. */
        if (st == UM_OK && r.status == UM_OK && first.status == UM_PARTIAL) {
            r.status = UM_PARTIAL;
            snprintf(r.message, sizeof r.message, "the file ends early, at %.1f s: these are moments of what is there", first.end_s);
        }
    }
    choice_release(&c);
    if (st != UM_OK) {
        if (um_status_class_of(st) != UM_CLASS_ITEM) return st;
        r = (um_video_result){.status = st};
        snprintf(r.message, sizeof r.message, "%s", um_err_text());
    }
    UM_PASS(conclude(s, &r, row));
    if (s->pool == UM_POOL_PERSONS) hide_uncounted(row);
    return UM_OK;
}

um_status um_score_video(um_scorer *s, const char *path, int64_t size_bytes, int64_t mtime_ns, um_score_row *row)
{
    *row = (um_score_row){.status = UM_PENDING, .score = NAN, .start_s = NAN, .end_s = NAN, .n_models = s->n_models};
    UM_PASS(prepare(s));
    s->work->cap_faces = 0;
    row->model_score = malloc((size_t)s->n_models * sizeof *row->model_score);
    if (row->model_score == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for scores");
    for (int m = 0; m < s->n_models; m++) row->model_score[m] = NAN;
    um_status st = score(s, path, size_bytes, mtime_ns, row);
    if (st != UM_OK) {
        forget_faces(s, row);
        um_score_row_release(row);
    }
    return st;
}
