#pragma once
/* bottleneck.h: an inverted bottleneck (Sandler et al., "MobileNetV2", 2018, with squeeze-and-excite) found in a graph, for those who train it as one thing and keep less of it in memory than its nodes would.
 *
 *     [1 x 1, norm, swish,] depthwise, norm, swish, gate of the mean through two dense layers, product, 1 x 1, norm [, drop-path, sum with the input]
 */
#include "src/nn/graph.h"

/* A convolution or pooling: (N,H,W,C) -> (N,P,Q,K). A depthwise one has c = k; a dense layer is 1 x 1 on a 1 x 1 map. */
typedef struct um_window {
    int h, w, c, p, q, k, r, s, stride, pad_top, pad_left;
} um_window;

um_window um_window_of(const um_graph *g, int node);

typedef struct um_bottleneck {
    int first, last, x;                      /* nodes; the input */
    int expand, dw, reduce, excite, project; /* nodes with weights; expand -1: none */
    int norm[3], drop;                       /* nodes; norm[0] or drop -1: none */
} um_bottleneck;

/* Is node i the first of one, of which nobody outside reads anything but its last? */
bool um_bottleneck_find(const um_graph *g, int i, um_bottleneck *out);
