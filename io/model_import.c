/* model_import: weights of others, by their names, as a model. */
#include "io/model.h"
#include "io/model_check.h"
#include "io/safetensors.h"
#include "io/zip.h"
#include "src/core/buf.h"
#include "src/core/sha256.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_SIZE_PX = 380, MAX_STAGES = 10, MAX_BLOCKS = 1000, SHOWN = 3 };
#define MAX_SOURCE_BYTES ((size_t)2 << 30)

static const char in_checkpoint[] = "state_dict/", in_module[] = "module.", in_encoder[] = "encoder.";

/* ---- the file, whatever its format ---- */

typedef struct tensor {
    const um_torch_tensor *t;
    const char *name; /* the part of t->name that is the parameter's, without "encoder."; NULL: outside the state dict */
    bool encoder;     /* did it have "encoder."? */
    bool used;
} tensor;

typedef struct source {
    um_torch_file *torch; /* one of the two */
    um_safetensors *safe;
    tensor *tensor;
    int n;
    int *by_name;        /* [n_named], sorted: those with a name */
    int n_named;
    bool reference;      /* names have "encoder." */
    bool has_head;
} source;

static void source_close(source *s)
{
    um_torch_file_close(s->torch);
    um_safetensors_close(s->safe);
    free(s->tensor);
    free(s->by_name);
}

static um_status source_open(const void *bytes, size_t n, source *s)
{
    const uint8_t *b = bytes;
    if (um_safetensors_is(bytes, n)) return um_safetensors_open(bytes, n, &s->safe);
    if (um_zip_is(bytes, n) || (n > 1 && b[0] == 0x80)) return um_torch_file_open(bytes, n, &s->torch);
    if (n > 10 && memcmp(b, "unmask-h5 ", 10) == 0) return UM_FAIL(UM_DATA, "it is a file of unmask's own: use it as it is");
    return UM_FAIL(UM_DATA, "it is neither what torch.save writes (zip or legacy) nor safetensors; it begins with %s",
                   n == 0 ? "nothing: it is empty" : um_quote((char[9]){(char)b[0], (char)(n > 1 ? b[1] : 0), (char)(n > 2 ? b[2] : 0), (char)(n > 3 ? b[3] : 0)}));
}

static um_status source_read(source *s, int i, float *out)
{
    int64_t count = s->tensor[i].t->count;
    if (s->safe != NULL) return um_safetensors_read_f32(s->safe, i, out, count);
    um_status st = um_torch_file_read_f32(s->torch, i, out, count);
    um_torch_file_forget(s->torch, i);
    return st;
}

static bool starts(const char *s, const char *with) { return strncmp(s, with, strlen(with)) == 0; }

static int compare(const void *a, const void *b, void *context)
{
    const source *s = context;
    const tensor *x = &s->tensor[*(const int *)a], *y = &s->tensor[*(const int *)b];
    int c = strcmp(x->name, y->name);
    return c != 0 ? c : (int)x->encoder - (int)y->encoder;
}

