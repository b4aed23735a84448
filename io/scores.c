#include "io/scores.h"

#include "io/csv.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const size_t most_bytes = (size_t)4 << 30;

void um_scores_release(um_scores *s)
{
    free(s->row);
    free(s->text);
    *s = (um_scores){0};
}

static bool read_score(const char *text, double *out)
{
    char *end;
    *out = NAN;
    if (*text == 0 || strcasecmp(text, "nan") == 0) return true;
    *out = strtod(text, &end);
    return *end == 0 && *out >= 0 && *out <= 1;
}

static um_status read_lines(um_scores *s)
{
    char *field[UM_CSV_MAX_FIELDS], *at = um_csv_begin(s->text);
    int64_t lines = 1;
    for (const char *p = s->text; *p != 0; p++) lines += *p == '\n';
    if (lines > INT32_MAX) return UM_FAIL(UM_TOO_LARGE, "more than %d lines", INT32_MAX);
    s->row = malloc((size_t)lines * sizeof *s->row);
    if (s->row == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " scores", lines);
    int n = um_csv_cut(&at, field), path = um_csv_column(field, n, "path"), score = um_csv_column(field, n, "score"), status = um_csv_column(field, n, "status");
    if (path < 0) path = um_csv_column(field, n, "filename");
    if (score < 0) score = um_csv_column(field, n, "label");
    if (path < 0 || score < 0) return UM_FAIL(UM_DATA, "line 1: columns are wanted that are called path and score, or filename and label");
    for (int64_t line = 2; *at != 0; line++) {
        um_scores_row *r = &s->row[s->n];
        n = um_csv_cut(&at, field);
        if (n == 1 && field[0][0] == 0) continue;
        if (n <= path || n <= score) return UM_FAIL(UM_DATA, "line %" PRId64 ": not the columns of line 1", line);
        *r = (um_scores_row){.path = field[path], .failed = status >= 0 && status < n && strcmp(field[status], "OK") != 0};
        if (!read_score(field[score], &r->score)) return UM_FAIL(UM_DATA, "line %" PRId64 ": %s is not a number from 0 to 1", line, um_quote(field[score]));
        s->n++;
    }
    return UM_OK;
}

static int by_path(const void *a, const void *b)
{
    const um_scores_row *x = *(um_scores_row *const *)a, *y = *(um_scores_row *const *)b;
    int order = strcmp(x->path, y->path);
    return order != 0 ? order : (x > y) - (x < y);
}

/* A video must not count twice: of equal rows the first stays. */
static um_status drop_repeated(um_scores *s)
{
    um_scores_row **order = malloc(((size_t)s->n + 1) * sizeof(um_scores_row *)), *first = NULL;
    um_status st = order == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for %d scores", s->n) : UM_OK;
    int kept = 0;
    for (int i = 0; i < s->n && st == UM_OK; i++) order[i] = &s->row[i];
    if (st == UM_OK && s->n > 0) qsort(order, (size_t)s->n, sizeof(um_scores_row *), by_path);
    for (int i = 0; i < s->n && st == UM_OK; i++) {
        bool again = first != NULL && strcmp(first->path, order[i]->path) == 0;
        if (again && !(first->score == order[i]->score || (isnan(first->score) && isnan(order[i]->score)))) st = UM_FAIL(UM_DATA, "%s has two rows with different scores", um_quote(first->path));
        if (again) order[i]->repeated = true;
        else first = order[i];
    }
    for (int i = 0; i < s->n && st == UM_OK; i++)
        if (!s->row[i].repeated) s->row[kept++] = s->row[i];
    if (st == UM_OK) {
        s->n_repeated = s->n - kept;
        s->n = kept;
    }
    free(order);
    return st;
}

um_status um_scores_read(um_vfs *vfs, const char *path, um_scores *out)
{
    void *text = NULL;
    size_t n;
    *out = (um_scores){0};
    um_status st = um_vfs_read_whole(vfs, path, most_bytes, &text, &n);
    out->text = text;
    if (st == UM_OK) st = read_lines(out);
    if (st == UM_OK) st = drop_repeated(out);
    if (st == UM_OK) return UM_OK;
    um_scores_release(out);
    return um_err_note(st, "cannot use the scores %s", um_quote(path));
}
