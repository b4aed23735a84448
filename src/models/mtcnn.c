#include "src/models/mtcnn.h"

#include "src/image/area.h"
#include "src/models/mtcnn_kernel.h"
#include "src/models/nms.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_FACE_PX = 20, CELL_PX = 12, STRIDE_PX = 2, R_PX = 24, O_PX = 48, MAX_LEVELS = 32, P_PLANES = 32 };
static const double PYRAMID_FACTOR = 0.709;
static const double NMS_LEVEL = 0.5, NMS_LEVELS = 0.7, NMS_R = 0.7;
static const float NMS_O = 0.7f;

/* Convolutions packed for the kernels: weights (R, S * C, K), K padded to a multiple of 16; dense layers after a map are reordered from PyTorch's (W, H, C) to our (H, W, C). */
typedef struct layer {
    float *w, *bias, *slope;
    int K;
} layer;

struct um_mtcnn {
    const um_mtcnn_kernels *k;
    layer p1, p2, p3;                 /* planes: (C * 9, K), K not padded */
    float p4[6][P_PLANES], p4_bias[6]; /* two logits, four offsets */
    float p_difference[P_PLANES];     /* face logit minus the other: what is searched for */
    layer r1, r2, r3, r4, r5, o1, o2, o3, o4, o5, o6;

    um_area area;
    int *begin_x, *end_x, *begin_y, *end_y; /* windows of a pyramid level */
    float *rows;                            /* the ring buffers of the P-net */
    size_t row_floats, windows_cap;
    float *map[2];                          /* maps of one R- or O-net crop, before and after pooling */
    float *batch, *hidden, *output;         /* last maps of all boxes, dense layers */
    size_t batch_cap;
    um_box *box, *box2;                     /* boxes, and scratch of as many */
    float (*offset)[4], (*offset2)[4];
    float (*point)[10];
    int *order, *keep, *source;
    int n, cap, first_of_level;
};

/* ---- weights ---- */

static const float *tensor(const um_mtcnn_weights *w, const char *name)
{
    for (int i = 0; i < UM_MTCNN_TENSORS; i++)
        if (strcmp(um_mtcnn_tensors[i].name, name) == 0) return w->data[i];
    return NULL;
}

static float *floats(size_t n)
{
    float *p = aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);
    if (p != NULL) memset(p, 0, n * sizeof(float));
    return p;
}

static int padded(int K) { return (K + 15) / 16 * 16; }

static bool layer_new(layer *l, int rows, int K)
{
    l->K = K;
    l->w = floats((size_t)rows * (size_t)K + UM_MTCNN_SLACK);
    l->bias = floats((size_t)K + UM_MTCNN_SLACK);
    l->slope = floats((size_t)K + UM_MTCNN_SLACK);
    return l->w != NULL && l->bias != NULL && l->slope != NULL;
}

static void layer_free(layer *l)
{
    free(l->w);
    free(l->bias);
    free(l->slope);
}

/* (K,C,R,S) to (C,R,S,K): rows of planes. */
static bool pack_planes(layer *l, const float *w, const float *b, const float *slope, int C, int K)
{
    if (!layer_new(l, C * 9, K)) return false;
    for (int k = 0; k < K; k++) {
        for (int i = 0; i < C * 9; i++) l->w[i * K + k] = w[k * C * 9 + i];
        l->bias[k] = b[k];
        l->slope[k] = slope[k];
    }
    return true;
}

/* (K,C,R,S) to (R,S,C,K). in_C is how many channels the map before has in memory, padding included. Without slope: linear. */
static bool pack_conv(layer *l, const float *w, const float *b, const float *slope, int C, int in_C, int R, int S, int K)
{
    int Kp = padded(K);
    if (!layer_new(l, R * S * in_C, Kp)) return false;
    for (int k = 0; k < K; k++) {
        for (int c = 0; c < C; c++)
            for (int r = 0; r < R; r++)
                for (int s = 0; s < S; s++) l->w[((r * S + s) * in_C + c) * Kp + k] = w[((k * C + c) * R + r) * S + s];
        l->bias[k] = b[k];
    }
    for (int k = 0; k < Kp; k++) l->slope[k] = slope != NULL && k < K ? slope[k] : 1;
    return true;
}

