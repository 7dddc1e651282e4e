/* One key of a configuration, as data: where it lives, what it may be, what it means. Tables of fields drive reading and
 * writing of YAML and JSON, the checks of ranges and the help, so that a key is described in exactly one place. */
#ifndef MOEC_CONFIG_FIELD_H
#define MOEC_CONFIG_FIELD_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record_list;
struct yaml_document;
struct yaml_node;

typedef enum field_type {
    FIELD_INT,     /* int */
    FIELD_INT64,   /* int64_t */
    FIELD_UINT64,  /* uint64_t */
    FIELD_BYTES,   /* int64_t, written with a unit or without (base/byte_count.h) */
    FIELD_FLOAT,   /* float */
    FIELD_DOUBLE,  /* double; with choices: or one of these words, choices[i] as −1 − i, which is below the range */
    FIELD_BOOL,    /* bool */
    FIELD_CHOICE,  /* an enum: index into choices */
    FIELD_STRING,  /* char *, owned by the struct; one of choices where there are any */
    FIELD_SET,     /* bool[most + 1]: a list of numbers from 0 to most */
    FIELD_WEIGHTS, /* weight_list: a mapping from names to numbers (weights.h) */
    FIELD_NAMES,   /* name_list: a list of texts (names.h) */
    FIELD_LABELS,  /* label_list: a list of short names, plain data (labels.h) */
    FIELD_CURVE,   /* curve: a number, or numbers by fraction of the training, plain data (curve.h) */
    FIELD_RECORDS, /* a list of mappings (records.h) */
    FIELD_OWN      /* what `read` makes of the value; only in tables that read_mapping reads and nothing writes */
} field_type;

/* What it means for something that goes on, as a training that is resumed does, when a key has another value than before. */
typedef enum config_change {
    CHANGE_ANOTHER,       /* it becomes another one: what holds for a key of which nobody said anything else */
    CHANGE_ANOTHER_PLACE, /* the same of a path, where it leads elsewhere; however it is written */
    CHANGE_TRAINING,      /* as CHANGE_ANOTHER; but what is trained already, and begins anew with it, is what it was */
    CHANGE_GROWS,         /* nothing, where the number grows; else as CHANGE_ANOTHER */
    CHANGE_HARMLESS       /* nothing */
} config_change;

typedef struct config_field {
    const char *key;
    field_type type;
    size_t offset;              /* in the struct that the table describes */
    double least, most;         /* numbers: the range, inclusive. Strings: least 1 forbids an empty one */
    const char *const *choices; /* ends with NULL */
    config_change change;
    const char *meaning;
    const struct record_list *records;
    status (*read)(const struct yaml_document *d, const struct yaml_node *value, const struct config_field *f,
                   void *base);
} config_field;

/* A row of a table: CONFIG_FIELD(struct, "key", type, member, least, most, choices, "meaning"). */
#define CONFIG_FIELD(STRUCT, KEY, TYPE, MEMBER, LEAST, MOST, CHOICES, MEANING)                                         \
    CONFIG_FIELD_CHANGE(STRUCT, KEY, TYPE, MEMBER, LEAST, MOST, CHOICES, CHANGE_ANOTHER, MEANING)
#define CONFIG_FIELD_CHANGE(STRUCT, KEY, TYPE, MEMBER, LEAST, MOST, CHOICES, CHANGE, MEANING)                          \
    {                                                                                                                  \
        .key = KEY, .type = TYPE, .offset = offsetof(STRUCT, MEMBER), .least = LEAST, .most = MOST,                    \
        .choices = CHOICES, .change = CHANGE, .meaning = MEANING                                                       \
    }

/* Read a scalar's text into base + offset; false, and nothing changed, when it is not what field_expected says. */
bool field_parse(const config_field *f, void *base, const char *text);
/* The value on one line, in the shortest text that is read back to the same; a new string, or NULL for an unset string. */
char *field_text(const config_field *f, const void *base);
/* The value of one struct into another one of the same kind; not of records. */
void field_copy(const config_field *f, const void *from, void *to);
void field_free(const config_field *f, void *base); /* what the value owns; it is unset then */
/* "an integer from 1 to 64"; a new string. */
char *field_expected(const config_field *f);
/* Whether the value satisfies the field's own range or choices. Sets and records always do. */
bool field_in_range(const config_field *f, const void *base);
/* An error that says so: "KEY: expected …, found …". */
status field_check(const config_field *f, const void *base);
/* The members of a set of `count` numbers as "[4, 5]"; a new string. */
char *set_text(const bool *set, int count);
/* Add the number that text names; false when it is no integer from 0 to count − 1. */
bool set_add(bool *set, int count, const char *text);

#endif
