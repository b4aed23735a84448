#include "src/train/augment_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void clear(const um_image *img, int64_t x0, int64_t x1, int64_t y)
{
    if (y < 0 || y >= img->height_px) return;
    if (x0 < 0) x0 = 0;
    if (x1 > img->width_px) x1 = img->width_px;
    if (x0 < x1) memset(img->data + (size_t)y * img->stride + (size_t)x0 * 3, 0, (size_t)(x1 - x0) * 3);
}

/* ---- Lines: OpenCV's drawing.cpp (ThickLine, FillConvexPoly, Line2, Circle) for a thickness of 2, in its fixed point of 16 bits ---- */

enum { SHIFT = 16, CORNERS = 4 };
static const int64_t ONE = 1 << SHIFT, HALF = 1 << (SHIFT - 1);

typedef struct fixed {
    int64_t x, y;
} fixed;

/* The pixels of a line, row by row: each row is one run [lo, hi), empty where lo >= hi, cut at the picture. */
typedef struct runs {
    int *lo, *hi; /* [height] */
    int width, height;
} runs;

static void add(const runs *r, int64_t x0, int64_t x1, int64_t y)
{
    if (y < 0 || y >= r->height) return;
    if (x0 < 0) x0 = 0;
    if (x1 > r->width) x1 = r->width;
    if (x0 >= x1) return;
    if (r->lo[y] >= r->hi[y]) {
        r->lo[y] = (int)x0;
        r->hi[y] = (int)x1;
        return;
    }
    if (x0 < r->lo[y]) r->lo[y] = (int)x0;
    if (x1 > r->hi[y]) r->hi[y] = (int)x1;
}

enum { LEFT = 1, RIGHT = 2, ABOVE = 4, BELOW = 8 };

static int outside(fixed p, fixed end) { return (p.x < 0) * LEFT + (p.x > end.x) * RIGHT + (p.y < 0) * ABOVE + (p.y > end.y) * BELOW; }

/* clipLine: a line that leaves the picture is cut at its border, which moves its steps. False: nothing of it is left. */
static bool clip(const runs *r, fixed p[2])
{
    const fixed end = {r->width * ONE - 1, r->height * ONE - 1};
    int code[2] = {outside(p[0], end), outside(p[1], end)};
    if ((code[0] & code[1]) != 0) return false;
    for (int i = 0; i < 2; i++)
        if (code[i] & (ABOVE | BELOW)) {
            const int64_t at = code[i] & BELOW ? end.y : 0;
            p[i].x += (int64_t)((double)(at - p[i].y) * (double)(p[1].x - p[0].x) / (double)(p[1].y - p[0].y));
            p[i].y = at;
            code[i] = outside(p[i], end) & (LEFT | RIGHT);
        }
    if ((code[0] & code[1]) != 0) return false;
    for (int i = 0; i < 2; i++)
        if (code[i] != 0) {
            const int64_t at = code[i] & RIGHT ? end.x : 0;
            p[i].y += (int64_t)((double)(at - p[i].x) * (double)(p[1].y - p[0].y) / (double)(p[1].x - p[0].x));
            p[i].x = at;
        }
    return true;
}

/* Line2: the outline's pixels, stepping along the longer axis. */
static void edge(const runs *r, fixed from, fixed to)
{
    fixed p[2] = {from, to};
    if (!clip(r, p)) return;
    fixed a = p[0], b = p[1];
    const bool flat = llabs(b.x - a.x) > llabs(b.y - a.y);
    if (flat ? b.x < a.x : b.y < a.y) {
        fixed t = a;
        a = b;
        b = t;
    }
    const int64_t dx = b.x - a.x, dy = b.y - a.y, step = flat ? dy * ONE / (dx | 1) : dx * ONE / (dy | 1);
    int64_t n = (flat ? dx : dy) >> SHIFT;
    add(r, (b.x + HALF) >> SHIFT, ((b.x + HALF) >> SHIFT) + 1, (b.y + HALF) >> SHIFT);
    a.x += HALF;
    a.y += HALF;
    for (; n >= 0; n--) {
        int64_t x = a.x >> SHIFT;
        add(r, x, x + 1, a.y >> SHIFT);
        a.x += flat ? ONE : step;
        a.y += flat ? step : ONE;
    }
}