/* A dense layer on a map of side x side x C, flattened by PyTorch as (x, y, c) and by us as (y, x, c). side 1: a plain one. k0: first output of several layers packed as one; the layer was made by the first. */
static bool pack_dense(layer *l, const float *w, const float *b, const float *slope, int side, int C, int K, int k0, int K_all)
{
    int n = side * side * C, Kp = padded(K_all);
    if (k0 == 0 && !layer_new(l, n, Kp)) return false;
    for (int k = 0; k < K; k++) {
        for (int y = 0; y < side; y++)
            for (int x = 0; x < side; x++)
                for (int c = 0; c < C; c++) l->w[((y * side + x) * C + c) * Kp + k0 + k] = w[k * n + (x * side + y) * C + c];
        l->bias[k0 + k] = b[k];
    }
    for (int k = k0; k < Kp; k++) l->slope[k] = slope != NULL && k < k0 + K ? slope[k - k0] : 1;
    return true;
}

static bool pack(um_mtcnn *m, const um_mtcnn_weights *w)
{
#define T(name) tensor(w, name)
    bool ok = pack_planes(&m->p1, T("pnet.conv1.weight"), T("pnet.conv1.bias"), T("pnet.prelu1.weight"), 3, 10) &&
              pack_planes(&m->p2, T("pnet.conv2.weight"), T("pnet.conv2.bias"), T("pnet.prelu2.weight"), 10, 16) &&
              pack_planes(&m->p3, T("pnet.conv3.weight"), T("pnet.conv3.bias"), T("pnet.prelu3.weight"), 16, 32) &&
              pack_conv(&m->r1, T("rnet.conv1.weight"), T("rnet.conv1.bias"), T("rnet.prelu1.weight"), 3, 3, 3, 3, 28) &&
              pack_conv(&m->r2, T("rnet.conv2.weight"), T("rnet.conv2.bias"), T("rnet.prelu2.weight"), 28, 32, 3, 3, 48) &&
              pack_conv(&m->r3, T("rnet.conv3.weight"), T("rnet.conv3.bias"), T("rnet.prelu3.weight"), 48, 48, 2, 2, 64) &&
              pack_dense(&m->r4, T("rnet.dense4.weight"), T("rnet.dense4.bias"), T("rnet.prelu4.weight"), 3, 64, 128, 0, 128) &&
              pack_dense(&m->r5, T("rnet.dense5_1.weight"), T("rnet.dense5_1.bias"), NULL, 1, 128, 2, 0, 6) &&
              pack_dense(&m->r5, T("rnet.dense5_2.weight"), T("rnet.dense5_2.bias"), NULL, 1, 128, 4, 2, 6) &&
              pack_conv(&m->o1, T("onet.conv1.weight"), T("onet.conv1.bias"), T("onet.prelu1.weight"), 3, 3, 3, 3, 32) &&
              pack_conv(&m->o2, T("onet.conv2.weight"), T("onet.conv2.bias"), T("onet.prelu2.weight"), 32, 32, 3, 3, 64) &&
              pack_conv(&m->o3, T("onet.conv3.weight"), T("onet.conv3.bias"), T("onet.prelu3.weight"), 64, 64, 3, 3, 64) &&
              pack_conv(&m->o4, T("onet.conv4.weight"), T("onet.conv4.bias"), T("onet.prelu4.weight"), 64, 64, 2, 2, 128) &&
              pack_dense(&m->o5, T("onet.dense5.weight"), T("onet.dense5.bias"), T("onet.prelu5.weight"), 3, 128, 256, 0, 256) &&
              pack_dense(&m->o6, T("onet.dense6_1.weight"), T("onet.dense6_1.bias"), NULL, 1, 256, 2, 0, 16) &&
              pack_dense(&m->o6, T("onet.dense6_2.weight"), T("onet.dense6_2.bias"), NULL, 1, 256, 4, 2, 16) &&
              pack_dense(&m->o6, T("onet.dense6_3.weight"), T("onet.dense6_3.bias"), NULL, 1, 256, 10, 6, 16);
    const float *logits = T("pnet.conv4_1.weight"), *offsets = T("pnet.conv4_2.weight");
    for (int i = 0; i < P_PLANES; i++) {
        for (int k = 0; k < 6; k++) m->p4[k][i] = k < 2 ? logits[k * P_PLANES + i] : offsets[(k - 2) * P_PLANES + i];
        m->p_difference[i] = m->p4[1][i] - m->p4[0][i];
    }
    for (int k = 0; k < 6; k++) m->p4_bias[k] = k < 2 ? T("pnet.conv4_1.bias")[k] : T("pnet.conv4_2.bias")[k - 2];
#undef T
    return ok;
}

