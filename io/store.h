#pragma once
/* store.h: where preprocessing keeps what it found (docs/format.md is the specification for other programs).
 *
 *   DIR/config.json       the frozen configuration: written once; another configuration is refused, naming the key
 *   DIR/manifest.jsonl    the inputs of the newest run
 *   DIR/shards/<run>-r<rank>-<seq>-<stage>.h5   sealed, immutable
 *   DIR/journal/<run>-r<rank>.jnl    what was started and what was sealed
 *   DIR/index.h5          made from these at the end: one data set for h5py. We ourselves never read it, nor parse a shard with HDF5: the journal says where in a shard each table lies.
 *
 * One writer per rank, in files of its own; nothing is ever appended to or changed in a sealed file. A unit is acknowledged when the journal record that names its shards is on disk, for all the stages
 * that were written together. Killed before: its shards, if any, are not referenced and count for nothing; the unit is done again and gives the same bytes.
 * A shard that was removed costs its units, nothing else: they count as not done (a warning tells).
 * Two runs on one store at once lose nothing: files have names of their own; a unit done twice counts once, and both copies must agree (UM_DATA names the unit otherwise);
 * only a result that depends on the machine (TIMEOUT, CRASH, OOM) yields to another one, whichever came first.
 *
 * Writing, per rank (Local):
 *     um_store_writer_open(store, rank, &w);
 *     for each unit: um_store_begin(w, key); um_store_add_...(w, ...); um_store_end(w, stages);     // um_store_abort(w) forgets the unit
 *     um_store_seal_if_due(w) is done by um_store_end and may be called at any time between units
 *     um_store_writer_close(w);       // seals what is left
 * Reading (any process): um_store_load, then the arrays; pixels with um_store_read from any thread.
 */
#include "io/attempts.h"
#include "io/codec.h"
#include "io/manifest.h"
#include "io/vfs.h"

typedef enum um_stage { UM_STAGE_DETECT, UM_STAGE_CROPS, UM_STAGE_LANDMARKS, UM_STAGE_MASKS, UM_STAGES } um_stage;
extern const char *const um_stage_name[UM_STAGES]; /* "detect", "crops", "landmarks", "masks" */

typedef struct um_store um_store;

/* Opens DIR for writing, making it where it is missing. config: a JSON object of strings, keys sorted, the frozen configuration; if DIR has one already they must be equal: UM_CONFIG names the first key that
 * differs, both values and the remedy (--fresh or another --store). fresh: removes what an earlier run left (config, manifest, shards, journal, index: nothing else) first. When several processes
 * call it at once for one run, one must come first (rank 0), the others after it with fresh = false. Errors: UM_IO, UM_CONFIG. */
um_status um_store_open(um_vfs *vfs, const char *dir, const char *config, bool fresh, um_store **out);
void um_store_close(um_store *s);
/* Replaces DIR/manifest.jsonl. */
um_status um_store_set_manifest(um_store *s, const um_manifest *m);

/* ---- rows: what a stage says of a video, a face ---- */

typedef struct um_store_video { /* one per (video, stage that opened it): DETECT for originals; CROPS for originals and fakes; LANDMARKS and MASKS where they failed */
    uint64_t video;
    int32_t status;        /* um_status */
    int32_t signal;
    int32_t width_px, height_px, rotation_deg;
    int32_t frames_wanted, frames_given, frames_damaged;
    int32_t faces_found;   /* DETECT: before max-faces */
    int32_t faces_dropped; /* DETECT: by max-faces; CROPS: boxes that left nothing to cut */
    int64_t n_frames;      /* what the container says, -1 */
    double fps, duration_s;
} um_store_video;

typedef struct um_store_face { /* DETECT; originals only */
    uint64_t video;
    int64_t frame;
    double time_s;
    int32_t face;          /* 0 = largest of its frame */
    float box[4];          /* source pixels */
    float probability;
} um_store_face;

typedef struct um_store_image { /* CROPS and MASKS */
    uint64_t video;
    int64_t frame;
    double time_s;         /* CROPS; in the video's own time */
    int32_t face;
    int32_t rect[4];       /* x0 y0 x1 y1 in source pixels */
    int32_t format;        /* um_codec_format */
    int32_t changed_px;    /* MASKS: pixels above 20; CROPS: 0 */
} um_store_image;

typedef struct um_store_landmarks { /* LANDMARKS; originals only, one per crop */
    uint64_t video;
    int64_t frame;
    int32_t face;
    int32_t found;         /* 0: no face on the crop, points are 0 */
    int16_t point[5][2];   /* x, y in crop pixels */
} um_store_landmarks;

