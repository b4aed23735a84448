/* nccl_old.c: an NCCL of long ago, as far as a test can tell: libnccl.so.2 without the calls of 2.14. */
#include <nccl.h>

ncclResult_t ncclGetVersion(int *version)
{
    *version = 2708;
    return ncclSuccess;
}
