#include "src/nn/plan_parts.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_BATCH = 4096 };

static um_status check_options(const um_graph *g, const um_backend *b, const um_plan_options *o)
{
    if (g->status != UM_OK || g->output < 0) return UM_FAIL(UM_DATA, "the graph is not finished");
    if (o->batch < 1 || o->batch > MAX_BATCH) return UM_FAIL(UM_CONFIG, "a batch of %d images: from 1 to %d are accepted", o->batch, MAX_BATCH);
    if (o->precision != UM_F32 && o->precision != UM_BF16) return UM_FAIL(UM_CONFIG, "a network computes in f32 or bf16");
    if (!b->has(o->precision)) return UM_FAIL(UM_CONFIG, "this machine does not compute in %s (backend %s)", o->precision == UM_BF16 ? "bf16" : "f32", b->name);
    for (int c = 0; c < 3; c++)
        if (!(o->std[c] > 0)) return UM_FAIL(UM_CONFIG, "the standard deviation of input channel %d is %g", c, (double)o->std[c]);
    return UM_OK;
}

enum { MERGE_MAX = 8 };

/* Is what the steps i .. i + n - 1 write, except the last one's output, read by them alone? Only such steps may be merged to one kernel. */
static bool is_closed(const um_plan *p, int i, int n)
{
    for (int j = i; j < i + n; j++)
        for (int means = 0; means < 2; means++) {
            int value = means ? p->step[j].means : p->step[j].out, readers = 0;
            if (value < 0 || (!means && j == i + n - 1)) continue;
            for (int r = j + 1; r < i + n; r++)
                readers += (p->step[r].in == value) + (p->step[r].residual == value) + (p->step[r].gate == value);
            if (readers != p->value[value].n_readers) return false;
        }
    return true;
}

/* How many steps from i on the backend does as one kernel. */
static int merged(const um_plan *p, int i)
{
    int n = p->n_steps - i < MERGE_MAX ? p->n_steps - i : MERGE_MAX, taken;
    while ((taken = p->backend->take(&p->step[i], n)) > 1 && taken <= n && !is_closed(p, i, taken)) n = taken - 1;
    return taken <= n ? taken : 0;
}