typedef struct um_store_writer um_store_writer;
typedef struct um_store_limits {
    int64_t seal_bytes; /* 256 MiB */
    double seal_s;      /* 30 */
} um_store_limits;

/* Makes the rank's journal under a name nobody else has. */
um_status um_store_writer_open(um_store *s, int rank, const um_store_limits *limits, um_store_writer **out);
/* Records START of the unit and installs its last words for a fatal-signal handler. */
um_status um_store_begin(um_store_writer *w, uint64_t unit_key);
um_status um_store_add_video(um_store_writer *w, um_stage stage, const um_store_video *row, const char *message);
um_status um_store_add_face(um_store_writer *w, const um_store_face *row);
um_status um_store_add_image(um_store_writer *w, um_stage stage, const um_store_image *row, const void *bytes, size_t n);
um_status um_store_add_landmarks(um_store_writer *w, const um_store_landmarks *row);
/* The unit is complete for the stages in the bit mask (1 << stage); seals when a limit is reached. */
um_status um_store_end(um_store_writer *w, unsigned stages);
void um_store_abort(um_store_writer *w);
um_status um_store_seal(um_store_writer *w);
um_status um_store_seal_if_due(um_store_writer *w);
um_status um_store_writer_close(um_store_writer *w, int64_t *sealed_bytes);
/* Async-signal-safe: writes the prepared STRIKE record of the unit in hand (signal number included) to the journal. For the fatal-signal handler only. */
void um_store_last_words(int signal_number);

/* ---- reading ---- */

typedef struct um_store_ref { /* bytes in a shard */
    int32_t shard;      /* index, -1: none */
    uint32_t bytes;
    uint64_t at;        /* offset in the shard's file */
    uint32_t crc;       /* CRC-32C of the bytes */
    int32_t format;
} um_store_ref;

typedef struct um_store_entry { /* one face of one frame of one video: a crop and all that is known of it */
    int32_t video;         /* index in the manifest */
    int32_t face;
    int64_t frame;
    double time_s;
    float box[4], probability; /* a fake's: its original's */
    int32_t rect[4];           /* 0 0 0 0 before CROPS */
    int32_t has_landmarks;     /* 0: none found or not run */
    int16_t point[5][2];       /* a fake's: its original's */
    int32_t changed_px;
    um_store_ref image, mask;
} um_store_entry;

typedef struct um_store_state { /* of one unit */
    unsigned stages;    /* sealed */
    um_attempts attempts;
} um_store_state;

typedef struct um_store_content {
    char *dir, *config;       /* config: the JSON text of config.json's "config" object */
    um_manifest manifest;
    um_store_state *state;    /* [manifest.n_units] */
    um_store_video *video;    /* [manifest.n_videos]: stages merged: the first status that is not OK in stage order, else OK; UM_PENDING where nothing ran */
    char **message;           /* [manifest.n_videos], "" for none */
    um_store_entry *entry;    /* sorted by video (manifest order), frame, face */
    int64_t n_entries;
    int64_t *first_entry;     /* [n_videos + 1] */
    int64_t n_shards, n_units_done; /* shards loaded (0 without rows); units with all four stages */
    int64_t n_journal_damaged;      /* tails cut by a crash: counted, never fatal */
    int64_t n_unreferenced;         /* shard files no journal names, and temporary files: left by a kill */
    struct um_store_files *files;   /* private: open shards */
} um_store_content;

/* Loads the store through journal and shards. need_rows = false reads states only (resume; no entries). Videos that are not to be done have their manifest status and message. How rows of stages merge: status, signal,
 * message of the first stage that is not OK; sizes and frame counts of the first stage that knows the size; faces_found of DETECT; faces_dropped of DETECT and CROPS added.
 * Errors: UM_MISSING (no store there), UM_DATA (damage, disagreeing duplicates), UM_IO. */
um_status um_store_load(um_vfs *vfs, const char *dir, bool need_rows, um_store_content *out);
/* States of given units (a fresh manifest), without needing the stored manifest. state: [m->n_units]. */
um_status um_store_load_states(um_vfs *vfs, const char *dir, const um_manifest *m, um_store_state *state);
void um_store_content_release(um_store_content *c);
/* Reads the bytes of `ref` and checks their CRC (UM_DATA). out holds ref->bytes. Any thread. */
um_status um_store_read(const um_store_content *c, const um_store_ref *ref, void *out);
/* Hex SHA-256 of the content: paths, labels, statuses, rows and decoded pixels, in manifest order: not of shards, ranks, times. out[65]. */
um_status um_store_digest(const um_store_content *c, char out[65]);
/* Writes DIR/index.h5 by rename. */
um_status um_store_write_index(um_vfs *vfs, const um_store_content *c);
