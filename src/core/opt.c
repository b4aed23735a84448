#include "src/core/opt.h"

#include "src/core/frames.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 160, MAX_WORD = 63 };

static const um_opt common_rows[] = {
    {"set", 0, UM_OPT_TEXTS, 0, NULL, "KEY=VALUE", .help = "set any option by its key, also those that have no other form"},
    {"print-config", 0, UM_OPT_FLAG, offsetof(um_opt_common, print_config), NULL, NULL, .help = "print the configuration that would be used, as JSON, and end"},
    {"quiet", 'q', UM_OPT_FLAG, offsetof(um_opt_common, quiet), NULL, NULL, .help = "only warnings, errors and results"},
    {"verbose", 'v', UM_OPT_FLAG, offsetof(um_opt_common, verbose), NULL, NULL, .help = "say more"},
    {"help", 'h', UM_OPT_FLAG, offsetof(um_opt_common, help), NULL, NULL, .help = "this text"},
    {NULL},
};

void um_texts_release(um_texts *t)
{
    free(t->text);
    *t = (um_texts){0};
}

static um_status texts_add(um_texts *t, const char *s)
{
    const char **p = realloc(t->text, (size_t)(t->n + 1) * sizeof *p);
    if (p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the command line");
    t->text = p;
    t->text[t->n++] = s;
    return UM_OK;
}

/* ---- choices: "a|b|c" ---- */

/* The i-th word of `choices` into word; false past the last. */
static bool choice_at(const char *choices, int i, char word[MAX_WORD + 1])
{
    const char *s = choices;
    for (; i > 0 && s != NULL; i--) {
        s = strchr(s, '|');
        if (s != NULL) s++;
    }
    if (s == NULL) return false;
    size_t n = strcspn(s, "|");
    if (n > MAX_WORD) n = MAX_WORD;
    memcpy(word, s, n);
    word[n] = 0;
    return true;
}

static int choice_index(const char *choices, const char *text, size_t n)
{
    char word[MAX_WORD + 1];
    for (int i = 0; choice_at(choices, i, word); i++)
        if (strlen(word) == n && strncmp(word, text, n) == 0) return i;
    return -1;
}

/* ---- values ---- */

static um_status parse_real(const um_opt *o, const char *text, size_t n, double *out)
{
    char word[MAX_WORD + 1], *end;
    if (n == 0 || n > MAX_WORD) return UM_FAIL(UM_USAGE, "--%s: %s is not a number", o->key, um_quote(text));
    memcpy(word, text, n);
    word[n] = 0;
    if (o->type == UM_OPT_REAL && o->choices != NULL && strcmp(word, o->choices) == 0) {
        *out = 0;
        return UM_OK;
    }
    double v = strtod(word, &end);
    if (*end != 0 || !isfinite(v)) return UM_FAIL(UM_USAGE, "--%s: %s is not a number", o->key, um_quote(word));
    if ((o->min != 0 || o->max != 0) && (v < o->min || v > o->max))
        return UM_FAIL(UM_USAGE, "--%s: %s is outside %g..%g", o->key, um_quote(word), o->min, o->max);
    *out = v;
    return UM_OK;
}

static um_status set_value(const um_opt *o, const char *text, void *values)
{
    void *at = (char *)values + o->offset;
    switch (o->type) {
    case UM_OPT_FLAG:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) return UM_FAIL(UM_USAGE, "--%s: %s is neither true nor false", o->key, um_quote(text));
        *(bool *)at = text[0] == 't';
        return UM_OK;
    case UM_OPT_INT: {
        char *end;
        errno = 0;
        long long v = strtoll(text, &end, 10);
        if (end == text || *end != 0 || errno != 0) return UM_FAIL(UM_USAGE, "--%s: %s is not a whole number", o->key, um_quote(text));
        if ((o->min != 0 || o->max != 0) && ((double)v < o->min || (double)v > o->max))
            return UM_FAIL(UM_USAGE, "--%s: %s is outside %.0f..%.0f", o->key, um_quote(text), o->min, o->max);
        *(int64_t *)at = v;
        return UM_OK;
    }
    case UM_OPT_REAL: return parse_real(o, text, strlen(text), at);
    case UM_OPT_TEXT: *(const char **)at = text; return UM_OK;
    case UM_OPT_TEXTS: return texts_add(at, text);
    case UM_OPT_CHOICE:
        if (choice_index(o->choices, text, strlen(text)) < 0)
            return UM_FAIL(UM_USAGE, "--%s: %s is not one of %s", o->key, um_quote(text), o->choices);
        *(const char **)at = text;
        return UM_OK;
    case UM_OPT_SET: {
        unsigned bits = 0;
        for (const char *s = text;; s++) {
            size_t n = strcspn(s, ",");
            int i = choice_index(o->choices, s, n);
            if (i < 0) return UM_FAIL(UM_USAGE, "--%s: %s has a word that is not one of %s", o->key, um_quote(text), o->choices);
            bits |= 1u << i;
            s += n;
            if (*s == 0) break;
        }
        *(unsigned *)at = bits;
        return UM_OK;
    }
    case UM_OPT_REALS3: {
        const char *s = text;
        for (int i = 0; i < 3; i++) {
            size_t n = strcspn(s, ",");
            if ((s[n] == ',') != (i < 2)) return UM_FAIL(UM_USAGE, "--%s: %s is not three numbers a,b,c", o->key, um_quote(text));
            UM_PASS(parse_real(o, s, n, (double *)at + i));
            s += n + 1;
        }
        return UM_OK;
    }
    case UM_OPT_FRAMES: UM_TRY(um_frames_parse(text, at), "--%s", o->key); return UM_OK;
    case UM_OPT_SIZE: {
        int w = 0, h = 0, used = 0;
        if (sscanf(text, "%5dx%5d%n", &w, &h, &used) != 2 || text[used] != 0 || w < 1 || h < 1)
            return UM_FAIL(UM_USAGE, "--%s: %s is not a size like 640x480", o->key, um_quote(text));
        ((int *)at)[0] = w;
        ((int *)at)[1] = h;
        return UM_OK;
    }
    }
    return UM_FAIL(UM_INTERNAL, "--%s: option of unknown type", o->key);
}

