/* From YAML files and overrides to a configuration. Errors are STATUS_USAGE (a file that cannot be read: STATUS_FAILED); ranges
 * are checked, rules between keys are not. After a failure some keys may have changed. */
#ifndef MOEC_CONFIG_LOAD_H
#define MOEC_CONFIG_LOAD_H

#include "config/schema.h"

enum { CONFIG_MAX_FILES = 32 }; /* that one configuration is made of */

/* Read a YAML file into *c; before it the presets that its key `base` names, whose paths start from the file's folder, in
 * their order. What is read later wins. Then apply overrides. path may be NULL.
 * texts, where not NULL, has schema_size entries: which text gave a key last. Files count from 1 in the order in which they
 * are read, all overrides together are one more text; 0: nobody gave it. */
status config_load(const config_schema *s, void *c, const char *path, char *const *overrides, int count, int *texts);
/* A YAML text, which can have no `base`. */
status config_parse(const config_schema *s, void *c, const char *where, const char *yaml, size_t bytes);
/* "KEY=VALUE" or "SECTION.KEY=VALUE", the value as it would stand in a file; a text needs no quotes. */
status config_override(const config_schema *s, void *c, const char *override);

#endif
