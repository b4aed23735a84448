#include "io/labels.h"

#include "io/csv.h"
#include "io/metadata.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static const size_t most_bytes = (size_t)4 << 30;
enum { MOST_LABELS = 1 << 30 };

void um_labels_release(um_labels *l)
{
    for (int i = 0; i < l->n; i++) {
        free(l->label[i].path);
        free(l->label[i].original);
    }
    free(l->label);
    *l = (um_labels){0};
}

/* folder "" : as it is. */
static char *join(const char *folder, const char *name)
{
    size_t n = strlen(folder), m = strlen(name);
    char *path = malloc(n + m + 2);
    if (path == NULL) return NULL;
    memcpy(path, folder, n);
    if (n > 0) path[n++] = '/';
    memcpy(path + n, name, m + 1);
    return path;
}

static um_status add(um_labels *l, const char *folder, const char *name, const char *original, bool fake)
{
    if (l->n == MOST_LABELS) return UM_FAIL(UM_TOO_LARGE, "more than %d labels", MOST_LABELS);
    if (l->n == l->capacity) {
        int capacity = l->capacity == 0 ? 256 : 2 * l->capacity;
        um_label *more = realloc(l->label, (size_t)capacity * sizeof *more);
        if (more == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d labels", capacity);
        l->label = more;
        l->capacity = capacity;
    }
    um_label *to = &l->label[l->n];
    *to = (um_label){.path = join(folder, name), .fake = fake};
    if (to->path == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a label");
    if (original != NULL && *original != 0) to->original = join(folder, original);
    l->n++;
    if (original != NULL && *original != 0 && to->original == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a label");
    const char *slash = strrchr(to->path, '/');
    to->name = slash != NULL ? slash + 1 : to->path;
    return UM_OK;
}

static bool read_label(const char *text, bool *fake)
{
    *fake = strcasecmp(text, "FAKE") == 0 || strcmp(text, "1") == 0;
    return *fake || strcasecmp(text, "REAL") == 0 || strcmp(text, "0") == 0;
}

/* ---- metadata.json ---- */

static um_status add_metadata(um_labels *l, um_vfs *vfs, const char *path)
{
    json_t *all = NULL, *entry;
    const char *key;
    um_buf name = {0}, original = {0}, folder = {0};
    um_status st;
    const char *slash = strrchr(path, '/');
    UM_GOTO_PASS(st, um_buf_add(&folder, path, slash != NULL ? (size_t)(slash - path) : 0));
    UM_GOTO_PASS(st, um_metadata_read(vfs, path, &all));
    json_object_foreach(all, key, entry)
    {
        const char *label = json_string_value(json_object_get(entry, "label")), *from = json_string_value(json_object_get(entry, "original"));
        bool fake;
        UM_GOTO_PASS(st, um_metadata_name(key, &name));
        if (label == NULL || !read_label(label, &fake)) UM_GOTO_PASS(st, UM_FAIL(UM_DATA, "%s has a label that is neither REAL nor FAKE", um_quote((char *)name.data)));
        if (from != NULL) UM_GOTO_PASS(st, um_metadata_name(from, &original));
        UM_GOTO_PASS(st, add(l, (char *)folder.data, (char *)name.data, from != NULL ? (char *)original.data : NULL, fake));
    }
done:
    json_decref(all);
    um_buf_release(&name);
    um_buf_release(&original);
    um_buf_release(&folder);
    return st;
}

/* ---- CSV ---- */

static um_status add_lines(um_labels *l, char *text)
{
    static const char *const names[] = {"path", "filename", "name", "video"};
    char *field[UM_CSV_MAX_FIELDS], *at = um_csv_begin(text);
    int n = um_csv_cut(&at, field), name = -1, label = um_csv_column(field, n, "label"), original = um_csv_column(field, n, "original");
    for (size_t i = 0; i < sizeof names / sizeof names[0] && name < 0; i++) name = um_csv_column(field, n, names[i]);
    if (name < 0 || label < 0) return UM_FAIL(UM_DATA, "line 1: columns are wanted that are called path (or filename, name, video) and label");
    for (int64_t line = 2; *at != 0; line++) {
        bool fake;
        n = um_csv_cut(&at, field);
        if (n == 1 && field[0][0] == 0) continue;
        if (n <= name || n <= label) return UM_FAIL(UM_DATA, "line %" PRId64 ": not the columns of line 1", line);
        if (!read_label(field[label], &fake)) return UM_FAIL(UM_DATA, "line %" PRId64 ": the label %s is none of REAL, FAKE, 0, 1", line, um_quote(field[label]));
        UM_PASS(add(l, "", field[name], original >= 0 && original < n ? field[original] : NULL, fake));
    }
    return UM_OK;
}

um_status um_labels_add(um_labels *l, um_vfs *vfs, const char *path)
{
    struct stat s;
    size_t n = strlen(path);
    um_status st;
    if (stat(path, &s) == 0 && S_ISDIR(s.st_mode)) {
        char *inside = join(path, "metadata.json");
        st = inside == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a path") : add_metadata(l, vfs, inside);
        free(inside);
    } else if (n > 5 && strcmp(path + n - 5, ".json") == 0) {
        st = add_metadata(l, vfs, path);
    } else {
        void *text = NULL;
        st = um_vfs_read_whole(vfs, path, most_bytes, &text, &n);
        if (st == UM_OK) st = add_lines(l, text);
        free(text);
    }
    return st == UM_OK ? UM_OK : um_err_note(st, "cannot use the labels %s", um_quote(path));
}

/* ---- sealing ---- */

static int by_name(const void *a, const void *b)
{
    const um_label *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : strcmp(x->path, y->path);
}

/* The path by which a label's group is known. */
static const char *group_of(const um_label *l) { return l->original != NULL ? l->original : l->path; }

static int by_group(const void *a, const void *b) { return strcmp(group_of(*(const um_label *const *)a), group_of(*(const um_label *const *)b)); }

um_status um_labels_seal(um_labels *l)
{
    int kept = 0;
    if (l->n == 0) return UM_FAIL(UM_DATA, "there is not one label");
    qsort(l->label, (size_t)l->n, sizeof *l->label, by_name);
    um_label **order = malloc((size_t)l->n * sizeof(um_label *));
    if (order == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d labels", l->n);
    for (int i = 1; i < l->n; i++)
        if (strcmp(l->label[i].path, l->label[kept].path) != 0) {
            um_label t = l->label[++kept];
            l->label[kept] = l->label[i];
            l->label[i] = t; /* one that is told twice goes to the end, where release finds it */
        } else if (l->label[i].fake != l->label[kept].fake) {
            free(order);
            return UM_FAIL(UM_DATA, "%s is called real and fake", um_quote(l->label[i].path));
        }
    for (int i = kept + 1; i < l->n; i++) {
        free(l->label[i].path);
        free(l->label[i].original);
    }
    l->n = kept + 1;
    for (int i = 0; i < l->n; i++) order[i] = &l->label[i];
    qsort(order, (size_t)l->n, sizeof(um_label *), by_group);
    for (int i = 0; i < l->n; i++) {
        if (i == 0 || strcmp(group_of(order[i]), group_of(order[i - 1])) != 0) l->n_groups++;
        order[i]->group = l->n_groups - 1;
    }
    free(order);
    return UM_OK;
}

/* How many parts of two paths are the same, from the end. */
static int common_parts(const char *a, const char *b)
{
    size_t i = strlen(a), j = strlen(b);
    int parts = 0;
    while (i > 0 && j > 0 && a[i - 1] == b[j - 1]) {
        i--;
        j--;
        if (a[i] == '/') parts++;
    }
    return parts + ((i == 0 || a[i - 1] == '/') && (j == 0 || b[j - 1] == '/'));
}

int um_labels_find(const um_labels *l, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    int lo = 0, hi = l->n, best = -1, most = -1;
    bool several = false;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (strcmp(l->label[mid].name, name) < 0) lo = mid + 1;
        else hi = mid;
    }
    for (; lo < l->n && strcmp(l->label[lo].name, name) == 0; lo++) {
        int parts = common_parts(l->label[lo].path, path);
        if (parts > most) {
            most = parts;
            best = lo;
            several = false;
        } else if (parts == most && l->label[lo].fake != l->label[best].fake) {
            several = true;
        }
    }
    return several ? -2 : best;
}
