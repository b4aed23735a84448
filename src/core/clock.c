#include "src/core/clock.h"

#include <stdio.h>
#include <time.h>

static double read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double um_clock_s(void) { return read_clock(CLOCK_MONOTONIC); }
double um_clock_cpu_s(void) { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

void um_clock_iso(char out[21])
{
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void um_clock_span(double seconds, char out[24])
{
    if (seconds < 0) seconds = 0;
    if (seconds < 60) {
        snprintf(out, 24, "%.1f s", seconds);
    } else if (seconds < 3600) {
        snprintf(out, 24, "%d min %02d s", (int)(seconds / 60), (int)seconds % 60);
    } else {
        if (seconds > 3.6e8) seconds = 3.6e8;
        snprintf(out, 24, "%d h %02d min", (int)(seconds / 3600), (int)(seconds / 60) % 60);
    }
}
