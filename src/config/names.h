/* A list of texts in a configuration, such as `[embedding, "blocks.0.*"]`. What they mean is not known here. */
#ifndef MOEC_CONFIG_NAMES_H
#define MOEC_CONFIG_NAMES_H

#include "config/field.h"
#include "config/yaml.h"

enum { NAMES_MOST = 256, NAMES_MAX_NAME = 256 /* bytes: what is read can be written (YAML_MAX_BYTES) */ };

typedef struct name_list {
    char **names;
    int count;
} name_list;

/* A list of texts that are not empty into *list, which it replaces; on failure it is unchanged. */
status names_read(const config_field *f, const yaml_document *d, const yaml_node *value, name_list *list);
char *names_text(const name_list *list); /* "[embedding, \"blocks.0.*\"]"; a new string */
name_list names_copy(const name_list *list);
void names_free(name_list *list);

#endif
