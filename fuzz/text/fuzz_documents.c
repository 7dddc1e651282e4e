/* Any bytes are either refused with a message or are documents that tile the shard and have a domain. */
#include "base/memory.h"
#include "text/documents.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 100 };

static void require(bool condition) {
    if (!condition) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    char *copy = xmalloc(count);
    if (count) memcpy(copy, bytes, count);
    document_table d;
    if (document_table_parse(&d, copy, count, "fuzz", TOKENS) == STATUS_OK) {
        int64_t next = 0;
        for (int64_t i = 0; i < d.count; i++) {
            require(d.documents[i].start == next && d.documents[i].count > 0);
            require(d.documents[i].domain >= 0 && d.documents[i].domain < d.domain_count);
            require(document_at(&d, next) == i);
            next += d.documents[i].count;
        }
        require(next == TOKENS);
    } else {
        require(strncmp(error_message(), "fuzz:", 5) == 0);
    }
    document_table_free(&d);
    free(copy);
    return 0;
}
