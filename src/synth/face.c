#include "src/synth/face.h"

#include <math.h>
#include <string.h>

um_synth_face um_synth_face_of(const um_face *f)
{
    um_synth_face r = {.x = (f->box[0] + f->box[2]) / 2.0, .y = (f->box[1] + f->box[3]) / 2.0, .width = f->box[2] - f->box[0],
                       .height = f->box[3] - f->box[1]};
    double dx = f->landmarks[1][0] - f->landmarks[0][0], dy = f->landmarks[1][1] - f->landmarks[0][1];
    /* A profile has its eyes almost on one point: their line says nothing then. */
    if (dx > 0.15 * r.width) r.angle = atan2(dy, dx);
    return r;
}

bool um_track_pick(const um_faces *faces, const um_synth_face *previous, um_synth_face *out)
{
    if (faces->n == 0) return false;
    int best = 0;
    if (previous != NULL) {
        double nearest = previous->width;
        for (int i = 0; i < faces->n; i++) {
            um_synth_face f = um_synth_face_of(&faces->face[i]);
            double d = hypot(f.x - previous->x, f.y - previous->y);
            if (d < nearest) {
                nearest = d;
                best = i;
            }
        }
    }
    *out = um_synth_face_of(&faces->face[best]);
    return true;
}

/* Do two looks show the same face in about the same place? */
static bool near(const um_track_point *a, const um_track_point *b)
{
    if (!a->found || !b->found) return false;
    double w = (a->face.width + b->face.width) / 2;
    return hypot(a->face.x - b->face.x, a->face.y - b->face.y) < 0.5 * w && fabs(a->face.width - b->face.width) < 0.3 * w;
}

static um_synth_face mix(const um_synth_face *a, const um_synth_face *b, double t)
{
    return (um_synth_face){.x = a->x + (b->x - a->x) * t, .y = a->y + (b->y - a->y) * t, .width = a->width + (b->width - a->width) * t,
                           .height = a->height + (b->height - a->height) * t, .angle = a->angle + (b->angle - a->angle) * t};
}

void um_track_smooth(um_track_point *p, int n, um_track_point *scratch)
{
    memcpy(scratch, p, (size_t)n * sizeof *p);
    for (int i = 1; i + 1 < n; i++) {
        if (!near(&scratch[i - 1], &scratch[i]) || !near(&scratch[i], &scratch[i + 1])) continue;
        um_synth_face ends = mix(&scratch[i - 1].face, &scratch[i + 1].face, 0.5);
        p[i].face = mix(&scratch[i].face, &ends, 0.5);
    }
}

bool um_track_at(const um_track_point *p, int n, double frame, um_synth_face *out)
{
    int i = 0;
    while (i + 1 < n && p[i + 1].frame <= frame) i++;
    if (i + 1 == n || frame <= p[i].frame) {
        *out = p[i].face;
        return p[i].found;
    }
    double t = (frame - p[i].frame) / (p[i + 1].frame - p[i].frame);
    if (near(&p[i], &p[i + 1])) {
        *out = mix(&p[i].face, &p[i + 1].face, t);
        return true;
    }
    const um_track_point *q = t < 0.5 ? &p[i] : &p[i + 1];
    *out = q->face;
    return q->found;
}
