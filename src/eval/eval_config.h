/* How held-out text is scored: the section `eval` of a run. */
#ifndef MOEC_EVAL_EVAL_CONFIG_H
#define MOEC_EVAL_EVAL_CONFIG_H

#include "config/section.h"

typedef struct eval_config {
    int64_t stride;      /* new tokens a window; the rest of seq is context */
    double blend_lambda; /* of the causal bigram blend */
} eval_config;

extern const config_section eval_section;
eval_config eval_config_default(void);

#endif
