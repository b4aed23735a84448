#pragma once
/* augment_parts.h: the single operations of augmentation, each a pure function of a picture and its numbers. Used by augment.c and its tests only.
 *
 * All pictures are RGB; `in` and `out` have equal sizes and do not overlap unless said otherwise. docs/numerics.md (Augmentation) says what each is equal to.
 */
#include "src/train/augment.h"

/* augment_cut.c: set pixels to 0, in place */
/* The pixels that OpenCV's line(thickness 2) sets between two points, grown grow_px times by a cross (scipy's binary_dilation). Points may lie outside, up to 65,535 px. rows: scratch of 2 * height numbers. */
void um_augment_cut_line(const um_image *img, const int line[2][2], int grow_px, int *rows);
/* One half of the hull, cut through the centroid of its pixels: side as in um_augment_params. */
void um_augment_cut_hull(const um_image *img, const um_augment_hull *hull, int side);
/* The hull of a face (docs/numerics.md, The hull); false: neither landmarks nor a box to make one from. */
bool um_augment_hull_of(const um_face_picture *p, um_augment_hull *out);
/* What um_augment_params.side keeps of a width x height picture: one or two rectangles; returns how many. */
int um_augment_kept(int width_px, int height_px, int side, um_rect kept[2]);
/* Everything else to 0. */
void um_augment_blackout(const um_image *img, int side);

/* augment_noise.c */
/* out = truncate(clip(in + sigma * normal)); sample i of the picture (row by row, channels innermost) takes number i of the stream `key`. in may be out. */
void um_augment_noise(const um_image *in, float sigma, const uint32_t key[2], const um_image *out);
/* The normal number of each 16-bit value, in 1/4096: the standard normal quantile of (i + 0.5) / 65536. [65536] */
const int16_t *um_augment_quantiles(void);
/* OpenCV's GaussianBlur 3x3, sigma 0: (1 2 1) x (1 2 1) / 16, borders reflected without the edge. rows: scratch of 3 * width * 3 numbers. */
void um_augment_blur(const um_image *in, uint16_t *rows, const um_image *out);

/* augment_geometry.c */
void um_augment_flip(const um_image *in, const um_image *out);
typedef struct um_augment_warper { /* scratch of um_augment_warp; zeroed to begin with */
    uint32_t *pixel, *row;
    int32_t *step;
    size_t pixel_cap, row_cap;
} um_augment_warper;
void um_augment_warper_release(um_augment_warper *s);
/* OpenCV's getRotationMatrix2D about the middle (width / 2, height / 2), shifted by dx widths and dy heights, warpAffine with INTER_LINEAR and a black border. out may be in. Errors: UM_NO_MEMORY. */
um_status um_augment_warp(um_augment_warper *s, const um_image *in, double angle_deg, double scale, double dx, double dy, const um_image *out);

/* augment_colour.c: in place */
void um_augment_brightness_contrast(const um_image *img, double alpha, double beta);
void um_augment_pca(const um_image *img, double alpha);
void um_augment_hsv(const um_image *img, const double shift[3]);
void um_augment_tint(const um_image *img, const double tint[3]);
void um_augment_shuffle(const um_image *img, int order);
void um_augment_grey(const um_image *img);
