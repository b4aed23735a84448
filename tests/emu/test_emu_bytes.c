/* What a training step of B7 at 380 px must move through the GPU's memory, from the kernels' own counts (um_gpu_<op>_bytes) and the operands of the products, in the order of train_kernels.h. No kernel runs. */
#include "src/models/efficientnet.h"
#include "src/nn/cuda/train_kernels.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { BATCH = 48, STEM_ROW = 32 };
static const um_dtype TYPE = UM_BF16;

typedef struct bytes {
    double forward, backward, products, step;
} bytes;

static double map_of(double pixels, int c) { return BATCH * pixels * c * 2; }

/* out = in x weight, its data gradient (with a residual added, if `adds`), its weight gradient. */
static void add_product(bytes *b, double pixels, int c, int k, bool data, bool adds)
{
    double in = map_of(pixels, c), out = map_of(pixels, k), weight = (double)c * k;
    b->products += in + out + 2 * weight;
    if (data) b->products += out + in * (adds ? 2 : 1) + 2 * weight;
    b->products += in + out + 4 * weight;
}

/* Is node x what a block adds its branch to? */
static bool is_shortcut(const um_graph *g, int x)
{
    for (int i = x + 1; i < g->n_nodes; i++)
        if (g->node[i].op == UM_OP_ADD && g->node[i].in[1] == x) return true;
    return false;
}

static void add_norm(bytes *b, const um_graph *g, int node)
{
    const um_node *v = &g->node[node], *z = &g->node[v->in[0]], *next = &g->node[node + 1];
    int area = v->h * v->w, c = v->c;
    void *some = b; /* not read: the counts ask only whether an operand is there */
    bool swish = next->op == UM_OP_ACT, depthwise = z->op == UM_OP_DEPTHWISE, stem = swish && g->node[z->in[0]].op == UM_OP_INPUT, head = swish && g->node[node + 2].op == UM_OP_MEAN && !depthwise;
    bool expand = swish && !depthwise && !stem && !head, shortcut = !swish && next->op == UM_OP_DROP_PATH;
    um_act act = swish ? UM_ACT_SWISH : UM_ACT_NONE;
    um_gpu_norm_stats_args stats = {.n = BATCH, .area = area, .c = c, .type = TYPE};
    um_gpu_norm_finish_args finish = {.c = c};
    um_gpu_norm_data_finish_args data = {.c = c};
    um_gpu_norm_fwd_args fwd = {.n = BATCH, .area = area, .c = c, .type = TYPE, .act = act, .gate = depthwise ? some : NULL, .keep = shortcut ? some : NULL, .residual = shortcut ? some : NULL};
    um_gpu_norm_means_args means = {.n = BATCH, .area = area, .c = c, .type = TYPE, .act = act};
    um_gpu_norm_bwd_args bwd = {.n = BATCH, .area = area, .c = c, .type = TYPE, .act = expand ? UM_ACT_NONE : act, .e = head ? NULL : some, .e_mean = some, .keep = shortcut ? some : NULL};
    b->forward += (double)um_gpu_norm_finish_bytes(&finish);
    b->backward += (double)um_gpu_norm_data_finish_bytes(&data);
    if (!depthwise) b->forward += (double)um_gpu_norm_stats_bytes(&stats);
    if (depthwise || head) b->forward += (double)um_gpu_norm_means_bytes(&means);
    if (!expand && !head) b->forward += (double)um_gpu_norm_fwd_bytes(&fwd);
    if (!depthwise && !expand) b->backward += (double)um_gpu_norm_bwd_sums_bytes(&bwd);
    if (!depthwise) b->backward += (double)um_gpu_norm_bwd_bytes(&bwd);
}

static void add_depthwise(bytes *b, const um_graph *g, int node)
{
    const um_node *v = &g->node[node], *in = &g->node[v->in[0]];
    /* Its input is an activation that was not kept, but where the block does not expand. */
    bool normed = in->op == UM_OP_ACT && g->node[g->node[in->in[0]].in[0]].op == UM_OP_CONV && g->node[g->node[g->node[in->in[0]].in[0]].in[0]].op != UM_OP_INPUT;
    bool adds = !normed && is_shortcut(g, v->in[0]);
    um_gpu_depthwise_train_args a = {.n = BATCH, .h = in->h, .w = in->w, .c = v->c, .p = v->h, .q = v->w, .r = v->r, .stride = v->stride, .type = TYPE, .normed = normed, .sums = (double *)b, .add = adds ? b : NULL};
    b->forward += (double)um_gpu_depthwise_fwd_bytes(&a);
    b->backward += (double)um_gpu_depthwise_bwd_bytes(&a);
}

static void add_conv(bytes *b, const um_graph *g, int node)
{
    const um_node *v = &g->node[node], *in = &g->node[v->in[0]];
    double pixels = (double)v->h * v->w;
    if (in->op == UM_OP_INPUT) {
        um_gpu_patches_args p = {.n = BATCH, .h = in->h, .w = in->w, .c = in->c, .p = v->h, .q = v->w, .r = v->r, .s = v->s, .row = STEM_ROW, .type = TYPE};
        b->forward += (double)um_gpu_patches_bytes(&p);
        add_product(b, pixels, STEM_ROW, v->c, false, false);
    } else if (in->op == UM_OP_MEAN) {
        const um_node *map = &g->node[in->in[0]];
        um_gpu_se_args s = {.n = BATCH, .area = map->h * map->w, .c = in->c, .s = v->c, .type = TYPE};
        b->forward += (double)um_gpu_se_fwd_bytes(&s);
        b->backward += (double)um_gpu_se_bwd_sums_bytes(&s) + (double)um_gpu_se_bwd_bytes(&s);
    } else if (v->bias < 0) add_product(b, pixels, in->c, v->c, true, is_shortcut(g, v->in[0]));
}

int main(void)
{
    um_efficientnet net;
    um_graph *g = NULL;
    bytes b = {0};
    CHECK_OK(um_efficientnet_parse("b7", &net));
    CHECK_OK(um_efficientnet_graph(&net, 380, true, 0.2f, 0.5f, &g));
    if (g == NULL) return TEST_END();
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->node[i].op == UM_OP_BATCH_NORM) add_norm(&b, g, i);
        if (g->node[i].op == UM_OP_DEPTHWISE) add_depthwise(&b, g, i);
        if (g->node[i].op == UM_OP_CONV) add_conv(&b, g, i);
    }
    um_gpu_opt_args o = {.rule = UM_GPU_SGD, .param_count = g->param_count, .slot = {(float *)&b, NULL}};
    um_gpu_segment s = {.type = TYPE, .dims = {1, 1, (int32_t)g->param_count}};
    b.step = (double)um_gpu_opt_bytes(&o) + (double)um_gpu_weights_bytes(&s, 1);
    double all = b.forward + b.backward + b.products + b.step;
    printf("B7 at 380 px, bf16, %d pictures a step; GB a picture: kernels forward %.3f, backward %.3f, products %.3f, optimiser and weights %.3f, all %.3f\n", BATCH, b.forward / BATCH / 1e9, b.backward / BATCH / 1e9, b.products / BATCH / 1e9,
           b.step / BATCH / 1e9, all / BATCH / 1e9);
    CHECK(all / BATCH > 2e9 && all / BATCH <= 3.7e9);
    um_graph_free(g);
    return TEST_END();
}
