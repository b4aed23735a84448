#pragma once
/* opt.h: one table row per option: the row is the parser, the help, the configuration key and --print-config.
 *
 *     typedef struct detect_opts { const char *detector; double thresholds[3]; um_frames frames; bool landmarks; } detect_opts;
 *     static const um_opt table[] = {
 *         {"detector", 0, UM_OPT_TEXT, offsetof(detect_opts, detector), NULL, "FILE", .help = "weights made by unmask import mtcnn"},
 *         {"frames", 0, UM_OPT_FRAMES, offsetof(detect_opts, frames), "every:10", "SPEC", .help = "which frames"},
 *         {NULL}};
 *
 * Every row can be given as --key VALUE, --key=VALUE or --set key=VALUE; rows with UM_OPT_SET_ONLY only through --set. A flag takes no value and also knows --no-key; in --set it takes true or false.
 * The last one given wins, except UM_OPT_TEXTS, which collects. Unknown options are UM_USAGE with the nearest known name. "--" ends the options.
 * Every job also knows --help, --print-config, --set, --quiet, --verbose (um_opt_common).
 */
#include "src/core/buf.h"

#include <stdbool.h>

typedef enum um_opt_type {
    UM_OPT_FLAG,   /* bool */
    UM_OPT_INT,    /* int64_t, within [min, max] */
    UM_OPT_REAL,   /* double, within [min, max]; `choices` may name one word that stands for 0 ("auto") */
    UM_OPT_TEXT,   /* const char *; NULL without default */
    UM_OPT_TEXTS,  /* um_texts; repeatable */
    UM_OPT_CHOICE, /* const char *: one of `choices`, "a|b|c" */
    UM_OPT_SET,    /* unsigned: bit i for the i-th of `choices`; "a,c" */
    UM_OPT_REALS3, /* double[3], each within [min, max]; ".7,.8,.8" */
    UM_OPT_FRAMES, /* um_frames */
    UM_OPT_SIZE    /* int[2]: "640x480" */
} um_opt_type;

enum {
    UM_OPT_SET_ONLY = 1, /* only --set key=value */
    UM_OPT_REQUIRED = 2,
    UM_OPT_FROZEN = 4    /* part of the configuration an output is made with: a continued run must not change it */
};

typedef struct um_opt {
    const char *key;     /* NULL ends the table */
    char letter;         /* short form, 0 for none */
    um_opt_type type;
    size_t offset;       /* of the value in the caller's struct */
    const char *def;     /* default as text; NULL: zeroed */
    const char *arg;     /* placeholder in the help: "FILE"; a unit belongs here too: "SECONDS" */
    double min, max;     /* INT, REAL, REALS3; both 0: any */
    const char *choices; /* CHOICE, SET, REAL */
    unsigned flags;
    const char *help;    /* one sentence, lower case, no full stop */
} um_opt;

typedef struct um_texts { /* borrowed strings; the array is owned: um_texts_release */
    const char **text;
    int n;
} um_texts;
void um_texts_release(um_texts *t);

typedef struct um_opt_common {
    bool help, print_config, quiet, verbose;
} um_opt_common;

/* Fills *values from defaults and argv[0..argc). Operands (what is not an option) are collected in *operands. With --help nothing else is checked. Strings point into argv or the table. Errors: UM_USAGE. */
um_status um_opt_parse(const um_opt *table, int argc, const char *const *argv, void *values, um_texts *operands, um_opt_common *common);
/* Releases what UM_OPT_TEXTS rows own. */
void um_opt_release(const um_opt *table, void *values);
/* The help text of the table's rows and of the common ones. */
um_status um_opt_help(const um_opt *table, um_buf *out);
/* The rows of um_opt_common, for texts about them. */
const um_opt *um_opt_common_rows(void);
/* {"key": "value", ...} of the rows that have all of `flags`, keys sorted, values as text in one normal form. One line when `compact`, else indented. */
um_status um_opt_config(const um_opt *table, const void *values, unsigned flags, bool compact, um_buf *out);
/* Of NULL-terminated `names` the one nearest to `word` (edit distance at most 1/3 of its length, at least 2), NULL if none is near. */
const char *um_nearest(const char *word, const char *const *names);
