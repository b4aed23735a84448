#pragma once
/* detect.h: a frame in, faces in source pixels out: the frame is scaled, searched, and the boxes are scaled back.
 *
 * Scale rule (the reference's text; --scale auto), by the wider side: below 300 px x2, 300..1000 x1, above 1000 x0.5, above 1900 x0.33. The scaled size is
 * floor(side * factor); boxes and landmarks are divided by the factor, not by the ratio of the sizes.
 */
#include "src/image/resize.h"
#include "src/models/mtcnn.h"

/* factor for a frame of this size under the rule above. */
double um_detect_auto_scale(int width_px, int height_px);

typedef struct um_detector um_detector; /* one thread's detector: net, resampler, scaled frame */

/* scale: > 0 a fixed factor, 0 the rule. Errors: UM_NO_MEMORY. */
um_status um_detector_new(const um_mtcnn_weights *w, double scale, um_detector **out);
void um_detector_free(um_detector *d);
/* Faces of `rgb`, largest first, in pixels of `rgb`. Local; one thread per detector. */
um_status um_detector_run(um_detector *d, const um_image *rgb, const um_thresholds *t, um_faces *out);
