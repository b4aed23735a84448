#include "src/models/mtcnn.h"

#include "src/core/cpu.h"
#include "src/image/area.h"
#include "src/models/mtcnn_boxes.h"
#include "src/models/mtcnn_kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const um_mtcnn_tensor um_mtcnn_tensors[UM_MTCNN_TENSORS] = {
    {"pnet.conv1.weight", {10, 3, 3, 3}},   {"pnet.conv1.bias", {10}},    {"pnet.prelu1.weight", {10}},
    {"pnet.conv2.weight", {16, 10, 3, 3}},  {"pnet.conv2.bias", {16}},    {"pnet.prelu2.weight", {16}},
    {"pnet.conv3.weight", {32, 16, 3, 3}},  {"pnet.conv3.bias", {32}},    {"pnet.prelu3.weight", {32}},
    {"pnet.conv4_1.weight", {2, 32, 1, 1}}, {"pnet.conv4_1.bias", {2}},   {"pnet.conv4_2.weight", {4, 32, 1, 1}},
    {"pnet.conv4_2.bias", {4}},             {"rnet.conv1.weight", {28, 3, 3, 3}}, {"rnet.conv1.bias", {28}},
    {"rnet.prelu1.weight", {28}},           {"rnet.conv2.weight", {48, 28, 3, 3}}, {"rnet.conv2.bias", {48}},
    {"rnet.prelu2.weight", {48}},           {"rnet.conv3.weight", {64, 48, 2, 2}}, {"rnet.conv3.bias", {64}},
    {"rnet.prelu3.weight", {64}},           {"rnet.dense4.weight", {128, 576}}, {"rnet.dense4.bias", {128}},
    {"rnet.prelu4.weight", {128}},          {"rnet.dense5_1.weight", {2, 128}}, {"rnet.dense5_1.bias", {2}},
    {"rnet.dense5_2.weight", {4, 128}},     {"rnet.dense5_2.bias", {4}},  {"onet.conv1.weight", {32, 3, 3, 3}},
    {"onet.conv1.bias", {32}},              {"onet.prelu1.weight", {32}}, {"onet.conv2.weight", {64, 32, 3, 3}},
    {"onet.conv2.bias", {64}},              {"onet.prelu2.weight", {64}}, {"onet.conv3.weight", {64, 64, 3, 3}},
    {"onet.conv3.bias", {64}},              {"onet.prelu3.weight", {64}}, {"onet.conv4.weight", {128, 64, 2, 2}},
    {"onet.conv4.bias", {128}},             {"onet.prelu4.weight", {128}}, {"onet.dense5.weight", {256, 1152}},
    {"onet.dense5.bias", {256}},            {"onet.prelu5.weight", {256}}, {"onet.dense6_1.weight", {2, 256}},
    {"onet.dense6_1.bias", {2}},            {"onet.dense6_2.weight", {4, 256}}, {"onet.dense6_2.bias", {4}},
    {"onet.dense6_3.weight", {10, 256}},    {"onet.dense6_3.bias", {10}},
};
/* First tensor of each net in the table. */
enum { PNET = 0, RNET = 13, ONET = 29 };

size_t um_mtcnn_tensor_count(int i)
{
    size_t n = 1;
    for (int k = 0; k < 4 && um_mtcnn_tensors[i].dims[k] != 0; k++) n *= (size_t)um_mtcnn_tensors[i].dims[k];
    return n;
}

void um_mtcnn_weights_release(um_mtcnn_weights *w)
{
    for (int i = 0; i < UM_MTCNN_TENSORS; i++) free(w->data[i]);
    *w = (um_mtcnn_weights){0};
}

void um_faces_release(um_faces *f)
{
    free(f->face);
    *f = (um_faces){0};
}

enum {
    MIN_FACE_PX = 20, /* facenet-pytorch's default; the pyramid starts at 12/20 */
    CELL_PX = 12,     /* what P-net looks at */
    MAX_LEVELS = 32,
    MAX_LAYERS = 6,
    PAD = 16 /* floats after a map that a kernel may touch */
};
static const double PYRAMID_FACTOR = 0.709;

