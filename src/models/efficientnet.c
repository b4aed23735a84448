#include "src/models/efficientnet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const um_efficientnet um_efficientnets[UM_EFFICIENTNETS] = {
    {"b0", 1.0, 1.0, 224}, {"b1", 1.0, 1.1, 240}, {"b2", 1.1, 1.2, 260}, {"b3", 1.2, 1.4, 300},
    {"b4", 1.4, 1.8, 380}, {"b5", 1.6, 2.2, 456}, {"b6", 1.8, 2.6, 528}, {"b7", 2.0, 3.1, 600},
};

/* Table 1 of the paper, at width and depth 1. */
static const struct stage {
    int repeats, filter, stride, expand, width;
} stages[] = {{1, 3, 1, 1, 16}, {2, 3, 2, 6, 24}, {2, 5, 2, 6, 40}, {3, 3, 2, 6, 80}, {3, 5, 1, 6, 112}, {4, 5, 2, 6, 192}, {1, 3, 1, 6, 320}};
enum { STAGES = sizeof stages / sizeof stages[0], STEM_WIDTH = 32, HEAD_WIDTH = 1280, MIN_PX = 32, MAX_PX = 2048 };
static const float bn_eps = 1e-3f;
static const double least_scale = 0.1, most_scale = 8; /* of width and depth: B7 has 2 and 3.1, the largest published 4.3 and 5.3 */

/* timm's make_divisible: the nearest multiple of 8, but not more than a tenth below. */
static int widened(int channels, double width)
{
    double v = channels * width;
    int n = (int)(v + 4) / 8 * 8;
    if (n < 8) n = 8;
    return n < 0.9 * v ? n + 8 : n;
}

static int deepened(int repeats, double depth) { return (int)ceil(repeats * depth); }

static bool multipliers(const char *text, um_efficientnet *out)
{
    char *end;
    if (text[0] != 'w' || strlen(text) >= sizeof out->name || strpbrk(text, "xXnNiI \t+-") != NULL) return false; /* decimal numbers only */
    out->width = strtod(text + 1, &end);
    if (end == text + 1 || *end != 'd') return false;
    text = end + 1;
    out->depth = strtod(text, &end);
    if (end == text || *end != 0) return false;
    return out->width >= least_scale && out->width <= most_scale && out->depth >= least_scale && out->depth <= most_scale;
}

um_status um_efficientnet_parse(const char *text, um_efficientnet *out)
{
    static const char prefix[] = "tf_efficientnet_";
    const char *s = strncmp(text, prefix, sizeof prefix - 1) == 0 ? text + sizeof prefix - 1 : text;
    for (int i = 0; i < UM_EFFICIENTNETS; i++) {
        const char *name = um_efficientnets[i].name, *rest = s + strlen(name);
        if (strncmp(s, name, strlen(name)) != 0) continue;
        if (*rest != 0 && strcmp(rest, "_ns") != 0 && strcmp(rest, "_ap") != 0) continue;
        *out = um_efficientnets[i];
        return UM_OK;
    }
    *out = (um_efficientnet){0};
    if (multipliers(text, out)) {
        snprintf(out->name, sizeof out->name, "%s", text);
        return UM_OK;
    }
    return UM_FAIL(UM_USAGE, "no architecture %s: there are b0, b1, b2, b3, b4, b5, b6, b7, and w<width>d<depth> with multipliers from %g to %g, like w1.2d1.4",
                   um_quote(text), least_scale, most_scale);
}

typedef struct builder {
    um_graph *g;
    char module[64]; /* "encoder.blocks.3.1" */
    char name[UM_PARAM_MAX_NAME];
} builder;

static const char *in_module(builder *b, const char *part)
{
    snprintf(b->name, sizeof b->name, "%s.%s", b->module, part);
    return b->name;
}

static int conv(builder *b, const char *part, int x, int k, int filter, int stride, bool bias)
{
    return um_graph_conv(b->g, in_module(b, part), x, k, filter, filter, stride, UM_PAD_SAME, bias);
}

static int norm(builder *b, const char *part, int x, um_act act)
{
    x = um_graph_batch_norm(b->g, in_module(b, part), x, bn_eps);
    return act == UM_ACT_NONE ? x : um_graph_act(b->g, NULL, x, act);
}

