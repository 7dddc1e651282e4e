/* Any bytes as a file of candidates: what is taken from it is sound. */
#include "store/candidate_file.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    candidate_file *f;
    candidate c;
    candidate_file_parse(&f, (const char *)bytes, count);
    if (candidate_file_find(f, 0xab, 3, &c) && !(c.bytes >= 0 && c.error >= 0 && isfinite(c.bytes + c.error))) abort();
    candidate_file_close(f);
    return 0;
}
