/* What libFuzzer looks for; FUZZ_TARGET is a function of fuzz.h. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) { return FUZZ_TARGET(data, len); }
