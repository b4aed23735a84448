#pragma once
/* face.h: where a face is, as the synthesis needs it, and following it from frame to frame. */
#include "src/models/mtcnn.h"

#include <stdbool.h>

/* A face as a turned box in pixels of a picture. Face coordinates (u, v): the middle of the box is (0, 0), u runs along the line of the
 * eyes in widths of the box, v down the face in heights of the box. */
typedef struct um_synth_face {
    double x, y, width, height;
    double angle; /* of the line from the left eye to the right eye (as seen) against the picture's rows, radians, clockwise */
} um_synth_face;

um_synth_face um_synth_face_of(const um_face *f);

/* One look at a video: was the face there? */
typedef struct um_track_point {
    double frame;
    bool found;
    um_synth_face face;
} um_track_point;

/* The face of `faces` that continues `previous` (nearest middle, at most one width away); without a previous one, or when none is near,
 * the largest. False when there is none. */
bool um_track_pick(const um_faces *faces, const um_synth_face *previous, um_synth_face *out);
/* Takes the jitter of the detector out: each point becomes 1/4, 1/2, 1/4 of its neighbours and itself, where all three were found and lie
 * close together. `scratch` holds n points. */
void um_track_smooth(um_track_point *p, int n, um_track_point *scratch);
/* The face at `frame`, between two looks by interpolation; the nearer look alone where the face jumped (a cut) or was missing in one.
 * False where the nearest look found none. Points ascend by frame, n >= 1. */
bool um_track_at(const um_track_point *p, int n, double frame, um_synth_face *out);
