#include "src/image/draw.h"

#include <ctype.h>
#include <string.h>

/* Coordinates are int64_t inside: callers hand on what a detector found, and the sum of two ints need not be an int. */
static void fill(const um_image *img, int64_t x0, int64_t y0, int64_t x1, int64_t y1, const uint8_t colour[3])
{
    if (x0 < 0) x0 = 0;
    if (y0 < 0) y0 = 0;
    if (x1 > img->width_px) x1 = img->width_px;
    if (y1 > img->height_px) y1 = img->height_px;
    for (int64_t y = y0; y < y1; y++)
        for (int64_t x = x0; x < x1; x++) memcpy(img->data + (size_t)y * img->stride + (size_t)x * 3, colour, 3);
}

/* Written so that NaN takes the first branch: to convert it to an int is undefined. */
int um_draw_place(float v) { return !(v > -1e8f) ? -100000000 : !(v < 1e8f) ? 100000000 : (int)v; }

void um_draw_rect(const um_image *img, um_rect r, const uint8_t colour[3], int thickness)
{
    int64_t t = thickness;
    /* A frame thicker than the rectangle is the whole rectangle, and no more. */
    if (2 * t >= (int64_t)r.x1 - r.x0 || 2 * t >= (int64_t)r.y1 - r.y0) {
        fill(img, r.x0, r.y0, r.x1, r.y1, colour);
        return;
    }
    fill(img, r.x0, r.y0, r.x1, r.y0 + t, colour);
    fill(img, r.x0, r.y1 - t, r.x1, r.y1, colour);
    fill(img, r.x0, r.y0, r.x0 + t, r.y1, colour);
    fill(img, r.x1 - t, r.y0, r.x1, r.y1, colour);
}

void um_draw_disc(const um_image *img, int x, int y, int radius, const uint8_t colour[3])
{
    int64_t r = radius < UM_IMAGE_MAX_SIDE ? radius : UM_IMAGE_MAX_SIDE, half = r;
    for (int64_t dy = 0; dy <= r; dy++) { /* from the middle out the rows only get shorter */
        while (half * half + dy * dy > r * r) half--;
        fill(img, x - half, y - dy, x + half + 1, y - dy + 1, colour);
        fill(img, x - half, y + dy, x + half + 1, y + dy + 1, colour);
    }
}

/* Five rows of three points, one octal digit a row, from the top; the leftmost point is 4. */
static int glyph(char c)
{
    static const char known[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ.,:%_-/=()";
    static const int rows[] = {
        075557, 026227, 071747, 071717, 055711, 074717, 074757, 071122, 075757, 075717,                 /* 0-9 */
        025755, 065656, 034443, 065556, 074647, 074644, 034553, 055755, 072227, 011152, 055655, 044447, /* A-L */
        057755, 065555, 025552, 065644, 025563, 065655, 034216, 072222, 055557, 055552, 055775, 055255, /* M-X */
        055222, 071247, 000002, 000024, 002020, 051245, 000007, 000700, 011244, 007070, 012221, 042224}; /* Y Z . , : % _ - / = ( ) */
    const char *at = c != 0 ? strchr(known, toupper((unsigned char)c)) : NULL;
    return at != NULL ? rows[at - known] : 0;
}

void um_draw_text(const um_image *img, int x, int y, int scale, const char *text, const uint8_t colour[3])
{
    int64_t left = x, s = scale;
    for (; *text != 0 && left < img->width_px; text++, left += 4 * s) {
        int g = glyph(*text);
        for (int row = 0; row < 5; row++)
            for (int column = 0; column < 3; column++) {
                int64_t px = left + column * s, py = y + row * s;
                if ((g >> ((4 - row) * 3 + (2 - column))) & 1) fill(img, px, py, px + s, py + s, colour);
            }
    }
}

int um_draw_text_width(const char *text, int scale) { return (int)strlen(text) * 4 * scale; }
