#pragma once
/* init.h: first values of a network's parameters, to train from or to try the machinery with.
 *
 * As timm draws EfficientNets: convolutions normal with variance 2 / fan_out (fan_out = R S K / groups; He, Zhang, Ren, Sun, ICCV 2015, section 2.2, in its backward form), batch norm as the identity; dense layers as PyTorch's
 * nn.Linear: uniform in +-1/sqrt(C), bias too. Each parameter is drawn from a stream of its own (seed, its index), so a value depends on nothing else.
 */
#include "src/nn/graph.h"

/* params: [g->param_count]. Local; any thread. */
void um_graph_init(const um_graph *g, uint64_t seed, float *params);
