#include "jobs/versions.h"

#include "mpi/world.h"

#include <gnu/libc-version.h>
#include <hdf5.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
#include <stdio.h>

void um_versions(char *out, size_t size)
{
    char mpi[128];
    unsigned major = 0, minor = 0, release = 0, f = avformat_version(), c = avcodec_version();
    um_world_library(mpi, sizeof mpi);
    H5get_libversion(&major, &minor, &release);
    snprintf(out, size, "mpi        %s\nhdf5       %u.%u.%u\nffmpeg     libavformat %u.%u.%u, libavcodec %u.%u.%u\n", mpi, major,
             minor, release, f >> 16, (f >> 8) & 255, f & 255, c >> 16, (c >> 8) & 255, c & 255);
}

void um_versions_decoder(char *out, size_t size)
{
    unsigned f = avformat_version(), c = avcodec_version(), s = swscale_version();
    snprintf(out, size, "libavformat %u.%u.%u, libavcodec %u.%u.%u, libswscale %u.%u.%u", f >> 16, (f >> 8) & 255, f & 255, c >> 16, (c >> 8) & 255, c & 255, s >> 16, (s >> 8) & 255, s & 255);
}

const char *um_version_libc(void)
{
    static char text[32];
    snprintf(text, sizeof text, "glibc %s", gnu_get_libc_version());
    return text;
}
