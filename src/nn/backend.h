#pragma once
/* backend.h: what a backend must do for inference: a table of functions over fused steps.
 *
 * src/nn/plan.c lowers a graph to steps: batch norm folded into the convolution before it, activation, residual sum, squeeze-and-excite's product and mean fused into their neighbours. A backend makes a
 * kernel of each step once (all choices, all sizes), packs its constants once into memory of the caller (which may be shared between processes), and then runs it any number of times: running allocates
 * nothing, asks the host nothing, and takes an opaque stream (NULL on a CPU), so that a backend of a device records a whole plan once and then only starts it (um_device_ops).
 *
 * Bits: on a CPU backend the result of a step is a pure function of its input and constants: not of the batch, the thread, or what else runs. `cpu` in f32 gives the same bits at every instruction-set
 * level (each output is one chain of fused multiply-adds in an order that the code writes down).
 */
#include "src/core/err.h"
#include "src/nn/graph.h"

typedef enum um_step_kind {
    UM_STEP_CONVERT,   /* U8 (N,H,W,C) -> (x/255 - mean[c]) / std[c] */
    UM_STEP_CONV,      /* act(conv(in * gate) + bias + residual); 1 x 1 on 1 x 1 maps is the dense layer */
    UM_STEP_DEPTHWISE, /* act(depthwise(in) + bias); with `means` >= 0 also the mean over P and Q of what it writes */
    UM_STEP_MEAN,      /* over H and W, to f32 */
    UM_STEP_MAX_POOL,
    UM_STEP_ACT,       /* an activation, sum or product that found no neighbour to fuse with: act(in * gate + residual) */
} um_step_kind;

typedef struct um_step {
    um_step_kind kind;
    um_act act;
    int n, h, w, c; /* in */
    int p, q, k;    /* out */
    int r, s, stride, pad_top, pad_left;
    int in, out;    /* values: indices of the plan's buffers */
    int residual;   /* value of the output's shape, added before the activation; -1: none */
    int gate;       /* value (N,C) f32, multiplies the input; -1: none. Before a CONV of 1 x 1, stride 1 only, and before ACT */
    int means;      /* DEPTHWISE: value (N,K) f32 that receives the means; -1: none */
    um_dtype in_type, out_type; /* The residual has out_type. Gates and means are f32 always, and so is what is computed from means alone: the layers of a gate, the dense head. A step whose in_type is f32
                                 * uses its weights in f32, in a bf16 plan too. */
    float mean[3], std[3];      /* CONVERT */
} um_step;

/* The folded constants of a step, f32, borrowed during um_backend.pack. */
typedef struct um_step_weights {
    const float *weight; /* CONV (K,R,S,C), DEPTHWISE (R,S,C), else NULL */
    const float *bias;   /* (K), never NULL for CONV and DEPTHWISE */
    const float *slope;  /* (K) for PReLU, else NULL */
} um_step_weights;

typedef struct um_kernel um_kernel; /* the backend's own */
typedef struct um_tape um_tape;     /* the backend's own: work recorded for a device */

/* Where a backend computes on a device: its memory, and work that is recorded once and started many times. All calls are of one thread at a time. Errors of all: UM_NO_MEMORY, UM_INTERNAL; a device that is lost fails every later call. */
typedef struct um_device_ops {
    int batch; /* images that a plan had better run at once */
    um_status (*memory_new)(size_t bytes, void **out); /* of the device, 256-byte aligned; UM_NO_MEMORY says how much is free */
    void (*memory_free)(void *p);
    um_status (*host_new)(size_t bytes, void **out); /* of the host, which the device copies from and to while the host works */
    void (*host_free)(void *p);
    um_status (*upload)(void *to, const void *from, size_t bytes); /* from any memory of the host; done when it returns */
    /* Calls record(user, stream) once; what that queues on the stream is kept. Pointers that were recorded must stay valid. */
    um_status (*tape_new)(um_status (*record)(void *user, void *stream), void *user, um_tape **out);
    um_status (*copy)(void *to, const void *from, size_t bytes, void *stream); /* within record: between memory_new's and host_new's */
    um_status (*tape_begin)(um_tape *t); /* starts it behind what was begun before, and returns */
    um_status (*tape_end)(um_tape *t);   /* waits for it */
    void (*tape_free)(um_tape *t);
} um_device_ops;

typedef struct um_backend {
    const char *name; /* "ref", "cpu", "cuda" */
    /* Does this machine compute in that precision? */
    bool (*has)(um_dtype precision);
    /* How many steps from `step` on (of the n that are offered) it can do as one kernel, at least 1. It looks at the steps alone; the plan merges them only if nobody else reads what they hand to each other
     * (outputs of all but the last, and means), and else offers fewer. Such values need no memory: a merged kernel writes the last output only. */
    int (*take)(const um_step *step, int n);
    /* A kernel for step[0..n). Errors: UM_NO_MEMORY, UM_INTERNAL (a shape it cannot do). */
    um_status (*kernel_new)(const um_step *step, int n, um_kernel **out);
    void (*kernel_free)(um_kernel *k);
    size_t (*constant_bytes)(const um_kernel *k); /* packed constants; 64-byte aligned by the plan */
    size_t (*scratch_bytes)(const um_kernel *k);  /* while it runs; shared by all kernels of a plan */
    /* Packs weights[0..n) into `constants`. */
    um_status (*pack)(const um_kernel *k, const um_step_weights *weights, void *constants);
    /* value[i]: memory of the plan's value i, 64-byte aligned, with at least 64 readable bytes behind it. */
    um_status (*run)(const um_kernel *k, const void *constants, void *const *value, void *scratch, void *stream);
    const um_device_ops *device; /* NULL: values, constants and scratch are memory of the host, and run computes before it returns */
} um_backend;

extern const um_backend um_backend_ref; /* plain C, every step, the oracle of the tests: src/nn/ref */
extern const um_backend um_backend_cpu; /* src/nn/cpu */
/* What `cpu` multiplies in on this machine, for a job to agree on and to freeze: "f32", or "bf16 products" where the processor's own are worth it. In bf16 the two differ in bits, each the same wherever it is used. */
const char *um_backend_cpu_arithmetic(um_dtype precision);
