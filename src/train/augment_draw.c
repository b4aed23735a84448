#include "src/train/augment_parts.h"

#include "src/core/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLACKOUT_TRIES = 5, BLACKOUT_LEAST_PX = 20, VALID_LEVEL = 20, VALID_LEAST_PX = 32, SIDES = 6, ORDERS = 6 };

/* Places in the two streams: append only, so that a new operation does not move the others' numbers. */
enum { G_LANDMARKS, G_HULL, G_BLACKOUT, G_EYES, G_MOUTH, G_NOSE, G_HULL_SIDE, G_SIDE, G_FLIP = G_SIDE + BLACKOUT_TRIES, G_RESIZE, G_WARP, G_ANGLE, G_SCALE, G_DX, G_DY, G_MIXUP, G_LAMBDA_A, G_LAMBDA_B, G_COUNT };
enum { A_JPEG, A_QUALITY, A_NOISE, A_VARIANCE, A_NOISE_KEY0, A_NOISE_KEY1, A_BLUR, A_COLOUR, A_KIND, A_BRIGHTNESS, A_CONTRAST, A_PCA0, A_PCA1, A_HUE, A_SATURATION, A_VALUE, A_TINT, A_TINT_HUE, A_TINT_SATURATION, A_TINT_VALUE, A_SHUFFLE, A_ORDER, A_GREY, A_COUNT };

static void draw_all(uint64_t seed, int64_t key, int64_t epoch, uint32_t purpose, uint32_t *out, int n)
{
    um_rng r = um_rng_stream(seed, (uint64_t)key, (uint32_t)epoch, purpose);
    for (int i = 0; i < n; i++) out[i] = um_rng_u32(&r);
}

static bool happens(uint32_t word, double p) { return word * 0x1p-32 < p; }
static double between(uint32_t word, double lo, double hi) { return lo + (hi - lo) * (word * 0x1p-32); }
static int below(uint32_t word, int n) { return (int)((uint64_t)word * (uint64_t)n >> 32); }

/* int(w / part) of the reference: floor of a square root's quotient. */
static int grow_of(const int line[2][2], double part)
{
    const double dx = line[0][0] - line[1][0], dy = line[0][1] - line[1][1];
    return (int)(sqrt(dx * dx + dy * dy) / part);
}

static void draw_landmarks(const uint32_t *g, const um_face_picture *p, um_augment_params *out)
{
    const int16_t(*at)[2] = p->point;
    const int eyes[2][2] = {{at[0][0], at[0][1]}, {at[1][0], at[1][1]}}, mouth[2][2] = {{at[3][0], at[3][1]}, {at[4][0], at[4][1]}};
    const int nose[2][2] = {{at[2][0], at[2][1]}, {(at[0][0] + at[1][0]) / 2, (at[0][1] + at[1][1]) / 2}};
    if (happens(g[G_EYES], 0.5)) {
        out->cut = UM_CUT_EYES;
        memcpy(out->line, eyes, sizeof eyes);
        out->grow_px = grow_of(eyes, 4);
    } else if (happens(g[G_MOUTH], 0.5)) {
        out->cut = UM_CUT_MOUTH;
        memcpy(out->line, mouth, sizeof mouth);
        out->grow_px = grow_of(mouth, 3);
    } else if (happens(g[G_NOSE], 0.5)) {
        out->cut = UM_CUT_NOSE;
        memcpy(out->line, nose, sizeof nose);
        out->grow_px = grow_of(eyes, 4);
    }
}

/* Mask pixels above `level` in what a side keeps, at most `enough`. */
static int kept_pixels(const um_image *mask, int side, int level, int enough)
{
    um_rect kept[2];
    int n = 0;
    const int n_kept = um_augment_kept(mask->width_px, mask->height_px, side, kept);
    for (int i = 0; i < n_kept; i++)
        for (int y = kept[i].y0; y < kept[i].y1; y++) {
            const uint8_t *row = mask->data + (size_t)y * mask->stride;
            for (int x = kept[i].x0; x < kept[i].x1; x++) n += row[x] > level;
            if (n >= enough) return enough;
        }
    return n;
}

static void draw_blackout(const uint32_t *g, const um_face_picture *p, um_augment_params *out)
{
    for (int try = 0; try < BLACKOUT_TRIES; try++) {
        const int side = below(g[G_SIDE + try], SIDES);
        if (p->mask.data != NULL && kept_pixels(&p->mask, side, 0, BLACKOUT_LEAST_PX + 1) <= BLACKOUT_LEAST_PX) continue;
        out->cut = UM_CUT_BLACKOUT;
        out->side = side;
        out->mask_too_small = p->fake && p->mask.data != NULL && kept_pixels(&p->mask, side, VALID_LEVEL, VALID_LEAST_PX + 1) <= VALID_LEAST_PX;
        return;
    }
}

