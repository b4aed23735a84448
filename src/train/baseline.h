#pragma once
/* baseline.h: what a network has to beat: a logistic regression on thirteen statistics of a face, sharpness and colour.
 *
 *     for each crop:  UM_PASS(um_baseline_features(resize, &crop, x + i * UM_BASELINE_FEATURES));
 *     UM_PASS(um_baseline_fit(x, fake, n, &b));                 // crops that are trained on
 *     p = um_baseline_score(&b, features_of_another_crop);      // probability of a fake
 *
 * A pasted face was resampled and its colours were moved: it is softer than a real one, and of another hue. Statistics are taken of the middle half of each side, where the face is: around it a crop shows the untouched video.
 * That half is first brought to 96 x 96 (INTER_AREA; INTER_CUBIC where a side grows), whatever its size and shape: sharpness is per pixel, so a face farther away would otherwise be a sharper one. Both were chosen by leaving out each
 * of the synthetic data set's people in turn (docs/numerics.md, Baseline).
 *
 * Sums are of whole numbers or in one order, so that results repeat. Pure; any thread; allocates nothing but the resizer's tables.
 */
#include "src/image/cvresize.h"

enum { UM_BASELINE_SIDE = 96 };

/* Of the 96 x 96 pixels, Y is OpenCV's grey of 8 bits ((9798 R + 19235 G + 3735 B + 2^14) >> 15), borders are reflected (BORDER_REFLECT_101), var is the population's:
 *   LAPLACIAN   log(var(L * Y) + 1), L = (0 1 0, 1 -4 1, 0 1 0)                       Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000 (cv2.Laplacian)
 *   TENENGRAD   log(mean(Gx^2 + Gy^2) + 1), Sobel's 3 x 3                             Krotkov, "Focusing", IJCV 1 (1987) (cv2.Sobel)
 *   HIGH_5      log((mean((Y - B * Y)^2) + 0.01) / (var(Y) + 1)), B = binomial 5 x 5   share of the energy in high frequencies (cv2.GaussianBlur of 5)
 *   HIGH_3      the same with B = binomial 3 x 3
 *   NOISE       log(s + 0.01), s = sqrt(pi / 2) / 6 mean|N * Y|, N = (1 -2 1, -2 4 -2, 1 -2 1)   Immerkaer, "Fast noise variance estimation", CVIU 64 (1996)
 *   MEAN_*, STD_*   mean and standard deviation of R, G, B (0 .. 255) and of saturation, (max - min) / max of a pixel's three, 0 for black (Smith, "Color gamut transform pairs", SIGGRAPH 1978) */
typedef enum um_baseline_feature {
    UM_BASELINE_LAPLACIAN, UM_BASELINE_TENENGRAD, UM_BASELINE_HIGH_5, UM_BASELINE_HIGH_3, UM_BASELINE_NOISE,
    UM_BASELINE_MEAN_R, UM_BASELINE_MEAN_G, UM_BASELINE_MEAN_B, UM_BASELINE_STD_R, UM_BASELINE_STD_G, UM_BASELINE_STD_B,
    UM_BASELINE_MEAN_SATURATION, UM_BASELINE_STD_SATURATION,
    UM_BASELINE_FEATURES
} um_baseline_feature;

typedef struct um_baseline {
    double mean[UM_BASELINE_FEATURES], scale[UM_BASELINE_FEATURES]; /* z = (x - mean) / scale: standard deviation 1 where it was not 0 */
    double weight[UM_BASELINE_FEATURES], bias;                      /* of z */
    int n_steps;                                                    /* Newton's, until it converged */
} um_baseline;

/* crop: RGB, any size. out in the order of um_baseline_feature. Errors: UM_USAGE (not RGB), UM_NO_MEMORY. */
um_status um_baseline_features(um_cvresize *resize, const um_image *crop, double out[UM_BASELINE_FEATURES]);
/* x: [n][UM_BASELINE_FEATURES]; fake: [n], 0 or 1. The least of |w|^2 / 2 + sum of c_i log-loss_i over weights and bias, where the reals together weigh as much as the fakes, c_i = n / (2 n of its class), as both do in the training of the
 * network; the bias is not held back: scikit-learn's StandardScaler and LogisticRegression(C=1, class_weight="balanced"). Found by Newton's method (iteratively reweighted least squares) from 0, steps halved where the sum would grow.
 * Errors: UM_DATA (a class is missing, a number is not finite). */
um_status um_baseline_fit(const double *x, const uint8_t *fake, size_t n, um_baseline *out);
/* Probability of a fake. */
double um_baseline_score(const um_baseline *b, const double x[UM_BASELINE_FEATURES]);
