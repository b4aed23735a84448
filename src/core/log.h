#pragma once
/* log.h: what the program tells people while it works.
 *
 * Libraries say it through um_log; where it goes is decided once by jobs/console.c, which installs a sink. Without a sink (unit tests)
 * nothing is printed. Levels: ERROR and WARN are always shown, INFO unless --quiet, DEBUG with --verbose.
 */
typedef enum um_log_level { UM_LOG_ERROR, UM_LOG_WARN, UM_LOG_INFO, UM_LOG_DEBUG } um_log_level;

typedef void um_log_sink(void *user, um_log_level level, const char *line);

/* Not thread-safe: call it once, at the start. */
void um_log_set_sink(um_log_sink *sink, void *user);
/* One line without its newline. Any thread; the sink is called by one thread at a time. */
void um_log(um_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
