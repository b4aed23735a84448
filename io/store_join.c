/* Rows to entries: for each face of a frame its box, crop, landmarks and mask. */
#include "io/store_load.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* All kinds of rows begin with video and frame, which is what they are sorted by first; the face is elsewhere in each. */
typedef struct row_head {
    uint64_t video;
    int64_t frame;
} row_head;
static const size_t face_at[UM_STAGES] = {offsetof(um_disk_face, face), offsetof(um_disk_image, face), offsetof(um_disk_landmarks, face), offsetof(um_disk_image, face)};

typedef struct row_key {
    uint64_t video;
    int64_t frame;
    int32_t face;
} row_key;

static row_key key_of(const uint8_t *row, um_stage stage)
{
    row_key k;
    memcpy(&k, row, sizeof(row_head));
    memcpy(&k.face, row + face_at[stage], sizeof k.face);
    return k;
}

static int compare_keys(row_key a, row_key b)
{
    if (a.video != b.video) return a.video < b.video ? -1 : 1;
    if (a.frame != b.frame) return a.frame < b.frame ? -1 : 1;
    return (a.face > b.face) - (a.face < b.face);
}

static int order_detect(const void *a, const void *b) { return compare_keys(key_of(a, UM_STAGE_DETECT), key_of(b, UM_STAGE_DETECT)); }
static int order_images(const void *a, const void *b) { return compare_keys(key_of(a, UM_STAGE_CROPS), key_of(b, UM_STAGE_CROPS)); }
static int order_landmarks(const void *a, const void *b) { return compare_keys(key_of(a, UM_STAGE_LANDMARKS), key_of(b, UM_STAGE_LANDMARKS)); }

/* A stage's rows in order, and a place in them. */
typedef struct cursor {
    const uint8_t *row, *end;
    size_t size;
    um_stage stage;
} cursor;

static cursor cursor_at(const um_store_loader *l, um_stage stage, int video)
{
    size_t size = um_disk_sets[stage][UM_SET_ROWS].row_bytes;
    cursor c = {l->rows[stage].data, l->rows[stage].data, size, stage};
    size_t lo = 0, hi = l->rows[stage].len / size;
    if (hi == 0) return c;
    c.end += hi * size;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (key_of(c.row + mid * size, stage).video < (uint64_t)video)
            lo = mid + 1;
        else
            hi = mid;
    }
    c.row += lo * size;
    return c;
}

/* The key the cursor stands at, or `none` past the video's rows. */
static row_key cursor_key(const cursor *c, int video)
{
    static const row_key none = {UINT64_MAX, INT64_MAX, INT32_MAX};
    if (c->row >= c->end) return none;
    row_key k = key_of(c->row, c->stage);
    return k.video == (uint64_t)video ? k : none;
}

/* The row with this frame and face, walking on; NULL if there is none. */
static const void *cursor_find(cursor *c, int video, row_key k)
{
    k.video = (uint64_t)video;
    while (c->row < c->end && compare_keys(key_of(c->row, c->stage), k) < 0) c->row += c->size;
    return c->row < c->end && compare_keys(key_of(c->row, c->stage), k) == 0 ? c->row : NULL;
}

static um_store_ref ref_of(const um_disk_image *d)
{
    return (um_store_ref){.shard = (int32_t)d->reserved, .bytes = d->bytes, .at = d->at, .crc = d->crc, .format = d->format};
}

/* The entries of one video: all (frame, face) that it has boxes or crops of (an original), crops or masks of (a fake). */
static um_status join_video(um_store_loader *l, int v, um_buf *out)
{
    int o = l->c->manifest.video[v].original;
    bool fake = o >= 0;
    if (!fake) o = v;
    cursor face = cursor_at(l, UM_STAGE_DETECT, o), crop = cursor_at(l, UM_STAGE_CROPS, v), points = cursor_at(l, UM_STAGE_LANDMARKS, o), mask = cursor_at(l, UM_STAGE_MASKS, v);
    for (;;) {
        row_key a = cursor_key(&crop, v), b = fake ? cursor_key(&mask, v) : cursor_key(&face, v), k = compare_keys(a, b) <= 0 ? a : b;
        if (k.video == UINT64_MAX) return UM_OK;
        um_store_entry e = {.video = v, .frame = k.frame, .face = k.face, .image = {.shard = -1}, .mask = {.shard = -1}};
        const um_disk_face *f = cursor_find(&face, o, k);
        const um_disk_image *c = cursor_find(&crop, v, k), *m = cursor_find(&mask, v, k);
        const um_disk_landmarks *p = cursor_find(&points, o, k);
        if (f != NULL) {
            memcpy(e.box, f->box, sizeof e.box);
            e.probability = f->probability;
            if (!fake) e.time_s = f->time_s;
        }
        if (m != NULL) {
            e.mask = ref_of(m);
            e.changed_px = m->changed_px;
            e.time_s = m->time_s;
            memcpy(e.rect, m->rect, sizeof e.rect);
        }
        if (c != NULL) {
            e.image = ref_of(c);
            e.time_s = c->time_s;
            memcpy(e.rect, c->rect, sizeof e.rect);
        }
        if (p != NULL && p->found != 0) {
            e.has_landmarks = 1;
            memcpy(e.point, p->point, sizeof e.point);
        }
        UM_PASS(um_buf_add(out, &e, sizeof e));
        if (compare_keys(a, k) == 0) crop.row += crop.size;
        if (compare_keys(b, k) == 0) {
            if (fake)
                mask.row += mask.size;
            else
                face.row += face.size;
        }
    }
}

um_status um_store_join(um_store_loader *l)
{
    um_store_content *c = l->c;
    static int (*const order[UM_STAGES])(const void *, const void *) = {order_detect, order_images, order_landmarks, order_images};
    um_buf entries = {0};
    um_status st = UM_OK;
    for (int s = 0; s < UM_STAGES; s++) {
        size_t size = um_disk_sets[s][UM_SET_ROWS].row_bytes, n = l->rows[s].len / size;
        if (n > 1) qsort(l->rows[s].data, n, size, order[s]);
        for (size_t i = 1; i < n; i++) {
            row_key k = key_of(l->rows[s].data + i * size, (um_stage)s);
            if (compare_keys(key_of(l->rows[s].data + (i - 1) * size, (um_stage)s), k) == 0)
                return UM_FAIL(UM_DATA, "%s: two rows of the stage %s for frame %" PRId64 ", face %d", um_quote(c->manifest.video[k.video].path), um_stage_name[s], k.frame, k.face);
        }
    }
    c->first_entry = calloc((size_t)c->manifest.n_videos + 1, sizeof *c->first_entry);
    if (c->first_entry == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d videos", c->manifest.n_videos);
    for (int v = 0; v < c->manifest.n_videos; v++) {
        UM_GOTO_PASS(st, join_video(l, v, &entries));
        c->first_entry[v + 1] = (int64_t)(entries.len / sizeof(um_store_entry));
    }
    c->n_entries = (int64_t)(entries.len / sizeof(um_store_entry));
    c->entry = (um_store_entry *)(void *)entries.data;
    entries = (um_buf){0};
done:
    um_buf_release(&entries);
    return st;
}
