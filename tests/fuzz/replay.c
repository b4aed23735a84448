/* replay: gives a fuzz target each file of a folder, without a fuzzer, and each file cut at a few places. usage: replay_<target>
 * FOLDER */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A copy of its own for each call, so that the address sanitizer sees a read past the end. */
static void run(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);
    if (copy == NULL) abort();
    if (n > 0) memcpy(copy, data, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

int main(int argc, char **argv)
{
    enum { MAX_BYTES = 1 << 20 };
    static uint8_t data[MAX_BYTES];
    int files = 0;
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    if (dir == NULL) {
        fprintf(stderr, "cannot open the corpus %s\n", argc == 2 ? argv[1] : "(none given)");
        return 1;
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[4096];
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
        FILE *f = fopen(path, "rb");
        if (f == NULL) {
            fprintf(stderr, "cannot open %s\n", path);
            return 1;
        }
        size_t n = fread(data, 1, MAX_BYTES, f);
        fclose(f);
        run(data, n);
        for (size_t part = 1; part < 8; part++) run(data, n * part / 8);
        files++;
    }
    closedir(dir);
    printf("%d files replayed\n", files);
    return files > 0 ? 0 : 1;
}
