/* A list of records in a configuration, such as `[{hour: 10, who: family}]`: mappings, each of a kind that one of its keys
 * names; the kind says which other keys it has. In memory: the records, one after another, and how many they are. */
#ifndef MOEC_CONFIG_RECORDS_H
#define MOEC_CONFIG_RECORDS_H

#include "config/field.h"
#include "config/yaml.h"
#include <stdio.h>

/* Keys as bits: bit i is fields[i]. What names the kind is in none of them: every record has it. */
typedef struct record_kind {
    unsigned one_of; /* exactly one of these; in memory the last that differs from the fresh record, else the first */
    unsigned needs;  /* all of these */
    unsigned may;    /* any of these */
} record_kind;

typedef struct record_list {
    const char *one;            /* "visit": what a record is called */
    const char *example;        /* "{hour: 10, who: family}" */
    const char *forms;          /* the kinds with their keys, for the help */
    const config_field *fields; /* of a record; at most 32, no texts */
    int field_count;
    int tag;                  /* which field names the kind: a FIELD_CHOICE, whose choices are the kinds' names */
    const record_kind *kinds; /* one for each choice */
    const void *fresh;        /* the record whose values keys have that are not given */
    size_t bytes;             /* of a record */
    int most;                 /* records of a list */
    size_t count_offset;      /* from the list's beginning to their number, an int */
} record_list;

int records_count(const record_list *l, const void *list);
const char *record_kind_name(const record_list *l, int kind);
/* Of a value that is a list. `list` is where the records begin; on failure it is unchanged. */
status records_read(const record_list *l, const yaml_document *d, const yaml_node *value, const char *key, void *list);
/* The kind and the range of every key that counts; messages begin with "KEY[3].at: ". */
status records_check(const record_list *l, const char *key, const void *list);
/* A line "  - {…}" for each. */
void records_write(const record_list *l, FILE *out, const void *list);
/* On one line, "[{…}, {…}]", which records_read takes; a new string. */
char *records_text(const record_list *l, const void *list);
void records_describe(const record_list *l, const char *key, FILE *out);

#endif
