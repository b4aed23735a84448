/* import: weights of others become files of ours. */
#include "io/weights.h"
#include "jobs/job.h"
#include "src/core/log.h"

#include <stdlib.h>
#include <string.h>

typedef struct import_options {
    const char *output;
} import_options;

static const um_opt options[] = {
    {"output", 'o', UM_OPT_TEXT, offsetof(import_options, output), NULL, "FILE", .flags = UM_OPT_REQUIRED,
     .help = "the file to write (replaced when it exists)"},
    {NULL},
};

static um_status run(um_job_context *ctx, void *values)
{
    const import_options *o = values;
    um_mtcnn_weights w = {0};
    char sha[65];
    um_status st;
    if (strcmp(ctx->operands.text[0], "mtcnn") != 0)
        return UM_FAIL(UM_USAGE, "cannot import %s; what can be imported: mtcnn", um_quote(ctx->operands.text[0]));
    const char *const *sources = ctx->operands.text + 1;
    UM_GOTO(st, um_weights_import_mtcnn(ctx->vfs, sources, ctx->operands.n - 1, &w, sha), "cannot import the detector from %s",
            um_quote(sources[0]));
    char *name = strdup(sources[0]);
    if (name == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for a name"));
    for (size_t n = strlen(name); n > 1 && name[n - 1] == '/'; n--) name[n - 1] = 0;
    const char *slash = strrchr(name, '/');
    st = um_weights_write_mtcnn(ctx->vfs, o->output, &w, slash != NULL ? slash + 1 : name, sha);
    free(name);
    if (st != UM_OK) goto done;
    um_log(UM_LOG_INFO, "%s: %d tensors, SHA-256 of the source's tensors' files %s", o->output, UM_MTCNN_TENSORS, sha);
done:
    um_mtcnn_weights_release(&w);
    return st;
}

const um_job um_job_import = {
    .name = "import",
    .usage = "import mtcnn SOURCE... -o mtcnn.h5",
    .summary = "turn published weights into a file of ours",
    .details = "SOURCE is the wheel of facenet-pytorch (pip download --no-deps facenet-pytorch), a folder that holds pnet.pt, "
               "rnet.pt and onet.pt, or these three files.\n"
               "The files are parsed by a reader that knows tensors only: nothing in them is executed.\n"
               "scripts/setup fetches the wheel and scripts/build imports it. For a cluster without network bring the wheel, or "
               "mtcnn.h5 itself, and name it with --detector\n"
               "or put it in $UNMASK_HOME.\n",
    .options = options,
    .options_size = sizeof(import_options),
    .min_operands = 2,
    .max_operands = 4,
    .run = run,
};
