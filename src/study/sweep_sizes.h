/* The key `scaling` of a sweep: what grows from run to run, and the runs that it makes. Private to study/sweep*.c. */
#ifndef MOEC_STUDY_SWEEP_SIZES_H
#define MOEC_STUDY_SWEEP_SIZES_H

#include "config/yaml.h"
#include "study/sweep.h"

/* The mapping {of: tokens, times: [1, 2, 4]} into a sweep. */
status sweep_read_scaling(const yaml_document *d, const yaml_node *value, const config_field *f, void *base);
/* Each run once for each of scaling.times; and that these are sizes enough for a law. */
status sweep_expand(sweep *s);
/* The same of any sizes, where they are known: of one series, which is what times made or all runs. */
status sweep_check_sizes(const sweep *s, double (*size)(const sweep *s, const sweep_variant *v));
/* "tokens", "parameters", "active_parameters": as the YAML calls it, and as results.jsonl does. */
const char *sweep_size_name(sweep_size of);

#endif