static const um_mtcnn_kernels *choose_kernels(void)
{
    const char *wanted = getenv("UNMASK_ISA");
    bool base = wanted != NULL && strcmp(wanted, "base") == 0, avx2 = wanted != NULL && strcmp(wanted, "avx2") == 0;
#if defined(__x86_64__)
    bool has2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool has512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (has512 && has2 && !base && !avx2) return &um_mtcnn_kernels_avx512;
    if (has2 && !base) return &um_mtcnn_kernels_avx2;
#endif
    return &um_mtcnn_kernels_base;
}

const char *um_mtcnn_isa(void) { return choose_kernels()->name; }

/* Floats of the largest map of an O-net crop, 46 x 46 x 32, and of the R-net's input. */
enum { MAP_FLOATS = 46 * 46 * 32 + UM_MTCNN_SLACK };

um_status um_mtcnn_new(const um_mtcnn_weights *w, um_mtcnn **out)
{
    um_mtcnn *m = calloc(1, sizeof *m);
    *out = NULL;
    if (m == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the detector");
    m->k = choose_kernels();
    m->map[0] = floats(MAP_FLOATS);
    m->map[1] = floats(MAP_FLOATS);
    if (!pack(m, w) || m->map[0] == NULL || m->map[1] == NULL) {
        um_mtcnn_free(m);
        return UM_FAIL(UM_NO_MEMORY, "no memory for the detector's weights");
    }
    *out = m;
    return UM_OK;
}

void um_mtcnn_free(um_mtcnn *m)
{
    if (m == NULL) return;
    layer *all[] = {&m->p1, &m->p2, &m->p3, &m->r1, &m->r2, &m->r3, &m->r4, &m->r5, &m->o1, &m->o2, &m->o3, &m->o4, &m->o5, &m->o6};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) layer_free(all[i]);
    um_area_release(&m->area);
    void *memory[] = {m->begin_x, m->end_x, m->begin_y, m->end_y, m->rows, m->map[0], m->map[1], m->batch, m->hidden, m->output, m->box, m->box2, m->offset, m->offset2, m->point, m->order, m->keep, m->source};
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++) free(memory[i]);
    free(m);
}

void um_faces_release(um_faces *f)
{
    free(f->face);
    *f = (um_faces){0};
}

/* ---- boxes ---- */

static bool grow(void **p, size_t bytes)
{
    void *q = realloc(*p, bytes);
    if (q != NULL) *p = q;
    return q != NULL;
}

static um_status reserve_boxes(um_mtcnn *m, int need)
{
    if (need <= m->cap) return UM_OK;
    int cap = m->cap < 1024 ? 1024 : m->cap * 2;
    if (cap < need) cap = need;
    size_t n = (size_t)cap;
    if (!grow((void **)&m->box, n * sizeof *m->box) || !grow((void **)&m->box2, n * sizeof *m->box2) || !grow((void **)&m->offset, n * sizeof *m->offset) || !grow((void **)&m->offset2, n * sizeof *m->offset2) ||
        !grow((void **)&m->point, n * sizeof *m->point) || !grow((void **)&m->order, n * sizeof *m->order) || !grow((void **)&m->keep, n * sizeof *m->keep) || !grow((void **)&m->source, n * sizeof *m->source))
        return UM_FAIL(UM_NO_MEMORY, "no memory for %d candidate boxes", need);
    m->cap = cap;
    return UM_OK;
}

