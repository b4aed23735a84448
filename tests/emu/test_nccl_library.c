/* A machine without a usable NCCL: every call says so, and what to do. mpi/nccl.c as in the real module (UM_EMU is not set): the library is looked for when it is needed.
 *
 * usage: test_nccl_library WORDS     the message must contain WORDS */
#include "src/nn/cuda/rank_sums.h"
#include "tests/unit/test.h"

#include <string.h>

static const um_rank_sums_ops *const nccl = &um_rank_sums_nccl;

int main(int argc, char **argv)
{
    unsigned char id[UM_COMM_ID_BYTES];
    um_rank_sums *c = (um_rank_sums *)id; /* anything but NULL */
    if (argc != 2) return 2;
    CHECK_INT(nccl->version(), 0);
    CHECK_STR(um_err_text(), "");
    for (int i = 0; i < 2; i++) { /* asked again, it says the same */
        CHECK_INT(nccl->id(id), UM_CONFIG);
        CHECK(strstr(um_err_text(), argv[1]) != NULL);
        CHECK_INT(nccl->open(id, 0, 1, 1, &c), UM_CONFIG);
        CHECK(strstr(um_err_text(), argv[1]) != NULL);
        CHECK(c == NULL);
    }
    nccl->close(NULL);
    nccl->break_off(NULL);
    return TEST_END();
}
