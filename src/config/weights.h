/* Weights by name in a configuration, such as `{bread: 2, cheese: 0.5}`. Which names there are is not known here. */
#ifndef MOEC_CONFIG_WEIGHTS_H
#define MOEC_CONFIG_WEIGHTS_H

#include "config/field.h"
#include "config/yaml.h"

enum { WEIGHTS_MOST = 64, WEIGHTS_MAX_NAME = 256 /* bytes: what is read can be written (YAML_MAX_BYTES) */ };

typedef struct named_weight {
    char *name;
    double weight;
} named_weight;

typedef struct weight_list {
    named_weight *items; /* in the order in which they are given, no name twice */
    int count;
} weight_list;

/* A mapping from names to numbers from f->least to f->most into *list, which it replaces; on failure it is unchanged. */
status weights_read(const config_field *f, const yaml_document *d, const yaml_node *value, weight_list *list);
char *weights_text(const weight_list *list); /* "{bread: 2, cheese: 0.5}"; a new string */
bool weights_in_range(const config_field *f, const weight_list *list);
weight_list weights_copy(const weight_list *list);
void weights_free(weight_list *list);

#endif
