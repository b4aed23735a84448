#pragma once
/* jpeg_pass.h: what JPEG does to a picture: encoded and decoded again, as OpenCV's imencode and imdecode do it: 4:2:0, the accurate transform, and the first channel taken for blue (the reference hands RGB to OpenCV, which means
 * BGR). For augmentation (src/train/augment.h, um_augment_jpeg).
 */
#include "src/image/image.h"

typedef struct um_jpeg_pass um_jpeg_pass; /* of one thread */
um_status um_jpeg_pass_new(um_jpeg_pass **out);
void um_jpeg_pass_free(um_jpeg_pass *p);
/* self: a um_jpeg_pass. in, out: 3 channels, of one size; may be the same. Errors: UM_NO_MEMORY, UM_INTERNAL. */
um_status um_jpeg_pass_run(void *self, int quality, const um_image *in, const um_image *out);
