#include "src/synth/shot.h"

#include "src/synth/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- portraits: a picture and its halves ---- */

static um_status levels_new(int width_px, int height_px, int most, um_rgbx *level, int *n)
{
    *n = 0;
    for (int i = 0; i < most; i++) {
        UM_PASS(um_rgbx_new(width_px, height_px, &level[i]));
        *n = i + 1;
        if (width_px < 16 || height_px < 16) break;
        width_px = (width_px + 1) / 2;
        height_px = (height_px + 1) / 2;
    }
    return UM_OK;
}

static void levels_set(const um_rgbx *level, int n, const um_image *rgb)
{
    um_rgbx_set(&level[0], rgb);
    for (int i = 1; i < n; i++) um_rgbx_halve(&level[i - 1], &level[i]);
}

static void levels_free(um_rgbx *level, int n)
{
    for (int i = 0; i < n; i++) um_rgbx_free(&level[i]);
}

um_status um_portrait_new(const um_image *rgb, const um_face *face, um_portrait *out)
{
    *out = (um_portrait){.face = *face};
    um_status st = levels_new(rgb->width_px, rgb->height_px, UM_PORTRAIT_LEVELS, out->level, &out->n_levels);
    if (st == UM_OK) levels_set(out->level, out->n_levels, rgb);
    else um_portrait_free(out);
    return st;
}

void um_portrait_free(um_portrait *p)
{
    levels_free(p->level, p->n_levels);
    *p = (um_portrait){0};
}

/* ---- canvases ---- */

enum { GRID = 16 /* canvas pixels between places where the smooth warp is worked out */, WAVES = 3 };

typedef struct layer {
    um_rgbx canvas;
    double x0, y0;              /* canvas coordinates (origin: middle of the face) of the canvas' first pixel */
    um_synth_face face;         /* in canvas coordinates */
    double centre_x, centre_y;  /* where the middle of the face stands in the frame, on average */
    double angle;
    um_drift x, y, zoom, turn;
} layer;

struct um_shot {
    int width_px, height_px, n_people, frames;
    double fps, gain, across, down;
    um_drift light, light_across;
    layer layer[2];
    double seam, seam_slope, seam_soft; /* two people: x of the seam in the middle row, its slope, half its softness */
    um_image second;                    /* the second person's frame, before it is joined in */
    uint16_t *row;
};

/* What the camera does at a time: canvas -> frame is a turn by `angle`, a zoom and a shift. */
typedef struct view {
    double c, s, zoom, x, y, angle;
} view;

static view view_at(const um_shot *s, const layer *l, double time_s)
{
    double side = s->width_px < s->height_px ? s->width_px : s->height_px;
    view v = {.angle = l->angle + um_drift_at(&l->turn, time_s) * 6 * M_PI / 180, .zoom = 1 + 0.12 * um_drift_at(&l->zoom, time_s),
              .x = l->centre_x + 0.12 * side * um_drift_at(&l->x, time_s), .y = l->centre_y + 0.10 * side * um_drift_at(&l->y, time_s)};
    v.c = cos(v.angle);
    v.s = sin(v.angle);
    return v;
}

/* Frame pixel -> canvas coordinates. */
static void to_canvas(const view *v, double x, double y, double *cx, double *cy)
{
    double dx = (x - v->x) / v->zoom, dy = (y - v->y) / v->zoom;
    *cx = v->c * dx + v->s * dy;
    *cy = v->c * dy - v->s * dx;
}

/* The portrait's slight warp: a displacement in portrait pixels, a sum of waves whose length is one to three faces. */
typedef struct warp {
    double kx[2][WAVES], ky[2][WAVES], phase[2][WAVES], amplitude[2][WAVES];
} warp;

static warp warp_draw(um_rng *r, double face_px)
{
    warp w;
    for (int a = 0; a < 2; a++) {
        for (int i = 0; i < WAVES; i++) {
            double k = 2 * M_PI / (face_px * um_rng_uniform(r, 1.2, 3)), direction = um_rng_uniform(r, 0, 2 * M_PI);
            w.kx[a][i] = k * cos(direction);
            w.ky[a][i] = k * sin(direction);
            w.phase[a][i] = um_rng_uniform(r, 0, 2 * M_PI);
            w.amplitude[a][i] = face_px * um_rng_uniform(r, -0.03, 0.03);
        }
    }
    return w;
}

