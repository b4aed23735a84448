/* The contact sheet of `inspect --png`: a fake's faces one below the other, the original's crop, the fake's crop and the mask each in a column of its own, also where the original's crop is missing. */
#include "tests/unit/store_world.h"

#include <stdbool.h>

static char *base;

/* 4x4 points of one grey value, in codec.h's RAW form. */
static void flat(uint8_t value, int channels, uint8_t out[60])
{
    memcpy(out, "UMRW\4\0\4\0\0\0\0\0", 12);
    out[8] = (uint8_t)channels;
    memset(out + 12, value, 48);
}

static um_status add(um_store_writer *w, um_stage stage, uint64_t video, int64_t frame, uint8_t value)
{
    uint8_t picture[60];
    int channels = stage == UM_STAGE_MASKS ? 1 : 3;
    flat(value, channels, picture);
    return um_store_add_image(w, stage, &(um_store_image){video, frame, 0, 0, {0, 0, 4, 4}, UM_CODEC_RAW, 0}, picture, 12 + 16 * (size_t)channels);
}

/* Faces on frames 0 and 10; the original's crop of frame 0 is missing. */
static um_status make(const char *store, const um_manifest *m)
{
    static const um_store_limits never = {1 << 30, 1e9};
    um_store *s = NULL;
    um_store_writer *w = NULL;
    uint64_t original = m->video[m->unit_video[0]].id, fake = m->video[m->unit_video[1]].id;
    UM_PASS(um_store_open(um_vfs_real(), store, WORLD_CONFIG, false, &s));
    UM_PASS(um_store_set_manifest(s, m));
    UM_PASS(um_store_writer_open(s, 0, &never, &w));
    UM_PASS(um_store_begin(w, m->unit[0].key));
    UM_PASS(um_store_add_video(w, UM_STAGE_DETECT, &(um_store_video){.video = original, .width_px = 8, .height_px = 8}, ""));
    UM_PASS(um_store_add_video(w, UM_STAGE_CROPS, &(um_store_video){.video = original, .width_px = 8, .height_px = 8}, ""));
    UM_PASS(um_store_add_video(w, UM_STAGE_CROPS, &(um_store_video){.video = fake, .width_px = 8, .height_px = 8}, ""));
    UM_PASS(add(w, UM_STAGE_CROPS, original, 10, 60));
    for (int f = 0; f < 2; f++) {
        UM_PASS(um_store_add_face(w, &(um_store_face){original, 10 * f, 0, 0, {0, 0, 4, 4}, 1}));
        UM_PASS(add(w, UM_STAGE_CROPS, fake, 10 * f, 120));
        UM_PASS(add(w, UM_STAGE_MASKS, fake, 10 * f, 180));
    }
    UM_PASS(um_store_end(w, 15));
    UM_PASS(um_store_writer_close(w, NULL));
    um_store_close(s);
    return UM_OK;
}

int main(void)
{
    static const int want[6] = {0, 120, 180, 60, 120, 180}; /* what the cells show, two faces in a row; 0: nothing */
    const char *program = getenv("UNMASK");
    char root[4096], part[4096], store[4096], png[4096], sheet[4096], command[16384];
    um_manifest m;
    um_image image = {0};
    void *bytes = NULL;
    size_t n = 0;
    if (program == NULL) return fprintf(stderr, "set UNMASK to the program\n"), 1;
    base = world_dir();
    world_path(root, base, "data");
    world_path(part, base, "data/dfdc_train_part_0");
    world_path(store, base, "store");
    world_path(png, base, "png");
    world_path(sheet, base, "png/sheet.png");
    CHECK(mkdir(root, 0777) == 0 && mkdir(part, 0777) == 0);
    world_file(part, "a.mp4", "original");
    world_file(part, "b.mp4", "fake");
    world_file(part, "metadata.json", "{\"a.mp4\": {\"label\": \"REAL\"}, \"b.mp4\": {\"label\": \"FAKE\", \"original\": \"a.mp4\"}}");
    CHECK_OK(um_manifest_scan(root, 0, &m));
    CHECK_INT(m.n_units, 1);
    CHECK_INT(m.n_videos, 2);
    if (m.n_units != 1 || m.n_videos != 2) return TEST_END();
    CHECK_OK(make(store, &m));
    snprintf(command, sizeof command, "'%s' inspect '%s' --video b.mp4 --png '%s' >'%s/out' 2>&1 || { cat '%s/out' >&2; false; }", program, store, png, base, base);
    CHECK_INT(system(command), 0);
    um_codec *codec = um_codec_new();
    CHECK_OK(um_vfs_read_whole(um_vfs_real(), sheet, 1 << 24, &bytes, &n));
    CHECK_OK(um_codec_decode(codec, bytes, n, 3, 1 << 24, &image));
    if (image.data != NULL) {
        int step = image.width_px / 6; /* a cell and the gap beside it */
        CHECK(image.height_px < 2 * step); /* one row */
        for (int i = 0; i < 6; i++) CHECK_INT(image.data[(size_t)(step / 2) * image.stride + (size_t)(i * step + step / 2) * 3], want[i]);
    }
    um_image_free(&image);
    um_codec_free(codec);
    free(bytes);
    um_manifest_release(&m);
    world_remove(base);
    free(base);
    return TEST_END();
}
