#pragma once
/* score_row.h: the row of a scored video as text: as it stands in the journal and in the details, in one fixed form, so that equal rows are equal text.
 *
 *     "status": "OK", "message": "", "verdict": "fake", "score": 0.93, "frames_wanted": 32, "frames_decoded": 32, "frames_with_faces": 32, "faces_dropped": 0, "n_persons": 1, "start_s": 0, "end_s": 9.9,
 *     "model_scores": [0.91, 0.95], "persons": [{"track": 0, "start_s": 0, "end_s": 9.9, "faces": 32, "score": 0.93, "model_scores": [...], "best_frames": [12, 30, 4]}],
 *     "faces": [{"frame": 0, "time_s": 0, "window": 0, "track": 0, "box": [x0, y0, x1, y1], "probability": 0.999, "scores": [...]}]
 *
 * (on one line, without braces around it). Numbers that are not there are null; every number has as many digits as bring its bits back.
 */
#include "io/jsontext.h"
#include "src/score/score.h"

/* What tables need of a row. */
typedef struct um_score_summary {
    um_status status;
    um_verdict verdict;
    double score, start_s, end_s; /* NaN: none */
    int32_t frames_wanted, frames_decoded, frames_with_faces, faces_dropped, n_persons;
} um_score_summary;

um_status um_score_row_write(const um_score_row *row, um_buf *out);
/* Reads the members up to end_s; the cursor stands behind. text: scratch. false: not of that form. */
bool um_score_summary_read(um_jsontext *t, um_buf *text, um_score_summary *out);
