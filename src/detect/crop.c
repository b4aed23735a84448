#include "src/detect/crop.h"

#include <math.h>

static int clamp(int64_t v, int hi) { return v < 0 ? 0 : v > hi ? hi : (int)v; }

bool um_crop_rect(const float box[4], int frame_width_px, int frame_height_px, um_rect *out)
{
    int64_t v[4];
    for (int i = 0; i < 4; i++) {
        if (!isfinite(box[i]) || fabsf(box[i]) > 1e9f) return false;
        v[i] = (int64_t)box[i]; /* towards zero, as Python's int() */
    }
    int64_t w = v[2] - v[0], h = v[3] - v[1];
    if (w <= 0 || h <= 0) return false;
    *out = (um_rect){clamp(v[0] - w / 3, frame_width_px), clamp(v[1] - h / 3, frame_height_px), clamp(v[2] + w / 3, frame_width_px), clamp(v[3] + h / 3, frame_height_px)};
    return out->x1 > out->x0 && out->y1 > out->y0;
}
