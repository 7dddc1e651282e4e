/* A section of a configuration: the keys of one struct, under one name. The room that owns the struct owns the section. */
#ifndef MOEC_CONFIG_SECTION_H
#define MOEC_CONFIG_SECTION_H

#include "config/field.h"

/* What people who come from other programs type: the key that they look for, or why there is none. */
typedef struct foreign_key {
    const char *name;   /* lower case, with underscores; a * at its end stands for any rest */
    const char *key;    /* ours; NULL: there is none, and the remark says what there is instead */
    const char *remark; /* what else is to be known; NULL: nothing */
} foreign_key;

/* A list of records is a section of its own: the one key, called as the section is. */
typedef struct config_section {
    const char *name;
    const config_field *fields;
    int count;
    const foreign_key *foreign;
    int foreign_count;
} config_section;

/* A table and its length, for a section's initialiser. */
#define TABLE_AND_COUNT(table) table, sizeof(table) / sizeof *(table)

/* The index of a key; −1: there is none. */
int section_find(const config_section *s, const char *key);
const char *section_nearest(const config_section *s, const char *key);
/* By the name that another program has for it, however its letters and dashes are written; NULL: it is not known. */
const foreign_key *section_foreign(const config_section *s, const char *key);
/* The range of every key. */
status section_check(const config_section *s, const void *base);
/* Frees what the values own, and unsets them. */
void section_free(const config_section *s, void *base);

#endif
