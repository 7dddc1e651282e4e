/* A section of a configuration: the keys of one struct, under one name. The room that owns the struct owns the section. */
#ifndef MOEC_CONFIG_SECTION_H
#define MOEC_CONFIG_SECTION_H

#include "config/field.h"

/* A list of records is a section of its own: the one key, called as the section is. */
typedef struct config_section {
    const char *name;
    const config_field *fields;
    int count;
} config_section;

/* A table and its length, for a section's initialiser. */
#define TABLE_AND_COUNT(table) table, sizeof(table) / sizeof *(table)

/* The index of a key; −1: there is none. */
int section_find(const config_section *s, const char *key);
const char *section_nearest(const config_section *s, const char *key);
/* The range of every key. */
status section_check(const config_section *s, const void *base);
/* Frees the strings and makes them NULL. */
void section_free(const config_section *s, void *base);

#endif
