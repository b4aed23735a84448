/* A stand-in for what scoring works with: rows are a pure function of the file's bytes, made in microseconds, without models, detector or decoder. The program unmask_double is unmask with this instead: journal, manifest, queue
 * and merge are the real ones.
 *
 * UNMASK_DOUBLE_MS: a video takes up to twice so many milliseconds. Words at the beginning of a file: BAD is CORRUPT; LATE is TIMEOUT where UNMASK_DOUBLE_LATE is set; ABORT and KILL end the rank by that signal where
 * UNMASK_DOUBLE_DIE is set. UNMASK_DOUBLE_MODEL: another model. UNMASK_DOUBLE_ISA_<rank>: another instruction set on that rank. */
#include "io/score_row.h"
#include "jobs/score_setup.h"
#include "src/core/clock.h"
#include "src/core/hash.h"
#include "src/core/rng.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MODELS = 2 };

um_status um_score_setup_open(um_job_context *ctx, const um_score_wish *wish, um_score_setup *s)
{
    static char first[] = "first", second[] = "second", *names[] = {first, second};
    const char *model = getenv("UNMASK_DOUBLE_MODEL");
    char variable[32];
    (void)wish;
    *s = (um_score_setup){.name = names, .precision = wish->bf16 ? "bf16" : "f32", .backend = "double"};
    s->scorer.n_models = MODELS;
    snprintf(s->detector, sizeof s->detector, "0123456789abcdef");
    snprintf(variable, sizeof variable, "UNMASK_DOUBLE_ISA_%d", ctx->world.rank);
    snprintf(s->isa, sizeof s->isa, "%s", getenv(variable) != NULL ? getenv(variable) : "any");
    return um_buf_add_str(&s->fingerprints, model != NULL ? model : "1111111111111111 2222222222222222");
}

void um_score_setup_close(um_score_setup *s)
{
    um_buf_release(&s->fingerprints);
}

static um_status failed(um_scorer *s, um_score_row *row, um_status status, const char *message)
{
    row->status = status;
    row->score = s->pool == UM_POOL_FACES ? .5 : NAN;
    snprintf(row->message, sizeof row->message, "%s", message);
    return UM_OK;
}

static void nap(um_scorer *s, double seconds)
{
    double end = um_clock_s() + seconds;
    do {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        s->between(s->user);
    } while (um_clock_s() < end && *s->stop == 0);
}

static void die(int signal_number)
{
    fflush(NULL);
    kill(getpid(), signal_number);
    for (;;) pause();
}

/* 53 bits, so that shortest texts of many lengths occur. */
static double real(um_rng *g) { return ((double)um_rng_u32(g) + (double)um_rng_u32(g) / 4294967296.0) / 4294967296.0; }

/* What a good video is: persons, faces, scores from a stream of random numbers that its bytes name. */
static um_status invent(um_scorer *s, uint64_t hash, um_score_row *row)
{
    um_rng g = um_rng_stream(hash, 0, 0, UM_RNG_TEST);
    row->n_models = MODELS;
    row->n_persons = (int)(hash % 3);
    row->n_faces = row->n_persons * 16;
    row->frames_wanted = row->frames_decoded = 32;
    row->frames_with_faces = row->n_persons > 0 ? 16 : 0;
    row->model_score = calloc(MODELS, sizeof *row->model_score);
    row->person = calloc((size_t)row->n_persons + 1, sizeof *row->person);
    row->face = calloc((size_t)row->n_faces + 1, sizeof *row->face);
    row->status = row->n_persons > 0 ? UM_OK : UM_NO_FACE;
    if (row->n_persons == 0) snprintf(row->message, sizeof row->message, "%s", um_status_text(UM_NO_FACE));
    if (row->model_score == NULL || row->person == NULL || row->face == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory");
    row->model_score[0] = row->model_score[1] = NAN;
    for (int i = 0; i < row->n_persons; i++) {
        um_score_person *p = &row->person[i];
        *p = (um_score_person){.track = i, .start_s = real(&g), .end_s = 1 + real(&g) * 9, .n_faces = 16, .score = real(&g), .best_frame = {3, 1, -1}};
        p->model_score = calloc(MODELS, sizeof *p->model_score);
        for (int k = 0; k < MODELS && p->model_score != NULL; k++) p->model_score[k] = real(&g) / 3;
    }
    for (int i = 0; i < row->n_faces; i++) {
        um_score_face *f = &row->face[i];
        *f = (um_score_face){.frame = i / 2, .time_s = i / 30.0, .probability = (float)real(&g), .track = i % row->n_persons};
        for (int k = 0; k < 4; k++) f->box[k] = (float)(real(&g) * 1000);
        f->score = calloc(MODELS, sizeof *f->score);
        for (int k = 0; k < MODELS && f->score != NULL; k++) f->score[k] = (float)real(&g);
    }
    if (row->n_persons > 0) {
        row->score = row->person[0].score;
        row->start_s = row->person[0].start_s;
        row->end_s = row->person[0].end_s;
        row->verdict = row->score >= s->threshold ? UM_VERDICT_FAKE : UM_VERDICT_REAL;
    } else if (s->pool == UM_POOL_FACES) {
        row->score = .5;
    }
    return UM_OK;
}

um_status um_score_video(um_scorer *s, const char *path, int64_t size_bytes, int64_t mtime_ns, um_score_row *row)
{
    static char bytes[1 << 16];
    const char *ms = getenv("UNMASK_DOUBLE_MS");
    (void)mtime_ns;
    *row = (um_score_row){.score = NAN, .start_s = NAN, .end_s = NAN};
    FILE *f = fopen(path, "rb");
    if (f == NULL) return failed(s, row, errno == ENOENT ? UM_MISSING : UM_UNREADABLE, "it cannot be opened");
    size_t n = fread(bytes, 1, sizeof bytes - 1, f);
    fclose(f);
    bytes[n] = 0;
    uint64_t hash = um_hash64(UM_HASH64_START, bytes, n);
    if (ms != NULL) nap(s, (double)(hash >> 13 & 255) / 128 * atof(ms) / 1e3);
    if (*s->stop != 0) return UM_FAIL(UM_STOPPED, "a signal asked to stop");
    if ((int64_t)n != size_bytes) return failed(s, row, UM_CHANGED, "it has another size");
    if (n == 0) return failed(s, row, UM_ZERO_FRAMES, "it is empty, \"really\"");
    if (strncmp(bytes, "BAD", 3) == 0) return failed(s, row, UM_CORRUPT, "it is bad");
    if (strncmp(bytes, "LATE", 4) == 0 && getenv("UNMASK_DOUBLE_LATE") != NULL) return failed(s, row, UM_TIMEOUT, "it took too long");
    if (getenv("UNMASK_DOUBLE_DIE") != NULL) {
        if (strncmp(bytes, "ABORT", 5) == 0) die(SIGABRT);
        if (strncmp(bytes, "KILL", 4) == 0) die(SIGKILL);
    }
    return invent(s, hash, row);
}

void um_scorer_release(um_scorer *s) { (void)s; }
