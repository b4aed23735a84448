#pragma once
/* score_crops.h: the pictures of faces that wait to be scored, one for each input size that the models have.
 *
 * Private to score_unit.c. At most UM_SCORE_HELD_BYTES and a frame's faces are held: with one model size of 380 px that is about 600 faces.
 */
#include "src/core/buf.h"
#include "src/image/cvresize.h"
#include "src/score/score.h"

static const size_t UM_SCORE_HELD_BYTES = (size_t)256 << 20;

typedef struct um_score_crops {
    int n_sizes, size_px[UM_SCORE_MAX_MODELS]; /* each size once */
    um_buf pixels[UM_SCORE_MAX_MODELS];        /* [n][size][size][3] */
    int *face;                                 /* [n] whose: index in the row */
    bool *keep;                                /* [n] for um_score_crops_compact */
    float *logit;                              /* [cap] room for answers */
    int n, cap;
} um_score_crops;

void um_score_crops_init(um_score_crops *c, const int *model_size_px, int n_models);
void um_score_crops_release(um_score_crops *c);
/* Bytes of one face's pictures in all sizes. */
size_t um_score_crops_bytes(const um_score_crops *c);
/* Appends the pictures of one crop to `out`. Changes nothing of c: any thread, with a resizer of its own. */
um_status um_score_crops_picture(const um_score_crops *c, um_cvresize *resize, const um_image *crop, um_buf *out);
um_status um_score_crops_add(um_score_crops *c, int face, const uint8_t *pictures);
bool um_score_crops_full(const um_score_crops *c);
/* Drops those whose `keep` is false; the others keep their order. */
void um_score_crops_compact(um_score_crops *c);
/* Pictures of this size from number `at` on. */
const uint8_t *um_score_crops_pixels(const um_score_crops *c, int size_px, int at);
void um_score_crops_clear(um_score_crops *c);
