/* A number that changes while something goes on: `0.1`, or `{0: 1, 0.5: 0.1}`, its values at fractions of the whole, straight lines
 * between them and the nearest one beyond. Plain data. */
#ifndef MOEC_CONFIG_CURVE_H
#define MOEC_CONFIG_CURVE_H

#include "config/field.h"
#include "config/yaml.h"

enum { CURVE_MOST = 8 };

typedef struct curve {
    double at[CURVE_MOST]; /* from 0 to 1, rising */
    double value[CURVE_MOST];
    int count; /* 0: the value is 0 everywhere */
} curve;

curve curve_constant(double value);
double curve_value(const curve *c, double fraction);
bool curve_is_zero(const curve *c); /* everywhere */

/* A mapping from fractions to numbers from f->least to f->most into *c; on failure it is unchanged. */
status curve_read(const config_field *f, const yaml_document *d, const yaml_node *value, curve *c);
char *curve_text(const curve *c); /* "0.1" or "{0: 1, 0.5: 0.1}"; a new string */
bool curve_in_range(const config_field *f, const curve *c);

#endif
