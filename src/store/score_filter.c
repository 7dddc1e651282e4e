#include "store/score_filter.h"

#include <stdbool.h>
#include <string.h>

/* The parts of protobuf that matter: ModelProto.pieces is field 1 (a message), in it piece is field 1 (a string) and
 * score field 2 (a float). */
enum { MESSAGE_1 = 0x0a, FLOAT_2 = 0x15, MAX_VARINT = 5 };

/* A variable-length integer at *at, which moves behind it; false where there is none. */
static bool take_varint(const uint8_t *bytes, size_t count, size_t *at, size_t *value) {
    *value = 0;
    for (int i = 0; i < MAX_VARINT && *at < count; i++) {
        const uint8_t byte = bytes[(*at)++];
        *value |= (size_t)(byte & 127) << (7 * i);
        if (byte < 128) return true;
    }
    return false;
}

/* Behind a tag of field 1 comes a length that fits; *at moves behind the length. */
static bool take_message(const uint8_t *bytes, size_t count, size_t *at, size_t *length) {
    if (*at >= count || bytes[(*at)++] != MESSAGE_1) return false;
    return take_varint(bytes, count, at, length) && *length <= count - *at;
}

/* The next piece's score at or behind *at: its place, or 0 where the pieces end. *at moves behind the piece. */
static size_t next_score(const uint8_t *bytes, size_t count, size_t *at) {
    size_t length, text;
    if (!take_message(bytes, count, at, &length)) return 0;
    const size_t end = *at + length;
    size_t inside = *at;
    if (!take_message(bytes, end, &inside, &text)) return 0;
    inside += text;
    if (end - inside < 5 || bytes[inside] != FLOAT_2) return 0;
    *at = end;
    return inside + 1;
}

static void filter(uint8_t *model, size_t count, bool undo) {
    uint32_t previous = 0; /* the bits of the score before */
    for (size_t at = 0, place = next_score(model, count, &at); place; place = next_score(model, count, &at)) {
        uint32_t stored, expected;
        float score;
        memcpy(&score, &previous, sizeof score);
        score -= 1;
        memcpy(&expected, &score, sizeof expected);
        memcpy(&stored, model + place, sizeof stored);
        const uint32_t changed = stored ^ expected;
        memcpy(model + place, &changed, sizeof changed);
        previous = undo ? changed : stored;
    }
}

void score_filter_apply(uint8_t *model, size_t count) {
    filter(model, count, false);
}

void score_filter_undo(uint8_t *model, size_t count) {
    filter(model, count, true);
}
