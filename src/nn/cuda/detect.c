#include "src/nn/cuda/detect.h"

#include "src/core/placing.h"
#include "src/nn/cuda/detect_kernels.h"
#include "src/nn/cuda/device.h"
#include "src/nn/cuda/infer_kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_FACE_PX = 20, CELL_PX = 12, MAX_LEVELS = 32, MAX_PIXELS = 16800000, PNET = 0, RNET = 13, ONET = 29, R_EACH = 512, O_EACH = 128, /* R_EACH, O_EACH: boxes of a frame; docs/gpu.md says how many there are */
        MAX_CONVS = 4 };
static const double PYRAMID_FACTOR = 0.709;

typedef struct level {
    float scale;
    int width_px, height_px;
} level;

/* A convolution with PReLU, and its pooling. */
typedef struct conv {
    int n_in, k, n_out, pool; /* filter k x k; pool 0: none, else its window, at stride 2 */
    float *weight, *bias, *slope;
} conv;

typedef struct dense {
    int n_in, n_out;
    float *weight, *bias, *slope; /* slope NULL: linear */
} dense;

typedef struct crop_net {
    int side, n_convs, n_heads, cap;
    conv conv[MAX_CONVS];
    dense hidden, heads;
    float *map[2], *out; /* map: what a convolution reads, and what one leaves that is to be pooled */
} crop_net;

struct um_gpu_detector {
    int width_px, height_px, max_frames, n_levels;
    um_thresholds thresholds;
    level levels[MAX_LEVELS];
    conv pnet[4];          /* the last one: face less none, box */
    crop_net rnet, onet;
    size_t bytes, frame_bytes, host_bytes;
    unsigned char *memory, *host;
    float *constants;      /* of the host, in the device's order, while it is opened */
    /* of the device */
    uint8_t *frames;
    float *pyramid, *pmap[2];
    um_box *found, *of_level, *list, *boxes[2];
    int *level_count, *count[2], *first, *entry, *overflow, *there; /* there: frames of the batch */
    um_face *faces;
    /* of the host */
    uint8_t *host_frames;
    um_face *host_faces;
    int *host_count, *host_overflow, *host_there;
    um_tape *tape;
};

/* ---- what there is to place ---- */

static float *place_floats(um_placing *p, size_t n) { return um_place(p, n * sizeof(float)); }

static void place_conv(um_placing *p, conv *c)
{
    c->weight = place_floats(p, (size_t)(c->k * c->k) * (size_t)c->n_in * (size_t)c->n_out);
    c->bias = place_floats(p, (size_t)c->n_out);
    c->slope = place_floats(p, (size_t)c->n_out);
}

static void place_dense(um_placing *p, dense *d, bool slope)
{
    d->weight = place_floats(p, (size_t)d->n_in * (size_t)d->n_out);
    d->bias = place_floats(p, (size_t)d->n_out);
    d->slope = slope ? place_floats(p, (size_t)d->n_out) : NULL;
}

static void place_net_weights(um_placing *p, crop_net *n)
{
    for (int i = 0; i < n->n_convs; i++) place_conv(p, &n->conv[i]);
    place_dense(p, &n->hidden, true);
    place_dense(p, &n->heads, false);
}

static int pooled(int side) { return (side - 1) / 2 + 1; } /* window 2; and window 3 of one pixel less: ceil((side - window) / 2) + 1 */
static int pool_side(int side, int window) { return window == 0 ? side : window == 2 ? pooled(side) : (side - 2) / 2 + 1; }

