#pragma once
/* graph.h: a network described once: values and the operators that make them, with the names and shapes of its parameters.
 *
 *     um_graph *g; UM_PASS(um_graph_new(&g));
 *     int x = um_graph_input(g, 380, 380, 3);
 *     x = um_graph_conv(g, "stem", x, 64, 3, 3, 2, UM_PAD_SAME, false);
 *     x = um_graph_batch_norm(g, "bn1", x, 1e-3f);
 *     x = um_graph_act(g, NULL, x, UM_ACT_SWISH);
 *     um_graph_output(g, x);
 *     UM_PASS(um_graph_finish(g));                         // reports what any of the calls found wrong
 *
 * The description is the network as its authors wrote it: nothing is folded or fused, no batch size, no backend. src/nn/plan.h turns it into steps for one batch size, one precision and one backend; the
 * trainer walks the same nodes backwards.
 *
 * Parameters have one order, that of their making, and live in one flat array of f32 (um_param.offset): what a model file holds, what an optimiser walks over. Names, and the order of dimensions, are
 * PyTorch's: convolution (K,C,R,S), depthwise (C,1,R,S), dense (K,C), batch norm weight, bias, running_mean, running_var (C).
 * Local; the finished graph is read-only and may be shared by threads.
 */
#include "src/core/err.h"
#include "src/nn/tensor.h"

#include <stdbool.h>

typedef enum um_op {
    UM_OP_INPUT,      /* (N,H,W,C) */
    UM_OP_CONV,       /* dense filter R x S over all channels */
    UM_OP_DEPTHWISE,  /* one filter R x S a channel */
    UM_OP_BATCH_NORM, /* (x - mean) / sqrt(var + eps) * weight + bias, per channel */
    UM_OP_ACT,        /* element-wise, or PReLU with a slope a channel */
    UM_OP_MEAN,       /* over H and W: (N,1,1,C) */
    UM_OP_MAX_POOL,   /* R x S, no padding; P = ceil((H - R) / stride) + 1, windows cut at the edge */
    UM_OP_DENSE,      /* (N,1,1,C) -> (N,1,1,K); an (N,H,W,C) map is taken in the order h, w, c: flattening as the importer arranged the weights */
    UM_OP_SCALE,      /* a(n,h,w,c) * b(n,0,0,c): squeeze-and-excite */
    UM_OP_ADD,        /* a + b */
    UM_OP_DROP_PATH,  /* training only: the whole sample's branch is 0 with probability `rate`, else divided by 1 - rate */
    UM_OP_DROPOUT,    /* training only: the same for each number */
} um_op;

typedef enum um_act { UM_ACT_NONE, UM_ACT_SWISH /* x * sigmoid(x) */, UM_ACT_SIGMOID, UM_ACT_RELU, UM_ACT_PRELU } um_act;

/* UM_PAD_SAME is TensorFlow's: P = ceil(H / stride), the padding max((P-1)*stride + R - H, 0) split with the smaller half above and left. UM_PAD_VALID: none. */
typedef enum um_pad { UM_PAD_SAME, UM_PAD_VALID } um_pad;

typedef enum um_param_kind { UM_PARAM_WEIGHT, UM_PARAM_BIAS, UM_PARAM_BN_WEIGHT, UM_PARAM_BN_BIAS, UM_PARAM_BN_MEAN, UM_PARAM_BN_VAR, UM_PARAM_SLOPE } um_param_kind;

enum { UM_PARAM_MAX_NAME = 80 };
typedef struct um_param {
    char name[UM_PARAM_MAX_NAME]; /* "encoder.blocks.0.0.conv_dw.weight" */
    um_param_kind kind;
    int n_dims, dims[4];
    int64_t count, offset; /* elements; where in the flat array */
} um_param;

typedef struct um_node {
    um_op op;
    int in[2];               /* nodes, -1: none; always earlier ones */
    int h, w, c;             /* of the output */
    int r, s, stride;        /* CONV, DEPTHWISE, MAX_POOL */
    int pad_top, pad_left;   /* rows and columns of zeros before the first; what is missing after the last follows from the sizes */
    um_act act;              /* ACT */
    float eps;               /* BATCH_NORM */
    float rate;              /* DROP_PATH, DROPOUT */
    int weight, bias;        /* CONV, DEPTHWISE, DENSE: parameters, bias -1: none. BATCH_NORM: weight, then bias, mean, var in this order. ACT PReLU: weight = slopes */
} um_node;

typedef struct um_graph {
    um_node *node;
    int n_nodes, cap_nodes;
    um_param *param;
    int n_params, cap_params;
    int64_t param_count; /* elements of all parameters */
    int output;          /* node; -1 before um_graph_output */
    um_status status;    /* of the first call that failed; its message is in `problem` */
    char problem[192];
} um_graph;

um_status um_graph_new(um_graph **out);
void um_graph_free(um_graph *g);
/* Each returns its node, or -1 after a failure (um_graph_finish tells which). `name` is the module: its parameters are called name.weight and so on. */
int um_graph_input(um_graph *g, int h, int w, int c);
int um_graph_conv(um_graph *g, const char *name, int x, int k, int r, int s, int stride, um_pad pad, bool bias);
int um_graph_depthwise(um_graph *g, const char *name, int x, int r, int s, int stride, um_pad pad, bool bias);
int um_graph_batch_norm(um_graph *g, const char *name, int x, float eps);
int um_graph_act(um_graph *g, const char *name, int x, um_act act); /* name: PReLU only */
int um_graph_mean(um_graph *g, int x);
int um_graph_max_pool(um_graph *g, int x, int r, int s, int stride);
int um_graph_dense(um_graph *g, const char *name, int x, int k, bool bias);
int um_graph_scale(um_graph *g, int x, int gate);
int um_graph_add(um_graph *g, int a, int b);
int um_graph_drop_path(um_graph *g, int x, float rate);
int um_graph_dropout(um_graph *g, int x, float rate);
void um_graph_output(um_graph *g, int x);
/* UM_DATA for shapes that do not fit, UM_NO_MEMORY. */
um_status um_graph_finish(um_graph *g);
/* Index of the parameter called `name`, or -1. */
int um_graph_find_param(const um_graph *g, const char *name);
