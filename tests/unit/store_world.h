#pragma once
/* store_world.h: a small data root and a store of it, for the tests of storage. What a unit holds is a pure function of its videos, so any run of any writer must give the same content. */
#include "io/store.h"
#include "src/core/crc.h"
#include "src/core/hash.h"
#include "src/core/rng.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORLD_CONFIG "{\"crop-format\": \"raw\", \"frames\": \"every:10:320\"}"

__attribute__((unused)) static char *world_dir(void)
{
    const char *tmp = getenv("TMPDIR");
    char *path = NULL;
    if (asprintf(&path, "%s/um-store-XXXXXX", tmp != NULL ? tmp : "/tmp") < 0 || mkdtemp(path) == NULL) {
        fprintf(stderr, "cannot make a temporary folder\n");
        exit(1);
    }
    return path;
}

/* folder/name in out[4096]. */
__attribute__((unused)) static void world_path(char out[4096], const char *folder, const char *name)
{
    if (snprintf(out, 4096, "%s/%s", folder, name) >= 4096) {
        fprintf(stderr, "a path is too long\n");
        exit(1);
    }
}

__attribute__((unused)) static void world_remove(const char *path)
{
    struct stat s;
    if (lstat(path, &s) == 0 && S_ISDIR(s.st_mode)) {
        DIR *d = opendir(path);
        struct dirent *e;
        while (d != NULL && (e = readdir(d)) != NULL) {
            char sub[4096];
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
            world_path(sub, path, e->d_name);
            world_remove(sub);
        }
        if (d != NULL) closedir(d);
        rmdir(path);
    } else {
        unlink(path);
    }
}

__attribute__((unused)) static void world_file(const char *folder, const char *name, const char *text)
{
    char path[4096];
    world_path(path, folder, name);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    if (f == NULL) return;
    fputs(text, f);
    fclose(f);
}

/* n_units originals with 0, 1 or 2 fakes each, in one part. */
__attribute__((unused)) static void world_root(const char *root, int n_units)
{
    char part[4096], name[64];
    um_buf meta = {0};
    world_path(part, root, "dfdc_train_part_7");
    CHECK(mkdir(root, 0777) == 0 && mkdir(part, 0777) == 0);
    um_buf_add_str(&meta, "{");
    for (int i = 0; i < n_units; i++) {
        snprintf(name, sizeof name, "o%04d.mp4", i);
        world_file(part, name, "original");
        um_buf_printf(&meta, "%s\"%s\": {\"label\": \"REAL\", \"split\": \"train\"}", i > 0 ? ", " : "", name);
        for (int k = 0; k < i % 3; k++) {
            char fake[64];
            snprintf(fake, sizeof fake, "f%04d_%d.mp4", i, k);
            world_file(part, fake, "fake");
            um_buf_printf(&meta, ", \"%s\": {\"label\": \"FAKE\", \"original\": \"%s\"}", fake, name);
        }
    }
    um_buf_add_str(&meta, "}");
    world_file(part, "metadata.json", (char *)meta.data);
    um_buf_release(&meta);
}

/* A small picture in codec.h's RAW form. */
__attribute__((unused)) static size_t world_picture(uint64_t seed, int channels, uint8_t out[1024])
{
    um_rng r = um_rng_stream(seed, 1, 0, UM_RNG_TEST);
    unsigned w = 4 + um_rng_below(&r, 12), h = 4 + um_rng_below(&r, 12);
    memcpy(out, "UMRW", 4);
    out[4] = (uint8_t)w;
    out[6] = (uint8_t)h;
    out[5] = out[7] = out[9] = out[10] = out[11] = 0;
    out[8] = (uint8_t)channels;
    size_t n = w * h * (unsigned)channels;
    for (size_t i = 0; i < n; i++) out[12 + i] = (uint8_t)um_rng_u32(&r);
    return 12 + n;
}

/* Rows of the given stages of a unit; frames 0, 10, 20, one or two faces. */
__attribute__((unused)) static um_status world_unit(um_store_writer *w, const um_manifest *m, int unit, unsigned stages)
{
    const um_manifest_unit *u = &m->unit[unit];
    UM_PASS(um_store_begin(w, u->key));
    for (int s = 0; s < UM_STAGES; s++) {
        if ((stages >> s & 1) == 0) continue;
        for (int k = 0; k < u->n; k++) {
            const um_manifest_video *v = &m->video[m->unit_video[u->first + k]];
            uint64_t original = m->video[m->unit_video[u->first]].id;
            bool fake = k > 0;
            if (s == UM_STAGE_CROPS || (s == UM_STAGE_DETECT && !fake)) {
                bool bad = s == UM_STAGE_CROPS && v->id % 5 == 0;
                um_store_video row = {.video = v->id, .status = bad ? UM_PARTIAL : UM_OK, .width_px = 640, .height_px = 480, .frames_wanted = 3, .frames_given = 3, .n_frames = 30,
                                      .fps = 29.97, .duration_s = 1.001, .faces_found = s == UM_STAGE_DETECT ? 4 : 0};
                UM_PASS(um_store_add_video(w, (um_stage)s, &row, bad ? "frame 3 is damaged" : ""));
            }
            for (int f = 0; f < 3; f++) {
                int faces = 1 + (int)((original >> f) & 1);
                for (int face = 0; face < faces; face++) {
                    uint64_t seed = um_hash64(v->id, &(int[3]){s, f, face}, 12);
                    float x = (float)(seed % 100), y = (float)(seed / 100 % 100);
                    uint8_t picture[1024];
                    size_t n = world_picture(seed, s == UM_STAGE_MASKS ? 1 : 3, picture);
                    if (s == UM_STAGE_DETECT && !fake)
                        UM_PASS(um_store_add_face(w, &(um_store_face){v->id, 10 * f, 10 * f / 29.97, face, {x, y, x + 50, y + 60}, 0.99f}));
                    if (s == UM_STAGE_CROPS || (s == UM_STAGE_MASKS && fake))
                        UM_PASS(um_store_add_image(w, (um_stage)s, &(um_store_image){v->id, 10 * f, 10 * f / 29.97, face, {(int)x, (int)y, (int)x + 60, (int)y + 70}, UM_CODEC_RAW, s == UM_STAGE_MASKS ? 9 : 0},
                                                   picture, n));
                    if (s == UM_STAGE_LANDMARKS && !fake)
                        UM_PASS(um_store_add_landmarks(w, &(um_store_landmarks){v->id, 10 * f, face, seed % 4 != 0, {{1, 2}, {3, 4}, {5, 6}, {(int16_t)(seed % 50), 8}, {9, 10}}}));
                }
            }
        }
    }
    return um_store_end(w, stages);
}

