#include "src/synth/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { KIND_PLAIN, KIND_PORTRAIT, KIND_TWO, KIND_TURNED, KIND_PLAIN_AGAIN, KIND_UPSIDE_DOWN, KINDS };
enum { NAME_LETTERS = 10 };

int um_synth_person_of_part(int people, int parts, int part)
{
    if (people >= parts) return part;
    if (part == parts - 1) return people - 1;
    return people > 1 ? part % (people - 1) : 0;
}

int um_synth_frames(double seconds, int fps_num, int fps_den)
{
    double n = floor(seconds * fps_num / fps_den + 0.5);
    return n < 1 ? 1 : (int)n;
}

/* A person of another part, neither `own` nor the last part's; -1 when there is none. */
static int second_person(const um_synth_config *c, um_rng *r, int own)
{
    int last = um_synth_person_of_part(c->people, c->parts, c->parts - 1), n = 0, seen = -1;
    uint32_t pick = um_rng_u32(r);
    for (int round = 0; round < 2; round++) {
        int want = n > 0 ? (int)(pick % (uint32_t)n) : 0;
        if (round == 1 && n == 0) return -1;
        n = 0;
        for (int p = 0; p < c->parts - 1 && p < c->people; p++) { /* the first parts name each shared person once */
            int who = um_synth_person_of_part(c->people, c->parts, p);
            if (who == own || who == last) continue;
            if (round == 1 && n == want) seen = who;
            n++;
        }
    }
    return seen;
}

static void plan_original(const um_synth_config *c, um_synth_original *o)
{
    static const int rates[5][2] = {{30000, 1001}, {30000, 1001}, {30000, 1001}, {25, 1}, {24, 1}};
    um_rng part = um_rng_stream(c->seed, um_synth_key(o->part, -1), UM_SYNTH_PLAN, UM_RNG_SYNTH);
    um_rng r = um_rng_stream(c->seed, um_synth_key(o->part, o->index), UM_SYNTH_PLAN, UM_RNG_SYNTH);
    int kind = (int)((um_rng_below(&part, KINDS) + (uint32_t)o->index) % KINDS);
    o->person = um_synth_person_of_part(c->people, c->parts, o->part);
    int second = second_person(c, &r, o->person);
    o->second = kind == KIND_TWO && c->two_people && o->part != c->parts - 1 ? second : -1;
    bool portrait = kind == KIND_PORTRAIT || kind == KIND_TURNED;
    o->width_px = portrait ? c->height_px : c->width_px;
    o->height_px = portrait ? c->width_px : c->height_px;
    uint32_t coin = um_rng_below(&r, 2);
    o->rotation_deg = kind == KIND_TURNED ? (coin != 0 ? 270 : 90) : kind == KIND_UPSIDE_DOWN ? 180 : 0;
    const int *rate = rates[um_rng_below(&r, 5)];
    o->fps_num = rate[0];
    o->fps_den = rate[1];
    o->frames = um_synth_frames(c->seconds, rate[0], rate[1]);
    /* Compression as tried with each strength: subtle traces must survive less of it, visible ones are meant to stay visible. */
    o->crf = c->subtle ? 20 + (int)um_rng_below(&r, 10) : 17 + (int)um_rng_below(&r, 8);
}

static void draw_name(um_rng *r, char name[UM_SYNTH_NAME])
{
    for (int i = 0; i < NAME_LETTERS; i++) name[i] = (char)('a' + um_rng_below(r, 26));
    memcpy(name + NAME_LETTERS, ".mp4", 5);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Names are unique in the whole set, as in DFDC; 26^10 of them make a clash next to impossible, so all are drawn again if there is one. */
static um_status draw_names(um_synth_plan *p)
{
    size_t n = (size_t)p->n_originals + (size_t)p->n_fakes;
    char **all = malloc(n * sizeof *all);
    if (all == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %zu names", n);
    bool clash = true;
    um_rng r = um_rng_stream(p->config.seed, UINT64_MAX, UM_SYNTH_PLAN, UM_RNG_SYNTH);
    while (clash) {
        size_t at = 0;
        for (int i = 0; i < p->n_originals; i++) {
            draw_name(&r, p->original[i].name);
            all[at++] = p->original[i].name;
            for (int k = 0; k < p->config.fakes; k++) {
                char *name = p->fake_name[(size_t)i * (size_t)p->config.fakes + (size_t)k];
                draw_name(&r, name);
                all[at++] = name;
            }
        }
        qsort(all, n, sizeof *all, by_name);
        clash = false;
        for (size_t i = 1; i < n; i++) clash = clash || strcmp(all[i - 1], all[i]) == 0;
    }
    free(all);
    return UM_OK;
}

um_status um_synth_plan_make(const um_synth_config *c, um_synth_plan *out)
{
    *out = (um_synth_plan){.config = *c};
    if (c->people < 1) return UM_FAIL(UM_USAGE, "there is nobody to make videos of");
    if (c->parts < 1 || c->originals < 1 || c->fakes < 0 || (double)c->parts * c->originals * (1.0 + c->fakes) > 1e6)
        return UM_FAIL(UM_USAGE, "%d parts of %d originals with %d fakes each are outside 1 to 1,000,000 videos", c->parts, c->originals, c->fakes);
    if (c->width_px < 64 || c->height_px < 64 || c->width_px > 8192 || c->height_px > 8192 || c->width_px % 2 != 0 || c->height_px % 2 != 0)
        return UM_FAIL(UM_USAGE, "the size %dx%d is not even or not within 64 to 8192 a side", c->width_px, c->height_px);
    if (!(c->seconds >= 0.1 && c->seconds <= 600)) return UM_FAIL(UM_USAGE, "%g seconds are outside 0.1 to 600", c->seconds);
    out->n_originals = c->parts * c->originals;
    out->n_fakes = out->n_originals * c->fakes;
    out->original = calloc((size_t)out->n_originals, sizeof *out->original);
    out->fake_name = calloc((size_t)out->n_fakes + 1, sizeof *out->fake_name);
    if (out->original == NULL || out->fake_name == NULL) {
        um_synth_plan_release(out);
        return UM_FAIL(UM_NO_MEMORY, "no memory for the plan of %d originals", c->parts * c->originals);
    }
    for (int i = 0; i < out->n_originals; i++) {
        out->original[i].part = i / c->originals;
        out->original[i].index = i % c->originals;
        plan_original(c, &out->original[i]);
    }
    um_status st = draw_names(out);
    if (st != UM_OK) um_synth_plan_release(out);
    return st;
}

void um_synth_plan_release(um_synth_plan *p)
{
    free(p->original);
    free(p->fake_name);
    *p = (um_synth_plan){0};
}
