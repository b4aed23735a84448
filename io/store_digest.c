#include "io/store_files.h"

#include "src/core/sha256.h"

#include <stdlib.h>
#include <string.h>

/* What is digested is written out here field by field, in little-endian order with fixed sizes, so that neither padding nor the layout of a struct is part of it. */

enum { MAX_PIXELS = 1 << 26 }; /* of a crop: the largest frame that is decoded has 2^24 */

static void add_text(um_sha256 *h, const char *s) { um_sha256_add(h, s, strlen(s) + 1); }

static void add_i64(um_sha256 *h, int64_t v) { um_sha256_add(h, &v, sizeof v); }

static void add_numbers(um_sha256 *h, const int32_t *v, int n) { um_sha256_add(h, v, (size_t)n * sizeof *v); }

static void add_real(um_sha256 *h, double v)
{
    if (v == 0) v = 0; /* -0 is 0 */
    um_sha256_add(h, &v, sizeof v);
}

/* Size and pixels of a picture: equal for PNG and RAW of the same pixels. */
static um_status add_picture(um_sha256 *h, const um_store_content *c, um_codec *codec, const um_store_ref *ref, int channels, um_buf *bytes)
{
    um_image img = {0};
    um_buf_clear(bytes);
    UM_PASS(um_buf_reserve(bytes, ref->bytes));
    UM_PASS(um_store_read(c, ref, bytes->data));
    um_status st = um_codec_decode(codec, bytes->data, ref->bytes, channels, MAX_PIXELS, &img);
    if (st != UM_OK) return um_err_note(um_status_class_of(st) == UM_CLASS_JOB ? st : UM_DATA, "a picture of the store cannot be decoded");
    int32_t size[3] = {img.width_px, img.height_px, channels};
    add_numbers(h, size, 3);
    for (int y = 0; y < img.height_px; y++) um_sha256_add(h, img.data + (size_t)y * img.stride, (size_t)img.width_px * (size_t)channels);
    um_image_free(&img);
    return UM_OK;
}

um_status um_store_digest(const um_store_content *c, char out[65])
{
    const um_manifest *m = &c->manifest;
    um_sha256 h;
    um_buf bytes = {0};
    um_status st = UM_OK;
    out[0] = 0;
    if (c->first_entry == NULL) return UM_FAIL(UM_INTERNAL, "the store was loaded without its rows");
    um_codec *codec = um_codec_new();
    if (codec == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory to decode pictures");
    um_sha256_init(&h);
    add_text(&h, "unmask store content 1");
    add_i64(&h, m->n_videos);
    for (int v = 0; v < m->n_videos; v++) {
        const um_store_video *r = &c->video[v];
        add_text(&h, m->video[v].path);
        add_text(&h, m->video[v].original >= 0 ? m->video[m->video[v].original].path : "");
        add_text(&h, um_status_name((um_status)r->status));
        const int32_t numbers[] = {m->video[v].part,   (int32_t)m->video[v].label, r->signal,        r->width_px,      r->height_px,     r->rotation_deg,
                                   r->frames_wanted,   r->frames_given,            r->frames_damaged, r->faces_found,   r->faces_dropped};
        add_numbers(&h, numbers, (int)(sizeof numbers / sizeof numbers[0]));
        add_i64(&h, r->n_frames);
        add_real(&h, r->fps);
        add_real(&h, r->duration_s);
        add_i64(&h, c->first_entry[v + 1] - c->first_entry[v]);
        for (int64_t i = c->first_entry[v]; i < c->first_entry[v + 1]; i++) {
            const um_store_entry *e = &c->entry[i];
            add_i64(&h, e->frame);
            add_real(&h, e->time_s);
            um_sha256_add(&h, e->box, sizeof e->box);
            um_sha256_add(&h, &e->probability, sizeof e->probability);
            const int32_t facts[] = {e->face,          e->rect[0], e->rect[1], e->rect[2], e->rect[3], e->has_landmarks, e->changed_px,
                                     e->image.shard >= 0, e->mask.shard >= 0};
            add_numbers(&h, facts, (int)(sizeof facts / sizeof facts[0]));
            um_sha256_add(&h, e->point, sizeof e->point);
            if (e->image.shard >= 0) UM_GOTO(st, add_picture(&h, c, codec, &e->image, 3, &bytes), "the crop of %s, frame %lld", um_quote(m->video[v].path), (long long)e->frame);
            if (e->mask.shard >= 0) UM_GOTO(st, add_picture(&h, c, codec, &e->mask, 1, &bytes), "the mask of %s, frame %lld", um_quote(m->video[v].path), (long long)e->frame);
        }
    }
    um_sha256_hex(&h, out);
done:
    um_codec_free(codec);
    um_buf_release(&bytes);
    return st;
}
