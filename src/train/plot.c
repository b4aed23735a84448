#include "src/train/plot.h"

#include "src/core/utf8.h"

#include <math.h>
#include <string.h>

/* The sheet, in its own units. */
enum { WIDTH = 720, HEIGHT = 480, LEFT = 72, RIGHT = 696, TOP = 48, BOTTOM = 416, TICKS = 5 };

static const char *const colours[UM_PLOT_COLOURS] = {"#1f5fa8", "#c4421a", "#2b8a3e", "#8a4fb0", "#b8860b", "#0b7285", "#a61e4d", "#495057"}; /* dark enough for white paper */

static const char *colour_of(const um_plot_line *l) { return l->colour < 0 ? "#888888" : colours[l->colour % UM_PLOT_COLOURS]; }

/* XML allows neither < & > nor control characters; what is not UTF-8 is shown as '?'. */
static um_status add_text(um_buf *b, const char *s)
{
    for (size_t n = strlen(s), i = 0; i < n;) {
        size_t len = um_utf8_len((const unsigned char *)s + i, n - i);
        if (s[i] == '<' || s[i] == '>' || s[i] == '&') UM_PASS(um_buf_add_str(b, s[i] == '<' ? "&lt;" : s[i] == '>' ? "&gt;" : "&amp;"));
        else if (len == 0 || (unsigned char)s[i] < 32) UM_PASS(um_buf_add_str(b, "?"));
        else UM_PASS(um_buf_add(b, s + i, len));
        i += len > 0 ? len : 1;
    }
    return UM_OK;
}

static double at(const um_plot_axis *a, double v, double from, double to)
{
    double f = (v - a->from) / (a->to - a->from);
    return from + (to - from) * (f < 0 ? 0 : f > 1 ? 1 : f);
}

/* A step of 1, 2 or 5 times a power of ten that gives about TICKS marks. */
static double tick_step(const um_plot_axis *a)
{
    double rough = (a->to - a->from) / TICKS, power = pow(10, floor(log10(rough))), f = rough / power;
    return power * (f < 1.5 ? 1 : f < 3.5 ? 2 : f < 7.5 ? 5 : 10);
}

static um_status add_axes(const um_plot *p, um_buf *b)
{
    double sx = tick_step(&p->x), sy = tick_step(&p->y);
    for (double i = ceil(p->x.from / sx - 1e-9); i * sx <= p->x.to + 1e-9 * sx; i++) {
        double x = at(&p->x, i * sx, LEFT, RIGHT);
        UM_PASS(um_buf_printf(b, "<path d=\"M%.1f %dV%d\" stroke=\"#dddddd\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", x, TOP, BOTTOM, x, BOTTOM + 20, fabs(i * sx) < 1e-12 ? 0 : i * sx));
    }
    for (double i = ceil(p->y.from / sy - 1e-9); i * sy <= p->y.to + 1e-9 * sy; i++) {
        double y = at(&p->y, i * sy, BOTTOM, TOP);
        UM_PASS(um_buf_printf(b, "<path d=\"M%d %.1fH%d\" stroke=\"#dddddd\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", LEFT, y, RIGHT, LEFT - 8, y + 4, fabs(i * sy) < 1e-12 ? 0 : i * sy));
    }
    UM_PASS(um_buf_printf(b, "<path d=\"M%d %dV%dH%d\" fill=\"none\" stroke=\"#222222\"/>\n", LEFT, TOP, BOTTOM, RIGHT));
    UM_PASS(um_buf_printf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (LEFT + RIGHT) / 2, HEIGHT - 16));
    UM_PASS(add_text(b, p->x.label));
    UM_PASS(um_buf_printf(b, "</text>\n<text transform=\"translate(20 %d) rotate(-90)\" text-anchor=\"middle\">", (TOP + BOTTOM) / 2));
    UM_PASS(add_text(b, p->y.label));
    return um_buf_add_str(b, "</text>\n");
}

static um_status add_line(const um_plot *p, const um_plot_line *l, um_buf *b)
{
    bool pen = false;
    UM_PASS(um_buf_printf(b, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\"%s d=\"", colour_of(l), l->dashed ? " stroke-dasharray=\"6 4\"" : ""));
    for (size_t i = 0; i < l->n; i++) {
        if (isnan(l->x[i]) || isnan(l->y[i])) {
            pen = false;
            continue;
        }
        UM_PASS(um_buf_printf(b, "%c%.2f %.2f", pen ? 'L' : 'M', at(&p->x, l->x[i], LEFT, RIGHT), at(&p->y, l->y[i], BOTTOM, TOP)));
        pen = true;
    }
    UM_PASS(um_buf_add_str(b, "\"/>\n"));
    for (size_t i = 0; l->marks && i < l->n; i++) {
        if (isnan(l->x[i]) || isnan(l->y[i])) continue;
        UM_PASS(um_buf_printf(b, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"3.5\" fill=\"%s\"/>\n", at(&p->x, l->x[i], LEFT, RIGHT), at(&p->y, l->y[i], BOTTOM, TOP), colour_of(l)));
    }
    return UM_OK;
}

static um_status add_legend(const um_plot *p, um_buf *b)
{
    int shown = 0, n = 0;
    for (int i = 0; i < p->n_lines; i++) n += p->line[i].label != NULL;
    if (n == 0) return UM_OK;
    int bottom = p->legend_above ? TOP + 18 * n + 12 : BOTTOM;
    UM_PASS(um_buf_printf(b, "<rect x=\"%d\" y=\"%d\" width=\"300\" height=\"%d\" fill=\"white\" fill-opacity=\"0.85\"/>\n", RIGHT - 308, bottom - 18 * n - 12, 18 * n + 6));
    for (int i = 0; i < p->n_lines; i++) {
        const um_plot_line *l = &p->line[i];
        if (l->label == NULL) continue;
        int y = bottom - 18 * (n - shown++) + 4;
        UM_PASS(um_buf_printf(b, "<path d=\"M%d %dH%d\" stroke=\"%s\" stroke-width=\"2\"%s/><text x=\"%d\" y=\"%d\">", RIGHT - 300, y - 4, RIGHT - 272, colour_of(l), l->dashed ? " stroke-dasharray=\"6 4\"" : "", RIGHT - 264, y));
        UM_PASS(add_text(b, l->label));
        UM_PASS(um_buf_add_str(b, "</text>\n"));
    }
    return UM_OK;
}

um_status um_plot_svg(const um_plot *p, um_buf *b)
{
    UM_PASS(um_buf_printf(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#222222\">\n"
                             "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n<text x=\"%d\" y=\"28\" font-size=\"16\" text-anchor=\"middle\">",
                          WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT, (LEFT + RIGHT) / 2));
    UM_PASS(add_text(b, p->title));
    UM_PASS(um_buf_add_str(b, "</text>\n"));
    UM_PASS(add_axes(p, b));
    for (int i = 0; i < p->n_lines; i++) UM_PASS(add_line(p, &p->line[i], b));
    UM_PASS(add_legend(p, b));
    return um_buf_add_str(b, "</svg>\n");
}
