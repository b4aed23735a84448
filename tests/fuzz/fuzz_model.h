#pragma once
/* fuzz_model.h: the small network whose files fuzz_model is given, shared with the maker of its seeds. */
#include "tests/unit/model_writer.h"

/* The content of the files the seeds are cut from: formats in this order are told by the first byte, 'S' and 'L'. */
static const mw_spec fuzz_model_spec[2] = {
    {.format = MW_SAFE, .extras = true, .metadata = "{\"arch\":\"w0.1d0.1\",\"size\":\"64\"}"},
    {.format = MW_LEGACY, .extras = true, .checkpoint = true},
};

/* Such a file, and where its numbers begin: all before is what the fuzzer changes. Free `b`. */
static inline void fuzz_model_file(int kind, um_buf *b, size_t *numbers)
{
    um_efficientnet net;
    um_graph *g;
    if (um_efficientnet_parse("w0.1d0.1", &net) != UM_OK || um_efficientnet_graph(&net, 64, true, 0, 0, &g) != UM_OK) abort();
    mw_write(b, g, &fuzz_model_spec[kind]);
    mw_item *item = calloc((size_t)g->n_params * 2 + 8, sizeof *item);
    int n;
    if (item == NULL) abort();
    mw_items(g, &fuzz_model_spec[kind], item, &n);
    *numbers = b->len;
    for (int i = 0; i < n; i++) {
        *numbers -= item[i].n + (kind == 1 ? 8 : 0); /* the legacy format has a count before each */
        free(item[i].data);
    }
    free(item);
    um_graph_free(g);
}
