#pragma once
/* fuzz.h: the one function of a fuzz target. With UNMASK_FUZZ libFuzzer calls it; in every build replay.c does, with the files of
 * tests/fuzz/corpus/<target>. */
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
