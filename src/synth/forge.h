#pragma once
/* forge.h: a face swap without a second person: the self-blended picture of Shiohara and Yamasaki, "Detecting deepfakes with self-blended
 * images", CVPR 2022.
 *
 * A copy of the face is taken at low resolution (what the network of a face swap gives), recoloured, moved, turned and scaled a little,
 * and blended back through a soft mask: an ellipse over the face with a wavy edge. One um_forgery is one fake's treatment of one face; it
 * stays the same over all frames and is fixed to the face, so it moves with it.
 *
 * Strengths. Visible: a person sees it at once (24 to 52 samples across the face, hue off by 6 to 18 degrees, saturation and value clearly
 * off); a small net learns it in minutes. Subtle: hard to see (56 to 100 samples, hue within 4 degrees, weak changes).
 */
#include "src/synth/face.h"
#include "src/synth/light.h"

typedef struct um_forgery um_forgery;

/* Draws fake number `fake` of the original `key` (um_synth_key), face `which` of its shot. face_px: width of the face in the frames, about;
 * the copy never has more than 0.45 (visible) or 0.75 (subtle) samples per pixel of it. Errors: UM_NO_MEMORY. */
um_status um_forgery_new(uint64_t seed, uint64_t key, int fake, int which, bool subtle, double face_px, um_forgery **out);
void um_forgery_free(um_forgery *f);
/* Forges `face` in the RGB frame, in place. Pixels where the mask is 0 keep their value. *touched (may be NULL): a rectangle that holds all
 * pixels that may have changed, empty when the face lies outside. Local; one thread per forgery. */
void um_forgery_apply(um_forgery *f, const um_image *rgb, const um_synth_face *face, um_rect *touched);
/* The mask in 0..1 at face coordinates (face.h); 0 outside +-0.75. */
float um_forgery_mask(const um_forgery *f, double u, double v);