static void warp_at(const warp *w, double x, double y, double d[2])
{
    for (int a = 0; a < 2; a++) {
        d[a] = 0;
        for (int i = 0; i < WAVES; i++) d[a] += w->amplitude[a][i] * sin(w->kx[a][i] * x + w->ky[a][i] * y + w->phase[a][i]);
    }
}

/* Canvas coordinates -> portrait pixels. */
typedef struct drawing {
    const um_portrait *portrait;
    double face_x, face_y, per_px; /* portrait pixels per canvas pixel */
    bool flip;
    warp warp;
    um_colour colour;
} drawing;

static void to_portrait(const drawing *d, double cx, double cy, double p[2])
{
    double x = d->face_x + (d->flip ? -cx : cx) * d->per_px, y = d->face_y + cy * d->per_px, by[2];
    warp_at(&d->warp, x, y, by);
    p[0] = x + by[0];
    p[1] = y + by[1];
}

/* The inverse, by iteration: the warp is smooth and short against its waves, so each step shrinks the error several times. */
static void from_portrait(const drawing *d, double px, double py, double c[2])
{
    double x = px, y = py, by[2];
    for (int i = 0; i < 20; i++) {
        warp_at(&d->warp, x, y, by);
        x = px - by[0];
        y = py - by[1];
    }
    c[0] = (x - d->face_x) / d->per_px * (d->flip ? -1 : 1);
    c[1] = (y - d->face_y) / d->per_px;
}

static uint32_t sample_level(const um_portrait *p, int level, double x, double y)
{
    const um_rgbx *l = &p->level[level];
    /* Pixel i of a half is the mean of pixels 2i and 2i + 1: its middle lies at 2i + 0.5. */
    double k = ldexp(1, -level), lx = (x + 0.5) * k - 0.5, ly = (y + 0.5) * k - 0.5;
    lx = lx < 0 ? 0 : lx;
    ly = ly < 0 ? 0 : ly;
    int64_t fx = (int64_t)(lx * (1 << UM_WARP_BITS)), fy = (int64_t)(ly * (1 << UM_WARP_BITS));
    int64_t end_x = ((int64_t)(l->width_px - 1) << UM_WARP_BITS) - 1, end_y = ((int64_t)(l->height_px - 1) << UM_WARP_BITS) - 1;
    return um_rgbx_sample(l, fx < end_x ? fx : end_x, fy < end_y ? fy : end_y);
}

static uint32_t recolour(const um_colour *c, const float in[3])
{
    float out[3];
    um_colour_apply(c, in, out);
    return (uint32_t)(out[0] + 0.5f) | (uint32_t)(out[1] + 0.5f) << 8 | (uint32_t)(out[2] + 0.5f) << 16;
}

static uint32_t draw_pixel(const drawing *d, int sharp, double x, double y)
{
    const um_rgbx *full = &d->portrait->level[0];
    double face = d->portrait->face.box[2] - d->portrait->face.box[0];
    double out_x = x < 0 ? -x : x > full->width_px - 1 ? x - (full->width_px - 1) : 0;
    double out_y = y < 0 ? -y : y > full->height_px - 1 ? y - (full->height_px - 1) : 0, outside = hypot(out_x, out_y);
    uint32_t p = sample_level(d->portrait, sharp, x, y);
    float v[3] = {(float)(p & 255), (float)(p >> 8 & 255), (float)(p >> 16 & 255)};
    if (outside > 0) {
        /* The farther outside, the wider the blur: about a third of the distance, as the mean of nine samples of coarser levels. */
        double coarse = log2(1 + 0.35 * ldexp(outside, -sharp)), t = 8 * outside / face > 1 ? 1 : 8 * outside / face;
        int level = sharp + (int)coarse, most = d->portrait->n_levels - 1;
        double part = coarse - floor(coarse);
        for (int k = 0; k < 2; k++) {
            int l = level + k > most ? most : level + k;
            float sum[3] = {0, 0, 0};
            double step = ldexp(0.75, l);
            for (int i = 0; i < 9; i++) {
                uint32_t q = sample_level(d->portrait, l, x + (i % 3 - 1) * step, y + (i / 3 - 1) * step);
                for (int c = 0; c < 3; c++) sum[c] += (float)(q >> (8 * c) & 255) / 9;
            }
            float weight = (float)(t * (k == 0 ? 1 - part : part));
            if (k == 0)
                for (int c = 0; c < 3; c++) v[c] *= (float)(1 - t);
            for (int c = 0; c < 3; c++) v[c] += weight * sum[c];
        }
    }
    return recolour(&d->colour, v);
}

