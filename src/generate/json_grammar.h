/* JSON (RFC 8259) as a pushdown automaton over bytes: a text that it has accepted so far is the beginning of one object
 * and nothing else. Stricter than the RFC where readers are: bytes are UTF-8 (RFC 3629), \u escapes of surrogates come in
 * pairs, numbers have at most JSON_NUMBER_BYTES, nesting ends at JSON_DEPTH, and runs of white space at JSON_SPACES, so
 * that a text cannot go on for ever without saying anything. */
#ifndef MOEC_GENERATE_JSON_GRAMMAR_H
#define MOEC_GENERATE_JSON_GRAMMAR_H

#include <stdbool.h>
#include <stdint.h>

enum { JSON_DEPTH = 64, JSON_NUMBER_BYTES = 24, JSON_SPACES = 40 };

/* Plain data without padding that matters: two states with the same bytes accept the same texts. */
typedef struct json_grammar {
    uint64_t arrays;     /* bit i: what is open at depth i is an array, not an object */
    uint8_t depth, mode; /* mode: json_grammar.c */
    uint8_t count;       /* bytes of the white space, number, literal or escape that is under way */
    uint8_t key;         /* the string under way is a key */
    uint8_t left;        /* bytes that a character still needs, */
    uint8_t low, high;   /* of which the next one is in low … high */
    uint8_t word;        /* the literal or the kind of escape under way */
} json_grammar;

json_grammar json_grammar_start(void);
/* The next byte of the text; false: it may not follow (g is as before). */
bool json_grammar_step(json_grammar *g, uint8_t byte);
/* The object is closed: only white space may follow. */
bool json_grammar_is_whole(const json_grammar *g);

#endif
