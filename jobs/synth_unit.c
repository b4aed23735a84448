#include "jobs/synth_unit.h"

#include "io/video_write.h"
#include "src/synth/forge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_EVERY = 5 /* frames between two looks for the face */, ATTEMPTS = 8 };
static const um_thresholds SURE = {0.7, 0.8, 0.9};

um_status um_synth_path(const char *dir, int part, const char *name, um_buf *path)
{
    um_buf_clear(path);
    return um_buf_printf(path, "%s/dfdc_train_part_%d%s%s", dir, part, *name != 0 ? "/" : "", name);
}

/* ---- a stretch of a real video ---- */

typedef struct stretch {
    const um_synth_source *source;
    int64_t start;
    int n_frames;
    um_track_point *track;
    int n_track, n_found;
} stretch;

static void stretch_release(stretch *s)
{
    free(s->track);
    *s = (stretch){0};
}

static um_status open_frames(const um_synth_run *run, const um_synth_source *s, const int64_t *index, int n, um_video **v)
{
    um_video_info info;
    pthread_mutex_lock(run->decoder_lock);
    um_status st = um_video_open_list(run->decoder, s->path, index, n, -1, -1, v, &info);
    pthread_mutex_unlock(run->decoder_lock);
    return st;
}

static um_status next_frame(const um_synth_run *run, um_video *v, um_frame *f)
{
    pthread_mutex_lock(run->decoder_lock);
    um_status st = um_video_next(v, -1, f);
    pthread_mutex_unlock(run->decoder_lock);
    return st;
}

static void close_video(const um_synth_run *run, um_video *v)
{
    if (v == NULL) return;
    pthread_mutex_lock(run->decoder_lock);
    um_video_close(v, NULL);
    pthread_mutex_unlock(run->decoder_lock);
}

/* Looks for the face at every LOOK_EVERY-th frame of the stretch and at its last one. A video that cannot be read is one where no
 * face was found. */
static um_status look(const um_synth_run *run, um_detector *detector, stretch *s)
{
    um_status st = UM_OK;
    um_video *v = NULL;
    um_faces faces = {0};
    um_frame f;
    um_synth_face last;
    int n = (s->n_frames - 1 + LOOK_EVERY - 1) / LOOK_EVERY + 1;
    int64_t *index = malloc((size_t)n * sizeof *index);
    s->track = malloc(2 * (size_t)n * sizeof *s->track);
    if (index == NULL || s->track == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for a track of %d looks", n));
    for (int i = 0; i < n; i++) index[i] = s->start + (i + 1 < n ? i * LOOK_EVERY : s->n_frames - 1);
    s->n_track = s->n_found = 0;
    st = open_frames(run, s->source, index, n, &v);
    if (st != UM_OK) {
        v = NULL;
        st = um_status_class_of(st) == UM_CLASS_ITEM ? UM_OK : st;
        goto done;
    }
    while ((st = next_frame(run, v, &f)) == UM_OK) {
        UM_GOTO_PASS(st, um_detector_run(detector, &f.image, &SURE, &faces));
        um_track_point *p = &s->track[s->n_track++];
        *p = (um_track_point){.frame = (double)(f.index - s->start)};
        p->found = um_track_pick(&faces, s->n_found > 0 ? &last : NULL, &p->face);
        if (!p->found) continue;
        last = p->face;
        s->n_found++;
    }
    if (st == UM_END) st = UM_OK;
    if (s->n_track > 2) um_track_smooth(s->track, s->n_track, s->track + n);
done:
    close_video(run, v);
    um_faces_release(&faces);
    free(index);
    return st;
}

/* The first stretch tried that shows a face in nine looks of ten, else the one that shows it most. */
static um_status find_stretch(const um_synth_run *run, const um_synth_original *o, um_detector *detector, stretch *best)
{
    const um_synth_config *c = &run->plan->config;
    um_rng r = um_rng_stream(c->seed, um_synth_key(o->part, o->index), UM_SYNTH_CUT + 1, UM_RNG_SYNTH);
    *best = (stretch){0};
    int n_own = (run->n_sources - o->person + c->people - 1) / c->people;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        const um_synth_source *source = &run->source[o->person + c->people * ((o->index + attempt / 2) % n_own)];
        double fps = source->info.fps > 0 ? source->info.fps : 30, n = floor(c->seconds * fps + 0.5);
        stretch s = {.source = source, .n_frames = (int)(n < 1 ? 1 : n > (double)source->n_frames ? (double)source->n_frames : n)};
        s.start = (int64_t)floor(um_rng_uniform(&r, 0, (double)(source->n_frames - s.n_frames + 1)));
        um_status st = look(run, detector, &s);
        if (st != UM_OK) {
            stretch_release(&s);
            stretch_release(best);
            return st;
        }
        if ((double)s.n_found * (best->n_track + 1) > (double)best->n_found * (s.n_track + 1)) {
            stretch_release(best);
            *best = s;
        } else {
            stretch_release(&s);
        }
        if (best->n_found > 0 && best->n_found * 10 >= best->n_track * 9) break;
    }
    if (best->n_found > 0) return UM_OK;
    stretch_release(best);
    return UM_FAIL(UM_DATA, "no face was found in %d stretches of %s and other videos for part %d", ATTEMPTS,
                   um_quote(run->source[o->person].path), o->part);
}

