#include "jobs/console.h"

#include "src/core/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct {
    int rank, size;
    bool quiet, verbose, terminal, live_line;
    FILE *file;
} console;

static void sink(void *user, um_log_level level, const char *line)
{
    static const char *const prefix[] = {"error: ", "warning: ", "", ""};
    (void)user;
    if (console.file != NULL) {
        char now[21];
        um_clock_iso(now);
        fprintf(console.file, "%s %s%s\n", now, prefix[level], line);
        fflush(console.file);
    }
    if (level == UM_LOG_DEBUG && !console.verbose) return;
    if (level == UM_LOG_INFO && (console.quiet || console.rank > 0)) return;
    if (console.live_line) fprintf(stderr, "\r\033[K");
    console.live_line = false;
    if (console.size > 1 && console.rank > 0)
        fprintf(stderr, "[rank %d] %s%s\n", console.rank, prefix[level], line);
    else
        fprintf(stderr, "%s%s\n", prefix[level], line);
}

void um_console_open(int rank, int size, bool quiet, bool verbose)
{
    console.rank = rank;
    console.size = size;
    console.quiet = quiet;
    console.verbose = verbose;
    console.terminal = isatty(STDERR_FILENO) != 0;
    um_log_set_sink(sink, NULL);
}

bool um_console_file(const char *path)
{
    console.file = fopen(path, "ae");
    return console.file != NULL;
}

void um_console_close(void)
{
    if (console.file != NULL) fclose(console.file);
    console.file = NULL;
}

void um_progress_begin(um_progress *p, int64_t already_done)
{
    *p = (um_progress){.start_s = um_clock_s(), .shown_s = um_clock_s(), .first = already_done, .live = console.terminal};
}

void um_progress_show(um_progress *p, const char *words, int64_t done, int64_t total, bool force)
{
    double now = um_clock_s(), elapsed = now - p->start_s;
    if (console.quiet || (!force && now - p->shown_s < (p->live ? 0.25 : 60))) return;
    p->shown_s = now;
    char left[24] = "?", spent[24];
    um_clock_span(elapsed, spent);
    if (done > p->first && elapsed > 0) um_clock_span(elapsed * (double)(total - done) / (double)(done - p->first), left);
    double percent = total > 0 ? 100.0 * (double)done / (double)total : 100;
    if (p->live) {
        fprintf(stderr, "\r\033[K%s  %.1f %%  %s, %s left", words, percent, spent, left);
        fflush(stderr);
        console.live_line = true;
    } else {
        um_log(UM_LOG_INFO, "%s  %.1f %%  %s, %s left", words, percent, spent, left);
    }
}

void um_progress_end(um_progress *p)
{
    (void)p;
    if (console.live_line) fprintf(stderr, "\r\033[K");
    console.live_line = false;
}
