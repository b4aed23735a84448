#pragma once
/* sheet.h: many pictures on one, to look at. */
#include "src/image/image.h"

/* A contact sheet: n >= 1 RGB pictures in rows of `columns` (fewer when n is less), each scaled by the nearest pixel to fit a cell of
 * cell_px x cell_px and centred on black, its caption under it, cut at the width of the cell. One without pixels (data NULL) leaves its cell black. *out is new: um_image_free it. Errors:
 * UM_NO_MEMORY; UM_TOO_LARGE: the sheet would have a side above UM_IMAGE_MAX_SIDE. Local; any thread. */
um_status um_sheet_make(const um_image *picture, const char *const *caption, int n, int columns, int cell_px, um_image *out);
