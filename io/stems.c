#include "io/manifest.h"

#include <stdlib.h>
#include <string.h>

char *um_manifest_stem(const um_manifest_video *v)
{
    const char *slash = strrchr(v->path, '/'), *name = slash != NULL ? slash + 1 : v->path, *dot = strrchr(name, '.');
    return strndup(name, dot != NULL && dot != name ? (size_t)(dot - name) : strlen(name));
}

typedef struct stem_of {
    char *stem;
    const char *path;
} stem_of;

static int by_stem(const void *a, const void *b) { return strcmp(((const stem_of *)a)->stem, ((const stem_of *)b)->stem); }

um_status um_manifest_check_stems(const um_manifest *m, const bool *used)
{
    stem_of *s = malloc((size_t)(m->n_videos + 1) * sizeof *s);
    size_t n = 0;
    um_status st = s == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for %d names", m->n_videos) : UM_OK;
    for (int i = 0; i < m->n_videos && st == UM_OK; i++) {
        if (used != NULL && !used[i]) continue;
        s[n] = (stem_of){um_manifest_stem(&m->video[i]), m->video[i].path};
        if (s[n].stem == NULL)
            st = UM_FAIL(UM_NO_MEMORY, "no memory for %d names", m->n_videos);
        else
            n++;
    }
    if (n > 0) qsort(s, n, sizeof *s, by_stem);
    for (size_t i = 1; i < n && st == UM_OK; i++)
        if (strcmp(s[i].stem, s[i - 1].stem) == 0)
            st = UM_FAIL(UM_DATA, "%s and %s have the same stem, by which videos are named here; rename one and preprocess again",
                         um_quote(s[i - 1].path), um_quote(s[i].path));
    for (size_t i = 0; i < n; i++) free(s[i].stem);
    free(s);
    return st;
}
