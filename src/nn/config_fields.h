/* model_config's keys as a table (config/field.h), grouped for the reader; section "model". */
#ifndef MOEC_NN_CONFIG_FIELDS_H
#define MOEC_NN_CONFIG_FIELDS_H

#include "config/field.h"
#include "nn/config.h"

enum { MODEL_CONFIG_FIELDS = 80 };
extern const config_field model_config_fields[MODEL_CONFIG_FIELDS];

#endif
