#include "io/config.h"

#include "io/jsontext.h"

#include <string.h>

static void skip_space(um_jsontext *t)
{
    while (t->p < t->end && (*t->p == ' ' || *t->p == '\n' || *t->p == '\t' || *t->p == '\r')) t->p++;
}

/* The next "key": "value" of a flat object; *end instead when there is none. false: not of that form. */
static bool next_pair(um_jsontext *t, bool first, um_buf *key, um_buf *value, bool *end)
{
    skip_space(t);
    *end = um_jsontext_skip(t, "}");
    if (*end) return true;
    if (!first && !um_jsontext_skip(t, ",")) return false;
    skip_space(t);
    if (!um_jsontext_string(t, key)) return false;
    skip_space(t);
    if (!um_jsontext_skip(t, ":")) return false;
    skip_space(t);
    return um_jsontext_string(t, value);
}

um_status um_config_compare(const char *had, const char *want, um_status refusal, const char *made, const char *remedy)
{
    um_jsontext a = {had, had + strlen(had)}, b = {want, want + strlen(want)};
    um_buf ak = {0}, av = {0}, bk = {0}, bv = {0};
    um_status st = UM_OK;
    bool a_end = false, b_end = false, first = true;
    skip_space(&a);
    skip_space(&b);
    bool ok = um_jsontext_skip(&a, "{") && um_jsontext_skip(&b, "{");
    /* Side by side to the first difference. */
    while (ok) {
        ok = next_pair(&a, first, &ak, &av, &a_end) && next_pair(&b, first, &bk, &bv, &b_end);
        first = false;
        if (!ok || (a_end && b_end)) break;
        int order = a_end ? 1 : b_end ? -1 : strcmp((char *)ak.data, (char *)bk.data);
        if (order == 0 && strcmp((char *)av.data, (char *)bv.data) == 0) continue;
        if (order == 0)
            st = UM_FAIL(refusal, "%s with %s = %s, not %s: %s", made, (char *)ak.data, um_quote((char *)av.data), um_quote((char *)bv.data), remedy);
        else if (order < 0)
            st = UM_FAIL(refusal, "%s with %s = %s, which is not set now: %s", made, (char *)ak.data, um_quote((char *)av.data), remedy);
        else
            st = UM_FAIL(refusal, "%s without %s, which is %s now: %s", made, (char *)bk.data, um_quote((char *)bv.data), remedy);
        break;
    }
    if (!ok && (um_jsontext_no_memory(&a) || um_jsontext_no_memory(&b)))
        st = UM_FAIL(UM_NO_MEMORY, "no memory for a configuration");
    else if (!ok)
        st = UM_FAIL(UM_INTERNAL, "a configuration is not a JSON object of strings");
    um_buf_release(&ak);
    um_buf_release(&av);
    um_buf_release(&bk);
    um_buf_release(&bv);
    return st;
}