/* FillConvexPoly's scan: two chains of edges, walked down from the highest corner. */
static void fill(const runs *r, const fixed v[CORNERS])
{
    struct {
        int at, step;
        int64_t x, dx, end;
    } chain[2];
    int top = 0, edges = CORNERS;
    int64_t y_min = v[0].y, y_max = v[0].y;
    for (int i = 0; i < CORNERS; i++) {
        if (v[i].y < y_min) {
            y_min = v[i].y;
            top = i;
        }
        if (v[i].y > y_max) y_max = v[i].y;
        edge(r, v[(i + CORNERS - 1) % CORNERS], v[i]);
    }
    y_min = (y_min + HALF) >> SHIFT;
    y_max = (y_max + HALF) >> SHIFT;
    for (int i = 0; i < 2; i++) {
        chain[i].at = top;
        chain[i].step = i == 0 ? 1 : CORNERS - 1;
        chain[i].x = -ONE;
        chain[i].dx = 0;
        chain[i].end = y_min;
    }
    for (int64_t y = y_min; y <= y_max; y++) {
        for (int i = 0; i < 2; i++) {
            if (y < chain[i].end) continue;
            for (int from = chain[i].at, to = (from + chain[i].step) % CORNERS; edges-- > 0; from = to, to = (to + chain[i].step) % CORNERS) {
                int64_t ends = (v[to].y + HALF) >> SHIFT;
                if (ends <= y) continue;
                chain[i].end = ends;
                chain[i].dx = ((v[to].x - v[from].x) * 2 + (ends - y)) / (2 * (ends - y));
                chain[i].x = v[from].x;
                chain[i].at = to;
                break;
            }
        }
        int left = chain[0].x > chain[1].x;
        add(r, (chain[left].x + HALF) >> SHIFT, ((chain[!left].x + HALF) >> SHIFT) + 1, y);
        chain[0].x += chain[0].dx;
        chain[1].x += chain[1].dx;
    }
}

void um_augment_cut_line(const um_image *img, const int line[2][2], int grow_px, int *rows)
{
    const runs r = {.lo = rows, .hi = rows + img->height_px, .width = img->width_px, .height = img->height_px};
    memset(rows, 0, 2 * (size_t)img->height_px * sizeof *rows);
    const fixed p[2] = {{line[0][0] * ONE, line[0][1] * ONE}, {line[1][0] * ONE, line[1][1] * ONE}};
    const double dx = line[0][0] - line[1][0], dy = line[1][1] - line[0][1], length2 = dx * dx + dy * dy;
    if (length2 > 0) {
        const double scale = (double)ONE / sqrt(length2); /* half of the thickness */
        const fixed d = {llrint(dy * scale), llrint(dx * scale)};
        const fixed corner[CORNERS] = {{p[0].x + d.x, p[0].y + d.y}, {p[0].x - d.x, p[0].y - d.y}, {p[1].x - d.x, p[1].y - d.y}, {p[1].x + d.x, p[1].y + d.y}};
        fill(&r, corner);
    }
    for (int i = 0; i < 2; i++) /* round ends: discs of radius 1 */
        for (int k = -1; k <= 1; k++) add(&r, line[i][0] - (k == 0), line[i][0] + (k == 0) + 1, line[i][1] + k);

    /* grow_px steps of a cross reach what is at most grow_px away in city blocks. */
    for (int y = 0; y < img->height_px; y++) {
        if (r.lo[y] >= r.hi[y]) continue;
        for (int k = -grow_px; k <= grow_px; k++) {
            int more = grow_px - abs(k);
            clear(img, r.lo[y] - more, r.hi[y] + more, y + k);
        }
    }
}

/* ---- The hull ---- */

/* Proportions, in distances between the eyes (width) and from eyes to mouth (height); chosen by eye on portraits, no measured average. */
static const float CENTRE = 0.05f, CHIN = 1.60f, BROWS = 0.36f, HALF_WIDTH = 1.12f;

bool um_augment_hull_of(const um_face_picture *p, um_augment_hull *out)
{
    const float box_w = p->box[2] - p->box[0], box_h = p->box[3] - p->box[1];
    const bool has_box = box_w > 0 && box_h > 0;
    *out = (um_augment_hull){0};
    if (p->has_landmarks) {
        float eye[2], down[2], across[2], width = 0;
        for (int c = 0; c < 2; c++) {
            eye[c] = 0.5f * (float)(p->point[0][c] + p->point[1][c]);
            down[c] = 0.5f * (float)(p->point[3][c] + p->point[4][c]) - eye[c];
            across[c] = (float)(p->point[1][c] - p->point[0][c]);
            width += across[c] * across[c];
        }
        const float height = sqrtf(down[0] * down[0] + down[1] * down[1]);
        width = sqrtf(width);
        /* In profile the eyes fall together and their line says little: the hull then stands upright on the line from eyes to mouth. */
        if (width < 0.3f * height) {
            across[0] = down[1];
            across[1] = -down[0];
            width = height;
        }
        const float area = across[0] * down[1] - across[1] * down[0]; /* positive for eyes from left to right above the mouth */
        if (height >= 1 && area > 0.3f * width * height) {
            const float unit[2] = {across[0] / width, across[1] / width};
            float half = HALF_WIDTH * sqrtf((float)((p->point[1][0] - p->point[0][0]) * (p->point[1][0] - p->point[0][0]) + (p->point[1][1] - p->point[0][1]) * (p->point[1][1] - p->point[0][1])));
            float aside = 0; /* along the eyes to the middle of the box: where a turned face has its middle */
            if (has_box) {
                const float d[2] = {p->box[0] + 0.5f * box_w - eye[0], p->box[1] + 0.5f * box_h - eye[1]};
                aside = (d[0] * down[1] - d[1] * down[0]) / (unit[0] * down[1] - unit[1] * down[0]);
                if (half < 0.44f * box_w) half = 0.44f * box_w;
            }
            for (int c = 0; c < 2; c++) {
                out->centre[c] = eye[c] + CENTRE * down[c] + aside * unit[c];
                out->across[c] = half * unit[c];
                out->down[c] = (CHIN - CENTRE) * down[c];
            }
            out->up = (BROWS + CENTRE) / (CHIN - CENTRE);
            return true;
        }
    }
    if (!has_box) return false;
    /* The detector's box goes from the forehead to the chin. */
    out->centre[0] = p->box[0] + 0.5f * box_w;
    out->centre[1] = p->box[1] + 0.42f * box_h;
    out->across[0] = 0.46f * box_w;
    out->down[1] = 0.56f * box_h;
    out->up = 0.26f;
    return true;
}