/* R- and O-net as data: convolutions with their pooling, then one dense layer, then all heads as one. */
typedef struct conv_shape {
    int side_in, n_in, k, n_out, pool; /* square maps; pool 0: none */
} conv_shape;
typedef struct net_shape {
    int side, n_convs;
    conv_shape conv[4];
    int dense_in, dense_out, n_heads, head[3]; /* outputs of each head, in the order of the tensors: face or not, box, landmarks */
} net_shape;
static const net_shape RNET_SHAPE = {24, 3, {{24, 3, 3, 28, 3}, {11, 28, 3, 48, 3}, {4, 48, 2, 64, 0}}, 576, 128, 2, {2, 4}};
static const net_shape ONET_SHAPE = {48, 4, {{48, 3, 3, 32, 3}, {23, 32, 3, 64, 3}, {10, 64, 3, 64, 2}, {4, 64, 2, 128, 0}}, 1152, 256, 3, {2, 4, 10}};
enum { MAX_HEADS = 16, MAX_CROP = 48 };

typedef struct crop_net {
    const net_shape *shape;
    um_layer layer[MAX_LAYERS];       /* convolutions, dense, heads */
    uint32_t *offset[4];              /* of each output pixel of a convolution in its input */
    size_t map_floats;                /* the largest map */
} crop_net;

typedef struct floats {
    float *p;
    size_t cap;
} floats;

/* One size of the pyramid. */
typedef struct pyramid_level {
    float scale;
    int width_px, height_px;
    size_t stride, at;  /* rows of its planes (3, height, stride) in the pyramid's memory */
    um_area_window *x, *y;
    int made;           /* rows so far */
} pyramid_level;

struct um_mtcnn {
    const um_mtcnn_kernels *k;
    um_pnet pnet;
    crop_net rnet, onet;
    float *weights;
    uint32_t *offsets;
    um_area area;
    um_pnet_hits hits;
    um_boxes level, all; /* of one level; of all levels, then of the later stages */
    floats pnet_work, map[2], feature, hidden, head;
    uint32_t *dense_offset;
    size_t dense_cap;
    int width_px, height_px; /* of the picture the levels are planned for */
    int n_levels;
    pyramid_level levels[MAX_LEVELS];
    floats pyramid; /* all levels */
    um_area_window *windows;
    size_t windows_cap;
};

static const um_mtcnn_kernels *kernels(void)
{
    um_cpu_level level = um_cpu_level_get();
    return level == UM_CPU_AVX512 ? &um_mtcnn_kernels_avx512 : level == UM_CPU_AVX2 ? &um_mtcnn_kernels_avx2 : &um_mtcnn_kernels_base;
}

const char *um_mtcnn_isa(void) { return kernels()->name; }

