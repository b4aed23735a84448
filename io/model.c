#include "io/model.h"

#include "io/h5image.h"
#include "io/model_check.h"
#include "io/safetensors.h"
#include "io/vfs_table.h"
#include "src/core/buf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIND   "model"
#define FORMAT "unmask-model 1"

um_status um_model_check_numbers(const um_param *p, const float *x)
{
    for (int64_t i = 0; i < p->count; i++) {
        if (!isfinite(x[i])) return UM_FAIL(UM_DATA, "the tensor %s holds a number that is not finite", p->name);
        if (p->kind == UM_PARAM_BN_VAR && x[i] < 0) return UM_FAIL(UM_DATA, "the tensor %s holds a negative variance: %g", p->name, (double)x[i]);
    }
    return UM_OK;
}

/* ---- writing ---- */

/* The fewest digits that give the same number back: 3.1, not 3.1000000000000001. f32: the same f32. */
static void shortest(double x, bool f32, char out[32])
{
    for (int digits = 6; digits <= 17; digits++) { /* %g leaves zeros at the end out */
        snprintf(out, 32, "%.*g", digits, x);
        double back = strtod(out, NULL);
        if (f32 ? (float)back == (float)x : back == x) return;
    }
}

static um_status add_number(um_h5image *im, const char *name, double x)
{
    char text[32];
    shortest(x, false, text);
    return um_h5image_add_text(im, name, text);
}

static um_status add_triple(um_h5image *im, const char *name, const float x[3])
{
    char one[3][32], text[100];
    for (int i = 0; i < 3; i++) shortest((double)x[i], true, one[i]);
    snprintf(text, sizeof text, "%s %s %s", one[0], one[1], one[2]);
    return um_h5image_add_text(im, name, text);
}

static um_status add_attributes(um_h5image *im, const um_model *m)
{
    UM_PASS(um_h5image_add_text(im, "format", FORMAT));
    UM_PASS(um_h5image_add_text(im, "arch", m->net.name));
    UM_PASS(add_number(im, "width", m->net.width));
    UM_PASS(add_number(im, "depth", m->net.depth));
    UM_PASS(add_number(im, "size", m->size_px));
    UM_PASS(um_h5image_add_text(im, "head", m->has_head ? "true" : "false"));
    UM_PASS(add_triple(im, "mean", m->mean));
    UM_PASS(add_triple(im, "std", m->std));
    UM_PASS(um_h5image_add_text(im, "source", m->source));
    UM_PASS(um_h5image_add_text(im, "source_sha256", m->source_sha256));
    return um_h5image_add_text(im, "created_by", "unmask " UNMASK_VERSION);
}

/* The list of the model's parameters. */
static um_status graph_of(const um_model *m, um_graph **g)
{
    UM_PASS(um_efficientnet_graph(&m->net, m->size_px, m->has_head, 0, 0, g));
    if ((*g)->param_count == m->param_count) return UM_OK;
    um_graph_free(*g);
    *g = NULL;
    return UM_FAIL(UM_INTERNAL, "a model of %lld numbers is not the network %s", (long long)m->param_count, m->net.name);
}

static void dims_of(const um_param *p, hsize_t dims[4])
{
    for (int d = 0; d < p->n_dims; d++) dims[d] = (hsize_t)p->dims[d];
}

um_status um_model_write(um_vfs *vfs, const char *path, const um_model *m)
{
    um_status st;
    um_h5image *im = NULL;
    um_graph *g = NULL;
    UM_GOTO_PASS(st, graph_of(m, &g));
    UM_GOTO_PASS(st, um_h5image_new(KIND, &im));
    UM_GOTO_PASS(st, add_attributes(im, m));
    for (int i = 0; i < g->n_params; i++) {
        const um_param *p = &g->param[i];
        hsize_t dims[4];
        UM_GOTO_PASS(st, um_model_check_numbers(p, m->params + p->offset));
        dims_of(p, dims);
        UM_GOTO_PASS(st, um_h5image_add(im, p->name, H5T_IEEE_F32LE, p->n_dims, dims, m->params + p->offset));
    }
    st = um_h5image_write(im, vfs, path);
done:
    um_h5image_free(im);
    um_graph_free(g);
    return st == UM_OK ? UM_OK : um_err_note(st, "cannot write the model %s", um_quote(path));
}

