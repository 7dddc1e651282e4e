#include "text/bpe_tokenizer.h"

#include "base/memory.h"
#include "text/utf8.h"
#include <stdlib.h>
#include <string.h>

enum { REMEMBER_FROM = 8 << 10 }; /* bytes of a text whose words are worth a table */

void bpe_tokenizer_free(bpe_tokenizer *b) {
    if (!b) return;
    added_tokens_free(&b->raw);
    added_tokens_free(&b->normalized);
    normalizer_free(&b->normal);
    pre_tokenizer_free(&b->words);
    bpe_free(&b->model);
    free(b);
}

/* One text under way. */
typedef struct encoding {
    const bpe_tokenizer *b;
    regex_matcher *matcher;
    bpe_work *work;
    const char *text;
    text_buffer normal; /* of the part that is under way */
    bool special;
    bool part_is_first; /* the part begins where the text does */
} encoding;

static void take_word(void *context, const char *word, size_t bytes) {
    encoding *e = context;
    bpe_encode_word(&e->b->model, e->work, word, bytes);
}

static status take_normal_part(void *context, int32_t id, size_t begin, size_t end) {
    encoding *e = context;
    if (id >= 0) {
        bpe_append(e->work, id);
        return STATUS_OK;
    }
    return pre_tokenize(&e->b->words, e->matcher, e->normal.text + begin, end - begin, e->part_is_first && begin == 0,
                        take_word, e);
}

static status take_part(void *context, int32_t id, size_t begin, size_t end) {
    encoding *e = context;
    if (id >= 0) {
        bpe_append(e->work, id);
        return STATUS_OK;
    }
    e->part_is_first = begin == 0;
    TRY(normalizer_apply(&e->b->normal, e->matcher, e->text + begin, end - begin, &e->normal));
    return added_tokens_split(&e->b->normalized, e->normal.text, e->normal.bytes, e->special, take_normal_part, e);
}

/* Bytes that are no UTF-8 (and NUL, which a text may have, stays). */
static char *repaired(const char *text, size_t bytes, size_t *count) {
    text_buffer b = {0};
    for (size_t at = 0; at < bytes;) {
        int length = utf8_character(text + at, bytes - at);
        if (length > 0)
            text_append(&b, text + at, (size_t)length);
        else
            text_append_string(&b, UTF8_REPLACEMENT);
        at += length > 0 ? (size_t)length : 1;
    }
    *count = b.bytes;
    return b.text;
}

static bool is_utf8(const char *text, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        int length = utf8_character(text + at, bytes - at);
        if (length <= 0) return false;
        at += (size_t)length;
    }
    return true;
}

enum { MOST_BYTES = 1 << 30 };

status bpe_tokenizer_encode(const bpe_tokenizer *b, const char *text, size_t bytes, bool special, int32_t **ids,
                            size_t *count) {
    if (bytes > MOST_BYTES) return fail("tokenizer: expected at most %d bytes of text, found %zu", MOST_BYTES, bytes);
    char *whole = is_utf8(text, bytes) ? NULL : repaired(text, bytes, &bytes);
    encoding e = {.b = b,
                  .matcher = regex_matcher_create(bytes),
                  .work = bpe_work_create(bytes >= REMEMBER_FROM),
                  .text = whole ? whole : text,
                  .special = special};
    status s = added_tokens_split(&b->raw, e.text, bytes, special, take_part, &e);
    regex_matcher_free(e.matcher);
    text_free(&e.normal);
    free(whole);
    if (s != STATUS_OK)
        bpe_work_free(e.work);
    else
        *ids = bpe_work_finish(e.work, count);
    return s;
}
