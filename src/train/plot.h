#pragma once
/* plot.h: a plot of lines as SVG 1.1, for a browser or a paper.
 *
 *     um_plot p = {.title = "ROC", .x = {"false positive rate", 0, 1}, .y = {"true positive rate", 0, 1}};
 *     p.line[p.n_lines++] = (um_plot_line){.label = "ensemble, AUC 0.95", .x = fpr, .y = tpr, .n = n, .colour = 0};
 *     UM_PASS(um_plot_svg(&p, &svg));
 */
#include "src/core/buf.h"

#include <stdbool.h>

enum { UM_PLOT_LINES = 16, UM_PLOT_COLOURS = 8 };

typedef struct um_plot_axis {
    const char *label; /* with its unit */
    double from, to;   /* from < to; what lies outside is drawn at the edge */
} um_plot_axis;

typedef struct um_plot_line {
    const char *label;   /* NULL: not in the legend */
    const double *x, *y; /* [n]; a NaN interrupts the line */
    size_t n;
    int colour;          /* 0 .. UM_PLOT_COLOURS - 1; -1: grey */
    bool dashed, marks;  /* marks: a dot at each point */
} um_plot_line;

typedef struct um_plot {
    const char *title;
    um_plot_axis x, y;
    um_plot_line line[UM_PLOT_LINES];
    int n_lines;
    bool legend_above; /* the legend in the upper right corner, not in the lower */
} um_plot;

/* Any text in labels: it is escaped. Errors: UM_NO_MEMORY. */
um_status um_plot_svg(const um_plot *p, um_buf *out);
