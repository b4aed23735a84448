#pragma once
/* video_worker.h: the process that decodes. Forked by the zygote, single-threaded, serves one program over one socket, video after video, until the socket closes.
 *
 * Test only: the environment variable UNMASK_TEST_DECODER, read by um_decoder_start, makes workers misbehave on files that hold a given word within their first 64 bytes:
 * "crash:WORD,spin:WORD,eat:WORD,late:WORD,lie:WORD" = raise SIGSEGV, loop for ever, allocate without end, SIGSEGV after the third frame given, send messages that make no sense.
 */
#include "io/video.h"

/* `hook`: the value of UNMASK_TEST_DECODER or NULL. Never returns. */
_Noreturn void um_worker_run(int sock, const um_video_limits *limits, const char *hook);
