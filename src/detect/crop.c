#include "src/detect/crop.h"

#include <math.h>

/* Truncation towards zero, as int() of the reference; far values are cut to what an int holds. */
static int whole(float v) { return !(v > -1e8f) ? -100000000 : !(v < 1e8f) ? 100000000 : (int)v; }

bool um_crop_rect(const float box[4], int frame_width_px, int frame_height_px, um_rect *out)
{
    *out = (um_rect){0};
    for (int i = 0; i < 4; i++)
        if (isnan(box[i])) return false; /* no number is no place */
    int x0 = whole(box[0]), y0 = whole(box[1]), x1 = whole(box[2]), y1 = whole(box[3]);
    if (x1 <= x0 || y1 <= y0) return false;
    int margin_x = (x1 - x0) / 3, margin_y = (y1 - y0) / 3;
    x0 -= margin_x;
    y0 -= margin_y;
    x1 += margin_x;
    y1 += margin_y;
    if (x0 < 0) x0 = 0;
    if (y0 < 0) y0 = 0;
    if (x1 > frame_width_px) x1 = frame_width_px;
    if (y1 > frame_height_px) y1 = frame_height_px;
    if (x1 <= x0 || y1 <= y0) return false;
    *out = (um_rect){x0, y0, x1, y1};
    return true;
}
