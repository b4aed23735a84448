#include "src/detect/detect.h"

#include <stdlib.h>

struct um_detector {
    um_mtcnn *net;
    um_resize *resize;
    um_image scaled;
    double scale; /* 0: the rule */
};

double um_detect_auto_scale(int width_px, int height_px)
{
    int wider = width_px > height_px ? width_px : height_px;
    return wider < 300 ? 2 : wider > 1900 ? 0.33 : wider > 1000 ? 0.5 : 1;
}

um_status um_detector_new(const um_mtcnn_weights *w, double scale, um_detector **out)
{
    um_detector *d = calloc(1, sizeof *d);
    *out = NULL;
    if (d == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a detector");
    d->scale = scale;
    d->resize = um_resize_new();
    um_status st = d->resize == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for a detector") : um_mtcnn_new(w, &d->net);
    if (st != UM_OK) {
        um_detector_free(d);
        return st;
    }
    *out = d;
    return UM_OK;
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
    double scale = d->scale > 0 ? d->scale : um_detect_auto_scale(rgb->width_px, rgb->height_px);
    if (scale == 1) return um_mtcnn_detect(d->net, rgb, t, out);
    int w = (int)(rgb->width_px * scale), h = (int)(rgb->height_px * scale);
    out->n = 0;
    if (w < 1 || h < 1) return UM_OK;
    if (d->scaled.width_px != w || d->scaled.height_px != h) {
        um_image_free(&d->scaled);
        UM_PASS(um_image_new(w, h, 3, &d->scaled));
    }
    UM_PASS(um_resize_bicubic(d->resize, rgb, &d->scaled));
    UM_PASS(um_mtcnn_detect(d->net, &d->scaled, t, out));
    for (int i = 0; i < out->n; i++) { /* by the factor, not by the ratio of the sizes */
        um_face *f = &out->face[i];
        for (int k = 0; k < 4; k++) f->box[k] = (float)(f->box[k] / scale);
        for (int k = 0; k < 5; k++)
            for (int c = 0; c < 2; c++) f->landmarks[k][c] = (float)(f->landmarks[k][c] / scale);
    }
    return UM_OK;
}
