#include "io/store_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_AT_ONCE = 4096, MAX_TEXT = 4096 };

/* ---- videos: one row each, texts of fixed length ---- */

typedef struct widths { /* bytes of the longest text of each kind, at least 1 */
    size_t id, original, path, status, message;
} widths;

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static void widen(size_t *width, const char *text)
{
    size_t n = strlen(text);
    if (n > MAX_TEXT) n = MAX_TEXT;
    if (n > *width) *width = n;
}

static void put_text(uint8_t *at, size_t width, const char *text)
{
    size_t n = strlen(text);
    memcpy(at, text, n < width ? n : width);
}

/* id is what a fold list or a results file calls the video: its file name. Paths are what is unique. */
static um_status add_videos(um_h5image *im, const um_store_content *c)
{
    static const char *const label_name[] = {"UNKNOWN", "REAL", "FAKE"};
    const um_manifest *m = &c->manifest;
    widths w = {1, 1, 1, 1, 1};
    uint8_t *row = NULL;
    hid_t type = -1;
    um_status st = UM_OK;
    for (int i = 0; i < m->n_videos; i++) {
        widen(&w.id, file_name(m->video[i].path));
        widen(&w.original, m->video[i].original_name);
        widen(&w.path, m->video[i].path);
        widen(&w.status, um_status_name((um_status)c->video[i].status));
        widen(&w.message, c->message[i]);
    }
    enum { ID, KEY, PART, LABEL, ORIGINAL, ORIGINAL_INDEX, PATH, WIDTH, HEIGHT, ROTATION, FPS, FRAMES, FRAMES_GIVEN, FRAMES_DAMAGED, FACES_DROPPED, STATUS, MESSAGE, FIELDS };
    um_field f[FIELDS + 1] = {
        [ID] = {.name = "id", .type = UM_FIELD_TEXT, .n = (int)w.id},
        [KEY] = {.name = "key", .type = UM_FIELD_U64},
        [PART] = {.name = "part", .type = UM_FIELD_I32},
        [LABEL] = {.name = "label", .type = UM_FIELD_TEXT, .n = 7},
        [ORIGINAL] = {.name = "original", .type = UM_FIELD_TEXT, .n = (int)w.original},
        [ORIGINAL_INDEX] = {.name = "original_index", .type = UM_FIELD_I32},
        [PATH] = {.name = "path", .type = UM_FIELD_TEXT, .n = (int)w.path},
        [WIDTH] = {.name = "width", .type = UM_FIELD_I32},
        [HEIGHT] = {.name = "height", .type = UM_FIELD_I32},
        [ROTATION] = {.name = "rotation", .type = UM_FIELD_I32},
        [FPS] = {.name = "fps", .type = UM_FIELD_F64},
        [FRAMES] = {.name = "frames", .type = UM_FIELD_I64},
        [FRAMES_GIVEN] = {.name = "frames_used", .type = UM_FIELD_I32},
        [FRAMES_DAMAGED] = {.name = "frames_damaged", .type = UM_FIELD_I32},
        [FACES_DROPPED] = {.name = "faces_dropped", .type = UM_FIELD_I32},
        [STATUS] = {.name = "status", .type = UM_FIELD_TEXT, .n = (int)w.status},
        [MESSAGE] = {.name = "message", .type = UM_FIELD_TEXT, .n = (int)w.message},
        [FIELDS] = {.name = NULL},
    };
    static const size_t size_of[] = {8, 8, 8, 4, 4, 4, 2};
    size_t row_bytes = 0;
    for (int i = 0; i < FIELDS; i++) {
        f[i].at = row_bytes;
        row_bytes += f[i].type == UM_FIELD_TEXT ? (size_t)f[i].n : size_of[f[i].type];
    }
    hsize_t n = (hsize_t)m->n_videos;
    row = malloc(row_bytes * ROWS_AT_ONCE);
    type = um_compound(f, row_bytes);
    if (row == NULL || type < 0) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for the rows of %d videos", m->n_videos);
        goto done;
    }
    UM_GOTO_PASS(st, um_h5image_add(im, "videos", type, 1, &n, NULL));
    for (int first = 0; first < m->n_videos; first += ROWS_AT_ONCE) {
        int rows = m->n_videos - first < ROWS_AT_ONCE ? m->n_videos - first : ROWS_AT_ONCE;
        memset(row, 0, row_bytes * ROWS_AT_ONCE);
        for (int k = 0; k < rows; k++) {
            const um_manifest_video *v = &m->video[first + k];
            const um_store_video *r = &c->video[first + k];
            uint8_t *p = row + (size_t)k * row_bytes;
            put_text(p + f[ID].at, w.id, file_name(v->path));
            memcpy(p + f[KEY].at, &v->id, 8);
            memcpy(p + f[PART].at, &v->part, 4);
            put_text(p + f[LABEL].at, 7, label_name[v->label]);
            put_text(p + f[ORIGINAL].at, w.original, v->original_name);
            memcpy(p + f[ORIGINAL_INDEX].at, &v->original, 4);
            put_text(p + f[PATH].at, w.path, v->path);
            memcpy(p + f[WIDTH].at, &r->width_px, 4);
            memcpy(p + f[HEIGHT].at, &r->height_px, 4);
            memcpy(p + f[ROTATION].at, &r->rotation_deg, 4);
            memcpy(p + f[FPS].at, &r->fps, 8);
            memcpy(p + f[FRAMES].at, &r->n_frames, 8);
            memcpy(p + f[FRAMES_GIVEN].at, &r->frames_given, 4);
            memcpy(p + f[FRAMES_DAMAGED].at, &r->frames_damaged, 4);
            memcpy(p + f[FACES_DROPPED].at, &r->faces_dropped, 4);
            put_text(p + f[STATUS].at, w.status, um_status_name((um_status)r->status));
            put_text(p + f[MESSAGE].at, w.message, c->message[first + k]);
        }
        UM_GOTO_PASS(st, um_h5image_put(im, "videos", type, (hsize_t)first, (hsize_t)rows, row));
    }
