#include "jobs/preprocess_unit.h"

#include "src/core/clock.h"
#include "src/detect/crop.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const um_thresholds CROP_THRESHOLDS = {0.65, 0.75, 0.75}; /* the reference's, for landmarks on crops */
enum { MASK_CHANGED_LEVEL = 20, WAIT_MS = 20 };
static const int64_t MAX_CROP_PIXELS = 4096 * 4096;

#define BIT(stage) (1u << (stage))

typedef struct crop {
    um_store_face face; /* of the original */
    um_rect rect;
    um_image image; /* the original's pixels as later stages see them; empty when no stage needs them */
} crop;

typedef struct um_preprocess_unit {
    crop *crop;
    int64_t n, cap;
    int64_t *frame; /* numbers of the frames that have faces, ascending */
    int64_t n_frames;
    int64_t bytes;                         /* of crop pixels and encoded pictures held for this unit */
    int width_px, height_px, rotation_deg; /* of the original */
    um_faces faces;
    um_buf encoded;
    um_image mask;
    unsigned have, need;
} work;

static void forget(work *u)
{
    for (int64_t i = 0; i < u->n; i++) um_image_free(&u->crop[i].image);
    u->n = u->n_frames = u->bytes = 0;
}

void um_preprocess_release(um_preprocess *p)
{
    if (p->unit == NULL) return;
    forget(p->unit);
    free(p->unit->crop);
    free(p->unit->frame);
    um_faces_release(&p->unit->faces);
    um_buf_release(&p->unit->encoded);
    um_image_free(&p->unit->mask);
    free(p->unit);
    p->unit = NULL;
}

static void between(um_preprocess *p)
{
    if (p->between != NULL) p->between(p->user);
}

static bool stopping(const um_preprocess *p)
{
    return p->stop != NULL && *p->stop != 0;
}

/* The next frame, answering others while it is decoded. */
static um_status next_frame(um_preprocess *p, um_video *v, um_frame *f)
{
    double start = um_clock_s();
    um_status st;
    do {
        between(p);
        if (stopping(p)) return UM_FAIL(UM_STOPPED, "stopped between frames");
        st = um_video_next(v, WAIT_MS * 1e-3, f);
    } while (st == UM_STOPPED);
    p->times.decode_wait += um_clock_s() - start;
    return st;
}

static um_status charge(um_preprocess *p, int64_t bytes)
{
    work *u = p->unit;
    u->bytes += bytes;
    if (u->bytes > p->unit_bytes)
        return UM_FAIL(UM_TOO_LARGE,
                       "the crops of this original and its fakes need more than %" PRId64
                       " MB; choose fewer frames or raise unit.memory_mb",
                       p->unit_bytes >> 20);
    return UM_OK;
}

static um_status encode(um_preprocess *p, const um_image *img, um_codec_format format)
{
    double start = um_clock_s();
    um_buf_clear(&p->unit->encoded);
    um_status st = um_codec_encode(p->codec, format, p->jpeg_quality, img, &p->unit->encoded);
    p->times.encode += um_clock_s() - start;
    return st == UM_OK ? charge(p, (int64_t)p->unit->encoded.len) : st;
}

static um_status put_image(um_preprocess *p, um_stage stage, const um_store_image *row)
{
    double start = um_clock_s();
    um_status st = um_store_add_image(p->writer, stage, row, p->unit->encoded.data, p->unit->encoded.len);
    p->times.store += um_clock_s() - start;
    return st;
}

static um_status put_video(um_preprocess *p, um_stage stage, um_store_video *row, const char *message)
{
    if (um_status_is_bad((um_status)row->status)) p->counts.bad++;
    return um_store_add_video(p->writer, stage, row, message);
}

