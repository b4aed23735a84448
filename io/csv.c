#include "io/csv.h"

#include <stdbool.h>
#include <string.h>

char *um_csv_begin(char *text) { return strncmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text; }

int um_csv_cut(char **at, char *field[UM_CSV_MAX_FIELDS])
{
    char *p = *at;
    int n = 0;
    for (bool more = true; more;) {
        if (n == UM_CSV_MAX_FIELDS) return -1;
        field[n++] = p;
        char *to = p;
        if (*p == '"') {
            for (p++; *p != 0 && !(*p == '"' && p[1] != '"'); p++) {
                if (*p == '"') p++;
                *to++ = *p;
            }
            if (*p != '"') return -1;
            p++;
        } else {
            while (*p != 0 && *p != ',' && *p != '\n' && *p != '\r') *to++ = *p++;
        }
        char end = *p;
        if (end == '\r' && p[1] == '\n') end = *++p;
        if (end != 0 && end != ',' && end != '\n') return -1;
        if (end != 0) p++;
        *to = 0;
        more = end == ',';
    }
    *at = p;
    return n;
}

int um_csv_column(char *const *field, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(field[i], name) == 0) return i;
    return -1;
}
