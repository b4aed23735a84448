/* synth: a small data set in DFDC's form, with forgeries that are known. */
#include "io/codec.h"
#include "io/outdir.h"
#include "io/walk.h"
#include "io/weights.h"
#include "jobs/console.h"
#include "jobs/job.h"
#include "jobs/stop.h"
#include "jobs/synth_unit.h"
#include "src/core/clock.h"
#include "src/core/log.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PICTURE_BYTES = 256 << 20, MAX_THREADS = 64, LEAST_FACE_PX = 24 };
static const int64_t MAX_PICTURE_PIXELS = 4096 * 4096;
static const um_thresholds SURE = {0.7, 0.8, 0.9};

typedef struct synth_options {
    um_decoder_options decoder;
    const char *from, *output, *strength, *detector;
    um_texts portraits;
    int64_t parts, originals, fakes, seed, threads;
    double seconds;
    int size[2];
} synth_options;

static const um_opt options[] = {
    {"portraits", 0, UM_OPT_TEXTS, offsetof(synth_options, portraits), NULL, "FILE...",
     .help = "pictures (PNG, JPEG) of one face each: moving shots are made of them; the i-th picture is the person of part i"},
    {"from", 0, UM_OPT_TEXT, offsetof(synth_options, from), NULL, "DIR",
     .help = "a folder of real videos to cut originals from, instead of --portraits; each video serves one part"},
    {"output", 'o', UM_OPT_TEXT, offsetof(synth_options, output), NULL, "ROOT", .flags = UM_OPT_REQUIRED,
     .help = "the folder to make; what another run of synth made there is replaced, anything else is refused"},
    {"parts", 0, UM_OPT_INT, offsetof(synth_options, parts), "4", "P", 1, 1000, .help = "folders dfdc_train_part_0 .. P-1"},
    {"originals", 0, UM_OPT_INT, offsetof(synth_options, originals), "6", "N", 1, 100000, .help = "real videos in each part"},
    {"fakes", 0, UM_OPT_INT, offsetof(synth_options, fakes), "2", "K", 0, 100,
     .help = "fakes of each original, so that a part holds N * (1 + K) videos"},
    {"seconds", 0, UM_OPT_REAL, offsetof(synth_options, seconds), "3", "SECONDS", 0.1, 600, .help = "length of each video"},
    {"size", 0, UM_OPT_SIZE, offsetof(synth_options, size), "640x480", "WxH",
     .help = "size of a landscape video; portrait ones have HxW; even numbers"},
    {"strength", 0, UM_OPT_CHOICE, offsetof(synth_options, strength), "visible", "STRENGTH", .choices = "visible|subtle",
     .help = "how plainly the forgery shows: visible to the eye, or hard to see"},
    {"seed", 0, UM_OPT_INT, offsetof(synth_options, seed), "1", "X", 0, 9e15,
     .help = "the same seed, inputs and library versions give the same bytes"},
    {"detector", 0, UM_OPT_TEXT, offsetof(synth_options, detector), NULL, "FILE",
     .help = "weights made by unmask import mtcnn (default: mtcnn.h5 in $UNMASK_HOME or share/unmask)"},
    {"threads", 0, UM_OPT_INT, offsetof(synth_options, threads), "0", "N", 0, MAX_THREADS, .flags = UM_OPT_SET_ONLY,
     .help = "originals made at once; 0: one for each processor; does not change the result"},
    UM_DECODER_ROWS,
    {NULL},
};

static const char details[] =
    "Writes ROOT/dfdc_train_part_<i>/ with metadata.json and H.264 videos, as DFDC has them. Every original and its fakes have the "
    "same frames, size and rotation; a fake's faces are replaced by a\n"
    "warped, recoloured copy of low resolution, blended in through a soft mask (self-blended images, Shiohara and Yamasaki, CVPR "
    "2022).\n"
    "Of six originals of a part two are plain, one is portrait, one portrait by rotation metadata, one turned by 180 degrees, and "
    "one shows a second person (portraits only, never in the last part, whose person\n"
    "appears nowhere else). With fewer portraits or videos than parts the first parts share them; the last part never does unless "
    "there is only one.\n";

/* ---- people ---- */

typedef struct people {
    um_mtcnn_weights weights;
    um_portrait *portrait;
    int n_portraits;
    um_walk walk;
    um_synth_source *source;
    int n_sources;
} people;

static void people_release(people *p)
{
    for (int i = 0; i < p->n_portraits; i++) um_portrait_free(&p->portrait[i]);
    free(p->portrait);
    free(p->source);
    um_walk_release(&p->walk);
    um_mtcnn_weights_release(&p->weights);
}

