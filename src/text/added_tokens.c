#include "text/added_tokens.h"

#include "base/memory.h"
#include "text/normalize.h"
#include <stdlib.h>
#include <string.h>

/* ---- the list ---- */

void added_tokens_add(added_tokens *a, added_token token) {
    if (token.bytes == 0) return;
    if (a->count == a->capacity) {
        a->capacity = a->capacity ? 2 * a->capacity : 16;
        a->list = xrealloc(a->list, a->capacity * sizeof *a->list);
    }
    char *content = xmalloc(token.bytes + 1);
    memcpy(content, token.content, token.bytes);
    content[token.bytes] = '\0';
    token.content = content;
    a->list[a->count++] = token;
}

static int compare(const void *left, const void *right) {
    const added_token *a = left, *b = right;
    int order = memcmp(a->content, b->content, a->bytes < b->bytes ? a->bytes : b->bytes);
    if (order) return order;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

void added_tokens_ready(added_tokens *a) {
    if (a->count) qsort(a->list, a->count, sizeof *a->list, compare);
    size_t kept = 0;
    for (size_t i = 0; i < a->count; i++) {
        added_token *last = kept ? &a->list[kept - 1] : NULL;
        if (last && last->bytes == a->list[i].bytes && memcmp(last->content, a->list[i].content, last->bytes) == 0)
            free(a->list[i].content);
        else
            a->list[kept++] = a->list[i];
    }
    a->count = kept;
    for (size_t byte = 0, i = 0; byte <= 256; byte++) {
        while (i < a->count && (unsigned char)a->list[i].content[0] < byte) i++;
        a->first[byte] = i;
    }
}

void added_tokens_free(added_tokens *a) {
    for (size_t i = 0; i < a->count; i++) free(a->list[i].content);
    free(a->list);
    *a = (added_tokens){0};
}

/* ---- finding ---- */

/* The first of [low, high), which have the same `at` bytes in front, whose byte there is `byte` or more. */
static size_t lower_bound(const added_tokens *a, size_t low, size_t high, size_t at, unsigned byte) {
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const added_token *t = &a->list[middle];
        if (t->bytes <= at || (unsigned char)t->content[at] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest token that the text begins with; NULL: none. Those that share what was read so far are a range of the list,
 * and one that ends here is the first of it. */
static const added_token *longest(const added_tokens *a, const char *text, size_t bytes) {
    unsigned byte = (unsigned char)text[0];
    size_t low = a->first[byte], high = a->first[byte + 1];
    const added_token *found = NULL;
    for (size_t at = 1; low < high; at++) {
        if (a->list[low].bytes == at) found = &a->list[low];
        if (at == bytes) break;
        byte = (unsigned char)text[at];
        low = lower_bound(a, low, high, at, byte);
        high = lower_bound(a, low, high, at, byte + 1);
    }
    return found;
}

/* ---- what is beside a token ---- */

static size_t character_before(const char *text, size_t at) {
    do at--;
    while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80);
    return at;
}

static bool stands_alone(const char *text, size_t bytes, size_t begin, size_t end) {
    int length;
    if (begin > 0 && is_word_character(character_at(text + character_before(text, begin), &length))) return false;
    return end == bytes || !is_word_character(character_at(text + end, &length));
}

static size_t space_before(const char *text, size_t begin, size_t least) {
    int length;
    while (begin > least) {
        size_t at = character_before(text, begin);
        if (!is_white_space(character_at(text + at, &length))) break;
        begin = at;
    }
    return begin;
}

static size_t space_behind(const char *text, size_t bytes, size_t end) {
    int length;
    while (end < bytes && is_white_space(character_at(text + end, &length))) end += (size_t)length;
    return end;
}

status added_tokens_split(const added_tokens *a, const char *text, size_t bytes, bool special, part_sink sink,
                          void *context) {
    size_t done = 0;
    for (size_t at = 0; at < bytes;) {
        const added_token *t = longest(a, text + at, bytes - at);
        if (!t) {
            at++;
            continue;
        }
        size_t begin = at, end = at + t->bytes;
        at = end; /* where one that is not meant ends, too: what lies within it is not looked at again */
        if ((t->special && !special) || (t->single_word && !stands_alone(text, bytes, begin, end))) continue;
        if (t->lstrip) begin = space_before(text, begin, done);
        if (t->rstrip) end = space_behind(text, bytes, end);
        if (begin < done) begin = done; /* the one before took the space that this one begins with */
        if (end < begin) end = begin;
        if (begin > done) TRY(sink(context, -1, done, begin));
        TRY(sink(context, t->id, begin, end));
        done = end;
        if (at < end) at = end;
    }
    return done < bytes ? sink(context, -1, done, bytes) : STATUS_OK;
}
