#include "src/detect/detect.h"

#include <math.h>
#include <stdlib.h>

struct um_detector {
    um_mtcnn *net;
    um_resize *resize;
    um_image scaled; /* owned, kept between frames of one size */
    double scale;
};

double um_detect_auto_scale(int width_px, int height_px)
{
    int wide = width_px > height_px ? width_px : height_px;
    return wide < 300 ? 2 : wide <= 1000 ? 1 : wide <= 1900 ? 0.5 : 0.33;
}

um_status um_detector_new(const um_mtcnn_weights *w, double scale, um_detector **out)
{
    um_status st = UM_OK;
    um_detector *d = calloc(1, sizeof *d);
    *out = NULL;
    if (d == NULL || (d->resize = um_resize_new()) == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for the face detector");
        goto done;
    }
    d->scale = scale;
    UM_GOTO_PASS(st, um_mtcnn_new(w, &d->net));
    *out = d;
done:
    if (st != UM_OK) um_detector_free(d);
    return st;
}

void um_detector_free(um_detector *d)
{
    if (d == NULL) return;
    um_mtcnn_free(d->net);
    um_resize_free(d->resize);
    um_image_free(&d->scaled);
    free(d);
}

um_status um_detector_run(um_detector *d, const um_image *rgb, const um_thresholds *t, um_faces *out)
{
    double factor = d->scale > 0 ? d->scale : um_detect_auto_scale(rgb->width_px, rgb->height_px);
    out->n = 0;
    if (factor == 1) return um_mtcnn_detect(d->net, rgb, t, out);

    double w = floor(rgb->width_px * factor), h = floor(rgb->height_px * factor);
    if (w < 1 || h < 1) return UM_OK; /* nothing is left of it */
    if (w > UM_IMAGE_MAX_SIDE || h > UM_IMAGE_MAX_SIDE)
        return UM_FAIL(UM_TOO_LARGE, "a picture of %dx%d times %g is larger than %d a side", rgb->width_px, rgb->height_px, factor, UM_IMAGE_MAX_SIDE);
    UM_PASS(um_image_fit(&d->scaled, (int)w, (int)h, 3));
    UM_PASS(um_resize_bicubic(d->resize, rgb, &d->scaled));
    UM_PASS(um_mtcnn_detect(d->net, &d->scaled, t, out));
    float f = (float)factor;
    for (int i = 0; i < out->n; i++) {
        for (int k = 0; k < 4; k++) out->face[i].box[k] /= f;
        for (int k = 0; k < 5; k++) {
            out->face[i].landmarks[k][0] /= f;
            out->face[i].landmarks[k][1] /= f;
        }
    }
    return UM_OK;
}
