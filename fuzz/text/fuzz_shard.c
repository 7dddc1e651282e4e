/* Any bytes, of shards of both kinds among others, are either refused with a message or are a shard all of whose tokens lie below the vocabulary. */
#include "base/memory.h"
#include "text/shard.h"
#include <stdlib.h>
#include <string.h>

enum { VOCABULARY = 4096 };

static void require(bool condition) {
    if (!condition) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    uint8_t *copy = xmalloc(count + 1); /* aligned, as a map is */
    if (count) memcpy(copy, bytes, count);
    shard s;
    if (shard_parse(&s, "fuzz", copy, count, VOCABULARY) == STATUS_OK) {
        require(SHARD_HEADER_BYTES + (size_t)s.token_bytes * (size_t)s.count == count);
        for (int64_t i = 0; i < s.count; i++) require(shard_token(&s, i) >= 0 && shard_token(&s, i) < VOCABULARY);
    } else {
        require(strncmp(error_message(), "fuzz: ", 6) == 0);
    }
    shard_close(&s);
    free(copy);
    return 0;
}
