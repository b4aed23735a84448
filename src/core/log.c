#include "src/core/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

static um_log_sink *the_sink;
static void *the_user;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void um_log_set_sink(um_log_sink *sink, void *user)
{
    the_sink = sink;
    the_user = user;
}

void um_log(um_log_level level, const char *fmt, ...)
{
    char line[2048];
    va_list ap;
    if (the_sink == NULL) return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&lock);
    the_sink(the_user, level, line);
    pthread_mutex_unlock(&lock);
}
