/* Any bytes as an artifact: without the checksum, which no fuzzer would get past, and without a device, so that the
 * container, the directory, the config and every code are read. What is refused must say why. */
#include "store/artifact_format.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

/* Magic, version (of those that are read) and length as they must be, so that the rest is what is searched. */
static void mend_header(uint8_t *bytes, size_t count) {
    byte_buffer header = {0};
    buffer_add(&header, ARTIFACT_MAGIC, 4);
    const bool known = count > 4 && bytes[4] >= ARTIFACT_OLDEST_VERSION && bytes[4] <= ARTIFACT_VERSION;
    buffer_add_number(&header, known ? bytes[4] : ARTIFACT_VERSION, 4);
    buffer_add_number(&header, count, 8);
    if (count >= header.count) memcpy(bytes, header.bytes, header.count);
    free(header.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    uint8_t *mended = malloc(count + 1);
    int context;
    if (!mended) return 0;
    memcpy(mended, bytes, count);
    if (count && bytes[0] == 'M') mend_header(mended, count);
    if (artifact_decode(mended, count, "fuzz", false, NULL, MODEL_RUN, NULL, NULL, &context) != STATUS_OK &&
        strncmp(error_message(), "fuzz", 4) != 0)
        abort();
    artifact_contents contents;
    if (artifact_contents_decode(&contents, mended, count, "fuzz", false, true) != STATUS_OK &&
        strncmp(error_message(), "fuzz", 4) != 0)
        abort();
    free(mended);
    return 0;
}
