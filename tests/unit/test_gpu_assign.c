/* Which rank gets which GPU: each GPU of a machine once, near ones first, ranks that see one GPU only are not left over, sharing only where it was asked for. */
#include "jobs/device.h"
#include "tests/unit/test.h"

#include <stdarg.h>

enum { RANKS_MAX = 16 };

/* numa < 0: none. Then n GPUs, each its number on the bus and its numa node. */
static um_gpu_view view(int node, int numa, int n, ...)
{
    um_gpu_view v = {.node = node, .numa = numa, .n = n};
    va_list ap;
    va_start(ap, n);
    for (int i = 0; i < n; i++) {
        snprintf(v.gpu[i].bus, sizeof v.gpu[i].bus, "0000:%02x:00.0", (unsigned)va_arg(ap, int));
        v.gpu[i].numa = va_arg(ap, int);
    }
    va_end(ap);
    return v;
}

static void check(int line, const um_gpu_view *v, int n, bool share, const int *want, int want_without)
{
    int device[RANKS_MAX], without = um_gpu_assign(v, n, share, device);
    CHECK_INT(without, want_without);
    for (int i = 0; i < n; i++)
        if (device[i] != want[i]) {
            fprintf(stderr, "line %d: rank %d has GPU %d, want %d\n", line, i, device[i], want[i]);
            test_failures++;
        }
}
#define EXPECT(share, without, ...) check(__LINE__, v, (int)(sizeof v / sizeof *v), share, (const int[]){__VA_ARGS__}, without)

int main(void)
{
    { /* four ranks, four GPUs, all see all */
        um_gpu_view all = view(0, -1, 4, 1, 0, 2, 0, 3, 1, 4, 1), v[] = {all, all, all, all};
        EXPECT(false, 0, 0, 1, 2, 3);
    }
    { /* the same with ranks bound to NUMA nodes the other way round */
        um_gpu_view one = view(0, 1, 4, 1, 0, 2, 0, 3, 1, 4, 1), zero = view(0, 0, 4, 1, 0, 2, 0, 3, 1, 4, 1), v[] = {one, one, zero, zero};
        EXPECT(false, 0, 2, 3, 0, 1);
    }
    { /* Slurm shows each rank its own, always as number 0 */
        um_gpu_view v[] = {view(0, -1, 1, 5, 0), view(0, -1, 1, 6, 0)};
        EXPECT(false, 0, 0, 0);
    }
    { /* a rank that sees the first only: the other moves */
        um_gpu_view v[] = {view(0, -1, 2, 1, 0, 2, 0), view(0, -1, 1, 1, 0)};
        EXPECT(false, 0, 1, 0);
    }
    { /* a chain of moves */
        um_gpu_view v[] = {view(0, -1, 3, 1, 0, 2, 0, 3, 0), view(0, -1, 2, 1, 0, 2, 0), view(0, -1, 1, 1, 0)};
        EXPECT(false, 0, 2, 1, 0);
    }
    { /* the same place on the bus of two machines is two GPUs */
        um_gpu_view v[] = {view(0, -1, 1, 1, 0), view(1, -1, 1, 1, 0)};
        EXPECT(false, 0, 0, 0);
    }
    { /* too many ranks: refused, or shared evenly */
        um_gpu_view two = view(0, -1, 2, 1, 0, 2, 0), v[] = {two, two, two, two, two};
        EXPECT(false, 3, 0, 1, -1, -1, -1);
        EXPECT(true, 0, 0, 1, 0, 1, 0);
    }
    { /* one rank sees none: nothing to share with */
        um_gpu_view v[] = {view(0, -1, 1, 1, 0), view(0, -1, 0)};
        EXPECT(true, 1, 0, -1);
    }
    return TEST_END();
}
