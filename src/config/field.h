/* One key of a configuration, as data: where it lives, what it may be, what it means. Tables of fields drive reading and
 * writing of YAML and JSON, the checks of ranges and the help, so that a key is described in exactly one place. */
#ifndef MOEC_CONFIG_FIELD_H
#define MOEC_CONFIG_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum field_type {
    FIELD_INT,    /* int */
    FIELD_INT64,  /* int64_t */
    FIELD_UINT64, /* uint64_t */
    FIELD_FLOAT,  /* float */
    FIELD_DOUBLE, /* double; with choices: or one of these words, choices[i] as −1 − i, which is below the range */
    FIELD_BOOL,   /* bool */
    FIELD_CHOICE, /* an enum: index into choices */
    FIELD_STRING, /* char *, owned by the struct; one of choices where there are any */
    FIELD_SET,    /* bool[most + 1]: a list of numbers from 0 to most */
    FIELD_EVENTS  /* the events of a run_config; train/ reads and writes them */
} field_type;

typedef struct config_field {
    const char *section;
    const char *key;
    field_type type;
    size_t offset;              /* in the struct that the table describes */
    double least, most;         /* numbers: the range, inclusive. Strings: least 1 forbids an empty one */
    const char *const *choices; /* ends with NULL */
    const char *meaning;
} config_field;

/* Read a scalar's text into base + offset; false, and nothing changed, when it is not what field_expected says. */
bool field_parse(const config_field *f, void *base, const char *text);
/* The value in the shortest text that field_parse reads back to the same; a new string, or NULL for an unset string. */
char *field_text(const config_field *f, const void *base);
/* "an integer from 1 to 64"; a new string. */
char *field_expected(const config_field *f);
/* Whether the value satisfies the field's own range or choices. Sets always do. */
bool field_in_range(const config_field *f, const void *base);
/* The members of a set of `count` numbers as "[4, 5]"; a new string. */
char *set_text(const bool *set, int count);
/* Add the number that text names; false when it is no integer from 0 to count − 1. */
bool set_add(bool *set, int count, const char *text);

#endif