static void place_net_maps(um_placing *p, crop_net *n)
{
    size_t largest[2] = {(size_t)n->side * (size_t)n->side * 3}, cap = (size_t)n->cap;
    int side = n->side;
    for (int i = 0; i < n->n_convs; i++) { /* all but the last convolution are pooled: into the map they were made from */
        size_t channels = (size_t)n->conv[i].n_out;
        side -= n->conv[i].k - 1;
        if (largest[1] < (size_t)side * (size_t)side * channels) largest[1] = (size_t)side * (size_t)side * channels;
        side = pool_side(side, n->conv[i].pool);
        if (n->conv[i].pool > 0 && largest[0] < (size_t)side * (size_t)side * channels) largest[0] = (size_t)side * (size_t)side * channels;
    }
    if (largest[0] < (size_t)n->hidden.n_out) largest[0] = (size_t)n->hidden.n_out;
    for (int i = 0; i < 2; i++) n->map[i] = place_floats(p, cap * largest[i]);
    n->out = place_floats(p, cap * (size_t)n->n_heads);
}

static size_t lay_out(um_gpu_detector *d, unsigned char *base, size_t *constants)
{
    um_placing p = {.base = base, .align = UM_GPU_MEMORY_ALIGN, .slack = UM_GPU_MEMORY_SLACK};
    size_t frames = (size_t)d->max_frames, cap = UM_GPU_LIST_CAP, lists = frames * cap, largest = 0, map = 0;
    for (int i = 0; i < 4; i++) place_conv(&p, &d->pnet[i]);
    place_net_weights(&p, &d->rnet);
    place_net_weights(&p, &d->onet);
    *constants = p.end;
    d->frames = um_place(&p, frames * d->frame_bytes);
    for (int i = 0; i < d->n_levels; i++) {
        size_t pixels = (size_t)d->levels[i].width_px * (size_t)d->levels[i].height_px;
        if (largest < pixels) largest = pixels;
    }
    map = largest * 10; /* the first convolution's; later ones are smaller: a quarter of the pixels, 16 and 32 channels */
    d->pyramid = place_floats(&p, frames * largest * 3);
    for (int i = 0; i < 2; i++) d->pmap[i] = place_floats(&p, frames * map);
    d->found = um_place(&p, lists * sizeof(um_box));
    d->of_level = um_place(&p, lists * (size_t)d->n_levels * sizeof(um_box));
    d->list = um_place(&p, lists * sizeof(um_box));
    for (int i = 0; i < 2; i++) {
        d->boxes[i] = um_place(&p, lists * sizeof(um_box));
        d->count[i] = um_place(&p, frames * sizeof(int));
    }
    d->level_count = um_place(&p, frames * (size_t)d->n_levels * sizeof(int));
    d->first = um_place(&p, (frames + 1) * sizeof(int));
    d->entry = um_place(&p, 2 * frames * R_EACH * sizeof(int));
    d->overflow = um_place(&p, frames * sizeof(int));
    d->there = um_place(&p, sizeof(int));
    d->faces = um_place(&p, frames * O_EACH * sizeof(um_face));
    place_net_maps(&p, &d->rnet);
    place_net_maps(&p, &d->onet);
    return p.end;
}

/* ---- weights: made in memory of the host that is laid out as the device's ---- */

static void fill_conv(const conv *c, float *const *data)
{
    int K = c->n_out, C = c->n_in, R = c->k;
    for (int y = 0; y < R; y++)
        for (int x = 0; x < R; x++)
            for (int ci = 0; ci < C; ci++)
                for (int o = 0; o < K; o++) c->weight[((y * R + x) * C + ci) * K + o] = data[0][((o * C + ci) * R + y) * R + x];
    memcpy(c->bias, data[1], (size_t)K * sizeof(float));
    memcpy(c->slope, data[2], (size_t)K * sizeof(float));
}

/* Only the difference of the two logits matters: face, then the box, as one 1 x 1 convolution of 5. */
static void fill_pnet_heads(const conv *c, float *const *data)
{
    for (int ci = 0; ci < c->n_in; ci++) {
        c->weight[ci * 5] = data[0][32 + ci] - data[0][ci];
        for (int o = 0; o < 4; o++) c->weight[ci * 5 + 1 + o] = data[2][o * 32 + ci];
    }
    c->bias[0] = data[1][1] - data[1][0];
    for (int o = 0; o < 4; o++) c->bias[1 + o] = data[3][o];
    for (int o = 0; o < 5; o++) c->slope[o] = 1;
}

