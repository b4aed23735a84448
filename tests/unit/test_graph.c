#include "src/nn/graph.h"
#include "src/models/efficientnet.h"
#include "tests/unit/test.h"

/* Each builds a graph that must be refused with a message that holds the words. */
static void refused(um_graph *g, const char *words)
{
    um_graph_output(g, g->n_nodes - 1);
    CHECK_INT(um_graph_finish(g), UM_DATA);
    if (strstr(um_err_text(), words) == NULL) {
        fprintf(stderr, "\"%s\" does not say \"%s\"\n", um_err_text(), words);
        test_failures++;
    }
    um_graph_free(g);
}

static um_graph *begun(int h, int w, int c)
{
    um_graph *g = NULL;
    CHECK_OK(um_graph_new(&g));
    CHECK_INT(um_graph_input(g, h, w, c), 0);
    return g;
}

static void test_refusals(void)
{
    um_graph *g;
    char name[UM_PARAM_MAX_NAME + 1];

    g = begun(4, 4, 3), um_graph_conv(g, "big", 0, 8, 5, 5, 1, UM_PAD_VALID, false), refused(g, "big: a filter of 5 x 5 on a map of 4 x 4");
    g = begun(4, 4, 3), um_graph_conv(g, "none", 0, 0, 3, 3, 1, UM_PAD_SAME, false), refused(g, "none: 0 filters");
    g = begun(4, 4, 3), um_graph_conv(g, "still", 0, 8, 3, 3, 0, UM_PAD_SAME, false), refused(g, "stride 0");
    g = begun(4, 4, 3), um_graph_conv(g, NULL, 0, 8, 3, 3, 1, UM_PAD_SAME, false), refused(g, "no name");
    g = begun(4, 4, 3), um_graph_conv(g, "far", 7, 8, 3, 3, 1, UM_PAD_SAME, false), refused(g, "far reads node 7 of 1");
    g = begun(4, 4, 3), um_graph_batch_norm(g, "n", 0, 1), um_graph_batch_norm(g, "n", 1, 1), refused(g, "two parameters are called n.weight");
    g = begun(4, 4, 3), um_graph_batch_norm(g, "n", 0, -1), refused(g, "n: eps is -1");
    g = begun(4, 4, 3), um_graph_add(g, 0, um_graph_mean(g, 0)), refused(g, "a sum of 4 x 4 x 3 and 1 x 1 x 3");
    g = begun(4, 4, 3), um_graph_scale(g, 0, 0), refused(g, "times a gate of 4 x 4 x 3");
    g = begun(4, 4, 3), um_graph_scale(g, 0, 9), refused(g, "a product reads node 9");
    g = begun(4, 4, 3), um_graph_add(g, 0, -1), refused(g, "a sum reads node -1");
    g = begun(4, 4, 3), um_graph_max_pool(g, 0, 5, 2, 2), refused(g, "a pooling of 5 x 2");
    g = begun(5, 5, 3), um_graph_max_pool(g, 0, 1, 1, 3), refused(g, "outside");
    g = begun(4, 4, 3), um_graph_dropout(g, 0, 1), refused(g, "a rate of 1");
    g = begun(4, 4, 3), um_graph_act(g, NULL, 0, UM_ACT_PRELU), refused(g, "no name");
    g = begun(4, 4, 3), um_graph_dense(g, "fc", 0, -2, true), refused(g, "fc: a dense layer from 48 to -2");
    g = begun(4, 4, 3), um_graph_input(g, 4, 4, 3), refused(g, "the input comes first and once");
    g = begun(16384, 16384, 3), um_graph_dense(g, "fc", 0, 1, true), refused(g, "fc: a dense layer from 805306368 to 1");
    memset(name, 'n', sizeof name);
    name[UM_PARAM_MAX_NAME] = 0;
    g = begun(4, 4, 3), um_graph_dense(g, name, 0, 1, true), refused(g, "parameter name too long");
    /* The first mistake is the one that is told. */
    g = begun(4, 4, 3), um_graph_add(g, um_graph_mean(g, 0), um_graph_conv(g, "first", 0, 8, 9, 9, 1, UM_PAD_VALID, false)), refused(g, "first: a filter of 9 x 9");
    CHECK_OK(um_graph_new(&g));
    refused(g, "the output is node -1");
    g = begun(4, 4, 3);
    CHECK_INT(um_graph_finish(g), UM_DATA);
    CHECK(strstr(um_err_text(), "without output") != NULL);
    um_graph_free(g);
    um_graph_free(NULL);
}