static um_store_video video_row(const um_manifest_video *v, const um_video_info *info, const um_video_result *r)
{
    um_store_video row = {.video = v->id, .status = (int32_t)r->status, .signal = r->signal, .n_frames = -1};
    if (info != NULL) {
        row.width_px = info->width_px;
        row.height_px = info->height_px;
        row.rotation_deg = info->rotation_deg;
        row.n_frames = info->n_frames;
        row.fps = info->fps;
        row.duration_s = info->duration_s;
    }
    row.frames_wanted = (int32_t)r->frames_wanted;
    row.frames_given = (int32_t)r->frames_given;
    row.frames_damaged = (int32_t)r->frames_damaged;
    return row;
}

/* A video that could not be opened: st and the error chain become its result. Job statuses pass through. */
static um_status open_failed(um_status st, um_video_result *r)
{
    if (um_status_class_of(st) != UM_CLASS_ITEM) return st;
    *r = (um_video_result){.status = st};
    snprintf(r->message, sizeof r->message, "%s", um_err_text());
    return UM_OK;
}

static um_status full_path(const um_preprocess *p, const um_manifest_video *v, um_buf *path)
{
    return um_buf_printf(path, "%s/%s", p->manifest->root, v->path);
}

/* ---- the original ---- */

static um_status add_crop(work *u, const um_store_face *face, um_rect rect, crop **out)
{
    if (u->n == u->cap) {
        int64_t cap = u->cap < 64 ? 64 : u->cap * 2;
        crop *c = realloc(u->crop, (size_t)cap * sizeof *c);
        if (c != NULL) u->crop = c;
        int64_t *f = realloc(u->frame, (size_t)cap * sizeof *f);
        if (f != NULL) u->frame = f;
        if (c == NULL || f == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %" PRId64 " crops", cap);
        u->cap = cap;
    }
    crop *c = &u->crop[u->n++];
    *c = (crop){.face = *face, .rect = rect};
    if (u->n_frames == 0 || u->frame[u->n_frames - 1] != face->frame) u->frame[u->n_frames++] = face->frame;
    *out = c;
    return UM_OK;
}

/* Pixels of a crop for the later stages: as cut, or as the lossy format gives them back. */
static um_status keep_pixels(um_preprocess *p, crop *c, const um_image *cut)
{
    if ((p->unit->need & (BIT(UM_STAGE_LANDMARKS) | BIT(UM_STAGE_MASKS))) == 0) return UM_OK;
    UM_PASS(charge(p, (int64_t)cut->width_px * cut->height_px * 3));
    if (p->format == UM_CODEC_JPEG)
        return um_codec_decode(p->codec, p->unit->encoded.data, p->unit->encoded.len, 3, MAX_CROP_PIXELS, &c->image);
    return um_image_copy(cut, &c->image);
}

static um_status cut_out(um_preprocess *p, const um_manifest_video *v, const um_frame *f, crop *c, um_image *cut)
{
    between(p);
    *cut = um_image_crop(&f->image, c->rect);
    UM_PASS(encode(p, cut, p->format));
    um_store_image row = {.video = v->id,
                          .frame = f->index,
                          .time_s = f->time_s,
                          .face = c->face.face,
                          .rect = {c->rect.x0, c->rect.y0, c->rect.x1, c->rect.y1},
                          .format = (int32_t)p->format};
    UM_PASS(put_image(p, UM_STAGE_CROPS, &row));
    p->counts.crops++;
    return UM_OK;
}

/* Searches one frame; its faces become crops of the unit. */
static um_status detect_frame(um_preprocess *p, const um_manifest_video *v, const um_frame *f, um_store_video *row)
{
    work *u = p->unit;
    double start = um_clock_s();
    UM_PASS(um_detector_run(p->frame_detector, &f->image, &p->thresholds, &u->faces));
    p->times.detect += um_clock_s() - start;
    p->counts.frames++;
    between(p);
    row->faces_found += u->faces.n;
    int kept = 0;
    for (int i = 0; i < u->faces.n; i++) {
        const um_face *face = &u->faces.face[i];
        um_rect rect;
        crop *c;
        if (kept == p->max_faces || !um_crop_rect(face->box, f->image.width_px, f->image.height_px, &rect)) {
            row->faces_dropped++;
            continue;
        }
        um_store_face r = {
            .video = v->id, .frame = f->index, .time_s = f->time_s, .face = kept++, .probability = face->probability};
        memcpy(r.box, face->box, sizeof r.box);
        UM_PASS(um_store_add_face(p->writer, &r));
        UM_PASS(add_crop(u, &r, rect, &c));
        p->counts.faces++;
    }
    p->counts.dropped += u->faces.n - kept;
    return UM_OK;
}

/* Cuts the faces of one frame out; the crops of the unit are in order of frames, *at walks through them. */
static um_status crop_frame(um_preprocess *p, const um_manifest_video *v, const um_frame *f, int64_t *at)
{
    work *u = p->unit;
    while (*at < u->n && u->crop[*at].face.frame < f->index) (*at)++;
    for (; *at < u->n && u->crop[*at].face.frame == f->index; (*at)++) {
        um_image cut;
        UM_PASS(cut_out(p, v, f, &u->crop[*at], &cut));
        UM_PASS(keep_pixels(p, &u->crop[*at], &cut));
    }
    return UM_OK;
}

/* Decodes the original for DETECT, CROPS or both. *r is its result, whatever it is. */
static um_status original_pass(um_preprocess *p, const um_manifest_video *v, um_video_result *r)
{
    work *u = p->unit;
    bool detect = (u->need & BIT(UM_STAGE_DETECT)) != 0, cut = (u->need & BIT(UM_STAGE_CROPS)) != 0;
    um_video *video;
    um_video_info info = {0};
    um_frame f;
    um_buf path = {0};
    int64_t at = 0;
    um_store_video row = {0};
    int32_t found = 0, dropped = 0;
    um_status st = full_path(p, v, &path);
    if (st == UM_OK) {
        st = detect ? um_video_open(p->decoder, (char *)path.data, &p->frames, v->size_bytes, v->mtime_ns, &video, &info)
                    : um_video_open_list(p->decoder, (char *)path.data, u->frame, u->n_frames, v->size_bytes, v->mtime_ns, &video,
                                         &info);
        if (st != UM_OK) {
            st = open_failed(st, r);
            if (st == UM_OK) {
                row = video_row(v, NULL, r);
                st = put_video(p, detect ? UM_STAGE_DETECT : UM_STAGE_CROPS, &row, r->message);
            }
            um_buf_release(&path);
            return st;
        }
    }
    um_buf_release(&path);
    if (st != UM_OK) return st;
    u->width_px = info.width_px;
    u->height_px = info.height_px;
    u->rotation_deg = info.rotation_deg;
    while ((st = next_frame(p, video, &f)) == UM_OK) {
        if (detect) st = detect_frame(p, v, &f, &row);
        if (st == UM_OK && cut) st = crop_frame(p, v, &f, &at);
        if (st != UM_OK) break;
    }
    found = row.faces_found;
    dropped = row.faces_dropped;
    um_video_close(video, r);
    if (st != UM_END) return st;
    if (detect && r->status == UM_OK && u->n == 0) {
        r->status = UM_NO_FACE;
        snprintf(r->message, sizeof r->message, "no face in %" PRId64 " frames", r->frames_given);
    }
    row = video_row(v, &info, r);
    row.faces_found = found;
    row.faces_dropped = dropped;
    /* CROPS says something of an original only where it went wrong there: DETECT has said the rest. */
    if (detect || r->status != UM_OK) return put_video(p, detect ? UM_STAGE_DETECT : UM_STAGE_CROPS, &row, r->message);
    return UM_OK;
}

/* ---- what earlier runs left ---- */

static um_status load_pixels(um_preprocess *p, const um_store_ref *ref, um_image *out)
{
    um_buf *b = &p->unit->encoded;
    um_buf_clear(b);
    UM_PASS(um_buf_reserve(b, ref->bytes));
    UM_PASS(um_store_read(p->stored, ref, b->data));
    return um_codec_decode(p->codec, b->data, ref->bytes, 3, MAX_CROP_PIXELS, out);
}

/* Faces, and crops' pixels where a stage needs them, of the original from the store. */
static um_status load_original(um_preprocess *p, int original, um_video_result *r)
{
    work *u = p->unit;
    bool pixels = (u->have & BIT(UM_STAGE_CROPS)) != 0 && (u->need & (BIT(UM_STAGE_LANDMARKS) | BIT(UM_STAGE_MASKS))) != 0;
    int s = p->stored_video[original];
    *r = (um_video_result){0};
    if (s < 0)
        return UM_FAIL(UM_DATA, "the store says that %s was searched but has no rows of it",
                       um_quote(p->manifest->video[original].path));
    const um_store_video *row = &p->stored->video[s];
    u->width_px = row->width_px;
    u->height_px = row->height_px;
    u->rotation_deg = row->rotation_deg;
    r->status = (um_status)row->status;
    snprintf(r->message, sizeof r->message, "%s", p->stored->message[s]);
    for (int64_t i = p->stored->first_entry[s]; i < p->stored->first_entry[s + 1]; i++) {
        const um_store_entry *e = &p->stored->entry[i];
        um_store_face face = {.video = p->manifest->video[original].id,
                              .frame = e->frame,
                              .time_s = e->time_s,
                              .face = e->face,
                              .probability = e->probability};
        memcpy(face.box, e->box, sizeof face.box);
        um_rect rect;
        crop *c;
        if (!um_crop_rect(e->box, u->width_px, u->height_px, &rect))
            return UM_FAIL(UM_DATA, "a box of %s in the store lies outside its frame", um_quote(p->manifest->video[original].path));
        UM_PASS(add_crop(u, &face, rect, &c));
        if (pixels && e->image.shard >= 0) {
            UM_PASS(load_pixels(p, &e->image, &c->image));
            UM_PASS(charge(p, (int64_t)c->image.width_px * c->image.height_px * 3));
        }
    }
    return UM_OK;
}

/* ---- landmarks ---- */

/* Half to even, as numpy.around. */
static int16_t rounded(float x)
{
    long r = lrintf(x);
    return (int16_t)(r < -32768 ? -32768 : r > 32767 ? 32767 : r);
}

static um_status landmarks(um_preprocess *p, const um_manifest_video *v)
{
    work *u = p->unit;
    for (int64_t i = 0; i < u->n; i++) {
        const crop *c = &u->crop[i];
        um_store_landmarks row = {.video = v->id, .frame = c->face.frame, .face = c->face.face};
        if (c->image.data == NULL) continue; /* its frame was not decoded again: the crop is missing too, and counted */
        between(p);
        double start = um_clock_s();
        UM_PASS(um_detector_run(p->crop_detector, &c->image, &CROP_THRESHOLDS, &u->faces));
        p->times.landmarks += um_clock_s() - start;
        if (u->faces.n > 0) {
            row.found = 1;
            for (int k = 0; k < 5; k++)
                for (int d = 0; d < 2; d++) row.point[k][d] = rounded(u->faces.face[0].landmarks[k][d]);
            p->counts.landmarks++;
        }
        UM_PASS(um_store_add_landmarks(p->writer, &row));
    }
    return UM_OK;
}

/* ---- fakes ---- */

static um_status mask(um_preprocess *p, const um_manifest_video *v, const crop *c, double time_s, const um_image *fake)
{
    work *u = p->unit;
    const um_image *real = &c->image;
    int32_t changed = 0;
    if (real->data == NULL || real->width_px < 7 || real->height_px < 7)
        return UM_OK; /* smaller than the window: no map is defined */
    between(p);
    double start = um_clock_s();
    if (u->mask.width_px != real->width_px || u->mask.height_px != real->height_px) {
        um_image_free(&u->mask);
        UM_PASS(um_image_new(real->width_px, real->height_px, 1, &u->mask));
    }
    UM_PASS(um_ssim_mask(p->ssim, real, fake, &u->mask));
    size_t n = u->mask.stride * (size_t)u->mask.height_px;
    for (size_t i = 0; i < n; i++) changed += u->mask.data[i] > MASK_CHANGED_LEVEL;
    p->times.masks += um_clock_s() - start;
    UM_PASS(encode(p, &u->mask, UM_CODEC_PNG));
    um_store_image row = {.video = v->id,
                          .frame = c->face.frame,
                          .time_s = time_s,
                          .face = c->face.face,
                          .rect = {c->rect.x0, c->rect.y0, c->rect.x1, c->rect.y1},
                          .format = UM_CODEC_PNG,
                          .changed_px = changed};
    UM_PASS(put_image(p, UM_STAGE_MASKS, &row));
    p->counts.masks++;
    return UM_OK;
}

static um_status fake_frame(um_preprocess *p, const um_manifest_video *v, const um_frame *f, int64_t *at)
{
    work *u = p->unit;
    while (*at < u->n && u->crop[*at].face.frame < f->index) (*at)++;
    for (; *at < u->n && u->crop[*at].face.frame == f->index; (*at)++) {
        crop *c = &u->crop[*at];
        um_image cut, again = {0};
        UM_PASS(cut_out(p, v, f, c, &cut));
        if ((u->need & BIT(UM_STAGE_MASKS)) == 0) continue;
        if (p->format == UM_CODEC_JPEG)
            UM_PASS(um_codec_decode(p->codec, u->encoded.data, u->encoded.len, 3, MAX_CROP_PIXELS, &again));
        um_status st = mask(p, v, c, f->time_s, again.data != NULL ? &again : &cut);
        um_image_free(&again);
        UM_PASS(st);
    }
    return UM_OK;
}

/* CROPS (and MASKS with it) of one fake. */
static um_status fake_pass(um_preprocess *p, const um_manifest_video *v, const um_video_result *original)
{
    work *u = p->unit;
    um_video *video = NULL;
    um_video_info info = {0};
    um_video_result r = {0};
    um_frame f;
    um_buf path = {0};
    int64_t at = 0;
    um_status st = UM_OK;
    bool opened = false;
    if (u->n == 0) {
        r.status = original->status == UM_NO_FACE || original->status == UM_OK || original->status == UM_PARTIAL ? UM_NO_FACE
                                                                                                                 : UM_NO_ORIGINAL;
        snprintf(r.message, sizeof r.message, "its original is %s: %.200s", um_status_name(original->status), original->message);
    } else {
        st = full_path(p, v, &path);
        if (st == UM_OK)
            st =
                um_video_open_list(p->decoder, (char *)path.data, u->frame, u->n_frames, v->size_bytes, v->mtime_ns, &video, &info);
        um_buf_release(&path);
        opened = st == UM_OK;
        if (st != UM_OK) {
            UM_PASS(open_failed(st, &r));
        } else if (info.width_px != u->width_px || info.height_px != u->height_px || info.rotation_deg != u->rotation_deg) {
            um_video_close(video, NULL);
            r = (um_video_result){.status = UM_MISMATCH};
            snprintf(r.message, sizeof r.message, "%dx%d rotated by %d, its original %dx%d rotated by %d", info.width_px,
                     info.height_px, info.rotation_deg, u->width_px, u->height_px, u->rotation_deg);
        } else {
            while ((st = next_frame(p, video, &f)) == UM_OK) {
                st = fake_frame(p, v, &f, &at);
                if (st != UM_OK) break;
            }
            um_video_close(video, &r);
            if (st != UM_END) return st;
        }
    }
    um_store_video row = video_row(v, opened ? &info : NULL, &r);
    return put_video(p, UM_STAGE_CROPS, &row, r.message);
}

/* MASKS of one fake from crops in the store. */
static um_status stored_masks(um_preprocess *p, int fake)
{
    work *u = p->unit;
    const um_manifest_video *v = &p->manifest->video[fake];
    int s = p->stored_video[fake];
    int64_t at = 0;
    if (s < 0) return UM_FAIL(UM_DATA, "the store says that %s was cropped but has no rows of it", um_quote(v->path));
    for (int64_t i = p->stored->first_entry[s]; i < p->stored->first_entry[s + 1]; i++) {
        const um_store_entry *e = &p->stored->entry[i];
        um_image image = {0};
        while (at < u->n &&
               (u->crop[at].face.frame < e->frame || (u->crop[at].face.frame == e->frame && u->crop[at].face.face < e->face)))
            at++;
        if (at == u->n || u->crop[at].face.frame != e->frame || u->crop[at].face.face != e->face || e->image.shard < 0) continue;
        between(p);
        if (stopping(p)) return UM_FAIL(UM_STOPPED, "stopped between frames");
        um_status st = load_pixels(p, &e->image, &image);
        if (st == UM_OK) st = mask(p, v, &u->crop[at], e->time_s, &image);
        um_image_free(&image);
        UM_PASS(st);
    }
    return UM_OK;
}

/* ---- the unit ---- */

static um_status do_unit(um_preprocess *p, const um_manifest_unit *unit)
{
    work *u = p->unit;
    const int *member = p->manifest->unit_video + unit->first;
    const um_manifest_video *original = &p->manifest->video[member[0]];
    um_video_result r = {0};
    if ((u->need & BIT(UM_STAGE_DETECT)) == 0) UM_PASS(load_original(p, member[0], &r));
    if ((u->need & BIT(UM_STAGE_DETECT)) != 0 || ((u->need & BIT(UM_STAGE_CROPS)) != 0 && u->n > 0))
        UM_PASS(original_pass(p, original, &r));
    if ((u->need & BIT(UM_STAGE_LANDMARKS)) != 0) UM_PASS(landmarks(p, original));
    for (int i = 1; i < unit->n; i++) {
        if (stopping(p)) return UM_FAIL(UM_STOPPED, "stopped between videos");
        if ((u->need & BIT(UM_STAGE_CROPS)) != 0)
            UM_PASS(fake_pass(p, &p->manifest->video[member[i]], &r));
        else if ((u->need & BIT(UM_STAGE_MASKS)) != 0)
            UM_PASS(stored_masks(p, member[i]));
    }
    return UM_OK;
}

/* Too large for memory: each of its videos gets a row that says so, and nothing else. */
static um_status refuse_unit(um_preprocess *p, const um_manifest_unit *unit, const char *message)
{
    const int *member = p->manifest->unit_video + unit->first;
    um_store_abort(p->writer);
    UM_PASS(um_store_begin(p->writer, unit->key));
    for (int i = 0; i < unit->n; i++) {
        um_store_video row = {.video = p->manifest->video[member[i]].id, .status = UM_TOO_LARGE, .n_frames = -1};
        unsigned stage = i == 0 && (p->unit->need & BIT(UM_STAGE_DETECT)) != 0 ? UM_STAGE_DETECT : UM_STAGE_CROPS;
        UM_PASS(put_video(p, (um_stage)stage, &row, message));
    }
    return UM_OK;
}

um_status um_preprocess_unit(um_preprocess *p, int index, unsigned have, unsigned need, int *videos_bad)
{
    const um_manifest_unit *unit = &p->manifest->unit[index];
    int64_t bad = p->counts.bad;
    if (p->unit == NULL) {
        p->unit = calloc(1, sizeof *p->unit);
        if (p->unit == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a unit");
    }
    forget(p->unit);
    p->unit->have = have;
    p->unit->need = need;
    UM_PASS(um_store_begin(p->writer, unit->key));
    um_status st = do_unit(p, unit);
    if (st == UM_TOO_LARGE) {
        char message[256];
        snprintf(message, sizeof message, "%s", um_err_text());
        p->counts.bad = bad;
        st = refuse_unit(p, unit, message);
    }
    forget(p->unit);
    if (st != UM_OK) {
        um_store_abort(p->writer);
        return st;
    }
    p->counts.videos += unit->n;
    *videos_bad = (int)(p->counts.bad - bad);
    double start = um_clock_s();
    st = um_store_end(p->writer, need);
    p->times.store += um_clock_s() - start;
    return st;
}