static void draw_canvas(const drawing *d, const layer *l)
{
    const um_rgbx *cv = &l->canvas;
    int sharp = 0;
    while (sharp + 1 < d->portrait->n_levels && ldexp(1, sharp + 1) <= d->per_px * 1.01) sharp++;
    for (int y0 = 0; y0 < cv->height_px; y0 += GRID) {
        for (int x0 = 0; x0 < cv->width_px; x0 += GRID) {
            double corner[4][2]; /* the warp at the corners of a cell, linear between */
            for (int i = 0; i < 4; i++) to_portrait(d, l->x0 + x0 + (i & 1) * GRID, l->y0 + y0 + (i >> 1) * GRID, corner[i]);
            for (int y = y0; y < y0 + GRID && y < cv->height_px; y++) {
                double t = (double)(y - y0) / GRID, ax = corner[0][0] + (corner[2][0] - corner[0][0]) * t, ay = corner[0][1] + (corner[2][1] - corner[0][1]) * t;
                double bx = corner[1][0] + (corner[3][0] - corner[1][0]) * t, by = corner[1][1] + (corner[3][1] - corner[1][1]) * t;
                uint32_t *row = cv->data + (size_t)y * (size_t)cv->width_px;
                for (int x = x0; x < x0 + GRID && x < cv->width_px; x++) {
                    double u = (double)(x - x0) / GRID;
                    row[x] = draw_pixel(d, sharp, ax + (bx - ax) * u, ay + (by - ay) * u);
                }
            }
        }
    }
}

static void place_face(const drawing *d, layer *l)
{
    const um_face *f = &d->portrait->face;
    um_face g = *f;
    double a[2], b[2];
    for (int i = 0; i < 5; i++) {
        /* Mirrored, the right eye is seen left: the pairs change places. */
        static const int mirrored[5] = {1, 0, 2, 4, 3};
        int from = d->flip ? mirrored[i] : i;
        from_portrait(d, f->landmarks[from][0], f->landmarks[from][1], a);
        g.landmarks[i][0] = (float)a[0];
        g.landmarks[i][1] = (float)a[1];
    }
    from_portrait(d, f->box[0], (f->box[1] + f->box[3]) / 2, a);
    from_portrait(d, f->box[2], (f->box[1] + f->box[3]) / 2, b);
    g.box[0] = (float)(a[0] < b[0] ? a[0] : b[0]);
    g.box[2] = (float)(a[0] < b[0] ? b[0] : a[0]);
    from_portrait(d, (f->box[0] + f->box[2]) / 2, f->box[1], a);
    from_portrait(d, (f->box[0] + f->box[2]) / 2, f->box[3], b);
    g.box[1] = (float)a[1];
    g.box[3] = (float)b[1];
    l->face = um_synth_face_of(&g);
}