/* TensorFlow's SAME: the smaller half above and left; sizes rounded up. */
static void test_padding(void)
{
    static const struct {
        int side, filter, stride, out, before;
    } same[] = {{380, 3, 2, 190, 0}, {95, 3, 2, 48, 1}, {190, 5, 2, 95, 1}, {7, 5, 1, 7, 2}, {1, 5, 2, 1, 2}, {8, 1, 2, 4, 0}, {5, 2, 1, 5, 0}};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        um_graph *g = begun(same[i].side, same[i].side, 3);
        int x = um_graph_conv(g, "c", 0, 1, same[i].filter, same[i].filter, same[i].stride, UM_PAD_SAME, false);
        CHECK_INT(g->node[x].h, same[i].out);
        CHECK_INT(g->node[x].w, same[i].out);
        CHECK_INT(g->node[x].pad_top, same[i].before);
        CHECK_INT(g->node[x].pad_left, same[i].before);
        um_graph_free(g);
    }
    um_graph *g = begun(9, 8, 3);
    int x = um_graph_conv(g, "c", 0, 1, 3, 2, 2, UM_PAD_VALID, false), y = um_graph_max_pool(g, 0, 3, 3, 2);
    CHECK_INT(g->node[x].h, 4);
    CHECK_INT(g->node[x].w, 4);
    CHECK_INT(g->node[x].pad_top, 0);
    CHECK_INT(g->node[y].h, 4);
    CHECK_INT(g->node[y].w, 4); /* 3.5 windows: the last is cut at the edge */
    um_graph_free(g);
}

static void test_parameters(void)
{
    um_graph *g = begun(6, 6, 4);
    int x = um_graph_conv(g, "a", 0, 8, 3, 5, 1, UM_PAD_SAME, true);
    x = um_graph_depthwise(g, "b", x, 3, 3, 2, UM_PAD_SAME, false);
    x = um_graph_batch_norm(g, "n", x, 1e-3f);
    x = um_graph_act(g, "p", x, UM_ACT_PRELU);
    um_graph_output(g, um_graph_dense(g, "fc", x, 10, true));
    CHECK_OK(um_graph_finish(g));
    static const char *const names[] = {"a.weight", "a.bias", "b.weight", "n.weight", "n.bias", "n.running_mean", "n.running_var", "p.weight", "fc.weight", "fc.bias"};
    static const long long counts[] = {8 * 4 * 3 * 5, 8, 8 * 9, 8, 8, 8, 8, 8, 720, 10};
    long long at = 0;
    CHECK_INT(g->n_params, 10);
    for (int i = 0; i < g->n_params && i < 10; i++) {
        CHECK_STR(g->param[i].name, names[i]);
        CHECK_INT(g->param[i].count, counts[i]);
        CHECK_INT(g->param[i].offset, at);
        at += counts[i];
        CHECK_INT(um_graph_find_param(g, names[i]), i);
    }
    CHECK_INT(g->param_count, at);
    CHECK_INT(g->param[2].dims[0], 8);
    CHECK_INT(g->param[2].dims[1], 1);
    CHECK_INT(um_graph_find_param(g, "a.slope"), -1);
    um_graph_free(g);
}

static void test_architectures(void)
{
    um_efficientnet net;
    um_graph *g = NULL;
    static const char *const good[] = {"b7", "tf_efficientnet_b7", "tf_efficientnet_b7_ns", "tf_efficientnet_b7_ap", "b7_ns"};
    static const char *const bad[] = {"", "b8", "b", "B7", "b77", "tf_efficientnet_", "b7_", "w1", "w1d", "wd", "w1d0", "w-1d1", "w1d1x", "w0x1p1d1", "wnand1", "w100d1", "w1.00000000d1.00000000", "w 1d1", "resnet"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK_OK(um_efficientnet_parse(good[i], &net));
        CHECK_STR(net.name, "b7");
        CHECK_NEAR(net.depth, 3.1, 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) CHECK_INT(um_efficientnet_parse(bad[i], &net), UM_USAGE);
    CHECK(strstr(um_err_text(), "b0, b1") != NULL);
    CHECK_OK(um_efficientnet_parse("w1.2d1.4", &net));
    CHECK_STR(net.name, "w1.2d1.4");
    CHECK_NEAR(net.width, 1.2, 0);
    CHECK_INT(um_efficientnet_graph(&net, 31, true, 0, 0, &g), UM_USAGE);
    CHECK_INT(um_efficientnet_graph(&net, 2049, true, 0, 0, &g), UM_USAGE);
    CHECK_OK(um_efficientnet_graph(&net, 32, false, 0.2f, 0, &g));
    if (g != NULL) CHECK_INT(g->node[g->output].c, 1536);
    CHECK(g != NULL && um_graph_find_param(g, "fc.weight") < 0);
    um_graph_free(g);
    /* Drop-path of block i of n is rate * i / n, and only where there is a shortcut. */
    CHECK_OK(um_efficientnet_parse("b0", &net));
    CHECK_OK(um_efficientnet_graph(&net, 224, true, 0.2f, 0.5f, &g));
    int n = 0;
    float last = 0;
    for (int i = 0; g != NULL && i < g->n_nodes; i++)
        if (g->node[i].op == UM_OP_DROP_PATH) n++, last = g->node[i].rate;
    CHECK_INT(n, 9);
    CHECK_NEAR((double)last, 0.2 * 14 / 16, 1e-7);
    um_graph_free(g);
}

int main(void)
{
    test_refusals();
    test_padding();
    test_parameters();
    test_architectures();
    return TEST_END();
}
