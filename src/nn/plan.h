#pragma once
/* plan.h: a graph made ready to run: one batch size, one precision, one backend.
 *
 *     um_plan *p; UM_PASS(um_plan_new(graph, &um_backend_cpu, &options, &p));
 *     void *c = aligned_alloc(64, um_plan_constant_bytes(p));          // or memory shared between processes
 *     UM_PASS(um_plan_pack(p, params, c));                              // one of them packs,
 *     UM_PASS(um_plan_attach(p, c));                                    // all attach
 *     um_run *r; UM_PASS(um_run_new(p, &r));                            // one per thread: activations and scratch
 *     UM_PASS(um_run_begin(r, images, n)); UM_PASS(um_run_end(r, logits)); // allocates nothing
 *
 * A plan is read-only once attached and may be shared by threads; a um_run belongs to one thread. The result of an image does not depend on its place in the batch, on the other images, or on the number
 * of threads.
 *
 * On a backend with a device (um_device_ops) um_plan_attach copies the constants there, um_run_new records the plan, um_run_begin starts it and returns, so that a second um_run of the plan can be filled while the first computes. All
 * runs of a plan are then of one thread.
 */
#include "src/nn/backend.h"

typedef struct um_plan_options {
    int batch;          /* images of one run, at most */
    um_dtype precision; /* of activations and weights between the layers: UM_F32 or UM_BF16 */
    float mean[3], std[3]; /* the input is U8: (x/255 - mean) / std */
} um_plan_options;

typedef struct um_plan um_plan;
typedef struct um_run um_run;

/* Errors: UM_CONFIG (precision that the backend lacks here), UM_DATA (graph without what a plan needs), UM_NO_MEMORY. The graph must outlive the plan. */
um_status um_plan_new(const um_graph *g, const um_backend *b, const um_plan_options *o, um_plan **out);
void um_plan_free(um_plan *p);
size_t um_plan_constant_bytes(const um_plan *p);
size_t um_plan_run_bytes(const um_plan *p); /* what one um_run holds */
/* params: [g->param_count]. Folds batch norm in f64, packs into `constants` (64-byte aligned). Errors: UM_DATA (a variance below 0 or a constant that is not finite, named), UM_NO_MEMORY. */
um_status um_plan_pack(um_plan *p, const float *params, void *constants);
/* constants: valid until um_plan_free; with a device, only until this returns. Errors: UM_NO_MEMORY and others of a device. */
um_status um_plan_attach(um_plan *p, const void *constants);

/* The plan is attached. */
um_status um_run_new(const um_plan *p, um_run **out);
void um_run_free(um_run *r);
/* images: (n,H,W,C) U8, n from 1 to the plan's batch; copied before it returns. The rest of the batch is computed, too, of whatever lies there. */
um_status um_run_begin(um_run *r, const uint8_t *images, int n);
/* Waits for what um_run_begin began. out: (n, c of the output) f32. */
um_status um_run_end(um_run *r, float *out);
/* Both, for whoever has nothing to do between them. */
static inline um_status um_run_forward(um_run *r, const uint8_t *images, int n, float *out)
{
    um_status st = um_run_begin(r, images, n);
    return st == UM_OK ? um_run_end(r, out) : st;
}
