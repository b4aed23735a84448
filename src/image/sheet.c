#include "src/image/sheet.h"

#include "src/image/draw.h"

#include <string.h>

enum { CAPTION_PX = 18, GAP_PX = 6, TEXT_SCALE = 2 };

static void place(const um_image *p, const um_image *sheet, int x0, int y0, int cell_px)
{
    int longer = p->width_px > p->height_px ? p->width_px : p->height_px;
    int w = (int)((int64_t)p->width_px * cell_px / longer), h = (int)((int64_t)p->height_px * cell_px / longer);
    if (w < 1) w = 1; /* a thin one stays to be seen */
    if (h < 1) h = 1;
    x0 += (cell_px - w) / 2;
    y0 += (cell_px - h) / 2;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const uint8_t *from = p->data + (size_t)((int64_t)y * p->height_px / h) * p->stride + (size_t)((int64_t)x * p->width_px / w) * 3;
            memcpy(sheet->data + (size_t)(y0 + y) * sheet->stride + (size_t)(x0 + x) * 3, from, 3);
        }
}

um_status um_sheet_make(const um_image *picture, const char *const *caption, int n, int columns, int cell_px, um_image *out)
{
    static const uint8_t WHITE[3] = {230, 230, 230};
    *out = (um_image){0};
    if (columns > n) columns = n;
    if (n < 1 || columns < 1 || cell_px < 1) return UM_FAIL(UM_INTERNAL, "a contact sheet of %d pictures in %d columns", n, columns);
    int64_t rows = (n + columns - 1) / columns, step_x = (int64_t)cell_px + GAP_PX, step_y = (int64_t)cell_px + CAPTION_PX + GAP_PX;
    int64_t width = columns * step_x + GAP_PX, height = rows * step_y + GAP_PX;
    if (width > UM_IMAGE_MAX_SIDE || height > UM_IMAGE_MAX_SIDE)
        return UM_FAIL(UM_TOO_LARGE, "a contact sheet of %d pictures of %d px in %d columns", n, cell_px, columns);
    UM_PASS(um_image_new((int)width, (int)height, 3, out));
    memset(out->data, 0, out->stride * (size_t)out->height_px);
    for (int i = 0; i < n; i++) {
        int x = GAP_PX + i % columns * (int)step_x, y = GAP_PX + i / columns * (int)step_y;
        if (picture[i].data != NULL) place(&picture[i], out, x, y, cell_px);
        um_image under = um_image_crop(out, (um_rect){x, y + cell_px, x + cell_px, y + cell_px + CAPTION_PX}); /* so that none runs into the next */
        um_draw_text(&under, 0, 4, TEXT_SCALE, caption[i], WHITE);
    }
    return UM_OK;
}
