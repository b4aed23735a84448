#pragma once
/* placing.h: one block of memory for many things, laid out by a function of the caller that is called twice: without a base, to count; then with the memory.
 *
 *     um_placing p = {.base = base, .align = 64};
 *     x = um_place(&p, n_x * sizeof *x);       // NULL without a base
 *     y = um_place(&p, n_y * sizeof *y);
 *     return p.end;                            // bytes wanted
 */
#include <stddef.h>

typedef struct um_placing {
    unsigned char *base;
    size_t end, align, slack; /* each thing begins at a multiple of align, and has so many bytes of nobody's behind it */
} um_placing;

static inline void *um_place(um_placing *p, size_t bytes)
{
    size_t at = p->end;
    p->end += (bytes + p->slack + p->align - 1) / p->align * p->align;
    return p->base == NULL ? NULL : p->base + at;
}
