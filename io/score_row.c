#include "io/score_row.h"

#include <inttypes.h>
#include <string.h>

static um_status add_real(um_buf *b, const char *before, double v)
{
    UM_PASS(um_buf_add_str(b, before));
    return um_buf_add_real(b, v);
}

static um_status add_reals(um_buf *b, const char *name, const double *v, int n)
{
    UM_PASS(um_buf_printf(b, ", \"%s\": [", name));
    for (int i = 0; i < n; i++) UM_PASS(add_real(b, i > 0 ? ", " : "", v != NULL ? v[i] : (double)__builtin_nanf("")));
    return um_buf_add_str(b, "]");
}

static um_status add_person(um_buf *b, const um_score_person *p, int n_models)
{
    UM_PASS(um_buf_printf(b, "{\"track\": %d", p->track));
    UM_PASS(add_real(b, ", \"start_s\": ", p->start_s));
    UM_PASS(add_real(b, ", \"end_s\": ", p->end_s));
    UM_PASS(um_buf_printf(b, ", \"faces\": %d", p->n_faces));
    UM_PASS(add_real(b, ", \"score\": ", p->score));
    UM_PASS(add_reals(b, "model_scores", p->model_score, n_models));
    UM_PASS(um_buf_add_str(b, ", \"best_frames\": ["));
    for (int i = 0; i < 3 && p->best_frame[i] >= 0; i++) UM_PASS(um_buf_printf(b, "%s%" PRId64, i > 0 ? ", " : "", p->best_frame[i]));
    return um_buf_add_str(b, "]}");
}

static um_status add_face(um_buf *b, const um_score_face *f, int n_models)
{
    UM_PASS(um_buf_printf(b, "{\"frame\": %" PRId64, f->frame));
    UM_PASS(add_real(b, ", \"time_s\": ", f->time_s));
    UM_PASS(um_buf_printf(b, ", \"window\": %d, \"track\": %d, \"box\": [", f->window, f->track));
    for (int i = 0; i < 4; i++) {
        if (i > 0) UM_PASS(um_buf_add_str(b, ", "));
        UM_PASS(um_buf_add_real32(b, f->box[i]));
    }
    UM_PASS(um_buf_add_str(b, "], \"probability\": "));
    UM_PASS(um_buf_add_real32(b, f->probability));
    UM_PASS(um_buf_add_str(b, ", \"scores\": ["));
    for (int i = 0; i < n_models; i++) {
        if (i > 0) UM_PASS(um_buf_add_str(b, ", "));
        UM_PASS(f->score != NULL ? um_buf_add_real32(b, f->score[i]) : um_buf_add_str(b, "null"));
    }
    return um_buf_add_str(b, "]}");
}

um_status um_score_row_write(const um_score_row *r, um_buf *b)
{
    UM_PASS(um_buf_printf(b, "\"status\": \"%s\", \"message\": ", um_status_name(r->status)));
    UM_PASS(um_buf_add_json(b, r->message));
    UM_PASS(um_buf_printf(b, ", \"verdict\": \"%s\"", um_verdict_name(r->verdict)));
    UM_PASS(add_real(b, ", \"score\": ", r->score));
    UM_PASS(um_buf_printf(b, ", \"frames_wanted\": %d, \"frames_decoded\": %d, \"frames_with_faces\": %d, \"faces_dropped\": %d, \"n_persons\": %d", r->frames_wanted, r->frames_decoded, r->frames_with_faces,
                          r->faces_dropped, r->n_persons));
    UM_PASS(add_real(b, ", \"start_s\": ", r->start_s));
    UM_PASS(add_real(b, ", \"end_s\": ", r->end_s));
    UM_PASS(add_reals(b, "model_scores", r->model_score, r->n_models));
    UM_PASS(um_buf_add_str(b, ", \"persons\": ["));
    for (int i = 0; i < r->n_persons; i++) {
        if (i > 0) UM_PASS(um_buf_add_str(b, ", "));
        UM_PASS(add_person(b, &r->person[i], r->n_models));
    }
    UM_PASS(um_buf_add_str(b, "], \"faces\": ["));
    for (int i = 0; i < r->n_faces; i++) {
        if (i > 0) UM_PASS(um_buf_add_str(b, ", "));
        UM_PASS(add_face(b, &r->face[i], r->n_models));
    }
    return um_buf_add_str(b, "]");
}

static bool read_count(um_jsontext *t, const char *before, int32_t *out)
{
    int64_t v;
    if (!um_jsontext_skip(t, before) || !um_jsontext_int(t, &v) || v < 0 || v > INT32_MAX) return false;
    *out = (int32_t)v;
    return true;
}

static bool read_real(um_jsontext *t, const char *before, double *out) { return um_jsontext_skip(t, before) && um_jsontext_real(t, out); }

bool um_score_summary_read(um_jsontext *t, um_buf *text, um_score_summary *o)
{
    um_verdict verdict = UM_VERDICT_UNKNOWN;
    if (!um_jsontext_skip(t, "\"status\": ") || !um_jsontext_string(t, text)) return false;
    int status = um_status_from_name((char *)text->data);
    o->status = (um_status)status;
    if (status < 0 || (status != UM_OK && um_status_class_of(o->status) != UM_CLASS_ITEM)) return false;
    if (!um_jsontext_skip(t, ", \"message\": ") || !um_jsontext_string(t, text) || !um_jsontext_skip(t, ", \"verdict\": ") || !um_jsontext_string(t, text)) return false;
    while (verdict < UM_VERDICTS && strcmp((char *)text->data, um_verdict_name(verdict)) != 0) verdict++;
    o->verdict = verdict;
    return verdict < UM_VERDICTS && read_real(t, ", \"score\": ", &o->score) && read_count(t, ", \"frames_wanted\": ", &o->frames_wanted) && read_count(t, ", \"frames_decoded\": ", &o->frames_decoded) &&
           read_count(t, ", \"frames_with_faces\": ", &o->frames_with_faces) && read_count(t, ", \"faces_dropped\": ", &o->faces_dropped) && read_count(t, ", \"n_persons\": ", &o->n_persons) &&
           read_real(t, ", \"start_s\": ", &o->start_s) && read_real(t, ", \"end_s\": ", &o->end_s);
}
