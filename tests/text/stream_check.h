/* What a stream of decoded tokens must be, for the tests of tokenisers. */
#ifndef MOEC_TESTS_TEXT_STREAM_CHECK_H
#define MOEC_TESTS_TEXT_STREAM_CHECK_H

#include "test.h"

#include "text/tokenizer.h"

/* Σ of the tokens' bytes when the text follows BOS. */
static inline int64_t counted_bytes(const tokenizer *t, const int32_t *ids, size_t count) {
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++) sum += tokenizer_token_bytes(t, ids[i], i ? ids[i - 1] : tokenizer_bos(t));
    return sum;
}

/* What the stream has given after each token is the text so far, up to the last whole character. */
static inline void check_stream(const tokenizer *t, const int32_t *ids, size_t count, const char *text, size_t bytes) {
    detokenizer d = detokenizer_start(t);
    size_t at = 0, given;
    int64_t counted = 0;
    for (size_t i = 0; i < count; i++) {
        const char *part = detokenizer_feed(&d, ids[i], &given);
        assert_true(at + given <= bytes);
        assert_memory_equal(part, text + at, given);
        at += given;
        counted += tokenizer_token_bytes(t, ids[i], i ? ids[i - 1] : tokenizer_bos(t));
        assert_true((size_t)counted - at < UTF8_MAX_BYTES);
        if ((text[counted] & 0xC0) != 0x80) assert_int_equal(at, counted); /* between characters: nothing is held */
    }
    assert_int_equal(at, bytes);
    detokenizer_end(&d, &given);
    assert_int_equal(given, 0);
    detokenizer_free(&d);
}

#endif