done:
    if (type >= 0) H5Tclose(type);
    free(row);
    return st;
}

/* ---- faces ---- */

typedef struct index_face {
    uint64_t key; /* of the video, as in videos */
    int64_t frame;
    double time_s;
    int64_t image_at, mask_at; /* in /images, /masks; -1: none */
    uint32_t image_bytes, mask_bytes;
    int32_t video;
    int32_t face;
    float box[4], probability;
    int32_t crop[4];
    int32_t has_landmarks;
    int16_t landmarks[5][2];
    int32_t image_format, mask_format;
    int32_t changed_px;
    uint32_t reserved;
} index_face;
_Static_assert(sizeof(index_face) == 136, "rows have no holes");

#define F(field, kind, ...) {.name = #field, .type = UM_FIELD_##kind, .at = offsetof(index_face, field), ##__VA_ARGS__}
static const um_field face_fields[] = {F(video, I32), F(key, U64), F(frame, I64), F(time_s, F64), F(face, I32), F(box, F32, .n = 4), F(probability, F32), F(crop, I32, .n = 4),
                                       F(has_landmarks, I32), F(landmarks, I16, .n = 5, .m = 2), F(image_at, I64), F(image_bytes, U32), F(image_format, I32),
                                       F(mask_at, I64), F(mask_bytes, U32), F(mask_format, I32), F(changed_px, I32), {.name = NULL}};

/* Where the bytes of `ref` lie in the virtual data set. */
static int64_t virtual_at(const um_store_content *c, const um_store_ref *ref)
{
    if (ref->shard < 0) return -1;
    const um_store_shard *s = &c->files->shard[ref->shard];
    return s->first_byte + (int64_t)ref->at - s->set[UM_SET_BYTES].at;
}

static um_status add_faces(um_h5image *im, const um_store_content *c)
{
    hsize_t n = (hsize_t)c->n_entries;
    index_face *row = calloc(ROWS_AT_ONCE, sizeof *row);
    hid_t type = um_compound(face_fields, sizeof *row);
    um_status st = UM_OK;
    if (row == NULL || type < 0) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for the rows of faces");
        goto done;
    }
    UM_GOTO_PASS(st, um_h5image_add(im, "faces", type, 1, &n, NULL));
    for (int64_t first = 0; first < c->n_entries; first += ROWS_AT_ONCE) {
        int64_t rows = c->n_entries - first < ROWS_AT_ONCE ? c->n_entries - first : ROWS_AT_ONCE;
        for (int64_t k = 0; k < rows; k++) {
            const um_store_entry *e = &c->entry[first + k];
            index_face f = {.frame = e->frame, .time_s = e->time_s, .image_at = virtual_at(c, &e->image), .mask_at = virtual_at(c, &e->mask), .image_bytes = e->image.bytes,
                            .mask_bytes = e->mask.bytes, .video = e->video, .key = c->manifest.video[e->video].id, .face = e->face, .probability = e->probability, .has_landmarks = e->has_landmarks,
                            .image_format = e->image.shard >= 0 ? e->image.format : -1, .mask_format = e->mask.shard >= 0 ? e->mask.format : -1, .changed_px = e->changed_px};
            memcpy(f.box, e->box, sizeof f.box);
            memcpy(f.crop, e->rect, sizeof f.crop);
            memcpy(f.landmarks, e->point, sizeof f.landmarks);
            row[k] = f;
        }
        UM_GOTO_PASS(st, um_h5image_put(im, "faces", type, (hsize_t)first, (hsize_t)rows, row));
    }
