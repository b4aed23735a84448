#pragma once
/* versions.h: the libraries this program runs with. */
#include <stddef.h>

/* Lines "mpi        Open MPI ...\n" for MPI, HDF5 and FFmpeg, as loaded at run time. MPI is not initialised for it. Local. */
void um_versions(char *out, size_t size);