static um_status layer_new(um_shot *s, int which, const um_portrait *p, um_rng *r)
{
    layer *l = &s->layer[which];
    const double w = s->width_px, h = s->height_px, side = w < h ? w : h;
    double portrait_face = p->face.box[2] - p->face.box[0], face_px;
    if (s->n_people == 1) {
        face_px = side * um_rng_uniform(r, 0.26, 0.42);
        l->centre_x = w * um_rng_uniform(r, 0.42, 0.58);
        l->centre_y = h * um_rng_uniform(r, 0.42, 0.50);
    } else {
        face_px = (side < w / 2 ? side : w / 2) * um_rng_uniform(r, 0.28, 0.38);
        l->centre_x = w * ((which == 0 ? 0.26 : 0.74) + um_rng_uniform(r, -0.02, 0.02));
        l->centre_y = h * um_rng_uniform(r, 0.42, 0.52);
    }
    l->angle = um_rng_uniform(r, -9, 9) * M_PI / 180;
    l->x = um_drift_draw(r);
    l->y = um_drift_draw(r);
    l->zoom = um_drift_draw(r);
    l->turn = um_drift_draw(r);
    drawing d = {.portrait = p, .face_x = (p->face.box[0] + p->face.box[2]) / 2.0, .face_y = (p->face.box[1] + p->face.box[3]) / 2.0,
                 .per_px = portrait_face / face_px};
    d.flip = um_rng_below(r, 2) == 1;
    double hue = um_rng_uniform(r, -10, 10), saturation = um_rng_uniform(r, 0.7, 1.3), value = um_rng_uniform(r, 0.78, 1.15);
    d.colour = um_colour_make(hue, saturation, value, um_rng_uniform(r, -12, 12));
    d.warp = warp_draw(r, portrait_face);

    /* The canvas holds all that any frame's corners see. */
    double lo[2] = {1e9, 1e9}, hi[2] = {-1e9, -1e9};
    for (int t = 0; t < s->frames; t++) {
        view v = view_at(s, l, t / s->fps);
        for (int i = 0; i < 4; i++) {
            double c[2];
            to_canvas(&v, (i & 1) != 0 ? w : -1, (i & 2) != 0 ? h : -1, &c[0], &c[1]);
            for (int a = 0; a < 2; a++) {
                lo[a] = c[a] < lo[a] ? c[a] : lo[a];
                hi[a] = c[a] > hi[a] ? c[a] : hi[a];
            }
        }
    }
    l->x0 = floor(lo[0]) - 1;
    l->y0 = floor(lo[1]) - 1;
    UM_PASS(um_rgbx_new((int)(ceil(hi[0]) + 2 - l->x0), (int)(ceil(hi[1]) + 2 - l->y0), &l->canvas));
    draw_canvas(&d, l);
    place_face(&d, l);
    return UM_OK;
}

