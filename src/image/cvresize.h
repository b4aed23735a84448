#pragma once
/* cvresize.h: OpenCV's INTER_AREA and INTER_CUBIC on 8-bit pictures of 3 channels, to the bit, and the classifier's input made with them.
 *
 *     um_cvresize *r; UM_PASS(um_cvresize_new(&r));
 *     UM_PASS(um_cvresize_letterbox(r, &crop, 380, input));
 *     um_cvresize_free(r);
 *
 * The bits are those of OpenCV 4.10's own code (modules/imgproc/src/resize.cpp) on x86. INTER_AREA (shrinking): fractional coverage in f32, columns first, rounded half to even; where both factors are whole numbers the sum of
 * integers. INTER_CUBIC (enlarging): a = -0.75, coefficients of 11 bits, replicated border, centres aligned; rows in integers, columns in f32. Builds of OpenCV with Intel's IPP enlarge with that library instead, which
 * differs by 1 in about 5 % of the values (docs/numerics.md).
 * Local; one thread per um_cvresize. The same bits at every instruction-set level.
 */
#include "src/image/image.h"

typedef struct um_cvresize um_cvresize; /* coefficient tables and rows, reused */
um_status um_cvresize_new(um_cvresize **out);
void um_cvresize_free(um_cvresize *r);
/* Fills `out`, whose sides are the sizes wanted: for area no larger than `in`'s, for cubic any. Both pictures have 3 channels. Errors: UM_NO_MEMORY, UM_USAGE. */
um_status um_cvresize_area(um_cvresize *r, const um_image *in, um_image *out);
um_status um_cvresize_cubic(um_cvresize *r, const um_image *in, um_image *out);

/* The reference's isotropically_resize_image and put_to_center (pipeline: Pixels): the longer side becomes size_px, the other side * (size_px / longer) in f64, truncated (at least 1: OpenCV refuses 0); area when shrinking, cubic
 * when enlarging, unchanged where the longer side is size_px already; centred on black at truncated offsets. out: (size,size,3) U8, contiguous. Errors: UM_NO_MEMORY, UM_USAGE. */
um_status um_cvresize_letterbox(um_cvresize *r, const um_image *crop, int size_px, uint8_t *out);
