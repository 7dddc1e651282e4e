#include "generate/json_grammar.h"

#include <string.h>

typedef enum json_mode {
    MODE_START,        /* the object itself */
    MODE_KEY_OR_END,   /* behind { */
    MODE_KEY,          /* behind , in an object */
    MODE_COLON,        /* behind a key */
    MODE_VALUE,        /* behind : and , in an array */
    MODE_VALUE_OR_END, /* behind [ */
    MODE_AFTER,        /* behind a value */
    MODE_STRING,
    MODE_ESCAPE, /* behind \ */
    MODE_HEX,    /* behind \u */
    MODE_PAIR,   /* behind the first half of a surrogate pair: \ */
    MODE_PAIR_U, /* then u */
    MODE_LITERAL,
    MODE_MINUS, /* behind -: a digit */
    MODE_ZERO,  /* behind a leading 0: no digit */
    MODE_DIGITS,
    MODE_POINT, /* behind .: a digit */
    MODE_FRACTION,
    MODE_EXPONENT, /* behind e: a sign or a digit */
    MODE_SIGN,     /* behind that sign: a digit */
    MODE_POWER,
    MODE_WHOLE
} json_mode;

static const char *const literals[] = {"true", "false", "null"};
enum {
    HEX_FIRST,
    HEX_HIGH,
    HEX_SECOND
}; /* `word` in MODE_HEX: no surrogate so far; a first half; a second half is due */

json_grammar json_grammar_start(void) {
    json_grammar g;
    memset(&g, 0, sizeof g);
    return g;
}

bool json_grammar_is_whole(const json_grammar *g) {
    return g->mode == MODE_WHOLE;
}

static bool enter(json_grammar *g, json_mode mode) {
    g->mode = (uint8_t)mode;
    g->count = g->word = 0;
    return true;
}

static bool in_array(const json_grammar *g) {
    return g->arrays >> (g->depth - 1) & 1;
}

static bool open_level(json_grammar *g, bool array) {
    if (g->depth == JSON_DEPTH) return false;
    const uint64_t bit = 1ull << g->depth++;
    g->arrays = array ? g->arrays | bit : g->arrays & ~bit;
    return enter(g, array ? MODE_VALUE_OR_END : MODE_KEY_OR_END);
}

static bool close_level(json_grammar *g, uint8_t byte) {
    if (byte != (in_array(g) ? ']' : '}')) return false;
    g->depth--;
    g->arrays &= ~(1ull << g->depth);
    return enter(g, g->depth > 0 ? MODE_AFTER : MODE_WHOLE);
}

static bool begin_string(json_grammar *g, bool key) {
    g->key = key;
    return enter(g, MODE_STRING);
}

static bool begin_literal(json_grammar *g, int word) {
    (void)enter(g, MODE_LITERAL);
    g->word = (uint8_t)word;
    g->count = 1;
    return true;
}

static bool begin_value(json_grammar *g, uint8_t byte) {
    switch (byte) {
    case '{':
        return open_level(g, false);
    case '[':
        return open_level(g, true);
    case '"':
        return begin_string(g, false);
    case 't':
        return begin_literal(g, 0);
    case 'f':
        return begin_literal(g, 1);
    case 'n':
        return begin_literal(g, 2);
    }
    if (byte != '-' && (byte < '0' || byte > '9')) return false;
    (void)enter(g, byte == '-' ? MODE_MINUS : byte == '0' ? MODE_ZERO : MODE_DIGITS);
    g->count = 1;
    return true;
}

static bool after_value(json_grammar *g, uint8_t byte) {
    if (byte == ',') return enter(g, in_array(g) ? MODE_VALUE : MODE_KEY);
    return close_level(g, byte);
}

/* ---- strings ---- */

/* The first byte of a character of several (RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF). */
static bool begin_character(json_grammar *g, uint8_t byte) {
    if (byte < 0xc2 || byte > 0xf4) return false;
    g->left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    g->low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    g->high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
    return true;
}

static bool in_string(json_grammar *g, uint8_t byte) {
    if (g->left > 0) {
        if (byte < g->low || byte > g->high) return false;
        g->left--;
        g->low = g->left > 0 ? 0x80 : 0;
        g->high = g->left > 0 ? 0xbf : 0;
        return true;
    }
    if (byte == '"') {
        const bool key = g->key;
        g->key = 0;
        return enter(g, key ? MODE_COLON : MODE_AFTER);
    }
    if (byte == '\\') return enter(g, MODE_ESCAPE);
    return byte >= 0x80 ? begin_character(g, byte) : byte >= 0x20;
}

static int hex_value(uint8_t byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
    return byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
}

/* Surrogates are D800 … DFFF; those from DC00 on are second halves. `key` is of the string, so what digits came is told
 * by word and count: with the first digit D, `low` is 1. */
