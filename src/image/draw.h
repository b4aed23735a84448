#pragma once
/* draw.h: marks on pictures for people: boxes, points, words. Any coordinates, clipped to the picture. RGB only. Local; any thread. */
#include "src/image/image.h"

/* Where to draw what a detector found: v towards zero; a place far outside of every picture where v is NaN or beyond 1e8. */
int um_draw_place(float v);
/* The outline of r, `thickness` >= 1 px wide, drawn inwards. */
void um_draw_rect(const um_image *img, um_rect r, const uint8_t colour[3], int thickness);
/* All pixels at most `radius` >= 0 px from (x, y). */
void um_draw_disc(const um_image *img, int x, int y, int radius, const uint8_t colour[3]);
/* Words in a built-in font of 3x5 points, each point scale x scale px: digits, letters (shown as capitals) and " .,:%_-/=()". Other
 * characters are blank. (x, y) is the upper left corner. */
void um_draw_text(const um_image *img, int x, int y, int scale, const char *text, const uint8_t colour[3]);
/* Pixels that um_draw_text is wide, with the gap behind the last character. */
int um_draw_text_width(const char *text, int scale);
