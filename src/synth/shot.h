#pragma once
/* shot.h: a moving shot made from one or two portraits, and the cut of a real video.
 *
 * A portrait is slightly warped, recoloured and drawn once on a canvas larger than the frame, at the size of the shot; every frame is the
 * canvas seen by a camera that drifts, zooms and turns smoothly, under light that wanders, with the grain of light.h added last (after a
 * forgery, so that grain does not give it away). Beyond its border a portrait goes on as its last pixels, ever more blurred with the distance:
 * no edge, and no ghost of the face as a mirror would make. Two people stand side by side, each on a canvas of their own, joined at a soft seam.
 */
#include "src/synth/face.h"
#include "src/synth/light.h"
#include "src/synth/warp.h"

#define UM_PORTRAIT_LEVELS 12

typedef struct um_portrait {
    um_rgbx level[UM_PORTRAIT_LEVELS]; /* level i has 1/2^i of the size */
    int n_levels;
    um_face face;
} um_portrait;
/* Copies the picture (RGB, at least 32x32). Errors: UM_NO_MEMORY. */
um_status um_portrait_new(const um_image *rgb, const um_face *face, um_portrait *out);
void um_portrait_free(um_portrait *p);

typedef struct um_shot um_shot;
/* people[n_people], 1 or 2: the people seen; borrowed during the call only. All else is drawn from the stream (seed, key, UM_SYNTH_SHOT).
 * fps: frames a second. Errors: UM_NO_MEMORY, UM_TOO_LARGE. */
um_status um_shot_new(const um_portrait *const *people, int n_people, int width_px, int height_px, double fps, int frames, uint64_t seed,
                      uint64_t key, um_shot **out);
void um_shot_free(um_shot *s);
/* Frame t of 0..frames-1 into out (RGB, the shot's size), without grain, and where the faces are. Local; one thread per shot. */
void um_shot_render(um_shot *s, int t, const um_image *out, um_synth_face face[2]);

/* A part of a real video's frame, scaled to the size of the output, perhaps mirrored; the same for all its frames. */
typedef struct um_cut {
    double x, y, scale; /* output (0, 0) is source (x, y); scale source pixels per output pixel */
    bool flip;
    int width_px, height_px; /* of the output */
    um_rgbx level[UM_PORTRAIT_LEVELS]; /* working memory */
    int n_levels;
} um_cut;
/* Chooses a part of source_w x source_h frames that shows `face` and has the output's proportions. Errors: UM_NO_MEMORY. */
um_status um_cut_new(int source_w, int source_h, int width_px, int height_px, const um_synth_face *face, uint64_t seed, uint64_t key, um_cut *out);
void um_cut_free(um_cut *c);
/* source: source_w x source_h; out: the output's size. */
void um_cut_render(um_cut *c, const um_image *source, const um_image *out);
/* A face of the source in pixels of the output. */
um_synth_face um_cut_face(const um_cut *c, const um_synth_face *source);
