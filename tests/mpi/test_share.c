/* share: one block a node, seen alike by all, read-only in the end, and nothing left behind. */
#include "mpi/share.h"
#include "src/core/log.h"
#include "tests/unit/test.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static um_world w;
static int warnings;

static void count(void *user, um_log_level level, const char *line)
{
    (void)user;
    warnings += level == UM_LOG_WARN && strstr(line, "cannot be shared") != NULL;
}

/* Files that this process made in /dev/shm. */
static int left_behind(void)
{
    char mine[40];
    snprintf(mine, sizeof mine, "unmask-%ld-", (long)getpid());
    DIR *d = opendir("/dev/shm");
    struct dirent *e;
    int n = 0;
    while (d && (e = readdir(d))) n += strncmp(e->d_name, mine, strlen(mine)) == 0;
    if (d) closedir(d);
    return n;
}

static bool dies_writing(char *p)
{
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        *(volatile char *)p = 1;
        _exit(0);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static uint32_t value(size_t i) { return (uint32_t)(i * 2654435761u) ^ 77; }

static void round_of(int ways, size_t bytes, bool shared)
{
    um_share s;
    int n_fill = 0, mine;
    warnings = 0;
    CHECK_OK(um_share_open(&w, bytes, ways, &s));
    if (!s.data) return;
    MPI_Barrier(w.comm);
    CHECK_INT(left_behind(), 0); /* it has no name any more */
    CHECK_INT(s.bytes, bytes);
    CHECK_INT((uintptr_t)s.data % 4096, 0);
    CHECK_INT(s.shared, shared || w.node_size == 1);
    CHECK_INT(warnings, !s.shared && w.node_rank == 0);
    mine = s.fill;
    MPI_Allreduce(&mine, &n_fill, 1, MPI_INT, MPI_SUM, w.comm);
    CHECK_INT(n_fill, s.shared ? w.n_nodes : w.size);
    uint32_t *v = s.data;
    size_t n = bytes / 4;
    if (s.fill)
        for (size_t i = 0; i < n; i++) v[i] = value(i);
    CHECK_OK(um_share_ready(&w, &s, UM_OK, "filling"));
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++) wrong += v[i] != value(i);
    CHECK_INT(wrong, 0);
    if (n > 0) CHECK(dies_writing(s.data));
    /* One rank may be done with it before the others. */
    if (w.rank == 0) um_share_close(&s);
    MPI_Barrier(w.comm);
    if (w.rank > 0 && n > 0) CHECK_INT(v[n - 1], value(n - 1));
    um_share_close(&s);
    CHECK(s.data == NULL);
    um_share_close(&s);
}

static void failures(void)
{
    um_share s;
    /* The rank that fills fails: all learn it. */
    CHECK_OK(um_share_open(&w, 1000, UM_SHARE_ANY, &s));
    um_status st = s.fill ? UM_FAIL(UM_DATA, "no such weights") : UM_OK;
    CHECK_INT(um_share_ready(&w, &s, st, "weights"), UM_DATA);
    CHECK(strstr(um_err_text(), "no such weights") != NULL);
    CHECK(s.data == NULL);
    /* More than can be. */
    CHECK_INT(um_share_open(&w, SIZE_MAX / 2, UM_SHARE_ANY, &s), UM_NO_MEMORY);
    if (w.node_size > 1) CHECK_INT(um_share_open(&w, 1000 + (size_t)w.node_rank, UM_SHARE_ANY, &s), UM_INTERNAL);
    /* Too little room for it (a limit on files stands in for the 64 MB /dev/shm of containers): known at once, no SIGBUS, memory of its own. */
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 1 << 20;
    setrlimit(RLIMIT_FSIZE, &small);
    round_of(UM_SHARE_ANY, 3 << 20, false);
    round_of(UM_SHARE_ANY, 1 << 19, true);
    setrlimit(RLIMIT_FSIZE, &old);
}

int main(void)
{
    CHECK_OK(um_world_open(&w));
    um_log_set_sink(count, NULL);
    static const size_t sizes[] = {0, 1, 4096, 5000, 3 << 20};
    static const int ways[] = {UM_SHARE_ANY, UM_SHARE_MEMFD, UM_SHARE_FILE, 0};
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 5; k++) round_of(ways[i], sizes[k], ways[i] != 0);
    failures();
    um_err_clear();
    MPI_Barrier(w.comm);
    int failed = test_failures;
    MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, w.comm);
    um_world_close(&w);
    return failed ? 1 : TEST_END();
}
