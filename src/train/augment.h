#pragma once
/* augment.h: what happens to a crop before the network sees it in training (pipeline: Training, Augmentation).
 *
 *     um_augment_work *w; UM_PASS(um_augment_work_new(&jpeg, &w));      // one a thread
 *     um_augment_params p;
 *     um_augment_draw(&config, seed, epoch, sample, pair, &picture, &p); // every decision and every number
 *     UM_PASS(um_augment_apply(w, &p, &picture, &out));                  // does them; draws nothing
 *
 * A draw is a pure function of its arguments: a sample looks the same on any rank, on any thread, after any resume. Each decision has a place of its own in the random stream, so switching one group off changes no other.
 * Order and numbers are those of the reference (albumentations 0.4's semantics); docs/numerics.md says how equal each operation is to OpenCV and albumentations, and where it is not:
 *   1. one of: landmarks removed (70 %, where there are any), else half of the face's hull (20 %), else half of the picture or two of its quarters (10 %); padding_part
 *   2. JPEG (50 %), noise (10 %), blur (5 %), flip (50 %)
 *   3. isotropic resize with one of three pairs of interpolations, centred on black
 *   4. one of brightness/contrast, FancyPCA, hue/saturation/value (70 %); off by default: tint, channel shuffle
 *   5. grey (20 %); shift, scale, rotate (50 %)
 */
#include "src/core/opt.h"
#include "src/train/sample.h"

/* Probabilities are 0..1; 0 switches an operation off. Types are those of src/core/opt.h: um_augment_options names each field. */
typedef struct um_augment_config {
    int64_t size_px;       /* of the network's input; 380 */
    bool no_hardcore;      /* no group 1 */
    int64_t padding_part;  /* P > 3: keeps [h/5 - p, h - h/5 + p), p = int(0.6 h / P), widths alike; 3: off */
    double p_landmarks;    /* 0.7 */
    double p_hull;         /* 0.2, of those that kept their landmarks */
    double p_blackout;     /* 0.1, of the rest */
    double p_jpeg;         /* 0.5; quality 60..100 */
    int64_t jpeg_min, jpeg_max;
    double p_noise;        /* 0.1; variance 10..50 */
    double noise_min, noise_max;
    double p_blur;         /* 0.05; 3x3 */
    double p_flip;         /* 0.5 */
    double p_colour;       /* 0.7: one of the next three, each as likely */
    double brightness, contrast; /* 0.2, 0.2 */
    double pca;            /* 0.1 */
    double hue, saturation, value; /* 20, 30, 20: grey levels; hue of 180 */
    double p_tint;         /* 0 (strong: 0.8): hue moved by up to tint_hue, saturation and value multiplied */
    double tint_hue;       /* 40 */
    double tint_saturation, tint_value; /* 0.5, 0.35: factors 1 - x .. 1 + x */
    double p_shuffle;      /* 0 (strong: 0.5): channels in one of their six orders */
    double p_grey;         /* 0.2 (strong: 0.3) */
    double p_warp;         /* 0.5 */
    double shift, scale, rotate; /* 0.1 of the side, 0.2, 10 degrees (strong: 15) */
    bool pair_geometry_only; /* false: what a pair shares is every draw; true: only geometry (group 1, flip, resize, warp) */
    double p_mixup;        /* 0; of pairs: um_augment_params.mixup, from Beta(mixup_alpha, mixup_alpha) */
    double mixup_alpha;    /* 1: uniform */
} um_augment_config;

/* The reference's numbers. */
um_augment_config um_augment_config_default(int size_px);
/* The same with the colours that a small data set needs (p_tint, p_shuffle, p_grey, rotate as above): without them a network learns the few people's colours. */
um_augment_config um_augment_config_strong(int size_px);
/* One row per field, keys "augment.<field>", offsets within um_augment_config, defaults those of um_augment_config_default; ends with key NULL. size_px, no_hardcore and padding_part are keys of the training's own and have no row. */
extern const um_opt um_augment_options[];
/* UM_CONFIG names the first field that makes no sense. */
um_status um_augment_config_check(const um_augment_config *c);

