#include "text/normalize.h"

#include "text/byte_characters.h"
#include "text/growth.h"
#include <stdlib.h>
#include <utf8proc.h>

void normalizer_add(normalizer *n, normal_step step) {
    n->steps = xrealloc(n->steps, (size_t)(n->count + 1) * sizeof *n->steps);
    n->steps[n->count++] = step;
}

void normalizer_free(normalizer *n) {
    for (int i = 0; i < n->count; i++) {
        free(n->steps[i].content);
        regex_free(n->steps[i].pattern);
    }
    free(n->steps);
    *n = (normalizer){0};
}

/* ---- characters ---- */

int32_t character_at(const char *text, int *bytes) {
    const unsigned char *t = (const unsigned char *)text;
    if (t[0] < 0x80) {
        *bytes = 1;
        return t[0];
    }
    *bytes = t[0] < 0xE0 ? 2 : t[0] < 0xF0 ? 3 : 4;
    int32_t character = t[0] & (0x7F >> *bytes);
    for (int i = 1; i < *bytes; i++) character = character << 6 | (t[i] & 0x3F);
    return character;
}

bool is_white_space(int32_t c) {
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool is_mark(int32_t c) {
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_ME;
}

bool is_word_character(int32_t c) {
    utf8proc_category_t category = utf8proc_category(c);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) || is_mark(c) ||
           category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_PC ||
           (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189) || c == 0x200C || c == 0x200D;
}

static void append_character(text_buffer *out, int32_t character) {
    utf8proc_uint8_t bytes[4];
    text_append(out, (const char *)bytes, (size_t)utf8proc_encode_char(character, bytes));
}

/* ---- normal forms ---- */

typedef struct points {
    int32_t *list;
    size_t count, capacity;
} points;

enum { LONGEST_DECOMPOSITION = 32 }; /* code points; U+FDFA has 18 */

static void decompose(points *p, int32_t character, utf8proc_option_t options) {
    if (p->count + LONGEST_DECOMPOSITION > p->capacity) {
        p->capacity = 2 * (p->count + LONGEST_DECOMPOSITION);
        p->list = xrealloc(p->list, p->capacity * sizeof *p->list);
    }
    int boundary = 0;
    utf8proc_ssize_t added =
        utf8proc_decompose_char(character, p->list + p->count, LONGEST_DECOMPOSITION, options, &boundary);
    if (added < 0 || added > LONGEST_DECOMPOSITION) { /* it knows no such character */
        p->list[p->count] = character;
        added = 1;
    }
    p->count += (size_t)added;
}

static int class_of(int32_t character) {
    return character < 0x300 ? 0 : utf8proc_get_property(character)->combining_class;
}

/* A run of marks in the order of their classes, each class in the order that it had: counted, so that a megabyte of
 * marks takes no longer than a megabyte of anything. */
static void order_run(int32_t *run, size_t count, int32_t *copy) {
    size_t places[256] = {0};
    memcpy(copy, run, count * sizeof *run);
    for (size_t i = 0; i < count; i++) places[class_of(copy[i])]++;
    for (size_t i = 0, at = 0; i < 256; i++) {
        size_t these = places[i];
        places[i] = at;
        at += these;
    }
    for (size_t i = 0; i < count; i++) run[places[class_of(copy[i])]++] = copy[i];
}

static void order_marks(points *p) {
    int32_t *copy = NULL;
    size_t room = 0;
    for (size_t i = 0; i < p->count;) {
        size_t end = i;
        bool ordered = true;
        for (int last = 0, c; end < p->count && (c = class_of(p->list[end])) != 0; end++, last = c)
            ordered = ordered && c >= last;
        if (!ordered) {
            if (end - i > room) copy = xrealloc(copy, (room = 2 * (end - i)) * sizeof *copy);
            order_run(p->list + i, end - i, copy);
        }
        i = end > i ? end : i + 1;
    }
    free(copy);
}

static bool is_ascii(const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)text[i] >= 0x80) return false;
    return true;
}

