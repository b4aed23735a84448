#pragma once
/* pool.h: threads that share out the items of a loop.
 *
 *     um_pool *p; UM_PASS(um_pool_new(4, &p));                 // 3 threads and the caller
 *     UM_PASS(um_pool_run(p, n, body, &work));
 *     um_pool_free(p);
 *
 * Items are handed out one by one, so what an item computes must not depend on the thread or the order: then results do not depend on the number of threads. Threads sleep between loops (they do not spin).
 * Signals are blocked in them: the main thread handles these.
 */
#include "src/core/err.h"

#include <stdint.h>

typedef struct um_pool um_pool;
/* thread: 0 .. um_pool_threads - 1; 0 is the caller. */
typedef um_status um_pool_body(void *user, int64_t item, int thread);

/* n_threads >= 1 counts the caller. Errors: UM_NO_MEMORY, UM_INTERNAL. */
um_status um_pool_new(int n_threads, um_pool **out);
void um_pool_free(um_pool *p);
int um_pool_threads(const um_pool *p); /* 1 for NULL */
/* body(user, i, thread) for i in [0, n). After a failure no new items begin; the status and error chain of the lowest item that failed is the result. p may be NULL: a plain loop. One caller at a time. */
um_status um_pool_run(um_pool *p, int64_t n, um_pool_body *body, void *user);
/* Processors this process may use (its affinity mask), at least 1. */
int um_processors(void);
