#include "io/attempts.h"

#include <stdio.h>
#include <string.h>

void um_attempts_close(um_attempts_reader *r)
{
    um_attempts *a = r->open ? r->find(r->user, r->unit) : NULL;
    if (a != NULL) {
        a->starts++;
        a->alone += r->alone;
    }
    r->open = false;
}

void um_attempts_ended(um_attempts_reader *r, uint64_t unit)
{
    if (r->unit == unit) r->open = false;
}

bool um_attempts_record(um_attempts_reader *r, um_jsontext *t, bool *known)
{
    static const char *const kinds[] = {"start", "end", "abort", "strike"};
    int kind = 0;
    uint64_t unit;
    int64_t signal = 0;
    bool alone = false;
    while (kind < 4 && strcmp((char *)r->text.data, kinds[kind]) != 0) kind++;
    *known = kind < 4;
    if (kind == 4) return true;
    if (!um_jsontext_skip(t, ",\"unit\":\"") || !um_jsontext_hex(t, 16, &unit) || !um_jsontext_skip(t, "\"")) return false;
    if (kind == 0) alone = um_jsontext_skip(t, ",\"alone\":true");
    if (kind == 3) {
        if (!um_jsontext_skip(t, ",\"signal\":") || !um_jsontext_int(t, &signal)) return false;
        while (um_jsontext_skip(t, " ")) {
        }
    }
    if (!um_jsontext_skip(t, "}") || t->p != t->end) return false;
    um_attempts *a;
    switch (kind) {
    case 0:
        um_attempts_close(r);
        r->open = true;
        r->unit = unit;
        r->alone = alone;
        break;
    case 3:
        a = r->find(r->user, unit);
        if (a != NULL) {
            a->strikes++;
            a->strike_signal = (int)signal;
        }
        break;
    default:
        um_attempts_ended(r, unit);
        break;
    }
    return true;
}

int um_attempts_format(char out[96], const char *type, uint64_t unit, bool alone)
{
    return snprintf(out, 96, "{\"t\":\"%s\",\"unit\":\"%016llx\"%s}", type, (unsigned long long)unit, alone ? ",\"alone\":true" : "");
}
