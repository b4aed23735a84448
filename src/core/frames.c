#include "src/core/frames.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t MAX_INDEX = INT64_C(1) << 40;

/* A positive integer up to MAX_INDEX at *s; moves *s past it. */
static bool number(const char **s, int64_t *out)
{
    char *end;
    if (**s < '0' || **s > '9') return false;
    long long v = strtoll(*s, &end, 10);
    if (v < 1 || v > MAX_INDEX) return false;
    *out = v;
    *s = end;
    return true;
}

um_status um_frames_parse(const char *text, um_frames *out)
{
    um_frames f = {0};
    const char *s = text;
    bool ok = false;
    if (strcmp(s, "all") == 0) {
        f.kind = UM_FRAMES_ALL;
        ok = true;
    } else if (strncmp(s, "every:", 6) == 0) {
        f.kind = UM_FRAMES_EVERY;
        s += 6;
        ok = number(&s, &f.step);
        if (ok && *s == ':') {
            s++;
            ok = number(&s, &f.limit);
        }
        ok = ok && *s == 0;
    } else if (strncmp(s, "spread:", 7) == 0) {
        f.kind = UM_FRAMES_SPREAD;
        s += 7;
        ok = number(&s, &f.count) && *s == 0 && f.count <= 1 << 20;
    }
    if (!ok) return UM_FAIL(UM_USAGE, "%s is not a choice of frames; use every:10, every:10:320, spread:32 or all", um_quote(text));
    *out = f;
    return UM_OK;
}

void um_frames_format(const um_frames *f, char out[64])
{
    if (f->kind == UM_FRAMES_ALL)
        snprintf(out, 64, "all");
    else if (f->kind == UM_FRAMES_SPREAD)
        snprintf(out, 64, "spread:%" PRId64, f->count);
    else if (f->limit > 0)
        snprintf(out, 64, "every:%" PRId64 ":%" PRId64, f->step, f->limit);
    else
        snprintf(out, 64, "every:%" PRId64, f->step);
}

/* The i-th of count points of linspace(0, n-1, count), truncated. */
static int64_t spread_at(int64_t i, int64_t count, int64_t n) { return count > 1 ? i * (n - 1) / (count - 1) : 0; }

bool um_frames_wants(const um_frames *f, int64_t index, int64_t n)
{
    if (index < 0 || (n >= 0 && index >= n)) return false;
    switch (f->kind) {
    case UM_FRAMES_ALL: return true;
    case UM_FRAMES_EVERY: return index % f->step == 0 && (f->limit == 0 || index < f->limit);
    case UM_FRAMES_SPREAD: {
        if (n < 1) return false;
        if (f->count == 1) return index == 0;
        /* The smallest i whose point reaches `index`. */
        int64_t i = n == 1 ? 0 : (index * (f->count - 1) + n - 2) / (n - 1);
        return i < f->count && spread_at(i, f->count, n) == index;
    }
    }
    return false;
}

int64_t um_frames_count(const um_frames *f, int64_t n)
{
    if (n <= 0) return 0;
    switch (f->kind) {
    case UM_FRAMES_ALL: return n;
    case UM_FRAMES_EVERY: {
        int64_t end = f->limit > 0 && f->limit < n ? f->limit : n;
        return (end + f->step - 1) / f->step;
    }
    case UM_FRAMES_SPREAD: return f->count < n ? f->count : n;
    }
    return 0;
}

int64_t um_frames_end(const um_frames *f, int64_t n)
{
    switch (f->kind) {
    case UM_FRAMES_ALL: return n;
    case UM_FRAMES_SPREAD: return n;
    case UM_FRAMES_EVERY: {
        int64_t limit = f->limit > 0 && (n < 0 || f->limit < n) ? f->limit : n;
        return limit <= 0 ? limit : (limit - 1) / f->step * f->step + 1;
    }
    }
    return n;
}