static um_status load_portrait(um_job_context *ctx, um_codec *codec, um_detector *detector, const char *path, um_portrait *out)
{
    void *bytes = NULL;
    size_t n = 0;
    um_image picture = {0};
    um_faces faces = {0};
    um_status st;
    UM_GOTO_PASS(st, um_vfs_read_whole(ctx->vfs, path, MAX_PICTURE_BYTES, &bytes, &n));
    UM_GOTO_PASS(st, um_codec_decode(codec, bytes, n, 3, MAX_PICTURE_PIXELS, &picture));
    UM_GOTO_PASS(st, um_detector_run(detector, &picture, &SURE, &faces));
    if (faces.n == 0 || faces.face[0].box[2] - faces.face[0].box[0] < LEAST_FACE_PX) {
        st = UM_FAIL(UM_DATA, "no face of at least %d pixels was found", LEAST_FACE_PX);
        goto done;
    }
    if (faces.n > 1) um_log(UM_LOG_WARN, "%s shows %d faces; the largest is taken", um_quote(path), faces.n);
    st = um_portrait_new(&picture, &faces.face[0], out);
done:
    free(bytes);
    um_image_free(&picture);
    um_faces_release(&faces);
    return st == UM_OK ? UM_OK : um_err_note(st, "cannot use the portrait %s", um_quote(path));
}

static um_status load_portraits(um_job_context *ctx, const synth_options *o, people *p)
{
    const int given = o->portraits.n;
    um_codec *codec = um_codec_new();
    um_detector *detector = NULL;
    um_status st = UM_OK;
    p->portrait = calloc((size_t)given, sizeof *p->portrait);
    if (codec == NULL || p->portrait == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %d portraits", given));
    UM_GOTO_PASS(st, um_detector_new(&p->weights, 0, &detector));
    if (given > o->parts)
        um_log(UM_LOG_WARN, "%d portraits for %" PRId64 " parts: a part has one person, the last %d are not used", given, o->parts,
               given - (int)o->parts);
    for (int i = 0; i < given && i < o->parts; i++) {
        UM_GOTO_PASS(st, load_portrait(ctx, codec, detector, o->portraits.text[i], &p->portrait[i]));
        p->n_portraits++;
    }
done:
    um_codec_free(codec);
    um_detector_free(detector);
    return st;
}

static um_status probe_sources(um_job_context *ctx, const synth_options *o, people *p)
{
    UM_PASS(um_walk_add(&p->walk, o->from));
    p->source = calloc((size_t)p->walk.n + 1, sizeof *p->source);
    if (p->source == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " videos", p->walk.n);
    for (int64_t i = 0; i < p->walk.n; i++) {
        const um_walk_entry *e = &p->walk.entry[i];
        if (!um_name_is_video(e->path)) continue;
        um_synth_source *s = &p->source[p->n_sources];
        um_video *v = NULL;
        um_status st = um_video_open_list(ctx->decoder, e->path, NULL, 0, -1, -1, &v, &s->info);
        if (st == UM_OK)
            um_video_close(v, NULL);
        else if (um_status_class_of(st) != UM_CLASS_ITEM)
            return st;
        s->path = e->path;
        s->n_frames = s->info.n_frames > 0 ? s->info.n_frames : (int64_t)(s->info.duration_s * s->info.fps);
        if (st == UM_OK && s->n_frames > 0 && s->info.width_px >= 64 && s->info.height_px >= 64)
            p->n_sources++;
        else
            um_log(UM_LOG_WARN, "%s is left out: %s", um_quote(e->path),
                   st != UM_OK ? um_err_text() : "too small, or its length is not known");
        um_err_clear();
    }
    if (p->n_sources == 0) return UM_FAIL(UM_DATA, "%s holds no video that can be read", um_quote(o->from));
    return UM_OK;
}

/* ---- threads ---- */

typedef struct crew {
    const um_synth_run *run;
    const people *people;
    pthread_mutex_t lock; /* of all below */
    int next, done;
    int64_t bytes, frames;
    um_status status; /* the first failure */
    char message[UM_ERR_LINE_BYTES];
    um_progress progress;
} crew;

static void *work(void *arg)
{
    crew *w = arg;
    const int n = w->run->plan->n_originals;
    um_detector *detector = NULL;
    um_status st = w->run->portrait == NULL ? um_detector_new(&w->people->weights, 0, &detector) : UM_OK;
    for (;;) {
        int64_t bytes = 0, frames = 0;
        pthread_mutex_lock(&w->lock);
        if (st == UM_OK && *um_stop_flag() != 0) st = UM_FAIL(UM_STOPPED, "stopped by a signal; nothing was written");
        if (st != UM_OK && w->status == UM_OK) {
            w->status = st;
            snprintf(w->message, sizeof w->message, "%s", um_err_text());
        }
        int i = w->status == UM_OK && w->next < n ? w->next++ : -1;
        pthread_mutex_unlock(&w->lock);
        if (i < 0) break;
        st = um_synth_unit_make(w->run, i, detector, &bytes, &frames);
        pthread_mutex_lock(&w->lock);
        w->bytes += bytes;
        w->frames += frames;
        w->done += st == UM_OK;
        char words[96];
        snprintf(words, sizeof words, "%d of %d originals with their fakes", w->done, n);
        um_progress_show(&w->progress, words, w->done, n, false);
        pthread_mutex_unlock(&w->lock);
    }
    um_detector_free(detector);
    return NULL;
}

static um_status work_all(crew *w, int n_threads)
{
    pthread_t thread[MAX_THREADS];
    int n = 0;
    um_progress_begin(&w->progress, 0);
    /* This thread works too. Where no more threads can be had the others do it all. */
    while (n < n_threads - 1 && n < MAX_THREADS && pthread_create(&thread[n], NULL, work, w) == 0) n++;
    work(w);
    for (int i = 0; i < n; i++) pthread_join(thread[i], NULL);
    um_progress_end(&w->progress);
    if (w->status == UM_OK) return UM_OK;
    um_err_clear();
    return UM_FAIL(w->status, "%s", w->message);
}

static int count_threads(int64_t asked, int originals)
{
    cpu_set_t set;
    int n = (int)asked;
    if (n == 0) n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    n = n > MAX_THREADS ? MAX_THREADS : n;
    return n > originals ? originals : n;
}

/* ---- the data set ---- */

typedef struct listed {
    const char *name, *original; /* original: NULL for a real video */
} listed;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const listed *)a)->name, ((const listed *)b)->name);
}

