#pragma once
/* crop.h: from a box to the rectangle that is cut out (pipeline: crops). */
#include "src/image/image.h"

#include <stdbool.h>

/* Box coordinates truncated to integers; margin h/3 above and below and w/3 left and right (integer division), clipped at the frame.
 * False when nothing is left (a box outside the frame, or without width or height). */
bool um_crop_rect(const float box[4], int frame_width_px, int frame_height_px, um_rect *out);