static bool in_hex(json_grammar *g, uint8_t byte) {
    const int digit = hex_value(byte), place = g->count;
    if (digit < 0) return false;
    if (g->word == HEX_SECOND && ((place == 0 && digit != 13) || (place == 1 && digit < 12))) return false;
    if (g->word == HEX_FIRST && place == 1 && g->low == 1 && digit >= 12) return false;
    if (g->word == HEX_FIRST && place == 1 && g->low == 1 && digit >= 8) g->word = HEX_HIGH;
    g->low = place == 0 && digit == 13 && g->word == HEX_FIRST;
    if (++g->count < 4) return true;
    return enter(g, g->word == HEX_HIGH ? MODE_PAIR : MODE_STRING);
}

static bool in_escape(json_grammar *g, uint8_t byte) {
    if (byte == 'u') return enter(g, MODE_HEX);
    return byte != 0 && strchr("\"\\/bfnrt", byte) && enter(g, MODE_STRING);
}

/* ---- numbers and literals ---- */

static bool in_literal(json_grammar *g, uint8_t byte) {
    const char *word = literals[g->word];
    if (byte != (uint8_t)word[g->count]) return false;
    if (word[++g->count] == 0) return enter(g, MODE_AFTER);
    return true;
}

/* The mode behind this byte of a number; −1: it does not go on. */
static int number_mode(const json_grammar *g, uint8_t byte) {
    const bool digit = byte >= '0' && byte <= '9', power = byte == 'e' || byte == 'E';
    switch (g->mode) {
    case MODE_MINUS:
        return !digit ? -1 : byte == '0' ? MODE_ZERO : MODE_DIGITS;
    case MODE_ZERO:
        return byte == '.' ? MODE_POINT : power ? MODE_EXPONENT : -1;
    case MODE_DIGITS:
        return digit ? MODE_DIGITS : byte == '.' ? MODE_POINT : power ? MODE_EXPONENT : -1;
    case MODE_POINT:
        return digit ? MODE_FRACTION : -1;
    case MODE_FRACTION:
        return digit ? MODE_FRACTION : power ? MODE_EXPONENT : -1;
    case MODE_EXPONENT:
        return digit ? MODE_POWER : byte == '+' || byte == '-' ? MODE_SIGN : -1;
    default: /* MODE_SIGN, MODE_POWER */
        return digit ? MODE_POWER : -1;
    }
}

static bool may_end(uint8_t mode) {
    return mode == MODE_ZERO || mode == MODE_DIGITS || mode == MODE_FRACTION || mode == MODE_POWER;
}

static bool is_space(uint8_t byte) {
    return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

/* What does not go on a number ends it. A long one is ended early enough that what it still needs has room. */
static bool in_number(json_grammar *g, uint8_t byte) {
    const int mode = number_mode(g, byte), room = JSON_NUMBER_BYTES - g->count;
    const bool whole = mode >= 0 && may_end((uint8_t)mode);
    if (mode >= 0 && room >= (whole ? 1 : mode == MODE_EXPONENT ? 3 : 2)) {
        g->mode = (uint8_t)mode;
        g->count++;
        return true;
    }
    if (!may_end(g->mode)) return false;
    json_grammar after = *g;
    (void)enter(&after, MODE_AFTER);
    if (!json_grammar_step(&after, byte)) return false;
    *g = after;
    return true;
}

/* ---- all of it ---- */

static bool between_tokens(json_grammar *g, uint8_t byte) {
    if (is_space(byte)) return g->count < JSON_SPACES && ++g->count;
    switch (g->mode) {
    case MODE_START:
        return byte == '{' && open_level(g, false);
    case MODE_KEY_OR_END:
        return byte == '"' ? begin_string(g, true) : close_level(g, byte);
    case MODE_KEY:
        return byte == '"' && begin_string(g, true);
    case MODE_COLON:
        return byte == ':' && enter(g, MODE_VALUE);
    case MODE_VALUE:
        return begin_value(g, byte);
    case MODE_VALUE_OR_END:
        return begin_value(g, byte) || close_level(g, byte);
    case MODE_AFTER:
        return after_value(g, byte);
    default: /* MODE_WHOLE */
        return false;
    }
}

bool json_grammar_step(json_grammar *g, uint8_t byte) {
    switch (g->mode) {
    case MODE_STRING:
        return in_string(g, byte);
    case MODE_ESCAPE:
        return in_escape(g, byte);
    case MODE_HEX:
        return in_hex(g, byte);
    case MODE_PAIR:
        return byte == '\\' && enter(g, MODE_PAIR_U);
    case MODE_PAIR_U:
        if (byte != 'u') return false;
        (void)enter(g, MODE_HEX);
        g->word = HEX_SECOND;
        return true;
    case MODE_LITERAL:
        return in_literal(g, byte);
    case MODE_MINUS:
    case MODE_ZERO:
    case MODE_DIGITS:
    case MODE_POINT:
    case MODE_FRACTION:
    case MODE_EXPONENT:
    case MODE_SIGN:
    case MODE_POWER:
        return in_number(g, byte);
    default:
        return between_tokens(g, byte);
    }
}