/* A checksum of everything a reader sees of the videos first..end-1, pictures included. */
__attribute__((unused)) static um_status world_sum_of(const um_store_content *c, int first, int end, uint32_t *out)
{
    uint32_t crc = 0;
    for (int v = first; v < end; v++) {
        crc = um_crc32c(crc, c->manifest.video[v].path, strlen(c->manifest.video[v].path));
        crc = um_crc32c(crc, &c->video[v], sizeof c->video[v]);
        crc = um_crc32c(crc, c->message[v], strlen(c->message[v]));
    }
    for (int64_t i = c->first_entry[first]; i < c->first_entry[end]; i++) {
        um_store_entry e = c->entry[i];
        uint8_t bytes[1024];
        const um_store_ref *refs[2] = {&e.image, &e.mask};
        for (int k = 0; k < 2; k++) {
            if (refs[k]->shard < 0) continue;
            if (refs[k]->bytes > sizeof bytes) return UM_FAIL(UM_DATA, "a picture of %u bytes", refs[k]->bytes);
            UM_PASS(um_store_read(c, refs[k], bytes));
            crc = um_crc32c(crc, bytes, refs[k]->bytes);
        }
        e.image.shard = e.image.shard >= 0;
        e.mask.shard = e.mask.shard >= 0;
        e.image.at = e.mask.at = 0;
        int32_t facts[] = {e.video, e.face, e.rect[0], e.rect[1], e.rect[2], e.rect[3], e.has_landmarks, e.changed_px, e.image.shard, e.mask.shard, e.image.format};
        crc = um_crc32c(crc, facts, sizeof facts);
        crc = um_crc32c(crc, &e.frame, sizeof e.frame);
        crc = um_crc32c(crc, &e.time_s, sizeof e.time_s);
        crc = um_crc32c(crc, e.box, sizeof e.box);
        crc = um_crc32c(crc, &e.probability, sizeof e.probability);
        crc = um_crc32c(crc, e.point, sizeof e.point);
    }
    *out = crc;
    return UM_OK;
}

__attribute__((unused)) static um_status world_sum(const um_store_content *c, uint32_t *out) { return world_sum_of(c, 0, c->manifest.n_videos, out); }

/* Does all that is not done yet, as a run of the program would: `per_seal` units a seal, then the index. After each seal `sealed` is called, if it is not NULL. */
__attribute__((unused)) static um_status world_run(um_vfs *vfs, const char *dir, const um_manifest *m, int first, int end, int per_seal, bool fresh, void (*sealed)(void *), void *user)
{
    static const um_store_limits never = {1 << 30, 1e9};
    um_store *s = NULL;
    um_store_writer *w = NULL;
    um_store_content c;
    um_store_state *state = calloc((size_t)m->n_units, sizeof *state);
    um_status st = um_store_open(vfs, dir, WORLD_CONFIG, fresh, &s);
    if (st == UM_OK) st = um_store_set_manifest(s, m);
    if (st == UM_OK) st = um_store_load_states(vfs, dir, m, state);
    if (st == UM_OK) st = um_store_writer_open(s, 0, &never, &w);
    for (int u = first, n = 0; st == UM_OK && u < end; u++) {
        if (state[u].stages == 15) continue;
        st = world_unit(w, m, u, 15 & ~state[u].stages);
        if (st == UM_OK && ++n % per_seal == 0) {
            st = um_store_seal(w);
            if (st == UM_OK && sealed != NULL) sealed(user);
        }
    }
    um_status closed = um_store_writer_close(w, NULL);
    if (st == UM_OK) st = closed;
    if (st == UM_OK && sealed != NULL) sealed(user);
    um_store_close(s);
    free(state);
    if (st == UM_OK) {
        st = um_store_load(vfs, dir, true, &c);
        if (st == UM_OK) {
            st = um_store_write_index(vfs, &c);
            um_store_content_release(&c);
        }
    }
    return st;
}