um_status um_pnet_hits_reserve(um_pnet_hits *h, size_t more)
{
    if (h->n + more <= h->cap) return UM_OK;
    size_t cap = (h->n + more) * 2;
    um_pnet_hit *p = realloc(h->hit, cap * sizeof *p);
    if (p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %zu candidates", cap);
    h->hit = p;
    h->cap = cap;
    return UM_OK;
}

static um_status floats_reserve(floats *f, size_t n)
{
    if (n <= f->cap) return UM_OK;
    free(f->p);
    *f = (floats){0};
    f->p = aligned_alloc(64, (n * sizeof(float) + 63) & ~(size_t)63);
    if (f->p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the face detector");
    memset(f->p, 0, n * sizeof(float)); /* kernels read (and throw away) a little past what was written */
    f->cap = n;
    return UM_OK;
}

/* ---- weights ---- */

/* Hands out pieces of one block; with a NULL block it only counts. */
typedef struct carve {
    float *block;
    size_t used;
} carve;

static float *carve_take(carve *c, size_t n)
{
    float *p = c->block == NULL ? NULL : c->block + c->used;
    c->used += (n + 31) & ~(size_t)15; /* 64-byte pieces, and 16 floats at least after each for reads of whole registers */
    return p;
}

static float *carve_copy(carve *c, const float *src, size_t n)
{
    float *p = carve_take(c, n);
    if (p != NULL) memcpy(p, src, n * sizeof *src);
    return p;
}

static void pack_pnet(um_mtcnn *net, const um_mtcnn_weights *w, carve *c)
{
    static const int N[4] = {3, 10, 16, 32};
    float **dst[3][3] = {{&net->pnet.w1, &net->pnet.b1, &net->pnet.a1}, {&net->pnet.w2, &net->pnet.b2, &net->pnet.a2}, {&net->pnet.w3, &net->pnet.b3, &net->pnet.a3}};
    for (int i = 0; i < 3; i++) {
        float *p = carve_take(c, net->k->pnet_pack(N[i], N[i + 1], NULL, NULL));
        if (p != NULL) net->k->pnet_pack(N[i], N[i + 1], w->data[PNET + 3 * i], p);
        *dst[i][0] = p;
        *dst[i][1] = carve_copy(c, w->data[PNET + 3 * i + 1], (size_t)N[i + 1]);
        *dst[i][2] = carve_copy(c, w->data[PNET + 3 * i + 2], (size_t)N[i + 1]);
    }
    /* Only the difference of the two logits matters: p = 1 / (1 + exp(-(face - other))). */
    const float *two = w->data[PNET + 9], *bias = w->data[PNET + 10];
    net->pnet.face = carve_take(c, 32);
    for (int i = 0; net->pnet.face != NULL && i < 32; i++) net->pnet.face[i] = two[32 + i] - two[i];
    net->pnet.face_bias = bias[1] - bias[0];
    net->pnet.box = carve_copy(c, w->data[PNET + 11], 4 * 32);
    memcpy(net->pnet.box_bias, w->data[PNET + 12], sizeof net->pnet.box_bias);
}

/* One layer from `matrix` (rows * run, n_out). */
static void pack_layer(const um_mtcnn_kernels *k, um_layer *l, carve *c, int rows, int run, int n_out, const float *matrix, const float *bias, const float *slope)
{
    size_t padded = ((size_t)n_out + 15) & ~(size_t)15;
    float *w = carve_take(c, k->layer_pack(rows * run, n_out, NULL, NULL)), *b = carve_take(c, padded), *a = slope == NULL ? NULL : carve_take(c, padded);
    *l = (um_layer){.rows = rows, .run = run, .n_out = n_out, .w = w, .bias = b, .slope = a};
    if (c->block == NULL) return;
    k->layer_pack(rows * run, n_out, matrix, w);
    memcpy(b, bias, (size_t)n_out * sizeof *b);
    if (a != NULL) memcpy(a, slope, (size_t)n_out * sizeof *a);
}

/* `matrix`: scratch for the largest layer. */
static void pack_crop_net(const um_mtcnn_kernels *k, crop_net *n, const net_shape *shape, float *const *data, carve *c, float *matrix)
{
    int i = 0;
    n->shape = shape;
    for (; i < shape->n_convs; i++, data += 3) {
        const conv_shape *s = &shape->conv[i];
        int K = s->n_out, C = s->n_in, R = s->k;
        for (int y = 0; y < R; y++)
            for (int x = 0; x < R; x++)
                for (int ci = 0; ci < C; ci++)
                    for (int o = 0; o < K; o++) matrix[((y * R + x) * C + ci) * K + o] = data[0][((o * C + ci) * R + y) * R + x];
        pack_layer(k, &n->layer[i], c, R, R * C, K, matrix, data[1], data[2]);
    }
    /* facenet-pytorch flattens (W,H,C) (permute(0, 3, 2, 1)); our maps are (H,W,C). */
    int C = shape->conv[i - 1].n_out, K = shape->dense_out;
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 3; x++)
            for (int ci = 0; ci < C; ci++)
                for (int o = 0; o < K; o++) matrix[((y * 3 + x) * C + ci) * K + o] = data[0][o * shape->dense_in + (x * 3 + y) * C + ci];
    pack_layer(k, &n->layer[i++], c, 1, shape->dense_in, K, matrix, data[1], data[2]);
    data += 3;
    float bias[MAX_HEADS] = {0};
    int n_out = 0, at = 0;
    for (int h = 0; h < shape->n_heads; h++) n_out += shape->head[h];
    for (int h = 0; h < shape->n_heads; h++, data += 2)
        for (int o = 0; o < shape->head[h]; o++, at++) {
            bias[at] = data[1][o];
            for (int ci = 0; ci < K; ci++) matrix[ci * n_out + at] = data[0][o * K + ci];
        }
    pack_layer(k, &n->layer[i], c, 1, K, n_out, matrix, bias, NULL);
}

static size_t crop_net_offsets(crop_net *n, const net_shape *shape, uint32_t *block)
{
    size_t used = 0;
    n->map_floats = 0;
    for (int i = 0; i < shape->n_convs; i++) {
        const conv_shape *s = &shape->conv[i];
        int side = s->side_in - s->k + 1;
        size_t map = (size_t)side * (size_t)side * (size_t)s->n_out, in = (size_t)s->side_in * (size_t)s->side_in * (size_t)s->n_in;
        if (map > n->map_floats) n->map_floats = map;
        if (in > n->map_floats) n->map_floats = in;
        n->offset[i] = block == NULL ? NULL : block + used;
        for (int y = 0; y < side; y++)
            for (int x = 0; x < side; x++, used++)
                if (block != NULL) block[used] = (uint32_t)((y * s->side_in + x) * s->n_in);
    }
    return used;
}

um_status um_mtcnn_new(const um_mtcnn_weights *w, um_mtcnn **out)
{
    um_status st = UM_OK;
    um_mtcnn *net = calloc(1, sizeof *net);
    float *matrix = malloc(sizeof(float) * 1152 * 256); /* the largest layer, O-net's dense one */
    *out = NULL;
    if (net == NULL || matrix == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for the face detector");
        goto done;
    }
    net->k = kernels();
    carve c = {0};
    for (int pass = 0; pass < 2; pass++) { /* count, then fill */
        c.used = 0;
        pack_pnet(net, w, &c);
        pack_crop_net(net->k, &net->rnet, &RNET_SHAPE, w->data + RNET, &c, matrix);
        pack_crop_net(net->k, &net->onet, &ONET_SHAPE, w->data + ONET, &c, matrix);
        if (pass == 1) break;
        net->weights = c.block = aligned_alloc(64, (c.used * sizeof(float) + 63) & ~(size_t)63);
        if (c.block == NULL) {
            st = UM_FAIL(UM_NO_MEMORY, "no memory for the face detector's weights");
            goto done;
        }
        memset(c.block, 0, c.used * sizeof(float));
    }
    size_t n_r = crop_net_offsets(&net->rnet, &RNET_SHAPE, NULL), n_o = crop_net_offsets(&net->onet, &ONET_SHAPE, NULL);
    net->offsets = malloc((n_r + n_o) * sizeof *net->offsets);
    if (net->offsets == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for the face detector");
        goto done;
    }
    crop_net_offsets(&net->rnet, &RNET_SHAPE, net->offsets);
    crop_net_offsets(&net->onet, &ONET_SHAPE, net->offsets + n_r);
    for (int i = 0; i < 2; i++) UM_GOTO_PASS(st, floats_reserve(&net->map[i], net->onet.map_floats + PAD));
    *out = net;
done:
    free(matrix);
    if (st != UM_OK) um_mtcnn_free(net);
    return st;
}

void um_mtcnn_free(um_mtcnn *net)
{
    if (net == NULL) return;
    free(net->weights);
    free(net->offsets);
    um_area_release(&net->area);
    free(net->hits.hit);
    um_boxes_release(&net->level);
    um_boxes_release(&net->all);
    free(net->pnet_work.p);
    for (int i = 0; i < 2; i++) free(net->map[i].p);
    free(net->feature.p);
    free(net->hidden.p);
    free(net->head.p);
    free(net->dense_offset);
    free(net->pyramid.p);
    free(net->windows);
    free(net);
}

/* ---- detection ---- */

/* As PyTorch's softmax of two logits rounds it, so that saturated probabilities tie as they do there. */
static float probability(float logit)
{
    if (logit >= 0) return 1.0f / (1.0f + (float)exp(-(double)logit));
    float e = (float)exp((double)logit);
    return e / (1.0f + e);
}

/* A logit below which the probability is surely under p: a cheap first sieve; the probability itself decides. */
static float sieve(double p)
{
    if (!(p > 1e-6)) return -INFINITY;
    if (p >= 1) return 15; /* float rounds to 1 from 16.6 on */
    return (float)(log(p / (1 - p)) - 1e-3 * (1 + 1 / (1 - p) * 1e-4));
}

/* Sizes, windows and memory of the pyramid; nothing to do when the picture has the size of the last one. */
static um_status plan_levels(um_mtcnn *net, int w, int h)
{
    if (net->width_px == w && net->height_px == h) return UM_OK;
    net->width_px = net->height_px = 0;
    double scale = (double)CELL_PX / MIN_FACE_PX, least_side = (w < h ? w : h) * scale;
    size_t n_windows = 0, n_floats = 0;
    int n = 0, widest = 0;
    for (; least_side >= CELL_PX && n < MAX_LEVELS; scale *= PYRAMID_FACTOR, least_side *= PYRAMID_FACTOR, n++) {
        pyramid_level *l = &net->levels[n];
        *l = (pyramid_level){.scale = (float)scale, .width_px = (int)(w * scale + 1), .height_px = (int)(h * scale + 1), .at = n_floats};
        l->stride = ((size_t)l->width_px + 15) & ~(size_t)15;
        n_floats += 3 * l->stride * (size_t)l->height_px;
        n_windows += (size_t)l->width_px + (size_t)l->height_px;
        if (l->width_px > widest) widest = l->width_px;
    }
    net->n_levels = n;
    if (n == 0) return UM_OK;
    UM_PASS(floats_reserve(&net->pyramid, n_floats + UM_PNET_SLACK));
    UM_PASS(floats_reserve(&net->pnet_work, net->k->pnet_work(widest)));
    if (n_windows > net->windows_cap) {
        free(net->windows);
        net->windows_cap = 0;
        net->windows = malloc(n_windows * sizeof *net->windows);
        if (net->windows == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the face detector");
        net->windows_cap = n_windows;
    }
    um_area_window *next = net->windows;
    for (int i = 0; i < n; i++) {
        pyramid_level *l = &net->levels[i];
        l->x = next;
        l->y = next + l->width_px;
        next = l->y + l->height_px;
        um_area_windows(0, w, l->width_px, l->x);
        um_area_windows(0, h, l->height_px, l->y);
    }
    net->width_px = w;
    net->height_px = h;
    return UM_OK;
}

/* Area sums and all levels in one sweep over the rows, so that a level's row is read from the sums while they are in the cache. */
static um_status make_levels(um_mtcnn *net, const um_image *rgb)
{
    UM_PASS(um_area_begin(&net->area, rgb)); /* first: it knows the size limit */
    UM_PASS(plan_levels(net, rgb->width_px, rgb->height_px));
    for (int i = 0; i < net->n_levels; i++) net->levels[i].made = 0;
    for (int y = 0; y < rgb->height_px; y++) {
        um_area_add_row(&net->area, rgb, y);
        for (int i = 0; i < net->n_levels; i++) {
            pyramid_level *l = &net->levels[i];
            for (; l->made < l->height_px && l->y[l->made].hi <= y + 1; l->made++) {
                float *plane[3];
                for (int c = 0; c < 3; c++) plane[c] = net->pyramid.p + l->at + ((size_t)c * (size_t)l->height_px + (size_t)l->made) * l->stride;
                um_area_row_planar(&net->area, l->y[l->made], l->x, l->width_px, plane);
            }
        }
    }
    return UM_OK;
}

static um_status first_stage(um_mtcnn *net, double threshold)
{
    um_boxes *all = &net->all;
    all->n = 0;
    for (int v = 0; v < net->n_levels; v++) {
        const pyramid_level *l = &net->levels[v];
        net->hits.n = 0;
        UM_PASS(net->k->pnet_level(&net->pnet, net->pnet_work.p, net->pyramid.p + l->at, l->stride, l->height_px, l->width_px, sieve(threshold), &net->hits));
        um_boxes *b = &net->level;
        b->n = 0;
        UM_PASS(um_boxes_reserve(b, net->hits.n));
        float s = l->scale;
        for (size_t i = 0; i < net->hits.n; i++) {
            const um_pnet_hit *hit = &net->hits.hit[i];
            float p = probability(hit->logit);
            if (!(p >= (float)threshold)) continue;
            um_box *o = &b->box[b->n++];
            *o = (um_box){.x0 = floorf((float)(2 * hit->x + 1) / s),
                          .y0 = floorf((float)(2 * hit->y + 1) / s),
                          .x1 = floorf((float)(2 * hit->x + CELL_PX) / s),
                          .y1 = floorf((float)(2 * hit->y + CELL_PX) / s),
                          .p = p,
                          .order = (uint32_t)hit->y * (uint32_t)l->width_px + (uint32_t)hit->x};
            memcpy(o->shift, hit->box, sizeof o->shift);
        }
        um_boxes_sort(b);
        um_boxes_nms(b, 0.5);
        UM_PASS(um_boxes_append(all, b));
    }
    for (int i = 0; i < all->n; i++) all->box[i].order = (uint32_t)i;
    um_boxes_sort(all);
    um_boxes_nms(all, 0.7);
    for (int i = 0; i < all->n; i++) {
        um_box *b = &all->box[i];
        float bw = b->x1 - b->x0, bh = b->y1 - b->y0;
        b->x0 = b->x0 + b->shift[0] * bw;
        b->y0 = b->y0 + b->shift[1] * bh;
        b->x1 = b->x1 + b->shift[2] * bw;
        b->y1 = b->y1 + b->shift[3] * bh;
        um_box_square(b);
    }
    return UM_OK;
}

/* Runs R- or O-net over net->all; a box whose crop is empty is dropped. Heads of box i at net->head.p + i * MAX_HEADS. */
static um_status crop_stage(um_mtcnn *net, const crop_net *c, int w, int h)
{
    const net_shape *s = c->shape;
    um_boxes *all = &net->all;
    const size_t dense_in = (size_t)s->dense_in, dense_out = (size_t)s->dense_out, n_boxes = (size_t)all->n;
    UM_PASS(floats_reserve(&net->feature, n_boxes * dense_in + PAD));
    UM_PASS(floats_reserve(&net->hidden, n_boxes * dense_out + PAD));
    UM_PASS(floats_reserve(&net->head, n_boxes * MAX_HEADS + PAD));
    if (n_boxes > net->dense_cap) {
        free(net->dense_offset);
        net->dense_cap = 0;
        net->dense_offset = malloc(n_boxes * 2 * sizeof *net->dense_offset);
        if (net->dense_offset == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %zu boxes", n_boxes);
        net->dense_cap = n_boxes * 2;
    }
    int n = 0, side = s->side;
    for (int i = 0; i < all->n; i++) {
        um_rect r;
        if (!um_box_pad(&all->box[i], w, h, &r)) continue;
        all->box[n] = all->box[i];
        um_area_window wx[MAX_CROP], wy[MAX_CROP];
        um_area_windows(r.x0, r.x1 - r.x0, side, wx);
        um_area_windows(r.y0, r.y1 - r.y0, side, wy);
        float *in = net->map[0].p, *out = net->map[1].p;
        for (int y = 0; y < side; y++) um_area_row_packed(&net->area, wy[y], wx, side, in + (size_t)y * (size_t)side * 3);
        for (int l = 0; l < s->n_convs; l++) {
            const conv_shape *v = &s->conv[l];
            int made = v->side_in - v->k + 1;
            float *feature = net->feature.p + (size_t)n * dense_in;
            bool last = l == s->n_convs - 1;
            net->k->layer(&c->layer[l], in, c->offset[l], made * made, (size_t)v->side_in * (size_t)v->n_in, last ? feature : out, (size_t)v->n_out);
            if (v->pool == 0) continue;
            net->k->pool(out, made, made, v->n_out, v->pool, in, s->conv[l + 1].side_in, s->conv[l + 1].side_in);
        }
        n++;
    }
    all->n = n;
    for (int i = 0; i < n; i++) net->dense_offset[i] = (uint32_t)((size_t)i * dense_in);
    net->k->layer(&c->layer[s->n_convs], net->feature.p, net->dense_offset, n, 0, net->hidden.p, dense_out);
    for (int i = 0; i < n; i++) net->dense_offset[i] = (uint32_t)((size_t)i * dense_out);
    net->k->layer(&c->layer[s->n_convs + 1], net->hidden.p, net->dense_offset, n, 0, net->head.p, MAX_HEADS);
    return UM_OK;
}

/* Keeps the boxes that pass, with their new probability and shift, in their order. */
static void keep_passed(um_mtcnn *net, double threshold)
{
    um_boxes *all = &net->all;
    int n = 0;
    for (int i = 0; i < all->n; i++) {
        const float *h = net->head.p + (size_t)i * MAX_HEADS;
        float p = probability(h[1] - h[0]);
        if (!(p > (float)threshold)) continue;
        um_box b = all->box[i];
        b.p = p;
        b.order = (uint32_t)n;
        memcpy(b.shift, h + 2, sizeof b.shift);
        b.head = i;
        all->box[n++] = b;
    }
    all->n = n;
}

static um_status faces_reserve(um_faces *f, int n)
{
    if (n <= f->cap) return UM_OK;
    um_face *p = realloc(f->face, (size_t)n * 2 * sizeof *p);
    if (p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d faces", n);
    f->face = p;
    f->cap = n * 2;
    return UM_OK;
}

um_status um_mtcnn_detect(um_mtcnn *net, const um_image *rgb, const um_thresholds *t, um_faces *out)
{
    int w = rgb->width_px, h = rgb->height_px;
    um_boxes *all = &net->all;
    out->n = 0;
    UM_PASS(make_levels(net, rgb));
    UM_PASS(first_stage(net, t->p));
    if (all->n == 0) return UM_OK;

    UM_PASS(crop_stage(net, &net->rnet, w, h));
    keep_passed(net, t->r);
    um_boxes_sort(all);
    um_boxes_nms(all, 0.7);
    for (int i = 0; i < all->n; i++) {
        um_box_shift(&all->box[i]);
        um_box_square(&all->box[i]);
    }
    if (all->n == 0) return UM_OK;

    UM_PASS(crop_stage(net, &net->onet, w, h));
    keep_passed(net, t->o);
    /* Landmarks are relative to the box before its shift. */
    UM_PASS(faces_reserve(out, all->n));
    for (int i = 0; i < all->n; i++) {
        um_box *b = &all->box[i];
        const float *p = net->head.p + (size_t)b->head * MAX_HEADS + 6;
        float bw = b->x1 - b->x0 + 1, bh = b->y1 - b->y0 + 1;
        for (int k = 0; k < 5; k++) {
            b->landmarks[k][0] = bw * p[k] + b->x0 - 1;
            b->landmarks[k][1] = bh * p[5 + k] + b->y0 - 1;
        }
        um_box_shift(b);
    }
    um_boxes_nms_min(all, 0.7);
    um_boxes_sort_by_size(all);
    for (int i = 0; i < all->n; i++) {
        const um_box *b = &all->box[i];
        um_face *f = &out->face[i];
        *f = (um_face){.box = {b->x0, b->y0, b->x1, b->y1}, .probability = b->p};
        memcpy(f->landmarks, b->landmarks, sizeof f->landmarks);
    }
    out->n = all->n;
    return UM_OK;
}
