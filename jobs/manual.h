#pragma once
/* manual.h: the manual page and the shell's completion, made of the same tables that parse the command line (src/core/opt.h, jobs/job.h): `unmask manual man|bash`. The build installs what they print. */
#include "jobs/job.h"

/* unmask(1) for man. jobs: NULL-terminated. */
um_status um_manual_man(const um_job *const *jobs, um_buf *out);
/* A function for bash's `complete`: jobs, their second words, options, choices; else files. */
um_status um_manual_bash(const um_job *const *jobs, um_buf *out);
