#include "jobs/model_files.h"

#include "io/model.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_folder(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

static um_status add(um_model_files *m, const char *path, bool found)
{
    um_model_file *more = realloc(m->file, (size_t)(m->n + 1) * sizeof *more);
    if (more == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a path");
    m->file = more;
    more[m->n] = (um_model_file){strdup(path), found};
    return more[m->n++].path != NULL ? UM_OK : UM_FAIL(UM_NO_MEMORY, "no memory for a path");
}

um_status um_model_files_find(const um_job_context *ctx, const um_texts *given, um_model_files *out)
{
    um_names names = {0};
    um_status st = UM_OK;
    *out = (um_model_files){0};
    if (given->n == 0) {
        UM_GOTO_PASS(st, um_job_models(ctx, &names));
        for (int k = 0; k < names.n; k++) UM_GOTO_PASS(st, add(out, names.name[k], true));
    }
    for (int i = 0; i < given->n; i++) {
        if (!is_folder(given->text[i])) {
            UM_GOTO_PASS(st, add(out, given->text[i], false));
            continue;
        }
        um_names_release(&names);
        UM_GOTO_PASS(st, um_model_list(ctx->vfs, given->text[i], &names));
        if (names.n == 0) UM_GOTO_PASS(st, UM_FAIL(UM_MISSING, "the folder %s holds no model (files *.h5 made by unmask import classifier or unmask train)", um_quote(given->text[i])));
        for (int k = 0; k < names.n; k++) UM_GOTO_PASS(st, add(out, names.name[k], true));
    }
done:
    um_names_release(&names);
    if (st != UM_OK) um_model_files_release(out);
    return st;
}

void um_model_files_release(um_model_files *m)
{
    for (int i = 0; i < m->n; i++) free(m->file[i].path);
    free(m->file);
    *m = (um_model_files){0};
}
