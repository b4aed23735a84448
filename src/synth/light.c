#include "src/synth/light.h"

#include "src/synth/plan.h"

#include <math.h>
#include <stdlib.h>

um_colour um_colour_make(double hue_deg, double saturation, double value, double offset)
{
    static const double luma[3] = {0.299, 0.587, 0.114};
    double c = cos(hue_deg * M_PI / 180), s = sin(hue_deg * M_PI / 180) / sqrt(3), k = (1 - c) / 3;
    double hue[3][3] = {{c + k, k - s, k + s}, {k + s, c + k, k - s}, {k - s, k + s, c + k}};
    um_colour out = {.offset = (float)offset};
    for (int j = 0; j < 3; j++) {
        double grey = luma[0] * hue[0][j] + luma[1] * hue[1][j] + luma[2] * hue[2][j];
        for (int i = 0; i < 3; i++) out.m[i][j] = (float)(value * (grey + saturation * (hue[i][j] - grey)));
    }
    return out;
}

void um_light_apply(const um_image *rgb, double centre, double across, double down, uint16_t *row)
{
    const int w = rgb->width_px, h = rgb->height_px;
    for (int y = 0; y < h; y++) {
        double start = centre + down * ((2.0 * y + 1) / h - 1) - across, step = 2 * across / w;
        /* The factor as 9-bit fixed point; a 16-bit product's high half is one instruction for eight values. */
        for (int x = 0; x < w; x++) {
            double f = start + step * (x + 0.5);
            uint16_t g = (uint16_t)(512 * (f < 0.25 ? 0.25 : f > 1.9 ? 1.9 : f) + 0.5);
            row[3 * x] = row[3 * x + 1] = row[3 * x + 2] = g;
        }
        uint8_t *p = rgb->data + (size_t)y * rgb->stride;
        for (int i = 0; i < 3 * w; i++) {
            uint16_t v = (uint16_t)(((uint32_t)(uint16_t)(p[i] << 7) * row[i]) >> 16);
            p[i] = (uint8_t)(v > 255 ? 255 : v);
        }
    }
}

um_drift um_drift_draw(um_rng *r)
{
    um_drift d;
    for (int i = 0; i < 3; i++) {
        d.amplitude[i] = um_rng_uniform(r, -1, 1) / 3;
        d.hz[i] = um_rng_uniform(r, 0.1, 0.5);
        d.phase[i] = um_rng_uniform(r, 0, 2 * M_PI);
    }
    return d;
}

double um_drift_at(const um_drift *d, double time_s)
{
    double v = 0;
    for (int i = 0; i < 3; i++) v += d->amplitude[i] * sin(2 * M_PI * d->hz[i] * time_s + d->phase[i]);
    return v;
}

um_status um_grain_new(uint64_t seed, uint64_t key, double sigma, int max_width_px, um_grain *out)
{
    *out = (um_grain){.seed = seed, .key = key, .max_width_px = max_width_px};
    size_t n = UM_GRAIN_TABLE + (size_t)max_width_px;
    out->table = malloc(3 * n);
    if (out->table == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for grain");
    um_rng r = um_rng_stream(seed, key, UM_SYNTH_GRAIN, UM_RNG_SYNTH);
    for (size_t i = 0; i < n; i++) {
        double v = i < UM_GRAIN_TABLE ? sigma * um_rng_normal(&r) : out->table[3 * (i - UM_GRAIN_TABLE)];
        out->table[3 * i] = out->table[3 * i + 1] = out->table[3 * i + 2] = (int8_t)lrint(v < -100 ? -100 : v > 100 ? 100 : v);
    }
    return UM_OK;
}

void um_grain_free(um_grain *g)
{
    free(g->table);
    *g = (um_grain){0};
}

void um_grain_apply(const um_grain *g, int frame, const um_image *rgb)
{
    const int n = 3 * rgb->width_px;
    um_rng r = um_rng_stream(g->seed, g->key, UM_SYNTH_FRAME + (uint32_t)frame, UM_RNG_SYNTH);
    for (int y = 0; y < rgb->height_px; y++) {
        const int8_t *t = g->table + 3 * (size_t)um_rng_below(&r, UM_GRAIN_TABLE);
        uint8_t *p = rgb->data + (size_t)y * rgb->stride;
        for (int i = 0; i < n; i++) {
            int16_t v = (int16_t)(p[i] + t[i]);
            p[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
    }
}
