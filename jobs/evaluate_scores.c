/* Scores that were given already, beside labels. */
#include "io/labels.h"
#include "io/scores.h"
#include "jobs/evaluate.h"
#include "src/core/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

um_status um_evaluation_add(um_evaluation *e, const char *name, bool frames, um_evaluated **out)
{
    um_evaluated *more = realloc(e->by, (size_t)(e->n_by + 1) * sizeof *more);
    if (more == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %s", um_quote(name));
    e->by = more;
    um_evaluated *to = &more[e->n_by++];
    *to = (um_evaluated){.name = strdup(name), .video = malloc((size_t)(e->n_videos + 1) * sizeof *to->video), .frame = frames ? malloc((size_t)(e->n_frames + 1) * sizeof *to->frame) : NULL};
    if (to->name == NULL || to->video == NULL || (frames && to->frame == NULL)) return UM_FAIL(UM_NO_MEMORY, "no memory for the scores of %s", um_quote(name));
    for (int64_t i = 0; i < e->n_videos; i++) to->video[i] = NAN;
    for (int64_t i = 0; frames && i < e->n_frames; i++) to->frame[i] = NAN;
    *out = to;
    return UM_OK;
}

um_status um_evaluation_close_groups(um_evaluation *e)
{
    int32_t most = 0, next = 0;
    for (int64_t i = 0; i < e->n_videos; i++)
        if (e->group[i] >= most) most = e->group[i] + 1;
    int32_t *number = malloc(((size_t)most + 1) * sizeof *number);
    if (number == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for %d groups", most);
    for (int32_t i = 0; i < most; i++) number[i] = -1;
    for (int64_t i = 0; i < e->n_videos; i++) {
        int32_t *of = &number[e->group[i]];
        if (*of < 0) *of = next++;
        e->group[i] = *of;
    }
    free(number);
    return UM_OK;
}

void um_evaluation_release(um_evaluation *e)
{
    for (int64_t i = 0; e->path != NULL && i < e->n_videos; i++) free(e->path[i]);
    for (int i = 0; i < e->n_by; i++) {
        free(e->by[i].name);
        free(e->by[i].video);
        free(e->by[i].frame);
    }
    free(e->path);
    free(e->fake);
    free(e->group);
    free(e->video_of_frame);
    free(e->by);
    *e = (um_evaluation){0};
}

/* Takes the row over as a video, if there is a label and a score for it. */
static um_status take(um_evaluation *e, const um_scores *s, int i, const um_labels *l, bool skip, bool *labelled, double *score)
{
    int at = um_labels_find(l, s->row[i].path);
    e->unlabelled += at == -1;
    e->several += at == -2;
    e->failed += s->row[i].failed;
    if (at < 0) return UM_OK;
    labelled[at] = true;
    double p = s->row[i].score;
    if (isnan(p)) {
        e->filled++;
        if (skip) return UM_OK;
        p = 0.5;
    }
    e->path[e->n_videos] = strdup(s->row[i].path);
    if (e->path[e->n_videos] == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a path");
    e->fake[e->n_videos] = l->label[at].fake;
    e->group[e->n_videos] = l->label[at].group;
    score[e->n_videos++] = p;
    return UM_OK;
}

um_status um_evaluate_scores(um_job_context *ctx, const um_evaluate_options *o, um_evaluation *e)
{
    um_scores s = {0};
    um_labels l = {0};
    um_evaluated *by;
    bool *labelled = NULL;
    double *score = NULL;
    size_t n;
    um_status st;
    *e = (um_evaluation){.best = -1};
    for (int i = 0; i < o->labels.n; i++) UM_GOTO_PASS(st, um_labels_add(&l, ctx->vfs, o->labels.text[i]));
    UM_GOTO_PASS(st, um_labels_seal(&l));
    UM_GOTO_PASS(st, um_scores_read(ctx->vfs, o->scores, &s));
    e->repeated = s.n_repeated;
    n = (size_t)s.n + 1;
    e->path = calloc(n, sizeof *e->path);
    e->fake = calloc(n, sizeof *e->fake);
    e->group = calloc(n, sizeof *e->group);
    score = calloc(n, sizeof *score);
    labelled = calloc((size_t)l.n, sizeof *labelled);
    if (e->path == NULL || e->fake == NULL || e->group == NULL || score == NULL || labelled == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for %d scores", s.n));
    for (int i = 0; i < s.n; i++) UM_GOTO_PASS(st, take(e, &s, i, &l, strcmp(o->missing, "skip") == 0, labelled, score));
    for (int i = 0; i < l.n; i++) e->unscored += !labelled[i];
    if (e->n_videos == 0) UM_GOTO_PASS(st, UM_FAIL(UM_DATA, "not one of the %d videos in %s has both a score and a label", s.n, um_quote(o->scores)));
    UM_GOTO_PASS(st, um_evaluation_close_groups(e));
    UM_GOTO_PASS(st, um_evaluation_add(e, "scores", false, &by));
    memcpy(by->video, score, (size_t)e->n_videos * sizeof *score);
done:
    free(score);
    free(labelled);
    um_scores_release(&s);
    um_labels_release(&l);
    return st;
}
