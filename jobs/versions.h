#pragma once
/* versions.h: the libraries this program runs with. */
#include <stddef.h>

/* Lines "mpi        Open MPI ...\n" for MPI, HDF5 and FFmpeg, as loaded at run time. MPI is not initialised for it. Local. */
void um_versions(char *out, size_t size);
/* What decides the pixels of a video: "libavformat a.b.c, libavcodec a.b.c, libswscale a.b.c". Local. */
void um_versions_decoder(char *out, size_t size);
/* "glibc 2.36": it computes exp and the like. */
const char *um_version_libc(void);
