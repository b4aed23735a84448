#pragma once
/* model_files.h: which files -m DIR and -m FILE mean, for every command that takes models. */
#include "jobs/job.h"

typedef struct um_model_file {
    char *path;
    bool found; /* in a folder: nobody named the file itself, so what is no model for the purpose is left out, not refused */
} um_model_file;

typedef struct um_model_files {
    um_model_file *file;
    int n;
} um_model_files;

/* Files and folders as given, a folder's models sorted by name; given->n = 0: those in $UNMASK_HOME and in share/unmask beside the program, maybe none. Errors: UM_MISSING (a folder without model), UM_IO, UM_NO_MEMORY. Local. */
um_status um_model_files_find(const um_job_context *ctx, const um_texts *given, um_model_files *out);
void um_model_files_release(um_model_files *m);
