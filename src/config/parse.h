/* What load.c needs of parse.c: documents that may build on others, and which text gave a key. Private to config/. */
#ifndef MOEC_CONFIG_PARSE_H
#define MOEC_CONFIG_PARSE_H

#include "config/schema.h"
#include "config/yaml.h"

#define CONFIG_BASE_KEY "base"

/* texts, where not NULL, gets `number` for each key that the document or the override gives. A document with a base passes
 * that key over, and is the only one that may be without any other. */
status config_read_document(const config_schema *s, void *c, const yaml_document *d, bool has_base, int *texts,
                            int number);
status config_apply_override(const config_schema *s, void *c, const char *override, int *texts, int number);

#endif
