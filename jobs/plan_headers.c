/* Headers of the inputs: size of pictures, rate, length, codec; read on threads, each with a decoder of its own. Above --headers files a draw is read, and each other file is taken to be like the one that is next to it in size. */
#include "jobs/console.h"
#include "jobs/plan.h"
#include "jobs/stop.h"
#include "src/core/log.h"
#include "src/core/pool.h"
#include "src/core/rng.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* What is usual, where a header does not say. */
static const double USUAL_S = 10, USUAL_FPS = 30;
enum { USUAL_WIDTH = 1280, USUAL_HEIGHT = 720 };

double um_job_plan_fps(const um_job_plan_video *v) { return v->info.fps > 0 && v->info.fps < 1000 ? v->info.fps : USUAL_FPS; }

int64_t um_job_plan_frames(const um_job_plan_video *v)
{
    if (v->info.n_frames >= 0) return v->info.n_frames;
    return (int64_t)((v->info.duration_s > 0 ? v->info.duration_s : USUAL_S) * um_job_plan_fps(v) + .5);
}

double um_job_plan_duration_s(const um_job_plan_video *v) { return v->info.duration_s > 0 ? v->info.duration_s : (double)um_job_plan_frames(v) / um_job_plan_fps(v); }

typedef struct reading {
    um_job_plan *p;
    const int64_t *list; /* videos to read */
    int64_t n;
    atomic_llong done;
    um_progress progress;
} reading;

static um_status read_one(void *user, int64_t item, int thread)
{
    reading *r = user;
    um_job_plan_video *v = &r->p->video[r->list[item]];
    um_video *open = NULL;
    um_video_info info;
    if (*um_stop_flag() != 0) return UM_FAIL(UM_STOPPED, "a signal asked to stop");
    um_status st = um_video_open_list(r->p->ctx->prober[thread], v->path, NULL, 0, -1, -1, &open, &info);
    if (st == UM_OK) {
        um_video_close(open, NULL);
        v->info = info;
    } else if (um_status_class_of(st) == UM_CLASS_ITEM) {
        v->failed = true;
        um_err_clear();
        st = UM_OK;
    }
    v->read = true;
    int64_t done = atomic_fetch_add(&r->done, 1) + 1;
    if (thread == 0) {
        char words[80];
        snprintf(words, sizeof words, "reading headers: %" PRId64 " of %" PRId64, done, r->n);
        um_progress_show(&r->progress, words, done, r->n, false);
    }
    return st;
}

typedef struct by_size {
    int64_t bytes, at;
} by_size;

static int compare(const void *a, const void *b)
{
    const by_size *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Those that were not read, or could not be, get the facts of the readable one next to them by size. */
static um_status take_after(um_job_plan *p)
{
    by_size *order = malloc(((size_t)p->n_videos + 1) * sizeof *order);
    int64_t last = -1;
    if (order == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " videos", p->n_videos);
    for (int64_t i = 0; i < p->n_videos; i++) order[i] = (by_size){p->video[i].size_bytes, i};
    qsort(order, (size_t)p->n_videos, sizeof *order, compare);
    for (int64_t i = 0; i < p->n_videos; i++) {
        um_job_plan_video *v = &p->video[order[i].at];
        if (v->read && !v->failed) {
            for (int64_t k = last < 0 ? 0 : i; k < i; k++) /* before the first */
                if (!p->video[order[k].at].read) p->video[order[k].at].info = v->info;
            last = i;
        } else if (!v->read && last >= 0) {
            v->info = p->video[order[last].at].info;
        }
    }
    for (int64_t i = 0; i < p->n_videos; i++)
        if (p->video[i].info.width_px <= 0) p->video[i].info = (um_video_info){.width_px = USUAL_WIDTH, .height_px = USUAL_HEIGHT, .fps = USUAL_FPS, .n_frames = -1, .codec = "?"};
    free(order);
    return UM_OK;
}

um_status um_job_plan_headers(um_job_plan *p)
{
    reading r = {.p = p};
    um_pool *pool = NULL;
    int64_t *list = malloc(((size_t)p->n_videos + 1) * sizeof *list);
    um_status st = UM_OK;
    if (list == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " videos", p->n_videos);
    for (int64_t i = 0; i < p->n_videos; i++) list[i] = i;
    r.n = p->n_videos;
    if (p->o->headers > 0 && p->n_videos > p->o->headers) { /* the first of a shuffled list: a lot without bias */
        um_rng lot = um_rng_stream(1, (uint64_t)p->n_videos, 0, UM_RNG_PLAN);
        r.n = p->o->headers;
        for (int64_t i = 0; i < r.n; i++) {
            int64_t left = p->n_videos - i, j = i + (left <= UINT32_MAX ? (int64_t)um_rng_below(&lot, (uint32_t)left) : (int64_t)um_rng_uniform(&lot, 0, (double)left)), t = list[i];
            list[i] = list[j];
            list[j] = t;
        }
        um_log(UM_LOG_INFO, "reading %" PRId64 " headers of %" PRId64 " (--headers)", r.n, p->n_videos);
    }
    r.list = list;
    um_progress_begin(&r.progress, 0);
    UM_GOTO_PASS(st, um_pool_new(p->ctx->n_probers, &pool));
    UM_GOTO_PASS(st, um_pool_run(pool, r.n, read_one, &r));
    p->n_read = r.n;
    UM_GOTO_PASS(st, take_after(p));
    p->frames = p->hours = 0;
    p->bytes = p->n_failed = 0;
    for (int64_t i = 0; i < p->n_videos; i++) {
        const um_job_plan_video *v = &p->video[i];
        p->bytes += v->size_bytes;
        p->n_failed += v->failed;
        if (v->failed) continue;
        p->frames += (double)um_job_plan_frames(v);
        p->hours += um_job_plan_duration_s(v) / 3600;
    }
done:
    um_progress_end(&r.progress);
    um_pool_free(pool);
    free(list);
    return st;
}
