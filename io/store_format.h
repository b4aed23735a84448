#pragma once
/* store_format.h: the tables of a shard, byte for byte (docs/format.md). Private to io/store*.c.
 *
 * A shard holds what one stage found of the units that were sealed together:
 *   /units  which units, and which rows of the other tables are theirs
 *   /videos rows of videos; /text their messages, packed
 *   /faces (detect), /images (crops, masks) or /landmarks: the stage's rows
 *   /bytes  encoded pictures, packed (crops, masks)
 * The structs are the rows as they lie in the file: little-endian, no holes, reserved fields 0.
 */
#include "io/h5image.h"
#include "io/store.h"

#define UM_STORE_TEXT "unmask-store 1"

enum { UM_SET_UNITS, UM_SET_VIDEOS, UM_SET_TEXT, UM_SET_ROWS, UM_SET_BYTES, UM_SETS };

typedef struct um_disk_unit {
    uint64_t unit; /* key */
    uint32_t first_video, n_videos;
    uint32_t first_row, n_rows;
    uint32_t crc; /* CRC-32C of its rows with every at = 0: a video's row, its message, ...; then the stage's rows. Equal for equal content. */
    uint32_t reserved;
} um_disk_unit;

typedef struct um_disk_video {
    uint64_t video;
    uint64_t text_at;
    int64_t n_frames;
    double fps, duration_s;
    uint32_t text_bytes;
    int32_t status, signal;
    int32_t width_px, height_px, rotation_deg;
    int32_t frames_wanted, frames_given, frames_damaged;
    int32_t faces_found, faces_dropped;
    uint32_t reserved;
} um_disk_video;

typedef struct um_disk_face {
    uint64_t video;
    int64_t frame;
    double time_s;
    int32_t face;
    float box[4], probability;
} um_disk_face;

typedef struct um_disk_image {
    uint64_t video;
    int64_t frame;
    double time_s;
    uint64_t at; /* in /bytes */
    uint32_t bytes, crc;
    int32_t face;
    int32_t rect[4];
    int32_t format;
    int32_t changed_px;
    uint32_t reserved;
} um_disk_image;

typedef struct um_disk_landmarks {
    uint64_t video;
    int64_t frame;
    int32_t face, found;
    int16_t point[5][2];
    uint32_t reserved;
} um_disk_landmarks;

/* Names and row sizes of a stage's tables, by UM_SET_...; row_bytes 0: the stage has no such table. */
typedef struct um_disk_set {
    const char *name;
    size_t row_bytes;
} um_disk_set;
extern const um_disk_set um_disk_sets[UM_STAGES][UM_SETS];
/* The HDF5 type of a table's rows; H5Tclose it. */
hid_t um_disk_type(um_stage stage, int set);

typedef enum um_field_type { UM_FIELD_U64, UM_FIELD_I64, UM_FIELD_F64, UM_FIELD_U32, UM_FIELD_I32, UM_FIELD_F32, UM_FIELD_I16, UM_FIELD_TEXT } um_field_type;
typedef struct um_field {
    const char *name; /* NULL ends a table of fields */
    um_field_type type;
    size_t at;  /* offset in the row */
    int n, m;   /* array: n > 0 elements, m > 0: n x m; TEXT: n bytes */
} um_field;
/* A compound type of `row_bytes` with these fields; -1 on failure. H5Tclose it. */
hid_t um_compound(const um_field *fields, size_t row_bytes);

struct um_store {
    um_vfs *vfs;
    char *dir;
};

/* "DIR/a", or "DIR/a/b" when b is not NULL; free it. NULL without memory. */
char *um_store_path(const char *dir, const char *a, const char *b);
/* Reads config.json: *config is the text of its "config" object; free it. UM_MISSING: there is none. */
um_status um_store_read_config(um_vfs *vfs, const char *dir, char **config);