/* The value in one normal form, so that .7 and 0.70 are the same configuration. */
static um_status format_value(const um_opt *o, const void *values, um_buf *out)
{
    const void *at = (const char *)values + o->offset;
    switch (o->type) {
    case UM_OPT_FLAG: return um_buf_add_str(out, *(const bool *)at ? "true" : "false");
    case UM_OPT_INT: return um_buf_printf(out, "%" PRId64, *(const int64_t *)at);
    case UM_OPT_REAL:
        if (o->choices != NULL && *(const double *)at == 0) return um_buf_add_str(out, o->choices);
        return um_buf_printf(out, "%.10g", *(const double *)at);
    case UM_OPT_TEXT:
    case UM_OPT_CHOICE: {
        const char *s = *(const char *const *)at;
        return um_buf_add_str(out, s != NULL ? s : "");
    }
    case UM_OPT_TEXTS: {
        const um_texts *t = at;
        for (int i = 0; i < t->n; i++) UM_PASS(um_buf_printf(out, "%s%s", i > 0 ? "," : "", t->text[i]));
        return UM_OK;
    }
    case UM_OPT_SET: {
        char word[MAX_WORD + 1];
        unsigned bits = *(const unsigned *)at;
        bool first = true;
        for (int i = 0; choice_at(o->choices, i, word); i++) {
            if ((bits & (1u << i)) == 0) continue;
            UM_PASS(um_buf_printf(out, "%s%s", first ? "" : ",", word));
            first = false;
        }
        return UM_OK;
    }
    case UM_OPT_REALS3: {
        const double *v = at;
        return um_buf_printf(out, "%.10g,%.10g,%.10g", v[0], v[1], v[2]);
    }
    case UM_OPT_FRAMES: {
        char text[64];
        um_frames_format(at, text);
        return um_buf_add_str(out, text);
    }
    case UM_OPT_SIZE: return um_buf_printf(out, "%dx%d", ((const int *)at)[0], ((const int *)at)[1]);
    }
    return UM_OK;
}

/* ---- finding rows ---- */

static const um_opt *find_row(const um_opt *table, const char *key, size_t n, char letter)
{
    for (const um_opt *o = table; o->key != NULL; o++) {
        if (letter != 0 ? o->letter == letter : strlen(o->key) == n && strncmp(o->key, key, n) == 0) return o;
    }
    return NULL;
}