typedef enum um_augment_cut { UM_CUT_NONE, UM_CUT_EYES, UM_CUT_MOUTH, UM_CUT_NOSE, UM_CUT_HULL, UM_CUT_BLACKOUT } um_augment_cut;
typedef enum um_augment_resize { UM_AUGMENT_AREA_CUBIC, UM_AUGMENT_AREA_LINEAR, UM_AUGMENT_LINEAR_LINEAR } um_augment_resize; /* shrinking, enlarging */
typedef enum um_augment_colour { UM_COLOUR_NONE, UM_COLOUR_BRIGHTNESS_CONTRAST, UM_COLOUR_PCA, UM_COLOUR_HSV } um_augment_colour;

/* The face's outline from brows to chin: the points centre + a * across + b * down with a^2 + (b < 0 ? b / up : b)^2 <= 1 (docs/numerics.md, The hull). */
typedef struct um_augment_hull {
    float centre[2], across[2], down[2], up;
} um_augment_hull;

typedef struct um_augment_params {
    int size_px;
    int width_px, height_px;  /* of the crop they were drawn for */
    um_augment_cut cut;
    int line[2][2], grow_px;  /* EYES, MOUTH, NOSE: a 2-px line between two points, then grown by that many steps of a cross */
    um_augment_hull hull;     /* HULL */
    int side;                 /* HULL, which half is cut: 0 upper, 1 lower, 2 left, 3 right; BLACKOUT, what is kept: 0 lower, 1 upper, 2 right, 3 left, 4 upper right and lower left, 5 upper left and lower right */
    bool mask_too_small;      /* BLACKOUT left at most 32 mask pixels above 20: no longer a valid fake */
    um_rect keep;             /* padding_part: what stays of the crop, all of it if off */
    int jpeg_quality;         /* 0: none */
    float noise_sigma;        /* 0: none */
    uint32_t noise_key[2];
    bool blur, flip;
    um_augment_resize resize;
    um_augment_colour colour;
    double alpha, beta;       /* BRIGHTNESS_CONTRAST: v * alpha + beta * 255; PCA: alpha */
    double shift_hsv[3];      /* HSV */
    bool tint;
    double tint_hsv[3];       /* hue added, saturation and value multiplied */
    int shuffle;              /* 0: none; 1..5: which order */
    bool grey;
    bool warp;
    double angle_deg, scale, dx, dy; /* dx, dy in sides */
    int mixup;                /* 0: none; 1..255: the fake's share in 256ths */
} um_augment_params;

/* sample: names the draws. pair: names those that the two of a pair share (um_sampler_pair); pass `sample` where there are no pairs. `p` gives sizes, landmarks, box and mask (its pixels are not looked at); a real of a pair is given
 * its fake's mask, so that both are blacked out alike. Any thread. */
void um_augment_draw(const um_augment_config *c, uint64_t seed, int64_t epoch, int64_t sample, int64_t pair, const um_face_picture *p, um_augment_params *out);
/* "EYES JPEG 71 FLIP PCA": what was drawn, for people. Cut where it does not fit. */
void um_augment_describe(const um_augment_params *p, char *out, size_t n);

/* JPEG, which src cannot do itself: encodes `in` (RGB) at that quality and decodes it into `out` of the same size; as OpenCV's imencode and imdecode do, that is 4:2:0 and the first channel taken for blue. */
typedef struct um_augment_jpeg {
    um_status (*pass)(void *self, int quality, const um_image *in, const um_image *out);
    void *self; /* of one thread */
} um_augment_jpeg;

typedef struct um_augment_work um_augment_work; /* working memory of one thread; grows to the largest crop it met, then nothing is allocated */
/* jpeg may be NULL: then parameters that say JPEG are UM_INTERNAL. */
um_status um_augment_work_new(const um_augment_jpeg *jpeg, um_augment_work **out);
void um_augment_work_free(um_augment_work *w);
/* out: size_px x size_px RGB, memory and stride set by the caller; overwritten whole. `picture` is the one the parameters were drawn for (its size is checked) and is not changed. Errors: UM_NO_MEMORY, UM_INTERNAL, those of jpeg. */
um_status um_augment_apply(um_augment_work *w, const um_augment_params *p, const um_face_picture *picture, const um_image *out);
/* No augmentation: as scoring resizes (area down, cubic up, centred on black); padding_part is for training only. */
um_status um_augment_plain(um_augment_work *w, int size_px, const um_image *crop, const um_image *out);
/* out = (fake * share + real * (256 - share) + 128) >> 8; share 0..256; all of one size; out may be one of the two. */
void um_augment_mixup(const um_image *real, const um_image *fake, int share, const um_image *out);
