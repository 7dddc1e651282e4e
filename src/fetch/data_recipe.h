/* Which texts make up which domains, as a YAML file: a mapping from a domain's name to where its text is.
 *     prose: {dataset: ORG/NAME, config: C, split: S, fields: "text", rows: 20000, licence: …}   fetched from the hub
 *     code: {path: FOLDER, made_by: COMMAND, licence: …}                                          on this machine already */
#ifndef MOEC_FETCH_DATA_RECIPE_H
#define MOEC_FETCH_DATA_RECIPE_H

#include "base/status.h"
#include <stdint.h>

enum { DATA_RECIPE_MAX_DOMAINS = 32, DATA_RECIPE_MAX_NAME = 60 };

/* NULL, or 0, where the file does not say. */
typedef struct data_source {
    char *name; /* letters, digits, '.', '_', '-' */
    char *dataset, *config, *split, *fields;
    int64_t rows;         /* at most; 0: all */
    char *path, *made_by; /* made_by: a person runs it where path is absent; moec does not */
    char *licence;
} data_source;

typedef struct data_recipe {
    data_source sources[DATA_RECIPE_MAX_DOMAINS];
    int count;
} data_recipe;

/* r is to be freed after a failure too. */
status data_recipe_read(data_recipe *r, const char *path);
void data_recipe_free(data_recipe *r);

#endif