done:
    if (type >= 0) H5Tclose(type);
    free(row);
    return st;
}

/* ---- pixels: one virtual data set over the shards ---- */

/* Gives each used shard of the stage its place; returns the bytes of all. */
static int64_t place_shards(um_store_files *files, um_stage stage)
{
    int64_t at = 0;
    for (int i = 0; i < files->n; i++) {
        um_store_shard *s = &files->shard[i];
        if (s->stage != stage || !s->used) continue;
        s->first_byte = at;
        at += s->set[UM_SET_BYTES].rows;
    }
    return at;
}

static um_status add_pixels(um_h5image *im, const um_store_content *c, const char *name, um_stage stage, int64_t bytes)
{
    hsize_t n = (hsize_t)bytes;
    if (bytes == 0) return um_h5image_add(im, name, H5T_STD_U8LE, 1, &n, NULL);
    hid_t space = H5Screate_simple(1, &n, NULL), create = H5Pcreate(H5P_DATASET_CREATE), set = -1;
    bool ok = space >= 0 && create >= 0 && H5Pset_obj_track_times(create, 0) >= 0;
    for (int i = 0; ok && i < c->files->n; i++) {
        const um_store_shard *s = &c->files->shard[i];
        hsize_t at = (hsize_t)s->first_byte, len = (hsize_t)s->set[UM_SET_BYTES].rows;
        char file[256];
        if (s->stage != stage || !s->used || len == 0) continue;
        /* Relative names: HDF5 looks beside the index, wherever the reader stands. */
        snprintf(file, sizeof file, "shards/%s", s->file);
        hid_t from = H5Screate_simple(1, &len, NULL);
        ok = from >= 0 && H5Sselect_hyperslab(space, H5S_SELECT_SET, &at, NULL, &len, NULL) >= 0 && H5Pset_virtual(create, space, file, "bytes", from) >= 0;
        if (from >= 0) H5Sclose(from);
    }
    ok = ok && H5Sselect_all(space) >= 0;
    if (ok) set = H5Dcreate2(um_h5image_id(im), name, H5T_STD_U8LE, space, H5P_DEFAULT, create, H5P_DEFAULT);
    ok = ok && set >= 0;
    um_status st = ok ? UM_OK : um_h5_fail(UM_INTERNAL, "cannot make a virtual data set");
    if (set >= 0) H5Dclose(set);
    if (create >= 0) H5Pclose(create);
    if (space >= 0) H5Sclose(space);
    return st;
}

um_status um_store_write_index(um_vfs *vfs, const um_store_content *c)
{
    um_h5image *im = NULL;
    char *path = um_store_path(c->dir, "index.h5", NULL);
    um_status st = UM_OK;
    if (path == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for a path");
        goto done;
    }
    if (c->first_entry == NULL) {
        st = UM_FAIL(UM_INTERNAL, "the store was loaded without its rows");
        goto done;
    }
    int64_t image_bytes = place_shards(c->files, UM_STAGE_CROPS), mask_bytes = place_shards(c->files, UM_STAGE_MASKS);
    UM_GOTO_PASS(st, um_h5image_new("index", &im));
    UM_GOTO_PASS(st, um_h5image_add_text(im, "format", UM_STORE_TEXT));
    if (strlen(c->config) < 60000) UM_GOTO_PASS(st, um_h5image_add_text(im, "config", c->config));
    UM_GOTO_PASS(st, add_videos(im, c));
    UM_GOTO_PASS(st, add_faces(im, c));
    UM_GOTO_PASS(st, add_pixels(im, c, "images", UM_STAGE_CROPS, image_bytes));
    UM_GOTO_PASS(st, add_pixels(im, c, "masks", UM_STAGE_MASKS, mask_bytes));
    st = um_h5image_write(im, vfs, path);
done:
    um_h5image_free(im);
    free(path);
    return st == UM_OK ? UM_OK : um_err_note(st, "cannot write the index of the store %s", um_quote(c->dir));
}