/* The gate's hidden layer has a quarter of the channels that the block was given, before they were expanded. */
static int squeeze_excite(builder *b, int x, int channels_in, int channels)
{
    int gate = um_graph_mean(b->g, x);
    gate = conv(b, "se.conv_reduce", gate, channels_in / 4 > 1 ? channels_in / 4 : 1, 1, 1, true);
    gate = um_graph_act(b->g, NULL, gate, UM_ACT_SWISH);
    gate = conv(b, "se.conv_expand", gate, channels, 1, 1, true);
    gate = um_graph_act(b->g, NULL, gate, UM_ACT_SIGMOID);
    return um_graph_scale(b->g, x, gate);
}

static int block(builder *b, const struct stage *st, int x, int channels_in, int channels_out, int stride, float drop_path)
{
    bool expands = st->expand > 1;
    int channels = channels_in * st->expand, shortcut = x;
    if (expands) {
        x = conv(b, "conv_pw", x, channels, 1, 1, false);
        x = norm(b, "bn1", x, UM_ACT_SWISH);
    }
    x = um_graph_depthwise(b->g, in_module(b, "conv_dw"), x, st->filter, st->filter, stride, UM_PAD_SAME, false);
    x = norm(b, expands ? "bn2" : "bn1", x, UM_ACT_SWISH);
    x = squeeze_excite(b, x, channels_in, channels);
    x = conv(b, expands ? "conv_pwl" : "conv_pw", x, channels_out, 1, 1, false);
    x = norm(b, expands ? "bn3" : "bn2", x, UM_ACT_NONE);
    if (stride != 1 || channels_in != channels_out) return x;
    x = um_graph_drop_path(b->g, x, drop_path);
    return um_graph_add(b->g, x, shortcut);
}

um_status um_efficientnet_graph(const um_efficientnet *net, int size_px, bool head, float drop_path, float dropout, um_graph **out)
{
    um_status st;
    builder b = {.module = "encoder"};
    int x, channels = widened(STEM_WIDTH, net->width), n_blocks = 0, done_blocks = 0;

    *out = NULL;
    if (size_px < MIN_PX || size_px > MAX_PX) return UM_FAIL(UM_USAGE, "pictures of %d px: from %d to %d are accepted", size_px, MIN_PX, MAX_PX);
    if (!(net->width >= least_scale && net->width <= most_scale && net->depth >= least_scale && net->depth <= most_scale))
        return UM_FAIL(UM_USAGE, "width %g and depth %g: multipliers are from %g to %g", net->width, net->depth, least_scale, most_scale);
    UM_PASS(um_graph_new(&b.g));
    for (int i = 0; i < STAGES; i++) n_blocks += deepened(stages[i].repeats, net->depth);

    x = um_graph_input(b.g, size_px, size_px, 3);
    x = conv(&b, "conv_stem", x, channels, 3, 2, false);
    x = norm(&b, "bn1", x, UM_ACT_SWISH);
    for (int i = 0; i < STAGES; i++) {
        int channels_out = widened(stages[i].width, net->width);
        for (int j = 0; j < deepened(stages[i].repeats, net->depth); j++, done_blocks++) {
            snprintf(b.module, sizeof b.module, "encoder.blocks.%d.%d", i, j);
            x = block(&b, &stages[i], x, channels, channels_out, j == 0 ? stages[i].stride : 1, drop_path * (float)done_blocks / (float)n_blocks);
            channels = channels_out;
        }
    }
    snprintf(b.module, sizeof b.module, "encoder");
    x = conv(&b, "conv_head", x, widened(HEAD_WIDTH, net->width), 1, 1, false);
    x = norm(&b, "bn2", x, UM_ACT_SWISH);
    if (head) {
        x = um_graph_mean(b.g, x);
        x = um_graph_dropout(b.g, x, dropout);
        x = um_graph_dense(b.g, "fc", x, 1, true);
    }
    um_graph_output(b.g, x);
    st = um_graph_finish(b.g);
    if (st != UM_OK) {
        um_graph_free(b.g);
        return st;
    }
    *out = b.g;
    return UM_OK;
}