/* Keeps boxes first + keep[0..kept), in that order, from `first` on; offsets go along. */
static void take(um_mtcnn *m, int first, int kept)
{
    for (int i = 0; i < kept; i++) {
        m->box2[i] = m->box[first + m->keep[i]];
        memcpy(m->offset2[i], m->offset[first + m->keep[i]], sizeof m->offset2[0]);
    }
    memcpy(m->box + first, m->box2, (size_t)kept * sizeof *m->box);
    memcpy(m->offset + first, m->offset2, (size_t)kept * sizeof *m->offset);
    m->n = first + kept;
}

static void suppress(um_mtcnn *m, int first, double t) { take(m, first, um_nms_union(m->box + first, m->n - first, t, m->order, m->keep)); }

/* Each box to a square of its longer side around its middle. */
static void make_square(um_box *b)
{
    float h = b->y1 - b->y0, w = b->x1 - b->x0, l = w > h ? w : h;
    b->x0 = b->x0 + w * 0.5f - l * 0.5f;
    b->y0 = b->y0 + h * 0.5f - l * 0.5f;
    b->x1 = b->x0 + l;
    b->y1 = b->y0 + l;
}

/* Moves the corners by the net's offsets, in sides counted with both ends. */
static void regress(um_box *b, const float offset[4])
{
    float w = b->x1 - b->x0 + 1, h = b->y1 - b->y0 + 1;
    b->x0 += offset[0] * w;
    b->y0 += offset[1] * h;
    b->x1 += offset[2] * w;
    b->y1 += offset[3] * h;
}

/* Softmax of two logits. */
static float probability(float other, float face) { return (float)(1.0 / (1.0 + exp((double)other - (double)face))); }

/* ---- P-net ---- */