/* Normal by Box-Muller, as um_rng_normal. */
static double normal(uint32_t a, uint32_t b)
{
    return sqrt(-2 * log((a + 1.0) * 0x1p-32)) * cos(6.283185307179586 * (b * 0x1p-32));
}

/* The share of the fake, from Beta(alpha, alpha), in whole 256ths, 1..255. Joehnk (Metrika 8, 1964): U^(1/a) / (U^(1/a) + V^(1/a)) of pairs whose sum is at most 1; a uniform number where alpha is 1, which needs no rejection. */
static int draw_share(uint64_t seed, int64_t pair, int64_t epoch, const uint32_t *g, double alpha)
{
    double x = g[G_LAMBDA_A] * 0x1p-32;
    if (alpha != 1) {
        um_rng r = um_rng_stream(seed ^ (uint64_t)g[G_LAMBDA_A] << 32 ^ g[G_LAMBDA_B], (uint64_t)pair, (uint32_t)epoch, UM_RNG_GEOMETRY);
        x = 0.5;
        for (int try = 0; try < 1000; try++) {
            double u = pow(um_rng_uniform(&r, 0, 1), 1 / alpha), v = pow(um_rng_uniform(&r, 0, 1), 1 / alpha);
            if (u + v > 1 || u + v <= 0) continue;
            x = u / (u + v);
            break;
        }
    }
    int share = (int)(x * 256);
    return share < 1 ? 1 : share > 255 ? 255 : share;
}

void um_augment_draw(const um_augment_config *c, uint64_t seed, int64_t epoch, int64_t sample, int64_t pair, const um_face_picture *p, um_augment_params *out)
{
    uint32_t g[G_COUNT], a[A_COUNT];
    draw_all(seed, pair, epoch, UM_RNG_GEOMETRY, g, G_COUNT);
    draw_all(seed, c->pair_geometry_only ? sample : pair, epoch, UM_RNG_APPEARANCE, a, A_COUNT);
    const int w = p->crop.width_px, h = p->crop.height_px;
    *out = (um_augment_params){.size_px = (int)c->size_px, .width_px = w, .height_px = h, .keep = {0, 0, w, h}, .alpha = 1, .scale = 1};

    if (!c->no_hardcore) {
        if (p->has_landmarks && happens(g[G_LANDMARKS], c->p_landmarks)) {
            draw_landmarks(g, p, out);
        } else if (happens(g[G_HULL], c->p_hull)) {
            if (um_augment_hull_of(p, &out->hull)) {
                out->cut = UM_CUT_HULL;
                out->side = below(g[G_HULL_SIDE], 4);
            }
        } else if (happens(g[G_BLACKOUT], c->p_blackout)) {
            draw_blackout(g, p, out);
        }
    }
    if (c->padding_part > 3) {
        const int px = (int)(0.6 * w / (double)c->padding_part), py = (int)(0.6 * h / (double)c->padding_part);
        out->keep = (um_rect){w / 5 - px, h / 5 - py, w - w / 5 + px, h - h / 5 + py};
    }

    if (happens(a[A_JPEG], c->p_jpeg)) out->jpeg_quality = (int)c->jpeg_min + below(a[A_QUALITY], (int)(c->jpeg_max - c->jpeg_min) + 1);
    if (happens(a[A_NOISE], c->p_noise)) {
        out->noise_sigma = (float)sqrt(between(a[A_VARIANCE], c->noise_min, c->noise_max));
        out->noise_key[0] = a[A_NOISE_KEY0];
        out->noise_key[1] = a[A_NOISE_KEY1];
    }
    out->blur = happens(a[A_BLUR], c->p_blur);
    out->flip = happens(g[G_FLIP], c->p_flip);
    out->resize = (um_augment_resize)below(g[G_RESIZE], 3);

    if (happens(a[A_COLOUR], c->p_colour)) {
        out->colour = (um_augment_colour)(UM_COLOUR_BRIGHTNESS_CONTRAST + below(a[A_KIND], 3));
        switch (out->colour) {
        case UM_COLOUR_BRIGHTNESS_CONTRAST:
            out->alpha = 1 + between(a[A_CONTRAST], -c->contrast, c->contrast);
            out->beta = between(a[A_BRIGHTNESS], -c->brightness, c->brightness);
            break;
        case UM_COLOUR_PCA: out->alpha = c->pca * normal(a[A_PCA0], a[A_PCA1]); break;
        case UM_COLOUR_HSV:
            out->shift_hsv[0] = between(a[A_HUE], -c->hue, c->hue);
            out->shift_hsv[1] = between(a[A_SATURATION], -c->saturation, c->saturation);
            out->shift_hsv[2] = between(a[A_VALUE], -c->value, c->value);
            break;
        case UM_COLOUR_NONE: break;
        }
    }
    out->tint = happens(a[A_TINT], c->p_tint);
    if (out->tint) {
        out->tint_hsv[0] = between(a[A_TINT_HUE], -c->tint_hue, c->tint_hue);
        out->tint_hsv[1] = 1 + between(a[A_TINT_SATURATION], -c->tint_saturation, c->tint_saturation);
        out->tint_hsv[2] = 1 + between(a[A_TINT_VALUE], -c->tint_value, c->tint_value);
    }
    if (happens(a[A_SHUFFLE], c->p_shuffle)) out->shuffle = below(a[A_ORDER], ORDERS); /* all six orders, the usual one too */
    out->grey = happens(a[A_GREY], c->p_grey);

    out->warp = happens(g[G_WARP], c->p_warp);
    if (out->warp) {
        out->angle_deg = between(g[G_ANGLE], -c->rotate, c->rotate);
        out->scale = 1 + between(g[G_SCALE], -c->scale, c->scale);
        out->dx = between(g[G_DX], -c->shift, c->shift);
        out->dy = between(g[G_DY], -c->shift, c->shift);
    }
    if (happens(g[G_MIXUP], c->p_mixup)) out->mixup = draw_share(seed, pair, epoch, g, c->mixup_alpha);
}