static um_status write_metadata(um_vfs *vfs, const char *dir, const um_synth_plan *p, int part)
{
    const int per = p->config.originals, fakes = p->config.fakes;
    size_t n = 0;
    um_buf text = {0}, path = {0};
    um_status st = UM_OK;
    listed *all = malloc((size_t)per * (size_t)(1 + fakes) * sizeof *all);
    if (all == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the list of part %d", part);
    for (int i = part * per; i < (part + 1) * per; i++) {
        all[n++] = (listed){p->original[i].name, NULL};
        for (int k = 0; k < fakes; k++)
            all[n++] = (listed){p->fake_name[(size_t)i * (size_t)fakes + (size_t)k], p->original[i].name};
    }
    qsort(all, n, sizeof *all, by_name);
    for (size_t i = 0; i < n; i++) {
        UM_GOTO_PASS(st, um_buf_printf(&text, "%s\"%s\": {\"label\": \"%s\", \"split\": \"train\"", i == 0 ? "{" : ", ",
                                       all[i].name, all[i].original != NULL ? "FAKE" : "REAL"));
        if (all[i].original != NULL) UM_GOTO_PASS(st, um_buf_printf(&text, ", \"original\": \"%s\"", all[i].original));
        UM_GOTO_PASS(st, um_buf_add_str(&text, "}"));
    }
    UM_GOTO_PASS(st, um_buf_add_str(&text, "}\n"));
    UM_GOTO_PASS(st, um_synth_path(dir, part, "metadata.json", &path));
    UM_GOTO_PASS(st, um_vfs_write_whole(vfs, (char *)path.data, text.data, text.len));
done:
    um_buf_release(&text);
    um_buf_release(&path);
    free(all);
    return st;
}

static um_status make_parts(um_vfs *vfs, const char *dir, const um_synth_plan *p)
{
    um_buf path = {0};
    um_status st = UM_OK;
    for (int part = 0; st == UM_OK && part < p->config.parts; part++) {
        st = um_synth_path(dir, part, "", &path);
        if (st == UM_OK) st = um_vfs_mkdir(vfs, (char *)path.data);
        if (st == UM_OK) st = write_metadata(vfs, dir, p, part);
    }
    um_buf_release(&path);
    return st;
}

/* `--portraits a b c`: what the option table leaves as operands are further pictures, and part of the configuration. */
static um_status take_operands(const um_job_context *ctx, synth_options *o)
{
    const int n = o->portraits.n + ctx->operands.n;
    if (o->portraits.n == 0 || ctx->operands.n == 0) return UM_OK;
    const char **text = realloc(o->portraits.text, (size_t)n * sizeof *text);
    if (text == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d names", n);
    memcpy(text + o->portraits.n, ctx->operands.text, (size_t)ctx->operands.n * sizeof *text);
    o->portraits.text = text;
    o->portraits.n = n;
    return UM_OK;
}

static um_status check_usage(const um_job_context *ctx, const synth_options *o)
{
    bool portraits = o->portraits.n > 0;
    if (!portraits && ctx->operands.n > 0)
        return UM_FAIL(UM_USAGE, "%s is not an option; pictures follow --portraits", um_quote(ctx->operands.text[0]));
    if (portraits == (o->from != NULL)) return UM_FAIL(UM_USAGE, "give either --portraits FILE... or --from DIR");
    return UM_OK;
}

static um_status run(um_job_context *ctx, void *values)
{
    synth_options *o = values;
    um_status st = UM_OK;
    people who = {0};
    um_synth_plan plan = {0};
    um_outdir out = {0};
    um_buf path = {0}, marker = {0};
    char fingerprint[17], span[24];
    double start = um_clock_s();
    pthread_mutex_t decoder_lock = PTHREAD_MUTEX_INITIALIZER;
    UM_PASS(check_usage(ctx, o));
    UM_PASS(take_operands(ctx, o));
    um_stop_install();

    /* Numbers are checked before anything is read: with one person the plan has the same limits. */
    um_synth_config c = {.parts = (int)o->parts,
                         .originals = (int)o->originals,
                         .fakes = (int)o->fakes,
                         .seconds = o->seconds,
                         .width_px = o->size[0],
                         .height_px = o->size[1],
                         .subtle = strcmp(o->strength, "subtle") == 0,
                         .two_people = o->from == NULL,
                         .seed = (uint64_t)o->seed,
                         .people = 1};
    UM_GOTO_PASS(st, um_synth_plan_make(&c, &plan));
    um_synth_plan_release(&plan);
    UM_GOTO_PASS(st, um_outdir_begin(ctx->vfs, o->output, "synth.json", &out));
    UM_GOTO_PASS(st, um_job_find(ctx, o->detector, "mtcnn.h5", &path));
    UM_GOTO_PASS(st, um_weights_read_mtcnn(ctx->vfs, (char *)path.data, &who.weights, fingerprint));
    UM_GOTO_PASS(st, o->from == NULL ? load_portraits(ctx, o, &who) : probe_sources(ctx, o, &who));
    c.people = o->from == NULL ? who.n_portraits : who.n_sources < c.parts ? who.n_sources : c.parts;
    if (c.people < c.parts)
        um_log(UM_LOG_WARN, "%d %s for %d parts: the same %s appear in several%s", c.people,
               o->from == NULL ? "portraits" : "videos", c.parts, o->from == NULL ? "people" : "videos",
               c.people > 1 ? " of them, but the last part's in no other" : ", the last one too");
    UM_GOTO_PASS(st, um_synth_plan_make(&c, &plan));
    UM_GOTO_PASS(st, make_parts(ctx->vfs, out.temporary, &plan));

    um_synth_run r = {.plan = &plan,
                      .portrait = who.portrait,
                      .source = who.source,
                      .n_sources = who.n_sources,
                      .decoder = ctx->decoder,
                      .decoder_lock = &decoder_lock,
                      .vfs = ctx->vfs,
                      .dir = out.temporary};
    crew w = {.run = &r, .people = &who, .lock = PTHREAD_MUTEX_INITIALIZER};
    UM_GOTO_PASS(st, work_all(&w, count_threads(o->threads, plan.n_originals)));
    for (int part = 0; part < c.parts; part++) {
        UM_GOTO_PASS(st, um_synth_path(out.temporary, part, "", &path));
        UM_GOTO_PASS(st, um_vfs_sync_dir(ctx->vfs, (char *)path.data));
    }
    UM_GOTO_PASS(st,
                 um_buf_printf(&marker, "{\"created_by\": \"unmask %s\", \"job\": \"synth\", \"detector\": \"%s\", \"config\": ",
                               UNMASK_VERSION, fingerprint));
    UM_GOTO_PASS(st, um_opt_config(options, o, 0, true, &marker));
    UM_GOTO_PASS(st, um_buf_add_str(&marker, "}\n"));
    um_clock_span(um_clock_s() - start, span);
    um_log(UM_LOG_INFO, "%d parts, %d originals, %d fakes, %" PRId64 " frames, %.1f MB in %s", c.parts, plan.n_originals,
           plan.n_fakes, w.frames, (double)w.bytes / 1e6, span);
done:
    st = um_outdir_end(&out, st, marker.data != NULL ? (char *)marker.data : "");
    people_release(&who);
    um_synth_plan_release(&plan);
    um_buf_release(&path);
    um_buf_release(&marker);
    return st;
}

const um_job um_job_synth = {
    .name = "synth",
    .usage = "synth --portraits FILE... | --from DIR -o ROOT [options]",
    .summary = "make a small data set in DFDC's form, with known forgeries, for demonstrations and tests",
    .details = details,
    .options = options,
    .options_size = sizeof(synth_options),
    .min_operands = 0,
    .max_operands = -1,
    .flags = UM_JOB_DECODES,
    .run = run,
};