um_status um_shot_new(const um_portrait *const *people, int n_people, int width_px, int height_px, double fps, int frames, uint64_t seed,
                      uint64_t key, um_shot **out)
{
    *out = NULL;
    um_status st = UM_OK;
    um_shot *s = calloc(1, sizeof *s);
    if (s == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a shot");
    s->width_px = width_px;
    s->height_px = height_px;
    s->n_people = n_people;
    s->frames = frames;
    s->fps = fps;
    um_rng r = um_rng_stream(seed, key, UM_SYNTH_SHOT, UM_RNG_SYNTH);
    s->gain = um_rng_uniform(&r, 0.92, 1.08);
    s->across = um_rng_uniform(&r, -0.12, 0.12);
    s->down = um_rng_uniform(&r, -0.08, 0.08);
    s->light = um_drift_draw(&r);
    s->light_across = um_drift_draw(&r);
    s->seam = width_px * um_rng_uniform(&r, 0.48, 0.52);
    s->seam_slope = um_rng_uniform(&r, -0.1, 0.1);
    s->seam_soft = width_px * um_rng_uniform(&r, 0.02, 0.04);
    s->row = malloc(3 * (size_t)width_px * sizeof *s->row);
    if (s->row == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for a shot"));
    if (n_people > 1) UM_GOTO_PASS(st, um_image_new(width_px, height_px, 3, &s->second));
    for (int i = 0; i < n_people; i++) UM_GOTO_PASS(st, layer_new(s, i, people[i], &r));
    *out = s;
    s = NULL;
done:
    um_shot_free(s);
    return st;
}

void um_shot_free(um_shot *s)
{
    if (s == NULL) return;
    for (int i = 0; i < 2; i++) um_rgbx_free(&s->layer[i].canvas);
    um_image_free(&s->second);
    free(s->row);
    free(s);
}

/* Left of the seam stays what is in `left`, right of it comes what is in `right`. */
static void join(const um_shot *s, const um_image *left, const um_image *right)
{
    for (int y = 0; y < s->height_px; y++) {
        double seam = s->seam + s->seam_slope * (y - s->height_px / 2.0);
        int from = (int)fmax(0, floor(seam - s->seam_soft)), to = (int)fmin(s->width_px, ceil(seam + s->seam_soft));
        uint8_t *a = left->data + (size_t)y * left->stride;
        const uint8_t *b = right->data + (size_t)y * right->stride;
        for (int x = from; x < to; x++) {
            double t = (x - seam) / (2 * s->seam_soft) + 0.5;
            t = t < 0 ? 0 : t > 1 ? 1 : t;
            int k = (int)(256 * t * t * (3 - 2 * t));
            for (int c = 0; c < 3; c++) a[3 * x + c] = (uint8_t)((a[3 * x + c] * (256 - k) + b[3 * x + c] * k + 128) >> 8);
        }
        memcpy(a + 3 * (size_t)to, b + 3 * (size_t)to, 3 * (size_t)(s->width_px - to));
    }
}

void um_shot_render(um_shot *s, int t, const um_image *out, um_synth_face face[2])
{
    double time_s = t / s->fps;
    for (int i = 0; i < s->n_people; i++) {
        const layer *l = &s->layer[i];
        view v = view_at(s, l, time_s);
        double c = v.c / v.zoom, n = v.s / v.zoom;
        double m[6] = {c, n, -c * v.x - n * v.y - l->x0, -n, c, n * v.x - c * v.y - l->y0};
        um_warp_affine(&l->canvas, m, i == 0 ? out : &s->second);
        const um_synth_face *f = &l->face;
        face[i] = (um_synth_face){.x = v.x + v.zoom * (v.c * f->x - v.s * f->y), .y = v.y + v.zoom * (v.s * f->x + v.c * f->y),
                                  .width = f->width * v.zoom, .height = f->height * v.zoom, .angle = f->angle + v.angle};
    }
    if (s->n_people > 1) join(s, out, &s->second);
    um_light_apply(out, s->gain * (1 + 0.12 * um_drift_at(&s->light, time_s)), s->across + 0.1 * um_drift_at(&s->light_across, time_s), s->down, s->row);
}

/* ---- cuts of real videos ---- */

um_status um_cut_new(int source_w, int source_h, int width_px, int height_px, const um_synth_face *face, uint64_t seed, uint64_t key, um_cut *out)
{
    *out = (um_cut){.width_px = width_px, .height_px = height_px};
    um_rng r = um_rng_stream(seed, key, UM_SYNTH_CUT, UM_RNG_SYNTH);
    double fit_w = (double)(source_w - 1) / width_px, fit_h = (double)(source_h - 1) / height_px, largest = fit_w < fit_h ? fit_w : fit_h;
    /* The part is never smaller than 2.4 faces, so that it shows some of what is around. */
    double smallest = 2.4 * face->width / width_px, by_height = 2.4 * face->height / height_px;
    if (by_height > smallest) smallest = by_height;
    double scale = largest * um_rng_uniform(&r, 0.7, 1);
    if (scale < smallest) scale = smallest;
    if (scale > largest) scale = largest;
    out->scale = scale;
    out->x = face->x - scale * width_px * um_rng_uniform(&r, 0.42, 0.58);
    out->y = face->y - scale * height_px * um_rng_uniform(&r, 0.38, 0.50);
    double most_x = source_w - 1 - scale * width_px, most_y = source_h - 1 - scale * height_px;
    out->x = out->x > most_x ? most_x : out->x;
    out->y = out->y > most_y ? most_y : out->y;
    out->x = out->x < 0 ? 0 : out->x;
    out->y = out->y < 0 ? 0 : out->y;
    out->flip = um_rng_below(&r, 2) == 1;
    int most = 1;
    while (most < UM_PORTRAIT_LEVELS && ldexp(1, most) <= scale) most++;
    um_status st = levels_new(source_w, source_h, most, out->level, &out->n_levels);
    if (st != UM_OK) um_cut_free(out);
    return st;
}

void um_cut_free(um_cut *c)
{
    levels_free(c->level, c->n_levels);
    *c = (um_cut){0};
}

void um_cut_render(um_cut *c, const um_image *source, const um_image *out)
{
    levels_set(c->level, c->n_levels, source);
    double k = ldexp(1, 1 - c->n_levels), x = c->flip ? c->x + c->scale * (c->width_px - 1) : c->x;
    double m[6] = {(c->flip ? -c->scale : c->scale) * k, 0, (x + 0.5) * k - 0.5, 0, c->scale * k, (c->y + 0.5) * k - 0.5};
    um_warp_affine(&c->level[c->n_levels - 1], m, out);
}

um_synth_face um_cut_face(const um_cut *c, const um_synth_face *source)
{
    um_synth_face f = {.x = (source->x - c->x) / c->scale, .y = (source->y - c->y) / c->scale, .width = source->width / c->scale,
                       .height = source->height / c->scale, .angle = source->angle};
    if (c->flip) {
        f.x = c->width_px - 1 - f.x;
        f.angle = -f.angle;
    }
    return f;
}