/* ---- reading ---- */

/* n numbers between single blanks, and nothing else. */
static um_status get_numbers(um_h5image *im, const char *name, double *out, int n)
{
    char text[128], *at = text;
    UM_PASS(um_h5image_get_text(im, name, text, sizeof text));
    for (int i = 0; i < n; i++) {
        char *end;
        out[i] = strtod(at, &end);
        if (end == at || *end != (i + 1 < n ? ' ' : 0) || !isfinite(out[i])) return UM_FAIL(UM_DATA, "its attribute %s is %s", name, um_quote(text));
        at = end + 1;
    }
    return UM_OK;
}

static um_status get_attributes(um_h5image *im, um_model *m)
{
    char text[64];
    double x[3], width, depth;
    UM_PASS(um_h5image_get_text(im, "format", text, sizeof text));
    if (strcmp(text, FORMAT) != 0) return UM_FAIL(UM_DATA, "its format is %s; this program reads '" FORMAT "'. Import the model again", um_quote(text));
    UM_PASS(um_h5image_get_text(im, "arch", text, sizeof text));
    if (um_efficientnet_parse(text, &m->net) != UM_OK) return um_err_note(UM_DATA, "its attribute arch is %s", um_quote(text));
    UM_PASS(get_numbers(im, "width", &width, 1));
    UM_PASS(get_numbers(im, "depth", &depth, 1));
    if (width != m->net.width || depth != m->net.depth) return UM_FAIL(UM_DATA, "its attributes width %g and depth %g are not those of %s", width, depth, m->net.name);
    UM_PASS(get_numbers(im, "size", x, 1));
    m->size_px = x[0] >= 1 && x[0] <= 65536 ? (int)x[0] : 0; /* um_efficientnet_graph has the limits */
    UM_PASS(um_h5image_get_text(im, "head", text, sizeof text));
    m->has_head = strcmp(text, "true") == 0;
    if (!m->has_head && strcmp(text, "false") != 0) return UM_FAIL(UM_DATA, "its attribute head is %s", um_quote(text));
    UM_PASS(get_numbers(im, "mean", x, 3));
    for (int i = 0; i < 3; i++) m->mean[i] = (float)x[i];
    UM_PASS(get_numbers(im, "std", x, 3));
    for (int i = 0; i < 3; i++) {
        m->std[i] = (float)x[i];
        if (!(m->std[i] > 0)) return UM_FAIL(UM_DATA, "its attribute std holds %g", x[i]);
    }
    UM_PASS(um_h5image_get_text(im, "source", m->source, sizeof m->source));
    return um_h5image_get_text(im, "source_sha256", m->source_sha256, sizeof m->source_sha256);
}

/* A name that is not of the network: a file made by another version, or by others. */
static um_status check_names(um_h5image *im, const um_graph *g)
{
    um_names names = {0};
    um_status st = um_h5image_list(im, &names);
    for (int i = 0; st == UM_OK && i < names.n; i++) {
        if (um_graph_find_param(g, names.name[i]) < 0) st = UM_FAIL(UM_DATA, "the tensor %s does not belong to the network", um_quote(names.name[i]));
    }
    /* No name twice, so there are as many as parameters when none is missing: um_h5image_get finds which is. */
    um_names_release(&names);
    return st;
}