static int edit_distance(const char *a, const char *b)
{
    enum { MAX = MAX_WORD };
    int row[MAX + 1], n = (int)strlen(b);
    if (n > MAX || strlen(a) > MAX) return MAX;
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 1; a[i - 1] != 0; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int up = row[j], best = diagonal + (a[i - 1] != b[j - 1]);
            if (up + 1 < best) best = up + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = up;
            row[j] = best;
        }
    }
    return row[n];
}

const char *um_nearest(const char *word, const char *const *names)
{
    const char *best = NULL;
    int limit = (int)strlen(word) / 3, best_distance = (limit < 2 ? 2 : limit) + 1;
    for (; *names != NULL; names++) {
        int d = edit_distance(word, *names);
        if (d < best_distance) {
            best_distance = d;
            best = *names;
        }
    }
    return best;
}

static um_status unknown(const um_opt *table, const char *what, const char *word)
{
    const char *names[MAX_ROWS + 1];
    int n = 0;
    for (const um_opt *o = table; o->key != NULL && n < MAX_ROWS; o++) names[n++] = o->key;
    for (const um_opt *o = common_rows; o->key != NULL && n < MAX_ROWS; o++) names[n++] = o->key;
    names[n] = NULL;
    const char *near = um_nearest(word, names);
    if (near != NULL) return UM_FAIL(UM_USAGE, "unknown %s %s; did you mean %s?", what, um_quote(word), near);
    return UM_FAIL(UM_USAGE, "unknown %s %s; --help lists them", what, um_quote(word));
}

/* ---- parsing ---- */

static um_status parse_set(const um_opt *table, const char *pair, void *values, um_opt_common *common)
{
    const char *eq = strchr(pair, '=');
    if (eq == NULL || eq == pair) return UM_FAIL(UM_USAGE, "--set wants KEY=VALUE, not %s", um_quote(pair));
    const um_opt *o = find_row(table, pair, (size_t)(eq - pair), 0);
    if (o != NULL) return set_value(o, eq + 1, values);
    o = find_row(common_rows + 1, pair, (size_t)(eq - pair), 0);
    if (o != NULL) return set_value(o, eq + 1, common);
    char word[MAX_WORD + 1];
    snprintf(word, sizeof word, "%.*s", (int)(eq - pair), pair);
    return unknown(table, "key", word);
}

um_status um_opt_parse(const um_opt *table, int argc, const char *const *argv, void *values, um_texts *operands, um_opt_common *common)
{
    bool given[MAX_ROWS] = {false};
    bool options = true;
    for (const um_opt *o = table; o->key != NULL; o++)
        if (o->def != NULL) UM_TRY(set_value(o, o->def, values), "the default of --%s", o->key);
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--") == 0)
            break;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            common->help = true;
    if (common->help) return UM_OK;

    for (int i = 0; i < argc; i++) {
        const char *a = argv[i];
        if (!options || a[0] != '-' || a[1] == 0) {
            UM_PASS(texts_add(operands, a));
            continue;
        }
        if (strcmp(a, "--") == 0) {
            options = false;
            continue;
        }
        const char *name, *value = NULL;
        size_t n = 0;
        bool no = false, is_common = false;
        const um_opt *o;
        if (a[1] == '-') {
            name = a + 2;
            n = strcspn(name, "=");
            if (name[n] == '=') value = name + n + 1;
            o = find_row(table, name, n, 0);
            if (o == NULL) o = find_row(common_rows, name, n, 0);
            if (o == NULL && n > 3 && strncmp(name, "no-", 3) == 0) {
                o = find_row(table, name + 3, n - 3, 0);
                no = o != NULL && o->type == UM_OPT_FLAG;
                if (!no) o = NULL;
            }
        } else {
            name = a + 1;
            o = find_row(table, NULL, 0, a[1]);
            if (o == NULL) o = find_row(common_rows, NULL, 0, a[1]);
            if (a[2] != 0) value = a + 2;
        }
        if (o == NULL) {
            char word[MAX_WORD + 1];
            snprintf(word, sizeof word, "%.*s", a[1] == '-' ? (int)n : (int)strlen(name), name);
            return unknown(table, "option", word);
        }
        is_common = o >= common_rows && o < common_rows + sizeof common_rows / sizeof common_rows[0];
        if (!is_common && (o->flags & UM_OPT_SET_ONLY) != 0) return UM_FAIL(UM_USAGE, "%s is given as --set %s=VALUE", um_quote(a), o->key);
        if (o->type == UM_OPT_FLAG) {
            if (value != NULL) return UM_FAIL(UM_USAGE, "--%s takes no value", o->key);
            UM_PASS(set_value(o, no ? "false" : "true", is_common ? (void *)common : values));
        } else {
            if (value == NULL) {
                if (i + 1 >= argc) return UM_FAIL(UM_USAGE, "--%s wants a value (%s)", o->key, o->arg != NULL ? o->arg : "VALUE");
                value = argv[++i];
            }
            UM_PASS(is_common ? parse_set(table, value, values, common) : set_value(o, value, values));
        }
        if (!is_common) given[o - table] = true;
    }
    if (common->print_config) return UM_OK;
    for (const um_opt *o = table; o->key != NULL; o++) {
        if ((o->flags & UM_OPT_REQUIRED) == 0 || given[o - table]) continue;
        if (o->letter != 0) return UM_FAIL(UM_USAGE, "-%c %s is missing: %s", o->letter, o->arg, o->help);
        return UM_FAIL(UM_USAGE, "--%s %s is missing: %s", o->key, o->arg, o->help);
    }
    return UM_OK;
}