/* ---- where frames come from ---- */

typedef struct maker {
    const um_synth_run *run;
    um_synth_original o;
    uint64_t key;
    um_shot *shot; /* portraits */
    um_grain grain;
    stretch stretch; /* sources */
    um_video *video;
    um_cut cut;
} maker;

static um_status maker_open(maker *m, um_detector *detector)
{
    const um_synth_run *run = m->run;
    um_synth_original *o = &m->o;
    const uint64_t seed = run->plan->config.seed;
    if (run->portrait != NULL) {
        const um_portrait *people[2] = {&run->portrait[o->person], o->second >= 0 ? &run->portrait[o->second] : NULL};
        UM_PASS(um_shot_new(people, o->second >= 0 ? 2 : 1, o->width_px, o->height_px, (double)o->fps_num / o->fps_den, o->frames,
                            seed, m->key, &m->shot));
        return um_grain_new(seed, m->key, 2.0, o->width_px, &m->grain);
    }
    UM_PASS(find_stretch(run, o, detector, &m->stretch));
    const um_video_info *info = &m->stretch.source->info;
    o->frames = m->stretch.n_frames;
    if (info->fps > 0) { /* NTSC rates are whole multiples of 1/1.001, others whole numbers of frames a second or near enough */
        bool ntsc =
            fabs(info->fps * 1.001 - floor(info->fps * 1.001 + 0.5)) < 0.004 && fabs(info->fps - floor(info->fps + 0.5)) > 0.004;
        o->fps_num = (int)(ntsc ? floor(info->fps * 1.001 + 0.5) * 1000 : floor(info->fps * 1000 + 0.5));
        o->fps_den = ntsc ? 1001 : 1000;
    }
    int first = 0;
    while (!m->stretch.track[first].found) first++;
    UM_PASS(um_cut_new(info->width_px, info->height_px, o->width_px, o->height_px, &m->stretch.track[first].face, seed, m->key,
                       &m->cut));
    int64_t *index = malloc((size_t)o->frames * sizeof *index);
    if (index == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d frames' numbers", o->frames);
    for (int i = 0; i < o->frames; i++) index[i] = m->stretch.start + i;
    um_status st = open_frames(run, m->stretch.source, index, o->frames, &m->video);
    free(index);
    if (st != UM_OK) m->video = NULL;
    return st;
}

static void maker_close(maker *m)
{
    um_shot_free(m->shot);
    um_grain_free(&m->grain);
    close_video(m->run, m->video);
    stretch_release(&m->stretch);
    um_cut_free(&m->cut);
}

/* Frame t into `out` and the faces on it; UM_END after the last. */
static um_status maker_next(maker *m, int t, const um_image *out, um_synth_face face[2], int *n_faces)
{
    if (t >= m->o.frames) return UM_END;
    if (m->shot != NULL) {
        um_shot_render(m->shot, t, out, face);
        *n_faces = m->o.second >= 0 ? 2 : 1;
        return UM_OK;
    }
    um_frame f;
    um_status st = next_frame(m->run, m->video, &f);
    if (st != UM_OK) return st;
    if (f.image.width_px != m->stretch.source->info.width_px || f.image.height_px != m->stretch.source->info.height_px)
        return UM_END; /* the size changes within the video: stop here */
    um_cut_render(&m->cut, &f.image, out);
    um_synth_face seen;
    *n_faces = um_track_at(m->stretch.track, m->stretch.n_track, (double)(f.index - m->stretch.start), &seen) ? 1 : 0;
    if (*n_faces > 0) face[0] = um_cut_face(&m->cut, &seen);
    return UM_OK;
}

/* ---- files ---- */

static um_status write_file(um_vfs *vfs, const char *path, const um_buf *b)
{
    um_vfs_file *f;
    UM_TRY(um_vfs_create(vfs, path, &f), "cannot write the video %s", um_quote(path));
    um_status st = um_vfs_write(f, b->data, b->len);
    if (st == UM_OK) st = um_vfs_sync(f);
    um_status closed = um_vfs_close(f);
    if (st == UM_OK) st = closed;
    return st == UM_OK ? UM_OK : um_err_note(st, "cannot write the video %s", um_quote(path));
}

typedef struct product { /* the original or a fake */
    um_video_writer *writer;
    um_forgery *forgery[2];
} product;

um_status um_synth_unit_make(const um_synth_run *run, int i, um_detector *detector, int64_t *bytes, int64_t *frames)
{
    const um_synth_config *c = &run->plan->config;
    const int n = 1 + c->fakes;
    um_status st = UM_OK;
    um_image clean = {0}, work = {0};
    um_buf mp4 = {0}, path = {0};
    maker m = {.run = run, .o = run->plan->original[i]};
    const um_synth_original *o = &m.o;
    m.key = um_synth_key(o->part, o->index);
    product *product_of = calloc((size_t)n, sizeof *product_of);
    if (product_of == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %d videos", n));
    UM_GOTO_PASS(st, um_image_new(o->width_px, o->height_px, 3, &clean));
    UM_GOTO_PASS(st, um_image_new(o->width_px, o->height_px, 3, &work));
    UM_GOTO_PASS(st, maker_open(&m, detector));
    um_video_writer_config config = {.width_px = o->width_px,
                                     .height_px = o->height_px,
                                     .rotation_deg = o->rotation_deg,
                                     .fps_num = o->fps_num,
                                     .fps_den = o->fps_den,
                                     .crf = o->crf};
    for (int k = 0; k < n; k++) UM_GOTO_PASS(st, um_video_writer_new(&config, &product_of[k].writer));
    int t = 0, n_faces = 0;
    um_synth_face face[2];
    while ((st = maker_next(&m, t, &clean, face, &n_faces)) == UM_OK) {
        for (int k = 0; k < n; k++) {
            memcpy(work.data, clean.data, clean.stride * (size_t)clean.height_px);
            for (int j = 0; k > 0 && j < n_faces; j++) {
                um_forgery **f = &product_of[k].forgery[j];
                if (*f == NULL) UM_GOTO_PASS(st, um_forgery_new(c->seed, m.key, k - 1, j, c->subtle, face[j].width, f));
                um_forgery_apply(*f, &work, &face[j], NULL);
            }
            if (m.shot != NULL) um_grain_apply(&m.grain, t, &work);
            UM_GOTO_PASS(st, um_video_writer_add(product_of[k].writer, &work));
        }
        t++;
    }
    if (st != UM_END || t == 0) {
        st = st == UM_END ? UM_FAIL(UM_DATA, "no frame of %s could be read again", um_quote(m.stretch.source->path)) : st;
        goto done;
    }
    st = UM_OK;
    for (int k = 0; k < n; k++) {
        um_buf_clear(&mp4);
        UM_GOTO_PASS(st, um_video_writer_finish(product_of[k].writer, &mp4));
        UM_GOTO_PASS(st,
                     um_synth_path(run->dir, o->part,
                                   k == 0 ? o->name : run->plan->fake_name[(size_t)i * (size_t)c->fakes + (size_t)(k - 1)], &path));
        UM_GOTO_PASS(st, write_file(run->vfs, (char *)path.data, &mp4));
        *bytes += (int64_t)mp4.len;
        *frames += t;
    }
done:
    for (int k = 0; product_of != NULL && k < n; k++) {
        um_video_writer_free(product_of[k].writer);
        for (int j = 0; j < 2; j++) um_forgery_free(product_of[k].forgery[j]);
    }
    free(product_of);
    maker_close(&m);
    um_image_free(&clean);
    um_image_free(&work);
    um_buf_release(&mp4);
    um_buf_release(&path);
    return st;
}