void um_augment_describe(const um_augment_params *p, char *out, size_t n)
{
    static const char *const CUT[] = {"", "EYES ", "MOUTH ", "NOSE ", "HULL ", "BLACK "}, *const COLOUR[] = {"", "BRIGHT ", "PCA ", "HSV "}, *const RESIZE[] = {"AC", "AL", "LL"};
    char jpeg[24] = "", noise[24] = "", mix[24] = "";
    if (p->jpeg_quality > 0) snprintf(jpeg, sizeof jpeg, "JPEG%d ", p->jpeg_quality);
    if (p->noise_sigma > 0) snprintf(noise, sizeof noise, "NOISE%.0f ", (double)(p->noise_sigma * p->noise_sigma));
    if (p->mixup > 0) snprintf(mix, sizeof mix, "MIX%d/256 ", p->mixup);
    if (n > 0)
        snprintf(out, n, "%s%s%s%s%s%s%s%s%s%s%s%s", CUT[p->cut], jpeg, noise, p->blur ? "BLUR " : "", p->flip ? "FLIP " : "", COLOUR[p->colour], p->tint ? "TINT " : "", p->shuffle > 0 ? "SWAP " : "", p->grey ? "GREY " : "",
                 p->warp ? "WARP " : "", mix, RESIZE[p->resize]);
}

/* ---- Configuration ---- */

um_augment_config um_augment_config_default(int size_px)
{
    return (um_augment_config){
        .size_px = size_px, .padding_part = 3, .p_landmarks = 0.7, .p_hull = 0.2, .p_blackout = 0.1, .p_jpeg = 0.5, .jpeg_min = 60, .jpeg_max = 100, .p_noise = 0.1, .noise_min = 10, .noise_max = 50, .p_blur = 0.05, .p_flip = 0.5,
        .p_colour = 0.7, .brightness = 0.2, .contrast = 0.2, .pca = 0.1, .hue = 20, .saturation = 30, .value = 20, .tint_hue = 40, .tint_saturation = 0.5, .tint_value = 0.35, .p_grey = 0.2, .p_warp = 0.5, .shift = 0.1, .scale = 0.2,
        .rotate = 10, .mixup_alpha = 1};
}

um_augment_config um_augment_config_strong(int size_px)
{
    um_augment_config c = um_augment_config_default(size_px);
    c.p_tint = 0.8;
    c.p_shuffle = 0.5;
    c.p_grey = 0.3;
    c.rotate = 15;
    return c;
}

#define ROW(field, default_text, lo, hi, words) {"augment." #field, 0, UM_OPT_REAL, offsetof(um_augment_config, field), default_text, "X", lo, hi, .flags = UM_OPT_SET_ONLY | UM_OPT_FROZEN, .help = words}
#define ROW_INT(field, default_text, lo, hi, words) {"augment." #field, 0, UM_OPT_INT, offsetof(um_augment_config, field), default_text, "N", lo, hi, .flags = UM_OPT_SET_ONLY | UM_OPT_FROZEN, .help = words}

