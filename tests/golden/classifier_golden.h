#pragma once
/* classifier_golden.h: parameters and pictures of integer arithmetic, the same here and in classifier_peer.py, so that numbers made there can be checked here without a file of weights. */
#include "src/nn/graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static uint32_t golden_mix(uint32_t v)
{
    v ^= v >> 15;
    v *= 0x2C1B3C6Du;
    v ^= v >> 12;
    v *= 0x297A2D39u;
    v ^= v >> 15;
    return v;
}

/* Where the element lies between 0 and 1, in steps of 2^-24. */
static double golden_uniform(uint32_t seed, uint32_t tensor, uint32_t element)
{
    return (double)(golden_mix(golden_mix(seed * 0x9E3779B1u + tensor) + element * 0x85EBCA77u) >> 8) / 16777216.0;
}

/* The bounds of a parameter's elements. They keep the net tame: variances are a little above what the layers really give, and the branch of a residual block counts a fifth. */
static void golden_range(const um_param *p, double *lo, double *hi)
{
    int stage = -1, block = -1;
    double fan_in = (double)p->count / p->dims[0], width = sqrt(3 / fan_in), about;
    bool in_block = sscanf(p->name, "encoder.blocks.%d.%d.", &stage, &block) == 2;
    bool last = in_block && strstr(p->name, stage == 0 ? ".bn2." : ".bn3.") != NULL;
    bool depthwise = in_block && strstr(p->name, stage == 0 ? ".bn1." : ".bn2.") != NULL;
    switch (p->kind) {
    case UM_PARAM_WEIGHT:
        *hi = strcmp(p->name, "fc.weight") == 0 ? width * 8 : width;
        *lo = -*hi;
        return;
    case UM_PARAM_BIAS: *lo = -0.2, *hi = 0.2; return;
    case UM_PARAM_BN_WEIGHT: *lo = last && block > 0 ? 0.1 : 0.8, *hi = last && block > 0 ? 0.3 : 1.2; return;
    case UM_PARAM_BN_BIAS: *lo = last && block > 0 ? -0.04 : -0.2, *hi = -*lo; return;
    case UM_PARAM_BN_MEAN: *lo = -0.1, *hi = 0.1; return;
    case UM_PARAM_BN_VAR:
        about = last ? 0.12 : depthwise ? 0.35 : in_block || strncmp(p->name, "encoder.bn2.", 12) == 0 ? 1.3 : 0.75;
        *lo = 0.8 * about, *hi = 1.2 * about;
        return;
    case UM_PARAM_SLOPE: *lo = 0.1, *hi = 0.3; return;
    }
}

/* params: [g->param_count]. */
static void golden_params(const um_graph *g, uint32_t seed, float *params)
{
    for (int t = 0; t < g->n_params; t++) {
        const um_param *p = &g->param[t];
        double lo = 0, hi = 1;
        golden_range(p, &lo, &hi);
        for (int64_t i = 0; i < p->count; i++) params[p->offset + i] = (float)(lo + (hi - lo) * golden_uniform(seed, (uint32_t)t, (uint32_t)i));
    }
}

/* Picture i, (size,size,3): blocks of colour, edges and noise. */
static void golden_picture(uint32_t i, int size, uint8_t *out)
{
    uint32_t key = i * 0x9E3779B1u, cell = 8 + i % 5 * 4;
    for (uint32_t y = 0; y < (uint32_t)size; y++)
        for (uint32_t x = 0; x < (uint32_t)size; x++)
            for (uint32_t c = 0; c < 3; c++) {
                uint32_t block = golden_mix(key + x / cell * 73856093u + y / cell * 19349663u + c * 83492791u) >> 8 & 127;
                uint32_t tone = (x * (i % 3 + 1) + y * (i % 4 + 1) + c * 40) % 97;
                uint32_t noise = golden_mix(key + x * 2654435u + y * 40503u + c * 97u + 1) >> 9 & 31;
                out[(y * (uint32_t)size + x) * 3 + c] = (uint8_t)(block + tone + noise);
            }
}
