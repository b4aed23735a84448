#pragma once
/* scores.h: scores of videos as a table: what unmask score wrote (scores.csv, or --submission), or any CSV file with such columns. */
#include "io/vfs.h"

typedef struct um_scores_row {
    char *path;
    double score; /* NaN: none */
    bool failed;    /* it has a status, and that is not OK */
    bool repeated; /* private */
} um_scores_row;

typedef struct um_scores {
    um_scores_row *row; /* as in the file */
    int n;
    int n_repeated;     /* rows that were left out: the same path and score as one before */
    char *text;         /* private: paths point into it */
} um_scores;

/* Columns: path or filename; score or label (a probability of a fake; empty or NaN: none); status, if it is there. Errors: UM_MISSING, UM_IO, UM_DATA (columns; with the line: not a number from 0 to 1; a path with two different scores), UM_NO_MEMORY. */
um_status um_scores_read(um_vfs *vfs, const char *path, um_scores *out);
void um_scores_release(um_scores *s);
