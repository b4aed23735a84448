#include "io/store_format.h"

#include <stdio.h>

const char *const um_stage_name[UM_STAGES] = {"detect", "crops", "landmarks", "masks"};

_Static_assert(sizeof(um_disk_unit) == 32 && sizeof(um_disk_video) == 88 && sizeof(um_disk_face) == 48 && sizeof(um_disk_image) == 72 && sizeof(um_disk_landmarks) == 48,
               "rows have no holes");

#define COMMON {"units", sizeof(um_disk_unit)}, {"videos", sizeof(um_disk_video)}, {"text", 1}
const um_disk_set um_disk_sets[UM_STAGES][UM_SETS] = {
    [UM_STAGE_DETECT] = {COMMON, {"faces", sizeof(um_disk_face)}, {"", 0}},
    [UM_STAGE_CROPS] = {COMMON, {"images", sizeof(um_disk_image)}, {"bytes", 1}},
    [UM_STAGE_LANDMARKS] = {COMMON, {"landmarks", sizeof(um_disk_landmarks)}, {"", 0}},
    [UM_STAGE_MASKS] = {COMMON, {"images", sizeof(um_disk_image)}, {"bytes", 1}},
};

#define F(row, field, kind, ...) {.name = #field, .type = UM_FIELD_##kind, .at = offsetof(row, field), ##__VA_ARGS__}
static const um_field unit_fields[] = {F(um_disk_unit, unit, U64), F(um_disk_unit, first_video, U32), F(um_disk_unit, n_videos, U32), F(um_disk_unit, first_row, U32),
                                       F(um_disk_unit, n_rows, U32), F(um_disk_unit, crc, U32), F(um_disk_unit, reserved, U32), {.name = NULL}};
static const um_field video_fields[] = {F(um_disk_video, video, U64), F(um_disk_video, text_at, U64), F(um_disk_video, n_frames, I64), F(um_disk_video, fps, F64),
                                        F(um_disk_video, duration_s, F64), F(um_disk_video, text_bytes, U32), F(um_disk_video, status, I32), F(um_disk_video, signal, I32),
                                        F(um_disk_video, width_px, I32), F(um_disk_video, height_px, I32), F(um_disk_video, rotation_deg, I32),
                                        F(um_disk_video, frames_wanted, I32), F(um_disk_video, frames_given, I32), F(um_disk_video, frames_damaged, I32),
                                        F(um_disk_video, faces_found, I32), F(um_disk_video, faces_dropped, I32), F(um_disk_video, reserved, U32), {.name = NULL}};
static const um_field face_fields[] = {F(um_disk_face, video, U64), F(um_disk_face, frame, I64), F(um_disk_face, time_s, F64), F(um_disk_face, face, I32),
                                       F(um_disk_face, box, F32, .n = 4), F(um_disk_face, probability, F32), {.name = NULL}};
static const um_field image_fields[] = {F(um_disk_image, video, U64), F(um_disk_image, frame, I64), F(um_disk_image, time_s, F64), F(um_disk_image, at, U64),
                                        F(um_disk_image, bytes, U32), F(um_disk_image, crc, U32), F(um_disk_image, face, I32), F(um_disk_image, rect, I32, .n = 4),
                                        F(um_disk_image, format, I32), F(um_disk_image, changed_px, I32), F(um_disk_image, reserved, U32), {.name = NULL}};
static const um_field landmarks_fields[] = {F(um_disk_landmarks, video, U64), F(um_disk_landmarks, frame, I64), F(um_disk_landmarks, face, I32),
                                            F(um_disk_landmarks, found, I32), F(um_disk_landmarks, point, I16, .n = 5, .m = 2), F(um_disk_landmarks, reserved, U32), {.name = NULL}};

hid_t um_compound(const um_field *fields, size_t row_bytes)
{
    hid_t all = H5Tcreate(H5T_COMPOUND, row_bytes);
    bool ok = all >= 0;
    for (const um_field *f = fields; ok && f->name != NULL; f++) {
        const hid_t plain[] = {H5T_STD_U64LE, H5T_STD_I64LE, H5T_IEEE_F64LE, H5T_STD_U32LE, H5T_STD_I32LE, H5T_IEEE_F32LE, H5T_STD_I16LE};
        hid_t type;
        if (f->type == UM_FIELD_TEXT) { /* bytes, 0 at the end where there is room: h5py gives them back as bytes */
            type = H5Tcopy(H5T_C_S1);
            ok = type >= 0 && H5Tset_size(type, (size_t)f->n) >= 0 && H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0;
        } else if (f->n > 0) {
            hsize_t dims[2] = {(hsize_t)f->n, (hsize_t)f->m};
            type = H5Tarray_create2(plain[f->type], f->m > 0 ? 2 : 1, dims);
        } else {
            type = H5Tcopy(plain[f->type]);
        }
        ok = ok && type >= 0 && H5Tinsert(all, f->name, f->at, type) >= 0;
        if (type >= 0) H5Tclose(type);
    }
    if (ok) return all;
    if (all >= 0) H5Tclose(all);
    return -1;
}

hid_t um_disk_type(um_stage stage, int set)
{
    size_t n = um_disk_sets[stage][set].row_bytes;
    switch (set) {
    case UM_SET_UNITS:
        return um_compound(unit_fields, n);
    case UM_SET_VIDEOS:
        return um_compound(video_fields, n);
    case UM_SET_ROWS:
        return um_compound(stage == UM_STAGE_DETECT ? face_fields : stage == UM_STAGE_LANDMARKS ? landmarks_fields : image_fields, n);
    default:
        return H5Tcopy(H5T_STD_U8LE);
    }
}

char *um_store_path(const char *dir, const char *a, const char *b)
{
    char *path = NULL;
    return asprintf(&path, b != NULL ? "%s/%s/%s" : "%s/%s", dir, a, b) < 0 ? NULL : path;
}