static void apply_form(const char *text, size_t bytes, bool compatible, bool compose, text_buffer *out) {
    if (is_ascii(text, bytes)) {
        text_append(out, text, bytes);
        return;
    }
    utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
    points p = {0};
    int length;
    for (size_t i = 0; i < bytes; i += (size_t)length) decompose(&p, character_at(text + i, &length), options);
    order_marks(&p);
    utf8proc_ssize_t count = (utf8proc_ssize_t)p.count;
    if (compose) count = utf8proc_normalize_utf32(p.list, count, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    text_reserve(out, (size_t)count);
    for (utf8proc_ssize_t i = 0; i < count; i++) append_character(out, p.list[i]);
    free(p.list);
}

/* ---- the other steps ---- */

static void apply_lowercase(const char *text, size_t bytes, text_buffer *out) {
    int length;
    for (size_t i = 0; i < bytes; i += (size_t)length) {
        int32_t c = character_at(text + i, &length);
        append_character(out, c == 0x130 ? 'i' : utf8proc_tolower(c));
        if (c == 0x130) append_character(out, 0x307); /* the one that becomes two */
    }
}

static void apply_strip_accents(const char *text, size_t bytes, text_buffer *out) {
    int length;
    for (size_t i = 0; i < bytes; i += (size_t)length)
        if (!is_mark(character_at(text + i, &length))) text_append(out, text + i, (size_t)length);
}

static void apply_strip(const normal_step *s, const char *text, size_t bytes, text_buffer *out) {
    int length;
    size_t begin = 0;
    while (s->left && begin < bytes && is_white_space(character_at(text + begin, &length))) begin += (size_t)length;
    while (s->right && bytes > begin) {
        size_t last = bytes - 1;
        while (((unsigned char)text[last] & 0xC0) == 0x80) last--;
        if (!is_white_space(character_at(text + last, &length))) break;
        bytes = last;
    }
    text_append(out, text + begin, bytes - begin);
}

static status apply_replace(const normal_step *s, regex_matcher *m, const char *text, size_t bytes, size_t from,
                            text_buffer *out) {
    regex_scan scan = regex_begin(s->pattern, m, text, bytes);
    size_t done = 0, begin, end;
    for (bool found = true; found;) {
        TRY(regex_next(&scan, &found, &begin, &end));
        if (!found) break;
        text_append(out, text + done, begin - done);
        text_append_string(out, s->content);
        TRY(check_growth(out->bytes, from));
        done = end;
    }
    text_append(out, text + done, bytes - done);
    return STATUS_OK;
}

/* from: bytes of the text before the first step. */
static status apply_step(const normal_step *s, regex_matcher *m, const char *text, size_t bytes, size_t from,
                         text_buffer *out) {
    switch (s->kind) {
    case NORMAL_NFC:
    case NORMAL_NFD:
    case NORMAL_NFKC:
    case NORMAL_NFKD:
        apply_form(text, bytes, s->kind == NORMAL_NFKC || s->kind == NORMAL_NFKD,
                   s->kind == NORMAL_NFC || s->kind == NORMAL_NFKC, out);
        break;
    case NORMAL_LOWERCASE:
        apply_lowercase(text, bytes, out);
        break;
    case NORMAL_STRIP_ACCENTS:
        apply_strip_accents(text, bytes, out);
        break;
    case NORMAL_STRIP:
        apply_strip(s, text, bytes, out);
        break;
    case NORMAL_PREPEND:
        if (bytes) text_append_string(out, s->content);
        text_append(out, text, bytes);
        break;
    case NORMAL_REPLACE:
        return apply_replace(s, m, text, bytes, from, out);
    case NORMAL_BYTES:
        byte_characters(text, bytes, out);
        break;
    }
    return STATUS_OK;
}

status normalizer_apply(const normalizer *n, regex_matcher *m, const char *text, size_t bytes, text_buffer *out) {
    text_buffer spare = {0};
    const size_t from = bytes;
    status s = STATUS_OK;
    out->bytes = 0;
    if (n->count == 0) text_append(out, text, bytes);
    for (int i = 0; i < n->count && s == STATUS_OK; i++) {
        text_buffer before = spare;
        if (i > 0) { /* what the last step wrote is what this one reads */
            spare = *out;
            *out = before;
            text = spare.text;
            bytes = spare.bytes;
        }
        out->bytes = 0;
        text_append(out, "", 0);
        s = apply_step(&n->steps[i], m, text, bytes, from, out);
        if (s == STATUS_OK) s = check_growth(out->bytes, from);
    }
    text_free(&spare);
    return s;
}
