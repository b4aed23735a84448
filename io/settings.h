#pragma once
/* settings.h: a JSON configuration as the settings of a table of options (src/core/opt.h): what --set would be given for each of its values.
 *
 * {"size": 380, "optimizer": {"nesterov": true, "schedule": {"params": {"steps": [[0, 0.1], [5, 0.01]]}}}} is
 *     size=380   optimizer.nesterov=true   optimizer.schedule.params.steps=0:0.1,5:0.01
 * Keys of nested objects are joined by dots, elements of arrays by commas, of arrays in arrays by colons.
 */
#include "io/vfs.h"

enum { UM_SETTINGS_MAX_BYTES = 1 << 20 };

/* Appends key=value texts, in the file's order, to *out (um_names_release). Errors: UM_CONFIG (not JSON, with line; not an object; a key twice, or with '='; null; arrays of objects), UM_NO_MEMORY. */
um_status um_settings_parse(const char *text, size_t n, um_names *out);
/* The same for a file. UM_CONFIG also when it is not there. */
um_status um_settings_read(um_vfs *vfs, const char *path, um_names *out);
