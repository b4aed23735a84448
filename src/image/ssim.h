#pragma once
/* ssim.h: the difference mask of a fake crop and its original (pipeline: SSIM difference masks).
 *
 * Structural similarity map (Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004) with scikit-image's conventions: 7x7 uniform window, data range 255,
 * K1 = 0.01, K2 = 0.03, sample covariance (n/(n-1)), per channel, full image with edges by reflection (scipy's "reflect": d c b a | a b c d).
 * mask = trunc(min(255, (1 - ssim) * 255)) per channel (values of ssim below 0 are clamped where the reference wraps), then grey with BT.601 weights as
 * OpenCV's cvtColor does on the BGR map: (B*3735 + G*19235 + R*9798 + 16384) >> 15.
 */
#include "src/image/image.h"

typedef struct um_ssim um_ssim; /* working memory, kept between calls */

um_ssim *um_ssim_new(void);
void um_ssim_free(um_ssim *s);
/* a and b: RGB, equal sizes, both sides >= 7 (UM_MISMATCH otherwise). mask: 1 channel, the same size. Local; one thread per um_ssim. */
um_status um_ssim_mask(um_ssim *s, const um_image *a, const um_image *b, const um_image *mask);