static um_status reserve_level(um_mtcnn *m, int H, int W)
{
    size_t windows = (size_t)(W > H ? W : H);
    if (m->windows_cap < windows) {
        if (!grow((void **)&m->begin_x, windows * sizeof(int)) || !grow((void **)&m->end_x, windows * sizeof(int)) || !grow((void **)&m->begin_y, windows * sizeof(int)) || !grow((void **)&m->end_y, windows * sizeof(int)))
            return UM_FAIL(UM_NO_MEMORY, "no memory for a pyramid level of %dx%d", W, H);
        m->windows_cap = windows;
    }
    size_t row = ((size_t)W + UM_MTCNN_SLACK + 15) / 16 * 16;
    if (m->row_floats < row) {
        enum { ROWS = 3 * 4 + 10 * 2 + 10 * 4 + 16 * 4 + 32 + 1 };
        free(m->rows);
        m->row_floats = 0;
        m->rows = floats(row * ROWS);
        if (m->rows == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a pyramid level of %dx%d", W, H);
        m->row_floats = row;
    }
    return UM_OK;
}

/* The candidates of one output row: the difference of the logits is searched for a bound just below the threshold's; what is found is computed as the net defines it. */
static um_status add_candidates(um_mtcnn *m, const float *d, float *const *plane, int y, int width, double scale, float bound, float threshold)
{
    for (int x = 0; x < width; x++) {
        if (d[x] < bound) continue;
        float v[6];
        for (int k = 0; k < 6; k++) {
            v[k] = m->p4_bias[k];
            for (int i = 0; i < P_PLANES; i++) v[k] = fmaf(m->p4[k][i], plane[i][x], v[k]);
        }
        float score = probability(v[0], v[1]);
        if (!(score >= threshold)) continue;
        UM_PASS(reserve_boxes(m, m->n + 1));
        /* torch divides by the scale as a 32-bit float */
        float s = (float)scale;
        um_box *b = &m->box[m->n];
        *b = (um_box){floorf((float)(STRIDE_PX * x + 1) / s), floorf((float)(STRIDE_PX * y + 1) / s), floorf((float)(STRIDE_PX * x + CELL_PX) / s), floorf((float)(STRIDE_PX * y + CELL_PX) / s), score};
        memcpy(m->offset[m->n], v + 2, sizeof m->offset[0]);
        m->n++;
    }
    return UM_OK;
}

/* All of the P-net on one level, row by row: each layer's rows live in a ring that holds just what the next one needs. */
static um_status search_level(um_mtcnn *m, double scale, float bound, float threshold)
{
    const um_mtcnn_kernels *k = m->k;
    int H = (int)(m->area.height_px * scale + 1), W = (int)(m->area.width_px * scale + 1);
    UM_PASS(reserve_level(m, H, W));
    um_area_windows(0, m->area.width_px, W, m->begin_x, m->end_x);
    um_area_windows(0, m->area.height_px, H, m->begin_y, m->end_y);
    float *next = m->rows, *image[4][3], *c1[2][10], *p1[4][10], *c2[4][16], *c3[32], *d;
#define ROW() (next += m->row_floats, next - m->row_floats)
    for (int i = 0; i < 4; i++)
        for (int c = 0; c < 3; c++) image[i][c] = ROW();
    for (int i = 0; i < 2; i++)
        for (int c = 0; c < 10; c++) c1[i][c] = ROW();
    for (int i = 0; i < 4; i++)
        for (int c = 0; c < 10; c++) p1[i][c] = ROW();
    for (int i = 0; i < 4; i++)
        for (int c = 0; c < 16; c++) c2[i][c] = ROW();
    for (int c = 0; c < 32; c++) c3[c] = ROW();
    d = ROW();
#undef ROW
    int H1 = H - 2, W1 = W - 2, H2 = (H1 + 1) / 2, W2 = (W1 + 1) / 2, W3 = W2 - 2, W4 = W3 - 2, made = 0;
    const float *rows[3 * 16];
    for (int y2 = 0; y2 < H2; y2++) {
        bool two = 2 * y2 + 1 < H1;
        for (int s = 0; s <= (int)two; s++) {
            int y = 2 * y2 + s;
            for (; made <= y + 2; made++) um_area_row_planar(&m->area, m->begin_y[made], m->end_y[made], m->begin_x, m->end_x, W, image[made & 3]);
            for (int c = 0; c < 3; c++)
                for (int r = 0; r < 3; r++) rows[c * 3 + r] = image[(y + r) & 3][c];
            k->plane_row(3, 10, rows, m->p1.w, m->p1.bias, m->p1.slope, c1[s], W1);
        }
        for (int c = 0; c < 10; c++) k->pool_row(c1[0][c], c1[two][c], W1, p1[y2 & 3][c]);
        int y3 = y2 - 2;
        if (y3 < 0) continue;
        for (int c = 0; c < 10; c++)
            for (int r = 0; r < 3; r++) rows[c * 3 + r] = p1[(y3 + r) & 3][c];
        k->plane_row(10, 16, rows, m->p2.w, m->p2.bias, m->p2.slope, c2[y3 & 3], W3);
        int y4 = y3 - 2;
        if (y4 < 0) continue;
        for (int c = 0; c < 16; c++)
            for (int r = 0; r < 3; r++) rows[c * 3 + r] = c2[(y4 + r) & 3][c];
        k->plane_row(16, 32, rows, m->p3.w, m->p3.bias, m->p3.slope, c3, W4);
        k->dot_row((const float *const *)c3, P_PLANES, m->p_difference, m->p4_bias[1] - m->p4_bias[0], W4, d);
        UM_PASS(add_candidates(m, d, c3, y4, W4, scale, bound, threshold));
    }
    return UM_OK;
}

static um_status propose(um_mtcnn *m, double threshold)
{
    double scale = (double)CELL_PX / MIN_FACE_PX, least = (m->area.width_px < m->area.height_px ? m->area.width_px : m->area.height_px) * scale;
    /* A little below the threshold's logit, so that rounding loses no candidate. */
    float bound = threshold <= 0 ? -INFINITY : threshold >= 1 ? 14.0f : (float)(log(threshold / (1 - threshold)) - 1e-3);
    m->n = 0;
    for (int level = 0; least >= CELL_PX && level < MAX_LEVELS; level++, scale *= PYRAMID_FACTOR, least *= PYRAMID_FACTOR) {
        int first = m->n;
        UM_PASS(search_level(m, scale, bound, (float)threshold));
        suppress(m, first, NMS_LEVEL);
    }
    suppress(m, 0, NMS_LEVELS);
    for (int i = 0; i < m->n; i++) {
        um_box *b = &m->box[i];
        float w = b->x1 - b->x0, h = b->y1 - b->y0;
        const float *v = m->offset[i];
        b->x0 += v[0] * w;
        b->y0 += v[1] * h;
        b->x1 += v[2] * w;
        b->y1 += v[3] * h;
        make_square(b);
    }
    return UM_OK;
}

/* ---- R- and O-net ---- */

/* The pixels under a box, clipped at the picture, counted from 1 with both ends as the reference does: [x0 - 1, x1). False when nothing is left. */
static bool pixels_of(const um_area *a, const um_box *b, um_rect *r)
{
    double limit = 1e9;
    double x0 = b->x0 > limit ? limit : (double)b->x0, y0 = b->y0 > limit ? limit : (double)b->y0, x1 = b->x1 < -limit ? -limit : (double)b->x1, y1 = b->y1 < -limit ? -limit : (double)b->y1;
    r->x0 = x0 < 1 ? 0 : (int)x0 - 1;
    r->y0 = y0 < 1 ? 0 : (int)y0 - 1;
    r->x1 = x1 > a->width_px ? a->width_px : (int)x1;
    r->y1 = y1 > a->height_px ? a->height_px : (int)y1;
    return r->x1 > r->x0 && r->y1 > r->y0;
}

static void cut_out(um_mtcnn *m, um_rect r, int side, float *out)
{
    int bx[O_PX], ex[O_PX], by[O_PX], ey[O_PX];
    um_area_windows(r.x0, r.x1, side, bx, ex);
    um_area_windows(r.y0, r.y1, side, by, ey);
    for (int y = 0; y < side; y++) um_area_row_packed(&m->area, by[y], ey[y], bx, ex, side, out + y * side * 3);
}

/* Drops boxes without pixels and makes room for a batch. */
static um_status begin_batch(um_mtcnn *m)
{
    int n = 0;
    um_rect r;
    for (int i = 0; i < m->n; i++)
        if (pixels_of(&m->area, &m->box[i], &r)) m->box[n++] = m->box[i];
    m->n = n;
    if ((size_t)n <= m->batch_cap) return UM_OK;
    size_t cap = (size_t)n + (size_t)n / 2 + 64;
    free(m->batch);
    free(m->hidden);
    free(m->output);
    m->batch_cap = 0;
    m->batch = floats(cap * 1152 + UM_MTCNN_SLACK);
    m->hidden = floats(cap * 256 + UM_MTCNN_SLACK);
    m->output = floats(cap * 16 + UM_MTCNN_SLACK);
    if (m->batch == NULL || m->hidden == NULL || m->output == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d candidate faces", n);
    m->batch_cap = cap;
    return UM_OK;
}

static void conv(um_mtcnn *m, const layer *l, const float *in, int H, int W, int C, int R, float *out)
{
    m->k->conv(in, W, C, R, R, l->w, l->bias, l->slope, l->K, out, H - R + 1, W - R + 1);
}

static void dense(um_mtcnn *m, const layer *l, const float *in, int C, float *out) { m->k->conv(in, m->n, C, 1, 1, l->w, l->bias, l->slope, l->K, out, 1, m->n); }

static um_status refine(um_mtcnn *m, double threshold)
{
    UM_PASS(begin_batch(m));
    float *a = m->map[0], *b = m->map[1];
    for (int i = 0; i < m->n; i++) {
        um_rect r;
        (void)pixels_of(&m->area, &m->box[i], &r);
        cut_out(m, r, R_PX, a);
        conv(m, &m->r1, a, 24, 24, 3, 3, b);
        m->k->pool(b, 22, 22, 32, 3, a, 11, 11);
        conv(m, &m->r2, a, 11, 11, 32, 3, b);
        m->k->pool(b, 9, 9, 48, 3, a, 4, 4);
        conv(m, &m->r3, a, 4, 4, 48, 2, m->batch + (size_t)i * 576);
    }
    dense(m, &m->r4, m->batch, 576, m->hidden);
    dense(m, &m->r5, m->hidden, 128, m->output);
    int n = 0;
    for (int i = 0; i < m->n; i++) {
        const float *v = m->output + (size_t)i * 16;
        float score = probability(v[0], v[1]);
        if (!(score > (float)threshold)) continue;
        m->box[n] = m->box[i];
        m->box[n].score = score;
        memcpy(m->offset[n], v + 2, sizeof m->offset[0]);
        n++;
    }
    m->n = n;
    suppress(m, 0, NMS_R);
    for (int i = 0; i < m->n; i++) {
        regress(&m->box[i], m->offset[i]);
        make_square(&m->box[i]);
    }
    return UM_OK;
}

static um_status decide(um_mtcnn *m, double threshold)
{
    UM_PASS(begin_batch(m));
    float *a = m->map[0], *b = m->map[1];
    for (int i = 0; i < m->n; i++) {
        um_rect r;
        (void)pixels_of(&m->area, &m->box[i], &r);
        cut_out(m, r, O_PX, a);
        conv(m, &m->o1, a, 48, 48, 3, 3, b);
        m->k->pool(b, 46, 46, 32, 3, a, 23, 23);
        conv(m, &m->o2, a, 23, 23, 32, 3, b);
        m->k->pool(b, 21, 21, 64, 3, a, 10, 10);
        conv(m, &m->o3, a, 10, 10, 64, 3, b);
        m->k->pool(b, 8, 8, 64, 2, a, 4, 4);
        conv(m, &m->o4, a, 4, 4, 64, 2, m->batch + (size_t)i * 1152);
    }
    dense(m, &m->o5, m->batch, 1152, m->hidden);
    dense(m, &m->o6, m->hidden, 256, m->output);
    int n = 0;
    for (int i = 0; i < m->n; i++) {
        const float *v = m->output + (size_t)i * 16;
        float score = probability(v[0], v[1]);
        if (!(score > (float)threshold)) continue;
        um_box box = m->box[i];
        float w = box.x1 - box.x0 + 1, h = box.y1 - box.y0 + 1;
        box.score = score;
        for (int k = 0; k < 5; k++) { /* points are relative to the box before it is moved */
            m->point[n][2 * k] = w * v[6 + k] + box.x0 - 1;
            m->point[n][2 * k + 1] = h * v[11 + k] + box.y0 - 1;
        }
        regress(&box, v + 2);
        m->box[n++] = box;
    }
    m->n = n;
    return UM_OK;
}

/* ---- the whole ---- */

static float face_area(const um_face *f) { return (f->box[2] - f->box[0]) * (f->box[3] - f->box[1]); }

um_status um_mtcnn_detect(um_mtcnn *m, const um_image *rgb, const um_thresholds *t, um_faces *out)
{
    out->n = 0;
    UM_PASS(um_area_set(&m->area, rgb));
    UM_PASS(propose(m, t->p));
    if (m->n > 0) UM_PASS(refine(m, t->r));
    if (m->n > 0) UM_PASS(decide(m, t->o));
    int kept = um_nms_min(m->box, m->n, NMS_O, m->order, m->keep);
    if (kept > out->cap) {
        um_face *p = realloc(out->face, (size_t)kept * sizeof *p);
        if (p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d faces", kept);
        out->face = p;
        out->cap = kept;
    }
    for (int i = 0; i < kept; i++) {
        const um_box *b = &m->box[m->keep[i]];
        um_face f = {.box = {b->x0, b->y0, b->x1, b->y1}, .probability = b->score};
        memcpy(f.landmarks, m->point[m->keep[i]], sizeof f.landmarks);
        int at = i; /* largest first; of equals the later one, as a reversed stable sort gives them */
        for (; at > 0 && face_area(&out->face[at - 1]) <= face_area(&f); at--) out->face[at] = out->face[at - 1];
        out->face[at] = f;
    }
    out->n = kept;
    return UM_OK;
}
