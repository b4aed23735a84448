#include "io/folds.h"

#include "io/csv.h"
#include "src/core/search.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VIDEO, FILE_NAME, LABEL, FOLD, COLUMNS, MAX_FOLD = 100000 };
static const char *const column_name[COLUMNS] = {"video", "file", "label", "fold"};
static const size_t MOST_BYTES = (size_t)4 << 30;

typedef struct stem {
    char *name;
    int video;
} stem;

typedef struct reader {
    const um_store_content *store;
    um_folds *out;
    stem *stem;
    int n_stems;
    int column[COLUMNS]; /* where in a line */
} reader;

void um_folds_release(um_folds *f)
{
    free(f->fold);
    *f = (um_folds){0};
}

static int by_name(const void *a, const void *b) { return strcmp(((const stem *)a)->name, ((const stem *)b)->name); }

static const char *stem_at(const void *of, int i) { return ((const stem *)of)[i].name; }

static um_status list_stems(reader *r)
{
    const um_store_content *s = r->store;
    r->stem = calloc((size_t)s->manifest.n_videos + 1, sizeof *r->stem);
    if (r->stem == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d names", s->manifest.n_videos);
    for (int i = 0; i < s->manifest.n_videos; i++) {
        if (s->first_entry[i + 1] == s->first_entry[i]) continue; /* without crops: their stems may collide as they like */
        r->stem[r->n_stems].name = um_manifest_stem(&s->manifest.video[i]);
        r->stem[r->n_stems].video = i;
        if (r->stem[r->n_stems].name == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d names", s->manifest.n_videos);
        r->n_stems++;
    }
    if (r->n_stems > 0) qsort(r->stem, (size_t)r->n_stems, sizeof *r->stem, by_name);
    for (int i = 1; i < r->n_stems; i++)
        if (strcmp(r->stem[i].name, r->stem[i - 1].name) == 0)
            return UM_FAIL(UM_DATA, "two videos of the store have the stem %s, by which folds name them", um_quote(r->stem[i].name));
    return UM_OK;
}

static bool number(const char *text, char stop, int64_t *out, const char **end)
{
    char *at;
    if (*text < '0' || *text > '9') return false;
    *out = strtoll(text, &at, 10);
    *end = at;
    return *at == stop;
}

/* The crop <frame>_<face> of a video; -1. */
static int64_t find_entry(const um_store_content *s, int video, int64_t frame, int64_t face)
{
    int64_t lo = s->first_entry[video], hi = s->first_entry[video + 1];
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        const um_store_entry *e = &s->entry[mid];
        if (e->frame == frame && e->face == face) return e->image.shard >= 0 ? mid : -1;
        if (e->frame < frame || (e->frame == frame && e->face < face)) lo = mid + 1;
        else hi = mid;
    }
    return -1;
}

static um_status add_row(reader *r, char *const *field)
{
    const char *end, *video = field[r->column[VIDEO]], *file = field[r->column[FILE_NAME]];
    int64_t frame, face, label, fold;
    if (!number(file, '_', &frame, &end) || !number(end + 1, '.', &face, &end)) return UM_FAIL(UM_DATA, "the file %s is not called <frame>_<face>.png", um_quote(file));
    if (!number(field[r->column[LABEL]], 0, &label, &end) || label > 1) return UM_FAIL(UM_DATA, "the label %s is neither 0 nor 1", um_quote(field[r->column[LABEL]]));
    if (!number(field[r->column[FOLD]], 0, &fold, &end) || fold > MAX_FOLD) return UM_FAIL(UM_DATA, "%s is not a fold", um_quote(field[r->column[FOLD]]));
    int at = um_search_name(stem_at, r->stem, r->n_stems, video);
    int64_t entry = at >= 0 ? find_entry(r->store, r->stem[at].video, frame, face) : -1;
    if (entry < 0) {
        if (r->out->n_missing++ == 0) snprintf(r->out->first_missing, sizeof r->out->first_missing, "%s/%s", video, file);
        return UM_OK;
    }
    bool fake = r->store->manifest.video[r->stem[at].video].label == UM_LABEL_FAKE;
    if (fake != (label == 1)) return UM_FAIL(UM_DATA, "%s is a %s here and a %s in the store", um_quote(video), label == 1 ? "fake" : "real", fake ? "fake" : "real");
    if (r->out->fold[entry] >= 0) return UM_FAIL(UM_DATA, "the crop %s of %s stands there twice", um_quote(file), um_quote(video));
    r->out->fold[entry] = (int32_t)fold;
    r->out->n_rows++;
    if (fold >= r->out->n_folds) r->out->n_folds = (int32_t)fold + 1;
    return UM_OK;
}

static um_status read_lines(reader *r, char *text)
{
    char *field[UM_CSV_MAX_FIELDS], *at = text;
    int n = um_csv_cut(&at, field), most = 0;
    for (int c = 0; c < COLUMNS; c++) {
        r->column[c] = um_csv_column(field, n, column_name[c]);
        if (r->column[c] < 0) return UM_FAIL(UM_DATA, "line 1: there is no column %s; the file is made by unmask folds", column_name[c]);
        if (r->column[c] >= most) most = r->column[c] + 1;
    }
    for (int64_t line = 2; *at != 0; line++) {
        n = um_csv_cut(&at, field);
        if (n == 1 && field[0][0] == 0) continue;
        if (n < most) return UM_FAIL(UM_DATA, "line %" PRId64 ": not the columns of line 1", line);
        UM_TRY(add_row(r, field), "line %" PRId64, line);
    }
    return UM_OK;
}

um_status um_folds_read(um_vfs *vfs, const char *path, const um_store_content *store, um_folds *out)
{
    reader r = {.store = store, .out = out};
    void *text = NULL;
    size_t n;
    um_status st;
    *out = (um_folds){0};
    UM_GOTO_PASS(st, um_vfs_read_whole(vfs, path, MOST_BYTES, &text, &n));
    out->fold = malloc((size_t)(store->n_entries + 1) * sizeof *out->fold);
    if (out->fold == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " crops", store->n_entries));
    for (int64_t i = 0; i < store->n_entries; i++) out->fold[i] = -1;
    UM_GOTO_PASS(st, list_stems(&r));
    UM_GOTO_PASS(st, read_lines(&r, text));
    if (out->n_rows == 0) st = UM_FAIL(UM_DATA, "not one of its %" PRId64 " crops is in the store; was it made of another one?", out->n_missing);
done:
    for (int i = 0; i < r.n_stems; i++) free(r.stem[i].name);
    free(r.stem);
    free(text);
    if (st == UM_OK) return UM_OK;
    um_folds_release(out);
    return um_err_note(st, "cannot use the folds %s", um_quote(path));
}
