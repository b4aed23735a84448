#pragma once
/* net_parts.h: what the files of net.h share: the net's memory, and the lists of actions that a pass is.
 *
 * A pass is a list of actions. A lane action computes for one lane; neighbouring lane actions are one loop over the lanes, without a wait between them. A join is done once, when all lanes are there: it sums what the lanes left, and talks
 * to the other ranks. Lanes without pictures are not called; a join takes their sums as zeros.
 */
#include "src/nn/net.h"
#include "src/nn/train_ops.h"

typedef void um_lane_fn(um_net *n, int item, int lane);
typedef um_status um_join_fn(um_net *n, int item);
typedef struct um_action {
    um_lane_fn *lane; /* one of the two */
    um_join_fn *join;
    int item;         /* node or group */
} um_action;

typedef struct um_actions {
    um_action *action;
    int n, cap;
} um_actions;

/* Batch norm of one node. All arrays have room for whole planes of 16 channels, zeros behind C. */
typedef struct um_norm_state {
    int c;
    float *mean, *rstd, *scale, *bias, *a, *b, *k; /* um_norm; k is its c */
    double *sums; /* (n_lanes, 2 C) */
    int64_t count; /* of numbers a channel, all ranks */
} um_norm_state;

/* Parameters whose gradients the lanes have left in their parts, summed over the lanes together: [first, first + n) of um_net.group_param. */
typedef struct um_param_group {
    int first, n;
} um_param_group;

/* A bottleneck of the graph, where the backend takes it as one (um_block). */
typedef struct um_net_block {
    um_block shape;
    um_bottleneck at;
    float *z1, *z2, *z3, *means, *squeezed, *acted, *excited, *gate, *keep; /* um_block_lane, of all pictures */
} um_net_block;

/* One way backward: through all of the graph, or through the head only. */
typedef struct um_backward {
    um_actions actions;
    bool *needs;      /* [n_nodes]: a derivative by this node is wanted */
    bool *add;        /* [2 n_nodes]: node i adds to the derivative of its input j, since a later node has written it */
    um_param_group *group;
    int n_groups;
    int *group_param; /* [n_params] */
    int n_group_params;
    size_t part;      /* numbers in the lanes' parts that the open group has taken */
    bool *computed;   /* [n_params] */
    int *bucket_left; /* [n_buckets]: parameters of each that this way computes */
} um_backward;

struct um_net {
    const um_graph *graph;
    um_net_options o;
    const um_train_ops *ops;
    unsigned char *memory;
    size_t bytes;
    float **map, **grad; /* [n_nodes], (max_batch, H, W, C); NULL: kept by none */
    um_norm_state *norm; /* [n_nodes] */
    um_net_block *block;
    int n_blocks;
    int *block_of;       /* [n_nodes]: -1: none */
    float *e1, *e2;      /* um_block_lane; one block at a time uses them */
    unsigned char *packed[2];
    unsigned char *scratch; /* (n_lanes, scratch_each) */
    size_t scratch_each;
    float *part;         /* (n_lanes - 1, part_each): gradients of all lanes but the first, which writes where they are summed */
    size_t part_each;
    size_t *part_at;     /* [n_params] */
    double *message;
    int head;            /* the first node behind the last batch norm: what is trained when the encoder is frozen */
    um_actions forward, evaluate;
    um_backward all, head_only;
    int n_buckets;
    int *bucket_of;      /* [n_params] */
    int64_t *bucket_at;  /* [n_buckets + 1], descending: bucket i is [bucket_at[i + 1], bucket_at[i]) */
    int *bucket_wait;    /* [n_buckets]: parameters still missing */
    int n_begun;         /* buckets, whose tickets are 0, 1... in the order they were begun */
    double comm_s;
    /* Of the call that runs: */
    float *params;
    const um_net_batch *batch;
    float *logits, *grads;
    const float *d_logits;
    const um_backward *way;
    bool training;
    int lane_first[UM_NET_MAX_LANES + 1];
    const um_actions *way_actions;
    int run_first, run_end; /* of them: what the lanes do now */
};

static inline const um_node *um_net_node(const um_net *n, int i) { return &n->graph->node[i]; }
static inline int um_net_lane_count(const um_net *n, int lane) { return n->lane_first[lane + 1] - n->lane_first[lane]; }
static inline size_t um_net_node_count(const um_net *n, int i)
{
    const um_node *v = um_net_node(n, i);
    return (size_t)v->h * (size_t)v->w * (size_t)v->c;
}
static inline float *um_net_map(const um_net *n, int i, int lane) { return n->map[i] + um_net_node_count(n, i) * (size_t)n->lane_first[lane]; }
static inline float *um_net_grad(const um_net *n, int i, int lane) { return n->grad[i] + um_net_node_count(n, i) * (size_t)n->lane_first[lane]; }
static inline const float *um_net_param(const um_net *n, int p) { return p < 0 ? NULL : n->params + n->graph->param[p].offset; }
/* Where a lane leaves the gradient of parameter p; NULL for -1. */
static inline float *um_net_part(const um_net *n, int p, int lane)
{
    if (p < 0) return NULL;
    return lane == 0 ? n->grads + n->graph->param[p].offset : n->part + (size_t)(lane - 1) * n->part_each + n->part_at[p];
}
static inline void *um_net_scratch(const um_net *n, int lane) { return n->scratch + (size_t)lane * n->scratch_each; }

/* What the branch of picture i of this rank is multiplied with at a DROP_PATH node: 0 or 1 / (1 - rate) in training, else 1. */
float um_net_keep(const um_net *n, int node, int picture);

/* net_ops.c: the actions of each node. */
void um_net_node_forward(um_net *n, int node, int lane);
void um_net_node_backward(um_net *n, int node, int lane);
void um_net_norm_sums(um_net *n, int node, int lane);
void um_net_norm_data_sums(um_net *n, int node, int lane);
/* net_block.c: bottlenecks. */
um_status um_net_find_blocks(um_net *n);
/* Phases, each ended by a meeting in batch norm: expand, depthwise, project, finish; on the way back sums, project, depthwise, expand. item: 4 block + phase. */
void um_net_block_forward(um_net *n, int item, int lane);
void um_net_block_back(um_net *n, int item, int lane);
um_status um_net_block_pack(um_net *n, int item); /* item: 2 block + back: weights, for all lanes */
/* net_norm.c: the meeting of lanes and ranks in batch norm. */
um_status um_net_norm_join(um_net *n, int node);      /* statistics of the batch; running values */
um_status um_net_norm_running(um_net *n, int node);   /* of running values */
um_status um_net_norm_data_join(um_net *n, int node); /* the way back; gradients of weight and bias */
/* net_grads.c: sums of gradients. */
um_status um_net_group_join(um_net *n, int group);
void um_net_param_done(um_net *n, int param);
