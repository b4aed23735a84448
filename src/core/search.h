#pragma once
/* search.h: a name among sorted ones. */

/* name_at(of, i) for i in [0, n) is sorted by bytes. Index of `name`, or -1. Any thread. */
int um_search_name(const char *(*name_at)(const void *of, int i), const void *of, int n, const char *name);
