/* A whole configuration: sections, and where the struct of each lies in the struct of all. Keys have names of their own, so
 * `batch` and `train.batch` are the same key. */
#ifndef MOEC_CONFIG_SCHEMA_H
#define MOEC_CONFIG_SCHEMA_H

#include "config/section.h"

typedef struct config_part {
    const config_section *section;
    size_t offset;
} config_part;

typedef struct config_schema {
    const config_part *parts; /* in the order in which they are written */
    int part_count;
} config_schema;

typedef struct config_key {
    const config_section *section;
    config_field field; /* its offset is into the whole configuration */
} config_key;

int schema_size(const config_schema *s); /* keys of all sections */
config_key schema_key(const config_schema *s, int index);
/* The index of a key, with or without its section; −1: there is none. */
int schema_find(const config_schema *s, const char *name);
int schema_find_section(const config_schema *s, const char *name); /* of parts; −1: there is none */
/* "unknown key NAME" and what may be meant: the key that another program calls so, else the nearest. A new string. */
char *schema_unknown_key(const config_schema *s, const char *name);
char *schema_unknown_section(const config_schema *s, const char *name);

void schema_free(const config_schema *s, void *c); /* what the values own; they are unset then */

#endif
