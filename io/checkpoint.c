#include "io/checkpoint.h"

#include "io/h5image.h"
#include "io/jsontext.h"
#include "io/model_check.h"
#include "src/core/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIND   "checkpoint"
#define FORMAT "unmask-checkpoint 1"
#define PREFIX "checkpoint-"

enum { STATE_BYTES = 2048, CONFIG_BYTES = 60000, KEPT = 2 };
static const size_t MOST_BYTES = (size_t)8 << 30;
static const char *const slot_name[UM_CHECKPOINT_SLOTS] = {"optimizer/m", "optimizer/v"};

void um_checkpoint_release(um_checkpoint *c)
{
    free(c->config);
    free(c->params);
    for (int i = 0; i < UM_CHECKPOINT_SLOTS; i++) free(c->slot[i]);
    free(c->average);
    c->config = NULL;
    c->params = c->average = NULL;
    for (int i = 0; i < UM_CHECKPOINT_SLOTS; i++) c->slot[i] = NULL;
}

/* ---- the state as text ---- */

static um_status write_state(const um_checkpoint *c, um_buf *out)
{
    const char *separator = "{";
#define X(name)                                                                                \
    UM_PASS(um_buf_printf(out, "%s\"" #name "\": %" PRId64, separator, c->name)); \
    separator = ", ";
    UM_CHECKPOINT_COUNTERS(X)
#undef X
#define X(name)                                                        \
    UM_PASS(um_buf_add_str(out, ", \"" #name "\": "));   \
    UM_PASS(um_buf_add_real(out, c->name));
    UM_CHECKPOINT_FIGURES(X)
#undef X
    return um_buf_add_str(out, "}");
}

static bool read_state(const char *text, um_checkpoint *c)
{
    um_jsontext t = {text, text + strlen(text)};
    const char *separator = "{";
#define X(name)                                                                                                     \
    if (!um_jsontext_skip(&t, separator) || !um_jsontext_skip(&t, "\"" #name "\": ") || !um_jsontext_int(&t, &c->name)) return false; \
    separator = ", ";
    UM_CHECKPOINT_COUNTERS(X)
#undef X
#define X(name) \
    if (!um_jsontext_skip(&t, ", \"" #name "\": ") || !um_jsontext_real(&t, &c->name)) return false;
    UM_CHECKPOINT_FIGURES(X)
#undef X
    return um_jsontext_skip(&t, "}") && t.p == t.end;
}

/* ---- writing ---- */

static um_status check_array(const um_graph *g, const char *what, const float *x, bool variances)
{
    for (int i = 0; i < g->n_params; i++) {
        um_param p = g->param[i];
        if (!variances && p.kind == UM_PARAM_BN_VAR) p.kind = UM_PARAM_BN_MEAN; /* of moments any sign will do */
        UM_TRY(um_model_check_numbers(&p, x + p.offset), "%s", what);
    }
    return UM_OK;
}

static um_status add_array(um_h5image *im, const um_graph *g, const char *name, const float *x, bool variances)
{
    hsize_t n = (hsize_t)g->param_count;
    if (x == NULL) return UM_OK;
    UM_PASS(check_array(g, name, x, variances));
    return um_h5image_add(im, name, H5T_IEEE_F32LE, 1, &n, x);
}

um_status um_checkpoint_write(um_vfs *vfs, const char *path, const um_graph *g, const um_checkpoint *c)
{
    um_status st;
    um_h5image *im = NULL;
    um_buf state = {0};
    if (c->param_count != g->param_count) return UM_FAIL(UM_INTERNAL, "a checkpoint of %" PRId64 " parameters for a network of %" PRId64, c->param_count, g->param_count);
    UM_GOTO_PASS(st, write_state(c, &state));
    UM_GOTO_PASS(st, um_h5image_new(KIND, &im));
    UM_GOTO_PASS(st, um_h5image_add_text(im, "format", FORMAT));
    UM_GOTO_PASS(st, um_h5image_add_text(im, "config", c->config));
    UM_GOTO_PASS(st, um_h5image_add_text(im, "state", (char *)state.data));
    UM_GOTO_PASS(st, um_h5image_add_text(im, "created_by", "unmask " UNMASK_VERSION));
    UM_GOTO_PASS(st, add_array(im, g, "params", c->params, true));
    for (int i = 0; i < UM_CHECKPOINT_SLOTS; i++) UM_GOTO_PASS(st, add_array(im, g, slot_name[i], c->slot[i], false));
    UM_GOTO_PASS(st, add_array(im, g, "average", c->average, true));
    st = um_h5image_write(im, vfs, path);
done:
    um_h5image_free(im);
    um_buf_release(&state);
    return st == UM_OK ? UM_OK : um_err_note(st, "cannot write the checkpoint %s", um_quote(path));
}

/* ---- reading ---- */

static um_status get_array(um_h5image *im, const um_graph *g, const char *name, float **out, bool variances)
{
    hsize_t n = (hsize_t)g->param_count, dims[UM_H5IMAGE_MAX_RANK];
    int rank;
    UM_PASS(um_h5image_shape(im, name, &rank, dims));
    if (rank != 1 || dims[0] != n) return UM_FAIL(UM_DATA, "its %s have %llu numbers, the network has %" PRId64, name, (unsigned long long)(rank == 1 ? dims[0] : 0), g->param_count);
    *out = malloc((size_t)g->param_count * sizeof **out);
    if (*out == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " numbers", g->param_count);
    UM_PASS(um_h5image_get(im, name, H5T_IEEE_F32LE, 1, &n, *out));
    return check_array(g, name, *out, variances);
}

um_status um_checkpoint_read(um_vfs *vfs, const char *path, const um_graph *g, um_checkpoint *out)
{
    um_status st;
    um_h5image *im = NULL;
    char state[STATE_BYTES];
    *out = (um_checkpoint){.param_count = g->param_count, .config = calloc(1, CONFIG_BYTES + 1)};
    if (out->config == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for a configuration"));
    UM_GOTO_PASS(st, um_h5image_read(vfs, path, KIND, MOST_BYTES, &im));
    UM_GOTO_PASS(st, um_h5image_get_text(im, "format", state, sizeof state));
    if (strcmp(state, FORMAT) != 0) UM_GOTO_PASS(st, UM_FAIL(UM_DATA, "its format is %s; this program reads '" FORMAT "'", um_quote(state)));
    UM_GOTO_PASS(st, um_h5image_get_text(im, "config", out->config, CONFIG_BYTES + 1));
    UM_GOTO_PASS(st, um_h5image_get_text(im, "state", state, sizeof state));
    if (!read_state(state, out)) UM_GOTO_PASS(st, UM_FAIL(UM_DATA, "its state is %s", um_quote(state)));
    UM_GOTO_PASS(st, get_array(im, g, "params", &out->params, true));
    for (int i = 0; i < UM_CHECKPOINT_SLOTS; i++)
        if (um_h5image_has(im, slot_name[i])) UM_GOTO_PASS(st, get_array(im, g, slot_name[i], &out->slot[i], false));
    if (um_h5image_has(im, "average")) UM_GOTO_PASS(st, get_array(im, g, "average", &out->average, true));
done:
    um_h5image_free(im);
    if (st == UM_OK) return UM_OK;
    um_checkpoint_release(out);
    return um_err_note(st, "cannot use the checkpoint %s", um_quote(path));
}

/* ---- the folder ---- */

/* Digits of the step in a name, then ".h5" or more. NULL: no such name. */
static const char *after_number(const char *name)
{
    const char *at = name + sizeof PREFIX - 1;
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0) return NULL;
    const char *first = at;
    while (*at >= '0' && *at <= '9') at++;
    return at > first && strncmp(at, ".h5", 3) == 0 ? at + 3 : NULL;
}

static bool is_whole(const char *name)
{
    const char *end = after_number(name);
    return end != NULL && *end == 0;
}

bool um_checkpoint_is_name(const char *name)
{
    const char *end = after_number(name);
    size_t n = end != NULL ? strlen(end) : 0;
    return end != NULL && (n == 0 || (n > 4 && strcmp(end + n - 4, ".tmp") == 0));
}

static um_status path_of(const char *folder, const char *name, um_buf *out)
{
    um_buf_clear(out);
    return um_buf_printf(out, "%s/%s", folder, name);
}

/* Older than the newest KEPT up to `newest`: they go. Newer ones are of a future that was left behind (a damaged checkpoint was passed over): they go too, or a later start would take them up. */
static um_status remove_others(um_vfs *vfs, const char *folder, const char *newest)
{
    um_names names;
    um_buf path = {0};
    int kept = 0;
    um_status st = um_vfs_list(vfs, folder, &names);
    for (int i = names.n - 1; st == UM_OK && i >= 0; i--) {
        bool whole = is_whole(names.name[i]);
        if (!um_checkpoint_is_name(names.name[i])) continue;
        if (whole && strcmp(names.name[i], newest) <= 0 && kept++ < KEPT) continue;
        st = path_of(folder, names.name[i], &path);
        if (st == UM_OK) st = um_vfs_unlink(vfs, (char *)path.data);
        if (st == UM_MISSING) {
            um_err_clear();
            st = UM_OK;
        }
    }
    um_names_release(&names);
    um_buf_release(&path);
    return st;
}

um_status um_checkpoint_save(um_vfs *vfs, const char *folder, const um_graph *g, const um_checkpoint *c)
{
    um_buf path = {0};
    um_h5image *back = NULL;
    char name[64];
    snprintf(name, sizeof name, PREFIX "%012" PRId64 ".h5", c->step); /* sorted by bytes is sorted by step */
    um_status st = path_of(folder, name, &path);
    if (st == UM_OK) st = um_checkpoint_write(vfs, (char *)path.data, g, c);
    /* Only what was read back from the disk may replace an older one. */
    if (st == UM_OK) {
        st = um_h5image_read(vfs, (char *)path.data, KIND, MOST_BYTES, &back);
        um_h5image_free(back);
        if (st != UM_OK) um_err_note(st, "the checkpoint that was just written cannot be read");
    }
    if (st == UM_OK) st = remove_others(vfs, folder, name);
    um_buf_release(&path);
    return st;
}

um_status um_checkpoint_load(um_vfs *vfs, const char *folder, const um_graph *g, um_checkpoint *out)
{
    um_names names;
    um_buf path = {0};
    int left_out = 0;
    *out = (um_checkpoint){0};
    um_status st = um_vfs_list(vfs, folder, &names);
    if (st == UM_MISSING) {
        um_err_clear();
        return UM_END;
    }
    UM_PASS(st);
    st = UM_END;
    for (int i = names.n - 1; st == UM_END && i >= 0; i--) {
        if (!is_whole(names.name[i])) continue;
        um_status one = path_of(folder, names.name[i], &path);
        if (one == UM_OK) one = um_checkpoint_read(vfs, (char *)path.data, g, out);
        if (one == UM_DATA || one == UM_TOO_LARGE) {
            um_log(UM_LOG_WARN, "%s: left out", um_err_text());
            um_err_clear();
            left_out++;
            continue;
        }
        st = one;
    }
    if (st == UM_OK && left_out > 0) um_log(UM_LOG_WARN, "going on from the older %s: the steps after it are done again", um_quote((char *)path.data));
    if (st == UM_END && left_out > 0) st = UM_FAIL(UM_DATA, "none of the %d checkpoints in %s can be used; --fresh starts over", left_out, um_quote(folder));
    um_names_release(&names);
    um_buf_release(&path);
    return st;
}
