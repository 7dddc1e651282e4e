#ifndef MOEC_CONFIG_WRITE_H
#define MOEC_CONFIG_WRITE_H

#include "config/schema.h"
#include <stdio.h>

/* All keys as YAML that config_load reads back to the same values. */
char *config_text(const config_schema *s, const void *c); /* a new string */
status config_write(const config_schema *s, const void *c, const char *path);
/* Every key with its meaning, its type and its value in `defaults`. */
void config_describe(const config_schema *s, const void *defaults, FILE *out);

#endif