static int find(const source *s, const char *name, bool encoder)
{
    int lo = 0, hi = s->n_named;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        const tensor *t = &s->tensor[s->by_name[mid]];
        int c = strcmp(t->name, name);
        if (c == 0) c = (int)t->encoder - (int)encoder;
        if (c == 0) return s->by_name[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return -1;
}

/* Takes the prefixes off: "state_dict/" of a checkpoint, "module." of DataParallel, "encoder." of the reference. Each is on all tensors or on none; one that lacks it keeps no name, and will be found not to belong. */
static um_status source_name(source *s, um_model_dropped *dropped)
{
    bool checkpoint = false, module = false;
    s->n = s->safe != NULL ? um_safetensors_count(s->safe) : um_torch_file_count(s->torch);
    s->tensor = calloc((size_t)s->n + 1, sizeof *s->tensor);
    s->by_name = calloc((size_t)s->n + 1, sizeof *s->by_name);
    if (s->tensor == NULL || s->by_name == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d tensors", s->n);
    for (int i = 0; i < s->n; i++) {
        s->tensor[i].t = s->safe != NULL ? um_safetensors_get(s->safe, i) : um_torch_file_get(s->torch, i);
        s->tensor[i].name = s->tensor[i].t->name;
        checkpoint = checkpoint || (s->torch != NULL && starts(s->tensor[i].name, in_checkpoint));
    }
    for (int i = 0; i < s->n && checkpoint; i++) {
        tensor *t = &s->tensor[i];
        t->name = starts(t->name, in_checkpoint) ? t->name + strlen(in_checkpoint) : NULL;
    }
    for (int i = 0; i < s->n; i++) module = module || (s->tensor[i].name != NULL && starts(s->tensor[i].name, in_module));
    for (int i = 0; i < s->n; i++) {
        tensor *t = &s->tensor[i];
        if (module && t->name != NULL) t->name = starts(t->name, in_module) ? t->name + strlen(in_module) : NULL;
        if (t->name == NULL) continue;
        t->encoder = starts(t->name, in_encoder);
        if (t->encoder) t->name += strlen(in_encoder);
        s->reference = s->reference || t->encoder;
        s->has_head = s->has_head || (!t->encoder && starts(t->name, "fc."));
        s->by_name[s->n_named++] = i;
    }
    s->has_head = s->has_head && s->reference; /* timm's own have no "fc" */
    qsort_r(s->by_name, (size_t)s->n_named, sizeof *s->by_name, compare, s);
    for (int i = 0; s->torch != NULL && i < um_torch_file_scalar_count(s->torch); i++) {
        const char *name = um_torch_file_scalar(s->torch, i)->name;
        if (!checkpoint || starts(name, in_checkpoint))
            return UM_FAIL(UM_DATA, "the entry %s is not a tensor, and beside a checkpoint's state_dict only such are expected", um_quote(name));
        dropped->scalars++;
    }
    return UM_OK;
}

/* ---- which network it is ---- */

/* What tells the architectures apart. */
typedef struct outline {
    int64_t stem, head;
    int blocks[MAX_STAGES];
} outline;

/* Adds what one tensor tells. name: without "encoder.". */
static void outline_add(outline *o, const char *name, int n_dims, int64_t dim0)
{
    int stage, block, end = 0;
    if (n_dims == 4 && strcmp(name, "conv_stem.weight") == 0) o->stem = dim0;
    if (n_dims == 4 && strcmp(name, "conv_head.weight") == 0) o->head = dim0;
    if (strlen(name) < UM_PARAM_MAX_NAME && sscanf(name, "blocks.%3d.%4d.%n", &stage, &block, &end) == 2 && end > 0 && stage >= 0 && stage < MAX_STAGES && block >= 0 &&
        block < MAX_BLOCKS && block >= o->blocks[stage])
        o->blocks[stage] = block + 1;
}

static bool outline_equal(const outline *a, const outline *b) { return a->stem == b->stem && a->head == b->head && memcmp(a->blocks, b->blocks, sizeof a->blocks) == 0; }

static void outline_text(const outline *o, char out[160])
{
    int at = snprintf(out, 160, "stem %" PRId64 ", head %" PRId64 ", blocks", o->stem, o->head);
    for (int i = 0; i < MAX_STAGES && o->blocks[i] > 0; i++) at += snprintf(out + at, 160 - (size_t)at, "%c%d", i == 0 ? ' ' : '-', o->blocks[i]);
}

static um_status outline_of(const um_efficientnet *net, outline *o)
{
    um_graph *g;
    *o = (outline){0};
    UM_PASS(um_efficientnet_graph(net, DEFAULT_SIZE_PX, false, 0, 0, &g));
    for (int i = 0; i < g->n_params; i++) {
        const char *name = g->param[i].name;
        outline_add(o, starts(name, in_encoder) ? name + strlen(in_encoder) : name, g->param[i].n_dims, g->param[i].dims[0]);
    }
    um_graph_free(g);
    return UM_OK;
}

static um_status recognise(const source *s, const char *arch, um_efficientnet *net)
{
    outline file = {0}, known;
    char file_text[160], known_text[160];
    for (int i = 0; i < s->n; i++) {
        const tensor *t = &s->tensor[i];
        if (t->name != NULL && t->encoder == s->reference) outline_add(&file, t->name, t->t->n_dims, t->t->dims[0]);
    }
    if (file.stem == 0 || file.head == 0)
        return UM_FAIL(UM_DATA, "it holds no EfficientNet under timm's names: %s%s is missing (of %d tensors the first is called %s)", s->reference ? in_encoder : "",
                       file.stem == 0 ? "conv_stem.weight" : "conv_head.weight", s->n, s->n > 0 ? um_quote(s->tensor[0].t->name) : "nothing");
    outline_text(&file, file_text);
    /* A file that we exported says what it is; that counts for multipliers of one's own, which no table has. */
    const char *said = s->safe != NULL ? um_safetensors_metadata(s->safe, "arch") : NULL;
    int found = UM_EFFICIENTNETS;
    for (int i = 0; i < UM_EFFICIENTNETS && found == UM_EFFICIENTNETS; i++) {
        UM_PASS(outline_of(&um_efficientnets[i], &known));
        if (outline_equal(&file, &known)) found = i;
    }
    if (arch == NULL && found < UM_EFFICIENTNETS) {
        *net = um_efficientnets[found];
        return UM_OK;
    }
    if (arch == NULL && (said == NULL || um_efficientnet_parse(said, net) != UM_OK))
        return UM_FAIL(UM_DATA, "its shapes (%s) are those of none of b0 to b7; name the multipliers of another network with --arch w<width>d<depth>", file_text);
    if (arch != NULL) UM_PASS(um_efficientnet_parse(arch, net));
    UM_PASS(outline_of(net, &known));
    if (outline_equal(&file, &known)) return UM_OK;
    outline_text(&known, known_text);
    return UM_FAIL(UM_DATA, "the architecture %s has %s, the file has %s%s%s", net->name, known_text, file_text, found < UM_EFFICIENTNETS ? ": that is " : "",
                   found < UM_EFFICIENTNETS ? um_efficientnets[found].name : "");
}

/* ---- its tensors ---- */

/* What is wrong, counted, the first few named. */
typedef struct trouble {
    um_buf text;
    int n;
} trouble;

static um_status trouble_add(trouble *t, const char *name, const char *more)
{
    if (t->n++ >= SHOWN) return UM_OK;
    return um_buf_printf(&t->text, "%s%.100s%s", t->n > 1 ? ", " : "", um_quote(name), more);
}

static um_status trouble_tell(um_buf *all, const trouble *t, const char *what)
{
    if (t->n == 0) return UM_OK;
    return um_buf_printf(all, "%s%d %s: %s%s", all->len > 0 ? "; " : "", t->n, what, (char *)t->text.data, t->n > SHOWN ? ", ..." : "");
}

/* The index of the file's tensor for a parameter, or -1. */
static int find_param(const source *s, const um_param *p)
{
    bool encoder = starts(p->name, in_encoder);
    return find(s, encoder ? p->name + strlen(in_encoder) : p->name, encoder && s->reference);
}

/* Is it one that such files hold and the network has no use for? */
static bool known_extra(const source *s, const um_graph *g, const tensor *t, um_model_dropped *dropped)
{
    static const char suffix[] = ".num_batches_tracked";
    char name[UM_PARAM_MAX_NAME];
    if (t->name == NULL || t->encoder != s->reference) return false;
    if (starts(t->name, "classifier.")) {
        dropped->classifier++;
        return true;
    }
    size_t n = strlen(t->name), n_suffix = strlen(suffix);
    if (n <= n_suffix || strcmp(t->name + n - n_suffix, suffix) != 0 || t->t->dtype < UM_TORCH_I64 || t->t->count != 1) return false;
    int made = snprintf(name, sizeof name, "%s%.*s.running_mean", in_encoder, (int)(n - n_suffix), t->name);
    if (made < 0 || (size_t)made >= sizeof name || um_graph_find_param(g, name) < 0) return false;
    dropped->counters++;
    return true;
}

/* Every parameter is there with its shape and a floating-point type, and nothing else is. */
static um_status check_tensors(source *s, const um_graph *g, um_model_dropped *dropped)
{
    um_status st;
    trouble missing = {0}, misshapen = {0}, mistyped = {0}, extra = {0};
    um_buf all = {0};
    for (int i = 0; i < g->n_params; i++) {
        const um_param *p = &g->param[i];
        int at = find_param(s, p);
        if (at < 0) {
            UM_GOTO_PASS(st, trouble_add(&missing, s->reference || !starts(p->name, in_encoder) ? p->name : p->name + strlen(in_encoder), ""));
            continue;
        }
        s->tensor[at].used = true;
        const um_torch_tensor *t = s->tensor[at].t;
        bool same = t->n_dims == p->n_dims;
        for (int d = 0; same && d < t->n_dims; d++) same = t->dims[d] == p->dims[d];
        if (!same) {
            um_torch_tensor want = {.n_dims = p->n_dims};
            char more[128];
            int n = snprintf(more, sizeof more, " is %.50s", um_torch_tensor_shape(t));
            for (int d = 0; d < p->n_dims; d++) want.dims[d] = p->dims[d];
            snprintf(more + n, sizeof more - (size_t)n, " instead of %s", um_torch_tensor_shape(&want));
            UM_GOTO_PASS(st, trouble_add(&misshapen, t->name, more));
        } else if (t->dtype > UM_TORCH_BF16) {
            char more[32];
            snprintf(more, sizeof more, " is %s", um_torch_dtype_name(t->dtype));
            UM_GOTO_PASS(st, trouble_add(&mistyped, t->name, more));
        }
    }
    for (int i = 0; i < s->n; i++) {
        if (!s->tensor[i].used && !known_extra(s, g, &s->tensor[i], dropped)) UM_GOTO_PASS(st, trouble_add(&extra, s->tensor[i].t->name, ""));
    }
    UM_GOTO_PASS(st, trouble_tell(&all, &missing, "missing"));
    UM_GOTO_PASS(st, trouble_tell(&all, &misshapen, "misshapen"));
    UM_GOTO_PASS(st, trouble_tell(&all, &mistyped, "of the wrong type"));
    UM_GOTO_PASS(st, trouble_tell(&all, &extra, "that do not belong"));
    if (all.len > 0) st = UM_FAIL(UM_DATA, "tensors are not those of the network: %s", (char *)all.data);
done:
    um_buf_release(&missing.text);
    um_buf_release(&misshapen.text);
    um_buf_release(&mistyped.text);
    um_buf_release(&extra.text);
    um_buf_release(&all);
    return st;
}

/* ---- */

static int said_size(const source *s)
{
    const char *text = s->safe != NULL ? um_safetensors_metadata(s->safe, "size") : NULL;
    char *end;
    long size = text != NULL ? strtol(text, &end, 10) : 0;
    return text != NULL && *end == 0 && size > 0 && size <= 65536 ? (int)size : DEFAULT_SIZE_PX; /* um_efficientnet_graph has the limits */
}

um_status um_model_import_bytes(const void *bytes, size_t n, const um_model_import *o, um_model *out, um_model_dropped *dropped)
{
    um_status st;
    source s = {0};
    um_graph *g = NULL;
    *out = (um_model){0};
    *dropped = (um_model_dropped){0};
    UM_GOTO_PASS(st, source_open(bytes, n, &s));
    UM_GOTO_PASS(st, source_name(&s, dropped));
    UM_GOTO_PASS(st, recognise(&s, o->arch, &out->net));
    out->has_head = s.has_head;
    out->size_px = o->size_px != 0 ? o->size_px : said_size(&s);
    UM_GOTO_PASS(st, um_efficientnet_graph(&out->net, out->size_px, out->has_head, 0, 0, &g));
    UM_GOTO_PASS(st, check_tensors(&s, g, dropped));
    /* Only now: the file holds as many numbers as are made room for. */
    out->param_count = g->param_count;
    out->params = malloc((size_t)g->param_count * sizeof *out->params);
    if (out->params == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " parameters", g->param_count));
    for (int i = 0; i < g->n_params; i++) {
        const um_param *p = &g->param[i];
        UM_GOTO_PASS(st, source_read(&s, find_param(&s, p), out->params + p->offset));
        UM_GOTO_PASS(st, um_model_check_numbers(p, out->params + p->offset));
    }
    memcpy(out->mean, um_imagenet_mean, sizeof out->mean);
    memcpy(out->std, um_imagenet_std, sizeof out->std);
    um_model_seal(out);
done:
    um_graph_free(g);
    source_close(&s);
    if (st != UM_OK) um_model_release(out);
    return st;
}

um_status um_model_import_file(um_vfs *vfs, const char *path, const um_model_import *o, um_model *out, um_model_dropped *dropped)
{
    um_status st;
    void *bytes = NULL;
    size_t n;
    um_sha256 sha;
    *out = (um_model){0};
    *dropped = (um_model_dropped){0};
    UM_GOTO_PASS(st, um_vfs_read_whole(vfs, path, MAX_SOURCE_BYTES, &bytes, &n));
    UM_GOTO_PASS(st, um_model_import_bytes(bytes, n, o, out, dropped));
    const char *slash = strrchr(path, '/');
    snprintf(out->source, sizeof out->source, "%s", slash != NULL ? slash + 1 : path);
    um_sha256_init(&sha);
    um_sha256_add(&sha, bytes, n);
    um_sha256_hex(&sha, out->source_sha256);
done:
    free(bytes);
    return st == UM_OK ? UM_OK : um_err_note(st, "cannot import %s", um_quote(path));
}
