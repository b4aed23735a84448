#pragma once
/* stop.h: signals. They are an optimisation: durability never depends on them (reliability 10). */
#include <signal.h>

/* TERM, INT, USR1, USR2 set the flag that um_stop_flag gives; the job ends at the next boundary with UM_STOPPED. A second INT ends
 * at once. Fatal signals (SEGV, BUS, FPE, ILL, ABRT) write the last words of the unit in hand to the journal (um_store_last_words)
 * and die as they would have. */
void um_stop_install(void);
const volatile sig_atomic_t *um_stop_flag(void);
