#include "src/core/search.h"

#include <string.h>

int um_search_name(const char *(*name_at)(const void *of, int i), const void *of, int n, const char *name)
{
    int lo = 0, hi = n;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        int c = strcmp(name_at(of, mid), name);
        if (c == 0) return mid;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return -1;
}
