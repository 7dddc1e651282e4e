/* Reading JSON where it lies, value by value and without a tree: what is large or foreign takes no memory beyond what its
 * reader keeps, and time in proportion to its bytes.
 *
 * Every function passes over white space first. After one that returned false `next` stands at the byte that does not fit. */
#ifndef MOEC_BASE_JSON_SCAN_H
#define MOEC_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct json_scan {
    const char *next, *end;
} json_scan;

enum { JSON_SCAN_DEPTH = 64 }; /* arrays and objects within one another, at most */

bool json_scan_take(json_scan *s, char punctuation); /* passes over it, if it is next */
char json_scan_peek(json_scan *s);                   /* the next byte, NUL at the end */
bool json_scan_at_end(json_scan *s);                 /* only white space was left */
/* A string. text (may be NULL) gets its UTF-8 with a NUL behind, never more bytes than stand between its quotes and one more;
 * a string with a NUL in it is refused. */
bool json_scan_string(json_scan *s, char *text);
/* A whole number from 0 to 2^53, without fraction and exponent. */
bool json_scan_size(json_scan *s, uint64_t *value);
/* Any number that JSON has (which NaN and Infinity are not), as far as a double goes: false where it is not finite. */
bool json_scan_number(json_scan *s, double *value);
bool json_scan_skip(json_scan *s); /* any value */

#endif
