#pragma once
/* console.h: what people see on stderr: log lines and progress. stdout is for results. */
#include "src/core/log.h"

#include <stdbool.h>
#include <stdint.h>

/* Installs the sink of src/core/log.h. rank > 0: lines carry the rank, and only warnings and errors are shown until
 * um_console_file. */
void um_console_open(int rank, int size, bool quiet, bool verbose);
/* All lines of this rank also go to `path`, appended, with time. False when it cannot be opened. */
bool um_console_file(const char *path);
void um_console_close(void);

/* Progress: on a terminal one live line, otherwise a line a minute. Rank 0 only. `done` and `total` in any one unit of work (what
 * the rate and the time left are reckoned from); `words` is shown first, "120 of 400 videos, 3 bad". */
typedef struct um_progress {
    double start_s, shown_s;
    int64_t first; /* work that was done before this run */
    bool live;
} um_progress;
void um_progress_begin(um_progress *p, int64_t already_done);
void um_progress_show(um_progress *p, const char *words, int64_t done, int64_t total, bool force);
void um_progress_end(um_progress *p);
