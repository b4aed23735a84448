#pragma once
/* A whole file in memory, for the programs that scripts feed with raw numbers. */
#include <stdio.h>
#include <stdlib.h>

static void *read_all(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    void *p = NULL;
    long size;
    if (f == NULL) return NULL;
    if (fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) > 0 && fseek(f, 0, SEEK_SET) == 0) {
        *n = (size_t)size;
        p = malloc(*n);
        if (p != NULL && fread(p, 1, *n, f) != *n) {
            free(p);
            p = NULL;
        }
    }
    fclose(f);
    return p;
}
