/* Times augmentation, one thread: each operation by itself on a crop of 400x400 to 380x380, and whole draws with the reference's numbers and with strong colours.
 * usage: bench_augment [STORE [SHEET.png [strong|hull]]]   STORE: whole draws on its crops; SHEET.png: the contact sheet of some of them; hull: each face's hull cut, and nothing else. */
#include "io/codec.h"
#include "io/store.h"
#include "io/vfs.h"
#include "src/core/clock.h"
#include "src/train/augment_parts.h"
#include "src/train/preview.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 380, CROP = 400, MAX_CROPS = 256, MAX_PIXELS = 4096 * 4096, ROUNDS = 200, SHEET_ROWS = 12, SHEET_DRAWS = 9 };

static void must(um_status st)
{
    if (st == UM_OK) return;
    fprintf(stderr, "%s\n", um_err_text());
    exit(1);
}

static um_face_picture face[MAX_CROPS];
static int64_t number[MAX_CROPS], pair[MAX_CROPS];
static const char *label[MAX_CROPS];

/* Pairs of a real and a fake crop, spread over the store. */
static int load(const char *dir, um_codec *codec, um_vfs *vfs, um_store_content *c)
{
    must(um_store_load(vfs, dir, true, c));
    int n = 0;
    const int64_t step = c->n_entries / (MAX_CROPS / 2) + 1;
    for (int64_t i = 0; i < c->n_entries && n + 2 <= MAX_CROPS; i += step) {
        const um_store_entry *e = &c->entry[i], *both[2] = {NULL, e};
        if (e->mask.shard < 0 || e->image.shard < 0) continue;
        for (int64_t k = 0; k < c->n_entries; k++)
            if (c->entry[k].video == c->manifest.video[e->video].original && c->entry[k].frame == e->frame && c->entry[k].face == e->face) both[0] = &c->entry[k];
        if (both[0] == NULL) continue;
        for (int k = 0; k < 2; k++, n++) {
            um_face_picture *p = &face[n];
            const um_store_ref ref[2] = {both[k]->image, e->mask};
            for (int r = 0; r < 2; r++) {
                void *bytes = malloc(ref[r].bytes);
                if (bytes == NULL) exit(1);
                must(um_store_read(c, &ref[r], bytes));
                must(um_codec_decode(codec, bytes, ref[r].bytes, r == 0 ? 3 : 1, MAX_PIXELS, r == 0 ? &p->crop : &p->mask));
                free(bytes);
            }
            p->fake = k == 1;
            p->has_landmarks = e->has_landmarks != 0;
            memcpy(p->point, e->point, sizeof p->point);
            for (int b = 0; b < 4; b++) p->box[b] = both[k]->box[b] - (float)both[k]->rect[b % 2];
            number[n] = both[k] - c->entry;
            pair[n] = both[0] - c->entry;
            label[n] = k == 0 ? "REAL" : "FAKE";
        }
    }
    return n;
}

static um_image made_up(void)
{
    um_image img;
    must(um_image_new(CROP, CROP, 3, &img));
    for (int y = 0; y < CROP; y++)
        for (int x = 0; x < CROP * 3; x++) img.data[(size_t)y * img.stride + (size_t)x] = (uint8_t)(x / 5 + y / 3 + (x * y) % 31);
    return img;
}

static double whole(um_augment_work *w, const um_augment_config *c, int n, const um_image *out)
{
    const double start = um_clock_cpu_s();
    for (int k = 0; k < ROUNDS; k++) {
        um_augment_params p;
        um_augment_draw(c, 1, k, number[k % n], pair[k % n], &face[k % n], &p);
        must(um_augment_apply(w, &p, &face[k % n], out));
    }
    return (um_clock_cpu_s() - start) / ROUNDS * 1e3;
}

