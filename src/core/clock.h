#pragma once
/* clock.h: time. */
#include <stdint.h>

/* Seconds since an arbitrary start, never going back. Any thread. */
double um_clock_s(void);
/* Seconds of processor time this process has used. */
double um_clock_cpu_s(void);
/* "2026-11-23T03:06:51Z" of now into out[21]. */
void um_clock_iso(char out[21]);
/* "1 h 02 min", "3 min 20 s", "4.2 s" into out[24]. */
void um_clock_span(double seconds, char out[24]);
