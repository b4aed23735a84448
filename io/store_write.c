#include "io/journal.h"
#include "io/store_format.h"

#include "src/core/clock.h"
#include "src/core/crc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The tables of one stage, in memory until they are sealed, and how long they were when the unit in hand began. */
typedef struct stage_tables {
    um_buf set[UM_SETS];
    size_t mark[UM_SETS];
} stage_tables;

typedef struct sealed_unit {
    uint64_t key;
    unsigned stages;
} sealed_unit;

struct um_store_writer {
    um_store *store;
    um_store_limits limits;
    um_journal *journal;
    char *journal_path;
    char name[64]; /* <run>-r<rank>: what its files are called after */
    int sequence;
    stage_tables stage[UM_STAGES];
    um_buf units;  /* sealed_unit: ended, not sealed */
    um_buf record; /* the journal record under construction */
    double oldest_s; /* when the first unsealed unit ended */
    uint64_t unit;
    bool open, used;
    um_status failed; /* what ended the writer: after it nothing more is written */
    int64_t sealed_bytes;
};

um_status um_store_writer_open(um_store *s, int rank, const um_store_limits *limits, um_store_writer **out)
{
    *out = NULL;
    um_store_writer *w = calloc(1, sizeof *w);
    um_status st = UM_OK;
    if (w == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a store writer");
    w->store = s;
    w->limits = *limits;
    um_journal_name(rank, w->name);
    char file[80];
    snprintf(file, sizeof file, "%s.jnl", w->name);
    w->journal_path = um_store_path(s->dir, "journal", file);
    if (w->journal_path == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for a path");
        goto done;
    }
    UM_GOTO_PASS(st, um_journal_create(s->vfs, w->journal_path, &w->journal));
    *out = w;
    w = NULL;
done:
    if (w != NULL) {
        free(w->journal_path);
        free(w);
    }
    return st;
}

/* Remembers a failure: after it, what is on disk is no longer known to be what was asked for. */
static um_status fail(um_store_writer *w, um_status st)
{
    if (st != UM_OK && w->failed == UM_OK) w->failed = st;
    return st;
}

static um_status usable(const um_store_writer *w, bool open)
{
    if (w->failed != UM_OK) return UM_FAIL(w->failed, "writing to the store %s failed before", um_quote(w->store->dir));
    if (w->open != open) return UM_FAIL(UM_INTERNAL, open ? "no unit was begun" : "a unit is begun already");
    return UM_OK;
}

static um_status note(um_store_writer *w, const char *type, uint64_t unit)
{
    char text[96];
    int n = um_attempts_format(text, type, unit, false);
    w->used = true;
    return fail(w, um_journal_append(w->journal, text, (size_t)n, false));
}

um_status um_store_begin(um_store_writer *w, uint64_t unit_key)
{
    UM_PASS(usable(w, false));
    UM_PASS(note(w, "start", unit_key));
    um_journal_arm(w->journal, unit_key);
    w->unit = unit_key;
    w->open = true;
    for (int s = 0; s < UM_STAGES; s++)
        for (int i = 0; i < UM_SETS; i++) w->stage[s].mark[i] = w->stage[s].set[i].len;
    return UM_OK;
}

um_status um_store_add_video(um_store_writer *w, um_stage stage, const um_store_video *row, const char *message)
{
    UM_PASS(usable(w, true));
    stage_tables *t = &w->stage[stage];
    size_t n = strlen(message);
    if (n > 4096) n = 4096;
    um_disk_video d = {.video = row->video, .text_at = t->set[UM_SET_TEXT].len, .text_bytes = (uint32_t)n, .n_frames = row->n_frames, .fps = row->fps,
                       .duration_s = row->duration_s, .status = row->status, .signal = row->signal, .width_px = row->width_px, .height_px = row->height_px,
                       .rotation_deg = row->rotation_deg, .frames_wanted = row->frames_wanted, .frames_given = row->frames_given,
                       .frames_damaged = row->frames_damaged, .faces_found = row->faces_found, .faces_dropped = row->faces_dropped};
    UM_PASS(um_buf_add(&t->set[UM_SET_TEXT], message, n));
    return um_buf_add(&t->set[UM_SET_VIDEOS], &d, sizeof d);
}

um_status um_store_add_face(um_store_writer *w, const um_store_face *row)
{
    UM_PASS(usable(w, true));
    um_disk_face d = {.video = row->video, .frame = row->frame, .time_s = row->time_s, .face = row->face, .probability = row->probability};
    memcpy(d.box, row->box, sizeof d.box);
    return um_buf_add(&w->stage[UM_STAGE_DETECT].set[UM_SET_ROWS], &d, sizeof d);
}

um_status um_store_add_image(um_store_writer *w, um_stage stage, const um_store_image *row, const void *bytes, size_t n)
{
    UM_PASS(usable(w, true));
    if (stage != UM_STAGE_CROPS && stage != UM_STAGE_MASKS) return UM_FAIL(UM_INTERNAL, "the stage %s has no pictures", um_stage_name[stage]);
    if (n == 0 || n > UINT32_MAX) return UM_FAIL(UM_INTERNAL, "a picture of %zu bytes", n);
    stage_tables *t = &w->stage[stage];
    um_disk_image d = {.video = row->video, .frame = row->frame, .time_s = row->time_s, .at = t->set[UM_SET_BYTES].len, .bytes = (uint32_t)n,
                       .crc = um_crc32c(0, bytes, n), .face = row->face, .format = row->format, .changed_px = row->changed_px};
    memcpy(d.rect, row->rect, sizeof d.rect);
    UM_PASS(um_buf_add(&t->set[UM_SET_BYTES], bytes, n));
    return um_buf_add(&t->set[UM_SET_ROWS], &d, sizeof d);
}

um_status um_store_add_landmarks(um_store_writer *w, const um_store_landmarks *row)
{
    UM_PASS(usable(w, true));
    um_disk_landmarks d = {.video = row->video, .frame = row->frame, .face = row->face, .found = row->found};
    memcpy(d.point, row->point, sizeof d.point);
    return um_buf_add(&w->stage[UM_STAGE_LANDMARKS].set[UM_SET_ROWS], &d, sizeof d);
}

/* The unit's entry in /units of a stage: its rows, and their checksum without the places (which depend on what else is in the shard). */
static um_disk_unit unit_row(const stage_tables *t, um_stage stage, uint64_t key)
{
    const um_disk_set *sets = um_disk_sets[stage];
    const um_buf *videos = &t->set[UM_SET_VIDEOS], *rows = &t->set[UM_SET_ROWS];
    um_disk_unit u = {.unit = key};
    u.first_video = (uint32_t)(t->mark[UM_SET_VIDEOS] / sizeof(um_disk_video));
    u.n_videos = (uint32_t)((videos->len - t->mark[UM_SET_VIDEOS]) / sizeof(um_disk_video));
    u.first_row = (uint32_t)(t->mark[UM_SET_ROWS] / sets[UM_SET_ROWS].row_bytes);
    u.n_rows = (uint32_t)((rows->len - t->mark[UM_SET_ROWS]) / sets[UM_SET_ROWS].row_bytes);
    for (size_t at = t->mark[UM_SET_VIDEOS]; at < videos->len; at += sizeof(um_disk_video)) {
        um_disk_video d;
        memcpy(&d, videos->data + at, sizeof d);
        const uint8_t *text = t->set[UM_SET_TEXT].data + d.text_at;
        d.text_at = 0;
        u.crc = um_crc32c(u.crc, &d, sizeof d);
        u.crc = um_crc32c(u.crc, text, d.text_bytes);
    }
    if (sets[UM_SET_BYTES].row_bytes == 0) {
        if (u.n_rows > 0) u.crc = um_crc32c(u.crc, rows->data + t->mark[UM_SET_ROWS], rows->len - t->mark[UM_SET_ROWS]);
        return u;
    }
    for (size_t at = t->mark[UM_SET_ROWS]; at < rows->len; at += sizeof(um_disk_image)) {
        um_disk_image d;
        memcpy(&d, rows->data + at, sizeof d);
        d.at = 0;
        u.crc = um_crc32c(u.crc, &d, sizeof d);
    }
    return u;
}

um_status um_store_end(um_store_writer *w, unsigned stages)
{
    UM_PASS(usable(w, true));
    if (stages == 0 || stages >> UM_STAGES != 0) return UM_FAIL(UM_INTERNAL, "a unit of the stages %x", stages);
    for (int s = 0; s < UM_STAGES; s++) {
        stage_tables *t = &w->stage[s];
        if ((stages >> s & 1) == 0) {
            for (int i = 0; i < UM_SETS; i++)
                if (t->set[i].len != t->mark[i]) return fail(w, UM_FAIL(UM_INTERNAL, "rows of the stage %s, which the unit has not done", um_stage_name[s]));
            continue;
        }
        um_disk_unit u = unit_row(t, (um_stage)s, w->unit);
        UM_PASS(fail(w, um_buf_add(&t->set[UM_SET_UNITS], &u, sizeof u)));
    }
    sealed_unit done = {w->unit, stages};
    if (w->units.len == 0) w->oldest_s = um_clock_s();
    UM_PASS(fail(w, um_buf_add(&w->units, &done, sizeof done)));
    um_journal_disarm();
    w->open = false;
    UM_PASS(note(w, "end", w->unit));
    return um_store_seal_if_due(w);
}

void um_store_abort(um_store_writer *w)
{
    if (!w->open) return;
    for (int s = 0; s < UM_STAGES; s++)
        for (int i = 0; i < UM_SETS; i++) w->stage[s].set[i].len = w->stage[s].mark[i];
    um_journal_disarm();
    w->open = false;
    if (w->failed == UM_OK) note(w, "abort", w->unit);
}

/* Builds a stage's shard, writes it under its final name (without syncing the folder), and appends its entry to the record. */
static um_status write_shard(um_store_writer *w, um_stage stage)
{
    const um_disk_set *sets = um_disk_sets[stage];
    stage_tables *t = &w->stage[stage];
    um_vfs *vfs = w->store->vfs;
    um_h5image *im = NULL;
    um_vfs_file *f = NULL;
    const void *bytes = NULL;
    size_t n = 0;
    int64_t at[UM_SETS] = {0};
    char file[96], *path = NULL, *tmp = NULL;
    um_status st = UM_OK;
    snprintf(file, sizeof file, "%s-%06d-%s.h5", w->name, w->sequence, um_stage_name[stage]);
    path = um_store_path(w->store->dir, "shards", file);
    if (path == NULL || asprintf(&tmp, "%s.tmp", path) < 0) {
        tmp = NULL;
        st = UM_FAIL(UM_NO_MEMORY, "no memory for a path");
        goto done;
    }
    UM_GOTO_PASS(st, um_h5image_new("shard", &im));
    UM_GOTO_PASS(st, um_h5image_add_text(im, "format", UM_STORE_TEXT));
    UM_GOTO_PASS(st, um_h5image_add_text(im, "stage", um_stage_name[stage]));
    for (int i = 0; i < UM_SETS; i++) {
        if (sets[i].row_bytes == 0) continue;
        hid_t type = um_disk_type(stage, i);
        hsize_t rows = t->set[i].len / sets[i].row_bytes;
        st = type < 0 ? um_h5_fail(UM_NO_MEMORY, "cannot describe a table") : um_h5image_add(im, sets[i].name, type, 1, &rows, rows > 0 ? t->set[i].data : NULL);
        if (type >= 0) H5Tclose(type);
        if (st != UM_OK) goto done;
        UM_GOTO_PASS(st, um_h5image_offset(im, sets[i].name, &at[i]));
    }
    UM_GOTO_PASS(st, um_h5image_finish(im, &bytes, &n));
    UM_GOTO_PASS(st, um_vfs_create(vfs, tmp, &f));
    st = um_vfs_write(f, bytes, n);
    if (st == UM_OK) st = um_vfs_sync(f);
    if (st == UM_OK) {
        st = um_vfs_close(f);
    } else {
        um_vfs_drop(f);
    }
    if (st == UM_OK) st = um_vfs_rename(vfs, tmp, path);
    if (st != UM_OK) {
        um_vfs_discard(vfs, tmp);
        goto done;
    }
    UM_GOTO_PASS(st, um_buf_printf(&w->record, "\"%s\":{\"file\":\"%s\",\"bytes\":%zu,\"crc\":\"%08x\",\"sets\":[", um_stage_name[stage], file, n, um_crc32c(0, bytes, n)));
    for (int i = 0, first = 1; i < UM_SETS; i++) {
        if (sets[i].row_bytes == 0) continue;
        UM_GOTO_PASS(st, um_buf_printf(&w->record, "%s{\"name\":\"%s\",\"at\":%lld,\"rows\":%zu,\"row_bytes\":%zu,\"crc\":\"%08x\"}", first ? "" : ",", sets[i].name,
                                       (long long)at[i], t->set[i].len / sets[i].row_bytes, sets[i].row_bytes, um_crc32c(0, t->set[i].data, t->set[i].len)));
        first = 0;
    }
    UM_GOTO_PASS(st, um_buf_add_str(&w->record, "]}"));
    w->sealed_bytes += (int64_t)n;
done:
    um_h5image_free(im);
    free(path);
    free(tmp);
    return st;
}

um_status um_store_seal(um_store_writer *w)
{
    UM_PASS(usable(w, false));
    if (w->units.len == 0) return UM_OK;
    um_status st = UM_OK;
    bool first = true;
    char *folder = um_store_path(w->store->dir, "shards", NULL);
    const sealed_unit *unit = (const sealed_unit *)(const void *)w->units.data;
    size_t n_units = w->units.len / sizeof *unit;
    if (folder == NULL) return fail(w, UM_FAIL(UM_NO_MEMORY, "no memory for a path"));
    w->sequence++;
    um_buf_clear(&w->record);
    UM_GOTO_PASS(st, um_buf_add_str(&w->record, "{\"t\":\"seal\",\"stages\":{"));
    for (int s = 0; s < UM_STAGES; s++) {
        if (w->stage[s].set[UM_SET_UNITS].len == 0) continue;
        if (!first) UM_GOTO_PASS(st, um_buf_add_str(&w->record, ","));
        UM_GOTO_PASS(st, write_shard(w, (um_stage)s));
        first = false;
    }
    UM_GOTO_PASS(st, um_vfs_sync_dir(w->store->vfs, folder));
    UM_GOTO_PASS(st, um_buf_add_str(&w->record, "},\"units\":["));
    for (size_t i = 0; i < n_units; i++)
        UM_GOTO_PASS(st, um_buf_printf(&w->record, "%s[\"%016llx\",%u]", i > 0 ? "," : "", (unsigned long long)unit[i].key, unit[i].stages));
    UM_GOTO_PASS(st, um_buf_add_str(&w->record, "]}"));
    w->used = true;
    UM_GOTO_PASS(st, um_journal_append(w->journal, (const char *)w->record.data, w->record.len, true));
    for (int s = 0; s < UM_STAGES; s++)
        for (int i = 0; i < UM_SETS; i++) um_buf_clear(&w->stage[s].set[i]);
    um_buf_clear(&w->units);
done:
    /* Shards of a seal that failed stay as they are: without a record nothing refers to them, and whether the record got there is not known when its sync fails. */
    free(folder);
    return st == UM_OK ? UM_OK : fail(w, um_err_note(st, "cannot seal what was found so far in the store %s", um_quote(w->store->dir)));
}

um_status um_store_seal_if_due(um_store_writer *w)
{
    UM_PASS(usable(w, false));
    if (w->units.len == 0) return UM_OK;
    size_t bytes = 0;
    for (int s = 0; s < UM_STAGES; s++)
        for (int i = 0; i < UM_SETS; i++) bytes += w->stage[s].set[i].len;
    bool due = (int64_t)bytes >= w->limits.seal_bytes || um_clock_s() - w->oldest_s >= w->limits.seal_s;
    return due ? um_store_seal(w) : UM_OK;
}

um_status um_store_writer_close(um_store_writer *w, int64_t *sealed_bytes)
{
    if (w == NULL) return UM_OK;
    um_store_abort(w);
    um_status st = w->failed == UM_OK ? um_store_seal(w) : w->failed;
    if (sealed_bytes != NULL) *sealed_bytes = w->sealed_bytes;
    if (st == UM_OK)
        st = um_journal_close(w->journal);
    else
        um_journal_drop(w->journal);
    if (!w->used) um_vfs_discard(w->store->vfs, w->journal_path); /* a rank that had nothing to do leaves nothing */
    for (int s = 0; s < UM_STAGES; s++)
        for (int i = 0; i < UM_SETS; i++) um_buf_release(&w->stage[s].set[i]);
    um_buf_release(&w->units);
    um_buf_release(&w->record);
    free(w->journal_path);
    free(w);
    return st;
}

void um_store_last_words(int signal_number) { um_journal_last_words(signal_number); }
