/* Where text comes from: the section `data` of a run. */
#ifndef MOEC_TEXT_DATA_CONFIG_H
#define MOEC_TEXT_DATA_CONFIG_H

#include "config/section.h"
#include "config/weights.h"

typedef struct data_config {
    char *path;      /* folder made by `moec data`, or a shard pattern */
    char *tokenizer; /* .model; NULL: the one in that folder */
    weight_list mix; /* what part of the tokens each domain has (mix.h); empty: as they lie in the shards */
} data_config;

extern const config_section data_section;
data_config data_config_default(void);
/* That there is something at `path`, unless it is a pattern; else how one gets it. */
status data_config_look(const data_config *c);
/* The tokenizer's path; a new string. */
char *data_config_tokenizer(const data_config *c);

#endif
