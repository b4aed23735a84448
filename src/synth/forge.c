#include "src/synth/forge.h"

#include "src/synth/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The mask is a table over face coordinates -MASK_SPAN..MASK_SPAN; the copy covers -COPY_SPAN..COPY_SPAN, so that a moved copy still has
 * all that the mask shows, and is enlarged ENLARGE times by cubic interpolation before it is sampled bilinearly. */
enum { MASK_SIDE = 128, ENLARGE = 3, MAX_SAMPLES = 256 };
#define MASK_SPAN 0.75
#define COPY_SPAN 0.85

typedef struct strength {
    double samples[2], samples_per_px, hue[2], pale[2], vivid[2], dark[2], bright[2], offset, turn_deg, scale[2], shift;
} strength;

/* With forgeries like the first row's a small net learnt to tell an unseen person's in minutes, with ones like the second's nothing in ten. */
static const strength visible = {{24, 52}, 0.45, {6, 18}, {0.6, 0.85}, {1.15, 1.5}, {0.82, 0.93}, {1.07, 1.18}, 10, 3, {0.96, 1.05}, 0.02};
static const strength subtle_ = {{56, 100}, 0.75, {0, 4}, {0.9, 0.97}, {1.03, 1.1}, {0.95, 0.99}, {1.01, 1.05}, 4, 2, {0.98, 1.03}, 0.012};

struct um_forgery {
    int side;             /* of the copy, samples */
    um_colour colour;
    double copy[6];       /* face coordinates -> face coordinates of the copy */
    float *small, *wide, *large; /* copy; enlarged across; enlarged both ways: RGB */
    float mask[MASK_SIDE * MASK_SIDE];
};

static double either(um_rng *r, const double a[2], const double b[2])
{
    const double *range = um_rng_below(r, 2) == 0 ? a : b;
    return um_rng_uniform(r, range[0], range[1]);
}

/* An ellipse whose edge is moved by a few long waves and blurred. */
static void draw_mask(um_forgery *f, um_rng *r)
{
    double a = um_rng_uniform(r, 0.36, 0.46), b = um_rng_uniform(r, 0.36, 0.46), soft = 2 * um_rng_uniform(r, 0.015, 0.05);
    static const double alphas[4] = {0.75, 1, 1, 1};
    double alpha = alphas[um_rng_below(r, 4)], wave[4][4];
    for (int i = 0; i < 4; i++) {
        double k = um_rng_uniform(r, 6, 14), direction = um_rng_uniform(r, 0, 2 * M_PI);
        wave[i][0] = k * cos(direction);
        wave[i][1] = k * sin(direction);
        wave[i][2] = um_rng_uniform(r, 0, 2 * M_PI);
        wave[i][3] = um_rng_uniform(r, -0.03, 0.03);
    }
    for (int y = 0; y < MASK_SIDE; y++) {
        for (int x = 0; x < MASK_SIDE; x++) {
            double u = (2.0 * x / (MASK_SIDE - 1) - 1) * MASK_SPAN, v = (2.0 * y / (MASK_SIDE - 1) - 1) * MASK_SPAN, du = 0, dv = 0;
            for (int i = 0; i < 4; i++) {
                double s = wave[i][3] * sin(wave[i][0] * u + wave[i][1] * v + wave[i][2]);
                if (i < 2) du += s;
                else dv += s;
            }
            double q = hypot((u + du) / a, (v + dv - 0.05) / b);
            double t = 0.5 + (1 - q) * (a < b ? a : b) / (2 * soft); /* 0..1 over +-soft around the edge */
            t = t < 0 ? 0 : t > 1 ? 1 : t;
            bool border = x == 0 || y == 0 || x == MASK_SIDE - 1 || y == MASK_SIDE - 1;
            f->mask[y * MASK_SIDE + x] = border ? 0 : (float)(alpha * t * t * (3 - 2 * t));
        }
    }
}

