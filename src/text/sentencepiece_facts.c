#include "text/sentencepiece_facts.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

/* ---- protobuf ---- */

typedef struct message {
    const uint8_t *next, *end;
} message;

typedef struct field {
    uint64_t number; /* with the wire type, as FIELD makes it: a known field of another type is unknown */
    uint64_t value;  /* of an integer, or the bits of a float */
    message inside;  /* of what has a length: strings and messages */
} field;

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };
#define FIELD(number, type) ((number) << 3 | (type))

static bool take_varint(message *m, uint64_t *value) {
    *value = 0;
    for (int shift = 0; shift < 64 && m->next < m->end; shift += 7) {
        const uint8_t byte = *m->next++;
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return true;
    }
    return false;
}

static bool take_bytes(message *m, uint64_t count, const uint8_t **at) {
    if (count > (uint64_t)(m->end - m->next)) return false;
    *at = m->next;
    m->next += count;
    return true;
}

/* false: the message ends, or is damaged; then m->next is not its end. */
static bool next_field(message *m, field *f) {
    const message begin = *m;
    uint64_t key, length;
    const uint8_t *at;
    *f = (field){0};
    if (m->next == m->end || !take_varint(m, &key)) return false;
    f->number = key;
    bool fine = false;
    switch (key & 7) {
    case VARINT:
        fine = take_varint(m, &f->value);
        break;
    case FIXED64:
    case FIXED32:
        fine = take_bytes(m, (key & 7) == FIXED32 ? 4 : 8, &at);
        if (fine) memcpy(&f->value, at, (key & 7) == FIXED32 ? 4 : 8);
        break;
    case LENGTH:
        fine = take_varint(m, &length) && take_bytes(m, length, &at);
        if (fine) f->inside = (message){at, at + length};
        break;
    default:
        break;
    }
    if (!fine) *m = begin;
    return fine;
}

/* ---- the fields that matter ---- */

enum { MODEL_PIECES = FIELD(1, LENGTH), MODEL_TRAINER = FIELD(2, LENGTH), MODEL_NORMALIZER = FIELD(3, LENGTH) };
enum { PIECE_TEXT = FIELD(1, LENGTH), PIECE_SCORE = FIELD(2, FIXED32), PIECE_TYPE = FIELD(3, VARINT) };
enum {
    TRAINER_MODEL_TYPE = FIELD(3, VARINT),
    TRAINER_SUFFIX = FIELD(24, VARINT),
    TRAINER_BYTE_FALLBACK = FIELD(35, VARINT)
};
enum { NORMALIZER_MAP = FIELD(2, LENGTH), NORMALIZER_PREFIX = FIELD(3, VARINT), NORMALIZER_JOINS = FIELD(4, VARINT) };

static bool read_piece(sentencepiece_facts *f, message m, size_t *capacity) {
    field x;
    if (f->count == *capacity) {
        *capacity = 2 * *capacity + 1024;
        f->pieces = xrealloc(f->pieces, *capacity * sizeof *f->pieces);
        f->scores = xrealloc(f->scores, *capacity * sizeof *f->scores);
        f->types = xrealloc(f->types, *capacity * sizeof *f->types);
    }
    source_string text = {"", 0};
    float score = 0;
    int32_t type = SOURCE_NORMAL;
    while (next_field(&m, &x)) {
        if (x.number == PIECE_TEXT)
            text = (source_string){(const char *)x.inside.next, (size_t)(x.inside.end - x.inside.next)};
        if (x.number == PIECE_SCORE) memcpy(&score, &x.value, sizeof score); /* little-endian */
        if (x.number == PIECE_TYPE) type = (int32_t)x.value;
    }
    f->pieces[f->count] = text;
    f->scores[f->count] = score;
    f->types[f->count++] = type;
    return m.next == m.end;
}

static bool read_trainer(sentencepiece_facts *f, message m) {
    field x;
    while (next_field(&m, &x)) {
        if (x.number == TRAINER_MODEL_TYPE) f->kind = (int)x.value;
        if (x.number == TRAINER_SUFFIX) f->spaces_are_suffixes = x.value != 0;
        if (x.number == TRAINER_BYTE_FALLBACK) f->byte_fallback = x.value != 0;
    }
    return m.next == m.end;
}

static bool read_normalizer(sentencepiece_facts *f, message m) {
    field x;
    while (next_field(&m, &x)) {
        if (x.number == NORMALIZER_MAP) f->maps_characters = x.inside.end > x.inside.next;
        if (x.number == NORMALIZER_PREFIX) f->adds_space = x.value != 0;
        if (x.number == NORMALIZER_JOINS) f->joins_spaces = x.value != 0;
    }
    return m.next == m.end;
}

status sentencepiece_facts_read(sentencepiece_facts *f, const void *bytes, size_t count) {
    message m = {bytes, (const uint8_t *)bytes + count};
    size_t capacity = 0;
    field x;
    bool fine = true;
    *f = (sentencepiece_facts){.kind = SENTENCEPIECE_UNIGRAM, .adds_space = true, .joins_spaces = true};
    while (fine && next_field(&m, &x)) {
        if (x.number == MODEL_PIECES) fine = read_piece(f, x.inside, &capacity);
        if (x.number == MODEL_TRAINER) fine = read_trainer(f, x.inside);
        if (x.number == MODEL_NORMALIZER) fine = read_normalizer(f, x.inside);
    }
    if (fine && m.next == m.end && f->count > 0) return STATUS_OK;
    sentencepiece_facts_free(f);
    return fail("tokenizer: expected a SentencePiece model, found %zu bytes that are none", count);
}

void sentencepiece_facts_free(sentencepiece_facts *f) {
    free(f->pieces);
    free(f->scores);
    free(f->types);
    *f = (sentencepiece_facts){0};
}