static void fill_net(const crop_net *n, float *const *data)
{
    for (int i = 0; i < n->n_convs; i++, data += 3) fill_conv(&n->conv[i], data);
    /* facenet-pytorch flattens (W,H,C) (permute(0, 3, 2, 1)); our maps are (H,W,C). */
    const dense *h = &n->hidden;
    int C = h->n_in / 9;
    for (int o = 0; o < h->n_out; o++)
        for (int y = 0; y < 3; y++)
            for (int x = 0; x < 3; x++)
                for (int ci = 0; ci < C; ci++) h->weight[o * h->n_in + (y * 3 + x) * C + ci] = data[0][o * h->n_in + (x * 3 + y) * C + ci];
    memcpy(h->bias, data[1], (size_t)h->n_out * sizeof(float));
    memcpy(h->slope, data[2], (size_t)h->n_out * sizeof(float));
    data += 3;
    static const int heads[] = {2, 4, 10};
    for (int i = 0, at = 0; at < n->n_heads; at += heads[i++], data += 2) {
        memcpy(n->heads.weight + (size_t)at * (size_t)h->n_out, data[0], (size_t)(heads[i] * h->n_out) * sizeof(float));
        memcpy(n->heads.bias + at, data[1], (size_t)heads[i] * sizeof(float));
    }
}

static void shape(um_gpu_detector *d)
{
    static const conv pnet[4] = {{.n_in = 3, .k = 3, .n_out = 10, .pool = 2}, {.n_in = 10, .k = 3, .n_out = 16}, {.n_in = 16, .k = 3, .n_out = 32}, {.n_in = 32, .k = 1, .n_out = 5}};
    memcpy(d->pnet, pnet, sizeof pnet);
    d->rnet = (crop_net){.side = 24, .n_convs = 3, .n_heads = 6, .cap = d->max_frames * R_EACH, .conv = {{.n_in = 3, .k = 3, .n_out = 28, .pool = 3}, {.n_in = 28, .k = 3, .n_out = 48, .pool = 3}, {.n_in = 48, .k = 2, .n_out = 64}},
                         .hidden = {.n_in = 576, .n_out = 128}, .heads = {.n_in = 128, .n_out = 6}};
    d->onet = (crop_net){.side = 48, .n_convs = 4, .n_heads = 16, .cap = d->max_frames * O_EACH,
                         .conv = {{.n_in = 3, .k = 3, .n_out = 32, .pool = 3}, {.n_in = 32, .k = 3, .n_out = 64, .pool = 3}, {.n_in = 64, .k = 3, .n_out = 64, .pool = 2}, {.n_in = 64, .k = 2, .n_out = 128}},
                         .hidden = {.n_in = 1152, .n_out = 256}, .heads = {.n_in = 256, .n_out = 16}};
    double scale = (double)CELL_PX / MIN_FACE_PX, side = (d->width_px < d->height_px ? d->width_px : d->height_px) * scale;
    for (; side >= CELL_PX && d->n_levels < MAX_LEVELS; scale *= PYRAMID_FACTOR, side *= PYRAMID_FACTOR)
        d->levels[d->n_levels++] = (level){(float)scale, (int)(d->width_px * scale + 1), (int)(d->height_px * scale + 1)};
}

/* ---- recording ---- */

#define QUEUE(op, args, s) UM_PASS(um_gpu_check(um_gpu_##op(args, s), "cannot queue " #op))