typedef struct hull_test { /* a and b of a pixel are linear in x and y */
    double a0, ax, ay, b0, bx, by, up;
} hull_test;

static bool inside(const hull_test *t, int x, int y)
{
    double a = t->a0 + t->ax * x + t->ay * y, b = t->b0 + t->bx * x + t->by * y;
    if (b < 0) b /= t->up;
    return a * a + b * b <= 1;
}

void um_augment_cut_hull(const um_image *img, const um_augment_hull *h, int side)
{
    const double det = (double)h->across[0] * h->down[1] - (double)h->across[1] * h->down[0];
    if (!(det > 0) || !(h->up > 0)) return;
    hull_test t = {.ax = h->down[1] / det, .ay = -h->down[0] / det, .bx = -h->across[1] / det, .by = h->across[0] / det, .up = h->up};
    t.a0 = -(t.ax * h->centre[0] + t.ay * h->centre[1]);
    t.b0 = -(t.bx * h->centre[0] + t.by * h->centre[1]);
    const double reach_x = fabs((double)h->across[0]) + fabs((double)h->down[0]), reach_y = fabs((double)h->across[1]) + fabs((double)h->down[1]);
    const int x0 = (int)fmax(0, fmin(img->width_px, h->centre[0] - reach_x - 1)), x1 = (int)fmax(0, fmin(img->width_px, h->centre[0] + reach_x + 2));
    const int y0 = (int)fmax(0, fmin(img->height_px, h->centre[1] - reach_y - 1)), y1 = (int)fmax(0, fmin(img->height_px, h->centre[1] + reach_y + 2));
    int64_t n = 0, sum_x = 0, sum_y = 0;
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++)
            if (inside(&t, x, y)) {
                n++;
                sum_x += x;
                sum_y += y;
            }
    if (n == 0) return;
    const int mid_x = (int)(sum_x / n), mid_y = (int)(sum_y / n);
    const um_rect cut = {side == 3 ? mid_x : x0, side == 1 ? mid_y : y0, side == 2 ? mid_x : x1, side == 0 ? mid_y : y1};
    for (int y = cut.y0; y < cut.y1; y++) /* each row of the hull is one run */
        for (int x = cut.x0; x < cut.x1; x++)
            if (inside(&t, x, y)) {
                int end = x + 1;
                while (end < cut.x1 && inside(&t, end, y)) end++;
                clear(img, x, end, y);
                break;
            }
}

/* ---- Halves and quarters ---- */

int um_augment_kept(int w, int h, int side, um_rect kept[2])
{
    const int x = w / 2, y = h / 2;
    switch (side) {
    case 0: kept[0] = (um_rect){0, y, w, h}; return 1;
    case 1: kept[0] = (um_rect){0, 0, w, y}; return 1;
    case 2: kept[0] = (um_rect){x, 0, w, h}; return 1;
    case 3: kept[0] = (um_rect){0, 0, x, h}; return 1;
    case 4:
        kept[0] = (um_rect){x, 0, w, y};
        kept[1] = (um_rect){0, y, x, h};
        return 2;
    default:
        kept[0] = (um_rect){0, 0, x, y};
        kept[1] = (um_rect){x, y, w, h};
        return 2;
    }
}

void um_augment_blackout(const um_image *img, int side)
{
    um_rect kept[2];
    const int n = um_augment_kept(img->width_px, img->height_px, side, kept);
    for (int y = 0; y < img->height_px; y++) {
        um_rect k = {0};
        for (int i = 0; i < n; i++)
            if (y >= kept[i].y0 && y < kept[i].y1) k = kept[i];
        clear(img, 0, k.x0, y);
        clear(img, k.x1, img->width_px, y);
    }
}