int main(int argc, char **argv)
{
    um_codec *codec = um_codec_new();
    const um_augment_jpeg jpeg = {.pass = um_codec_jpeg_pass, .self = codec};
    um_augment_work *w;
    um_image crop = made_up(), out;
    must(um_augment_work_new(&jpeg, &w));
    must(um_image_new(SIZE, SIZE, 3, &out));

    const um_augment_params base = {.size_px = SIZE, .width_px = CROP, .height_px = CROP, .keep = {0, 0, CROP, CROP}, .alpha = 1, .scale = 1};
    struct {
        const char *name;
        um_augment_params p;
    } one[] = {{"resize, area", base},  {"resize, linear", base}, {"eyes", base},  {"hull", base}, {"half", base}, {"JPEG 80", base}, {"noise", base}, {"blur", base},
               {"flip", base},          {"brightness", base},     {"PCA", base},   {"HSV", base},  {"tint", base}, {"shuffle", base}, {"grey", base},  {"shift, scale, rotate", base}};
    one[1].p.resize = UM_AUGMENT_LINEAR_LINEAR;
    one[2].p.cut = UM_CUT_EYES;
    one[2].p.line[0][0] = 140, one[2].p.line[0][1] = 150, one[2].p.line[1][0] = 260, one[2].p.line[1][1] = 160, one[2].p.grow_px = 30;
    one[3].p.cut = UM_CUT_HULL;
    one[3].p.hull = (um_augment_hull){{200, 160}, {130, 5}, {-4, 160}, 0.2f};
    one[4].p.cut = UM_CUT_BLACKOUT;
    one[5].p.jpeg_quality = 80;
    one[6].p.noise_sigma = 5;
    one[7].p.blur = true;
    one[8].p.flip = true;
    one[9].p.colour = UM_COLOUR_BRIGHTNESS_CONTRAST, one[9].p.alpha = 1.1;
    one[10].p.colour = UM_COLOUR_PCA, one[10].p.alpha = 0.1;
    one[11].p.colour = UM_COLOUR_HSV, one[11].p.shift_hsv[0] = 7;
    one[12].p.tint = true, one[12].p.tint_hsv[1] = one[12].p.tint_hsv[2] = 1.1;
    one[13].p.shuffle = 3;
    one[14].p.grey = true;
    one[15].p.warp = true, one[15].p.angle_deg = 7;
    double resize_ms = 0;
    const um_face_picture made = {.crop = crop};
    for (size_t i = 0; i < sizeof one / sizeof *one; i++) {
        double least = 1e9;
        for (int k = 0; k < ROUNDS / 10; k++) {
            const double start = um_clock_s();
            must(um_augment_apply(w, &one[i].p, &made, &out));
            const double ms = (um_clock_s() - start) * 1e3;
            if (ms < least) least = ms;
        }
        if (i == 0) resize_ms = least;
        printf("%-22s %.3f ms\n", one[i].name, i < 2 ? least : least - resize_ms);
    }

    um_vfs *vfs;
    um_store_content content = {0};
    int n = 1;
    face[0] = made;
    if (argc > 1) {
        vfs = um_vfs_real();
        n = load(argv[1], codec, vfs, &content);
    }
    um_augment_config reference = um_augment_config_default(SIZE), strong = um_augment_config_strong(SIZE);
    if (n > 0) printf("whole draws, %d crops, processor time:  reference %.3f ms, strong %.3f ms\n", n, whole(w, &reference, n, &out), whole(w, &strong, n, &out));
    if (argc > 2 && n > 0) {
        um_image sheet;
        um_buf png = {0};
        const bool is_strong = argc > 3 && strcmp(argv[3], "strong") == 0, hull = argc > 3 && strcmp(argv[3], "hull") == 0;
        um_augment_config c = is_strong ? um_augment_config_strong(224) : um_augment_config_default(224);
        if (is_strong) c.p_mixup = 0.3;
        if (hull) {
            c.p_landmarks = c.p_jpeg = c.p_noise = c.p_blur = c.p_flip = c.p_colour = c.p_grey = c.p_warp = 0;
            c.p_hull = 1;
        }
        must(um_preview_sheet(w, &c, 1, 0, face, number, pair, label, n < SHEET_ROWS ? n : SHEET_ROWS, SHEET_DRAWS, &sheet));
        must(um_codec_encode(codec, UM_CODEC_PNG, 0, &sheet, &png));
        FILE *f = fopen(argv[2], "wb");
        if (f == NULL || fwrite(png.data, 1, png.len, f) != png.len || fclose(f) != 0) return 1;
        um_buf_release(&png);
        um_image_free(&sheet);
    }
    if (argc > 1) um_store_content_release(&content);
    for (int i = 0; i < n && argc > 1; i++) {
        um_image_free(&face[i].crop);
        um_image_free(&face[i].mask);
    }
    um_image_free(&crop);
    um_image_free(&out);
    um_augment_work_free(w);
    um_codec_free(codec);
    return 0;
}
