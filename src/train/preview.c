#include "src/train/preview.h"

#include "src/image/sheet.h"

#include <stdlib.h>
#include <string.h>

enum { CAPTION_BYTES = 64 };

um_status um_preview_sheet(um_augment_work *w, const um_augment_config *c, uint64_t seed, int64_t first_epoch, const um_face_picture *picture, const int64_t *sample, const int64_t *pair, const char *const *label, int n, int n_draws,
                           um_image *out)
{
    *out = (um_image){0};
    if (n < 1 || n_draws < 1 || (int64_t)n * (n_draws + 1) > UM_PREVIEW_MAX_CELLS) return UM_FAIL(UM_TOO_LARGE, "a preview of %d crops, %d draws each", n, n_draws);
    const int columns = n_draws + 1, cells = n * columns, side = (int)c->size_px;
    const size_t cell_bytes = (size_t)side * (size_t)side * 3;
    um_status st = UM_OK;
    uint8_t *pixels = malloc(cell_bytes * (size_t)cells);
    um_image *image = calloc((size_t)cells, sizeof *image);
    char(*text)[CAPTION_BYTES] = calloc((size_t)cells, sizeof *text);
    const char **caption = calloc((size_t)cells, sizeof *caption);
    if (pixels == NULL || image == NULL || text == NULL || caption == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for a preview of %d pictures", cells);
        goto done;
    }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < columns; k++) {
            const int at = i * columns + k;
            um_image *img = &image[at];
            *img = (um_image){.data = pixels + (size_t)at * cell_bytes, .width_px = side, .height_px = side, .channels = 3, .stride = (size_t)side * 3};
            caption[at] = k == 0 ? label[i] : text[at];
            if (k == 0) {
                UM_GOTO_PASS(st, um_augment_plain(w, side, &picture[i].crop, img));
                continue;
            }
            um_augment_params p;
            um_augment_draw(c, seed, first_epoch + k - 1, sample[i], pair[i], &picture[i], &p);
            UM_GOTO(st, um_augment_apply(w, &p, &picture[i], img), "cannot augment %s", um_quote(label[i]));
            const bool second = i > 0 && pair[i - 1] == pair[i] && picture[i].fake;
            if (!second) p.mixup = 0;
            um_augment_describe(&p, text[at], CAPTION_BYTES);
            if (p.mixup > 0) um_augment_mixup(&image[at - columns], img, p.mixup, img);
        }
    st = um_sheet_make(image, caption, cells, columns, side, out);
done:
    free(pixels);
    free(image);
    free(text);
    free(caption);
    return st;
}
