#pragma once
/* config.h: the configuration that an output was made with, frozen, beside the one of today. */
#include "src/core/err.h"

/* had, want: JSON objects of strings with sorted keys (um_opt_config makes such). Where they differ: `refusal` with the first key, both values and the remedy: "<made> with frames = "every:10", not "every:5": <remedy>".
 * made: "the store x was made". Errors: `refusal`, UM_NO_MEMORY, UM_INTERNAL (not of that form). */
um_status um_config_compare(const char *had, const char *want, um_status refusal, const char *made, const char *remedy);
