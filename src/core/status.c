#include "src/core/status.h"

#include <string.h>

typedef struct status_row {
    um_status st;
    const char *name;
    um_status_class cls;
    int exit_code;
    const char *text;
} status_row;

static const status_row rows[] = {
#define X(sym, num, name, cls, exit_code, text) {sym, name, UM_CLASS_##cls, exit_code, text},
    UM_STATUS_TABLE(X)
#undef X
};

static const status_row *find(um_status st)
{
    static const status_row unknown = {UM_INTERNAL, "UNKNOWN", UM_CLASS_JOB, 70, "unknown status"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].st == st) return &rows[i];
    return &unknown;
}

const char *um_status_name(um_status st) { return find(st)->name; }
const char *um_status_text(um_status st) { return find(st)->text; }
int um_status_exit(um_status st) { return find(st)->exit_code; }
um_status_class um_status_class_of(um_status st) { return find(st)->cls; }

bool um_status_is_bad(um_status st) { return st != UM_OK && st != UM_PARTIAL && st != UM_NO_FACE && st != UM_PENDING; }

int um_status_from_name(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].name, name) == 0) return (int)rows[i].st;
    return -1;
}
