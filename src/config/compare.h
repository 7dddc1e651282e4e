/* What differs between two configurations of one schema, and what that means (config_change, field.h). */
#ifndef MOEC_CONFIG_COMPARE_H
#define MOEC_CONFIG_COMPARE_H

#include "config/schema.h"

typedef struct config_difference {
    int index;      /* of the key, for schema_key */
    char *was, *is; /* the two values as field_text has them; NULL: an unset string */
    bool harmless;
} config_difference;

typedef struct config_differences {
    const config_schema *schema;
    config_difference *items; /* in the schema's order */
    int count;
} config_differences;

config_differences config_compare(const config_schema *s, const void *was, const void *is);
void config_differences_free(config_differences *d);
int config_differences_count(const config_differences *d, bool harmless);
/* The harmless ones or the others as "steps 40 -> 80, log_every 10 -> 5"; a new string, empty where there are none. */
char *config_differences_text(const config_differences *d, bool harmless);

#endif