um_status um_forgery_new(uint64_t seed, uint64_t key, int fake, int which, bool subtle, double face_px, um_forgery **out)
{
    *out = NULL;
    const strength *s = subtle ? &subtle_ : &visible;
    um_forgery *f = calloc(1, sizeof *f);
    if (f == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a forgery");
    um_rng r = um_rng_stream(seed, key, UM_SYNTH_FORGERY + 4 * (uint32_t)fake + (uint32_t)which, UM_RNG_SYNTH);
    double samples = um_rng_uniform(&r, s->samples[0], s->samples[1]), most = s->samples_per_px * face_px;
    if (samples > most) samples = most;
    f->side = (int)lrint(2 * COPY_SPAN * samples);
    if (f->side < 8) f->side = 8;
    if (f->side > MAX_SAMPLES) f->side = MAX_SAMPLES;
    double hue = um_rng_uniform(&r, s->hue[0], s->hue[1]) * (um_rng_below(&r, 2) == 0 ? -1 : 1);
    double saturation = either(&r, s->pale, s->vivid), value = either(&r, s->dark, s->bright), offset = um_rng_uniform(&r, -s->offset, s->offset);
    f->colour = um_colour_make(hue, saturation, value, offset);
    double turn = um_rng_uniform(&r, -s->turn_deg, s->turn_deg) * M_PI / 180, scale = um_rng_uniform(&r, s->scale[0], s->scale[1]);
    f->copy[0] = cos(turn) / scale;
    f->copy[1] = -sin(turn) / scale;
    f->copy[2] = um_rng_uniform(&r, -s->shift, s->shift);
    f->copy[3] = sin(turn) / scale;
    f->copy[4] = cos(turn) / scale;
    f->copy[5] = um_rng_uniform(&r, -s->shift, s->shift);
    draw_mask(f, &r);
    size_t n = (size_t)f->side, values = 3 * n * n;
    f->small = malloc(values * (1 + ENLARGE + ENLARGE * ENLARGE) * sizeof *f->small);
    if (f->small == NULL) {
        free(f);
        return UM_FAIL(UM_NO_MEMORY, "no memory for a copy of %d samples a side", (int)n);
    }
    f->wide = f->small + values;
    f->large = f->wide + ENLARGE * values;
    *out = f;
    return UM_OK;
}

void um_forgery_free(um_forgery *f)
{
    if (f == NULL) return;
    free(f->small);
    free(f);
}

float um_forgery_mask(const um_forgery *f, double u, double v)
{
    float x = (float)((u / MASK_SPAN + 1) * (MASK_SIDE - 1) / 2), y = (float)((v / MASK_SPAN + 1) * (MASK_SIDE - 1) / 2);
    if (!(x >= 0 && y >= 0 && x < MASK_SIDE - 1 && y < MASK_SIDE - 1)) return 0;
    int ix = (int)x, iy = (int)y;
    const float *m = f->mask + iy * MASK_SIDE + ix, fx = x - (float)ix, fy = y - (float)iy;
    float top = m[0] + (m[1] - m[0]) * fx, bottom = m[MASK_SIDE] + (m[MASK_SIDE + 1] - m[MASK_SIDE]) * fx;
    return top + (bottom - top) * fy;
}

/* The frame's mean over a square of about one sample around (x, y): `taps` x `taps` nearest pixels, clamped at the border. */
static void sample_area(const um_image *rgb, double x, double y, double reach, int taps, float out[3])
{
    uint32_t sum[3] = {0, 0, 0};
    for (int j = 0; j < taps; j++) {
        double py = y + reach * ((j + 0.5) / taps - 0.5);
        int iy = py < 0 ? 0 : py > rgb->height_px - 1 ? rgb->height_px - 1 : (int)(py + 0.5);
        const uint8_t *row = rgb->data + (size_t)iy * rgb->stride;
        for (int i = 0; i < taps; i++) {
            double px = x + reach * ((i + 0.5) / taps - 0.5);
            int ix = px < 0 ? 0 : px > rgb->width_px - 1 ? rgb->width_px - 1 : (int)(px + 0.5);
            const uint8_t *p = row + 3 * (size_t)ix;
            for (int c = 0; c < 3; c++) sum[c] += p[c];
        }
    }
    for (int c = 0; c < 3; c++) out[c] = (float)sum[c] / (float)(taps * taps);
}

/* Catmull-Rom weights of the four neighbours at fraction t. */
static void cubic(double t, float w[4])
{
    w[0] = (float)(t * (-0.5 + t * (1 - 0.5 * t)));
    w[1] = (float)(1 + t * t * (-2.5 + 1.5 * t));
    w[2] = (float)(t * (0.5 + t * (2 - 1.5 * t)));
    w[3] = (float)(t * t * (-0.5 + 0.5 * t));
}

/* `lines` lines of n places, `width` values each, become ENLARGE * n places: place i lies at old place (i - 1) / 3, edges repeated. */
static void enlarge(const float *in, float *out, int lines, int n, int width)
{
    for (int l = 0; l < lines; l++) {
        const float *src = in + (size_t)l * (size_t)n * (size_t)width;
        float *dst = out + (size_t)l * (size_t)(ENLARGE * n) * (size_t)width;
        for (int i = 0; i < ENLARGE * n; i++, dst += width) {
            int at = (i + ENLARGE - 1) / ENLARGE - 1, part = i - 1 - at * ENLARGE; /* floor((i - 1) / 3) and what is left */
            float w[4];
            const float *p[4];
            cubic((double)part / ENLARGE, w);
            for (int k = 0; k < 4; k++) {
                int q = at - 1 + k;
                p[k] = src + (size_t)(q < 0 ? 0 : q >= n ? n - 1 : q) * (size_t)width;
            }
            for (int c = 0; c < width; c++) dst[c] = w[0] * p[0][c] + w[1] * p[1][c] + w[2] * p[2][c] + w[3] * p[3][c];
        }
    }
}

static void take_copy(um_forgery *f, const um_image *rgb, const um_synth_face *face)
{
    const int n = f->side;
    double c = cos(face->angle), s = sin(face->angle), du = 2 * COPY_SPAN * face->width / n, dv = 2 * COPY_SPAN * face->height / n;
    double reach = du > dv ? du : dv;
    int taps = (int)ceil(reach);
    taps = taps < 1 ? 1 : taps > 16 ? 16 : taps;
    for (int j = 0; j < n; j++) {
        for (int i = 0; i < n; i++) {
            double px = (i + 0.5 - 0.5 * n) * du, py = (j + 0.5 - 0.5 * n) * dv;
            float v[3];
            sample_area(rgb, face->x + c * px - s * py, face->y + s * px + c * py, reach, taps, v);
            um_colour_apply(&f->colour, v, f->small + 3 * ((size_t)j * (size_t)n + (size_t)i));
        }
    }
    enlarge(f->small, f->wide, n, n, 3);
    enlarge(f->wide, f->large, 1, n, 3 * ENLARGE * n); /* whole rows are the places of one line */
}

void um_forgery_apply(um_forgery *f, const um_image *rgb, const um_synth_face *face, um_rect *touched)
{
    double c = cos(face->angle), s = sin(face->angle);
    double rx = MASK_SPAN * (fabs(c) * face->width + fabs(s) * face->height), ry = MASK_SPAN * (fabs(s) * face->width + fabs(c) * face->height);
    um_rect r = {0};
    if (touched != NULL) *touched = r;
    if (!(face->width >= 4 && face->height >= 4 && rx < 1e5 && ry < 1e5)) return;
    double left = floor(face->x - rx), top = floor(face->y - ry), right = ceil(face->x + rx) + 1, bottom = ceil(face->y + ry) + 1;
    r.x0 = (int)(left < 0 ? 0 : left);
    r.y0 = (int)(top < 0 ? 0 : top);
    r.x1 = (int)(right > rgb->width_px ? rgb->width_px : right);
    r.y1 = (int)(bottom > rgb->height_px ? rgb->height_px : bottom);
    if (r.x0 >= r.x1 || r.y0 >= r.y1) return;
    if (touched != NULL) *touched = r;
    take_copy(f, rgb, face);
    const int side = ENLARGE * f->side, last = side - 2;
    const float per_unit = (float)(side / (2 * COPY_SPAN));
    /* Rows and columns of the frame -> face coordinates -> places in the copy: three affine maps, kept in registers. */
    const double ux = c / face->width, uy = s / face->width, vx = -s / face->height, vy = c / face->height;
    const double copy[6] = {f->copy[0], f->copy[1], f->copy[2] + COPY_SPAN, f->copy[3], f->copy[4], f->copy[5] + COPY_SPAN};
    const float *const large = f->large;
    const float edge = (float)side - 1.01f;
    for (int y = r.y0; y < r.y1; y++) {
        uint8_t *p = rgb->data + (size_t)y * rgb->stride + 3 * (size_t)r.x0;
        for (int x = r.x0; x < r.x1; x++, p += 3) {
            double dx = x - face->x, dy = y - face->y, u = ux * dx + uy * dy, v = vx * dx + vy * dy;
            float m = um_forgery_mask(f, u, v);
            if (!(m > 0)) continue;
            /* Sample i of the small copy has its middle at (i + 0.5) / n; enlarged place 3i + 1 lies on it. */
            float cx = (float)(copy[0] * u + copy[1] * v + copy[2]) * per_unit - 0.5f;
            float cy = (float)(copy[3] * u + copy[4] * v + copy[5]) * per_unit - 0.5f;
            cx = cx < 0 ? 0 : cx > edge ? edge : cx;
            cy = cy < 0 ? 0 : cy > edge ? edge : cy;
            int ix = (int)cx < last ? (int)cx : last, iy = (int)cy < last ? (int)cy : last;
            float fx = cx - (float)ix, fy = cy - (float)iy;
            const float *q = large + 3 * ((size_t)iy * (size_t)side + (size_t)ix), *below = q + 3 * (size_t)side;
            for (int k = 0; k < 3; k++) {
                float t = q[k] + (q[3 + k] - q[k]) * fx, b = below[k] + (below[3 + k] - below[k]) * fx, new = t + (b - t) * fy;
                float old = p[k], mixed = old + (new - old) * m;
                p[k] = (uint8_t)(mixed < 0 ? 0 : mixed > 255 ? 255 : mixed + 0.5f);
            }
        }
    }
}
