/* Any text is either refused with a message or is a tokenizer.json (or a bundle) that encodes, decodes, and is made again from what
 * it gives to be stored; whatever its chat template is, conversations are written or refused. */
#include "text/chat.h"
#include "text/tokenizer_export.h"
#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition) abort();
}

static void encode(const tokenizer *t, bool special) {
    static const char text[] = "words \xE2\x96\x81 two\n\nlines 12, caf\xC3\xA9's e\xCC\x81 <s> <|x|>\xFF\x00 end";
    int32_t *ids;
    size_t count, bytes;
    char *decoded;
    if ((special ? tokenizer_encode_special : tokenizer_encode)(t, text, sizeof text - 1, &ids, &count) != STATUS_OK)
        return;
    for (size_t i = 0; i < count; i++) require(ids[i] >= 0 && ids[i] < tokenizer_vocab_size(t));
    require(tokenizer_decode(t, ids, count, &decoded, &bytes) == STATUS_OK);
    free(decoded);
    free(ids);
}

static void chat(const tokenizer *t) {
    const chat_message messages[] = {{"system", "s"}, {"user", "u"}, {"assistant", "<think>x</think>a"}, {"user", "v"}};
    chat_format *f = chat_format_create(tokenizer_chat_template(t));
    int32_t *ids;
    size_t count;
    if (chat_encode(f, t, messages, 4, true, &ids, &count) == STATUS_OK) free(ids);
    chat_format_free(f);
}

static void store(const tokenizer *t) {
    const void *bytes;
    size_t count;
    tokenizer *again;
    tokenizer_bytes(t, &bytes, &count);
    require(tokenizer_parse(&again, bytes, count, "again") == STATUS_OK);
    require(tokenizer_vocab_size(again) == tokenizer_vocab_size(t) && tokenizer_bos(again) == tokenizer_bos(t));
    tokenizer_close(again);
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
    if (count == 0 || bytes[0] != '{') return 0; /* fuzz_tokenizer's */
    if (tokenizer_parse(&t, bytes, count, "fuzz") != STATUS_OK) {
        require(strncmp(error_message(), "fuzz: ", 6) == 0);
        return 0;
    }
    encode(t, false);
    encode(t, true);
    chat(t);
    store(t);
    export(t);
    tokenizer_close(t);
    return 0;
}
