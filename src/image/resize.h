#pragma once
/* resize.h: Pillow's bicubic resampling, to the bit (docs/numerics.md).
 *
 * Image.resize((w, h), BICUBIC) of Pillow: a = -0.5, support widened by the factor when shrinking, coefficients rounded to 22 fractional bits,
 * horizontal pass first, 8-bit intermediate, rounding at each pass. Local; any thread; each thread its own um_resize.
 */
#include "src/image/image.h"

typedef struct um_resize um_resize; /* coefficient tables and the intermediate picture, kept between calls of equal sizes */

/* New, empty. NULL when out of memory. */
um_resize *um_resize_new(void);
void um_resize_free(um_resize *r);
/* Resamples the whole of src (channels 1 or 3) into dst, which has its size set and as many channels. Errors: UM_NO_MEMORY. */
um_status um_resize_bicubic(um_resize *r, const um_image *src, const um_image *dst);
