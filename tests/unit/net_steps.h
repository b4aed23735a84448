#pragma once
/* net_steps.h: the steps of EfficientNets as a plan would give them, from the table of widths and depths (Tan and Le, table 1), for tests and benches of a backend. Values are numbered within each list. */
#include "src/nn/backend.h"

#include <math.h>
#include <string.h>

enum { NET_STEPS_MAX = 512 };

typedef struct net_steps {
    um_step step[NET_STEPS_MAX];
    int n, n_values;
} net_steps;

static inline int net_round(double c)
{
    int n = (int)(c + 4) / 8 * 8;
    if (n < 8) n = 8;
    return n < 0.9 * c ? n + 8 : n;
}

static inline um_step *net_add(net_steps *net, um_step_kind kind, int h, int c, int k, int r, int stride, um_act act, um_dtype in_type, um_dtype out_type)
{
    um_step *s = &net->step[net->n++];
    int p = (h + stride - 1) / stride, pad = (p - 1) * stride + r - h;
    *s = (um_step){.kind = kind, .act = act, .n = 1, .h = h, .w = h, .c = c, .p = p, .q = p, .k = k, .r = r, .s = r, .stride = stride, .pad_top = pad > 0 ? pad / 2 : 0, .pad_left = pad > 0 ? pad / 2 : 0};
    s->in = net->n_values - 1;
    s->out = net->n_values++;
    s->residual = s->gate = s->means = -1;
    s->in_type = in_type;
    s->out_type = out_type;
    return s;
}

/* batch 1; value 0 is the picture. */
static inline void net_efficientnet(net_steps *net, double width, double depth, int px, um_dtype type)
{
    static const struct {
        int repeat, r, stride, expand, c;
    } stage[7] = {{1, 3, 1, 1, 16}, {2, 3, 2, 6, 24}, {2, 5, 2, 6, 40}, {3, 3, 2, 6, 80}, {3, 5, 1, 6, 112}, {4, 5, 2, 6, 192}, {1, 3, 1, 6, 320}};
    memset(net, 0, sizeof *net);
    net->n_values = 1;
    um_step *s = net_add(net, UM_STEP_CONVERT, px, 3, 3, 1, 1, UM_ACT_NONE, UM_U8, type);
    for (int i = 0; i < 3; i++) s->mean[i] = 0.45f, s->std[i] = 0.225f;
    int c = net_round(32 * width);
    s = net_add(net, UM_STEP_CONV, px, 3, c, 3, 2, UM_ACT_SWISH, type, type);
    int h = s->p;
    for (int i = 0; i < 7; i++)
        for (int b = 0; b < (int)ceil(stage[i].repeat * depth - 1e-9); b++) {
            int stride = b == 0 ? stage[i].stride : 1, k = net_round(stage[i].c * width), mid = c * stage[i].expand, squeezed = c / 4 > 1 ? c / 4 : 1, x = net->n_values - 1;
            if (stage[i].expand > 1) net_add(net, UM_STEP_CONV, h, c, mid, 1, 1, UM_ACT_SWISH, type, type);
            s = net_add(net, UM_STEP_DEPTHWISE, h, mid, mid, stage[i].r, stride, UM_ACT_SWISH, type, type);
            h = s->p;
            int map = s->out, means = s->means = net->n_values++;
            net_add(net, UM_STEP_CONV, 1, mid, squeezed, 1, 1, UM_ACT_SWISH, UM_F32, UM_F32)->in = means;
            int gate = net_add(net, UM_STEP_CONV, 1, squeezed, mid, 1, 1, UM_ACT_SIGMOID, UM_F32, UM_F32)->out;
            s = net_add(net, UM_STEP_CONV, h, mid, k, 1, 1, UM_ACT_NONE, type, type);
            s->in = map;
            s->gate = gate;
            if (stride == 1 && k == c) s->residual = x;
            c = k;
        }
    int head = net_round(1280 * width);
    net_add(net, UM_STEP_CONV, h, c, head, 1, 1, UM_ACT_SWISH, type, type);
    s = net_add(net, UM_STEP_MEAN, h, head, head, 1, 1, UM_ACT_NONE, type, UM_F32);
    s->r = s->s = h;
    s->p = s->q = 1;
    net_add(net, UM_STEP_CONV, 1, head, 1, 1, 1, UM_ACT_NONE, UM_F32, UM_F32);
}

static inline size_t net_weights(const um_step *s) { return s->kind == UM_STEP_CONV ? (size_t)s->k * (size_t)(s->r * s->s * s->c) : s->kind == UM_STEP_DEPTHWISE ? (size_t)(s->k * s->r * s->s) : 0; }
static inline double net_macs(const um_step *s) { return s->kind == UM_STEP_CONV || s->kind == UM_STEP_DEPTHWISE ? (double)net_weights(s) * s->p * s->q * s->n : 0; }
