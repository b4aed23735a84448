#pragma once
/* light.h: what light and camera do to the values of a picture: colour, shade, grain. */
#include "src/core/rng.h"
#include "src/image/image.h"

/* A change of colour: out = m * rgb + offset, clamped to 0..255. */
typedef struct um_colour {
    float m[3][3], offset;
} um_colour;

/* Turns the hue by hue_deg (Rodrigues' rotation about the grey axis), multiplies the distance from grey (BT.601 luma) by `saturation` and
 * everything by `value`, and adds `offset` (0..255 scale). */
um_colour um_colour_make(double hue_deg, double saturation, double value, double offset);
static inline void um_colour_apply(const um_colour *c, const float in[3], float out[3])
{
    for (int i = 0; i < 3; i++) {
        float v = c->m[i][0] * in[0] + c->m[i][1] * in[1] + c->m[i][2] * in[2] + c->offset;
        out[i] = v < 0 ? 0 : v > 255 ? 255 : v;
    }
}

/* Multiplies the picture by a plane of light: centre + across * x' + down * y', x' and y' from -1 to 1 over the picture; the factor is
 * kept within 0.25 and 1.9. `row` is scratch of 3 * width_px values. In place. */
void um_light_apply(const um_image *rgb, double centre, double across, double down, uint16_t *row);

/* A curve that wanders smoothly within [-1, 1]: three sines of 0.1 to 0.5 Hz. */
typedef struct um_drift {
    double amplitude[3], hz[3], phase[3];
} um_drift;
um_drift um_drift_draw(um_rng *r);
double um_drift_at(const um_drift *d, double time_s);

/* Grain: normal noise, equal in the three channels. A table is drawn once; every row of every frame takes a stretch of it that begins at a
 * place of its own. */
#define UM_GRAIN_TABLE 16384
typedef struct um_grain {
    uint64_t seed, key;
    int max_width_px;
    int8_t *table; /* each value three times: UM_GRAIN_TABLE + max_width_px pixels */
} um_grain;
/* sigma in grey levels. Errors: UM_NO_MEMORY. */
um_status um_grain_new(uint64_t seed, uint64_t key, double sigma, int max_width_px, um_grain *out);
void um_grain_free(um_grain *g);
/* Adds frame `frame`'s grain. In place; not wider than max_width_px. Any thread. */
void um_grain_apply(const um_grain *g, int frame, const um_image *rgb);
