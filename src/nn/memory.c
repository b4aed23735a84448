/* memory.c: where each value lies in the arena. Two values may share bytes when no kernel has both alive: a value lives from the kernel that writes it to the last that reads it, both included.
 * The largest is placed first, each at the lowest place that no living neighbour holds (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020: greedy by size). */
#include "src/nn/plan_parts.h"

#include <stdlib.h>

static void reads(um_plan *p, int value, int group)
{
    if (value >= 0 && p->value[value].last < group) p->value[value].last = group;
}

static void writes(um_plan *p, int value, int group)
{
    if (value < 0) return;
    p->value[value].first = group;
    reads(p, value, group);
}

static void find_lives(um_plan *p)
{
    for (int g = 0; g < p->n_groups; g++)
        for (int i = p->group[g].first; i < p->group[g].first + p->group[g].n; i++) {
            const um_step *s = &p->step[i];
            reads(p, s->in, g);
            reads(p, s->residual, g);
            reads(p, s->gate, g);
            writes(p, s->out, g);
            writes(p, s->means, g);
        }
    p->value[UM_VALUE_IMAGES].first = -1;
    reads(p, p->output, p->n_groups); /* until the caller has it */
    for (int i = 0; i < p->n_values; i++) p->value[i].placed = p->value[i].last >= 0;
    /* What a group hands from one of its steps to the next stays inside of it. */
    for (int g = 0; g < p->n_groups; g++)
        for (int i = p->group[g].first; i < p->group[g].first + p->group[g].n - 1; i++) p->value[p->step[i].out].placed = false;
}

typedef struct entry {
    size_t room, offset;
    int value;
} entry;

static int larger_first(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->room != y->room) return x->room < y->room ? 1 : -1;
    return x->value < y->value ? -1 : 1;
}

static int lower_first(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->value < y->value ? -1 : 1;
}

um_status um_place(um_plan *p)
{
    int n = 0;
    entry *e = calloc(2 * (size_t)p->n_values, sizeof *e), *near = e + p->n_values;
    if (e == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for the memory plan of %d values", p->n_values);
    find_lives(p);
    for (int i = 0; i < p->n_values; i++)
        if (p->value[i].placed) e[n++] = (entry){um_align(p->value[i].bytes + UM_SLACK_BYTES), 0, i};
    qsort(e, (size_t)n, sizeof *e, larger_first);
    p->arena_bytes = 0;
    for (int i = 0; i < n; i++) {
        const um_value *v = &p->value[e[i].value];
        size_t place = 0;
        int n_near = 0;
        for (int j = 0; j < i; j++) {
            const um_value *u = &p->value[e[j].value];
            if (u->first <= v->last && v->first <= u->last) near[n_near++] = e[j];
        }
        qsort(near, (size_t)n_near, sizeof *near, lower_first);
        for (int j = 0; j < n_near && near[j].offset < place + e[i].room; j++)
            if (near[j].offset + near[j].room > place) place = near[j].offset + near[j].room;
        e[i].offset = p->value[e[i].value].offset = place;
        if (place + e[i].room > p->arena_bytes) p->arena_bytes = place + e[i].room;
    }
    free(e);
    return UM_OK;
}
