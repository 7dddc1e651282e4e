/* The smallest tokenizer for small models: BOS is 0, "a" … "z" are 1 … 26, and whatever else a text has is its byte, which may be
 * beyond the ids. */
#ifndef MOEC_TESTS_LETTERS_TOKENIZER_H
#define MOEC_TESTS_LETTERS_TOKENIZER_H

#include "test.h"

#include "text/tokenizer_kind.h"

static inline bool letters_recognise(const void *bytes, size_t count) {
    return count == 8 && memcmp(bytes, "LETTERS", 7) == 0;
}

static inline status letters_encode(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count) {
    (void)t;
    *ids = xmalloc((bytes + 1) * sizeof **ids);
    *count = bytes;
    for (size_t i = 0; i < bytes; i++)
        (*ids)[i] = text[i] >= 'a' && text[i] <= 'z' ? text[i] - 'a' + 1 : (unsigned char)text[i];
    return STATUS_OK;
}

static inline status letters_parse(tokenizer **out, const void *bytes, size_t count, const char *where);

static const tokenizer_kind letters_kind = {"letters", letters_recognise, letters_parse, letters_encode, NULL, free};

static inline status letters_parse(tokenizer **out, const void *bytes, size_t count, const char *where) {
    const int ids = ((const uint8_t *)bytes)[count - 1] + 1;
    (void)where;
    tokenizer *t = tokenizer_create(&letters_kind, NULL, bytes, count);
    tokenizer_add_boundary(t, "<s>");
    for (int id = 1; id < ids; id++) {
        const char byte = (char)(id <= 26 ? 'a' + id - 1 : id);
        tokenizer_add_token(t, "letter", &byte, 1, false);
    }
    t->bos = 0;
    *out = t;
    return STATUS_OK;
}

/* ids: 1 … 256 */
static inline tokenizer *letters_tokenizer(int ids) {
    const char bytes[] = {'L', 'E', 'T', 'T', 'E', 'R', 'S', (char)(ids - 1)};
    tokenizer *t;
    tokenizer_add_kind(&letters_kind);
    assert_ok(tokenizer_parse(&t, bytes, sizeof bytes, "letters"));
    return t;
}

#endif
