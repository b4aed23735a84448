/* plan score: each video is a unit; a sample is scored with the models, and nothing is written. */
#include "jobs/plan.h"
#include "jobs/score_files.h"
#include "jobs/score_options.h"
#include "jobs/stop.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPEN, DECODE, DETECT, NETWORKS }; /* parts */
/* A row with its record, details and the like, docs/performance.md, "Scoring 100,000 names": 237 MB of journals; and reading and writing them took 11 s. */
enum { RECORD_BYTES = 2400 };
static const double RECORD_S = 1.1e-4;

typedef struct score_plan {
    um_score_manifest manifest;
    um_score_setup setup;
    um_window_options windows;
} score_plan;

static score_plan *work_of(const um_job_plan *p) { return p->work; }
static const um_score_options *options_of(const um_job_plan *p) { return p->planned; }

static int64_t threads(const um_job_plan *p, int processors, int ranks_per_node)
{
    if (options_of(p)->threads > 0) return options_of(p)->threads;
    return processors > ranks_per_node ? processors / ranks_per_node : 1;
}

/* Rows that are there already: those of a manifest beside the output whose inputs are the same. */
static um_status mark_done(um_job_plan *p, bool *done)
{
    const um_score_options *o = options_of(p);
    score_plan *w = work_of(p);
    um_score_files files = {0};
    um_score_manifest had = {0};
    um_score_results results = {0};
    void *text = NULL;
    size_t n = 0;
    um_status st = UM_OK;
    if (o->output == NULL || strcmp(o->output, "-") == 0 || o->fresh) return UM_OK;
    UM_GOTO_PASS(st, um_score_files_init(p->ctx->vfs, o->output, &files));
    if (access(files.manifest, F_OK) != 0) goto done;
    UM_GOTO_PASS(st, um_vfs_read_whole(p->ctx->vfs, files.manifest, (size_t)1 << 32, &text, &n));
    UM_GOTO_PASS(st, um_score_manifest_parse(text, n, &had));
    UM_GOTO_PASS(st, um_score_results_read(p->ctx->vfs, files.journal, &had, NAN, &results));
    int64_t k = 0; /* both are sorted by path */
    for (int64_t i = 0; i < w->manifest.n; i++) {
        while (k < had.n && strcmp(had.input[k].path, w->manifest.input[i].path) < 0) k++;
        done[i] = k < had.n && had.input[k].key == w->manifest.input[i].key && results.row[k].done;
    }
done:
    um_score_results_release(&results);
    um_score_manifest_release(&had);
    um_score_files_release(&files);
    free(text);
    return st;
}

static um_status list(um_job_plan *p)
{
    score_plan *w = work_of(p);
    const um_score_manifest *m = &w->manifest;
    bool *done = NULL;
    um_status st;
    UM_PASS(um_score_check(p->ctx, options_of(p), &w->windows));
    UM_PASS(um_score_list(p->ctx, options_of(p), "{}", NULL, 0, &w->manifest));
    size_t n = (size_t)m->n + 1;
    done = calloc(n, sizeof *done);
    p->video = calloc(n, sizeof *p->video);
    p->unit = calloc(n, sizeof *p->unit);
    p->member = malloc(n * sizeof *p->member);
    if (done == NULL || p->video == NULL || p->unit == NULL || p->member == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " videos", m->n));
    UM_GOTO_PASS(st, mark_done(p, done));
    p->n_units_all = m->n;
    for (int64_t i = 0; i < m->n; i++) {
        const um_score_input *in = &m->input[i];
        if (done[i] || in->status != UM_PENDING) continue;
        um_job_plan_video *v = &p->video[p->n_videos];
        *v = (um_job_plan_video){.path = strdup(in->path), .size_bytes = in->size_bytes, .mtime_ns = in->mtime_ns};
        if (v->path == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for a path"));
        p->member[p->n_videos] = p->n_videos;
        p->unit[p->n_units++] = (um_job_plan_unit){.key = um_score_cost(in), .first = p->n_videos, .n = 1, .number = i};
        p->n_videos++;
    }
    st = um_score_manifest_write(m, &p->text);
done:
    free(done);
    return st;
}

static um_status take(um_job_plan *p)
{
    UM_PASS(um_score_check(p->ctx, options_of(p), &work_of(p)->windows));
    return um_score_manifest_parse((char *)p->text.data, p->text.len, &work_of(p)->manifest);
}

static void reckon(um_job_plan *p, um_job_plan_unit *u)
{
    const um_score_options *o = options_of(p);
    const um_window_options *w = &work_of(p)->windows;
    const um_job_plan_video *v = &p->video[p->member[u->first]];
    bool faces = strcmp(o->pool, "faces") == 0;
    double duration = um_job_plan_duration_s(v), mpx = um_job_plan_megapixels(v), scale = faces ? .5 : um_detect_auto_scale(v->info.width_px, v->info.height_px);
    u->amount[OPEN] = 1;
    if (v->failed) return;
    double windows = faces || duration <= w->every_s ? 1 : ceil(duration / w->every_s), decoded = (windows > 1 ? windows * w->length_s : duration) * um_job_plan_fps(v), looked = windows * (double)o->frames.count;
    if (looked > decoded) looked = decoded; /* each frame once */
    u->amount[DECODE] = mpx * decoded;
    u->amount[DETECT] = mpx * scale * scale * looked;
    u->amount[NETWORKS] = looked;
    p->looked += looked;
}

static um_status open_work(um_job_plan *p)
{
    score_plan *w = work_of(p);
    UM_PASS(um_score_open(p->ctx, options_of(p), &w->windows, p->n_threads, &w->setup));
    p->machine_bytes = (double)w->setup.shared_bytes;
    return UM_OK;
}

static um_status work(um_job_plan *p, int64_t number, double *part_s)
{
    score_plan *w = work_of(p);
    const um_score_input *in = &w->manifest.input[number];
    um_score_times before = w->setup.scorer.times, *t = &w->setup.scorer.times;
    um_score_row row;
    UM_PASS(um_score_video(&w->setup.scorer, in->path, in->size_bytes, in->mtime_ns, &row));
    um_score_row_release(&row);
    part_s[DECODE] = t->decode_wait - before.decode_wait;
    part_s[DETECT] = t->detect - before.detect;
    part_s[NETWORKS] = t->classify - before.classify;
    return UM_OK;
}

static um_status end(um_job_plan *p, double *late_s, int64_t *bytes)
{
    (void)p;
    *late_s = 0;
    *bytes = 0;
    return UM_OK;
}

static um_status finish(um_job_plan *p, int64_t n_videos, double *video_s)
{
    (void)p;
    (void)n_videos;
    *video_s = RECORD_S;
    return UM_OK;
}

static void close_work(um_job_plan *p)
{
    score_plan *w = work_of(p);
    um_score_setup_close(&w->setup);
    um_score_manifest_release(&w->manifest);
}

const um_job_plan_stage um_job_plan_stage_score = {
    .job = &um_job_score,
    .script = "slurm/score.sbatch",
    .work_bytes = sizeof(score_plan),
    .part = {{.name = "opening, the rest", .per = "video"}, {.name = "waiting for frames", .per = "megapixel decoded"}, {.name = "detection", .per = "megapixel searched"}, {.name = "networks", .per = "frame looked at"}},
    .n_parts = 4,
    .bytes_part = -1,
    .bytes_video = RECORD_BYTES,
    .threads = threads,
    .list = list,
    .take = take,
    .reckon = reckon,
    .open = open_work,
    .work = work,
    .end = end,
    .finish = finish,
    .close = close_work,
};
