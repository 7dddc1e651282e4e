/* A few short names in a configuration, such as `[code, prose]`, that live in the struct itself, so that it stays plain data. */
#ifndef MOEC_CONFIG_LABELS_H
#define MOEC_CONFIG_LABELS_H

#include "config/field.h"
#include "config/yaml.h"
#include <cjson/cJSON.h>

enum { LABELS_MOST = 64, LABEL_BYTES = 32 /* with the zero behind it */ };

typedef struct label_list {
    char label[LABELS_MOST][LABEL_BYTES]; /* none is empty or twice there */
    int count;
} label_list;

/* A list of texts into *list, which it replaces; on failure it is unchanged. */
status labels_read(const config_field *f, const yaml_document *d, const yaml_node *value, label_list *list);
/* The same as JSON: a list of texts. False, and nothing changed, where it is none of such names. */
bool labels_from_json(label_list *labels, const cJSON *list);
cJSON *labels_to_json(const label_list *labels);
/* False, and nothing changed, where there is no room for it, or it is there already. */
bool labels_add(label_list *list, const char *label);
int labels_find(const label_list *list, const char *label); /* −1: it is not there */
char *labels_text(const label_list *list);                  /* "[code, prose]"; a new string */

#endif