static um_status make_groups(um_plan *p)
{
    p->group = calloc((size_t)p->n_steps, sizeof *p->group);
    if (p->group == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a plan of %d steps", p->n_steps);
    for (int i = 0; i < p->n_steps;) {
        um_group *g = &p->group[p->n_groups];
        int taken = merged(p, i);
        size_t scratch;
        if (taken < 1) return UM_FAIL(UM_INTERNAL, "backend %s takes no step, or more than there are, from step %d on", p->backend->name, i);
        UM_TRY(p->backend->kernel_new(&p->step[i], taken, &g->kernel), "cannot make a kernel of step %d for backend %s", i, p->backend->name);
        g->first = i;
        g->n = taken;
        g->constants = p->constant_bytes;
        p->n_groups++;
        p->constant_bytes += um_align(p->backend->constant_bytes(g->kernel) + UM_SLACK_BYTES);
        scratch = p->backend->scratch_bytes(g->kernel);
        if (scratch > p->scratch_bytes) p->scratch_bytes = scratch;
        i += taken;
    }
    return UM_OK;
}

um_status um_plan_new(const um_graph *g, const um_backend *b, const um_plan_options *o, um_plan **out)
{
    um_status st = UM_OK;
    um_plan *p;
    *out = NULL;
    UM_PASS(check_options(g, b, o));
    p = calloc(1, sizeof *p);
    if (p == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a plan");
    p->graph = g;
    p->backend = b;
    p->options = *o;
    UM_GOTO_PASS(st, um_lower(p));
    UM_GOTO_PASS(st, make_groups(p));
    UM_GOTO_PASS(st, um_place(p));
    p->image_bytes = p->value[UM_VALUE_IMAGES].bytes;
    p->output_bytes = p->value[p->output].bytes;
    *out = p;
done:
    if (st != UM_OK) um_plan_free(p);
    return st;
}

void um_plan_free(um_plan *p)
{
    if (p == NULL) return;
    if (p->on_device != NULL) p->backend->device->memory_free(p->on_device);
    for (int i = 0; i < p->n_groups; i++) p->backend->kernel_free(p->group[i].kernel);
    free(p->group);
    free(p->step);
    free(p->source);
    free(p->value);
    free(p);
}

size_t um_plan_constant_bytes(const um_plan *p) { return p->constant_bytes; }

static size_t memory_bytes(const um_plan *p) { return um_align(p->arena_bytes) + um_align(p->scratch_bytes + UM_SLACK_BYTES); }

size_t um_plan_run_bytes(const um_plan *p) { return memory_bytes(p) + sizeof(um_run) + (size_t)p->n_values * sizeof(void *); }

/* Folded constants of one group at a time. */
typedef struct folded {
    float *memory; /* of all of `fold` */
    um_fold *fold;
    um_step_weights *weights;
} folded;

static size_t fold_floats(const um_step *s) { return um_fold_weight_count(s) + 2 * (size_t)s->k; }

static um_status folded_new(const um_plan *p, folded *f)
{
    size_t most = 0;
    int most_steps = 1;
    for (int i = 0; i < p->n_groups; i++) {
        size_t n = 0;
        for (int j = 0; j < p->group[i].n; j++) n += fold_floats(&p->step[p->group[i].first + j]);
        if (n > most) most = n;
        if (p->group[i].n > most_steps) most_steps = p->group[i].n;
    }
    f->memory = malloc((most > 0 ? most : 1) * sizeof *f->memory);
    f->fold = calloc((size_t)most_steps, sizeof *f->fold);
    f->weights = calloc((size_t)most_steps, sizeof *f->weights);
    if (f->memory == NULL || f->fold == NULL || f->weights == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for the weights of one layer (%zu numbers)", most);
    return UM_OK;
}

static um_status fold_group(const um_plan *p, const um_group *g, const float *params, const folded *f)
{
    float *at = f->memory;
    for (int j = 0; j < g->n; j++) {
        const um_step *s = &p->step[g->first + j];
        const um_source *from = &p->source[g->first + j];
        um_fold *o = &f->fold[j];
        o->weight = at;
        o->bias = o->weight + um_fold_weight_count(s);
        o->slope = o->bias + s->k;
        at = o->slope + s->k;
        UM_PASS(um_fold_step(p, g->first + j, params, o));
        f->weights[j] = (um_step_weights){from->filter >= 0 ? o->weight : NULL, from->filter >= 0 ? o->bias : NULL, from->act >= 0 ? o->slope : NULL};
    }
    return UM_OK;
}

um_status um_plan_pack(um_plan *p, const float *params, void *constants)
{
    um_status st = UM_OK;
    folded f = {0};
    unsigned char *to = constants;
    UM_GOTO_PASS(st, folded_new(p, &f));
    memset(to, 0, p->constant_bytes); /* gaps too: equal parameters give equal bytes */
    for (int i = 0; i < p->n_groups; i++) {
        UM_GOTO_PASS(st, fold_group(p, &p->group[i], params, &f));
        UM_GOTO_PASS(st, p->backend->pack(p->group[i].kernel, f.weights, to + p->group[i].constants));
    }
done:
    free(f.memory);
    free(f.fold);
    free(f.weights);
    return st;
}

um_status um_plan_attach(um_plan *p, const void *constants)
{
    const um_device_ops *d = p->backend->device;
    p->constants = constants;
    if (d == NULL) return UM_OK;
    if (p->on_device == NULL) UM_TRY(d->memory_new(p->constant_bytes, &p->on_device), "cannot hold the weights of a network");
    p->constants = p->on_device;
    return d->upload(p->on_device, constants, p->constant_bytes);
}

static um_status run_kernels(const um_run *r, void *stream)
{
    const um_plan *p = r->plan;
    void *scratch = r->memory + um_align(p->arena_bytes);
    for (int i = 0; i < p->n_groups; i++) UM_PASS(p->backend->run(p->group[i].kernel, p->constants + p->group[i].constants, r->value, scratch, stream));
    return UM_OK;
}

static um_status record(void *user, void *stream)
{
    const um_run *r = user;
    const um_plan *p = r->plan;
    const um_device_ops *d = p->backend->device;
    UM_PASS(d->copy(r->value[UM_VALUE_IMAGES], r->images, p->image_bytes, stream));
    UM_PASS(run_kernels(r, stream));
    return d->copy(r->out, r->value[p->output], p->output_bytes, stream);
}

static um_status allocate(um_run *r, size_t bytes)
{
    const um_plan *p = r->plan;
    const um_device_ops *d = p->backend->device;
    void *memory = NULL, *images = NULL, *out = NULL;
    if (d == NULL) {
        memory = aligned_alloc(UM_ALIGN_BYTES, bytes);
        if (memory == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for the maps of a network (%zu MB)", bytes >> 20);
        memset(memory, 0, bytes); /* so that the pages are there before the first image */
        r->memory = memory;
        return UM_OK;
    }
    um_status st = d->memory_new(bytes, &memory);
    if (st == UM_OK) st = d->host_new(p->image_bytes, &images);
    if (st == UM_OK) st = d->host_new(p->output_bytes, &out);
    r->memory = memory;
    r->images = images;
    r->out = out;
    if (st != UM_OK) return um_err_note(st, "cannot hold the maps of a network for %d images", p->options.batch);
    memset(images, 0, p->image_bytes); /* what pads a batch is computed, too */
    return UM_OK;
}

um_status um_run_new(const um_plan *p, um_run **out)
{
    um_status st = UM_OK;
    um_run *r = calloc(1, sizeof *r);
    *out = NULL;
    if (r == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a run");
    r->plan = p;
    r->value = calloc((size_t)p->n_values, sizeof *r->value);
    if (r->value == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "out of memory for a run"));
    UM_GOTO_PASS(st, allocate(r, memory_bytes(p)));
    for (int i = 0; i < p->n_values; i++)
        if (p->value[i].placed) r->value[i] = r->memory + p->value[i].offset;
    if (p->backend->device != NULL) UM_GOTO_PASS(st, p->backend->device->tape_new(record, r, &r->tape));
    *out = r;
done:
    if (st != UM_OK) um_run_free(r);
    return st;
}

void um_run_free(um_run *r)
{
    if (r == NULL) return;
    const um_device_ops *d = r->plan->backend->device;
    if (d != NULL) {
        d->tape_free(r->tape);
        d->memory_free(r->memory);
        d->host_free(r->images);
        d->host_free(r->out);
    } else
        free(r->memory);
    free(r->value);
    free(r);
}

um_status um_run_begin(um_run *r, const uint8_t *images, int n)
{
    const um_plan *p = r->plan;
    const um_device_ops *d = p->backend->device;
    if (n < 1 || n > p->options.batch) return UM_FAIL(UM_INTERNAL, "%d images for a plan of %d", n, p->options.batch);
    r->n = n;
    /* Copied, because a kernel wants its input aligned and may read behind it: a thousandth of the time of the net. */
    memcpy(d != NULL ? r->images : r->value[UM_VALUE_IMAGES], images, p->image_bytes / (size_t)p->options.batch * (size_t)n);
    return d != NULL ? d->tape_begin(r->tape) : run_kernels(r, NULL);
}

um_status um_run_end(um_run *r, float *out)
{
    const um_plan *p = r->plan;
    const um_device_ops *d = p->backend->device;
    if (d != NULL) UM_PASS(d->tape_end(r->tape));
    memcpy(out, d != NULL ? r->out : r->value[p->output], p->output_bytes / (size_t)p->options.batch * (size_t)r->n);
    return UM_OK;
}
