#pragma once
/* preview.h: what augmentation makes of some crops, on one picture for people to look at. */
#include "src/train/augment.h"

enum { UM_PREVIEW_MAX_CELLS = 4096 };

/* One row a sample: the crop as validation sees it, captioned label[i], then as epochs first_epoch, first_epoch + 1, ... of the training see it (n_draws of them), captioned with what was drawn. sample[i] and pair[i] name the draws as in um_augment_draw.
 * Where pair[i + 1] == pair[i] the two rows are a pair; a drawn mixup is shown in the fake's row. *out is new: um_image_free it. Errors: UM_NO_MEMORY, UM_TOO_LARGE, those of um_augment_apply. Local. */
um_status um_preview_sheet(um_augment_work *w, const um_augment_config *c, uint64_t seed, int64_t first_epoch, const um_face_picture *picture, const int64_t *sample, const int64_t *pair, const char *const *label, int n, int n_draws, um_image *out);