const um_opt um_augment_options[] = {
    ROW(p_landmarks, "0.7", 0, 1, "how often eyes, nose or mouth are removed, where landmarks are known"),
    ROW(p_hull, "0.2", 0, 1, "else, how often half of the face is blacked out"),
    ROW(p_blackout, "0.1", 0, 1, "else, how often half of the crop is blacked out"),
    ROW(p_jpeg, "0.5", 0, 1, "how often a crop is compressed as JPEG"),
    ROW_INT(jpeg_min, "60", 1, 100, "lowest JPEG quality"),
    ROW_INT(jpeg_max, "100", 1, 100, "highest JPEG quality"),
    ROW(p_noise, "0.1", 0, 1, "how often Gaussian noise is added"),
    ROW(noise_min, "10", 0, 65025, "least variance of the noise, in squared grey levels"),
    ROW(noise_max, "50", 0, 65025, "greatest variance of the noise"),
    ROW(p_blur, "0.05", 0, 1, "how often a crop is blurred, 3x3"),
    ROW(p_flip, "0.5", 0, 1, "how often left and right change places"),
    ROW(p_colour, "0.7", 0, 1, "how often one of brightness/contrast, FancyPCA, hue/saturation/value is changed"),
    ROW(brightness, "0.2", 0, 1, "brightness moves by at most this share of 255"),
    ROW(contrast, "0.2", 0, 1, "contrast changes by at most this share"),
    ROW(pca, "0.1", 0, 10, "standard deviation of FancyPCA's factor"),
    ROW(hue, "20", 0, 180, "hue moves by at most this, of 180"),
    ROW(saturation, "30", 0, 255, "saturation moves by at most this, of 255"),
    ROW(value, "20", 0, 255, "value moves by at most this, of 255"),
    ROW(p_tint, "0", 0, 1, "how often colours are changed strongly: hue moved, saturation and value multiplied"),
    ROW(tint_hue, "40", 0, 180, "p_tint: hue moves by at most this, of 180"),
    ROW(tint_saturation, "0.5", 0, 1, "p_tint: saturation changes by at most this share"),
    ROW(tint_value, "0.35", 0, 1, "p_tint: value changes by at most this share"),
    ROW(p_shuffle, "0", 0, 1, "how often the channels are put in another order"),
    ROW(p_grey, "0.2", 0, 1, "how often a picture becomes grey"),
    ROW(p_warp, "0.5", 0, 1, "how often a picture is shifted, scaled and turned"),
    ROW(shift, "0.1", 0, 1, "it is shifted by at most this share of its side"),
    ROW(scale, "0.2", 0, 0.9, "it is scaled by at most this share"),
    ROW(rotate, "10", 0, 180, "it is turned by at most so many degrees"),
    {"augment.pair_geometry_only", 0, UM_OPT_FLAG, offsetof(um_augment_config, pair_geometry_only), NULL, NULL, .flags = UM_OPT_SET_ONLY | UM_OPT_FROZEN, .help = "real and fake of a pair share geometry only, not colours and compression"},
    ROW(p_mixup, "0", 0, 1, "how often the fake of a pair is mixed with its real"),
    ROW(mixup_alpha, "1", 0.01, 100, "shares are drawn from Beta(x, x)"),
    {NULL},
};

um_status um_augment_config_check(const um_augment_config *c)
{
    if (c->size_px < 1 || c->size_px > 4096) return UM_FAIL(UM_CONFIG, "augmentation to %lld px: 1..4096 are possible", (long long)c->size_px);
    if (c->padding_part < 3 || c->padding_part > 1000) return UM_FAIL(UM_CONFIG, "padding-part %lld: 3 (off) to 1000 are possible", (long long)c->padding_part);
    for (const um_opt *o = um_augment_options; o->key != NULL; o++) {
        const void *at = (const char *)c + o->offset;
        double v = 0;
        int64_t n = 0;
        if (o->type == UM_OPT_REAL) {
            memcpy(&v, at, sizeof v);
        } else if (o->type == UM_OPT_INT) {
            memcpy(&n, at, sizeof n);
            v = (double)n;
        } else {
            continue;
        }
        if (!(v >= o->min && v <= o->max)) return UM_FAIL(UM_CONFIG, "%s is %g: %g..%g are possible", o->key, v, o->min, o->max);
    }
    if (c->jpeg_min > c->jpeg_max) return UM_FAIL(UM_CONFIG, "augment.jpeg_min %lld is above augment.jpeg_max %lld", (long long)c->jpeg_min, (long long)c->jpeg_max);
    if (c->noise_min > c->noise_max) return UM_FAIL(UM_CONFIG, "augment.noise_min %g is above augment.noise_max %g", c->noise_min, c->noise_max);
    return UM_OK;
}