/* in (n,side,side,..) through c and its pooling to `out`, by way of `between`; *h and *w are moved on. */
static um_status queue_conv(const conv *c, int n, int *h, int *w, const float *in, float *between, float *out, um_act act, const int *count, cudaStream_t s)
{
    um_gpu_conv_args a = {.n = n, .h = *h, .w = *w, .c = c->n_in, .p = *h - c->k + 1, .q = *w - c->k + 1, .k = c->n_out, .r = c->k, .s = c->k, .stride = 1, .in_type = UM_F32, .out_type = UM_F32, .in = in, .weight = c->weight, .bias = c->bias,
                          .slope = act == UM_ACT_PRELU ? c->slope : NULL, .act = act, .out = c->pool > 0 ? between : out, .count = count};
    QUEUE(conv, &a, s);
    *h = a.p;
    *w = a.q;
    if (c->pool == 0) return UM_OK;
    um_gpu_max_pool_args m = {.n = n, .h = a.p, .w = a.q, .c = c->n_out, .p = pool_side(a.p, c->pool), .q = pool_side(a.q, c->pool), .r = c->pool, .s = c->pool, .stride = 2, .type = UM_F32, .in = between, .out = out, .count = count};
    QUEUE(max_pool, &m, s);
    *h = m.p;
    *w = m.q;
    return UM_OK;
}

/* A logit below which the probability is surely under p, as src/models/mtcnn.c has it. */
static float sieve(double p)
{
    if (!(p > 1e-6)) return -INFINITY;
    if (p >= 1) return 15;
    return (float)(log(p / (1 - p)) - 1e-3 * (1 + 1 / (1 - p) * 1e-4));
}

static um_status queue_level(um_gpu_detector *d, int i, cudaStream_t s)
{
    const level *l = &d->levels[i];
    int h = l->height_px, w = l->width_px, n = d->max_frames;
    um_gpu_area_args area = {.n = n, .h = d->height_px, .w = d->width_px, .p = h, .q = w, .in = d->frames, .out = d->pyramid, .count = d->there};
    QUEUE(area, &area, s);
    UM_PASS(queue_conv(&d->pnet[0], n, &h, &w, d->pyramid, d->pmap[0], d->pmap[1], UM_ACT_PRELU, d->there, s));
    UM_PASS(queue_conv(&d->pnet[1], n, &h, &w, d->pmap[1], NULL, d->pmap[0], UM_ACT_PRELU, d->there, s));
    UM_PASS(queue_conv(&d->pnet[2], n, &h, &w, d->pmap[0], NULL, d->pmap[1], UM_ACT_PRELU, d->there, s));
    UM_PASS(queue_conv(&d->pnet[3], n, &h, &w, d->pmap[1], NULL, d->pmap[0], UM_ACT_NONE, d->there, s));
    um_gpu_candidates_args c = {.n = n, .h = h, .w = w, .level = i, .n_levels = d->n_levels, .width = l->width_px, .scale = l->scale, .least = sieve(d->thresholds.p), .threshold = (float)d->thresholds.p, .map = d->pmap[0], .found = d->found,
                                .out = d->of_level, .count = d->level_count, .overflow = d->overflow, .there = d->there};
    QUEUE(candidates, &c, s);
    return UM_OK;
}

