/* folds: which crops a training run may see, and which it is judged by (pipeline: folds). */
#include "io/store.h"
#include "jobs/job.h"
#include "jobs/output.h"
#include "src/core/hash.h"
#include "src/core/log.h"
#include "src/core/rng.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DFDC_PARTS = 50, DFDC_SPLITS = 16 };

typedef struct folds_options {
    const char *store, *output, *by, *reals;
    int64_t splits, seed;
} folds_options;

static const um_opt options[] = {
    {"store", 0, UM_OPT_TEXT, offsetof(folds_options, store), NULL, "DIR", .flags = UM_OPT_REQUIRED,
     .help = "the store made by unmask preprocess"},
    {"output", 'o', UM_OPT_TEXT, offsetof(folds_options, output), NULL, "FILE", .flags = UM_OPT_REQUIRED,
     .help = "the CSV file to write"},
    {"splits", 0, UM_OPT_INT, offsetof(folds_options, splits), "16", "N", 2, 1000, .help = "number of folds"},
    {"by", 0, UM_OPT_CHOICE, offsetof(folds_options, by), "part", NULL, .choices = "part|group",
     .help = "folds of whole parts, as the reference, or of originals with their fakes, dealt out at random"},
    {"reals", 0, UM_OPT_CHOICE, offsetof(folds_options, reals), "paired", NULL, .choices = "paired|all",
     .help = "originals that have a fake, as the reference, or all"},
    {"seed", 0, UM_OPT_INT, offsetof(folds_options, seed), "777", "X", 0, 1e15,
     .help = "order of the rows, and who goes where with --by group"},
    {NULL},
};

typedef struct fold_count {
    int64_t reals, fakes, real_crops, fake_crops;
} fold_count;

static bool has_crops(const um_store_content *c, int video)
{
    for (int64_t e = c->first_entry[video]; e < c->first_entry[video + 1]; e++)
        if (c->entry[e].image.shard >= 0) return true;
    return false;
}

/* Which fold a part is in: `size` parts each, what is left over in the last. */
static int fold_of_part(int part, int64_t splits, int n_parts)
{
    int64_t fold = part / (n_parts / splits);
    return (int)(fold < splits ? fold : splits - 1);
}

