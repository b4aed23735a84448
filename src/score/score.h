#pragma once
/* score.h: what scoring says of one video: faces, persons, the row.
 *
 * Scores are probabilities of "fake", 0..1; NaN where there is none. Times are seconds since the stream's first frame. Boxes are in pixels of the frame as shown (after rotation).
 */
#include "src/core/buf.h"
#include "src/core/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum um_verdict { UM_VERDICT_UNKNOWN, UM_VERDICT_REAL, UM_VERDICT_FAKE, UM_VERDICTS } um_verdict;
const char *um_verdict_name(um_verdict v); /* "unknown", "real", "fake": part of the files' format */

enum {
    UM_SCORE_MAX_MODELS = 64,
    UM_SCORE_REFERENCE_FACES = 127, /* --pool faces: those after it are dropped; why: um_score_faces */
};

typedef struct um_score_face {
    int64_t frame;      /* number in display order */
    double time_s;
    float box[4];
    float probability;  /* the detector's */
    float landmarks[5][2];
    int window;         /* of the frame's time (window.h); 0 with --pool faces */
    int track;          /* of whom: um_score_tracks; -1: none yet */
    float *score;       /* [n_models], sigmoid of the logit; NaN: not looked at (a track that does not count) */
} um_score_face;

typedef struct um_score_person {
    int track;          /* um_score_face.track of its faces */
    double start_s, end_s;
    int n_faces;
    double score;       /* mean over the models of their confident averages */
    double *model_score;/* [n_models] */
    int64_t best_frame[3]; /* frames of the faces with the highest mean score, highest first; -1: fewer */
} um_score_person;

typedef struct um_score_row {
    um_status status;        /* OK, PARTIAL or why there is no score */
    char message[256];
    um_verdict verdict;
    double score;            /* NaN: none */
    int frames_wanted, frames_decoded, frames_with_faces;
    int n_persons;
    double start_s, end_s;   /* of the person whose score it is; NaN: none */
    int n_models;
    double *model_score;     /* [n_models] the video's, NaN: none */
    um_score_person *person; /* [n_persons], highest score first */
    um_score_face *face;     /* [n_faces], by frame, then as detected */
    int n_faces;
    int faces_dropped;       /* --pool faces: beyond the 127th */
} um_score_row;
/* Frees what the row owns: face, each face's score, model_score, person, each person's model_score; each was allocated by itself. */
void um_score_row_release(um_score_row *r);

/* The reference's confident_strategy: mean of the predictions above t = 0.8 when more than floor(n / 2.5) and more than 11 are above; else the mean of those below 0.2 when more than 90 % are; else the mean of all. NaN for
 * n = 0. Sums as numpy.mean does, in f32 pairwise, where published results must be met (--pool faces), say so in the .c. */
double um_score_confident(const float *p, int n);

/* Follows each person within a window by box overlap and landmarks: fills face[].track (numbered in order of first appearance over the video) and returns how many tracks there are. Geometry only, so it can run before any
 * face is scored. Faces are in order of frame. Errors: UM_NO_MEMORY. */
um_status um_score_tracks(um_score_row *row, int *n_tracks);
/* --pool persons: from faces with tracks and scores to persons (tracks of at least min_faces faces), the video's score (the highest person's) with its time range, model_score and verdict (fake where score >= threshold). Without
 * a person: unknown, NaN. Errors: UM_NO_MEMORY. */
um_status um_score_persons(um_score_row *row, int min_faces, double threshold);
/* --pool faces: the reference's rule over the first 127 faces as one pool, with its quirks: exactly one face gives 0.5, none gives 0.5 and UM_NO_FACE where the status was UM_OK; the verdict of both is unknown, and model_score NaN. Errors: UM_NO_MEMORY. */
um_status um_score_faces(um_score_row *row, double threshold);
