/* import: weights of others become files of ours. */
#include "io/model.h"
#include "io/weights.h"
#include "jobs/job.h"
#include "src/core/log.h"
#include "src/nn/init.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct import_options {
    const char *output, *arch;
    int64_t size, seed;
} import_options;

static const um_opt options[] = {
    {"output", 'o', UM_OPT_TEXT, offsetof(import_options, output), NULL, "FILE", .flags = UM_OPT_REQUIRED,
     .help = "the file to write (replaced when it exists)"},
    {"arch", 0, UM_OPT_TEXT, offsetof(import_options, arch), NULL, "NAME",
     .help = "classifier: b0 to b7 or w<width>d<depth>; without it the shapes tell which of b0 to b7 it is, with it they must be its own"},
    {"size", 0, UM_OPT_INT, offsetof(import_options, size), NULL, "PX", 32, 2048,
     .help = "classifier: side of the pictures it is shown (default: 380, for every architecture)"},
    {"seed", 0, UM_OPT_INT, offsetof(import_options, seed), "1", "N", 0, 9e15, .help = "random: which weights are drawn"},
    {NULL},
};

static um_status import_mtcnn(um_job_context *ctx, const import_options *o)
{
    um_mtcnn_weights w = {0};
    char sha[65];
    um_status st;
    if (o->arch != NULL || o->size != 0) return UM_FAIL(UM_USAGE, "--arch and --size are for classifiers");
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

static um_status import_classifier(um_job_context *ctx, const import_options *o)
{
    um_model m;
    um_model_dropped dropped;
    const um_model_import how = {.arch = o->arch, .size_px = (int)o->size};
    um_status st;
    if (ctx->operands.n != 2) return UM_FAIL(UM_USAGE, "import classifier takes one file; an ensemble is several models");
    UM_PASS(um_model_import_file(ctx->vfs, ctx->operands.text[1], &how, &m, &dropped));
    UM_GOTO_PASS(st, um_model_write(ctx->vfs, o->output, &m));
    um_log(UM_LOG_INFO, "%s: EfficientNet-%s for %d px, %" PRId64 " parameters, fingerprint %s, from %s (SHA-256 %s)",
           um_quote(o->output), m.net.name, m.size_px, m.param_count, m.fingerprint, um_quote(m.source), m.source_sha256);
    if (dropped.classifier + dropped.counters + dropped.scalars > 0)
        um_log(UM_LOG_INFO,
               "known and not used: %d tensors of a classifier of other classes, %d counters num_batches_tracked, %d entries "
               "beside the state dict",
               dropped.classifier, dropped.counters, dropped.scalars);
    if (!m.has_head)
        um_log(UM_LOG_WARN,
               "%s is an encoder: the file has no head (fc.weight, fc.bias) that tells real from fake. Training can start from it; "
               "scoring refuses it",
               um_quote(o->output));
done:
    um_model_release(&m);
    return st;
}

/* Weights that nobody trained: the machinery can be tried before there are others. */
static um_status import_random(um_job_context *ctx, const import_options *o)
{
    um_status st;
    um_graph *g = NULL;
    um_model m = {.size_px = o->size != 0 ? (int)o->size : 380, .has_head = true, .source_sha256 = ""};
    if (ctx->operands.n != 1) return UM_FAIL(UM_USAGE, "import random reads no file");
    UM_PASS(um_efficientnet_parse(o->arch != NULL ? o->arch : "b0", &m.net));
    UM_PASS(um_efficientnet_graph(&m.net, m.size_px, true, 0, 0, &g));
    memcpy(m.mean, um_imagenet_mean, sizeof m.mean);
    memcpy(m.std, um_imagenet_std, sizeof m.std);
    m.param_count = g->param_count;
    m.params = malloc((size_t)m.param_count * sizeof *m.params);
    if (m.params == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " parameters", m.param_count));
    um_graph_init(g, (uint64_t)o->seed, m.params);
    snprintf(m.source, sizeof m.source, "random:%" PRId64, o->seed);
    um_model_seal(&m);
    UM_GOTO_PASS(st, um_model_write(ctx->vfs, o->output, &m));
    um_log(UM_LOG_WARN, "%s: EfficientNet-%s for %d px with random weights (seed %" PRId64 "), to try the machinery: its scores mean nothing",
           um_quote(o->output), m.net.name, m.size_px, o->seed);
done:
    um_model_release(&m);
    um_graph_free(g);
    return st;
}

static um_status run(um_job_context *ctx, void *values)
{
    const char *what = ctx->operands.text[0];
    if (strcmp(what, "random") != 0 && ctx->operands.n < 2) return UM_FAIL(UM_USAGE, "import %s: what to import is missing", um_quote(what));
    if (strcmp(what, "mtcnn") == 0) return import_mtcnn(ctx, values);
    if (strcmp(what, "classifier") == 0) return import_classifier(ctx, values);
    if (strcmp(what, "random") == 0) return import_random(ctx, values);
    return UM_FAIL(UM_USAGE, "cannot import %s; what can be imported: mtcnn, classifier, random", um_quote(what));
}

const um_job um_job_import = {
    .name = "import",
    .usage = "import mtcnn SOURCE... -o mtcnn.h5 | unmask import classifier FILE -o model.h5 [--arch b7] [--size 380] | unmask import random -o model.h5 "
             "[--arch b0] [--size 380] [--seed 1]",
    .summary = "turn published weights into a file of ours",
    .details = "mtcnn: SOURCE is the wheel of facenet-pytorch (pip download --no-deps facenet-pytorch), a folder that holds pnet.pt, "
               "rnet.pt and onet.pt, or these three files.\n"
               "scripts/setup fetches the wheel and scripts/build imports it. For a cluster without network bring the wheel, or "
               "mtcnn.h5 itself, and name it with --detector\n"
               "or put it in $UNMASK_HOME.\n"
               "classifier: FILE is a checkpoint of the reference ({epoch, state_dict, ...}), a state dict of it, or timm's own "
               "weights of a tf_efficientnet (.pth, .safetensors); f32, f16,\n"
               "bf16 or f64. timm's own have no head that tells real from fake and become an encoder, to train from. Missing, extra "
               "and misshapen tensors are refused by name;\n"
               "classifier.* and num_batches_tracked are known and left out. Put model.h5 in $UNMASK_HOME, or name it with -m.\n"
               "random: weights drawn at random, to try the machinery before there are trained ones; scores then mean nothing.\n"
               "The files are parsed by readers that know tensors only: nothing in them is executed.\n",
    .options = options,
    .options_size = sizeof(import_options),
    .min_operands = 1,
    .max_operands = 4,
    .run = run,
};
