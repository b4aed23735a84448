/* plan preprocess: units of the manifest, worked into a store of its own that is removed again. */
#include "io/outdir.h"
#include "io/weights.h"
#include "jobs/plan.h"
#include "jobs/preprocess_options.h"
#include "jobs/stop.h"
#include "src/core/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPEN, DECODE, DETECT, CROPS }; /* parts */

typedef struct preprocess_plan {
    um_manifest manifest;
    um_store_state *state;
    um_mtcnn_weights weights;
    char fingerprint[17];
    um_store *store;
    um_preprocess p;
    um_buf folder;   /* of the store of the sample */
    unsigned stages; /* what the sample does of a unit */
} preprocess_plan;

static preprocess_plan *work_of(const um_job_plan *p) { return p->work; }
static const um_preprocess_options *options_of(const um_job_plan *p) { return p->planned; }

static int64_t threads(const um_job_plan *p, int processors, int ranks_per_node)
{
    (void)p;
    (void)processors;
    (void)ranks_per_node;
    return 1;
}

static um_status list(um_job_plan *p)
{
    const um_preprocess_options *o = options_of(p);
    preprocess_plan *w = work_of(p);
    const um_manifest *m = &w->manifest;
    if (p->ctx->operands.n != 1) return UM_FAIL(UM_USAGE, "which folder? ROOT holds dfdc_train_part_<number>");
    UM_PASS(um_manifest_scan(p->ctx->operands.text[0], o->limit, &w->manifest));
    w->state = calloc((size_t)m->n_units + 1, sizeof *w->state);
    p->video = calloc((size_t)m->n_videos + 1, sizeof *p->video);
    p->unit = calloc((size_t)m->n_units + 1, sizeof *p->unit);
    p->member = malloc(((size_t)m->n_videos + 1) * sizeof *p->member);
    if (w->state == NULL || p->video == NULL || p->unit == NULL || p->member == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d videos", m->n_videos);
    if (!o->fresh && access(o->store, F_OK) == 0) UM_PASS(um_store_load_states(p->ctx->vfs, o->store, m, w->state));
    p->n_units_all = m->n_units;
    int64_t n_members = 0;
    for (int i = 0; i < m->n_units; i++) {
        const um_manifest_unit *u = &m->unit[i];
        if ((o->stages & ~w->state[i].stages) == 0) continue;
        p->unit[p->n_units++] = (um_job_plan_unit){.key = u->cost, .first = n_members, .n = u->n, .number = i};
        for (int k = 0; k < u->n; k++) {
            const um_manifest_video *v = &m->video[m->unit_video[u->first + k]];
            um_job_plan_video *to = &p->video[p->n_videos];
            um_buf path = {0};
            UM_PASS(um_buf_printf(&path, "%s/%s", m->root, v->path));
            *to = (um_job_plan_video){.path = (char *)path.data, .size_bytes = v->size_bytes, .mtime_ns = v->mtime_ns};
            p->member[n_members++] = p->n_videos++;
        }
    }
    return um_manifest_write(m, &p->text);
}

static um_status take(um_job_plan *p) { return um_manifest_parse((char *)p->text.data, p->text.len, &work_of(p)->manifest); }

static void reckon(um_job_plan *p, um_job_plan_unit *u)
{
    const um_preprocess_options *o = options_of(p);
    for (int64_t i = 0; i < u->n; i++) {
        const um_job_plan_video *v = &p->video[p->member[u->first + i]];
        int64_t n = um_job_plan_frames(v), looked = um_frames_count(&o->frames, n), end = um_frames_end(&o->frames, n);
        double mpx = um_job_plan_megapixels(v), scale = o->scale > 0 ? o->scale : um_detect_auto_scale(v->info.width_px, v->info.height_px);
        u->amount[OPEN]++;
        if (v->failed) continue;
        u->amount[DECODE] += mpx * (double)end;
        if (i == 0) u->amount[DETECT] += mpx * scale * scale * (double)looked;
        u->amount[CROPS] += (double)looked;
        p->looked += (double)looked;
    }
}

/* Beside the store to be made, so that the same disk is written to; where nobody may write there, in the folder for temporary files. */
static um_status make_folder(um_job_plan *p, um_buf *out)
{
    const char *store = options_of(p)->store, *temporary = getenv("TMPDIR");
    for (int k = 0; k < 2; k++) {
        um_buf_clear(out);
        if (k == 0) {
            size_t n = strlen(store);
            while (n > 1 && store[n - 1] == '/') n--;
            UM_PASS(um_buf_printf(out, "%.*s.plan-XXXXXX", (int)n, store));
        } else {
            UM_PASS(um_buf_printf(out, "%s/unmask-plan-XXXXXX", temporary != NULL && *temporary != 0 ? temporary : "/tmp"));
        }
        if (mkdtemp((char *)out->data) != NULL) return k == 0 ? UM_OK : um_job_plan_assume(p, "the sample was written to %s, since nothing can be made beside %s: another disk may be slower or faster", (char *)out->data, um_quote(store));
    }
    um_buf_release(out);
    return UM_FAIL(UM_IO, "no folder can be made for the sample, neither beside %s nor in $TMPDIR", um_quote(store));
}

static um_status open_work(um_job_plan *p)
{
    const um_preprocess_options *o = options_of(p);
    preprocess_plan *w = work_of(p);
    um_world *world = &p->ctx->world;
    um_buf path = {0};
    um_status st = um_job_find(p->ctx, o->detector, "mtcnn.h5", &path);
    if (st == UM_OK) st = um_weights_read_mtcnn(p->ctx->vfs, (char *)path.data, &w->weights, w->fingerprint);
    um_buf_release(&path);
    if (st == UM_OK && world->rank == 0) st = make_folder(p, &w->folder);
    UM_PASS(um_agree(world, st, "preparing the sample"));
    int64_t n = (int64_t)w->folder.len;
    um_world_bcast(world, &n, sizeof n);
    st = world->rank > 0 ? um_buf_reserve(&w->folder, (size_t)n + 1) : UM_OK;
    UM_PASS(um_agree(world, st, "preparing the sample"));
    um_world_bcast(world, w->folder.data, (size_t)n + 1);
    w->folder.len = (size_t)n;
    /* A stage that stands on others is measured with them: the sample begins with nothing. */
    w->stages = o->stages | 1u << UM_STAGE_DETECT | (o->stages & ~(1u << UM_STAGE_DETECT) ? 1u << UM_STAGE_CROPS : 0);
    if (world->rank == 0 && w->stages != o->stages) st = um_job_plan_assume(p, "--stages: measured with the stages they stand on, so that the run will be faster than the plan");
    if (st == UM_OK && world->rank == 0) st = um_store_open(p->ctx->vfs, (char *)w->folder.data, "{}", false, &w->store);
    if (st == UM_OK && world->rank == 0) st = um_store_set_manifest(w->store, &w->manifest);
    UM_PASS(um_agree(world, st, "preparing the sample"));
    if (world->rank > 0) st = um_store_open(p->ctx->vfs, (char *)w->folder.data, "{}", false, &w->store);
    w->p.manifest = &w->manifest;
    if (st == UM_OK) st = um_preprocess_open(p->ctx, o, &w->weights, w->store, &w->p);
    return um_agree(world, st, "preparing the sample");
}

static um_status work(um_job_plan *p, int64_t number, double *part_s)
{
    preprocess_plan *w = work_of(p);
    um_preprocess_times before = w->p.times, *t = &w->p.times;
    int bad;
    UM_PASS(um_preprocess_unit(&w->p, (int)number, 0, w->stages, &bad));
    part_s[DECODE] = t->decode_wait - before.decode_wait;
    part_s[DETECT] = t->detect - before.detect;
    part_s[CROPS] = t->encode + t->landmarks + t->masks + t->store - before.encode - before.landmarks - before.masks - before.store;
    return UM_OK;
}

static um_status end(um_job_plan *p, double *late_s, int64_t *bytes)
{
    preprocess_plan *w = work_of(p);
    double start = um_clock_s();
    um_status st = um_store_writer_close(w->p.writer, bytes);
    w->p.writer = NULL;
    *late_s = um_clock_s() - start;
    return st;
}

static um_status finish(um_job_plan *p, int64_t n_videos, double *video_s)
{
    um_store_content c;
    double start = um_clock_s();
    um_status st = um_store_load(p->ctx->vfs, (char *)work_of(p)->folder.data, true, &c);
    if (st != UM_OK) return st;
    st = um_store_write_index(p->ctx->vfs, &c);
    um_store_content_release(&c);
    *video_s = (um_clock_s() - start) / (double)(n_videos > 0 ? n_videos : 1);
    return st;
}

static void close_work(um_job_plan *p)
{
    preprocess_plan *w = work_of(p);
    um_preprocess_close(&w->p);
    um_store_close(w->store);
    if (p->ctx->world.rank == 0 && w->folder.len > 0 && um_tree_remove((char *)w->folder.data) != UM_OK) um_err_clear();
    um_buf_release(&w->folder);
    um_mtcnn_weights_release(&w->weights);
    um_manifest_release(&w->manifest);
    free(w->state);
}

const um_job_plan_stage um_job_plan_stage_preprocess = {
    .job = &um_job_preprocess,
    .script = "slurm/preprocess.sbatch",
    .work_bytes = sizeof(preprocess_plan),
    .part = {{.name = "opening, the rest", .per = "video"}, {.name = "waiting for frames", .per = "megapixel decoded"}, {.name = "detection", .per = "megapixel searched"}, {.name = "crops, masks, store", .per = "frame looked at"}},
    .n_parts = 4,
    .bytes_part = CROPS,
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
