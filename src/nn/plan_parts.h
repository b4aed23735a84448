#pragma once
/* plan_parts.h: the inside of a plan, for plan.c, its parts (lower.c, fold.c, memory.c) and its tests only.
 *
 * um_plan_new runs the parts in this order: um_lower makes steps of the graph's nodes and values of their results; um_backend.take groups steps to kernels; um_place gives each value that needs it memory.
 */
#include "src/nn/plan.h"

enum { UM_VALUE_IMAGES = 0 }; /* the value that holds the run's input */
enum { UM_ALIGN_BYTES = 64, UM_SLACK_BYTES = 64 }; /* of every value, as backend.h promises */

typedef struct um_value {
    size_t bytes;  /* for the whole batch, without slack */
    um_dtype type;
    int n_readers; /* operands of steps; the plan's output counts as one */
    int first, last; /* kernels: the one that writes it (-1: the caller), the last one that reads it */
    size_t offset; /* in the arena */
    bool placed;   /* false: lives within one kernel, or is not used */
} um_value;

/* Where the constants of a step come from: indices of nodes, -1: none. */
typedef struct um_source {
    int filter; /* CONV, DEPTHWISE, DENSE; or a BATCH_NORM that stands alone */
    int norm;   /* BATCH_NORM folded into it */
    int act;    /* ACT with slopes */
} um_source;

typedef struct um_group {
    int first, n; /* steps */
    um_kernel *kernel;
    size_t constants; /* offset */
} um_group;

struct um_plan {
    const um_graph *graph;
    const um_backend *backend;
    um_plan_options options;
    um_step *step;
    um_source *source; /* of each step */
    int n_steps, cap_steps;
    um_value *value;
    int n_values, cap_values;
    int output; /* value */
    um_group *group;
    int n_groups;
    size_t image_bytes, output_bytes; /* of the batch */
    size_t constant_bytes, arena_bytes, scratch_bytes;
    const unsigned char *constants; /* NULL before um_plan_attach */
    void *on_device;                /* the plan's own copy of them; NULL without a device */
};

struct um_run {
    const um_plan *plan;
    unsigned char *memory; /* arena, then scratch: of the device, where there is one */
    void **value;          /* [n_values]; NULL where a value has no memory */
    int n;                 /* images of the run that was begun */
    unsigned char *images; /* with a device: what its copies read and write */
    float *out;
    um_tape *tape;
};

/* Fills step, source, value and output. Errors: UM_DATA, UM_NO_MEMORY. */
um_status um_lower(um_plan *p);
/* Places the values; fills arena_bytes. Errors: UM_NO_MEMORY. */
um_status um_place(um_plan *p);
/* The constants of step i, made of params in memory of *f's, valid until the next call. Errors: UM_DATA. */
typedef struct um_fold {
    float *weight, *bias, *slope;
} um_fold;
size_t um_fold_weight_count(const um_step *s); /* 0: the step has none */
um_status um_fold_step(const um_plan *p, int i, const float *params, const um_fold *f);
static inline size_t um_align(size_t bytes) { return (bytes + UM_ALIGN_BYTES - 1) / UM_ALIGN_BYTES * UM_ALIGN_BYTES; }
