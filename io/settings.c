#include "io/settings.h"

#include "io/jsontext.h"
#include "io/vfs_table.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 8 };

/* A number, text or truth value. */
static um_status add_scalar(const json_t *v, const char *key, um_buf *out)
{
    if (json_is_boolean(v)) return um_buf_add_str(out, json_is_true(v) ? "true" : "false");
    if (json_is_integer(v)) return um_buf_printf(out, "%lld", (long long)json_integer_value(v));
    if (json_is_real(v)) return um_buf_add_real(out, json_real_value(v));
    if (json_is_string(v)) return um_buf_add_str(out, json_string_value(v));
    return UM_FAIL(UM_CONFIG, "%s: a value that is neither a number, a text, true, false, nor a list of these", um_quote(key));
}

static um_status add_value(const json_t *v, const char *key, int depth, um_buf *out)
{
    size_t i;
    json_t *item;
    if (!json_is_array(v)) return add_scalar(v, key, out);
    if (depth > 1) return UM_FAIL(UM_CONFIG, "%s: lists in lists in lists", um_quote(key));
    json_array_foreach(v, i, item)
    {
        if (i > 0) UM_PASS(um_buf_add_str(out, depth == 0 ? "," : ":"));
        UM_PASS(add_value(item, key, depth + 1, out));
    }
    return UM_OK;
}

/* prefix: "" or "optimizer.". */
static um_status flatten(json_t *object, const char *prefix, int depth, um_names *out)
{
    const char *key;
    json_t *value;
    um_buf text = {0}, name = {0};
    um_status st = UM_OK;
    if (depth > MAX_DEPTH) return UM_FAIL(UM_CONFIG, "%s: objects in objects, more than %d deep", um_quote(prefix), MAX_DEPTH);
    json_object_foreach(object, key, value)
    {
        um_buf_clear(&name);
        um_buf_clear(&text);
        if (*key == 0 || strchr(key, '=') != NULL) UM_GOTO_PASS(st, UM_FAIL(UM_CONFIG, "%s%s: not a key", um_quote(prefix), um_quote(key)));
        UM_GOTO_PASS(st, um_buf_printf(&name, "%s%s", prefix, key));
        if (json_is_object(value)) {
            UM_GOTO_PASS(st, um_buf_add_str(&name, "."));
            UM_GOTO_PASS(st, flatten(value, (char *)name.data, depth + 1, out));
            continue;
        }
        UM_GOTO_PASS(st, um_buf_printf(&text, "%s=", (char *)name.data));
        UM_GOTO_PASS(st, add_value(value, (char *)name.data, 0, &text));
        if (um_names_add(out, (char *)text.data) < 0) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for settings"));
    }
done:
    um_buf_release(&text);
    um_buf_release(&name);
    return st;
}

um_status um_settings_parse(const char *text, size_t n, um_names *out)
{
    json_error_t error;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    um_status st;
    if (root == NULL)
        st = UM_FAIL(UM_CONFIG, "line %d, column %d: %s", error.line, error.column, error.text);
    else if (!json_is_object(root))
        st = UM_FAIL(UM_CONFIG, "not a JSON object");
    else
        st = flatten(root, "", 0, out);
    json_decref(root);
    return st;
}

um_status um_settings_read(um_vfs *vfs, const char *path, um_names *out)
{
    void *text;
    size_t n;
    um_status st = um_vfs_read_whole(vfs, path, UM_SETTINGS_MAX_BYTES, &text, &n);
    if (st == UM_MISSING || st == UM_TOO_LARGE) st = UM_CONFIG;
    if (st == UM_OK) st = um_settings_parse(text, n, out);
    free(text);
    return st == UM_OK ? UM_OK : um_err_note(st, "the configuration %s", um_quote(path));
}
