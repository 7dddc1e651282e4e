/* Any row is either refused with a message or gives valid text that is no longer than the row. */
#include "base/memory.h"
#include "text/corpus.h"
#include "text/utf8.h"
#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    char *row = xmalloc(count), *text; /* exactly as long, so that a sanitizer sees every byte beyond the end */
    size_t text_bytes;
    if (count) memcpy(row, bytes, count);
    bool valid = utf8_valid_prefix(row, count) == count; /* as the whole file is, when its rows are read */
    if (valid && jsonl_row(row, count, "text,more", "fuzz", &text, &text_bytes) == STATUS_OK) {
        require(text_bytes < count && strlen(text) == text_bytes);
        require(utf8_valid_prefix(text, text_bytes) == text_bytes);
        free(text);
    } else if (valid) {
        require(strncmp(error_message(), "fuzz: ", 6) == 0);
    }
    free(row);
    return 0;
}