/* The boxes of boxes[which] through a net: heads in net->out. */
static um_status queue_net(um_gpu_detector *d, const crop_net *net, int which, cudaStream_t s)
{
    um_gpu_entries_args list = {.n = d->max_frames, .each = net->cap / d->max_frames, .count = d->count[which], .first = d->first, .entry = d->entry, .overflow = d->overflow};
    um_gpu_crops_args crops = {.cap = net->cap, .h = d->height_px, .w = d->width_px, .side = net->side, .in = d->frames, .entry = d->entry, .box = d->boxes[which], .out = net->map[0]};
    int h = net->side, w = net->side;
    QUEUE(entries, &list, s);
    QUEUE(crops, &crops, s);
    const int *there = d->first + d->max_frames;
    int at = 0; /* the map that is read next */
    for (int i = 0; i < net->n_convs; i++) {
        bool pools = net->conv[i].pool > 0; /* then the result comes back to where its input was */
        UM_PASS(queue_conv(&net->conv[i], net->cap, &h, &w, net->map[at], net->map[1 - at], pools ? net->map[at] : net->map[1 - at], UM_ACT_PRELU, there, s));
        if (!pools) at = 1 - at;
    }
    um_gpu_dense_args hidden = {.n = net->cap, .c = net->hidden.n_in, .k = net->hidden.n_out, .in = net->map[at], .weight = net->hidden.weight, .bias = net->hidden.bias, .slope = net->hidden.slope, .act = UM_ACT_PRELU, .out = net->map[1 - at], .count = there};
    QUEUE(dense, &hidden, s);
    um_gpu_dense_args heads = {.n = net->cap, .c = net->heads.n_in, .k = net->heads.n_out, .in = net->map[1 - at], .weight = net->heads.weight, .bias = net->heads.bias, .act = UM_ACT_NONE, .out = net->out, .count = there};
    QUEUE(dense, &heads, s);
    return UM_OK;
}

/* What net says of boxes[which], for the stage behind it; what is left goes into the other list. */
static void judge(um_gpu_detector *d, um_gpu_boxes_args *b, const crop_net *net, double threshold, int which)
{
    b->threshold = (float)threshold;
    b->in = d->boxes[which];
    b->in_count = d->count[which];
    b->head = net->out;
    b->out = d->boxes[1 - which];
    b->out_count = d->count[1 - which];
}

static um_status record(void *user, void *stream)
{
    um_gpu_detector *d = user;
    cudaStream_t s = stream;
    size_t frames = (size_t)d->max_frames;
    UM_PASS(um_gpu_device_ops.copy(d->frames, d->host_frames, frames * d->frame_bytes, s));
    UM_PASS(um_gpu_device_ops.copy(d->there, d->host_there, sizeof(int), s));
    UM_PASS(um_gpu_check(cudaMemsetAsync(d->overflow, 0, frames * sizeof *d->overflow, s), "cannot clear memory of the GPU"));
    for (int i = 0; i < d->n_levels; i++) UM_PASS(queue_level(d, i, s));
    um_gpu_boxes_args b = {.n = d->max_frames, .h = d->height_px, .w = d->width_px, .n_levels = d->n_levels, .in = d->of_level, .in_count = d->level_count, .first = d->first, .list = d->list, .out = d->boxes[0], .out_count = d->count[0],
                           .faces = d->faces, .faces_each = O_EACH, .overflow = d->overflow};
    QUEUE(boxes_first, &b, s);
    UM_PASS(queue_net(d, &d->rnet, 0, s));
    judge(d, &b, &d->rnet, d->thresholds.r, 0);
    QUEUE(boxes_second, &b, s);
    UM_PASS(queue_net(d, &d->onet, 1, s));
    judge(d, &b, &d->onet, d->thresholds.o, 1);
    QUEUE(boxes_last, &b, s);
    UM_PASS(um_gpu_device_ops.copy(d->host_count, d->count[0], frames * sizeof(int), s));
    UM_PASS(um_gpu_device_ops.copy(d->host_overflow, d->overflow, frames * sizeof(int), s));
    return um_gpu_device_ops.copy(d->host_faces, d->faces, frames * O_EACH * sizeof(um_face), s);
}

/* ---- open, run, close ---- */

static void close_detector(um_gpu_detector *d)
{
    if (d == NULL) return;
    um_gpu_device_ops.tape_free(d->tape);
    if (d->memory != NULL) um_gpu_device_ops.memory_free(d->memory);
    if (d->host != NULL) um_gpu_device_ops.host_free(d->host);
    free(d);
}