um_status um_model_read(um_vfs *vfs, const char *path, um_model *out)
{
    um_status st;
    um_h5image *im = NULL;
    um_graph *g = NULL;
    *out = (um_model){0};
    UM_GOTO_PASS(st, um_h5image_read(vfs, path, KIND, UM_MODEL_MAX_BYTES, &im));
    UM_GOTO_PASS(st, get_attributes(im, out));
    st = um_efficientnet_graph(&out->net, out->size_px, out->has_head, 0, 0, &g);
    if (st == UM_USAGE) st = UM_DATA; /* what the file says, not the user */
    if (st != UM_OK) goto done;
    UM_GOTO_PASS(st, check_names(im, g));
    /* All shapes before any memory: an arch is a few letters, and may promise more than the file has. */
    for (int i = 0; i < g->n_params; i++) {
        hsize_t dims[UM_H5IMAGE_MAX_RANK];
        int rank;
        UM_GOTO_PASS(st, um_h5image_shape(im, g->param[i].name, &rank, dims));
        bool same = rank == g->param[i].n_dims;
        for (int d = 0; same && d < rank; d++) same = dims[d] == (hsize_t)g->param[i].dims[d];
        if (!same) UM_GOTO_PASS(st, UM_FAIL(UM_DATA, "the tensor %s has another shape than in %s", g->param[i].name, out->net.name));
    }
    out->param_count = g->param_count;
    out->params = malloc((size_t)g->param_count * sizeof *out->params);
    if (out->params == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %lld parameters", (long long)g->param_count));
    for (int i = 0; i < g->n_params; i++) {
        const um_param *p = &g->param[i];
        hsize_t dims[4];
        dims_of(p, dims);
        UM_GOTO_PASS(st, um_h5image_get(im, p->name, H5T_IEEE_F32LE, p->n_dims, dims, out->params + p->offset));
        UM_GOTO_PASS(st, um_model_check_numbers(p, out->params + p->offset));
    }
    um_model_seal(out);
done:
    um_h5image_free(im);
    um_graph_free(g);
    if (st == UM_OK) return UM_OK;
    um_model_release(out);
    return um_err_note(st, "cannot read the model %s", um_quote(path));
}

/* ---- export ---- */

um_status um_model_export(um_vfs *vfs, const char *path, const um_model *m)
{
    um_status st;
    um_graph *g = NULL;
    um_torch_tensor *tensor = NULL;
    char size[16];
    UM_GOTO_PASS(st, graph_of(m, &g));
    tensor = calloc((size_t)g->n_params, sizeof *tensor);
    if (tensor == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %d tensors", g->n_params));
    for (int i = 0; i < g->n_params; i++) {
        tensor[i].name = g->param[i].name;
        tensor[i].n_dims = g->param[i].n_dims;
        for (int d = 0; d < g->param[i].n_dims; d++) tensor[i].dims[d] = g->param[i].dims[d];
    }
    snprintf(size, sizeof size, "%d", m->size_px);
    const um_safetensors_text metadata[3] = {{"format", "pt"}, {"arch", m->net.name}, {"size", size}};
    st = um_safetensors_write(vfs, path, tensor, g->n_params, m->params, metadata, 3);
done:
    free(tensor);
    um_graph_free(g);
    return st == UM_OK ? UM_OK : um_err_note(st, "cannot export the model to %s", um_quote(path));
}

/* ---- finding ---- */

bool um_model_is(um_vfs *vfs, const char *path)
{
    static const char start[] = "unmask-h5 1\nkind " KIND "\n";
    char head[sizeof start - 1];
    um_vfs_file *f;
    int64_t size;
    if (um_vfs_open(vfs, path, &f, &size) != UM_OK) {
        um_err_clear();
        return false;
    }
    bool is = size >= (int64_t)sizeof head && um_vfs_read(f, head, sizeof head, 0) == UM_OK && memcmp(head, start, sizeof head) == 0;
    um_vfs_drop(f);
    return is;
}

um_status um_model_list(um_vfs *vfs, const char *folder, um_names *out)
{
    um_names all = {0};
    um_buf path = {0};
    um_status st;
    *out = (um_names){0};
    UM_GOTO_PASS(st, um_vfs_list(vfs, folder, &all));
    for (int i = 0; i < all.n; i++) {
        size_t n = strlen(all.name[i]);
        if (n < 4 || strcmp(all.name[i] + n - 3, ".h5") != 0) continue;
        um_buf_clear(&path);
        UM_GOTO_PASS(st, um_buf_printf(&path, "%s/%s", folder, all.name[i]));
        if (!um_model_is(vfs, (char *)path.data)) continue;
        if (um_names_add(out, (char *)path.data) < 0) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for names"));
    }
done:
    um_names_release(&all);
    um_buf_release(&path);
    if (st != UM_OK) um_names_release(out);
    return st;
}
