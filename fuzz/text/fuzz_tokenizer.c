/* Any bytes are either refused with a message or are a tokenizer that encodes and decodes, whatever its pieces are. */
#include "base/memory.h"
#include "text/tokenizer_export.h"
#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition) abort();
}

static void use(const tokenizer *t) {
    static const char text[] = "words of \xE2\x96\x81 two\n\nlines, caf\xC3\xA9";
    int32_t *ids;
    size_t count, bytes;
    char *decoded;
    if (tokenizer_encode(t, text, sizeof text - 1, &ids, &count) != STATUS_OK) return;
    for (size_t i = 0; i < count; i++) {
        int added;
        require(ids[i] >= 0 && ids[i] < tokenizer_vocab_size(t));
        tokenizer_token_text(t, ids[i], i ? ids[i - 1] : -1, &added);
        require(added >= 0 && added == tokenizer_token_bytes(t, ids[i], i ? ids[i - 1] : -1));
        require(added == 0 || !tokenizer_is_boundary(t, ids[i]));
    }
    require(tokenizer_decode(t, ids, count, &decoded, &bytes) == STATUS_OK);
    require(utf8_valid_prefix(decoded, bytes) == bytes || memchr(decoded, '\0', bytes));
    free(decoded);
    free(ids);
}

/* Where a GGUF can hold it, that gives a tokenizer, or a message. */
static void export(const tokenizer *t) {
    exported_tokenizer e;
    tokenizer *again;
    if (tokenizer_export_source(t, &e) != STATUS_OK) {
        require(strncmp(error_message(), "tokenizer: ", 11) == 0);
        return;
    }
    require(e.source.count == (size_t)tokenizer_vocab_size(t));
    if (tokenizer_from_source(&again, &e.source, "again") == STATUS_OK)
        tokenizer_close(again);
    else
        require(strncmp(error_message(), "again: ", 7) == 0);
    exported_tokenizer_free(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    tokenizer *t;
    if (tokenizer_parse(&t, bytes, count, "fuzz") == STATUS_OK) {
        use(t);
        export(t);
        tokenizer_close(t);
    } else {
        require(strncmp(error_message(), "fuzz: ", 6) == 0);
    }
    return 0;
}
