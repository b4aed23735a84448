#pragma once
/* sample.h: what training takes pictures from: crops with all that augmentation needs, and the order they come in (src/train/sampler.h).
 *
 * Nothing here reads a file: jobs/ fills the table from the store and folds.csv, decodes, and hands pictures over.
 */
#include "src/image/image.h"

#include <stdbool.h>

typedef struct um_sample { /* one row of folds.csv that was found in the store */
    int32_t entry;      /* index in the store's entries */
    int32_t video;      /* dense index: samples of one video stand together */
    int32_t original;   /* dense index of the original video; a real's is itself */
    int32_t frame;
    uint8_t face, fake; /* fake: 1 */
    bool valid;         /* real, or more than 32 mask pixels above 20 */
} um_sample;

/* What augmentation sees of a crop; borrowed. */
typedef struct um_face_picture {
    um_image crop;         /* RGB */
    um_image mask;         /* grey, of the crop's size; data NULL: none (a real) */
    bool has_landmarks;
    int16_t point[5][2];   /* left eye, right eye, nose, left and right mouth corner, crop pixels */
    float box[4];          /* the face's box in crop pixels */
    bool fake;
} um_face_picture;
