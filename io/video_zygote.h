#pragma once
/* video_zygote.h: the process that forks workers. It is forked itself before MPI_Init, CUDA and threads, and stays as small as it was then, so its forks are cheap and safe at any later time.
 *
 * It ends when its socket closes or its parent dies, and takes its workers with it.
 */
#include "io/video.h"

#include <sys/types.h>

/* Forks the zygote; *sock is the program's end. `hook`: see video_worker.h; copied by the fork. UM_IO, UM_NO_MEMORY. */
um_status um_zygote_start(const um_video_limits *limits, const char *hook, pid_t *pid, int *sock);
/* Closes the socket and waits for the end of the zygote and its workers. */
void um_zygote_stop(pid_t pid, int sock);
/* A new worker; *worker_sock is the program's end of its socket. UM_IO. */
um_status um_zygote_spawn(int sock, pid_t *worker, int *worker_sock);
/* Kills a worker if it still runs and collects it. The wait status as of waitpid(2), or -1 when the zygote cannot tell. */
int um_zygote_reap(int sock, pid_t worker);