void um_opt_release(const um_opt *table, void *values)
{
    for (const um_opt *o = table; o->key != NULL; o++)
        if (o->type == UM_OPT_TEXTS) um_texts_release((um_texts *)(void *)((char *)values + o->offset));
}

/* ---- help and configuration ---- */

static um_status help_row(const um_opt *o, um_buf *out)
{
    enum { COLUMN = 34 };
    char left[256];
    const char *arg = o->type == UM_OPT_CHOICE || o->type == UM_OPT_SET ? o->choices : o->arg;
    int n;
    if ((o->flags & UM_OPT_SET_ONLY) != 0)
        n = snprintf(left, sizeof left, "  --set %s=%s", o->key, arg != NULL ? arg : "VALUE");
    else
        n = snprintf(left, sizeof left, "  %c%c%s--%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->key,
                     o->type == UM_OPT_FLAG ? "" : " ", o->type == UM_OPT_FLAG ? "" : (arg != NULL ? arg : "VALUE"));
    UM_PASS(um_buf_add_str(out, left));
    if (n >= COLUMN) {
        UM_PASS(um_buf_add_str(out, "\n"));
        n = 0;
    }
    UM_PASS(um_buf_printf(out, "%*s%s", COLUMN - n, "", o->help));
    if (o->def != NULL && o->type != UM_OPT_FLAG) UM_PASS(um_buf_printf(out, " (default %s)", o->def));
    if ((o->flags & UM_OPT_REQUIRED) != 0) UM_PASS(um_buf_add_str(out, " (required)"));
    return um_buf_add_str(out, "\n");
}

const um_opt *um_opt_common_rows(void) { return common_rows; }

um_status um_opt_help(const um_opt *table, um_buf *out)
{
    for (const um_opt *o = table; o->key != NULL; o++) UM_PASS(help_row(o, out));
    for (const um_opt *o = common_rows; o->key != NULL; o++) UM_PASS(help_row(o, out));
    return UM_OK;
}

static int by_key(const void *a, const void *b) { return strcmp((*(const um_opt *const *)a)->key, (*(const um_opt *const *)b)->key); }

um_status um_opt_config(const um_opt *table, const void *values, unsigned flags, bool compact, um_buf *out)
{
    const um_opt *rows[MAX_ROWS];
    size_t n = 0;
    um_buf value = {0};
    um_status st = um_buf_add_str(out, "{");
    for (const um_opt *o = table; o->key != NULL && n < MAX_ROWS; o++)
        if ((o->flags & flags) == flags) rows[n++] = o;
    qsort(rows, n, sizeof rows[0], by_key);
    for (size_t i = 0; i < n && st == UM_OK; i++) {
        um_buf_clear(&value);
        st = um_buf_printf(out, "%s%s\"%s\": ", i > 0 ? "," : "", compact ? (i > 0 ? " " : "") : "\n  ", rows[i]->key);
        if (st == UM_OK) st = um_buf_add_str(&value, "");
        if (st == UM_OK) st = format_value(rows[i], values, &value);
        if (st == UM_OK) st = um_buf_add_json(out, (const char *)value.data);
    }
    if (st == UM_OK) st = um_buf_add_str(out, compact ? "}" : "\n}\n");
    um_buf_release(&value);
    return st;
}
