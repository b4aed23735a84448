#pragma once
/* plan.h: what a synthetic data set consists of, before one pixel is made: a pure function of its configuration.
 *
 * Part p holds n_originals originals and n_fakes fakes of each. Who may be seen where: a part has one person; a second person may stand in
 * a shot, but only one who has another part, and nobody in the last part, nor anybody from it elsewhere: the last part's person is seen
 * in no other part, so that it can be held out. With fewer people than parts the first parts share the people but the last.
 *
 * The originals of a part go through six kinds in turn, beginning at one drawn by seed and part: two plain ones (landscape), portrait, two
 * people, portrait stored as landscape and turned by metadata (90 or 270 degrees, as phones do), and turned by 180 degrees.
 *
 * Every draw comes from a stream named by (seed, part and original, use): the result does not depend on order or threads.
 */
#include "src/core/rng.h"
#include "src/core/err.h"

#include <stdbool.h>

typedef struct um_synth_config {
    int parts, originals, fakes; /* originals of a part; fakes of an original */
    double seconds;              /* 0.1..600 */
    int width_px, height_px;     /* of a landscape video as seen; even, 64..8192 */
    bool subtle;                 /* strength of the forgeries */
    bool two_people;             /* may shots show a second person? */
    uint64_t seed;
    int people;                  /* how many portraits or source videos there are */
} um_synth_config;

#define UM_SYNTH_NAME 16 /* bytes for "abcdefghij.mp4" and its end */

typedef struct um_synth_original {
    int part, index;          /* which original of the part */
    int person, second;       /* index of portrait or source; -1: nobody */
    int width_px, height_px;  /* as seen, after rotation */
    int rotation_deg;         /* clockwise turn the player applies: 0, 90, 180, 270 */
    int fps_num, fps_den;
    int frames;               /* round(seconds * fps), at least 1 */
    int crf;                  /* the quality it and its fakes are compressed with */
    char name[UM_SYNTH_NAME];
} um_synth_original;

typedef struct um_synth_plan {
    um_synth_config config;
    int n_originals, n_fakes;         /* in all */
    um_synth_original *original;      /* part by part */
    char (*fake_name)[UM_SYNTH_NAME]; /* fake k of original i is fake_name[i * config.fakes + k] */
} um_synth_plan;

/* Errors: UM_USAGE (a number outside its range, nobody there), UM_NO_MEMORY. */
um_status um_synth_plan_make(const um_synth_config *c, um_synth_plan *out);
void um_synth_plan_release(um_synth_plan *p);
/* The person (or the group of source videos) that part `part` of `parts` belongs to. */
int um_synth_person_of_part(int people, int parts, int part);
/* Frames of `seconds` at fps_num / fps_den. */
int um_synth_frames(double seconds, int fps_num, int fps_den);

/* Uses of the streams of one original: the `b` of um_rng_stream. */
enum { UM_SYNTH_PLAN = 0, UM_SYNTH_SHOT = 1, UM_SYNTH_GRAIN = 2, UM_SYNTH_CUT = 3, UM_SYNTH_FORGERY = 0x1000, UM_SYNTH_FRAME = 0x10000000 };
/* The `a` of um_rng_stream. */
static inline uint64_t um_synth_key(int part, int index) { return (uint64_t)(uint32_t)part << 32 | (uint32_t)index; }