static um_status upload_weights(um_gpu_detector *d, const um_mtcnn_weights *w, size_t constants)
{
    size_t ignored;
    unsigned char *made = calloc(1, constants);
    if (made == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the face detector's weights");
    (void)lay_out(d, made, &ignored); /* for the weights' places only: what lies behind them is never touched */
    for (int i = 0; i < 3; i++) fill_conv(&d->pnet[i], w->data + PNET + 3 * i);
    fill_pnet_heads(&d->pnet[3], w->data + PNET + 9);
    fill_net(&d->rnet, w->data + RNET);
    fill_net(&d->onet, w->data + ONET);
    um_status st = um_gpu_device_ops.upload(d->memory, made, constants);
    free(made);
    return st;
}

static um_status open_detector(const um_mtcnn_weights *w, int width_px, int height_px, int max_frames, const um_thresholds *t, um_gpu_detector **out)
{
    size_t constants = 0, frames = (size_t)max_frames;
    void *p = NULL;
    um_status st;
    *out = NULL;
    if ((int64_t)width_px * height_px > MAX_PIXELS) return UM_FAIL(UM_TOO_LARGE, "a picture of %dx%d is more than %d pixels", width_px, height_px, MAX_PIXELS);
    um_gpu_detector *d = calloc(1, sizeof *d);
    if (d == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the face detector");
    d->width_px = width_px;
    d->height_px = height_px;
    d->max_frames = max_frames;
    d->thresholds = *t;
    d->frame_bytes = (size_t)width_px * (size_t)height_px * 3;
    shape(d);
    d->bytes = lay_out(d, NULL, &constants);
    UM_GOTO_PASS(st, um_gpu_device_ops.memory_new(d->bytes, &p));
    d->memory = p;
    UM_GOTO_PASS(st, upload_weights(d, w, constants));
    (void)lay_out(d, d->memory, &constants);
    size_t faces = frames * O_EACH * sizeof(um_face);
    UM_GOTO_PASS(st, um_gpu_device_ops.host_new(frames * (d->frame_bytes + 2 * sizeof(int)) + faces + sizeof(int), &p));
    d->host = p;
    d->host_faces = p;
    d->host_count = (int *)(void *)(d->host + faces);
    d->host_overflow = d->host_count + frames;
    d->host_there = d->host_overflow + frames;
    d->host_frames = (uint8_t *)(d->host_there + 1);
    memset(d->host_frames, 0, frames * d->frame_bytes); /* all are copied, where a batch has fewer, too */
    if (d->n_levels > 0) UM_GOTO_PASS(st, um_gpu_device_ops.tape_new(record, d, &d->tape));
    *out = d;
done:
    if (st != UM_OK) close_detector(d);
    return st;
}

static um_status run(um_gpu_detector *d, const uint8_t *const *frames, int n, um_faces *faces, bool *overflown)
{
    for (int i = 0; i < n; i++) {
        faces[i].n = 0;
        overflown[i] = false;
    }
    if (d->n_levels == 0 || n == 0) return UM_OK; /* smaller than any face */
    *d->host_there = n;
    for (int i = 0; i < n; i++) memcpy(d->host_frames + (size_t)i * d->frame_bytes, frames[i], d->frame_bytes);
    UM_PASS(um_gpu_device_ops.tape_begin(d->tape));
    UM_PASS(um_gpu_device_ops.tape_end(d->tape));
    for (int i = 0; i < n; i++) {
        um_faces *f = &faces[i];
        int count = d->host_count[i];
        overflown[i] = d->host_overflow[i] != 0;
        if (overflown[i]) continue;
        if (count > f->cap) {
            um_face *more = realloc(f->face, (size_t)count * sizeof *more);
            if (more == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d faces", count);
            f->face = more;
            f->cap = count;
        }
        if (count > 0) memcpy(f->face, d->host_faces + (size_t)i * O_EACH, (size_t)count * sizeof *f->face);
        f->n = count;
    }
    return UM_OK;
}

static size_t bytes_of(const um_gpu_detector *d) { return d->bytes; }

const um_gpu_detector_ops um_gpu_mtcnn = {.open = open_detector, .close = close_detector, .run = run, .bytes = bytes_of};
