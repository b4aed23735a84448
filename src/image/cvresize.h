#pragma once
/* cvresize.h: OpenCV's INTER_AREA, INTER_CUBIC and INTER_LINEAR on 8-bit pictures of 3 channels, to the bit, and the classifier's input made with them.
 *
 * INTER_AREA (shrinking): fractional coverage in f32, rounded half to even; whole-number factors take OpenCV's integer path. INTER_CUBIC (enlarging): a = -0.75, 11-bit fixed-point coefficients, replicated
 * border, centres aligned. INTER_LINEAR: 11-bit fixed-point coefficients and OpenCV's truncations; halving both sides is the mean of four, as there. Bits are those of OpenCV 4.10's own code; same at every instruction-set level. (Its x86 wheels may hand INTER_CUBIC to Intel's IPP, which has no one answer: docs/numerics.md.)
 */
#include "src/image/image.h"

typedef struct um_cvresize um_cvresize; /* one thread's coefficient tables and rows, reused */
um_status um_cvresize_new(um_cvresize **out);
void um_cvresize_free(um_cvresize *r);
/* `out` has its size and memory set; in and out have 3 channels, sizes of 1..UM_IMAGE_MAX_SIDE, and do not overlap. Cubic and linear: any size to any size; area: neither side may grow. Errors: UM_NO_MEMORY, UM_USAGE. */
um_status um_cvresize_area(um_cvresize *r, const um_image *in, um_image *out);
um_status um_cvresize_cubic(um_cvresize *r, const um_image *in, um_image *out);
um_status um_cvresize_linear(um_cvresize *r, const um_image *in, um_image *out);

typedef enum um_cvresize_kind { UM_CVRESIZE_AREA, UM_CVRESIZE_CUBIC, UM_CVRESIZE_LINEAR } um_cvresize_kind;
/* The reference's isotropically_resize_image and put_to_center (pipeline: Pixels): the longer side becomes out's (a square), the other int(side * size / longer) as the reference's floats have it; `down` when shrinking, `up` when
 * enlarging (not AREA), unchanged where the longer side is that already; centred on black at integer offsets. A side that would become 0 (the reference fails there) becomes 1. */
um_status um_cvresize_fit(um_cvresize *r, const um_image *crop, um_cvresize_kind down, um_cvresize_kind up, const um_image *out);
/* The classifier's input in scoring: the same with area and cubic. out: (size,size,3) U8 contiguous. */
um_status um_cvresize_letterbox(um_cvresize *r, const um_image *crop, int size_px, uint8_t *out);
