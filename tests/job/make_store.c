/* Makes a data root and a store of it without videos: crops, landmarks and masks drawn here, in milliseconds. For tests of training; a fake's face bears stripes that its original's does not (but for the
 * last frame of each second fake, which shows no change).
 * usage: make_store ROOT STORE PARTS ORIGINALS FAKES FRAMES: that many originals a part, fakes an original, frames a video. */
#include "io/codec.h"
#include "tests/unit/store_world.h"

static void make_root(const char *root, int parts, int originals, int fakes)
{
    CHECK(mkdir(root, 0777) == 0);
    for (int p = 0; p < parts; p++) {
        char part[4096], name[64];
        um_buf meta = {0};
        snprintf(name, sizeof name, "dfdc_train_part_%d", p);
        world_path(part, root, name);
        CHECK(mkdir(part, 0777) == 0);
        um_buf_add_str(&meta, "{");
        for (int i = 0; i < originals; i++) {
            snprintf(name, sizeof name, "o%d_%03d.mp4", p, i);
            world_file(part, name, "original");
            um_buf_printf(&meta, "%s\"%s\": {\"label\": \"REAL\"}", i > 0 ? ", " : "", name);
            for (int k = 0; k < fakes; k++) {
                char fake[64];
                snprintf(fake, sizeof fake, "f%d_%03d_%d.mp4", p, i, k);
                world_file(part, fake, "fake");
                um_buf_printf(&meta, ", \"%s\": {\"label\": \"FAKE\", \"original\": \"%s\"}", fake, name);
            }
        }
        um_buf_add_str(&meta, "}");
        world_file(part, "metadata.json", (char *)meta.data);
        um_buf_release(&meta);
    }
}

enum { W = 72, H = 80 };

/* A person (the part) in a light of this frame; stripes in the middle for a fake. */
static void draw(int part, uint64_t original, int frame, int fake, uint8_t *rgb, uint8_t *mask)
{
    um_rng person = um_rng_stream((uint64_t)part, 0, 0, UM_RNG_TEST), shot = um_rng_stream(original, (uint64_t)frame, 1, UM_RNG_TEST), noise = um_rng_stream(original, (uint64_t)frame, (uint32_t)(2 + fake), UM_RNG_TEST);
    double skin[3], light = um_rng_uniform(&shot, -30, 30), tilt = um_rng_uniform(&shot, -40, 40);
    for (int c = 0; c < 3; c++) skin[c] = um_rng_uniform(&person, 90, 180);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            double u = (x - W / 2.0) / (W / 2.0), v = (y - H / 2.0) / (H / 2.0);
            bool face = u * u + v * v < 0.6;
            double stripe = fake > 0 && face ? (y / 3 % 2 == 0 ? 28 : -28) : 0;
            mask[y * W + x] = stripe != 0 ? 60 : 0;
            for (int c = 0; c < 3; c++) {
                double value = (face ? skin[c] : 60) + light + tilt * u + stripe + um_rng_uniform(&noise, -12, 12);
                rgb[(y * W + x) * 3 + c] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
            }
        }
}

static um_status add_unit(um_store_writer *w, um_codec *codec, const um_manifest *m, const um_manifest_unit *u, int frames)
{
    static uint8_t rgb[W * H * 3], mask[W * H];
    um_image picture = {rgb, W, H, 3, W * 3}, grey = {mask, W, H, 1, W};
    um_buf bytes = {0};
    uint64_t original = m->video[m->unit_video[u->first]].id;
    um_status st = um_store_begin(w, u->key);
    for (int k = 0; st == UM_OK && k < u->n; k++) {
        const um_manifest_video *v = &m->video[m->unit_video[u->first + k]];
        um_store_video row = {.video = v->id, .status = UM_OK, .width_px = 320, .height_px = 240, .frames_wanted = frames, .frames_given = frames, .n_frames = 10 * frames, .fps = 30, .duration_s = frames / 3.0, .faces_found = frames};
        if (k == 0) st = um_store_add_video(w, UM_STAGE_DETECT, &row, "");
        if (st == UM_OK) st = um_store_add_video(w, UM_STAGE_CROPS, &row, "");
        for (int f = 0; st == UM_OK && f < frames; f++) {
            int32_t rect[4] = {10, 10, 10 + W, 10 + H};
            draw(v->part, original, f, k == 2 && f == frames - 1 ? 0 : k, rgb, mask); /* one fake is left as it was */
            if (k == 0) st = um_store_add_face(w, &(um_store_face){v->id, 10 * f, f / 3.0, 0, {22, 23, 22 + W / 2.f, 23 + H / 2.f}, 0.99f});
            if (k == 0 && st == UM_OK) st = um_store_add_landmarks(w, &(um_store_landmarks){v->id, 10 * f, 0, 1, {{25, 32}, {47, 32}, {36, 42}, {28, 54}, {44, 54}}});
            um_buf_clear(&bytes);
            if (st == UM_OK) st = um_codec_encode(codec, UM_CODEC_PNG, 0, &picture, &bytes);
            um_store_image image = {v->id, 10 * f, f / 3.0, 0, {rect[0], rect[1], rect[2], rect[3]}, UM_CODEC_PNG, 0};
            if (st == UM_OK) st = um_store_add_image(w, UM_STAGE_CROPS, &image, bytes.data, bytes.len);
            um_buf_clear(&bytes);
            for (size_t i = 0; i < sizeof mask; i++) image.changed_px += mask[i] > 20;
            if (k > 0 && st == UM_OK) st = um_codec_encode(codec, UM_CODEC_PNG, 0, &grey, &bytes);
            if (k > 0 && st == UM_OK) st = um_store_add_image(w, UM_STAGE_MASKS, &image, bytes.data, bytes.len);
        }
    }
    um_buf_release(&bytes);
    return st == UM_OK ? um_store_end(w, 15) : st;
}

int main(int argc, char **argv)
{
    static const um_store_limits limits = {1 << 20, 1e9}; /* several shards */
    um_manifest m;
    um_store *s = NULL;
    um_store_writer *w = NULL;
    um_store_content c;
    um_codec *codec = um_codec_new();
    if (argc != 7) return 2;
    make_root(argv[1], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
    CHECK_OK(um_manifest_scan(argv[1], 0, &m));
    CHECK_OK(um_store_open(um_vfs_real(), argv[2], WORLD_CONFIG, false, &s));
    CHECK_OK(um_store_set_manifest(s, &m));
    CHECK_OK(um_store_writer_open(s, 0, &limits, &w));
    for (int i = 0; i < m.n_units && test_failures == 0; i++) CHECK_OK(add_unit(w, codec, &m, &m.unit[i], atoi(argv[6])));
    CHECK_OK(um_store_writer_close(w, NULL));
    um_store_close(s);
    CHECK_OK(um_store_load(um_vfs_real(), argv[2], true, &c));
    um_store_content_release(&c);
    um_manifest_release(&m);
    um_codec_free(codec);
    return TEST_END();
}
