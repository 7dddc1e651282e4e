/* Any bytes as a layout: without the checksums, which no fuzzer would get past; all that the head claims is looked up, and of every matrix
 * the first and the last row are read. What is refused must say why, and names the file. */
#include "store/layout_file.h"
#include "store/layout_head.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

/* Magic, version and the file's bytes as they must be, so that the rest is what is searched. */
static void mend(uint8_t *bytes, size_t count) {
    byte_buffer version = {0}, size = {0};
    buffer_add_number(&version, LAYOUT_VERSION, 4);
    buffer_add_number(&size, count, 8);
    if (count >= 24) {
        memcpy(bytes, LAYOUT_MAGIC, 8);
        memcpy(bytes + 8, version.bytes, 4);
        memcpy(bytes + 16, size.bytes, 8);
    }
    free(version.bytes);
    free(size.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    void *page;
    if (posix_memalign(&page, LAYOUT_PAGE, count + 1) != 0) return 0;
    if (count) memcpy(page, bytes, count);
    if (count && bytes[0] == 'M') mend(page, count);
    free(layout_head_path(page, count));
    if (layout_check(page, count, "fuzz", false) != STATUS_OK && strncmp(error_message(), "fuzz", 4) != 0) abort();
    free(page);
    return 0;
}
