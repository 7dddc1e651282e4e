/* From nodes of YAML to what tables of fields describe. Errors are STATUS_USAGE and say "WHERE:LINE: ". */
#ifndef MOEC_CONFIG_READ_H
#define MOEC_CONFIG_READ_H

#include "config/field.h"
#include "config/yaml.h"

enum { READ_MAX_TEXT = 4096 }; /* bytes of a text: what is written has room in YAML_MAX_BYTES, however it is escaped */

/* A value of any type into base + offset. */
status read_value(const yaml_document *d, const yaml_node *value, const config_field *f, void *base);
/* A mapping whose keys are the fields, each at most once. lines[i] becomes the line of fields[i], and stays 0 where it is
 * not given. `what` is what messages call the mapping, "a run". */
status read_mapping(const yaml_document *d, const yaml_node *mapping, const char *what, const config_field *fields,
                    int count, void *base, int *lines);
/* "KEY: expected EXPECTED, found what the value is" */
status read_wrong(const yaml_document *d, const yaml_node *value, const char *key, const char *expected);

#endif
