#include "jobs/stop.h"

#include "io/store.h"

#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stop;

static void on_stop(int signal_number)
{
    if (stop != 0 && signal_number == SIGINT) _exit(75);
    stop = 1;
}

static void on_fatal(int signal_number)
{
    um_store_last_words(signal_number);
    raise(signal_number); /* the handler was reset: the default action follows */
}

void um_stop_install(void)
{
    static const int polite[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2}, fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    struct sigaction a;
    memset(&a, 0, sizeof a);
    sigemptyset(&a.sa_mask);
    a.sa_handler = on_stop;
    a.sa_flags = SA_RESTART;
    for (size_t i = 0; i < sizeof polite / sizeof polite[0]; i++) sigaction(polite[i], &a, NULL);
#ifndef UNMASK_SANITIZED /* a sanitizer reports these itself */
    a.sa_handler = on_fatal;
    a.sa_flags = (int)SA_RESETHAND;
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) sigaction(fatal[i], &a, NULL);
#else
    (void)on_fatal;
    (void)fatal;
#endif
}

const volatile sig_atomic_t *um_stop_flag(void)
{
    return &stop;
}