static int by_number(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* Folds of whole parts. The reference's 16 splits are of DFDC's 50 parts, by their numbers, whichever of them are there; another
 * number of splits is of the parts that are there, in order of their numbers. */
static um_status deal_parts(const um_store_content *c, int64_t splits, int *fold)
{
    int n = c->manifest.n_videos, n_parts = 0;
    int *part = malloc((size_t)(n + 1) * sizeof *part);
    if (part == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d videos", n);
    for (int i = 0; i < n; i++) part[i] = c->manifest.video[i].part;
    qsort(part, (size_t)n, sizeof *part, by_number);
    for (int i = 0; i < n; i++)
        if (i == 0 || part[i] != part[i - 1]) part[n_parts++] = part[i];
    bool reference = splits == DFDC_SPLITS && (n_parts == 0 || part[n_parts - 1] < DFDC_PARTS);
    um_status st = UM_OK;
    if (!reference && splits > n_parts)
        st = UM_FAIL(UM_DATA,
                     "%" PRId64 " splits of %d parts: some would be empty; use --by group --splits 5, or at most --splits %d",
                     splits, n_parts, n_parts);
    for (int i = 0; i < n && st == UM_OK; i++) {
        int number = c->manifest.video[i].part;
        const int *at = reference ? NULL : bsearch(&number, part, (size_t)n_parts, sizeof *part, by_number);
        fold[i] = reference ? fold_of_part(number, splits, DFDC_PARTS) : fold_of_part((int)(at - part), splits, n_parts);
    }
    free(part);
    return st;
}

typedef struct group {
    int video; /* its original */
    int64_t crops;
} group;

/* Groups in an order drawn by lot, each to the fold that has the fewest crops so far. */
static um_status deal_groups(const um_store_content *c, const folds_options *o, int *fold)
{
    group *g = malloc((size_t)(c->manifest.n_videos + 1) * sizeof *g);
    int64_t *load = calloc((size_t)o->splits, sizeof *load), *index = malloc((size_t)(c->manifest.n_videos + 1) * sizeof *index);
    um_status st = UM_OK;
    int64_t n = 0;
    if (g == NULL || load == NULL || index == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for %d groups", c->manifest.n_videos);
    } else {
        for (int i = 0; i < c->manifest.n_videos; i++) {
            index[i] = -1;
            if (c->manifest.video[i].original >= 0) continue;
            index[i] = n;
            g[n++] = (group){.video = i};
        }
        for (int i = 0; i < c->manifest.n_videos; i++) {
            int first = c->manifest.video[i].original >= 0 ? c->manifest.video[i].original : i;
            if (index[first] >= 0) g[index[first]].crops += c->first_entry[i + 1] - c->first_entry[i];
        }
        um_rng r = um_rng_stream((uint64_t)o->seed, 0, 0, UM_RNG_FOLDS);
        for (int64_t i = n - 1; i > 0; i--) {
            int64_t j = um_rng_below(&r, (uint32_t)i + 1);
            group t = g[i];
            g[i] = g[j];
            g[j] = t;
        }
        for (int64_t i = 0; i < n; i++) {
            int best = 0;
            for (int f = 1; f < o->splits; f++)
                if (load[f] < load[best]) best = f;
            load[best] += g[i].crops;
            fold[g[i].video] = best;
        }
        for (int i = 0; i < c->manifest.n_videos; i++)
            if (c->manifest.video[i].original >= 0) fold[i] = fold[c->manifest.video[i].original];
    }
    free(g);
    free(load);
    free(index);
    return st;
}

static um_status assign(const um_store_content *c, const folds_options *o, int *fold)
{
    if (strcmp(o->by, "group") == 0) return deal_groups(c, o, fold);
    return deal_parts(c, o->splits, fold);
}

/* An original and its fakes on two sides would let a model be judged by what it was trained on. */
static um_status check_leaks(const um_store_content *c, const int *fold)
{
    for (int i = 0; i < c->manifest.n_videos; i++) {
        const um_manifest_video *v = &c->manifest.video[i];
        if (v->original < 0 || fold[i] == fold[v->original]) continue;
        return UM_FAIL(UM_DATA, "leak: %s is in fold %d, its original %s in fold %d; use --by group", um_quote(v->path), fold[i],
                       um_quote(c->manifest.video[v->original].path), fold[v->original]);
    }
    return UM_OK;
}

static um_status check_sides(const fold_count *count, int64_t splits)
{
    int64_t all = 0;
    for (int f = 0; f < splits; f++) all += count[f].real_crops + count[f].fake_crops;
    for (int f = 0; f < splits; f++) {
        int64_t here = count[f].real_crops + count[f].fake_crops;
        if (here > 0 && here < all) continue;
        return UM_FAIL(UM_DATA, "fold %d has %s crops: its %s side is empty; with few parts use --by group --splits 5", f,
                       here == 0 ? "no" : "all the", here == 0 ? "hold-out" : "training");
    }
    return UM_OK;
}

static um_status run(um_job_context *ctx, void *values)
{
    const folds_options *o = values;
    um_store_content c = {0};
    um_output out = {0};
    um_buf line = {0};
    char **stem = NULL;
    int *fold = NULL;
    int64_t *row = NULL, n_rows = 0;
    fold_count *count = NULL;
    bool loaded = false, *paired = NULL, *used = NULL;
    size_t n = 0;
    um_status st;
    UM_GOTO_PASS(st, um_store_load(ctx->vfs, o->store, true, &c));
    loaded = true;
    n = (size_t)c.manifest.n_videos;
    stem = calloc(n + 1, sizeof *stem);
    fold = calloc(n + 1, sizeof *fold);
    paired = calloc(n + 1, sizeof *paired);
    used = calloc(n + 1, sizeof *used);
    count = calloc((size_t)o->splits, sizeof *count);
    row = malloc((size_t)(c.n_entries + 1) * sizeof *row);
    if (stem == NULL || fold == NULL || paired == NULL || used == NULL || count == NULL || row == NULL)
        UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %zu videos", n));
    for (size_t i = 0; i < n; i++) {
        stem[i] = um_manifest_stem(&c.manifest.video[i]);
        used[i] = c.first_entry[i + 1] > c.first_entry[i];
        if (stem[i] == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %zu names", n));
    }
    UM_GOTO_PASS(st, um_manifest_check_stems(&c.manifest, used));
    UM_GOTO_PASS(st, assign(&c, o, fold));
    UM_GOTO_PASS(st, check_leaks(&c, fold));

    bool all_reals = strcmp(o->reals, "all") == 0;
    for (int i = 0; i < c.manifest.n_videos; i++) /* the reference pairs by metadata, whatever became of the fake */
        if (c.manifest.video[i].original >= 0) paired[c.manifest.video[i].original] = true;
    for (int i = 0; i < c.manifest.n_videos; i++) {
        bool fake = c.manifest.video[i].label == UM_LABEL_FAKE;
        if ((!fake && !all_reals && !paired[i]) || !has_crops(&c, i)) continue;
        *(fake ? &count[fold[i]].fakes : &count[fold[i]].reals) += 1;
        for (int64_t e = c.first_entry[i]; e < c.first_entry[i + 1]; e++) {
            if (c.entry[e].image.shard < 0) continue;
            row[n_rows++] = e;
            *(fake ? &count[fold[i]].fake_crops : &count[fold[i]].real_crops) += 1;
        }
    }
    if (n_rows == 0)
        UM_GOTO_PASS(st, UM_FAIL(UM_DATA, "the store %s holds no crops; run unmask preprocess on it first", um_quote(o->store)));
    UM_GOTO_PASS(st, check_sides(count, o->splits));
    um_rng r = um_rng_stream((uint64_t)o->seed, 1, 0, UM_RNG_FOLDS);
    for (int64_t i = n_rows - 1; i > 0; i--) {
        int64_t j = um_rng_below(&r, (uint32_t)i + 1), t = row[i];
        row[i] = row[j];
        row[j] = t;
    }
    UM_GOTO_PASS(st, um_output_open(ctx->vfs, o->output, &out));
    st = um_buf_add_str(&line, "video,file,label,original,frame,fold\n");
    for (int64_t i = 0; i < n_rows && st == UM_OK; i++) {
        const um_store_entry *e = &c.entry[row[i]];
        const um_manifest_video *v = &c.manifest.video[e->video];
        st = um_buf_add_csv(&line, stem[e->video]);
        if (st == UM_OK) st = um_buf_printf(&line, ",%" PRId64 "_%d.png,%d,", e->frame, e->face, v->label == UM_LABEL_FAKE ? 1 : 0);
        if (st == UM_OK) st = um_buf_add_csv(&line, stem[v->original >= 0 ? v->original : e->video]);
        if (st == UM_OK) st = um_buf_printf(&line, ",%" PRId64 ",%d\n", e->frame, fold[e->video]);
        if (st == UM_OK) st = um_output_add(&out, &line);
    }
    UM_GOTO_PASS(st, um_output_end(&out, st));
    UM_GOTO_PASS(st, um_job_print("fold   reals   fakes  real crops  fake crops\n"));
    for (int f = 0; f < o->splits; f++)
        UM_GOTO_PASS(st, um_job_print("%4d %7" PRId64 " %7" PRId64 " %11" PRId64 " %11" PRId64 "\n", f, count[f].reals,
                                      count[f].fakes, count[f].real_crops, count[f].fake_crops));
    um_log(UM_LOG_INFO, "%s: %" PRId64 " crops in %" PRId64 " folds", o->output, n_rows, o->splits);
done:
    for (size_t i = 0; stem != NULL && i < n; i++) free(stem[i]);
    free(stem);
    free(fold);
    free(paired);
    free(used);
    free(count);
    free(row);
    um_buf_release(&line);
    if (loaded) um_store_content_release(&c);
    return st;
}

const um_job um_job_folds = {
    .name = "folds",
    .usage = "folds --store DIR -o folds.csv [options]",
    .summary = "split a store's crops into folds for training and validation",
    .details = "Writes CSV: video,file,label,original,frame,fold; video and original are file names without extension, file is "
               "<frame>_<face>.png, label 0 is real and 1 fake.\n"
               "By part, fold i of 16 holds parts 3i..3i+2 and the last one parts 45..49, as in the reference; another number of "
               "splits divides the parts that are there, in order.\n"
               "An original and its fakes are never in different folds: a leak is an error that names both. Two videos of one "
               "stem, or a fold whose hold-out or training side would be empty, are errors too.\n",
    .options = options,
    .options_size = sizeof(folds_options),
    .min_operands = 0,
    .max_operands = 0,
    .run = run,
};
